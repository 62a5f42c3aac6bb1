package netns

import (
	"bytes"
	"fmt"
	"goaoe/test/program"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestConfigString(t *testing.T) {
	h := plain(t, 1500, "")
	use := func(t *testing.T) *host { h.r.t = t; return h }
	want := func(t *testing.T, s string) {
		t.Helper()
		if got := h.config(0, "").conf(t); got != s {
			t.Fatalf("the string is %q, want %q", got, s)
		}
	}
	item(t, "C28", func(t *testing.T) {
		f := use(t).config(0, "").ask()
		if n := int(f[24])<<8 | int(f[25]); n != 16 {
			t.Fatalf("buffer count %d, want the configured 16", n)
		}
	})
	item(t, "C29", func(t *testing.T) {
		q := use(t).config(0, "").with(bytes.Repeat([]byte{0xed}, 1024)...)
		q.body[6], q.body[7] = 4, 0
		if s := q.conf(t); s != "" {
			t.Fatalf("string %q", s)
		}
		want(t, "")
	})
	item(t, "C37", func(t *testing.T) { use(t).config(1, "").conf(t) })
	item(t, "C30", func(t *testing.T) {
		if s := use(t).config(4, "hello").with(bytes.Repeat([]byte{0xed}, 1019)...).conf(t); s != "hello" {
			t.Fatalf("string %q", s)
		}
	})
	item(t, "C31", func(t *testing.T) { use(t); want(t, "hello") })
	item(t, "C32", func(t *testing.T) {
		h := use(t)
		h.config(1, "hello").conf(t)
		for _, s := range []string{"hell", "hellox", "", "olleh"} {
			h.config(1, s).silent(t)
		}
	})
	item(t, "C33", func(t *testing.T) {
		h := use(t)
		for _, s := range []string{"hel", "", "hello"} {
			h.config(2, s).conf(t)
		}
		for _, s := range []string{"hellox", "x"} {
			h.config(2, s).silent(t)
		}
	})
	item(t, "C34", func(t *testing.T) {
		if s := use(t).config(3, "hello").conf(t); s != "hello" {
			t.Fatalf("string %q", s)
		}
	})
	item(t, "C35", func(t *testing.T) {
		q := use(t).config(3, "other")
		f := q.ask()
		if s := q.confBody(t, f, 0x1c); s != "hello" || f[15] != 4 {
			t.Fatalf("error %d with %q, want 4 with the winner", f[15], s)
		}
		want(t, "hello")
	})
	item(t, "C36", func(t *testing.T) {
		h := use(t)
		if s := h.config(4, "").conf(t); s != "" {
			t.Fatalf("string %q", s)
		}
		if s := h.config(3, "new").conf(t); s != "new" {
			t.Fatalf("string %q", s)
		}
	})
	item(t, "C38", func(t *testing.T) {
		h := use(t)
		long := strings.Repeat("0123456789abcdef", 64)
		if s := h.config(4, long).conf(t); s != long {
			t.Fatal("1024 bytes do not come back")
		}
		if f := h.config(0, "").ask(); len(f) != 1056 {
			t.Fatalf("%d bytes, want 1056", len(f))
		}
		q := h.config(4, long).with('x')
		q.body[6], q.body[7] = 4, 1 // 1025
		q.fails(t, 2)
		want(t, long)
		short := h.config(4, "abc")
		short.body[7] = 200 // more than the frame holds
		short.fails(t, 2)
		for _, c := range []byte{1, 2} {
			q := h.config(c, "0123")
			q.body[7] = 200
			q.silent(t)
		}
		want(t, long)
	})
	item(t, "C39", func(t *testing.T) {
		h := use(t)
		odd := "\x00\xff\x00a\xfe"
		h.config(4, odd).conf(t)
		want(t, odd)
		h.config(1, odd).conf(t)
		h.config(1, "\x00\xff\x00b\xfe").silent(t)
	})
	item(t, "C40", func(t *testing.T) {
		h := use(t)
		for c := byte(5); c < 16; c++ {
			f := h.config(c, "").fails(t, 2)
			zero(t, f[24:], "behind the header")
		}
	})
	item(t, "C41", func(t *testing.T) {
		h := use(t)
		for round := 0; round < 20; round++ {
			h.config(4, "").conf(t)
			a, b := h.config(3, "from I").from(hostI), h.config(3, "from J").from(hostJ)
			h.send(a.frame())
			h.send(b.frame())
			won, lost := "", ""
			for i := 0; i < 2; i++ {
				f := h.read(time.Second)
				if f == nil {
					t.Fatal("no reply")
				}
				q := a
				if bytes.Equal(f[:6], hostJ[:]) {
					q = b
				}
				if f[14] == 0x18 {
					won += q.confBody(t, f, 0x18)
				} else if f[15] == 4 {
					lost += q.confBody(t, f, 0x1c)
				}
			}
			if won == "" || won != lost {
				t.Fatalf("the winner has %q, the loser sees %q", won, lost)
			}
		}
	})
	item(t, "C42", func(t *testing.T) {
		h := use(t)
		for i := 0; i < 3; i++ {
			s := fmt.Sprintf("kept %d", i)
			h.config(4, s).conf(t)
			h.r.restart(true)
			want(t, s)
		}
	})
}

// TestParallelSets drives sets and queries at once: nothing is lost and nothing mixes.
func TestParallelSets(t *testing.T) {
	h := plain(t, 1500, "")
	var wg sync.WaitGroup
	for i := 0; i < 50; i++ {
		h.send(h.config(4, fmt.Sprintf("string %02d", i)).frame())
	}
	wg.Wait()
	for n := 0; n < 50; n++ {
		if h.read(5*time.Second) == nil {
			t.Fatalf("reply %d of 50 does not come", n)
		}
	}
	if s := h.config(0, "").conf(t); s != "string 49" {
		t.Fatalf("the string is %q, want that of the last set", s)
	}
}

// announcement waits for an unsolicited config reply.
func (h *host) announcement(t *testing.T, d time.Duration) []byte {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		if f := h.read(time.Until(end)); f != nil && bytes.Equal(f[20:24], make([]byte, 4)) && f[19] == 1 {
			if f[14] != 0x18 || f[15] != 0 || f[29] != 0x10 || len(f) < 60 || f[16] != 0 || f[17] != 1 || f[18] != 1 {
				t.Fatalf("announcement %x", f)
			}
			return f
		}
	}
	return nil
}

func TestAnnouncements(t *testing.T) {
	r := newRig(t, 1, 1500)
	img := r.image("disk", 2048*512)
	cfg := fmt.Sprintf("[defaults]\ninterfaces = [\"t0\"]\n[[export]]\naddress = \"1.1\"\nsource = %q\n", img)
	r.write(cfg)
	h := r.hosts[0]
	item(t, "C23", func(t *testing.T) {
		r.t = t
		r.start("serve", "-c", r.cfg)
		f := h.announcement(t, 10*time.Second)
		if f == nil || !bytes.Equal(f[:6], broadcast[:]) || len(f) != 60 || f[28] != 2 {
			t.Fatalf("announcement %x, want a broadcast of 60 bytes with 2 sectors", f)
		}
		r.waitLog("goaoe: ready")
		if g := h.announcement(t, 300*time.Millisecond); g != nil {
			t.Fatalf("announced twice: %x", g)
		}
	})
	setMTU := func(mtu int) {
		r.in(func() error {
			for _, n := range []string{"h0", "t0"} {
				l, err := netlink.LinkByName(n)
				if err != nil {
					return err
				}
				if err := netlink.LinkSetMTU(l, mtu); err != nil {
					return err
				}
			}
			return nil
		})
		h.mtu = mtu
	}
	for id, c := range map[string]map[int]byte{"C27": {9000: 17}, "C26": {4200: 8}} {
		item(t, id, func(t *testing.T) {
			r.t = t
			for mtu, n := range c {
				setMTU(mtu)
				f := h.announcement(t, 5*time.Second)
				if f == nil || f[28] != n {
					t.Fatalf("MTU %d: announcement %x, want %d sectors", mtu, f, n)
				}
				if d := h.readExt(0, n).data(t, int(n)); !bytes.Equal(d[512:520], stamp(1)) {
					t.Fatal("wrong data")
				}
				h.writeExt(100, sectors(int(n), 7)).good(t)
				if d := h.readExt(100, n).data(t, int(n)); !bytes.Equal(d, sectors(int(n), 7)) {
					t.Fatal("wrong data")
				}
			}
		})
	}
	item(t, "C25", func(t *testing.T) {
		r.t = t
		link := func(f func(netlink.Link) error) {
			r.in(func() error {
				l, err := netlink.LinkByName("t0")
				if err != nil {
					return err
				}
				return f(l)
			})
		}
		for i := 0; i < 2; i++ {
			link(netlink.LinkSetDown)
			time.Sleep(300 * time.Millisecond)
			link(netlink.LinkSetUp)
			if h.announcement(t, 5*time.Second) == nil {
				t.Fatal("no announcement after the link came up")
			}
			h.fence(t)
		}
	})
	item(t, "C95", func(t *testing.T) {
		r.t = t
		for h.announcement(t, 1500*time.Millisecond) != nil { // the repetition after the link came up
		}
		if err := os.Truncate(img, 4096*512); err != nil {
			t.Fatal(err)
		}
		if h.announcement(t, 10*time.Second) == nil {
			t.Fatal("no announcement after the file grew")
		}
		id := h.identify().data(t, 1)
		if n := uint32(id[120]) | uint32(id[121])<<8; n != 4096 {
			t.Fatalf("IDENTIFY says %d sectors", n)
		}
		h.readExt(4095, 1).data(t, 1)
		h.readExt(4096, 1).status(t, 0x41, 0x10)
	})
	item(t, "C96", func(t *testing.T) {
		r.t = t
		r.write(cfg + fmt.Sprintf("[[export]]\naddress = \"1.2\"\nsource = %q\n", r.image("two", 64*512)))
		_ = r.cmd.Process.Signal(unix.SIGHUP)
		for i := 0; h.config(0, "").at(1, 2).ask() == nil; i++ {
			if i > 50 {
				t.Fatalf("the new export does not answer:\n%s", r.log)
			}
		}
		r.write(cfg)
		_ = r.cmd.Process.Signal(unix.SIGHUP)
		for i := 0; h.config(0, "").at(1, 2).ask() != nil; i++ {
			if i > 50 {
				t.Fatalf("the removed export goes on answering:\n%s", r.log)
			}
			h.fence(t)
		}
		h.readExt(0, 1).data(t, 1)
	})
}

// TestAnnouncementToMembers is C24.
func TestAnnouncementToMembers(t *testing.T) {
	h := plain(t, 1500, "")
	item(t, "C24", func(t *testing.T) {
		h.r.t = t
		h.mask(1, directive{1, hostI}, directive{1, hostA}).okAsk(t, 60)
		_ = h.r.cmd.Process.Signal(unix.SIGTERM)
		<-h.r.exit
		h.r.log = &program.Log{}
		h.r.start("serve", "-c", h.r.cfg)
		to := map[mac]bool{}
		for i := 0; i < 2; i++ {
			f := h.announcement(t, 10*time.Second)
			if f == nil {
				t.Fatal("no announcement")
			}
			to[mac(f[:6])] = true
		}
		if !to[hostI] || !to[hostA] {
			t.Fatalf("announced to %v, want the two members", to)
		}
		h.r.waitLog("goaoe: ready")
		if f := h.announcement(t, 300*time.Millisecond); f != nil {
			t.Fatalf("one more announcement: %x", f)
		}
	})
}

// TestDamagedState: a state file that cannot be read is an error, and its target is not served; others are.
func TestDamagedState(t *testing.T) {
	r := newRig(t, 1, 1500)
	cfg := fmt.Sprintf("[defaults]\ninterfaces = [\"t0\"]\n[[export]]\naddress = \"1.1\"\nsource = %q\n[[export]]\naddress = \"1.2\"\nsource = %q\n",
		r.image("one", 64*512), r.image("two", 64*512))
	r.serve(cfg)
	h := r.hosts[0]
	h.mask(1, directive{1, hostI}).okAsk(t, 60)
	_ = r.cmd.Process.Signal(unix.SIGTERM)
	<-r.exit
	files, err := filepath.Glob(filepath.Join(r.dir, "state", "*1.1*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no state file: %v %v", files, err)
	}
	for _, f := range files {
		if fi, err := os.Stat(f); err == nil && fi.Size() > 0 {
			if err := os.Truncate(f, fi.Size()/2); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.log = &program.Log{}
	r.start("serve", "-c", r.cfg)
	r.waitLog("goaoe: ready")
	r.drain()
	h.config(0, "").from(hostJ).silent(t)
	h.config(0, "").from(hostI).silent(t)
	h.config(0, "").at(1, 2).conf(t)
	if !strings.Contains(r.log.String(), "1.1") {
		t.Fatalf("the log does not name the export:\n%s", r.log)
	}
}
