package engine

import (
	"testing"
	"time"

	"goaoe/internal/store"
	"goaoe/internal/sys"
)

// slowDisk is an executor with operations under way that tests let end. The time is that of its clock: a microsecond goes by from one look at it to the next.
type slowDisk struct {
	now   int64
	ended uint64
	only  bool
	looks int
	after int           // so many looks find nothing
	each  time.Duration // a look takes so long
}

func (d *slowDisk) Prompt() (uint64, bool) { return d.ended, d.only }

func (d *slowDisk) Pending() bool {
	d.looks++
	d.now += int64(d.each)
	return d.looks > d.after
}

func (d *slowDisk) clock() (realtime, nanotime int64) {
	d.now += int64(time.Microsecond)
	return d.now, d.now
}

// lane makes a lane that waits for the disk.
func (d *slowDisk) lane(t *testing.T) *lane {
	t.Helper()
	d.now = 1 << 40
	l := &lane{eng: &Engine{opts: Options{DiskPoll: true, Clock: d.clock}}}
	if _, err := l.set.Get("slow", func() (store.Executor, error) { return d, nil }); err != nil {
		t.Fatal(err)
	}
	return l
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
		d := c.disk
		l := d.lane(t)
		now := d.now
		l.disks.at = now - 100*int64(c.gap)
		for i := range 100 {
			d.ended++
			l.disks.saw(d.ended, now-int64(99-i)*int64(c.gap))
		}
		if got := l.lookAtDisks(d.now); got != c.want || got && (l.stats.Spins.Load() != 1 || l.glance == 0) {
			t.Errorf("%s: it came by looking: %v, want %v; %d times, glance %d", c.what, got, c.want, l.stats.Spins.Load(), l.glance)
		}
		hangs := c.disk.after > 100
		if d.looks > 0 != (c.want || hangs) {
			t.Errorf("%s: %d looks", c.what, d.looks)
		}
		if most := now + diskLook + int64(5*time.Microsecond); d.now > most || hangs && d.now < now+diskLook {
			t.Errorf("%s: it looked for %v", c.what, time.Duration(d.now-now))
		}
		// The next end is far away: it is not looked for.
		d.looks = 0
		if l.disks.at = 0; l.lookAtDisks(d.now) || d.looks != 0 {
			t.Errorf("%s: looked for long after the last end", c.what)
		}
	}
}

// TestLookingAtDisksGivesWay: who does not get the processor back at once pauses, longer each time, and begins anew after a time without that.
func TestLookingAtDisksGivesWay(t *testing.T) {
	d := &slowDisk{only: true, after: 1, each: 2 * time.Duration(awayFor)}
	l := d.lane(t)
	now := d.now
	l.disks = diskPoll{at: now}
	if l.lookAtDisks(now) || l.disks.off <= now || l.disks.rest != restLeast {
		t.Fatalf("after a look in which the processor was wanted the pause is %v", time.Duration(l.disks.rest))
	}
	looks := d.looks
	if l.disks.at = l.disks.off - 1; l.lookAtDisks(l.disks.off-1) || d.looks != looks {
		t.Fatal("it looked in a pause")
	}
	p := diskPoll{}
	at := int64(1) << 50
	for want := restLeast; want < 4*restMost; want *= 2 {
		if p.lost(at); p.rest != min(want, restMost) || p.off != at+p.rest {
			t.Fatalf("the pause is %v, want %v", time.Duration(p.rest), time.Duration(min(want, restMost)))
		}
		at = p.off + p.rest // soon again
	}
	if p.lost(p.off + 2*calmAfter*p.rest); p.rest != restLeast {
		t.Errorf("after a calm time the pause is %v", time.Duration(p.rest))
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
		d := &slowDisk{only: true, ended: 1, after: 2}
		l := d.lane(t)
		l.wake, l.eng.opts.DiskPoll = wake, on
		wake.Signal() // so that it does not sleep for ever
		l.disks.at = d.now
		l.idle()
		if slept := l.stats.Sleeps.Load() > 0; slept == on {
			t.Errorf("disk-poll %v: slept: %v", on, slept)
		}
	}
}

func TestLookingAtDisksAllocatesNothing(t *testing.T) {
	d := &slowDisk{only: true}
	l := d.lane(t)
	if n := testing.AllocsPerRun(1000, func() {
		d.ended += 100
		d.looks, d.after = 0, 2
		l.disks.at = d.now
		if l.disks.off = 0; !l.lookAtDisks(l.disks.at) {
			panic("it did not look")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
