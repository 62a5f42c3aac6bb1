package daemon

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"goaoe/aoe"
	"goaoe/internal/config"
	"goaoe/internal/target"
)

// Limits of what is said about refusals.
const (
	refusalEvery  = 10 * time.Second // an access list and an initiator: one line in this time
	refusalLines  = 10               // lines of one access list in this time; the others wait for the next
	refusalKnown  = 64               // initiators of one access list that are told apart
	refusalForget = time.Minute      // who was quiet for so long begins anew
)

// refusalLog limits what is said about the refusals of one access list. The zero value is ready.
type refusalLog struct {
	window time.Time // when the present period began
	lines  int       // in it
	known  map[aoe.MAC]*refusedOne
	others refusedOne // those who are too many
}

// refusedOne is what is known of one initiator.
type refusedOne struct {
	said time.Time // zero: never
	held uint64    // refusals that were not told yet
}

// refusalLine is one line of the log.
type refusalLine struct {
	mac   aoe.MAC // zero: several
	n     uint64
	since time.Duration // since the last line about it; 0: it is the first
}

// text is the line without the export's address.
func (l refusalLine) text(list string) string {
	who, requests := l.mac.String(), "requests"
	if l.mac.IsZero() {
		who = "more initiators"
	}
	if l.n == 1 {
		requests = "request"
	}
	s := fmt.Sprintf("refused %s (%s): %d %s", who, list, l.n, requests)
	if l.since > 0 {
		s += fmt.Sprintf(" in the last %.0f s", l.since.Seconds())
	}
	return s
}

// add takes what was refused since the last call, and returns what is to be said now.
func (r *refusalLog) add(now time.Time, seen []target.Refusal) (out []refusalLine) {
	if r.known == nil {
		r.known = map[aoe.MAC]*refusedOne{}
	}
	if now.Sub(r.window) >= refusalEvery {
		r.window, r.lines = now, 0
	}
	for _, s := range seen {
		one := r.known[s.MAC]
		if one == nil && !s.MAC.IsZero() && len(r.known) < refusalKnown {
			one = &refusedOne{}
			r.known[s.MAC] = one
		}
		if one == nil {
			one = &r.others
		}
		one.held += s.N
	}
	macs := make([]aoe.MAC, 0, len(r.known))
	for m := range r.known {
		macs = append(macs, m)
	}
	// Who was told of long ago comes first, so that everybody has a turn.
	slices.SortFunc(macs, func(a, b aoe.MAC) int {
		return cmp.Or(r.known[a].said.Compare(r.known[b].said), cmp.Compare(a.Key(), b.Key()))
	})
	for _, m := range macs {
		one := r.known[m]
		if r.lines < refusalLines {
			if l, ok := one.line(now, m); ok {
				r.lines++
				out = append(out, l)
			}
		}
		if one.held == 0 && now.Sub(one.said) >= refusalForget {
			delete(r.known, m)
		}
	}
	if l, ok := r.others.line(now, aoe.MAC{}); ok {
		out = append(out, l)
	}
	return out
}

// line returns what is to be said of one initiator now, if anything is.
func (o *refusedOne) line(now time.Time, m aoe.MAC) (refusalLine, bool) {
	if o.held == 0 || !o.said.IsZero() && now.Sub(o.said) < refusalEvery {
		return refusalLine{}, false
	}
	l := refusalLine{mac: m, n: o.held}
	if quiet := now.Sub(o.said); quiet < refusalForget {
		l.since = quiet
	}
	o.said, o.held = now, 0
	return l, true
}

// logRefusals tells of requests that access lists with log = true refused since the last time.
func (d *Daemon) logRefusals(x *export) {
	if x.phase != serving {
		return
	}
	acc := x.run.target.Access()
	for _, l := range []struct {
		key  string
		cfg  *config.ACL
		list *target.ACL
	}{
		{"accept", x.cfg.Access, acc.All}, {"config-read", x.cfg.ConfigRead, acc.CfgRead}, {"config-set", x.cfg.ConfigSet, acc.CfgSet},
		{"read", x.cfg.Read, acc.Read}, {"write", x.cfg.Write, acc.Write},
	} {
		if l.cfg == nil || !l.cfg.Log {
			continue
		}
		log := x.refused[l.key]
		if log == nil {
			log = &refusalLog{}
			x.refused[l.key] = log
		}
		for _, line := range log.add(time.Now(), l.list.TakeRefusals(nil)) {
			about := []slog.Attr{forExport(x.addr), slog.Uint64("requests", line.n), slog.String("list", l.cfg.Names)}
			if !line.mac.IsZero() {
				about = append(about, slog.String(attrInitiator, line.mac.String()))
			}
			if l.cfg.LogTarget != "" {
				about = append(about, slog.String(attrLogTarget, l.cfg.LogTarget))
			}
			d.log.LogAttrs(context.Background(), slog.LevelInfo, fmt.Sprintf("%v %s", x.addr, line.text(l.key)), about...)
		}
	}
}
