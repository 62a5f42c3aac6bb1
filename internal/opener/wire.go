// Package opener is the process that opens files for a confined daemon, and the daemon's end of it; package privsep says what it is for.
//
// The daemon and the opener share a pair of connected sockets, on which nothing travels but descriptors: the opener passes connections of the control socket, and
// for each request the daemon makes a pair of its own and passes one end of it, so that a device that hangs while it is opened holds up its own request only. Over that goes one request and
// one reply, each a length of four bytes (big-endian) and so much JSON; a descriptor travels with the length of the reply.
// When the shared socket ends, the daemon is gone, and the opener ends, too.
//
// What the opener does is decided by Rules, from what it reads itself and from what clients of the control socket name: it takes their connections and
// reads along (relay.go). The daemon cannot name anything that way: the kernel says who connects.
package opener

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"goaoe/internal/privsep"
)

// Operations of a request.
const (
	opOpen    = "open"
	opStat    = "stat"
	opDevice  = "device"
	opPermits = "permits"
	opWrite   = "write"
	opRemove  = "remove"
	opSndBuf  = "sndbuf"
	opHello   = "hello"
)

// request is what the daemon asks for.
type request struct {
	Op    string            `json:"op"`
	Kind  privsep.Kind      `json:"kind,omitempty"`
	Path  string            `json:"path,omitempty"`
	Flags int               `json:"flags,omitempty"`
	Perm  uint32            `json:"perm,omitempty"`
	Tag   string            `json:"tag,omitempty"`
	Value string            `json:"value,omitempty"`
	Bytes int               `json:"bytes,omitempty"`
	Files map[string][]byte `json:"files,omitempty"`
}

// reply is what comes back.
type reply struct {
	Errno unix.Errno     `json:"errno,omitempty"` // an error of the kernel
	Err   string         `json:"err,omitempty"`   // any other error
	Facts *privsep.Facts `json:"facts,omitempty"`
	Path  string         `json:"path,omitempty"`
}

// maxMessage bounds a message in bytes: drop-ins of some ten thousand exports.
const maxMessage = 64 << 20

// send writes a message, with a descriptor when fd is not negative.
func send(c *net.UnixConn, v any, fd int) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(body) > maxMessage {
		return fmt.Errorf("a message of %d bytes is too long", len(body))
	}
	var head [4]byte
	binary.BigEndian.PutUint32(head[:], uint32(len(body)))
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	if _, _, err := c.WriteMsgUnix(head[:], rights, nil); err != nil {
		return err
	}
	_, err = c.Write(body)
	return err
}

// receive reads a message into v. A descriptor that came with it is returned, and is the caller's; -1: none did.
func receive(c *net.UnixConn, v any) (fd int, err error) {
	fd = -1
	defer func() {
		if err != nil && fd >= 0 {
			_ = unix.Close(fd)
			fd = -1
		}
	}()
	var head [4]byte
	fds, n, err := receiveFDs(c, head[:])
	if len(fds) > 0 {
		fd = fds[0]
		for _, more := range fds[1:] {
			_ = unix.Close(more)
		}
	}
	if err == nil && n < len(head) {
		_, err = io.ReadFull(c, head[n:])
	}
	if err != nil {
		return fd, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxMessage {
		return fd, fmt.Errorf("a message of %d bytes is too long", size)
	}
	body := make([]byte, 0, min(size, 64<<10)) // not what a length only claims
	buf := make([]byte, 32<<10)
	for len(body) < int(size) {
		n, err := c.Read(buf[:min(len(buf), int(size)-len(body))])
		body = append(body, buf[:n]...)
		if err != nil {
			return fd, errors.Join(io.ErrUnexpectedEOF, err)
		}
	}
	return fd, json.Unmarshal(body, v)
}

// receiveFDs reads bytes and the descriptors that came with them, which exec closes.
func receiveFDs(c *net.UnixConn, b []byte) (fds []int, n int, err error) {
	oob := make([]byte, unix.CmsgSpace(4*8))
	n, on, _, _, err := c.ReadMsgUnix(b, oob) // the net package asks for MSG_CMSG_CLOEXEC
	if on > 0 {
		msgs, perr := unix.ParseSocketControlMessage(oob[:on])
		err = errors.Join(err, perr)
		for i := range msgs {
			if got, err := unix.ParseUnixRights(&msgs[i]); err == nil {
				fds = append(fds, got...)
			}
		}
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	return fds, n, err
}

// pair makes two connected sockets: one for this process, and a descriptor for the other.
func pair(kind int) (*net.UnixConn, int, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, -1, fmt.Errorf("socketpair: %w", err)
	}
	c, err := connOf(fds[0])
	if err != nil {
		_ = unix.Close(fds[1])
		return nil, -1, err
	}
	return c, fds[1], nil
}

// connOf makes a connection of a descriptor, which it takes over.
func connOf(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "opener")
	defer func() { _ = f.Close() }() // FileConn has a copy
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, errors.New("it is no Unix socket")
	}
	return u, nil
}
