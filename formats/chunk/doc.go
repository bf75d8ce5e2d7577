// Package chunk carries an object, a manifest or a payload, over a link that
// loses, damages, repeats and reorders frames, and whose ends restart at any
// time: from a phone to the MCU with the radio, and from there over a UART to
// the MCU behind it. docs/transfer.md has the byte layout.
//
// A [Sender] cuts the object into numbered chunks and sends a few ahead of the
// acknowledgements. A [Receiver] takes them in order only, ignores what it has,
// asks again for what it misses, and saves a [Cursor] as the object grows, so
// that a transfer goes on where it stopped. What has arrived counts as the
// object when it has the digest that the sender announced, never before. An
// object with another digest starts from the beginning.
//
// Both are state machines without goroutines, timers or buffers of their own:
// messages and the time are handed in, and no chunk allocates. Messages travel
// in frames, [AppendATT] for a BLE attribute and [AppendUART] for the UART.
//
// The checks here are against accidents. Anybody who can reach the device can
// send it an object; whether the device installs it is decided by its
// bootloader, which verifies signatures.
package chunk
