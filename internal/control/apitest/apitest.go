// Package apitest holds requests and replies of the API against its description, docs/openapi.json.
package apitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Spec is the description. Several goroutines may use it at the same time.
type Spec struct {
	// Document is the file as it is decoded, with json.Number for numbers.
	Document map[string]any

	mu       sync.Mutex // the compiler remembers what it compiled, without a lock of its own
	compiler *jsonschema.Compiler
}

const resource = "goaoe:openapi"

// Load reads the description, wherever below the repository the test runs.
func Load(t testing.TB) *Spec {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("this test does not run inside the repository")
		}
	}
	f, err := os.Open(filepath.Join(dir, "docs", "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	doc, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatalf("docs/openapi.json: %v", err)
	}
	s := &Spec{Document: doc.(map[string]any), compiler: jsonschema.NewCompiler()}
	s.compiler.DefaultDraft(jsonschema.Draft2020)
	s.compiler.AssertFormat()
	s.compiler.AssertContent()
	if err := s.compiler.AddResource(resource, doc); err != nil {
		t.Fatal(err)
	}
	return s
}

// At returns what is at a place of the document: keys, one below the other. It follows a $ref. nil: there is nothing.
func (s *Spec) At(place ...string) any {
	v, _ := s.find(place)
	return v
}

// find is At, and returns the JSON pointer of what it found.
func (s *Spec) find(place []string) (v any, pointer string) {
	v = s.Document
	for _, key := range place {
		m, _ := v.(map[string]any)
		v = m[key]
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
		if m, _ := v.(map[string]any); m["$ref"] != nil {
			ref := strings.TrimPrefix(m["$ref"].(string), "#/")
			v, pointer = s.find(strings.Split(ref, "/"))
		}
	}
	return v, pointer
}

// Schema compiles the schema at a place.
func (s *Spec) Schema(place ...string) (*jsonschema.Schema, error) {
	v, pointer := s.find(place)
	if v == nil {
		return nil, fmt.Errorf("docs/openapi.json has no %s", strings.Join(place, " "))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.compiler.Compile(resource + "#" + pointer)
}

var parameter = regexp.MustCompile(`\{[^}]+\}`)

// Path returns the path of the description that a request's path is one of.
func (s *Spec) Path(path string) string {
	paths, _ := s.Document["paths"].(map[string]any)
	for p := range paths {
		parts := parameter.Split(p, -1)
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		if regexp.MustCompile("^" + strings.Join(parts, "[^/]+") + "$").MatchString(path) {
			return p
		}
	}
	return ""
}

// Check returns what is wrong with a request and its reply, one line each. What the description calls wrong in a request must have been
// refused, and what it calls right not as a wrong request.
func (s *Spec) Check(method, path string, sent []byte, status int, kind string, got []byte) []string {
	p := s.Path(path)
	if p == "" || s.At("paths", p, strings.ToLower(method)) == nil {
		if status >= 400 {
			return nil
		}
		return []string{fmt.Sprintf("%s %s is not described, and was answered by %d", method, path, status)}
	}
	op := []string{"paths", p, strings.ToLower(method)}
	at := func(more ...string) []string { return slices.Concat(op, more) }
	var wrong []string
	if s.At(at("requestBody")...) != nil && len(sent) > 0 {
		err := s.validate(sent, at("requestBody", "content", "application/json", "schema"))
		if err != nil && status < 400 {
			wrong = append(wrong, fmt.Sprintf("%s %s: the request is wrong and was answered by %d: %v", method, path, status, err))
		}
	}
	response := at("responses", strconv.Itoa(status))
	if s.At(response...) == nil {
		return append(wrong, fmt.Sprintf("%s %s: the status %d is not described", method, path, status))
	}
	kind, _, _ = mime.ParseMediaType(kind)
	content := slices.Concat(response, []string{"content", kind, "schema"})
	if s.At(content...) == nil {
		return append(wrong, fmt.Sprintf("%s %s: a reply of the type %q is not described", method, path, kind))
	}
	bodies := [][]byte{got}
	if kind == "application/x-ndjson" {
		bodies = bytes.Split(bytes.TrimSpace(got), []byte("\n"))
	}
	for _, b := range bodies {
		if len(b) == 0 && kind == "application/x-ndjson" {
			continue
		}
		if err := s.validate(b, content); err != nil {
			wrong = append(wrong, fmt.Sprintf("%s %s: the reply %.300s: %v", method, path, b, err))
		}
	}
	return wrong
}

// validate validates JSON by the schema at a place.
func (s *Spec) validate(b []byte, place []string) error {
	schema, err := s.Schema(place...)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

// transport checks what goes by.
type transport struct {
	t    testing.TB
	s    *Spec
	base http.RoundTripper
}

// Transport returns base with a check of all requests and replies. Replies are read whole, so it is not for endless ones.
func (s *Spec) Transport(t testing.TB, base http.RoundTripper) http.RoundTripper {
	return &transport{t, s, base}
}

// RoundTrip implements http.RoundTripper.
func (x *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil {
		var err error
		if sent, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	resp, err := x.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(got))
	if r.Method == http.MethodHead {
		return resp, nil
	}
	for _, w := range x.s.Check(r.Method, r.URL.Path, sent, resp.StatusCode, resp.Header.Get("Content-Type"), got) {
		x.t.Error(w)
	}
	return resp, nil
}

// Fields returns the names of the properties of an object's schema, sorted.
func Fields(schema any) []string {
	m, _ := schema.(map[string]any)
	properties, _ := m["properties"].(map[string]any)
	var out []string
	for k := range properties {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// Text returns v as JSON, for messages.
func Text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
