package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otapack/otapack/bootloader"
)

// cancelOn cancels a context a moment after a text was written.
type cancelOn struct {
	bytes.Buffer
	text   string
	cancel context.CancelFunc
}

func (w *cancelOn) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.String(), w.text) {
		time.AfterFunc(time.Second, w.cancel)
		w.text = "\x00" // once
	}
	return n, err
}

// TestRehearseInterrupted stops a rehearsal that would take minutes: what was
// covered is reported all the same.
func TestRehearseInterrupted(t *testing.T) {
	dir, otapack := newProject(t)
	if err := otapack("release", "--version", "1.4.2"); err != nil {
		t.Fatal(err)
	}
	t.Setenv(envSoftHSM, "") // execute sets it
	args := []string{
		"rehearse", filepath.Join(dir, "dist", "1.4.2", "toothbrush-1.4.2.ota"), "--config", filepath.Join(dir, "otapack.yaml"), "--exhaustive", "--pairs", "10000",
	}
	census := filepath.Join(dir, "census.csv")
	if err := os.WriteFile(census, []byte(`devices,radio.version,radio.chip,radio.revision,radio.sequence,motor.version,motor.chip,motor.revision,motor.sequence
1,1.4.1,nrf52840,C,0,1.4.2,stm32l4,C,0
1,1.4.2,nrf52840,C,0,1.4.2,stm32l4,C,0
`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("fleet", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		stderr := &cancelOn{text: "stands in", cancel: cancel}
		var stdout bytes.Buffer
		code := execute(ctx, append(slices.Clone(args), "--census", census, "--json"), &stdout, stderr)
		var f struct {
			Code   string
			Result fleetRehearsed
		}
		if err := json.Unmarshal(stdout.Bytes(), &f); err != nil {
			t.Fatalf("%v: %s", err, stdout.String())
		}
		if r := f.Result; code != exitInterrupted || f.Code != "interrupted" || r.Complete || r.Passed || r.Devices != 2 || r.Rehearsed != 0 || len(r.Starts) != 1 || r.Runs == 0 {
			t.Errorf("exit code %d: %+v", code, f)
		}
	})
	for _, asJSON := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		stderr := &cancelOn{text: "stands in", cancel: cancel}
		var stdout bytes.Buffer
		if asJSON {
			args = append(args, "--json")
		}
		code := execute(ctx, args, &stdout, stderr)
		cancel()
		if code != exitInterrupted || !strings.Contains(stderr.String(), "otapack: error: rehearsal: stopped after ") {
			t.Errorf("exit code %d: %s", code, stderr.String())
		}
		if !asJSON {
			if !strings.Contains(stdout.String(), "\nruns ") {
				t.Errorf("no table: %s", stdout.String())
			}
			continue
		}
		var f failure
		if err := json.Unmarshal(stdout.Bytes(), &f); err != nil {
			t.Fatal(err)
		}
		if f.Code != "interrupted" || f.Exit != code || f.Rehearsal == nil || f.Rehearsal.Complete || f.Rehearsal.Passed || f.Rehearsal.Runs == 0 {
			t.Errorf("%+v, %+v", f, f.Rehearsal)
		}
	}
}

// TestDrawRun holds the picture against its data: it is well-formed, has a mark
// for each operation's page and a line for each event, and escapes texts.
func TestDrawRun(t *testing.T) {
	chip, err := bootloader.ChipByName("stm32l4")
	if err != nil {
		t.Fatal(err)
	}
	at := chip.Banks[0].Base
	p := &bootloader.Replay{
		Operations: 4, End: "a & b",
		Tracks: []bootloader.Track{{Component: "<motor>", Chip: chip, Touches: []bootloader.Touch{
			{At: 0, Erase: true, Region: bootloader.Region{Base: at, Size: chip.Page}},
			{At: 1, Region: bootloader.Region{Base: at, Size: 256}}, // one mark
			{At: 2, Region: bootloader.Region{Base: at + 256, Size: 256}},
			{At: 3, Region: bootloader.Region{Base: chip.Journal.Base, Size: 8}},
		}}},
		Events: []bootloader.Event{{At: 2, Component: "<motor>", Text: "power lost", Cut: true}, {At: 4, Component: "<motor>", Text: "boots"}},
	}
	picture := drawRun(p)
	fills := map[string]int{}
	lines, text := 0, ""
	d := xml.NewDecoder(bytes.NewReader(picture))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v:\n%s", err, picture)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if token.Name.Local == "line" {
				lines++
			}
			for _, a := range token.Attr {
				if a.Name.Local == "fill" && token.Name.Local == "rect" {
					fills[a.Value]++
				}
			}
		case xml.CharData:
			text += string(token)
		}
	}
	if fills["#e07020"] != 1 || fills["#2060a0"] != 2 || lines != len(p.Events) {
		t.Errorf("marks %v, %d lines", fills, lines)
	}
	for _, want := range []string{"<motor>, stm32l4", "bank 0 0x08008000", "journal 0x0803f000", "operation 2: <motor> power lost", "at rest: a & b"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %q", want, text)
		}
	}
}
