package attach

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"goaoe/internal/nbd"
)

// Numbers of include/uapi/linux/nbd-netlink.h.
const (
	nbdConnect     = 1
	nbdDisconnect  = 2
	nbdReconfigure = 3

	attrIndex       = 1
	attrSize        = 2
	attrBlockSize   = 3
	attrTimeout     = 4
	attrServerFlags = 5
	attrSockets     = 7
	attrDeadTimeout = 8
	attrBackend     = 10

	sockItem = 1
	sockFD   = 1
)

// ErrNoDriver is the error when the kernel has no NBD driver.
var ErrNoDriver = errors.New("this kernel has no NBD driver (module nbd)")

// driver is the kernel's NBD driver.
type driver struct {
	family uint16
	sys    string // "/sys", another in tests
}

// openDriver finds the driver, and loads its module if need be.
func openDriver() (*driver, error) {
	family, err := netlink.GenlFamilyGet("nbd")
	if errors.Is(err, unix.ENOENT) {
		out, e := exec.Command("modprobe", "nbd").CombinedOutput()
		if e != nil {
			why := strings.TrimSpace(string(out))
			if why == "" {
				why = e.Error()
			}
			return nil, fmt.Errorf("%w; modprobe nbd: %s", ErrNoDriver, why)
		}
		family, err = netlink.GenlFamilyGet("nbd")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoDriver, err)
	}
	return &driver{family: family.ID, sys: "/sys"}, nil
}

// request makes a request of the driver's netlink interface.
func (k *driver) request(cmd uint8) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(int(k.family), unix.NLM_F_ACK)
	r.AddData(&nl.Genlmsg{Command: cmd, Version: 1})
	return r
}

func number32(kind int, v uint32) *nl.RtAttr {
	return nl.NewRtAttr(kind, binary.NativeEndian.AppendUint32(nil, v))
}

func number64(kind int, v uint64) *nl.RtAttr {
	return nl.NewRtAttr(kind, binary.NativeEndian.AppendUint64(nil, v))
}

// device is what the kernel is told of a device.
type device struct {
	index   int // -1: the kernel chooses
	size    int64
	flags   nbd.Flags
	backend string        // marks the device as ours
	timeout time.Duration // how long the kernel waits for one answer; 0: for ever
	dead    time.Duration // and for a new connection when all are gone
	sockets []int         // its ends of our connections; the kernel takes references of its own
}

func (d device) attributes() []*nl.RtAttr {
	list := nl.NewRtAttr(attrSockets, nil)
	for _, fd := range d.sockets {
		list.AddRtAttr(sockItem, nil).AddRtAttr(sockFD, binary.NativeEndian.AppendUint32(nil, uint32(fd)))
	}
	out := []*nl.RtAttr{number64(attrSize, uint64(d.size)), number64(attrBlockSize, 512), number64(attrServerFlags, uint64(d.flags)), list,
		nl.NewRtAttr(attrBackend, nl.ZeroTerminated(d.backend)), number64(attrTimeout, uint64((d.timeout+time.Second-1)/time.Second)),
		number64(attrDeadTimeout, uint64((d.dead+time.Second-1)/time.Second))}
	if d.index >= 0 {
		out = append(out, number32(attrIndex, uint32(d.index)))
	}
	return out
}

// connect makes a device and returns its index.
func (k *driver) connect(d device) (int, error) {
	r := k.request(nbdConnect)
	for _, a := range d.attributes() {
		r.AddData(a)
	}
	msgs, err := r.Execute(unix.NETLINK_GENERIC, 0)
	switch {
	case errors.Is(err, unix.EBUSY) && d.index >= 0:
		return -1, fmt.Errorf("/dev/nbd%d is used by somebody else", d.index)
	case errors.Is(err, unix.EPERM):
		return -1, fmt.Errorf("making an NBD device needs root (CAP_SYS_ADMIN): %w", err)
	case err != nil:
		return -1, fmt.Errorf("making an NBD device: %w", err)
	}
	for _, m := range msgs {
		if len(m) < nl.SizeofGenlmsg {
			continue
		}
		attrs, err := nl.ParseRouteAttr(m[nl.SizeofGenlmsg:])
		if err != nil {
			return -1, fmt.Errorf("making an NBD device: the kernel's answer: %w", err)
		}
		for _, a := range attrs {
			if a.Attr.Type == attrIndex && len(a.Value) >= 4 {
				return int(binary.NativeEndian.Uint32(a.Value)), nil
			}
		}
	}
	if d.index >= 0 {
		return d.index, nil
	}
	return -1, errors.New("making an NBD device: the kernel does not say which one it is")
}

// reconnect gives a device whose process died new connections.
func (k *driver) reconnect(d device) error {
	r := k.request(nbdReconfigure)
	for _, a := range d.attributes() {
		r.AddData(a)
	}
	if _, err := r.Execute(unix.NETLINK_GENERIC, 0); err != nil {
		return fmt.Errorf("taking over /dev/nbd%d: %w", d.index, err)
	}
	return nil
}

// resize tells the kernel the new size of a device.
func (k *driver) resize(index int, size int64, backend string) error {
	r := k.request(nbdReconfigure)
	r.AddData(number32(attrIndex, uint32(index)))
	r.AddData(number64(attrSize, uint64(size)))
	r.AddData(nl.NewRtAttr(attrBackend, nl.ZeroTerminated(backend)))
	if _, err := r.Execute(unix.NETLINK_GENERIC, 0); err != nil {
		return fmt.Errorf("telling /dev/nbd%d its new size of %d bytes: %w", index, size, err)
	}
	return nil
}

// disconnect ends a device.
func (k *driver) disconnect(index int) error {
	r := k.request(nbdDisconnect)
	r.AddData(number32(attrIndex, uint32(index)))
	_, err := r.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENODEV) { // it is gone already
		return fmt.Errorf("ending /dev/nbd%d: %w", index, err)
	}
	return nil
}

// backendOf returns the mark of a device, "" when it is not connected or not marked.
func (k *driver) backendOf(index int) string {
	b, err := os.ReadFile(filepath.Join(k.sys, "block", fmt.Sprintf("nbd%d", index), "backend"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// sizeOf returns the size that the kernel shows for a device, in bytes; 0 when there is none.
func (k *driver) sizeOf(index int) int64 {
	b, err := os.ReadFile(filepath.Join(k.sys, "block", fmt.Sprintf("nbd%d", index), "size"))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0
	}
	return n * 512
}

// lookAgain is how often, in milliseconds, the kernel looks at requests that have no answer yet, when their time is not limited: it sends those anew whose
// connection was replaced, after a takeover.
const lookAgain = "10000"

// settle waits until a device shows its size, and has udev look at it again: its rules see the mark only now.
func (k *driver) settle(d device) error {
	index, size := d.index, d.size
	for end := time.Now().Add(10 * time.Second); k.sizeOf(index) != size; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("/dev/nbd%d has %d bytes after 10 s, not %d", index, k.sizeOf(index), size)
		}
	}
	if d.timeout == 0 { // an older kernel does it every 30 s
		_ = os.WriteFile(filepath.Join(k.sys, "block", fmt.Sprintf("nbd%d", index), "queue/io_timeout"), []byte(lookAgain), 0)
	}
	// Without udev nobody listens, which is fine.
	_ = os.WriteFile(filepath.Join(k.sys, "block", fmt.Sprintf("nbd%d", index), "uevent"), []byte("change"), 0)
	return nil
}

// ParseDevice reads the name of a device: nbd3, /dev/nbd3.
func ParseDevice(name string) (int, error) {
	s, ok := strings.CutPrefix(strings.TrimPrefix(name, "/dev/"), "nbd")
	n, err := strconv.ParseUint(s, 10, 16)
	if !ok || err != nil {
		return -1, fmt.Errorf("%q is no NBD device: its name is like /dev/nbd0", name)
	}
	return int(n), nil
}
