package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"goaoe/internal/control"
	"goaoe/internal/web/webtest"
)

// press clicks the button with a text, the one in front.
func (p *tab) press(text string) {
	p.Helper()
	button := fmt.Sprintf(`[...(([...document.querySelectorAll("dialog")].pop()) || document).querySelectorAll("button")].find(b => b.innerText.trim() === %q && b.offsetParent && !b.disabled)`, text)
	p.until("there is a button "+text, button)
	p.run(chromedp.Evaluate[chromedp.Void](button + `.setAttribute("data-press", "")`))
	p.run(chromedp.Click(css("[data-press]")))
	p.run(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("[data-press]").forEach(e => e.removeAttribute("data-press"))`))
}

// fill writes into a field of the window in front, in place of what it says.
func (p *tab) fill(name, value string) {
	p.Helper()
	field := css(fmt.Sprintf(`dialog:last-of-type [name=%q]`, name))
	p.run(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`{ const f = document.querySelector('dialog:last-of-type [name=%q]'); f.closest("details")?.setAttribute("open", ""); f.focus(); f.select(); }`, name)))
	if value == "" {
		p.run(chromedp.SendKeys(field, kb.Backspace))
		return
	}
	p.run(chromedp.SendKeys(field, value))
}

// tick clicks a box of the window in front.
func (p *tab) tick(name string) {
	p.Helper()
	p.run(chromedp.Click(css(fmt.Sprintf(`dialog:last-of-type input[type=checkbox][name=%q]`, name))))
}

// closed waits until no window is open.
func (p *tab) closed() {
	p.Helper()
	p.until("the window is closed", `!document.querySelector("dialog")`)
}

// open shows the window of an export.
func (p *tab) open(address string) {
	p.Helper()
	p.run(chromedp.Click(css(fmt.Sprintf(`#exporttable a[href="#%s"]`, address))))
	p.until("the window is open", fmt.Sprintf(`document.querySelector("dialog h2")?.innerText.startsWith(%q) && document.querySelector("dialog dl").children.length > 0`, address))
}

// calls is how often the daemon was asked.
func calls(d *webtest.Daemon, call string) int {
	d.Lock()
	defer d.Unlock()
	return d.Calls[call]
}

// export returns an export of the daemon; one without an address when there is none.
func export(d *webtest.Daemon, address string) control.Export {
	d.Lock()
	defer d.Unlock()
	for _, e := range d.List {
		if e.Address == address {
			return e
		}
	}
	return control.Export{}
}

// TestReadOnly: without a token the page has nothing that changes anything, and nothing can be changed by it.
func TestReadOnly(t *testing.T) {
	d := webtest.New(6)
	p := open(t, d, look{width: 1280, height: 900, readOnly: true}).ready()
	p.has("This page only shows: no token is set.")
	p.open("e0.0")
	for _, b := range []string{"Unlock changes", "Add an export", "Reload configuration", "Change settings", "Remove", "Announce", "Clear counters"} {
		if js[bool](p, fmt.Sprintf(`[...document.querySelectorAll("button")].some(b => b.innerText.trim() === %q && b.offsetParent)`, b)) {
			t.Errorf("there is a button %q", b)
		}
	}
	p.expectFailures()
	for _, path := range []string{"changes", "clear", "reload", "announce"} {
		status := js[int](p, fmt.Sprintf(`fetch("api/%s", { method: "POST", headers: { "Content-Type": "application/json", Authorization: "Bearer %s" }, body: "{}" }).then(r => r.status)`, path, token))
		if status != http.StatusForbidden {
			t.Errorf("POST api/%s: %d", path, status)
		}
	}
	if n := calls(d, "change") + calls(d, "clear") + calls(d, "reload") + calls(d, "announce"); n > 0 {
		t.Errorf("the daemon was asked for %d changes", n)
	}
}

// TestToken: a wrong token is told, the right one unlocks this tab and no other, until it is locked.
func TestToken(t *testing.T) {
	d := webtest.New(6)
	p := open(t, d, desktop).ready()
	p.expectFailures()
	p.press("Unlock changes")
	p.press("Unlock")
	p.has("Type the token.")
	p.fill("token", "wrong-token-wrong-token")
	p.press("Unlock")
	p.has("the token is wrong; it is in the file that token-file in [web] names")
	p.seen("wrong")
	p.fill("token", token)
	p.keys(kb.Enter)
	p.closed()
	p.until("changes are possible", `!document.querySelector("#add").hidden`)
	p.run(chromedp.Reload())
	p.ready()
	p.until("they stay possible in this tab", `!document.querySelector("#add").hidden && document.querySelector("#unlock").innerText === "Lock changes"`)
	if got := js[string](p, `document.cookie + localStorage.length`); got != "0" {
		t.Errorf("the token is kept elsewhere: %q", got)
	}
	q := visit(t, p.url, desktop).ready()
	if js[bool](q, `!document.querySelector("#add").hidden`) {
		t.Error("another visitor may change things")
	}
	p.press("Lock changes")
	p.until("changes are locked", `document.querySelector("#add").hidden && sessionStorage.length === 0`)
}

// TestAdd: an export is added, with what is wrong said at the form.
func TestAdd(t *testing.T) {
	d := webtest.New(6)
	p := open(t, d, desktop).ready()
	p.unlock()
	p.press("Add an export")
	if got := js[string](p, `document.activeElement.name`); got != "address" {
		t.Errorf("the field %q has the focus", got)
	}
	p.press("Add")
	p.has("A source is needed: what should be served?")
	p.fill("address", "0.1")
	p.fill("source", "/dev/sdx")
	p.press("Add")
	p.has("0.1 is taken")
	p.fill("address", "7.1")
	p.fill("source", "sdx")
	p.press("Add")
	p.has(`source: "sdx" is not an absolute path; e.g. /dev/sdb`)
	p.fill("source", "/dev/sdx")
	p.fill("name", "archive")
	p.tick("read-only")
	p.fill("queue-length", "1")
	p.press("Add")
	p.has(`queue-length: "1" is not a number from 2 to 1024`)
	p.fill("queue-length", "128")
	p.seen("add")
	p.press("Add")
	p.closed()
	p.has("e7.1 was added: serving on eth1")
	p.until("it is in the table", `[...document.querySelectorAll("#exporttable tbody tr")].some(r => r.innerText.includes("archive"))`)
	e := export(d, "e7.1")
	if e.Source != "/dev/sdx" || e.Settings["read-only"] != "true" || e.Settings["queue-length"] != "128" || e.Settings["write-cache"] != "false" || e.Name != "archive" || e.Unsaved {
		t.Errorf("the daemon has %+v", e)
	}
	p.press("Add an export")
	p.fill("source", "/dev/sdy")
	p.tick("save")
	p.press("Add")
	p.closed()
	p.has("e99.7 was added")
	if e := export(d, "e99.7"); !e.Unsaved {
		t.Errorf("without saving: %+v", e)
	}
	p.press("Add an export")
	p.press("Cancel")
	p.closed()
}

// TestChange: settings are changed; somebody else who was quicker is told.
func TestChange(t *testing.T) {
	d := webtest.New(6)
	p := open(t, d, desktop).ready()
	p.unlock()
	p.open("e0.4")
	p.press("Change settings")
	if got := js[string](p, `document.querySelector("dialog:last-of-type [name=accept]").value`); got != "52:54:00:aa:00:00,52:54:00:aa:00:01" {
		t.Errorf("accept is %q", got)
	}
	p.press("Apply")
	p.has("Nothing was changed.")
	p.tick("read-only")
	p.fill("queue-length", "x")
	p.fill("queue-length", "32")
	p.seen("settings")
	p.press("Apply")
	p.until("it is said where it is seen", `document.querySelector("dialog .toasts")?.innerText.includes("e0.4 was changed")`)
	p.seen("changed")
	if e := export(d, "e0.4"); e.Settings["read-only"] != "true" || e.Settings["queue-length"] != "32" || e.Settings["accept"] == "" {
		t.Errorf("the daemon has %v", e.Settings)
	}
	p.until("the window of the export says so", `document.querySelectorAll("dialog").length === 1 && /read-only\s+true/.test(document.querySelector("dialog").textContent.replace(/read-only/, "read-only "))`)
	// Somebody else.
	p.press("Change settings")
	p.until("its settings of now are there", `document.querySelector("dialog:last-of-type [name=queue-length]").value === "32"`)
	d.Lock()
	for i := range d.List {
		if d.List[i].Address == "e0.4" {
			d.List[i].Settings["queue-length"], d.List[i].Revision = "77", "other"
		}
	}
	d.Unlock()
	p.fill("queue-length", "16")
	p.press("Apply")
	p.has("Somebody else changed e0.4 in the meantime. Nothing of yours was applied.")
	if e := export(d, "e0.4"); e.Settings["queue-length"] != "77" {
		t.Errorf("what somebody else has set is lost: %v", e.Settings["queue-length"])
	}
	p.seen("conflict")
	p.press("Show its settings of now")
	p.until("what the other one has set is there", `document.querySelector("dialog:last-of-type [name=queue-length]").value === "77"`)
	p.fill("queue-length", "16")
	p.press("Apply")
	p.until("it is changed", `document.querySelectorAll("dialog").length === 1`)
	if e := export(d, "e0.4"); e.Settings["queue-length"] != "16" {
		t.Errorf("the daemon has %v", e.Settings["queue-length"])
	}
}

// TestRemove: one that nobody uses goes by one click, one in use only after it was said by whom.
func TestRemove(t *testing.T) {
	d := webtest.New(6)
	p := open(t, d, desktop).ready()
	p.unlock()
	p.expectFailures() // the page may ask once more for what is gone
	p.open("e0.1")
	p.press("Remove")
	p.has("The data stays where it is.")
	p.press("Cancel")
	p.press("Remove")
	p.press("Remove")
	p.closed()
	p.has("e0.1 was removed")
	if e := export(d, "e0.1"); e.Address != "" {
		t.Error("it is still there")
	}
	p.open("e0.0")
	p.press("Remove")
	p.has("It is in use by:")
	p.has("node1 (52:54:00:aa:00:00) on eth1")
	if !js[bool](p, `document.querySelector("dialog:last-of-type button[type=submit]").disabled`) {
		t.Error("an export in use can be removed without a tick")
	}
	p.seen("in-use")
	p.tick("force")
	p.press("Remove")
	p.closed()
	if e := export(d, "e0.0"); e.Address != "" {
		t.Error("it is still there")
	}
	// Somebody begins to use it while the question is open.
	p.open("e0.2")
	p.press("Remove")
	d.Lock()
	for i := range d.List {
		if d.List[i].Address == "e0.2" {
			d.List[i].Users = []control.User{{MAC: "52:54:00:aa:00:77", Interface: "eth2"}}
		}
	}
	d.Unlock()
	p.press("Remove")
	p.has("52:54:00:aa:00:77 on eth2")
	if e := export(d, "e0.2"); e.Address == "" {
		t.Error("it is gone without force")
	}
	p.tick("force")
	p.press("Remove")
	p.closed()
}

// TestClear: what initiators have set is cleared, exports are announced, the configuration is reloaded after a look at what that does.
func TestClear(t *testing.T) {
	d := webtest.New(8)
	d.Trouble()
	p := open(t, d, desktop).ready()
	p.unlock()
	p.open("e0.0")
	p.press("Announce")
	p.has("e0.0: announced on eth1, eth2")
	p.press("Clear config string")
	p.has("Initiators rely on it")
	p.press("Clear")
	p.has("The config string of e0.0 was cleared")
	p.press("Clear reservation")
	p.tick("force")
	p.press("Clear")
	p.until("the reservation is gone", `document.querySelector("dialog").innerText.includes("nobody")`)
	if e := export(d, "e0.0"); e.ConfigString != "" || len(e.Reserve) > 0 || calls(d, "announce") != 1 {
		t.Errorf("%+v", e)
	}
	p.keys(kb.Escape)
	p.closed()
	p.press("Reload configuration")
	p.has("change e0.0: queue-length 64 → 128")
	p.seen("reload")
	if calls(d, "reload") > 0 {
		t.Error("a look reloads")
	}
	p.press("Apply")
	p.closed()
	p.has("The configuration was reloaded")
	if calls(d, "reload") != 1 {
		t.Errorf("reloaded %d times", calls(d, "reload"))
	}
}

// TestOtherSite: a page of another site, in the same browser, in which the token is known, can neither read nor change anything.
func TestOtherSite(t *testing.T) {
	d := webtest.New(6)
	p := open(t, d, desktop).ready()
	p.unlock()
	before := calls(d, "change")
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<!DOCTYPE html><title>evil</title><link rel="icon" href="data:,"><iframe id="frame" src="%[1]s"></iframe><iframe name="target"></iframe><script src="%[1]sapi/view"></script>
			<form id="form" method="post" enctype="text/plain" target="target" action="%[1]sapi/changes"><input name='{"changes":[{"op":"remove","address":"e0.1","force":true}],"x":"' value='"}'></form>`, p.url)
	}))
	t.Cleanup(evil.Close)
	for _, host := range []string{evil.URL, strings.Replace(evil.URL, "127.0.0.1", "localhost", 1)} {
		q := visit(t, host, desktop)
		q.foreign = true
		q.expectFailures()
		got := js[[]string](q, fmt.Sprintf(`(async () => {
			const out = [], url = %q;
			const tried = async (name, fn) => { try { out.push(name + ": " + await fn()); } catch (e) { out.push(name + ": refused"); } };
			const body = JSON.stringify({ changes: [{ op: "remove", address: "e0.1", force: true }] });
			await tried("read", () => fetch(url + "api/view").then(r => r.text()));
			await tried("write", () => fetch(url + "api/changes", { method: "POST", body, headers: { "Content-Type": "application/json", Authorization: "Bearer %s" } }).then(r => r.text()));
			await tried("blind", () => fetch(url + "api/changes", { method: "POST", mode: "no-cors", credentials: "include", body: new Blob([body]) }).then(r => r.type));
			document.querySelector("#form").submit();
			await new Promise(r => setTimeout(r, 500));
			await tried("frame", () => document.querySelector("#frame").contentDocument ? "seen" : "hidden");
			return out;
		})()`, p.url, token))
		if want := "[read: refused write: refused blind: opaque frame: hidden]"; fmt.Sprint(got) != want && fmt.Sprint(got) != strings.Replace(want, "blind: opaque", "blind: refused", 1) {
			t.Errorf("%s gets %q", host, got)
		}
	}
	if n := calls(d, "change") - before; n > 0 {
		t.Errorf("the daemon was asked for %d changes", n)
	}
	if e := export(d, "e0.1"); e.Address == "" {
		t.Error("an export was removed by a page of another site")
	}
}
