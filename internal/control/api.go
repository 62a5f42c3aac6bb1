package control

import (
	"context"
	"time"

	"goaoe/aoe"
)

// Backend is what a daemon does for the API. Its methods may be called from any goroutine, at the same time. Errors are
// *Error where the kind matters; others count as CodeFailed.
type Backend interface {
	// Status says how the daemon is.
	Status(ctx context.Context) (*Status, error)
	// Exports returns all exports, also those that wait, failed or are disabled, in the order of their addresses.
	Exports(ctx context.Context) ([]Export, error)
	// Interfaces returns the interfaces that are served on or waited for.
	Interfaces(ctx context.Context) ([]Interface, error)
	// Stats returns all counters since the start, or since they were cleared.
	Stats(ctx context.Context) (*Stats, error)
	// Change adds, changes and removes exports. Each change succeeds or fails alone; the reply has one result per change, in order.
	Change(ctx context.Context, r *ChangeRequest) (*ChangeReply, error)
	// Announce announces exports on all their interfaces at once; none named means all.
	Announce(ctx context.Context, exports []aoe.Addr) (*ChangeReply, error)
	// Plan says what a reload would do, and changes nothing.
	Plan(ctx context.Context) (*Plan, error)
	// Reload reads the configuration anew and applies it; the reply says what that did. With an error in a file nothing changes.
	Reload(ctx context.Context, r *ReloadRequest) (*Plan, error)
	// Clear empties the config string, MAC mask or reserve list of exports, or sets statistics to zero.
	Clear(ctx context.Context, r *ClearRequest) (*ChangeReply, error)
	// SetLog changes a log level until the next reload or restart.
	SetLog(ctx context.Context, r *LogRequest) error
	// Config returns the configuration in force as a file with everything said explicitly (TOML).
	Config(ctx context.Context) (string, error)
	// Trace calls fn for frames as they come and go, until ctx ends, fn returns an error or r.Count is reached.
	Trace(ctx context.Context, r *TraceRequest, fn func(*TraceRecord) error) error
}

// Status is GET /v1/status.
type Status struct {
	Version    string    `json:"version"` // of the program
	PID        int       `json:"pid"`
	Started    time.Time `json:"started"`
	Config     string    `json:"config,omitempty"` // the configuration file; empty: only a command line
	Format     string    `json:"format,omitempty"` // of the file: "native", "ggaoed", "qaoed"
	StateDir   string    `json:"state_dir,omitempty"`
	Socket     string    `json:"socket,omitempty"`
	Lanes      int       `json:"lanes"`
	LogLevel   string    `json:"log_level"`
	Exports    int       `json:"exports"`    // configured and not disabled
	Serving    int       `json:"serving"`    // of them served on an interface
	Interfaces int       `json:"interfaces"` // open
	Unsaved    int       `json:"unsaved"`    // exports with changes that the next start will not know
	// Sandbox says which of its rights the daemon has given up: capabilities, files (landlock), system calls (seccomp).
	Sandbox []Confinement `json:"sandbox,omitempty"`
	// Waiting has one sentence for each thing that has no effect yet, e.g. "interface eth9 does not exist".
	Waiting []string `json:"waiting"`
	// Problems has one sentence for each thing that is wrong: a device that failed, an address that another target has, ...
	Problems []string `json:"problems"`
}

// Confinement is one part of the sandbox of a daemon.
type Confinement struct {
	Name    string `json:"name"` // "capabilities", "landlock", "seccomp"
	InForce bool   `json:"in_force"`
	Text    string `json:"text"` // what is left, or why it is not in force
}

// States of an export.
const (
	StateServing  = "serving"  // open and given to the engine; Interfaces says where
	StateWaiting  = "waiting"  // for its source, an interface, or another target to let go of the address
	StateFailed   = "failed"   // Why says what is wrong; it is tried again
	StateOpening  = "opening"  // its source is being opened
	StateClosing  = "closing"  // its last requests are finished
	StateDisabled = "disabled" // configured, and switched off
)

// Export is one export: GET /v1/exports, GET /v1/exports/{address}.
type Export struct {
	Address  string   `json:"address"` // e.g. "e0.1"
	Name     string   `json:"name,omitempty"`
	Source   string   `json:"source"` // as configured
	Path     string   `json:"path,omitempty"`
	State    string   `json:"state"`
	Why      string   `json:"why,omitempty"`     // failed, waiting: the reason
	Waiting  []string `json:"waiting,omitempty"` // of a served export too: interfaces that are not there
	Sectors  uint64   `json:"sectors"`           // of 512 bytes; 0 while nothing is open
	Served   []string `json:"served"`            // interfaces where it is served
	Serial   string   `json:"serial,omitempty"`
	Lane     int      `json:"lane"`
	Origin   string   `json:"origin"`   // where it is configured: FILE:LINE, or "run time"
	Unsaved  bool     `json:"unsaved"`  // it has a change that the next start will not know
	Revision string   `json:"revision"` // changes with every change of its settings; see Change.Revision

	// Settings has every setting in force by its key in [[export]], as text: "queue-length": "64". Lists are joined by commas.
	Settings map[string]string `json:"settings"`
	// Origins says where a setting was written: FILE:LINE, or "run time". Those that are not here have their built-in values.
	Origins map[string]string `json:"origins,omitempty"`

	// What initiators have set. They survive restarts.
	ConfigString string   `json:"config_string"` // bytes that are no UTF-8 are replaced
	Mask         []string `json:"mask"`          // MAC mask list; empty: everybody
	Reserve      []string `json:"reserve"`       // reserve list; empty: nobody has it reserved

	// Users are the initiators that use it now: that sent an ATA command within the last ten minutes, or hold it reserved.
	Users []User `json:"users"`
}

// User is an initiator that uses an export.
type User struct {
	MAC       string    `json:"mac"`
	Name      string    `json:"name,omitempty"` // from [hosts] or /etc/ethers
	Interface string    `json:"interface,omitempty"`
	LastSeen  time.Time `json:"last_seen,omitzero"`
	Reserved  bool      `json:"reserved,omitempty"`
}

// Interface is one interface: GET /v1/interfaces.
type Interface struct {
	Name    string `json:"name"` // or the pattern that is waited for
	State   string `json:"state"`
	Why     string `json:"why,omitempty"`
	MAC     string `json:"mac,omitempty"`
	MTU     int    `json:"mtu,omitempty"`      // bytes, in force
	LinkMTU int    `json:"link_mtu,omitempty"` // bytes, of the interface itself
	Up      bool   `json:"up"`
	Exports int    `json:"exports"` // how many are served on it
}

// Operations of a Change.
const (
	OpAdd    = "add"
	OpSet    = "set"
	OpRemove = "remove"
)

// Change is one change of an export.
type Change struct {
	Op      string `json:"op"`
	Address string `json:"address"` // "e0.1" or "0.1"; with OpAdd "0" or "e0" (a shelf) or "" takes the next free slot
	Source  string `json:"source,omitempty"`
	// Settings are keys of [[export]] with their values as text, lists joined by commas; an empty list is "".
	Settings map[string]string `json:"settings,omitempty"`
	// Unset are keys that go back to what the files say.
	Unset []string `json:"unset,omitempty"`
	// Revision makes the change conditional: with another revision in force it fails by CodeConflict. Empty: unconditional.
	Revision string `json:"revision,omitempty"`
	// Force removes an export that is in use, after what is in flight is finished; and does what else refuses, like force = true.
	Force bool `json:"force,omitempty"`
}

// ChangeRequest is POST /v1/changes.
type ChangeRequest struct {
	Changes []Change `json:"changes"`
	// Save keeps the changes over restarts, by a file for each export in conf.d beside the configuration file.
	Save bool `json:"save,omitempty"`
	// DryRun checks everything and changes nothing.
	DryRun bool `json:"dry_run,omitempty"`
	// Wait is how long to wait for an added export to be served, or a removed one to be gone, in milliseconds; 0: not at all.
	WaitMS int `json:"wait_ms,omitempty"`
}

// Result is what became of one change, or one export of a selection.
type Result struct {
	Address string `json:"address"`
	Error   *Error `json:"error,omitempty"` // nil: done
	// Note says what is worth knowing of a success, e.g. "serving on eth1", "interrupted I/O for 3 ms", "saved to FILE".
	Note string `json:"note,omitempty"`
}

// ChangeReply is the reply to calls that concern several exports.
type ChangeReply struct {
	Results []Result `json:"results"`
}

// ReloadRequest is POST /v1/reload.
type ReloadRequest struct {
	// DiscardUnsaved also takes back the changes made at run time that were not saved. Without it they stay.
	DiscardUnsaved bool `json:"discard_unsaved,omitempty"`
}

// Plan says what a reload does: GET /v1/plan (nothing is changed), and the reply of POST /v1/reload.
type Plan struct {
	Changes  []PlanChange `json:"changes"`
	Kept     int          `json:"kept"` // exports that stay as they are, and do not lose a frame
	Problems []string     `json:"problems"`
	// OK is false when the files have errors: nothing is or would be changed.
	OK bool `json:"ok"`
}

// PlanChange is one line of a Plan.
type PlanChange struct {
	What      string `json:"what"`           // "add", "remove", "change"
	Subject   string `json:"subject"`        // an address, "interface eth0", "global", "log"
	Keys      []Key  `json:"keys,omitempty"` // change: which settings
	Interrupt bool   `json:"interrupt"`      // it interrupts I/O: the export is drained and opened anew; removal ends it
	Restart   bool   `json:"restart"`        // it counts from the daemon's next start on
	Note      string `json:"note,omitempty"`
}

// Key is a changed setting.
type Key struct {
	Name string `json:"name"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

// What Clear clears.
const (
	ClearConfig  = "config"
	ClearMask    = "mask"
	ClearReserve = "reserve"
	ClearStats   = "stats"
)

// ClearRequest is POST /v1/clear.
type ClearRequest struct {
	What    string   `json:"what"`
	Exports []string `json:"exports"` // addresses; with ClearStats none means everything, interfaces and lanes too
	// Force clears a reservation although its holder was seen a moment ago.
	Force bool `json:"force,omitempty"`
}

// LogRequest is POST /v1/log.
type LogRequest struct {
	Level   string `json:"level"`   // "error", "warn", "info", "debug"; "" goes back to what the files say
	Subject string `json:"subject"` // "" (the daemon), an address, or an interface
}

// TraceRequest is GET /v1/trace; the fields are parameters of the query.
type TraceRequest struct {
	Export    string `json:"export,omitempty"`    // address; empty: all
	Initiator string `json:"initiator,omitempty"` // MAC; empty: all
	Interface string `json:"interface,omitempty"` // name; empty: all
	Command   string `json:"command,omitempty"`   // "ata", "config", "mask", "reserve"; "read", "write", "flush", "identify", ...; empty: all
	Snap      int    `json:"snap,omitempty"`      // bytes of each frame; 0: the headers (64), -1: all
	Count     int    `json:"count,omitempty"`     // records; 0: without end
}

// TraceRecord is one frame that came or went, one JSON object per line.
type TraceRecord struct {
	Time      time.Time `json:"time"`
	Interface string    `json:"interface"`
	Out       bool      `json:"out"`              // sent by the target
	Drop      string    `json:"drop,omitempty"`   // received and not answered: why
	Length    int       `json:"length"`           // bytes on the wire, without FCS
	Frame     []byte    `json:"frame"`            // the first bytes of it, base64 in JSON
	Missed    uint64    `json:"missed,omitempty"` // frames before this one that the trace could not take
}
