package mem

import (
	"goaoe/internal/store"
	"goaoe/internal/sys"
)

// CrashMode says what a crash does to writes that nobody made durable.
type CrashMode uint8

// The modes of Crash.
const (
	LoseAll  CrashMode = iota // every sector falls back to its last durable content
	LoseSome                  // each sector, drawn from the seed: its durable content, its present one, or that of a write in flight
)

// TrackDurable begins to keep the image that a crash leaves. What is in the store now counts as durable. The image is as large
// as the store, and kept until the process ends or Untrack.
func (c *Control) TrackDurable() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	image, err := sys.AllocSparse(len(c.s.data))
	if err != nil {
		return err
	}
	copy(image, c.s.data)
	c.durable = image
	c.written = make([]uint64, (len(image)+store.SectorSize-1)/store.SectorSize)
	return nil
}

// Untrack frees the durable image.
func (c *Control) Untrack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = sys.Free(c.durable)
	c.durable, c.written = nil, nil
}

// Durable returns a copy of the n bytes at off as they would be after Crash(LoseAll).
func (c *Control) Durable(off int64, n int) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]byte(nil), c.durable[off:off+int64(n)]...)
}

// settle books a completed operation on the durable image: a durable write makes itself durable and nothing else; a flush
// makes those sectors durable whose last write completed before the flush was submitted.
func (c *Control) settle(p *pending) {
	if c.durable == nil || p.op.Kind == store.Read {
		return
	}
	if p.op.Kind == store.Flush {
		for i, w := range c.written {
			if w != 0 && w <= p.mark {
				c.harden(i)
			}
		}
		return
	}
	c.clock++
	off, n := span(p.op)
	for i := off / store.SectorSize; i < (off+n)/store.SectorSize; i++ {
		c.written[i] = c.clock
		if p.op.Durable {
			c.harden(int(i))
		}
	}
}

func (c *Control) harden(sector int) {
	c.written[sector] = 0
	at := sector * store.SectorSize
	end := min(at+store.SectorSize, len(c.durable))
	copy(c.durable[at:end], c.s.data[at:end])
}

// Crash is a power failure: the store's content becomes what mode leaves of it, and that is durable. Operations in flight stay
// in flight and complete later; a test that models the end of the process drops its channels instead. Needs TrackDurable.
func (c *Control) Crash(mode CrashMode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if mode == LoseSome {
		c.tear()
	}
	for i, w := range c.written {
		if w == 0 {
			continue
		}
		at := i * store.SectorSize
		end := min(at+store.SectorSize, len(c.durable))
		if mode == LoseSome && c.rng.IntN(2) == 0 {
			copy(c.durable[at:end], c.s.data[at:end])
		} else {
			copy(c.s.data[at:end], c.durable[at:end])
		}
		c.written[i] = 0
	}
}

// tear lets some sectors of the writes in flight reach the disk.
func (c *Control) tear() {
	for _, p := range c.inflight {
		if p.op.Kind != store.Write || c.s.check(p.op) != 0 {
			continue
		}
		for at := 0; at < len(p.op.Buf); at += store.SectorSize {
			if c.rng.IntN(2) == 0 {
				continue
			}
			off := int(p.op.Off) + at
			copy(c.s.data[off:], p.op.Buf[at:at+store.SectorSize])
			copy(c.durable[off:], p.op.Buf[at:at+store.SectorSize])
			c.written[off/store.SectorSize] = 0
		}
	}
}
