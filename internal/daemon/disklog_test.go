package daemon

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/stats"
)

// TestDiskLog follows a disk that fails, hangs and recovers, in made-up time.
func TestDiskLog(t *testing.T) {
	var s stats.Export
	var l diskLog
	s.Errors[stats.ErrorMedia].Add(7) // of an earlier run: not news
	s.LastErrno.Set(uint64(unix.EIO))
	s.Store.WriteNowPauses.Add(3)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, step := range []struct {
		at   int // seconds
		do   func()
		want string
	}{
		{0, func() { s.OnStore.Set(1) }, ""}, // under way when it is first looked at
		{2, func() { s.OnStore.Set(0); s.Reads.Add(5) }, ""},
		{4, func() { s.Errors[stats.ErrorMedia].Add(1) }, "[ERROR the disk fails: 1 request ended with errors: input/output errors; the last was: input/output error]"},
		{6, func() {
			s.Errors[stats.ErrorMedia].Add(30)
			s.Errors[stats.ErrorNoSpace].Add(2)
			s.LastErrno.Set(uint64(unix.ENOSPC))
		}, ""},
		{14, func() {}, "[ERROR the disk fails: 32 requests ended with errors in the last 10 s: input/output errors, no space left; the last was: no space left on device]"},
		{16, func() {}, ""},
		{44, func() {}, "[INFO the disk has not failed for 30 s; 33 requests had failed before]"},
		{46, func() {}, ""},
		{48, func() { s.OnStore.Set(16) }, ""},
		{50, func() {}, ""},
		{56, func() {}, "[ERROR the disk hangs: 16 requests under way, and none finished for 10 s]"},
		{58, func() {}, ""},
		{66, func() { s.Writes.Inc() }, "[INFO the disk answers again, after 20 s]"},
		{68, func() { s.Writes.Inc() }, ""},
		{76, func() { s.Writes.Inc() }, ""},
		{80, func() { s.OnStore.Set(0) }, ""},
		{100, func() {}, ""},
		{102, func() { s.Errors[stats.ErrorGone].Add(1); s.LastErrno.Set(uint64(unix.ENODEV)) }, "[ERROR the disk fails: 1 request ended with errors: the device is gone; the last was: no such device]"},
		{104, func() { s.Store.WriteNowPauses.Add(1) }, "[INFO the disk made the lane wait for a write into the page cache: io_uring has the writes for a while (write-now = \"auto\")]"},
		{106, func() { s.Store.WriteNowPauses.Add(2) }, ""},
		{700, func() { s.Store.WriteNowPauses.Add(1) }, "[INFO the disk has not failed for 598 s; 1 request had failed before]"},
		{1299, func() { s.Store.WriteNowPauses.Add(1) }, ""},
		{1899, func() { s.Store.WriteNowPauses.Add(1) }, "[INFO the disk made the lane wait for a write into the page cache: io_uring has the writes for a while (write-now = \"auto\")]"},
	} {
		step.do()
		got := ""
		if lines := l.look(start.Add(time.Duration(step.at)*time.Second), &s); lines != nil {
			for _, x := range lines {
				got += fmt.Sprintf("[%v %s]", x.level, x.text)
			}
		}
		if got != step.want {
			t.Errorf("at %d s: %s, want %s", step.at, got, step.want)
		}
	}
}
