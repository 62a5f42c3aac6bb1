// Package linktest is the suite that every implementation of link.Link passes. Tests only.
package linktest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/link"
	"goaoe/internal/sys"
)

const headLen = 14

// Make returns two links that are joined, with the same MTU and at least 64 and at most 512 frames of room for what is received,
// which the suite closes. They hear nobody else.
type Make func(t testing.TB) (a, b link.Link)

// Run runs the suite, each case on links of its own.
func Run(t *testing.T, mk Make) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, a, b link.Link)
	}{
		{"sizes", sizes}, {"order", order}, {"release", release}, {"addressed", addressed}, {"poll", poll}, {"refused", refused},
		{"overflow", overflow}, {"filter", filter}, {"inject", inject}, {"closed", closed}, {"allocations", allocations},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := mk(t)
			t.Cleanup(func() {
				for _, l := range []link.Link{a, b} {
					if err := l.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
				}
			})
			c.test(t, a, b)
		})
	}
}

// Frame returns a request frame of n bytes (at least 24) for address addr from one MAC address to another, with a tag and a payload
// made of the tag.
func Frame(dst, src aoe.MAC, addr aoe.Addr, tag uint32, n int) []byte {
	f := make([]byte, n)
	copy(f, dst[:])
	copy(f[6:], src[:])
	f[12], f[13], f[14] = 0x88, 0xa2, 0x10
	binary.BigEndian.PutUint16(f[16:], addr.Major)
	f[18] = addr.Minor
	binary.BigEndian.PutUint32(f[20:], tag)
	for i := 24; i < n; i++ {
		f[i] = byte(tag) + byte(i*7)
	}
	return f
}

// Collect receives until n frames are there, or fails after ten seconds. It returns copies of their data.
func Collect(t testing.TB, l link.Link, n int) [][]byte {
	t.Helper()
	var out [][]byte
	var batch [16]link.Frame
	for end := time.Now().Add(10 * time.Second); len(out) < n; {
		k := l.Recv(batch[:min(len(batch), n-len(out))])
		for _, f := range batch[:k] {
			out = append(out, bytes.Clone(f.Data))
		}
		l.Release()
		if k > 0 {
			continue
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d frames arrived in ten seconds", len(out), n)
		}
		wait(t, l, 10*time.Millisecond)
	}
	return out
}

// wait sleeps until l is readable, or for d, and tells which.
func wait(t testing.TB, l link.Link, d time.Duration) bool {
	t.Helper()
	if l.FD() < 0 {
		time.Sleep(time.Millisecond)
		return l.Pending()
	}
	fds := []unix.PollFd{{Fd: int32(l.FD()), Events: unix.POLLIN}}
	n, err := sys.Poll(fds, int64(d))
	if err != nil {
		t.Fatal(err)
	}
	return n > 0 && fds[0].Revents&unix.POLLIN != 0
}

// Quiet fails when a frame arrives within a tenth of a second, or waits already.
func Quiet(t testing.TB, l link.Link, why string) {
	t.Helper()
	if wait(t, l, 100*time.Millisecond) || l.Pending() {
		t.Fatalf("%s: a frame arrived", why)
	}
}

// SendAll sends frames, waiting while the link is full.
func SendAll(t testing.TB, l link.Link, frames ...[]byte) {
	t.Helper()
	msgs := make([]link.Msg, len(frames))
	for i, f := range frames {
		msgs[i] = link.Msg{Head: f}
	}
	for len(msgs) > 0 {
		n, err := l.Send(msgs)
		if err != nil && !errors.Is(err, link.ErrFull) {
			t.Fatalf("Send: %v", err)
		}
		for _, m := range msgs[:n] {
			if m.Err != nil {
				t.Fatalf("a frame of %d bytes was refused: %v", len(m.Head), m.Err)
			}
		}
		if msgs = msgs[n:]; len(msgs) > 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

func same(t testing.TB, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d frames arrived, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("frame %d of %d bytes arrived as %d bytes with other content or order", i, len(want[i]), len(got[i]))
		}
	}
}

// guard is how much memory roomy leaves in front of a frame.
const guard = 32

// roomy returns a frame with guard bytes in front of it.
func roomy(f []byte) []byte { return append(bytes.Repeat([]byte{0xa5}, guard), f...) }

func sizes(t *testing.T, a, b link.Link) {
	top := headLen + a.Info().MTU
	var msgs, alone []link.Msg
	var want, last, rooms [][]byte
	for i, n := range []int{60, 61, 512, 1060, 1514, top - 1, top} {
		if n > top {
			continue
		}
		f := Frame(b.Info().MAC, a.Info().MAC, aoe.Addr{}, uint32(i), n)
		room := roomy(f)
		rooms = append(rooms, room)
		whole, split := link.Msg{Head: room[guard:], Room: true}, link.Msg{Head: room[guard : guard+36], Body: f[36:], Room: true}
		want, last = append(want, f, f, f, f, f), append(last, f)
		// Err of an earlier use must not stay.
		msgs = append(msgs, link.Msg{Head: f, Err: errors.New("old")}, link.Msg{Head: f[:36:36], Body: f[36:]}, link.Msg{Head: f[:24], Body: f[24:]}, whole, split)
		alone = append(alone, whole)
	}
	if n, err := a.Send(msgs); n != len(msgs) || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
	for i := range alone { // the way for one message alone need not be that for many
		if n, err := a.Send(alone[i : i+1]); n != 1 || err != nil {
			t.Fatalf("Send = %d, %v", n, err)
		}
	}
	msgs, want = append(msgs, alone...), append(want, last...)
	for _, room := range rooms {
		for i, b := range room[:guard-link.HeadRoom] {
			if b != 0xa5 {
				t.Fatalf("the byte %d in front of the room in front of a frame was written to", guard-link.HeadRoom-i)
			}
		}
	}
	for i, m := range msgs {
		if m.Err != nil {
			t.Errorf("message %d was refused: %v", i, m.Err)
		}
	}
	var batch [64]link.Frame
	var got [][]byte
	for len(got) < len(want) {
		n := b.Recv(batch[:])
		for _, f := range batch[:n] {
			if f.Tagged {
				t.Errorf("an untagged frame arrived with tag %#x", f.TCI)
			}
			if d := time.Since(time.Unix(0, f.Time)); d < -time.Minute || d > time.Minute {
				t.Errorf("receive time %d is %v ago", f.Time, d)
			}
			if cap(f.Data) != len(f.Data) {
				t.Errorf("a frame of %d bytes has a view that can grow to %d", len(f.Data), cap(f.Data))
			}
			got = append(got, bytes.Clone(f.Data))
		}
		b.Release()
		if n == 0 && !wait(t, b, 10*time.Second) {
			t.Fatalf("%d of %d frames arrived", len(got), len(want))
		}
	}
	same(t, got, want)
}

func order(t *testing.T, a, b link.Link) {
	for round := range 20 { // more than the ring holds, in all
		fs := make([][]byte, 0, 60)
		for i := range 60 {
			fs = append(fs, Frame(b.Info().MAC, a.Info().MAC, aoe.Addr{}, uint32(round*100+i), 60+13*i))
		}
		SendAll(t, a, fs...)
		same(t, Collect(t, b, len(fs)), fs)
	}
	if d := b.Drops(); d != 0 {
		t.Errorf("%d drops", d)
	}
}

// release checks that frames stay as they are until they are released, whatever else arrives.
func release(t *testing.T, a, b link.Link) {
	first := [][]byte{Frame(b.Info().MAC, a.Info().MAC, aoe.Addr{}, 1, 100), Frame(b.Info().MAC, a.Info().MAC, aoe.Addr{}, 2, 1000)}
	SendAll(t, a, first...)
	var batch [8]link.Frame
	for !b.Pending() {
		wait(t, b, time.Second)
	}
	time.Sleep(20 * time.Millisecond) // both
	if n := b.Recv(batch[:]); n != 2 {
		t.Fatalf("Recv = %d, want 2", n)
	}
	lost := b.Drops()
	for i := range 1500 { // overruns any ring of the suite
		f := Frame(b.Info().MAC, a.Info().MAC, aoe.Addr{}, uint32(i+3), 1000)
		if _, err := a.Send([]link.Msg{{Head: f}}); err != nil && !errors.Is(err, link.ErrFull) {
			t.Fatal(err)
		}
	}
	same(t, [][]byte{batch[0].Data, batch[1].Data}, first)
	b.Release()
	if b.Drops() == lost {
		t.Error("1500 frames fit into the ring: the suite wants a smaller one")
	}
	rest := Collect(t, b, 30)
	for i, f := range rest {
		if tag := binary.BigEndian.Uint32(f[20:]); tag != uint32(i+3) {
			t.Fatalf("after the release frame %d has tag %d: the ring is out of step", i, tag)
		}
	}
}

func addressed(t *testing.T, a, b link.Link) {
	me, you := a.Info().MAC, b.Info().MAC
	if me == you || me.IsZero() || you.IsGroup() {
		t.Fatalf("addresses %v and %v", me, you)
	}
	SendAll(t, a, Frame(aoe.MAC{2, 9, 9, 9, 9, 9}, me, aoe.Addr{}, 1, 60))
	Quiet(t, b, "for somebody else")
	want := [][]byte{Frame(aoe.Broadcast, me, aoe.Addr{}, 2, 60), Frame(you, me, aoe.Addr{}, 3, 60)}
	SendAll(t, a, want...)
	same(t, Collect(t, b, 2), want)
	Quiet(t, a, "own frames")
}

func poll(t *testing.T, a, b link.Link) {
	if b.FD() < 0 {
		t.Fatal("no descriptor")
	}
	Quiet(t, b, "before anything was sent")
	for i := range 50 {
		SendAll(t, a, Frame(b.Info().MAC, a.Info().MAC, aoe.Addr{}, uint32(i), 60), Frame(b.Info().MAC, a.Info().MAC, aoe.Addr{}, uint32(i), 60))
		if !wait(t, b, 10*time.Second) || !b.Pending() {
			t.Fatalf("round %d: a frame waits, but poll or Pending do not say so", i)
		}
		Collect(t, b, 1)
		if !wait(t, b, 10*time.Second) || !b.Pending() {
			t.Fatalf("round %d: the second frame waits, but poll or Pending do not say so", i)
		}
		Collect(t, b, 1)
		if wait(t, b, 0) || b.Pending() {
			t.Fatalf("round %d: nothing waits, but poll or Pending say so", i)
		}
	}
	fds := []unix.PollFd{{Fd: int32(a.FD()), Events: unix.POLLOUT}}
	if n, err := sys.Poll(fds, 0); n != 1 || err != nil || fds[0].Revents != unix.POLLOUT {
		t.Errorf("an idle link is not writable: %d, %v, %#x", n, err, fds[0].Revents)
	}
}

// refused checks that a message which cannot be sent does not hold up the others.
func refused(t *testing.T, a, b link.Link) {
	ok1 := Frame(b.Info().MAC, a.Info().MAC, aoe.Addr{}, 1, 60)
	long := Frame(b.Info().MAC, a.Info().MAC, aoe.Addr{}, 2, headLen+a.Info().MTU+1)
	ok2 := Frame(b.Info().MAC, a.Info().MAC, aoe.Addr{}, 3, 61)
	msgs := []link.Msg{{Head: long}, {Head: ok1}, {Head: long[:36], Body: long[36:]}, {Head: long}, {Head: ok2}, {Head: long}}
	n, err := a.Send(msgs)
	if n != len(msgs) || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
	for i, bad := range []bool{true, false, true, true, false, true} {
		if (msgs[i].Err != nil) != bad || (bad && !errors.Is(msgs[i].Err, unix.EMSGSIZE)) {
			t.Errorf("message %d: Err = %v", i, msgs[i].Err)
		}
	}
	alone := []link.Msg{{Head: roomy(long)[guard:], Room: true}}
	if n, err := a.Send(alone); n != 1 || err != nil || !errors.Is(alone[0].Err, unix.EMSGSIZE) {
		t.Errorf("Send of one message alone = %d, %v, Err = %v", n, err, alone[0].Err)
	}
	same(t, Collect(t, b, 2), [][]byte{ok1, ok2})
	if err := a.Inject(long); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("Inject of a frame that is too long: %v", err)
	}
	Quiet(t, b, "frames that are too long")
}
