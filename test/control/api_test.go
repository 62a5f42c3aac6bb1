package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"goaoe/internal/control"
	"goaoe/internal/control/apitest"
)

// api is a client whose requests and replies are held against the description of the API.
type api struct {
	r    *rig
	http *http.Client
}

func newAPI(r *rig) *api {
	dial := func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", r.socket) }
	base := &http.Transport{DialContext: dial}
	r.t.Cleanup(base.CloseIdleConnections)
	return &api{r, &http.Client{Transport: apitest.Load(r.t).Transport(r.t, base), Timeout: time.Minute}}
}

// ask makes a call and returns the status and the reply. Headers come in pairs.
func (a *api) ask(method, path, body string, headers ...string) (int, string) {
	a.r.t.Helper()
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	q, err := http.NewRequest(method, "http://goaoe/v1"+path, rd)
	if err != nil {
		a.r.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	resp, err := a.http.Do(q)
	if err != nil {
		a.r.t.Errorf("%s %s: %v", method, path, err)
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		a.r.t.Error(err)
	}
	return resp.StatusCode, string(b)
}

// TestAPI: each call of the API, good and wrong, of a real daemon that serves, waits and fails. All answers are as described.
func TestAPI(t *testing.T) {
	r := newRig(t, "[[export]]\naddress = \"0.1\"\nsource = \"mem:1M\"\n[[export]]\naddress = \"0.2\"\nsource = \"/nowhere\"\n[[export]]\naddress = \"0.3\"\nsource = \"mem:1M\"\ninterfaces = [\"eth9\"]\n"+
		"[[export]]\naddress = \"0.4\"\nsource = \"mem:1M\"\ndisabled = true\n")
	d := r.open("e0.1")
	if _, err := d.WriteAt(make([]byte, 8192), 0); err != nil {
		t.Fatal(err)
	}
	a := newAPI(r)
	for _, q := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "", "", 200, "/v1/trace"}, {"GET", "/status", "", 200, r.socket}, {"GET", "/exports", "", 200, `"disabled"`}, {"GET", "/exports/0.1", "", 200, r.mac()},
		{"GET", "/interfaces", "", 200, "eth9"}, {"GET", "/stats", "", 200, `"write_bytes": 8192`}, {"GET", "/plan", "", 200, `"ok": true`}, {"GET", "/config", "", 200, "[[export]]"},
		{"PUT", "/exports/1.0", `{"source":"mem:1M","wait_ms":5000}`, 200, "serving on va"}, {"PUT", "/exports/1.0", `{"source":"mem:2M"}`, 409, "e1.0 is taken"}, {"PUT", "/exports/1", `{"source":"mem:1M"}`, 200, `"e1.1"`},
		{"PUT", "/exports/2.0", `{"source":"mem:1M","dry_run":true}`, 200, `"e2.0"`}, {"GET", "/exports/2.0", "", 404, "there is no export e2.0"}, {"PUT", "/exports/2.0", `{}`, 400, "source"},
		{"PUT", "/exports/2.0", `{"source":"mem:1M","settings":{"queue-lenght":"8"}}`, 400, "queue-lenght"}, {"PUT", "/exports/2.0", `{"source":"mem:1M","settings":{"queue-length":"1"}}`, 400, "out of range"},
		{"PATCH", "/exports/1.0", `{"settings":{"queue-length":"8","name":"x"}}`, 200, "e1.0"}, {"PATCH", "/exports/1.0", `{"unset":["name"]}`, 200, "e1.0"}, {"PATCH", "/exports/9.9", `{"unset":["name"]}`, 404, "there is no export"},
		{"PATCH", "/exports/1.0", `{"revision":"00","unset":["queue-length"]}`, 409, "somebody else"}, {"PATCH", "/exports/1.0", `{"settings":{"address":"5.5"}}`, 400, "address"},
		{"PATCH", "/exports/1.0", "{\"settings\":{\"name\":\"a\\nb = 1\"}}", 400, "name"}, {"PATCH", "/exports/1.0", `{"settings":{"x]\n[global":"1"}}`, 400, ""},
		{"DELETE", "/exports/0.1", "", 409, "in use"}, {"DELETE", "/exports/1.1", "", 200, "e1.1"}, {"DELETE", "/exports/0.1?force=true", "", 200, "e0.1"}, {"DELETE", "/exports/9.9", "", 404, "there is no export"},
		{"POST", "/changes", `{"changes":[{"op":"add","address":"3","source":"mem:1M"},{"op":"remove","address":"8.8"}],"wait_ms":3000}`, 200, `"not-found"`},
		{"POST", "/changes", `{"changes":[{"op":"add","address":"3","source":"mem:1M"},{"op":"frob","address":"1.0"}]}`, 400, "number 2 is none"},
		{"POST", "/announce", "", 200, "announced on va"}, {"POST", "/announce", `{"exports":["8.8"]}`, 200, "not-found"}, {"POST", "/clear", `{"what":"stats"}`, 200, "results"}, {"POST", "/clear", `{"what":"all"}`, 400, "cannot be cleared"},
		{"POST", "/clear", `{"what":"mask","exports":["1.0","8.8","x"]}`, 200, "not-found"}, {"POST", "/log", `{"level":"debug","subject":"e1.0"}`, 200, "{}"}, {"POST", "/log", `{"level":"loud"}`, 400, "loud"}, {"POST", "/log", `{"level":"debug","subject":"eth77"}`, 404, "eth77"},
		{"POST", "/reload", `{"discard_unsaved":true}`, 200, `"ok": true`}, {"GET", "/trace?command=frob", "", 400, "frob"}, {"GET", "/trace?export=x", "", 400, "export"}, {"GET", "/trace?initiator=x", "", 400, "initiator"},
		{"GET", "/trace?snap=70000", "", 400, "snap"}, {"GET", "/trace?count=-1", "", 400, "count"},
	} {
		if status, body := a.ask(q.method, q.path, q.body); status != q.status || !strings.Contains(body, q.says) {
			t.Errorf("%s %s %s: %d %s\nwant %d %s", q.method, q.path, q.body, status, body, q.status, q.says)
		}
	}
	// A trace, with something to trace.
	done := make(chan struct{})
	t.Cleanup(func() { <-done }) // it must not speak after the test
	go func() {
		defer close(done)
		if status, body := a.ask("GET", "/trace?count=4&export=0.1&command=ata", ""); status != 200 || strings.Count(body, "\n") != 4 {
			t.Errorf("trace: %d %s", status, body)
		}
	}()
	r.until("four frames were seen", func() bool {
		_, _ = d.ReadAt(make([]byte, 512), 0)
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}

// TestOneWins: many clients change one export at the same moment, each having seen the same: exactly one wins, the others are told; and so
// with the same new address.
func TestOneWins(t *testing.T) {
	r := newRig(t, "[[export]]\naddress = \"0.1\"\nsource = \"mem:1M\"\n")
	a := newAPI(r)
	for round := range 5 {
		var e control.Export
		if _, body := a.ask("GET", "/exports/0.1", ""); json.Unmarshal([]byte(body), &e) != nil || e.Revision == "" {
			t.Fatal(body)
		}
		race := func(what string, do func(i int) (int, string)) int {
			t.Helper()
			const clients = 12
			var mu sync.Mutex
			var winners []int
			var wg sync.WaitGroup
			start := make(chan struct{})
			for i := range clients {
				wg.Go(func() {
					<-start
					status, body := do(i)
					mu.Lock()
					defer mu.Unlock()
					if status == 200 {
						winners = append(winners, i)
					} else if status != 409 || !strings.Contains(body, `"conflict"`) {
						t.Errorf("%s: %d %s", what, status, body)
					}
				})
			}
			close(start)
			wg.Wait()
			if len(winners) != 1 {
				t.Fatalf("%s: %d of %d won", what, len(winners), clients)
			}
			return winners[0]
		}
		won := race("change", func(i int) (int, string) {
			return a.ask("PATCH", "/exports/0.1", fmt.Sprintf(`{"settings":{"queue-length":"%d"}}`, 100*(round+1)+i), "If-Match", `"`+e.Revision+`"`)
		})
		if got, want := r.exports()["e0.1"].Settings["queue-length"], fmt.Sprint(100*(round+1)+won); got != want {
			t.Errorf("round %d: queue-length is %s, the winner wanted %s", round, got, want)
		}
		won = race("add", func(i int) (int, string) {
			return a.ask("PUT", fmt.Sprintf("/exports/5.%d", round), fmt.Sprintf(`{"source":"mem:%dK"}`, 64*(i+1)))
		})
		if got, want := r.exports()[fmt.Sprintf("e5.%d", round)].Source, fmt.Sprintf("mem:%dK", 64*(won+1)); got != want {
			t.Errorf("round %d: %s is exported, the winner wanted %s", round, got, want)
		}
	}
}

// TestAbuse: while clients send rubbish, are slow, too many, or go away in the middle of changes, I/O goes on, the daemon answers, and no change
// is half made.
func TestAbuse(t *testing.T) {
	r := newRig(t, "[[export]]\naddress = \"0.1\"\nsource = \"mem:1M\"\n")
	l := startLoad(t, r.open("e0.1"))
	l.goesOn(r, "the start")
	a := newAPI(r)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	abuse := func(n int, pause time.Duration, with func(c net.Conn, random *rand.Rand)) {
		for i := range n {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			wg.Go(func() {
				for ctx.Err() == nil {
					c, err := net.Dial("unix", r.socket)
					if err == nil {
						_ = c.SetDeadline(time.Now().Add(5 * time.Second))
						with(c, random)
						_ = c.Close()
					}
					time.Sleep(pause)
				}
			})
		}
	}
	abuse(2, 5*time.Millisecond, func(c net.Conn, random *rand.Rand) { // rubbish
		b := make([]byte, random.IntN(2000))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		_, _ = c.Write(b)
	})
	abuse(1, 50*time.Millisecond, func(c net.Conn, _ *rand.Rand) { // more than fits
		_, _ = io.WriteString(c, "POST /v1/changes HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
		for range 100 {
			if _, err := c.Write(bytes.Repeat([]byte(`{"changes":[`), 4000)); err != nil {
				return
			}
		}
	})
	abuse(20, 10*time.Millisecond, func(c net.Conn, _ *rand.Rand) { // slow
		for range 20 {
			if _, err := c.Write([]byte("G")); err != nil {
				return
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				return
			}
		}
	})
	abuse(3, 20*time.Millisecond, func(c net.Conn, random *rand.Rand) { // gone in the middle of a change
		n := random.IntN(50)
		body := fmt.Sprintf(`{"source":"mem:64K","settings":{"name":"n%d","queue-length":"8"},"save":true}`, n)
		if random.IntN(2) == 0 {
			_, _ = fmt.Fprintf(c, "DELETE /v1/exports/7.%d?save=true HTTP/1.1\r\nHost: x\r\n\r\n", n)
		} else {
			_, _ = fmt.Fprintf(c, "PUT /v1/exports/7.%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", n, len(body), body[:min(random.IntN(2*len(body)), len(body))])
		}
	})
	abuse(1, 20*time.Millisecond, func(c net.Conn, _ *rand.Rand) { // a trace that nobody reads
		_, _ = io.WriteString(c, "GET /v1/trace?snap=-1 HTTP/1.1\r\nHost: x\r\n\r\n")
		time.Sleep(50 * time.Millisecond)
	})
	for range 20 {
		if status, body := a.ask("GET", "/status", ""); status != 200 {
			t.Fatalf("status: %d %s", status, body)
		}
		r.want(0, `e0\.1`, "", "ls", "-q", "0.1")
		l.goesOn(r, "some abuse")
		time.Sleep(50 * time.Millisecond)
	}
	cancel()
	wg.Wait()
	l.goesOn(r, "all of it")
	l.stop()
	// What was changed was changed whole: the daemon, and the files that the next one reads, say the same.
	before := r.exports()
	if len(before) < 2 {
		t.Errorf("no change of a client that went away was made: %d exports", len(before))
	}
	for address, e := range before {
		if address != "e0.1" && (e.Source != "mem:64K" || e.Name != "n"+strings.TrimPrefix(address, "e7.") || e.Settings["queue-length"] != "8" || e.Unsaved) {
			t.Errorf("%+v", e)
		}
	}
	if got := r.try("check", r.file); got.code != 0 {
		t.Errorf("%+v", got)
	}
	r.end(15)
	r.start()
	after := r.exports()
	for address := range before {
		if _, ok := after[address]; !ok {
			t.Errorf("%s is not there after a restart", address)
		}
	}
	for address := range after {
		if _, ok := before[address]; !ok {
			t.Errorf("%s is there after a restart only", address)
		}
	}
}
