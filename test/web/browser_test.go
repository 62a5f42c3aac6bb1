// Package web_test looks at the web page with a real browser: Chromium without a window.
package web_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"goaoe/internal/web"
	"goaoe/internal/web/webtest"
	"goaoe/test/need"
	"goaoe/test/program"
)

const token = "a-token-for-the-browser-suite"

// patience is how long something on the page may take. Nothing here measures speed.
const patience = 45 * time.Second

var (
	shots  = flag.String("shots", "", "folder to keep pictures of the page in")
	listen = flag.String("listen", "", "with -run TestByHand: serve the page of a daemon that is made up at this address, until the test is ended")
)

type css = chromedp.CSS

// browser is started once for all tests.
var browser = sync.OnceValues(func() (context.Context, error) {
	exe, err := exec.LookPath("chromium")
	if err != nil {
		return nil, err
	}
	o := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(exe), chromedp.NoSandbox, chromedp.WSURLReadTimeout(time.Minute)) // a folder for it is made and removed
	for _, f := range []string{"disable-dev-shm-usage", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync"} {
		o = append(o, chromedp.Flag(f, true))
	}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), o...)
	stops = append(stops, stop)
	ctx, stop2 := chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {}))
	stops = append(stops, stop2)
	return ctx, chromedp.Do(ctx)
})

var stops []func()

func TestMain(m *testing.M) {
	flag.Parse()
	program.Main(m, func() {
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]()
		}
	})
}

// tab is a page of the browser on a daemon that is made up.
type tab struct {
	*testing.T
	ctx    context.Context
	daemon *webtest.Daemon
	url    string
	server *web.Server

	mu       sync.Mutex
	said     []string // errors and warnings on the console, and exceptions
	requests []string
	quiet    bool // failed requests are expected
	foreign  bool // it is a page of somebody else, which may ask whom it likes
}

// look is how a page is looked at.
type look struct {
	width, height int64
	dark          bool
	still         bool // prefers-reduced-motion
	readOnly      bool // no token is set
	fails         bool // requests fail from the beginning
	path          string
}

// open serves the page of d and opens it.
func open(t *testing.T, d *webtest.Daemon, l look) *tab {
	t.Helper()
	o := web.Options{Token: token, Hostname: "storage1"}
	if l.readOnly {
		o.Token = ""
	}
	s, err := web.Serve("127.0.0.1:0", d, o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	p := visit(t, "http://"+s.Addr().String()+"/", l)
	p.daemon, p.server = d, s
	return p
}

// visit opens a page.
func visit(t *testing.T, address string, l look) *tab {
	t.Helper()
	need.Programs(t, "chromium")
	parent, err := browser()
	if err != nil {
		t.Fatalf("chromium does not start: %v", err)
	}
	p := &tab{T: t, url: address, quiet: l.fails}
	ctx, stop := chromedp.NewContext(parent, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.event))
	t.Cleanup(stop)
	p.ctx = ctx
	p.run() // opens the tab, with a context that lasts
	scheme, motion := "light", "no-preference"
	if l.dark {
		scheme = "dark"
	}
	if l.still {
		motion = "reduce"
	}
	command(p, network.Enable, network.EnableParams{})
	command(p, log.Enable, cdp.Empty{})
	command(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: l.width, Height: l.height, DeviceScaleFactor: 1, Mobile: l.width < 700})
	command(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: motion}}})
	p.run(chromedp.Navigate(address + l.path))
	t.Cleanup(p.clean)
	return p
}

// event notes what must not happen.
func (p *tab) event(ev any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		p.said = append(p.said, fmt.Sprintf("exception: %s %+v", ev.ExceptionDetails.Text, ev.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		var text []string
		for _, a := range ev.Args {
			text = append(text, string(a.Value))
		}
		p.said = append(p.said, "console."+string(ev.Type)+": "+strings.Join(text, " "))
	case *log.EventEntryAdded:
		if p.quiet && ev.Entry.Source == "network" {
			return
		}
		p.said = append(p.said, fmt.Sprintf("log: %s: %s %s", ev.Entry.Level, ev.Entry.Text, ev.Entry.URL))
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, ev.Request.URL)
	}
}

// expectFailures says that requests fail from now on, which the browser writes to its console.
func (p *tab) expectFailures() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.quiet = true
}

// clean fails the test when the console had an error, or another host was asked.
func (p *tab) clean() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.foreign {
		return
	}
	for _, s := range p.said {
		p.Errorf("the browser's console: %s", s)
	}
	own, _ := url.Parse(p.url)
	for _, r := range p.requests {
		if u, err := url.Parse(r); err != nil || u.Host != own.Host && u.Scheme != "data" {
			p.Errorf("the page asked %s", r)
		}
	}
}

// command sends a command of the protocol.
func command[P, R any](p *tab, c cdp.Command[P, R], params P) R {
	p.Helper()
	r, err := chromedp.Call(p.ctx, c, params)
	if err != nil {
		p.Fatalf("%s: %v", c.Method, err)
	}
	return r
}

func (p *tab) run(a ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	if len(a) == 0 {
		if err := chromedp.Do(p.ctx); err != nil {
			p.Fatal(err)
		}
		return
	}
	ctx, stop := context.WithTimeout(p.ctx, patience)
	defer stop()
	if err := chromedp.Do(ctx, a...); err != nil {
		p.shot("failed")
		p.Fatal(err)
	}
}

// js evaluates an expression of type T.
func js[T any](p *tab, expression string) T {
	p.Helper()
	ctx, stop := context.WithTimeout(p.ctx, patience)
	defer stop()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.shot("failed")
		p.Fatalf("%.200s: %v", expression, err)
	}
	return v
}

// until waits for an expression to become true.
func (p *tab) until(what, expression string) {
	p.Helper()
	end := time.Now().Add(patience)
	for !js[bool](p, "Boolean("+expression+")") {
		if time.Now().After(end) {
			p.shot("failed")
			p.Fatalf("waited in vain: %s (%s)\nthe page says:\n%.3000s", what, expression, js[string](p, "document.body.innerText"))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// has waits for the page to say something.
func (p *tab) has(text string) {
	p.Helper()
	p.until("the page says "+text, fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

// ready waits for the first answer of the daemon.
func (p *tab) ready() *tab {
	p.Helper()
	p.until("the page is there", `document.querySelector("#state") && document.querySelector("#state").dataset.state !== "loading"`)
	return p
}

// keys types: text, or the keys of package kb.
func (p *tab) keys(s ...string) {
	p.Helper()
	for _, k := range s {
		p.run(chromedp.KeyEvent(k))
	}
}

// tabTo presses the tab key until an element with this text or label has the focus, as somebody without a mouse does.
func (p *tab) tabTo(name string) {
	p.Helper()
	const focused = `(() => { const e = document.activeElement; const l = e.labels && e.labels[0]; return e.getAttribute("aria-label") || (l ? l.innerText.trim() : e.innerText.trim()); })()`
	var seen []string
	for range 80 {
		p.keys(kb.Tab)
		at := js[string](p, focused)
		seen = append(seen, at)
		if at == name || strings.HasPrefix(at, name+"\n") || strings.HasPrefix(at, name+" (") {
			if !js[bool](p, `document.activeElement.matches(":focus-visible")`) {
				p.Errorf("%s has the focus, and does not show it", name)
			}
			return
		}
	}
	p.shot("failed")
	p.Fatalf("the tab key does not lead to %q, but to %q", name, seen)
}

// unlock gives the page the token.
func (p *tab) unlock() {
	p.Helper()
	p.run(chromedp.Click(css("#unlock")), chromedp.SendKeys(css("dialog input[type=password]"), token+kb.Enter))
	p.until("changes are possible", `!document.querySelector("#add").hidden && !document.querySelector("dialog")`)
}

// shot keeps a picture of the whole page when -shots says where.
func (p *tab) shot(name string) {
	if *shots == "" {
		return
	}
	b, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		p.Logf("no picture: %v", err)
		return
	}
	p.keep(name, b)
}

// seen is shot for what is in the window only, as with an open dialog.
func (p *tab) seen(name string) {
	if *shots == "" {
		return
	}
	b, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.Logf("no picture: %v", err)
		return
	}
	p.keep(name, b)
}

func (p *tab) keep(name string, b []byte) {
	if err := os.MkdirAll(*shots, 0o777); err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(*shots+"/"+strings.ReplaceAll(p.Name(), "/", "-")+"-"+name+".png", b, 0o666); err != nil {
		p.Fatal(err)
	}
}
