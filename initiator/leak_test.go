package initiator

import (
	"sync"
	"testing"

	"go.uber.org/goleak"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/link/mem"
	"goaoe/internal/target"
)

// TestMain fails when a goroutine outlives the tests: each Disk, search and session must end all of its own.
func TestMain(m *testing.M) { goleak.VerifyTestMain(run(m.Run)) }

type run func() int

// AtEnd is what has to be undone when all tests are over.
var AtEnd []func()

// Run runs the tests, and ends the network of the examples.
func (f run) Run() int {
	code := f()
	endExamples()
	for _, end := range AtEnd {
		end()
	}
	return code
}

// The examples say eth0 and eth1: in tests these are two wires in memory, with a target on both.
var examples struct {
	sync.Mutex
	w     *world
	nets  map[string]*mem.Net
	opens byte
}

func init() {
	real := openLink
	openLink = func(name string) (link.Link, error) {
		if name != "eth0" && name != "eth1" {
			return real(name)
		}
		e := &examples
		e.Lock()
		defer e.Unlock()
		if e.w == nil {
			beginExamples()
		}
		e.opens++
		return e.nets[name].Open(name, aoe.MAC{2, 0, 0, 0, 1, e.opens}, 9000), nil
	}
}

func beginExamples() {
	e := &examples
	e.w, e.nets = &world{disk: make([]byte, 16<<20)}, map[string]*mem.Net{}
	for i, name := range []string{"eth0", "eth1"} {
		net := mem.NewNet(mem.Options{Seed: 1, Auto: true})
		e.nets[name] = net
		mac := aoe.MAC{2, 0, 0, 0, 0, byte(0xa0 + i)}
		conf := target.ExportConfig{Addr: aoe.Addr{Major: 0, Minor: 1}, Sectors: 16 << 11, BufferCount: 16, Serial: "e0.1:example", Model: "goaoe disk",
			Discard: true}
		exp, err := target.NewExport(conf)
		if err != nil {
			panic(err)
		}
		n := &node{w: e.w, mac: mac, mtu: 9000, stop: make(chan struct{}), exp: exp, conf: conf, link: net.Open("t", mac, 9000)}
		e.w.nodes = append(e.w.nodes, n)
		e.w.ended.Go(n.run)
	}
}

func endExamples() {
	e := &examples
	e.Lock()
	defer e.Unlock()
	if e.w == nil {
		return
	}
	for _, n := range e.w.nodes {
		close(n.stop)
	}
	e.w.ended.Wait()
}
