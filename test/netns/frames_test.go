package netns

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"
)

// req builds a request from I to the target's interface at address 1.1.
type req struct {
	h        *host
	src, dst mac
	major    uint16
	minor    byte
	cmd      byte
	tag      uint32
	ver      byte
	body     []byte
}

// request starts a request with the defaults of the list's set-up.
func (h *host) request(cmd byte, body []byte) *req {
	h.r.tag++
	return &req{h: h, src: hostI, dst: h.t, major: 1, minor: 1, cmd: cmd, tag: 0x01020304 + h.r.tag, ver: 0x10, body: body}
}

func (q *req) from(m mac) *req                  { q.src = m; return q }
func (q *req) to(m mac) *req                    { q.dst = m; return q }
func (q *req) at(major uint16, minor byte) *req { q.major, q.minor = major, minor; return q }
func (q *req) version(v byte) *req              { q.ver = v; return q }
func (q *req) tagged(t uint32) *req             { q.tag = t; return q }
func (q *req) with(more ...byte) *req {
	q.body = append(q.body[:len(q.body):len(q.body)], more...)
	return q
}

// frame is the request as bytes.
func (q *req) frame() []byte {
	f := make([]byte, 24, 24+len(q.body))
	copy(f, q.dst[:])
	copy(f[6:], q.src[:])
	f[12], f[13], f[14] = 0x88, 0xa2, q.ver
	binary.BigEndian.PutUint16(f[16:], q.major)
	f[18], f[19] = q.minor, q.cmd
	binary.BigEndian.PutUint32(f[20:], q.tag)
	return append(f, q.body...)
}

func (q *req) ask() []byte { q.h.r.t.Helper(); return q.h.ask(q.frame()) }

// answer is ask for a request that has to be answered: a busy machine may take longer than silence is waited for.
func (q *req) answer() []byte {
	q.h.r.t.Helper()
	if f := q.ask(); f != nil {
		return f
	}
	for end := time.Now().Add(10 * time.Second); ; {
		f := q.h.read(time.Until(end))
		if f == nil || len(f) >= 24 && binary.BigEndian.Uint32(f[20:]) == q.tag {
			return f
		}
	}
}

// config builds a query config request.
func (h *host) config(ccmd byte, s string) *req {
	b := make([]byte, 8)
	b[5] = 0x10 | ccmd
	binary.BigEndian.PutUint16(b[6:], uint16(len(s)))
	return h.request(1, append(b, s...))
}

// regs are the registers of an ATA request.
type regs struct {
	flags, feature, count, cmd byte
	lba                        uint64
	lba3                       byte // or-ed into bits 31:24
	data                       []byte
}

// ata builds an ATA request.
func (h *host) ata(g regs) *req {
	b := make([]byte, 12)
	b[0], b[1], b[2], b[3] = g.flags, g.feature, g.count, g.cmd
	for i := 0; i < 6; i++ {
		b[4+i] = byte(g.lba >> (8 * i))
	}
	b[7] |= g.lba3
	return h.request(0, append(b, g.data...))
}

func (h *host) readExt(lba uint64, n byte) *req {
	return h.ata(regs{flags: 0x40, count: n, cmd: 0x24, lba: lba})
}
func (h *host) writeExt(lba uint64, data []byte) *req {
	return h.ata(regs{flags: 0x41, count: byte(len(data) / 512), cmd: 0x34, lba: lba, data: data})
}
func (h *host) identify() *req { return h.ata(regs{count: 1, cmd: 0xec, lba3: 0xa0}) }

// mask builds a MAC mask request; directives are pairs of DCmd and MAC.
type directive struct {
	cmd byte
	m   mac
}

func (h *host) mask(mcmd byte, ds ...directive) *req {
	b := []byte{0, mcmd, 0, byte(len(ds))}
	for _, d := range ds {
		b = append(b, 0, d.cmd)
		b = append(b, d.m[:]...)
	}
	return h.request(2, b)
}

func (h *host) reserve(rcmd byte, ms ...mac) *req {
	b := []byte{rcmd, byte(len(ms))}
	for _, m := range ms {
		b = append(b, m[:]...)
	}
	return h.request(3, b)
}

// ok checks what every positive reply must have: C22 among it.
func (q *req) ok(t *testing.T, f []byte, n int) []byte {
	t.Helper()
	if f == nil {
		t.Fatal("silence, want a reply")
	}
	q.header(t, f)
	if f[14] != 0x18 || f[15] != 0 {
		t.Fatalf("flags %#x error %d, want a reply without error", f[14], f[15])
	}
	if len(f) != n {
		t.Fatalf("%d bytes, want %d", len(f), n)
	}
	return f
}

// okAsk asks and checks.
func (q *req) okAsk(t *testing.T, n int) []byte { t.Helper(); return q.ok(t, q.answer(), n) }

func (q *req) header(t *testing.T, f []byte) {
	t.Helper()
	if len(f) < 60 || len(f) > 14+q.h.mtu {
		t.Fatalf("a reply of %d bytes: must be 60 to %d", len(f), 14+q.h.mtu)
	}
	major, minor := q.major, q.minor
	if major == 0xffff {
		major = binary.BigEndian.Uint16(f[16:])
	}
	if minor == 0xff {
		minor = f[18]
	}
	want := (&req{src: q.h.t, dst: q.src, major: major, minor: minor, cmd: q.cmd, tag: q.tag, ver: f[14]}).frame()
	want[15] = f[15]
	if !bytes.Equal(f[:24], want) {
		t.Fatalf("header\n%x, want\n%x", f[:24], want)
	}
	if major == 0xffff || minor == 0xff {
		t.Fatal("the reply carries a wildcard")
	}
}

// fails checks for an AoE error without a body.
func (q *req) fails(t *testing.T, code byte) []byte {
	t.Helper()
	f := q.answer()
	if f == nil {
		t.Fatalf("silence, want error %d", code)
	}
	q.header(t, f)
	if f[14] != 0x1c || f[15] != code {
		t.Fatalf("flags %#x error %d, want 0x1c and %d", f[14], f[15], code)
	}
	return f
}

func (q *req) silent(t *testing.T) {
	t.Helper()
	if f := q.ask(); f != nil {
		t.Fatalf("a reply: %x, want silence", f[:min(len(f), 60)])
	}
}

// status checks an ATA reply without data and returns it.
func (q *req) status(t *testing.T, status, errReg byte) []byte {
	t.Helper()
	f := q.okAsk(t, 60)
	if f[27] != status || f[25] != errReg {
		t.Fatalf("status %#x error %#x, want %#x and %#x", f[27], f[25], status, errReg)
	}
	zero(t, f[36:], "behind the registers")
	return f
}

func (q *req) abort(t *testing.T) {
	t.Helper()
	f := q.status(t, 0x41, 0x04)
	if f[26] != q.body[2] || !bytes.Equal(f[28:34], q.body[4:10]) {
		t.Fatal("count and LBA of a refused request must come back unchanged")
	}
}

func (q *req) good(t *testing.T) []byte {
	t.Helper()
	f := q.status(t, 0x40, 0)
	return f
}

// data checks a read's reply and returns its data.
func (q *req) data(t *testing.T, sectors int) []byte {
	t.Helper()
	f := q.okAsk(t, 36+512*sectors)
	if f[27] != 0x40 || f[25] != 0 || f[26] != 0 {
		t.Fatalf("status %#x error %#x count %d, want 0x40, 0, 0", f[27], f[25], f[26])
	}
	return f[36:]
}

func zero(t *testing.T, b []byte, where string) {
	t.Helper()
	if len(bytes.Trim(b, "\x00")) != 0 {
		t.Fatalf("bytes that are not zero %s: %x", where, b)
	}
}

// conf checks a config reply and returns its string.
func (q *req) conf(t *testing.T) string {
	t.Helper()
	f := q.answer()
	if f == nil {
		t.Fatal("silence, want a config reply")
	}
	return q.confBody(t, f, 0x18)
}

func (q *req) confBody(t *testing.T, f []byte, flags byte) string {
	t.Helper()
	q.header(t, f)
	if f[14] != flags {
		t.Fatalf("flags %#x error %d, want %#x", f[14], f[15], flags)
	}
	n := int(binary.BigEndian.Uint16(f[30:]))
	if want := max(60, 32+n); len(f) != want {
		t.Fatalf("%d bytes for a string of %d, want %d", len(f), n, want)
	}
	if f[29] != 0x10|q.body[5]&15 {
		t.Fatalf("byte 29 is %#x, want version 1 and command %d", f[29], q.body[5]&15)
	}
	zero(t, f[32+n:], "behind the string")
	return string(f[32 : 32+n])
}

// macs checks a mask (stride 8, from 28) or reserve (stride 6, from 26) reply and returns its list.
func (q *req) macs(t *testing.T, f []byte) []mac {
	t.Helper()
	if f == nil {
		t.Fatal("silence, want a list")
	}
	q.header(t, f)
	at, n, stride, skip := 28, int(f[27]), 8, 2
	if q.cmd == 3 {
		at, n, stride, skip = 26, int(f[25]), 6, 0
	}
	var out []mac
	for i := 0; i < n; i++ {
		out = append(out, mac(f[at+i*stride+skip:]))
	}
	if want := max(60, at+n*stride); len(f) != want {
		t.Fatalf("%d bytes for %d entries, want %d", len(f), n, want)
	}
	zero(t, f[at+n*stride:], "behind the list")
	return out
}

func sectors(n int, v byte) []byte { return bytes.Repeat([]byte{v}, n*512) }

// stamp is what an untouched sector of an image starts with.
func stamp(n uint64) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n|1<<60)
	return b[:]
}
