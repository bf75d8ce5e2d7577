// Package manifest builds, reads and verifies the two signed documents of a
// release: one SUIT envelope per component, and the release record that ties
// the components together.
//
// # The envelope
//
// The envelope is SUIT (draft-ietf-suit-manifest-37) restricted to a profile of
// fixed templates, so that a bootloader can read it as data instead of running
// it as a program:
//
//	T1   one component, plain image
//	T2b  T1 for an image linked for one slot
//	T3   two components: the image, and the ciphertext it is decrypted from
//	T4   two components: the image, and the payload it is decoded from, which
//	     may be compressed, a difference to an image that the device has, or
//	     both, and encrypted in the end
//
// Everything is deterministic CBOR; anything outside the templates is refused.
// docs/manifest.cddl has the exact grammar.
//
// # Use
//
// A tool builds a [Draft] with [New], has its [Draft.Requests] signed and calls
// [Draft.Finish]. A verifier calls [Verify] and acts on the *[Verified] only.
// [Parse] is for showing a file to people; it says nothing about trust.
package manifest
