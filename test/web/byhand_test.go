package web_test

import (
	"log/slog"
	"testing"
	"time"

	"goaoe/internal/web"
	"goaoe/internal/web/webtest"
	"goaoe/test/need"
)

// TestByHand serves the page of a daemon that is made up, to be looked at while one works on it:
//
//	go test ./test/web -run TestByHand -timeout 0 -listen 127.0.0.1:8481
func TestByHand(t *testing.T) {
	if *listen == "" {
		t.Skip("by hand only, with -listen")
	}
	d := webtest.New(14)
	d.Trouble()
	s, err := web.Serve(*listen, d, web.Options{Token: token, Hostname: "storage1"}, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	t.Logf("http://%s/, the token is %s", s.Addr(), token)
	time.Sleep(8 * time.Hour)
}

// TestVisit takes pictures of a page that somebody else serves:
//
//	go test ./test/web -run TestVisit -listen 127.0.0.1:8481 -shots out
func TestVisit(t *testing.T) {
	if *listen == "" || *shots == "" {
		t.Skip("by hand only, with -listen and -shots")
	}
	need.Programs(t, "chromium")
	for name, l := range map[string]look{"desktop": {width: 1280, height: 900}, "phone": {width: 360, height: 740, dark: true}, "tablet": {width: 800, height: 1000}} {
		t.Run(name, func(t *testing.T) {
			p := visit(t, "http://"+*listen+"/", l).ready()
			time.Sleep(time.Second)
			p.seen("window")
			p.shot("page")
		})
	}
}
