package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"goaoe/internal/config"
)

func TestMachineLogFiles(t *testing.T) {
	root := t.TempDir()
	for _, d := range []string{"/var/log/goaoe", "/var/log/dir"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	pos := config.Position{File: "f", Line: 3}
	for _, c := range []struct{ file, want string }{
		{"/var/log/goaoe/x.log", ""},
		{"/var/log/none/x.log", "f:3: error: log-target.x.file: the directory /var/log/none does not exist; make it: install -d -m 0750 /var/log/none"},
		{"/var/log/dir", "f:3: error: log-target.x.file: /var/log/dir is a directory; name a file in it"},
	} {
		cfg := &config.Config{LogTargets: []config.NamedLogTarget{{Name: "x", Type: config.LogFile, File: c.file, Pos: pos}, {Name: "y", Type: config.LogJournal}}}
		ps := machine{root}.logFiles(cfg)
		got := ""
		if len(ps) > 0 {
			got = ps[0].String()
		}
		if len(ps) > 1 || got != c.want {
			t.Errorf("%s: %v", c.file, ps)
		}
	}
	cfg := &config.Config{File: "f", Log: config.Log{Target: config.LogFile, File: "/no/x"}}
	if ps := (machine{root}).logFiles(cfg); len(ps) != 1 || !strings.HasPrefix(ps[0].String(), "f: error: log.file: the directory /no") {
		t.Errorf("[log]: %v", ps)
	}
	if _, err := os.Stat(filepath.Join(root, "/var/log/goaoe/x.log")); err == nil {
		t.Error("looking made the file")
	}
}
