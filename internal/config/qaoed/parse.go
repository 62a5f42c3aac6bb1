package qaoed

import (
	"fmt"

	"goaoe/internal/config"
)

// statement is "name = value;" or "name { ... }".
type statement struct {
	name     token
	value    token       // of an assignment
	block    []statement // of a block
	isBlock  bool
	comments []string // in front of it
	after    string   // behind it on its line
	inner    []string // at the end of a block
}

// maxDepth bounds how deep blocks can stand in blocks; qaoed's grammar has two levels.
const maxDepth = 16

// parser makes statements of tokens. After a mistake it goes on with the next statement.
type parser struct {
	tokens  []token
	at      int
	problem func(config.Problem)
	broken  bool
}

// parse reads the statements of a file. tail are the comments behind the last one.
func parse(tokens []token, problem func(config.Problem)) (out []statement, tail []string, broken bool) {
	p := parser{tokens: tokens, problem: problem}
	out, tail = p.statements(0)
	return out, tail, p.broken
}

// peek returns the next token, which stays.
func (p *parser) peek() token { return p.tokens[p.at] }

// take returns the next token and steps over it; the end stays where it is.
func (p *parser) take() token {
	t := p.tokens[p.at]
	if t.kind != tokenEnd {
		p.at++
	}
	return t
}

// bad notes a mistake of the grammar. qaoed refuses the whole file then.
func (p *parser) bad(t token, msg, hint string) {
	p.broken = true
	pr := config.Problem{Severity: config.Error, Position: t.pos, Message: msg, Hint: hint}
	if t.kind != tokenEnd {
		pr.Value = t.text
	}
	p.problem(pr)
}

// skip goes to the end of a statement that is wrong: behind its semicolon, or to the end of its block.
func (p *parser) skip() {
	for depth := 0; ; {
		switch t := p.peek(); {
		case t.kind == tokenEnd:
			return
		case t.is("{"):
			depth++
		case t.is("}"):
			if depth == 0 {
				return
			}
			if depth--; depth == 0 {
				p.take()
				return
			}
		case t.is(";") && depth == 0:
			p.take()
			return
		}
		p.take()
	}
}

// statements reads up to the end of a block, or of the file at depth 0. left are the comments in front of that.
func (p *parser) statements(depth int) (out []statement, left []string) {
	for {
		t := p.peek()
		switch {
		case t.kind == tokenEnd:
			return out, t.comments
		case t.is("}") && depth > 0:
			return out, t.comments
		case t.is("}"):
			p.bad(t, "a } without its {", "")
			p.take()
		case t.is(";"): // of no statement: qaoed steps over it, too
			p.take()
		case t.kind == tokenMark:
			p.bad(t, fmt.Sprintf("%s where a statement should begin", t), `write name = value; or name { ... }`)
			p.take()
			p.skip()
		default:
			if s, ok := p.statement(depth); ok {
				out = append(out, s)
			}
		}
	}
}

// statement reads one statement.
func (p *parser) statement(depth int) (s statement, ok bool) {
	s.name = p.take()
	s.comments = s.name.comments
	switch t := p.peek(); {
	case t.is("{"):
		return p.block(s, depth)
	case t.is("="):
		p.take()
	default:
		p.bad(t, fmt.Sprintf("%s behind %s, where = or { is expected", t, s.name), "write name = value; or name { ... }")
		p.skip()
		return s, false
	}
	if s.value = p.peek(); s.value.kind == tokenMark || s.value.kind == tokenEnd {
		p.bad(s.value, fmt.Sprintf("%s has no value", s.name), "write "+s.name.text+" = VALUE;")
		p.skip()
		return s, false
	}
	p.take()
	s.comments = append(s.comments, s.value.comments...)
	end := p.peek()
	if !end.is(";") {
		p.bad(end, fmt.Sprintf("%s where the ; behind %s = %s should be", end, s.name.text, s.value.text), "a value with blanks needs quotation marks, and every statement ends with ;")
		begins := p.at+1 < len(p.tokens) && (p.tokens[p.at+1].is("=") || p.tokens[p.at+1].is("{")) // the next statement
		if end.kind != tokenMark && !begins {
			p.skip() // the rest of a value
		}
		return s, false
	}
	s.after = p.take().after
	return s, true
}

// block reads "{ ... }" behind a name.
func (p *parser) block(s statement, depth int) (statement, bool) {
	open := p.take()
	if depth >= maxDepth {
		p.bad(open, "blocks inside blocks, too deep", "qaoed has two levels")
		p.skip()
		return s, false
	}
	s.isBlock, s.after = true, open.after
	s.block, s.inner = p.statements(depth + 1)
	if end := p.peek(); !end.is("}") {
		p.bad(end, fmt.Sprintf("the { of %s at line %d has no }", s.name, open.pos.Line), "")
		return s, true
	}
	p.take()
	return s, true
}
