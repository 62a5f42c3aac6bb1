package hostile

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/test/program"
)

var (
	e01 = aoe.Addr{Major: 0, Minor: 1}
	e02 = aoe.Addr{Major: 0, Minor: 2}
)

// frames is how many frames the soak sends.
func frames(t *testing.T) int {
	t.Helper()
	const short = 300_000
	text := os.Getenv("GOAOE_SOAK_FRAMES")
	if text == "" {
		return short
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("GOAOE_SOAK_FRAMES=%q is not a number of frames", text)
	}
	return n
}

// maker makes frames: valid ones of all commands, mutations of them, and noise. It is a function of its seed.
type maker struct {
	rnd     *rand.Rand
	target  [6]byte
	good    [6]byte
	buf     [9100]byte
	sources [64][6]byte
}

func newMaker(r *rig, seed uint64) *maker {
	m := &maker{rnd: rand.New(rand.NewPCG(seed, 0)), target: r.target, good: r.good}
	for i := range m.sources {
		m.sources[i] = [6]byte{2, 0xbd, 0, 0, byte(i >> 8), byte(i)}
	}
	return m
}

// valid puts a well-formed request into the buffer and returns its length.
func (m *maker) valid() int {
	b := m.buf[:]
	copy(b[0:6], m.target[:])
	copy(b[6:12], m.sources[m.rnd.IntN(len(m.sources))][:])
	binary.BigEndian.PutUint16(b[12:], aoe.EtherType)
	b[14], b[15] = 0x10, 0
	addr := []aoe.Addr{e01, e02, e02, e02, {Major: 0xffff, Minor: 0xff}, {Major: 7, Minor: 7}}[m.rnd.IntN(6)]
	binary.BigEndian.PutUint16(b[16:], addr.Major)
	b[18] = addr.Minor
	cmd := m.rnd.IntN(5)
	b[19] = byte(cmd)
	binary.BigEndian.PutUint32(b[20:], m.rnd.Uint32())
	clear(b[24:64])
	switch cmd {
	case 0: // ATA
		ops := []byte{0x20, 0x24, 0x30, 0x34, 0xec, 0xe7, 0xea, 0xa1, 0xb0, 0xe5, 0xef, 0x06, 0x42, 0x40}
		op := ops[m.rnd.IntN(len(ops))]
		sectors := 1 + m.rnd.IntN(17)
		b[24] = byte(m.rnd.IntN(2)) << 6 & 0x40
		if op == 0x30 || op == 0x34 {
			b[24] |= 1
		}
		b[26], b[27] = byte(sectors), op
		lba := m.rnd.Uint64N(1 << 17) // all of the disk
		if m.rnd.IntN(16) == 0 {
			lba = m.rnd.Uint64()
		}
		for i := range 6 {
			b[28+i] = byte(lba >> (8 * i))
		}
		if b[24]&1 != 0 {
			return 36 + sectors*512
		}
		return 36 + m.rnd.IntN(2)*24
	case 1: // config string
		n := m.rnd.IntN(64)
		binary.BigEndian.PutUint16(b[24:], uint16(m.rnd.Uint32()))
		b[29] = byte(m.rnd.IntN(8)) | 0x10
		binary.BigEndian.PutUint16(b[30:], uint16(n))
		return 32 + n
	case 2: // MAC mask
		n := m.rnd.IntN(8)
		b[25], b[26], b[27] = byte(m.rnd.IntN(4)), 0, byte(n)
		for i := range n {
			copy(b[28+8*i:], []byte{0, byte(m.rnd.IntN(4)), 2, 0xbd, 0, 0, 0, byte(i)})
		}
		return 28 + 8*n
	case 3: // reserve
		n := m.rnd.IntN(5)
		b[24], b[25] = byte(m.rnd.IntN(4)), byte(n)
		for i := range n {
			copy(b[26+6*i:], m.sources[i][:])
		}
		return 26 + 6*n
	}
	return 24 + m.rnd.IntN(64)
}

// next returns a frame, which counts until the next call. Its sender is never the good initiator's address.
func (m *maker) next() []byte {
	n := m.valid()
	switch m.rnd.IntN(4) {
	case 0: // as it is
	case 1: // bits
		for range 1 + m.rnd.IntN(8) {
			m.buf[m.rnd.IntN(n)] ^= 1 << m.rnd.IntN(8)
		}
	case 2: // bytes, and a length of its own
		for range 1 + m.rnd.IntN(16) {
			m.buf[14+m.rnd.IntN(50)] = byte(m.rnd.Uint32())
		}
		n = 14 + m.rnd.IntN(9000-14)
	case 3: // noise behind the addresses
		n = 14 + m.rnd.IntN(300)
		for i := 14; i < n; i++ {
			m.buf[i] = byte(m.rnd.Uint32())
		}
		if m.rnd.IntN(8) == 0 {
			copy(m.buf[0:6], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		}
	}
	if m.rnd.IntN(64) > 0 { // most of them get through to the daemon
		binary.BigEndian.PutUint16(m.buf[12:], aoe.EtherType)
	}
	if bytes.Equal(m.buf[6:12], m.good[:]) {
		m.buf[11] ^= 1
	}
	return m.buf[:n]
}

// stamp fills a block of the good initiator.
func stamp(b []byte, block, generation uint64) {
	for i := 0; i+16 <= len(b); i += 16 {
		binary.LittleEndian.PutUint64(b[i:], block<<16|uint64(i))
		binary.LittleEndian.PutUint64(b[i+8:], generation)
	}
}

// TestSoak: random and mutated frames neither end the daemon, nor make it grow, keep descriptors or work on when they are over, and change
// nothing of an export that their senders may not use. A well-behaved initiator is served all the time, and reads what it wrote.
func TestSoak(t *testing.T) {
	r := newRig(t)
	total := frames(t)
	const seed = 20261126
	m, out := newMaker(r, seed), r.sender("vb")
	d := r.open(e01)
	const block, blocks = 8192, 1024
	written := make([]uint64, blocks)
	want, got := make([]byte, block), make([]byte, block)
	check := func(i uint64) {
		t.Helper()
		if n, err := d.ReadAt(got, int64(i*block)); err != nil || n != block {
			t.Fatalf("seed %d: reading block %d: %d, %v", seed, i, n, err)
		}
		clear(want)
		if written[i] > 0 {
			stamp(want, i, written[i])
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("seed %d: block %d is not what was written", seed, i)
		}
	}
	burst := func(n int) {
		for range n {
			if err := out.send(m.next()); err != nil {
				t.Fatal(err)
			}
		}
	}
	burst(min(total/10, 50_000)) // tables, pools and caches have their size after that
	warm := r.facts()
	began := time.Now()
	for gen := uint64(1); out.sent < total; gen++ {
		burst(500)
		i := m.rnd.Uint64N(blocks)
		stamp(want, i, gen)
		if n, err := d.WriteAt(want, int64(i*block)); err != nil || n != block {
			t.Fatalf("seed %d: writing block %d after %d frames: %d, %v", seed, i, out.sent, n, err)
		}
		written[i] = gen
		check(m.rnd.Uint64N(blocks))
		r.alive()
	}
	took := time.Since(began)
	for i := range uint64(blocks) {
		check(i)
	}
	after := r.facts()
	taken, lost := r.counts()
	t.Logf("seed %d: %d frames in %v, %d taken by the daemon, %d lost in the queue before it; at the beginning %v; at the end %v", seed, out.sent, took.Round(time.Second), taken, lost, warm, after)
	program.Evidence(t, "hostile.json", map[string]any{"seed": seed, "frames": out.sent, "seconds": int(took.Seconds()), "taken": taken, "lost": lost, "before": warm.json(), "after": after.json()})
	if taken < uint64(total/4) { // the kernel's filter drops what is for addresses that are not served: more than half
		t.Errorf("only %d of %d frames got to the daemon", taken, total)
	}
	if after.rss > warm.rss+64<<20 {
		t.Errorf("it grew from %v to %v", warm, after)
	}
	if after.fds > warm.fds+4 || after.threads > warm.threads+16 {
		t.Errorf("it had %v, and has %v", warm, after)
	}
	r.until("it rests when nothing comes any more", func() bool {
		before := r.facts().cpu
		time.Sleep(500 * time.Millisecond)
		return r.facts().cpu-before < 100*time.Millisecond
	})
	if n := len(r.log.String()); n > 1<<20 {
		t.Errorf("it wrote a log of %d bytes", n)
	}
	// What it keeps on disk does not grow with what it is sent either: a file and a lock for each export.
	files, err := filepath.Glob(r.dir + "/state/*")
	if err != nil || len(files) > 6 {
		t.Errorf("files of the state directory: %v, %v", files, err)
	}
	r.end()
	disk, err := os.ReadFile(r.dir + "/disk1")
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(len(disk) / block) {
		clear(want)
		if i < blocks && written[i] > 0 {
			stamp(want, i, written[i])
		}
		if !bytes.Equal(disk[i*block:(i+1)*block], want) {
			t.Fatalf("seed %d: block %d of the file is not what its owner wrote", seed, i)
		}
	}
}
