package manifest

import (
	"testing"

	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors"
)

func TestSmoke(t *testing.T) {
	pem, err := testvectors.Read("suit/libcsuit/trust_anchor_secp256r1_pub.pem")
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.ParsePublicKey(pem)
	if err != nil {
		t.Fatal(err)
	}
	var trust sign.TrustSet
	if err := trust.Add(sign.RoleManifest, 1, key); err != nil {
		t.Fatal(err)
	}
	names, _ := testvectors.Cases("suit/profile/*.hex")
	for _, n := range names {
		b, _ := testvectors.Hex(n)
		v, err := Authenticate(b, &trust)
		t.Log(n, verdict.Of(err), err)
		if err == nil {
			m := v.Manifest()
			got, inst, err := m.encode(m.Install == nil)
			e, _ := Parse(b)
			t.Log(err, string(got) == string(e.manifest.content), len(inst), m.Version)
		}
	}
}
