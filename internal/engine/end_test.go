package engine

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"

	"goaoe/internal/link"
	"goaoe/internal/target"
)

// TestRemoveIdleExport: an export of which nothing is in flight is removed, every time, also with a context that has ended.
func TestRemoveIdleExport(t *testing.T) {
	e, err := NewStepped(Options{Slow: func(SlowRequest) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	defer func() { _ = e.Stop(ended) }()
	te, err := target.NewExport(target.ExportConfig{Addr: e11, Sectors: 64})
	if err != nil {
		t.Fatal(err)
	}
	x := &Export{Target: te, Store: newStore(t, 64, nil), QueueLength: 4}
	for i := range 64 {
		if err := e.AddExport(x); err != nil {
			t.Fatal(err)
		}
		if err := e.RemoveExport(ended, x); err != nil {
			t.Fatalf("the %d. time: %v", i+1, err)
		}
	}
}

// TestLaneEndsWithItsMemory: an engine that ends, with its interfaces or without them, gives back all memory that it had, that for
// replies too. It is counted by what the process has mapped.
func TestLaneEndsWithItsMemory(t *testing.T) {
	const rounds, lanes = 150, 2
	mapped := func() (bytes int) {
		b, err := os.ReadFile("/proc/self/statm")
		if err == nil {
			_, err = fmt.Sscan(string(b), &bytes)
		}
		if err != nil {
			t.Fatal(err)
		}
		return bytes * os.Getpagesize()
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	once := func(kill bool) {
		t.Helper()
		runtime.GC() // a megabyte of garbage for each engine would grow the heap on a busy machine, and be counted
		e, err := NewStepped(Options{Lanes: lanes, Slow: func(SlowRequest) bool { return false }})
		if err != nil {
			t.Fatal(err)
		}
		te, err := target.NewExport(target.ExportConfig{Addr: e11, Sectors: 64})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.AddExport(&Export{Target: te, Store: newStore(t, 64, nil), QueueLength: 4}); err != nil {
			t.Fatal(err)
		}
		if _, err := e.AddPort(PortConfig{Name: "w", Links: []link.Link{&wire{fd: -1}, &wire{fd: -1}}, Table: mustTable(t, te),
			Ingress: target.Ingress{MAC: targetMAC, MTU: 1500}}); err != nil {
			t.Fatal(err)
		}
		if kill {
			e.Kill()
		} else if err := e.Stop(ended); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 { // pools and the heap have their size after that
		once(i%2 == 0)
	}
	// What is not freed is missed each time; the heap may grow once on a machine that is busy with something else.
	var grown int
	for range 4 {
		before := mapped()
		for i := range rounds {
			once(i%2 == 0)
		}
		if grown = mapped() - before; grown <= rounds*lanes*txBatch*replySize/4 {
			return
		}
	}
	t.Errorf("%d engines left %d bytes mapped, several times; the replies of one lane are %d", rounds, grown, txBatch*replySize)
}
