// Package flash simulates the NOR flash of a microcontroller with the faults
// that a loss of power leaves behind.
//
// A [Flash] keeps the rules of the chip: programming only clears bits, a page is
// erased as a whole, writes begin and end on write units, and chips with an ECC
// per unit take each unit once between two erases. Every page erase and every
// chunk that is programmed is an [Op]. The function in [Flash.Before] sees each
// of them before it happens and can stop it, and [Flash.Tear] leaves what a
// supply that fails in the middle of it leaves: nothing, a part, or cells that
// read one way now and another way later.
//
// [Flash.Clone] shares all pages until one of the two writes, so that thousands
// of runs can start from the same state. All randomness comes from a [Rand]: the
// same seed gives the same faults.
package flash
