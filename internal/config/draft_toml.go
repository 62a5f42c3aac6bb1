package config

import (
	"strings"
	"unicode/utf8"
)

// wideList is how long a list may get before each of its elements gets a line.
const wideList = 96

// TOML writes the draft as a native file: the sections in the order of the reference file, the comments in their places.
func (d *Draft) TOML() string {
	var b strings.Builder
	comments(&b, d.head)
	for _, s := range Sections {
		n := d.root.child(s.Name)
		if n == nil {
			continue
		}
		switch {
		case n.kind == kindTables:
			for _, c := range n.children {
				table(&b, "[["+s.Name+"]]", c)
			}
		case strings.Contains(s.Header, "."): // [access-list.NAME]
			for _, c := range n.children {
				table(&b, "["+s.Name+"."+tomlKey(c.name)+"]", c)
			}
		case len(n.children)+len(n.before)+len(n.pending) > 0:
			table(&b, "["+s.Name+"]", n)
		}
	}
	if len(d.tail) > 0 {
		b.WriteByte('\n')
		comments(&b, d.tail)
	}
	return b.String()
}

// table writes one section.
func table(b *strings.Builder, header string, n *node) {
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	comments(b, n.before)
	b.WriteString(header + "\n")
	for _, c := range n.children {
		comments(b, c.before)
		b.WriteString(tomlKey(c.name) + " = " + tomlValue(c))
		if c.after != "" {
			b.WriteString("  # " + commentText(c.after))
		}
		b.WriteByte('\n')
	}
	comments(b, n.pending)
}

// tomlValue writes a value.
func tomlValue(n *node) string {
	switch n.kind {
	case kindString:
		return Quote(n.str)
	case kindArray:
		var quoted []string
		size := 0
		for _, c := range n.children {
			q := Quote(c.str)
			size += len(q) + 2
			quoted = append(quoted, q)
		}
		if size > wideList {
			return "[\n    " + strings.Join(quoted, ",\n    ") + ",\n]"
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	return n.raw
}

// comments writes comment lines. An empty one becomes an empty line.
func comments(b *strings.Builder, lines []string) {
	for _, l := range lines {
		if l = commentText(l); l == "" {
			b.WriteByte('\n')
			continue
		}
		b.WriteString("# " + l + "\n")
	}
}

// commentText makes a text fit to be a comment: TOML allows no control characters but the tab, and wants UTF-8.
func commentText(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "?")
	}
	return strings.TrimRight(strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' || r == 0x7f {
			return ' '
		}
		return r
	}, s), " \t")
}
