// Package ceremony writes, reads and verifies the record of a key ceremony: who
// made a signing key, when, with what, and what the PKCS#11 module said of the
// token and of the key.
//
// # What a record is worth
//
// The record is signed with the new key itself. That proves that whoever made the
// record could use the private half, and that nothing in it was changed since.
// It does not prove who that was: the names are what somebody wrote.
//
// What stands in it about module, token and attributes are unsigned statements
// of the module, taken over a path that nobody has authenticated: a replaced
// module, or whoever controls the machine, can say anything. They catch mistakes,
// such as a key that was imported, that can be exported, or that sits on the
// development token. They prove nothing to a third party about the hardware. For
// that a token has to sign a statement with a key of its maker (attestation),
// which differs by vendor and is not covered here.
//
// # Use
//
// [Sign] makes a record. [Verify] checks one against the pinned key and returns a
// *[Verified]; [Parse] is for showing a record to people and says nothing about
// trust. docs/ceremony.cddl has the exact grammar.
package ceremony
