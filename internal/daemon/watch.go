package daemon

import (
	"context"
	"time"

	"goaoe/internal/control"
)

// userAge is how long after its last ATA command an initiator counts as a user of an export. Linux sends nothing for a mounted
// file system that nobody touches, so it is long.
const userAge = 10 * time.Minute

// users returns who uses an export.
func (d *Daemon) users(x *export) []control.User {
	out := []control.User{}
	if x.run == nil {
		return out
	}
	reserve := x.run.target.State().Reserve
	for _, m := range reserve {
		out = append(out, control.User{MAC: m.String(), Reserved: true})
	}
	return out
}

// SetLog implements control.Backend.
func (b *backend) SetLog(ctx context.Context, r *control.LogRequest) error {
	d := b.d
	_, err := ask(ctx, d, func() (struct{}, error) {
		if d.o.Logs == nil {
			return struct{}{}, control.Errorf(control.CodeRefused, "the log of this daemon cannot be changed")
		}
		subject, err := d.logSubject(r.Subject)
		if err != nil {
			return struct{}{}, err
		}
		if err := d.o.Logs.SetLevel(subject, r.Level); err != nil {
			return struct{}{}, control.Errorf(control.CodeUsage, "%v", err)
		}
		return struct{}{}, nil
	})
	return err
}

// Stats implements control.Backend.
func (b *backend) Stats(context.Context) (*control.Stats, error) {
	return nil, control.Errorf(control.CodeFailed, "not built yet")
}

func (b *backend) clearStats(context.Context, *control.ClearRequest) (*control.ChangeReply, error) {
	return nil, control.Errorf(control.CodeFailed, "not built yet")
}

// Trace implements control.Backend.
func (b *backend) Trace(context.Context, *control.TraceRequest, func(*control.TraceRecord) error) error {
	return control.Errorf(control.CodeFailed, "not built yet")
}
