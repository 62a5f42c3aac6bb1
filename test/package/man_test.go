package package_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"goaoe/test/need"
)

// build builds the program of this tree and returns its path; its name is goaoe.
func build(t testing.TB) string {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	if program != "" {
		return program
	}
	file := filepath.Join(root(t), "out/stage/test/goaoe")
	cmd := exec.Command("go", "build", "-o", file, "./cmd/goaoe")
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	program = file
	return file
}

// manual writes the manual pages and returns their files.
func manual(t testing.TB) []string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command(build(t), "man", dir).CombinedOutput(); err != nil {
		t.Fatalf("goaoe man: %v\n%s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(dir, "man?", "*"))
	if err != nil || len(files) < 10 {
		t.Fatalf("pages: %q, %v", files, err)
	}
	return files
}

// TestManualPages: the two programs that show manual pages find nothing to warn of, and no word is misspelt: none is a known
// misspelling (codespell), and each is in the dictionary or in words.txt (aspell).
func TestManualPages(t *testing.T) {
	programs := need.Programs(t, "mandoc", "groff", "codespell", "aspell", "col")
	files := manual(t)
	t.Run("mandoc", func(t *testing.T) {
		if out, err := exec.Command(programs[0], append([]string{"-T", "lint", "-W", "style"}, files...)...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("groff", func(t *testing.T) {
		for _, f := range files {
			if out, err := exec.Command(programs[1], "-ww", "-man", "-Tutf8", "-z", f).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%s: %v\n%s", filepath.Base(f), err, out)
			}
		}
	})
	t.Run("codespell", func(t *testing.T) {
		sources := append(files, filepath.Join(root(t), "docs"), filepath.Join(root(t), "dist"), filepath.Join(root(t), "README.md"))
		if out, err := exec.Command(programs[2], append([]string{"--ignore-words-list", "ans,atleast"}, sources...)...).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("aspell", func(t *testing.T) {
		unknown := misspelt(t, programs[1], programs[4], programs[3], files)
		if len(unknown) > 0 {
			t.Errorf("not in the dictionary; mend them, or add them to test/package/words.txt:\n%s", strings.Join(unknown, "\n"))
		}
	})
}

// misspelt returns the words of the pages, as they are shown, that neither aspell nor words.txt knows.
func misspelt(t *testing.T, groff, col, aspell string, files []string) []string {
	t.Helper()
	list, err := os.ReadFile("words.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, w := range strings.Fields(string(list)) {
		known[strings.ToLower(w)] = true
	}
	unknown := map[string]string{}
	for _, f := range files {
		// Examples are no prose; nor are words with signs in them (paths, flags, keys) or in capitals.
		shown, err := exec.Command("sh", "-c", "sed '/^\\.nf$/,/^\\.fi$/d' \"$1\" | "+groff+" -man -Tascii -P-c | "+col+" -bx", "sh", f).Output()
		if err != nil {
			t.Fatal(err)
		}
		var prose []string
		for _, w := range strings.Fields(string(shown)) {
			if w = strings.Trim(w, `.,:;()"'[]?`); !strings.ContainsAny(w, "/=$_@.:-<>|(0123456789") && w != strings.ToUpper(w) {
				prose = append(prose, w)
			}
		}
		cmd := exec.Command(aspell, "list", "--lang=en_US", "--encoding=utf-8")
		cmd.Stdin = strings.NewReader(strings.Join(prose, "\n"))
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("aspell: %v", err)
		}
		for _, w := range strings.Fields(string(out)) {
			if !known[strings.ToLower(w)] {
				unknown[w] = filepath.Base(f)
			}
		}
	}
	var out []string
	for w, f := range unknown {
		out = append(out, w+" ("+f+")")
	}
	sort.Strings(out)
	return out
}
