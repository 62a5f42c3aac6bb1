package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goaoe/aoe"
)

// TestLayer: what a layer writes is read back as it was, by the parser of layers and by that of configurations.
func TestLayer(t *testing.T) {
	l := Layer{Addr: aoe.Addr{Major: 7, Minor: 3}, New: true, Settings: map[string]string{
		"source": `/dev/"odd\name`, "read-only": "true", "queue-length": "8", "offset": "2048s", "interfaces": "eth1,vlan*",
		"accept": "02:00:00:00:00:01,02:00:00:00:00:02", "io-engine": "threads", "model": "disk"}}
	f := File{"e7.3.toml", []byte(l.File())}
	got, err := ParseLayer(f)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(l, got); d != "" {
		t.Error(d)
	}
	l.Settings["source"] = "/dev/x"
	cfg, ps := Parse("", nil, Options{Sysroot: t.TempDir(), DropIns: []File{{"e7.3.toml", []byte(l.File())}}})
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	e := cfg.Exports[0]
	if e.Addr != l.Addr || !e.ReadOnly || e.QueueLength != 8 || e.Offset != 1<<20 || len(e.Interfaces) != 2 || len(e.Access.Rows) != 2 || e.IOEngine != EngineThreads {
		t.Errorf("%+v", e)
	}
	text := SettingsText(&e)
	for key, want := range map[string]string{"source": "/dev/x", "read-only": "true", "queue-length": "8", "offset": "1048576", "interfaces": "eth1,vlan*",
		"accept": "02:00:00:00:00:01,02:00:00:00:00:02", "disabled": "false"} {
		if text[key] != want {
			t.Errorf("%s is %q, want %q", key, text[key], want)
		}
	}
	if _, ok := text["deny"]; ok {
		t.Error("deny is part of accept")
	}
}

// TestLayerMistakes: values that do not fit are found by the decoder, in its words; files of somebody else are left alone.
func TestLayerMistakes(t *testing.T) {
	for key, want := range map[string]string{"read-only": "true or false", "queue-length": "integer", "qeue-length": "did you mean queue-length", "a b\n": "no such key"} {
		l := Layer{New: true, Settings: map[string]string{"source": "/x", "interfaces": "eth1", key: "maybe"}}
		_, ps := Parse("", nil, Options{DropIns: []File{{RunTime, []byte(l.TOML())}}})
		if ps.Errors() != 1 || !strings.Contains(ps.Err().Error(), want) {
			t.Errorf("%q: %v", key, ps)
		}
	}
	for _, text := range []string{"", "[[export]]\nsource = \"/x\"\n", "[hosts]\n", "[[export]]\naddress = \"0.1\"\n[[export]]\naddress = \"0.2\"\n", "[[export]\n"} {
		if _, err := ParseLayer(File{"x.toml", []byte(text)}); err == nil {
			t.Errorf("%q was taken for a layer", text)
		}
	}
}
