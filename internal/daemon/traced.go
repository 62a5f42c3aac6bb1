package daemon

import (
	"context"
	"slices"
	"time"

	"goaoe/aoe"
	"goaoe/internal/engine"
	"goaoe/internal/stats"
)

// traced is what runs while exports have trace = true: one tap for all of them, and a goroutine that makes log lines of what it sees.
// Where the lines are written more slowly than frames come, frames are missed, and counted: the lanes never wait.
type traced struct {
	addrs []aoe.Addr // in order
	stop  context.CancelFunc
}

// followTraced starts, ends or changes the trace to the log, as the configuration says. Only the loop calls it.
func (d *Daemon) followTraced() {
	var addrs []aoe.Addr
	for i := range d.cfg.Exports {
		if e := &d.cfg.Exports[i]; e.Trace {
			addrs = append(addrs, e.Addr)
		}
	}
	if slices.Equal(addrs, d.traced.addrs) {
		return
	}
	if d.traced.stop != nil {
		d.traced.stop()
	}
	d.traced = traced{}
	if len(addrs) == 0 {
		return
	}
	var c engine.TapConfig
	if len(addrs) == 1 { // of several it sees everything, and the request log chooses
		c.Export = &addrs[0]
	}
	tap, err := d.eng.NewTap(c)
	if err != nil {
		d.log.Error("trace = true has no effect: " + err.Error())
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	d.traced = traced{addrs, stop}
	d.bg.Add(2)
	go func() {
		defer d.bg.Done()
		d.readTraced(ctx, tap, addrs)
	}()
	go func() { // the end of the daemon ends it
		defer d.bg.Done()
		select {
		case <-d.quit:
			stop()
		case <-ctx.Done():
		}
	}()
}

// readTraced makes log lines of what a tap sees, until ctx ends.
func (d *Daemon) readTraced(ctx context.Context, tap *engine.Tap, addrs []aoe.Addr) {
	defer tap.Close()
	r := newRequestLog(d.log, func(a aoe.Addr) bool {
		_, found := slices.BinarySearchFunc(addrs, a, func(x, y aoe.Addr) int { return int(x.Key()) - int(y.Key()) })
		return found
	})
	_ = tap.Read(ctx, func(t *engine.TapRecord) error { // it ends because it is told to
		at := time.Unix(0, t.Time)
		r.missed(at, addrs[0], t.Missed)
		drop := ""
		if t.Drop != stats.NoDrop {
			drop = t.Drop.String()
		}
		r.frame(at, t.Interface, t.Out, drop, t.Data)
		return nil
	})
}
