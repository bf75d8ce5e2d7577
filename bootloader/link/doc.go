// Package link simulates the transfer of an object from a phone to a device, or
// from one MCU to the next, with the sender and the receiver of package chunk on
// a link that drops, repeats, reorders and damages frames and breaks, between
// ends that restart: the phone from nothing, the device from the cursor that it
// has saved, which the loss of power may have cut off.
//
// Time is virtual and randomness comes from a seed: the same seed gives the same
// run on every machine. A run ends with the object in the device's memory, or
// says why not. What may never happen is checked in every run, see
// [ErrInvariant].
package link
