package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"goaoe/aoe"
)

const (
	maxIOPS = 10_000_000 // as engine.MaxIOPS
	// minBandwidth is the least limit of bytes per second: the largest request that there can be takes a second then.
	minBandwidth = 64 << 10
)

// InitiatorLimit is what one initiator gets of an export at most, in place of what all get.
type InitiatorLimit struct {
	MAC       aoe.MAC `json:"mac"`
	IOPS      int     `json:"iops"`      // requests per second; 0: no limit
	Bandwidth int64   `json:"bandwidth"` // bytes per second; 0: no limit
}

// InitiatorLimits are limits of some initiators, sorted by address, each once.
type InitiatorLimits []InitiatorLimit

// String writes the limit as a row of initiator-limits in which everything is said.
func (l InitiatorLimit) String() string {
	if l.IOPS == 0 && l.Bandwidth == 0 {
		return l.MAC.String() + " unlimited"
	}
	iops, bandwidth := "off", "off"
	if l.IOPS > 0 {
		iops = strconv.Itoa(l.IOPS)
	}
	if l.Bandwidth > 0 {
		bandwidth = FormatSize(l.Bandwidth)
	}
	return fmt.Sprintf("%s iops=%s bandwidth=%s", l.MAC, iops, bandwidth)
}

func (ls InitiatorLimits) rows() []string {
	out := make([]string, len(ls))
	for i, l := range ls {
		out[i] = l.String()
	}
	return out
}

// exportLimits reads the limits of an export's initiators.
func (b *builder) exportLimits(s *section, e *Export) {
	e.InitiatorIOPS, e.InitiatorBandwidth = int(s.num("initiator-iops")), s.num("initiator-bandwidth")
	if n := e.InitiatorBandwidth; n > 0 && n < minBandwidth {
		b.problem(Error, s, "initiator-bandwidth", fmt.Sprintf("%s a second is less than one large request", FormatSize(n)), "at least 64K; 0 is no limit")
	}
	e.InitiatorLimits = b.initiatorLimits(s, *e)
	b.slowLimit(s, "initiator-iops", e, e.InitiatorIOPS, 0)
	b.slowLimit(s, "initiator-bandwidth", e, 0, e.InitiatorBandwidth)
}

// slowLimit warns of a limit that has most of what an initiator may have outstanding wait until it is dropped.
func (b *builder) slowLimit(s *section, key string, e *Export, iops int, bandwidth int64) {
	age := b.cfg.Global.RequestAgeLimit.Seconds()
	takes := 0.0
	if iops > 0 {
		takes = float64(e.BufferCount) / float64(iops)
	}
	if bandwidth > 0 {
		takes = max(takes, float64(e.BufferCount)*4096/float64(bandwidth))
	}
	if age == 0 || takes <= age || s.bad[key] {
		return
	}
	b.problem(Warning, s, key, fmt.Sprintf("the %d requests of 4 KiB that an initiator may have outstanding (buffer-count) take %.1f s: what waits longer than request-age-limit is dropped and has to be sent again", e.BufferCount, takes),
		"raise the limit, or lower buffer-count")
}

// initiatorLimits resolves the key initiator-limits. all has what is not said in a row.
func (b *builder) initiatorLimits(s *section, all Export) InitiatorLimits {
	const key = "initiator-limits"
	var out InitiatorLimits
	seen := map[aoe.MAC]bool{}
	for _, it := range s.set[key].names {
		words := strings.Fields(it.text)
		limit, msg, hint := parseLimit(words[1:], InitiatorLimit{IOPS: all.InitiatorIOPS, Bandwidth: all.InitiatorBandwidth})
		if msg != "" {
			b.memberProblem(s, key, it, fmt.Sprintf("%q: %s", it.text, msg), hint)
			continue
		}
		m := b.member(s, key, item{words[0], it.pos})
		if m == nil {
			continue
		}
		if m.other {
			b.memberProblem(s, key, it, fmt.Sprintf("the access list %q accepts everybody but some", words[0]), "say by initiator-iops and initiator-bandwidth what everybody gets")
			continue
		}
		for mac, yes := range m.rows {
			if yes && !seen[mac] {
				seen[mac] = true
				limit.MAC = mac
				out = append(out, limit)
			}
		}
	}
	slices.SortFunc(out, func(x, y InitiatorLimit) int { return cmp.Compare(x.MAC.Key(), y.MAC.Key()) })
	return out
}

// parseLimit reads what stands behind the member of a row: "unlimited", or "iops=N" and "bandwidth=SIZE". What is not said is as in l.
func parseLimit(words []string, l InitiatorLimit) (_ InitiatorLimit, msg, hint string) {
	hint = `write "MEMBER iops=500", "MEMBER iops=500 bandwidth=20M" or "MEMBER unlimited"`
	if len(words) == 0 {
		return l, "a limit is missing", hint
	}
	if len(words) == 1 && words[0] == "unlimited" {
		return InitiatorLimit{}, "", ""
	}
	said := map[string]bool{}
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if !ok || key != "iops" && key != "bandwidth" {
			return l, fmt.Sprintf("%q is no limit", w), hint
		}
		if said[key] {
			return l, key + " is said twice", "leave one of the two out"
		}
		said[key] = true
		off := value == "off" || value == "0"
		if key == "iops" {
			n, err := strconv.Atoi(value)
			if !off && (err != nil || n < 1 || n > maxIOPS) {
				return l, fmt.Sprintf("%q is not a number of requests per second", value), fmt.Sprintf("from 1 to %d, or off", maxIOPS)
			}
			l.IOPS = n
			continue
		}
		n := int64(0)
		if !off {
			var err error
			if n, err = ParseSize(value); err != nil {
				return l, err.Error(), ""
			}
			if n < minBandwidth || n > 1<<40 || n%512 != 0 {
				return l, fmt.Sprintf("%q is out of range", value), "bytes per second, from 64K to 1T, a multiple of 512; or off"
			}
		}
		l.Bandwidth = n
	}
	return l, "", ""
}
