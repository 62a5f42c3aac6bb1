package nbd

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"goaoe/internal/sys"
)

// script is a peer that says in and hears what is written.
type script struct {
	io.Reader
	bytes.Buffer
}

func (s *script) Read(b []byte) (int, error) { return s.Reader.Read(b) }

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	hello = "4e42444d41474943 49484156454f5054 0003 "
	opt   = "49484156454f5054 "
	rep   = "0003e889045565a9 "
)

// TestServerHandshake holds the bytes of the server against the protocol's document.
func TestServerHandshake(t *testing.T) {
	e, err := Export{Name: "e0.1", Description: "disk", Flags: CanFlush | CanTrim}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	const size = "0000000001000000"
	info := func(o string) string { // GO and INFO answer the same
		return rep + o + "00000003 0000000c 0000" + size + "0025 " + rep + o + "00000003 0000000e 0003 00000200 00001000 02000000 "
	}
	ack := func(o string) string { return rep + o + "00000001 00000000" }
	for _, c := range []struct {
		name, in, out string
		err           error // io.EOF: any
	}{
		{"go, default", "00000003" + opt + "00000007 00000006 00000000 0000", hello + info("00000007") + ack("00000007"), nil},
		{"go, by name", "00000003" + opt + "00000007 0000000a 00000004 65302e31 0000", hello + info("00000007") + ack("00000007"), nil},
		{"go, with name and description", "00000003" + opt + "00000007 0000000e 00000000 0004 0001 0002 0001 0003",
			hello + info("00000007") + rep + "00000007 00000003 00000006 0001 65302e31" + rep + "00000007 00000003 00000006 0002 6469736b" + ack("00000007"), nil},
		{"info, then go", "00000003" + opt + "00000006 00000006 00000000 0000" + opt + "00000007 00000006 00000000 0000",
			hello + info("00000006") + ack("00000006") + info("00000007") + ack("00000007"), nil},
		{"export name", "00000003" + opt + "00000001 00000004 65302e31", hello + size + "0025", nil},
		{"export name, old client", "00000000" + opt + "00000001 00000000", hello + size + "0025" + strings.Repeat("00", 124), nil},
		{"export name, another", "00000003" + opt + "00000001 00000001 78", hello, io.EOF},
		{"go, another", "00000003" + opt + "00000007 00000007 00000001 78 0000" + opt + "00000002 00000000",
			hello + rep + "00000007 80000006" + "0000001c" + hex.EncodeToString([]byte("here is only the export e0.1")) + ack("00000002"), errDone},
		{"list", "00000003" + opt + "00000003 00000000" + opt + "00000002 00000000",
			hello + rep + "00000003 00000002 0000000c 00000004 65302e31 6469736b" + ack("00000003") + ack("00000002"), errDone},
		{"unknown, TLS, structured", "00000003" + opt + "00000063 00000002 0000" + opt + "00000005 00000000" + opt + "00000008 00000000" + opt + "00000002 00000000",
			hello + rep + "00000063 80000001 00000000" + rep + "00000005 80000001 00000000" + rep + "00000008 80000001 00000000" + ack("00000002"), errDone},
		{"unknown client flags", "00000007", hello, io.EOF},
		{"option from a client that knows none", "00000000" + opt + "00000003 00000000", hello, io.EOF},
		{"wrong magic", "00000003" + strings.Repeat("00", 16), hello, io.EOF},
		{"huge option", "00000003" + opt + "00000063 00010000", hello, io.EOF},
		{"cut", "0000", hello, io.EOF},
	} {
		p := &script{Reader: bytes.NewReader(unhex(t, c.in))}
		err := serveHandshake(p, e, 16<<20)
		if c.err == nil && err != nil || c.err != nil && err == nil || errors.Is(c.err, errDone) && !errors.Is(err, errDone) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
		if got := hex.EncodeToString(p.Bytes()); got != strings.Join(strings.Fields(c.out), "") {
			t.Errorf("%s: the server said\n%s, want\n%s", c.name, got, strings.Join(strings.Fields(c.out), ""))
		}
	}
}

func TestServerHandshakeEnds(t *testing.T) {
	e, _ := Export{}.withDefaults()
	p := &script{Reader: bytes.NewReader(unhex(t, "00000003"+strings.Repeat(opt+"00000063 00000000", maxOptions+1)))}
	if err := serveHandshake(p, e, 512); err == nil {
		t.Error("a client may send options for ever")
	}
}

// TestClientHandshake: our client with our server, with an old one, and with ones that tell nonsense.
func TestClientHandshake(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     Remote
		text     string // of the error
	}{
		{"go", hello + rep + "00000007 00000003 0000000c 0000 0000000001000000 0025" + rep + "00000007 00000003 0000000e 0003 00000200 00001000 00100000" +
			rep + "00000007 00000001 00000000", Remote{16 << 20, 0x25, 512, 4096, 1 << 20}, ""},
		{"no GO", hello + rep + "00000007 80000001 00000000" + "0000000001000000 0001", Remote{16 << 20, 1, 1, 4096, MaxRequest}, ""},
		{"not fixed", "4e42444d41474943 49484156454f5054 0000 0000000001000000 0001" + strings.Repeat("00", 124), Remote{16 << 20, 1, 1, 4096, MaxRequest}, ""},
		{"oldstyle", "4e42444d41474943 0000420281861253 0000", Remote{}, "oldstyle"},
		{"no export", hello + rep + "00000007 80000006 00000002 6e6f", Remote{}, `no such export: "no"`},
		{"policy", hello + rep + "00000007 80000002 00000000", Remote{}, "refuses (0x80000002)"},
		{"not NBD", strings.Repeat("41", 18), Remote{}, "magic"},
		{"no size", hello + rep + "00000007 00000001 00000000", Remote{}, "size"},
		{"negative size", hello + rep + "00000007 00000003 0000000c 0000 8000000000000000 0025", Remote{}, "size"},
		{"block sizes", hello + rep + "00000007 00000003 0000000e 0003 00000003 00001000 00100000", Remote{}, "block sizes"},
		{"lengths", hello + rep + "00000007 00000003 0000000b 0000 0000000000000000 00", Remote{}, "length"},
		{"huge answer", hello + rep + "00000007 00000003 10000000", Remote{}, "answer of"},
		{"answer to another option", hello + rep + "00000003 00000001 00000000", Remote{}, "magic"},
		{"endless", hello + strings.Repeat(rep+"00000007 00000003 00000002 0063", maxOptions+1), Remote{}, "end"},
	} {
		got, err := Handshake(&script{Reader: bytes.NewReader(unhex(t, c.in))}, "x")
		switch {
		case c.text == "" && (err != nil || got != c.want):
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		case c.text != "" && (err == nil || !strings.Contains(err.Error(), c.text)):
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.text)
		}
	}
}

func TestWire(t *testing.T) {
	h := Header{Flags: 1, Cmd: CmdTrim, Cookie: 0x0102030405060708, Offset: 1 << 40, Length: 512}
	want := unhex(t, "25609513 0001 0004 0102030405060708 0000010000000000 00000200")
	if got := h.Append(nil); !bytes.Equal(got, want) {
		t.Errorf("header %x, want %x", got, want)
	}
	if got, err := ParseHeader(want); err != nil || got != h {
		t.Errorf("parsed %+v, %v", got, err)
	}
	b := make([]byte, ReplyLen)
	PutReply(b, h.Cookie, ENOSPC)
	if want := unhex(t, "67446698 0000001c 0102030405060708"); !bytes.Equal(b, want) {
		t.Errorf("reply %x, want %x", b, want)
	}
}

func TestExportBounds(t *testing.T) {
	for _, e := range []Export{{MinBlock: 3}, {MinBlock: 1 << 17}, {MinBlock: 4096, Preferred: 512}, {MaxBlock: 100}, {MaxBlock: 64 << 20},
		{MaxBlock: 1000}, {Name: strings.Repeat("x", 5000)}} {
		if _, err := NewServer(newDisk(512), e, Options{}); err == nil {
			t.Errorf("%.60v is taken", e)
		}
	}
}

func FuzzServerHandshake(f *testing.F) {
	f.Add(unhex(f, "00000003"+opt+"00000007 0000000e 00000000 0004 0001 0002 0001 0003"))
	f.Add(unhex(f, "00000003"+opt+"00000003 00000000"+opt+"00000001 00000000"))
	e, _ := Export{Name: "e0.1", Description: "disk"}.withDefaults()
	f.Fuzz(func(t *testing.T, in []byte) {
		p := &script{Reader: bytes.NewReader(in)}
		err := serveHandshake(p, e, 512)
		if max := 1<<10 + 600*len(in); p.Len() > max {
			t.Errorf("%d bytes said to %d", p.Len(), len(in))
		}
		if err == nil && !bytes.Contains(in, binary.BigEndian.AppendUint64(nil, magicOption)) {
			t.Error("the transmission began without an option")
		}
	})
}

func FuzzClientHandshake(f *testing.F) {
	f.Add(unhex(f, hello+rep+"00000007 00000003 0000000c 0000 0000000001000000 0025"+rep+"00000007 00000001 00000000"))
	f.Add(unhex(f, hello+rep+"00000007 80000001 00000000"+"0000000001000000 0001"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := Handshake(&script{Reader: bytes.NewReader(in)}, "e0.1")
		if err == nil && (r.Size < 0 || r.MinBlock < 1 || r.MaxBlock < r.MinBlock || r.MaxBlock > MaxRequest) {
			t.Errorf("taken over: %+v", r)
		}
	})
}

// FuzzTransmission gives a connection any bytes: it ends, all buffers are back, and nothing outside a valid request's range was written.
func FuzzTransmission(f *testing.F) {
	sector := make([]byte, 512)
	f.Add(append(Header{Cmd: CmdWrite, Length: 512}.Append(nil), sector...))
	f.Add(Header{Cmd: CmdRead, Length: 65536}.Append(Header{Cmd: CmdWriteZeroes, Length: 65536, Flags: 1}.Append(nil)))
	f.Add(Header{Cmd: CmdTrim, Offset: 512, Length: 512}.Append(Header{Cmd: CmdFlush}.Append(Header{Cmd: CmdDisconnect}.Append(nil))))
	e, _ := Export{Flags: all}.withDefaults()
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 60<<10 {
			return // more would wait in the socket until it is read
		}
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fds[1])
		stop, err := sys.NewEventFD()
		if err != nil {
			t.Fatal(err)
		}
		defer stop.Close()
		d := newDisk(128 << 10)
		q, _ := d.NewQueue(8)
		c := newConn(fds[0], e, d.Size(), q, 8, new(Counters), stop)
		if _, err := unix.Write(fds[1], in); len(in) > 0 && err != nil {
			t.Fatal(err)
		}
		unix.Shutdown(fds[1], unix.SHUT_WR)
		go func() {
			b := make([]byte, 64<<10)
			for n := 1; n > 0; {
				n, _ = unix.Read(fds[1], b)
			}
		}()
		_ = c.run()
		if err := c.close(); err != nil {
			t.Error(err)
		}
		want := 0
		if c.fill >= 0 {
			want = cap(c.slots[c.fill].buf)
		}
		if c.pool.used != want || c.running != 0 {
			t.Errorf("%d bytes of buffers are out, %d requests run", c.pool.used, c.running)
		}
	})
}
