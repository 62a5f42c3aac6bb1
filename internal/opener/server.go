package opener

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/privsep"
)

// connFD is the descriptor of the connection with the daemon that the opener is started with. Those of the control socket and of the page's listener follow,
// where there are any.
const connFD = 3

// What a connection belongs to that is passed to the daemon.
const (
	toControl = 1
	toPage    = 2
)

// Bounds of what one request may take.
const (
	requestPatience = 10 * time.Second // for the other end to say what it wants, and to take the reply
	maxRequests     = 4096             // at a time: each may wait for a device
)

// Server is the opener's end.
type Server struct {
	conn    *net.UnixConn
	mu      sync.Mutex    // one message on conn at a time
	first   *net.UnixConn // the connection that Hello came by, which waits for its reply
	hello   Hello
	control *net.UnixListener // nil: none
	page    net.Listener      // nil: none
	vouch   func(*http.Request) bool
	rules   *Rules
}

// Inherited takes over what Start has started this process with.
func Inherited() (*Server, error) {
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE) // the daemon ends first, and may open until then
	unix.CloseOnExec(connFD)
	conn, err := connOf(connFD)
	if err != nil {
		return nil, err
	}
	s := &Server{conn: conn}
	if s.first, err = s.next(); err != nil {
		return nil, err
	}
	var h helloRequest
	if fd, err := receive(s.first, &h); err != nil || fd >= 0 || h.Op != opHello {
		return nil, errors.Join(errors.New("the daemon did not say hello"), err)
	}
	s.hello = h.Hello
	next := uintptr(connFD + 1)
	inherit := func(name string) (net.Listener, error) {
		unix.CloseOnExec(int(next))
		f := os.NewFile(next, name)
		next++
		l, err := net.FileListener(f)
		return l, errors.Join(err, f.Close())
	}
	if h.Control {
		l, err := inherit("control")
		if err != nil {
			return nil, err
		}
		var ok bool
		if s.control, ok = l.(*net.UnixListener); !ok {
			return nil, errors.New("the control socket is no Unix socket")
		}
		s.control.SetUnlinkOnClose(false) // it is the daemon's
	}
	if h.Page {
		if s.page, err = inherit("page"); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Vouch says which requests of the web page can grant sources: those that know the token. To be called before Serve; without it none can.
func (s *Server) Vouch(f func(*http.Request) bool) { s.vouch = f }

// Hello returns what the daemon said.
func (s *Server) Hello() Hello { return s.hello }

// Refuse tells the daemon that there is no opener, and why.
func (s *Server) Refuse(err error) { _ = send(s.first, reply{Err: err.Error()}, -1) }

// Serve does what is asked for and the rules allow, until the daemon is gone.
func (s *Server) Serve(r *Rules) error {
	s.rules = r
	if err := send(s.first, reply{}, -1); err != nil {
		return err
	}
	_ = s.first.Close()
	if s.control != nil {
		go s.take(s.control, toControl, s.socketClient)
	}
	if s.page != nil {
		go s.take(s.page, toPage, func(stream) func(*http.Request) bool { return s.vouch })
	}
	limit := make(chan struct{}, maxRequests)
	for {
		c, err := s.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		limit <- struct{}{}
		go func() {
			defer func() { <-limit }()
			defer func() { _ = c.Close() }() // one request each
			s.answer(c)
		}()
	}
}

// next waits for the connection of the next request.
func (s *Server) next() (*net.UnixConn, error) {
	for {
		fds, _, err := receiveFDs(s.conn, make([]byte, 1))
		if err != nil {
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
			return nil, err
		}
		for i, fd := range fds {
			if i > 0 {
				_ = unix.Close(fd)
			}
		}
		if len(fds) == 0 {
			continue
		}
		if c, err := connOf(fds[0]); err == nil {
			return c, nil
		}
	}
}

// answer does one request.
func (s *Server) answer(c *net.UnixConn) {
	_ = c.SetDeadline(time.Now().Add(requestPatience))
	var q request
	passed, err := receive(c, &q)
	if err != nil {
		return
	}
	r, fd := reply{}, -1
	switch q.Op {
	case opOpen:
		fd, err = s.rules.open(&q)
	case opStat:
		var f privsep.Facts
		if f, err = s.rules.stat(&q); err == nil {
			r.Facts = &f
		}
	case opDevice:
		r.Path, err = s.rules.device(&q)
	case opPermits:
		err = s.rules.Permits(q.Path)
	case opWrite:
		err = s.rules.write(&q)
	case opRemove:
		err = s.remove(q.Path)
	case opSndBuf:
		if err = unix.EBADF; passed >= 0 {
			err = privsep.Direct{}.SendBuffer(passed, min(max(q.Bytes, 0), 1<<30))
		}
	default:
		err = fmt.Errorf("there is no operation %q", q.Op)
	}
	if passed >= 0 {
		_ = unix.Close(passed)
	}
	if err != nil {
		var e unix.Errno
		if r.Err = err.Error(); errors.As(err, &e) {
			r.Errno = e
		}
	}
	_ = c.SetDeadline(time.Now().Add(requestPatience)) // it may have taken long
	_ = send(c, r, fd)
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}

// remove removes the control socket, or that of the profiles.
func (s *Server) remove(path string) error {
	if path == "" || path != s.hello.Socket && path != s.hello.Profiles {
		return refused(path)
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return err
	}
	return os.Remove(path)
}

// peer returns the process that made a connection.
func peer(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil {
		return 0, cerr
	}
	if err != nil {
		return 0, err
	}
	return int(cred.Pid), nil
}
