package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"goaoe/aoe"
	"goaoe/initiator"
)

// frameBytes is the length of a frame with data of that many sectors, behind the Ethernet header: what an MTU must allow.
func frameBytes(sectors int) int { return aoe.ATALen + sectors*aoe.SectorSize - aoe.EtherLen }

// mtuFor is the usual MTU that carries so many sectors.
func mtuFor(sectors int) int {
	for _, mtu := range []int{1500, 4200, 9000} {
		if aoe.AdvertisedSectors(mtu) >= sectors {
			return mtu
		}
	}
	return sectors*aoe.SectorSize + aoe.ATALen
}

const (
	sanTries   = 3                      // transmissions of a frame size before it counts as not passing
	dupListen  = 150 * time.Millisecond // how long answers to one query are counted
	dupQueries = 3
	sanPings   = 20
)

// path tries one way.
func (c *sanCheck) path(ctx context.Context, t initiator.Target) {
	p := sanPath{Address: t.Addr.String(), Interface: t.Interface, MAC: t.MAC.String(), MTU: t.MTU, Sectors: t.Sectors, BufferCount: t.BufferCount, CarriesFrom: -1, t: t}
	defer func() { c.report.Paths = append(c.report.Paths, p) }()
	subject := fmt.Sprintf("%v on %s", t.Addr, t.Interface)
	c.copies(ctx, t, subject)
	s, err := initiator.Dial(t, initiator.SessionOptions{Timeout: min(c.flags.timeout, 2*time.Second)})
	if err != nil {
		c.say("answer", levelProblem, subject, "", "%s", oneLine(err.Error()))
		return
	}
	defer func() { _ = s.Close() }() // nothing is under way
	id, _, err := s.Identify(ctx)
	if err == nil {
		p.Model, p.Serial, p.Size = id.Model, id.Serial, int64(id.Sectors)*aoe.SectorSize
	} else if ctx.Err() == nil {
		c.unidentified(s, t, subject, err)
		if !errors.Is(err, initiator.ErrRubbish) {
			return
		}
	}
	var rtts []time.Duration
	_ = s.PingMany(ctx, initiator.PingOptions{Count: sanPings, Flood: true, Wait: time.Second}, func(g initiator.Pong) { // its answers are all that matters here
		if g.Err == nil && !g.Strange && !g.Duplicate {
			rtts = append(rtts, g.RTT)
		}
	})
	if n := len(rtts); n > 0 {
		slices.Sort(rtts)
		p.RTTMin, p.RTT, p.RTTMax = ms(rtts[0]), ms(rtts[n/2]), ms(rtts[n-1])
	}
	c.sizes(ctx, s, &p, subject)
	c.loss(ctx, s, &p, subject)
	if len(s.Strangers()) > 0 {
		c.say("asymmetric", levelProblem, subject, "on the target's machine: look at bonds, bridges and two interfaces in one network", "answers also come from %s, not from %v that was asked",
			strings.Join(macTexts(s.Strangers()), ", "), t.MAC)
	}
	c.claims(t, id.Model, subject)
}

// unidentified says why a disk could not be identified.
func (c *sanCheck) unidentified(s *initiator.Session, t initiator.Target, subject string, err error) {
	switch {
	case len(s.Strangers()) > 0:
		c.say("asymmetric", levelProblem, subject, "on the target's machine: look at bonds, bridges and two interfaces in one network", "%v was asked and answers come from %s instead", t.MAC,
			strings.Join(macTexts(s.Strangers()), ", "))
	case errors.Is(err, initiator.ErrTimeout):
		c.say("answer", levelProblem, subject, "on the target's machine: look at its access lists, and at its log", "it answers config queries, but not IDENTIFY: it cannot be used")
	case errors.Is(err, initiator.ErrRubbish):
		c.say("answer", levelProblem, subject, "goaoe identify "+t.Addr.String()+" --raw shows what it answers", "%s", oneLine(err.Error()))
	default:
		c.say("answer", levelProblem, subject, "on the target's machine: look at its disk and at its log", "IDENTIFY fails: %s", oneLine(err.Error()))
	}
}

// copies counts the answers to single queries: each target gives one.
func (c *sanCheck) copies(ctx context.Context, t initiator.Target, subject string) {
	twice, differ := 0, false
	for range dupQueries {
		short, cancel := context.WithTimeout(ctx, dupListen)
		var first []byte
		n := 0
		for r, err := range initiator.AskConfig(short, t.Interface, t.Addr, aoe.ConfigRead, nil, -1) {
			if err != nil || r.MAC != t.MAC {
				continue
			}
			if n++; n == 1 {
				first = r.Frame
			} else if !bytes.Equal(first, r.Frame) {
				differ = true
			}
		}
		cancel()
		if n <= 1 {
			break // in order; one more query would tell no more
		}
		twice++
	}
	switch {
	case differ:
		c.say("duplicate", levelProblem, subject, fmt.Sprintf("on the machine with %v: end one of the two, or give it another address", t.MAC),
			"two programs at %v serve this address: initiators take them for one disk, and data will be lost", t.MAC)
	case twice > dupQueries/2:
		c.say("duplicate", levelProblem, subject, fmt.Sprintf("on the machine with %v: look whether two programs serve the address; else look for a loop in the network", t.MAC),
			"each query is answered twice by %v", t.MAC)
	}
}

// sizes finds the largest frames that pass, to the target and from it.
func (c *sanCheck) sizes(ctx context.Context, s *initiator.Session, p *sanPath, subject string) {
	want := p.t.Payload()
	var errTo, errFrom error
	p.CarriesTo, errTo = largest(want, func(n int) (bool, error) { return s.Carries(ctx, n, false, sanTries) })
	p.CarriesFrom, errFrom = largest(want, func(n int) (bool, error) { return s.Carries(ctx, n, true, sanTries) })
	if ctx.Err() != nil {
		return
	}
	if errTo != nil {
		c.say("mtu", levelWarning, subject, "", "frames to the target could not be tried: %s", oneLine(errTo.Error()))
		p.CarriesTo = -1
	}
	if errFrom != nil {
		p.CarriesFrom = -1
		if errors.Is(errFrom, initiator.ErrReserved) {
			c.say("mtu", levelNote, subject, "goaoe reserve get "+p.Address+" shows who holds it", "frames from the target could not be tried, as it is reserved by others")
		} else {
			c.say("mtu", levelProblem, subject, "on the target's machine: look at its disk and its log", "its first sectors cannot be read: %s", oneLine(errFrom.Error()))
		}
	}
	p.Carries = want
	for _, n := range []int{p.CarriesTo, p.CarriesFrom} {
		if n >= 0 {
			p.Carries = min(p.Carries, n)
		}
	}
	if p.Carries == want {
		return
	}
	where := "in both directions"
	switch {
	case p.CarriesTo == want:
		where = "from the target; to it they do"
	case p.CarriesFrom == want:
		where = "to the target; from it they do"
	case p.CarriesTo != p.CarriesFrom && p.CarriesFrom >= 0 && p.CarriesTo >= 0:
		where = fmt.Sprintf("(%d bytes to the target, %d from it)", frameBytes(p.CarriesTo), frameBytes(p.CarriesFrom))
	case p.CarriesTo < 0 || p.CarriesFrom < 0:
		where = "in the direction that could be tried"
	}
	fix := fmt.Sprintf("on the switches between %s and %v: allow frames of %d bytes (jumbo frames); until then: ip link set dev %s mtu %d", p.Interface, p.MAC, frameBytes(want)+aoe.EtherLen, p.Interface, mtuFor(max(p.Carries, 1)))
	if p.Carries < 1 {
		c.say("mtu", levelProblem, subject, fix, "frames with data do not pass: not even %d bytes %s", frameBytes(1), where)
		return
	}
	c.say("mtu", levelProblem, subject, fix, "frames of %d bytes (%d sectors), which both ends allow, do not pass %s; the largest that do are %d bytes (%d sectors)",
		frameBytes(want), want, where, frameBytes(p.Carries), p.Carries)
}

// largest returns the largest n up to want for which try says yes: want itself, or what a binary search finds; 0 for none.
func largest(want int, try func(n int) (bool, error)) (int, error) {
	ok, err := try(want)
	if ok || err != nil {
		return want, err
	}
	low, high := 0, want // low passes, high does not
	for high-low > 1 {
		mid := (low + high) / 2
		ok, err := try(mid)
		if err != nil {
			return 0, err
		}
		if ok {
			low = mid
		} else {
			high = mid
		}
	}
	return low, nil
}

// loss sends frames of every size that passes, in both directions, and counts those that are not answered.
func (c *sanCheck) loss(ctx context.Context, s *initiator.Session, p *sanPath, subject string) {
	type kind struct {
		n    int
		from bool
	}
	var kinds []kind
	for n := 1; n <= max(p.CarriesTo, p.CarriesFrom); n++ {
		if n <= p.CarriesTo {
			kinds = append(kinds, kind{n, false})
		}
		if n <= p.CarriesFrom {
			kinds = append(kinds, kind{n, true})
		}
	}
	lost := map[kind]int{}
	row := map[kind]int{} // one after the other
	large, sentLarge := 0, 0
	for i := 0; i < c.count && len(kinds) > 0 && ctx.Err() == nil; i++ {
		k := kinds[i%len(kinds)]
		if row[k] >= sanTries { // none of this size passes: that is no loss
			continue
		}
		ok, err := s.Carries(ctx, k.n, k.from, 1)
		if err != nil {
			continue
		}
		p.Sent++
		if k.n > 2 {
			sentLarge++
		}
		if ok {
			row[k] = 0
			continue
		}
		p.Lost++
		lost[k]++
		if k.n > 2 {
			large++
		}
		if row[k]++; row[k] == sanTries {
			dir := map[bool]string{false: "to the target", true: "from the target"}[k.from]
			c.say("mtu", levelProblem, subject, "look at the switches in between", "frames of %d bytes (%d sectors) %s do not pass, although larger ones do", frameBytes(k.n), k.n, dir)
			p.Lost, p.Sent = p.Lost-sanTries, p.Sent-sanTries
		}
	}
	if p.Lost == 0 {
		return
	}
	what := ""
	if sentLarge > 0 && large == p.Lost && p.Sent > sentLarge {
		what = ", all of them larger than an MTU of 1500 carries"
	}
	level := levelWarning
	if p.Lost*20 >= p.Sent {
		level = levelProblem
	}
	c.say("loss", level, subject, fmt.Sprintf("ip -s link show dev %s; ethtool -S %s | grep -iE 'err|drop|crc|miss'; the same on the target's machine and at the switch", p.Interface, p.Interface),
		"%d of %d frames got no answer (%.2g%%)%s: each costs a time-out", p.Lost, p.Sent, 100*float64(p.Lost)/float64(p.Sent), what)
}

// claims judges what the target tells of itself.
func (c *sanCheck) claims(t initiator.Target, model, subject string) {
	fix := "on the target's machine: raise its buffer count"
	switch {
	case strings.Contains(strings.ToLower(model), "vblade"):
		fix = fmt.Sprintf("on the target's machine: vblade -b 64 %d %d ...", t.Addr.Major, t.Addr.Minor)
	case strings.HasPrefix(model, "goaoe"):
		fix = fmt.Sprintf("on the target's machine: goaoe set %v queue-length=64 --save", t.Addr)
	}
	switch {
	case t.BufferCount < 2:
		c.say("buffers", levelProblem, subject, fix, "it takes %d requests at a time: the Linux driver halves that, and never shows the disk", t.BufferCount)
	case t.BufferCount < 8:
		c.say("buffers", levelWarning, subject, fix, "it takes only %d requests at a time, which makes it slow", t.BufferCount)
	}
	ours := aoe.AdvertisedSectors(t.MTU)
	switch {
	case ours < t.Sectors:
		c.say("mtu", levelWarning, subject, fmt.Sprintf("if the switches pass such frames: ip link set dev %s mtu %d", t.Interface, mtuFor(t.Sectors)),
			"its MTU of %d carries %d sectors a frame, where the target takes %d", t.MTU, ours, t.Sectors)
	case ours > t.Sectors:
		c.say("mtu", levelNote, subject, fmt.Sprintf("on the target's machine, if the switches pass such frames: ip link set dev NAME mtu %d", t.MTU),
			"the target takes %d sectors a frame, where the MTU of %d here carries %d", t.Sectors, t.MTU, ours)
	}
}

// disks compares the paths with the same address.
func (c *sanCheck) disks(ways []initiator.Target) {
	var addrs []aoe.Addr
	for _, w := range ways {
		if !slices.Contains(addrs, w.Addr) {
			addrs = append(addrs, w.Addr)
		}
	}
	for _, a := range addrs {
		var paths []sanPath
		for _, p := range c.report.Paths {
			if p.t.Addr == a {
				paths = append(paths, p)
			}
		}
		c.sameDisk(a, paths)
		if len(paths) > 1 {
			c.symmetric(a, paths)
		}
	}
}

// sameDisk finds different disks under one address.
func (c *sanCheck) sameDisk(a aoe.Addr, paths []sanPath) {
	var first *sanPath
	for i := range paths {
		p := &paths[i]
		if p.Size == 0 {
			continue
		}
		if first == nil {
			first = p
		} else if p.Serial != first.Serial || p.Model != first.Model || p.Size != first.Size {
			c.say("duplicate", levelProblem, a.String(), fmt.Sprintf("on the machine with %s or on that with %s: give one of them another address", first.MAC, p.MAC),
				"two disks have this address: %s on %s (%s, serial %s, %d bytes) and %s on %s (%s, serial %s, %d bytes); initiators take them for one, and data will be lost",
				first.MAC, first.Interface, dash(first.Model), dash(first.Serial), first.Size, p.MAC, p.Interface, dash(p.Model), dash(p.Serial), p.Size)
			return
		}
	}
}

// symmetric compares the paths to one disk with each other.
func (c *sanCheck) symmetric(a aoe.Addr, paths []sanPath) {
	byMTU, best, worst := &paths[0], &paths[0], &paths[0]
	var ifaces, macs []string
	for i := range paths {
		p := &paths[i]
		if !slices.Contains(ifaces, p.Interface) {
			ifaces = append(ifaces, p.Interface)
		}
		if !slices.Contains(macs, p.MAC) {
			macs = append(macs, p.MAC)
		}
		if p.RTTMin > 0 && (best.RTTMin == 0 || p.RTTMin < best.RTTMin) {
			best = p
		}
		if p.RTTMin > worst.RTTMin {
			worst = p
		}
		if p.MTU != byMTU.MTU {
			small, large := byMTU, p
			if small.MTU > large.MTU {
				small, large = large, small
			}
			c.say("mtu", levelWarning, a.String(), fmt.Sprintf("ip link set dev %s mtu %d", small.Interface, large.MTU),
				"its paths differ: %s has an MTU of %d, %s one of %d; the Linux driver uses the smaller frames on both", small.Interface, small.MTU, large.Interface, large.MTU)
			break
		}
	}
	if len(ifaces) != len(macs) {
		c.say("asymmetric", levelNote, a.String(), "", "it is reached from %d interfaces here (%s) at %d addresses there (%s): the side with fewer limits the rate", len(ifaces), strings.Join(ifaces, ", "),
			len(macs), strings.Join(macs, ", "))
	}
	// The shortest round trips: they tell of the path, and not of what else the machines were doing.
	if best.RTTMin > 0 && worst.RTTMin > 4*best.RTTMin && worst.RTTMin > best.RTTMin+0.2 {
		c.say("asymmetric", levelWarning, a.String(), "look at speed and load of the slower path: goaoe ping "+a.String()+" -f -c 1000 -i "+worst.Interface,
			"its paths differ: a round trip takes at least %.3f ms on %s, %.3f ms on %s", best.RTTMin, best.Interface, worst.RTTMin, worst.Interface)
	}
}
