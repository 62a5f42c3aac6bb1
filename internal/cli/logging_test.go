package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"goaoe/internal/config"
)

func TestLogging(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "")
	var stderr bytes.Buffer
	l := NewLogging(&stderr)
	early := l.Logger().With("export", "e0.1") // made before the settings change
	early.Debug("hidden")
	early.Info("one")
	if s := stderr.String(); strings.Contains(s, "hidden") || !strings.Contains(s, "level=INFO msg=one export=e0.1\n") || !strings.HasPrefix(s, "time=") {
		t.Errorf("by default: %q", s)
	}

	file := filepath.Join(t.TempDir(), "log")
	if err := l.Set(config.Log{Level: "debug", Format: "json", Target: config.LogFile, File: file}); err != nil {
		t.Fatal(err)
	}
	stderr.Reset()
	early.WithGroup("g").Debug("two", "k", 1)
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Set(config.Log{Level: "warn", Format: "text", Target: config.LogFile, File: file}); err != nil {
		t.Fatal(err)
	}
	early.Info("hidden")
	early.Warn("three")
	var line struct {
		Msg, Export string
		G           struct{ K int }
	}
	old, _ := os.ReadFile(file + ".1")
	if err := json.Unmarshal(old, &line); err != nil || line.Msg != "two" || line.Export != "e0.1" || line.G.K != 1 {
		t.Errorf("first file: %q, %v", old, err)
	}
	if now, _ := os.ReadFile(file); !strings.HasSuffix(string(now), "level=WARN msg=three export=e0.1\n") || strings.Contains(string(now), "hidden") {
		t.Errorf("after the rotation: %q", now)
	}
	if stderr.Len() > 0 {
		t.Errorf("on stderr: %q", stderr.String())
	}

	err := l.Set(config.Log{Level: "info", Target: config.LogFile, File: "/no/such/dir/log"})
	if err == nil || !strings.Contains(err.Error(), "/no/such/dir/log") {
		t.Errorf("a file that cannot be made: %v", err)
	}
	early.Error("four") // still to the old file
	if now, _ := os.ReadFile(file); !strings.Contains(string(now), "four") {
		t.Errorf("after a failed change: %q", now)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	early.Info("five")
	if !strings.Contains(stderr.String(), "five") {
		t.Error("nothing on stderr after Close")
	}
}

func TestLoggingJournal(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "8:1")
	var stderr bytes.Buffer
	NewLogging(&stderr).Logger().Info("one", "x", 1)
	if s := stderr.String(); strings.Contains(s, "time=") || !strings.Contains(s, "msg=one") {
		t.Errorf("%q", s)
	}
}

// sent records what went to syslog.
type sent []string

func (s *sent) Debug(m string) error   { *s = append(*s, "debug "+m); return nil }
func (s *sent) Info(m string) error    { *s = append(*s, "info "+m); return nil }
func (s *sent) Warning(m string) error { *s = append(*s, "warning "+m); return nil }
func (s *sent) Err(m string) error     { *s = append(*s, "err "+m); return nil }

func TestLoggingSyslog(t *testing.T) {
	var to sent
	l := NewLogging(&bytes.Buffer{})
	l.cur = newSyslogHandler(config.Log{Level: "info", Format: "text"}, &to)
	log := l.Logger()
	log.Debug("hidden")
	log.Info("a")
	log.With("k", 1).Warn("b")
	log.Error("c", "x", "y z")
	want := "info msg=a\n|warning msg=b k=1\n|err msg=c x=\"y z\"\n"
	if got := strings.Join(to, "|"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(facilities) != len(facilityNames()) {
		t.Errorf("%d facilities for the %d that the configuration knows", len(facilities), len(facilityNames()))
	}
	for _, f := range facilityNames() {
		if _, ok := facilities[f]; !ok {
			t.Errorf("the facility %s is not known", f)
		}
	}
}

func facilityNames() []string {
	for _, k := range config.Keys {
		if k.Section == "log" && k.Name == "facility" {
			return k.Enum
		}
	}
	return nil
}
