package opener

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/privsep"
)

// Name is what the opener is called as a program (argv[0]).
const Name = "goaoe-opener"

// ErrGone is what everything fails with when the opener has ended.
var ErrGone = errors.New("the process goaoe-opener, which opens files for the daemon, is gone: restart the daemon")

// Client is the daemon's end. It implements privsep.Agent. Its methods may be called from any goroutine.
type Client struct {
	mu    sync.Mutex // one message at a time
	conn  *net.UnixConn
	cmd   *exec.Cmd
	conns chan net.Conn // of the control socket; closed when the opener is gone
	pages chan net.Conn // of the page's listener, likewise
	quit  chan struct{} // closed by Close
}

// Hello is what the opener is told at its start, before the daemon is confined.
type Hello struct {
	Args     []string `json:"args"`               // of the daemon, with its name in front: the opener reads the same configuration by them
	PID      int      `json:"pid"`                // of the daemon, which may grant nothing
	Socket   string   `json:"socket,omitempty"`   // path of the control socket, which Remove may remove
	Profiles string   `json:"profiles,omitempty"` // path of the socket for profiles, the same
}

// startPatience is how long the opener may take to say that it is there.
const startPatience = 10 * time.Second

// Start starts the opener. It takes the connections of the control socket and of the page's listener from then on, see Listener and PageListener; nil: there is
// none.
func Start(h Hello, control *net.UnixListener, page *net.TCPListener) (_ *Client, err error) {
	conn, other, err := pair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = conn.Close()
		}
	}()
	theirs := os.NewFile(uintptr(other), "opener")
	defer func() { _ = theirs.Close() }() // the child has it
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{Name, "of", "process", fmt.Sprint(h.PID)}
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Env = environ()
	pass := func(f *os.File, err error) error {
		if err == nil {
			cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		}
		return err
	}
	defer func() {
		for _, f := range cmd.ExtraFiles[1:] {
			_ = f.Close() // the child has it
		}
	}()
	if control != nil {
		if err := pass(control.File()); err != nil {
			return nil, err
		}
	}
	if page != nil {
		if err := pass(page.File()); err != nil {
			return nil, err
		}
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the process that opens files: %w", err)
	}
	c := &Client{conn: conn, cmd: cmd, conns: make(chan net.Conn, 16), pages: make(chan net.Conn, 16), quit: make(chan struct{})}
	if err := c.hello(h, control != nil, page != nil); err != nil {
		_ = conn.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("starting the process that opens files: %w", err)
	}
	go c.take()
	return c, nil
}

// take receives connections of the control socket and the page until the opener is gone.
func (c *Client) take() {
	defer close(c.conns)
	defer close(c.pages)
	what := make([]byte, 1)
	for {
		fds, _, err := receiveFDs(c.conn, what)
		to := c.conns
		if what[0] == toPage {
			to = c.pages
		}
		for _, fd := range fds {
			conn, cerr := connOf(fd)
			if cerr != nil {
				continue
			}
			select {
			case to <- conn:
			case <-c.quit:
				_ = conn.Close()
			}
		}
		if err != nil {
			return
		}
	}
}

// Listener returns a listener for the connections that come by the opener, in place of the control socket own, which it takes over. When the opener is gone,
// the connections come by own again.
func (c *Client) Listener(own net.Listener) net.Listener {
	return &relayed{Listener: own, conns: c.conns, closed: make(chan struct{})}
}

// PageListener is Listener for the page's listener.
func (c *Client) PageListener(own net.Listener) net.Listener {
	return &relayed{Listener: own, conns: c.pages, closed: make(chan struct{})}
}

// relayed is that listener.
type relayed struct {
	net.Listener
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// Accept implements net.Listener.
func (l *relayed) Accept() (net.Conn, error) {
	select {
	case conn, ok := <-l.conns:
		if ok {
			return conn, nil
		}
		return l.Listener.Accept()
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *relayed) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// environ is the environment for the opener: ours, without what is about this process alone.
func environ() []string {
	var out []string
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(v, "="); name {
		case "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "JOURNAL_STREAM":
		default:
			out = append(out, v)
		}
	}
	return out
}

// helloRequest is a request that also says what the opener was started with.
type helloRequest struct {
	request
	Hello
	Control bool `json:"control"` // there is a control socket
	Page    bool `json:"page"`    // there is a listener of the page
}

func (c *Client) hello(h Hello, control, page bool) error {
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // one request each
	_ = conn.SetDeadline(time.Now().Add(startPatience))
	if err := send(conn, helloRequest{request{Op: opHello}, h, control, page}, -1); err != nil {
		return err
	}
	var r reply
	_, err = receive(conn, &r)
	return errors.Join(err, r.error())
}

// connect makes a connection for one request.
func (c *Client) connect() (*net.UnixConn, error) {
	conn, other, err := pair(unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	_, _, err = c.conn.WriteMsgUnix([]byte{1}, unix.UnixRights(other), nil)
	c.mu.Unlock()
	_ = unix.Close(other)
	if err != nil {
		_ = conn.Close()
		return nil, ErrGone
	}
	return conn, nil
}

// call makes one request. pass is a descriptor that goes with it, -1: none.
func (c *Client) call(q request, pass int) (r reply, fd int, err error) {
	conn, err := c.connect()
	if err != nil {
		return r, -1, err
	}
	defer func() { _ = conn.Close() }() // one request each
	if err := send(conn, q, pass); err != nil {
		return r, -1, ErrGone
	}
	if fd, err = receive(conn, &r); err != nil {
		return r, -1, ErrGone
	}
	if err := r.error(); err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return r, -1, err
	}
	return r, fd, nil
}

// error returns what went wrong on the other side.
func (r *reply) error() error {
	switch {
	case r.Errno != 0 && (r.Err == "" || r.Err == r.Errno.Error()):
		return r.Errno
	case r.Errno != 0:
		return &remoteError{r.Err, r.Errno}
	case r.Err != "":
		return errors.New(r.Err)
	}
	return nil
}

// remoteError is an error of the kernel with what was said of it.
type remoteError struct {
	text  string
	errno unix.Errno
}

func (e *remoteError) Error() string { return e.text }

func (e *remoteError) Unwrap() error { return e.errno }

// Open implements privsep.Agent.
func (c *Client) Open(k privsep.Kind, path string, flags int, perm uint32) (int, error) {
	_, fd, err := c.call(request{Op: opOpen, Kind: k, Path: path, Flags: flags, Perm: perm}, -1)
	if err == nil && fd < 0 {
		err = errors.New("no descriptor came")
	}
	return fd, err
}

// Stat implements privsep.Agent.
func (c *Client) Stat(k privsep.Kind, path string) (privsep.Facts, error) {
	r, _, err := c.call(request{Op: opStat, Kind: k, Path: path}, -1)
	if err != nil || r.Facts == nil {
		return privsep.Facts{}, err
	}
	return *r.Facts, nil
}

// Device implements privsep.Agent.
func (c *Client) Device(tag, value string) string {
	r, _, err := c.call(request{Op: opDevice, Tag: tag, Value: value}, -1)
	if err != nil {
		return ""
	}
	return r.Path
}

// Permits implements privsep.Agent.
func (c *Client) Permits(source string) error {
	_, _, err := c.call(request{Op: opPermits, Path: source}, -1)
	return err
}

// WriteAll implements privsep.Agent.
func (c *Client) WriteAll(dir string, files map[string][]byte) error {
	if len(files) == 0 {
		return nil
	}
	_, _, err := c.call(request{Op: opWrite, Path: dir, Files: files}, -1)
	return err
}

// Remove implements privsep.Agent.
func (c *Client) Remove(path string) error {
	_, _, err := c.call(request{Op: opRemove, Path: path}, -1)
	return err
}

// SendBuffer implements privsep.Agent.
func (c *Client) SendBuffer(fd, bytes int) error {
	_, _, err := c.call(request{Op: opSndBuf, Bytes: bytes}, fd)
	return err
}

// PID returns the opener's process.
func (c *Client) PID() int { return c.cmd.Process.Pid }

// Close ends the opener and waits for its end.
func (c *Client) Close() {
	close(c.quit)
	_ = c.conn.Close()
	for _, from := range []chan net.Conn{c.conns, c.pages} {
		for conn := range from { // nobody accepts them any more
			_ = conn.Close()
		}
	}
	_ = c.cmd.Wait() // how it ended does not matter any more
}
