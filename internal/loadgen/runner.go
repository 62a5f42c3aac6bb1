package loadgen

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link"
	"goaoe/internal/sys"
)

const (
	tagMark = 1 << 31      // all tags of a runner have it
	tagStep = MaxDepth     // from one generation of a slot to the next
	tagSlot = MaxDepth - 1 // the bits that say which slot

	recvBatch = 64
	// placeTries is how often another place is drawn: a disk may have fewer places than there are requests.
	placeTries = 64
	scanEvery  = int64(10 * time.Millisecond) // between two looks for requests without an answer
)

// slot is one of the requests that are outstanding.
type slot struct {
	buf   []byte // the frame, with room for the data of a write
	size  int    // of the frame as it is now
	from  int32  // the stream that it belongs to
	tag   uint32
	write bool
	lba   uint64
	first int64 // when it was sent first; 0 while it waits to be sent
	last  int64 // when it was sent last
	tries int
}

// port is one interface with what is to be sent on it next.
type port struct {
	l     link.Link
	msgs  []link.Msg
	which []int32 // the slots of msgs
}

// stream is what one initiator asks of one export.
type stream struct {
	port *port
	mac  aoe.MAC // of the initiator
	peer target
	done uint64 // in this turn
	sum  uint64 // in all turns
}

// runner is a run after the targets were found.
type runner struct {
	cfg     Config
	ports   []*port
	streams []stream
	fixed   bool // each stream has slots of its own
	rng     *rand.PCG
	slots   []slot
	queued  int // messages of all ports
	frames  [recvBatch]link.Frame
	blocks  uint64 // places on a disk
	next    uint64 // place of the next sequential request
	gen     uint32
	live    int  // requests outstanding
	stop    bool // issue no more
	scan    int64
	empty   int64 // when poll last found nothing; 0 when it found something since
	idle    int64 // nanoseconds from one empty poll to the next

	// Of the part of a turn that counts.
	lat  Histogram
	done uint64
	// every is what was answered before that part.
	every uint64
	sum   sums
	res   Result // what is counted at once: faults, and requests sent again
}

// sums are what the turns of a session gave, each in the part that counts, but for theirs and every.
type sums struct {
	lat     Histogram
	done    uint64
	idle    int64
	seconds float64
	own     float64 // CPU seconds of this process
	theirs  float64 // CPU seconds of the target from the first request of a turn until all were answered
	every   uint64  // answers meanwhile
}

// newRunner makes a run of streams, which is not empty; ports are all that they use.
func newRunner(c Config, ports []*port, streams []stream) *runner {
	r := &runner{cfg: c, ports: ports, streams: streams, fixed: len(streams) <= c.Depth, rng: rand.NewPCG(c.Seed, 0x676f616f65), slots: make([]slot, c.Depth),
		blocks: c.DiskSectors / uint64(c.Sectors)}
	for _, p := range ports {
		p.msgs, p.which = make([]link.Msg, 0, c.Depth), make([]int32, 0, c.Depth)
	}
	for i := range r.slots {
		r.slots[i].buf = make([]byte, max(aoe.MinFrame, aoe.ATALen+c.Sectors*aoe.SectorSize))
		r.address(&r.slots[i], i%len(streams))
	}
	return r
}

// address writes the head of a slot's frames.
func (r *runner) address(s *slot, from int) {
	st := &r.streams[from]
	s.from = int32(from)
	h := aoe.Header{Dst: st.peer.mac, Src: st.mac, Version: aoe.Version, Addr: st.peer.addr, Cmd: aoe.CmdATA}
	_, _ = h.Encode(s.buf) // it fits
}

// issue makes the next request of a slot and puts it into the queue.
func (r *runner) issue(i int) {
	s := &r.slots[i]
	c := &r.cfg
	if !r.fixed {
		if n := int(r.rng.Uint64() >> 11 % uint64(len(r.streams))); n != int(s.from) {
			r.address(s, n)
		}
	}
	r.gen += tagStep // comes around after half a million requests: by then no answer to the old tag is on its way
	place := r.place(i)
	*s = slot{buf: s.buf, from: s.from, tag: r.gen | tagMark | uint32(i), lba: place * uint64(c.Sectors), size: aoe.MinFrame,
		write: c.Writes > 0 && int(r.rng.Uint64()>>32%100) < c.Writes}
	a := aoe.ATA{Flags: aoe.ATAExtended, Count: uint8(c.Sectors), Command: ata.OpReadExt}
	if s.write {
		a.Flags |= aoe.ATAWrite
		a.Command = ata.OpWriteExt
		s.size = aoe.ATALen + c.Sectors*aoe.SectorSize
		PutStamp(s.buf[aoe.ATALen:s.size], InGeneration(s.lba, c.Generation))
		if c.Last != nil {
			c.Last[place] = Unknown
		}
	} else {
		clear(s.buf[aoe.ATALen:s.size]) // of the write that the slot made before
	}
	ata.PutLBA48(&a.LBA, s.lba)
	_, _ = a.Encode(s.buf) // it fits
	putTag(s.buf, s.tag)
	r.live++
	r.queue(i)
}

// place returns where the next request of slot i goes. Two writes of one run to one place have the same data; if both were under way a target might rightly take one
// for a repetition of the other, and not answer it. So a random place of a write is none that is being written.
func (r *runner) place(i int) uint64 {
	if r.cfg.Sequential {
		place := r.next
		if r.next++; r.next == r.blocks {
			r.next = 0
		}
		return place
	}
	for tries := 0; ; tries++ {
		place := (r.rng.Uint64() >> 11) % r.blocks
		if r.cfg.Writes == 0 || tries == placeTries || !r.written(place*uint64(r.cfg.Sectors), i) {
			return place
		}
	}
}

// written tells whether a slot other than i has a write to lba under way.
func (r *runner) written(lba uint64, i int) bool {
	for k := range r.slots {
		if s := &r.slots[k]; s.lba == lba && s.write && k != i {
			return true
		}
	}
	return false
}

func putTag(b []byte, tag uint32) {
	b[20], b[21], b[22], b[23] = byte(tag>>24), byte(tag>>16), byte(tag>>8), byte(tag)
}

func (r *runner) queue(i int) {
	s := &r.slots[i]
	p := r.streams[s.from].port
	p.msgs = append(p.msgs, link.Msg{Head: s.buf[:s.size]})
	p.which = append(p.which, int32(i))
	r.queued++
}

// flush sends what is queued. When a link is full what is left stays for the next time.
func (r *runner) flush() error {
	if r.queued == 0 {
		return nil
	}
	now := sys.Nanotime()
	for _, p := range r.ports {
		if len(p.msgs) == 0 {
			continue
		}
		k, err := p.flush(r.slots, now)
		r.queued -= k
		if err != nil {
			return fmt.Errorf("loadgen: sending on %s: %w", p.l.Info().Name, err)
		}
	}
	return nil
}

// flush sends what is queued for one interface and returns how much that was.
func (p *port) flush(slots []slot, now int64) (int, error) {
	for _, i := range p.which {
		s := &slots[i]
		if s.last = now; s.first == 0 {
			s.first = now
		}
	}
	k, err := p.l.Send(p.msgs)
	for i := range p.msgs[:k] {
		if p.msgs[i].Err != nil {
			return k, p.msgs[i].Err
		}
	}
	n := copy(p.msgs, p.msgs[k:])
	copy(p.which, p.which[k:])
	p.msgs, p.which = p.msgs[:n], p.which[:n]
	if err != nil && !errors.Is(err, link.ErrFull) {
		return k, err
	}
	return k, nil
}

// poll takes the answers that are there, replaces each by a new request (not sent yet), and returns the time it saw them.
func (r *runner) poll() (now int64) {
	got := 0
	for _, p := range r.ports {
		k := p.l.Recv(r.frames[:])
		now = sys.Nanotime()
		if k == 0 {
			continue
		}
		got += k
		for i := range r.frames[:k] {
			if n := r.answer(r.frames[i].Data, now); n >= 0 && !r.stop {
				r.issue(n)
			}
		}
		p.l.Release()
	}
	if got > 0 {
		r.empty = 0
		return now
	}
	if r.empty != 0 && r.queued == 0 {
		r.idle += now - r.empty
	}
	r.empty = now
	return now
}

// answer takes one frame and returns the slot that is free now, or -1 when the frame was not for us or came too late.
func (r *runner) answer(b []byte, now int64) int {
	h, err := aoe.DecodeHeader(b)
	if err != nil || h.Flags&aoe.FlagResponse == 0 || h.Tag&tagMark == 0 || !aoe.IsAoE(b) || h.Cmd != aoe.CmdATA {
		return -1
	}
	i := int(h.Tag & tagSlot)
	if i >= len(r.slots) || r.slots[i].tag != h.Tag || r.slots[i].first == 0 {
		return -1
	}
	s := &r.slots[i]
	st := &r.streams[s.from]
	if h.Src != st.peer.mac || h.Addr != st.peer.addr || h.Dst != st.mac {
		return -1
	}
	r.judge(s, h, b)
	r.lat.Add(now - s.first)
	r.done++
	st.done++
	r.live--
	s.tag, s.first = 0, 0
	return i
}

// judge counts what is wrong with an answer.
func (r *runner) judge(s *slot, h aoe.Header, b []byte) {
	if h.Flags&aoe.FlagError != 0 {
		r.fault(&r.res.Errors, s, h.Code, 0)
		return
	}
	a, data, err := aoe.DecodeATA(b)
	if err != nil || a.Command&(ataErr|ataFault) != 0 {
		r.fault(&r.res.Errors, s, 0, a.Command)
		return
	}
	if s.write && r.cfg.Last != nil {
		r.cfg.Last[s.lba/uint64(r.cfg.Sectors)] = r.cfg.Generation
	}
	if s.write || r.cfg.NoVerify && len(data) >= r.cfg.Sectors*aoe.SectorSize {
		return
	}
	if len(data) < r.cfg.Sectors*aoe.SectorSize {
		r.fault(&r.res.Errors, s, 0, a.Command)
		return
	}
	if !Stamped(data[:r.cfg.Sectors*aoe.SectorSize], s.lba) {
		r.fault(&r.res.Mismatches, s, 0, a.Command)
	}
}

// Bits of the Status register: ERR, and DF.
const (
	ataErr   = 0x01
	ataFault = 0x20
)

func (r *runner) fault(count *uint64, s *slot, code aoe.Code, status byte) {
	if *count++; r.res.FirstFault == "" {
		r.res.FirstFault = fmt.Sprintf("the first: write %t, LBA %d, %d sectors, AoE error code %d, status register %#x",
			s.write, s.lba, r.cfg.Sectors, uint8(code), status)
	}
}

// resend queues again what got no answer in time.
func (r *runner) resend(now int64) error {
	if now-r.scan < scanEvery || r.queued > 0 {
		return nil
	}
	r.scan = now
	for i := range r.slots {
		s := &r.slots[i]
		if s.first == 0 || now-s.last < int64(r.cfg.Timeout)<<min(s.tries, 3) {
			continue
		}
		if now-s.first > int64(r.cfg.GiveUp) {
			return fmt.Errorf("loadgen: no answer for %v to a request (write %t, LBA %d) that was sent %d times", r.cfg.GiveUp, s.write, s.lba, s.tries+1)
		}
		s.tries++
		r.res.Retransmits++
		r.queue(i)
	}
	return nil
}

// until works until the time end, until count answers were counted (0: any number), or until no request is outstanding when draining.
func (r *runner) until(ctx context.Context, end int64, count uint64) error {
	for n := 0; ; n++ {
		if err := r.flush(); err != nil {
			return err
		}
		now := r.poll()
		if now >= end || r.stop && r.live == 0 || count > 0 && r.done >= count {
			return nil
		}
		if err := r.resend(now); err != nil {
			return err
		}
		if n&0xfff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// turn is one turn of a session: it issues, warms up, counts, and drains.
func (r *runner) turn(ctx context.Context) error {
	theirs := ProcessCPU(r.cfg.TargetPID)
	r.stop, r.empty = false, 0
	for i := range r.slots {
		r.issue(i)
	}
	if r.cfg.Warmup > 0 {
		if err := r.until(ctx, sys.Nanotime()+int64(r.cfg.Warmup), 0); err != nil {
			return err
		}
	}
	r.every = r.done
	r.lat, r.done, r.idle = Histogram{}, 0, 0
	for i := range r.streams {
		r.streams[i].done = 0
	}
	own := ownCPU()
	start := sys.Nanotime()
	end := int64(math.MaxInt64)
	if r.cfg.Duration > 0 {
		end = start + int64(r.cfg.Duration)
	}
	if err := r.until(ctx, end, r.cfg.Count); err != nil {
		return err
	}
	s := &r.sum
	s.seconds += float64(sys.Nanotime()-start) / 1e9
	s.own += ownCPU() - own
	s.idle += r.idle
	s.done += r.done
	s.lat.Merge(&r.lat)
	for i := range r.streams {
		r.streams[i].sum += r.streams[i].done
	}
	r.stop = true
	if err := r.until(ctx, sys.Nanotime()+2*int64(r.cfg.GiveUp), 0); err != nil {
		return err
	}
	s.theirs += ProcessCPU(r.cfg.TargetPID) - theirs
	s.every += r.every + r.done
	r.done = 0
	return nil
}

// result makes figures of what the turns gave.
func (r *runner) result() Result {
	res, s := r.res, &r.sum
	res.Seconds, res.OwnCPU, res.Requests = s.seconds, s.own, s.done
	res.Bytes = s.done * uint64(r.cfg.Sectors) * aoe.SectorSize
	if s.seconds > 0 {
		res.Idle = float64(s.idle) / 1e9 / s.seconds
		res.PerSecond = float64(s.done) / s.seconds
	}
	res.P50, res.P90, res.P99, res.P999, res.Max = s.lat.Quantile(.5), s.lat.Quantile(.9), s.lat.Quantile(.99), s.lat.Quantile(.999), s.lat.Max()
	res.Fair = r.fair()
	if s.every > 0 && r.cfg.TargetPID > 0 {
		res.TargetCPU = time.Duration(s.theirs * 1e9 / float64(s.every))
	}
	return res
}

// fair compares the streams: the answers that the one with the fewest got by those of the one with the most.
func (r *runner) fair() float64 {
	if !r.fixed || len(r.streams) < 2 {
		return 0
	}
	least, most := uint64(math.MaxUint64), uint64(0)
	for i := range r.streams {
		least, most = min(least, r.streams[i].sum), max(most, r.streams[i].sum)
	}
	return float64(least) / float64(max(most, 1))
}

// ownCPU returns the CPU seconds of this process.
func ownCPU() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// ProcessCPU returns the CPU seconds of all threads of a process, also of those that ended; 0 when there is none. What a thread that runs just now has used
// since the last tick of the clock is not in it.
func ProcessCPU(pid int) float64 {
	if pid <= 0 || pid > maxPID {
		return 0
	}
	var t unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|cpuClockSched), &t) != nil {
		return 0
	}
	return float64(t.Nano()) / 1e9
}

// maxPID is the largest number that a process can have (PID_MAX_LIMIT of include/linux/threads.h).
const maxPID = 1 << 22

// cpuClockSched is the kind of clock of a process, in its number, that counts what the scheduler gave it (CPUCLOCK_SCHED of include/linux/posix-timers_types.h).
const cpuClockSched = 2
