package attach

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/initiator"
	"goaoe/internal/nbd"
)

func TestErrno(t *testing.T) {
	for _, c := range []struct {
		op   nbd.Op
		err  error
		want nbd.Errno
	}{
		{nbd.OpRead, initiator.ErrTimeout, nbd.EIO}, {nbd.OpWrite, initiator.ErrMedium, nbd.EIO}, {nbd.OpFlush, initiator.ErrRefused, nbd.EIO},
		{nbd.OpWrite, initiator.ErrReserved, nbd.EPERM}, {nbd.OpTrim, initiator.ErrUnsupported, nbd.ENOTSUP}, {nbd.OpRead, initiator.ErrClosed, nbd.ESHUTDOWN},
		{nbd.OpWrite, initiator.ErrShrunk, nbd.ENOSPC}, {nbd.OpRead, initiator.ErrShrunk, nbd.EIO}, {nbd.OpWrite, initiator.ErrRange, nbd.ENOSPC},
		{nbd.OpRead, errors.New("else"), nbd.EIO},
	} {
		if got := errno(c.op, fmt.Errorf("e0.1: %w", c.err)); got != c.want {
			t.Errorf("operation %d, %v: %v, want %v", c.op, c.err, got, c.want)
		}
	}
}

func TestParseDevice(t *testing.T) {
	for s, want := range map[string]int{"nbd0": 0, "/dev/nbd15": 15, "nbd": -1, "sda": -1, "nbd-1": -1, "/dev/nbd0p1": -1, "nbd99999": -1, "": -1} {
		if got, err := ParseDevice(s); got != want || (err == nil) != (want >= 0) {
			t.Errorf("%q: %d, %v; want %d", s, got, err, want)
		}
	}
}

// TestMark: nothing that a target says reaches udev's rules but letters, digits, dots and dashes.
func TestMark(t *testing.T) {
	a := aoe.Addr{Major: 3, Minor: 4}
	for serial, want := range map[string]string{"AB-1.2": "goaoe:e3.4:AB-1.2", "x'; $(y)\n": "goaoe:e3.4:x_____y__", "": "goaoe:e3.4:", "é:": "goaoe:e3.4:__"} {
		if got := mark(a, serial); got != want {
			t.Errorf("%q: %q, want %q", serial, got, want)
		}
	}
}

// TestAttributes holds what the kernel is told against include/uapi/linux/nbd-netlink.h: length, type, value, padded to 4 bytes.
func TestAttributes(t *testing.T) {
	d := device{index: 5, size: 1 << 30, flags: nbd.HasFlags | nbd.CanFlush, backend: "goaoe:e0.1:x", timeout: 90*time.Second + 1, dead: 60 * time.Second, sockets: []int{7, 8}}
	var got []byte
	for _, a := range d.attributes() {
		got = append(got, a.Serialize()...)
	}
	attr := func(kind uint16, value []byte) []byte {
		b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
		b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
		return append(b, make([]byte, (4-len(b)%4)%4)...)
	}
	u64 := func(n uint64) []byte { return binary.NativeEndian.AppendUint64(nil, n) }
	u32 := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
	want := bytes.Join([][]byte{attr(2, u64(1<<30)), attr(3, u64(512)), attr(5, u64(5)), attr(7, append(attr(1, attr(1, u32(7))), attr(1, attr(1, u32(8)))...)),
		attr(10, []byte("goaoe:e0.1:x\x00")), attr(4, u64(91)), attr(8, u64(60)), attr(1, u32(5))}, nil)
	if !bytes.Equal(got, want) {
		t.Errorf("attributes\n%x, want\n%x", got, want)
	}
}

// TestUsage: mounts in any namespace, holders, swap and open files of a device and its partitions, by a made-up /proc and /sys.
func TestUsage(t *testing.T) {
	root := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(name, to string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
	}
	put("sys/block/nbd0/dev", "43:0\n")
	put("sys/block/nbd0/nbd0p1/dev", "43:1\n")
	if got := usage(root, "nbd0", 1); got != nil {
		t.Errorf("nobody uses it, found %q", got)
	}
	put("sys/block/nbd0/nbd0p1/holders/dm-3", "")
	put("proc/swaps", "Filename Type Size\n/dev/nbd0p1 partition 100\n/dev/nbd01 partition 100\n")
	link("proc/10/ns/mnt", "mnt:[1]")
	put("proc/10/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 43:0 / /srv/with\\040space rw - ext4 /dev/nbd0 rw\n31 22 43:10 / /other rw - ext4 /dev/x rw\n")
	link("proc/11/ns/mnt", "mnt:[1]") // the same namespace: not read again
	put("proc/11/mountinfo", "30 22 43:0 / /wrong rw - ext4 /dev/nbd0 rw\n")
	link("proc/12/ns/mnt", "mnt:[2]")
	put("proc/12/mountinfo", "30 22 43:1 / /inside rw - ext4 /dev/nbd0p1 rw\n")
	want := []string{"held by dm-3", "swap space", "mounted on /srv/with space", "mounted on /inside"}
	if got := usage(root, "nbd0", 1); !slices.Equal(got, want) {
		t.Errorf("used by %q, want %q", got, want)
	}
}

// TestRecord: what is left behind can be read again, and what cannot be read is an error with its file.
func TestRecord(t *testing.T) {
	f := files{t.TempDir(), "e0.1"}
	if r, err := f.read(); r != nil || err != nil {
		t.Errorf("nothing there: %v, %v", r, err)
	}
	want := record{Address: "e0.1", PID: 7, Device: 2, Backend: "goaoe:e0.1:x", Link: "/dev/goaoe/e0.1", Since: time.Unix(1, 0).UTC()}
	if err := f.write(want); err != nil {
		t.Fatal(err)
	}
	if r, err := f.read(); err != nil || *r != want {
		t.Errorf("read %+v, %v", r, err)
	}
	if s, err := Find(f.dir, "e0.1"); err != nil || s.State != "dead" || s.Device != "/dev/nbd2" || s.PID != 7 {
		t.Errorf("status %+v, %v", s, err)
	}
	if err := os.WriteFile(f.record(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.read(); err == nil || !bytes.Contains([]byte(err.Error()), []byte(f.record())) {
		t.Errorf("half a record: %v", err)
	}
	if l, err := List(filepath.Join(f.dir, "none")); l != nil || err != nil {
		t.Errorf("no directory: %v, %v", l, err)
	}
}

// TestLock: an address has one process; the lock goes with it.
func TestLock(t *testing.T) {
	f := files{t.TempDir(), "e0.1"}
	l, err := f.take()
	if err != nil {
		t.Fatal(err)
	}
	if Gone(f.dir, "e0.1", 0) {
		t.Error("gone while the lock is held")
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		l.Close()
	}()
	again, err := f.take() // nobody answers at the control socket: the holder is ending
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if !Gone(f.dir, "e0.1", 0) {
		t.Error("not gone without a lock")
	}
}

// TestStatusJSON: the names that programs read.
func TestStatusJSON(t *testing.T) {
	b, err := json.Marshal(Status{Address: "e0.1", State: "attached", Device: "/dev/nbd0", Paths: []Path{{Interface: "eth1"}}, Clients: []Client{{}}, Users: []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"address":"e0.1"`, `"state":"attached"`, `"device":"/dev/nbd0"`, `"read_only":false`, `"interface":"eth1"`, `"rtt_us":0`, `"written_bytes":0`, `"users":["x"]`} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("%s is not in %s", want, b)
		}
	}
}
