// Package ctest holds the C of bootloader/c against Go. Its tests compile it for
// this machine, with the address and undefined-behaviour sanitizers, and for
// emulated cores, and ask it what is published and what Go answers.
package ctest
