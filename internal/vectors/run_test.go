package vectors

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/otapack/otapack/testvectors/verdicts"
)

// TestMain is also the program that the tests run, as OTAPACK_TEST_ANSWERER says.
func TestMain(m *testing.M) {
	if how := os.Getenv("OTAPACK_TEST_ANSWERER"); how != "" {
		os.Exit(answerer(how))
	}
	os.Exit(m.Run())
}

// answerer answers questions, well or badly.
func answerer(how string) int {
	in := bufio.NewReader(os.Stdin)
	status := 0
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return status
		}
		var q Question
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&q); err != nil || q.Schema != QuestionSchema {
			fmt.Fprintln(os.Stderr, "bad question", err)
			return 3
		}
		inputs := map[string][]byte{}
		for name, path := range q.Inputs {
			if inputs[name], err = os.ReadFile(path); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 3
			}
		}
		switch how {
		case "hangs":
			signal.Ignore(syscall.SIGTERM)
			time.Sleep(time.Minute)
		case "chatty":
			fmt.Println("checking", q.ID)
		case "crashes":
			fmt.Fprintln(os.Stderr, "segmentation fault, or so")
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		case "no sequence": // the planted bug: the rollback floor is not looked at
			if q.Device.SUIT != nil {
				q.Device.SUIT.MinSequence = 0
			}
		case "no final size": // the planted bug: image bytes behind the signed ones are not noticed
			inputs["payload"] = inputs["payload"][:min(len(inputs["payload"]), imageSize)]
		}
		j, err := Reference(context.Background(), q.Device, inputs)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 3
		}
		switch how {
		case "wrong reason":
			if j.Reason != "" {
				j.Reason = "other-reason"
			}
		case "no reason":
			j.Reason = ""
		case "no step":
			j.Step, j.Reason = "", ""
		case "no rollback":
			if j.Step == "sequence" {
				j.Verdict, j.Step, j.Reason, status = Skip, "", "", 77
			}
		case "wrong status":
			j.Verdict, j.Step, j.Reason = verdicts.Accept, "", ""
			status = 1
		}
		if j.Verdict == verdicts.Refuse {
			status = 1
		}
		fmt.Println(j.Answer)
		if how == "twice" {
			fmt.Println(j.Answer)
		}
	}
}

func tasks(t testing.TB, family string, take func(verdicts.Case) bool) []Task {
	t.Helper()
	f := load(t, family)
	var all []Task
	for _, c := range f.Cases {
		if take == nil || take(c) {
			all = append(all, Task{f, c})
		}
	}
	if len(all) == 0 {
		t.Fatal("no cases")
	}
	return all
}

func self(t testing.TB, how string, stream bool) Program {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Program{Path: path, Env: []string{"OTAPACK_TEST_ANSWERER=" + how, "GORACE=atexit_sleep_ms=0"}, Stream: stream, Timeout: 20 * time.Second, Jobs: 2}
}

func count(outcomes []Outcome) map[Kind]int {
	n := map[Kind]int{}
	for _, o := range outcomes {
		n[o.Kind]++
	}
	return n
}

// A program that is our own verifier agrees in everything, through either
// interface.
func TestRunAgrees(t *testing.T) {
	for _, name := range verdicts.Families() {
		all := tasks(t, name, nil)
		var done atomic.Int32
		outcomes, err := Run(t.Context(), self(t, "well", true), all, func() { done.Add(1) })
		if err != nil {
			t.Fatal(err)
		}
		if n := count(outcomes); n[KindAgrees] != len(all) || int(done.Load()) != len(all) {
			t.Errorf("%s: %v of %d, %d done", name, n, len(all), done.Load())
		}
	}
	few := tasks(t, "suit-stm32l4", func(c verdicts.Case) bool { return strings.HasPrefix(c.ID, "suit-stm32l4/T3/") })
	outcomes, err := Run(t.Context(), self(t, "well", false), few, func() {})
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range outcomes {
		if o.Kind != KindAgrees || o.ID != few[i].Case.ID {
			t.Errorf("%+v", o)
		}
	}
}

// Every way to be wrong is found.
func TestRunDisagrees(t *testing.T) {
	few := func(ids ...string) []Task {
		return tasks(t, "suit-nrf52840", func(c verdicts.Case) bool {
			for _, id := range ids {
				if c.ID == "suit-nrf52840/"+id {
					return true
				}
			}
			return false
		})
	}
	two := few("T1/as-it-should-be", "T1/lower-sequence-number")
	for _, stream := range []bool{false, true} {
		for how, want := range map[string][2]Kind{
			"well":         {KindAgrees, KindAgrees},
			"no reason":    {KindAgrees, KindAgrees},
			"no sequence":  {KindAgrees, KindAccepted},
			"wrong reason": {KindAgrees, KindReason},
			"no step":      {KindAgrees, KindStep},
			"no rollback":  {KindAgrees, KindSkipped},
			"chatty":       {KindNoAnswer, KindNoAnswer},
			"crashes":      {KindNoAnswer, KindNoAnswer},
		} {
			outcomes, err := Run(t.Context(), self(t, how, stream), two, func() {})
			if err != nil {
				t.Fatal(err)
			}
			if got := [2]Kind{outcomes[0].Kind, outcomes[1].Kind}; got != want {
				t.Errorf("%s, stream %t: got %q, want %q: %+v", how, stream, got, want, outcomes)
			}
			for _, o := range outcomes {
				if (o.Kind == KindNoAnswer) != (o.Detail != "") {
					t.Errorf("%s: detail %q", how, o.Detail)
				}
				if how == "crashes" && !strings.Contains(o.Detail, "segmentation fault, or so") {
					t.Errorf("detail %q does not say what the program wrote", o.Detail)
				}
			}
		}
		p := self(t, "hangs", stream)
		p.Timeout = 100 * time.Millisecond
		outcomes, err := Run(t.Context(), p, two, func() {})
		if err != nil {
			t.Fatal(err)
		}
		if n := count(outcomes); n[KindNoAnswer] != 2 || !strings.Contains(outcomes[0].Detail, "no answer within 100ms") {
			t.Errorf("stream %t: %+v", stream, outcomes)
		}
	}
	p := self(t, "wrong status", false)
	outcomes, err := Run(t.Context(), p, two, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if outcomes[0].Kind != KindNoAnswer || outcomes[0].Detail != `said "accept" and exited with 1` {
		t.Errorf("%+v", outcomes[0])
	}
	p = self(t, "twice", true)
	p.Jobs = 1
	outcomes, err = Run(t.Context(), p, two, func() { time.Sleep(300 * time.Millisecond) })
	if err != nil {
		t.Fatal(err)
	}
	if outcomes[0].Kind != KindAgrees || outcomes[1].Kind != KindNoAnswer || outcomes[1].Detail != `said "accept" before it was asked` {
		t.Errorf("%+v", outcomes)
	}
	p = self(t, "no step", true)
	p.VerdictOnly = true
	if outcomes, err = Run(t.Context(), p, two, func() {}); err != nil || count(outcomes)[KindAgrees] != 2 {
		t.Errorf("%+v, %v", outcomes, err)
	}
}

// A verifier that leaves one check out is caught by name.
func TestPlantedBugs(t *testing.T) {
	for how, want := range map[string]string{"no sequence": "sequence", "no final size": "size"} {
		all := tasks(t, "suit-nrf52840", func(c verdicts.Case) bool { return c.Step == want || c.Verdict == verdicts.Accept })
		outcomes, err := Run(t.Context(), self(t, how, true), all, func() {})
		if err != nil {
			t.Fatal(err)
		}
		caught := 0
		for _, o := range outcomes {
			switch o.Kind {
			case KindAgrees:
			case KindAccepted, KindStep, KindReason:
				caught++
				if o.Want.Step != want {
					t.Errorf("%s: %+v", how, o)
				}
			case KindRefused: // a full bank is longer than what the bug leaves
				if how != "no final size" {
					t.Errorf("%s: %+v", how, o)
				}
			case KindNoAnswer:
				t.Errorf("%s: %+v", how, o)
			}
		}
		if caught < 3 {
			t.Errorf("%s was caught %d times", how, caught)
		}
	}
}

func TestRunErrors(t *testing.T) {
	all := tasks(t, "nrfdfu", nil)[:3]
	plain := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(plain, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, stream := range []bool{false, true} {
		for _, path := range []string{"/nowhere/program", plain} {
			p := self(t, "well", stream)
			p.Path = path
			if _, err := Run(t.Context(), p, all, func() {}); !errors.Is(err, ErrStart) {
				t.Errorf("%s: got %v", path, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err := Run(ctx, self(t, "hangs", stream), all, func() {}); !errors.Is(err, context.Canceled) {
			t.Errorf("stream %t: got %v", stream, err)
		}
	}
}

func TestParseAnswer(t *testing.T) {
	for line, want := range map[string]Answer{
		"accept":             {Verdict: "accept"},
		"skip\n":             {Verdict: "skip"},
		"refuse":             {Verdict: "refuse"},
		"refuse signature\n": {Verdict: "refuse", Step: "signature"},
		" refuse sequence  sequence-rollback \r\n": {Verdict: "refuse", Step: "sequence", Reason: "sequence-rollback"},
	} {
		got, err := ParseAnswer(line)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v", line, got, err)
		}
		if again, err := ParseAnswer(got.String()); err != nil || again != got {
			t.Errorf("%q: again %+v, %v", line, again, err)
		}
	}
	for _, line := range []string{"", "yes", "accept it", "skip it", "refuse a b c", "refuse Step", "refuse a\x1b[0m", "ok\naccept", "accept\naccept", strings.Repeat("x", 5000)} {
		if got, err := ParseAnswer(line); !errors.Is(err, ErrAnswer) || got != (Answer{}) || len(err.Error()) > 500 {
			t.Errorf("%q: got %+v, %v", line, got, err)
		}
	}
}
