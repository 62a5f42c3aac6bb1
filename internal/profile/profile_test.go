package profile

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSocket: the socket is the user's own, one that is left over is taken over, and what is in use or is something else stays.
func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Lstat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	s := Serve(l, slog.New(slog.DiscardHandler))
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "is used by another process") {
		t.Errorf("a second listener: %v", err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	for at, want := range map[string]string{"": "profiles", "debug/pprof/": "goroutine", "debug/pprof/goroutine?debug=1": "profile.TestSocket", "debug/pprof/cmdline": "test"} {
		resp, err := client.Get("http://localhost/" + at)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(b), want) {
			t.Errorf("%s: %s, %.200q", at, resp.Status, b)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket is left")
	}
	l, err = Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // as a process that died leaves it
	if l, err = Listen(path); err != nil {
		t.Fatalf("one that is left over: %v", err)
	}
	_ = l.Close()
	_ = os.Remove(path)
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file: %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "data" {
		t.Error("the file is gone")
	}
}

// TestStrangers: a page from elsewhere in a browser on this machine gets nothing.
func TestStrangers(t *testing.T) {
	for _, c := range []struct {
		strict            bool
		host, key, origin string
		want              int
	}{
		{true, "127.0.0.1:6060", "", "", 200}, {true, "localhost:6060", "", "", 200}, {true, "[::1]:6060", "", "", 200}, {true, "[::1]", "", "", 200},
		{true, "evil.example:6060", "", "", 403}, {true, "localhost.evil.example", "", "", 403}, {true, "localhost:6060", "Origin", "http://evil.example", 403},
		{true, "localhost:6060", "Sec-Fetch-Site", "cross-site", 403}, {false, "target1:6060", "", "", 200},
	} {
		r := httptest.NewRequest(http.MethodGet, Path+"cmdline", nil)
		r.Host = c.host
		if c.key != "" {
			r.Header.Set(c.key, c.origin)
		}
		w := httptest.NewRecorder()
		Handler(c.strict).ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%+v: %d", c, w.Code)
		}
	}
}

// TestBusyPort: the error names the place.
func TestBusyPort(t *testing.T) {
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if !strings.HasPrefix(URL(l), "http://127.0.0.1:") || !strings.HasSuffix(URL(l), Path) {
		t.Error(URL(l))
	}
	if _, err := Listen(l.Addr().String()); err == nil || !strings.HasPrefix(err.Error(), l.Addr().String()+": ") {
		t.Error(err)
	}
}
