package manifest

import "testing"

// Known answers of an independent implementation: Python's uuid.uuid5.
func TestUUID(t *testing.T) {
	arm, acme := VendorID("arm.com"), VendorID("acme.example")
	for _, tt := range []struct {
		name string
		got  UUID
		want string
	}{
		{"vendor of the drafts", arm, "fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffe"},
		{"vendor of the vectors", acme, "0637e301-e05d-505b-8267-486f5677de9b"},
		{"vendor in upper case", VendorID("Acme.EXAMPLE"), "0637e301-e05d-505b-8267-486f5677de9b"},
		{"vendor in punycode", VendorID("xn--bcher-kva.example"), "1bda5572-6f81-5401-9de2-0135360b3c21"},
		{"empty domain", VendorID(""), "4ebd0208-8328-5d69-8c44-ec50939c0967"},
		{"class", ClassID(acme, "brush", "b2"), "f91f29e2-9b0e-5264-ab08-16feb69d2710"},
		{"class of another revision", ClassID(acme, "brush", "b3"), "9600ac43-e7bb-5455-a973-1167fef3da36"},
		{"class of another model", ClassID(acme, "toothbrush-radio", "b2"), "df800c8e-9d04-50e8-8158-c9d11b8c272e"},
		{"class of another vendor", ClassID(arm, "brush", "b2"), "3186e70f-9963-5203-b504-d1499bcc82e6"},
		{"class in UTF-8", ClassID(acme, "bürste", "é"), "dbdd7efe-3647-50c5-8d1e-eb63e63f8de9"},
		{"class without a revision", ClassID(acme, "brush", ""), "89f638b9-98bf-5bfc-b276-0ae67ea51e0f"},
		{"zero value", UUID{}, "00000000-0000-0000-0000-000000000000"},
	} {
		if tt.got.String() != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, tt.got, tt.want)
		}
		if !tt.got.Equal(tt.got) || tt.got.Equal(VendorID("example.com")) {
			t.Errorf("%s: equal to the wrong ones", tt.name)
		}
	}
}
