package package_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"goaoe/test/need"
)

// exposure is what the units may reach at most in the rating of systemd-analyze security, in tenths: 0 is shut in, 100 is
// root without any restriction. What is left is what a target is for: packets, the network of the host, block devices.
const exposure = "25"

// exposureAttach is the same for goaoe-attach@: root with the capabilities that the kernel's NBD driver wants, in the device that it makes.
const exposureAttach = "45"

// TestUnits: systemd-analyze finds nothing wrong with the units, and rates how they are shut in.
func TestUnits(t *testing.T) {
	analyze := need.Programs(t, "systemd-analyze")[0]
	for _, unit := range []string{"goaoe.service", "goaoe-export@.service", "goaoe-attach@.service"} {
		t.Run(unit, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(root(t), "dist/systemd", unit))
			if err != nil {
				t.Fatal(err)
			}
			// The program and the manual are not installed here; the package's test has them.
			dir := t.TempDir()
			file := filepath.Join(dir, strings.Replace(unit, "@", "@e0.1", 1))
			var lines []string
			for _, l := range strings.Split(strings.ReplaceAll(string(text), "/usr/bin/goaoe", "/bin/true"), "\n") {
				if !strings.HasPrefix(l, "Documentation=") {
					lines = append(lines, l)
				}
			}
			if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("verify: %v\n%s", err, out)
			}
			limit := exposure
			if unit == "goaoe-attach@.service" {
				limit = exposureAttach
			}
			if out, err := exec.Command(analyze, "security", "--no-pager", "--offline=true", "--threshold="+limit, file).CombinedOutput(); err != nil {
				t.Errorf("more exposed than %s tenths: %v\n%s", limit, err, out)
			}
		})
	}
}

// TestUnitsAgree: the two units shut their processes in alike, but for the folders that only one of them has.
func TestUnitsAgree(t *testing.T) {
	only := map[string]bool{"Description": true, "Documentation": true, "AssertPathExists": true, "EnvironmentFile": true, "Environment": true, "ExecStart": true,
		"ExecReload": true, "RuntimeDirectory": true, "LogsDirectory": true, "LogsDirectoryMode": true, "ReadWritePaths": true}
	settings := func(unit string) (out []string) {
		text, err := os.ReadFile(filepath.Join(root(t), "dist/systemd", unit))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range strings.Split(string(text), "\n") {
			if key, _, ok := strings.Cut(l, "="); ok && !strings.HasPrefix(l, "#") && !only[key] {
				out = append(out, l)
			}
		}
		return out
	}
	a, b := settings("goaoe.service"), settings("goaoe-export@.service")
	if strings.Join(a, "\n") != strings.Join(b, "\n") {
		t.Errorf("goaoe.service has\n%s\n\ngoaoe-export@.service has\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
}
