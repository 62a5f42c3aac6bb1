package control_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
)

// recorder keeps an answer. It takes deadlines, as a connection does.
type recorder = httptest.ResponseRecorder

func newRecorder() *recorder { return httptest.NewRecorder() }

// httpRequest makes a request of a handler.
func httpRequest(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, "http://goaoe"+path, strings.NewReader(body))
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	return r
}
