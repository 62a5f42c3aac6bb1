package web

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"goaoe/internal/web/webtest"
)

// listen serves the page of a daemon that is made up, and returns where.
func listen(t *testing.T, d *webtest.Daemon, o Options) string {
	t.Helper()
	goleak.VerifyNone(t)
	s, err := Serve("127.0.0.1:0", d, o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		goleak.VerifyNone(t)
	})
	return s.Addr().String()
}

// answer is a reply, read whole.
type answer struct {
	status int // 0: the connection was closed without one
	header http.Header
	body   string
}

// raw sends bytes as they are.
func raw(t *testing.T, addr, request string) answer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	go func() { _, _ = io.WriteString(c, request) }()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return answer{}
	}
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// TestRaw: paths that lead elsewhere, line breaks where they would become headers, and what is no HTTP.
func TestRaw(t *testing.T) {
	addr := listen(t, webtest.New(3), Options{Token: token})
	for _, path := range []string{"/../../../../etc/passwd", "/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2f..%2fetc%2fpasswd", "/assets/../../web.go", "/./././web.go", "/etc/passwd", "/app.js/../../web.go",
		"//etc/passwd", "//evil.example/", "///evil.example/%2e%2e", "/\\evil.example", "/api/exports/../../etc/passwd", "/api/exports/..%2f..%2fview", "/app.js%00.html", "/app.js%0d%0aX-Evil:%20yes",
		"/api/exports/e0.1%0d%0aSet-Cookie:%20a=b", "/api/view?sort=%0d%0aX-Evil:%20yes", "/%0d%0aX-Evil:%20yes", "http://evil.example/api/view", "*"} {
		got := raw(t, addr, "GET "+path+" HTTP/1.1\r\nHost: "+addr+"\r\n\r\n")
		if got.status == 0 {
			continue // cut off
		}
		if got.status < 300 || strings.Contains(got.body, "root:") || strings.Contains(got.body, "package web") {
			t.Errorf("%s: %d %.100s", path, got.status, got.body)
		}
		if l := got.header.Get("Location"); strings.HasPrefix(l, "//") || strings.Contains(l, "://") || strings.Contains(l, "\\") {
			t.Errorf("%s leads to %s", path, l)
		}
		if got.header.Get("X-Evil") != "" || got.header.Get("Set-Cookie") != "" {
			t.Errorf("%s makes the headers %v", path, got.header)
		}
	}
	for _, host := range []string{"evil.example", "127.0.0.1:1@evil.example", "127.0.0.1.evil.example", "evil.example#127.0.0.1", " ", "127.0.0.1\r\nHost: evil.example"} {
		if got := raw(t, addr, "GET /api/view HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); got.status != 0 && got.status < 400 {
			t.Errorf("Host %q: %d", host, got.status)
		}
	}
	for _, text := range []string{"\x16\x03\x01\x02\x00\x01", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", strings.Repeat("A", 100<<10), "GET / HTTP/1.1\r\nHost: " + addr + "\r\nX: " + strings.Repeat("x", 2*maxHeader) + "\r\n\r\n",
		"POST /api/changes HTTP/1.1\r\nHost: " + addr + "\r\nAuthorization: Bearer " + token + "\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"POST /api/changes HTTP/1.1\r\nHost: " + addr + "\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /api/plan HTTP/1.1\r\n\r\n"} {
		if got := raw(t, addr, text); got.status != 0 && got.status < 400 {
			t.Errorf("%.40q: %d", text, got.status)
		}
	}
	if got := raw(t, addr, "GET /api/view HTTP/1.1\r\nHost: "+addr+"\r\n\r\n"); got.status != http.StatusOK || !strings.Contains(got.body, "e0.2") {
		t.Errorf("after all that: %+v", got)
	}
}

// TestSlow: clients that send slowly are cut off, and somebody else sees the page meanwhile.
func TestSlow(t *testing.T) {
	d := webtest.New(3)
	addr := listen(t, d, Options{Token: token})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	slowly := func(begin, drop string) {
		wg.Go(func() {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			_, _ = io.WriteString(c, begin)
			gone := make(chan struct{})
			go func() { _, _ = io.Copy(io.Discard, c); close(gone) }()
			for {
				select {
				case <-gone:
					return
				case <-ctx.Done():
					t.Errorf("%.20q... is not cut off", begin)
					return
				case <-time.After(100 * time.Millisecond):
					_, _ = io.WriteString(c, drop)
				}
			}
		})
	}
	for range maxConns / 4 {
		slowly("GET / HTTP/1.1\r\n", "X")
		slowly(fmt.Sprintf("POST /api/changes HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n", addr, token), " ")
	}
	client := &http.Client{Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	for range 3 {
		resp, err := client.Get("http://" + addr + "/api/view")
		if err != nil {
			t.Fatalf("beside slow clients: %v", err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("beside slow clients: %d", resp.StatusCode)
		}
	}
	wg.Wait()
	d.Lock()
	defer d.Unlock()
	if d.Calls["change"] > 0 {
		t.Error("half a request was taken for a change")
	}
}

// TestServeErrors: an address that cannot be listened on is told in one line.
func TestServeErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for addr, want := range map[string]string{l.Addr().String(): "address already in use", "192.0.2.7:8480": "cannot assign requested address", "nonsense": "missing port", "127.0.0.1:http-alt-x": "unknown port"} {
		s, err := Serve(addr, webtest.New(1), Options{}, slog.New(slog.DiscardHandler))
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), "[web] listen "+addr+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// TestIdle: connections that nobody uses, of browsers with many tabs, do not keep others away.
func TestIdle(t *testing.T) {
	addr := listen(t, webtest.New(3), Options{})
	for range maxConns {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "GET /icon.svg HTTP/1.1\r\nHost: "+addr+"\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got := raw(t, addr, "GET /api/view HTTP/1.1\r\nHost: "+addr+"\r\nConnection: close\r\n\r\n")
		if got.status == http.StatusOK {
			break
		}
		if got.status != 0 && got.status != http.StatusServiceUnavailable || time.Now().After(end) {
			t.Fatalf("beside idle connections: %+v", got)
		}
	}
}
