package main

import (
	"testing"

	"github.com/otapack/otapack/internal/ceremony"
	"github.com/otapack/otapack/manifest"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

// The same keys sign ceremony records and release records, both as COSE_Sign1:
// neither may pass for the other.
func TestCeremonyRecordIsNoReleaseRecord(t *testing.T) {
	data, err := testvectors.Read("ceremony/full.cbor")
	if err != nil {
		t.Fatal(err)
	}
	r, err := ceremony.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	var trust sign.TrustSet
	if err := trust.Add(sign.RoleRelease, 1, r.Key.Public); err != nil {
		t.Fatal(err)
	}
	if _, err := ceremony.Verify(data, r.Key.Public); err != nil {
		t.Fatal(err) // its signature is good
	}
	if _, err := manifest.VerifyRecord(data, &trust); verdict.Of(err) != verdict.WrongType {
		t.Errorf("as a release record: %v, want %s", err, verdict.WrongType)
	}
	if _, err := manifest.ParseRecord(data); verdict.Of(err) != verdict.WrongType {
		t.Errorf("as a release record, not verified: %v, want %s", err, verdict.WrongType)
	}
	if _, err := manifest.Parse(data); verdict.Of(err) == "" {
		t.Errorf("as an envelope: %v", err)
	}
}
