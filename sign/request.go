package sign

import (
	"context"
	"fmt"
)

// Role says what a key is trusted for. A key may have several.
type Role string

// Roles of this module.
const (
	RoleManifest Role = "manifest" // one component's SUIT envelope
	RoleRelease  Role = "release"  // the release record
	RoleImage    Role = "image"    // one component's image in its bootloader's own format
)

// Request asks for one signature. An artifact that carries several signatures
// has one request per signing key; their messages differ where the signed
// bytes name the algorithm, as in COSE (RFC 9052, section 4.4).
type Request struct {
	Artifact string // what is signed, for people and logs: "radio manifest"
	Role     Role   // what the signature will be trusted for
	Key      KeyID  // whose signature is wanted
	Message  []byte // the exact bytes to be signed, before hashing
}

// Answer collects the signatures for requests, in their order. Signers are
// looked up by key id; each is expected to be Checked. A missing signer is
// found before the first signature is asked for and wraps ErrNoSigner. Answer
// stops before the next signature when ctx is done, and at the first error.
func Answer(ctx context.Context, requests []Request, signers map[KeyID]Signer) ([]Signature, error) {
	for _, r := range requests {
		if _, ok := signers[r.Key]; !ok {
			return nil, fmt.Errorf("sign: %s: key %s: %w", r.Artifact, r.Key.Short(), ErrNoSigner)
		}
	}
	signatures := make([]Signature, 0, len(requests))
	for _, r := range requests {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("sign: %s: %w", r.Artifact, err)
		}
		signature, err := signers[r.Key].Sign(ctx, r.Message)
		if err != nil {
			return nil, fmt.Errorf("sign: %s: %w", r.Artifact, err)
		}
		signatures = append(signatures, signature)
	}
	return signatures, nil
}
