package nbd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/sys"
)

// Options are the settings of a Server. The zero value is good.
type Options struct {
	MaxConns  int           // connections at a time; 0 means 16. One more is closed at once
	Depth     int           // requests of one connection that run at a time, 1 to 1024; 0 means 128
	Handshake time.Duration // how long a client may take for the handshake; 0 means 10 s
	// OnConn is called when a client begins to use the export (err nil, over false) and when it ends (over true, err what it did wrong);
	// also for a handshake that failed. It may be called by several goroutines at a time; nil: nobody listens.
	OnConn func(c *Client, over bool, err error)
}

// Client is one connection.
type Client struct {
	PID      int // the process at the other end of a Unix socket; 0 when unknown
	UID      int // its user; -1 when unknown
	Since    time.Time
	Counters Counters
	fd       int
	kernel   bool
}

// Kernel tells whether the client is the kernel's NBD driver (ServeFD).
func (c *Client) Kernel() bool { return c.kernel }

// Server serves one export to any number of clients. Each has a goroutine of its own on a thread of its own, so a slow client
// holds up nobody else.
type Server struct {
	b    Backend
	e    Export
	o    Options
	stop *sys.EventFD // raised once, for ever

	mu        sync.Mutex
	clients   map[*Client]bool
	listeners map[net.Listener]bool
	pending   map[net.Conn]bool // in the handshake
	stopped   bool
	wg        sync.WaitGroup
}

// NewServer makes a server. Close frees it.
func NewServer(b Backend, e Export, o Options) (*Server, error) {
	e, err := e.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.MaxConns <= 0 {
		o.MaxConns = 16
	}
	if o.Depth <= 0 {
		o.Depth = 128
	}
	o.Depth = min(o.Depth, 1024)
	if o.Handshake <= 0 {
		o.Handshake = 10 * time.Second
	}
	stop, err := sys.NewEventFD()
	if err != nil {
		return nil, err
	}
	return &Server{b: b, e: e, o: o, stop: stop, clients: map[*Client]bool{}, listeners: map[net.Listener]bool{}, pending: map[net.Conn]bool{}}, nil
}

// ErrStopped is returned by Serve and ServeFD after Stop.
var ErrStopped = errors.New("nbd: the server has stopped")

// Serve accepts clients until Stop, or until the listener fails. It closes the listener.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		_ = l.Close()
		return ErrStopped
	}
	s.listeners[l] = true
	s.mu.Unlock()
	defer func() {
		_ = l.Close() // closed by Stop perhaps
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			s.take(c)
		case s.isStopped():
			return ErrStopped
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ECONNABORTED):
			time.Sleep(100 * time.Millisecond) // it gets better when others close
		default:
			return fmt.Errorf("nbd: accepting clients: %w", err)
		}
	}
}

func (s *Server) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// take serves a connection that was accepted, unless there are too many.
func (s *Server) take(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || len(s.clients)+len(s.pending) >= s.o.MaxConns {
		_ = c.Close() // the protocol has no word for it before the handshake
		return
	}
	s.pending[c] = true
	s.wg.Go(func() { s.shake(c) })
}

// shake leads the handshake, and then serves.
func (s *Server) shake(c net.Conn) {
	size := s.b.Size() / int64(s.e.MinBlock) * int64(s.e.MinBlock)
	err := c.SetDeadline(time.Now().Add(s.o.Handshake))
	if err == nil {
		err = serveHandshake(c, s.e, size)
	}
	cl := &Client{UID: -1, Since: time.Now(), fd: -1}
	if err == nil {
		cl.fd, err = detach(c)
	}
	if cl.fd >= 0 {
		if cred, e := unix.GetsockoptUcred(cl.fd, unix.SOL_SOCKET, unix.SO_PEERCRED); e == nil && cred.Pid > 0 {
			cl.PID, cl.UID = int(cred.Pid), int(cred.Uid)
		}
	}
	_ = c.Close() // detach made a descriptor of its own
	s.mu.Lock()
	delete(s.pending, c)
	if err == nil && s.stopped {
		err = errors.Join(ErrStopped, unix.Close(cl.fd))
	}
	if err == nil {
		s.clients[cl] = true
	}
	s.mu.Unlock()
	if err == nil {
		_ = s.serve(cl, size) // told to OnConn
	} else if !errors.Is(err, errDone) {
		s.tell(cl, true, err)
	}
}

// detach returns a descriptor of its own for a connection.
func detach(c net.Conn) (int, error) {
	f, ok := c.(interface{ File() (*os.File, error) })
	if !ok {
		return -1, fmt.Errorf("nbd: a connection of type %T has no descriptor", c)
	}
	file, err := f.File()
	if err != nil {
		return -1, err
	}
	defer func() { _ = file.Close() }()
	return unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 3)
}

// ServeFD serves a client that needs no handshake over a stream socket, which belongs to the server from now on, also when it fails: the kernel's
// driver was told size and flags already. It returns when the client is gone; nil: in good order.
func (s *Server) ServeFD(fd int, size int64) error {
	cl := &Client{UID: -1, Since: time.Now(), fd: fd, kernel: true}
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		_ = unix.Close(fd)
		return ErrStopped
	}
	s.clients[cl] = true
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	return s.serve(cl, size)
}

// serve is the transmission phase, on a thread of its own.
func (s *Server) serve(cl *Client, size int64) error {
	over := make(chan error)
	go func() {
		// The thread ends with the goroutine: what was set for it (ServeFD's caller may want it to be special) goes with it.
		runtime.LockOSThread()
		over <- s.transmit(cl, size)
	}()
	err := <-over
	s.mu.Lock()
	delete(s.clients, cl)
	s.mu.Unlock()
	s.tell(cl, true, err)
	return err
}

func (s *Server) transmit(cl *Client, size int64) error {
	// What the socket takes decides how often a large reply has to wait. Not being allowed more is no fault.
	_ = unix.SetsockoptInt(cl.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
	_ = unix.SetsockoptInt(cl.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20)
	q, err := s.b.NewQueue(s.o.Depth)
	if err != nil {
		return errors.Join(err, unix.Close(cl.fd))
	}
	c := newConn(cl.fd, s.e, size, q, s.o.Depth, &cl.Counters, s.stop)
	s.tell(cl, false, nil)
	return errors.Join(c.run(), c.close())
}

func (s *Server) tell(cl *Client, over bool, err error) {
	if s.o.OnConn != nil {
		s.o.OnConn(cl, over, err)
	}
}

// Clients returns the connections that use the export.
func (s *Server) Clients() []*Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*Client, 0, len(s.clients))
	for c := range s.clients {
		out = append(out, c)
	}
	return out
}

// Stop ends the server: nobody is accepted any more, no request is received any more, those that run are answered, then the connections
// are closed. It does not wait for that; Wait does.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.stopped = true
	s.stop.Signal()
	for l := range s.listeners {
		_ = l.Close() // Accept returns
	}
	for c := range s.pending {
		_ = c.SetDeadline(time.Unix(1, 0)) // the handshake ends
	}
}

// Wait waits after Stop until the last connection is over.
func (s *Server) Wait() { s.wg.Wait() }

// Close stops the server, waits for it and frees it.
func (s *Server) Close() error {
	s.Stop()
	s.Wait()
	return s.stop.Close()
}
