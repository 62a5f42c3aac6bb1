package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"goaoe/internal/config"
)

// sysTree makes a small /sys and /proc.
func sysTree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestInitAsks(t *testing.T) {
	root := sysTree(t, map[string]string{
		"sys/class/net/lo/type": "772", "sys/class/net/br0/type": "1", "sys/class/net/br0/bridge/x": "", "sys/class/net/eth1/type": "1\n",
		"sys/class/net/eth1/mtu": "9000", "sys/class/net/eth1/operstate": "up", "sys/class/net/eth1/address": "02:00:00:00:00:07",
		"sys/class/block/sda/size": "2048", "sys/class/block/sda1/size": "1024", "sys/class/block/sda/sda1/x": "", "sys/class/block/sdb/size": "4096",
		"sys/class/block/sdc/size": "4096", "sys/class/block/ram0/size": "4096",
		"proc/self/mounts": "/dev/sda1 /boot ext4 rw 0 0\n/dev/sdc /srv ext4 rw 0 0\n",
	})
	const disk = "/disk.img"
	if err := os.WriteFile(root+disk, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "new", "lab.toml")
	// A wrong answer is explained and asked again; a number chooses; an empty line takes what is offered.
	answers := []string{"", "/nonexistent/disk", disk, "e1.300", "e1.3", "nobody", "020000000001, 02:00:00:00:00:02", file, ""}
	var out, errs bytes.Buffer
	env := &Env{Stdin: strings.NewReader(strings.Join(answers, "\n")), Stdout: &out, Stderr: &errs, Sysroot: root}
	if code := Run(env, []string{"init", "--ask"}); code != ExitOK {
		t.Fatalf("exit %d: %s\n%s", code, &errs, &out)
	}
	for _, want := range []string{"1  eth1  02:00:00:00:00:07, MTU 9000, up\n", "2  br0", "(it is a bridge)", "1  /dev/sdb   2.0 MiB\n", "(mounted on /boot)", "(mounted on /srv)",
		"(it has partitions)", "Interface to serve on [eth1]: ", "/nonexistent/disk does not exist", `slot "300" is not a number from 0 to 254`, `"nobody" is not an Ethernet address`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "ram0") || strings.Contains(out.String(), " lo ") {
		t.Errorf("what cannot be meant was offered:\n%s", &out)
	}
	cfg, ps := config.Load(file, config.Options{Sysroot: root})
	if ps.Err() != nil || len(cfg.Exports) != 1 {
		t.Fatalf("%v", ps)
	}
	e := cfg.Exports[0]
	if e.Addr.String() != "e1.3" || e.Source != disk || strings.Join(e.Interfaces, "") != "eth1" || len(e.Access.Rows) != 2 {
		t.Errorf("%+v", e)
	}

	// The end of the input, and a file that is there, write nothing.
	for _, answers := range []string{"", "eth1\n" + disk + "\n\n\n" + file + "\n", "eth1\n" + disk + "\n\n\n" + file + "\nno\n"} {
		before, _ := os.ReadFile(file)
		errs.Reset()
		env.Stdin = strings.NewReader(answers)
		if code := Run(env, []string{"init", "--ask"}); code != ExitFailure || !strings.Contains(errs.String(), "nothing was written") {
			t.Errorf("%q: exit %d, %s", answers, code, &errs)
		}
		if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
			t.Errorf("%q: the file was changed", answers)
		}
	}
}

func TestInitWrites(t *testing.T) {
	file := filepath.Join(t.TempDir(), "goaoe.toml")
	run := func(code int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if got := Run(&Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}, append([]string{"init"}, args...)); got != code {
			t.Errorf("%q: exit %d, want %d: %s", args, got, code, &errs)
		}
		return out.String() + errs.String()
	}
	run(ExitOK, "-i", "eth1,vlan*", "-o", file, "--accept", "02:00:00:00:00:01", "0.1=/dev/sda5")
	cfg, ps := config.Load(file, config.Options{})
	if ps.Err() != nil || len(cfg.Exports) != 1 || len(cfg.Exports[0].Interfaces) != 2 || len(cfg.Exports[0].Access.Rows) != 1 {
		t.Errorf("%v %+v", ps, cfg.Exports)
	}
	if text := run(ExitFailure, "-o", file, "0.1=/dev/sda5"); !strings.Contains(text, "exists; goaoe check") {
		t.Error(text)
	}
	run(ExitOK, "-o", file, "--force", "0.2=/dev/sda5")
	if cfg, _ = config.Load(file, config.Options{}); cfg.Exports[0].Addr.Minor != 2 {
		t.Error("--force did not replace the file")
	}
	run(ExitUsage, "--force", "0.1=/dev/sda5")
	run(ExitUsage, "--ask", "0.1=/dev/sda5")
	run(ExitUsage, "--all", "--ask")
	run(ExitUsage, "--accept", "nobody", "0.1=/dev/sda5")
	if text := run(ExitOK, "0.1=/dev/sda5"); !strings.Contains(text, "[[export]]") {
		t.Error(text)
	}
}
