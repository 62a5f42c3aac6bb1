package target

import (
	"sync/atomic"

	"goaoe/aoe"
	"goaoe/internal/stats"
)

// refusalRows is how many initiators an access list can tell apart between two calls of TakeRefusals, a power of two.
const refusalRows = 32

// refusals counts the refused requests of each initiator in a table of fixed size: whoever makes up addresses fills it, and is counted
// under others from then on.
type refusals struct {
	rows   [refusalRows]refusalRow
	others stats.Counter
}

type refusalRow struct {
	mac atomic.Uint64 // key of the initiator; 0: free
	n   atomic.Uint64
}

// add counts one request.
func (r *refusals) add(key uint64) {
	if key == 0 {
		r.others.Inc()
		return
	}
	// The last bytes of the addresses of one maker's cards differ most.
	for i := range uint64(refusalRows) {
		row := &r.rows[(key+i)%refusalRows]
		k := row.mac.Load()
		if k == 0 && row.mac.CompareAndSwap(0, key) {
			k = key
		} else if k == 0 {
			k = row.mac.Load()
		}
		if k == key {
			row.n.Add(1)
			return
		}
	}
	r.others.Inc()
}

// Refusal is how many requests of an initiator were refused. The zero address stands for all that were too many to be told apart.
type Refusal struct {
	MAC aoe.MAC
	N   uint64
}

// TakeRefusals appends to buf what the list has refused since the last call, and returns it. One goroutine may call it, while
// lanes go on refusing; a request that comes at the very moment may count for the
// others, or for the next initiator.
func (a *ACL) TakeRefusals(buf []Refusal) []Refusal {
	if a == nil {
		return buf
	}
	for i := range a.by.rows {
		row := &a.by.rows[i]
		k := row.mac.Load()
		switch n := row.n.Swap(0); {
		case k == 0: // counted while the row was being freed
			a.by.others.Add(n)
		case n > 0:
			buf = append(buf, Refusal{macOf(k), n})
		default:
			row.mac.Store(0) // it has stopped: the row is for another
		}
	}
	if n := a.by.others.Load() - a.taken; n > 0 {
		a.taken += n
		buf = append(buf, Refusal{N: n})
	}
	return buf
}

// macOf is the address with a key, see aoe.MAC.Key.
func macOf(k uint64) aoe.MAC {
	return aoe.MAC{byte(k >> 40), byte(k >> 32), byte(k >> 24), byte(k >> 16), byte(k >> 8), byte(k)}
}
