package netns

import "testing"

// settings are lines that every configuration gets.
var settings struct{ global, defaults string }

// TestOtherPaths: what a target does is the same by whatever path through the program a request takes: with each fast path that has a setting switched off, and
// with those switched on that are off by default. docs/tune.md lists them.
func TestOtherPaths(t *testing.T) {
	for _, p := range []struct{ name, global, defaults string }{
		{"threads", "", "io-engine = \"threads\"\n"},
		{"direct", "", "direct-io = true\n"},
		{"direct, threads", "", "direct-io = true\nio-engine = \"threads\"\n"},
		{"several lanes, busy polling", "lanes = 3\nbusy-poll = \"50us\"\n", ""},
		{"short ways off", "disk-poll = false\nlinear-frames = false\nxdp-send = \"off\"\nregistered-files = false\nread-now = false\nmerge-requests = false\n", ""},
		{"short ways off, direct", "disk-poll = false\nlinear-frames = false\nxdp-send = \"off\"\nregistered-files = false\nread-now = false\nmerge-requests = false\n", "direct-io = true\n"},
		{"writes by the ring", "", "write-now = \"off\"\n"},
		{"no sandbox", "sandbox-capabilities = false\nsandbox-landlock = false\nsandbox-seccomp = false\n", ""},
	} {
		t.Run(p.name, func(t *testing.T) {
			settings.global, settings.defaults = p.global, p.defaults
			defer func() { settings.global, settings.defaults = "", "" }()
			t.Run("ReadWrite", TestReadWrite)
			t.Run("Jumbo", TestJumbo)
			t.Run("WriteCache", TestWriteCache)
		})
	}
}
