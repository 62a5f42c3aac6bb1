package roff_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"goaoe/internal/cli/roff"
)

// TestText: what becomes of paragraphs, verbatim lines and characters that mean something else in roff.
func TestText(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"a paragraph", "one\ntwo", "one two\n"},
		{"two", "one\n\ntwo", "one\n.PP\ntwo\n"},
		{"verbatim", "see:\n  a  b\n    c", "see:\n.PP\n.RS 4\n.nf\na  b\n  c\n.fi\n.RE\n"},
		{"a gap in verbatim lines", "  a\n\n  b", ".RS 4\n.nf\na\n\\&\nb\n.fi\n.RE\n"},
		{"after verbatim lines", "  a\nb", ".RS 4\n.nf\na\n.fi\n.RE\n.PP\nb\n"},
		{"a dot", ".conf", "\\&.conf\n"},
		{"a quote", "'x' is", "\\&\\(aqx\\(aq is\n"},
		{"a verbatim dot", "  .x", ".RS 4\n.nf\n\\&.x\n.fi\n.RE\n"},
		{"a backslash, options, accents", `C:\x --all ~/a ^ ` + "`ls`", "C:\\ex \\-\\-all \\(ti/a \\(ha \\(gals\\(ga\n"},
		{"a long line", strings.Repeat("word ", 20), strings.TrimSpace(strings.Repeat("word ", 15)) + "\n" + strings.TrimSpace(strings.Repeat("word ", 5)) + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &roff.Page{}
			p.Text(tt.in, true)
			if got := p.String(); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// TestParts: sections, items, the synopsis and references.
func TestParts(t *testing.T) {
	p := roff.New("x-y", 1, "2026-01-02", "x 1", `the "x" manual`)
	p.Name("x-y", "does it")
	p.Section("SYNOPSIS")
	p.Usage("x y", "[-c FILE] [NAME=SOURCE ...]")
	p.Item(roff.Bold("-a")+" "+roff.Italic("N"), "first\n\n  code\n\nsecond")
	p.SeeAlso([]string{"x(1)", "y.toml(5)"})
	want := `.TH "X\-Y" "1" "2026-01-02" "x 1" "the \(dqx\(dq manual"
.nh
.ad l
.SH "NAME"
x\-y \- does it
.SH "SYNOPSIS"
.HP
\fBx y\fR
[\-c \fIFILE\fR] [\fINAME\fR=\fISOURCE\fR ...]
.TP
\fB\-a\fR \fIN\fR
first
.sp
.RS 11
.nf
code
.fi
.RE
.IP
second
.SH "SEE ALSO"
.BR x (1),
.BR y.toml (5)
`
	if got := p.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestNoTextIsARequest: whatever the text is, only our own requests begin with a dot or a quote, and no backslash is left alone.
func TestNoTextIsARequest(t *testing.T) {
	requests := map[string]bool{".PP": true, ".RS 4": true, ".nf": true, ".fi": true, ".RE": true}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("ab.'\\- \n\t\""))).Draw(t, "text")
		p := &roff.Page{}
		p.Text(text, true)
		for _, l := range strings.Split(p.String(), "\n") {
			if (strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'")) && !requests[l] {
				t.Fatalf("%q became the request %q", text, l)
			}
			for _, part := range strings.Split(l, `\`)[1:] {
				if !strings.HasPrefix(part, "e") && !strings.HasPrefix(part, "-") && !strings.HasPrefix(part, "&") && !strings.HasPrefix(part, "(aq") {
					t.Fatalf("%q became %q, with a stray backslash", text, l)
				}
			}
		}
	})
}
