//go:build !linux

package main

import "os"

// maxRSS is measured on Linux only.
func maxRSS(*os.ProcessState) float64 { return 0 }
