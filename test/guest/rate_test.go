package guest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// sample is one line of what `sample` in scripts/lib.sh writes.
type sample struct {
	at      float64 // seconds of the guest's uptime
	sectors float64 // read and written so far
}

// fullShare is the share of the usual median rate that counts as full speed: the machine under the guest has other things to do
// as well, and one second is a short time.
const fullShare = 0.7

// rates reads the samples of a run and the times of its fault.
func rates(t *testing.T, dir string) (s []sample, fault, end float64) {
	t.Helper()
	s = samples(t, dir, "rate")
	b, err := os.ReadFile(dir + "/times")
	if err != nil {
		t.Fatalf("the guest left no times: %v", err)
	}
	if _, err := fmt.Sscan(string(b), &fault, &end); err != nil {
		t.Fatalf("times %q: %v", b, err)
	}
	return s, fault, end
}

// samples reads a file of samples, from the beginning of the load on.
func samples(t *testing.T, dir, name string) (s []sample) {
	t.Helper()
	b, err := os.ReadFile(dir + "/" + name)
	if err != nil {
		t.Fatalf("the guest left no samples: %v", err)
	}
	for line := range strings.Lines(string(b)) {
		var x sample
		if n, _ := fmt.Sscan(line, &x.at, &x.sectors); n == 2 {
			s = append(s, x)
		}
	}
	return fromLoad(s)
}

// fromLoad leaves out what was before the load: fio takes its time to start.
func fromLoad(s []sample) []sample {
	for i := range s {
		if s[i].sectors >= s[0].sectors+2000 {
			return s[i:]
		}
	}
	return nil
}

// sectorsAt interpolates between samples.
func sectorsAt(s []sample, at float64) float64 {
	i, _ := slices.BinarySearchFunc(s, at, func(x sample, at float64) int {
		if x.at < at {
			return -1
		}
		return 1
	})
	switch {
	case len(s) == 0:
		return 0
	case i == 0:
		return s[0].sectors
	case i == len(s):
		return s[len(s)-1].sectors
	}
	a, b := s[i-1], s[i]
	return a.sectors + (b.sectors-a.sectors)*(at-a.at)/(b.at-a.at)
}

// rate is in MB/s over the time from a to b.
func rate(s []sample, a, b float64) float64 {
	return (sectorsAt(s, b) - sectorsAt(s, a)) * 512 / 1e6 / (b - a)
}

// medianRate is the median of all windows of one second between a and b, in steps of 100 ms.
func medianRate(s []sample, a, b float64) float64 {
	var r []float64
	for at := a; at+1 <= b+1e-9; at += 0.1 {
		r = append(r, rate(s, at, at+1))
	}
	if len(r) == 0 {
		return 0
	}
	slices.Sort(r)
	return r[len(r)/2]
}

// recovery is how many seconds after end the first second begins in which the load ran at fullShare of before; -1 when
// there is none until the last sample.
func recovery(s []sample, end, before float64) float64 {
	for at := end; len(s) > 0 && at+1 <= s[len(s)-1].at; at += 0.05 {
		if rate(s, at, at+1) >= fullShare*before {
			return at - end
		}
	}
	return -1
}

// timeline is the rate of each second, for people.
func timeline(s []sample) string {
	var b strings.Builder
	for i := 0; len(s) > 0 && s[0].at+float64(i)+1 <= s[len(s)-1].at; i++ {
		fmt.Fprintf(&b, "%.1f ", rate(s, s[0].at+float64(i), s[0].at+float64(i)+1))
	}
	return b.String()
}

// steady makes samples of a load: rate of each second, in MB/s.
func steady(perSecond ...float64) []sample {
	s := []sample{{}}
	for _, r := range perSecond {
		for range 10 {
			last := s[len(s)-1]
			s = append(s, sample{last.at + 0.1, last.sectors + r*1e6/512/10})
		}
	}
	return s
}

func TestRecoveryOfMadeUpLoads(t *testing.T) {
	for _, c := range []struct {
		name     string
		s        []sample
		end      float64
		min, max float64
	}{
		{"at once", steady(10, 10, 10, 10, 0, 0, 10, 10, 10), 6, 0, 0.01},
		{"after two seconds", steady(10, 10, 10, 10, 0, 0, 1, 1, 10, 10, 10), 6, 1.5, 2.01},
		{"never", steady(10, 10, 10, 10, 0, 0, 1, 1, 1, 1, 1), 6, -1, -1},
		{"too slow", steady(10, 10, 10, 10, 0, 0, 6.9, 6.9, 6.9), 6, -1, -1},
		{"no samples", nil, 6, -1, -1},
	} {
		if got := recovery(c.s, c.end, 10); got < c.min || got > c.max {
			t.Errorf("%s: %.2f s, want %.2f to %.2f", c.name, got, c.min, c.max)
		}
	}
	if m := medianRate(steady(10, 2, 10, 10, 10), 0, 5); m < 9.9 || m > 10.1 {
		t.Errorf("median %.2f, want 10", m)
	}
}
