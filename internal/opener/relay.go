package opener

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// The opener takes the connections of the control socket and of the web page, reads along what clients ask for, and passes everything on, as it came, to the
// daemon, which answers. What a request names as a source may be opened from then on: it was a client with the right to say so that named it: one that may
// use the socket, or one of the page that knows its token. No bytes are changed. What is no HTTP is passed on all the same: the daemon knows what to say to it.

// Bounds of the relay.
const (
	maxClients = 256      // at a time; others wait
	maxRead    = 2 << 20  // bytes of a request that are looked at, more than the daemon takes
	maxHeader  = 80 << 10 // bytes of its head, the same
)

// stream is a connection of a Unix or TCP socket.
type stream interface {
	net.Conn
	CloseRead() error
	CloseWrite() error
}

// anybody vouches for every request.
func anybody(*http.Request) bool { return true }

// take takes connections of a listener until it is closed. what is the listener, for the daemon; may tells which requests of a client can grant something, nil
// none.
func (s *Server) take(l net.Listener, what byte, may func(client stream) func(*http.Request) bool) {
	limit := make(chan struct{}, maxClients)
	for {
		limit <- struct{}{}
		conn, err := l.Accept()
		if err != nil {
			return
		}
		c, ok := conn.(stream)
		if !ok {
			_ = conn.Close()
			<-limit
			continue
		}
		go func() {
			defer func() { <-limit }()
			s.relay(c, what, may(c))
		}()
	}
}

// socketClient tells what a client of the control socket can grant: everything, but for the daemon, which cannot grant itself anything.
func (s *Server) socketClient(c stream) func(*http.Request) bool {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil
	}
	if pid, err := peer(u); err != nil || pid == s.hello.PID {
		return nil
	}
	return anybody
}

// relay connects a client with the daemon until both have ended.
func (s *Server) relay(client stream, what byte, may func(*http.Request) bool) {
	defer func() { _ = client.Close() }() // what could be said was said
	daemon, other, err := pair(unix.SOCK_STREAM)
	if err != nil {
		return
	}
	defer func() { _ = daemon.Close() }() // likewise
	s.mu.Lock()
	_, _, err = s.conn.WriteMsgUnix([]byte{what}, unix.UnixRights(other), nil)
	s.mu.Unlock()
	_ = unix.Close(other)
	if err != nil {
		return
	}
	var wait sync.WaitGroup
	wait.Add(1)
	go func() {
		defer wait.Done()
		_, _ = io.Copy(client, daemon)
		_ = client.CloseWrite()
		_ = client.CloseRead() // the daemon is done: nobody reads any more
	}()
	if may != nil {
		s.follow(client, daemon, may)
	}
	_, _ = io.Copy(daemon, client)
	_ = daemon.CloseWrite()
	wait.Wait()
}

// follow passes on whole requests, each after its sources were granted if may says so, until there is one that it does not understand. Everything that it has
// read was passed on then.
func (s *Server) follow(client io.Reader, daemon io.Writer, may func(*http.Request) bool) {
	b := &budget{r: client}
	var read bytes.Buffer // and not passed on yet
	in := bufio.NewReader(io.TeeReader(b, &read))
	pass := func(keep int) bool { // all but the last bytes, which nobody has looked at yet
		_, err := daemon.Write(read.Next(read.Len() - keep))
		return err == nil
	}
	for {
		b.n = maxHeader
		req, err := http.ReadRequest(in)
		if err != nil {
			pass(0)
			return
		}
		if req.Header.Get("Expect") != "" && !pass(in.Buffered()) { // the client wants to hear of the daemon first
			return
		}
		b.n = maxRead
		body, err := io.ReadAll(req.Body)
		if err != nil {
			pass(0)
			return
		}
		if list := sourcesIn(body); len(list) > 0 && may(req) {
			s.rules.Grant(list)
		}
		if !pass(in.Buffered()) {
			return
		}
	}
}

// budget is a reader that ends with an error after n bytes more.
type budget struct {
	r io.Reader
	n int
}

var errBudget = errors.New("longer than what is looked at")

func (b *budget) Read(p []byte) (int, error) {
	if b.n <= 0 {
		return 0, errBudget
	}
	n, err := b.r.Read(p[:min(len(p), b.n)])
	b.n -= n
	return n, err
}

// sourcesIn returns all that a request in JSON has under the name of source, however deep. The daemon takes names of fields in any case.
func sourcesIn(body []byte) (list []string) {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return nil
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for k, x := range v {
				if text, ok := x.(string); ok && strings.EqualFold(k, "source") {
					list = append(list, text)
				}
				walk(x)
			}
		}
	}
	walk(v)
	return list
}
