package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link"
	"goaoe/internal/link/packet"
	"goaoe/internal/loadgen"
	"goaoe/internal/testnet"
	"goaoe/test/need"
)

// TestMain is a plain loop where a test starts the test program as one.
func TestMain(m *testing.M) {
	if os.Getenv(plainly) != "" {
		plainMain(os.Args[1:])
	}
	os.Exit(m.Run())
}

const testImage = 8 << 20

// withPairs runs f where there are n pairs of interfaces.
func withPairs(t *testing.T, n int, f func()) {
	testnet.New(t).Do(func() {
		for i := range n {
			undo, err := wire(i, 9000)
			if err != nil {
				t.Fatal(err)
			}
			defer undo()
		}
		f()
	})
}

// TestPlainLoop has the load generator look at every byte that plain loops read, and at what they wrote.
func TestPlainLoop(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	if err := loadgen.Fill(image, testImage); err != nil {
		t.Fatal(err)
	}
	if fd, err := unix.Open(image, unix.O_RDWR|unix.O_DIRECT, 0); err != nil {
		need.Missing(t, "the temporary directory has no direct I/O: "+err.Error())
	} else {
		_ = unix.Close(fd)
	}
	two := plainLoops(2)
	two.load = func(c *loadgen.Config) {
		if c.Writes == 0 {
			c.More = []loadgen.Place{{Interface: ifName(clientIf, 1), Addr: addr(2)}}
		}
	}
	var all []contestant
	all = append(append(all, plainCached(false)...), plainCached(true)[2])
	all = append(all, plainDurable()...)
	all = append(all, plainDirect(false)...)
	all = append(all, plainDirect(true)...)
	all = append(all, newPlain("each", "-by", byRing, "-direct", "-sync", "-each"), plainFiles(1), two)
	for _, c := range all {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			b := &bench{image: image, written: image, state: dir, logs: t.TempDir(), targetOn: -1, clientOn: -1, times: times{whole: timing{1, time.Millisecond, 50 * time.Millisecond}}}
			// Reads come last, of what Fill wrote: a run that writes leaves something else.
			writes := row{mtu: 9000, work: loadgen.Config{Depth: 32, Sectors: 8, Writes: 100, Generation: 7, Last: make([]uint16, testImage/aoe.SectorSize/8)}}
			small := row{mtu: 9000, work: loadgen.Config{Depth: 64, Sectors: 2, Sequential: true}}
			large := row{mtu: 9000, work: loadgen.Config{Depth: 32, Sectors: 17}}
			withPairs(t, 2, func() {
				measure(t, b, writes, c)
				if err := loadgen.CheckWritten(image, 8, writes.work.Last); err != nil {
					t.Error(err)
				}
				if err := loadgen.Fill(image, testImage); err != nil {
					t.Fatal(err)
				}
				measure(t, b, small, c)
				if !strings.Contains(strings.Join(c.args, " "), "-direct") { // 17 sectors are not whole blocks everywhere
					measure(t, b, large, c)
				}
			})
		})
	}
	withPairs(t, 1, func() {
		c := plainFiles(100)
		b := &bench{image: image, state: dir, logs: t.TempDir(), targetOn: -1, clientOn: -1, times: times{whole: timing{1, 0, 50 * time.Millisecond}}}
		measure(t, b, row{work: loadgen.Config{Depth: 64, Sectors: 8}}, c)
	})
}

// measure does so once, or again where the machine was so busy that an answer took more than a second, or that none came in the 50 ms of a run.
func measure(t *testing.T, b *bench, r row, c contestant) {
	t.Helper()
	for try := 0; ; try++ {
		s := b.once(context.Background(), r, work{contestant: c, id: "run"})
		if s.Void == "" {
			return
		}
		if busy := strings.Contains(s.Void, "sent again") || strings.Contains(s.Void, "no request was answered"); !busy || try == 5 {
			t.Fatal(s.Void)
		}
	}
}

// TestPlainBounds: requests that must not be carried out are not answered, and change nothing; the good one behind them is.
func TestPlainBounds(t *testing.T) {
	for _, how := range []string{byCall, byRing} {
		dir := t.TempDir()
		image := filepath.Join(dir, "image")
		if err := loadgen.Fill(image, 1<<20); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		withPairs(t, 1, func() {
			c := newPlain("plain loop", "-by", how)
			p, err := start(-1, filepath.Join(dir, "log"), argv("/proc/self/exe", c.args, image, dir, 0), plainly+"=1")
			if err != nil {
				t.Fatal(err)
			}
			defer p.stop()
			l, err := packet.Open(realName(clientIf, 0), packet.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			ask := func(tag byte) {
				good := request(l, addr(1), ata.OpReadExt, 3, 1, 0)
				var frames [16]link.Frame
				for end, seen := time.Now().Add(20*time.Second), false; !seen; time.Sleep(10 * time.Millisecond) {
					good[23] = tag
					if err := l.Inject(good); err != nil {
						t.Fatal(err)
					}
					n := l.Recv(frames[:])
					for _, f := range frames[:n] {
						if f.Data[14]&aoe.FlagResponse == 0 {
							continue
						}
						if f.Data[23] < 98 {
							t.Errorf("an answer to %x", f.Data[:aoe.ATALen])
						} else if !loadgen.Stamped(f.Data[aoe.ATALen:], 3) || len(f.Data) != aoe.ATALen+aoe.SectorSize {
							t.Errorf("the good request is answered by %x", f.Data)
						}
						seen = seen || f.Data[23] == tag
					}
					if n > 0 {
						l.Release()
					}
					if err := p.gone(); err != nil || time.Now().After(end) {
						t.Fatal("no answer: ", err)
					}
				}
			}
			ask(98) // it is there
			const end = 1 << 20 / aoe.SectorSize
			for _, bad := range [][]byte{
				request(l, addr(1), ata.OpWriteExt, end, 1, aoe.SectorSize),
				request(l, addr(1), ata.OpWriteExt, end-1, 2, 2*aoe.SectorSize),
				request(l, addr(1), ata.OpReadExt, end, 1, 0),
				request(l, addr(1), ata.OpReadExt, 1<<48-1, 1, 0),
				request(l, addr(1), ata.OpWriteExt, 1<<47, 1, aoe.SectorSize),
				request(l, addr(1), ata.OpWriteExt, 0, 2, aoe.SectorSize), // half of the data is not there
				request(l, addr(1), ata.OpReadExt, 0, 0, 0),
				request(l, addr(1), ata.OpReadExt, 0, 18, 0), // more than a frame holds
				request(l, addr(2), ata.OpReadExt, 0, 1, 0),
				request(l, aoe.Addr{Major: 0xfffe, Minor: 0xfe}, ata.OpReadExt, 0, 1, 0),
				request(l, addr(1), 0x42, 0, 1, 0),
			} {
				if err := l.Inject(bad); err != nil {
					t.Fatal(err)
				}
			}
			ask(99)
		})
		if after, err := os.ReadFile(image); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: the image has changed: %v", how, err)
		}
	}
}

// request is an ATA request with n bytes of data.
func request(l link.Link, a aoe.Addr, op uint8, lba uint64, count uint8, n int) []byte {
	f := make([]byte, max(aoe.MinFrame, aoe.ATALen+n))
	_, _ = (&aoe.Header{Dst: aoe.Broadcast, Src: l.Info().MAC, Version: aoe.Version, Addr: a, Cmd: aoe.CmdATA}).Encode(f) // it fits
	q := aoe.ATA{Flags: aoe.ATAExtended, Count: count, Command: op}
	ata.PutLBA48(&q.LBA, lba)
	_, _ = q.Encode(f)
	return f
}

func TestPlainArguments(t *testing.T) {
	o, err := parsePlain([]string{"-i", "t0,t1", "-by", "ring", "-direct", "-sync", "-each", "-spin", "-loops", "2", "-parts", "3", "-exports", "9", "x.img"})
	if err != nil || len(o.ifs) != 2 || o.how != byRing || !o.direct || !o.sync || !o.each || !o.spin || o.loops != 2 || o.parts != 3 || o.exports != 9 || o.image != "x.img" {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range []string{"", "x.img", "-i t0", "-i t0 x y", "-i t0 -loops 2 x", "-i t0 -loops 0 x", "-i t0 -by mail x", "-i t0 -direct x", "-i t0 -by ring -each x", "-i t0 -exports 0 x", "-i t0 -parts -1 x", "-i t0 -what x"} {
		if _, err := parsePlain(strings.Fields(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
