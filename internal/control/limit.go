package control

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limiter bounds how many connections are open at a time. When there is no room the connection that nobody has used for the longest time
// makes some; when all are in use, the new one is told so and closed. Nobody waits for others.
type Limiter struct {
	net.Listener
	most    int
	turning chan struct{} // room for those that are told

	mu   sync.Mutex
	idle map[net.Conn]time.Time // open connections, and since when nobody has used them; zero: in use
}

const (
	idleAtLeast   = time.Second // before a connection has to make room: a client's next request may be on its way
	maxTurning    = 64          // connections that are being told that there is no room; beyond that they are just closed
	turnPatience  = 2 * time.Second
	tooManyStatus = http.StatusServiceUnavailable
)

// Limit makes a Limiter of a listener. An http.Server that serves it has State as its ConnState.
func Limit(l net.Listener, most int) *Limiter {
	return &Limiter{Listener: l, most: most, turning: make(chan struct{}, maxTurning), idle: map[net.Conn]time.Time{}}
}

// Accept implements net.Listener.
func (l *Limiter) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.room() {
			return c, nil
		}
		select {
		case l.turning <- struct{}{}:
			go func() {
				defer func() { <-l.turning }()
				turnAway(c, l.most)
			}()
		default:
			_ = c.Close()
		}
	}
}

// room says whether there is room for one more, and makes some where it can.
func (l *Limiter) room() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.idle) < l.most {
		return true
	}
	var oldest net.Conn
	for c, at := range l.idle {
		if !at.IsZero() && time.Since(at) >= idleAtLeast && (oldest == nil || at.Before(l.idle[oldest])) {
			oldest = c
		}
	}
	if oldest == nil {
		return false
	}
	delete(l.idle, oldest)
	_ = oldest.Close()
	return true
}

// State is told of each connection that is opened, used, left alone and closed.
func (l *Limiter) State(c net.Conn, s http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch s {
	case http.StateNew:
		l.idle[c] = time.Time{}
	case http.StateActive, http.StateIdle:
		if _, open := l.idle[c]; !open {
			return // it had to make room a moment ago
		}
		l.idle[c] = time.Time{}
		if s == http.StateIdle {
			l.idle[c] = time.Now()
		}
	case http.StateClosed, http.StateHijacked:
		delete(l.idle, c)
	}
}

// turnAway tells a client that there is no room.
func turnAway(c net.Conn, most int) {
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(turnPatience))
	_, _ = c.Read(make([]byte, maxHeader)) // an answer before there was a request would surprise
	body, _ := json.Marshal(map[string]*Error{"error": Errorf(CodeGone, "the daemon has %d connections, and takes no more at the moment", most).
		WithHint("some program keeps too many open: ss -p | grep goaoe tells which")})
	fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", tooManyStatus, http.StatusText(tooManyStatus), len(body), body)
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		_ = h.CloseWrite()
		_, _ = io.Copy(io.Discard, io.LimitReader(c, maxBody)) // closing with something unread may lose the answer
	}
}
