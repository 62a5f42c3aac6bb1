package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"goaoe/aoe"
)

const accessFile = `
[hosts]
h1 = "02:00:00:00:00:01"
h2 = "02:00:00:00:00:02"

[access-list.ones]
members = ["h1", "e3"]

[access-list.not-two]
rules = ["reject h2"]
policy = "accept"

[access-list.order]
rules = ["accept h1", "reject ones", "accept 02:00:00:00:00:04"]

[access-list.nested]
members = ["ones", "order"]
log = true

[access-list.inverted]
rules = ["reject not-two"]
policy = "accept"

[defaults]
interfaces = ["eth0"]
`

// TestAccess asks lists about hosts 1 to 5 (1, 2 in [hosts], 3 in ethers, 4 and 5 by number).
func TestAccess(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/ethers"), []byte("# names\n2:0:0:0:0:3 e3 alias # c\nbroken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		keys string
		want string // hosts that may
	}{
		{``, "12345"},
		{`accept = ["h1", "alias"]`, "13"},
		{`accept = "ones"`, "13"},
		{`deny = ["h2"]`, "1345"},
		{`deny = []`, "12345"},
		{`accept = ["not-two"]`, "1345"},
		{`accept = ["not-two", "h2"]`, "12345"},
		{`accept = ["order"]`, "14"},
		{`accept = ["nested"]`, "134"},
		{`accept = ["inverted"]`, "2"},
		{`deny = ["inverted"]`, "1345"},
		{`accept = ["ones"]` + "\n" + `deny = ["h1"]`, "3"},
		{`accept = ["not-two"]` + "\n" + `deny = ["ones"]`, "45"},
		{`deny = ["not-two"]`, "2"},
	} {
		text := accessFile + "[[export]]\nsource = \"/a\"\n" + tt.keys + "\n"
		cfg, ps := Parse("a.toml", []byte(text), Options{Sysroot: root})
		if ps.Err() != nil {
			t.Fatalf("%s: %v", tt.keys, ps.Err())
		}
		got := ""
		acl := cfg.Exports[0].Access
		for i := byte(1); i <= 5; i++ {
			if acl.Allows(aoe.MAC{2, 0, 0, 0, 0, i}) {
				got += fmt.Sprint(i)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %s may, want %s (%+v)", tt.keys, got, tt.want, acl)
		}
		if acl != nil && acl.Log != strings.Contains(tt.keys, "nested") {
			t.Errorf("%s: log is %v", tt.keys, acl.Log)
		}
		if acl != nil {
			for i, r := range acl.Rows {
				if r.Accept == acl.Policy || i > 0 && acl.Rows[i-1].MAC.Key() >= r.MAC.Key() {
					t.Errorf("%s: rows not sorted, or superfluous: %+v", tt.keys, acl.Rows)
				}
			}
		}
	}
}

// TestAccessDeep: lists that include one another many times over must not take exponential time.
func TestAccessDeep(t *testing.T) {
	var b strings.Builder
	b.WriteString("[access-list.l0]\nmembers = [\"020000000001\"]\n")
	for i := 1; i < 200; i++ {
		fmt.Fprintf(&b, "[access-list.l%d]\nrules = [\"accept l%d\", \"reject l%d\"]\nmembers = [\"l%d\"]\n", i, i-1, i-1, i-1)
	}
	b.WriteString("[[export]]\nsource=\"/a\"\ninterfaces=\"eth0\"\naccept=\"l199\"\n")
	cfg := parse(t, b.String())
	if a := cfg.Exports[0].Access; len(a.Members()) != 1 || a.Policy {
		t.Errorf("%+v", a)
	}
}

func TestParseEthers(t *testing.T) {
	names, ps := ParseEthers("/etc/ethers", []byte("08:00:20:00:61:CA  pal\n8:0:20:0:61:cb q r\n\n# x\nnonsense here\nlonely\n08-00-20-00-61-cc pal\n"))
	want := Ethers{"pal": {8, 0, 0x20, 0, 0x61, 0xca}, "q": {8, 0, 0x20, 0, 0x61, 0xcb}, "r": {8, 0, 0x20, 0, 0x61, 0xcb}}
	if fmt.Sprint(names) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", names, want)
	}
	if len(ps) != 2 || ps[0].Line != 5 || ps[1].Line != 6 || ps.Err() != nil {
		t.Errorf("problems: %v", ps)
	}
}
