package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/stats"
)

// Limits of taps.
const (
	MaxTaps = 8
	// DefaultSnap holds all headers of a request or reply, in bytes.
	DefaultSnap = 64
	// MaxSnap is the largest frame with its Ethernet header.
	MaxSnap = 65535
	// tapMemory is what a tap's ring takes per lane, about, in bytes; tapLeast and tapMost bound how many records that makes.
	tapMemory = 4 << 20
	tapLeast  = 64
	tapMost   = 8192
	// tapPoll is how often a reader looks for records while there are none: a lane never wakes it.
	tapPoll = 10 * time.Millisecond
)

// TapConfig says what a tap wants. Zero fields want everything.
type TapConfig struct {
	Export    *aoe.Addr // frames to this export, also those to a wildcard that means it, and from it
	Initiator aoe.MAC   // frames from this address, and to it (broadcasts too); zero: of everybody
	Interface string
	Snap      int // bytes kept of each frame, up to MaxSnap; 0: DefaultSnap
}

// TapRecord is a frame that a tap saw. It and its Data are the tap's, and valid until the function that got it returns.
type TapRecord struct {
	Time      int64 // Unix nanoseconds: received, by the kernel's time stamp if it has one; or sent
	Interface string
	Out       bool       // sent by the target
	Drop      stats.Drop // received: why it got no reply; sent: DropSend when that failed. NoDrop else
	Length    int        // bytes of the whole frame, without FCS
	// Data is the beginning of the frame. Of a read out of a store's own memory, and of a request that was dropped after it had been
	// waiting, it is the headers only.
	Data   []byte
	Missed uint64 // frames of this tap and lane before this one for which there was no room
}

// Tap copies frames as they come and go. Lanes put them in rings of their own and never wait; what does not fit is counted.
type Tap struct {
	eng    *Engine
	cfg    TapConfig
	snap   int
	rings  []*tapRing // one per lane, and one for what is sent outside of the lanes
	mu     sync.Mutex // serialises writers of the last ring
	closed atomic.Bool
}

// tapRing has one writer and one reader.
type tapRing struct {
	head   atomic.Uint64 // records written; moved by the writer
	tail   atomic.Uint64 // records read; moved by the reader
	missed uint64        // since the last record that fitted; the writer's
	lost   stats.Single  // in all
	recs   []tapSlot
	mem    []byte // snap bytes for each record
	snap   int
}

type tapSlot struct {
	time   int64
	port   *Port
	missed uint64
	length int
	n      int // bytes in mem
	out    bool
	drop   stats.Drop
}

// tapSet is the taps of an engine at a moment; it does not change.
type tapSet struct{ taps []*Tap }

// NewTap makes a tap, which is on from now until Close. At most MaxTaps may be open.
func (e *Engine) NewTap(c TapConfig) (*Tap, error) {
	if c.Snap < 0 || c.Snap > MaxSnap {
		return nil, fmt.Errorf("snap = %d: must be 0 to %d bytes", c.Snap, MaxSnap)
	}
	t := &Tap{eng: e, cfg: c, snap: c.Snap}
	if t.snap == 0 {
		t.snap = DefaultSnap
	}
	n := min(max(tapMemory/t.snap, tapLeast), tapMost)
	for range len(e.lanes) + 1 {
		t.rings = append(t.rings, &tapRing{recs: make([]tapSlot, n), mem: make([]byte, n*t.snap), snap: t.snap})
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.taps.Load()
	if old == nil {
		old = &tapSet{}
	}
	if len(old.taps) >= MaxTaps {
		return nil, fmt.Errorf("%d traces are running already, which is the most: end one of them first", MaxTaps)
	}
	e.setTaps(append(slices.Clone(old.taps), t))
	return t, nil
}

// setTaps tells the lanes, which see it in their next turn. e.mu is held.
func (e *Engine) setTaps(taps []*Tap) {
	var s *tapSet
	if len(taps) > 0 {
		s = &tapSet{taps}
	}
	e.taps.Store(s)
	for _, l := range e.lanes {
		l.taps.Store(s)
	}
}

// Close ends the tap. Read returns when it has handed over what is left. It may be called twice.
func (t *Tap) Close() {
	t.eng.mu.Lock()
	defer t.eng.mu.Unlock()
	if s := t.eng.taps.Load(); s != nil {
		if i := slices.Index(s.taps, t); i >= 0 {
			t.eng.setTaps(slices.Delete(slices.Clone(s.taps), i, i+1))
		}
	}
	t.closed.Store(true)
}

// Lost returns how many frames there was no room for up to now.
func (t *Tap) Lost() uint64 {
	var n uint64
	for _, r := range t.rings {
		n += r.lost.Load()
	}
	return n
}

// ErrTapClosed is what Read returns after Close.
var ErrTapClosed = errors.New("the tap was closed")

// Read calls fn for each frame, until ctx ends, fn returns an error, or the tap is closed, and returns the reason. Frames of one lane come
// in their order, those of several sorted by time as far as they are there. Only one Read may run at a time.
func (t *Tap) Read(ctx context.Context, fn func(*TapRecord) error) error {
	tick := time.NewTicker(tapPoll)
	defer tick.Stop()
	for {
		closed := t.closed.Load()
		for {
			r := t.oldest()
			if r == nil {
				break
			}
			if err := r.take(fn); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		if closed {
			return ErrTapClosed
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// oldest returns the ring with the oldest record, or nil when there is none.
func (t *Tap) oldest() *tapRing {
	var best *tapRing
	var when int64
	for _, r := range t.rings {
		tail := r.tail.Load()
		if r.head.Load() == tail {
			continue
		}
		if at := r.recs[tail%uint64(len(r.recs))].time; best == nil || at < when {
			best, when = r, at
		}
	}
	return best
}

// take hands the oldest record to fn and frees its place.
func (r *tapRing) take(fn func(*TapRecord) error) error {
	tail := r.tail.Load()
	i := int(tail % uint64(len(r.recs)))
	s := &r.recs[i]
	rec := TapRecord{
		Time: s.time, Interface: s.port.name, Out: s.out, Drop: s.drop, Length: s.length, Missed: s.missed,
		Data: r.mem[i*r.snap : i*r.snap+s.n : i*r.snap+s.n],
	}
	err := fn(&rec)
	r.tail.Store(tail + 1)
	return err
}

// put adds a record, or counts it when there is no room.
func (r *tapRing) put(p *Port, time int64, out bool, drop stats.Drop, data []byte, length int) {
	head := r.head.Load()
	if head-r.tail.Load() == uint64(len(r.recs)) {
		r.missed++
		r.lost.Inc()
		return
	}
	i := int(head % uint64(len(r.recs)))
	n := copy(r.mem[i*r.snap:(i+1)*r.snap], data)
	r.recs[i] = tapSlot{time: time, port: p, missed: r.missed, length: length, n: n, out: out, drop: drop}
	r.missed = 0
	r.head.Store(head + 1)
}

// wants tells whether the tap is for a frame of port p.
func (t *Tap) wants(p *Port, frame []byte, out bool) bool {
	c := &t.cfg
	if c.Interface != "" && c.Interface != p.name {
		return false
	}
	if c.Initiator != (aoe.MAC{}) {
		if len(frame) < 12 {
			return false
		}
		m := aoe.MAC(frame[6:12])
		if out {
			m = aoe.MAC(frame[0:6])
		}
		if m != c.Initiator && (!out || m != aoe.Broadcast) {
			return false
		}
	}
	if c.Export != nil {
		if len(frame) < 19 {
			return false
		}
		a := aoe.Addr{Major: uint16(frame[16])<<8 | uint16(frame[17]), Minor: frame[18]}
		return a.Match(*c.Export)
	}
	return true
}

// put hands a frame to those taps that want it. ring is the lane's number.
func (s *tapSet) put(ring int, p *Port, time int64, out bool, drop stats.Drop, data []byte, length int) {
	for _, t := range s.taps {
		if t.wants(p, data, out) {
			t.rings[ring].put(p, time, out, drop, data, length)
		}
	}
}

// received shows a frame that came in and was dealt with.
func (s *tapSet) received(l *lane, p *lanePort, f *link.Frame) {
	at := f.Time
	if at == 0 {
		at = l.now
	}
	drop := l.why
	if l.answered {
		drop = stats.NoDrop
	}
	s.put(l.n, p.port, at, false, drop, f.Data, len(f.Data))
}

// injected shows a frame that was sent outside of the lanes.
func (s *tapSet) injected(p *Port, frame []byte, err error) {
	drop := stats.NoDrop
	if err != nil {
		drop = stats.DropSend
	}
	now := time.Now().UnixNano()
	for _, t := range s.taps {
		if t.wants(p, frame, true) {
			t.mu.Lock()
			t.rings[len(t.rings)-1].put(p, now, true, drop, frame, len(frame))
			t.mu.Unlock()
		}
	}
}
