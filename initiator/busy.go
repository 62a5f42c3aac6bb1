package initiator

import (
	"golang.org/x/sys/unix"

	"goaoe/internal/sys"
)

// Busy polling. A thread that sleeps has to be woken, mostly on a processor that sleeps as well, which takes longer than the rest of the way
// to a near target and back: 17 us on a small virtual machine, where the same between threads of one processor takes 3. So whoever waits for little, and for what
// came soon the last time, looks for it a while before it sleeps. It steps back for everybody else who wants the processor: once that
// happened, looking is what makes all of them slower, and it is left for a while.
const (
	// busyDepth is how many answers may be outstanding for it: with more of them it takes the answers in smaller batches, and costs more than it brings.
	busyDepth = 4
	// busyGap is how long it takes at least to come back to a processor that another program has work for. Programs that only answer us are faster.
	busyGap = int64(200_000)
	// The pauses after that.
	busyRestLeast = int64(2_000_000)
	busyRestMost  = int64(1_000_000_000)
)

// busy is the state of busy polling. It is the receiver's.
type busy struct {
	most  int64 // Options.BusyPoll in nanoseconds; 0: never
	quick [2]bool
	off   int64 // until when it pauses
	rest  int64 // the last pause, which becomes less important with each success
}

// What is waited for: quick tells of each whether the last one came within most.
const (
	forAsk    = iota // one of the descriptors of WaitFor's caller
	forAnswer        // a frame
)

// worth tells whether to look for what.
func (b *busy) worth(what int, now int64) bool { return b.most > 0 && b.quick[what] && now >= b.off }

// came notes how long what took to come when it was not looked for.
func (b *busy) came(what int, took int64) { b.quick[what] = took < b.most }

// lost notes that somebody else wanted the processor.
func (b *busy) lost(now int64) {
	b.rest = min(max(2*b.rest, busyRestLeast), busyRestMost)
	b.off = now + b.rest
}

// paid notes that it came while it was looked for.
func (b *busy) paid() { b.rest -= b.rest >> 10 }

// spin looks for a frame, or, when no answer is outstanding, for one of fds. over is false when it gave up.
func (d *Disk) spin(start int64, fds []unix.PollFd, what int) (over, ready bool) {
	b := &d.busy
	for last := start; ; {
		if d.pending() {
			b.paid()
			return true, look(fds)
		}
		if what == forAsk && look(fds) {
			b.paid()
			return true, true
		}
		sys.Yield()
		now := sys.Nanotime()
		if now-last > busyGap {
			b.lost(now)
			return false, false
		}
		if now-start > b.most {
			return false, false
		}
		last = now
	}
}
