package chunk

import "encoding/binary"

// crcInitial is the start value of the CRC.
const crcInitial = 0xffff

// crcTables[n] has the CRC of each byte with n zero bytes behind it, from a start
// value of zero: eight bytes are looked up at once, which simulating thousands of
// transfers is short of.
var crcTables = func() (t [8][256]uint16) {
	const polynomial = 0x1021 // x^16 + x^12 + x^5 + 1
	for i := range t[0] {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ polynomial
			} else {
				crc <<= 1
			}
		}
		t[0][i] = crc
	}
	for n := 1; n < len(t); n++ {
		for i, crc := range t[n-1] {
			t[n][i] = crc<<8 ^ t[0][crc>>8]
		}
	}
	return t
}()

// CRC16 is CRC-16/CCITT-FALSE, also called CRC-16/IBM-3740: polynomial 0x1021,
// initially 0xffff, neither reflected nor inverted. Its check value, that of the
// nine bytes "123456789", is 0x29b1.
func CRC16(data []byte) uint16 {
	t := &crcTables
	crc := uint16(crcInitial)
	for len(data) >= 8 {
		crc ^= binary.BigEndian.Uint16(data)
		crc = t[7][crc>>8] ^ t[6][crc&0xff] ^ t[5][data[2]] ^ t[4][data[3]] ^ t[3][data[4]] ^ t[2][data[5]] ^ t[1][data[6]] ^ t[0][data[7]]
		data = data[8:]
	}
	for _, b := range data {
		crc = crcStep(crc, b)
	}
	return crc
}

// crcStep is the CRC with one more byte.
func crcStep(crc uint16, b byte) uint16 { return crc<<8 ^ crcTables[0][byte(crc>>8)^b] }
