package bootloader

// fault is a mistake of the boot flow or of the firmware around it that the
// rehearsal has to find. Only tests set one: a detector that finds nothing must
// be told from a flow that has no fault.
type fault uint8

const (
	noFault              fault = iota
	pointerBeforeData          // commits a package before it is written
	oldBankErased              // erases the way back when a trial begins
	counterBeforeConfirm       // raises the rollback counter with the commit
	counterForgotten           // writes a record without the rollback counter
	journalWithoutCRC          // takes every record that is not blank
	recordsUnsettled           // acts on a record as it is found, without writing it again
	numbersReused              // numbers records one by one
	attemptsUncounted          // starts an unconfirmed image for ever
	commitsConfirmed           // has no trial
	bootsUnverified            // starts what is in the bank
	receivingUnrecorded        // writes its only bank without a note that it does
	pagesNotErased             // programs over what is there
	feedsDuringTrial           // passes the update on before it has confirmed its own
	restagesNever              // an interrupted transfer is not begun again
	patchInPlace               // makes an image in the bank that it reads from
	feedsForEver               // feeds an MCU whose firmware does not work over and over
	sequenceSpent              // of an MCU that gives an image up: raises its counter above it
	resumesUnerased            // goes on with a transfer without erasing the page that was cut off
)
