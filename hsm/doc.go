// Package hsm signs with EC keys that live in a PKCS#11 token and never leave
// it, and makes such keys.
//
//	uri, err := hsm.ParseURI("pkcs11:token=release;object=radio")
//	token, err := hsm.Open(ctx, hsm.Options{Module: module, Token: uri, PIN: ask})
//	defer token.Close()
//	signer, err := token.Signer(ctx, uri, pinned) // a sign.Signer, already checked
//
// What it insists on:
//
//   - Every attribute of a URI must match, and exactly one token and one key.
//     Two matches are an error that lists both. Slot numbers are not accepted.
//   - Signing uses read-only sessions and CKM_ECDSA over a digest computed on
//     this side; each signature is verified with the pinned public key before
//     it is handed out.
//   - A PIN is asked for once, tried once, and not tried at all when the token
//     says that it is locked or that one more failure would lock it. After the
//     token has rejected it, a Token never tries it again.
//   - A session that got lost is reopened once per operation; after that the
//     error wraps [ErrUnavailable].
//
// [Token.Wrapper] makes keys for devices, which leave the token only wrapped
// under a transport key, and [Token.GenerateSecretKey] the keys that it needs.
//
// Keys are found and used through raw PKCS#11 calls. Only [Token.Generate] uses
// crypto11, whose sessions are always read-write.
//
// A [Token] may be used by several goroutines: each operation has a session of
// its own, from a pool whose sessions are opened as they are needed. A context
// is looked at between PKCS#11 calls: a call that hangs inside the module cannot
// be interrupted.
//
// PKCS#11 needs cgo. Without it URIs, PINs and errors still work, and [Open],
// [InitToken] and all methods of [Token] return [ErrNoCgo].
package hsm
