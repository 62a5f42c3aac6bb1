package loadgen

import (
	"context"
	"strings"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/internal/link/mem"
	"goaoe/internal/link/packet"
	"goaoe/internal/testnet"
)

// TestStreams: requests come from as many addresses as was said, each has its share, and none starves.
func TestStreams(t *testing.T) {
	for _, c := range []struct {
		name              string
		initiators, depth int
		fair              bool
	}{{"as deep as there are", 8, 8, true}, {"deeper", 4, 16, true}, {"less deep", 16, 4, false}, {"one", 1, 4, false}} {
		t.Run(c.name, func(t *testing.T) {
			l, r := pair(t, 9000)
			l.SetPromiscuous(true)
			from := map[aoe.MAC]int{}
			cfg := config(l)
			cfg.Depth, cfg.Initiators, cfg.Writes = c.depth, c.initiators, 50
			r.fault = func(_ int, b []byte, size int) int {
				from[aoe.MAC(b[:6])]++
				return size
			}
			r.serve(t)
			res, err := Run(context.Background(), cfg)
			if err != nil || res.Bad() != "" {
				t.Fatalf("%v, %s", err, res.Bad())
			}
			if len(from) != c.initiators || from[l.Info().MAC] == 0 {
				t.Errorf("%d addresses asked, want %d: %v", len(from), c.initiators, from)
			}
			for mac := range from {
				if mac[0]&1 != 0 {
					t.Errorf("%v is a group's address", mac)
				}
			}
			if (res.Fair > 0) != c.fair || res.Fair > 1 {
				t.Errorf("fair: %v", res.Fair)
			}
		})
	}
}

// TestUnfair: a target that neglects one initiator is told by Fair.
func TestUnfair(t *testing.T) {
	l, r := pair(t, 9000)
	l.SetPromiscuous(true)
	own, n := l.Info().MAC, 0
	cfg := config(l)
	cfg.Initiators, cfg.Timeout, cfg.Duration = 2, 2*time.Millisecond, 200*time.Millisecond
	r.fault = func(_ int, b []byte, size int) int {
		if aoe.MAC(b[:6]) != own {
			if n++; n%4 != 0 {
				return 0
			}
		}
		return size
	}
	r.serve(t)
	res, err := Run(context.Background(), cfg)
	if err != nil || res.Fair > .5 {
		t.Errorf("fair: %v, %v", res.Fair, err)
	}
}

// TestTargets: several targets, on several links, are all asked, and each is asked for what it has.
func TestTargets(t *testing.T) {
	a, ra := pair(t, 9000)
	b, rb := pair(t, 9000)
	ra.serve(t)
	rb.serve(t)
	cfg := config(a)
	cfg.More = []Place{{Link: b, Addr: here}, {Addr: here}}
	for _, depth := range []int{6, 2} {
		cfg.Depth = depth
		res, err := Run(context.Background(), cfg)
		if err != nil || res.Bad() != "" {
			t.Fatalf("%v, %s", err, res.Bad())
		}
		if (res.Fair > 0) != (depth == 6) {
			t.Errorf("depth %d, fair: %v", depth, res.Fair)
		}
	}
	if ra.n == 0 || rb.n == 0 {
		t.Errorf("asked %d and %d times", ra.n, rb.n)
	}
	cfg.Last = make([]uint16, 1000)
	if _, err := Run(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "several") {
		t.Errorf("writes to several targets remembered: %v", err)
	}
	cfg.Last, cfg.Initiators = nil, MaxInitiators+1
	if _, err := Run(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "257 initiators") {
		t.Error(err)
	}
	small, _ := mem.Pair(1500)
	defer small.Close()
	cfg.Initiators, cfg.More = 1, []Place{{Link: small, Addr: here}}
	if _, err := Run(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "MTU 1500") {
		t.Error(err)
	}
}

// TestAddressesOnTheWire: a real interface hears the answers to addresses that are not its own.
func TestAddressesOnTheWire(t *testing.T) {
	ns, near, far := testnet.Pair(t, 9000)
	ns.Do(func() {
		l, err := packet.Open(near, packet.Options{})
		if err != nil {
			t.Fatal(err)
		}
		stop, done := make(chan struct{}), make(chan struct{})
		go echo(l, 8, stop, done)
		defer func() { close(stop); <-done; _ = l.Close() }()
		res, err := Run(context.Background(), Config{Interface: far, Addr: here, Depth: 8, Sectors: 8, Initiators: 8, Duration: 100 * time.Millisecond, CPU: -1, NoVerify: true,
			Timeout: 5 * time.Second})
		if err != nil || res.Bad() != "" || res.Fair == 0 {
			t.Errorf("%v, %s, fair %v", err, res.Bad(), res.Fair)
		}
	})
}
