package state

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"goaoe/aoe"
)

var addr = aoe.Addr{Major: 258, Minor: 3}

func open(t *testing.T) *Dir {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "a", "state"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func acquire(t *testing.T, d *Dir) (*Entry, State) {
	t.Helper()
	e, s, err := d.Acquire(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e, s
}

func sample() State {
	return State{Config: []byte("hello"), Mask: []aoe.MAC{{2, 0, 0, 0, 0, 1}}, Reserve: []aoe.MAC{{2, 0, 0, 0, 0, 2}, {2, 0, 0, 0, 0, 3}}}
}

func equal(t *testing.T, got, want State) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("state (-want +got):\n%s", d)
	}
}

func TestSaveAndReadAgain(t *testing.T) {
	d := open(t)
	e, s := acquire(t, d)
	equal(t, s, State{})
	if err := e.Save(sample()); err != nil {
		t.Fatal(err)
	}
	e.Close()
	if err := e.Save(State{}); err == nil {
		t.Error("a closed entry could still be saved")
	}
	_, s = acquire(t, d)
	equal(t, s, sample())
	text, err := os.ReadFile(filepath.Join(d.Path(), "e258.3.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"config-string": "hello"`, `"02:00:00:00:00:03"`, `"version": 1`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the file does not have %s:\n%s", want, text)
		}
	}
}

func TestAnyStateSurvives(t *testing.T) {
	mac := rapid.Custom(func(t *rapid.T) aoe.MAC { return aoe.MAC(rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "mac")) })
	rapid.Check(t, func(t *rapid.T) {
		s := State{
			Config:  rapid.SliceOfN(rapid.Byte(), 0, maxConfig).Draw(t, "config"),
			Mask:    rapid.SliceOfN(mac, 0, maxMACs).Draw(t, "mask"),
			Reserve: rapid.SliceOfN(mac, 0, maxMACs).Draw(t, "reserve"),
		}
		b, err := encode(addr, s)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > maxFile {
			t.Fatalf("a state of %d bytes is longer than what is read", len(b))
		}
		got, err := decode(addr, b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(s, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
	})
}

// TestEveryTruncationIsNoticed cuts a file at each length, and turns each of its bits: the state must be the old one or an error.
func TestEveryTruncationIsNoticed(t *testing.T) {
	whole, err := encode(addr, sample())
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(whole)-1; n++ { // without the last newline the file is whole
		if s, err := decode(addr, whole[:n]); err == nil {
			t.Errorf("cut to %d of %d bytes it was read as %+v", n, len(whole), s)
		}
	}
	for i := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[i/8] ^= 1 << (i % 8)
		if s, err := decode(addr, b); err == nil && !cmp.Equal(s, sample()) {
			t.Errorf("with bit %d turned it was read as %+v:\n%s", i, s, b)
		}
	}
}

func TestDamagedFileIsNotServed(t *testing.T) {
	good, err := encode(addr, sample())
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, new string) string {
		lines := strings.Split(strings.Replace(string(good), old, new, 1), "\n")
		var kept []string
		for _, l := range lines {
			if !strings.Contains(l, "checksum") {
				kept = append(kept, l)
			}
		}
		s := strings.Join(kept, "\n")
		return strings.Replace(s, "],\n}", "]\n}", 1)
	}
	for name, tc := range map[string]struct{ content, want string }{
		"empty":            {"", "the file is empty"},
		"cut":              {string(good[:len(good)/2]), "ends too early"},
		"not JSON":         {"hello", "invalid character"},
		"other version":    {edit(`"version": 1`, `"version": 2`), "version is 2; this goaoe knows version 1"},
		"other format":     {edit("goaoe-state", "goaoe-statistics"), `format is "goaoe-statistics"`},
		"unknown field":    {edit(`"mask"`, `"masks": [], "mask"`), `unknown field "masks"`},
		"mask lost":        {edit(`"mask"`, `"reserve"`), "mask or reserve is missing"},
		"other address":    {edit("258.3", "258.4"), "it is the state of e258.4"},
		"bad MAC":          {edit("02:00:00:00:00:01", "02:00:00:00:00"), "is not an Ethernet address"},
		"bad base64":       {edit(`"config-string": "hello"`, `"config-string-base64": "!"`), "config-string-base64"},
		"two strings":      {edit(`"config-string"`, `"config-string-base64": "", "config-string"`), "both there"},
		"no string":        {edit(`  "config-string": "hello",`, ""), "config-string is missing"},
		"long string":      {edit("hello", strings.Repeat("x", 1025)), "1025 bytes"},
		"something behind": {string(good) + "{}", "behind the end"},
		"changed":          {strings.Replace(string(good), "hello", "hullo", 1), "remove the checksum line"},
		"endless":          {strings.Repeat(" ", maxFile+1), "more than 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			path := filepath.Join(d.Path(), "e258.3.json")
			if err := os.WriteFile(path, []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, _, err := d.Acquire(addr)
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("error %v, want one of a damaged file", err)
			}
			for _, want := range []string{tc.want, path, "e258.3", "not served"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			// The lock must be free again, and the file untouched.
			if b, _ := os.ReadFile(path); string(b) != tc.content {
				t.Error("the damaged file was changed")
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			acquire(t, d)
		})
	}
	if _, err := decode(addr, []byte(edit("hello", "edited"))); err != nil {
		t.Errorf("a file edited by hand was refused: %v", err)
	}
}

func TestUnreadableFileIsNotServed(t *testing.T) {
	d := open(t)
	if err := os.Mkdir(filepath.Join(d.Path(), "e258.3.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Acquire(addr); err == nil {
		t.Error("a state that cannot be read was taken for an empty one")
	}
}

func TestFailureKeepsTheOldState(t *testing.T) {
	for _, first := range []bool{true, false} {
		for _, step := range []string{"create", "write", "sync", "rename", "syncdir"} {
			d := open(t)
			e, _ := acquire(t, d)
			var want State
			if !first {
				want = sample()
				if err := e.Save(want); err != nil {
					t.Fatal(err)
				}
			}
			broken := errors.New("injected")
			failed := false
			d.fault = func(s string) error {
				if s == step && !failed { // once, so that putting the old file back can work
					failed = true
					return broken
				}
				return nil
			}
			if err := e.Save(State{Config: []byte("new")}); !errors.Is(err, broken) {
				t.Errorf("%s: error %v", step, err)
			}
			e.Close()
			e, got := acquire(t, d)
			equal(t, got, want)
			if names, _ := filepath.Glob(filepath.Join(d.Path(), ".*")); len(names) > 0 {
				t.Errorf("%s: left behind: %v", step, names)
			}
			if err := e.Save(State{Config: []byte("later")}); err != nil {
				t.Errorf("%s: a later save failed: %v", step, err)
			}
			e.Close()
		}
	}
}

// TestCrashAtEveryStep stops a save before each step, as kill -9 would, and starts anew from what is in the directory.
func TestCrashAtEveryStep(t *testing.T) {
	type crash struct{}
	for step, want := range map[string]string{"create": "old", "write": "old", "sync": "old", "rename": "old", "syncdir": "new"} {
		d := open(t)
		e, _ := acquire(t, d)
		if err := e.Save(State{Config: []byte("old")}); err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if r := recover(); r != (crash{}) {
					t.Errorf("%s: no crash: %v", step, r)
				}
			}()
			d.fault = func(s string) error {
				if s == step {
					// Nothing of the process may clean up: hide the file from the deferred removal.
					tmp := e.temp()
					_ = os.Rename(tmp, tmp+".kept")
					panic(crash{})
				}
				return nil
			}
			_ = e.Save(State{Config: []byte("new")})
		}()
		_ = os.Rename(e.temp()+".kept", e.temp())
		e.lock.Close()
		d.fault = nil
		next, got, err := d.Acquire(addr)
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		if string(got.Config) != want {
			t.Errorf("crash before %s: found %q, want %q", step, got.Config, want)
		}
		if _, err := os.Stat(next.temp()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("crash before %s: the unfinished file is still there", step)
		}
		next.Close()
	}
}

func TestTwoProcessesDoNotShareAnExport(t *testing.T) {
	d := open(t)
	e, _ := acquire(t, d)
	_, _, err := d.Acquire(addr)
	if !errors.Is(err, ErrInUse) {
		t.Fatalf("error %v, want one that says in use", err)
	}
	if !strings.Contains(err.Error(), "process ") || !strings.Contains(err.Error(), "e258.3") {
		t.Errorf("%q does not say who", err)
	}
	other, _, err := d.Acquire(aoe.Addr{Major: 258, Minor: 4})
	if err != nil {
		t.Fatalf("another export: %v", err)
	}
	other.Close()
	e.Close()
	acquire(t, d)
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below"), "/proc/goaoe"} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "state directory") {
			t.Errorf("Open(%s): %v", path, err)
		}
	}
}

func TestTooLong(t *testing.T) {
	e, _ := acquire(t, open(t))
	for _, s := range []State{{Config: make([]byte, 1025)}, {Mask: make([]aoe.MAC, 256)}, {Reserve: make([]aoe.MAC, 256)}} {
		if e.Save(s) == nil || Volatile().Save(s) == nil {
			t.Errorf("a state beyond the limits was saved: %d %d %d", len(s.Config), len(s.Mask), len(s.Reserve))
		}
	}
	if err := Volatile().Save(sample()); err != nil {
		t.Error(err)
	}
}

// TestFullDisk saves on a file system without room, mounted where only one thread sees it: the mount ends with the thread.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		defer close(done)
		if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
			done <- err
			return
		}
		if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("tmpfs", dir, "tmpfs", 0, "size=32k")); err != nil {
			done <- err
			return
		}
		d, err := Open(dir)
		if err != nil {
			t.Error(err)
			return
		}
		e, _, err := d.Acquire(addr)
		if err != nil {
			t.Error(err)
			return
		}
		defer e.Close()
		if err := e.Save(sample()); err != nil {
			t.Error(err)
			return
		}
		fill, err := os.Create(filepath.Join(dir, "fill"))
		if err != nil {
			t.Error(err)
			return
		}
		defer fill.Close()
		for err == nil {
			_, err = fill.Write(make([]byte, 4096))
		}
		if err := e.Save(State{}); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("on a full disk: %v", err)
		}
		if s, err := e.load(); err != nil || !cmp.Equal(s, sample()) {
			t.Errorf("on a full disk the old state is %+v, %v", s, err)
		}
		e.Close()
		fill.Close()
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Errorf("remounting read-only: %v", err)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("a read-only state directory: %v", err)
		}
	}()
	if err := <-done; err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("needs a mount namespace: %v", err)
		}
		t.Skipf("needs a mount namespace: %v", err)
	}
}

// FuzzDecode: whatever stands in a file, reading it ends with an error or with a state that can be saved and is the same again.
func FuzzDecode(f *testing.F) {
	good, err := encode(addr, sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"format":"goaoe-state","version":1,"address":"258.3","config-string-base64":"AP8=","mask":[],"reserve":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decode(addr, data)
		if err != nil {
			return
		}
		b, err := encode(addr, s)
		if err != nil {
			t.Fatalf("%+v was read and cannot be saved: %v", s, err)
		}
		if got, err := decode(addr, b); err != nil || !cmp.Equal(s, got, cmpopts.EquateEmpty()) {
			t.Fatalf("%+v became %+v, %v", s, got, err)
		}
	})
}
