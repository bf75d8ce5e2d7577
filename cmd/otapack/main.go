// Command otapack turns the firmware files of a multi-MCU device into a release
// that every bootloader on the board accepts, signs it with keys that never
// leave an HSM, and proves the acceptance before anything is written.
//
// This package is the only one that prints, prompts, reads the environment and
// exits. Each verb has a file of its own; errors.go says which error becomes
// which exit code and hint.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

func main() { os.Exit(run()) }

// run is main without the exit, so that tests can run the command.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// execute runs one command line and returns its exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := &app{stdout: stdout, stderr: stderr}
	if err := a.takePINs(); err != nil {
		return a.fail(err)
	}
	defer a.wipePINs()
	root := a.rootCommand()
	root.SetArgs(args)
	if err := root.ExecuteContext(ctx); err != nil {
		a.json = a.json || slices.Contains(args, "--json") // behind a flag that could not be read
		return a.fail(err)
	}
	return exitOK
}
