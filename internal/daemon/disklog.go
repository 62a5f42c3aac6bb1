package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/stats"
)

// Limits of what is said about disks that fail or hang.
const (
	diskEvery = 10 * time.Second // one line about failures in this time
	diskCalm  = 30 * time.Second // without a failure for so long a disk is well again
	pauseCalm = 10 * time.Minute // no line about a pause of the lane's writes when there was one in this time
	diskHangs = 10 * time.Second // requests on the disk and none of them finished for so long: it hangs
)

// diskLog turns the counters of an export into lines about its disk: what fails, what hangs, and when that is over. The zero value is
// ready; it begins with what it is told first.
type diskLog struct {
	begun  bool
	errors [stats.NumErrors]uint64 // told so far
	total  uint64                  // failures since the first one of this trouble
	first  time.Time               // of this trouble; zero: there is none
	last   time.Time               // when the counters last rose
	said   time.Time
	done   uint64    // requests finished, as last seen
	moved  time.Time // when that last rose, or nothing was on the disk
	hangs  bool
	pauses uint64    // of the lane's own writes, as last seen
	paused time.Time // when that last rose
}

// diskLine is one line of the log.
type diskLine struct {
	level slog.Level
	text  string
}

// errorWords says what a kind of failure means.
var errorWords = [stats.NumErrors]string{
	stats.ErrorMedia: "input/output errors", stats.ErrorNoSpace: "no space left", stats.ErrorGone: "the device is gone", stats.ErrorReadOnly: "it refuses writes",
}

// look takes the counters and returns what is to be said now.
func (l *diskLog) look(now time.Time, s *stats.Export) (out []diskLine) {
	var errors [stats.NumErrors]uint64
	done := s.Reads.Load() + s.Writes.Load() + s.Flushes.Load() + s.Discards.Load()
	for i := range errors {
		errors[i] = s.Errors[i].Load()
		done += errors[i]
	}
	if !l.begun {
		l.begun, l.errors, l.moved, l.pauses = true, errors, now, s.Store.WriteNowPauses.Load()
	}
	if done != l.done || s.OnStore.Load() == 0 {
		if l.hangs {
			l.hangs = false
			out = append(out, diskLine{slog.LevelInfo, fmt.Sprintf("the disk answers again, after %.0f s", now.Sub(l.moved).Seconds())})
		}
		l.done, l.moved = done, now
	} else if n := s.OnStore.Load(); !l.hangs && now.Sub(l.moved) >= diskHangs {
		l.hangs = true
		out = append(out, diskLine{slog.LevelError, fmt.Sprintf("the disk hangs: %s under way, and none finished for %.0f s", requestsOf(n), now.Sub(l.moved).Seconds())})
	}
	if n := s.Store.WriteNowPauses.Load(); n != l.pauses {
		if l.paused.IsZero() || now.Sub(l.paused) >= pauseCalm {
			out = append(out, diskLine{slog.LevelInfo, "the disk made the lane wait for a write into the page cache: io_uring has the writes for a while (write-now = \"auto\")"})
		}
		l.pauses, l.paused = n, now
	}

	var n uint64
	var kinds []string
	for i := range errors {
		if d := errors[i] - l.errors[i]; d > 0 {
			n += d
			kinds = append(kinds, errorWords[i])
		}
	}
	if n > 0 && (l.said.IsZero() || now.Sub(l.said) >= diskEvery) {
		since := ""
		if l.first.IsZero() {
			l.first, l.total = now, 0
		} else {
			since = fmt.Sprintf(" in the last %.0f s", now.Sub(l.said).Seconds())
		}
		l.total += n
		l.errors, l.said = errors, now
		out = append(out, diskLine{slog.LevelError, fmt.Sprintf("the disk fails: %s ended with errors%s: %s; the last was: %v", requestsOf(n), since, strings.Join(kinds, ", "),
			unix.Errno(s.LastErrno.Load()))})
	}
	if n > 0 {
		l.last = now
	} else if !l.first.IsZero() && now.Sub(l.last) >= diskCalm {
		out = append(out, diskLine{slog.LevelInfo, fmt.Sprintf("the disk has not failed for %.0f s; %s had failed before", now.Sub(l.last).Seconds(), requestsOf(l.total))})
		l.first, l.said = time.Time{}, time.Time{}
	}
	return out
}

func requestsOf(n uint64) string {
	if n == 1 {
		return "1 request"
	}
	return fmt.Sprintf("%d requests", n)
}

// logDisk tells how the disk of an export is.
func (d *Daemon) logDisk(x *export) {
	if x.phase != serving {
		return
	}
	for _, l := range x.disk.look(time.Now(), &x.run.target.Stats) {
		d.log.LogAttrs(context.Background(), l.level, fmt.Sprintf("%v (%s) %s", x.addr, x.cfg.Source, l.text), forExport(x.addr))
	}
}
