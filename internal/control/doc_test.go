package control

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocument holds the tables of docs/api.md against the routes and the codes.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	_, calls, _ := strings.Cut(text, "\n## All calls\n")
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| (`.*)$").FindAllString(calls, -1) {
		rows[m] = true
	}
	for _, r := range Routes() {
		call := r.Method + " /" + Version + r.Path
		if len(r.Query) > 0 {
			call += "?" + strings.Join(r.Query, "&")
		}
		row := fmt.Sprintf("| `%s` | %s |", call, r.Help)
		if !rows[row] {
			t.Errorf("docs/api.md has no row %s", row)
		}
		delete(rows, row)
	}
	for row := range rows {
		t.Errorf("docs/api.md has %s, and there is no such call", row)
	}
	for _, c := range []Code{CodeUsage, CodeNotFound, CodeConflict, CodeInUse, CodeRefused, CodeFailed, CodeGone} {
		if row := fmt.Sprintf("| `%s` | %d | ", c, c.Status()); !strings.Contains(text, row) {
			t.Errorf("docs/api.md has no row %s", row)
		}
	}
	for _, limit := range []string{fmt.Sprintf("%d connections", maxConns), fmt.Sprintf("%d KiB", maxHeader>>10), fmt.Sprintf("%d MiB", maxBody>>20), fmt.Sprintf("within %.0f seconds", patient.head.Seconds()),
		fmt.Sprintf("within %.0f;", patient.body.Seconds()), fmt.Sprintf("at most %d", maxWait.Milliseconds())} {
		if !strings.Contains(text, limit) {
			t.Errorf("docs/api.md does not say %q", limit)
		}
	}
}
