package nrfdfu

import (
	"encoding/hex"

	"github.com/otapack/otapack/sign/verdict"
)

// Description is what a package says, for people and for --json. Nothing in it
// is verified.
type Description struct {
	Images []ImageDescription `json:"images"`
	Extra  []string           `json:"extra_entries,omitempty"`
}

// ImageDescription is one image. Fields are absent where the init packet does
// not have them.
type ImageDescription struct {
	Kind         Kind   `json:"kind"`
	BinFile      string `json:"bin_file"`
	DatFile      string `json:"dat_file"`
	FirmwareSize int    `json:"firmware_size"` // bytes of the .bin file
	PacketSize   int    `json:"packet_size"`   // bytes of the .dat file

	// Error and Reason say why the init packet cannot be read; all that follows
	// is absent then.
	Error  string         `json:"error,omitempty"`
	Reason verdict.Reason `json:"reason,omitempty"`

	OpCode    *uint8   `json:"op_code,omitempty"`
	Type      string   `json:"type,omitempty"`
	FWVersion *uint32  `json:"fw_version,omitempty"`
	HWVersion *uint32  `json:"hw_version,omitempty"`
	SDReq     []uint32 `json:"sd_req,omitempty"`
	SDSize    *uint32  `json:"sd_size,omitempty"`
	BLSize    *uint32  `json:"bl_size,omitempty"`
	AppSize   *uint32  `json:"app_size,omitempty"`
	IsDebug   *bool    `json:"is_debug,omitempty"`
	HashType  string   `json:"hash_type,omitempty"`
	SHA256    string   `json:"sha256,omitempty"` // in the usual byte order

	BootValidations []ValidationDescription `json:"boot_validations,omitempty"`

	SignatureType string `json:"signature_type,omitempty"`
	Signature     string `json:"signature,omitempty"`   // as it stands in the packet: halves reversed
	SignedSize    int    `json:"signed_size,omitempty"` // bytes that the signature covers
	Canonical     bool   `json:"canonical"`
}

// ValidationDescription is one boot validation.
type ValidationDescription struct {
	Type  string `json:"type"`
	Bytes string `json:"bytes,omitempty"`
}

// Describe lists what the package says.
func (p *Package) Describe() Description {
	d := Description{Images: make([]ImageDescription, 0, len(p.Images)), Extra: p.Extra}
	for _, image := range p.Images {
		d.Images = append(d.Images, image.describe())
	}
	return d
}

func (m Image) describe() ImageDescription {
	d := ImageDescription{
		Kind: m.Kind, BinFile: m.BinName, DatFile: m.DatName, FirmwareSize: len(m.Firmware), PacketSize: len(m.Packet),
	}
	p, err := ParsePacket(m.Packet)
	if err != nil {
		d.Error, d.Reason = err.Error(), verdict.Of(err)
		return d
	}
	c := p.Init
	d.OpCode, d.FWVersion, d.HWVersion, d.SDReq = p.OpCode, c.FWVersion, c.HWVersion, c.SDReq
	d.SDSize, d.BLSize, d.AppSize, d.IsDebug = c.SDSize, c.BLSize, c.AppSize, c.IsDebug
	d.SignedSize = len(p.signed)
	if c.Type != nil {
		d.Type = c.Type.String()
	}
	if h := c.Hash; h != nil {
		d.HashType = h.Type.String()
		if h.Type == HashSHA256 {
			sum := make([]byte, hashSize)
			for i, v := range h.stored {
				sum[hashSize-1-i] = v
			}
			d.SHA256 = hex.EncodeToString(sum)
		}
	}
	for _, v := range c.BootValidations {
		d.BootValidations = append(d.BootValidations, ValidationDescription{v.Type.String(), hex.EncodeToString(v.Bytes)})
	}
	if s := p.Signature; s != nil {
		d.SignatureType, d.Signature = s.Type.String(), hex.EncodeToString(s.Bytes)
	}
	_, unusual := p.NonCanonical()
	d.Canonical = !unusual
	return d
}
