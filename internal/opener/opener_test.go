package opener

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/config"
	"goaoe/internal/privsep"
)

// TestMain is also the opener that tests start: its configuration is the file that Hello.Args names.
func TestMain(m *testing.M) {
	if os.Args[0] != Name {
		os.Exit(m.Run())
	}
	s, err := Inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	file := s.Hello().Args[0]
	if file == "refuse" {
		s.Refuse(errors.New("it does not want to"))
		os.Exit(1)
	}
	s.Vouch(func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer right" })
	err = s.Serve(NewRules(func() *config.Config {
		cfg, _ := config.Load(file, config.Options{})
		return cfg
	}, config.DropInDir(file)))
	if err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// rig is an opener with a folder in which everything lies.
type rig struct {
	*Client
	t    *testing.T
	dir  string
	file string

	control *net.UnixListener
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// configure writes the configuration: a log, an export of disk1, what else is given.
func (r *rig) configure(more string) {
	r.t.Helper()
	text := fmt.Sprintf("[global]\nethers = %q\n[log]\ntarget = \"file\"\nfile = %q\n[[export]]\naddress = \"1.0\"\nsource = %q\ninterfaces = \"eth0\"\naccept = \"node1\"\n%s",
		r.path("ethers"), r.path("log"), r.path("disk1"), more)
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	r.file = r.path("goaoe.toml")
	for _, f := range []string{"disk1", "disk2", "disk3", "secret"} {
		if err := os.WriteFile(r.path(f), make([]byte, 4096), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(r.path("ethers"), []byte("02:00:00:00:00:01 node1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.configure("")
	var err error
	if r.control, err = listenUnix(r.path("control")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.control.Close() })
	c, err := Start(Hello{Args: []string{r.file}, PID: os.Getppid(), Socket: r.path("control")}, r.control, nil) // this process is not its daemon, and may grant
	if err != nil {
		t.Fatal(err)
	}
	r.Client = c
	t.Cleanup(func() {
		done := make(chan struct{})
		go func() { c.Close(); close(done) }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Error("the opener does not end with its daemon")
		}
	})
	return r
}

// can says whether something can be opened.
func (r *rig) can(k privsep.Kind, path string, flags int) error {
	fd, err := r.Open(k, path, flags, 0o640)
	if err == nil {
		_ = unix.Close(fd)
	}
	return err
}

// TestOpens: what the configuration names is opened, and nothing else, each only as what it is.
func TestOpens(t *testing.T) {
	r := newRig(t)
	if err := os.Symlink(r.path("secret"), r.path("link")); err != nil {
		t.Fatal(err)
	}
	rdwr, log := unix.O_RDWR, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT|unix.O_NONBLOCK|unix.O_NOCTTY
	for _, tc := range []struct {
		kind  privsep.Kind
		path  string
		flags int
		ok    bool
	}{
		{privsep.Source, r.path("disk1"), rdwr, true},
		{privsep.Source, r.path("disk1"), unix.O_RDONLY | unix.O_DIRECT, true},
		{privsep.Source, r.path("disk1"), rdwr | unix.O_EXCL | unix.O_NONBLOCK, true},
		{privsep.Source, r.path("disk1"), rdwr | unix.O_TRUNC, false},
		{privsep.Source, r.path("disk1"), rdwr | unix.O_CREAT, false},
		{privsep.Source, r.path("disk1"), unix.O_PATH, false},
		{privsep.Source, r.path("disk2"), rdwr, false},
		{privsep.Source, r.path("link"), rdwr, false},
		{privsep.Source, r.path("x/../disk2"), rdwr, false},
		{privsep.Source, r.path("./disk1"), rdwr, true},
		{privsep.Source, "/etc/shadow", unix.O_RDONLY, false},
		{privsep.Source, r.file, rdwr, false},
		{privsep.Source, r.path("log"), rdwr, false},
		{privsep.Source, "", rdwr, false},
		{privsep.Source, "disk1", rdwr, false},
		{privsep.Config, r.file, unix.O_RDONLY, true},
		{privsep.Config, r.path("ethers"), unix.O_RDONLY, true},
		{privsep.Config, r.path("conf.d"), unix.O_RDONLY | unix.O_DIRECTORY, false}, // it does not exist
		{privsep.Config, r.file, rdwr, false},
		{privsep.Config, r.file, unix.O_RDONLY | unix.O_TRUNC, false},
		{privsep.Config, "/etc/shadow", unix.O_RDONLY, false},
		{privsep.Config, r.path("disk1"), unix.O_RDONLY, false},
		{privsep.Log, r.path("log"), log, true},
		{privsep.Log, r.path("log"), log | unix.O_TRUNC, false},
		{privsep.Log, r.path("log2"), log, false},
		{privsep.Log, r.path("disk1"), log, false},
		{"", r.path("disk1"), rdwr, false},
	} {
		if err := r.can(tc.kind, tc.path, tc.flags); (err == nil) != tc.ok {
			t.Errorf("%s %s with %#x: %v", tc.kind, tc.path, tc.flags, err)
		}
		if _, err := r.Stat(tc.kind, tc.path); tc.path == "/etc/shadow" && err == nil {
			t.Errorf("%s: it can be looked at", tc.path)
		}
	}
	if err := r.can(privsep.Config, r.path("conf.d"), unix.O_RDONLY|unix.O_DIRECTORY); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that does not exist: %v", err)
	}
	st, err := r.Stat(privsep.Source, r.path("disk1"))
	if err != nil || st.Size != 4096 || !st.Regular() {
		t.Errorf("stat: %+v, %v", st, err)
	}
}

// TestWhatIsNoDisk: a source that became something else is not opened.
func TestWhatIsNoDisk(t *testing.T) {
	r := newRig(t)
	for _, mode := range []uint32{unix.S_IFIFO, unix.S_IFDIR} {
		if err := os.RemoveAll(r.path("disk1")); err != nil {
			t.Fatal(err)
		}
		var err error
		if mode == unix.S_IFIFO {
			err = unix.Mkfifo(r.path("disk1"), 0o600)
		} else {
			err = os.Mkdir(r.path("disk1"), 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := r.can(privsep.Source, r.path("disk1"), unix.O_RDONLY); err == nil || !strings.Contains(err.Error(), "neither a file nor a block device") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}

// TestFollowsTheFile: what the file names later can be opened without a word to the opener; what it does not name any more stays.
func TestFollowsTheFile(t *testing.T) {
	r := newRig(t)
	if err := r.Permits(r.path("disk2")); err == nil {
		t.Fatal("permitted before")
	}
	r.configure(fmt.Sprintf("[[export]]\naddress = \"1.1\"\nsource = %q\ninterfaces = \"eth0\"\n", r.path("disk2")))
	if err := errors.Join(r.Permits(r.path("disk2")), r.can(privsep.Source, r.path("disk2"), unix.O_RDWR)); err != nil {
		t.Error(err)
	}
	r.configure("")
	if err := r.can(privsep.Source, r.path("disk2"), unix.O_RDWR); err != nil {
		t.Errorf("it is served, and may have to be opened again: %v", err)
	}
	if err := r.Permits("mem:1M"); err != nil {
		t.Error(err)
	}
}

// daemon answers on the control socket of a rig: whether the sources that a request names may be opened.
func (r *rig) daemon(c *Client) {
	srv := &http.Server{ReadHeaderTimeout: 20 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, s := range sourcesIn(body) {
			if err := c.Permits(s); err != nil {
				http.Error(w, err.Error(), http.StatusForbidden)
				return
			}
		}
		fmt.Fprintf(w, "%s %s %d", q.Method, q.URL.Path, len(body))
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(c.Listener(r.control))
	}()
	r.t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
}

// ask sends bytes to the control socket and returns all that comes back.
func (r *rig) ask(raw string) string {
	r.t.Helper()
	c, err := net.Dial("unix", r.path("control"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, raw); err != nil && !errors.Is(err, unix.EPIPE) { // the answer may come before all of it
		r.t.Fatal(err)
	}
	_ = c.(*net.UnixConn).CloseWrite()
	b, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, unix.ECONNRESET) {
		r.t.Fatalf("%.200q: %v after %q", raw, err, b)
	}
	return string(b)
}

func post(body string, headers ...string) string {
	return fmt.Sprintf("POST /v1/changes HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s", len(body), strings.Join(headers, ""), body)
}

// TestGrants: what a client of the control socket names as a source may be opened from then on, however the request is written; the
// daemon's own requests do not count.
func TestGrants(t *testing.T) {
	r := newRig(t)
	r.daemon(r.Client)
	named := func(name string) string { return fmt.Sprintf(`{"changes":[{"op":"add","source":%q}]}`, r.path(name)) }
	for i, tc := range []struct{ raw, want string }{
		{post(named("disk2")), "200"},
		{post(fmt.Sprintf(`{"settings":{"Source":%q}}`, r.path("disk3"))), "200"},
		{post(named("d4")) + post(named("d5")) + "GET /v1/x HTTP/1.1\r\nHost: x\r\n\r\n", "(?s)200.*200.*200.*GET /v1/x 0"},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(named("d6")), named("d6")), "200"},
		{post(named("d7"), "Expect: 100-continue\r\n"), "(?s)100 Continue.*200"},
		{"nonsense\r\n\r\n", "400"},
		{"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2<<20) + "\r\n\r\n", "431"},
		{post(`{"source": "relative"}`), "(?s)403.*not named"},
		{post(`{"source": 7, "x": [{"source": null}]}`), "200"},
		{post(strings.Repeat(" ", maxRead+1<<20) + named("d8")), "(?s)403.*not named"}, // more than the daemon takes, too
		{"", "^$"},
	} {
		if got := r.ask(tc.raw); !regexp.MustCompile(tc.want).MatchString(got) {
			t.Errorf("%d: %.200q, want %s", i, got, tc.want)
		}
	}
	for _, name := range []string{"disk2", "disk3"} {
		if err := r.can(privsep.Source, r.path(name), unix.O_RDWR); err != nil {
			t.Error(err)
		}
	}
}

// TestDaemonGrantsNothing: a daemon that connects to its own control socket is passed on, and that is all.
func TestDaemonGrantsNothing(t *testing.T) {
	r := newRig(t)
	l, err := listenUnix(r.path("own"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := Start(Hello{Args: []string{r.file}, PID: os.Getpid(), Socket: r.path("own")}, l, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	own := &rig{t: t, dir: r.dir, control: l}
	own.daemon(c)
	conn, err := net.Dial("unix", r.path("own"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, post(fmt.Sprintf(`{"source":%q}`, r.path("secret")))); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("%+v", resp)
	}
	if fd, err := c.Open(privsep.Source, r.path("secret"), unix.O_RDONLY, 0); err == nil {
		_ = unix.Close(fd)
		t.Error("it opened what it had named itself")
	}
}

// TestPageGrants: what a client of the web page names may be opened if it knows the token, and not otherwise. The daemon answers in either case.
func TestPageGrants(t *testing.T) {
	r := newRig(t)
	own, err := listenUnix(r.path("own"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = own.Close() }()
	page, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Start(Hello{Args: []string{r.file}, PID: os.Getpid(), Socket: r.path("own")}, own, page)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	srv := &http.Server{ReadHeaderTimeout: 20 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		for _, s := range sourcesIn(body) {
			if c.Permits(s) != nil {
				w.WriteHeader(http.StatusForbidden)
			}
		}
	})}
	go func() { _ = srv.Serve(c.PageListener(page)) }()
	defer func() { _ = srv.Close() }()
	ask := func(token, name string) int {
		req, err := http.NewRequest(http.MethodPost, "http://"+page.Addr().String()+"/api/changes", strings.NewReader(fmt.Sprintf(`{"source":%q}`, r.path(name))))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for _, tc := range []struct {
		token, name string
		want        int
	}{{"", "secret", 403}, {"Bearer wrong", "secret", 403}, {"Bearer right", "disk2", 200}, {"", "disk2", 200}, {"Bearer wrong", "secret", 403}} {
		if got := ask(tc.token, tc.name); got != tc.want {
			t.Errorf("%q names %s: status %d, want %d", tc.token, tc.name, got, tc.want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestStreams: what the daemon sends comes at once, and it hears when a client goes.
func TestStreams(t *testing.T) {
	r := newRig(t)
	gone := make(chan struct{})
	srv := &http.Server{ReadHeaderTimeout: 20 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.WriteString(w, "first\n")
		w.(http.Flusher).Flush()
		<-q.Context().Done()
		close(gone)
	})}
	go func() { _ = srv.Serve(r.Listener(r.control)) }()
	t.Cleanup(func() { _ = srv.Close() })
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", r.path("control")) }}}
	resp, err := client.Get("http://x/")
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 6)
	if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != "first\n" {
		t.Errorf("%q, %v", b, err)
	}
	_ = resp.Body.Close()
	client.CloseIdleConnections()
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Error("the daemon does not hear that the client went")
	}
}

// TestDropIns: a daemon saves what it may serve, under the name that belongs to it, and nothing else.
func TestDropIns(t *testing.T) {
	r := newRig(t)
	dir := r.path("conf.d")
	layer := func(addr, source string) []byte {
		return []byte(fmt.Sprintf("[[export]]\naddress = %q\nsource = %q\ninterfaces = [\"eth0\"]\n", addr, source))
	}
	for _, tc := range []struct {
		name string
		dir  string
		data []byte
		want string
	}{
		{dir + "/e1.1.toml", dir, layer("1.1", r.path("disk2")), "not named in the configuration"},
		{dir + "/e1.1.toml", dir, []byte("[[change]]\naddress = \"1.1\"\nsource = \"/etc/shadow\"\n"), "not named in the configuration"},
		{dir + "/e1.1.toml", dir, layer("1.2", r.path("disk1")), "not the name"},
		{dir + "/evil.toml", dir, layer("1.1", r.path("disk1")), "not the name"},
		{dir + "/evil.toml", dir, nil, "not the name"},
		{r.file, dir, nil, "not in the folder"},
		{dir + "/../goaoe.toml", dir, nil, "not in the folder"},
		{dir + "/e1.1.toml", r.dir, layer("1.1", r.path("disk1")), "not the folder"},
		{dir + "/e1.1.toml", dir, []byte("[control]\nmode = \"0666\"\n"), "section"},
		{dir + "/e1.1.toml", dir, []byte("[[[[\n"), ""},
	} {
		err := r.WriteAll(tc.dir, map[string][]byte{tc.name: tc.data})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s %q: %v, want %q", tc.name, tc.data, err, tc.want)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder was made")
	}
	good := map[string][]byte{dir + "/e1.1.toml": layer("1.1", r.path("disk1"))}
	if err := r.WriteAll(dir, good); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(dir + "/e1.1.toml"); err != nil || string(b) != string(good[dir+"/e1.1.toml"]) {
		t.Errorf("%q, %v", b, err)
	}
	if err := r.WriteAll(dir, map[string][]byte{dir + "/e1.1.toml": nil}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir + "/e1.1.toml"); err == nil {
		t.Error("it was not removed")
	}
	if _, err := os.Stat(r.file); err != nil {
		t.Error(err)
	}
}

// TestRemove: only the daemon's own control socket is removed.
func TestRemove(t *testing.T) {
	r := newRig(t)
	if err := r.Remove(r.path("disk1")); err == nil {
		t.Error("a disk was removed")
	}
	if err := r.Remove(r.path("control")); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(r.path("control")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestManyAtOnce: requests do not wait for each other, and leave no descriptor.
func TestManyAtOnce(t *testing.T) {
	r := newRig(t)
	before := descriptors(t)
	var wait sync.WaitGroup
	for range 200 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			if err := r.can(privsep.Source, r.path("disk1"), unix.O_RDWR); err != nil {
				t.Error(err)
			}
			if err := r.can(privsep.Source, r.path("secret"), unix.O_RDWR); err == nil {
				t.Error("opened")
			}
		}()
	}
	wait.Wait()
	if n := descriptors(t); n > before+2 {
		t.Errorf("%d descriptors, %d before", n, before)
	}
	theirs, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.PID()))
	if err != nil || len(theirs) > 40 {
		t.Errorf("the opener has %d descriptors, %v", len(theirs), err)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestGarbage: what a daemon that was taken over may send neither ends the opener nor makes it open anything.
func TestGarbage(t *testing.T) {
	r := newRig(t)
	for _, b := range [][]byte{nil, {1}, {0, 0, 0, 4, '{'}, {0xff, 0xff, 0xff, 0xff, 0}, {0, 0, 0, 2, '{', '}'}, {0, 0, 0, 3, 'x', 'y', 'z'},
		append([]byte{0, 0, 0, 12}, `{"op":"fly"}`...)} {
		c, err := r.connect()
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 0 {
			if _, err := c.Write(b); err != nil {
				t.Error(err)
			}
		}
		_ = c.CloseWrite()
		var got reply
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		fd, err := receive(c, &got)
		if err == nil && got.error() == nil {
			t.Errorf("%q: no error", b)
		}
		if fd >= 0 {
			t.Errorf("%q: a descriptor came", b)
		}
		_ = c.Close()
	}
	if err := r.can(privsep.Source, r.path("disk1"), unix.O_RDWR); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestGone: without the opener every request fails with a word that says so.
func TestGone(t *testing.T) {
	r := newRig(t)
	if err := unix.Kill(r.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := r.can(privsep.Source, r.path("disk1"), unix.O_RDWR)
		if errors.Is(err, ErrGone) {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("%v", err)
		}
	}
	if err := r.Permits(r.path("disk1")); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	r.daemon(r.Client)
	if got := r.ask(post("{}")); !strings.Contains(got, "200 OK") {
		t.Errorf("the control socket: %q", got)
	}
}

// TestRefusesToStart: why the opener does not start is told.
func TestRefusesToStart(t *testing.T) {
	c, err := Start(Hello{Args: []string{"refuse"}, PID: os.Getpid()}, nil, nil)
	if err == nil {
		c.Close()
		t.Fatal("it started")
	}
	if !strings.Contains(err.Error(), "it does not want to") {
		t.Error(err)
	}
}

// TestStreamIsBounded: a length that promises more than comes does not make the opener take the memory.
func TestStreamIsBounded(t *testing.T) {
	c, other, err := pair(unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	o, err := connOf(other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Write([]byte{3, 0, 0, 0, 'x'}); err != nil { // 48 MiB
		t.Fatal(err)
	}
	_ = o.Close()
	var v reply
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := receive(c, &v); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 4<<20 {
		t.Errorf("%d bytes were allocated", after.TotalAlloc-before.TotalAlloc)
	}
}

func listenUnix(path string) (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err == nil {
		l.SetUnlinkOnClose(false)
	}
	return l, err
}
