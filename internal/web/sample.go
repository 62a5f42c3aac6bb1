package web

import (
	"context"
	"sync"
	"time"

	"goaoe/internal/control"
	"goaoe/internal/stats"
)

// The bounds of what is kept.
const (
	historyFor  = 15 * time.Minute
	fresh       = time.Second // a sample that is not older is good for everybody who asks
	maxTracked  = 512         // exports with a history of their own: those that had traffic first
	busyShare   = 50          // without viewers, sampling takes at most the 50th part of the time
	askFor      = 10 * time.Second
	pollEvery   = 2 * time.Second // what the page is told
	minInterval = 200 * time.Millisecond
)

// sampler asks the daemon and works out what happened between two answers. Its methods may be called from any goroutine.
type sampler struct {
	b   control.Backend
	now func() time.Time

	mu      sync.Mutex
	stats   *control.Stats // the newest
	took    time.Duration  // the last time
	rates   rates
	history []Point
	exports map[string][]Point
	growth  growth
	full    *sample
}

// sample is what the daemon said at a moment, with the rates at that time. It is not changed after it was made.
type sample struct {
	at         time.Time
	status     *control.Status
	exports    []control.Export
	interfaces []control.Interface
	stats      *control.Stats
	rates      rates
	point      Point // of everything
	warnings   []Warning
}

// rates are what happened between the last two samples.
type rates struct {
	exports    map[string]Point
	interfaces map[string]Port
	initiators map[[2]string]Peer // by MAC and export
}

func newSampler(b control.Backend) *sampler {
	return &sampler{b: b, now: time.Now, exports: map[string][]Point{}}
}

// run samples the counters every d until ctx ends, so that there is a history before anybody looks.
func (s *sampler) run(ctx context.Context, d time.Duration) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		s.mu.Lock()
		if s.stats == nil || s.now().Sub(s.stats.At) > d/2 {
			_ = s.count(ctx) // the daemon is ending; who looks is told
		}
		next := max(d, busyShare*s.took)
		s.mu.Unlock()
		t.Reset(next)
	}
}

// get returns a sample that is not older than fresh.
func (s *sampler) get(ctx context.Context) (*sample, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.full; f != nil && s.now().Sub(f.at) < fresh {
		return f, nil
	}
	// Who waits for it must not lose it because the one who came first went away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askFor)
	defer cancel()
	f := &sample{at: s.now()}
	var err error
	if f.status, err = s.b.Status(ctx); err != nil {
		return nil, err
	}
	if f.exports, err = s.b.Exports(ctx); err != nil {
		return nil, err
	}
	if f.interfaces, err = s.b.Interfaces(ctx); err != nil {
		return nil, err
	}
	if err = s.count(ctx); err != nil {
		return nil, err
	}
	f.stats, f.rates = s.stats, s.rates
	if n := len(s.history); n > 0 {
		f.point = s.history[n-1]
	}
	f.warnings = findings(f, &s.growth)
	s.full = f
	return f, nil
}

// forget makes the next get ask the daemon, because something was changed.
func (s *sampler) forget() {
	s.mu.Lock()
	s.full = nil
	s.mu.Unlock()
}

// past returns the history after a time, of everything or of one export.
func (s *sampler) past(export string, since int64) []Point {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := s.history
	if export != "" {
		from = s.exports[export]
	}
	out := []Point{}
	for _, p := range from {
		if p.At > since {
			out = append(out, p)
		}
	}
	return out
}

// count gets the counters and adds to the history. s.mu is held.
func (s *sampler) count(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	begin := s.now()
	st, err := s.b.Stats(ctx)
	if err != nil {
		return err
	}
	s.took = s.now().Sub(begin)
	old := s.stats
	if old != nil && st.At.Sub(old.At) < minInterval {
		return nil // too short for a rate
	}
	s.stats = st
	s.growth.add(st)
	if old == nil {
		s.rates = rates{}
		return nil
	}
	s.compare(old, st)
	return nil
}

// compare works out the rates between two answers, and adds them to the histories.
func (s *sampler) compare(old, now *control.Stats) {
	d := now.At.Sub(old.At).Seconds()
	r := rates{map[string]Point{}, map[string]Port{}, map[[2]string]Peer{}}
	at := now.At.UnixMilli()
	total := Point{At: at}
	var all stats.HistogramSnapshot
	before := make(map[string]*control.ExportStats, len(old.Exports))
	for i := range old.Exports {
		before[old.Exports[i].Address] = &old.Exports[i]
	}
	var zero control.ExportStats
	for i := range now.Exports {
		e, b := &now.Exports[i], before[now.Exports[i].Address]
		if b == nil {
			b = &zero
		}
		p := Point{At: at, Read: rate(e.ReadBytes, b.ReadBytes, d), Write: rate(e.WriteBytes, b.WriteBytes, d),
			ReadOps: rate(e.Reads, b.Reads, d), WriteOps: rate(e.Writes, b.Writes, d)}
		if e.Latency.Read.Count != b.Latency.Read.Count || e.Latency.Write.Count != b.Latency.Write.Count {
			h := e.Latency.Read.Sub(b.Latency.Read).Add(e.Latency.Write.Sub(b.Latency.Write))
			p.Median, p.P99 = quantiles(h)
			all = all.Add(h)
		}
		total.Read += p.Read
		total.Write += p.Write
		total.ReadOps += p.ReadOps
		total.WriteOps += p.WriteOps
		r.exports[e.Address] = p
		s.track(e.Address, p)
	}
	total.Median, total.P99 = quantiles(all)
	s.history = trim(append(s.history, total), at)
	s.rates = r
	s.compareRest(old, now, d)
	if len(s.exports) > 0 {
		for a := range s.exports {
			if _, ok := r.exports[a]; !ok {
				delete(s.exports, a)
			}
		}
	}
}

// compareRest does what compare does for interfaces and initiators.
func (s *sampler) compareRest(old, now *control.Stats, d float64) {
	ports := make(map[string]*control.InterfaceStats, len(old.Interfaces))
	for i := range old.Interfaces {
		ports[old.Interfaces[i].Name] = &old.Interfaces[i]
	}
	for i := range now.Interfaces {
		p := &now.Interfaces[i]
		b := ports[p.Name]
		if b == nil {
			b = &control.InterfaceStats{}
		}
		s.rates.interfaces[p.Name] = Port{Rx: rate(p.RxBytes, b.RxBytes, d), Tx: rate(p.TxBytes, b.TxBytes, d),
			RxOps: rate(p.RxFrames, b.RxFrames, d), TxOps: rate(p.TxFrames, b.TxFrames, d)}
	}
	peers := make(map[[2]string]*control.InitiatorStats, len(old.Initiators))
	for i := range old.Initiators {
		peers[[2]string{old.Initiators[i].MAC, old.Initiators[i].Export}] = &old.Initiators[i]
	}
	for i := range now.Initiators {
		p := &now.Initiators[i]
		k := [2]string{p.MAC, p.Export}
		b := peers[k]
		if b == nil {
			b = &control.InitiatorStats{}
		}
		s.rates.initiators[k] = Peer{Read: rate(p.ReadBytes, b.ReadBytes, d), Write: rate(p.WriteBytes, b.WriteBytes, d),
			Ops: rate(p.Reads+p.Writes, b.Reads+b.Writes, d)}
	}
}

// track adds to the history of an export. One that never did anything has none.
func (s *sampler) track(a string, p Point) {
	h, ok := s.exports[a]
	if !ok && (len(s.exports) >= maxTracked || p.ReadOps+p.WriteOps == 0) {
		return
	}
	s.exports[a] = trim(append(h, p), p.At)
}

// trim drops what is too old.
func trim(h []Point, now int64) []Point {
	n := 0
	for n < len(h) && now-h[n].At > historyFor.Milliseconds() {
		n++
	}
	if n == 0 {
		return h
	}
	return append(h[:0], h[n:]...)
}

// quantiles returns the median and the 99th percentile in microseconds.
func quantiles(h stats.HistogramSnapshot) (median, p99 float64) {
	return float64(h.Quantile(0.5)) / 1e3, float64(h.Quantile(0.99)) / 1e3
}

// rate is a growth per second; a counter that went back was cleared, and counts as not moved.
func rate(now, before uint64, seconds float64) float64 {
	if now < before || seconds <= 0 {
		return 0
	}
	return float64(now-before) / seconds
}
