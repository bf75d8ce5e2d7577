package formats

import "github.com/otapack/otapack/sign"

// Unsigned is an artifact that is complete but for its signatures: the draft
// that every device format builds.
//
// Rehearsal answers its requests with throwaway keys, a release with keys in a
// token, detached signing through files; all three end in Finish:
//
//	signatures, err := sign.Answer(ctx, draft.Requests(), signers)
//	file, err := draft.Finish(signatures)
//
// All randomness (content keys, nonces, ephemeral keys) has entered when the
// draft was built, so that a rehearsal and the release that follows it sign
// the same bytes.
type Unsigned interface {
	// Requests says what has to be signed, by which role. It returns the same
	// requests, in the same order, on every call.
	Requests() []sign.Request
	// Finish puts the signatures, in the order of the requests, in their place
	// and returns the finished artifact. It is pure: same draft and same
	// signatures, same bytes. It does not verify the signatures, but refuses a
	// wrong number of them and those that the format cannot encode.
	Finish(signatures []sign.Signature) ([]byte, error)
}
