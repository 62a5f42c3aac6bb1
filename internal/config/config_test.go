package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goaoe/aoe"
)

// parse parses text that must be accepted without an error.
func parse(t *testing.T, text string) *Config {
	t.Helper()
	cfg, ps := Parse("t.toml", []byte(text), Options{Sysroot: t.TempDir()})
	if ps.Err() != nil {
		t.Fatal(ps.Err())
	}
	return cfg
}

func TestSmallestFile(t *testing.T) {
	data, err := os.ReadFile("testdata/good/smallest.toml")
	if err != nil {
		t.Fatal(err)
	}
	cfg := parse(t, string(data))
	e := cfg.Exports[0]
	if e.Addr != (aoe.Addr{Major: 0, Minor: 1}) || e.Source != "/dev/sda5" || !e.Direct || e.WriteCache || e.ReadOnly || e.AutoSlot ||
		e.QueueLength != 64 || e.BufferCount != 64 || e.IOEngine != EngineAuto || e.Access != nil {
		t.Errorf("unexpected: %+v", e)
	}
	if !e.Wants("eth1") || !e.Wants("vlan7") || e.Wants("eth2") || e.Wants("eth10") {
		t.Errorf("interfaces %q match wrongly", e.Interfaces)
	}
	if e.At("queue-length").Line != 3 || e.At("source").Line != 7 || e.At("serial") != e.Pos || e.Pos.Line != 5 {
		t.Errorf("positions: %v %v %v", e.At("queue-length"), e.At("source"), e.Pos)
	}
	g := cfg.Global
	if g.RequestAgeLimit != 2*time.Second || g.BusyPoll != 0 || g.Lanes != 1 || !g.DuplicateCheck || g.StateDirectory != "/var/lib/goaoe" {
		t.Errorf("global: %+v", g)
	}
}

// TestWriteNowValues: all ways to write write-now, and when it is said to have no effect.
func TestWriteNowValues(t *testing.T) {
	for _, tc := range []struct {
		text, more string
		want       WriteNow
		problem    string
	}{
		{"", "write-cache = true", WriteNowAuto, ""},
		{"", "", WriteNowAuto, ""},
		{`"auto"`, "", WriteNowAuto, ""},
		{"true", "write-cache = true", WriteNowOn, ""},
		{"false", "", WriteNowOff, ""},
		{`"on"`, "write-cache = true", WriteNowOn, ""},
		{`"off"`, "", WriteNowOff, ""},
		{`"true"`, "write-cache = true", WriteNowOn, ""}, // by goaoe set of an earlier version
		{`"false"`, "", WriteNowOff, ""},
		{`"on"`, "", WriteNowOn, "has no effect"},
		{"true", "write-cache = true\ndirect-io = true", WriteNowOn, "has no effect"},
		{"1", "", "", "an integer where a string is expected"},
		{`"yes"`, "", "", "one of auto, on, off"},
		{`"Auto"`, "", "", `did you mean "auto"?`},
	} {
		line := ""
		if tc.text != "" {
			line = "write-now = " + tc.text
		}
		cfg, ps := Parse("t.toml", []byte("[[export]]\nsource = \"/x\"\ninterfaces = [\"eth1\"]\n"+tc.more+"\n"+line+"\n"), Options{Sysroot: t.TempDir()})
		if got := cfg.Exports[0].WriteNow; tc.want != "" && got != tc.want {
			t.Errorf("%s, %q: %q, want %q", tc.text, tc.more, got, tc.want)
		}
		said := ""
		for _, p := range ps {
			said += p.String()
		}
		if (tc.problem == "") != (said == "") || !strings.Contains(said, tc.problem) || (tc.want == "") != (ps.Err() != nil) {
			t.Errorf("%s, %q: problems %q, want %q", tc.text, tc.more, said, tc.problem)
		}
	}
	// As the command line writes it.
	for value, want := range map[string]WriteNow{"true": WriteNowOn, "off": WriteNowOff, "auto": WriteNowAuto} {
		cfg, ps := Parse("", nil, Options{Args: Args{Interfaces: []string{"eth1"}, Exports: []string{"e0.1=/x"}, Settings: []string{"write-cache=true", "write-now=" + value}}})
		if ps.Err() != nil || cfg.Exports[0].WriteNow != want {
			t.Errorf("%s: %q, %v", value, cfg.Exports[0].WriteNow, ps)
		}
	}
}

func TestNumbering(t *testing.T) {
	cfg := parse(t, `
[defaults]
interfaces = "eth0"
shelf = 2
slot = 1
[[export]]
source = "/a"
[[export]]
address = "2.2"
source = "/b"
[[export]]
source = "/c"
[[export]]
shelf = 5
source = "/d"
[[export]]
slot = 9
source = "/e"
`)
	got := map[string]string{}
	for _, e := range cfg.Exports {
		got[e.Source] = e.Addr.String()
	}
	want := map[string]string{"/a": "e2.1", "/b": "e2.2", "/c": "e2.3", "/d": "e5.1", "/e": "e2.9"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMatchInterface(t *testing.T) {
	cfg := parse(t, `
[defaults]
interfaces = ["eth*"]
[[interface]]
name = "eth1"
mtu = 1500
[[interface]]
name = "eth*"
ring-frames = 64
`)
	if i := cfg.MatchInterface("eth1"); i.MTU != 1500 || i.RingFrames != 0 {
		t.Errorf("eth1: %+v", i)
	}
	if i := cfg.MatchInterface("eth2"); i.MTU != 0 || i.RingFrames != 64 {
		t.Errorf("eth2: %+v", i)
	}
	if i := cfg.MatchInterface("wlan0"); i.RingFrames != 0 || i.Pattern != "wlan0" {
		t.Errorf("wlan0: %+v", i)
	}
}

func TestArgs(t *testing.T) {
	file := "[defaults]\ninterfaces = [\"eth1\"]\nread-only = true\n[[export]]\naddress = \"0.1\"\nsource = \"/a\"\n[[export]]\naddress = \"0.2\"\ninterfaces=[\"eth5\"]\nsource = \"/b\"\n"
	cfg, ps := Parse("f.toml", []byte(file), Options{Args: Args{
		Interfaces: []string{"eth8", "vl*"},
		Exports:    []string{"e0.3=disk.img", "UUID=12-34", "3.4=LABEL=x=y", "/srv/odd=name"},
		Settings:   []string{"read-only=false", "buffer-count=32", "accept=02:00:00:00:00:01,020000000002", "model=my disk", "length=1M"},
	}})
	if ps.Err() != nil {
		t.Fatal(ps.Err())
	}
	wd, _ := os.Getwd()
	type row struct {
		Addr, Source, Interfaces string
		ReadOnly                 bool
		BufferCount              int
	}
	var got []row
	for _, e := range cfg.Exports {
		got = append(got, row{e.Addr.String(), e.Source, strings.Join(e.Interfaces, ","), e.ReadOnly, e.BufferCount})
	}
	want := []row{
		{"e0.0", "UUID=12-34", "eth8,vl*", false, 32},
		{"e0.1", "/a", "eth8,vl*", true, 64},
		{"e0.2", "/b", "eth5", true, 64},
		{"e0.3", filepath.Join(wd, "disk.img"), "eth8,vl*", false, 32},
		{"e0.4", "/srv/odd=name", "eth8,vl*", false, 32},
		{"e3.4", "LABEL=x=y", "eth8,vl*", false, 32},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	e := cfg.Exports[3]
	if e.Model != "my disk" || e.Length != 1<<20 || e.Pos.File != CommandLine || len(e.Access.Rows) != 2 || e.Access.Policy {
		t.Errorf("settings: %+v %+v", e, e.Access)
	}
}

func TestArgsWrong(t *testing.T) {
	for _, tt := range []struct {
		args Args
		want string // part of the error
	}{
		{Args{Exports: []string{"e0.1=/a"}}, "no interface to serve on"},
		{Args{Interfaces: []string{"eth0"}, Exports: []string{"e0=/a"}}, "SHELF.SLOT"},
		{Args{Interfaces: []string{"eth0"}, Exports: []string{"0,1=/a"}}, "SHELF.SLOT"},
		{Args{Interfaces: []string{"eth0"}, Exports: []string{"e0.255=/a"}}, "from 0 to 254"},
		{Args{Interfaces: []string{"eth0"}, Exports: []string{"e0.1="}}, "not an absolute path"},
		{Args{Interfaces: []string{"eth0"}, Exports: []string{"e0.1=/a", "0.1=/b"}}, "another export already"},
		{Args{Interfaces: []string{"eth0"}, Exports: []string{"0.1"}}, "no storage is named with it; e0.1=SOURCE serves"},
		{Args{Interfaces: []string{"eth[0"}, Exports: []string{"e0.1=/a"}}, "not a valid pattern"},
		{Args{Interfaces: []string{"eth0"}, Exports: []string{"e0.1=/a"}, Settings: []string{"read-only"}}, "KEY=VALUE"},
		{Args{Interfaces: []string{"eth0"}, Exports: []string{"e0.1=/a"}, Settings: []string{"read-only=1"}}, "true or false"},
		{Args{Interfaces: []string{"eth0"}, Exports: []string{"e0.1=/a"}, Settings: []string{"queue-length=many"}}, "an integer is expected"},
		{Args{Interfaces: []string{"eth0"}, Exports: []string{"e0.1=/a"}, Settings: []string{"reed-only=true"}}, "did you mean read-only?"},
	} {
		_, ps := FromArgs(tt.args)
		err := ps.Err()
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), CommandLine+": error: ") {
			t.Errorf("%+v: got %v, want ...%s...", tt.args, err, tt.want)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	huge := filepath.Join(dir, "huge")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, maxFileBytes+1); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ file, want string }{
		{filepath.Join(dir, "none"), "goaoe init"}, {dir, "directory"}, {huge, "more than 16M"},
	} {
		cfg, ps := Load(tt.file, Options{})
		if cfg == nil || ps.Err() == nil || !strings.Contains(ps.Err().Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.file, ps.Err(), tt.want)
		}
	}
	if FilePath(dir) != "" {
		t.Error("a default file where there is none")
	}
}

func TestDiff(t *testing.T) {
	base := "[defaults]\ninterfaces=[\"eth0\"]\n[[interface]]\nname=\"eth0\"\n[[export]]\naddress=\"0.1\"\nsource=\"/a\"\naccept=[\"020000000001\"]\n[[export]]\naddress=\"0.2\"\nsource=\"/b\"\n[[export]]\naddress=\"0.3\"\nsource=\"/c\"\n"
	old := parse(t, base)
	if p := Diff(old, parse(t, "\n\n# moved\n"+base)); !p.Empty() || len(p.Kept) != 3 {
		t.Errorf("the same file, moved: %+v", p)
	}
	if p := Diff(old, parse(t, strings.Replace(base, "020000000001", "02:00:00:00:00:01", 1))); !p.Empty() {
		t.Errorf("the same address in another spelling: %+v", p)
	}
	text := strings.Replace(base, "020000000001", "020000000002", 1)
	text = strings.Replace(text, "address=\"0.2\"", "address=\"0.4\"", 1)
	text = strings.Replace(text, "source=\"/c\"", "source=\"/c\"\nread-only=true\nqueue-length=8", 1)
	text = strings.Replace(text, "name=\"eth0\"", "name=\"eth0\"\nmtu=1500", 1)
	text = "[global]\nlanes=2\n[log]\nlevel=\"debug\"\n" + text
	p := Diff(old, parse(t, text))
	type plan struct{ Added, Removed, Changed, Kept, Global, Log, Interfaces string }
	addrs := func(es []Export) (s string) {
		for _, e := range es {
			s += e.Addr.String() + " "
		}
		return s
	}
	got := plan{Added: addrs(p.Added), Removed: addrs(p.Removed), Kept: addrs(p.Kept), Global: strings.Join(p.Global, " "), Log: strings.Join(p.Log, " "), Interfaces: strings.Join(p.Interfaces, " ")}
	for _, c := range p.Changed {
		got.Changed += c.New.Addr.String() + ":" + strings.Join(c.Keys, ",") + " "
	}
	want := plan{Added: "e0.4 ", Removed: "e0.2 ", Changed: "e0.1:accept e0.3:queue-length,buffer-count,read-only ", Global: "lanes", Log: "level", Interfaces: "eth0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !p.Changed[1].Touches("serial", "read-only") || p.Changed[1].Touches("source") {
		t.Error("Touches is wrong")
	}
}

func TestOverlaps(t *testing.T) {
	w := func(minor uint8, id string, start, end int64, ro bool) Window {
		return Window{Addr: aoe.Addr{Minor: minor}, ID: id, Start: start, End: end, ReadOnly: ro, Pos: Position{File: "f", Line: int(minor)}}
	}
	for _, tt := range []struct {
		name string
		in   []Window
		want string
	}{
		{"apart", []Window{w(1, "a", 0, 10, false), w(2, "a", 10, 20, false), w(3, "b", 0, 20, false)}, ""},
		{"same", []Window{w(1, "a", 0, 10, false), w(2, "a", 0, 10, false)}, "2error "},
		{"by a byte", []Window{w(2, "a", 9, 20, false), w(1, "a", 0, 10, false)}, "2error "},
		{"one reads", []Window{w(1, "a", 0, 10, true), w(2, "a", 5, 10, false)}, "2warning "},
		{"both read", []Window{w(1, "a", 0, 10, true), w(2, "a", 5, 10, true)}, ""},
		{"inside, third one", []Window{w(1, "a", 0, 100, false), w(2, "a", 10, 20, false), w(3, "a", 90, 95, false)}, "2error 3error "},
		{"empty", []Window{w(1, "a", 5, 5, false), w(2, "a", 0, 10, false)}, ""},
	} {
		got := ""
		for _, p := range CheckOverlaps(tt.in) {
			got += string(rune('0'+p.Line)) + string(p.Severity) + " "
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestResolveSource(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"by-uuid", "by-label", "by-partuuid"} {
		if err := os.MkdirAll(filepath.Join(root, "dev/disk", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	disk := filepath.Join(root, "dev/sdx1")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, l := range []string{"by-uuid/abcd-12", `by-label/my\x20disk`, "by-partuuid/00-01"} {
		if err := os.Symlink("../../sdx1", filepath.Join(root, "dev/disk", l)); err != nil {
			t.Fatal(err)
		}
	}
	for _, spec := range []string{"/dev/sdx1", "UUID=abcd-12", "UUID=ABCD-12", `UUID="abcd-12"`, "LABEL=my disk", "PARTUUID=00-01"} {
		if got, err := ResolveSource(spec, root); err != nil || got != disk {
			t.Errorf("%s: %q, %v", spec, got, err)
		}
	}
	for _, spec := range []string{"/dev/sdx2", "UUID=none", "PARTLABEL=x"} {
		_, err := ResolveSource(spec, root)
		var nf *NotFoundError
		if !errors.As(err, &nf) || !errors.Is(err, fs.ErrNotExist) || nf.Source != spec || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("%s: %v", spec, err)
		}
	}
	for _, spec := range []string{"", "x", "UUID=", "mem:1M", "/dev/sdx1/y"} {
		_, err := ResolveSource(spec, root)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v, want an error that is not about waiting", spec, err)
		}
	}
}

// TestBlkid: what the links below /dev/disk do not know is asked of the program blkid.
func TestBlkid(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\n[ \"$*\" = \"-l -o device -t LABEL=goaoe test\" ] && echo /dev/found || exit 2\n"
	if err := os.WriteFile(filepath.Join(dir, "blkid"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	if got, err := ResolveSource("LABEL=goaoe test", ""); err != nil || got != "/dev/found" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := ResolveSource("LABEL=goaoe other", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a label that nobody knows: %v", err)
	}
	t.Setenv("PATH", "/nonexistent")
	if _, err := ResolveSource("LABEL=goaoe test", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without blkid: %v", err)
	}
}
