package initiator

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link/mem"
	"goaoe/internal/target"
)

// setHook makes the fake target do something else with the frames that come.
func (f *fake) setHook(hook func(frame []byte) ([]byte, bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

// refusal is an AoE error reply of the header alone, without padding, as some targets send it where nothing below them pads.
func refusal(q []byte, code aoe.Code) []byte {
	h, err := aoe.DecodeHeader(q)
	if err != nil {
		return nil
	}
	b := make([]byte, aoe.HeaderLen)
	h.Dst, h.Src, h.Flags, h.Code = h.Src, h.Dst, aoe.FlagResponse|aoe.FlagError, code
	_, _ = h.Encode(b)
	return b
}

func opcode(f []byte) byte { return f[27] }

func lba(f []byte) uint64 { return ata.LBA48([6]byte(f[28:34])) }

// TestRefusals: an error reply is an answer although it is 24 bytes long, and each code has its error.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		code  aoe.Code
		want  error
		again bool // the request is repeated until the time limit
	}{
		{1, ErrRefused, false},
		{2, ErrRefused, false},
		{aoe.Unavailable, ErrUnavailable, true},
		{5, ErrIncompatible, false},
		{aoe.Reserved, ErrReserved, false},
		{77, ErrRefused, false},
	} {
		f, d := rig(t, 1500, mem.Faults{}, target.ExportConfig{}, Options{Timeout: 400 * time.Millisecond})
		var n atomic.Int32
		f.setHook(func(q []byte) ([]byte, bool) { n.Add(1); return refusal(q, c.code), true })
		_, err := d.ReadAt(make([]byte, 512), 0)
		if !errors.Is(err, c.want) {
			t.Errorf("code %d: error %v, want %v", c.code, err, c.want)
		}
		if again := err != nil && strings.Contains(err.Error(), " times in "); again != c.again || c.again && n.Load() < 2 {
			t.Errorf("code %d: sent %d times: %v", c.code, n.Load(), err)
		}
		f.setHook(nil)
		if _, err := d.ReadAt(make([]byte, 512), 0); err != nil {
			t.Errorf("code %d: the disk is of no use afterwards: %v", c.code, err)
		}
	}
}

// TestComesBack: a disk that is away for a while costs time and no error.
func TestComesBack(t *testing.T) {
	f, d := rig(t, 1500, mem.Faults{}, target.ExportConfig{}, Options{})
	var n atomic.Int32
	f.setHook(func(q []byte) ([]byte, bool) { return refusal(q, aoe.Unavailable), n.Add(1) <= 3 })
	if _, err := d.ReadAt(make([]byte, 512), 0); err != nil {
		t.Fatal(err)
	}
	if n.Load() < 4 {
		t.Fatalf("sent %d times", n.Load())
	}
}

// TestUnknownFate: a write that nobody answered may still be on its way when its time is over: its sectors rest, others do not.
func TestUnknownFate(t *testing.T) {
	f, d := rig(t, 1500, mem.Faults{}, target.ExportConfig{}, Options{Timeout: 60 * time.Millisecond})
	f.setHook(func(q []byte) ([]byte, bool) { return nil, opcode(q) == ata.OpWriteExt })
	if _, err := d.WriteAt(make([]byte, 2*512), 5*512); !errors.Is(err, ErrTimeout) {
		t.Fatalf("error %v, want ErrTimeout", err)
	}
	d.mu.Lock()
	for lba, want := range []bool{4: false, 5: true, 6: true, 7: false} {
		if got := d.conflict(false, uint64(lba), uint64(lba)+1); got != want {
			t.Errorf("sector %d rests: %t, want %t", lba, got, want)
		}
	}
	d.mu.Unlock()
	f.setHook(nil)
	data := bytes.Repeat([]byte{7}, 512)
	if _, err := d.WriteAt(data, 5*512); err != nil { // waits until the rest is over
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !bytes.Equal(f.disk[5*512:6*512], data) {
		t.Error("what was written later is not there")
	}
}

// TestRepeatsInTime: a request that waits long for its next repetition does not hold up the repetition of a younger one.
func TestRepeatsInTime(t *testing.T) {
	f, d := rig(t, 1500, mem.Faults{}, target.ExportConfig{}, Options{Window: 128})
	for range 200 { // so that the round trip is known to be short
		if _, err := d.ReadAt(make([]byte, 512), 0); err != nil {
			t.Fatal(err)
		}
	}
	old, young, order := make(chan int, 64), make(chan int, 64), make(chan string, 64)
	var olds, youngs int // only used by the target's goroutine
	f.setHook(func(q []byte) ([]byte, bool) {
		switch lba(q) {
		case 10: // never answered while the hook is there
			olds++
			order <- "old" // before the word that it is here
			old <- olds
			return nil, true
		case 20: // lost once
			youngs++
			order <- "young"
			young <- youngs
			return nil, youngs == 1
		}
		return nil, false
	})
	ended := make(chan error, 2)
	read := func(sector int64) {
		_, err := d.ReadAt(make([]byte, 512), sector*512)
		ended <- err
	}
	go read(10)
	for n := range old {
		if n == 6 { // the next repetition comes in 320 ms
			break
		}
	}
	for len(order) > 0 {
		<-order
	}
	go read(20)
	<-young
	<-young
	var seen []string
	for len(order) > 0 {
		seen = append(seen, <-order)
	}
	if len(seen) < 2 || seen[0] != "young" || seen[1] != "young" {
		t.Errorf("frames came in the order %v: the younger request waited for the older one", seen)
	}
	f.setHook(nil)
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// TestTags: repeated writes have the tag of the first, repeated reads a fresh one; all have the top bit set.
func TestTags(t *testing.T) {
	for _, write := range []bool{false, true} {
		f, d := rig(t, 1500, mem.Faults{}, target.ExportConfig{}, Options{})
		tags := make(chan uint32, 16)
		n := 0
		f.setHook(func(q []byte) ([]byte, bool) {
			if op := opcode(q); op != ata.OpReadExt && op != ata.OpWriteExt || isConfig(q) {
				return nil, false
			}
			if n++; n <= 3 {
				tags <- binary.BigEndian.Uint32(q[20:])
			}
			return nil, n < 3
		})
		var err error
		if write {
			_, err = d.WriteAt(make([]byte, 512), 0)
		} else {
			_, err = d.ReadAt(make([]byte, 512), 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		a, b, c := <-tags, <-tags, <-tags
		if a&b&c>>31 != 1 {
			t.Errorf("tags %#x %#x %#x: the top bit must be set", a, b, c)
		}
		if same := a == b && b == c; same != write || !write && (a == b || b == c || a == c) {
			t.Errorf("write %t: tags %#x %#x %#x", write, a, b, c)
		}
	}
}
