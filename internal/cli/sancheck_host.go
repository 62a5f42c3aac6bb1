package cli

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/safchain/ethtool"
	"golang.org/x/sys/unix"
)

// sanInterface is an interface as goaoe sancheck sees it.
type sanInterface struct {
	Name   string `json:"name"`
	State  string `json:"state"` // up, down, no carrier
	MTU    int    `json:"mtu"`
	MAC    string `json:"mac"`
	Speed  int64  `json:"speed,omitempty"` // Mbit/s; absent when the driver does not tell
	Duplex string `json:"duplex,omitempty"`
	Driver string `json:"driver,omitempty"`
	Bus    string `json:"bus,omitempty"` // e.g. the PCI address

	ringNow, ringMax uint32 // receive ring in frames; 0: the driver does not tell
}

// ifStats are counters of an interface.
type ifStats map[string]int64

// lossCounters are the counters that tell of frames that an interface lost.
var lossCounters = []struct{ file, what, fix string }{
	{"rx_crc_errors", "frames came damaged", "replace the cable or the port"},
	{"rx_missed_errors", "frames were lost because this machine was too slow", "ethtool -G %s rx 4096"},
	{"rx_fifo_errors", "frames were lost in the network card's queue", "ethtool -G %s rx 4096"},
	{"rx_length_errors", "frames were longer than the interface takes", "ip link set dev %s mtu 9000"},
	{"rx_dropped", "received frames were dropped by the kernel", "sysctl -w net.core.netdev_max_backlog=10000"},
	{"tx_dropped", "frames to be sent were dropped", "ip link set dev %s txqueuelen 1000"},
	{"tx_carrier_errors", "frames were lost because the link went away", "look at the cable of %s"},
}

// netDir is the folder of an interface.
func (c *sanCheck) netDir(name string) string {
	return filepath.Join("/", c.env.Sysroot, "sys/class/net", name)
}

// interfaces looks at the interfaces and returns the names of those that can be used.
func (c *sanCheck) interfaces() []string {
	c.before = map[string]ifStats{}
	tool, _ := ethtool.NewEthtool() // what it would tell is left out without it
	if tool != nil {
		defer tool.Close()
	}
	all, err := net.Interfaces()
	if err != nil {
		c.say("interface", levelProblem, "", "", "the interfaces cannot be listed: %s", err)
	}
	var names []string
	for _, want := range c.flags.interfaces {
		if !slices.ContainsFunc(all, func(i net.Interface) bool { return i.Name == want }) {
			c.say("interface", levelProblem, want, "ip link shows those that are there", "there is no such interface")
		}
	}
	for _, i := range all {
		named := slices.Contains(c.flags.interfaces, i.Name)
		if len(c.flags.interfaces) > 0 && !named || i.Flags&net.FlagLoopback != 0 || len(i.HardwareAddr) != 6 {
			continue
		}
		s := c.describe(i, tool)
		c.report.Interfaces = append(c.report.Interfaces, s)
		level := levelNote
		if named {
			level = levelProblem
		}
		switch s.State {
		case "down":
			c.say("interface", level, i.Name, "ip link set dev "+i.Name+" up", "it is down")
			continue
		case "no carrier":
			c.say("interface", levelWarning, i.Name, "look at its cable and at the switch port; ethtool "+i.Name, "it is up, but has no carrier: nothing can be reached over it")
			continue
		}
		c.judge(s)
		c.listen(i.Index)
		c.before[i.Name] = c.counters(i.Name)
		names = append(names, i.Name)
	}
	return names
}

// describe collects what the kernel tells of an interface.
func (c *sanCheck) describe(i net.Interface, tool *ethtool.Ethtool) sanInterface {
	s := sanInterface{Name: i.Name, State: "up", MTU: i.MTU, MAC: i.HardwareAddr.String()}
	dir := c.netDir(i.Name)
	switch b, err := os.ReadFile(filepath.Join(dir, "carrier")); {
	case i.Flags&net.FlagUp == 0:
		s.State = "down"
	case err == nil && strings.TrimSpace(string(b)) == "0", err != nil && i.Flags&net.FlagRunning == 0:
		s.State = "no carrier"
	}
	if n, err := readNumber(filepath.Join(dir, "speed")); err == nil && n > 0 {
		s.Speed = n
	}
	if b, err := os.ReadFile(filepath.Join(dir, "duplex")); err == nil {
		s.Duplex = strings.TrimSpace(string(b))
	}
	if tool == nil {
		return s
	}
	if d, err := tool.DriverInfo(i.Name); err == nil {
		s.Driver, s.Bus = d.Driver, d.BusInfo
	}
	if r, err := tool.GetRing(i.Name); err == nil {
		s.ringNow, s.ringMax = r.RxPending, r.RxMaxPending
	}
	if p, err := tool.GetPause(i.Name); err == nil && p.RxPause == 0 && p.TxPause == 0 && s.Bus != "" {
		c.say("flow control", levelNote, i.Name, "if the switch has it too: ethtool -A "+i.Name+" rx on tx on", "flow control is off: a burst that is too fast for one side loses frames")
	}
	if f, err := tool.Features(i.Name); err == nil && f["rx-lro"] {
		if _, err := os.Stat(filepath.Join(dir, "brport")); err == nil {
			c.say("offload", levelWarning, i.Name, "ethtool -K "+i.Name+" lro off", "large receive offload is on at a port of a bridge, which must not merge what it passes on")
		}
	}
	return s
}

// judge says what is wrong with an interface that is up.
func (c *sanCheck) judge(s sanInterface) {
	if s.Duplex == "half" {
		c.say("interface", levelWarning, s.Name, "ethtool -s "+s.Name+" autoneg on; look at the switch port", "the link is half duplex")
	}
	if s.Speed > 0 && s.Speed < 1000 {
		c.say("interface", levelWarning, s.Name, "look at the cable, the switch port and ethtool "+s.Name, "the link runs at %d Mbit/s", s.Speed)
	}
	dir := c.netDir(s.Name)
	if master, err := os.Readlink(filepath.Join(dir, "master")); err == nil {
		m := filepath.Base(master)
		c.say("interface", levelNote, s.Name, "goaoe sancheck -i "+m, "it belongs to %s: targets are used over that", m)
	}
	if _, err := os.Stat(filepath.Join(dir, "wireless")); err == nil {
		c.say("interface", levelWarning, s.Name, "use a cable", "it is wireless: frames get lost, and everybody in reach can join")
	}
}

// listen takes all frames of an interface, and does nothing with them. The kernel counts those that no protocol and no program wants as dropped
// (rx_dropped in __netif_receive_skb_core, net/core/dev.c): what switches tell of themselves (LLDP), and late answers to us. Those are not lost. Where
// a socket cannot be had, the check itself fails and says why.
func (c *sanCheck) listen(index int) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	none := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
	_ = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &none}) // without it the socket's buffer fills up, and that is all
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	_ = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}) // see above
	c.ears = append(c.ears, fd)
}

// deaf ends listen.
func (c *sanCheck) deaf() {
	for _, fd := range c.ears {
		_ = unix.Close(fd)
	}
	c.ears = nil
}

func (c *sanCheck) counters(name string) ifStats {
	out := ifStats{}
	for _, k := range lossCounters {
		if n, err := readNumber(filepath.Join(c.netDir(name), "statistics", k.file)); err == nil {
			out[k.file] = n
		}
	}
	return out
}

// after says what the interfaces lost meanwhile, and whether the kernel's queues take what the targets may send at once.
func (c *sanCheck) after() {
	for _, s := range c.report.Interfaces {
		before, ok := c.before[s.Name]
		if !ok {
			continue
		}
		now := c.counters(s.Name)
		for _, k := range lossCounters {
			if d := now[k.file] - before[k.file]; d > 0 {
				fix := k.fix
				if strings.Contains(fix, "%s") {
					fix = fmt.Sprintf(fix, s.Name)
				}
				c.say("loss", levelWarning, s.Name, fix, "%d %s during the check (%s)", d, k.what, k.file)
			}
		}
		c.queues(s)
	}
}

// queues compares the kernel's queues with what all targets of an interface may have on the wire to us at the same time.
func (c *sanCheck) queues(s sanInterface) {
	frames := 0
	counted := map[string]bool{}
	for _, p := range c.report.Paths {
		if p.Interface == s.Name && !counted[p.Address] {
			counted[p.Address] = true
			frames += min(p.BufferCount, maxOutstanding)
		}
	}
	if frames == 0 {
		return
	}
	if s.ringMax > s.ringNow && int(s.ringNow) < frames {
		c.say("ring", levelWarning, s.Name, fmt.Sprintf("ethtool -G %s rx %d", s.Name, s.ringMax), "its receive ring holds %d frames, and the targets may send %d at once", s.ringNow, frames)
	}
	sysctl := func(name string) int64 {
		n, err := readNumber(filepath.Join("/", c.env.Sysroot, "proc/sys/net/core", name))
		if err != nil {
			return -1
		}
		return n
	}
	if n := sysctl("netdev_max_backlog"); n >= 0 && n < int64(frames) {
		c.say("backlog", levelWarning, s.Name, fmt.Sprintf("sysctl -w net.core.netdev_max_backlog=%d", 10*max(frames, 100)), "the kernel queues %d received frames, and the targets may send %d at once", n, frames)
	}
	if need, n := int64(frames)*trueSize(s.MTU), sysctl("rmem_max"); n >= 0 && n < need {
		c.say("socket buffers", levelNote, s.Name, fmt.Sprintf("sysctl -w net.core.rmem_max=%d net.core.rmem_default=%d", need, need),
			"a socket may hold %d bytes of received frames, and the targets may send %d at once (%d frames): programs with plain sockets lose some; the Linux driver and goaoe use none", n, need, frames)
	}
}

// maxOutstanding is how many requests the Linux driver and goaoe have under way at one target at most.
const maxOutstanding = 64

// trueSize is what a received frame of that MTU takes of a socket's buffer: its data in whole pages, or a page that two small ones share, and the kernel's own part.
func trueSize(mtu int) int64 {
	const page, overhead = 4096, 768
	if mtu <= 1500 {
		return 2048 + overhead/3
	}
	return int64((mtu+page-1)/page*page + overhead)
}
