package vectors

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/otapack/otapack/testvectors/verdicts"
)

// QuestionSchema is the value of Question.Schema.
const QuestionSchema = "otapack.vector/1"

// Question is what a verifier is asked: a case without its verdict. It is one
// line of JSON.
type Question struct {
	Schema string            `json:"schema"`
	ID     string            `json:"id"`
	Family string            `json:"family"`
	Device verdicts.Device   `json:"device"`
	Inputs map[string]string `json:"inputs"` // paths by name
}

// Task is a case with its family.
type Task struct {
	Family *verdicts.Family
	Case   verdicts.Case
}

// ask writes the inputs of a task into a new folder.
func (t Task) ask(dir string) (Question, error) {
	q := Question{
		Schema: QuestionSchema, ID: t.Case.ID, Family: t.Family.Name, Device: t.Family.Devices[t.Case.Device],
		Inputs: make(map[string]string, len(t.Case.Inputs)),
	}
	inputs, err := Inputs(t.Family, t.Case)
	if err != nil {
		return Question{}, err
	}
	for name, data := range inputs {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return Question{}, fmt.Errorf("vectors: %w", err)
		}
		q.Inputs[name] = path
	}
	return q, nil
}

// ErrAnswer says that a line is no answer.
var ErrAnswer = errors.New("not an answer")

// Skip is the verdict of a program that was built without what a case needs.
const Skip = "skip"

// ParseAnswer reads "accept", "refuse", "refuse <step>", "refuse <step> <reason>"
// or "skip".
func ParseAnswer(line string) (Answer, error) {
	words := strings.Fields(line)
	for _, w := range words {
		if strings.Trim(w, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			words = nil
		}
	}
	switch {
	case len(words) == 1 && (words[0] == verdicts.Accept || words[0] == Skip):
		return Answer{Verdict: words[0]}, nil
	case len(words) > 0 && len(words) <= 3 && words[0] == verdicts.Refuse:
		words = append(words, "", "")
		return Answer{words[0], words[1], words[2]}, nil
	}
	return Answer{}, fmt.Errorf("vectors: %q: %w", cut(line), ErrAnswer)
}

// cut keeps what a program wrote short.
func cut(text string) string {
	const limit = 120
	if text = strings.TrimSpace(text); len(text) > limit {
		return text[:limit] + "…"
	}
	return text
}

// Program is a verifier to be run.
type Program struct {
	Path string
	Args []string
	Env  []string // the whole environment
	// Stream keeps one process per job running: it reads a question from each line
	// and answers in a line. Without, a process is started for each question and
	// says the same with its exit status: 0 for accept, another for refuse. That of
	// a skipped case does not matter.
	Stream  bool
	Timeout time.Duration // for each answer
	Jobs    int           // processes at a time
	// VerdictOnly compares accept and refuse, and neither step nor reason.
	VerdictOnly bool
}

// Kind says how an answer differs from the published one.
type Kind string

// Kinds, the worst first.
const (
	KindAccepted Kind = "accepted"  // took what must be refused
	KindRefused  Kind = "refused"   // refused what must be taken
	KindStep     Kind = "step"      // refused in another step
	KindReason   Kind = "reason"    // refused for another reason
	KindNoAnswer Kind = "no-answer" // crashed, timed out, or said something else
	KindAgrees   Kind = "agrees"
	KindSkipped  Kind = "skipped" // the program does not know what the case is about
)

// Outcome is what a program made of a case.
type Outcome struct {
	ID     string `json:"id"`
	Kind   Kind   `json:"kind"`
	Want   Answer `json:"want"`
	Got    Answer `json:"got"`
	Detail string `json:"detail,omitempty"` // why there is no answer
}

// compare judges an answer. A reason that is left out is not compared.
func (p Program) compare(want, got Answer) Kind {
	switch {
	case got.Verdict == Skip:
		return KindSkipped
	case want.Verdict != got.Verdict && got.Verdict == verdicts.Accept:
		return KindAccepted
	case want.Verdict != got.Verdict:
		return KindRefused
	case p.VerdictOnly:
		return KindAgrees
	case want.Step != got.Step:
		return KindStep
	case got.Reason != "" && want.Reason != got.Reason:
		return KindReason
	}
	return KindAgrees
}

// Run asks a program all tasks and returns their outcomes in order. progress is
// called after each, from several goroutines. An error means that the program
// could not be run at all, or ctx is done.
func Run(ctx context.Context, p Program, tasks []Task, progress func()) ([]Outcome, error) {
	scratch, err := os.MkdirTemp("", "otapack-vectors-")
	if err != nil {
		return nil, fmt.Errorf("vectors: %w", err)
	}
	defer os.RemoveAll(scratch)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	outcomes := make([]Outcome, len(tasks))
	next := make(chan int)
	var workers sync.WaitGroup
	for range max(1, min(p.Jobs, len(tasks))) {
		workers.Go(func() {
			w := worker{program: p, scratch: scratch}
			defer w.close()
			for i := range next {
				outcome, err := w.task(ctx, tasks[i])
				if err != nil {
					stop(err)
					continue // until the channel is closed
				}
				outcomes[i] = outcome
				progress()
			}
		})
	}
	for i := range tasks {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	workers.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return outcomes, nil
}

// worker asks one question at a time.
type worker struct {
	program Program
	scratch string
	process *process // nil until the first question, and after a failure
}

func (w *worker) close() {
	if w.process != nil {
		w.process.end()
	}
}

// task asks one question. Its error ends the whole run.
func (w *worker) task(ctx context.Context, t Task) (Outcome, error) {
	outcome := Outcome{ID: t.Case.ID, Want: Want(t.Case)}
	if err := ctx.Err(); err != nil {
		return outcome, err
	}
	dir, err := os.MkdirTemp(w.scratch, "case-")
	if err != nil {
		return outcome, fmt.Errorf("vectors: %w", err)
	}
	defer os.RemoveAll(dir)
	question, err := t.ask(dir)
	if err != nil {
		return outcome, err
	}
	line, err := json.Marshal(question)
	if err != nil {
		return outcome, fmt.Errorf("vectors: %w", err)
	}
	line = append(line, '\n')
	ask := w.once
	if w.program.Stream {
		ask = w.streamed
	}
	got, err := ask(ctx, line)
	switch {
	case ctx.Err() != nil:
		return outcome, ctx.Err()
	case errors.Is(err, ErrStart):
		return outcome, err
	case err != nil:
		outcome.Kind, outcome.Detail = KindNoAnswer, strings.TrimPrefix(err.Error(), "vectors: ")
		return outcome, nil
	}
	outcome.Got, outcome.Kind = got, w.program.compare(outcome.Want, got)
	return outcome, nil
}

// ErrStart says that a program cannot be started.
var ErrStart = errors.New("cannot be started")

// command prepares a process in a group of its own, so that what it starts goes
// with it.
func (w *worker) command(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, w.program.Path, w.program.Args...)
	cmd.Env = w.program.Env
	group(cmd)
	cmd.WaitDelay = time.Second
	return cmd
}

func (w *worker) timeout() error { return fmt.Errorf("no answer within %v", w.program.Timeout) }

// once starts a process for a question.
func (w *worker) once(ctx context.Context, question []byte) (Answer, error) {
	limited, cancel := context.WithTimeout(ctx, w.program.Timeout)
	defer cancel()
	cmd := w.command(limited)
	cmd.Stdin = bytes.NewReader(question)
	var stdout, stderr head
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return Answer{}, fmt.Errorf("vectors: %s: %w: %w", w.program.Path, ErrStart, err)
	}
	err := cmd.Wait()
	if limited.Err() != nil {
		return Answer{}, w.timeout()
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil || ok && exit.Exited():
	case ok:
		return Answer{}, fmt.Errorf("%v%s", exit, stderr.quote())
	default: // it did not read its question, or left its output open
		if !errors.Is(err, syscall.EPIPE) {
			return Answer{}, fmt.Errorf("%w%s", err, stderr.quote())
		}
	}
	if stdout.Len() == 0 {
		return Answer{}, fmt.Errorf("nothing on standard output%s", stderr.quote())
	}
	answer, err := ParseAnswer(stdout.String())
	if err != nil {
		return Answer{}, fmt.Errorf("%w%s", err, stderr.quote())
	}
	status := cmd.ProcessState.ExitCode()
	if answer.Verdict != Skip && (status == 0) != (answer.Verdict == verdicts.Accept) {
		return Answer{}, fmt.Errorf("said %q and exited with %d", answer, status)
	}
	return answer, nil
}

// head keeps the first bytes that are written to it.
type head struct{ bytes.Buffer }

const maxHead = 4 << 10 // bytes

func (h *head) Write(p []byte) (int, error) {
	if room := maxHead - h.Len(); room > 0 {
		h.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// quote is for the end of a message.
func (h *head) quote() string {
	if text := cut(h.String()); text != "" {
		return fmt.Sprintf("; it wrote %q", text)
	}
	return ""
}

// process is a program that runs and answers many questions.
type process struct {
	cmd     *exec.Cmd
	cancel  context.CancelFunc
	stdin   io.WriteCloser
	answers chan string // closed when the process has closed its output
	stderr  *head
}

func (w *worker) start(ctx context.Context) (*process, error) {
	running, cancel := context.WithCancel(ctx)
	s := &process{cmd: w.command(running), cancel: cancel, answers: make(chan string), stderr: &head{}}
	s.cmd.Stderr = s.stderr
	var err error
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		cancel()
		return nil, fmt.Errorf("vectors: %w", err)
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, fmt.Errorf("vectors: %w", err)
	}
	if err := s.cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("vectors: %s: %w: %w", w.program.Path, ErrStart, err)
	}
	go func() {
		defer close(s.answers)
		lines := bufio.NewScanner(stdout)
		lines.Buffer(nil, maxHead)
		for lines.Scan() {
			select {
			case s.answers <- lines.Text():
			case <-running.Done():
				return
			}
		}
	}()
	return s, nil
}

// end closes the input, which tells the process to go, and sees to it.
func (s *process) end() {
	_ = s.stdin.Close() // it may be gone
	stop := time.AfterFunc(time.Second, s.cancel)
	for range s.answers { // nobody asked
	}
	stop.Stop()
	s.cancel()
	_ = s.cmd.Wait() // killed, or done: its answers count
}

// streamed asks the running process, which is started where there is none.
func (w *worker) streamed(ctx context.Context, question []byte) (Answer, error) {
	if w.process == nil {
		var err error
		if w.process, err = w.start(ctx); err != nil {
			return Answer{}, err
		}
	}
	s := w.process
	fail := func(err error) (Answer, error) {
		w.process = nil
		s.cancel()
		s.end()
		return Answer{}, fmt.Errorf("%w%s", err, s.stderr.quote())
	}
	select {
	case line, ok := <-s.answers: // the answer to a later question would be taken for that to an earlier one
		if ok {
			return fail(fmt.Errorf("said %q before it was asked", cut(line)))
		}
	default:
	}
	timer := time.NewTimer(w.program.Timeout)
	defer timer.Stop()
	go func() { _, _ = s.stdin.Write(question) }() // a program that does not read gives no answer
	select {
	case line, ok := <-s.answers:
		if !ok {
			return fail(errors.New("the program ended without an answer"))
		}
		answer, err := ParseAnswer(line)
		if err != nil {
			return fail(err)
		}
		return answer, nil
	case <-timer.C:
		return fail(w.timeout())
	case <-ctx.Done():
		return fail(ctx.Err())
	}
}
