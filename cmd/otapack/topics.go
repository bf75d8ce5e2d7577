package main

import "github.com/spf13/cobra"

// helpTopics are pages of "otapack help" that are not commands.
func helpTopics() []*cobra.Command {
	topic := func(name, short, text string) *cobra.Command {
		return &cobra.Command{Use: name, Short: short, Long: text}
	}
	return []*cobra.Command{
		topic("exit-codes", "What the exit codes mean", `Exit codes, and whether a CI job may try again:

    0   done, or done before with the same inputs
    1   unexpected error                                      once
    2   wrong command line                                    no
    3   project file or input file is invalid                 no
    4   verification failed: signature, digest, structure     no
    5   refused by policy: rollback, size, unfit key        no
    6   HSM or module unavailable, session lost               yes, with a pause
    7   PIN rejected, locked or missing                       never
    8   token or key not found or ambiguous, public half differs  no
    9   output exists with other content                      no
    130 interrupted

With --json, a failure is one object on standard output with the fields schema,
code, exit, message and hint. The code is a reason code such as
"sequence-rollback"; these are stable.`),
		topic("environment", "Environment variables", `OTAPACK_PKCS11_MODULE
    Path of the PKCS#11 module; wins over hsm.module in the project file.
OTAPACK_PIN_FILE
    File with the token's PIN, see "otapack help pin".
OTAPACK_PIN_<TOKEN>, OTAPACK_PIN
    The PIN itself, for the token with that alias (upper case, _ for -) or for
    any. The weakest choice: other processes of the same user can read it.
SOFTHSM2_CONF
    Configuration of SoftHSM. When it is not set and .otapack/softhsm2.conf lies
    next to the project file, otapack sets it to that file.
NO_COLOR, TERM
    otapack writes no colour.`),
		topic("pin", "Where PINs come from", `The PIN of a token comes from the first of these that is set:

    1. --pin-file
    2. pin.file of the token in the project file
    3. pin-source in the token's URI
    4. OTAPACK_PIN_FILE
    5. OTAPACK_PIN_<TOKEN>, then OTAPACK_PIN
    6. the token's own PIN pad
    7. a prompt on the terminal, unless --no-input is given

If that source fails, no other is tried, and a PIN is tried exactly once: tokens
lock after a few failures. A PIN file holds the PIN and at most one newline, and
only its owner may read it. There is no flag for the PIN itself, and pin-value in
a URI is refused: both would end up in process lists and logs.`),
	}
}
