package control_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"goaoe/aoe"
	"goaoe/internal/control"
	"goaoe/internal/control/apitest"
	"goaoe/internal/web/webtest"
)

// madeUp is a daemon that is made up, with what package webtest leaves out.
type madeUp struct {
	*webtest.Daemon
	entered chan struct{} // a token for each Change that begins; nil: none
	leave   chan struct{} // each Change waits for it, or for the end of its context; nil: not
	ended   chan error    // the context's error, when a Change waited
	bad     string        // Change panics when the address is this
}

func (m *madeUp) Change(ctx context.Context, r *control.ChangeRequest) (*control.ChangeReply, error) {
	if m.bad != "" && r.Changes[0].Address == m.bad {
		panic("oh")
	}
	if m.entered != nil {
		m.entered <- struct{}{}
		select {
		case <-m.leave:
			m.ended <- nil
		case <-ctx.Done():
			m.ended <- ctx.Err()
			return nil, ctx.Err()
		}
	}
	return m.Daemon.Change(ctx, r)
}

func (m *madeUp) Config(context.Context) (string, error) { return "[global]\n", nil }

func (m *madeUp) Trace(ctx context.Context, r *control.TraceRequest, fn func(*control.TraceRecord) error) error {
	if r.Export == "rubbish" {
		return control.Errorf(control.CodeUsage, "export: rubbish")
	}
	for n := 0; r.Count == 0 || n < r.Count; n++ {
		if err := fn(&control.TraceRecord{Time: time.Now(), Interface: "eth1", Length: 60, Frame: []byte{1, 2, 3}, Drop: "mask"}); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// rig is a server on a socket.
type rig struct {
	*testing.T
	m      *madeUp
	socket string
	client *control.Client
}

// newRig starts a server that waits for a head and for a body so long; 0: as long as a daemon does.
func newRig(t *testing.T, m *madeUp, head, body time.Duration) *rig {
	t.Helper()
	goleak.VerifyNone(t)
	dir, err := os.MkdirTemp("", "goaoe") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	if m.Daemon == nil {
		m.Daemon = webtest.New(4)
	}
	r := &rig{T: t, m: m, socket: filepath.Join(dir, "s")}
	l, err := control.Listen(control.SocketOptions{Path: r.socket})
	if err != nil {
		t.Fatal(err)
	}
	h := control.Handler(m, control.HandlerOptions{})
	var s *control.Server
	if head > 0 {
		s = control.ServeWithin(l, h, nil, head, body)
	} else {
		s = control.Serve(l, h, nil)
	}
	r.client = control.NewClient(r.socket)
	t.Cleanup(func() {
		r.client.Close()
		_ = s.Close()
		_ = l.Close()
		os.RemoveAll(dir)
		goleak.VerifyNone(t) // nothing that a client did keeps anything
	})
	return r
}

func (r *rig) dial() net.Conn {
	r.Helper()
	c, err := net.Dial("unix", r.socket)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// raw sends bytes as they are, and returns the status and the body of the reply; 0 when the connection is closed without one.
func (r *rig) raw(b string) (int, string) {
	r.Helper()
	c := r.dial()
	go func() { _, _ = io.WriteString(c, b) }() // the server may answer before it has read everything
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	_ = c.Close()
	return resp.StatusCode, string(body)
}

// post sends a body to a call.
func (r *rig) send(method, path, body string, headers ...string) (int, string) {
	r.Helper()
	return r.raw(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: goaoe\r\nContent-Length: %d\r\n%s\r\n%s", method, path, len(body), strings.Join(append(headers, ""), "\r\n"), body))
}

// well fails the test unless the server does what it should, as soon as it is rid of the clients that were there before.
func (r *rig) well(after string) {
	r.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		st, err := r.client.Status(context.Background())
		if err == nil && st.PID == 4711 {
			return
		}
		if time.Now().After(end) {
			r.Fatalf("after %s: %v, %v", after, st, err)
		}
	}
}

// TestAnswers holds the answers of a handler against the description: those of each call, and of wrong ones.
func TestAnswers(t *testing.T) {
	m := &madeUp{Daemon: webtest.New(9)}
	m.Trouble()
	spec := apitest.Load(t)
	h := control.Handler(m, control.HandlerOptions{})
	called := map[string]bool{}
	for _, q := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/v1", "", 200}, {"GET", "/v1/status", "", 200}, {"GET", "/v1/exports", "", 200}, {"GET", "/v1/exports/e0.0", "", 200}, {"GET", "/v1/exports/0.0", "", 200},
		{"GET", "/v1/exports/9.9", "", 404}, {"GET", "/v1/exports/x", "", 400}, {"GET", "/v1/interfaces", "", 200}, {"GET", "/v1/stats", "", 200}, {"GET", "/v1/plan", "", 200},
		{"GET", "/v1/config", "", 200}, {"GET", "/v1/trace?count=3", "", 200}, {"GET", "/v1/trace?count=x", "", 400}, {"GET", "/v1/trace?export=rubbish", "", 400},
		{"PUT", "/v1/exports/5.1", `{"source":"/srv/x","settings":{"queue-length":"32"},"save":true,"wait_ms":1}`, 200}, {"PUT", "/v1/exports/5.1", `{"source":"/srv/x"}`, 409},
		{"PUT", "/v1/exports/5.2", `{"source":"x"}`, 400}, {"PUT", "/v1/exports/5.2", `{"op":"remove"}`, 400}, {"PUT", "/v1/exports/5.2", `{"address":"5.3","source":"/x"}`, 400},
		{"PATCH", "/v1/exports/5.1", `{"settings":{"queue-length":"16"}}`, 200}, {"PATCH", "/v1/exports/5.1", `{"settings":{"queue-length":"16"},"revision":"old"}`, 409},
		{"PATCH", "/v1/exports/9.9", `{"settings":{"queue-length":"16"}}`, 404}, {"PATCH", "/v1/exports/5.1", `{"settings":{"queue-length":"x"}}`, 400},
		{"PATCH", "/v1/exports/5.1", `{"wait_ms":110001}`, 400}, {"PATCH", "/v1/exports/5.1", `{"wait_ms":-1}`, 400}, {"PATCH", "/v1/exports/5.1", `{"settings":{"queue-length":16}}`, 400},
		{"DELETE", "/v1/exports/5.1?save=true&dry_run=false", "", 200}, {"DELETE", "/v1/exports/0.0", "", 409}, {"DELETE", "/v1/exports/0.0?force=true", "", 200}, {"DELETE", "/v1/exports/0.0?force=perhaps", "", 400},
		{"DELETE", "/v1/exports/0.3?froce=true", "", 400}, {"DELETE", "/v1/exports/0.3", `{"force":true}`, 400},
		{"POST", "/v1/changes", `{"changes":[{"op":"add","address":"","source":"/x"},{"op":"remove","address":"8.8"}]}`, 200}, {"POST", "/v1/changes", `{"changes":[]}`, 400}, {"POST", "/v1/changes", "", 400},
		{"POST", "/v1/announce", `{"exports":["e0.1"]}`, 200}, {"POST", "/v1/announce", "", 200}, {"POST", "/v1/announce", `{"exports":["x"]}`, 400},
		{"POST", "/v1/reload", "", 200}, {"POST", "/v1/reload", `{"discard_unsaved":true}`, 200}, {"POST", "/v1/reload", `{"discard":true}`, 400},
		{"POST", "/v1/clear", `{"what":"config","exports":["e0.1","e9.9"]}`, 200}, {"POST", "/v1/log", `{"level":"debug"}`, 200}, {"POST", "/v1/log", `{"level":1}`, 400},
		{"GET", "/v1/status?verbose=1", "", 400}, {"GET", "/v1/status", "{}", 400}, {"POST", "/v1/reload?now=1", "", 400},
	} {
		r := httpRequest(q.method, q.path, q.body)
		w := newRecorder()
		h.ServeHTTP(w, r)
		if w.Code != q.status {
			t.Errorf("%s %s %s: %d, want %d: %s", q.method, q.path, q.body, w.Code, q.status, w.Body)
		}
		for _, wrong := range spec.Check(q.method, r.URL.Path, []byte(q.body), w.Code, w.Header().Get("Content-Type"), w.Body.Bytes()) {
			t.Error(wrong)
		}
		if q.status == 200 {
			called[q.method+" "+spec.Path(r.URL.Path)] = true
		}
	}
	for _, r := range control.Routes() {
		if !called[r.Method+" /v1"+r.Path] {
			t.Errorf("no good answer of %s /v1%s was looked at", r.Method, r.Path)
		}
	}
	m.Down = true
	w := newRecorder()
	h.ServeHTTP(w, httpRequest("GET", "/v1/status", ""))
	if wrong := spec.Check("GET", "/v1/status", nil, w.Code, w.Header().Get("Content-Type"), w.Body.Bytes()); w.Code != 503 || len(wrong) > 0 {
		t.Errorf("while the daemon ends: %d, %q", w.Code, wrong)
	}
}

// TestExamples: the examples of the description are what they are examples of.
func TestExamples(t *testing.T) {
	spec := apitest.Load(t)
	n := 0
	for path, item := range spec.At("paths").(map[string]any) {
		for method := range item.(map[string]any) {
			value := spec.At("paths", path, method, "requestBody", "content", "application/json", "examples", "example", "value")
			if value == nil {
				continue
			}
			n++
			schema, err := spec.Schema("paths", path, method, "requestBody", "content", "application/json", "schema")
			if err == nil {
				err = schema.Validate(value)
			}
			if err != nil {
				t.Errorf("%s %s: %v", method, path, err)
			}
		}
	}
	if n < 7 {
		t.Errorf("%d examples", n)
	}
}

// TestETag: the revision of an export makes a change conditional.
func TestETag(t *testing.T) {
	h := control.Handler(&madeUp{Daemon: webtest.New(2)}, control.HandlerOptions{})
	ask := func(method, body, match string) *recorder {
		r := httpRequest(method, "/v1/exports/e0.0", body)
		if match != "" {
			r.Header.Set("If-Match", match)
		}
		w := newRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	tag := ask("GET", "", "").Header().Get("ETag")
	var e control.Export
	if err := json.Unmarshal(ask("GET", "", "").Body.Bytes(), &e); err != nil || tag != `"`+e.Revision+`"` || e.Revision == "" {
		t.Fatalf("ETag %s, revision %s, %v", tag, e.Revision, err)
	}
	if w := ask("PATCH", `{"settings":{"queue-length":"8"}}`, tag); w.Code != 200 {
		t.Errorf("with the revision in force: %d %s", w.Code, w.Body)
	}
	if w := ask("PATCH", `{"settings":{"queue-length":"16"}}`, tag); w.Code != 409 || !strings.Contains(w.Body.String(), `"conflict"`) {
		t.Errorf("with the one before: %d %s", w.Code, w.Body)
	}
	if w := ask("DELETE", "", tag); w.Code != 409 || !strings.Contains(w.Body.String(), `"conflict"`) {
		t.Errorf("DELETE with the one before: %d %s", w.Code, w.Body)
	}
	if w := ask("PATCH", `{"settings":{"queue-length":"16"}}`, "*"); w.Code != 200 {
		t.Errorf("with any: %d %s", w.Code, w.Body)
	}
}

// TestRubbish: whatever a client sends, it gets an answer or is cut off, and nothing is asked of the daemon.
func TestRubbish(t *testing.T) {
	r := newRig(t, &madeUp{}, 25*time.Second, 25*time.Second) // each of these is answered at once, however busy the machine is
	good := `{"changes":[{"op":"add","address":"7.7","source":"/x"}]}`
	for _, q := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		says                     string
	}{
		{"no JSON", "POST", "/v1/changes", "changes=1", nil, 400, "not JSON, at byte"},
		{"half", "POST", "/v1/changes", `{"changes":[{"op"`, nil, 400, "ends too early"},
		{"two objects", "POST", "/v1/changes", good + good, nil, 400, "behind the JSON object"},
		{"unknown field", "POST", "/v1/changes", `{"chnages":[]}`, nil, 400, `unknown field \"chnages\"`},
		{"unknown field inside", "POST", "/v1/changes", `{"changes":[{"op":"add","adress":"7.7"}]}`, nil, 400, `unknown field \"adress\"`},
		{"wrong type", "POST", "/v1/changes", `{"changes":[{"op":"add","address":7.7}]}`, nil, 400, "changes.address: a number where"},
		{"list", "POST", "/v1/changes", `[]`, nil, 400, "array where"},
		{"deep", "POST", "/v1/changes", strings.Repeat(`{"changes":[`, 20000), nil, 400, ""},
		{"zero bytes", "POST", "/v1/changes", "\x00\x00\x00\x00", nil, 400, "not JSON"},
		{"huge", "POST", "/v1/changes", `{"changes":[{"op":"add","source":"` + strings.Repeat("x", control.MaxBody) + `"}]}`, nil, 400, "more than 1048576 bytes"},
		{"a form", "POST", "/v1/changes", good, []string{"Content-Type: application/x-www-form-urlencoded"}, 400, "the body is application/x-www-form-urlencoded"},
		{"type rubbish", "POST", "/v1/changes", good, []string{"Content-Type: ;;;"}, 400, "the body is"},
		{"another site", "POST", "/v1/changes", good, []string{"Origin: https://evil.example"}, 403, "may not do this"},
		{"no site", "POST", "/v1/changes", good, []string{"Origin: null"}, 403, "may not do this"},
		{"wrong method", "DELETE", "/v1/status", "", nil, 405, "it takes GET"},
		{"another", "POST", "/v1/exports/0.1", "{}", nil, 405, "it takes GET, PUT, PATCH, DELETE"},
		{"unknown method", "FROBNICATE", "/v1/changes", "", nil, 405, "it takes POST"},
		{"older version", "GET", "/v0/status", "", nil, 404, "GET /v1 lists"},
		{"newer version", "GET", "/v2/status", "", nil, 404, "there is no /v2/status"},
		{"no version", "GET", "/status", "", nil, 404, "there is no /status"},
		{"nothing", "GET", "/", "", nil, 404, "GET /v1 lists"},
		{"below a call", "GET", "/v1/status/x", "", nil, 404, "there is no"},
		{"traversal", "GET", "/v1/exports/..%2f..%2fetc%2fpasswd", "", nil, 400, "address"},
		{"traversal by PUT", "PUT", "/v1/exports/..%2f..%2fetc", `{"source":"/x"}`, nil, 400, "address"},
		{"dots", "GET", "/v1/../../etc/passwd", "", nil, 307, ""},
		{"zero byte in a path", "GET", "/v1/exports/0.1%00", "", nil, 400, "address"},
		{"line break in a path", "DELETE", "/v1/exports/0.1%0d%0aX-Evil:%20yes", "", nil, 400, "address"},
		{"bad escape in a parameter", "GET", "/v1/trace?export=%zz", "", nil, 400, "invalid URL escape"},
		{"repeated length", "POST", "/v1/changes", good, []string{"Content-Length: 3"}, 400, ""},
		{"huge head", "GET", "/v1/status", "", []string{"X-Large: " + strings.Repeat("x", control.MaxHeader+8192)}, 431, ""},
		{"a version that is none", "POST", "/v1/changes", good, []string{"Transfer-Encoding: gzip"}, 501, ""},
	} {
		t.Run(q.name, func(t *testing.T) {
			status, body := r.send(q.method, q.path, q.body, q.headers...)
			if status != q.status || !strings.Contains(body, q.says) {
				t.Errorf("%d %s, want %d %q", status, body, q.status, q.says)
			}
			if len(body) > 2000 {
				t.Errorf("the answer has %d bytes", len(body))
			}
			var e struct{ Error *control.Error }
			if q.says != "" && (json.Unmarshal([]byte(body), &e) != nil || e.Error == nil || e.Error.Code == "") {
				t.Errorf("it is no error of the API: %s", body)
			}
		})
	}
	r.well("all that")
	r.asked()
}

// TestRubbishBytes: the same with what is no request. Some of it waits for more, until the server cuts it off.
func TestRubbishBytes(t *testing.T) {
	r := newRig(t, &madeUp{}, time.Second, 5*time.Second)
	for _, b := range []string{"", "\r\n\r\n", "GET\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /v1/status HTTP/9.9\r\n\r\n", "GET /v1/status HTTP/1.1\r\nHost: a b\r\n\r\n",
		"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n", "GET /v1/status HTTP/1.1\nNo colon\n\n", strings.Repeat("A", 300<<10), "POST /v1/changes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"POST /v1/changes HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"} {
		if b == "" {
			_ = r.dial().Close()
			continue
		}
		if status, body := r.raw(b); status != 0 && (status < 400 || status > 505) {
			t.Errorf("%.40q was answered by %d %s", b, status, body)
		}
	}
	random := rand.New(rand.NewPCG(7, 7))
	for range 200 {
		b := make([]byte, random.IntN(300))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		c := r.dial()
		_, _ = c.Write(b)
		_ = c.Close()
	}
	r.well("all that")
	r.asked()
}

// asked fails the test when the daemon was asked for anything but what well asks for.
func (r *rig) asked() {
	r.Helper()
	r.m.Lock()
	defer r.m.Unlock()
	for call, n := range r.m.Calls {
		if call != "status" && call != "exports" {
			r.Errorf("the daemon was asked for %s %d times", call, n)
		}
	}
}

// TestPanic: a bug in a call is told, and does not end the daemon.
func TestPanic(t *testing.T) {
	r := newRig(t, &madeUp{bad: "6.6"}, 0, 0)
	status, body := r.send("PUT", "/v1/exports/6.6", `{"source":"/x"}`)
	if status != 500 || !strings.Contains(body, "internal error: oh; this is a bug, please report it") || !strings.Contains(body, `"failed"`) {
		t.Errorf("%d %s", status, body)
	}
	r.well("a panic")
}

// TestReadOnly: a handler that only shows refuses all that changes something, and traces where they are not allowed.
func TestReadOnly(t *testing.T) {
	m := &madeUp{Daemon: webtest.New(2)}
	h := control.Handler(m, control.HandlerOptions{ReadOnly: true, NoTrace: true})
	for _, q := range control.Routes() {
		w := newRecorder()
		h.ServeHTTP(w, httpRequest(q.Method, "/v1"+strings.ReplaceAll(q.Path, "{address}", "e0.0"), ""))
		want := 200
		if q.Writes || q.Stream {
			want = 403
		}
		if w.Code != want {
			t.Errorf("%s %s: %d, want %d", q.Method, q.Path, w.Code, want)
		}
	}
	if m.Calls["change"]+m.Calls["clear"]+m.Calls["announce"]+m.Calls["reload"] > 0 {
		t.Errorf("the daemon was asked: %v", m.Calls)
	}
}

// TestSlow: clients that send slowly are cut off, and others do not notice.
func TestSlow(t *testing.T) {
	const head, body = 1500 * time.Millisecond, 2500 * time.Millisecond // a busy machine takes its time for a head that comes at once
	r := newRig(t, &madeUp{}, head, body)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { // a byte of the head at a time
			c := r.dial()
			for _, b := range []byte("GET /v1/status HTTP/1.1\r\nHost: goaoe\r\n" + strings.Repeat("X-Slow: yes\r\n", 100)) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			if n, err := c.Read(make([]byte, 1)); err == nil {
				t.Errorf("slow head %d: %d bytes of an answer", i, n)
			}
		})
	}
	for i := range 10 {
		wg.Go(func() { // a head at once, and a body that never ends
			c := r.dial()
			_, _ = io.WriteString(c, "POST /v1/changes HTTP/1.1\r\nHost: goaoe\r\nContent-Length: 1000\r\n\r\n{\"changes\":")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Errorf("slow body %d: no answer: %v", i, err)
				return
			}
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(b), "the request did not come in time") || !resp.Close {
				t.Errorf("slow body %d: %d %s", i, resp.StatusCode, b)
			}
		})
	}
	for range 5 {
		r.well("slow clients came")
		time.Sleep(50 * time.Millisecond)
	}
	wg.Wait()
	if r.m.Calls["change"] > 0 {
		t.Error("the daemon was asked for a change")
	}
}

// TestConnections: with too many connections in use a further client is told at once; connections that nobody uses make room.
func TestConnections(t *testing.T) {
	m := &madeUp{entered: make(chan struct{}, 200), leave: make(chan struct{}), ended: make(chan error, 200)}
	r := newRig(t, m, 0, 0)
	var busy []net.Conn
	for range control.MaxConns {
		c := r.dial()
		_, _ = io.WriteString(c, "PATCH /v1/exports/0.1 HTTP/1.1\r\nHost: goaoe\r\nContent-Length: 2\r\n\r\n{}")
		<-m.entered
		busy = append(busy, c)
	}
	for range 5 {
		_, err := r.client.Status(context.Background())
		var e *control.Error
		if !errors.As(err, &e) || e.Code != control.CodeGone || e.Message != "the daemon has 64 connections, and takes no more at the moment" {
			t.Errorf("with %d connections: %v", len(busy), err)
		}
	}
	status, body := r.send("POST", "/v1/changes", `{"changes":[{"op":"add","source":"`+strings.Repeat("x", 1<<19)+`"}]}`)
	if wrong := apitest.Load(t).Check("POST", "/v1/changes", nil, status, "application/json", []byte(body)); status != 503 || len(wrong) > 0 {
		t.Errorf("a large request: %d %s %q", status, body, wrong)
	}
	close(m.leave)
	for _, c := range busy {
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("a request that ran: %v", err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("a request that ran: %d", resp.StatusCode)
		}
	}
	// All of them are idle now, and nobody closes them.
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := r.client.Status(context.Background())
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("idle connections do not make room: %v", err)
		}
	}
	closed := 0
	for _, c := range busy {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
			closed++
		}
	}
	if closed != 1 {
		t.Errorf("%d idle connections had to make room for one", closed)
	}
}

// TestTraces: only some traces run at a time, and one that ends makes room.
func TestTraces(t *testing.T) {
	r := newRig(t, &madeUp{}, 0, 0)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	began := make(chan struct{}, control.MaxTraces)
	for range control.MaxTraces {
		wg.Go(func() {
			var once sync.Once
			if err := r.client.Trace(ctx, &control.TraceRequest{}, func(*control.TraceRecord) error { once.Do(func() { began <- struct{}{} }); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	for range control.MaxTraces {
		<-began
	}
	err := r.client.Trace(ctx, &control.TraceRequest{}, func(*control.TraceRecord) error { return nil })
	var e *control.Error
	if !errors.As(err, &e) || e.Code != control.CodeRefused || e.Error() != "4 traces are running already; end one of them" {
		t.Errorf("a fifth: %v", err)
	}
	cancel()
	wg.Wait()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		n := 0
		err := r.client.Trace(context.Background(), &control.TraceRequest{Count: 3}, func(*control.TraceRecord) error { n++; return nil })
		if err == nil && n == 3 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("after all have ended: %d records, %v", n, err)
		}
	}
}

// TestGoneClient: what a client asked for is told when it goes away, and a reply that nobody takes is no trouble.
func TestGoneClient(t *testing.T) {
	m := &madeUp{entered: make(chan struct{}, 1), leave: make(chan struct{}), ended: make(chan error, 1)}
	r := newRig(t, m, 0, 0)
	for range 20 {
		c := r.dial()
		_, _ = io.WriteString(c, "PATCH /v1/exports/0.1 HTTP/1.1\r\nHost: goaoe\r\nContent-Length: 2\r\n\r\n{}")
		<-m.entered
		_ = c.Close()
		select {
		case err := <-m.ended:
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("the call ended by %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the call goes on although its client is gone")
		}
	}
	for range 20 { // asks and does not wait
		c := r.dial()
		_, _ = io.WriteString(c, "GET /v1/exports HTTP/1.1\r\nHost: goaoe\r\n\r\nGET /v1/trace HTTP/1.1\r\nHost: goaoe\r\n\r\n")
		_ = c.Close()
	}
	r.well("clients went away")
}

// TestGoneDaemon: a client of a server that goes away, answers rubbish or nothing gets one clear line.
func TestGoneDaemon(t *testing.T) {
	dir := t.TempDir()
	for name, q := range map[string]struct {
		answer, want string
		code         control.Code
	}{
		"closes at once":   {"", "went away before it answered", control.CodeGone},
		"half a head":      {"HTTP/1.1 200 OK\r\nContent-", "is no goaoe daemon", control.CodeGone},
		"half a body":      {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"version\":", "the daemon's reply broke off", control.CodeGone},
		"no HTTP":          {"SSH-2.0-OpenSSH_9.2\r\n", "is no goaoe daemon: net/http", control.CodeGone},
		"no JSON":          {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "reply broke off: invalid character", control.CodeGone},
		"an error of none": {"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nhello", "502 Bad Gateway", control.CodeFailed},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "s")
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = c.Read(make([]byte, 4096))
					_, _ = io.WriteString(c, q.answer)
					_ = c.Close()
				}
			}()
			client := control.NewClient(path)
			defer client.Close()
			_, err = client.Status(context.Background())
			var e *control.Error
			if !errors.As(err, &e) || e.Code != q.code || !strings.Contains(e.Message, q.want) || strings.Contains(e.Error(), "\n") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestClientServer: each call of a client arrives as it was made, and what comes back is as described.
func TestClientServer(t *testing.T) {
	r := newRig(t, &madeUp{}, 0, 0)
	ctx := context.Background()
	addr, err := aoe.ParseAddr("0.1")
	if err != nil {
		t.Fatal(err)
	}
	if e, err := r.client.Export(ctx, addr); err != nil || e.Address != "e0.1" {
		t.Errorf("%v, %v", e, err)
	}
	if l, err := r.client.Exports(ctx); err != nil || len(l) != 4 {
		t.Errorf("%v, %v", l, err)
	}
	if l, err := r.client.Interfaces(ctx); err != nil || len(l) != 2 {
		t.Errorf("%v, %v", l, err)
	}
	if s, err := r.client.Stats(ctx); err != nil || len(s.Exports) != 4 {
		t.Errorf("%v, %v", s, err)
	}
	if p, err := r.client.Plan(ctx); err != nil || p.Kept != 4 {
		t.Errorf("%v, %v", p, err)
	}
	if p, err := r.client.Reload(ctx, &control.ReloadRequest{}); err != nil || !p.OK {
		t.Errorf("%v, %v", p, err)
	}
	if x, err := r.client.Announce(ctx, []aoe.Addr{addr}); err != nil || len(x.Results) != 1 || x.Results[0].Address != "e0.1" {
		t.Errorf("%v, %v", x, err)
	}
	if x, err := r.client.Clear(ctx, &control.ClearRequest{What: control.ClearMask, Exports: []string{"e0.1"}}); err != nil || len(x.Results) != 1 {
		t.Errorf("%v, %v", x, err)
	}
	if err := r.client.SetLog(ctx, &control.LogRequest{Level: "debug"}); err != nil {
		t.Error(err)
	}
	if c, err := r.client.Config(ctx); err != nil || c != "[global]\n" {
		t.Errorf("%q, %v", c, err)
	}
	var got *control.TraceRecord
	if err := r.client.Trace(ctx, &control.TraceRequest{Count: 1, Export: "e0.1"}, func(x *control.TraceRecord) error { got = x; return nil }); err != nil || got == nil || !bytes.Equal(got.Frame, []byte{1, 2, 3}) {
		t.Errorf("%v, %v", got, err)
	}
	stop := errors.New("enough")
	if err := r.client.Trace(ctx, &control.TraceRequest{}, func(*control.TraceRecord) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a trace that its reader ends: %v", err)
	}
	x, err := r.client.Change(ctx, &control.ChangeRequest{Changes: []control.Change{{Op: control.OpAdd, Address: "5.0", Source: "/x"}, {Op: control.OpAdd, Address: "5.0", Source: "/x"}}})
	if err != nil || len(x.Results) != 2 || x.Results[0].Error != nil || x.Results[1].Error == nil || x.Results[1].Error.Code != control.CodeConflict {
		t.Errorf("%+v, %v", x, err)
	}
}
