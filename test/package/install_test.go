package package_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"goaoe/test/need"
)

// step is a block of commands of docs/install.md that is to be run, in the machine of its name.
var step = regexp.MustCompile("(?s)<!-- run: (\\w+) -->\n```sh\n(.*?)```")

// TestInstallPage: the commands of docs/install.md, as they stand there, in the order of the page.
func TestInstallPage(t *testing.T) {
	t.Parallel()
	need.Root(t)
	need.Programs(t, "setcap")
	page, err := os.ReadFile(filepath.Join(root(t), "docs/install.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string][]string{}
	for _, m := range step.FindAllStringSubmatch(string(page), -1) {
		blocks[m[1]] = append(blocks[m[1]], m[2])
	}
	if strings.Count(string(page), "```sh") != len(step.FindAllString(string(page), -1)) {
		t.Error("a block of commands is not run")
	}
	setUp := func(t *testing.T, file string) *machine {
		m := boot(t)
		m.run("mkdir /tmp/w && useradd -m alice && ip link set t0 down && ip link set t0 name eth1 && ip link set eth1 up")
		m.copyIn(file, "/tmp/w/"+filepath.Base(file))
		return m
	}
	// Each command alone, so that a failure names it.
	play := func(m *machine, blocks []string) {
		for _, block := range blocks {
			for _, line := range strings.Split(strings.TrimSpace(block), "\n") {
				m.run("cd /tmp/w && " + strings.Replace(line, "apt ", "apt -qq -y ", 1))
			}
		}
	}
	t.Run("deb", func(t *testing.T) {
		m := setUp(t, pack(t, "deb", "1.0"))
		all := blocks["deb"]
		if len(all) < 8 {
			t.Fatalf("%d blocks", len(all))
		}
		play(m, all[:2])
		m.wants("goaoe discover -i i0", "e0.1")
		play(m, all[2:len(all)-1])
		m.eventually("goaoe discover -i i0", "e0.1", "e1.0")
		m.wants("stat -c %U /data", "goaoe")
		pid := m.property("goaoe", "MainPID")
		m.wants("nsenter -t "+pid+" -m sh -c 'touch /data/x && echo written'", "written")
		m.wants("runuser -u alice -- test -w /run/goaoe/control.sock && echo may", "may")
		play(m, all[len(all)-1:])
		if out, code := m.try("ls -d /etc/goaoe /usr/bin/goaoe /var/lib/goaoe 2>/dev/null"); code == 0 || strings.TrimSpace(out) != "" {
			t.Errorf("left behind: %s", out)
		}
	})
	t.Run("tarball", func(t *testing.T) {
		building.Lock()
		list := script(t, []string{"VERSION=1.0", "SOURCE_DATE_EPOCH=1700000000"}, "dist/release", "amd64")
		building.Unlock()
		m := setUp(t, filepath.Join(root(t), strings.Split(list, "\n")[0]))
		if len(blocks["tarball"]) != 2 {
			t.Fatalf("%d blocks", len(blocks["tarball"]))
		}
		play(m, blocks["tarball"][:1])
		m.wants("systemctl is-active goaoe", "active")
		m.wants("ps -o user= -p "+m.property("goaoe", "MainPID"), "goaoe")
		play(m, blocks["tarball"][1:])
		m.run("! test -e /usr/bin/goaoe && test -e /etc/goaoe/goaoe.toml && test -d /usr/share/man/man1")
	})
}
