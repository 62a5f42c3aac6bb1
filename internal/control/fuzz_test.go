package control_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"goaoe/internal/control"
	"goaoe/internal/web/webtest"
)

// FuzzAPI: whatever a client asks for, the answer is one of the statuses that the API has, in JSON (or the trace's lines), and an error has a code
// and one line of text.
func FuzzAPI(f *testing.F) {
	for _, r := range control.Routes() {
		path := "/" + control.Version + strings.ReplaceAll(r.Path, "{address}", "0.1")
		f.Add(r.Method, path, "", "", []byte("{}"))
		f.Add(r.Method, path, "force=true&save=1&by=lane&count=1", `"1"`, []byte(nil))
	}
	f.Add(http.MethodPost, "/v1/changes", "", "", []byte(`{"changes":[{"op":"add","address":"1.0","source":"/srv/x","settings":{"queue-length":"8"}}],"save":true,"wait_ms":1}`))
	f.Add(http.MethodPut, "/v1/exports/1.0", "", `"abc"`, []byte(`{"source":"/srv/x","settings":{"name":"a"},"unset":["model"]}`))
	f.Add(http.MethodPost, "/v1/clear", "", "", []byte(`{"what":"mask","exports":["0.1"],"force":true}`))
	f.Add(http.MethodGet, "/v1/exports/../../etc/shadow", "a=%zz", "", []byte(nil))
	m := &madeUp{Daemon: webtest.New(4)}
	h := control.Handler(m, control.HandlerOptions{})
	f.Fuzz(func(t *testing.T, method, path, query, match string, body []byte) {
		if strings.Contains(path, "trace") && !strings.Contains(query, "count=1") {
			return // it would go on for ever
		}
		if strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return // package http refuses it
		}
		if bytes.Contains(body, []byte("wait_ms")) && len(body) > 200 {
			return
		}
		req := httptest.NewRequest(http.MethodGet, "/", bytes.NewReader(body))
		req.Method, req.URL.Path, req.URL.RawQuery = method, path, query
		req.Header.Set("If-Match", match)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		resp := w.Result()
		text := w.Body.Bytes()
		switch resp.StatusCode {
		case http.StatusOK, http.StatusNotModified:
			return
		case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusPermanentRedirect: // a path that is not clean leads to the clean one
			if loc := resp.Header.Get("Location"); !strings.HasPrefix(loc, "/") || strings.HasPrefix(loc, "//") {
				t.Fatalf("%s %q leads to %q", method, path, loc)
			}
			return
		case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusConflict, http.StatusPreconditionFailed,
			http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusInternalServerError, http.StatusServiceUnavailable:
		default:
			t.Fatalf("%s %q: status %d", method, path, resp.StatusCode)
		}
		var e struct {
			Error *control.Error `json:"error"`
		}
		if err := json.Unmarshal(text, &e); err != nil || e.Error == nil || e.Error.Code == "" || e.Error.Message == "" || strings.ContainsAny(e.Error.Message, "\n\r") {
			t.Fatalf("%s %q: status %d with %q, %v", method, path, resp.StatusCode, text, err)
		}
	})
}
