package vbladeconf

import (
	"fmt"
	"strings"

	"goaoe/internal/config"
)

// assignment is NAME=VALUE of a shell fragment.
type assignment struct {
	name     string
	value    string
	pos      config.Position // of the name
	at       config.Position // of the value
	comments []string
}

// shell reads a shell fragment that only assigns variables. It runs nothing: whatever needs a shell to know its value is noted as an error.
type shell struct {
	file    string
	problem func(config.Problem)
	out     []assignment
	pending []string
}

// parseShell returns the assignments of a fragment in their order and the comments behind the last one; ok is false when something was noted.
func parseShell(file string, data []byte, problem func(config.Problem)) (out []assignment, tail []string, ok bool) {
	ok = true
	s := shell{file: file, problem: func(p config.Problem) { ok = false; problem(p) }}
	text := string(data)
	for line := 1; text != ""; line++ {
		l, rest, _ := strings.Cut(text, "\n")
		text = rest
		for strings.HasSuffix(l, `\`) && text != "" { // the line goes on
			more, rest, _ := strings.Cut(text, "\n")
			l, text = l[:len(l)-1]+more, rest
			line++
		}
		s.line(line, strings.TrimSuffix(l, "\r"))
	}
	return s.out, config.TrimBlank(s.pending), ok
}

// line reads one line: any number of assignments, with blanks or semicolons between them, then perhaps a comment.
func (s *shell) line(n int, text string) {
	at := 0
	pos := func() config.Position { return config.Position{File: s.file, Line: n, Column: at + 1} }
	for {
		at += len(text[at:]) - len(strings.TrimLeft(text[at:], " \t;"))
		rest := text[at:]
		switch {
		case rest == "":
			if strings.TrimSpace(text) == "" && len(s.pending) > 0 {
				s.pending = append(s.pending, "")
			}
			return
		case rest[0] == '#':
			s.pending = append(s.pending, strings.TrimPrefix(rest[1:], " "))
			return
		}
		size := 0
		for size < len(rest) && (rest[size] == '_' || rest[size]|0x20 >= 'a' && rest[size]|0x20 <= 'z' || size > 0 && rest[size] >= '0' && rest[size] <= '9') {
			size++
		}
		if size == 0 || size >= len(rest) || rest[size] != '=' {
			s.problem(config.Problem{Severity: config.Error, Position: pos(), Value: rest, Message: fmt.Sprintf("%q is no NAME=VALUE", firstWord(rest)),
				Hint: "goaoe runs no shell: only assignments are read; a value with blanks needs quotes"})
			return
		}
		a := assignment{name: rest[:size], pos: pos(), comments: config.TrimBlank(s.pending)}
		s.pending = nil
		at += size + 1
		a.at = pos()
		value, used, why := word(text[at:])
		if why != "" {
			at += used
			s.problem(config.Problem{Severity: config.Error, Position: pos(), Key: a.name, Value: text[at:], Message: why, Hint: "goaoe runs no shell: write the value itself"})
			return
		}
		at += used
		a.value = value
		s.out = append(s.out, a)
	}
}

// firstWord returns the beginning of a text, for messages.
func firstWord(s string) string {
	if i := strings.IndexAny(s, " \t"); i > 0 {
		return s[:i]
	}
	return s
}

// word reads a word of the shell: pieces with and without quotes. why says what only a shell could read, at offset used.
func word(s string) (value string, used int, why string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ' ', '\t', ';':
			return b.String(), i, ""
		case '\'':
			end := strings.IndexByte(s[i+1:], '\'')
			if end < 0 {
				return "", i, "a quotation mark without its other half"
			}
			b.WriteString(s[i+1 : i+1+end])
			i += 1 + end
		case '"':
			n, why := quoted(s[i+1:], &b)
			if why != "" {
				return "", i, why
			}
			i += n
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		case '$', '`', '(', ')', '|', '&', '<', '>':
			return "", i, fmt.Sprintf("%c needs a shell", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), len(s), ""
}

// quoted reads what stands behind a double quotation mark, up to the other one, and returns how much that was.
func quoted(s string, b *strings.Builder) (used int, why string) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1, ""
		case c == '$' || c == '`':
			return 0, fmt.Sprintf("%c needs a shell", c)
		case c == '\\' && i+1 < len(s) && strings.IndexByte("\"\\$`", s[i+1]) >= 0:
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return 0, "a quotation mark without its other half"
}
