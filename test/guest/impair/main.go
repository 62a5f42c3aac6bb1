// Command impair is a bad cable between two interfaces of a network namespace. It copies whole Ethernet frames from A to B
// and from B to A and, on the way, loses, doubles, delays and reorders some of them.
//
//	impair [-loss PCT] [-dup PCT] [-reorder PCT] [-delay D] [-jitter D] [-max-ab N] [-max-ba N] [-seed N] A B
//
// A second copy follows up to 10 ms later, so usually after the answer. A reordered frame skips the delay or, where there is
// none, is held back for up to 2 ms. Frames are copied when they arrive, so that a late copy holds what was sent (a queueing
// discipline inside of the sender's own machine does not promise that: the Linux driver sends the pages of the request
// themselves). Counters go to standard error at SIGTERM. The same seed makes the same choices in the same order of frames.
package main

import (
	"container/heap"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	ethPAll        = 3  // ETH_P_ALL
	soRcvbufForce  = 33 // SO_RCVBUFFORCE
	soSndbufForce  = 32 // SO_SNDBUFFORCE
	packetOutgoing = 4  // PACKET_OUTGOING: a frame that this host sends
	frameMax       = 1 << 16
	etherLen       = 14
	bufferBytes    = 64 << 20
	copyDelayMax   = 10 * time.Millisecond
	holdMax        = 2 * time.Millisecond
)

// faults is what happens to frames; shares are in percent.
type faults struct {
	loss, dup, reorder float64
	delay, jitter      time.Duration
	max                int // bytes behind the Ethernet header; longer frames are lost; 0: no limit
}

// late is a frame that waits for its time.
type late struct {
	at    time.Time
	order uint64 // of frames with the same time
	frame []byte
}

// lateFrames is a heap, the next one first.
type lateFrames []late

func (q lateFrames) Len() int { return len(q) }
func (q lateFrames) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].order < q[j].order
}
func (q lateFrames) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is for container/heap.
func (q *lateFrames) Push(x any) { *q = append(*q, x.(late)) }

// Pop is for container/heap.
func (q *lateFrames) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// wire is one direction.
type wire struct {
	from, to int // sockets
	faults   faults
	rng      *rand.Rand

	mu    sync.Mutex
	queue lateFrames
	order uint64
	wake  chan struct{}

	in, out, lost, doubled, reordered, failed atomic.Int64
}

func (w *wire) send(frame []byte) {
	if _, err := syscall.Write(w.to, frame); err != nil {
		w.failed.Add(1)
		return
	}
	w.out.Add(1)
}

func (w *wire) later(d time.Duration, frame []byte) {
	w.mu.Lock()
	w.order++
	heap.Push(&w.queue, late{time.Now().Add(d), w.order, append([]byte(nil), frame...)})
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// next takes the frame whose time has come; without one it says how long to wait.
func (w *wire) next() ([]byte, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return nil, time.Hour
	}
	if d := time.Until(w.queue[0].at); d > 0 {
		return nil, d
	}
	return heap.Pop(&w.queue).(late).frame, 0
}

func (w *wire) sendLate() {
	timer := time.NewTimer(time.Hour)
	for {
		frame, wait := w.next()
		if frame != nil {
			w.send(frame)
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-w.wake:
		}
	}
}

func (w *wire) chance(percent float64) bool { return w.rng.Float64()*100 < percent }

// pass does to a frame what the cable does to it.
func (w *wire) pass(frame []byte) {
	f := &w.faults
	if f.max > 0 && len(frame) > f.max+etherLen || w.chance(f.loss) {
		w.lost.Add(1)
		return
	}
	d := f.delay
	if f.jitter > 0 {
		d += time.Duration(w.rng.Int63n(int64(f.jitter)))
	}
	if w.chance(f.dup) {
		w.doubled.Add(1)
		w.later(d+time.Duration(w.rng.Int63n(int64(copyDelayMax))), frame)
	}
	if w.chance(f.reorder) {
		w.reordered.Add(1)
		if d > 0 {
			d = 0
		} else {
			d = time.Duration(w.rng.Int63n(int64(holdMax)))
		}
	}
	if d == 0 {
		w.send(frame)
		return
	}
	w.later(d, frame)
}

func (w *wire) receive() {
	buf := make([]byte, frameMax)
	for {
		n, from, err := syscall.Recvfrom(w.from, buf, 0)
		if errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.ENETDOWN) {
			continue
		}
		if err != nil {
			die(err)
		}
		if ll, ok := from.(*syscall.SockaddrLinklayer); ok && ll.Pkttype == packetOutgoing {
			continue
		}
		w.in.Add(1)
		w.pass(buf[:n])
	}
}

func (w *wire) String() string {
	return fmt.Sprintf("in %d, out %d, lost %d, doubled %d, reordered %d, send errors %d",
		w.in.Load(), w.out.Load(), w.lost.Load(), w.doubled.Load(), w.reordered.Load(), w.failed.Load())
}

func die(err error) {
	fmt.Fprintln(os.Stderr, "impair:", err)
	os.Exit(1)
}

func htons(x uint16) uint16 { return x<<8 | x>>8 }

func open(name string) (int, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", name, err)
	}
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("packet socket: %w", err)
	}
	for _, option := range []int{soRcvbufForce, soSndbufForce} {
		if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, option, bufferBytes); err != nil {
			return 0, fmt.Errorf("buffer of the socket on %s: %w", name, err)
		}
	}
	if err := syscall.Bind(fd, &syscall.SockaddrLinklayer{Protocol: htons(ethPAll), Ifindex: ifi.Index}); err != nil {
		return 0, fmt.Errorf("bind to %s: %w", name, err)
	}
	return fd, nil
}

func main() {
	var f faults
	flag.Float64Var(&f.loss, "loss", 0, "percent of frames lost")
	flag.Float64Var(&f.dup, "dup", 0, "percent of frames doubled")
	flag.Float64Var(&f.reorder, "reorder", 0, "percent of frames reordered")
	flag.DurationVar(&f.delay, "delay", 0, "delay of every frame")
	flag.DurationVar(&f.jitter, "jitter", 0, "more delay, up to this")
	maxAB := flag.Int("max-ab", 0, "longer frames (bytes behind the Ethernet header) are lost from A to B, as by a switch with a smaller MTU")
	maxBA := flag.Int("max-ba", 0, "the same from B to A")
	seed := flag.Int64("seed", 1, "seed of the random choices")
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	var fd [2]int
	for i := range fd {
		var err error
		if fd[i], err = open(flag.Arg(i)); err != nil {
			die(err)
		}
	}
	var wires [2]*wire
	for i := range wires {
		wires[i] = &wire{from: fd[i], to: fd[1-i], faults: f, rng: rand.New(rand.NewSource(*seed*2 + int64(i))), wake: make(chan struct{}, 1)}
		wires[i].faults.max = []int{*maxAB, *maxBA}[i]
		go wires[i].sendLate()
		go wires[i].receive()
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
	for i, w := range wires {
		fmt.Fprintf(os.Stderr, "impair: seed %d, from %s to %s: %s\n", *seed, flag.Arg(i), flag.Arg(1-i), w)
	}
}
