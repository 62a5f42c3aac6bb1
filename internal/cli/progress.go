package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// progressLine shows on a terminal how far a long piece of work is: one line that is written over again and again. Elsewhere it
// shows nothing.
type progressLine struct {
	w       io.Writer
	columns int // 0: no terminal
	now     func() time.Time

	phase string
	begun time.Time // of the phase
	first int64     // bytes that were done when it began
	marks []mark    // of the last seconds, for the rate
	shown bool
}

// mark is how much was done at a time.
type mark struct {
	at   time.Time
	done int64
}

// rateOver is the time over which the rate is taken.
const rateOver = 5 * time.Second

func newProgress(w io.Writer) *progressLine {
	columns, _, _ := terminal(w)
	return &progressLine{w: w, columns: columns, now: time.Now}
}

// show is called with what is done of total bytes (-1: not known).
func (p *progressLine) show(phase string, done, total int64) {
	if p.columns == 0 {
		return
	}
	now := p.now()
	if phase != p.phase {
		p.phase, p.begun, p.first, p.marks = phase, now, done, nil
	}
	for len(p.marks) > 1 && now.Sub(p.marks[0].at) > rateOver {
		p.marks = p.marks[1:]
	}
	p.marks = append(p.marks, mark{now, done})
	p.text(p.line(now, done, total))
}

// text shows a line.
func (p *progressLine) text(line string) {
	if p.columns == 0 {
		return
	}
	if n := []rune(line); len(n) >= p.columns {
		line = string(n[:max(p.columns-1, 0)])
	}
	fmt.Fprintf(p.w, "\r%s\x1b[K", line)
	p.shown = true
}

// line is e.g. "copy    42 %  [======        ]  1.2 GiB of 3.0 GiB  310 MiB/s  6 s left".
func (p *progressLine) line(now time.Time, done, total int64) string {
	rate := 0.0
	if d := now.Sub(p.marks[0].at); d > 0 {
		rate = float64(done-p.marks[0].done) / d.Seconds()
	}
	speed := humanize.IBytes(uint64(max(rate, 0))) + "/s"
	if total < 0 {
		return fmt.Sprintf("%-6s  %s  %s", p.phase, humanize.IBytes(uint64(done)), speed)
	}
	share := 1.0
	if total > 0 {
		share = float64(done) / float64(total)
	}
	left := "-"
	if done >= total {
		left = "finishing"
	} else if d := now.Sub(p.begun); d > 0 && done > p.first {
		// What is left by the mean rate: it jumps less.
		left = spell(time.Duration(float64(d)*float64(total-done)/float64(done-p.first))) + " left"
	}
	const width = 20
	bar := strings.Repeat("=", int(share*width))
	return fmt.Sprintf("%-6s  %3d %%  [%-*s]  %s of %s  %s  %s", p.phase, int(share*100), width, bar,
		humanize.IBytes(uint64(done)), humanize.IBytes(uint64(total)), speed, left)
}

// spell shows a time in the two largest units: 45s, 3m20s, 2h5m, 3d4h.
func spell(d time.Duration) string {
	s := int64(d.Round(time.Second) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%dm", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%dd%dh", s/86400, s%86400/3600)
}

// clear takes the line away, before other text.
func (p *progressLine) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
