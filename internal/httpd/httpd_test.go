package httpd

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestServer: it answers until Close, which waits for what is being answered, and breaks off what takes too long.
func TestServer(t *testing.T) {
	listen := func() net.Listener {
		t.Helper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for name, c := range map[string]struct {
		grace time.Duration
		whole bool
	}{"waits": {time.Minute, true}, "breaks off": {10 * time.Millisecond, false}} {
		t.Run(name, func(t *testing.T) {
			asked, goOn := make(chan struct{}), make(chan struct{})
			s := Serve(listen(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(asked)
				select {
				case <-goOn:
				case <-r.Context().Done():
				}
				_, _ = io.WriteString(w, "whole")
			}), Options{What: "a test is", Answer: time.Minute, Grace: c.grace}, slog.New(slog.DiscardHandler))
			got := make(chan string, 1)
			go func() {
				resp, err := http.Get("http://" + s.Addr().String())
				if err != nil {
					got <- "broken off"
					return
				}
				defer func() { _ = resp.Body.Close() }()
				b, _ := io.ReadAll(resp.Body)
				got <- string(b)
			}()
			<-asked
			if c.whole {
				time.AfterFunc(50*time.Millisecond, func() { close(goOn) })
			}
			s.Close()
			if text := <-got; (text == "whole") != c.whole {
				t.Errorf("the answer is %q", text)
			}
			if c, err := net.Dial("tcp", s.Addr().String()); err == nil {
				_ = c.Close()
				t.Error("it still listens")
			}
		})
	}

	// A listener that fails is said.
	log, l := make(lines, 1), listen()
	_ = l.Close()
	s := Serve(l, http.NotFoundHandler(), Options{What: "a test is", Grace: time.Second}, slog.New(slog.NewTextHandler(log, nil)))
	if line := <-log; !strings.Contains(line, "a test is no longer served") {
		t.Errorf("%q", line)
	}
	s.Close()
}

// lines gets what is logged.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func TestCause(t *testing.T) {
	inner := errors.New("inner")
	if err := Cause(&net.OpError{Op: "listen", Err: inner}); !errors.Is(err, inner) || errors.As(err, new(*net.OpError)) {
		t.Error(err)
	}
	if err := Cause(inner); !errors.Is(err, inner) || errors.As(err, new(*net.OpError)) {
		t.Error(err)
	}
}
