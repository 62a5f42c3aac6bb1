// Package mem is a store in memory: a RAM disk that can be exported, the "no storage" end of benchmarks, and, with a
// Control, a disk for tests that delays, reorders, fails, holds and loses what it is given, reproducibly from a seed.
//
// Without a Control nothing here locks or allocates per operation.
package mem

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"goaoe/internal/store"
	"goaoe/internal/sys"
)

// Options describe a memory store.
type Options struct {
	Size     int64    // bytes; what is behind the last whole sector of 512 bytes is the tail, which is not served
	MaxSize  int64    // bytes that Resize may grow to; 0: Size
	Physical int      // physical sector in bytes to claim; 0: 512
	ReadOnly bool     // writes and discards fail with EROFS
	ID       string   // Info.ID; empty: a name unique in this process
	NoView   bool     // do not offer zero-copy reads; they are off with a Control as well
	Control  *Control // knobs for tests; nil: a plain RAM disk. One Control belongs to one Store
}

// Store is a store in memory. Its content starts as zeros and is gone after Close.
type Store struct {
	data []byte       // MaxSize bytes, outside of the heap
	raw  atomic.Int64 // bytes that the "device" has now
	size atomic.Int64 // bytes served, as of the last Refresh
	info store.Info   // all but Size, Tail, End
	view bool
	ctl  *Control
}

var serial atomic.Uint64

// Open makes a memory store. Errors: a size under one sector, or more than the machine can map.
func Open(o Options) (*Store, error) {
	if o.Size < store.SectorSize {
		return nil, fmt.Errorf("memory store of %d bytes: it needs at least %d", o.Size, store.SectorSize)
	}
	o.MaxSize = max(o.MaxSize, o.Size)
	data, err := sys.AllocSparse(int(o.MaxSize))
	if err != nil {
		return nil, fmt.Errorf("memory store of %d bytes: %w", o.Size, err)
	}
	s := &Store{data: data, ctl: o.Control, view: !o.NoView && o.Control == nil}
	s.info = store.Info{Physical: o.Physical, MemAlign: 1, ReadOnly: o.ReadOnly, CanDiscard: true, DiscardZeroes: true, ID: o.ID}
	if s.info.Physical == 0 {
		s.info.Physical = store.SectorSize
	}
	if s.info.ID == "" {
		s.info.ID = "mem " + strconv.FormatUint(serial.Add(1), 10)
	}
	s.raw.Store(o.Size)
	s.size.Store(o.Size &^ (store.SectorSize - 1))
	if s.ctl != nil {
		if err := s.ctl.attach(s); err != nil {
			_ = sys.Free(data)
			return nil, err
		}
	}
	return s, nil
}

// ParseSource reads "mem:SIZE", SIZE in bytes or with a suffix K, M, G or T (powers of 1024). ok tells whether the source is
// of this kind at all.
func ParseSource(source string) (size int64, ok bool, err error) {
	text, ok := strings.CutPrefix(source, "mem:")
	if !ok {
		return 0, false, nil
	}
	digits, shift := text, 0
	if n := len(text); n > 0 {
		if i := strings.IndexByte("KMGT", text[n-1]&^0x20); i >= 0 {
			digits, shift = text[:n-1], 10*(i+1)
		}
	}
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || v <= 0 || v > (1<<62)>>shift {
		return 0, true, fmt.Errorf("source %q: the size must be a number with K, M, G or T behind it, e.g. mem:512M", source)
	}
	return v << shift, true, nil
}

// Info returns the facts.
func (s *Store) Info() store.Info {
	i, raw := s.info, s.raw.Load()
	i.Size = s.size.Load()
	i.End = i.Size
	if i.Size == raw&^(store.SectorSize-1) {
		i.Tail = raw - i.Size
	}
	return i
}

// Resize changes the size of the "device" to n bytes (at most Options.MaxSize). As with a real one, Info and the range
// check follow at the next Refresh.
func (s *Store) Resize(n int64) error {
	if n < store.SectorSize || n > int64(len(s.data)) {
		return fmt.Errorf("memory store: size %d is not in the range %d to %d", n, store.SectorSize, len(s.data))
	}
	s.raw.Store(n)
	return nil
}

// Refresh takes over the size set by Resize.
func (s *Store) Refresh() (store.Info, error) {
	s.size.Store(s.raw.Load() &^ (store.SectorSize - 1))
	return s.Info(), nil
}

// Bytes returns the content itself, for tests that inspect or prepare it while nothing is in flight.
func (s *Store) Bytes() []byte { return s.data[:s.raw.Load()] }

// Channel makes a lane's channel.
func (s *Store) Channel(set *store.Set) (store.Channel, error) {
	x, err := set.Get("mem", newExec)
	if err != nil {
		return nil, err
	}
	set.Join(store.Memory)
	c := channel{s: s, x: x.(*exec), set: set}
	if s.view {
		return &viewChannel{c}, nil
	}
	return &c, nil
}

// Close frees the memory.
func (s *Store) Close() error {
	data := s.data
	s.data = nil
	return sys.Free(data)
}
