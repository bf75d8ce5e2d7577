package nrfdfu

import (
	"bytes"

	"github.com/otapack/otapack/sign/verdict"
)

// ParsePacket reads an init packet the way the bootloader does (nanopb 0.3.6,
// pb_decode.c, and stored_init_cmd_decode in nrf_dfu_validation.c): what it
// accepts is accepted here, what it cannot read is refused with an offset. It
// keeps a copy of b.
//
// That reader takes more than the protobuf specification allows. It skips
// unknown fields, takes varints of any length that fits the value, does not
// look at the wire type of a field that it knows, lets a zero tag or a cut one
// end a message, and merges a message that occurs twice.
// [Packet.NonCanonical] tells whether any of this was needed.
func ParsePacket(b []byte) (Packet, error) {
	switch {
	case len(b) == 0:
		return Packet{}, verdict.At(0, verdict.DFUPacketSize, packetObject, "empty")
	case len(b) > MaxPacket:
		return Packet{}, verdict.At(MaxPacket, verdict.DFUPacketSize, packetObject, "%d bytes, the bootloader has room for %d", len(b), MaxPacket)
	}
	d := decoder{data: bytes.Clone(b)}
	return d.packet()
}

const packetObject = "init packet"

// decoder reads one packet.
type decoder struct {
	data  []byte
	inits int // how often an init command began
	// begin and length are what the bootloader remembers of the first one.
	begin, length int
}

// command is the Command message and whether its init field is there.
type command struct {
	opCode  *uint8
	init    InitCommand
	present bool
}

func (d *decoder) packet() (Packet, error) {
	var plain, signed *command
	var signature Signature
	r := &reader{data: d.data, left: len(d.data), object: packetObject}
	err := r.fields(func(tag uint32, _ int) (known bool, err error) {
		switch tag {
		case packetCommand:
			if plain == nil {
				plain = &command{}
			}
			return true, r.message("command", func(sub *reader) error { return d.command(sub, plain) })
		case packetSignedCommand:
			if signed == nil {
				signed = &command{}
			}
			return true, r.message("signed command", func(sub *reader) error { return d.signed(sub, signed, &signature) })
		}
		return false, nil
	})
	if err != nil {
		return Packet{}, err
	}

	switch {
	case plain != nil && signed != nil:
		return Packet{}, verdict.New(verdict.DFUPacketCommands, packetObject, "both a signed and an unsigned command")
	case d.inits > 1:
		return Packet{}, verdict.New(verdict.DFUPacketCommands, packetObject, "%d init commands", d.inits)
	case signed != nil && signed.present:
		// The bytes that were signed are read once more, on their own: they
		// may go on after the field, to the end of the command.
		again := &reader{data: d.data, pos: d.begin, left: d.length, object: "init command"}
		signed.init = InitCommand{}
		if err := signed.init.decode(again); err != nil {
			return Packet{}, err
		}
		return Packet{OpCode: signed.opCode, Init: signed.init, Signature: &signature, raw: d.data, signed: d.remembered()}, nil
	case plain != nil && plain.present:
		return Packet{OpCode: plain.opCode, Init: plain.init, raw: d.data, signed: d.remembered()}, nil
	}
	return Packet{}, verdict.New(verdict.DFUPacketCommands, packetObject, "no init command")
}

func (d *decoder) remembered() []byte { return d.data[d.begin : d.begin+d.length] }

func (d *decoder) signed(r *reader, c *command, s *Signature) error {
	var seen [signedSignature + 1]bool
	err := r.fields(func(tag uint32, _ int) (known bool, err error) {
		if tag < uint32(len(seen)) {
			seen[tag] = true
		}
		switch tag {
		case signedCommand:
			return true, r.message("command", func(sub *reader) error { return d.command(sub, c) })
		case signedSignatureType:
			v, err := r.enum()
			s.Type = SignatureType(v)
			return true, err
		case signedSignature:
			s.Bytes, err = r.bytes(signatureSize)
			return true, err
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	return r.required(seen[:], "command", "signature type", "signature")
}

func (d *decoder) command(r *reader, c *command) error {
	return r.fields(func(tag uint32, _ int) (known bool, err error) {
		switch tag {
		case commandOpCode:
			v, err := r.enum()
			c.opCode = &v
			return true, err
		case commandInit:
			c.present = true
			return true, r.message("init command", func(sub *reader) error {
				d.inits++
				if d.inits == 1 {
					// r has given up the field by now: what the bootloader
					// remembers is the field and the rest of the command.
					d.begin, d.length = sub.pos, sub.left+r.left
				}
				return c.init.decode(sub)
			})
		}
		return false, nil
	})
}

func (c *InitCommand) decode(r *reader) error {
	return r.fields(func(tag uint32, wire int) (known bool, err error) {
		optional := func(dst **uint32) (bool, error) {
			v, err := r.uint(32)
			*dst = &v
			return true, err
		}
		switch tag {
		case initFWVersion:
			return optional(&c.FWVersion)
		case initHWVersion:
			return optional(&c.HWVersion)
		case initSDReq:
			return true, c.decodeSDReq(r, wire)
		case initType:
			v, err := r.enum()
			c.Type = new(FirmwareType(v))
			return true, err
		case initSDSize:
			return optional(&c.SDSize)
		case initBLSize:
			return optional(&c.BLSize)
		case initAppSize:
			return optional(&c.AppSize)
		case initHash:
			if c.Hash == nil {
				c.Hash = &Hash{}
			}
			return true, r.message("hash", c.Hash.decode)
		case initIsDebug:
			v, err := r.bool()
			c.IsDebug = &v
			return true, err
		case initBootValidation:
			if len(c.BootValidations) == MaxBootValidation {
				return true, r.refuse("more than %d boot validations", MaxBootValidation)
			}
			var v BootValidation
			err := r.message("boot validation", v.decode)
			c.BootValidations = append(c.BootValidations, v)
			return true, err
		}
		return false, nil
	})
}

func (c *InitCommand) decodeSDReq(r *reader, wire int) error {
	one := func(r *reader) error {
		if len(c.SDReq) == MaxSoftDevices {
			return r.refuse("more than %d required SoftDevices", MaxSoftDevices)
		}
		v, err := r.uint(32)
		c.SDReq = append(c.SDReq, v)
		return err
	}
	if wire != wireBytes {
		return one(r)
	}
	return r.message("required SoftDevices", func(sub *reader) error {
		for sub.left > 0 {
			if err := one(sub); err != nil {
				return err
			}
		}
		return nil
	})
}

func (h *Hash) decode(r *reader) error {
	kind, sum, err := r.tagged(hashSize, "hash type", "hash")
	if err != nil {
		return err
	}
	h.Type, h.Sum = HashType(kind), sum
	copy(h.stored[:], sum)
	return nil
}

func (v *BootValidation) decode(r *reader) error {
	kind, content, err := r.tagged(signatureSize, "type", "bytes")
	v.Type, v.Bytes = ValidationType(kind), content
	return err
}

// reader is a nanopb stream: a position in the packet, and how much of the
// message is left. The two can come apart: a message that a zero tag ends early
// leaves the position inside it, and its parent goes on from there.
type reader struct {
	data   []byte
	pos    int
	left   int
	object string
}

func (r *reader) refuse(detail string, args ...any) error {
	return verdict.At(int64(r.pos), verdict.DFUPacketEncoding, r.object, detail, args...)
}

// fields reads tags up to the end of the message, and skips those that each
// does not know.
func (r *reader) fields(each func(tag uint32, wire int) (known bool, err error)) error {
	for r.left > 0 {
		key, err := r.varint32()
		if err != nil && r.left == 0 {
			return nil // a cut tag ends the message
		}
		if err != nil {
			return err
		}
		if key == 0 {
			return nil
		}
		tag, wire := key>>3, int(key&7)
		known, err := each(tag, wire)
		if err != nil {
			return err
		}
		if !known {
			if err := r.skip(wire); err != nil {
				return err
			}
		}
	}
	return nil
}

// message reads a length and hands out that much. In the end the position is
// where the inner reader stopped.
func (r *reader) message(object string, read func(*reader) error) error {
	size, err := r.varint32()
	if err != nil {
		return err
	}
	if uint64(size) > uint64(r.left) {
		return r.refuse("%s of %d bytes, %d are left", object, size, r.left)
	}
	sub := &reader{data: r.data, pos: r.pos, left: int(size), object: object}
	r.left -= int(size)
	err = read(sub)
	r.pos = sub.pos
	return err
}

func (r *reader) byte() (byte, error) {
	if r.left == 0 {
		return 0, r.refuse("the message ends inside a field")
	}
	b := r.data[r.pos]
	r.pos++
	r.left--
	return b, nil
}

// varint32 reads a tag or a length: at most five bytes, of whose value the
// lower 32 bits count.
func (r *reader) varint32() (uint32, error) {
	var v uint32
	for shift := 0; shift < 5*7; shift += 7 {
		b, err := r.byte()
		if err != nil {
			return 0, err
		}
		v |= uint32(b&0x7f) << shift
		if b&0x80 == 0 {
			return v, nil
		}
	}
	return 0, r.refuse("tag or length of more than five bytes")
}

// varint reads a value: at most ten bytes, of whose value the lower 64 bits
// count.
func (r *reader) varint() (uint64, error) {
	var v uint64
	for shift := 0; shift < 10*7; shift += 7 {
		b, err := r.byte()
		if err != nil {
			return 0, err
		}
		v |= uint64(b&0x7f) << shift
		if b&0x80 == 0 {
			return v, nil
		}
	}
	return 0, r.refuse("number of more than ten bytes")
}

func (r *reader) uint(bits int) (uint32, error) {
	v, err := r.varint()
	if err != nil {
		return 0, err
	}
	if v>>bits != 0 {
		return 0, r.refuse("number %d needs more than %d bits", v, bits)
	}
	return uint32(v), nil
}

// enum reads into one byte, as enumerations have on the device
// (-fshort-enums).
func (r *reader) enum() (uint8, error) {
	v, err := r.uint(8)
	return uint8(v), err
}

// bool reads into a signed byte, from the lower 32 bits.
func (r *reader) bool() (bool, error) {
	v, err := r.varint()
	if err != nil {
		return false, err
	}
	if s := int32(uint32(v)); s != int32(int8(s)) {
		return false, r.refuse("truth value %d", s)
	}
	return uint32(v) != 0, nil
}

func (r *reader) bytes(limit int) ([]byte, error) {
	size, err := r.varint32()
	switch {
	case err != nil:
		return nil, err
	case size > uint32(limit):
		return nil, r.refuse("%d bytes, at most %d are possible", size, limit)
	case int(size) > r.left:
		return nil, r.refuse("%d bytes, %d are left", size, r.left)
	}
	b := bytes.Clone(r.data[r.pos : r.pos+int(size)])
	r.pos += int(size)
	r.left -= int(size)
	return b, nil
}

// tagged reads a message of a type and bytes, both required: Hash and
// BootValidation.
func (r *reader) tagged(limit int, names ...string) (kind uint8, content []byte, err error) {
	var seen [taggedBytes + 1]bool
	err = r.fields(func(tag uint32, _ int) (known bool, err error) {
		if tag < uint32(len(seen)) {
			seen[tag] = true
		}
		switch tag {
		case taggedType:
			kind, err = r.enum()
			return true, err
		case taggedBytes:
			content, err = r.bytes(limit)
			return true, err
		}
		return false, nil
	})
	if err == nil {
		err = r.required(seen[:], names...)
	}
	return kind, content, err
}

// required refuses a message without one of its fields, which are numbered
// from 1.
func (r *reader) required(seen []bool, names ...string) error {
	for i, name := range names {
		if !seen[i+1] {
			return r.refuse("no %s", name)
		}
	}
	return nil
}

func (r *reader) skip(wire int) error {
	size := 0
	switch wire {
	case wireVarint:
		for {
			b, err := r.byte()
			if err != nil {
				return err
			}
			if b&0x80 == 0 {
				return nil
			}
		}
	case wire64:
		size = 8
	case wire32:
		size = 4
	case wireBytes:
		n, err := r.varint32()
		if err != nil {
			return err
		}
		size = int(n)
	default:
		return r.refuse("unknown field of wire type %d", wire)
	}
	if size > r.left {
		return r.refuse("unknown field of %d bytes, %d are left", size, r.left)
	}
	r.pos += size
	r.left -= size
	return nil
}
