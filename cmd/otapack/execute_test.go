package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/sign"
	"github.com/otapack/otapack/sign/verdict"
)

// TestInterrupted runs commands whose context is over before they begin.
func TestInterrupted(t *testing.T) {
	dir, otapack := newProject(t)
	if err := otapack("release", "--version", "1.4.2"); err != nil {
		t.Fatal(err)
	}
	t.Setenv(envSoftHSM, "") // execute sets it
	bundle := filepath.Join(dir, "dist", "1.4.2", "toothbrush-1.4.2.ota")
	// Without it, a release of 1.4.2 elsewhere is not a second one.
	if err := os.Remove(filepath.Join(dir, "release.json")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{
		{"release", "--version", "1.4.2", "--output", filepath.Join(dir, "out"), "--sequence", "2"},
		{"release", "--version", "1.4.2", "--output", filepath.Join(dir, "out"), "--sequence", "2", "--dry-run"},
		{"release", "--version", "1.4.2"}, // verifies what is there
		{"verify", bundle},
		{"rehearse", bundle},
		{"key", "ls"},
		{"key", "export", "fw", "--from-token"},
		{"hsm", "doctor"},
		{"hsm", "ls", "--login"},
	} {
		var stdout, stderr bytes.Buffer
		before := tree(t, dir)
		code := execute(ctx, append(args, "--json", "--config", filepath.Join(dir, "otapack.yaml")), &stdout, &stderr)
		var f failure
		if err := json.Unmarshal(stdout.Bytes(), &f); err != nil {
			t.Errorf("%v: %v: %s", args, err, stdout.Bytes())
		}
		if code != exitInterrupted || f.Exit != code || f.Code != "interrupted" {
			t.Errorf("%v: exit code %d, %+v", args, code, f)
		}
		if !strings.Contains(stderr.String(), "otapack: error: ") {
			t.Errorf("%v: no error line: %s", args, stderr.String())
		}
		if after := tree(t, dir); after != before {
			t.Errorf("%v: files %s, before %s", args, after, before)
		}
	}
}

// TestClassify is for errors that SoftHSM and the scripts do not produce, and
// for which of several reasons counts.
func TestClassify(t *testing.T) {
	refused := verdict.New(verdict.ClassMismatch, "manifest", "")
	for _, test := range []struct {
		err  error
		code string
		exit int
		hint bool
	}{
		{errors.New("anything"), "error", exitError, false},
		{fmt.Errorf("x: %w", context.Canceled), "interrupted", exitInterrupted, false},
		{hsm.ErrPINLocked, "pin-locked", exitPIN, true},
		{hsm.ErrPINFinalTry, "pin-final-try", exitPIN, true},
		{hsm.ErrPINPad, "pin-pad", exitPIN, true},
		{fmt.Errorf("%w: %w", hsm.ErrPINFile, fs.ErrNotExist), "pin-file", exitPIN, true},
		{fmt.Errorf("%w: %w", hsm.ErrPINRejected, hsm.CallError{Function: "C_Login"}), "pin-rejected", exitPIN, true},
		{hsm.ErrTokenAmbiguous, "token-ambiguous", exitKey, true},
		{hsm.ErrKeyUnfit, "key-unfit", exitKey, true},
		{fmt.Errorf("%w: CKM_ECDSA: %w", hsm.ErrMechanism, hsm.CallError{Function: "C_SignInit"}), "mechanism-missing", exitKey, true},
		{doctorError{first: hsm.ErrPINLocked}, "pin-locked", exitPIN, true},
		{hsm.ErrNoCgo, "no-pkcs11", exitHSM, true},
		{fmt.Errorf("%w: %w", hsm.ErrUnavailable, hsm.CallError{Function: "C_Sign"}), "hsm-unavailable", exitHSM, true},
		{fmt.Errorf("%w: %w", hsm.ErrSessions, hsm.CallError{Function: "C_OpenSession"}), "sessions", exitHSM, true},
		{hsm.ErrClosed, "hsm-unavailable", exitHSM, true},
		{hsm.CallError{Function: "C_Sign"}, "hsm-error", exitHSM, true},
		{fmt.Errorf("token: %w", sign.ErrSignature), string(verdict.SignatureInvalid), exitVerify, true},
		{refused, string(verdict.ClassMismatch), exitVerify, true},
		{&release.RejectedError{Failures: []error{refused, verdict.New(verdict.SequenceRollback, "manifest", "")}}, string(verdict.ClassMismatch), exitVerify, true},
		{&release.InputError{Path: "f", Err: verdict.New(verdict.BadChecksum, "hex", "")}, string(verdict.BadChecksum), exitInput, false},
		{&release.InputError{Path: "f", Err: sign.ErrCurve}, "wrong-curve", exitInput, true},
		{&release.InputError{Path: "f", Err: fs.ErrNotExist}, "file-missing", exitInput, false},
		{&release.InputError{Path: "f.pem", Err: fs.ErrNotExist}, "file-missing", exitInput, true},
		{&release.InputError{Path: "f", Err: errors.New("directory")}, "input", exitInput, false},
		{&release.PolicyError{Findings: []release.Finding{{Reason: verdict.TestKey}, {Reason: verdict.SequenceRollback}}}, string(verdict.TestKey), exitPolicy, true},
	} {
		code, exit := classify(test.err)
		if hint := hintFor(test.err, code); code != test.code || exit != test.exit || (hint != "") != test.hint {
			t.Errorf("%v: %s, exit code %d, hint %q; want %s, %d, hint %v", test.err, code, exit, hint, test.code, test.exit, test.hint)
		}
	}
}
