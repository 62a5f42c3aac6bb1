package control

import (
	"errors"
	"strings"
	"testing"
)

func TestSelect(t *testing.T) {
	exports := []Export{{Address: "e0.1", Name: "mail-spool"}, {Address: "e1.0"}, {Address: "e1.1", Name: "mail-logs"}, {Address: "e1.10"}, {Address: "e11.0"}}
	for _, tt := range []struct {
		patterns, want string
	}{
		{"", "e0.1 e1.0 e1.1 e1.10 e11.0"},
		{"*", "e0.1 e1.0 e1.1 e1.10 e11.0"},
		{"all", "e0.1 e1.0 e1.1 e1.10 e11.0"},
		{"e1.0", "e1.0"},
		{"1.0", "e1.0"},
		{"1.*", "e1.0 e1.1 e1.10"},
		{"e1.*", "e1.0 e1.1 e1.10"},
		{"1.?", "e1.0 e1.1"},
		{"*.0", "e1.0 e11.0"},
		{"1.[0-1]", "e1.0 e1.1"},
		{"mail-spool", "e0.1"},
		{"mail-*", "e0.1 e1.1"},
		{"11.0 1.0 e1.0 1.0", "e1.0 e11.0"}, // each once, in the order of the exports
	} {
		got, err := Select(strings.Fields(tt.patterns), exports)
		var names []string
		for _, e := range got {
			names = append(names, e.Address)
		}
		if err != nil || strings.Join(names, " ") != tt.want {
			t.Errorf("%q: %q, %v; want %q", tt.patterns, names, err, tt.want)
		}
	}
	for _, tt := range []struct {
		patterns []string
		code     Code
		message  string
		hint     string
	}{
		{[]string{"1.2"}, CodeNotFound, "no export is meant by 1.2", "there is e1.0, e1.1 (mail-logs), e1.10"},
		{[]string{"1.0", "7.*", "mail-x"}, CodeNotFound, "no export is meant by 7.*, mail-x", "there is e0.1"},
		{[]string{"1.[0"}, CodeUsage, `"1.[0" is not a valid pattern`, "needs its ]"},
		{[]string{""}, CodeUsage, "empty pattern", "address"},
	} {
		got, err := Select(tt.patterns, exports)
		var e *Error
		if got != nil || !errors.As(err, &e) || e.Code != tt.code || !strings.Contains(e.Message, tt.message) || !strings.Contains(e.Hint, tt.hint) {
			t.Errorf("%q: %v, %v", tt.patterns, got, err)
		}
	}
	many := make([]Export, 20)
	for i := range many {
		many[i].Address = "e5." + string(rune('a'+i))
	}
	if _, err := Select([]string{"9.9"}, many); err == nil || !strings.Contains(err.Error(), "and 14 more") {
		t.Errorf("of many: %v", err)
	}
	if got, err := Select([]string{"*"}, nil); err != nil || len(got) != 0 {
		t.Errorf("* of none: %v, %v", got, err)
	}
	if _, err := Select([]string{"1.0"}, nil); err == nil || !strings.Contains(err.Error(), "there are no exports") {
		t.Errorf("1.0 of none: %v", err)
	}
}
