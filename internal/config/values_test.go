package config

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "512": 512, "10G": 10 << 30, "10g": 10 << 30, "1KiB": 1024, "2048s": 1 << 20, "8P": 8 << 50, "3 M": 3 << 20, "7b": 7,
	} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "G", "-1", "1.5G", "10GB", "8192P", "99999999999999999999", "0x10", "1 0"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("%q was accepted as %d", in, got)
		}
	}
}

func TestFormats(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Min(0).Draw(t, "size")
		if got, err := ParseSize(FormatSize(n)); err != nil || got != n {
			t.Fatalf("size %d is written %s and read %d, %v", n, FormatSize(n), got, err)
		}
		d := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "duration"))
		if got, err := parseDuration(formatDuration(d)); err != nil || got != d {
			t.Fatalf("duration %d is written %s and read %d, %v", d, formatDuration(d), got, err)
		}
	})
	if s := formatDuration(time.Minute); s != "1m" {
		t.Errorf("a minute is %s", s)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"queue-length", "read", "read-only", "write", "write-cache", "io_uring", "warn", "mtu"}
	for in, want := range map[string]string{
		"queue_length": "queue-length", "QueueLenght": "queue-length", "readonly": "read-only", "wriet": "write", "uring": "io_uring",
		"warning": "warn", "mut": "mtu", "zzzz": "", "": "",
	} {
		if got := nearest(in, names); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestCheckPattern(t *testing.T) {
	for _, good := range []string{"eth0", "vlan*", "eth[0-9]", "enp0s31f6", "eth0.5", "*", "a-very-long-pattern-with*"} {
		if err := checkPattern(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "a b", "a/b", ".", "..", "eth[", "x*\\", "sixteen-letters-"} {
		if checkPattern(bad) == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
