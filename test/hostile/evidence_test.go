package hostile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// evidence adds a line to a file of the folder GOAOE_EVIDENCE, from which docs/evidence.md is made.
func evidence(t *testing.T, name string, figures any) {
	t.Helper()
	dir := os.Getenv("GOAOE_EVIDENCE")
	if dir == "" {
		return
	}
	line, err := json.Marshal(figures)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
}

// json is what evidence tells of a process.
func (f facts) json() map[string]any {
	return map[string]any{"mib": float64(f.rss) / (1 << 20), "descriptors": f.fds, "threads": f.threads}
}
