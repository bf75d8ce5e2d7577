//go:build !cgo

package main

import (
	"fmt"
	"os"
)

// p11import cannot do without PKCS#11.
func p11import() {
	fmt.Fprintln(os.Stderr, "p11import: built without cgo")
	os.Exit(1)
}
