package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/internal/vectors"
	"github.com/otapack/otapack/testvectors/verdicts"
)

// maxQuestion bounds a question, a line, in bytes.
const maxQuestion = 1 << 20

func (a *app) vectorsAnswerCommand() *cobra.Command {
	var stream bool
	c := &cobra.Command{
		Use:   "answer",
		Short: "Answer test vectors as our reference verifiers do",
		Long: `Read a case from standard input, as "otapack vectors run" writes it, and answer
as our reference verifiers do: "accept", or "refuse", the step and the reason. The
exit code is 0 for accept and 4 for refuse. With --stream, answer every line, and
exit with 0 at the end of the input.

It is the example of a program for "vectors run", and answers cases that you make
yourself: change case.json of "vectors export --as files", in its folder.`,
		Example: `  otapack vectors run otapack vectors answer
  otapack vectors run --stream otapack vectors answer --stream`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.vectorsAnswer(cmd.Context(), stream) },
	}
	c.Flags().BoolVar(&stream, "stream", false, "answer every line of the input")
	return c
}

// errAnsweredRefuse gives the exit code of an answer.
var errAnsweredRefuse = errors.New("refused")

func (a *app) vectorsAnswer(ctx context.Context, stream bool) error {
	if a.json {
		return usagef("--json: an answer is a line of its own form")
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, maxQuestion)
	for lines.Scan() {
		answer, err := answerQuestion(ctx, lines.Bytes())
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(a.stdout, answer); err != nil {
			return err
		}
		if stream {
			continue
		}
		if answer.Verdict == verdicts.Refuse {
			return fmt.Errorf("%s: %w (%s)", answer.Step, errAnsweredRefuse, answer.Reason)
		}
		return nil
	}
	switch err := lines.Err(); {
	case err != nil:
		return inputError("standard input", err)
	case !stream:
		return inputError("standard input", io.ErrUnexpectedEOF)
	}
	return nil
}

func answerQuestion(ctx context.Context, line []byte) (vectors.Answer, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	var q vectors.Question
	err := d.Decode(&q)
	if err == nil && q.Schema != vectors.QuestionSchema {
		err = fmt.Errorf("schema %q, want %q", q.Schema, vectors.QuestionSchema)
	}
	if err != nil {
		return vectors.Answer{}, inputError("standard input", err)
	}
	inputs := make(map[string][]byte, len(q.Inputs))
	for name, path := range q.Inputs {
		if inputs[name], err = readInput(path, maxFirmware); err != nil {
			return vectors.Answer{}, err
		}
	}
	j, err := vectors.Reference(ctx, q.Device, inputs)
	switch {
	case errors.Is(err, context.Canceled):
		return vectors.Answer{}, err
	case err != nil:
		return vectors.Answer{}, &release.InputError{Path: "standard input", Err: err}
	}
	return j.Answer, nil
}
