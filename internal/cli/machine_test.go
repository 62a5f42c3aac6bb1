package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"goaoe/internal/config"
)

// fake makes a system root with these files; a name that ends in "->" is a link to the contents.
func fake(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		link := strings.HasSuffix(name, "->")
		path := filepath.Join(root, strings.TrimSuffix(name, "->"))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if link {
			err = os.Symlink(text, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestPartition: a partition is found to be a part of its disk, so that the two are seen to overlap.
func TestPartition(t *testing.T) {
	m := machine{sysroot: fake(t, map[string]string{
		"sys/devices/x/block/sda/dev":        "8:0\n",
		"sys/devices/x/block/sda/ro":         "0\n",
		"sys/devices/x/block/sda/sda1/dev":   "8:1\n",
		"sys/devices/x/block/sda/sda1/start": "2048\n",
		"sys/devices/x/block/sda/sda1/ro":    "1\n",
		"sys/dev/block/8:0->":                "../../devices/x/block/sda",
		"sys/dev/block/8:1->":                "../../devices/x/block/sda/sda1",
	})}
	var disk, part, other object
	m.device(&disk, 8, 0)
	m.device(&part, 8, 1)
	m.device(&other, 9, 0)
	if want := (object{id: "dev 8:0"}); disk != want {
		t.Errorf("disk: %+v", disk)
	}
	if want := (object{id: "dev 8:0", base: 1 << 20, readOnly: true}); part != want {
		t.Errorf("partition: %+v", part)
	}
	if want := (object{id: "dev 9:0"}); other != want {
		t.Errorf("unknown device: %+v", other)
	}
}

// TestInterfaces: what is wrong with the interfaces of the machine.
func TestInterfaces(t *testing.T) {
	m := machine{sysroot: fake(t, map[string]string{
		"sys/class/net/eth0/mtu":  "1500\n",
		"sys/class/net/eth1/mtu":  "9000\n",
		"sys/class/net/tiny/mtu":  "576\n",
		"sys/class/net/other/mtu": "100\n",
	})}
	cfg, ps := config.Parse("m.toml", []byte(`
[[interface]]
name = "eth0"
mtu = 9000
[[interface]]
name = "eth1"
mtu = 4000
[[export]]
source = "mem:1M"
interfaces = ["eth0", "eth1", "tiny", "gone0", "vlan*"]
[[export]]
source = "mem:1M"
interfaces = ["gone0"]
`), config.Options{Sysroot: m.sysroot})
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	var got []string
	for _, p := range m.interfaces(cfg) {
		got = append(got, string(p.Severity)+" "+p.Message)
	}
	want := []string{
		`warning there is no interface "gone0" at present`,
		`warning there is no interface "vlan*" at present`,
		"warning eth0 has an MTU of only 1500, which counts",
		"error tiny has an MTU of 576, AoE needs at least 1042",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestWindow: the size that an export would have.
func TestWindow(t *testing.T) {
	for _, tt := range []struct {
		name     string
		e        config.Export
		obj      object
		size     int64
		problems int
	}{
		{"all of it", config.Export{}, object{size: 1 << 20}, 1 << 20, 0},
		{"odd tail", config.Export{}, object{size: 1<<20 + 5}, 1 << 20, 1},
		{"offset", config.Export{Offset: 1024}, object{size: 4096}, 3072, 0},
		{"length", config.Export{Offset: 1024, Length: 512}, object{size: 4096}, 512, 0},
		{"length hides the tail", config.Export{Length: 512}, object{size: 1000}, 512, 0},
		{"too long", config.Export{Offset: 1024, Length: 4096}, object{size: 4096}, 0, 1},
		{"beyond", config.Export{Offset: 4096}, object{size: 4096}, 0, 1},
		{"cylinders", config.Export{SizeRound: 3}, object{size: 4096}, 3072, 0},
		{"no whole cylinder", config.Export{SizeRound: 16065}, object{size: 4096}, 0, 1},
		{"read-only device", config.Export{}, object{size: 4096, readOnly: true}, 4096, 1},
		{"read-only both", config.Export{ReadOnly: true}, object{size: 4096, readOnly: true, busy: true}, 4096, 0},
		{"busy", config.Export{}, object{size: 4096, busy: true}, 4096, 1},
	} {
		size, ps := window(&tt.e, tt.obj)
		if size != tt.size || len(ps) != tt.problems {
			t.Errorf("%s: %d bytes, %v; want %d bytes and %d problems", tt.name, size, ps, tt.size, tt.problems)
		}
	}
}
