// Package program is for the suites that run the binary under test: it is built once for each of them, and there is a place for what it prints, and for
// the figures that they find.
package program

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sync"
	"testing"
)

// given is a goaoe that was built elsewhere: some suites run in a guest, too, where there is no compiler.
var given = os.Getenv("GOAOE_TEST_BINARY")

var (
	mu    sync.Mutex
	dir   string // of what was built; "" as long as nothing was
	built = map[string]error{}
)

// Goaoe returns the path of goaoe, which the first call builds.
func Goaoe(t testing.TB) string {
	t.Helper()
	if given != "" {
		return given
	}
	return Built(t, "goaoe/cmd/goaoe")
}

// Built returns the path of the program of a package, which the first call builds. Every user may run it.
func Built(t testing.TB, pkg string) string {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	if dir == "" {
		d, err := os.MkdirTemp("", "goaoe-program-")
		if err == nil {
			err = os.Chmod(d, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		dir = d
	}
	bin := filepath.Join(dir, path.Base(pkg))
	err, known := built[pkg]
	if !known {
		err = build(bin, pkg)
		built[pkg] = err
	}
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func build(bin, pkg string) error {
	c := exec.Command("go", "build", "-o", bin, pkg)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// Main is TestMain of a suite: it runs the tests, then after, and removes what was built. A suite sets GOAOE_SOCKET before where several daemons run
// at the same time.
func Main(m *testing.M, after ...func()) {
	code := m.Run()
	for _, f := range after {
		f()
	}
	if dir != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// Log collects what a program prints, and can be read while it runs. The zero value is empty.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns everything so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Evidence adds figures, as a line of JSON, to a file of the folder GOAOE_EVIDENCE, from which docs/evidence.md is made. Without that variable it does nothing.
func Evidence(t testing.TB, name string, figures any) {
	t.Helper()
	folder := os.Getenv("GOAOE_EVIDENCE")
	if folder == "" {
		return
	}
	line, err := json.Marshal(figures)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(folder, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(append(line, '\n'))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		t.Fatal(err)
	}
}
