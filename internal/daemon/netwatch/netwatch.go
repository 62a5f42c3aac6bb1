// Package netwatch keeps an up-to-date view of the machine's network interfaces: which there are, their names, addresses,
// MTUs and whether they are up. It listens to the kernel's link messages; when some were lost it asks for all of them
// again, and it does so from time to time anyway.
package netwatch

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"goaoe/aoe"
)

const (
	// receiveBuffer holds the messages of some thousand interfaces that change at once.
	receiveBuffer = 4 << 20
	// resyncEvery is how often all interfaces are asked for without a reason.
	resyncEvery = 30 * time.Second
	// listTries is how often a listing that is disturbed by changes is made, and resyncLater when it is tried again after that.
	listTries   = 5
	resyncLater = time.Second
)

// Iface is one network interface.
type Iface struct {
	Index    int
	Name     string
	MAC      aoe.MAC
	MTU      int  // bytes behind the Ethernet header
	Up       bool // switched on, and has a carrier as far as that is known
	Admin    bool // switched on
	Ethernet bool // frames have Ethernet headers; false for loopback, tunnels and the like
	Loopback bool
	Ups      uint64 // how often Up turned true since the watch began, counting ups too short to be seen in a Snapshot
}

// Watcher keeps the view.
type Watcher struct {
	events *nl.NetlinkSocket
	dump   *netlink.Handle
	wake   chan struct{}
	quit   chan struct{}
	done   sync.WaitGroup

	listing sync.Mutex // held while interfaces are listed: an older list must not come after a newer one

	mu     sync.Mutex // guards what follows
	ifaces map[int]Iface
	err    error  // of the last resync; nil when it worked
	seen   uint64 // messages taken

	resync chan struct{}
}

// New starts to watch the network namespace of the calling thread.
func New() (*Watcher, error) {
	w := &Watcher{wake: make(chan struct{}, 1), quit: make(chan struct{}), resync: make(chan struct{}, 1), ifaces: map[int]Iface{}}
	var err error
	if w.events, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK); err != nil {
		return nil, fmt.Errorf("watching network interfaces: %w", err)
	}
	if w.events.SetReceiveBufferSize(receiveBuffer, true) != nil {
		// Without CAP_NET_ADMIN the system's limit holds. A smaller buffer only means that messages are lost, and resynced, more often.
		_ = w.events.SetReceiveBufferSize(receiveBuffer, false)
	}
	if w.dump, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		w.events.Close()
		return nil, fmt.Errorf("listing network interfaces: %w", err)
	}
	if err := w.Resync(); err != nil {
		w.events.Close()
		w.dump.Close()
		return nil, err
	}
	w.done.Add(2)
	go w.listen()
	go w.resyncer()
	return w, nil
}

// Changed delivers a value after something changed since the last one was taken. Several changes may be one value.
func (w *Watcher) Changed() <-chan struct{} { return w.wake }

// Snapshot returns the interfaces, sorted by name.
func (w *Watcher) Snapshot() []Iface {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]Iface, 0, len(w.ifaces))
	for _, i := range w.ifaces {
		out = append(out, i)
	}
	sort.Slice(out, func(a, b int) bool { return out[a].Name < out[b].Name })
	return out
}

// Err returns why the last listing of all interfaces failed, or nil.
func (w *Watcher) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Close ends the watch.
func (w *Watcher) Close() {
	close(w.quit)
	w.events.Close()
	w.done.Wait()
	w.dump.Close()
}

// list asks the kernel for all interfaces, and returns with mu held. A message that is taken while the kernel lists may tell of what came
// after the list was made; the list must not undo that, so it is made again. Messages that come later put right what was too old in it.
func (w *Watcher) list() ([]netlink.Link, error) {
	for try := 1; ; try++ {
		w.mu.Lock()
		before := w.seen
		w.mu.Unlock()
		links, err := w.dump.LinkList()
		w.mu.Lock()
		disturbed := errors.Is(err, netlink.ErrDumpInterrupted)
		if disturbed {
			err = nil // the change that disturbs comes as a message, too
		}
		if !disturbed && before == w.seen || err != nil {
			return links, err
		}
		if try == listTries { // changes without end: once more when the storm is over
			time.AfterFunc(resyncLater, w.askResync)
			return links, err
		}
		w.mu.Unlock()
	}
}

// Resync asks the kernel for all interfaces.
func (w *Watcher) Resync() error {
	w.listing.Lock()
	defer w.listing.Unlock()
	links, err := w.list()
	defer w.mu.Unlock()
	if err != nil {
		w.err = fmt.Errorf("listing network interfaces: %w", err)
		return w.err
	}
	w.err = nil
	seen := map[int]bool{}
	for _, l := range links {
		seen[l.Attrs().Index] = true
		w.set(l.Attrs())
	}
	for index := range w.ifaces {
		if !seen[index] {
			delete(w.ifaces, index)
			w.notify()
		}
	}
	return nil
}

// set takes over the facts of one interface. The caller holds mu.
func (w *Watcher) set(a *netlink.LinkAttrs) {
	n := Iface{Index: a.Index, Name: a.Name, MTU: a.MTU, Ethernet: a.EncapType == "ether", Loopback: a.RawFlags&unix.IFF_LOOPBACK != 0,
		Admin: a.RawFlags&unix.IFF_UP != 0, Up: a.RawFlags&unix.IFF_UP != 0 && a.RawFlags&unix.IFF_RUNNING != 0}
	if len(a.HardwareAddr) == len(n.MAC) {
		n.MAC = aoe.MAC(a.HardwareAddr)
	} else {
		n.Ethernet = false
	}
	old, known := w.ifaces[a.Index]
	n.Ups = old.Ups
	if n.Up && !old.Up {
		n.Ups++
	}
	if !known || n != old {
		w.ifaces[a.Index] = n
		w.notify()
	}
}

func (w *Watcher) notify() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// listen takes the kernel's messages.
func (w *Watcher) listen() {
	defer w.done.Done()
	for {
		msgs, _, err := w.events.Receive()
		switch {
		case err == nil:
			for i := range msgs {
				w.message(msgs[i].Header.Type, msgs[i].Data)
			}
			continue
		case errors.Is(err, os.ErrClosed), errors.Is(err, unix.EBADF):
			return
		}
		select {
		case <-w.quit:
			return
		case w.resync <- struct{}{}: // messages were lost (ENOBUFS), or something else is odd
		default:
		}
		if !errors.Is(err, unix.ENOBUFS) {
			select { // an error that stays must not make a busy loop
			case <-w.quit:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// message takes over what one message says.
func (w *Watcher) message(typ uint16, data []byte) {
	if typ != unix.RTM_NEWLINK && typ != unix.RTM_DELLINK || len(data) < unix.SizeofIfInfomsg {
		return
	}
	if data[0] != unix.AF_UNSPEC {
		return // a bridge telling about its ports: a port that leaves a bridge is "deleted" there and still exists
	}
	l, err := netlink.LinkDeserialize(nil, data)
	if err != nil {
		return // a kernel newer than the library; the next resync decides
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen++
	if typ == unix.RTM_DELLINK {
		if _, ok := w.ifaces[l.Attrs().Index]; ok {
			delete(w.ifaces, l.Attrs().Index)
			w.notify()
		}
		return
	}
	if l.Attrs().MTU == 0 {
		return // a message of the wireless layer, which has the name and nothing else
	}
	w.set(l.Attrs())
}

// resyncer lists all interfaces when messages were lost, and now and then.
func (w *Watcher) resyncer() {
	defer w.done.Done()
	t := time.NewTicker(resyncEvery)
	defer t.Stop()
	for {
		select {
		case <-w.quit:
			return
		case <-w.resync:
		case <-t.C:
		}
		if w.Resync() != nil {
			select {
			case <-w.quit:
				return
			case <-time.After(time.Second):
				w.askResync()
			}
		}
	}
}

func (w *Watcher) askResync() {
	select {
	case w.resync <- struct{}{}:
	default:
	}
}
