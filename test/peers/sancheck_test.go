package peers

import (
	"strings"
	"testing"
)

// sanReport is what goaoe sancheck --json prints.
type sanReport struct {
	OK    bool
	Paths []struct {
		Address, Interface string
		Carries            int
		CarriesTo          int `json:"carries_to"`
		CarriesFrom        int `json:"carries_from"`
		Sent, Lost         int
	}
	Findings []struct{ Check, Level, Subject, Text, Fix string }
}

// sancheck runs it and returns the report; the exit status has to fit it.
func (r *rig) sancheck(args ...string) sanReport {
	r.t.Helper()
	code, out := r.goaoe(append([]string{"sancheck", "--json"}, args...)...)
	rep := into[sanReport](r.t, out)
	if rep.OK != (code == okay) {
		r.t.Errorf("exit status %d with ok %v", code, rep.OK)
	}
	return rep
}

// finds fails the test unless there is such a finding, with a fix that has the text.
func (rep sanReport) finds(t *testing.T, check, level, subject, text, fix string) {
	t.Helper()
	for _, f := range rep.Findings {
		if f.Check == check && f.Level == level && strings.Contains(f.Subject, subject) && strings.Contains(f.Text, text) && strings.Contains(f.Fix, fix) {
			return
		}
	}
	t.Errorf("no %s of %s about %s with %q and the fix %q in %+v", level, check, subject, text, fix, rep.Findings)
}

// bad returns the checks that found warnings or problems.
func (rep sanReport) bad() []string {
	var out []string
	for _, f := range rep.Findings {
		if f.Level == "warning" || f.Level == "problem" {
			out = append(out, f.Check+": "+f.Text)
		}
	}
	return out
}

// TestSancheckGood: a network in order, and nothing is found; so findings elsewhere are of what was broken there.
func TestSancheckGood(t *testing.T) {
	t.Parallel()
	r := newRig(t, 9000, 2, "serve", "--state-dir", t.TempDir(), "-i", "t0,t1", "e0.1="+image(t, "a", 1<<20), "e7.3="+image(t, "b", 1<<20))
	r.vblade("5", "5", "t0", image(t, "c", 1<<20))
	rep := r.sancheck()
	if !rep.OK || len(rep.bad()) > 0 || len(rep.Paths) != 5 {
		t.Errorf("%+v", rep)
	}
	for _, p := range rep.Paths {
		if p.Carries != 17 || p.CarriesTo != 17 || p.CarriesFrom != 17 || p.Lost != 0 || p.Sent < 100 {
			t.Errorf("%+v", p)
		}
	}
	if rep = r.sancheck("7.3", "-i", "h1", "--count", "10"); len(rep.Paths) != 1 || rep.Paths[0].Sent != 10 {
		t.Errorf("one path: %+v", rep)
	}
	r.expect(failed, []string{"problem  answer: e9.9: it does not answer on h0, h1"}, "sancheck", "e9.9", "e0.1")
	r.quiet()
}

// TestSancheckMTU: a switch in the middle that drops jumbo frames, in both directions and in one.
func TestSancheckMTU(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, cable string
		bridge      int
		to, from    int
		text        string
	}{
		{"both, by a bridge", "bridge", 1500, 2, 2, "frames of 8726 bytes (17 sectors), which both ends allow, do not pass in both directions; the largest that do are 1046 bytes (2 sectors)"},
		{"to the target", "-max-ab 4200", 0, 8, 17, "do not pass to the target; from it they do; the largest that do are 4118 bytes (8 sectors)"},
		{"from the target", "-max-ba 3000", 0, 17, 5, "do not pass from the target; to it they do; the largest that do are 2582 bytes (5 sectors)"},
		{"not even one sector", "-max-ab 500", 0, 0, 17, "not even 534 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := joined(t, 9000, c.cable, c.bridge)
			r.start(r.bin, []string{"export", "--state-dir", t.TempDir(), "0", "1", "t0", image(t, "a", 1<<20)})
			rep := r.sancheck()
			if len(rep.Paths) != 1 || rep.Paths[0].CarriesTo != c.to || rep.Paths[0].CarriesFrom != c.from || rep.Paths[0].Carries != min(c.to, c.from) {
				t.Errorf("paths %+v", rep.Paths)
			}
			rep.finds(t, "mtu", "problem", "e0.1 on h0", c.text, "allow frames of 8740 bytes")
			if rep.Paths[0].Lost > 0 {
				t.Errorf("frames that are too large count as lost: %+v", rep.Paths)
			}
		})
	}
}

// TestSancheckLoss: a bad cable.
func TestSancheckLoss(t *testing.T) {
	t.Parallel()
	r := joined(t, 9000, "-loss 5", 0)
	r.start(r.bin, []string{"export", "--state-dir", t.TempDir(), "0", "1", "t0", image(t, "a", 1<<20)})
	rep := r.sancheck()
	rep.finds(t, "loss", "problem", "e0.1 on h0", "frames got no answer", "ethtool -S h0")
	// of 200, one in ten loses request or answer; a run in a million has fewer than 4
	if p := rep.Paths[0]; p.Sent < 150 || p.Lost < 4 || p.Lost > 60 || p.Carries != 17 {
		t.Errorf("%+v", p)
	}
}

// TestSancheckForeignFrames: frames that nobody wants, such as switches send of themselves, are no loss, although the kernel counts them as dropped.
func TestSancheckForeignFrames(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1500, 1, "serve", "--state-dir", t.TempDir(), "-i", "t0", "e0.1="+image(t, "a", 1<<20))
	dropped := func() string {
		_, out := r.do("", "cat", "/sys/class/net/h0/statistics/rx_dropped")
		return out
	}
	r.fake(func(_, mac []byte) [][]byte { // one for each request
		f := make([]byte, 60)
		copy(f, []byte{0x01, 0x80, 0xc2, 0, 0, 0x0e})
		copy(f[6:], mac)
		f[12], f[13] = 0x88, 0xcc
		return [][]byte{f}
	})
	before := dropped()
	r.expect(okay, nil, "ping", "e0.1", "-c", "3", "--interval", "10ms")
	if dropped() == before {
		t.Fatal("the kernel does not count such frames: this test shows nothing")
	}
	if rep := r.sancheck(); !rep.OK || len(rep.bad()) > 0 {
		t.Errorf("%+v", rep.Findings)
	}
}

// TestSancheckSlowPath: one of two paths takes much longer.
func TestSancheckSlowPath(t *testing.T) {
	t.Parallel()
	r := joined(t, 1500, "-delay 3ms", 0)
	command(t, "ip", "link", "add", "t1", "netns", r.target, "type", "veth", "peer", "name", "h1", "netns", r.host)
	command(t, "ip", "-n", r.target, "link", "set", "t1", "up")
	command(t, "ip", "-n", r.host, "link", "set", "h1", "up")
	r.start(r.bin, []string{"serve", "--state-dir", t.TempDir(), "-i", "t0,t1", "e0.1=" + image(t, "a", 1<<20)})
	r.sancheck("--count", "10").finds(t, "asymmetric", "warning", "e0.1", "its paths differ: a round trip takes at least", "-i h0")
}

// TestSancheckTargets: what targets do wrong together or alone.
func TestSancheckTargets(t *testing.T) {
	t.Parallel()
	t.Run("two disks, one address", func(t *testing.T) {
		r := newRig(t, 1500, 2, "export", "--state-dir", t.TempDir(), "0", "1", "t0", image(t, "a", 1<<20))
		r.vblade("0", "1", "t1", image(t, "b", 2<<20))
		r.sancheck().finds(t, "duplicate", "problem", "e0.1", "two disks have this address", "give one of them another address")
	})
	t.Run("served twice on one interface", func(t *testing.T) {
		r := joined(t, 1500, "bridge", 1500)
		r.vblade("-b", "16", "0", "1", "t0", image(t, "a", 1<<20))
		r.vblade("-b", "24", "0", "1", "t0", image(t, "b", 2<<20))
		r.sancheck().finds(t, "duplicate", "problem", "e0.1 on h0", "two programs at "+r.targetMAC("t0")+" serve this address", "end one of the two")
	})
	t.Run("frames doubled on the way", func(t *testing.T) {
		r := joined(t, 1500, "-dup 100", 0)
		r.vblade("0", "1", "t0", image(t, "a", 1<<20))
		r.sancheck("--count", "10").finds(t, "duplicate", "problem", "e0.1 on h0", "answered twice", "loop in the network")
	})
	t.Run("buffer count", func(t *testing.T) {
		r := joined(t, 1500, "bridge", 1500)
		r.vblade("-b", "1", "0", "1", "t0", image(t, "a", 1<<20))
		r.vblade("-b", "4", "0", "2", "t0", image(t, "b", 1<<20))
		rep := r.sancheck()
		rep.finds(t, "buffers", "problem", "e0.1 on h0", "takes 1 requests at a time", "vblade -b 64 0 1")
		rep.finds(t, "buffers", "warning", "e0.2 on h0", "only 4 requests", "vblade -b 64 0 2")
	})
	t.Run("reserved by another", func(t *testing.T) {
		r := joined(t, 9000, "bridge", 1500)
		r.vblade("0", "1", "t0", image(t, "a", 1<<20))
		r.expect(okay, nil, "reserve", "force", "e0.1", "02:00:00:00:00:09")
		rep := r.sancheck()
		rep.finds(t, "mtu", "note", "e0.1 on h0", "reserved by others", "goaoe reserve get e0.1")
		rep.finds(t, "mtu", "problem", "e0.1 on h0", "in the direction that could be tried; the largest that do are 1046 bytes", "mtu 1500")
	})
}

// TestSancheckHost: what is wrong on this side.
func TestSancheckHost(t *testing.T) {
	t.Parallel()
	r := newRig(t, 9000, 2, "serve", "--state-dir", t.TempDir(), "-i", "t0,t1", "e0.1="+image(t, "a", 1<<20))
	command(t, "ip", "-n", r.host, "link", "set", "h1", "mtu", "1500")
	rep := r.sancheck()
	rep.finds(t, "mtu", "warning", "e0.1 on h1", "its MTU of 1500 carries 2 sectors a frame, where the target takes 17", "ip link set dev h1 mtu 9000")
	rep.finds(t, "mtu", "warning", "e0.1", "its paths differ: h1 has an MTU of 1500, h0 one of 9000", "ip link set dev h1 mtu 9000")
	command(t, "ip", "-n", r.host, "link", "set", "h1", "mtu", "9000") // as the fixes say
	if rep = r.sancheck(); !rep.OK {
		t.Errorf("after the fix: %v", rep.bad())
	}
	command(t, "ip", "-n", r.target, "link", "set", "t1", "down")
	r.sancheck().finds(t, "interface", "warning", "h1", "no carrier", "cable")
	command(t, "ip", "-n", r.host, "link", "set", "h1", "down")
	r.sancheck().finds(t, "interface", "note", "h1", "it is down", "ip link set dev h1 up")
	r.sancheck("-i", "h1,h0").finds(t, "interface", "problem", "h1", "it is down", "ip link set dev h1 up")
	command(t, "ip", "-n", r.host, "link", "add", "br0", "type", "bridge")
	command(t, "ip", "-n", r.host, "link", "set", "h0", "master", "br0")
	r.sancheck().finds(t, "interface", "note", "h0", "it belongs to br0", "-i br0")
}
