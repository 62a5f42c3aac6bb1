// Package docs runs the commands of the documentation word for word, as a new user would, on a machine of its own: fresh network and
// mount namespaces with the interfaces eth1 and eth2, and empty /etc/goaoe, /run/goaoe, /var/lib/goaoe and /srv.
//
// A block of commands is run when the line above it says so:
//
//	<!-- run -->               as it is
//	<!-- run: daemon -->       while a daemon runs with /etc/goaoe/goaoe.toml, which is made when the page has not made one
//	<!-- run: moment -->       the same, with an initiator that asks all the time; each command may go on, and is ended after 2 s, when it has printed something
//	<!-- run: load -->         the same, with an initiator that reads without a pause
//	<!-- run: target -->       while targets run at the other end of eth1 and eth2: e0.1 on both, e0.2 on eth1
//	<!-- run: target 3 -->     the same; each command is interrupted (SIGINT) after so many seconds
//	<!-- run: background -->   the last command serves: it is started, waited for and ended
//	<!-- run: python -->       a program in Python, while a daemon runs
//
// The blocks of a page are run in their order, and each command of them must succeed.
package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"goaoe/test/need"
)

// prelude makes the machine. What it mounts and makes goes away with the namespaces.
const prelude = `
set -eu
mount --make-rprivate /
mount -t sysfs none /sys
for d in /etc/goaoe /run/goaoe /run/goaoe-attach /var/lib/goaoe /srv /var/log/goaoe; do mkdir -p "$d"; mount -t tmpfs none "$d"; done
mkdir -p /run/goaoe/test # what this script itself keeps; nobody else sees it
ip link set dev lo up
for n in 1 2; do
	ip link add eth$n type veth peer name peer$n
	ip link set dev eth$n up
	ip link set dev peer$n up
done
cd /srv
wait_ready() {
	i=0
	until grep -q 'goaoe: ready' "$1"; do
		i=$((i+1))
		if [ $i -gt 600 ] || ! kill -0 "$2" 2>/dev/null; then cat "$1" >&2; echo "it does not serve" >&2; exit 1; fi
		sleep 0.1
	done
}
daemon() {
	[ -z "${DAEMON:-}" ] || return 0
	if [ ! -e /etc/goaoe/goaoe.toml ]; then
		truncate -s 1G /srv/disk1.img
		goaoe init -i eth1 0.1=/srv/disk1.img -o /etc/goaoe/goaoe.toml
	fi
	goaoe serve 2>/run/goaoe/test/daemon.log & DAEMON=$!
	wait_ready /run/goaoe/test/daemon.log $DAEMON
}
load() {
	daemon
	[ -z "${LOAD:-}" ] || return 0
	goaoe bench 0.1 -i peer1 -q --duration 150s >/dev/null & LOAD=$!
	sleep 1
}
moment() {
	daemon
	if [ -z "${TRAFFIC:-}" ]; then
		while :; do goaoe discover -i peer1 --wait 200ms >/dev/null; done & TRAFFIC=$!
	fi
	rc=0 i=0
	timeout 60 sh -c "$1" >/run/goaoe/test/moment.out & M=$!
	while kill -0 $M 2>/dev/null; do
		if [ $i -ge 20 ] && { [ -s /run/goaoe/test/moment.out ] || [ "$1" != "${1% -w *}" ]; }; then kill -TERM $M || true; break; fi
		sleep 0.1
		i=$((i+1))
	done
	wait $M || rc=$?
	case $rc in 0 | 143) ;; *) echo "exit status $rc" >&2; exit 1 ;; esac
	[ -s /run/goaoe/test/moment.out ] || [ "$1" != "${1% -w *}" ] || { echo "it printed nothing" >&2; exit 1; }
}
target() {
	[ -z "${TARGET:-}" ] || return 0
	mkdir -p /run/goaoe/target
	truncate -s 1G /run/goaoe/target/1.img /run/goaoe/target/2.img
	cat >/run/goaoe/target/goaoe.toml <<-END
	[global]
	state-directory = "/run/goaoe/target/state"
	[[export]]
	address = "0.1"
	source = "/run/goaoe/target/1.img"
	interfaces = ["peer1", "peer2"]
	smart = true
	[[export]]
	address = "0.2"
	source = "/run/goaoe/target/2.img"
	interfaces = ["peer1"]
	END
	GOAOE_SOCKET=off goaoe serve -c /run/goaoe/target/goaoe.toml 2>/run/goaoe/target/log & TARGET=$!
	wait_ready /run/goaoe/target/log $TARGET
}
finish() { [ -z "${TARGET:-}" ] || { kill $TARGET; wait $TARGET; }; daemon_end; }
daemon_end() {
	[ -z "${TRAFFIC:-}" ] || kill $TRAFFIC
	[ -z "${LOAD:-}" ] || kill $LOAD
	[ -z "${DAEMON:-}" ] || { kill $DAEMON; wait $DAEMON; }
}
`

var block = regexp.MustCompile("(?m)^ *<!-- run(?:: ([a-z]+(?: [0-9]+)?))? -->\n *```(?:sh|python)\n((?s).*?)\n *```$")

// script turns the blocks of a page into one script.
func script(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, m := range block.FindAllStringSubmatch(string(text), -1) {
		kind, lines := m[1], strings.Split(strings.TrimSpace(m[2]), "\n")
		switch kind {
		case "":
		case "moment":
		case "load":
			b.WriteString("load\n")
		case "daemon":
			b.WriteString("daemon\n")
		case "target", "target 3": // seconds
			b.WriteString("target\n")
			if kind != "target" {
				for i, l := range lines {
					lines[i] = "timeout --preserve-status -s INT " + strings.TrimPrefix(kind, "target ") + " " + l
				}
			}
		case "python":
			fmt.Fprintf(&b, "daemon\npython3 - <<'GOAOE_END'\n%s\nGOAOE_END\n", m[2])
			continue
		case "background":
			last := lines[len(lines)-1]
			lines[len(lines)-1] = last + " 2>/run/goaoe/test/serve.log & BG=$!\nwait_ready /run/goaoe/test/serve.log $BG\nkill $BG\nwait $BG"
		default:
			t.Fatalf("%s: there is no kind of run %q", page, kind)
		}
		for _, l := range lines {
			if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
				if kind == "moment" {
					l = "moment " + quote(l)
				}
				fmt.Fprintf(&b, "echo %s\n%s\n", quote("$ "+l), l)
			}
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return prelude + b.String() + "finish\n"
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func TestCommandsOfTheDocumentation(t *testing.T) {
	need.Root(t)
	need.Programs(t, "curl", "jq", "python3", "unshare", "qemu-img", "perf")
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "goaoe"), "../../cmd/goaoe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, "../../README.md")
	ran := 0
	for _, page := range pages {
		if filepath.Base(page) == "install.md" {
			continue // needs packages and systemd: test/package runs it
		}
		text := script(t, page)
		if text == "" {
			continue
		}
		ran++
		t.Run(strings.TrimSuffix(filepath.Base(page), ".md"), func(t *testing.T) {
			cmd := exec.Command("timeout", "-k", "5", fmt.Sprint(int((3 * time.Minute).Seconds())), "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", text)
			cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // it takes the others along
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	if ran < 5 {
		t.Errorf("only %d pages have commands that are run", ran)
	}
}

// TestLinks: what the pages refer to is there.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal("no pages", err)
	}
	for _, page := range append(pages, "../../README.md", "../../ARCHITECTURE.md", "../../CHANGELOG.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s refers to %s, which is not there", page, m[1])
			}
		}
	}
}
