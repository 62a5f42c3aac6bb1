package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"goaoe/internal/control"
)

// guard decides who may ask. It stands before everything that the site serves.
type guard struct {
	token    [sha256.Size]byte // hashed, so that comparing takes the same time for every length
	writable bool              // there is a token
	loopback bool              // the listener is on a loopback address
	names    []string          // besides addresses, in lower case without a dot at the end
	wrong    chan struct{}     // room for requests with a wrong token, which wait
}

// wrongWait is how long a request with a wrong token waits for its answer, and maxWrong how many of them do at a time; more are
// turned away at once. Both together allow eight guesses per second, at which a token of minToken characters lasts for ages.
const (
	wrongWait = 500 * time.Millisecond
	maxWrong  = 4
)

func newGuard(o Options) *guard {
	g := &guard{writable: o.Token != "", token: sha256.Sum256([]byte(o.Token)), wrong: make(chan struct{}, maxWrong)}
	host, _, err := net.SplitHostPort(o.Listen)
	if err != nil {
		host = o.Listen
	}
	ip, _ := netip.ParseAddr(host)
	g.loopback = ip.IsLoopback() || strings.EqualFold(host, "localhost")
	g.names = []string{"localhost"}
	if !ip.IsValid() && host != "" {
		g.names = append(g.names, plainName(host))
	}
	if !g.loopback && o.Hostname != "" {
		g.names = append(g.names, plainName(o.Hostname))
	}
	for _, h := range o.Hosts {
		g.names = append(g.names, plainName(h))
	}
	return g
}

func plainName(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

// allowedHost tells whether the header Host names this machine. A page of somebody else can have its name point to our address
// (DNS rebinding), and then read what we serve as its own; its name gives it away. An address cannot be rebound. The machine's
// own name counts alone and with a domain.
func (g *guard) allowedHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return ip.IsLoopback() || !g.loopback
	}
	host = plainName(host)
	for _, n := range g.names {
		if host == n || n != "localhost" && !strings.Contains(n, ".") && strings.HasPrefix(host, n+".") {
			return true
		}
	}
	return false
}

// headers are in every reply. The page needs nothing but its own files; what else a browser could be talked into is forbidden.
var headers = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cross-Origin-Embedder-Policy": "require-corp",
	"Permissions-Policy":           "camera=(), microphone=(), geolocation=(), usb=(), serial=(), payment=()",
	"Cache-Control":                "no-store",
}

// admit writes the headers and turns away what does not come from our own page or a program on purpose. It says whether to go on.
func (g *guard) admit(w http.ResponseWriter, r *http.Request) bool {
	for k, v := range headers {
		w.Header().Set(k, v)
	}
	if !g.allowedHost(r.Host) {
		fail(w, http.StatusMisdirectedRequest, control.Errorf(control.CodeRefused, "this page is not served under the name %.100q", r.Host).
			WithHint("use the machine's address or name; a proxy in front of it must pass on the name localhost"))
		return false
	}
	// A browser says where a request comes from. Links from elsewhere may lead here; scripts and frames from elsewhere get nothing.
	switch site := r.Header.Get("Sec-Fetch-Site"); {
	case site == "" || site == "same-origin" || site == "none":
	case r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" && r.URL.Path == "/":
	default:
		fail(w, http.StatusForbidden, control.Errorf(control.CodeRefused, "requests from other sites are not answered"))
		return false
	}
	if o := r.Header.Get("Origin"); o != "" {
		if u, err := url.Parse(o); err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
			fail(w, http.StatusForbidden, control.Errorf(control.CodeRefused, "requests from other sites are not answered"))
			return false
		}
	}
	return true
}

// knows tells whether a request has the token. given is what it has in its place.
func (g *guard) knows(r *http.Request) (given string, ok bool) {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(given)))
	return given, g.writable && strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(sum[:], g.token[:]) == 1
}

// KnowsToken returns a function that tells whether the page would let a request change something because it has the token.
func KnowsToken(token string) func(*http.Request) bool {
	g := newGuard(Options{Token: token})
	return func(r *http.Request) bool {
		_, ok := g.knows(r)
		return ok
	}
}

// authorize checks the token of a request that changes something, or shows more than the page does without. It says whether to go on.
func (g *guard) authorize(w http.ResponseWriter, r *http.Request) bool {
	if !g.writable {
		fail(w, http.StatusForbidden, control.Errorf(control.CodeRefused, "this page only shows: no token is set").
			WithHint(`set token-file in [web], or use the command goaoe`))
		return false
	}
	given, ok := g.knows(r)
	if ok {
		return true
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="goaoe"`)
	if given == "" {
		fail(w, http.StatusUnauthorized, control.Errorf(control.CodeRefused, "this needs the token").WithHint("it is in the file that token-file in [web] names"))
		return false
	}
	select {
	case g.wrong <- struct{}{}:
	default:
		fail(w, http.StatusTooManyRequests, control.Errorf(control.CodeRefused, "too many wrong tokens at the moment").WithHint("try again in a second"))
		return false
	}
	defer func() { <-g.wrong }()
	select {
	case <-time.After(wrongWait):
	case <-r.Context().Done():
	}
	fail(w, http.StatusUnauthorized, control.Errorf(control.CodeRefused, "the token is wrong").WithHint("it is in the file that token-file in [web] names"))
	return false
}

// isJSON tells whether a request says that it brings JSON. A form of another site cannot say so without asking first.
func isJSON(r *http.Request) bool {
	t, p, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && t == "application/json" && slices.Contains([]string{"", "utf-8"}, strings.ToLower(p["charset"]))
}
