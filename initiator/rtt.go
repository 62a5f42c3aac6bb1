package initiator

import "time"

// Limits of the time after which a request is repeated.
const (
	minRTO   = 10 * time.Millisecond
	maxRTO   = 2 * time.Second
	firstRTO = 250 * time.Millisecond
)

// rtt estimates how long an answer takes, from requests that were sent once: mean and mean deviation, as Jacobson's.
type rtt struct {
	mean, dev time.Duration
	known     bool
}

// add takes one measurement.
func (r *rtt) add(d time.Duration) {
	if !r.known {
		r.mean, r.dev, r.known = d, d/2, true
		return
	}
	diff := d - r.mean
	r.mean += diff / 8
	if diff < 0 {
		diff = -diff
	}
	r.dev += (diff - r.dev) / 4
}

// timeout is how long to wait for the answer to the transmission after tries repetitions, in nanoseconds: twice as long each time.
func (r *rtt) timeout(tries int) int64 {
	d := firstRTO
	if r.known {
		d = min(max(2*r.mean+8*r.dev, minRTO), maxRTO)
	}
	return int64(min(d<<min(tries, 8), maxRTO))
}

// fast is the time after which a request that younger ones overtook counts as lost.
func (r *rtt) fast() time.Duration { return max(2*r.mean+8*r.dev, fastLeast) }
