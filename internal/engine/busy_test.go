package engine

import (
	"testing"
	"time"

	"goaoe/internal/store"
	"goaoe/internal/sys"
)

// slowDisk is an executor with operations under way that tests let end.
type slowDisk struct {
	ended uint64
	only  bool
	looks int
	after int           // so many looks find nothing
	each  time.Duration // a look takes so long
}

func (d *slowDisk) Prompt() (uint64, bool) { return d.ended, d.only }

func (d *slowDisk) Pending() bool {
	d.looks++
	time.Sleep(d.each)
	return d.looks > d.after
}

func (d *slowDisk) Flush()               {}
func (d *slowDisk) Reap([]*store.Op) int { return 0 }
func (d *slowDisk) FD() int              { return -1 }
func (d *slowDisk) Close()               {}

// TestLookingAtDisks: a lane looks for the end of what disks work on, and only while that is quick, nobody else works on anything, and the processor is not wanted.
func TestLookingAtDisks(t *testing.T) {
	for _, c := range []struct {
		what string
		disk slowDisk
		gap  time.Duration // from one end to the next
		want bool
	}{
		{"a quick disk", slowDisk{only: true, after: 3}, 10 * time.Microsecond, true},
		{"nothing under way, or something that is not a disk's alone", slowDisk{after: 3}, 10 * time.Microsecond, false},
		{"a slow disk", slowDisk{only: true, after: 3}, 200 * time.Microsecond, false},
		{"a quick disk that hangs", slowDisk{only: true, after: 1 << 30}, 10 * time.Microsecond, false},
	} {
		l, d := &lane{eng: &Engine{opts: Options{DiskPoll: true}}}, c.disk
		if _, err := l.set.Get("slow", func() (store.Executor, error) { return &d, nil }); err != nil {
			t.Fatal(err)
		}
		now := sys.Nanotime()
		l.disks.at = now - 100*int64(c.gap)
		for i := range 100 {
			d.ended++
			l.disks.saw(d.ended, now-int64(99-i)*int64(c.gap))
		}
		if got := l.lookAtDisks(sys.Nanotime()); got != c.want || got && (l.stats.Spins.Load() != 1 || l.glance == 0) {
			t.Errorf("%s: it came by looking: %v, want %v; %d times, glance %d", c.what, got, c.want, l.stats.Spins.Load(), l.glance)
		}
		hangs := c.disk.after > 100
		if d.looks > 0 != (c.want || hangs) {
			t.Errorf("%s: %d looks", c.what, d.looks)
		}
		// It gives up by itself; on a busy machine it may find before that the processor is wanted.
		for try := 0; hangs && l.disks.off != 0; try++ {
			if try == 100 {
				t.Fatalf("%s: it goes on looking", c.what)
			}
			l.disks.at = sys.Nanotime()
			if l.disks.off = 0; l.lookAtDisks(l.disks.at) {
				t.Fatalf("%s: something came", c.what)
			}
		}
		// The next end is far away: it is not looked for.
		d.looks = 0
		if l.disks.at = 0; l.lookAtDisks(sys.Nanotime()) || d.looks != 0 {
			t.Errorf("%s: looked for long after the last end", c.what)
		}
	}
}

// TestLookingAtDisksGivesWay: who does not get the processor back at once pauses, longer each time, and less long after it paid.
func TestLookingAtDisksGivesWay(t *testing.T) {
	l, d := &lane{eng: &Engine{opts: Options{DiskPoll: true}}}, &slowDisk{only: true, after: 1 << 30, each: 2 * time.Duration(awayFor)}
	if _, err := l.set.Get("slow", func() (store.Executor, error) { return d, nil }); err != nil {
		t.Fatal(err)
	}
	last := int64(0)
	for n := range 12 {
		d.ended++
		now := sys.Nanotime()
		l.disks = diskPoll{ended: d.ended, at: now, off: 0, rest: l.disks.rest}
		if l.lookAtDisks(now) {
			t.Fatal("something came")
		}
		if l.disks.off <= now || l.disks.rest < min(2*last, restMost) || l.disks.rest < restLeast || l.disks.rest > restMost {
			t.Fatalf("round %d: the pause is %v after %v", n, time.Duration(l.disks.rest), time.Duration(last))
		}
		if looks := d.looks; l.lookAtDisks(l.disks.off-1) || d.looks != looks {
			t.Fatal("it looked in a pause")
		}
		last = l.disks.rest
	}
	d.each, d.after = 0, 0
	l.disks.at, l.disks.off = sys.Nanotime(), 0
	if !l.lookAtDisks(l.disks.at) || l.disks.rest >= last {
		t.Errorf("a look that paid leaves the pause at %v", time.Duration(l.disks.rest))
	}
}

// TestDiskPollOff: without the setting a lane sleeps, whatever the disks do.
func TestDiskPollOff(t *testing.T) {
	for _, on := range []bool{true, false} {
		wake, err := sys.NewEventFD()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = wake.Close() }()
		l, d := &lane{eng: &Engine{opts: Options{DiskPoll: on}}, wake: wake}, &slowDisk{only: true, ended: 1, after: 2}
		if _, err := l.set.Get("slow", func() (store.Executor, error) { return d, nil }); err != nil {
			t.Fatal(err)
		}
		wake.Signal() // so that it does not sleep for ever
		l.disks.at = sys.Nanotime()
		l.idle()
		if slept := l.stats.Sleeps.Load() > 0; slept == on {
			t.Errorf("disk-poll %v: slept: %v", on, slept)
		}
	}
}

func TestLookingAtDisksAllocatesNothing(t *testing.T) {
	l, d := &lane{eng: &Engine{opts: Options{DiskPoll: true}}}, &slowDisk{only: true}
	if _, err := l.set.Get("slow", func() (store.Executor, error) { return d, nil }); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() {
		d.ended += 100
		d.looks, d.after = 0, 2
		l.disks.at = sys.Nanotime()
		if l.disks.off = 0; !l.lookAtDisks(l.disks.at) {
			panic("it did not look")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
