// Package roff writes manual pages in the man(7) language, as mandoc and groff read it.
//
// Text comes in the form in which the commands' help is written: paragraphs separated by empty lines, and indented lines,
// which are shown as they stand. Everything is escaped, so that no text can become a request; ASCII stays ASCII in the page, so
// that commands can be copied out of it.
package roff

import (
	"fmt"
	"strings"
)

// lineWidth is the width of source lines in bytes. mandoc warns of longer ones than 80.
const lineWidth = 76

// Page is a manual page that is being written.
type Page struct {
	b strings.Builder
}

// New begins a page. name is in lower case, e.g. "goaoe-serve"; date is like "2026-11-23"; source is the program with its version;
// manual is the title of the whole.
func New(name string, section int, date, source, manual string) *Page {
	p := &Page{}
	p.request("TH", strings.ToUpper(name), fmt.Sprint(section), "DATE", source, manual)
	th := strings.Replace(p.b.String(), `"DATE"`, `"`+date+`"`, 1) // mandoc knows a date only with bare hyphens
	p.b.Reset()
	p.b.WriteString(th)
	p.b.WriteString(".nh\n.ad l\n") // no hyphens in commands, no wide gaps between words
	return p
}

// String returns the page.
func (p *Page) String() string { return p.b.String() }

// Section begins a section, e.g. "DESCRIPTION".
func (p *Page) Section(title string) { p.request("SH", title) }

// Subsection begins a part of a section.
func (p *Page) Subsection(title string) { p.request("SS", title) }

// Name writes the section NAME, which apropos reads.
func (p *Page) Name(name, short string) {
	p.Section("NAME")
	p.b.WriteString(Escape(name) + ` \- ` + Escape(short) + "\n")
}

// Text writes paragraphs and indented lines. The first paragraph follows what is before it without a gap when tight is set.
func (p *Page) Text(text string, tight bool) {
	for _, block := range blocks(text) {
		if !tight {
			p.b.WriteString(".PP\n")
		}
		tight = false
		if block.verbatim {
			p.verbatim(verbatimIndent, block.lines)
			continue
		}
		p.fill(strings.Join(block.lines, " "))
	}
}

// Example writes lines as they stand.
func (p *Page) Example(text string) {
	p.verbatim(verbatimIndent, unindent(strings.Split(strings.Trim(text, "\n"), "\n")))
}

// Item writes a term and what it means. The term is markup already: see Bold, Italic, Escape.
func (p *Page) Item(term, text string) {
	p.b.WriteString(".TP\n" + term + "\n")
	p.itemText(text)
}

// itemText writes the paragraphs of an item: .IP keeps the later ones inside it.
func (p *Page) itemText(text string) {
	for i, block := range blocks(text) {
		if block.verbatim {
			if i > 0 {
				p.b.WriteString(".sp\n")
			}
			p.verbatim(itemIndent+verbatimIndent, block.lines)
			continue
		}
		if i > 0 {
			p.b.WriteString(".IP\n")
		}
		p.fill(strings.Join(block.lines, " "))
	}
}

// Usage writes a line of the synopsis: the command in bold, the rest as it stands with its metavariables (words in capitals) in
// italics. Further lines are indented.
func (p *Page) Usage(command, rest string) {
	p.b.WriteString(".HP\n" + Bold(command))
	if rest != "" {
		p.b.WriteString("\n" + breakLines(Metavariables(rest)))
	}
	p.b.WriteString("\n")
}

// SeeAlso writes the section SEE ALSO. A reference is like "goaoe-serve(1)".
func (p *Page) SeeAlso(refs []string) {
	if len(refs) == 0 {
		return
	}
	p.Section("SEE ALSO")
	for i, r := range refs {
		name, section, _ := strings.Cut(r, "(")
		tail := "(" + section
		if i < len(refs)-1 {
			tail += ","
		}
		p.b.WriteString(".BR " + Escape(name) + " " + tail + "\n")
	}
}

// Indents in characters: of verbatim lines, and of the text of an item (that of .TP).
const (
	verbatimIndent = 4
	itemIndent     = 7
)

// verbatim writes lines without filling.
func (p *Page) verbatim(indent int, lines []string) {
	fmt.Fprintf(&p.b, ".RS %d\n.nf\n", indent)
	for _, l := range lines {
		if l == "" {
			p.b.WriteString("\\&\n") // an empty line would be a warning
			continue
		}
		p.b.WriteString(guard(Escape(l)) + "\n")
	}
	p.b.WriteString(".fi\n.RE\n")
}

// fill writes running text, broken into source lines.
func (p *Page) fill(text string) { p.b.WriteString(breakLines(Escape(text)) + "\n") }

// request writes a request with quoted arguments.
func (p *Page) request(name string, args ...string) {
	p.b.WriteString("." + name)
	for _, a := range args {
		p.b.WriteString(` "` + strings.ReplaceAll(Escape(a), `"`, `\(dq`) + `"`)
	}
	p.b.WriteByte('\n')
}

// Bold returns text in bold.
func Bold(text string) string { return `\fB` + Escape(text) + `\fR` }

// Italic returns text in italics, the form of what the reader puts in.
func Italic(text string) string { return `\fI` + Escape(text) + `\fR` }

// Metavariables escapes text, with words in capitals in italics.
func Metavariables(text string) string {
	var b strings.Builder
	word := strings.Builder{}
	flush := func() {
		w := word.String()
		word.Reset()
		if len(w) > 0 && w == strings.ToUpper(w) && strings.ContainsAny(w, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
			b.WriteString(Italic(w))
			return
		}
		b.WriteString(Escape(w))
	}
	for _, r := range text {
		if r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			word.WriteRune(r)
			continue
		}
		flush()
		b.WriteString(Escape(string(r)))
	}
	flush()
	return b.String()
}

// escapes are the characters that mean something else in the language, or are printed as typographic signs.
var escapes = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`,
	"→", `\(->`, "–", `\(en`, "—", `\(em`, "…", "...", "µ", "u", "±", `\(+-`, "×", `\(mu`, "\t", "    ")

// Escape makes text safe to stand anywhere but at the beginning of a line: see guard.
func Escape(text string) string { return escapes.Replace(text) }

// guard keeps a line from being a request.
func guard(line string) string {
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, `\(aq`) || strings.HasPrefix(line, "'") {
		return `\&` + line
	}
	return line
}

// breakLines breaks escaped text into source lines at spaces.
func breakLines(text string) string {
	var lines []string
	line := ""
	for _, w := range strings.Fields(text) {
		if line != "" && len(line)+1+len(w) > lineWidth {
			lines = append(lines, guard(line))
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	return strings.Join(append(lines, guard(line)), "\n")
}

// block is a paragraph, or lines to be shown as they stand.
type block struct {
	verbatim bool
	lines    []string
}

// blocks takes a text apart. Lines that begin with two spaces are verbatim; they need no empty line around them.
func blocks(text string) []block {
	var out []block
	gap := true
	for _, l := range strings.Split(text, "\n") {
		l = strings.TrimRight(l, " \t")
		if l == "" {
			gap = true
			continue
		}
		verbatim := strings.HasPrefix(l, "  ") || strings.HasPrefix(l, "\t")
		n := len(out)
		switch {
		case n > 0 && verbatim && out[n-1].verbatim:
			if gap {
				out[n-1].lines = append(out[n-1].lines, "")
			}
			out[n-1].lines = append(out[n-1].lines, l)
		case n > 0 && !gap && !verbatim && !out[n-1].verbatim:
			out[n-1].lines = append(out[n-1].lines, l)
		default:
			out = append(out, block{verbatim, []string{l}})
		}
		gap = false
	}
	for i := range out {
		if out[i].verbatim {
			out[i].lines = unindent(out[i].lines)
		}
	}
	return out
}

// unindent takes away the white space that all lines begin with.
func unindent(lines []string) []string {
	least := -1
	for i, l := range lines {
		lines[i] = strings.ReplaceAll(l, "\t", "    ")
		if n := len(lines[i]) - len(strings.TrimLeft(lines[i], " ")); strings.TrimSpace(l) != "" && (least < 0 || n < least) {
			least = n
		}
	}
	for i, l := range lines {
		lines[i] = strings.TrimRight(l[min(max(least, 0), len(l)):], " ")
	}
	return lines
}
