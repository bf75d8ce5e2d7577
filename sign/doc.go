// Package sign holds what every signature of a release has in common:
// algorithms, public keys, signatures in the encodings that devices read,
// signers, and the sets of keys that a verifier trusts.
//
// A private key is never a type of this package. It hides behind [Signer]: a
// public key plus two verbs, one for a message and one for a digest. Signers
// come from package hsm (a PKCS#11 token), from [FromCrypto] (any
// crypto.Signer, as tests use) and from [Throwaway] (a rehearsal).
//
// Whatever a signer returns is untrusted until it has been verified with the
// public key that was pinned beforehand: wrap every signer in [Checked].
//
// The data flow is the same for all formats:
//
//	requests := draft.Requests()             // []Request: exact bytes, role
//	signatures, err := sign.Answer(ctx, requests, signers)
//	file, err := draft.Finish(signatures)    // pure
//
// A verifier turns the signatures of a file into [Candidate] values and asks its
// [TrustSet] which keys made them.
package sign
