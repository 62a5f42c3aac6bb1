package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"goaoe/aoe"
	"goaoe/ata"
)

// Limits of the request log.
const (
	requestPatience = 10 * time.Second // a request without a reply is given up
	requestsPending = 8192             // requests that wait for their reply; more are not followed
)

// requestLog writes a line for each request of the exports that have trace = true. It sees frames, beside the hot path: requests as they
// arrive, replies as they leave; and puts the two together. One goroutine uses it.
type requestLog struct {
	log     *slog.Logger
	wanted  func(aoe.Addr) bool
	pending map[requestKey]*request
	oldest  time.Time // no pending request is older
	lost    uint64    // frames that went by unseen, and were not told yet
	told    time.Time
}

// requestKey tells requests apart: an initiator gives each of its own a tag.
type requestKey struct {
	from aoe.MAC
	tag  uint32
}

// request is one that was not answered yet.
type request struct {
	at    time.Time
	iface string
	addr  aoe.Addr // may have wildcards
	what  string
}

func newRequestLog(log *slog.Logger, wanted func(aoe.Addr) bool) *requestLog {
	return &requestLog{log: log, wanted: wanted, pending: map[requestKey]*request{}}
}

// frame takes one frame, from its Ethernet header on; the first 64 bytes are enough. out: it was sent by us. drop says why a received
// one is not answered; empty when it is, or when that is not known yet.
func (r *requestLog) frame(at time.Time, iface string, out bool, drop string, f []byte) {
	h, err := aoe.DecodeHeader(f)
	if err != nil {
		return
	}
	if !out {
		if !h.Addr.Wild() && !r.wanted(h.Addr) || h.Flags&aoe.FlagResponse != 0 {
			return
		}
		q := &request{at, iface, h.Addr, describe(h, f)}
		if drop != "" {
			if !h.Addr.Wild() {
				r.line(q, h.Addr, h.Src, h.Tag, "dropped: "+drop)
			}
			return
		}
		r.expire(at)
		if len(r.pending) < requestsPending {
			r.pending[requestKey{h.Src, h.Tag}] = q
		}
		return
	}
	if h.Flags&aoe.FlagResponse == 0 || h.Tag == 0 || !r.wanted(h.Addr) { // tag 0: an announcement
		return
	}
	key := requestKey{h.Dst, h.Tag}
	q := r.pending[key]
	if q == nil {
		q = &request{at, iface, h.Addr, "?"} // traced since a moment ago
	}
	if !q.addr.Wild() { // several may answer
		delete(r.pending, key)
	}
	result := outcome(h, f)
	if d := at.Sub(q.at); d > 0 {
		result += fmt.Sprintf(" after %v", d.Round(time.Microsecond))
	}
	r.line(q, h.Addr, h.Dst, h.Tag, result)
}

// expire gives up requests that nobody answered.
func (r *requestLog) expire(now time.Time) {
	if len(r.pending) == 0 {
		r.oldest = now
		return
	}
	if now.Sub(r.oldest) < requestPatience {
		return
	}
	r.oldest = now
	for key, q := range r.pending {
		if now.Sub(q.at) >= requestPatience {
			delete(r.pending, key)
			if !q.addr.Wild() {
				r.line(q, q.addr, key.from, key.tag, "no reply")
			}
		} else if q.at.Before(r.oldest) {
			r.oldest = q.at
		}
	}
}

// line writes one line. The log takes it whatever its level.
func (r *requestLog) line(q *request, a aoe.Addr, from aoe.MAC, tag uint32, result string) {
	rec := slog.NewRecord(q.at, slog.LevelDebug, fmt.Sprintf("%v %s: %s", a, q.what, result), 0)
	rec.AddAttrs(forExport(a), slog.String(attrInitiator, from.String()), forInterface(q.iface), slog.String("tag", fmt.Sprintf("%08x", tag)),
		slog.Bool(attrTrace, true))
	_ = r.log.Handler().Handle(context.Background(), rec) // past Enabled: trace = true asked for it
}

// missed tells, once a second at most, that frames went by unseen. a is an export that is traced.
func (r *requestLog) missed(now time.Time, a aoe.Addr, n uint64) {
	if r.lost += n; r.lost == 0 || now.Sub(r.told) < time.Second {
		return
	}
	rec := slog.NewRecord(now, slog.LevelWarn, fmt.Sprintf("%d frames came too fast to be traced", r.lost), 0)
	rec.AddAttrs(forExport(a), slog.Bool(attrTrace, true))
	_ = r.log.Handler().Handle(context.Background(), rec)
	r.lost, r.told = 0, now
}

// classNames are what people call the classes of ATA commands.
var classNames = map[ata.Class]string{ata.Read: "read", ata.Write: "write", ata.Verify: "verify", ata.Flush: "flush", ata.Identify: "identify",
	ata.SetFeatures: "set features", ata.SMART: "SMART", ata.SetMultiple: "set multiple", ata.CheckPower: "check power", ata.Power: "power",
	ata.NativeMax: "native max", ata.DataSet: "trim"}

// describe says in words what is asked for.
func describe(h aoe.Header, f []byte) string {
	switch h.Cmd {
	case aoe.CmdATA:
		a, _, err := aoe.DecodeATA(f)
		if err != nil {
			return "ATA, cut off"
		}
		return describeATA(&a)
	case aoe.CmdConfig:
		c, _ := aoe.DecodeConfig(f) // the operation is valid with a wrong length, too
		names := []string{"config read", "config test", "config prefix", "config set", "config force set"}
		if int(c.Op) < len(names) {
			return names[c.Op]
		}
		return fmt.Sprintf("config operation %d", c.Op)
	case aoe.CmdMask:
		m, _, _ := aoe.DecodeMask(f)
		return map[uint8]string{aoe.MaskRead: "mask read", aoe.MaskEdit: "mask edit"}[m.Op]
	case aoe.CmdReserve:
		v, _, _ := aoe.DecodeReserve(f)
		return map[uint8]string{aoe.ReserveRead: "reserve read", aoe.ReserveSet: "reserve set", aoe.ReserveForce: "reserve force"}[v.Op]
	}
	return fmt.Sprintf("command %d", h.Cmd)
}

func describeATA(a *aoe.ATA) string {
	op := ata.Lookup(a.Command)
	name, ok := classNames[op.Class]
	if !ok {
		return fmt.Sprintf("ATA command %#02x", a.Command)
	}
	switch op.Class {
	case ata.Read, ata.Write, ata.Verify:
		lba, ok := ata.Address(a.LBA, op.Ext, a.Flags&aoe.ATAExtended != 0)
		if !ok {
			return fmt.Sprintf("%s %d sectors at an invalid address", name, a.Count)
		}
		return fmt.Sprintf("%s %d sectors at %d", name, a.Count, lba)
	case ata.SetFeatures, ata.SMART:
		return fmt.Sprintf("%s %#02x", name, a.Feature)
	}
	return name
}

// outcome says in words what a reply says.
func outcome(h aoe.Header, f []byte) string {
	if h.Flags&aoe.FlagError != 0 {
		return "refused: " + h.Code.Error()
	}
	if h.Cmd != aoe.CmdATA {
		return "done"
	}
	a, _, err := aoe.DecodeATA(f)
	if err != nil || a.Command&ata.StatusFailed == 0 {
		return "done"
	}
	var why []string
	for _, b := range []struct {
		bit  uint8
		name string
	}{{ata.ErrABRT, "ABRT"}, {ata.ErrIDNF, "IDNF"}, {ata.ErrUNC, "UNC"}, {ata.ErrICRC, "ICRC"}} {
		if a.Feature&b.bit != 0 {
			why = append(why, b.name)
		}
	}
	if a.Command&ata.StatusDF != 0 {
		why = append(why, "device fault")
	}
	if len(why) == 0 {
		why = append(why, fmt.Sprintf("status %#02x", a.Command))
	}
	return "failed: " + strings.Join(why, ", ")
}
