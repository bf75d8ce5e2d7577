// Package release is the pipeline from otapack.yaml to a published release, and
// back from a bundle to a verdict.
//
// Each hop is a method that returns the next type, so that none can be left
// out:
//
//	project, err := release.Open(cfg)             // keys, chips, identities
//	plan, err := project.Load(options)            // *Plan: every input named and hashed
//	draft, err := plan.Build(ctx, random)         // *Draft: Lint passed, all to-be-signed bytes are final
//	rehearsed, err := draft.Rehearse(ctx)         // every bootloader accepts it, with throwaway keys
//	signed, err := rehearsed.Sign(ctx, signers)   // the only hop that may wait for an HSM
//	verified, err := signed.Verify(ctx)           // with the pinned keys
//	err = verified.Write()                        // all files or none
//
// Randomness (content keys, IVs, ephemeral keys) enters in Build only, so what
// was rehearsed is what is signed. Signers are handed in; this package never
// opens an HSM, prints or reads the environment.
package release
