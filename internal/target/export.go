package target

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"sync/atomic"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/stats"
)

const (
	// MinBufferCount is the least buffer count that is advertised: Linux halves it for a new path, and with 0 or 1 the
	// disk never appears there.
	MinBufferCount = 2
	// DefaultBufferCount is advertised when none is given.
	DefaultBufferCount = 16

	// MaxMask is how many entries a MAC mask list can have: as many as fit one reply at MTU 1500. On an interface with a
	// smaller MTU it is what fits there.
	MaxMask = 185
	// MaxReserve is the same for a reserve list.
	MaxReserve = 248

	rotationHint = 7200 // what IDENTIFY says of a spinning disk whose speed is not known
)

// Access says who may do what. Each list may be nil, which allows everybody.
type Access struct {
	All     *ACL // everything: refused is silence
	CfgRead *ACL // config query read, test, prefix test: refused is silence
	CfgSet  *ACL // config query set, force set: refused is silence
	Read    *ACL // reads, verify and IDENTIFY: refused is ABRT
	Write   *ACL // writes and TRIM: refused is ABRT
}

// ExportConfig is what an export is made of.
type ExportConfig struct {
	Addr    aoe.Addr // exact
	Sectors uint64   // of 512 bytes; at least 1, and more than 2^48-1 is cut

	// The texts of IDENTIFY DEVICE, printable ASCII of up to 20, 40 and 8 characters. The serial must be unique among all
	// disks that an initiator sees and the same for ever: initiators tell disks apart and notice changed media by it.
	// Empty ones get defaults, the serial one made of the address only, so the daemon should give a better one.
	Serial, Model, Firmware string
	FirmwareVersion         uint16 // in config query replies; free
	BufferCount             uint16 // advertised; 0 means DefaultBufferCount, and 1 is raised to MinBufferCount

	ReadOnly          bool
	WriteCacheAllowed bool // the user accepts that writes are acknowledged early; the cache is on at start
	Discard           bool // offer TRIM (never when ReadOnly)
	DiscardZeroes     bool // and discarded sectors read as zeros
	Smart             bool // offer SMART
	AnyVersion        bool // answer requests of any version as if it were 1
	Broadcast         bool // announce to everybody even when Access.All has a list of who is accepted

	PhysicalSize int    // physical sector in bytes: 0 or a power of two from 512; a hint for alignment
	AlignOffset  int    // place of the first sector inside its physical sector, in bytes
	Rotational   bool   // a spinning disk
	WWN          uint64 // world wide name, 0 for none

	Access Access
}

// State is what a client can change and what survives a restart. A State does not change once it is published; a nil
// slice is an empty one.
type State struct {
	Config  []byte    // config string, up to 1024 bytes
	Mask    []aoe.MAC // MAC mask list; when not empty all others are met with silence
	Reserve []aoe.MAC // reserve list; when not empty ATA commands of all others are refused
}

// The live settings, one bit each.
const (
	flagWriteCache = 1 << iota
	flagLookAhead
	flagSmart
	flagFailing
	flagReadOnly
	flagCacheAllowed
)

// Export is one target: a disk under an address. Handle and Finish run on the hot path; all other methods may be called
// from any goroutine at any time, Commit under a lock of the caller's.
//
// What a read or write touches lies in two cache lines of 64 bytes: with many exports each line has to come from far away. The Go runtime puts 8 bytes in front of
// an object of this size, which is why the first line begins 56 bytes behind its start.
type Export struct {
	_ [56]byte
	// ID is a small number that the engine gives; set before the export is in a table, and left alone while it is.
	ID       uint32
	addr     aoe.Addr
	flags    atomic.Uint32
	buffers  atomic.Uint32
	sectors  atomic.Uint64
	state    atomic.Pointer[State]
	access   atomic.Pointer[Access]
	multiple atomic.Uint32 // SET MULTIPLE MODE
	_        [20]byte
	// Stats counts. Handle and Commit count Others (answered without storage), Rejects (refused with an AoE or ATA
	// error) and Drops. Everything about storage operations (Reads, Writes, Flushes, bytes, Views, Waits, Errors, and Drops
	// of queues) is counted by who runs them.
	Stats stats.Export

	cfg   ExportConfig
	ident ata.Device // what does not change of IDENTIFY
}

// What most exports have lies in one place for all of them, where it is always near.
var (
	noState  State
	noAccess Access
)

// NewExport makes an export with an empty state.
func NewExport(cfg ExportConfig) (*Export, error) {
	if cfg.Addr.Wild() {
		return nil, fmt.Errorf("export %v: shelf must be 0 to 65534 and slot 0 to 254", cfg.Addr)
	}
	if cfg.Serial == "" {
		cfg.Serial = "goaoe-" + cfg.Addr.String()
	}
	if cfg.Model == "" {
		cfg.Model = "goaoe"
	}
	if cfg.Firmware == "" {
		cfg.Firmware = "1"
	}
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("export %v: %w", cfg.Addr, err)
	}
	e := &Export{addr: cfg.Addr, cfg: cfg}
	e.ident = ata.Device{
		Serial: cfg.Serial, Model: cfg.Model, Firmware: cfg.Firmware,
		PhysicalSize: cfg.PhysicalSize, AlignOffset: cfg.AlignOffset / ata.SectorSize,
		Smart: cfg.Smart, FUA: true, TrimZero: cfg.DiscardZeroes, WWN: cfg.WWN, Rotation: ata.RotationNone,
	}
	if cfg.Rotational {
		e.ident.Rotation = rotationHint
	}
	e.SetSectors(cfg.Sectors)
	e.SetBufferCount(cfg.BufferCount)
	e.set(flagWriteCache, cfg.WriteCacheAllowed)
	e.set(flagCacheAllowed, cfg.WriteCacheAllowed)
	e.set(flagReadOnly, cfg.ReadOnly)
	e.set(flagLookAhead, true)
	e.set(flagSmart, cfg.Smart)
	e.state.Store(&noState)
	e.SetAccess(cfg.Access)
	return e, nil
}

func (c *ExportConfig) check() error {
	if err := errors.Join(
		ata.CheckText("serial", c.Serial, ata.SerialLen),
		ata.CheckText("model", c.Model, ata.ModelLen),
		ata.CheckText("firmware", c.Firmware, ata.FirmwareLen)); err != nil {
		return err
	}
	if strings.Trim(c.Serial, " 0") == "" {
		return fmt.Errorf("serial %q says nothing: initiators tell disks apart by it", c.Serial)
	}
	if c.Sectors == 0 {
		return errors.New("size is 0 sectors: there must be at least one whole sector of 512 bytes")
	}
	if p := c.PhysicalSize; p != 0 && (p < ata.SectorSize || bits.OnesCount(uint(p)) != 1) {
		return fmt.Errorf("physical sector size of %d bytes is not a power of two from 512", p)
	}
	if c.AlignOffset < 0 || c.AlignOffset > 0 && c.AlignOffset >= c.PhysicalSize {
		return fmt.Errorf("alignment offset of %d bytes is not within a physical sector of %d bytes", c.AlignOffset, c.PhysicalSize)
	}
	return nil
}

// Addr returns the export's address.
func (e *Export) Addr() aoe.Addr { return e.addr }

// Config returns what the export was made of, defaults filled in. What is live (size, buffer count, access) may differ.
func (e *Export) Config() ExportConfig { return e.cfg }

// ReadOnly tells whether writes are refused.
func (e *Export) ReadOnly() bool { return e.has(flagReadOnly) }

// SetReadOnly changes whether writes are refused; it counts from the next request on. What was accepted before is still carried
// out. An export that was made read-only must stay so: its storage is not open for writing.
func (e *Export) SetReadOnly(on bool) { e.set(flagReadOnly, on || e.cfg.ReadOnly) }

// AllowWriteCache lets the write cache be used, and turns it on. There is no way back: what was acknowledged early would have to
// become durable first, so the export must be made anew.
func (e *Export) AllowWriteCache() {
	e.set(flagCacheAllowed, true)
	e.set(flagWriteCache, true)
}

// Sectors returns the current size.
func (e *Export) Sectors() uint64 { return e.sectors.Load() }

// SetSectors changes the size; it counts from the next request on. More than 2^48-1 is cut.
func (e *Export) SetSectors(n uint64) { e.sectors.Store(min(n, ata.MaxSectors)) }

// BufferCount returns what config query replies advertise.
func (e *Export) BufferCount() uint16 { return uint16(e.buffers.Load()) }

// SetBufferCount changes what config query replies advertise; 0 means DefaultBufferCount, and 1 becomes MinBufferCount.
func (e *Export) SetBufferCount(n uint16) {
	if n == 0 {
		n = DefaultBufferCount
	}
	e.buffers.Store(uint32(max(n, MinBufferCount)))
}

// Access returns the access lists in force.
func (e *Export) Access() Access { return *e.access.Load() }

// SetAccess changes the access lists; they count from the next request on.
func (e *Export) SetAccess(a Access) {
	p := &noAccess
	if a != noAccess {
		p = &a
	}
	e.access.Store(p)
}

// State returns the current state, which must not be changed. It is never nil.
func (e *Export) State() *State { return e.state.Load() }

// SetState replaces the state without making it durable: at start, and for what the administrator does locally. It must
// not run at the same time as Commit. A nil state is an empty one.
func (e *Export) SetState(s *State) {
	if s == nil || len(s.Config)+len(s.Mask)+len(s.Reserve) == 0 {
		s = &noState
	}
	e.state.Store(s)
}

// WriteCache tells whether the write cache is on: writes need not be durable before they are answered.
func (e *Export) WriteCache() bool { return e.has(flagWriteCache) }

// Failing tells whether a storage operation has failed since the start or SetFailing(false). SMART reports it.
func (e *Export) Failing() bool { return e.has(flagFailing) }

// SetFailing sets what Failing tells.
func (e *Export) SetFailing(on bool) { e.set(flagFailing, on) }

// Identify writes the 512 bytes of IDENTIFY DEVICE as they are at this moment.
func (e *Export) Identify(b *[512]byte) {
	d := e.ident
	f := e.flags.Load()
	d.Sectors = e.sectors.Load()
	d.WriteCache = f&flagCacheAllowed != 0
	d.Trim = e.cfg.Discard && f&flagReadOnly == 0
	d.WriteCacheEnabled = f&flagWriteCache != 0
	d.LookAheadEnabled = f&flagLookAhead != 0
	d.SmartEnabled = f&flagSmart != 0
	d.Multiple = uint8(e.multiple.Load())
	d.Build(b)
}

func (e *Export) has(flag uint32) bool { return e.flags.Load()&flag != 0 }

func (e *Export) set(flag uint32, on bool) {
	if on {
		e.flags.Or(flag)
	} else {
		e.flags.And(^flag)
	}
}
