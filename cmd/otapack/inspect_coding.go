package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/otapack/otapack/bootloader"
	"github.com/otapack/otapack/formats/payload/compress"
	"github.com/otapack/otapack/formats/payload/delta"
	"github.com/otapack/otapack/formats/payload/delta/detools"
	"github.com/otapack/otapack/formats/payload/delta/hpatchlite"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/manifest"
)

// decodingView is how the image is made from the payload. What stands in the
// payload itself is known only where that is at hand and not encrypted.
type decodingView struct {
	Coding     string           `json:"coding"`
	DecoderRAM uint32           `json:"decoder_ram"` // signed, in bytes
	Base       *release.Content `json:"base,omitempty"`
	Header     *headerView      `json:"header,omitempty"`
}

// headerView is the beginning of a coded payload.
type headerView struct {
	Fault   string `json:"fault,omitempty"` // why it cannot be read
	NewSize int    `json:"new_size,omitempty"`
	OldSize int    `json:"old_size,omitempty"`
	Window  int    `json:"window,omitempty"` // bytes of its output that the decoder keeps
	// Of detools.
	Compression string `json:"compression,omitempty"`
	Lookahead   int    `json:"lookahead,omitempty"` // in bytes
	*addressView
}

// addressView is what od1 knows of addresses.
type addressView struct {
	OldBase  uint32 `json:"old_base"` // link addresses
	NewBase  uint32 `json:"new_base"`
	RAMStart uint32 `json:"ram_start"`
	RAMEnd   uint32 `json:"ram_end"`
	MapSize  int    `json:"map_size"` // covers that the decoder holds
	Restart  int    `json:"restart"`  // bytes between restart points, 0: none
}

func decodingOf(d manifest.Decoding) *decodingView {
	v := &decodingView{Coding: d.Coding.String(), DecoderRAM: d.RAM}
	if d.Base != nil {
		v.Base = &release.Content{SHA256: d.Base.Digest, Size: d.Base.Size}
	}
	return v
}

// maxCodingHeader is as much of a payload as the header of any coding takes.
const maxCodingHeader = 64

// readHeader reads the beginning of a payload, for codings that have one.
func (d *decodingView) readHeader(payload *io.SectionReader) {
	start := make([]byte, min(payload.Size(), maxCodingHeader))
	if _, err := payload.ReadAt(start, 0); err != nil && !errors.Is(err, io.EOF) {
		d.Header = &headerView{Fault: err.Error()}
		return
	}
	h, err := codedHeader(d.Coding, start, payload)
	if err != nil {
		h = headerView{Fault: err.Error()}
	}
	d.Header = &h
}

// maxInspected is how large an image inspect decompresses, to say which window it
// takes: any that fits a chip of ours.
const maxInspected = 16 << 20

func codedHeader(coding string, start []byte, payload *io.SectionReader) (headerView, error) {
	codec := compress.Zstd
	switch coding {
	case manifest.CodingOD1.String():
		h, err := delta.ReadHeader(start)
		return headerView{NewSize: h.NewLength, OldSize: h.OldLength,
			addressView: &addressView{h.OldBase, h.NewBase, h.RAMStart, h.RAMEnd, h.MapSize, h.Restart}}, err
	case manifest.CodingHPatchLite.String():
		h, err := hpatchlite.Describe(start)
		return headerView{NewSize: h.Size, Window: h.Dictionary}, err
	case manifest.CodingDetools.String():
		h, err := detools.Describe(start)
		v := headerView{NewSize: h.Size, Compression: h.Compression.String()}
		if h.Window > 0 {
			v.Window, v.Lookahead = 1<<h.Window, 1<<h.Lookahead
		}
		return v, err
	case manifest.CodingDeflate.String():
		codec = compress.Deflate
	}
	data, err := io.ReadAll(io.LimitReader(payload, maxInspected))
	if err != nil {
		return headerView{}, err
	}
	image, window, err := compress.Decode(codec, data, maxInspected)
	return headerView{NewSize: len(image), Window: window}, err
}

func (d *decodingView) print(line func(name, format string, args ...any)) {
	line("coding", "%s, decoder RAM %d bytes", d.Coding, d.DecoderRAM)
	if d.Base != nil {
		line("base", "%d bytes, SHA-256 %s", d.Base.Size, d.Base.SHA256)
	}
	if d.Header != nil {
		line("coded", "%s", d.Header.text())
	}
}

func (h headerView) text() string {
	if h.Fault != "" {
		return "unreadable: " + h.Fault
	}
	var parts []string
	if h.NewSize > 0 {
		parts = append(parts, fmt.Sprintf("%d bytes", h.NewSize))
	}
	if h.OldSize > 0 {
		parts = append(parts, fmt.Sprintf("from %d bytes", h.OldSize))
	}
	if h.Window > 0 {
		parts = append(parts, fmt.Sprintf("window %d bytes", h.Window))
	}
	if h.Lookahead > 0 {
		parts = append(parts, fmt.Sprintf("lookahead %d bytes", h.Lookahead))
	}
	if h.Compression != "" {
		parts = append(parts, h.Compression)
	}
	if a := h.addressView; a != nil {
		where := fmt.Sprintf("linked for 0x%08x", a.NewBase)
		if a.OldBase != a.NewBase {
			where += fmt.Sprintf(", before for 0x%08x", a.OldBase)
		}
		parts = append(parts, where, "no window")
		if a.RAMEnd > a.RAMStart {
			parts = append(parts, fmt.Sprintf("RAM %s", bootloader.Region{Base: a.RAMStart, Size: a.RAMEnd - a.RAMStart}))
		}
		parts = append(parts, fmt.Sprintf("map of %d", a.MapSize))
		if a.Restart > 0 {
			parts = append(parts, fmt.Sprintf("restart every %d bytes", a.Restart))
		}
	}
	return strings.Join(parts, ", ")
}
