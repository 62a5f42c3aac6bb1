package target

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/stats"
)

// The set-up of the conformance list: target 1.1 with 2048 sectors on an interface with MAC T and MTU 1500, initiator I.
var (
	macT = aoe.MAC{2, 0, 0, 0, 0, 0xaa}
	macI = aoe.MAC{2, 0, 0, 0, 0, 1}
	macJ = aoe.MAC{2, 0, 0, 0, 0, 2}
	macA = aoe.MAC{2, 0, 0, 0, 0, 0x0a}
	macB = aoe.MAC{2, 0, 0, 0, 0, 0x0b}
	macC = aoe.MAC{2, 0, 0, 0, 0, 0x0c}
	macD = aoe.MAC{2, 0, 0, 0, 0, 0x0d}
	own  = aoe.Addr{Major: 1, Minor: 1}
	wild = aoe.Addr{Major: aoe.WildMajor, Minor: aoe.WildMinor}
)

const tag = 0x01020304

func port(mtu int) *Ingress {
	return &Ingress{MAC: macT, MTU: mtu, MaxSectors: aoe.AdvertisedSectors(mtu)}
}

func newExport(t testing.TB, change func(*ExportConfig)) *Export {
	t.Helper()
	cfg := ExportConfig{Addr: own, Sectors: 2048, Serial: "SER1", Model: "test disk", Firmware: "f1", FirmwareVersion: 0x0100, BufferCount: 16}
	if change != nil {
		change(&cfg)
	}
	e, err := NewExport(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// rig runs frames through Parse, Table, Handle, Commit and Finish as the engine and the daemon do, with a disk in memory.
type rig struct {
	t     testing.TB
	in    *Ingress
	table *Table
	disk  []byte // of the export at own
	e     *Export
	fail  Result // what the storage answers instead of doing something
	saved []*State
	save  error // what persist returns
	last  stats.Drop
	ios   []IOSpec // what the storage was asked to do
}

func newRig(t testing.TB, change func(*ExportConfig), more ...*Export) *rig {
	t.Helper()
	e := newExport(t, change)
	return &rig{t: t, in: port(1500), table: newTable(t, append(more, e)...), e: e, disk: make([]byte, e.Sectors()*512)}
}

func newTable(t testing.TB, es ...*Export) *Table {
	t.Helper()
	tab, err := NewTable(es)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// dirty is what reply buffers hold before they are used: none of it may show.
const dirty = 0xe7

// send runs one frame through the target and returns all replies.
func (r *rig) send(frame []byte) [][]byte { return r.sendTagged(frame, false, 0) }

func (r *rig) sendTagged(frame []byte, tagged bool, tci uint16) [][]byte {
	r.t.Helper()
	before := bytes.Clone(frame)
	var req Request
	if r.last = req.Parse(frame, tagged, tci, r.in); r.last != stats.NoDrop {
		return nil
	}
	var out [][]byte
	r.last = stats.DropAddress
	for _, e := range r.table.All() {
		if !req.Addr.Match(e.Addr()) {
			continue
		}
		if got := r.table.Lookup(e.Addr()); got != e {
			r.t.Fatalf("Lookup(%v) = %v", e.Addr(), got)
		}
		if reply := r.run(e, &req, frame, tagged, tci); reply != nil {
			r.obeys(frame, e, reply)
			out = append(out, reply)
		}
	}
	if !bytes.Equal(frame, before) {
		r.t.Fatal("the request's frame was changed")
	}
	return out
}

func (r *rig) run(e *Export, req *Request, frame []byte, tagged bool, tci uint16) []byte {
	r.t.Helper()
	buf := bytes.Repeat([]byte{dirty}, max(1600, 14+r.in.MTU))
	act := handle(e, req, r.in, buf)
	switch act.Kind {
	case Silent:
		if act.Drop == stats.NoDrop {
			r.t.Fatal("silence without a reason")
		}
		r.last = act.Drop
		return nil
	case Reply:
		r.last = stats.NoDrop
		return buf[:act.N]
	case Defer:
		n, drop := e.Commit(bytes.Clone(frame), tagged, tci, r.in, buf, r.persist)
		r.last = drop
		if n == 0 {
			return nil
		}
		return buf[:n]
	}
	return r.storage(e, frame, act.IO)
}

func (r *rig) persist(s *State) error {
	if r.save == nil {
		r.saved = append(r.saved, s)
	}
	return r.save
}

// storage does what the engine and its store do with an operation.
func (r *rig) storage(e *Export, frame []byte, io IOSpec) []byte {
	r.t.Helper()
	r.ios = append(r.ios, io)
	r.last = stats.NoDrop
	var data []byte
	if io.Kind == IORead || io.Kind == IOWrite {
		if io.Count < 1 || io.LBA+uint64(io.Count) > e.Sectors() || io.Count > aoe.PhysicalSectors(r.in.MTU) {
			r.t.Fatalf("an operation outside of the export, or one that no frame can carry: %+v", io)
		}
		data = make([]byte, io.Count*512)
	}
	if e == r.e && r.fail == OK {
		at := io.LBA * 512
		switch io.Kind {
		case IORead:
			if int(at) < len(r.disk) {
				copy(data, r.disk[at:])
			}
		case IOWrite:
			copy(r.disk[at:], frame[36:36+io.Count*512])
		case IODiscard:
			for i := 0; ; i++ {
				lba, n, ok := DiscardRange(frame[36:36+io.Count*512], i)
				if !ok {
					break
				}
				if n > 0 {
					clear(r.disk[lba*512 : (lba+uint64(n))*512])
				}
			}
		}
	}
	hdr := bytes.Repeat([]byte{dirty}, 64)
	n, dataLen := e.Finish(bytes.Clone(frame[:36]), r.in, io, r.fail, io.LBA, r.fail == Media && io.Kind == IORead, hdr)
	return append(hdr[:n], data[:dataLen]...)
}

// obeys checks what is true of every reply (C22 among it).
func (r *rig) obeys(req []byte, e *Export, f []byte) {
	r.t.Helper()
	if len(f) < 60 || len(f) > 14+r.in.MTU {
		r.t.Fatalf("a reply of %d bytes to %x", len(f), req)
	}
	h, err := aoe.DecodeHeader(f)
	if err != nil {
		r.t.Fatal(err)
	}
	q, _ := aoe.DecodeHeader(req)
	want := aoe.Header{Dst: q.Src, Src: r.in.MAC, Version: 1, Flags: h.Flags, Code: h.Code, Addr: e.Addr(), Cmd: q.Cmd, Tag: q.Tag}
	if !aoe.IsAoE(f) || h != want {
		r.t.Fatalf("header %+v, want %+v", h, want)
	}
	if f[14] != 0x18 && f[14] != 0x1c || (f[14] == 0x1c) != (f[15] != 0) || f[15] > 6 {
		r.t.Fatalf("byte 14 = %#x, byte 15 = %d", f[14], f[15])
	}
	if i := firstUndefined(f); i >= 0 {
		r.t.Fatalf("byte %d of the reply is %#x, must be 0:\n%x\nrequest\n%x", i, f[i], f, req)
	}
}

// firstUndefined returns the index of the first byte that no rule defines and that is not zero, or -1.
func firstUndefined(f []byte) int {
	end := 24 // of what is defined
	body := f[15] == 0 || f[15] == 4 && f[19] == 1 || f[15] == 6 && f[19] == 3
	switch {
	case !body:
	case f[19] == 0:
		if f[24]&^0x53 != 0 {
			return 24
		}
		if f[34]|f[35] != 0 {
			return 34
		}
		end = 36
		if len(f) > 60 { // data
			end = len(f)
		}
		if f[27]&1 != 0 && len(f) > 60 {
			return 36 // an error carries no data
		}
	case f[19] == 1:
		end = 32 + int(binary.BigEndian.Uint16(f[30:]))
	case f[19] == 2:
		if f[24] != 0 {
			return 24
		}
		if end = 28; f[26] == 0 {
			end += 8 * int(f[27])
		}
		for i := 28; i < end; i += 8 {
			if f[i]|f[i+1] != 0 {
				return i
			}
		}
	case f[19] == 3:
		end = 26 + 6*int(f[25])
	}
	if end > len(f) {
		return len(f) - 1
	}
	for i := end; i < len(f); i++ {
		if f[i] != 0 {
			return i
		}
	}
	if len(f) > 60 && len(f) != end {
		return len(f) - 1 // a tail
	}
	return -1
}

// one sends a frame that must be answered once.
func (r *rig) one(frame []byte) []byte {
	r.t.Helper()
	out := r.send(frame)
	if len(out) != 1 {
		r.t.Fatalf("%d replies (%v), want one, to %x", len(out), r.last, frame[:min(len(frame), 64)])
	}
	return out[0]
}

// silence sends a frame that must not be answered, for this reason.
func (r *rig) silence(frame []byte, why stats.Drop) {
	r.t.Helper()
	if out := r.send(frame); len(out) != 0 || r.last != why {
		r.t.Fatalf("%d replies, %v; want silence, %v: %x", len(out), r.last, why, frame[:min(len(frame), 64)])
	}
}

// ok sends a frame that must be answered without an AoE error by n bytes.
func (r *rig) ok(frame []byte, n int) []byte {
	r.t.Helper()
	f := r.one(frame)
	if f[14] != 0x18 || f[15] != 0 || len(f) != n {
		r.t.Fatalf("byte 14 %#x, error %d, %d bytes; want OK in %d bytes", f[14], f[15], len(f), n)
	}
	return f
}

// aoeError sends a frame that must be answered with an AoE error.
func (r *rig) aoeError(frame []byte, code aoe.Code) []byte {
	r.t.Helper()
	f := r.one(frame)
	if f[14] != 0x1c || aoe.Code(f[15]) != code {
		r.t.Fatalf("byte 14 %#x, error %d; want error %d", f[14], f[15], code)
	}
	return f
}

// status sends an ATA command whose reply must have 60 bytes, this status and this error register.
func (r *rig) status(frame []byte, status, code byte) []byte {
	r.t.Helper()
	f := r.ok(frame, 60)
	if f[27] != status || f[25] != code {
		r.t.Fatalf("status %#x error %#x, want %#x %#x", f[27], f[25], status, code)
	}
	count := byte(0)
	if status&1 != 0 {
		count = frame[26]
	}
	if f[26] != count && ata.Lookup(frame[27]).Class != ata.CheckPower {
		r.t.Fatalf("count %d, want %d", f[26], count)
	}
	return f
}

// same checks that the LBA registers came back as they were sent.
func (r *rig) same(frame, reply []byte) {
	r.t.Helper()
	if !bytes.Equal(frame[28:34], reply[28:34]) {
		r.t.Fatalf("LBA % x, sent % x", reply[28:34], frame[28:34])
	}
}

func (r *rig) abrt(frame []byte) { r.t.Helper(); r.same(frame, r.status(frame, 0x41, 0x04)) }
func (r *rig) idnf(frame []byte) { r.t.Helper(); r.same(frame, r.status(frame, 0x41, 0x10)) }

// fine sends an ATA command that must succeed without data.
func (r *rig) fine(frame []byte) []byte { r.t.Helper(); return r.status(frame, 0x40, 0) }

// data sends an ATA command that must succeed with n sectors of data.
func (r *rig) data(frame []byte, n int) []byte {
	r.t.Helper()
	f := r.ok(frame, 36+512*n)
	if f[27] != 0x40 || f[25] != 0 || f[26] != 0 {
		r.t.Fatalf("status %#x error %#x count %d", f[27], f[25], f[26])
	}
	return f[36:]
}

var errDisk = errors.New("no space for state")

// opt changes a frame that is being built.
type opt func([]byte) []byte

func frame(cmd aoe.Command, arg []byte, opts ...opt) []byte {
	b := make([]byte, 24)
	h := aoe.Header{Dst: macT, Src: macI, Version: 1, Addr: own, Cmd: cmd, Tag: tag}
	_, _ = h.Encode(b)
	b = append(b, arg...)
	for _, o := range opts {
		b = o(b)
	}
	return b
}

func src(m aoe.MAC) opt { return func(b []byte) []byte { copy(b[6:], m[:]); return b } }
func dst(m aoe.MAC) opt { return func(b []byte) []byte { copy(b, m[:]); return b } }
func to(a aoe.Addr) opt {
	return func(b []byte) []byte { binary.BigEndian.PutUint16(b[16:], a.Major); b[18] = a.Minor; return b }
}
func set(i int, v ...byte) opt { return func(b []byte) []byte { copy(b[i:], v); return b } }
func tail(n int) opt {
	return func(b []byte) []byte { return append(b, bytes.Repeat([]byte{0xed}, n)...) }
}
func cut(n int) opt { return func(b []byte) []byte { return b[:n:n] } }

// registers of a command as the conformance list writes them.
type cmd struct {
	op, flags, feature, count byte
	lba                       uint64
	lba3                      byte // or-ed into the fourth register
	data                      []byte
}

func ataFrame(c cmd, opts ...opt) []byte {
	a := aoe.ATA{Flags: c.flags, Feature: c.feature, Count: c.count, Command: c.op}
	ata.PutLBA48(&a.LBA, c.lba)
	a.LBA[3] |= c.lba3
	b := make([]byte, 36)
	_, _ = a.Encode(b)
	return frame(aoe.CmdATA, append(b[24:], c.data...), opts...)
}

func readExt(lba uint64, n byte, opts ...opt) []byte {
	return ataFrame(cmd{op: 0x24, flags: 0x40, count: n, lba: lba}, opts...)
}
func writeExt(lba uint64, data []byte, opts ...opt) []byte {
	return ataFrame(cmd{op: 0x34, flags: 0x41, count: byte(len(data) / 512), lba: lba, data: data}, opts...)
}
func identify(opts ...opt) []byte {
	return ataFrame(cmd{op: 0xec, count: 1, lba3: 0xa0}, opts...)
}

func configFrame(op byte, s string, opts ...opt) []byte {
	arg := []byte{0, 0, 0, 0, 0, op, byte(len(s) >> 8), byte(len(s))}
	return frame(aoe.CmdConfig, append(arg, s...), opts...)
}

func maskFrame(op byte, dirs []aoe.Directive, opts ...opt) []byte {
	arg := []byte{0, op, 0, byte(len(dirs))}
	for _, d := range dirs {
		arg = append(append(arg, 0, d.Cmd), d.MAC[:]...)
	}
	return frame(aoe.CmdMask, arg, opts...)
}

func add(m aoe.MAC) aoe.Directive { return aoe.Directive{Cmd: aoe.MaskAdd, MAC: m} }
func del(m aoe.MAC) aoe.Directive { return aoe.Directive{Cmd: aoe.MaskDelete, MAC: m} }

func reserveFrame(op byte, macs []aoe.MAC, opts ...opt) []byte {
	arg := []byte{op, byte(len(macs))}
	for _, m := range macs {
		arg = append(arg, m[:]...)
	}
	return frame(aoe.CmdReserve, arg, opts...)
}

func fill(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)*3 + seed + byte(i>>8)
	}
	return b
}

// handle is Handle into an Action that was used before.
func handle(e *Export, req *Request, in *Ingress, buf []byte) Action {
	act := Action{Kind: IO, Drop: 1, N: 2, IO: IOSpec{Kind: IODiscard, LBA: 3, Count: 4, Durable: true}, Reject: 5}
	e.Handle(req, in, buf, &act)
	return act
}
