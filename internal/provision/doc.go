// Package provision makes the secrets of devices, one record per device and
// secret, and keeps the file that they go into.
//
// The file is JSON Lines: a [Header], which holds all that the secrets depend
// on, and then the records of each device in the order of the list of devices
// and of the header's secrets. A record is appended once and never changed, so
// that its place alone says which one has to follow: a run that was killed goes
// on where the file ends, and neither leaves a device out nor makes it twice.
//
//	check, err := provision.SelfTest(ctx, maker, secrets, "toothbrush")
//	file, err := provision.Open(path, header, serials)
//	defer file.Close()
//	err = file.Fill(ctx, maker, 4, func(done int) { … })
//
// What makes and wraps the secrets is handed in as a [Maker]; this package knows
// nothing of tokens. docs/provisioning.md has the grammar of the file, the bytes
// that keys are derived from, and what a factory does with a record.
package provision
