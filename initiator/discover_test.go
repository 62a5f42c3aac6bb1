package initiator

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/link/mem"
	"goaoe/internal/target"
)

// wires makes names of interfaces mean wires in memory, until the test ends.
func wires(t *testing.T, nets map[string]*mem.Net) {
	real, n := openLink, byte(0)
	openLink = func(name string) (link.Link, error) {
		if nets[name] == nil {
			return nil, errors.New(name + " does not exist")
		}
		n++
		return nets[name].Open(name, aoe.MAC{2, 0, 0, 0, 2, n}, 1500), nil
	}
	t.Cleanup(func() { openLink = real })
}

// TestDiscover: answers come as they are, from all interfaces, each once; what fails on one does not end the others.
func TestDiscover(t *testing.T) {
	w := newWorld(t, 4000)
	one, two := mem.NewNet(mem.Options{Seed: 1, Auto: true}), mem.NewNet(mem.Options{Seed: 2, Auto: true})
	a := w.serve(one, aoe.MAC{2, 0, 0, 0, 0, 0xaa}, 1500, target.ExportConfig{})
	b := w.serve(two, aoe.MAC{2, 0, 0, 0, 0, 0xbb}, 1500, target.ExportConfig{})
	wires(t, map[string]*mem.Net{"w0": one, "w1": two})
	all, err := DiscoverAll(context.Background(), Search{Interfaces: []string{"w1", "nosuch", "w0"}, Wait: 300 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "nosuch does not exist") {
		t.Errorf("%v", err)
	}
	if len(all) != 2 || all[0].MAC != a.mac || all[0].Interface != "w0" || all[1].MAC != b.mac || all[1].Interface != "w1" {
		t.Errorf("%v", all)
	}
	for _, c := range []struct {
		want aoe.Addr
		n    int
	}{{addr, 2}, {aoe.Addr{Major: aoe.WildMajor, Minor: addr.Minor}, 2}, {aoe.Addr{Major: 9, Minor: 9}, 0}} {
		all, err := DiscoverAll(context.Background(), Search{Interfaces: []string{"w1", "w0"}, Addrs: []aoe.Addr{c.want}, Wait: 200 * time.Millisecond})
		if len(all) != c.n || err != nil {
			t.Errorf("%v: %v, %v", c.want, all, err)
		}
	}
	begin := time.Now()
	for range Discover(context.Background(), Search{Interfaces: []string{"w0"}, Wait: time.Hour}) {
		break // the first is enough
	}
	if time.Since(begin) > patience {
		t.Error("a search that its user left went on")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if all, err := DiscoverAll(ctx, Search{Interfaces: []string{"w0"}, Wait: time.Hour}); len(all) != 0 || err != nil {
		t.Errorf("a search that has ended: %v, %v", all, err)
	}
}

// TestDiscoverWatch: a search that goes on tells of announcements and changed answers, and of nothing else.
func TestDiscoverWatch(t *testing.T) {
	w := newWorld(t, 4000)
	net := mem.NewNet(mem.Options{Seed: 1, Auto: true})
	n := w.serve(net, tMAC, 1500, target.ExportConfig{})
	wires(t, map[string]*mem.Net{"w0": net})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	count := 0
	begin := time.Now()
	for x, err := range Discover(ctx, Search{Interfaces: []string{"w0"}, Watch: true}) {
		if err != nil {
			t.Fatal(err)
		}
		switch count++; count {
		case 1: // asked again soon, with the same answer: not told
			if x.BufferCount != 16 {
				t.Errorf("%+v", x)
			}
			time.AfterFunc(600*time.Millisecond, n.announce)
		case 2:
			if time.Since(begin) < 500*time.Millisecond {
				t.Error("the same answer was told twice")
			}
			n.change(func(c *target.ExportConfig) { c.BufferCount = 7 }) // found out by the next question
		case 3:
			if x.BufferCount != 7 {
				t.Errorf("%+v", x)
			}
			cancel()
		}
	}
	if count != 3 {
		t.Errorf("told %d times, want 3", count)
	}
}
