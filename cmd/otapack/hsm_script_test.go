package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/otapack/otapack/internal/p11fault"
)

// tests runs all tests and removes the module with faults.
type tests struct{ m *testing.M }

func (t tests) Run() int {
	defer p11fault.Remove()
	// With -race, every process that a test starts would sleep for a second at its
	// end.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		return 1
	}
	return t.m.Run()
}

// scriptFault puts a module with faults before the real one, or takes it away.
func scriptFault(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "fault [PLAN]", 0, 1)
	if len(args) == 0 {
		ts.Setenv(envModule, "")
		return
	}
	log := faultLog(ts)
	if err := os.Remove(log); err != nil && !os.IsNotExist(err) {
		ts.Fatalf("%v", err)
	}
	ts.Setenv(envModule, p11fault.Build(ts.Value(scriptT{}).(testing.TB)))
	ts.Setenv("P11FAULT_REAL", softhsm())
	ts.Setenv("P11FAULT", args[0])
	ts.Setenv("P11FAULT_LOG", log)
}

func faultLog(ts *testscript.TestScript) string {
	return filepath.Join(ts.Getenv("WORK"), devTokenDir, "fault.log")
}

// scriptCalls counts the calls that were made since the last fault.
func scriptCalls(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "calls FUNCTION NUMBER", 2, 2)
	calls := 0
	for line := range strings.Lines(ts.ReadFile(faultLog(ts))) {
		if name, _, _ := strings.Cut(strings.TrimSpace(line), " "); name == args[0] {
			calls++
		}
	}
	if calls != number(ts, args[1]) {
		ts.Fatalf("%s was called %d times, want %s", args[0], calls, args[1])
	}
}
