package mcuboot

import (
	"encoding/binary"

	"github.com/otapack/otapack/sign/verdict"
)

// iterator walks TLVs as bootutil_tlv_iter_next does (boot/bootutil/src/tlv.c).
// Unlike Parse it does not stop at the border between the areas: what counts for
// an entry is the end of both.
type iterator struct {
	loader       *loader
	onlyProt     bool
	at           uint64
	protEnd, end uint64
}

// begin is bootutil_tlv_iter_begin.
func (l *loader) begin(onlyProtected bool) (*iterator, error) {
	at := l.header.end()
	protected := uint64(l.header.ProtectedSize)
	info, err := l.read(at, infoSize)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if le.Uint16(info) == magicProtected {
		if total := uint64(le.Uint16(info[2:])); total != protected {
			return nil, verdict.At(int64(at), verdict.ProtectedSize, object, "protected TLV area of %d bytes, the header says %d", total, protected)
		}
		if info, err = l.read(at+protected, infoSize); err != nil {
			return nil, err
		}
	} else if protected != 0 {
		return nil, verdict.At(int64(at), verdict.ProtectedSize, object, "no protected TLV area, the header says %d bytes", protected)
	}
	if got := le.Uint16(info); got != magicUnprotected {
		return nil, verdict.At(int64(at+protected), verdict.TLVMagic, object, "TLV area begins with 0x%04x, want 0x%04x", got, magicUnprotected)
	}
	end := at + protected + uint64(le.Uint16(info[2:]))
	return &iterator{loader: l, onlyProt: onlyProtected, at: at + infoSize, protEnd: at + protected, end: end}, nil
}

// entry is a TLV and where its header lies.
type entry struct {
	TLV
	at        uint64
	protected bool
}

// next returns the next entry; more is false after the last.
func (it *iterator) next() (e entry, more bool, err error) {
	for it.at < it.end {
		switch {
		case it.onlyProt && it.at >= it.protEnd:
			return entry{}, false, nil
		case it.loader.header.ProtectedSize > 0 && it.at == it.protEnd:
			it.at += infoSize
			continue
		}
		end := it.end
		if it.onlyProt {
			end = it.protEnd
		}
		if end-it.at < entrySize {
			return entry{}, false, verdict.At(int64(it.at), verdict.TLVLength, object, "%d bytes left in the TLV area, an entry begins with %d", end-it.at, entrySize)
		}
		head, err := it.loader.read(it.at, entrySize)
		if err != nil {
			return entry{}, false, err
		}
		kind, length := Type(binary.LittleEndian.Uint16(head)), uint64(binary.LittleEndian.Uint16(head[2:]))
		if length > end-it.at-entrySize {
			return entry{}, false, verdict.At(int64(it.at), verdict.TLVLength, object, "%s of %d bytes passes the end of the TLV area", kind, length)
		}
		value, err := it.loader.read(it.at+entrySize, length)
		if err != nil {
			return entry{}, false, err
		}
		e := entry{TLV{kind, value}, it.at, it.at+entrySize < it.protEnd}
		it.at += entrySize + length
		return e, true, nil
	}
	return entry{}, false, nil
}

// first finds the first entry of a type, malformed ones before it being errors.
func (l *loader) first(t Type, onlyProtected bool) (value []byte, ok bool, err error) {
	it, err := l.begin(onlyProtected)
	if err != nil {
		return nil, false, err
	}
	for {
		if e, more, err := it.next(); !more || e.Type == t {
			return e.Value, more, err
		}
	}
}
