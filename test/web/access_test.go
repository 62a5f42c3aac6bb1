package web_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"goaoe/internal/web/webtest"
)

// axe holds what is on the page now against the rules of axe-core: WCAG 2.2 A and AA, and good practice.
func (p *tab) axe(what string) {
	p.Helper()
	if !js[bool](p, `"axe" in window`) {
		b, err := os.ReadFile("testdata/axe-core/axe.min.js")
		if err != nil {
			p.Fatal(err)
		}
		p.run(chromedp.Evaluate[chromedp.Void](string(b) + "\nundefined"))
	}
	type result struct {
		Broken []string
		Passed int
	}
	r := js[result](p, `axe.run(document, { resultTypes: ["violations"] }).then(r => ({ Passed: r.passes.length, Broken: r.violations.flatMap(v => v.nodes.slice(0, 3).map(n => v.id + ": " + v.help + ": " + n.html.slice(0, 200) + " " + (n.any[0] || n.all[0] || n.none[0] || {}).message + " (" + v.nodes.length + " times)")) }))`)
	for _, b := range r.Broken {
		p.Errorf("%s: %s", what, b)
	}
	if r.Passed < 20 {
		p.Errorf("%s: only %d rules had something to look at", what, r.Passed)
	}
}

// TestAccessible: light and dark, on a large screen and a phone, with all that can be open.
func TestAccessible(t *testing.T) {
	for name, l := range map[string]look{"light": desktop, "dark": desktop.inDark(), "dark-phone": phone.inDark()} {
		t.Run(name, func(t *testing.T) {
			d := webtest.New(12)
			d.Trouble()
			l.still = true
			p := open(t, d, l).ready()
			p.until("charts have lines", `document.querySelectorAll("#chartbox path.line").length === 6`)
			p.run(chromedp.Click(css("#chartbox details summary")))
			p.axe("the page")
			p.shot("page")
			p.expectFailures()
			p.press("Unlock changes")
			p.fill("token", "wrong-token-wrong-token")
			p.keys(kb.Enter)
			p.has("the token is wrong")
			p.axe("the question for the token")
			p.seen("token")
			p.fill("token", token)
			p.keys(kb.Enter)
			p.closed()
			p.open("e0.0")
			p.until("its charts have lines", `document.querySelectorAll("dialog path.line").length === 4`)
			p.axe("an export")
			p.seen("export")
			p.press("Change settings")
			p.run(chromedp.Evaluate[chromedp.Void](`document.querySelector("dialog:last-of-type details").open = true`))
			p.axe("settings")
			p.seen("settings")
			p.keys(kb.Escape)
			p.until("one window is left", `document.querySelectorAll("dialog").length === 1`)
			p.press("Remove")
			p.has("It is in use by:")
			p.axe("a removal")
			p.seen("remove")
			p.keys(kb.Escape)
			p.until("one window is left", `document.querySelectorAll("dialog").length === 1`)
			p.keys(kb.Escape)
			p.closed()
			p.press("Add an export")
			p.press("Add")
			p.has("A source is needed")
			p.axe("a new export")
			p.seen("add")
			p.keys(kb.Escape)
			p.closed()
			down := func(yes bool) { d.Lock(); d.Down = yes; d.Unlock() }
			down(true)
			p.until("it says that nobody answers", `!document.querySelector("#gone").hidden`)
			p.axe("without an answer")
			p.seen("gone")
		})
	}
}

// TestKeyboard: all can be done without a mouse, and the focus is where it should be.
func TestKeyboard(t *testing.T) {
	d := webtest.New(6)
	p := open(t, d, desktop).ready()
	p.keys(kb.Tab)
	if got := js[string](p, `document.activeElement.innerText`); got != "Skip to the exports" {
		t.Errorf("the first stop is %q", got)
	}
	p.keys(kb.Enter)
	p.until("it leads to the exports", `document.activeElement.id === "exports"`)
	p.tabTo("Source")
	p.keys(kb.Enter)
	p.until("a heading sorts", `document.querySelector("#exporttable th[aria-sort=ascending]")?.innerText.trim().startsWith("Source")`)
	if got := js[string](p, `document.activeElement.innerText.trim()`); !strings.HasPrefix(got, "Source") {
		t.Errorf("the focus is at %q", got)
	}
	p.keys(kb.Enter)
	p.until("and the other way round", `document.querySelector("#exporttable th[aria-sort=descending]")?.innerText.trim().startsWith("Source")`)
	p.tabTo("e0.2")
	p.keys(kb.Enter)
	p.until("the window is open and has the focus", `document.activeElement === document.querySelector("dialog h2")`)
	for range 12 { // the focus stays in the window
		p.keys(kb.Tab)
		if !js[bool](p, `document.activeElement === document.body || document.querySelector("dialog").contains(document.activeElement)`) {
			t.Errorf("the focus leaves the window for %q", js[string](p, `document.activeElement.outerHTML.slice(0, 100)`))
		}
	}
	p.keys(kb.Escape)
	p.until("the focus is back where it was", `!document.querySelector("dialog") && document.activeElement.getAttribute("href") === "#e0.2"`)
	p.until("new figures leave the focus alone", `new Promise(r => setTimeout(() => r(document.activeElement.getAttribute("href") === "#e0.2"), 2500))`)
	// Unlock, add, change and remove.
	p.run(chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`))
	p.tabTo("Unlock changes")
	p.keys(kb.Enter)
	p.until("the field has the focus", `document.activeElement.type === "password"`)
	p.keys(token, kb.Enter)
	p.closed()
	p.until("changes are possible", `!document.querySelector("#add").hidden`)
	p.tabTo("Add an export")
	p.keys(kb.Enter)
	p.until("the first field has the focus", `document.activeElement.name === "address"`)
	p.keys("8.1")
	p.tabTo("Source")
	p.keys("/dev/sdz")
	p.tabTo("Read-only")
	p.keys(" ")
	p.tabTo("Add")
	p.keys(kb.Enter)
	p.closed()
	p.has("e8.1 was added")
	if e := export(d, "e8.1"); e.Source != "/dev/sdz" || e.Settings["read-only"] != "true" {
		t.Errorf("the daemon has %+v", e)
	}
	p.until("it is in the table", `document.querySelector('#exporttable a[href="#e8.1"]')`)
	p.tabTo("e8.1")
	p.keys(kb.Enter)
	p.until("its window is open", `document.querySelector("dialog h2")?.innerText.startsWith("e8.1") && !document.querySelector("dialog .buttons").hidden`)
	p.expectFailures() // the page may ask for it once more
	p.tabTo("Remove")
	p.keys(kb.Enter)
	p.until("it is asked", `document.querySelectorAll("dialog").length === 2`)
	p.tabTo("Remove")
	p.keys(kb.Enter)
	p.closed()
	if e := export(d, "e8.1"); e.Address != "" {
		t.Error("it is still there")
	}
	if got := js[string](p, `document.activeElement.id || document.activeElement.outerHTML.slice(0, 100)`); got != "exports" {
		t.Errorf("when what had the focus is gone, it is at %q", got)
	}
}

// TestNarrow: nothing has to be pushed sideways, from a small phone to a tablet, and what is touched is large enough.
func TestNarrow(t *testing.T) {
	for _, width := range []int64{320, 412, 720, 1024} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			d := webtest.New(30)
			d.Trouble()
			d.List[4].Source = "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4e5f60718293a4b5c6d7e8f90-part12345678901234567890"
			d.List[4].Name = strings.Repeat("long-name-", 6)
			p := open(t, d, look{width: width, height: 740}).ready()
			p.until("charts have lines", `document.querySelectorAll("#chartbox path.line").length === 6`)
			wide := func(what string) {
				t.Helper()
				if got := js[int64](p, `document.documentElement.scrollWidth`); got > width {
					t.Errorf("%s is %d wide", what, got)
				}
				out := js[[]string](p, `[...document.querySelectorAll("main *, dialog[open] *")].filter(e => e.getClientRects().length && !e.closest(".sr, thead, svg, .scroll") && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 120))`)
				if len(out) > 0 {
					t.Errorf("%s: outside on the right: %q", what, out)
				}
			}
			wide("the page")
			if width < 720 {
				if got := js[int](p, `[...document.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth + 1).length`); got > 0 {
					t.Errorf("%d tables have to be pushed sideways", got)
				}
			}
			small := js[[]string](p, `[...document.querySelectorAll("button, select, input, summary")].filter(e => { const r = e.getBoundingClientRect(); return r.width && !e.closest(".sr, thead") && (r.height < 24 || r.width < 24) && !e.matches("[type=checkbox]"); }).map(e => e.outerHTML.slice(0, 80) + " " + e.getBoundingClientRect().height)`)
			if len(small) > 0 {
				t.Errorf("too small to be touched: %q", small)
			}
			p.shot("page")
			p.unlock()
			p.open("e0.4")
			wide("an export")
			p.seen("export")
			p.press("Change settings")
			p.run(chromedp.Evaluate[chromedp.Void](`document.querySelector("dialog:last-of-type details").open = true`))
			wide("settings")
			p.tick("read-only")
			p.press("Apply")
			p.until("it is changed", `document.querySelectorAll("dialog").length === 1`)
			if e := export(d, "e0.4"); e.Settings["read-only"] != "true" {
				t.Errorf("the daemon has %v", e.Settings)
			}
		})
	}
}
