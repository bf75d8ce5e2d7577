package chunk

// crcInitial is the start value of the CRC.
const crcInitial = 0xffff

var crcTable = func() (t [256]uint16) {
	const polynomial = 0x1021 // x^16 + x^12 + x^5 + 1
	for i := range t {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ polynomial
			} else {
				crc <<= 1
			}
		}
		t[i] = crc
	}
	return t
}()

// CRC16 is CRC-16/CCITT-FALSE, also called CRC-16/IBM-3740: polynomial 0x1021,
// initially 0xffff, neither reflected nor inverted. Its check value, that of the
// nine bytes "123456789", is 0x29b1.
func CRC16(data []byte) uint16 {
	crc := uint16(crcInitial)
	for _, b := range data {
		crc = crcStep(crc, b)
	}
	return crc
}

func crcStep(crc uint16, b byte) uint16 { return crc<<8 ^ crcTable[byte(crc>>8)^b] }
