package netns

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/test/need"
)

func word(id []byte, w int) uint16 { return binary.LittleEndian.Uint16(id[2*w:]) }

func sizes(id []byte) (lba28 uint32, lba48 uint64) {
	return binary.LittleEndian.Uint32(id[120:]), binary.LittleEndian.Uint64(id[200:])
}

// text reads an IDENTIFY text: the first character of a word is in its high byte.
func text(id []byte, from, words int) string {
	var b []byte
	for i := from; i < from+words; i++ {
		b = append(b, id[2*i+1], id[2*i])
	}
	return string(b)
}

func TestIdentify(t *testing.T) {
	h := plain(t, 1500, "smart = true\n")
	use := func(t *testing.T) *host { h.r.t = t; return h }
	var first []byte
	item(t, "C45", func(t *testing.T) { first = use(t).identify().data(t, 1) })
	same := func(t *testing.T, q *req) {
		t.Helper()
		if got := q.data(t, 1); !bytes.Equal(got, first) {
			t.Fatal("IDENTIFY differs")
		}
	}
	item(t, "C46", func(t *testing.T) { same(t, use(t).ata(regs{flags: 0x40, count: 1, cmd: 0xec})) })
	item(t, "C47", func(t *testing.T) {
		same(t, use(t).ata(regs{count: 1, cmd: 0xec}).to(broadcast).at(0xffff, 0xff))
	})
	item(t, "C48", func(t *testing.T) {
		for _, n := range []int{1, 512, 1024, 1464} {
			same(t, use(t).ata(regs{count: 1, cmd: 0xec, data: make([]byte, n)}))
		}
	})
	item(t, "C49", func(t *testing.T) {
		same(t, use(t).ata(regs{count: 0, cmd: 0xec}))
		same(t, use(t).ata(regs{count: 2, cmd: 0xec}))
	})
	item(t, "C50", func(t *testing.T) {
		use(t)
		sum := byte(0)
		for _, b := range first {
			sum += b
		}
		a, b := sizes(first)
		if word(first, 49)&(1<<9) == 0 || word(first, 83)&(1<<10) == 0 || word(first, 86)&(1<<10) == 0 || a != 2048 || b != 2048 || sum != 0 {
			t.Fatalf("words 49 %#x 83 %#x 86 %#x, %d and %d sectors, sum %d", word(first, 49), word(first, 83), word(first, 86), a, b, sum)
		}
		if word(first, 85)&0x20 != 0 {
			t.Fatal("a write cache is claimed that the user did not ask for")
		}
	})
	item(t, "C52", func(t *testing.T) {
		h := use(t)
		for name, s := range map[string]string{"serial": text(first, 10, 10), "firmware": text(first, 23, 4), "model": text(first, 27, 20)} {
			for _, c := range []byte(s) {
				if c < 0x20 || c > 0x7e {
					t.Fatalf("%s %q is not printable", name, s)
				}
			}
			if len(bytes.TrimSpace([]byte(s))) == 0 {
				t.Fatalf("%s is blank", name)
			}
		}
		h.r.restart(false)
		same(t, h.identify())
	})
	item(t, "C82", func(t *testing.T) {
		h := use(t)
		smart := func(feature, count byte) []byte {
			q := h.ata(regs{feature: feature, count: count, cmd: 0xb0, lba: 0xc24f00, data: make([]byte, 1024)})
			f := q.ask()
			q.ok(t, f, 548)
			if f[27] != 0x40 || f[25] != 0 {
				t.Fatalf("SMART %#x: status %#x error %#x", feature, f[27], f[25])
			}
			return f
		}
		smart(0xd8, 0)
		sum := byte(0)
		for _, b := range smart(0xd0, 1)[36:548] {
			sum += b
		}
		if sum != 0 {
			t.Fatalf("the checksum of the SMART data is off by %d", sum)
		}
		if f := smart(0xda, 0); f[29] != 0x4f || f[30] != 0xc2 {
			t.Fatalf("RETURN STATUS gives %x %x, want 4f c2", f[29], f[30])
		}
		if word(first, 82)&1 == 0 {
			t.Fatal("word 82 does not offer SMART")
		}
	})
}

func TestSizes(t *testing.T) {
	r := newRig(t, 1, 1500)
	big := filepath.Join(r.dir, "big")
	f, err := os.Create(big)
	if err != nil {
		t.Fatal(err)
	}
	const huge = 1<<28 + 5
	if err := f.Truncate(huge * 512); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("sector five"), 5*512); err != nil {
		t.Fatal(err)
	}
	f.Close()
	odd := r.image("odd", 1<<20+100)
	r.serve(fmt.Sprintf("[defaults]\ninterfaces = [\"t0\"]\n[[export]]\naddress = \"1.1\"\nsource = %q\n[[export]]\naddress = \"1.2\"\nsource = %q\n", big, odd))
	h := r.hosts[0]
	item(t, "C51", func(t *testing.T) {
		r.t = t
		if a, b := sizes(h.identify().data(t, 1)); a != 0x0fffffff || b != huge {
			t.Fatalf("%#x and %d sectors", a, b)
		}
	})
	item(t, "C53", func(t *testing.T) {
		r.t = t
		q := h.identify().at(1, 2)
		if a, b := sizes(q.data(t, 1)); a != 2048 || b != 2048 {
			t.Fatalf("%d and %d sectors, want 2048", a, b)
		}
		h.readExt(2048, 1).at(1, 2).status(t, 0x41, 0x10)
	})
	item(t, "C61", func(t *testing.T) {
		r.t = t
		h.ata(regs{flags: 0x40, count: 1, cmd: 0x20, lba: 1<<28 + 5}).status(t, 0x41, 0x10)
		if d := h.ata(regs{flags: 0x40, count: 1, cmd: 0x20, lba: 5}).data(t, 1); !bytes.HasPrefix(d, []byte("sector five")) {
			t.Fatal("sector 5 by READ SECTORS with E")
		}
	})
	item(t, "C72", func(t *testing.T) {
		r.t = t
		zero(t, h.readExt(1<<27, 2).data(t, 2), "in a hole")
	})
}

func TestReadWrite(t *testing.T) {
	h := plain(t, 1500, "")
	use := func(t *testing.T) *host { h.r.t = t; return h }
	is := func(t *testing.T, d []byte, n uint64) {
		t.Helper()
		if !bytes.Equal(d[:8], stamp(n)) {
			t.Fatalf("data %x, want sector %d", d[:8], n)
		}
	}
	item(t, "C55", func(t *testing.T) { is(t, use(t).readExt(0, 1).data(t, 1), 0) })
	item(t, "C56", func(t *testing.T) {
		d := use(t).readExt(2046, 2).data(t, 2)
		is(t, d, 2046)
		is(t, d[512:], 2047)
	})
	item(t, "C57", func(t *testing.T) {
		f := use(t).readExt(2047, 2).status(t, 0x41, 0x10)
		if f[26] != 2 || f[28] != 0xff || f[29] != 0x07 {
			t.Fatalf("count %d, LBA %x, want them as sent", f[26], f[28:34])
		}
		h.readExt(1<<47, 1).status(t, 0x41, 0x10)
		h.readExt(1<<48-1, 2).status(t, 0x41, 0x10)
	})
	item(t, "C58", func(t *testing.T) { is(t, use(t).ata(regs{count: 1, cmd: 0x20, lba: 5, lba3: 0xe0}).data(t, 1), 5) })
	item(t, "C59", func(t *testing.T) { is(t, use(t).ata(regs{count: 1, cmd: 0x20, lba: 5 | 0xffff<<32}).data(t, 1), 5) })
	item(t, "C60", func(t *testing.T) { is(t, use(t).ata(regs{count: 1, cmd: 0x24, lba: 5}).data(t, 1), 5) })
	item(t, "C62", func(t *testing.T) {
		d := use(t).ata(regs{flags: 0x40, count: 2, cmd: 0x24, data: make([]byte, 1024)}).data(t, 2)
		is(t, d, 0)
		is(t, h.readExt(1, 1).data(t, 1), 1)
	})
	write := func(t *testing.T, g regs, lba uint64, n int, v byte) {
		t.Helper()
		use(t).ata(g).good(t)
		if d := h.readExt(lba, byte(n)).data(t, n); !bytes.Equal(d, sectors(n, v)) {
			t.Fatalf("sector %d does not hold what was written", lba)
		}
	}
	item(t, "C63", func(t *testing.T) {
		write(t, regs{flags: 0x41, count: 1, cmd: 0x34, lba: 9, data: sectors(1, 1)}, 9, 1, 1)
		is(t, h.readExt(8, 1).data(t, 1), 8)
		is(t, h.readExt(10, 1).data(t, 1), 10)
	})
	item(t, "C64", func(t *testing.T) {
		write(t, regs{flags: 0x40, count: 1, cmd: 0x34, lba: 11, data: sectors(1, 2)}, 11, 1, 2)
	})
	item(t, "C65", func(t *testing.T) {
		is(t, use(t).ata(regs{flags: 0x41, count: 1, cmd: 0x24, lba: 12, data: sectors(1, 9)}).data(t, 1), 12)
		is(t, h.readExt(12, 1).data(t, 1), 12)
	})
	item(t, "C66", func(t *testing.T) {
		write(t, regs{flags: 0x43, count: 1, cmd: 0x34, lba: 13, data: sectors(1, 3)}, 13, 1, 3)
	})
	item(t, "C67", func(t *testing.T) {
		write(t, regs{flags: 0x01, count: 1, cmd: 0x30, lba: 14, lba3: 0xe0, data: sectors(1, 4)}, 14, 1, 4)
	})
	item(t, "C68", func(t *testing.T) {
		write(t, regs{flags: 0x41, count: 2, cmd: 0x34, lba: 15, data: append(sectors(2, 5), bytes.Repeat([]byte{9}, 100)...)}, 15, 2, 5)
		is(t, h.readExt(17, 1).data(t, 1), 17)
	})
	t.Run("bad counts", func(t *testing.T) {
		h := use(t)
		h.readExt(0, 0).abort(t)
		h.readExt(0, 3).abort(t)
		h.readExt(0, 255).abort(t)
		h.writeExt(20, nil).abort(t)
		q := h.writeExt(20, sectors(2, 9))
		q.body = q.body[:12+1023]
		q.abort(t)
		q = h.writeExt(20, sectors(1, 9))
		q.body[2] = 200
		q.abort(t)
		is(t, h.readExt(20, 1).data(t, 1), 20)
	})
	item(t, "C73", func(t *testing.T) {
		for _, c := range []struct{ flags, cmd byte }{{0x40, 0x25}, {0x40, 0x29}, {0, 0xc4}, {0, 0xc8}, {0, 0x21}, {0, 0xc9}} {
			is(t, use(t).ata(regs{flags: c.flags, count: 1, cmd: c.cmd, lba: 40}).data(t, 1), 40)
		}
	})
	item(t, "C74", func(t *testing.T) {
		for i, c := range []struct{ flags, cmd byte }{{0x41, 0x35}, {0x41, 0x39}, {1, 0xc5}, {1, 0xca}, {1, 0x31}, {1, 0xcb}, {0x41, 0x3d}, {0x41, 0xce}} {
			lba := uint64(50 + i)
			write(t, regs{flags: c.flags, count: 1, cmd: c.cmd, lba: lba, data: sectors(1, byte(0x10+i))}, lba, 1, byte(0x10+i))
		}
	})
	item(t, "C75", func(t *testing.T) {
		h := use(t)
		h.ata(regs{count: 1, cmd: 0x40, lba: 2047}).good(t)
		h.ata(regs{flags: 0x40, count: 1, cmd: 0x42, lba: 2047}).good(t)
		h.ata(regs{count: 1, cmd: 0x40, lba: 2048}).status(t, 0x41, 0x10)
		h.ata(regs{flags: 0x40, count: 2, cmd: 0x42, lba: 2047}).status(t, 0x41, 0x10)
	})
	item(t, "C76", func(t *testing.T) { use(t).ata(regs{cmd: 0xe7}).good(t) })
	item(t, "C77", func(t *testing.T) { use(t).ata(regs{flags: 0x40, cmd: 0xe7}).good(t) })
	item(t, "C78", func(t *testing.T) { use(t).ata(regs{flags: 0x40, cmd: 0xea}).good(t) })
	item(t, "C79", func(t *testing.T) {
		for _, n := range []byte{0, 1} {
			if f := use(t).ata(regs{count: n, cmd: 0xe5}).status(t, 0x40, 0); f[26] != 0xff {
				t.Fatalf("count %#x, want 0xff", f[26])
			}
		}
	})
	item(t, "C80", func(t *testing.T) {
		for _, feature := range []byte{0x82, 0x55, 0xaa, 0x03} {
			use(t).ata(regs{feature: feature, cmd: 0xef, lba3: 0xa0}).good(t)
		}
	})
	item(t, "C81", func(t *testing.T) {
		for _, feature := range []byte{0x02, 0x99} {
			use(t).ata(regs{feature: feature, cmd: 0xef}).abort(t)
		}
	})
	item(t, "C83", func(t *testing.T) {
		h := use(t)
		h.ata(regs{feature: 0xd0, count: 1, cmd: 0xb0, lba: 0xc24f00}).abort(t)
		h.ata(regs{feature: 0xd0, count: 1, cmd: 0xb0}).abort(t)
		if word(h.identify().data(t, 1), 82)&1 != 0 {
			t.Fatal("word 82 offers SMART, which is off")
		}
	})
	item(t, "C84", func(t *testing.T) {
		h := use(t)
		if f := h.ata(regs{cmd: 0xf8, lba3: 0xe0}).status(t, 0x40, 0); !bytes.Equal(f[28:34], []byte{0xff, 7, 0, 0xe0, 0, 0}) {
			t.Fatalf("LBA %x", f[28:34])
		}
		if f := h.ata(regs{flags: 0x40, cmd: 0x27}).status(t, 0x40, 0); !bytes.Equal(f[28:34], []byte{0xff, 7, 0, 0, 0, 0}) {
			t.Fatalf("LBA %x", f[28:34])
		}
	})
	item(t, "C85", func(t *testing.T) {
		for _, c := range []byte{0x00, 0x08, 0xa0, 0xa1, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf9, 0x37, 0x92, 0x60, 0x61, 0xff} {
			use(t).ata(regs{flags: 0x40, count: 1, cmd: c, data: sectors(1, 9)}).abort(t)
		}
		use(t).ata(regs{count: 3, cmd: 0xc6}).abort(t)
		h.ata(regs{count: 4, cmd: 0xc6}).good(t)
	})
	item(t, "C86", func(t *testing.T) {
		h := use(t)
		h.readExt(0, 1).at(1, 0xff).silent(t)
		h.writeExt(60, sectors(1, 9)).to(broadcast).at(0xffff, 0xff).silent(t)
		is(t, h.readExt(60, 1).data(t, 1), 60)
	})
	item(t, "C89", func(t *testing.T) {
		h := use(t)
		h.readExt(0, 1).data(t, 1)
		h.readExt(0, 2).data(t, 2)
		h.readExt(0, 3).abort(t)
	})
	item(t, "C92", func(t *testing.T) {
		h := use(t)
		want := map[uint32]uint64{}
		for i := 0; i < 16; i++ {
			q := h.readExt(uint64(100+i), 1)
			want[q.tag] = uint64(100 + i)
			h.send(q.frame())
		}
		for len(want) > 0 {
			f := h.read(2 * time.Second)
			if f == nil {
				t.Fatalf("%d of 16 replies are missing", len(want))
			}
			tag := binary.BigEndian.Uint32(f[20:])
			is(t, f[36:], want[tag])
			delete(want, tag)
		}
	})
	item(t, "C94", func(t *testing.T) {
		h := use(t)
		for _, q := range []*req{h.readExt(3, 1), h.writeExt(70, sectors(1, 6))} {
			h.send(q.frame())
			replies := h.askAll(q.frame())
			if n := len(replies); n < 1 || n > 2 {
				t.Fatalf("%d replies to a request sent twice", n)
			}
			for _, f := range replies {
				if f[14] != 0x18 || f[27] != 0x40 {
					t.Fatalf("flags %#x status %#x", f[14], f[27])
				}
			}
		}
	})
}

func TestJumbo(t *testing.T) {
	h := plain(t, 9000, "")
	item(t, "C87", func(t *testing.T) {
		h.r.t = t
		if f := h.config(0, "").ask(); f[28] != 17 {
			t.Fatalf("%d sectors advertised, want 17", f[28])
		}
		d := h.readExt(0, 17).data(t, 17)
		if !bytes.Equal(d[16*512:16*512+8], stamp(16)) {
			t.Fatal("wrong data")
		}
		h.writeExt(200, sectors(17, 8)).good(t)
		h.readExt(0, 18).abort(t)
	})
	// (MTU - 36)/512 and (MTU - 22)/512 differ: 1558 advertises 2 and can carry 3.
	g := plain(t, 1558, "")
	item(t, "C88", func(t *testing.T) {
		g.r.t = t
		if f := g.config(0, "").ask(); f[28] != 2 {
			t.Fatalf("%d sectors advertised, want 2", f[28])
		}
		g.readExt(0, 3).data(t, 3)
		g.writeExt(100, sectors(3, 1)).good(t)
		g.readExt(0, 4).abort(t)
	})
}

func TestReadOnly(t *testing.T) {
	h := plain(t, 1500, "read-only = true\n")
	item(t, "C69", func(t *testing.T) {
		h.r.t = t
		for _, c := range []struct{ flags, cmd, feature byte }{{1, 0x30, 0}, {0x41, 0x34, 0}, {0x41, 0x35, 0}, {1, 0xca, 0}, {0x41, 0x39, 0}, {1, 0xc5, 0}, {0x41, 0x06, 1}, {0x41, 0x3d, 0}} {
			h.ata(regs{flags: c.flags, feature: c.feature, count: 1, cmd: c.cmd, lba: 5, data: sectors(1, 9)}).abort(t)
		}
		if d := h.readExt(5, 1).data(t, 1); !bytes.Equal(d[:8], stamp(5)) {
			t.Fatal("the disk has changed")
		}
		h.identify().data(t, 1)
	})
}

// TestWriteCache: IDENTIFY tells the truth about the write cache, and SET FEATURES changes it.
func TestWriteCache(t *testing.T) {
	h := plain(t, 1500, "write-cache = true\n")
	on := func() bool { id := h.identify().data(t, 1); return word(id, 82)&0x20 != 0 && word(id, 85)&0x20 != 0 }
	if !on() {
		t.Fatal("write-cache = true is not told")
	}
	h.writeExt(1, sectors(1, 1)).good(t)
	h.ata(regs{feature: 0x82, cmd: 0xef}).good(t)
	if on() {
		t.Fatal("the write cache is still on after it was switched off")
	}
	h.ata(regs{feature: 0x02, cmd: 0xef}).good(t)
	if !on() {
		t.Fatal("the write cache cannot be switched on again")
	}
	h.ata(regs{cmd: 0xe7}).good(t)
}

// TestPartition is C54: an exported partition has its own size, and its own first sector.
func TestPartition(t *testing.T) {
	r := newRig(t, 1, 1500)
	need.Programs(t, "losetup", "addpart", "delpart")
	out, err := exec.Command("losetup", "-f", "--show", r.image("whole", 8192*512)).CombinedOutput()
	if err != nil {
		t.Fatalf("losetup: %v\n%s", err, out)
	}
	loop := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		_ = exec.Command("delpart", loop, "1").Run()
		_ = exec.Command("losetup", "-d", loop).Run()
	})
	if out, err := exec.Command("addpart", loop, "1", "1024", "3001").CombinedOutput(); err != nil {
		t.Fatalf("addpart: %v\n%s", err, out)
	}
	part := partitionNode(t, loop)
	r.serve(fmt.Sprintf("[[export]]\naddress = \"1.1\"\ninterfaces = [\"t0\"]\nsource = %q\n", part))
	h := r.hosts[0]
	item(t, "C54", func(t *testing.T) {
		r.t = t
		if a, b := sizes(h.identify().data(t, 1)); a != 3001 || b != 3001 {
			t.Fatalf("%d and %d sectors, want the partition's 3001", a, b)
		}
		if d := h.readExt(0, 1).data(t, 1); !bytes.Equal(d[:8], stamp(1024)) {
			t.Fatalf("the first sector is %x, want the partition's", d[:8])
		}
		h.readExt(3000, 1).data(t, 1)
		h.readExt(3001, 1).status(t, 0x41, 0x10)
	})
	r.stop() // before the loop device goes
}

// partitionNode returns the device node of a loop device's first partition. Where nobody makes nodes (no udev, /dev of a
// container), the test makes one of its own from what the kernel says.
func partitionNode(t *testing.T, loop string) string {
	t.Helper()
	node := loop + "p1"
	for i := 0; i < 50; i++ {
		if _, err := os.Stat(node); err == nil {
			return node
		}
		time.Sleep(20 * time.Millisecond)
	}
	name := filepath.Base(loop)
	b, err := os.ReadFile(filepath.Join("/sys/block", name, name+"p1", "dev"))
	if err != nil {
		t.Fatalf("the kernel shows no partition on %s: %v", loop, err)
	}
	var major, minor uint32
	if _, err := fmt.Sscanf(string(b), "%d:%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	node = filepath.Join(t.TempDir(), "part")
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(major, minor))); err != nil {
		t.Fatal(err)
	}
	return node
}
