package tune

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Card is what is asked of the driver of an interface, and told to it. An error means that the driver does not have it.
type Card interface {
	// Rings returns how many frames the receive and transmit rings hold, and can hold.
	Rings(ifname string) (rx, rxMax, tx, txMax int, err error)
	SetRing(ifname, which string, frames int) error // which: "rx" or "tx"
	// Coalescing returns how many microseconds the card waits for more frames before it interrupts, and whether it finds the time itself.
	Coalescing(ifname string) (usecs int, adaptive bool, err error)
	SetCoalescing(ifname string, usecs int) error
	// Pause tells whether pause frames are obeyed and sent.
	Pause(ifname string) (rx, tx bool, err error)
	SetPause(ifname string, rx, tx bool) error
	// LRO tells whether the card merges received TCP segments.
	LRO(ifname string) (bool, error)
	SetLRO(ifname string, on bool) error
	// MTURange returns the bounds that the driver gives; 0: it gives none.
	MTURange(ifname string) (least, most int, err error)
	// Queueing returns the kinds of the queueing disciplines: first that of the interface, then those of its queues, if they have their own; and whether
	// somebody chose the first, perhaps with options of its own.
	Queueing(ifname string) (kinds []string, chosen bool, err error)
	SetQueueing(ifname, kind string) error
	Close()
}

// OpenCard opens what asks the drivers of this machine's interfaces, in the network namespace of the thread.
func OpenCard() (Card, error) {
	tool, err := ethtool.NewEthtool()
	if err != nil {
		return nil, err
	}
	return &drivers{tool}, nil
}

type drivers struct{ tool *ethtool.Ethtool }

func (d *drivers) Close() { d.tool.Close() }

func (d *drivers) Rings(ifname string) (rx, rxMax, tx, txMax int, err error) {
	r, err := d.tool.GetRing(ifname)
	return int(r.RxPending), int(r.RxMaxPending), int(r.TxPending), int(r.TxMaxPending), err
}

func (d *drivers) SetRing(ifname, which string, frames int) error {
	r, err := d.tool.GetRing(ifname)
	if err != nil {
		return err
	}
	if which == "rx" {
		r.RxPending = uint32(frames)
	} else {
		r.TxPending = uint32(frames)
	}
	_, err = d.tool.SetRing(ifname, r)
	return err
}

func (d *drivers) Coalescing(ifname string) (usecs int, adaptive bool, err error) {
	c, err := d.tool.GetCoalesce(ifname)
	return int(c.RxCoalesceUsecs), c.UseAdaptiveRxCoalesce != 0, err
}

func (d *drivers) SetCoalescing(ifname string, usecs int) error {
	c, err := d.tool.GetCoalesce(ifname)
	if err != nil {
		return err
	}
	c.RxCoalesceUsecs = uint32(usecs)
	_, err = d.tool.SetCoalesce(ifname, c)
	return err
}

func (d *drivers) Pause(ifname string) (rx, tx bool, err error) {
	p, err := d.tool.GetPause(ifname)
	return p.RxPause != 0, p.TxPause != 0, err
}

func (d *drivers) SetPause(ifname string, rx, tx bool) error {
	p, err := d.tool.GetPause(ifname)
	if err != nil {
		return err
	}
	p.RxPause, p.TxPause = 0, 0
	if rx {
		p.RxPause = 1
	}
	if tx {
		p.TxPause = 1
	}
	_, err = d.tool.SetPause(ifname, p)
	return err
}

func (d *drivers) LRO(ifname string) (bool, error) {
	f, err := d.tool.Features(ifname)
	return f["rx-lro"], err
}

func (d *drivers) SetLRO(ifname string, on bool) error {
	return d.tool.Change(ifname, map[string]bool{"rx-lro": on})
}

// MTURange asks by netlink: ethtool does not know it, and sysfs has no file for it.
func (d *drivers) MTURange(ifname string) (least, most int, err error) {
	l, err := netlink.LinkByName(ifname)
	if err != nil {
		return 0, 0, err
	}
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(l.Attrs().Index)
	req.AddData(msg)
	answers, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return 0, 0, err
	}
	for _, b := range answers {
		if len(b) < unix.SizeofIfInfomsg {
			continue
		}
		attrs, err := nl.ParseRouteAttr(b[unix.SizeofIfInfomsg:])
		if err != nil {
			return 0, 0, err
		}
		for _, a := range attrs {
			if len(a.Value) < 4 {
				continue
			}
			switch n := int(nl.NativeEndian().Uint32(a.Value)); a.Attr.Type {
			case unix.IFLA_MIN_MTU:
				least = n
			case unix.IFLA_MAX_MTU:
				most = n
			}
		}
	}
	return least, most, nil
}

func (d *drivers) Queueing(ifname string) (kinds []string, chosen bool, err error) {
	l, err := netlink.LinkByName(ifname)
	if err != nil {
		return nil, false, err
	}
	list, err := netlink.QdiscList(l)
	if err != nil {
		return nil, false, err
	}
	var root, rest []string
	for _, q := range list {
		if q.Attrs().Parent == netlink.HANDLE_ROOT {
			root = append(root, q.Type())
			chosen = q.Attrs().Handle != 0 // the kernel's own have no number
		} else {
			rest = append(rest, q.Type())
		}
	}
	if len(root) == 0 {
		return nil, false, errors.New("it has no queueing discipline")
	}
	return append(root, rest...), chosen, nil
}

func (d *drivers) SetQueueing(ifname, kind string) error {
	l, err := netlink.LinkByName(ifname)
	if err != nil {
		return err
	}
	return netlink.QdiscReplace(&netlink.GenericQdisc{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Parent: netlink.HANDLE_ROOT}, QdiscType: kind})
}

// cardSetting is a setting of a driver.
type cardSetting struct {
	m      *Machine
	ifname string
	tool   string // the program's words before the value, e.g. "ethtool -G %s rx"
	get    func(c Card) (string, error)
	set    func(c Card, value string) error
}

func (s cardSetting) Read() (string, error)    { return s.get(s.m.Card) }
func (s cardSetting) Write(value string) error { return s.set(s.m.Card, value) }

func (s cardSetting) Command(value string) string {
	return fmt.Sprintf(s.tool, s.ifname, value)
}

// programs are where udev may find ethtool: it has no search path.
var programs = []string{"/usr/sbin/ethtool", "/sbin/ethtool", "/usr/bin/ethtool"}

func (s cardSetting) Boot(value string) []Line {
	udev := s.m.udevOf(s.ifname)
	for _, p := range programs {
		if udev == "" || !strings.HasPrefix(s.tool, "ethtool ") || !s.m.exists(p) {
			continue
		}
		run := func(v string) string { return udev + `, RUN+="` + p + fmt.Sprintf(s.tool, "$name", v)[len("ethtool"):] }
		key, _, _ := strings.Cut(run("\x00"), "\x00") // up to the value
		return []Line{{UdevFile, key, run(value) + `"`}}
	}
	return nil
}

// numberSetting is a setting of a driver that is a number.
func (m *Machine) numberSetting(ifname, tool string, get func(c Card) (int, error), set func(c Card, n int) error) cardSetting {
	return cardSetting{m: m, ifname: ifname, tool: tool,
		get: func(c Card) (string, error) {
			n, err := get(c)
			return strconv.Itoa(n), err
		},
		set: func(c Card, value string) error {
			n, err := strconv.Atoi(value)
			if err != nil {
				return err
			}
			return set(c, n)
		}}
}

// switchSetting is a setting of a driver that is on or off.
func (m *Machine) switchSetting(ifname, tool string, get func(c Card) (bool, error), set func(c Card, on bool) error) cardSetting {
	return cardSetting{m: m, ifname: ifname, tool: tool,
		get: func(c Card) (string, error) {
			on, err := get(c)
			if on {
				return "on", err
			}
			return "off", err
		},
		set: func(c Card, value string) error { return set(c, value == "on") }}
}
