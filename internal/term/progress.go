package term

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

const (
	quiet    = 500 * time.Millisecond // shorter work shows nothing
	interval = 100 * time.Millisecond // between two redraws
)

// Progress is one line on a terminal that says what is going on. It appears
// when the work has lasted half a second and goes when the work is done. Its
// methods may be called from several goroutines.
type Progress struct {
	mu    sync.Mutex
	w     io.Writer // nil: not a terminal, or stopped
	width func() int
	text  string // to be shown
	drawn string // is shown
	timer *time.Timer
}

// StartProgress begins to show a text on f. Where f is not a terminal, nothing
// is ever written. Nobody else may write to the terminal before Stop.
func StartProgress(f *os.File, text string) *Progress {
	if !IsTerminal(f) {
		return &Progress{}
	}
	return start(f, func() int { return width(f) }, text)
}

func start(w io.Writer, width func() int, text string) *Progress {
	p := &Progress{w: w, width: width, text: text}
	p.mu.Lock() // draw uses the timer
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(quiet, p.draw)
	return p
}

// Set changes the text.
func (p *Progress) Set(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = text
}

// Meter returns a text for Progress: how much of some work is done, as a bar and
// in numbers, and how long the rest will take if it goes on as before.
func Meter(done, total int, elapsed time.Duration) string {
	const cells = 20
	if total <= 0 || done < 0 || done > total {
		return ""
	}
	filled := cells * done / total
	text := fmt.Sprintf("[%s%s] %d of %d", strings.Repeat("=", filled), strings.Repeat(" ", cells-filled), done, total)
	if done == 0 || done == total {
		return text
	}
	left := time.Duration(float64(elapsed) / float64(done) * float64(total-done)).Round(time.Second)
	return fmt.Sprintf("%s, %v left", text, left)
}

// Stop erases the line. Later calls do nothing.
func (p *Progress) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w == nil {
		return
	}
	p.timer.Stop()
	if p.drawn != "" {
		_, _ = io.WriteString(p.w, "\r\x1b[K") // a terminal that is gone needs no erasing
	}
	p.w = nil
}

func (p *Progress) draw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w == nil {
		return
	}
	if text := fit(p.text, p.width()); text != p.drawn {
		_, _ = io.WriteString(p.w, "\r"+text+"\x1b[K") // progress that cannot be shown is no reason to fail
		p.drawn = text
	}
	p.timer.Reset(interval)
}

// width returns the number of columns of a terminal.
func width(f *os.File) int {
	columns := 0
	_ = control(f, func(fd int) (err error) { columns, _, err = term.GetSize(fd); return err })
	if columns <= 0 {
		return 80
	}
	return columns
}

// fit makes one printable line that is shorter than the terminal is wide: a line
// that wraps cannot be erased.
func fit(text string, columns int) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
	if utf8.RuneCountInString(text) < columns {
		return text
	}
	return string([]rune(text)[:max(0, columns-1)])
}
