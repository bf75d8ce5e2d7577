package main

import (
	"encoding/json"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/otapack/otapack/internal/release"
)

// scriptRecipient puts the id of the key that a component of the last release is
// encrypted to into a file, where a word stands for it.
func scriptRecipient(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "recipient COMPONENT WORD FILE", 3, 3)
	var record release.Record
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("release.json")), &record))
	for _, c := range record.Components {
		if c.Name == args[0] && len(c.Recipients) > 0 {
			change(ts, args[2], func(data []byte) []byte {
				return []byte(strings.ReplaceAll(string(data), args[1], c.Recipients[0]))
			})
			return
		}
	}
	ts.Fatalf("%s is not encrypted", args[0])
}
