package attach

import (
	"bytes"
	"fmt"
	"io"
	"math/bits"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/testnet"
)

// quirksEnv makes this program a target that refuses to flush, as kvblade (FLUSH CACHE EXT) and qaoed do: "INTERFACE FILE".
const quirksEnv = "GOAOE_ATTACH_QUIRKS"

// runQuirks serves a file as e0.1 until it is killed, one request at a time. It does what attach needs: IDENTIFY, reads and writes.
func runQuirks(line string) error {
	name, path, _ := strings.Cut(line, " ")
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	identify := ata.Device{Sectors: uint64(st.Size() / 512), Serial: "no flush", Model: "quirks"}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bits.ReverseBytes16(aoe.EtherType), Ifindex: ifi.Index}); err != nil {
		return err
	}
	var in, out [10000]byte
	for {
		n, err := unix.Read(fd, in[:])
		if err != nil {
			return err
		}
		h, err := aoe.DecodeHeader(in[:n])
		if err != nil || h.Flags&aoe.FlagResponse != 0 || !h.Addr.Match(aoe.Addr{Major: 0, Minor: 1}) {
			continue
		}
		h.Dst, h.Src, h.Flags, h.Addr = h.Src, aoe.MAC(ifi.HardwareAddr), h.Flags|aoe.FlagResponse, aoe.Addr{Major: 0, Minor: 1}
		clear(out[:64])
		var size int
		switch h.Cmd {
		case aoe.CmdConfig:
			size, err = (&aoe.Config{BufferCount: 16, Sectors: 17, Version: aoe.Version}).Encode(out[:])
		case aoe.CmdATA:
			a, data, derr := aoe.DecodeATA(in[:n])
			if derr != nil {
				continue
			}
			size = aoe.ATALen
			at, count := int64(0), int(a.Count)*512
			for i, b := range a.LBA {
				at |= int64(b) << (8 * i) * 512
			}
			reply := aoe.ATA{Command: 0x40}
			switch a.Command {
			case ata.OpIdentify:
				identify.Build((*[512]byte)(out[size:]))
				size += 512
			case ata.OpReadExt:
				_, err = f.ReadAt(out[size:size+count], at)
				size += count
			case ata.OpWriteExt:
				_, err = f.WriteAt(data[:count], at)
			default: // FLUSH CACHE and its EXT among them
				reply = aoe.ATA{Command: 0x41, Feature: ata.ErrABRT}
			}
			if err == nil {
				_, err = reply.Encode(out[:])
			}
		default:
			continue
		}
		if err != nil {
			return err
		}
		if _, err := h.Encode(out[:]); err != nil {
			return err
		}
		if _, err := unix.Write(fd, out[:max(size, 60)]); err != nil {
			return err
		}
	}
}

// TestRefusesToFlush: a target that refuses to flush is used without: clients are told that there is no flush, what they write is there, and
// the log says once whose word that is.
func TestRefusesToFlush(t *testing.T) {
	r := newRig(t, "quirks", 1, size)
	r.start()
	r.attach()
	out := r.ok("nbdinfo", uri)
	for _, want := range []string{"export-size: 33554432", "can_flush: false", "can_fua: false"} {
		if !strings.Contains(out, want) {
			t.Errorf("nbdinfo does not say %q:\n%s", want, out)
		}
	}
	want := r.random("src", size)
	r.ok("nbdcopy", "HERE/src", uri)
	r.same(want)
	if out := r.ok("qemu-io", "-f", "raw", "-c", "write -P 5 1M 64k", "-c", "flush", "-c", "read -P 5 1M 64k", uri); strings.Contains(out, "failed") {
		t.Errorf("qemu-io:\n%s", out)
	}
	copy(want[1<<20:], bytes.Repeat([]byte{5}, 64<<10))
	r.same(want)
	if s := r.status(); s.State != "attached" || s.Flush {
		t.Errorf("status %+v", s)
	}
	if out := r.ok(r.bin, "attached", "--run-dir", "HERE/run"); !strings.Contains(out, "e0.1") {
		t.Errorf("attached:\n%s", out)
	}
	r.ok(r.bin, "detach", "--run-dir", "HERE/run", "e0.1")
}

// TestTargetShrinks: a disk that comes back smaller under a client: what lies behind its end now fails, with an error that says what it is; what lies
// before it goes on; the new size is told; and a client that connects anew sees it.
func TestTargetShrinks(t *testing.T) {
	for _, kind := range []string{"goaoe", "vblade"} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, kind, 1, size)
			r.start()
			r.attach()
			want := r.random("src", size)
			r.ok("nbdcopy", "HERE/src", uri)
			// A client that is connected before and after: it does as the file says.
			say, heard := r.qemuIO()
			say("read 31M 64k")
			r.eventually("it reads at the end", func() bool { return strings.Contains(heard(), "read 65536/65536 bytes at offset 32505856") })
			r.kill()
			if err := os.Truncate(r.image, size/2); err != nil {
				t.Fatal(err)
			}
			r.start()
			say("read 1M 64k")
			r.eventually("it reads at the beginning", func() bool { return strings.Contains(heard(), "read 65536/65536 bytes at offset 1048576") })
			r.eventually("the size is known", func() bool { return r.status().Size == size/2 })
			say("read 30M 64k")
			r.eventually("reading behind the end fails", func() bool { return strings.Contains(heard(), "read failed: Input/output error") })
			say("write 30M 64k")
			r.eventually("writing behind the end fails", func() bool { return strings.Contains(heard(), "write failed: No space left on device") })
			say("write -P 7 2M 64k")
			r.eventually("it writes before it", func() bool { return strings.Contains(heard(), "wrote 65536/65536 bytes at offset 2097152") })
			if out := r.ok("nbdinfo", uri); !strings.Contains(out, fmt.Sprintf("export-size: %d", size/2)) {
				t.Errorf("nbdinfo:\n%s", out)
			}
			want = want[:size/2]
			copy(want[2<<20:], bytes.Repeat([]byte{7}, 64<<10))
			r.same(want)
		})
	}
}

// qemuIO starts qemu-io, which does what it is told line by line; heard is what it has said so far.
func (r *rig) qemuIO() (say func(string), heard func() string) {
	r.t.Helper()
	c := exec.Command("ip", "netns", "exec", r.host, "stdbuf", "-oL", "qemu-io", "-f", "raw", strings.ReplaceAll(uri, "HERE", r.dir))
	in, err := c.StdinPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	out := &said{}
	c.Stdout, c.Stderr = out, out
	if err := testnet.Start(c); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if r.t.Failed() {
			r.t.Logf("qemu-io:\n%s", out.String())
		}
	})
	say = func(line string) {
		if _, err := io.WriteString(in, line+"\n"); err != nil {
			r.t.Errorf("qemu-io: %v", err)
		}
	}
	return say, out.String
}

// said is what a program has printed so far.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
