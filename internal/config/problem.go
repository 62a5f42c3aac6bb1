package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Severity is how bad a Problem is.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // the configuration cannot be used
	Warning Severity = "warning" // it can, but probably does not do what was meant
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Severity Severity `json:"severity"`
	Position
	Key     string `json:"key,omitempty"`   // e.g. "export.queue-length"
	Value   string `json:"value,omitempty"` // the offending value as written
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do
}

// String returns the problem as one line: FILE:LINE:COLUMN: SEVERITY: KEY: MESSAGE; HINT.
func (p Problem) String() string {
	var b strings.Builder
	if at := p.Position.String(); at != "" {
		b.WriteString(at + ": ")
	}
	b.WriteString(string(p.Severity) + ": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString("; " + p.Hint)
	}
	return b.String()
}

// Problems is everything that is wrong with a configuration.
type Problems []Problem

// add notes a problem.
func (ps *Problems) add(p Problem) { *ps = append(*ps, p) }

// Errors returns how many of the problems are errors.
func (ps Problems) Errors() int {
	n := 0
	for _, p := range ps {
		if p.Severity == Error {
			n++
		}
	}
	return n
}

// Err returns nil when there is no error among the problems, else an error whose text is the first error and the
// number of the others.
func (ps Problems) Err() error {
	n := ps.Errors()
	if n == 0 {
		return nil
	}
	i := slices.IndexFunc(ps, func(p Problem) bool { return p.Severity == Error })
	if n == 1 {
		return errors.New(ps[i].String())
	}
	return fmt.Errorf("%s (and %d more: goaoe check shows all)", ps[i], n-1)
}

// Sorted puts the problems in the order of the file; equal places keep their order. Problems without a place come last.
func (ps Problems) Sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if c := cmp.Compare(rank(a.Position), rank(b.Position)); c != 0 {
			return c
		}
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return ps
}

// unique drops repetitions: a mistake in [defaults] is found once for every export.
func (ps Problems) unique() Problems {
	seen := map[Problem]bool{}
	return slices.DeleteFunc(ps, func(p Problem) bool {
		was := seen[p]
		seen[p] = true
		return was
	})
}

// rank orders places by kind: in a file, on the command line, nowhere.
func rank(p Position) int {
	switch {
	case p.File == CommandLine, p.File == RunTime && p.Line == 0:
		return 1
	case p.Line == 0:
		return 2
	}
	return 0
}
