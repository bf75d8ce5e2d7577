// Package formats holds what every device format of this module builds on: an
// [Image], the firmware as a linker left it, and [Unsigned], the contract
// between a format that wants signatures and whoever has the keys.
//
// A format lives in a package of its own below this one and takes an Image or
// a payload apart; package firmware below reads and writes Images.
//
//	image, _, err := firmware.Load(r, firmware.Options{})
//	payload, err := image.Flatten(slotStart, slotSize, 0xff)
//
// An Image keeps its gaps: what lies between two segments is nobody's data, and
// how it is filled is decided once, by the caller of [Image.Flatten], because
// the fill becomes part of the digest that is signed.
package formats
