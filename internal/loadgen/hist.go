package loadgen

import (
	"math/bits"
	"time"
)

const (
	subBits = 6 // 64 steps per power of two: a value is off by 1/64 (1.6 %) at most
	subs    = 1 << subBits
	maxBits = 36 // values up to 68 seconds; longer ones count as the last step
	steps   = (maxBits - subBits + 1) * subs
)

// Histogram counts latencies in steps that grow with them: exact below 64 ns, within 1.6 % up to 68 s. Its size is fixed
// and Add does not allocate. The zero value is empty.
type Histogram struct {
	count [steps]uint64
	n     uint64
	max   int64
}

// step is the index for a value in nanoseconds.
func step(ns int64) int {
	if ns < subs {
		return int(max(ns, 0))
	}
	shift := bits.Len64(uint64(ns)) - 1 - subBits
	return min((shift+1)*subs+int(ns>>shift)-subs, steps-1)
}

// upper is the largest value that counts in a step.
func upper(i int) int64 {
	if i < subs {
		return int64(i)
	}
	shift := i/subs - 1
	return int64(i%subs+subs+1)<<shift - 1
}

// Add counts one latency in nanoseconds; a negative one counts as 0.
func (h *Histogram) Add(ns int64) {
	h.count[step(ns)]++
	h.n++
	h.max = max(h.max, ns)
}

// Count is how many were added.
func (h *Histogram) Count() uint64 { return h.n }

// Max is the longest latency, exactly.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max) }

// Quantile is the latency that the fraction q (0 to 1) of all do not exceed, rounded up to the end of its step but not over
// Max; 0 when empty.
func (h *Histogram) Quantile(q float64) time.Duration {
	want := uint64(q * float64(h.n))
	if float64(want) < q*float64(h.n) || want == 0 {
		want++
	}
	sum := uint64(0)
	for i, c := range &h.count {
		if sum += c; sum >= want {
			return time.Duration(min(upper(i), h.max))
		}
	}
	return h.Max()
}

// Each calls f for each step that has something in it, in their order: n latencies of from low to high nanoseconds.
func (h *Histogram) Each(f func(low, high int64, n uint64)) {
	for i, c := range &h.count {
		if c == 0 {
			continue
		}
		low := int64(0)
		if i > 0 {
			low = upper(i-1) + 1
		}
		f(low, min(upper(i), max(h.max, low)), c)
	}
}

// Merge adds what o has.
func (h *Histogram) Merge(o *Histogram) {
	for i, c := range &o.count {
		h.count[i] += c
	}
	h.n += o.n
	h.max = max(h.max, o.max)
}

// Mean is the mean latency, within 1 %.
func (h *Histogram) Mean() time.Duration {
	if h.n == 0 {
		return 0
	}
	sum := 0.0
	h.Each(func(low, high int64, n uint64) { sum += float64(low+high) / 2 * float64(n) })
	return time.Duration(sum / float64(h.n))
}
