package package_test

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRelease: a tarball for each processor with a static program for it, in a list of checksums that fits; made twice, in another
// folder the second time, it is the same to the byte.
func TestRelease(t *testing.T) {
	t.Parallel()
	env := append(os.Environ(), "VERSION=1.0", "SOURCE_DATE_EPOCH=1700000000")
	here, elsewhere := filepath.Join(t.TempDir(), "tree"), filepath.Join(t.TempDir(), "another-place")
	for _, c := range [][2]string{{root(t), here}, {here, elsewhere}} { // a copy of the copy: nobody edits that in between
		if out, err := exec.Command("sh", "-c", "mkdir \"$2\" && cd \"$1\" && tar -cf - --exclude=./out --exclude=./.git --exclude=./bin . | tar -xf - -C \"$2\"", "sh", c[0], c[1]).CombinedOutput(); err != nil {
			t.Fatalf("copying the tree: %v\n%s", err, out)
		}
	}
	release := func(dir string, archs ...string) {
		cmd := exec.Command("dist/release", archs...)
		cmd.Dir, cmd.Env = dir, env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	release(here)
	sums, err := os.ReadFile(filepath.Join(here, "out/release/SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	check := exec.Command("sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS")
	check.Dir = filepath.Join(here, "out/release")
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("the checksums: %v\n%s", err, out)
	}
	for arch, want := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "armv7": elf.EM_ARM} {
		name := "goaoe-1.0-linux-" + arch
		if !strings.Contains(string(sums), "  "+name+".tar.gz\n") {
			t.Errorf("%s.tar.gz is not in\n%s", name, sums)
			continue
		}
		dir := t.TempDir()
		if out, err := exec.Command("tar", "-xzf", filepath.Join(check.Dir, name+".tar.gz"), "-C", dir).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		f, err := elf.Open(filepath.Join(dir, name, "usr/bin/goaoe"))
		if err != nil {
			t.Fatal(err)
		}
		if libs, err := f.ImportedLibraries(); f.Machine != want || err != nil || len(libs) > 0 || f.Section(".interp") != nil {
			t.Errorf("%s: machine %v, libraries %q, %v", name, f.Machine, libs, err)
		}
		f.Close()
		for _, file := range []string{"usr/share/man/man1/goaoe.1.gz", "usr/lib/systemd/system/goaoe.service", "usr/share/zsh/site-functions/_goaoe", "usr/share/doc/goaoe/LICENSE"} {
			if _, err := os.Stat(filepath.Join(dir, name, file)); err != nil {
				t.Error(err)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, name, "etc")); err == nil {
			t.Errorf("%s would overwrite the configuration", name)
		}
	}

	release(elsewhere, "amd64")
	again, err := os.ReadFile(filepath.Join(elsewhere, "out/release/SHA256SUMS"))
	if err != nil || !strings.Contains(string(sums), strings.TrimSpace(string(again))) {
		t.Errorf("built elsewhere: %v\n%sis not in\n%s", err, again, sums)
	}
}
