// Command answer puts the test vectors of our SUIT profile to the C of
// bootloader/c. Run it from the root of the repository:
//
//	go build -o bin/answer ./bootloader/c/answer
//	otapack vectors run --stream --family suit-nrf52840 bin/answer
//	otapack vectors run --stream --family suit-nrf52840 --timeout 1m bin/answer microbit
//
// The first compiles the C for this machine, with sanitizers. The second one runs
// it on an emulated board, microbit (Cortex-M0) or netduinoplus2 (Cortex-M4).
// Cases of template T4 are skipped but for those of the coding od1, and on microbit
// all: there is no room for a decoder.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/otapack/otapack/internal/ctest"
	"github.com/otapack/otapack/internal/vectors"
	"github.com/otapack/otapack/manifest"
)

const (
	source  = "bootloader/c"
	decoder = "formats/payload/delta/c"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "answer:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	scratch, err := os.MkdirTemp("", "answer-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	if len(args) > 1 {
		return errors.New("want one board at most")
	}
	var v *verifier
	if len(args) == 1 {
		v, err = onBoard(args[0], scratch)
	} else {
		v, err = onHost(scratch)
	}
	if err != nil {
		return err
	}
	if err := v.answer(os.Stdin, os.Stdout); err != nil {
		return err
	}
	return v.end()
}

// verifier is the C, which answers one case after the other.
type verifier struct {
	cmd     *exec.Cmd
	cases   io.WriteCloser
	answers *bufio.Reader
	decodes bool
}

func start(cmd *exec.Cmd, cases io.WriteCloser, decodes bool) (*verifier, error) {
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	return &verifier{cmd, cases, bufio.NewReader(answers), decodes}, cmd.Start()
}

func onHost(scratch string) (*verifier, error) {
	files, err := filepath.Glob(source + "/*.c")
	if err != nil {
		return nil, err
	}
	exe := filepath.Join(scratch, "cases")
	compile := exec.Command("gcc", append([]string{
		"-std=c99", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DDECODER", "-I" + decoder,
		"-o", exe, source + "/cases/cases.c", source + "/cases/host.c", decoder + "/delta.c",
	}, files...)...)
	compile.Stdout, compile.Stderr = os.Stderr, os.Stderr
	if err := compile.Run(); err != nil {
		return nil, fmt.Errorf("gcc: %w", err)
	}
	cmd := exec.Command(exe)
	cases, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return start(cmd, cases, true)
}

// onBoard hands the cases over in a named pipe, which the emulated program reads
// as a file.
func onBoard(board, scratch string) (*verifier, error) {
	pipe := filepath.Join(scratch, "cases")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		return nil, fmt.Errorf("named pipe: %w", err)
	}
	cases, err := os.OpenFile(pipe, os.O_RDWR, 0) // to write only would wait for the board
	if err != nil {
		return nil, err
	}
	return start(exec.Command(source+"/qemu/cases", board, scratch), cases, board != "microbit")
}

// answer reads questions from lines and answers each in a line.
func (v *verifier) answer(questions io.Reader, answers io.Writer) error {
	lines := bufio.NewReader(questions)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var q vectors.Question
		if err := json.Unmarshal(line, &q); err != nil {
			return err
		}
		text, err := v.ask(q)
		if err != nil {
			return fmt.Errorf("%s: %w", q.ID, err)
		}
		if _, err := fmt.Fprintln(answers, text); err != nil {
			return err
		}
	}
}

func (v *verifier) ask(q vectors.Question) (string, error) {
	if q.Device.SUIT == nil {
		return vectors.Skip, nil
	}
	inputs := map[string][]byte{}
	for name, path := range q.Inputs {
		var err error
		if inputs[name], err = os.ReadFile(path); err != nil {
			return "", err
		}
	}
	if coding := ctest.Coding(inputs["envelope"]); coding != 0 && (coding != manifest.CodingOD1 || !v.decodes) {
		return vectors.Skip, nil
	}
	c, err := ctest.Case(*q.Device.SUIT, inputs)
	if err != nil {
		return "", err
	}
	if _, err := v.cases.Write(c); err != nil {
		return "", err
	}
	line, err := v.answers.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("no answer: %w", err)
	}
	return strings.TrimSpace(line), nil
}

func (v *verifier) end() error {
	if err := v.cases.Close(); err != nil {
		return err
	}
	return v.cmd.Wait()
}
