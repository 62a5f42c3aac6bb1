package daemon

import (
	"strings"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/internal/target"
)

// TestRefusalLog follows the lines about one access list over time.
func TestRefusalLog(t *testing.T) {
	m := func(n int) aoe.MAC { return aoe.MAC{2, 0, 0, 0, 0, byte(n)} }
	flood := func(n int) (seen []target.Refusal) {
		for i := range n {
			seen = append(seen, target.Refusal{MAC: m(100 + i), N: 1})
		}
		return seen
	}
	var log refusalLog
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, s := range []struct {
		at   int // seconds
		seen []target.Refusal
		want string
	}{
		{0, nil, ""},
		{2, []target.Refusal{{MAC: m(1), N: 1}}, "refused 02:00:00:00:00:01 (accept): 1 request"},
		{4, []target.Refusal{{MAC: m(1), N: 30}}, ""},
		{6, []target.Refusal{{MAC: m(1), N: 7}, {MAC: m(2), N: 2}}, "refused 02:00:00:00:00:02 (accept): 2 requests"},
		{12, nil, "refused 02:00:00:00:00:01 (accept): 37 requests in the last 10 s"},
		{14, nil, ""},
		{22, []target.Refusal{{MAC: m(1), N: 1}}, "refused 02:00:00:00:00:01 (accept): 1 request in the last 10 s"},
		{40, []target.Refusal{{MAC: m(2), N: 5}}, "refused 02:00:00:00:00:02 (accept): 5 requests in the last 34 s"},
		{200, []target.Refusal{{MAC: m(1), N: 1}}, "refused 02:00:00:00:00:01 (accept): 1 request"}, // long ago
	} {
		var got []string
		for _, l := range log.add(start.Add(time.Duration(s.at)*time.Second), s.seen) {
			got = append(got, l.text("accept"))
		}
		if g := strings.Join(got, "; "); g != s.want {
			t.Errorf("at %d s: %q, want %q", s.at, g, s.want)
		}
	}

	// Somebody makes addresses up: few lines, nothing uncounted, nothing kept.
	var total uint64
	for i := range 6 {
		lines := log.add(start.Add(time.Duration(300+10*i)*time.Second), append(flood(150), target.Refusal{N: 1000}))
		if len(lines) > refusalLines+1 {
			t.Errorf("%d lines at once", len(lines))
		}
		for _, l := range lines {
			total += l.n
		}
	}
	if len(log.known) > refusalKnown {
		t.Errorf("%d initiators are known", len(log.known))
	}
	for i := range 20 {
		for _, l := range log.add(start.Add(time.Duration(400+10*i)*time.Second), nil) {
			total += l.n
		}
	}
	if want := uint64(6 * 1150); total != want {
		t.Errorf("%d requests told of %d", total, want)
	}
	if len(log.known) != 0 {
		t.Errorf("%d initiators are known long after", len(log.known))
	}
	if s := (refusalLine{n: 3, since: 10 * time.Second}).text("write"); s != "refused more initiators (write): 3 requests in the last 10 s" {
		t.Error(s)
	}
}
