package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"goaoe/aoe"
	"goaoe/internal/stats"
	"goaoe/internal/store"
	"goaoe/internal/target"
)

// Limits of what one initiator gets of an export: a token bucket for requests and one for bytes, for each initiator. They stand in front of the
// store and of its fair queue: a request that its initiator has no tokens for waits in a list of that initiator, keeps its place in
// the order of arrival (what overlaps it waits for it, order.go) and its slot, and nobody else is held up. It is let through when there are tokens, or
// dropped when it has become too old, like any that waits. Requests that need no storage are not counted.
//
// A bucket is one moment in time: until when what was taken is paid for. Who is ahead of the clock by more than the burst waits. So nothing has to be
// filled up, and a bucket whose moment has passed is as good as a new one: its place can go to somebody else.
// Initiators are told apart by their whole Ethernet address, not by a hash. Only when more of them than there are places were active within the same
// tenth of a second do the last of them share one bucket with the limits of everybody.
//
// An export without limits costs a comparison with nil; one with limits allocates nothing for a request.

// Limit is what an initiator gets at most. The zero Limit is none.
type Limit struct {
	IOPS      int   // requests for storage per second; 0: any number
	Bandwidth int64 // bytes read and written per second; 0: any number
}

// Limits are those of the initiators of one export.
type Limits struct {
	Each Limit             // of every initiator that is not in Own
	Own  map[aoe.MAC]Limit // of some; a zero Limit lifts that of Each
}

const (
	// limitBurst is how much of its limit an initiator that was idle may use at once: what it gets in this many nanoseconds, but always a request.
	limitBurst = 100_000_000
	// limitTick is how long a lane leaves those that wait alone before it looks again: the burst evens it out, and a wake-up for
	// each single request would cost more than the request.
	limitTick = 500_000

	bucketBits   = 9
	bucketPlaces = 1 << bucketBits
	bucketProbes = 16 // places that an address may be at
)

// bucket is what one initiator has used of its limits.
type bucket struct {
	mac   uint64 // 0: nobody's
	perOp int64  // nanoseconds for a request; 0: no limit
	rate  int64  // bytes per second; 0: no limit
	// Until when the requests and the bytes that were taken are paid for, on the clock of sys.Nanotime.
	ops, bytes  int64
	first, last *slot   // what waits, oldest first
	next        *bucket // in the list of those with requests that wait
}

func (b *bucket) set(l Limit) {
	b.perOp, b.rate = 0, l.Bandwidth
	if l.IOPS > 0 {
		b.perOp = (1e9 + int64(l.IOPS) - 1) / int64(l.IOPS)
	}
}

// cost is how many nanoseconds of the bandwidth so many bytes take.
func (b *bucket) cost(bytes int64) int64 { return (bytes*1e9 + b.rate - 1) / b.rate }

// due is when a request of so many bytes may go.
func (b *bucket) due(bytes int64) int64 {
	at := int64(math.MinInt64)
	if b.perOp > 0 {
		at = b.ops - max(0, limitBurst-b.perOp)
	}
	if b.rate > 0 {
		at = max(at, b.bytes-max(0, limitBurst-b.cost(bytes)))
	}
	return at
}

// take counts a request of so many bytes if it may go now, and tells whether it may.
func (b *bucket) take(now, bytes int64) bool {
	if b.due(bytes) > now {
		return false
	}
	if b.perOp > 0 {
		b.ops = max(b.ops, now) + b.perOp
	}
	if b.rate > 0 {
		b.bytes = max(b.bytes, now) + b.cost(bytes)
	}
	return true
}

// fresh tells whether nothing would be lost if the place were somebody else's.
func (b *bucket) fresh(now int64) bool { return b.first == nil && b.ops <= now && b.bytes <= now }

// limiter has the buckets of one export.
type limiter struct {
	each   Limit
	own    map[uint64]Limit
	places [bucketPlaces]bucket
	rest   bucket // of all that found no place

	waiters, lastWaiter *bucket // those with requests that wait, the one that waits for longest first
}

// newLimiter makes empty buckets. It returns nil where there is no limit at all.
func newLimiter(l *Limits) *limiter {
	if l == nil {
		return nil
	}
	m := &limiter{each: l.Each, own: make(map[uint64]Limit, len(l.Own))}
	some := l.Each != Limit{}
	for mac, o := range l.Own {
		m.own[mac.Key()] = o
		some = some || o != Limit{}
	}
	if !some {
		return nil
	}
	m.rest.set(l.Each)
	return m
}

// of returns the bucket of an initiator.
func (m *limiter) of(mac uint64, now int64) *bucket {
	at := int(mac * 0x9e3779b97f4a7c15 >> (64 - bucketBits))
	var free *bucket
	for i := range bucketProbes {
		b := &m.places[(at+i)%bucketPlaces]
		if b.mac == mac {
			return b
		}
		if free == nil && b.fresh(now) {
			free = b
		}
		if b.mac == 0 { // places are never emptied: behind it nobody is
			break
		}
	}
	if free == nil {
		return &m.rest
	}
	l, ok := m.own[mac]
	if !ok {
		l = m.each
	}
	*free = bucket{mac: mac}
	free.set(l)
	return free
}

// hold has a request wait behind the others of its bucket.
func (m *limiter) hold(b *bucket, s *slot) {
	s.state = slotLimited
	s.nextReady = nil
	if b.last != nil {
		b.last.nextReady = s
		b.last = s
		return
	}
	b.first, b.last, b.next = s, s, nil
	if m.lastWaiter != nil {
		m.lastWaiter.next = b
	} else {
		m.waiters = b
	}
	m.lastWaiter = b
}

// who returns the Ethernet address of who sent a request.
func (s *slot) who() uint64 {
	return uint64(binary.BigEndian.Uint16(s.req[6:]))<<32 | uint64(binary.BigEndian.Uint32(s.req[8:]))
}

// bytes is what a request counts against the bandwidth.
func (s *slot) bytes() int64 {
	if s.io.Kind == target.IORead || s.io.Kind == target.IOWrite {
		return int64(s.io.Count) * store.SectorSize
	}
	return 0
}

// within tells whether a request that nothing else is in the way of is within its initiator's limits. If not, it waits.
func (l *lane) within(s *slot) bool {
	if s.passed || l.stopping {
		return true
	}
	x := s.exp
	l.knowTime()
	b := x.limits.of(s.who(), l.mono)
	if b.first == nil && b.take(l.mono, s.bytes()) {
		s.passed = true
		return true
	}
	x.te.Stats.Limited.Inc()
	s.ini.Limited.Inc()
	l.hold(x, b, s)
	return false
}

// hold has a request wait for tokens.
func (l *lane) hold(x *laneExport, b *bucket, s *slot) {
	if l.limited == nil {
		l.limitAt = math.MaxInt64
	}
	l.list(x)
	x.limited++
	x.limits.hold(b, s)
	if b.first == s {
		l.limitAt = min(l.limitAt, max(b.due(s.bytes()), l.mono+limitTick))
	}
}

// list puts an export among those with requests that wait for tokens.
func (l *lane) list(x *laneExport) {
	if !x.listed {
		x.listed = true
		x.limitNext, l.limited = l.limited, x
	}
}

// knowTime sees to it that the lane knows the time. The clock is asked once a turn, as by receive.
func (l *lane) knowTime() {
	if l.timed != l.nth {
		l.timed = l.nth
		l.now, l.mono = l.clocks()
	}
}

// limitsDue tells whether requests may have waited long enough for their limits.
func (l *lane) limitsDue() bool {
	return l.limited != nil && (l.stopping || l.nanotime() >= l.limitAt)
}

// serveLimited lets through what has waited for its initiator's limits long enough.
func (l *lane) serveLimited() {
	l.knowTime()
	if l.mono < l.limitAt && !l.stopping {
		return
	}
	list := l.limited
	l.limited, l.limitAt = nil, math.MaxInt64
	for list != nil {
		x := list
		list, x.limitNext, x.listed = x.limitNext, nil, false
		if x.limited == 0 { // its limits were taken away meanwhile
			continue
		}
		if next := l.letThrough(x, l.stopping); x.limited > 0 {
			l.list(x)
			l.limitAt = min(l.limitAt, max(next, l.mono+limitTick))
		}
	}
}

// letThrough starts the requests of an export that have waited long enough, or all of them, and returns when the next ones may go.
func (l *lane) letThrough(x *laneExport, all bool) (next int64) {
	next = math.MaxInt64
	m := x.limits
	list := m.waiters
	m.waiters, m.lastWaiter = nil, nil
	for list != nil {
		b := list
		list, b.next = b.next, nil
		for b.first != nil {
			s := b.first
			age := l.eng.opts.RequestAge
			stale := age > 0 && s.time != 0 && l.now-s.time > int64(age)
			if !stale && !all && !b.take(l.mono, s.bytes()) {
				break
			}
			if b.first = s.nextReady; b.first == nil {
				b.last = nil
			}
			s.nextReady = nil
			x.limited--
			l.acts = true
			if stale {
				l.late(s, stats.DropStale)
				x.te.Stats.Drops[stats.DropStale].Inc()
				x.retire(s)
				l.slots.put(s)
				continue
			}
			s.passed = true
			l.start(s)
		}
		if b.first == nil {
			continue
		}
		next = min(next, b.due(b.first.bytes()))
		if m.lastWaiter != nil {
			m.lastWaiter.next = b
		} else {
			m.waiters = b
		}
		m.lastWaiter = b
	}
	l.pumpLater(x) // what waited for one that was dropped
	return next
}

// pumpLater has an export pumped at the end of the turn if there is something to pump.
func (l *lane) pumpLater(x *laneExport) {
	if !x.pumping && (x.fair.any() || x.closing) {
		x.pumping = true
		x.pumpNext, l.pumpList = l.pumpList, x
	}
}

// setLimits puts a limiter, or none, in the place of an export's. What waits goes on waiting by the new limits.
func (l *lane) setLimits(x *laneExport, m *limiter) {
	old := x.limits
	if old == nil {
		x.limits = m
		return
	}
	l.now, l.mono = l.clocks()
	if m == nil {
		l.letThrough(x, true)
		x.limits, l.limitAt = nil, l.mono // the next turn takes it out of the list
		return
	}
	for i := range old.places { // what was used stays used
		if b := &old.places[i]; b.mac != 0 && !b.fresh(l.mono) {
			n := m.of(b.mac, l.mono)
			n.ops, n.bytes = min(b.ops, l.mono+limitBurst), min(b.bytes, l.mono+limitBurst)
		}
	}
	x.limits = m
	for b := old.waiters; b != nil; b = b.next {
		for s := b.first; s != nil; {
			next := s.nextReady
			m.hold(m.of(s.who(), l.mono), s)
			s = next
		}
	}
	if x.limited > 0 {
		l.limitAt = l.mono
	}
}

// SetLimits changes the limits of an export's initiators while it runs; nil means none. The engine owns limits from then on. What
// waits for an old limit goes on by the new one.
func (e *Engine) SetLimits(x *Export, limits *Limits) error {
	if err := limits.check(); err != nil {
		return fmt.Errorf("%v: %w", x.Target.Addr(), err)
	}
	m := newLimiter(limits) // here, where it does not hold up the lane
	return e.lanes[x.lane].call(func(l *lane) {
		if id := int(x.Target.ID); id < len(l.exports) && l.exports[id] != nil && l.exports[id].x == x && !l.exports[id].closing {
			l.setLimits(l.exports[id], m)
		}
	})
}

// MaxIOPS is the largest limit of requests per second: one in 100 ns.
const MaxIOPS = 10_000_000

func (l *Limits) check() error {
	if l == nil {
		return nil
	}
	one := func(o Limit) error {
		if o.IOPS < 0 || o.IOPS > MaxIOPS || o.Bandwidth < 0 {
			return fmt.Errorf("a limit of %d requests and %d bytes per second: must be 0 to %d requests, and not below 0 bytes", o.IOPS, o.Bandwidth, MaxIOPS)
		}
		return nil
	}
	if err := one(l.Each); err != nil {
		return err
	}
	for _, o := range l.Own {
		if err := one(o); err != nil {
			return err
		}
	}
	return nil
}

// Wake returns when a stepped lane wants a turn although nothing has come: the time on Options.Clock's second clock at which requests that
// wait for their limits may go. ok is false when there are none.
func (e *Engine) Wake(lane int) (nanotime int64, ok bool) {
	l := e.lanes[lane]
	if l.ended || l.limited == nil {
		return 0, false
	}
	return l.limitAt, true
}

// Limited tells how many requests of an export of a stepped engine wait for their initiators' limits.
func (e *Engine) Limited(x *Export) int {
	if l := e.lanes[x.lane]; !l.ended && int(x.Target.ID) < len(l.exports) && l.exports[x.Target.ID] != nil {
		return int(l.exports[x.Target.ID].limited)
	}
	return 0
}

// auditLimits is Audit for the requests that wait for limits; limited is how many the order has.
func (x *laneExport) auditLimits(limited int32) error {
	list, buckets := int32(0), 0
	if x.limits != nil {
		for b := x.limits.waiters; b != nil; b = b.next {
			if b.first == nil {
				return errors.New("a bucket that nothing waits for is in the list of those with requests")
			}
			for s := b.first; s != nil; s = s.nextReady {
				if list++; s.state != slotLimited || s.exp != x || s.passed {
					return fmt.Errorf("slot %d waits for limits in state %d", s.op.User, s.state)
				}
			}
			buckets++
		}
		for i := range x.limits.places {
			if x.limits.places[i].first != nil {
				buckets--
			}
		}
		if x.limits.rest.first != nil {
			buckets--
		}
	}
	switch {
	case limited != x.limited || list != limited || buckets != 0:
		return fmt.Errorf("%d requests wait for limits, %d in lists, counted as %d; %d buckets too many in the list", limited, list, x.limited, buckets)
	case limited > 0 && !x.listed:
		return fmt.Errorf("%d requests wait for limits, and the lane does not know", limited)
	}
	return nil
}
