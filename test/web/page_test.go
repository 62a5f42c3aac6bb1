package web_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"goaoe/internal/control"
	"goaoe/internal/web/webtest"
)

var (
	desktop = look{width: 1280, height: 900}
	phone   = look{width: 360, height: 740}
)

// inDark returns a look in dark colours.
func (l look) inDark() look { l.dark = true; return l }

// rows are the first column of a table of the page.
func (p *tab) rows(id string) []string {
	p.Helper()
	return js[[]string](p, fmt.Sprintf(`[...document.querySelectorAll("#%s tbody tr")].map(r => r.cells[0].firstChild.textContent)`, id))
}

// cell returns what a cell says, by the name of the row and the label of the column.
func (p *tab) cell(id, row, column string) string {
	p.Helper()
	return js[string](p, fmt.Sprintf(`(() => {
		const head = [...document.querySelectorAll("#%[1]s thead th")].findIndex(h => h.innerText.trim().startsWith(%[3]q));
		const row = [...document.querySelectorAll("#%[1]s tbody tr")].find(r => r.cells[0].firstChild.textContent === %[2]q);
		return row && head >= 0 ? row.cells[head].innerText.trim() : "";
	})()`, id, row, column))
}

// choose chooses an option of a field of the page.
func (p *tab) choose(id, option string) {
	p.Helper()
	p.until("there is the option "+option, fmt.Sprintf(`[...document.querySelector("#%s").options].some(o => o.value === %q)`, id, option))
	p.run(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`{ const f = document.querySelector("#%s"); f.value = %q; f.dispatchEvent(new Event("change")); }`, id, option)))
}

// search types into the search field of the exports, in place of what it says.
func (p *tab) search(text string) {
	p.Helper()
	p.run(chromedp.Evaluate[chromedp.Void](`document.querySelector("#q").select()`), chromedp.SendKeys(css("#q"), text))
}

// TestPage: exports, initiators and interfaces are there, and figures and charts move without a click.
func TestPage(t *testing.T) {
	p := open(t, webtest.New(14), desktop).ready()
	if title := js[string](p, "document.title"); title != "goaoe on storage1" {
		t.Errorf("title %q", title)
	}
	p.has("Version 1.2.3, running for 1 d 2 h")
	if got := p.rows("exporttable"); len(got) != 14 || got[0] != "e0.0" || got[13] != "e0.13" {
		t.Errorf("exports %q", got)
	}
	for column, want := range map[string]string{"State": "serving", "Source": "/dev/vg0/mail0", "Size": "20 GiB", "Interfaces": "eth1, eth2", "Initiators": "1"} {
		if got := p.cell("exporttable", "e0.0", column); got != want {
			t.Errorf("%s of e0.0: %q, want %q", column, got, want)
		}
	}
	if got := p.cell("exporttable", "e0.0", "Address"); got != "e0.0\nmail-1" {
		t.Errorf("e0.0 is called %q", got)
	}
	if got := p.rows("interfacetable"); strings.Join(got, " ") != "eth1 eth2" {
		t.Errorf("interfaces %q", got)
	}
	for column, want := range map[string]string{"State": "serving", "MAC address": "52:54:00:12:34:01", "MTU": "9000", "Exports": "14", "Lost in the ring": "0"} {
		if got := p.cell("interfacetable", "eth1", column); got != want {
			t.Errorf("%s of eth1: %q, want %q", column, got, want)
		}
	}
	p.until("initiators are there", `document.querySelectorAll("#initiatortable tbody tr").length === 4`)
	if got := p.cell("initiatortable", "node1", "Exports"); got != "e0.0, e0.12" {
		t.Errorf("node1 uses %q", got)
	}
	if got := p.cell("initiatortable", "node1", "Last seen"); got != "now" {
		t.Errorf("node1 was seen %q", got)
	}
	// It moves.
	p.until("there is traffic", `!/^0 B/.test(document.querySelector("#tiles > div:nth-child(4) dd span").innerText)`)
	p.until("charts have lines", `document.querySelectorAll("#chartbox path.line").length === 6`)
	was := js[string](p, `document.querySelector("#tiles").innerText + document.querySelector("#chartbox path.line").getAttribute("d")`)
	p.until("figures change", fmt.Sprintf(`document.querySelector("#tiles").innerText + document.querySelector("#chartbox path.line").getAttribute("d") !== %q`, was))
	name := js[string](p, `document.querySelector("#chartbox svg title").textContent`)
	if !strings.HasPrefix(name, "Throughput over the last 15 minutes. Read: now ") || !strings.Contains(name, "; Written: now ") {
		t.Errorf("the chart says %q", name)
	}
	p.has("Everything is fine.")
	p.choose("window", "5")
	p.until("the charts show five minutes", `document.querySelector("#chartbox svg title").textContent.includes("last 5 minutes")`)
	p.run(chromedp.Click(css("#chartbox details summary")))
	p.until("a chart is a table, too", `document.querySelectorAll("#chartbox details tbody tr").length > 0`)
	p.run(chromedp.Click(css("#chartbox details summary")))
	// Paused, nothing is asked.
	p.run(chromedp.Click(css("#pause")))
	p.has("Paused")
	time.Sleep(500 * time.Millisecond) // for what was asked before
	count := func() int { p.mu.Lock(); defer p.mu.Unlock(); return len(p.requests) }
	n := count()
	time.Sleep(3 * time.Second)
	if count() != n {
		t.Errorf("a paused page asks %d times", count()-n)
	}
	p.run(chromedp.Click(css("#pause")))
	p.until("it asks again", `document.querySelector("#pause").innerText === "Pause"`)
	p.shot("page")
}

// TestFind: exports are searched, sorted and shown in pages.
func TestFind(t *testing.T) {
	d := webtest.New(2300)
	d.Trouble()
	p := open(t, d, desktop).ready()
	p.has("1 to 50 of 2,300 exports")
	p.run(chromedp.Click(css("#next")))
	p.has("51 to 100 of 2,300 exports")
	p.search("MAIL-27")
	p.until("names are found", `document.querySelector("#found").innerText.includes("of 2,300 exports") && document.querySelectorAll("#exporttable tbody tr").length < 50`)
	for _, r := range p.rows("exporttable") {
		if got := p.cell("exporttable", r, "Address"); !strings.Contains(got, "mail-27") {
			t.Errorf("a search for mail-27 finds %q", got)
		}
	}
	p.search("no such thing")
	p.has("No export matches.")
	p.search(" ")
	p.has("1 to 50 of 2,300 exports")
	p.choose("fstate", "failed")
	p.until("only what failed is shown", `document.querySelectorAll("#exporttable tbody tr").length === 1`)
	if got := p.cell("exporttable", "e0.2", "State"); !strings.HasPrefix(got, "failed") || !strings.Contains(got, "input/output error") {
		t.Errorf("e0.2: %q", got)
	}
	p.choose("fstate", "")
	p.until("all are shown", `document.querySelectorAll("#exporttable tbody tr").length === 50`)
	click := fmt.Sprintf(`[...document.querySelectorAll("#exporttable thead button")].find(b => b.innerText.trim().startsWith(%q)).click()`, "Size")
	p.run(chromedp.Evaluate[chromedp.Void](click))
	p.until("the largest come first", `document.querySelector("#exporttable th[aria-sort=descending]")?.innerText.trim().startsWith("Size") && document.querySelector("#exporttable tbody tr").cells[3].innerText === "260 GiB"`)
	p.run(chromedp.Evaluate[chromedp.Void](click))
	p.until("the smallest come first", `document.querySelector("#exporttable th[aria-sort=ascending]")?.innerText.trim().startsWith("Size") && document.querySelector("#exporttable tbody tr").cells[3].innerText === "–"`)
	p.run(chromedp.SendKeys(css("#iq"), "node3"))
	p.until("one initiator is shown", `document.querySelectorAll("#initiatortable tbody tr").length <= 1`)
	p.shot("many")
}

// TestWarnings: what is wrong is said in plain words with what to do, the worst first.
func TestWarnings(t *testing.T) {
	d := webtest.New(14)
	p := open(t, d, desktop).ready()
	p.has("Everything is fine.")
	if got := js[string](p, `document.querySelector("#state").innerText`); got != "Running well" {
		t.Errorf("a healthy daemon: %q", got)
	}
	d.Trouble()
	d.Lock()
	d.Ports[1].Up = false
	d.Unlock()
	d.Bump(func(e map[string]*control.ExportStats, ports map[string]*control.InterfaceStats, peers map[string]*control.InitiatorStats) {
		e["e0.6"].Errors += 3
		ports["eth1"].KernelDrops += 7
		peers["52:54:00:aa:00:00e0.0"].Requests += 100000
		peers["52:54:00:aa:00:00e0.0"].Retransmits += 400
		e["e0.7"].RejectKinds = map[string]uint64{"argument": 3}
	})
	p.until("problems are counted", `/\d problems/.test(document.querySelector("#state").innerText)`)
	p.until("they are said aloud", `/problem: /.test(document.querySelector("#announcer").innerText)`)
	p.run(chromedp.Click(css("#showall")))
	for _, text := range []string{
		"another target at 52:54:00:99:00:07 announces the same address on eth1", "Give one of both another address",
		"the link is down", "3 requests failed on the disk in the last minutes", "smartctl",
		"7 frames were lost in the last minutes because the receive ring was full", "ring-frames",
		"of its requests in the last minutes came twice", "an initiator believes in a larger MTU",
		"waiting: /dev/vg0/web0 does not exist", "everybody on the network can read and write it", "1 export has changes that the next start will not know",
	} {
		p.has(text)
	}
	levels := js[[]string](p, `[...document.querySelectorAll("#warnings .pill")].map(e => e.innerText)`)
	rank := map[string]int{"problem": 0, "warning": 1, "note": 2}
	for i := 1; i < len(levels); i++ {
		if rank[levels[i]] < rank[levels[i-1]] {
			t.Errorf("order %q", levels)
			break
		}
	}
	p.shot("warnings")
	p.run(chromedp.Click(css(`#warnings a[href="#e0.5"]`))) // leads to the export
	p.until("its window is open", `document.querySelector("dialog h2")?.innerText.startsWith("e0.5")`)
	p.keys(kb.Escape)
	d.Lock()
	d.Problems, d.Waiting = nil, nil
	d.Ports[1].Up = true
	d.Unlock()
	p.until("what is over is said", `/(finding is|findings are) over/.test(document.querySelector("#announcer").innerText)`)
}

// TestDetail: the window of an export has everything about it, can be linked to, and is closed by a key.
func TestDetail(t *testing.T) {
	d := webtest.New(8)
	d.Trouble()
	l := desktop
	l.path = "#e0.0"
	p := open(t, d, l).ready()
	p.until("the address opens its window", `document.querySelector("dialog[open] h2")?.innerText === "e0.0 mail-1"`)
	for _, text := range []string{"/dev/vg0/mail0", "20 GiB, 41,943,040 sectors", "boot=linux root=/dev/etherd/e0.0", "52:54:00:aa:00:00", "/etc/goaoe/goaoe.toml:10", "node1"} {
		p.until(text, fmt.Sprintf(`document.querySelector("dialog").innerText.includes(%q)`, text))
	}
	p.until("its charts have lines", `document.querySelectorAll("dialog path.line").length === 4`)
	p.run(chromedp.Click(css("dialog details.more summary")))
	p.until("its settings are there", `/queue-length\s+64/.test(document.querySelector("dialog").innerText)`)
	p.seen("detail")
	p.keys(kb.Escape)
	p.until("it is closed, and the address is that of the page", `!document.querySelector("dialog") && location.hash === ""`)
	p.run(chromedp.Click(css(`#exporttable a[href="#e0.2"]`)))
	p.until("another is open", `document.querySelector("dialog[open] h2")?.innerText === "e0.2" && location.hash === "#e0.2"`)
	p.has("input/output error")
	d.Lock()
	d.List = append(d.List[:2:2], d.List[3:]...)
	d.Unlock()
	p.expectFailures()
	p.until("that it is gone is said", `document.querySelector("dialog [role=alert]").innerText.includes("there is no export e0.2")`)
	p.run(chromedp.Click(css("dialog .close")))
	p.until("it is closed", `!document.querySelector("dialog")`)
}

// TestGone: while the daemon does not answer the page says so and keeps what it knew; then it goes on by itself.
func TestGone(t *testing.T) {
	d := webtest.New(8)
	p := open(t, d, desktop).ready()
	p.expectFailures()
	down := func(yes bool) { d.Lock(); d.Down = yes; d.Unlock() }
	down(true)
	p.until("it says so", `!document.querySelector("#gone").hidden && document.querySelector("#state").innerText === "No answer"`)
	p.has("What you see below is what it said last.")
	if got := p.rows("exporttable"); len(got) != 8 {
		t.Errorf("what it knew is gone: %q", got)
	}
	p.seen("gone")
	down(false)
	p.until("it goes on", `document.querySelector("#gone").hidden && document.querySelector("#state").innerText === "Running well"`)
	p.server.Close()
	p.until("it says that nobody answers", `/^Since [0-9:]+.*: goaoe does not answer\. Trying/.test(document.querySelector("#gone").innerText)`)
}

// TestEmpty: a daemon without exports, and one that never answered.
func TestEmpty(t *testing.T) {
	p := open(t, webtest.New(0), look{width: 1280, height: 900, readOnly: true}).ready()
	p.has("There are no exports yet. Add one: goaoe add SHELF.SLOT SOURCE")
	p.has("No initiator has asked for anything yet.")
	d := webtest.New(1)
	d.Down = true
	l := desktop
	l.fails = true
	q := open(t, d, l)
	q.has(": the daemon is ending. Trying again…")
	q.has("Nothing is known yet.")
}

// TestNames: what people have called things is text, whatever is in it.
func TestNames(t *testing.T) {
	d := webtest.New(4)
	evil := `<img src=x onerror="document.title='evil'"><script>document.title='evil'</script>`
	d.List[0].Name, d.List[0].Source, d.List[0].ConfigString = evil, evil, evil
	d.List[0].Users[0].Name = evil
	d.List[1].State, d.List[1].Why = control.StateFailed, evil
	d.Problems, d.Waiting = []string{"e0.1: " + evil}, []string{evil}
	p := open(t, d, desktop).ready()
	p.run(chromedp.Click(css(`#exporttable a[href="#e0.0"]`)))
	p.until("the window is open", `document.querySelector("dialog").innerText.includes("Config string")`)
	time.Sleep(2500 * time.Millisecond) // one more round
	if got := js[string](p, `document.title + document.querySelectorAll("script, img").length`); got != "goaoe on storage12" {
		t.Errorf("names are run: %q", got)
	}
	if n := js[int](p, fmt.Sprintf(`document.body.innerText.split(%q).length - 1`, evil)); n < 5 {
		t.Errorf("the names are shown %d times", n)
	}
}

// TestNoScript: without JavaScript the page says what to use instead.
func TestNoScript(t *testing.T) {
	p := open(t, webtest.New(1), desktop)
	command(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	p.run(chromedp.Reload())
	text, err := chromedp.Run(p.ctx, chromedp.Text(css("noscript")))
	if err != nil || !strings.Contains(text, "goaoe status") {
		t.Errorf("%q, %v", text, err)
	}
}
