package qaoed

import (
	"fmt"
	"strings"

	"goaoe/internal/config"
)

// tokenKind is what a token is.
type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenString // a word in quotes
	tokenMark   // one of { } = ;
)

// token is one piece of the file.
type token struct {
	kind     tokenKind
	text     string // without quotes
	pos      config.Position
	comments []string // that stand in front of it; "" is an empty line
	after    string   // a comment behind it on its line
}

// is tells whether the token is this mark.
func (t token) is(mark string) bool { return t.kind == tokenMark && t.text == mark }

// String says what the token is, for messages.
func (t token) String() string {
	if t.kind == tokenEnd {
		return "the end of the file"
	}
	return fmt.Sprintf("%q", t.text)
}

// lexer cuts a file into tokens. Comments are # and // up to the end of the line, and /* ... */, where a token can begin; inside a word
// they are part of it, but for #. The value of a statement may begin with //.
type lexer struct {
	file    string
	text    string
	at      int // where it reads
	line    int
	start   int // of the line
	problem func(config.Problem)
	broken  bool
	out     []token
	pending []string
}

// lex returns the tokens of a file, the last one being tokenEnd.
func lex(file string, data []byte, problem func(config.Problem)) (tokens []token, broken bool) {
	l := lexer{file: file, text: strings.TrimPrefix(string(data), "\ufeff"), line: 1, problem: problem}
	for l.next() {
	}
	l.out = append(l.out, token{kind: tokenEnd, pos: l.pos(), comments: l.pending})
	return l.out, l.broken
}

// pos is the place where the lexer is.
func (l *lexer) pos() config.Position {
	return config.Position{File: l.file, Line: l.line, Column: l.at - l.start + 1}
}

// newline steps over the end of a line.
func (l *lexer) newline() {
	l.at++
	l.line++
	l.start = l.at
}

// next reads one token, comment or blank. It returns false at the end.
func (l *lexer) next() bool {
	if l.at >= len(l.text) {
		return false
	}
	rest := l.text[l.at:]
	switch c := rest[0]; {
	case c == '\n':
		if n := len(l.pending); n > 0 && l.at > 0 && strings.TrimSpace(l.text[l.start:l.at]) == "" {
			l.pending = append(l.pending, "")
		}
		l.newline()
	case c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v':
		l.at++
	case c == '#':
		l.lineComment(1)
	case strings.HasPrefix(rest, "//") && !l.afterAssign():
		l.lineComment(2)
	case strings.HasPrefix(rest, "/*"):
		l.blockComment()
	case strings.IndexByte("{}=;", c) >= 0:
		l.add(token{kind: tokenMark, text: rest[:1], pos: l.pos()})
		l.at++
	case c == '"':
		l.quoted()
	default:
		l.word()
	}
	return true
}

// afterAssign tells whether the value of a statement comes next.
func (l *lexer) afterAssign() bool {
	return len(l.out) > 0 && l.out[len(l.out)-1].is("=")
}

// add adds a token with the comments that wait for one.
func (l *lexer) add(t token) {
	t.comments, l.pending = l.pending, nil
	l.out = append(l.out, t)
}

// lineComment reads a comment that ends with the line; sign is the length of its sign.
func (l *lexer) lineComment(sign int) {
	text, _, _ := strings.Cut(l.text[l.at:], "\n")
	l.comment(strings.TrimSuffix(text[sign:], "\r"))
	l.at += len(text)
}

// comment keeps a comment: for the token in front of it on the same line, else for the one that follows.
func (l *lexer) comment(text string) {
	text = strings.TrimPrefix(strings.TrimRight(text, " \t\r"), " ")
	if n := len(l.out); n > 0 && l.out[n-1].pos.Line == l.line && l.out[n-1].after == "" && (l.out[n-1].is(";") || l.out[n-1].is("{")) && len(l.pending) == 0 {
		l.out[n-1].after = text
		return
	}
	l.pending = append(l.pending, text)
}

// blockComment reads /* ... */.
func (l *lexer) blockComment() {
	pos := l.pos()
	body, _, closed := strings.Cut(l.text[l.at+2:], "*/")
	if !closed {
		l.broken = true
		l.problem(config.Problem{Severity: config.Error, Position: pos, Message: "a comment that does not end", Hint: "close it with */"})
		l.at = len(l.text)
		return
	}
	lines := strings.Split(body, "\n")
	for i, s := range lines {
		s = strings.Trim(s, " \t\r")
		if i > 0 { // the * that lines up with the first one
			s = strings.TrimLeft(strings.TrimPrefix(s, "*"), " \t")
		}
		if s != "" || i > 0 && i < len(lines)-1 {
			l.comment(s)
		}
	}
	end := l.at + 2 + len(body) + 2
	for l.at < end {
		if l.text[l.at] == '\n' {
			l.newline()
		} else {
			l.at++
		}
	}
}

// quoted reads "text".
func (l *lexer) quoted() {
	pos := l.pos()
	line, _, _ := strings.Cut(l.text[l.at+1:], "\n")
	text, _, closed := strings.Cut(line, `"`)
	if !closed {
		l.broken = true
		text = strings.TrimRight(line, "\r")
		l.problem(config.Problem{Severity: config.Error, Position: pos, Value: text, Message: "a quotation mark without its other half on the line"})
		l.at += 1 + len(line)
	} else {
		l.at += 2 + len(text)
	}
	l.add(token{kind: tokenString, text: text, pos: pos})
}

// word reads a word without quotes: up to a blank or a mark.
func (l *lexer) word() {
	pos := l.pos()
	rest := l.text[l.at:]
	n := strings.IndexAny(rest, " \t\r\n\f\v{}=;#\"")
	if n < 0 {
		n = len(rest)
	}
	l.at += n
	l.add(token{kind: tokenWord, text: rest[:n], pos: pos})
}
