// Package frames puts the frames of a trace into words: who asked whom for what, what the answer was, and how long it took. Replies
// are paired with their requests, because a reply does not say by itself what was asked for.
package frames

import (
	"strings"
	"time"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/control"
)

// Results of a reply.
const (
	OK     = "ok"
	Failed = "error"
)

// Frame is one frame in words. Fields that say nothing about a frame are empty.
type Frame struct {
	Time      time.Time `json:"time"`
	Interface string    `json:"interface"`
	Out       bool      `json:"out"`                 // a reply or an announcement; else a request
	Initiator string    `json:"initiator,omitempty"` // MAC
	Target    string    `json:"target,omitempty"`    // MAC; broadcast in some requests
	Export    string    `json:"export,omitempty"`    // with * for the wildcards of requests
	Command   string    `json:"command,omitempty"`   // "ata", "config", "mask", "reserve"
	What      string    `json:"what,omitempty"`      // what is asked for: "read", "write", "identify", "config set", ...; of replies too, when the request was seen
	Opcode    *uint8    `json:"opcode,omitempty"`    // ATA command register
	LBA       *uint64   `json:"lba,omitempty"`       // first sector, of 512 bytes
	Sectors   *uint8    `json:"sectors,omitempty"`
	Detail    string    `json:"detail,omitempty"` // of other commands, e.g. the config string
	Tag       *uint32   `json:"tag,omitempty"`
	Repeat    bool      `json:"repeat,omitempty"` // the same request was seen before, and no reply since
	Result    string    `json:"result,omitempty"` // of replies: OK or Failed
	Error     string    `json:"error,omitempty"`  // why it failed
	Drop      string    `json:"drop,omitempty"`   // requests that got no reply: why
	// Latency is the time between request and reply in nanoseconds, as seen by the target; of the first of several same requests.
	Latency *int64 `json:"latency_ns,omitempty"`
	Length  int    `json:"length"` // bytes on the wire, without FCS
	// Missed is how many frames before this one the trace could not take.
	Missed uint64 `json:"missed,omitempty"`
}

// maxPending bounds the requests that wait for their reply. They are forgotten all at once when there are more: a trace goes on.
const maxPending = 1 << 16

// Decoder decodes the frames of one trace in their order.
type Decoder struct{ pending map[key]request }

type key struct {
	iface string
	mac   aoe.MAC
	tag   uint32
	cmd   aoe.Command
}

// request is what a reply needs to know of it.
type request struct {
	at       time.Time
	wild     bool // several targets may answer
	answered bool // one did
	what     Frame
}

// Decode puts one frame into words. It keeps nothing of r.
func (d *Decoder) Decode(r *control.TraceRecord) Frame {
	f := Frame{Time: r.Time, Interface: r.Interface, Out: r.Out, Drop: r.Drop, Length: r.Length, Missed: r.Missed}
	if !aoe.IsAoE(r.Frame) {
		f.Detail = "not AoE"
		return f
	}
	h, _ := aoe.DecodeHeader(r.Frame) // it is long enough
	f.Export, f.Command, f.Tag = h.Addr.String(), h.Cmd.String(), &h.Tag
	if h.Flags&aoe.FlagResponse == 0 {
		f.Initiator, f.Target = h.Src.String(), h.Dst.String()
		describe(&f, h, r.Frame)
		d.remember(&f, key{r.Interface, h.Src, h.Tag, h.Cmd}, h.Addr.Wild())
		return f
	}
	f.Initiator, f.Target = h.Dst.String(), h.Src.String()
	if h.Dst == aoe.Broadcast && h.Cmd == aoe.CmdConfig {
		f.Initiator, f.What = "", "announcement"
		configReply(&f, r.Frame)
		return f
	}
	d.reply(&f, h, r.Frame)
	return f
}

// remember keeps a request until its reply comes.
func (d *Decoder) remember(f *Frame, k key, wild bool) {
	old, seen := d.pending[k]
	f.Repeat = seen && !old.answered && same(&old.what, f)
	if f.Drop != "" {
		return // no reply will come of it
	}
	if d.pending == nil || len(d.pending) >= maxPending {
		d.pending = map[key]request{}
	}
	at := f.Time
	if f.Repeat {
		at = old.at
	}
	d.pending[k] = request{at: at, wild: wild, what: *f}
}

func same(a, b *Frame) bool {
	return a.What == b.What && a.Export == b.Export && a.Detail == b.Detail && (a.LBA == nil) == (b.LBA == nil) && (a.LBA == nil || *a.LBA == *b.LBA)
}

// reply decodes a reply.
func (d *Decoder) reply(f *Frame, h aoe.Header, frame []byte) {
	k := key{f.Interface, h.Dst, h.Tag, h.Cmd}
	if q, ok := d.pending[k]; ok {
		ns := f.Time.Sub(q.at).Nanoseconds()
		f.Latency, f.What, f.Opcode, f.LBA, f.Sectors, f.Detail = &ns, q.what.What, q.what.Opcode, q.what.LBA, q.what.Sectors, q.what.Detail
		if q.wild {
			q.answered = true
			d.pending[k] = q
		} else {
			delete(d.pending, k)
		}
	}
	f.Result = OK
	if h.Flags&aoe.FlagError != 0 {
		f.Result, f.Error = Failed, h.Code.Error()
		return
	}
	switch h.Cmd {
	case aoe.CmdATA:
		a, _, err := aoe.DecodeATA(frame)
		if err == nil && a.Command&ata.StatusFailed != 0 {
			f.Result, f.Error = Failed, registers(a.Command, a.Feature)
		}
	case aoe.CmdConfig:
		configReply(f, frame)
	case aoe.CmdMask:
		f.Detail = maskList(frame)
		if m, _, _ := aoe.DecodeMask(frame); m.Error != aoe.MaskOK {
			f.Result, f.Error = Failed, maskErrors[m.Error]
		}
	case aoe.CmdReserve:
		f.Detail = reserveList(frame)
	}
}

// Is tells whether a frame is one of those that a word stands for: a command of AoE ("ata") or of ATA ("read", "set-features").
func (f *Frame) Is(word string) bool {
	word = strings.ToLower(word)
	return word == f.Command || f.Command == "ata" && word == Word(f.What)
}

// Word is the name of an ATA command as one word.
func Word(what string) string { return strings.ToLower(strings.ReplaceAll(what, " ", "-")) }

// Words are all words that Is knows.
func Words() []string {
	out := []string{"ata", "config", "mask", "reserve"}
	for _, n := range names {
		out = append(out, Word(n))
	}
	return out
}
