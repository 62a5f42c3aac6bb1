package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"goaoe/aoe"
)

// Encode writes the configuration as a file in which everything is said explicitly: defaults applied, slots numbered, names
// of access lists resolved. Parsing it gives an equal configuration (see Diff).
func Encode(c *Config) string {
	e := encoder{}
	e.section("[global]", "global", c.Global)
	e.section("[log]", "log", c.Log.used())
	for _, t := range c.LogTargets {
		e.section("[log-target."+tomlKey(t.Name)+"]", "log-target", t.used())
	}
	e.section("[control]", "control", c.Control)
	e.section("[web]", "web", c.Web)
	e.section("[metrics]", "metrics", c.Metrics)
	e.section("[pprof]", "pprof", c.Pprof)
	for _, i := range c.Interfaces {
		e.section("[[interface]]", "interface", i)
	}
	for _, x := range slices.Concat(c.Exports, c.Disabled) {
		e.section("[[export]]", "export", x)
	}
	return e.body.String() + e.lists.String()
}

// encoder collects the file. Access lists come last, numbered.
type encoder struct {
	body, lists strings.Builder
	n           int
}

// section writes the fields of a struct that have a key.
func (e *encoder) section(header, section string, v any) {
	e.body.WriteString(header + "\n")
	rv := reflect.ValueOf(v)
	for i := range rv.NumField() {
		key := rv.Type().Field(i).Tag.Get("key")
		if key == "" || key == "-" {
			continue
		}
		if text := e.value(lookup(section, key), rv.Field(i)); text != "" {
			fmt.Fprintf(&e.body, "%s = %s\n", key, text)
		}
	}
	e.body.WriteString("\n")
}

// value writes one value; "" leaves the key out because absence means the same.
func (e *encoder) value(k *Key, v reflect.Value) string {
	switch x := v.Interface().(type) {
	case aoe.Addr:
		return Quote(strings.TrimPrefix(x.String(), "e"))
	case time.Duration:
		return Quote(formatDuration(x))
	case *ACL:
		if x == nil {
			return ""
		}
		return e.list(x)
	case InitiatorLimits:
		if len(x) == 0 {
			return ""
		}
		return e.value(k, reflect.ValueOf(x.rows()))
	case []string:
		quoted := make([]string, len(x))
		for i, s := range x {
			quoted[i] = Quote(s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	switch v.Kind() {
	case reflect.String:
		if v.String() == "" {
			return ""
		}
		return Quote(v.String())
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	}
	if v.Int() == 0 && k.Default == "" {
		return ""
	}
	return strconv.FormatInt(v.Int(), 10)
}

// list writes an access list and returns its name as the value of a key.
func (e *encoder) list(a *ACL) string {
	e.n++
	name := fmt.Sprintf("list%d", e.n)
	word := map[bool]string{true: "accept", false: "reject"}
	fmt.Fprintf(&e.lists, "[access-list.%s]\npolicy = %q\nlog = %t\n", name, word[a.Policy], a.Log)
	if a.LogTarget != "" {
		fmt.Fprintf(&e.lists, "log-target = %s\n", Quote(a.LogTarget))
	}
	e.lists.WriteString("rules = [")
	for i, r := range a.Rows {
		if i > 0 {
			e.lists.WriteString(", ")
		}
		fmt.Fprintf(&e.lists, "%q", word[r.Accept]+" "+r.MAC.String())
	}
	e.lists.WriteString("]\n\n")
	return "[" + Quote(name) + "]"
}
