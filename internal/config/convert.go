package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// convert checks the value of a key. It returns a message and a hint when the value is wrong.
func convert(k *Key, n *node) (v setting, msg, hint string) {
	v = setting{pos: n.pos, raw: n.raw, str: n.str}
	wrong := func(want string) (setting, string, string) {
		return v, fmt.Sprintf("%s where %s is expected", n.kind, want), example(k)
	}
	switch k.Type {
	case TypeBool:
		if n.kind != kindBool {
			return wrong("true or false")
		}
		v.yes = n.raw == "true"
	case TypeInt:
		if n.kind != kindInt {
			return wrong("an integer")
		}
		return convertInt(k, n, v)
	case TypeSize:
		if n.kind != kindInt && n.kind != kindString {
			return wrong("a size")
		}
		return convertSize(k, n, v)
	case TypeDuration:
		return convertDuration(k, n, v)
	case TypeNames, TypeMembers, TypeRules, TypeLimits:
		return convertNames(k, n, v)
	default:
		if n.kind == kindBool && k.Switch() {
			v.str = n.raw
		} else if n.kind != kindString {
			return wrong("a string")
		}
		return convertString(k, v)
	}
	return v, "", ""
}

// example returns a hint that shows a right value.
func example(k *Key) string {
	e := k.Example
	if e == "" {
		e = k.Default
	}
	if e == "" {
		return ""
	}
	return "e.g. " + k.Name + " = " + e
}

func convertInt(k *Key, n *node, v setting) (setting, string, string) {
	i, err := strconv.ParseInt(strings.ReplaceAll(n.raw, "_", ""), 0, 64)
	if err != nil {
		i = math.MaxInt64
	}
	v.num = i
	if i < k.Min || i > k.Max {
		return v, fmt.Sprintf("%s is out of range", n.raw), fmt.Sprintf("from %d to %d", k.Min, k.Max)
	}
	return v, "", ""
}

func convertSize(k *Key, n *node, v setting) (setting, string, string) {
	text := n.str
	if n.kind == kindInt {
		text = n.raw
		if i, err := strconv.ParseInt(strings.ReplaceAll(n.raw, "_", ""), 0, 64); err == nil && i >= 0 {
			text = strconv.FormatInt(i, 10)
		}
	}
	i, err := ParseSize(text)
	if err != nil {
		return v, err.Error(), ""
	}
	v.num = i
	if i%512 != 0 {
		return v, fmt.Sprintf("%d bytes are not a whole number of sectors", i), "use a multiple of 512, or count in sectors as in \"2048s\""
	}
	if i < k.Min || k.Max > 0 && i > k.Max {
		return v, fmt.Sprintf("%s is out of range", text), fmt.Sprintf("from %s to %s", FormatSize(k.Min), FormatSize(k.Max))
	}
	return v, "", ""
}

func convertDuration(k *Key, n *node, v setting) (setting, string, string) {
	if n.kind == kindBool && n.raw == "false" || n.kind == kindInt && n.raw == "0" {
		return v, "", "" // off
	}
	if n.kind != kindString {
		return v, fmt.Sprintf("%s where a duration is expected", n.kind), example(k)
	}
	dur, err := parseDuration(n.str)
	if err != nil {
		return v, err.Error(), ""
	}
	v.num = int64(dur)
	if v.num < k.Min || v.num > k.Max {
		return v, fmt.Sprintf("%q is out of range", n.str), fmt.Sprintf("from %q to %q", formatDuration(time.Duration(k.Min)), formatDuration(time.Duration(k.Max)))
	}
	return v, "", ""
}

// convertNames reads a string or an array of strings.
func convertNames(k *Key, n *node, v setting) (setting, string, string) {
	list := n.children
	if n.kind == kindString {
		one := *n
		list = []*node{&one}
	} else if n.kind != kindArray {
		return v, fmt.Sprintf("%s where a name or a list of names is expected", n.kind), example(k)
	}
	seen := map[string]bool{}
	for _, c := range list {
		if c.kind != kindString {
			return v, fmt.Sprintf("%s in a list of names", c.kind), example(k)
		}
		if strings.TrimSpace(c.str) == "" {
			return v, "an empty name", "leave it out"
		}
		pos := c.pos
		if pos.Line == 0 {
			pos = n.pos
		}
		if !seen[c.str] {
			v.names = append(v.names, item{c.str, pos})
		}
		seen[c.str] = true
	}
	return v, "", ""
}

// convertString checks values that are written as one string.
func convertString(k *Key, v setting) (setting, string, string) {
	switch k.Type {
	case TypeEnum:
		if k.Switch() && (v.str == "true" || v.str == "false") {
			v.str = map[string]string{"true": "on", "false": "off"}[v.str]
		}
		if contains(k.Enum, v.str) {
			return v, "", ""
		}
		hint := "one of " + strings.Join(k.Enum, ", ")
		if e := nearest(v.str, k.Enum); e != "" {
			hint = fmt.Sprintf("did you mean %q?", e)
		}
		return v, fmt.Sprintf("%q is not known here", v.str), hint
	case TypeText:
		if int64(len(v.str)) > k.Max {
			return v, fmt.Sprintf("%d characters are too many", len(v.str)), fmt.Sprintf("at most %d", k.Max)
		}
		if !printable(v.str) {
			return v, fmt.Sprintf("%q cannot stand in IDENTIFY", v.str), "printable ASCII characters, not only spaces"
		}
	case TypePath:
		if !strings.HasPrefix(v.str, "/") || strings.ContainsRune(v.str, 0) {
			return v, fmt.Sprintf("%q is not an absolute path", v.str), "a daemon has no useful current directory: begin with /"
		}
	case TypeString:
		if v.str == "" {
			return v, "an empty string", example(k)
		}
	}
	return v, "", ""
}
