// Package ctest has no code. Its tests compile the C of bootloader/c for this
// machine, with the address and undefined-behaviour sanitizers, and hold it
// against published vectors and against Go.
package ctest
