package daemon

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/control"
	"goaoe/internal/engine"
	"goaoe/internal/stats"
)

// Trace implements control.Backend.
func (b *backend) Trace(ctx context.Context, r *control.TraceRequest, fn func(*control.TraceRecord) error) error {
	c, filter, err := tapConfig(r)
	if err != nil {
		return err
	}
	tap, err := ask(ctx, b.d, func() (*engine.Tap, error) { return b.d.eng.NewTap(c) })
	if err != nil {
		return err
	}
	defer tap.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // the end of the daemon ends the trace
		select {
		case <-b.d.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	n := 0
	var missed uint64
	err = tap.Read(ctx, func(t *engine.TapRecord) error {
		missed += t.Missed
		if !filter.wants(t) {
			return nil
		}
		rec := control.TraceRecord{Time: time.Unix(0, t.Time), Interface: t.Interface, Out: t.Out, Length: t.Length, Frame: slices.Clone(t.Data), Missed: missed}
		missed = 0
		if t.Drop != stats.NoDrop {
			rec.Drop = t.Drop.String()
		}
		if err := fn(&rec); err != nil {
			return err
		}
		if n++; n == r.Count {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || errors.Is(err, context.Canceled) || errors.Is(err, engine.ErrTapClosed) {
		return nil
	}
	return err
}

var errEnough = errors.New("as many records as wanted")

// tapConfig makes the engine's filter, and what that cannot do, of a request.
func tapConfig(r *control.TraceRequest) (c engine.TapConfig, f *commandFilter, err error) {
	if r.Export != "" {
		a, err := aoe.ParseAddr(r.Export)
		if err != nil {
			return c, nil, control.Errorf(control.CodeUsage, "export: %v", err)
		}
		c.Export = &a
	}
	if r.Initiator != "" {
		if c.Initiator, err = aoe.ParseMAC(r.Initiator); err != nil {
			return c, nil, control.Errorf(control.CodeUsage, "initiator: %v", err)
		}
	}
	c.Interface = r.Interface
	switch {
	case r.Snap < 0:
		c.Snap = engine.MaxSnap
	case r.Snap > engine.MaxSnap:
		return c, nil, control.Errorf(control.CodeUsage, "snap: %d is more than the %d bytes of the largest frame", r.Snap, engine.MaxSnap)
	case r.Snap > 0:
		c.Snap = max(r.Snap, engine.DefaultSnap) // the filter and the decoder need the headers
	}
	if r.Count < 0 {
		return c, nil, control.Errorf(control.CodeUsage, "count: %d is negative", r.Count)
	}
	f, err = newCommandFilter(r.Command)
	return c, f, err
}

// commandFilter tells frames by what they ask for. A reply has no ATA command in it: it is known by the tag of its request.
type commandFilter struct {
	any     bool
	command aoe.Command
	class   ata.Class // of the ATA command
	all     bool      // the whole command, without a look at the class
	asked   map[requestKey]bool
}

// commandNames are the filters that there are beside the classes of ATA commands.
var commandNames = map[string]aoe.Command{"ata": aoe.CmdATA, "config": aoe.CmdConfig, "mask": aoe.CmdMask, "reserve": aoe.CmdReserve}

func newCommandFilter(name string) (*commandFilter, error) {
	if name == "" {
		return &commandFilter{any: true}, nil
	}
	if c, ok := commandNames[name]; ok {
		return &commandFilter{command: c, all: true}, nil
	}
	known := slices.Collect(maps.Keys(commandNames))
	for class, text := range classNames {
		text = strings.ToLower(strings.ReplaceAll(text, " ", "-"))
		if text == strings.ToLower(name) {
			return &commandFilter{command: aoe.CmdATA, class: class, asked: map[requestKey]bool{}}, nil
		}
		known = append(known, text)
	}
	slices.Sort(known)
	return nil, control.Errorf(control.CodeUsage, "there is no command %q", name).WithHint("it is one of " + strings.Join(known, ", "))
}

// wants tells whether a frame passes.
func (f *commandFilter) wants(t *engine.TapRecord) bool {
	if f.any {
		return true
	}
	h, err := aoe.DecodeHeader(t.Data)
	if err != nil || h.Cmd != f.command {
		return false
	}
	if f.all {
		return true
	}
	if t.Out {
		key := requestKey{h.Dst, h.Tag}
		yes := f.asked[key]
		delete(f.asked, key)
		return yes
	}
	a, _, err := aoe.DecodeATA(t.Data)
	if err != nil || ata.Lookup(a.Command).Class != f.class {
		return false
	}
	if len(f.asked) >= requestsPending { // requests that were never answered
		clear(f.asked)
	}
	f.asked[requestKey{h.Src, h.Tag}] = true
	return true
}
