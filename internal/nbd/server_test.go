package nbd

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
	"time"
)

func TestReadWrite(t *testing.T) {
	d := newDisk(40 << 20)
	_, path := serve(t, d, Export{Name: "e0.1", Flags: all}, Options{})
	c := dial(t, path)
	if c.Size != 40<<20 || c.Flags != all|HasFlags || c.MinBlock != 512 || c.Preferred != 4096 || c.MaxBlock != MaxRequest {
		t.Fatalf("the client was told %+v", c.Remote)
	}
	for _, n := range []int{512, 4096, 100 << 10, MaxRequest} { // the last is larger than any buffer on the way
		want, got := make([]byte, n), make([]byte, n)
		rand.NewChaCha8([32]byte{byte(n)}).Read(want)
		if e := c.do(Header{Cmd: CmdWrite, Offset: 1024, Length: uint32(n)}, want); e != 0 {
			t.Fatalf("writing %d bytes: %v", n, e)
		}
		if !bytes.Equal(d.bytes()[1024:1024+n], want) {
			t.Fatalf("writing %d bytes: other data arrived", n)
		}
		if e := c.do(Header{Cmd: CmdRead, Offset: 1024, Length: uint32(n)}, got); e != 0 || !bytes.Equal(got, want) {
			t.Fatalf("reading %d bytes: %v, or other data", n, e)
		}
	}
}

// TestPipeline has many requests of all sizes under way, and compares every reply.
func TestPipeline(t *testing.T) {
	const chunk, chunks = 96 << 10, 64
	d := newDisk(chunk * chunks)
	_, path := serve(t, d, Export{Flags: all}, Options{Depth: 16})
	c := dial(t, path)
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, chunk*chunks)
	rand.NewChaCha8([32]byte{}).Read(data)
	lengths := [chunks]uint32{}
	for i := range lengths {
		lengths[i] = uint32(1+r.IntN(chunk/512)) * 512
	}
	for _, cmd := range []Command{CmdWrite, CmdRead} {
		go func() { // the other goroutine reads: neither side's socket holds all of it
			for i, n := range lengths {
				h := Header{Cmd: cmd, Cookie: uint64(i), Offset: uint64(i * chunk), Length: n}
				b := h.Append(nil)
				if cmd == CmdWrite {
					b = append(b, data[i*chunk:][:n]...)
				}
				if _, err := c.Write(b); err != nil {
					t.Error(err)
				}
			}
		}()
		seen := map[uint64]bool{}
		for range chunks {
			head := make([]byte, ReplyLen)
			if _, err := io.ReadFull(c, head); err != nil {
				t.Fatal(err)
			}
			i, e, err := ParseReply(head)
			if err != nil || e != 0 || seen[i] || i >= chunks {
				t.Fatal(i, e, err)
			}
			seen[i] = true
			if cmd == CmdRead {
				got := make([]byte, lengths[i])
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, data[int(i)*chunk:][:len(got)]) {
					t.Fatalf("chunk %d: %v, or other data", i, err)
				}
			}
		}
	}
}

// TestRefusals: what a client may not ask for gets its error, changes nothing, and the connection goes on.
func TestRefusals(t *testing.T) {
	sector := make([]byte, 512)
	for _, c := range []struct {
		name  string
		flags Flags
		h     Header
		data  []byte
		want  Errno
	}{
		{"read behind the end", all, Header{Cmd: CmdRead, Offset: 1<<20 - 512, Length: 1024}, nil, EINVAL},
		{"write behind the end", all, Header{Cmd: CmdWrite, Offset: 1 << 20, Length: 512}, sector, ENOSPC},
		{"offset and length overflow", all, Header{Cmd: CmdWrite, Offset: 1<<64 - 512, Length: 512}, sector, ENOSPC},
		{"read with such an offset", all, Header{Cmd: CmdRead, Offset: 1<<64 - 512, Length: 1024}, nil, EINVAL},
		{"odd offset", all, Header{Cmd: CmdWrite, Offset: 1, Length: 512}, sector, EINVAL},
		{"odd length", all, Header{Cmd: CmdWrite, Length: 100}, sector[:100], EINVAL},
		{"no length", all, Header{Cmd: CmdRead}, nil, EINVAL},
		{"large read", all, Header{Cmd: CmdRead, Length: MaxRequest + 512}, nil, EINVAL},
		{"write, read-only", all | ReadOnly, Header{Cmd: CmdWrite, Length: 512}, sector, EPERM},
		{"trim, read-only", all | ReadOnly, Header{Cmd: CmdTrim, Length: 512}, nil, EPERM},
		{"zeroes, read-only", all | ReadOnly, Header{Cmd: CmdWriteZeroes, Length: 512}, nil, EPERM},
		{"trim, not offered", CanFlush, Header{Cmd: CmdTrim, Length: 512}, nil, EINVAL},
		{"flush, not offered", CanTrim, Header{Cmd: CmdFlush}, nil, EINVAL},
		{"zeroes, not offered", CanFlush, Header{Cmd: CmdWriteZeroes, Length: 512}, nil, EINVAL},
		{"FUA, not offered", CanFlush, Header{Cmd: CmdWrite, Flags: FlagFUA, Length: 512}, sector, EINVAL},
		{"unknown flag", all, Header{Cmd: CmdRead, Flags: 1 << 9, Length: 512}, nil, EINVAL},
		{"unknown command", all, Header{Cmd: 77, Length: 512}, nil, EINVAL},
		{"cache, not offered", all, Header{Cmd: CmdCache, Length: 512}, nil, EINVAL},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDisk(1 << 20)
			d.log = make([]Request, 0, 8)
			for i := range d.data {
				d.data[i] = 7
			}
			_, path := serve(t, d, Export{Flags: c.flags}, Options{})
			cl := dial(t, path)
			if e := cl.do(c.h, c.data); e != c.want {
				t.Errorf("answer %v, want %v", e, c.want)
			}
			if len(d.submitted()) > 0 {
				t.Error("the disk was asked")
			}
			got := make([]byte, 512)
			if e := cl.do(Header{Cmd: CmdRead, Length: 512}, got); e != 0 || got[0] != 7 {
				t.Errorf("the connection is out of step: %v", e)
			}
		})
	}
}

// TestBackendErrors: an Errno reaches the client, everything else is an I/O error.
func TestBackendErrors(t *testing.T) {
	d := newDisk(1 << 20)
	d.log = make([]Request, 0, 8)
	d.fail = func(r *Request) error {
		switch {
		case r.Op == OpFlush:
			return errors.New("no luck")
		case r.Off == 512:
			return errors.Join(errors.New("full"), ENOSPC)
		}
		return nil
	}
	_, path := serve(t, d, Export{Flags: all}, Options{})
	c := dial(t, path)
	for _, x := range []struct {
		h    Header
		want Errno
	}{{Header{Cmd: CmdFlush}, EIO}, {Header{Cmd: CmdRead, Offset: 512, Length: 512}, ENOSPC},
		{Header{Cmd: CmdWrite, Flags: FlagFUA, Length: 512}, EIO}, {Header{Cmd: CmdRead, Length: 512}, 0}} {
		var data []byte
		if x.h.Cmd != CmdFlush {
			data = make([]byte, 512)
		}
		if e := c.do(x.h, data); e != x.want {
			t.Errorf("%+v: %v, want %v", x.h, e, x.want)
		}
	}
}

// TestFUA: the flush comes after the data and before the answer.
func TestFUA(t *testing.T) {
	for _, cmd := range []Command{CmdWrite, CmdTrim, CmdWriteZeroes} {
		d := newDisk(1 << 20)
		d.hold = func(r *Request) bool { return r.Op == OpFlush }
		_, path := serve(t, d, Export{Flags: all}, Options{})
		c := dial(t, path)
		var data []byte
		if cmd == CmdWrite {
			data = make([]byte, 512)
		}
		c.ask(Header{Cmd: cmd, Flags: FlagFUA, Cookie: 1, Length: 512}, data)
		c.ask(Header{Cmd: CmdRead, Cookie: 2, Length: 512}, nil)
		if i, e := c.answer(make([]byte, 512)); i != 2 || e != 0 {
			t.Fatalf("command %d: answer to %d before its flush was done", cmd, i)
		}
		eventually(t, "the flush is held", func() bool { return d.held() == 1 })
		log := d.submitted()
		if log[0].Op == OpFlush {
			t.Errorf("command %d: the flush came first", cmd)
		}
		d.letGo()
		if i, e := c.answer(nil); i != 1 || e != 0 {
			t.Errorf("command %d: answer to %d: %v", cmd, i, e)
		}
	}
}

// TestWriteZeroes: in pieces of writes, or as one trim where that reads as zero and the client allows a hole.
func TestWriteZeroes(t *testing.T) {
	const size, from, n = 8 << 20, 512, 5<<20 + 1024
	for _, c := range []struct {
		zeroes bool
		flags  uint16
		op     Op
	}{{false, 0, OpWrite}, {true, 0, OpTrim}, {true, FlagNoHole, OpWrite}} {
		d := newDisk(size)
		d.log = make([]Request, 0, 32)
		for i := range d.data {
			d.data[i] = 7
		}
		_, path := serve(t, d, Export{Flags: all, TrimZeroes: c.zeroes}, Options{})
		if e := dial(t, path).do(Header{Cmd: CmdWriteZeroes, Flags: c.flags, Offset: from, Length: n}, nil); e != 0 {
			t.Fatal(e)
		}
		for _, r := range d.submitted() {
			if r.Op != c.op {
				t.Errorf("%+v: operation %d, want %d", c, r.Op, c.op)
			}
		}
		want := bytes.Repeat([]byte{7}, size)
		clear(want[from : from+n])
		if !bytes.Equal(d.bytes(), want) {
			t.Errorf("%+v: not the right bytes are zero", c)
		}
	}
}

// TestReplyAsTheyFinish: a request that hangs holds up no other, and 32 and more run at a time.
func TestReplyAsTheyFinish(t *testing.T) {
	d := newDisk(1 << 20)
	d.hold = func(r *Request) bool { return r.Off < 512*100 }
	_, path := serve(t, d, Export{Flags: all}, Options{})
	c := dial(t, path)
	for i := range 100 {
		c.ask(Header{Cmd: CmdRead, Cookie: uint64(i), Offset: uint64(i * 512), Length: 512}, nil)
	}
	if e := c.do(Header{Cmd: CmdRead, Offset: 512 * 200, Length: 512}, make([]byte, 512)); e != 0 {
		t.Fatal(e)
	}
	eventually(t, "100 requests run", func() bool { return d.held() == 100 })
	d.letGo()
	for range 100 {
		if _, e := c.answer(make([]byte, 512)); e != 0 {
			t.Fatal(e)
		}
	}
}

// TestSlowClient: a client that asks for much and takes nothing costs bounded memory, and holds up no other.
func TestSlowClient(t *testing.T) {
	d := newDisk(MaxRequest)
	s, path := serve(t, d, Export{Flags: all}, Options{})
	slow, good := dial(t, path), dial(t, path)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range 8 {
		slow.ask(Header{Cmd: CmdRead, Cookie: uint64(i), Length: MaxRequest}, nil)
	}
	for range 100 {
		if e := good.do(Header{Cmd: CmdRead, Length: 4096}, make([]byte, 4096)); e != 0 {
			t.Fatal(e)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc) - int64(before.TotalAlloc); grown > maxMemory+16<<20 {
		t.Errorf("%d MiB were allocated for a client that reads nothing", grown>>20)
	}
	done := make(chan bool)
	go func() { // and it gets all it asked for, once it reads
		for range 8 {
			slow.answer(make([]byte, MaxRequest))
		}
		close(done)
	}()
	<-done
	slow.Close()
	eventually(t, "one client is left", func() bool { return len(s.Clients()) == 1 })
}

// TestStopWithSilentClient: a client that does not take its replies does not hold up the end of the server.
func TestStopWithSilentClient(t *testing.T) {
	d := newDisk(MaxRequest)
	s, path := serve(t, d, Export{}, Options{})
	c := dial(t, path)
	c.ask(Header{Cmd: CmdRead, Length: MaxRequest}, nil)
	eventually(t, "a client", func() bool { return len(s.Clients()) == 1 })
	s.Stop()
	s.Wait()
}

// TestStop: what runs is answered, what comes later is not, and nobody gets in any more.
func TestStop(t *testing.T) {
	d := newDisk(1 << 20)
	d.hold = func(*Request) bool { return true }
	s, path := serve(t, d, Export{Flags: all}, Options{})
	c := dial(t, path)
	c.ask(Header{Cmd: CmdWrite, Cookie: 9, Length: 512}, bytes.Repeat([]byte{5}, 512))
	eventually(t, "the write runs", func() bool { return d.held() == 1 })
	s.Stop()
	if x, err := net.Dial("unix", path); err == nil {
		if _, err := Handshake(x, ""); err == nil {
			t.Error("a client got in after Stop")
		}
		x.Close()
	}
	d.letGo()
	if i, e := c.answer(nil); i != 9 || e != 0 {
		t.Errorf("answer to %d: %v", i, e)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after the answer: %v, want the end", err)
	}
	s.Wait()
	if d.bytes()[0] != 5 {
		t.Error("the write is not there")
	}
}

// TestGone: a client that goes away while its requests run leaves nothing behind; what it wrote is written.
func TestGone(t *testing.T) {
	d := newDisk(1 << 20)
	d.hold = func(*Request) bool { return true }
	s, path := serve(t, d, Export{Flags: all}, Options{})
	c := dial(t, path)
	c.ask(Header{Cmd: CmdWrite, Length: 512}, bytes.Repeat([]byte{5}, 512))
	c.ask(Header{Cmd: CmdRead, Length: 512}, nil)
	c.ask(Header{Cmd: CmdWrite, Length: 512}, make([]byte, 100)) // unfinished
	eventually(t, "two run", func() bool { return d.held() == 2 })
	c.Close()
	time.Sleep(20 * time.Millisecond)
	if len(s.Clients()) != 1 {
		t.Error("the connection ended while its requests had its buffers")
	}
	d.letGo()
	eventually(t, "nobody is left", func() bool { return len(s.Clients()) == 0 })
	if d.bytes()[0] != 5 {
		t.Error("the write is not there")
	}
}

// TestBadStream: a client that is out of step is closed, and its error told.
func TestBadStream(t *testing.T) {
	for name, b := range map[string][]byte{"magic": make([]byte, RequestLen), "huge write": Header{Cmd: CmdWrite, Length: MaxRequest + 512}.Append(nil)} {
		told := make(chan error, 1)
		d := newDisk(1 << 20)
		_, path := serve(t, d, Export{Flags: all}, Options{OnConn: func(_ *Client, over bool, err error) {
			if over {
				told <- err
			}
		}})
		c := dial(t, path)
		c.Write(b)
		if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("%s: the connection goes on", name)
		}
		if err := <-told; err == nil {
			t.Errorf("%s: no error told", name)
		}
	}
}

func TestTooManyClients(t *testing.T) {
	d := newDisk(1 << 20)
	_, path := serve(t, d, Export{}, Options{MaxConns: 2})
	a := dial(t, path)
	dial(t, path)
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := Handshake(c, ""); err == nil {
		t.Error("a third client got in")
	}
	a.ask(Header{Cmd: CmdDisconnect}, nil)
	eventually(t, "there is room again", func() bool {
		c, err := net.Dial("unix", path)
		if err != nil {
			return false
		}
		defer c.Close()
		_, err = Handshake(c, "")
		return err == nil
	})
}

// TestSilentHandshake: a client that says nothing does not stay.
func TestSilentHandshake(t *testing.T) {
	_, path := serve(t, newDisk(1<<20), Export{}, Options{Handshake: 50 * time.Millisecond})
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("the server did not close: %v", err)
	}
}

// TestAllocations: once warm, requests cost no memory.
func TestAllocations(t *testing.T) {
	d := newDisk(1 << 20)
	_, path := serve(t, d, Export{Flags: all}, Options{})
	c := dial(t, path)
	data := make([]byte, 8192)
	round := func() {
		for i := range 8 {
			c.ask(Header{Cmd: CmdWrite, Cookie: 1, Offset: uint64(i) * 8192, Length: 8192, Flags: FlagFUA}, data)
			c.ask(Header{Cmd: CmdRead, Cookie: 1, Offset: uint64(i) * 8192, Length: 4096}, nil)
		}
		c.ask(Header{Cmd: CmdWriteZeroes, Offset: 1 << 19, Length: 8192}, nil)
		c.ask(Header{Cmd: CmdTrim, Offset: 1 << 19, Length: 8192}, nil)
		for n := 0; n < 18*ReplyLen+8*4096; {
			k, err := c.Read(data)
			if err != nil {
				t.Fatal(err)
			}
			n += k
		}
	}
	round()
	if n := testing.AllocsPerRun(200, round); n > 0 {
		t.Errorf("%v allocations for 18 requests", n)
	}
}
