package web

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"goaoe/internal/control"
	"goaoe/internal/web/webtest"
)

// get asks for a T.
func get[T any](t *testing.T, h http.Handler, path string) *T {
	t.Helper()
	w := ask(t, h, "GET", path, "")
	if w.Code != 200 {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	v := new(T)
	if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
		t.Fatal(err)
	}
	return v
}

func addresses(v *View) string {
	var out []string
	for _, e := range v.Exports {
		out = append(out, e.Address)
	}
	return strings.Join(out, " ")
}

func TestPaging(t *testing.T) {
	d := webtest.New(3000)
	h := Handler(d, Options{})
	begin := time.Now()
	for _, c := range []struct {
		query              string
		found, page, page2 int
		first              string
		rows               int
	}{
		{"", 3000, 1, 60, "e0.0", 50},
		{"?page=2", 3000, 2, 60, "e0.50", 50},
		{"?page=999&size=200", 3000, 15, 15, "e14.0", 200},
		{"?dir=desc", 3000, 1, 60, "e14.199", 50},
		{"?q=e14.19", 11, 1, 1, "e14.19", 11},
		{"?q=%20E14.199%20", 1, 1, 1, "e14.199", 1},
		{"?q=MAIL-1", 0 + 1 + 10 + 100 + 0, 1, 0, "e0.0", 50},
		{"?q=52:54:00:aa:00:03", 250, 1, 5, "e0.3", 50},
		{"?q=nothing+like+this", 0, 1, 1, "", 0},
		{"?state=waiting", 0, 1, 1, "", 0},
		{"?sort=size&dir=desc", 3000, 1, 60, "", 50},
	} {
		v := get[View](t, h, "/api/view"+c.query)
		if c.query == "?q=MAIL-1" {
			if v.Page.Found < 10 || v.Exports[0].Address != "e0.0" || v.Exports[0].Name != "mail-1" {
				t.Errorf("%s: %+v", c.query, v.Page)
			}
			continue
		}
		if v.Page.Found != c.found || v.Page.Number != c.page || v.Page.Pages != c.page2 || len(v.Exports) != c.rows || v.Totals.Exports != 3000 ||
			c.first != "" && v.Exports[0].Address != c.first {
			t.Errorf("%s: %+v, %d rows %.40s", c.query, v.Page, len(v.Exports), addresses(v))
		}
	}
	v := get[View](t, h, "/api/view?sort=size&dir=desc")
	for i := 1; i < len(v.Exports); i++ {
		if v.Exports[i].Sectors > v.Exports[i-1].Sectors {
			t.Fatalf("not sorted by size: %d behind %d", v.Exports[i].Sectors, v.Exports[i-1].Sectors)
		}
	}
	for column := range orders {
		get[View](t, h, "/api/view?sort="+column)
	}
	if n := d.Calls["exports"]; n > 2+int(time.Since(begin)/fresh) { // on a slow machine all these take some seconds
		t.Errorf("the daemon was asked %d times for its exports in %v", n, time.Since(begin))
	}
	if w := ask(t, h, "GET", "/api/view", "", "Accept-Encoding", "gzip"); w.Header().Get("Content-Encoding") != "gzip" {
		t.Error("nothing is compressed")
	} else if z, err := gzip.NewReader(w.Body); err != nil || json.NewDecoder(z).Decode(new(View)) != nil {
		t.Errorf("gzip: %v", err)
	}
}

// TestRates holds rates, histories and their bounds against counters that are known, in time that is made up.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := webtest.New(4)
		for i := range d.List {
			d.List[i].Users = nil // nothing moves on its own
		}
		s := newSite(d, Options{})
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); s.samples.run(ctx, sampleIdle) }()
		synctest.Wait()
		move := func(reads, size uint64) {
			d.Bump(func(e exportsByAddress, _ portsByName, _ peersByKey) {
				e["e0.1"].Reads += reads
				e["e0.1"].ReadBytes += reads * size
			})
		}
		time.Sleep(time.Second)
		move(1000, 4096)
		time.Sleep(4500 * time.Millisecond) // the next sample is five seconds after the first
		synctest.Wait()
		h := s.samples.past("", 0)
		if len(h) != 1 || h[0].ReadOps != 200 || h[0].Read != 200*4096 || h[0].Write != 0 {
			t.Fatalf("%+v", h)
		}
		if e := s.samples.past("e0.1", 0); len(e) != 1 || e[0].ReadOps != 200 {
			t.Errorf("history of the export: %+v", e)
		}
		if e := s.samples.past("e0.2", 0); len(e) != 0 {
			t.Errorf("an export that did nothing has a history: %+v", e)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		h = s.samples.past("", 0)
		if n := len(h); n < 150 || n > 182 {
			t.Errorf("%d points in a quarter of an hour", n)
		}
		if age := time.Since(time.UnixMilli(h[0].At)); age > historyFor+2*sampleIdle {
			t.Errorf("the oldest point is %v old", age)
		}
		if got := s.samples.past("", h[len(h)-3].At); len(got) != 2 {
			t.Errorf("%d points since the last but two", len(got))
		}
		if d.Calls["exports"]+d.Calls["status"] > 0 {
			t.Error("the daemon was asked for more than counters though nobody looks")
		}
		// A cleared counter is no rate of minus a lot.
		d.Bump(func(e exportsByAddress, _ portsByName, _ peersByKey) { e["e0.1"].Reads, e["e0.1"].ReadBytes = 0, 0 })
		time.Sleep(2 * sampleIdle)
		synctest.Wait()
		if h = s.samples.past("", 0); h[len(h)-1].ReadOps != 0 {
			t.Errorf("after clearing: %+v", h[len(h)-1])
		}
		stop()
		<-done
	})
}

type (
	exportsByAddress = map[string]*control.ExportStats
	portsByName      = map[string]*control.InterfaceStats
	peersByKey       = map[string]*control.InitiatorStats
)

// TestWarnings makes each trouble, looks for its sentence, and for its absence when the trouble is over.
func TestWarnings(t *testing.T) {
	mac := "52:54:00:aa:00:00"
	bump := func(fn func(exportsByAddress, portsByName, peersByKey)) func(*webtest.Daemon) {
		return func(d *webtest.Daemon) { d.Bump(fn) }
	}
	for name, c := range map[string]struct {
		do    func(*webtest.Daemon)
		id    string
		level string
		text  string
	}{
		"healthy": {func(*webtest.Daemon) {}, "", "", ""},
		"ring":    {bump(func(_ exportsByAddress, p portsByName, _ peersByKey) { p["eth1"].KernelDrops += 7 }), "ring:eth1", LevelWarning, "7 frames were lost in the last minutes because the receive ring was full"},
		"disk":    {bump(func(e exportsByAddress, _ portsByName, _ peersByKey) { e["e0.1"].Errors++ }), "errors:e0.1", LevelProblem, "1 request failed on the disk"},
		"full":    {bump(func(e exportsByAddress, _ portsByName, _ peersByKey) { e["e0.1"].Drops = map[string]uint64{"full": 2} }), "full:e0.1", LevelWarning, "too many waited"},
		"MTU of the peer": {bump(func(e exportsByAddress, _ portsByName, _ peersByKey) {
			e["e0.1"].RejectKinds = map[string]uint64{"argument": 3}
		}), "large:e0.1", LevelWarning, "more than a frame carries"},
		"beyond the end": {bump(func(e exportsByAddress, _ portsByName, _ peersByKey) {
			e["e0.1"].RejectKinds = map[string]uint64{"range": 3}
		}), "range:e0.1", LevelWarning, "beyond its end"},
		"repetitions": {bump(func(_ exportsByAddress, _ portsByName, p peersByKey) {
			p[mac+"e0.0"].Requests += 1000
			p[mac+"e0.0"].Retransmits += 400
		}), "repeats:node1 on e0.0", LevelWarning, "came twice"},
		"refused": {bump(func(_ exportsByAddress, _ portsByName, p peersByKey) { p[mac+"e0.0"].Denied++ }), "denied:node1 on e0.0", LevelNote, "1 request was refused"},
		"small frames": {bump(func(_ exportsByAddress, _ portsByName, p peersByKey) {
			x := p[mac+"e0.0"]
			x.Reads, x.Writes, x.ReadBytes, x.WriteBytes = 1e12, 0, 1e12*512, 0 // so many that what the daemon adds meanwhile does not move the mean
		}), "peer-mtu:node1 on e0.0", LevelNote, "it asks for 512 bytes at a time, although eth1 has an MTU of 9000"},
		"open to everybody": {func(d *webtest.Daemon) { delete(d.List[1].Settings, "accept") }, "open:e0.1", LevelNote, "everybody on the network can read and write it"},
		"many open": {func(d *webtest.Daemon) {
			for i := range d.List {
				delete(d.List[i].Settings, "accept")
			}
		}, "open", LevelNote, "6 exports can be written by everybody on the network: e0.0, e0.1, e0.2, e0.3 and 2 more"},
		"duplicate": {func(d *webtest.Daemon) {
			d.Problems = []string{"e0.5: another target at 02:00:00:00:00:07 announces the same address on eth1"}
		}, "daemon:", LevelProblem, "another target at"},
		"waiting":   {func(d *webtest.Daemon) { d.Waiting = []string{"interface eth9 does not exist"} }, "waiting:", LevelWarning, "waiting: interface eth9 does not exist"},
		"link down": {func(d *webtest.Daemon) { d.Ports[0].Up = false }, "down:eth1", LevelProblem, "the link is down"},
		"MTU":       {func(d *webtest.Daemon) { d.Ports[0].MTU = 1500 }, "mtu:eth1", LevelNote, "an MTU of 1500 is used, the interface has 9000"},
		"unsaved":   {func(d *webtest.Daemon) { d.List[1].Unsaved = true }, "unsaved", LevelNote, "1 export has changes that the next start will not know"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := webtest.New(6)
				h := Handler(d, Options{})
				get[View](t, h, "/api/view")
				time.Sleep(time.Minute)
				if v := get[View](t, h, "/api/view"); len(v.Warnings) > 0 {
					t.Fatalf("a healthy daemon: %+v", v.Warnings)
				}
				time.Sleep(time.Minute)
				c.do(d)
				time.Sleep(time.Second)
				v := get[View](t, h, "/api/view")
				if c.id == "" {
					return
				}
				if len(v.Warnings) != 1 || !strings.HasPrefix(v.Warnings[0].ID, c.id) || v.Warnings[0].Level != c.level || !strings.Contains(v.Warnings[0].Text, c.text) {
					t.Errorf("%+v", v.Warnings)
				}
			})
		})
	}
}

// TestOldTrouble: what happened once is no warning for ever.
func TestOldTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := webtest.New(3)
		h := Handler(d, Options{})
		get[View](t, h, "/api/view")
		time.Sleep(time.Minute)
		d.Bump(func(e exportsByAddress, p portsByName, _ peersByKey) { e["e0.1"].Errors = 2; p["eth1"].KernelDrops = 9 })
		if v := get[View](t, h, "/api/view"); len(v.Warnings) != 2 || v.Warnings[0].ID != "errors:e0.1" {
			t.Fatalf("%+v", v.Warnings)
		}
		for range 25 {
			time.Sleep(30 * time.Second)
			get[View](t, h, "/api/view")
		}
		v := get[View](t, h, "/api/view")
		if len(v.Warnings) != 1 || v.Warnings[0].ID != "old-errors:e0.1" || v.Warnings[0].Level != LevelNote {
			t.Errorf("%+v", v.Warnings)
		}
	})
}

// TestTogether: many browsers cost the daemon no more than one, and see a change at once.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := webtest.New(20)
		h := Handler(d, Options{Token: token})
		for range 10 {
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() { get[View](t, h, "/api/view") })
			}
			wg.Wait()
			time.Sleep(2 * time.Second)
		}
		if n := d.Calls["exports"]; n != 10 {
			t.Errorf("%d questions in 10 rounds", n)
		}
		get[View](t, h, "/api/view")
		body := `{"changes":[{"op":"remove","address":"e0.1"}]}`
		if w := ask(t, h, "POST", "/api/changes", body, "Authorization", "Bearer "+token, "Content-Type", "application/json"); w.Code != 200 {
			t.Fatal(w.Body)
		}
		if v := get[View](t, h, "/api/view?q=e0.1"); addresses(v) == "" || strings.HasPrefix(addresses(v), "e0.1 ") {
			t.Errorf("after the removal: %s", addresses(v))
		}
	})
}

func TestDetail(t *testing.T) {
	d := webtest.New(8)
	d.Trouble()
	h := Handler(d, Options{})
	v := get[Detail](t, h, "/api/exports/0.0")
	if v.Export.Address != "e0.0" || v.Export.Revision == "" || v.Export.Settings["queue-length"] != "64" || len(v.Peers) != 1 || v.Peers[0].Name != "node1" || v.Queue[2] != 64 || len(v.Counts) < 4 || !v.Counts[0].Bytes {
		t.Errorf("%+v", v)
	}
	d.Lock()
	d.Down = true
	d.Unlock()
	if w := ask(t, Handler(d, Options{}), "GET", "/api/view", ""); w.Code != 503 || errorOf(t, w).Code != control.CodeGone {
		t.Errorf("a daemon that ends: %d %s", w.Code, w.Body)
	}
}

func TestReadToken(t *testing.T) {
	for _, c := range []struct {
		text string
		mode os.FileMode
		want string // of the error, or the token
	}{
		{token + "\n", 0o600, token}, {"  " + token + " \r\nsecond line\n", 0o640, token}, {token, 0o400, token},
		{token, 0o604, "can be used by everybody on this machine (mode 0604)"}, {token, 0o602, "mode 0602"},
		{"", 0o600, "the token has 0 characters"}, {"\n" + token, 0o600, "0 characters"}, {"short", 0o600, "5 characters"},
		{"0123456789 abcdefgh", 0o600, "not printable ASCII"}, {"0123456789äabcdefgh", 0o600, "not printable ASCII"},
	} {
		path := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		got, err := ReadToken(path)
		if err != nil {
			got = err.Error()
			if strings.Contains(got, token) {
				t.Errorf("%s tells the token", got)
			}
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%q, %o: %s, want %s", c.text, c.mode, got, c.want)
		}
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "none"), t.TempDir()} {
		if _, err := ReadToken(path); err == nil || !strings.Contains(err.Error(), "token-file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestServe: the listener answers, is told when the address is taken, and leaves nothing behind.
func TestServe(t *testing.T) {
	s, err := Serve("127.0.0.1:0", webtest.New(2), Options{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	addr := s.Addr().String()
	r, err := http.Get("http://" + addr + "/api/view")
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", r, err)
	}
	_ = r.Body.Close()
	if _, err := Serve(addr, webtest.New(1), Options{}, slog.Default()); err == nil || !strings.Contains(err.Error(), "[web] listen "+addr) {
		t.Errorf("the same address twice: %v", err)
	}
	s.Close()
	if r, err := http.Get("http://" + addr + "/"); err == nil {
		_ = r.Body.Close()
		t.Error("it answers after it was closed")
	}
}
