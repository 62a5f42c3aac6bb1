package target

import (
	"slices"
	"sync/atomic"

	"goaoe/aoe"
	"goaoe/internal/stats"
)

// Rule is one row of an access list.
type Rule struct {
	MAC    aoe.MAC
	Accept bool
}

// ACL is an access list: the first row with the source's address decides, else the policy. Who may does not change. A nil *ACL
// allows everybody.
type ACL struct {
	policy  bool
	differ  []uint64 // sorted keys of the addresses that are treated against the policy
	accepts []aoe.MAC

	refused stats.Counter
	last    atomic.Uint64
	by      refusals
	taken   uint64 // of by.others, by TakeRefusals
}

// NewACL compiles an access list; accept is the policy for addresses without a row.
func NewACL(rules []Rule, accept bool) *ACL {
	a := &ACL{policy: accept}
	seen := make(map[aoe.MAC]bool, len(rules))
	for _, r := range rules {
		if seen[r.MAC] {
			continue
		}
		seen[r.MAC] = true
		if r.Accept != accept {
			a.differ = append(a.differ, r.MAC.Key())
		}
		if r.Accept {
			a.accepts = append(a.accepts, r.MAC)
		}
	}
	slices.Sort(a.differ)
	return a
}

// Allows tells whether the list lets m in.
func (a *ACL) Allows(m aoe.MAC) bool {
	if a == nil {
		return true
	}
	if len(a.differ) == 0 {
		return a.policy
	}
	k := m.Key()
	lo, hi := 0, len(a.differ)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if a.differ[mid] < k {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return a.policy != (lo < len(a.differ) && a.differ[lo] == k)
}

// Members returns the addresses that the list accepts by a row of their own when its policy is to refuse; closed tells that it is. The
// slice must not be changed.
func (a *ACL) Members() (macs []aoe.MAC, closed bool) {
	if a == nil || a.policy {
		return nil, false
	}
	return a.accepts, true
}

// Refused returns how many requests the list has refused, and the address of the last of them. Logging it is up to who
// asks: the hot path does not log.
func (a *ACL) Refused() (n uint64, last aoe.MAC) {
	if a == nil {
		return 0, aoe.MAC{}
	}
	return a.refused.Load(), macOf(a.last.Load())
}

// check is Allows, and remembers a refusal.
func (a *ACL) check(m aoe.MAC) bool {
	if a.Allows(m) {
		return true
	}
	a.last.Store(m.Key())
	a.by.add(m.Key())
	a.refused.Inc()
	return false
}
