package all

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, 4096+100), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		source string
		o      Options
		kind   string
		size   int64
		err    string
	}{
		{source: path, kind: "file", size: 4096},
		{source: path, o: Options{Offset: 512, Length: 1024, ReadOnly: true, Engine: "threads", IOThreads: 2}, kind: "file", size: 1024},
		{source: path + ".missing", kind: "file", err: "no such file"},
		{source: "mem:1M", kind: "mem", size: 1 << 20},
		{source: "mem:x", kind: "mem", err: "mem:512M"},
		{source: "mem:1M", o: Options{Offset: 512}, kind: "mem", err: "offset"},
	} {
		if k := KindOf(tc.source); k.Name != tc.kind {
			t.Errorf("%s is taken for kind %s, want %s", tc.source, k.Name, tc.kind)
		}
		s, err := Open(tc.source, tc.o)
		if tc.err != "" {
			if s != nil {
				t.Errorf("%s: a store came with the error", tc.source)
			}
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s %+v: error %v, want one with %q", tc.source, tc.o, err, tc.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s %+v: %v", tc.source, tc.o, err)
			continue
		}
		if i := s.Info(); i.Size != tc.size || i.ReadOnly != tc.o.ReadOnly {
			t.Errorf("%s %+v: %+v", tc.source, tc.o, i)
		}
		if tc.size == 4096 && len(Notes(s)) == 0 {
			t.Error("a file with an odd tail has no note about it")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
