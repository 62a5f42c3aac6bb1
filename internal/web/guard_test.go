package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"goaoe/internal/control"
	"goaoe/internal/web/webtest"
)

const token = "0123456789abcdefghij"

// ask sends a request to a handler. Headers come in pairs; "Host" sets the host.
func ask(t *testing.T, h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "http://127.0.0.1:8480"+path, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// errorOf returns the error of a reply, which must be one.
func errorOf(t *testing.T, w *httptest.ResponseRecorder) *control.Error {
	t.Helper()
	var e struct{ Error *control.Error }
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Error == nil || e.Error.Message == "" {
		t.Fatalf("%d without an error: %q", w.Code, w.Body)
	}
	return e.Error
}

func TestWhoMayWrite(t *testing.T) {
	const good, kind = "Bearer " + token, "application/json"
	change := `{"changes":[{"op":"set","address":"e0.1","settings":{"read-only":"true"}}]}`
	calls := []struct{ method, path, body, call string }{
		{"POST", "/api/changes", change, "change"},
		{"POST", "/api/clear", `{"what":"config","exports":["e0.1"]}`, "clear"},
		{"POST", "/api/announce", `{"exports":["e0.1"]}`, "announce"},
		{"POST", "/api/reload", `{}`, "reload"},
		{"GET", "/api/plan", "", "plan"},
		{"GET", "/api/token", "", ""},
	}
	for _, c := range []struct {
		name    string
		none    bool // no token is set
		headers []string
		status  int
	}{
		{"right", false, []string{"Authorization", good, "Content-Type", kind}, 200},
		{"from our own page", false, []string{"Authorization", good, "Content-Type", kind, "Origin", "http://127.0.0.1:8480", "Sec-Fetch-Site", "same-origin"}, 200},
		{"scheme in lower case", false, []string{"Authorization", "bearer " + token, "Content-Type", kind}, 200},
		{"no token set", true, []string{"Authorization", good, "Content-Type", kind}, 403},
		{"no token set and an empty one given", true, []string{"Authorization", "Bearer ", "Content-Type", kind}, 403},
		{"none given", false, []string{"Content-Type", kind}, 401},
		{"empty", false, []string{"Authorization", "Bearer ", "Content-Type", kind}, 401},
		{"another scheme", false, []string{"Authorization", "Basic " + token, "Content-Type", kind}, 401},
		{"wrong", false, []string{"Authorization", "Bearer " + token + "x", "Content-Type", kind}, 401},
		{"a part of it", false, []string{"Authorization", "Bearer " + token[:19], "Content-Type", kind}, 401},
		{"as a cookie", false, []string{"Cookie", "token=" + token, "Content-Type", kind}, 401},
		{"from another site", false, []string{"Authorization", good, "Content-Type", kind, "Origin", "https://evil.example"}, 403},
		{"from a site without an origin", false, []string{"Authorization", good, "Content-Type", kind, "Origin", "null"}, 403},
		{"from another port", false, []string{"Authorization", good, "Content-Type", kind, "Origin", "http://127.0.0.1:9999"}, 403},
		{"cross-site", false, []string{"Authorization", good, "Content-Type", kind, "Sec-Fetch-Site", "cross-site"}, 403},
		{"same-site", false, []string{"Authorization", good, "Content-Type", kind, "Sec-Fetch-Site", "same-site"}, 403},
		{"navigation from elsewhere", false, []string{"Authorization", good, "Content-Type", kind, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 403},
	} {
		for _, q := range calls {
			t.Run(c.name+q.path, func(t *testing.T) {
				t.Parallel()
				d := webtest.New(3)
				o := Options{Token: token, Listen: "127.0.0.1:8480"}
				if c.none {
					o.Token = ""
				}
				w := ask(t, Handler(d, o), q.method, q.path, q.body, c.headers...)
				if w.Code != c.status {
					t.Errorf("status %d, want %d: %s", w.Code, c.status, w.Body)
				}
				if w.Code != 200 {
					errorOf(t, w)
				}
				if got := d.Calls[q.call]; q.call != "" && (got == 1) != (c.status == 200) {
					t.Errorf("the daemon was asked %d times", got)
				}
				if strings.Contains(w.Body.String(), token) {
					t.Error("the token is in the reply")
				}
			})
		}
	}
}

// TestContentType: a form of another site can send only some types.
func TestContentType(t *testing.T) {
	for _, c := range []struct {
		kind string
		ok   bool
	}{
		{"application/json", true}, {"application/json; charset=utf-8", true}, {"application/json; charset=utf-7", false},
		{"", false}, {"text/plain", false}, {"application/x-www-form-urlencoded", false}, {"multipart/form-data; boundary=x", false}, {"application/json-patch", false},
	} {
		d := webtest.New(3)
		w := ask(t, Handler(d, Options{Token: token}), "POST", "/api/reload", "{}", "Authorization", "Bearer "+token, "Content-Type", c.kind)
		if (w.Code == 200) != c.ok || !c.ok && w.Code != http.StatusUnsupportedMediaType || c.ok != (d.Calls["reload"] == 1) {
			t.Errorf("%q: %d, %v", c.kind, w.Code, d.Calls)
		}
	}
}

// TestGuessing: wrong tokens wait, and many at a time are turned away.
func TestGuessing(t *testing.T) {
	h := Handler(webtest.New(1), Options{Token: token})
	got := make(chan int, 30)
	begin := time.Now()
	for range cap(got) {
		go func() { got <- ask(t, h, "GET", "/api/token", "", "Authorization", "Bearer wrong").Code }()
	}
	count := map[int]int{}
	for range cap(got) {
		count[<-got]++
	}
	if count[401] == 0 || count[429] == 0 || count[401]+count[429] != cap(got) {
		t.Errorf("statuses %v", count)
	}
	if time.Since(begin) < wrongWait {
		t.Error("nobody waited")
	}
	if c := ask(t, h, "GET", "/api/token", "", "Authorization", "Bearer "+token).Code; c != 200 {
		t.Errorf("the right token: %d", c)
	}
}

func TestHost(t *testing.T) {
	const loop, all = "127.0.0.1:8480", ":8480"
	for _, c := range []struct {
		listen, host string
		ok           bool
	}{
		{loop, "127.0.0.1:8480", true}, {loop, "localhost:8480", true}, {loop, "LOCALHOST", true}, {loop, "localhost.:8480", true}, {loop, "[::1]:8480", true}, {loop, "127.0.0.9", true},
		{loop, "evil.example:8480", false}, {loop, "localhost.evil.example", false}, {loop, "storage1", false}, {loop, "192.0.2.1", false}, {loop, "", false},
		{loop, "evillocalhost", false}, {loop, "proxy.example", true}, {loop, "proxy.example.evil.example", false},
		{"localhost:8480", "localhost:1", true}, {"localhost:8480", "storage1", false}, {"[::1]:8480", "[::1]:8480", true}, {"[::1]:8480", "evil.example", false},
		{all, "192.0.2.1:8480", true}, {all, "[2001:db8::1]:8480", true}, {all, "storage1", true}, {all, "Storage1.example.org:8480", true}, {all, "localhost", true},
		{all, "evil.example", false}, {all, "storage1evil.example", false}, {all, "", false}, {"0.0.0.0:8480", "192.0.2.1", true}, {"192.0.2.1:8480", "192.0.2.1:8480", true},
		{"name.example:8480", "name.example:8480", true}, {"name.example:8480", "other.example", false},
	} {
		h := Handler(webtest.New(1), Options{Listen: c.listen, Hostname: "storage1", Hosts: []string{"proxy.example"}})
		for _, path := range []string{"/", "/app.js", "/api/view", "/nothing"} {
			w := ask(t, h, "GET", path, "", "Host", c.host)
			if (w.Code != http.StatusMisdirectedRequest) != c.ok {
				t.Errorf("listening on %s, Host %q, %s: %d", c.listen, c.host, path, w.Code)
			}
			if !c.ok && bytes.Contains(w.Body.Bytes(), []byte("/dev/vg0")) {
				t.Errorf("Host %q learns of exports", c.host)
			}
		}
	}
}

// TestOtherSites: what a page of another site can make a browser ask for.
func TestOtherSites(t *testing.T) {
	h := Handler(webtest.New(1), Options{Listen: "127.0.0.1:8480"})
	for _, c := range []struct {
		path    string
		headers []string
		ok      bool
	}{
		{"/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, true}, // a link
		{"/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, false},
		{"/", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, true}, // typed
		{"/api/view", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, false},
		{"/api/view", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script"}, false},
		{"/api/view", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors"}, true},
		{"/api/view", []string{"Origin", "http://evil.example"}, false},
		{"/api/view", nil, true}, // curl
		{"/app.js", []string{"Sec-Fetch-Site", "same-site"}, false},
	} {
		if w := ask(t, h, "GET", c.path, "", c.headers...); (w.Code == 200) != c.ok || !c.ok && w.Code != 403 {
			t.Errorf("%s %v: %d", c.path, c.headers, w.Code)
		}
	}
}

func TestHeaders(t *testing.T) {
	h := Handler(webtest.New(1), Options{Token: token, Listen: "127.0.0.1:8480"})
	for _, q := range []struct{ method, path, host string }{
		{"GET", "/", "localhost"}, {"GET", "/app.js", "localhost"}, {"GET", "/api/view", "localhost"}, {"GET", "/nothing", "localhost"}, {"POST", "/api/changes", "localhost"}, {"GET", "/", "evil.example"}, {"DELETE", "/", "localhost"},
	} {
		w := ask(t, h, q.method, q.path, "", "Host", q.host)
		got := w.Header()
		for k := range headers {
			if got.Get(k) == "" {
				t.Errorf("%s %s: no %s", q.method, q.path, k)
			}
		}
		csp := got.Get("Content-Security-Policy")
		for _, bad := range []string{"unsafe", "*", "http:", "data:"} {
			if strings.Contains(csp, bad) {
				t.Errorf("the policy allows %s: %s", bad, csp)
			}
		}
		if !strings.HasPrefix(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("policy %s", csp)
		}
		if len(got["Set-Cookie"]) > 0 || got.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s %s: cookie or sharing: %v", q.method, q.path, got)
		}
	}
	// An answer to a question of another site about what it may send allows nothing.
	w := ask(t, h, "OPTIONS", "/api/changes", "", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type")
	if w.Code < 400 || len(w.Header()["Access-Control-Allow-Headers"]) > 0 {
		t.Errorf("preflight: %d %v", w.Code, w.Header())
	}
}

// TestFiles: what is in the binary is what the page loads, nothing is inline, and nothing comes from elsewhere.
func TestFiles(t *testing.T) {
	h := Handler(webtest.New(1), Options{})
	types := map[string]string{"/": "text/html; charset=utf-8", "/app.js": "text/javascript; charset=utf-8", "/style.css": "text/css; charset=utf-8", "/icon.svg": "image/svg+xml"}
	for path, kind := range types {
		w := ask(t, h, "GET", path, "")
		if w.Code != 200 || w.Header().Get("Content-Type") != kind {
			t.Errorf("%s: %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
		if again := ask(t, h, "GET", path, "", "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
			t.Errorf("%s again: %d", path, again.Code)
		}
		if head := ask(t, h, "HEAD", path, ""); head.Code != 200 {
			t.Errorf("HEAD %s: %d", path, head.Code)
		}
	}
	for _, path := range []string{"/index.html", "/assets/app.js", "/../web.go", "/..%2fweb.go", "/api", "/api/", "/v1/status", "/api/exports/", "/.git/config"} {
		if w := ask(t, h, "GET", path, ""); w.Code == 200 {
			t.Errorf("%s is served", path)
		}
	}
	list, _ := assets.ReadDir("assets")
	for _, f := range list {
		b, _ := assets.ReadFile("assets/" + f.Name())
		text := strings.ReplaceAll(string(b), "http://www.w3.org/2000/svg", "")
		for _, bad := range []string{"http://", "https://", "innerHTML", "eval(", "document.write", " style=", "<style", "javascript:"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s has %s", f.Name(), bad)
			}
		}
	}
}

func TestRubbish(t *testing.T) {
	big := `{"changes":[{"op":"add","address":"e0.9","source":"` + strings.Repeat("x", maxBody) + `"}]}`
	for name, body := range map[string]string{
		"empty": "", "no JSON": "changes=1", "half": `{"changes":[{"op"`, "unknown field": `{"chnages":[]}`, "wrong type": `{"changes":3}`, "array": `[]`, "two": `{"changes":[]}{"changes":[]}`,
		"deep": strings.Repeat("[", 20000), "large": big, "zero bytes": "\x00\x00\x00", "no UTF-8": "{\"changes\":\xff}",
	} {
		d := webtest.New(1)
		w := ask(t, Handler(d, Options{Token: token}), "POST", "/api/changes", body, "Authorization", "Bearer "+token, "Content-Type", "application/json")
		if e := errorOf(t, w); w.Code != 400 || e.Code != control.CodeUsage || d.Calls["change"] > 0 {
			t.Errorf("%s: %d %v, %v", name, w.Code, e, d.Calls)
		}
	}
	h := Handler(webtest.New(1), Options{})
	for _, path := range []string{"/api/view?page=0", "/api/view?page=x", "/api/view?page=99999999999", "/api/view?size=100000", "/api/view?size=-1", "/api/view?sort=%00", "/api/view?sort=password",
		"/api/history?since=x", "/api/exports/x", "/api/exports/e0.999", "/api/exports/e0.1%00"} {
		if w := ask(t, h, "GET", path, ""); w.Code != 400 {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := ask(t, h, "GET", "/api/exports/e7.7", ""); w.Code != 404 || errorOf(t, w).Code != control.CodeNotFound {
		t.Errorf("an export that is not there: %d", w.Code)
	}
	if w := ask(t, h, "GET", "/api/view?q="+strings.Repeat("%F0%9F", 500), ""); w.Code != 200 {
		t.Errorf("a search for rubbish: %d", w.Code)
	}
	for _, m := range []string{"PUT", "DELETE", "PATCH", "TRACE", "POST"} {
		if w := ask(t, h, m, "/api/view", "{}", "Content-Type", "application/json"); w.Code < 400 {
			t.Errorf("%s: %d", m, w.Code)
		}
	}
}
