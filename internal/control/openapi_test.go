package control

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"goaoe/internal/control/apitest"
)

// names are those of types in the description, where they are not those of the source.
var names = map[string]string{"oneRequest": "OneChangeRequest", "announceRequest": "AnnounceRequest", "listed": "Call", "configReply": "Configuration"}

// TestOpenAPI holds docs/openapi.json against the routes and their types: what one has and the other does not is an error.
func TestOpenAPI(t *testing.T) {
	s := apitest.Load(t)
	for what, want := range map[string]any{"openapi": "3.1.1"} {
		if s.At(what) != want {
			t.Errorf("%s is %v, want %v", what, s.At(what), want)
		}
	}
	c := &contract{t: t, s: s, seen: map[string]reflect.Type{}}
	c.component(reflect.TypeFor[Error]())
	described := map[string]bool{}
	for path, item := range s.At("paths").(map[string]any) {
		for key := range item.(map[string]any) {
			if key != "parameters" {
				described[strings.ToUpper(key)+" "+path] = true
			}
		}
	}
	for _, r := range Routes() {
		path := "/" + Version + r.Path
		key := r.Method + " " + path
		if !described[key] {
			t.Errorf("%s is not described", key)
			continue
		}
		delete(described, key)
		c.route(r, path)
	}
	for key := range described {
		t.Errorf("%s is described, and there is no such call", key)
	}
	for name, schema := range s.At("components", "schemas").(map[string]any) {
		if c.seen[name] == nil && name != "ErrorReply" {
			t.Errorf("the schema %s is described, and no call uses it", name)
		}
		if _, err := s.Schema("components", "schemas", name); err != nil {
			t.Errorf("the schema %s: %v", name, err)
		}
		if schema.(map[string]any)["description"] == "" {
			t.Errorf("the schema %s has no description", name)
		}
	}
	ids := map[string]bool{}
	for path, item := range s.At("paths").(map[string]any) {
		for method, op := range item.(map[string]any) {
			o, ok := op.(map[string]any)
			if !ok {
				continue
			}
			id, _ := o["operationId"].(string)
			if id == "" || ids[id] || o["summary"] == "" || o["description"] == "" {
				t.Errorf("%s %s: its operationId %q, summary and description must be there, and the first be unique", method, path, id)
			}
			ids[id] = true
		}
	}
}

// contract compares.
type contract struct {
	t    *testing.T
	s    *apitest.Spec
	seen map[string]reflect.Type // components
}

func (c *contract) route(r Route, path string) {
	c.t.Helper()
	key := r.Method + " " + path
	op := []string{"paths", path, strings.ToLower(r.Method)}
	at := func(more ...string) any { return c.s.At(slices.Concat(op, more)...) }
	// Parameters.
	want := []string{}
	for _, q := range r.Query {
		want = append(want, "query "+q)
	}
	if strings.Contains(path, "{address}") {
		want = append(want, "path address")
		if r.Writes {
			want = append(want, "header If-Match")
		}
	}
	got := []string{}
	for _, list := range []any{at("parameters"), c.s.At("paths", path, "parameters")} {
		l, _ := list.([]any)
		for _, p := range l {
			m := p.(map[string]any)
			got = append(got, m["in"].(string)+" "+m["name"].(string))
			if m["schema"] == nil || m["description"] == "" {
				c.t.Errorf("%s: the parameter %s has no schema or no description", key, m["name"])
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		c.t.Errorf("%s has the parameters %q, and %q are described", key, want, got)
	}
	// Body.
	if body := at("requestBody", "content", "application/json", "schema"); (body != nil) != (r.Body != nil) {
		c.t.Errorf("%s: a body is described: %v; it takes %v", key, body != nil, r.Body)
	} else if r.Body != nil {
		c.ref(key+" body", c.raw(slices.Concat(op, []string{"requestBody", "content", "application/json"})), r.Body)
	}
	// Replies.
	kind := "application/json"
	if r.Stream {
		kind = "application/x-ndjson"
	}
	c.value(key+" reply", c.raw(slices.Concat(op, []string{"responses", "200", "content", kind})), r.Reply)
	responses, _ := at("responses").(map[string]any)
	statuses := []string{"200"}
	for _, code := range []Code{CodeUsage, CodeRefused, CodeNotFound, CodeConflict, CodeInUse, CodeFailed, CodeGone} {
		statuses = append(statuses, strconv.Itoa(code.Status()))
	}
	for status := range responses {
		if !slices.Contains(statuses, status) {
			c.t.Errorf("%s: no code leads to the status %s", key, status)
		}
	}
	for _, status := range []int{http.StatusBadRequest, http.StatusInternalServerError, http.StatusServiceUnavailable} {
		if responses[strconv.Itoa(status)] == nil {
			c.t.Errorf("%s: the status %d is not described", key, status)
		}
	}
	if r.Writes && responses["403"] == nil {
		c.t.Errorf("%s: the status 403 is not described", key)
	}
}

// raw returns the schema below a place, without following its $ref.
func (c *contract) raw(place []string) any {
	m, _ := c.s.At(place...).(map[string]any)
	return m["schema"]
}

// value compares the schema of a value with its type.
func (c *contract) value(where string, schema any, t reflect.Type) {
	c.t.Helper()
	m, _ := schema.(map[string]any)
	if m == nil {
		c.t.Errorf("%s is not described", where)
		return
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	wantType, format := "", ""
	switch {
	case t == reflect.TypeFor[time.Time]():
		wantType, format = "string", "date-time"
	case t == reflect.TypeFor[[]byte]():
		wantType = "string"
		if m["contentEncoding"] != "base64" {
			c.t.Errorf("%s is not said to be base64", where)
		}
	default:
		switch t.Kind() {
		case reflect.String:
			wantType = "string"
		case reflect.Bool:
			wantType = "boolean"
		case reflect.Int, reflect.Int64:
			wantType = "integer"
		case reflect.Uint64:
			wantType = "integer"
			if fmt.Sprint(m["minimum"]) != "0" {
				c.t.Errorf("%s is not said to be 0 at least", where)
			}
		case reflect.Slice:
			wantType = "array"
			c.value(where+" items", m["items"], t.Elem())
		case reflect.Map:
			wantType = "object"
			c.value(where+" values", m["additionalProperties"], t.Elem())
		case reflect.Struct:
			if t.NumField() == 0 {
				wantType = "object"
				break
			}
			c.ref(where, schema, t)
			return
		default:
			c.t.Fatalf("%s: the test does not know what a %v is in JSON", where, t)
		}
	}
	if got, _ := m["format"].(string); m["type"] != wantType || got != format {
		c.t.Errorf("%s is a %v, and described as %s", where, t, apitest.Text(m))
	}
}

// ref compares a reference to a component with a type.
func (c *contract) ref(where string, schema any, t reflect.Type) {
	c.t.Helper()
	m, _ := schema.(map[string]any)
	if want := "#/components/schemas/" + componentName(t); m["$ref"] != want {
		c.t.Errorf("%s refers to %v, want %s", where, m["$ref"], want)
		return
	}
	c.component(t)
}

func componentName(t reflect.Type) string {
	if n := names[t.Name()]; n != "" {
		return n
	}
	return t.Name()
}

// component compares a component with a type, field by field.
func (c *contract) component(t reflect.Type) {
	c.t.Helper()
	name := componentName(t)
	if c.seen[name] != nil {
		if c.seen[name] != t {
			c.t.Errorf("%v and %v have the same name", t, c.seen[name])
		}
		return
	}
	c.seen[name] = t
	schema, _ := c.s.At("components", "schemas", name).(map[string]any)
	fields := map[string]reflect.StructField{}
	collect(t, fields)
	if got, want := apitest.Fields(schema), slices.Sorted(maps.Keys(fields)); !slices.Equal(got, want) {
		c.t.Errorf("%s has the fields %q, and %q are described", name, want, got)
	}
	properties, _ := schema["properties"].(map[string]any)
	required := map[string]bool{}
	list, _ := schema["required"].([]any)
	for _, r := range list {
		required[r.(string)] = true
		if _, ok := fields[r.(string)]; !ok {
			c.t.Errorf("%s requires %s, which there is not", name, r)
		}
	}
	request := schema["additionalProperties"] == false // what is not known there is refused
	if asked := strings.HasSuffix(name, "Request") || name == "Change"; asked != request {
		c.t.Errorf("%s: a request refuses fields that it does not know, a reply may get some; additionalProperties is %v", name, schema["additionalProperties"])
	}
	for field, f := range fields {
		where := name + "." + field
		p, _ := properties[field].(map[string]any)
		if text, _ := p["description"].(string); p != nil && !strings.HasSuffix(text, ".") {
			c.t.Errorf("%s: its description is no sentence: %q", where, text)
		}
		if p != nil {
			c.value(where, p, f.Type)
		}
		_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if always := !strings.Contains(options, "omit"); !request && always != required[field] {
			c.t.Errorf("%s is in every reply: %v; described as required: %v", where, always, required[field])
		}
		if enum, ok := enums[where]; ok {
			var got []string
			l, _ := p["enum"].([]any)
			for _, v := range l {
				got = append(got, v.(string))
			}
			slices.Sort(got)
			slices.Sort(enum)
			if !slices.Equal(got, enum) {
				c.t.Errorf("%s can be %q, and %q are described", where, enum, got)
			}
		} else if p["enum"] != nil && !free[where] {
			c.t.Errorf("%s: the test does not know its values", where)
		}
	}
}

// collect returns the fields of a type as encoding/json sees them.
func collect(t reflect.Type, out map[string]reflect.StructField) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			collect(f.Type, out)
		case name != "-" && f.IsExported():
			out[name] = f
		}
	}
}

var (
	states = []string{StateServing, StateWaiting, StateFailed, StateOpening, StateClosing, StateDisabled}
	// enums are the values of fields that have names in the source.
	enums = map[string][]string{
		"Error.code":   {string(CodeUsage), string(CodeNotFound), string(CodeConflict), string(CodeInUse), string(CodeRefused), string(CodeFailed), string(CodeGone)},
		"Export.state": states, "Interface.state": states, "ExportStats.state": states,
		"Change.op": {OpAdd, OpSet, OpRemove}, "OneChangeRequest.op": {OpAdd, OpSet},
		"ClearRequest.what": {ClearConfig, ClearMask, ClearReserve, ClearStats},
	}
	// free are fields whose values are those of other packages.
	free = map[string]bool{"Status.format": true, "Status.log_level": true, "LogRequest.level": true, "PlanChange.what": true, "Confinement.name": true}
)
