package sign

import (
	"context"
	"fmt"
)

// Role says what a key is trusted for.
type Role string

// Roles of this module.
const (
	RoleManifest Role = "manifest" // one component's SUIT envelope
	RoleRelease  Role = "release"  // the release record
)

// Request asks for one signature. An artifact that carries several signatures
// over the same bytes has one request per signing key.
type Request struct {
	Artifact string // what is signed, for people and logs: "radio manifest"
	Role     Role
	Key      KeyID  // whose signature is wanted
	Message  []byte // the exact bytes to be signed, before hashing
}

// Answer collects the signatures for requests, in their order. Signers are
// looked up by key id; each is expected to be Checked. It stops before the
// next signature when ctx is done.
func Answer(ctx context.Context, requests []Request, signers map[KeyID]Signer) ([]Signature, error) {
	signatures := make([]Signature, 0, len(requests))
	for _, r := range requests {
		s, ok := signers[r.Key]
		if !ok {
			return nil, fmt.Errorf("sign: %s: key %s: %w", r.Artifact, r.Key.Short(), ErrNoSigner)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		signature, err := s.Sign(ctx, r.Message)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Artifact, err)
		}
		signatures = append(signatures, signature)
	}
	return signatures, nil
}
