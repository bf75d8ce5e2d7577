// Package valgrind lets a test mark secrets, so that Memcheck reports every
// branch and every address that depends on one ("ctgrind").
//
// It is for tests that are built with -tags valgrind and run under Memcheck, on
// Linux on amd64; without the tag it is empty. See make consttime.
package valgrind
