package engine

import (
	"goaoe/internal/store"
	"goaoe/internal/sys"
)

// Looking for work instead of sleeping. Who sleeps has to be woken, which takes longer than much of what is waited for: 20 to 40 us on a virtual machine, whose
// processors leave it when they have nothing to do.

const (
	// spinLooks is how often a lane that looks for work does so between two looks at the clock, which take longer.
	spinLooks = 8
	// diskLook is how long a lane looks for the end of what disks work on, at most. Some disks tell the end of all that they have at once.
	diskLook = int64(500_000)
	// diskGap is how far apart these ends may lie, on an average, for it to look at all.
	diskGap = int64(100_000)
	// awayFor is how long it takes at least to come back to a processor that somebody else has work for.
	awayFor = int64(200_000)
	// The pauses after that, each twice as long as the one before unless that was over for calmAfter times its length. A thread that yielded to one that computes gets the
	// processor back after milliseconds only, where one that slept gets it at once.
	restLeast = int64(20_000_000)
	restMost  = int64(10_000_000_000)
	calmAfter = 8
)

// idle looks for work for a while, if that paid off lately, and then sleeps until there is some.
func (l *lane) idle() {
	if l.pending() {
		return
	}
	l.parts = 0
	start := l.nanotime()
	if l.spin > 0 {
		at := start
		for i := 0; at-start <= int64(l.spin); i++ {
			if l.pending() {
				l.stats.Spins.Inc()
				l.stats.SpinNs.Add(uint64(at - start))
				l.glance = at
				return
			}
			if i%spinLooks == spinLooks-1 {
				at = l.nanotime()
			}
		}
	}
	if l.eng.opts.DiskPoll && (l.lookAtDisks(start) || l.pending()) {
		return
	}
	slept := l.nanotime()
	l.stats.SpinNs.Add(uint64(slept - start))
	l.sleep()
	woke := l.nanotime()
	l.stats.SleepNs.Add(uint64(woke - slept))
	// Spinning pays when work comes soon. Once it did not, only a short sleep brings it back.
	if busy := l.eng.opts.BusyPoll; busy > 0 {
		if woke-start < 2*int64(busy) {
			l.spin = busy
		} else {
			l.spin = 0
		}
	}
}

// diskPoll is what a lane knows of the disks that it waits for.
type diskPoll struct {
	ended uint64 // operations that only disks worked on and that have ended
	at    int64  // when it was last seen that there are more of them
	gap   int64  // nanoseconds from one end to the next, on an average
	off   int64  // until when it pauses
	rest  int64  // the last pause
}

// saw takes over how many have ended by now.
func (d *diskPoll) saw(ended uint64, now int64) {
	if n := int64(ended - d.ended); n > 0 {
		d.gap += (min(now-d.at, 8*diskGap*n)/n - d.gap) / 8
		d.ended, d.at = ended, now
	}
}

// worth tells whether the next end is likely to come soon.
func (d *diskPoll) worth(now int64) bool {
	return d.gap <= diskGap && now-d.at < diskLook && now >= d.off
}

// lost notes that somebody else wanted the processor.
func (d *diskPoll) lost(now int64) {
	if d.rest *= 2; now-d.off > calmAfter/2*d.rest {
		d.rest = restLeast
	}
	d.rest = min(max(d.rest, restLeast), restMost)
	d.off = now + d.rest
}

// lookAtDisks looks for work while nothing but disks is waited for and these are quick, and tells whether some came. It gives way to everybody else who wants the
// processor.
func (l *lane) lookAtDisks(start int64) bool {
	var ended uint64
	some := false
	for _, x := range l.set.Executors() {
		if p, ok := x.(store.Prompt); ok {
			n, only := p.Prompt()
			ended += n
			some = some || only
		}
	}
	d := &l.disks
	d.saw(ended, start)
	if !some || !d.worth(start) {
		return false
	}
	for last := start; ; {
		sys.Yield()
		now := l.nanotime()
		if now-last > awayFor { // by now there is work, but not because of looking
			d.lost(now)
			return false
		}
		if l.pending() {
			l.stats.Spins.Inc()
			l.stats.SpinNs.Add(uint64(now - start))
			l.glance = now
			return true
		}
		if now-d.at > diskLook {
			return false
		}
		last = now
	}
}
