package file

import (
	"golang.org/x/sys/unix"

	"goaoe/internal/store"
)

// Device is the disk below a Stepped store. Its methods only begin something; done is called once, later, and not from inside the method, with the
// number of bytes or a negative errno, as the kernel would report.
type Device interface {
	// Transfer begins to read into buf, or to write it, at off. Less may be moved than was asked for. sync: written data must be on
	// stable storage before done (RWF_DSYNC).
	Transfer(write bool, off int64, buf []byte, sync bool, done func(res int32))
	// Punch begins to discard n bytes at off.
	Punch(off, n int64, done func(res int32))
	// Datasync begins to make durable what was written before.
	Datasync(done func(res int32))
}

// QuickDevice is a Device that has done some writes when they are begun, as with Options.WriteNow.
type QuickDevice interface {
	Device
	// WriteNow writes what need not be durable, with the result that Transfer would report, or does nothing and says so.
	WriteNow(off int64, buf []byte) (res int32, did bool)
}

// Stepped is the store of this package on a disk that a caller makes up, for simulators: everything above the system calls is the code that
// files and devices have, the grouping of syncs above all. No threads; all of it belongs to the goroutine of the lane.
type Stepped struct {
	Store
	disk Device
}

// NewStepped opens a store of size bytes. each: durable writes are synced one by one and not in groups (see Options.Sync).
func NewStepped(size int64, each bool, disk Device) *Stepped {
	s := &Stepped{disk: disk}
	s.path, s.fd, s.bufFD, s.each = "stepped", -1, -1, each
	s.info = store.Info{Physical: store.SectorSize, MemAlign: 1, CanDiscard: true, ID: "stepped"}
	s.Resize(size)
	return s
}

// Resize changes the size.
func (s *Stepped) Resize(size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info.Size, s.info.End = size, size
	s.size.Store(size)
}

// Refresh returns the facts.
func (s *Stepped) Refresh() (store.Info, error) { return s.Info(), nil }

// Channel makes a lane's channel.
func (s *Stepped) Channel(set *store.Set) (store.Channel, error) {
	x, err := set.Get("stepped", func() (store.Executor, error) { return new(stepped), nil })
	if err != nil {
		return nil, err
	}
	return &steppedChannel{channel{s: &s.Store, x: x.(*stepped)}, s.disk}, nil
}

// steppedChannel is a channel that knows its disk. It is found again by the operation's X.Chan, which is the channel inside.
type steppedChannel struct {
	channel
	disk Device
}

// Submit queues op.
func (c *steppedChannel) Submit(op *store.Op) {
	c.x.(*stepped).know(c)
	c.channel.Submit(op)
}

// Close releases the channel.
func (c *steppedChannel) Close() {
	c.x.(*stepped).forget(c)
	c.channel.Close()
}

// stepped is the executor of Stepped stores.
type stepped struct {
	channels []*steppedChannel
	results  []result
	fin      opList
	dirt     []*channel
	open     []*channel
}

// result is what the disk reports: of a transfer, or of a sync when op is nil.
type result struct {
	c   *channel
	op  *store.Op
	res int32
}

func (x *stepped) know(c *steppedChannel) {
	for _, k := range x.channels {
		if k == c {
			return
		}
	}
	x.channels = append(x.channels, c)
}

func (x *stepped) forget(c *steppedChannel) {
	for i, k := range x.channels {
		if k == c {
			x.channels = append(x.channels[:i:i], x.channels[i+1:]...)
			return
		}
	}
}

func (x *stepped) disk(c *channel) Device {
	for _, k := range x.channels {
		if &k.channel == c {
			return k.disk
		}
	}
	return nil
}

func (x *stepped) start(c *channel, op *store.Op) {
	done := func(res int32) { x.results = append(x.results, result{c, op, res}) }
	switch op.Kind {
	case store.Read, store.Write:
		_, buf, off := c.s.rest(op)
		if d, ok := x.disk(c).(QuickDevice); ok && op.Kind == store.Write && !op.Durable {
			now := buf
			if op.X.Run != nil {
				now, _ = together(op, done)
			}
			if res, did := d.WriteNow(off, now); did {
				c.complete(op, res)
				return
			}
		}
		keep(op)
		_, buf, _ = c.s.rest(op)
		if op.X.Run != nil {
			buf, done = together(op, done)
		}
		x.disk(c).Transfer(op.Kind == store.Write, off, buf, op.Durable && c.s.each, done)
	default:
		x.disk(c).Punch(c.s.opts.Offset+op.Off, op.Len, done)
	}
}

func (x *stepped) keeps() {}

func (x *stepped) gathering(c *channel) { x.open = append(x.open, c) }

// together makes the buffers of a run one for the disk, and its result that of the run.
func together(head *store.Op, done func(int32)) ([]byte, func(int32)) {
	var all []byte
	for op := head; op != nil; op = op.X.Run {
		all = append(all, op.Buf...)
	}
	if head.Kind == store.Write {
		return all, done
	}
	return all, func(res int32) {
		left := all[:max(int(res), 0)]
		for op := head; op != nil; op = op.X.Run {
			left = left[copy(op.Buf, left):]
		}
		done(res)
	}
}

func (x *stepped) dirty(c *channel) { x.dirt = append(x.dirt, c) }

func (x *stepped) finish(op *store.Op) { x.fin.push(op) }

// Flush starts what is gathered and the syncs that are due.
func (x *stepped) Flush() {
	x.open = emitAll(x.open)
	kept := x.dirt[:0]
	for _, c := range x.dirt {
		if !c.wantSync() {
			kept = append(kept, c)
			continue
		}
		c.marked = false
		x.disk(c).Datasync(func(res int32) { x.results = append(x.results, result{c, nil, res}) })
	}
	x.dirt = kept
}

// Reap returns what is finished.
func (x *stepped) Reap(done []*store.Op) int {
	results := x.results
	x.results = nil
	for _, r := range results {
		switch {
		case r.op != nil:
			r.c.complete(r.op, r.res)
		case r.res < 0:
			r.c.synced(unix.Errno(-r.res))
		default:
			r.c.synced(0)
		}
	}
	x.Flush()
	n := 0
	for n < len(done) && x.fin.head != nil {
		done[n] = x.fin.pop()
		n++
	}
	return n
}

// Pending tells whether Reap has something to do.
func (x *stepped) Pending() bool { return x.fin.head != nil || len(x.results) > 0 }

// FD returns -1: there is none.
func (x *stepped) FD() int { return -1 }

// Close does nothing.
func (x *stepped) Close() {}
