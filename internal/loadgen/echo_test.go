package loadgen

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link"
	"goaoe/internal/link/packet"
	"goaoe/internal/testnet"
)

// BenchmarkEcho measures the load generator and the kernel's network: on the other CPU a loop turns each request around and appends
// the same bytes. It tells requests/s; a target that comes near them is limited by the generator or the network.
func BenchmarkEcho(b *testing.B) {
	// Two threads that never sleep, and processors to spare: else the Go scheduler takes theirs away in each system call.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	for _, c := range []struct{ depth, sectors, writes int }{{32, 8, 0}, {64, 2, 0}, {256, 1, 0}, {256, 1, 100}} {
		b.Run(fmt.Sprintf("depth=%d/sectors=%d/writes=%d", c.depth, c.sectors, c.writes), func(b *testing.B) {
			ns, t, h := testnet.Pair(b, 9000)
			ns.Do(func() { // the links belong to the namespace that they are opened in
				l, err := packet.Open(t, packet.Options{QdiscBypass: true, RingFrames: 2 * c.depth})
				if err != nil {
					b.Fatal(err)
				}
				stop, done := make(chan struct{}), make(chan struct{})
				go echo(l, c.sectors, stop, done)
				defer func() { close(stop); <-done; _ = l.Close() }()
				res, err := Run(context.Background(), Config{Interface: h, Depth: c.depth, Sectors: c.sectors, Writes: c.writes, CPU: lastCPU(),
					Addr: here, Warmup: 100 * time.Millisecond, Duration: time.Hour, Count: uint64(max(b.N, 1000)), NoVerify: true})
				if err != nil || res.Bad() != "" {
					b.Errorf("%v, %s", err, res.Bad())
				}
				b.ReportMetric(res.PerSecond, "requests/s")
				b.ReportMetric(res.Idle*100, "%idle")
			})
		})
	}
}

func lastCPU() int { return runtime.NumCPU() - 1 }

// echo answers until stop is closed.
func echo(l link.Link, sectors int, stop, done chan struct{}) {
	defer close(done)
	runtime.LockOSThread() // and never unlocked: the thread ends, with its CPU
	var one unix.CPUSet
	one.Set(0)
	_ = unix.SchedSetaffinity(0, &one)
	var (
		frames [64]link.Frame
		heads  [64][548]byte
		msgs   [64]link.Msg
		body   = make([]byte, sectors*aoe.SectorSize)
		mac    = l.Info().MAC
		id     [512]byte
	)
	(&ata.Device{Sectors: 1 << 20, Serial: "echo"}).Build(&id)
	for {
		select {
		case <-stop:
			return
		default:
		}
		n := l.Recv(frames[:])
		for i, f := range frames[:n] {
			p := heads[i][:60]
			copy(p, f.Data[:36])
			copy(p, f.Data[6:12])
			copy(p[6:], mac[:])
			p[14] |= aoe.FlagResponse
			p[16], p[17], p[18] = 0, byte(here.Major), here.Minor
			msgs[i] = link.Msg{Head: p}
			switch {
			case p[19] == byte(aoe.CmdConfig):
			case p[27] == ata.OpIdentify:
				p = heads[i][:548]
				copy(p[36:], id[:])
				msgs[i].Head = p
			case p[27] == ata.OpReadExt:
				msgs[i] = link.Msg{Head: p[:36], Body: body}
			}
			p[27] = 0x40
		}
		if n > 0 {
			l.Release()
		}
		for sent := 0; sent < n; {
			k, err := l.Send(msgs[sent:n])
			if err != nil && k == 0 && !errors.Is(err, link.ErrFull) {
				return
			}
			sent += k
		}
	}
}
