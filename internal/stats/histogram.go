package stats

import (
	"math/bits"
)

// The buckets are log-linear: each power of two from 2^10 ns (about a microsecond) to 2^36 ns (about 69 s) is cut into four, so that a
// bound is at most a quarter above what is below it. One more bucket holds what is shorter than the first power.
const (
	minShift = 10
	maxShift = 36
	perPower = 4
	// NumBuckets is how many buckets a histogram has.
	NumBuckets = (maxShift-minShift)*perPower + 1
)

// BucketBounds returns the upper bounds of all buckets in nanoseconds, ascending.
func BucketBounds() []int64 {
	b := make([]int64, NumBuckets)
	for i := range b {
		b[i] = bound(i)
	}
	return b
}

// bound is the upper bound of bucket i, inclusive.
func bound(i int) int64 {
	if i == 0 {
		return 1 << minShift
	}
	i--
	power, part := i/perPower, int64(i%perPower)
	return 1<<(minShift+power) + (part+1)<<(minShift+power-2)
}

// bucketOf is the bucket of a time; anything below zero counts as zero.
func bucketOf(ns int64) int {
	if ns <= 1<<minShift {
		return 0
	}
	v := uint64(ns - 1) // bounds are inclusive
	power := bits.Len64(v) - 1
	if power >= maxShift {
		return NumBuckets - 1
	}
	return (power-minShift)*perPower + int(v>>(power-2)&(perPower-1)) + 1
}

// perLine is how many buckets have a cache line of 64 bytes together with their sum.
const perLine = 7

// Histogram is a distribution of times that a lane adds to. Buckets that lie side by side have a sum of their own, in the same cache line: with many exports
// each line that is touched has to come from far away.
type Histogram struct {
	lines [(NumBuckets + perLine - 1) / perLine]struct {
		sum Single
		n   [perLine]Single
	}
}

// Observe adds one time in nanoseconds. It belongs to the lane.
func (h *Histogram) Observe(ns int64) {
	b := uint(bucketOf(ns))
	l := &h.lines[b/perLine]
	l.sum.Add(uint64(max(ns, 0)))
	l.n[b%perLine].Inc()
}

// At is where Observe of such a time adds to, for who wants to have it near in time.
func (h *Histogram) At(ns int64) *Single { return &h.lines[uint(bucketOf(ns))/perLine].sum }

// ObserveShared is Observe for a histogram with several writers, all of whom use it.
func (h *Histogram) ObserveShared(ns int64) {
	b := uint(bucketOf(ns))
	l := &h.lines[b/perLine]
	l.sum.addShared(uint64(max(ns, 0)))
	l.n[b%perLine].addShared(1)
}

// Snapshot returns what was added up to now. What is added meanwhile may be in the buckets and not yet in the sum, or the reverse.
func (h *Histogram) Snapshot() HistogramSnapshot {
	var s HistogramSnapshot
	for i := range h.lines {
		l := &h.lines[i]
		s.SumNs += l.sum.Load()
		for j := range l.n {
			if n := l.n[j].Load(); n > 0 {
				s.Count += n
				s.Buckets = append(s.Buckets, Bucket{bound(i*perLine + j), n})
			}
		}
	}
	return s
}

// carry adds what another histogram has.
func (h *Histogram) carry(from *Histogram) {
	for i := range from.lines {
		to, from := &h.lines[i], &from.lines[i]
		to.sum.Add(from.sum.Load())
		for j := range from.n {
			to.n[j].Add(from.n[j].Load())
		}
	}
}

// Mean returns the mean in nanoseconds, 0 without any.
func (h HistogramSnapshot) Mean() float64 {
	if h.Count == 0 {
		return 0
	}
	return float64(h.SumNs) / float64(h.Count)
}

// Quantile returns the time in nanoseconds that the part p (0 to 1) of all did not exceed, as the upper bound of its bucket: the true
// value is at most a quarter below it. It is 0 without any.
func (h HistogramSnapshot) Quantile(p float64) int64 {
	var total uint64
	for _, b := range h.Buckets {
		total += b.N
	}
	if total == 0 {
		return 0
	}
	want := uint64(p * float64(total))
	if float64(want) < p*float64(total) {
		want++
	}
	want = min(max(want, 1), total)
	var n uint64
	for _, b := range h.Buckets {
		if n += b.N; n >= want {
			return b.LE
		}
	}
	return h.Buckets[len(h.Buckets)-1].LE
}

// AtMost returns how many were not longer than ns, counting whole buckets only.
func (h HistogramSnapshot) AtMost(ns int64) uint64 {
	var n uint64
	for _, b := range h.Buckets {
		if b.LE <= ns {
			n += b.N
		}
	}
	return n
}

// Sub returns what came since an earlier snapshot of the same histogram.
func (h HistogramSnapshot) Sub(earlier HistogramSnapshot) HistogramSnapshot {
	return h.join(earlier, minus)
}

// Add returns both together.
func (h HistogramSnapshot) Add(other HistogramSnapshot) HistogramSnapshot {
	return h.join(other, plus)
}

// join combines two histograms bucket by bucket.
func (h HistogramSnapshot) join(o HistogramSnapshot, f func(a, b uint64) uint64) HistogramSnapshot {
	r := HistogramSnapshot{Count: f(h.Count, o.Count), SumNs: f(h.SumNs, o.SumNs)}
	a, b := h.Buckets, o.Buckets
	for len(a) > 0 || len(b) > 0 {
		var x, y uint64
		var le int64
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].LE < b[0].LE:
			le, x, a = a[0].LE, a[0].N, a[1:]
		case len(a) == 0 || b[0].LE < a[0].LE:
			le, y, b = b[0].LE, b[0].N, b[1:]
		default:
			le, x, y, a, b = a[0].LE, a[0].N, b[0].N, a[1:], b[1:]
		}
		if n := f(x, y); n > 0 {
			r.Buckets = append(r.Buckets, Bucket{le, n})
		}
	}
	return r
}

// minus is a-b, or 0: a counter that went back was started anew with its baseline left behind.
func minus(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}

func plus(a, b uint64) uint64 { return a + b }
