package program

import (
	"os"
	"path/filepath"
	"testing"
)

// TestEvidence: each call adds a line, and without a folder nothing is written.
func TestEvidence(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("GOAOE_EVIDENCE", "")
	Evidence(t, "x.json", 0)
	if _, err := os.Stat("x.json"); err == nil {
		t.Error("written without being asked for")
	}
	folder := filepath.Join(dir, "evidence")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOAOE_EVIDENCE", folder)
	Evidence(t, "x.json", map[string]int{"a": 1})
	Evidence(t, "x.json", map[string]int{"b": 2})
	if b, err := os.ReadFile(filepath.Join(folder, "x.json")); err != nil || string(b) != "{\"a\":1}\n{\"b\":2}\n" {
		t.Errorf("%q %v", b, err)
	}
}
