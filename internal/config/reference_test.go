package config

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

const referenceFile = "../../examples/goaoe.toml"

// TestReferenceFile holds the reference file against the table, and the table against the program: the file documents
// every key, parses, and the defaults it shows are those that count.
func TestReferenceFile(t *testing.T) {
	golden(t, referenceFile, Reference())
	data, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	cfg, ps := Parse(referenceFile, data, Options{Sysroot: t.TempDir()})
	if len(ps) > 0 {
		t.Fatalf("the reference file has problems: %v", ps)
	}

	// With every default (not the examples) switched on, nothing may change.
	line := regexp.MustCompile(`(?m)^#([a-z-]+ = .*)$`)
	on := line.ReplaceAllStringFunc(string(data), func(s string) string {
		if strings.Contains(s, "# an example") {
			return s
		}
		return s[1:]
	})
	on = regexp.MustCompile(`(?m)^(shelf|slot) = 0$`).ReplaceAllString(on, "") // address says them
	on = strings.ReplaceAll(on, "#[access-list.admins]", "[access-list.admins]")
	on = strings.Replace(on, "#[log-target.disks]", "[log-target.disks]\ntype = \"stderr\"", 1)
	on = strings.Replace(on, "#[[interface]]", "[[interface]]\nname = \"eth1\"", 1)
	on = strings.Replace(on, "facility = \"daemon\"\n", "", 1) // warns without syslog
	withDefaults, ps := Parse("on.toml", []byte(on), Options{Sysroot: t.TempDir()})
	if ps.Err() != nil {
		t.Fatalf("with all defaults written out: %v", ps)
	}
	withDefaults.Interfaces, withDefaults.LogTargets = nil, nil
	if plan := Diff(cfg, withDefaults); !plan.Empty() {
		t.Errorf("defaults that are documented are not those that count: %+v", plan)
	}

	// With the examples switched on as well, it must still be valid.
	all := regexp.MustCompile(`(?m)^#([a-z0-9-]+ = .*)$`).ReplaceAllString(string(data), "$1")
	all = regexp.MustCompile(`(?m)^#(\[.*\])$`).ReplaceAllString(all, "$1")
	i := strings.Index(all, "[[export]]")
	own := regexp.MustCompile(`(?m)^(shelf|slot) = 0$`).ReplaceAllString(all[i:], "")
	if _, ps := Parse("all.toml", []byte(all[:i]+own), Options{Sysroot: t.TempDir()}); ps.Err() != nil {
		t.Errorf("with everything switched on: %v", ps)
	}
}

// TestTable holds the entries of the table of keys against each other.
func TestTable(t *testing.T) {
	sections := map[string]bool{}
	for _, s := range Sections {
		sections[s.Name] = true
	}
	seen := map[string]bool{}
	ref := Reference()
	for _, k := range Keys {
		id := k.Section + "." + k.Name
		if !sections[k.Section] || seen[id] {
			t.Errorf("%s: unknown section, or twice in the table", id)
		}
		seen[id] = true
		if k.Help == "" || k.Default == "" && k.Example == "" {
			t.Errorf("%s: no help, or neither default nor example", id)
		}
		if k.Section != "hosts" && !strings.Contains(ref, "\n"+k.Name+" = ") && !strings.Contains(ref, "\n#"+k.Name+" = ") {
			t.Errorf("%s: not in the reference file", id)
		}
		for _, v := range []string{k.Default, k.Example} {
			if v == "" || k.Section == "hosts" || k.Name == "lanes" {
				continue
			}
			root, p := parseTree("x", []byte(k.Name+" = "+v))
			if p != nil {
				t.Errorf("%s: %s is not TOML: %v", id, v, p)
				continue
			}
			if _, msg, _ := convert(&k, root.children[0]); msg != "" {
				t.Errorf("%s: the table's own value %s is refused: %s", id, v, msg)
			}
		}
	}
	for from, to := range foreignNames {
		found := false
		for _, k := range Keys {
			found = found || k.Name == to
			if k.Name == from && k.Name == to {
				t.Errorf("%s is our own name", from)
			}
		}
		if !found {
			t.Errorf("the foreign name %s leads to %s, which does not exist", from, to)
		}
	}
}

func TestKeysHelp(t *testing.T) {
	all := KeysHelp()
	for _, k := range Keys {
		if !strings.Contains(all, "  "+k.Name) {
			t.Errorf("the help lacks %s.%s", k.Section, k.Name)
		}
	}
	one := KeysHelp("log")
	if !strings.Contains(one, "facility") || strings.Contains(one, "queue-length") {
		t.Errorf("help of [log] alone:\n%s", one)
	}
}

// TestMinimal: what goaoe init prints is accepted and means what was asked for, also with odd names.
func TestMinimal(t *testing.T) {
	args := Args{Interfaces: []string{"eth7", "vlan*"}, Exports: []string{"e0.1=/srv/a b\"c\\d\x01.img", "5.2=UUID=12-34"}}
	want, ps := FromArgs(args)
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	got, ps := Parse("min.toml", []byte(Minimal(want, args.Interfaces, nil)), Options{})
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	if plan := Diff(want, got); !plan.Empty() {
		t.Errorf("the file means something else: %+v", plan)
	}
	empty, ps := Parse("min.toml", []byte(Minimal(&Config{}, []string{"eth1"}, nil)), Options{})
	if ps.Err() != nil || len(empty.Exports) != 0 {
		t.Errorf("the empty form: %v, %d exports", ps, len(empty.Exports))
	}
}
