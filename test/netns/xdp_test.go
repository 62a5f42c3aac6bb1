package netns

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"goaoe/test/program"
)

// burst sends many reads at once, and looks at every answer.
func (h *host) burst(t *testing.T, most int) {
	t.Helper()
	want := map[uint32]uint64{}
	for i := range 64 {
		q := h.readExt(uint64(i*31%2000), byte(1+i%most))
		want[q.tag] = uint64(i * 31 % 2000)
		h.send(q.frame())
	}
	for len(want) > 0 {
		f := h.read(10 * time.Second)
		if f == nil {
			t.Fatalf("%d answers are missing", len(want))
		}
		tag := binary.BigEndian.Uint32(f[20:])
		lba, ok := want[tag]
		if !ok {
			continue // an announcement, or an answer that was late
		}
		delete(want, tag)
		for at := 36; at < len(f); at, lba = at+512, lba+1 {
			if got := binary.BigEndian.Uint64(f[at:]); got != lba|1<<60 {
				t.Fatalf("sector %d begins with %#x", lba, got)
			}
		}
	}
}

// xdpFrames returns how many frames goaoe says that it sent by AF_XDP.
func (r *rig) xdpFrames(socket string) (n uint64) {
	r.t.Helper()
	out, err := exec.Command(program.Goaoe(r.t), "stats", "--json", "--socket", socket).Output()
	if err != nil {
		r.t.Fatalf("goaoe stats: %v", err)
	}
	var s struct {
		Interfaces []struct {
			Frames uint64 `json:"tx_xdp_frames"`
		}
	}
	if err := json.Unmarshal(out, &s); err != nil {
		r.t.Fatal(err)
	}
	for _, i := range s.Interfaces {
		n += i.Frames
	}
	return n
}

// TestXDPSend: a confined daemon sends by AF_XDP where xdp-send says so, also on an interface that comes later, and every answer is right.
func TestXDPSend(t *testing.T) {
	for _, c := range []struct {
		mode, more string
		uses       bool
	}{{"auto", "", true}, {"on", "lanes = 2\n", true}, {"off", "", false}, {"auto", "sandbox-seccomp = false\nsandbox-landlock = false\nsandbox-capabilities = false\n", true}} {
		for _, mtu := range []int{1500, 9000} {
			r := newRig(t, 1, mtu)
			socket := filepath.Join(r.dir, "socket")
			r.serve(fmt.Sprintf("[global]\nxdp-send = %q\n%s[log]\nlevel = \"debug\"\n[control]\nsocket = %q\n[defaults]\ninterfaces = [\"t0\"]\n[[export]]\naddress = \"1.1\"\nsource = %q\n",
				c.mode, c.more, socket, r.image("disk", 4096*512)))
			h, most := r.hosts[0], (mtu-36)/512
			use := func(before uint64) {
				t.Helper()
				tries := 0
				for end := time.Now().Add(30 * time.Second); ; tries++ {
					h.burst(t, most)
					if n := r.xdpFrames(socket); n > before && tries > 3 || !c.uses && tries > 10 {
						break
					}
					if time.Now().After(end) {
						t.Fatalf("%s, %q: not used:\n%s", c.mode, c.more, r.log.String())
					}
				}
			}
			use(0)
			if n := r.xdpFrames(socket); !c.uses && n > 0 {
				t.Errorf("%s: %d frames left by AF_XDP", c.mode, n)
			}
			r.in(func() error { // it comes back, with the same name and address
				l, err := netlink.LinkByName("t0")
				if err == nil {
					err = netlink.LinkDel(l)
				}
				if err == nil {
					err = veth("t0", h.name, h.t, mtu)
				}
				return err
			})
			r.in(h.open)
			for end := time.Now().Add(20 * time.Second); len(h.ask(h.readExt(0, 1).frame())) == 0; {
				if time.Now().After(end) {
					t.Fatalf("the interface that came back is not served:\n%s", r.log.String())
				}
			}
			use(r.xdpFrames(socket))
			if strings.Contains(r.log.String(), "does not send by AF_XDP") && (c.more == "" || c.mode == "auto") {
				t.Errorf("%s:\n%s", c.mode, r.log.String())
			}
			r.stop()
		}
	}
}
