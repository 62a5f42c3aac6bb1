package initiator_test

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/initiator"
	"goaoe/internal/link"
	"goaoe/internal/link/packet"
	"goaoe/internal/sys"
	"goaoe/internal/testnet"
	"goaoe/test/need"
)

// BenchmarkOneAtATime is what one request at a time takes, 4 KiB reads from goaoe, MTU 9000: with the least that can be done for it (a frame is
// sent, poll, the frame is taken from the ring, and nothing is looked at), through ReadAt, and through the queue that goaoe attach uses; sleeping
// and looking. What the queue takes longer than the frames alone is what the library costs.
func BenchmarkOneAtATime(b *testing.B) {
	need.Root(b)
	file := filepath.Join(b.TempDir(), "disk")
	if err := os.WriteFile(file, make([]byte, 16<<20), 0o600); err != nil {
		b.Fatal(err)
	}
	ns, ta, ia := testnet.Pair(b, 9000)
	goaoeServer(b, ns, file, ta)
	run := func(name string, f func(b *testing.B, took []time.Duration)) {
		b.Run(name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			took := make([]time.Duration, b.N)
			f(b, took)
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2])/1e3, "p50-us")
		})
	}
	for _, spin := range []time.Duration{0, time.Millisecond} {
		how := "sleeping"
		if spin > 0 {
			how = "looking"
		}
		d := open(b, ns, initiator.Options{Interfaces: []string{ia}, BusyPoll: spin})
		run("frames/"+how, func(b *testing.B, took []time.Duration) { frames(b, ns, ia, d.Target(), spin, took) })
		if spin == 0 {
			run("ReadAt/"+how, func(b *testing.B, took []time.Duration) {
				buf := make([]byte, 4096)
				for i := range took {
					begin := time.Now()
					if _, err := d.ReadAt(buf, int64(i%4000)*4096); err != nil {
						b.Fatal(err)
					}
					took[i] = time.Since(begin)
				}
			})
		}
		run("WaitFor/"+how, func(b *testing.B, took []time.Duration) {
			q := d.NewQueue(1)
			defer q.Close()
			r := &initiator.Request{Op: initiator.Read, Buf: make([]byte, 4096)}
			done := make([]*initiator.Request, 1)
			e, err := sys.NewEventFD() // the client, who says nothing
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			fds := []unix.PollFd{{Fd: int32(e.FD()), Events: unix.POLLIN}}
			for i := range took {
				begin := time.Now()
				r.Off = int64(i%4000) * 4096
				if err := q.Submit(r); err != nil {
					b.Fatal(err)
				}
				for n := 0; n == 0; {
					if n, err = q.WaitFor(done, fds, -1); err != nil {
						b.Fatal(err)
					}
				}
				if r.Err != nil {
					b.Fatal(r.Err)
				}
				took[i] = time.Since(begin)
			}
		})
		_ = d.Close()
	}
}

// frames does it with as little as possible.
func frames(b *testing.B, ns *testnet.NS, iface string, to initiator.Target, spin time.Duration, took []time.Duration) {
	var l *packet.Link
	var err error
	want := &link.Filter{Replies: &link.Replies{Addr: to.Addr, Tag: 1, Mask: ^uint32(0)}}
	ns.Do(func() { l, err = packet.Open(iface, packet.Options{Filter: want}) })
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	f := make([]byte, aoe.MinFrame)
	h := aoe.Header{Dst: to.MAC, Src: l.Info().MAC, Version: aoe.Version, Addr: to.Addr, Cmd: aoe.CmdATA, Tag: 1}
	_, _ = h.Encode(f)
	regs := aoe.ATA{Flags: aoe.ATAExtended, Count: 8, Command: ata.OpReadExt}
	msgs := []link.Msg{{Head: f}}
	in := make([]link.Frame, 1)
	fds := []unix.PollFd{{Fd: int32(l.FD()), Events: unix.POLLIN}}
	for i := range took {
		begin := time.Now()
		ata.PutLBA48(&regs.LBA, uint64(i%4000)*8)
		_, _ = regs.Encode(f)
		if _, err := l.Send(msgs); err != nil {
			b.Fatal(err)
		}
		for n := l.Recv(in); n == 0; n = l.Recv(in) {
			if time.Since(begin) > time.Second {
				b.Fatal("no answer")
			}
			if spin == 0 {
				_, _ = sys.Poll(fds, int64(time.Second))
			}
		}
		if len(in[0].Data) != aoe.ATALen+4096 {
			b.Fatalf("an answer of %d bytes", len(in[0].Data))
		}
		l.Release()
		took[i] = time.Since(begin)
	}
}
