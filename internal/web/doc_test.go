package web

import (
	"os"
	"strings"
	"testing"
)

// TestDocument: each warning that docs/web.md explains is one that the page can say, piece by piece.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile("../../docs/web.md")
	if err != nil {
		t.Fatal(err)
	}
	var said string
	for _, name := range []string{"health.go", "../daemon/backend.go"} {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		said += strings.NewReplacer("%d", "", "%s", "", "%.1f", "", "%v", "", "%%", "%", "512", "").Replace(string(src))
	}
	_, table, _ := strings.Cut(string(b), "\n## Warnings\n")
	table, _, _ = strings.Cut(table, "\n## ")
	rows := 0
	for line := range strings.Lines(table) {
		text, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if !ok || strings.HasPrefix(text, "---") || text == "it says" {
			continue
		}
		rows++
		for piece := range strings.SplitSeq(strings.ReplaceAll(text, "512", ""), "...") {
			if piece = strings.TrimSpace(piece); !strings.Contains(said, piece) {
				t.Errorf("%q: the page never says %q", text, piece)
			}
		}
	}
	if rows < 16 {
		t.Errorf("only %d warnings are explained", rows)
	}
}
