package daemon

import (
	"context"
	"strings"
	"time"

	"goaoe/aoe"
	"goaoe/internal/control"
	"goaoe/internal/target"
)

// Clear implements control.Backend.
func (b *backend) Clear(ctx context.Context, r *control.ClearRequest) (*control.ChangeReply, error) {
	reply := &control.ChangeReply{Results: []control.Result{}}
	var edit func(target.State) target.State
	switch r.What {
	case control.ClearConfig:
		edit = func(s target.State) target.State { s.Config = nil; return s }
	case control.ClearMask:
		edit = func(s target.State) target.State { s.Mask = nil; return s }
	case control.ClearReserve:
		edit = func(s target.State) target.State { s.Reserve = nil; return s }
	case control.ClearStats:
		return b.clearStats(ctx, r)
	default:
		return nil, control.Errorf(control.CodeUsage, "%q cannot be cleared", r.What).WithHint("it is config, mask, reserve or stats")
	}
	if len(r.Exports) == 0 {
		return nil, control.Errorf(control.CodeUsage, "no export is named").WithHint("each by its address, such as e0.1; goaoe clear takes names and patterns, too")
	}
	for _, name := range r.Exports {
		note, err := b.clearOne(ctx, name, r, edit)
		reply.Results = append(reply.Results, control.Result{Address: name, Error: control.AsError(err), Note: note})
	}
	return reply, nil
}

// clearOne clears one export's part of the state.
func (b *backend) clearOne(ctx context.Context, name string, r *control.ClearRequest, edit func(target.State) target.State) (string, error) {
	addr, err := aoe.ParseAddr(name)
	if err != nil {
		return "", control.Errorf(control.CodeUsage, "%v", err)
	}
	note := ""
	done, err := ask(ctx, b.d, func() (<-chan error, error) {
		x := b.d.exports[addr]
		switch {
		case x == nil:
			return nil, b.d.notThere(addr)
		case x.phase != serving:
			return nil, control.Errorf(control.CodeFailed, "%v is not open at present", addr).WithHint("goaoe ls says why")
		}
		st := x.run.target.State()
		if r.What == control.ClearReserve && len(st.Reserve) > 0 {
			if who := holders(b.d.users(x)); who != "" && !r.Force {
				return nil, control.Errorf(control.CodeInUse, "%v is reserved by %s, seen a moment ago", addr, who).
					WithHint("release it there (aoe-stat, aoecfg), or take it away by --force")
			}
			note = "was reserved by " + macs(st.Reserve)
		}
		return b.d.slow.edit(x.run.target, edit), nil
	})
	if err != nil {
		return "", err
	}
	select {
	case err := <-done:
		return note, err
	case <-ctx.Done():
		return "", ctx.Err()
	case <-time.After(drainLimit):
		return "", control.Errorf(control.CodeFailed, "%v: the state directory does not answer", addr).WithHint("the change may still happen")
	}
}

// holders names the users that hold a reservation and were seen lately.
func holders(users []control.User) string {
	var out []string
	for _, u := range users {
		if u.Reserved && !u.LastSeen.IsZero() {
			out = append(out, u.MAC)
		}
	}
	return strings.Join(out, ", ")
}

func macs(list []aoe.MAC) string {
	out := make([]string, len(list))
	for i, m := range list {
		out[i] = m.String()
	}
	return strings.Join(out, ", ")
}
