// Package config reads goaoe's configuration: a TOML file, arguments of the command line, or both. The way of a file is
//
//	bytes -> tree (tree.go: every key and value with its place)
//	      -> sections (decode.go: every key held against the table in keys.go: name, type, range)
//	      -> Config (build.go, exports.go, access.go: defaults applied, names resolved, conflicts found)
//
// No step stops at the first mistake: a Problem is noted and the step goes on, so that one run shows all of them.
// A Config that came with an error among its Problems must not be used.
//
// The package knows nothing of sockets and disks. What needs a look at the machine (does the source exist, do two
// exports overlap) is offered as functions that take the facts: ResolveSource, CheckOverlaps.
package config

import (
	"fmt"
	"time"

	"goaoe/aoe"
)

// DefaultFile is the configuration file that is read when none is named.
const DefaultFile = "/etc/goaoe/goaoe.toml"

// CommandLine is the file name in a Position that stands for the arguments of the command.
const CommandLine = "command line"

// Position is a place in a configuration file.
type Position struct {
	File   string `json:"file,omitempty"`   // as the user named it; CommandLine for arguments; empty: built in
	Line   int    `json:"line,omitempty"`   // from 1; 0: the file as a whole
	Column int    `json:"column,omitempty"` // from 1, in bytes; 0: the line as a whole
}

// String returns FILE:LINE:COLUMN, as far as it is known.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Config is a whole configuration with all defaults applied: what is in it is what counts.
type Config struct {
	File       string // the file it was read from; empty when there was none
	Global     Global
	Log        Log
	LogTargets []NamedLogTarget // in the order of their names
	Control    Control
	Web        Web
	Metrics    Metrics
	Pprof      Pprof
	Interfaces []Interface        // settings by pattern, in the order of the file; see Interface
	Exports    []Export           // in the order of their addresses
	Hosts      map[aoe.MAC]string // names of Ethernet addresses, of [hosts] and the ethers file; for messages
	Disabled   []Export           // those that are switched off; they keep their addresses
	// Words says what a foreign file calls what stands at its places: see InItsWords. Nil for native files.
	Words map[Position]string
}

// InItsWords puts the names of a foreign file in the place of goaoe's into messages about it.
func (c *Config) InItsWords(ps Problems) Problems {
	for i := range ps {
		if l := c.Words[ps[i].Position]; l != "" {
			ps[i].Key = l
		}
	}
	return ps
}

// Global holds the settings of the process.
type Global struct {
	StateDirectory  string        `key:"state-directory"`   // where config strings, mask and reserve lists are kept
	Lanes           int           `key:"lanes"`             // threads that serve, 1 to 64; each export belongs to one
	BusyPoll        time.Duration `key:"busy-poll"`         // how long a lane spins before it sleeps; 0: never
	DiskPoll        bool          `key:"disk-poll"`         // a lane watches for the end of direct I/O that is quick, instead of sleeping
	RequestAgeLimit time.Duration `key:"request-age-limit"` // queued requests older than this are dropped; 0: never
	DuplicateCheck  bool          `key:"duplicate-check"`   // ask the wire for another target with the address before serving it
	IOThreads       int           `key:"io-threads"`        // workers per lane of the io-engine "threads", 1 to 256
	LinearFrames    bool          `key:"linear-frames"`     // long frames are sent out of one piece of memory
	XDPSend         XDPSend       `key:"xdp-send"`          // whether replies leave by AF_XDP sockets
	RegisteredFiles bool          `key:"registered-files"`  // io_uring holds on to what it works on
	MergeRequests   bool          `key:"merge-requests"`    // what comes together and lies side by side goes to the disk as one
	ReadNow         bool          `key:"read-now"`          // single reads from the page cache go without io_uring
	Ethers          string        `key:"ethers"`            // file of names of Ethernet addresses

	// What the process gives up after its start, see internal/sandbox.
	SandboxCapabilities bool `key:"sandbox-capabilities"`
	SandboxLandlock     bool `key:"sandbox-landlock"`
	SandboxSeccomp      bool `key:"sandbox-seccomp"`
}

// XDPSend says whether replies leave by AF_XDP sockets.
type XDPSend string

// The ways of sending.
const (
	XDPSendAuto XDPSend = "auto" // on veth interfaces without a queueing discipline
	XDPSendOn   XDPSend = "on"   // on all whose driver can
	XDPSendOff  XDPSend = "off"
)

// Interface holds the settings of the interfaces whose names match a pattern. The first that matches counts.
type Interface struct {
	Pattern    string   `key:"name"`         // a name or a glob
	MTU        int      `key:"mtu"`          // use at most this; 0: as the interface has
	RingFrames int      `key:"ring-frames"`  // frames in the receive ring; 0: chosen by the link
	SendBuffer int      `key:"send-buffer"`  // bytes of the socket's send buffer; 0: chosen by the link
	LogTarget  string   `key:"log-target"`   // name of a NamedLogTarget; empty: that of [log]
	LogLevel   string   `key:"log-level"`    // as Log.Level; empty: that one
	Pos        Position `key:"-" json:"pos"` // of the section
}

// IOEngine says how storage is accessed.
type IOEngine string

// The I/O engines.
const (
	EngineAuto    IOEngine = "auto" // io_uring where the system allows it, else threads
	EngineURing   IOEngine = "io_uring"
	EngineThreads IOEngine = "threads"
)

// WriteNow says whether a lane puts writes into the page cache itself.
type WriteNow string

// The ways of writes into the page cache.
const (
	WriteNowAuto WriteNow = "auto" // where nothing that lies on another disk can be held up by it
	WriteNowOn   WriteNow = "on"   // always
	WriteNowOff  WriteNow = "off"  // never: io_uring has them
)

// Export is one target with its effective settings.
type Export struct {
	Addr       aoe.Addr `key:"address"`
	AutoSlot   bool     `key:"-"`          // the slot was numbered by goaoe, not by the user
	Source     string   `key:"source"`     // as written: a path, UUID=..., LABEL=..., PARTUUID=..., PARTLABEL=..., mem:SIZE
	Interfaces []string `key:"interfaces"` // names or globs; never empty

	Name string `key:"name"` // a name for people and commands beside the address; may be empty

	Offset    int64 `key:"offset"`     // bytes of the source to skip; a multiple of 512
	Length    int64 `key:"length"`     // bytes to serve; a multiple of 512; 0: up to the end
	SizeRound int64 `key:"size-round"` // sectors: the size is rounded down to a multiple of it; 0 or 1: as it is

	QueueLength int `key:"queue-length"` // requests in flight and waiting, 2 to 1024
	BufferCount int `key:"buffer-count"` // what is advertised to initiators, 2 to 65535

	InitiatorIOPS      int             `key:"initiator-iops"`      // requests per second for each initiator; 0: no limit
	InitiatorBandwidth int64           `key:"initiator-bandwidth"` // bytes per second for each initiator, a multiple of 512; 0: no limit
	InitiatorLimits    InitiatorLimits `key:"initiator-limits"`    // of some initiators instead

	Direct     bool     `key:"direct-io"`   // bypass the page cache
	WriteCache bool     `key:"write-cache"` // acknowledge writes before they are durable
	WriteNow   WriteNow `key:"write-now"`   // with it: whether the lane writes into the page cache itself, and waits where the kernel has it wait
	ReadOnly   bool     `key:"read-only"`
	Broadcast  bool     `key:"broadcast"` // announce to everybody even when an access list is in force
	Announce   bool     `key:"announce"`  // make it known without being asked
	Discard    bool     `key:"discard"`   // offer TRIM where the store can do it
	Smart      bool     `key:"smart"`     // offer SMART
	IOEngine   IOEngine `key:"io-engine"`

	Model          string `key:"model"`           // up to 40 printable ASCII characters; empty: the built-in one
	Serial         string `key:"serial"`          // up to 20; empty: made from address and machine, stable over restarts
	Firmware       string `key:"firmware"`        // up to 8; empty: the built-in one
	PhysicalSector int    `key:"physical-sector"` // bytes, a power of two from 512; 0: as the store says

	AcceptAnyVersion bool `key:"accept-any-version"` // take frames whose AoE version is not 1
	Force            bool `key:"force"`              // serve although another target answers under the same address
	Disabled         bool `key:"disabled"`           // not served

	LogTarget string `key:"log-target"` // name of a NamedLogTarget; empty: that of [log]
	LogLevel  string `key:"log-level"`  // as Log.Level; empty: that one
	Trace     bool   `key:"trace"`      // a line per request in the log

	Access     *ACL `key:"accept"`      // every command of every frame; nil: no restriction (from accept and deny)
	ConfigRead *ACL `key:"config-read"` // query config: read and the two tests; nil: no restriction
	ConfigSet  *ACL `key:"config-set"`  // query config: set and force set
	Read       *ACL `key:"read"`        // ATA commands that do not write
	Write      *ACL `key:"write"`       // ATA commands that write

	Pos  Position            `key:"-" json:"pos"` // of the section
	Keys map[string]Position `key:"-" json:"-"`   // of each key that was written, own or of the defaults
}

// At returns where key was written for this export (there or among the defaults), else where the export begins.
func (e *Export) At(key string) Position {
	if p, ok := e.Keys[key]; ok {
		return p
	}
	return e.Pos
}

// ACL is an access list with all names resolved: the row of an Ethernet address decides, Policy decides for those
// without one. Rows are sorted by address, each address once, and only those that differ from Policy are present.
// So with Policy false the rows are exactly the members who may.
type ACL struct {
	Names  string   `json:"names"`  // what the user wrote, for messages, e.g. "admins, 02:00:00:00:00:01"
	Policy bool     `json:"policy"` // true: accept who has no row
	Log    bool     `json:"log"`    // tell the log about refusals
	Rows   []ACLRow `json:"rows"`
	// LogTarget is the NamedLogTarget that is told about refusals; empty: that of the export.
	LogTarget string `json:"log_target,omitempty"`
}

// ACLRow is the decision for one Ethernet address.
type ACLRow struct {
	MAC    aoe.MAC `json:"mac"`
	Accept bool    `json:"accept"`
}

// Allows tells whether m may. A nil ACL allows everybody. It is for messages and tests; the hot path has its own form.
func (a *ACL) Allows(m aoe.MAC) bool {
	if a == nil {
		return true
	}
	for _, r := range a.Rows {
		if r.MAC == m {
			return r.Accept
		}
	}
	return a.Policy
}

// Members returns the addresses that have an accepting row. It is the list to announce to when Policy is false.
func (a *ACL) Members() []aoe.MAC {
	if a == nil {
		return nil
	}
	var out []aoe.MAC
	for _, r := range a.Rows {
		if r.Accept {
			out = append(out, r.MAC)
		}
	}
	return out
}

// MatchInterface returns the settings for the interface called name: those of the first section whose pattern matches,
// else the global ones.
func (c *Config) MatchInterface(name string) Interface {
	for _, s := range c.Interfaces {
		if MatchName(s.Pattern, name) {
			return s
		}
	}
	return Interface{Pattern: name}
}

// Wants tells whether the export is served on the interface called name.
func (e *Export) Wants(name string) bool {
	for _, p := range e.Interfaces {
		if MatchName(p, name) {
			return true
		}
	}
	return false
}
