package package_test

import (
	"strings"
	"testing"
	"time"

	"goaoe/test/need"
)

// TestDebianPackage: the life of the package on a machine with systemd: installed, configured, started, reloaded, upgraded, removed,
// installed again, purged.
func TestDebianPackage(t *testing.T) {
	t.Parallel()
	m := boot(t)
	m.copyIn(pack(t, "deb", "1.0"), "/tmp/goaoe-1.0.deb")
	m.copyIn(pack(t, "deb", "1.1"), "/tmp/goaoe-1.1.deb")

	m.run("dpkg -i /tmp/goaoe-1.0.deb")
	installed(m)
	configure(m)
	served(m)
	hardened(m)
	reloaded(m)
	controlled(m)
	instance(m)
	attached(m)
	upgraded(m)
	removed(m)
}

// installed: the package is there, nothing is served yet.
func installed(m *machine) {
	m.t.Helper()
	m.wants("goaoe version", "1.0")
	m.wants("systemctl is-enabled goaoe", "enabled")
	if got := m.property("goaoe", "ActiveState"); got != "inactive" {
		m.t.Errorf("a new installation is %s, though nothing is configured", got)
	}
	m.wants("getent passwd goaoe", "/var/lib/goaoe", "nologin")
	m.wants("stat -c '%a %U:%G' /etc/goaoe/goaoe.toml", "640 root:goaoe")
	m.wants("stat -c '%a %U:%G' /etc/goaoe/conf.d", "750 goaoe:goaoe")
	m.wants("man -w goaoe goaoe-serve 'goaoe.toml(5)' 'goaoe(7)'", "/man1/goaoe.1.gz", "/man1/goaoe-serve.1.gz", "/man5/goaoe.toml.5.gz", "/man7/goaoe.7.gz")
	m.run("goaoe check --syntax /etc/goaoe/goaoe.toml")
}

// configure writes a configuration and starts the daemon.
func configure(m *machine) {
	m.t.Helper()
	m.run("truncate -s 1M /srv/disk.img && chown goaoe: /srv/disk.img")
	m.write("/etc/goaoe/goaoe.toml", `
[defaults]
interfaces = ["t0"]
[[export]]
address = "0.1"
source = "/srv/disk.img"
`)
	m.run("systemctl start goaoe") // returns when the daemon has said that it is ready
}

// served: an initiator sees the export, the process is not root and has one capability.
func served(m *machine) {
	m.t.Helper()
	m.wants("goaoe discover -i i0", "e0.1")
	pid := m.property("goaoe", "MainPID")
	m.wants("ps -o user= -p "+pid, "goaoe")
	m.wants("grep -h Cap /proc/"+pid+"/status", "CapEff:\t0000000000002000", "CapBnd:\t0000000000002000", "CapAmb:\t0000000000000000", "CapInh:\t0000000000000000") // CAP_NET_RAW is bit 13; nothing is handed on
	m.wants("grep -hE 'Seccomp:|NoNewPrivs' /proc/"+pid+"/status", "Seccomp:\t2", "NoNewPrivs:\t1")
	m.wants("goaoe status | grep sandbox", "capabilities (only net_raw), landlock (version", "seccomp (")
	m.wants("ls /var/lib/goaoe", "e0.1")
	m.wants("stat -c '%a %U:%G' /run/goaoe/control.sock", "660 goaoe:goaoe")
	if out := m.run("journalctl -u goaoe --no-pager"); !strings.Contains(out, "goaoe: ready") || strings.Contains(out, "level=ERROR") || strings.Contains(out, "level=WARN") {
		m.t.Errorf("the log:\n%s", out)
	}
	m.wants("systemctl show -P StatusText goaoe", "1 export on 1 interface")
}

// hardened: the process sees what it must, and changes nothing else.
func hardened(m *machine) {
	m.t.Helper()
	pid := m.property("goaoe", "MainPID")
	m.wants("grep -h 'NoNewPrivs\\|Seccomp:' /proc/"+pid+"/status", "NoNewPrivs:\t1", "Seccomp:\t2")
	if _, code := m.try("nsenter -t " + pid + " -m touch /usr/x"); code == 0 {
		m.t.Error("/usr is writable for the service")
	}
	if _, code := m.try("nsenter -t " + pid + " -m touch /srv/x /etc/goaoe/conf.d/x && rm /srv/x /etc/goaoe/conf.d/x"); code != 0 {
		m.t.Error("/srv or conf.d is read-only for the service")
	}
	if m.property("goaoe", "WatchdogUSec") != "30s" {
		m.t.Error("no watchdog")
	}
}

// reloaded: a reload adds an export without a new process; one with an error fails, says why, and changes nothing.
func reloaded(m *machine) {
	m.t.Helper()
	pid := m.property("goaoe", "MainPID")
	m.run("cp -p /srv/disk.img /srv/two.img && printf '[[export]]\\naddress = \"0.2\"\\nsource = \"/srv/two.img\"\\n' >>/etc/goaoe/goaoe.toml")
	m.run("systemctl reload goaoe")
	m.eventually("goaoe discover -i i0", "e0.2")
	m.run("cp /etc/goaoe/goaoe.toml /tmp/good && echo 'colour = 1' >>/etc/goaoe/goaoe.toml")
	if _, code := m.try("systemctl reload goaoe"); code == 0 {
		m.t.Error("a reload with an error in the file succeeded")
	}
	m.wants("journalctl -u goaoe --no-pager", "colour")
	m.wants("goaoe discover -i i0", "e0.1", "e0.2")
	m.run("cat /tmp/good >/etc/goaoe/goaoe.toml && systemctl reload goaoe")
	if now := m.property("goaoe", "MainPID"); now != pid || m.property("goaoe", "ActiveState") != "active" {
		m.t.Errorf("the process was %s and is %s", pid, now)
	}
}

// controlled: a member of the group adds an export that is kept over a restart: the daemon may write its drop-ins.
func controlled(m *machine) {
	m.t.Helper()
	m.run("cp -p /srv/disk.img /srv/three.img && useradd -r -N -G goaoe mary")
	m.run("runuser -u mary -- goaoe add 0.3 /srv/three.img --save")
	m.eventually("goaoe discover -i i0", "e0.1", "e0.2", "e0.3")
	m.wants("ls -l /etc/goaoe/conf.d", "goaoe goaoe", ".toml")
	m.run("systemctl restart goaoe")
	m.eventually("goaoe discover -i i0", "e0.1", "e0.2", "e0.3")
	m.wants("runuser -u mary -- goaoe ls", "e0.1", "e0.2", "e0.3")
	if out, code := m.try("runuser -u nobody -- goaoe ls"); code != 11 {
		m.t.Errorf("nobody may control the daemon: status %d, %s", code, out)
	}
	m.run("runuser -u mary -- goaoe rm --save --force 0.3")
}

// instance: one export in a process of its own.
func instance(m *machine) {
	m.t.Helper()
	if out, code := m.try("systemctl start goaoe-export@e1.0"); code == 0 {
		m.t.Errorf("an instance without a file starts: %s", out)
	}
	m.run("cp -p /srv/disk.img /srv/one.img && sed 's,^SOURCE=.*,SOURCE=/srv/one.img,; s,^INTERFACES=.*,INTERFACES=t0,; s,^OPTIONS=.*,OPTIONS=--read-only --queue-length 32,' " +
		"/usr/share/doc/goaoe/examples/e0.1.conf >/etc/goaoe/exports/e1.0.conf")
	m.run("systemctl enable --now goaoe-export@e1.0")
	m.wants("goaoe discover -i i0", "e0.1", "e0.2", "e1.0")
	m.wants("ps -ww -o user=,args= -p "+m.property("goaoe-export@e1.0", "MainPID"), "goaoe ", "--queue-length 32 e1.0=/srv/one.img")
	m.wants("stat -c '%a %U:%G' /run/goaoe-export/e1.0/control.sock", "660 goaoe:goaoe")
}

// attached: the other end's unit makes the disk usable, shut in as it is; a process that was killed is started again, and a stop takes all of it away. The
// kernel of this machine has no NBD driver as a rule, so it is a server on a socket; test/guest has the device.
func attached(m *machine) {
	m.t.Helper()
	need.Programs(m.t, "nbdcopy")
	const unit, uri = "goaoe-attach@e0.1", "'nbd+unix:///?socket=/run/goaoe-attach/e0.1.sock'"
	m.run("mkdir -p /etc/goaoe/attach.d && echo 'OPTIONS=--server --interface i0 --timeout 20s' >/etc/goaoe/attach.d/e0.1.conf")
	m.run("systemctl start " + unit) // returns when the disk can be used
	m.wants("systemctl show -P StatusText "+unit, "e0.1 as nbd+unix:///?socket=/run/goaoe-attach/e0.1.sock")
	m.wants("goaoe attached", "e0.1", "/run/goaoe-attach/e0.1.sock")
	m.wants("grep -hE 'Seccomp:|NoNewPrivs' /proc/"+m.property(unit, "MainPID")+"/status", "Seccomp:\t2", "NoNewPrivs:\t1")
	m.run("head -c 1M /dev/urandom >/srv/data && nbdcopy --flush /srv/data " + uri + " && cmp /srv/data /srv/disk.img")

	before := m.property(unit, "MainPID")
	m.run("systemctl kill -s KILL " + unit)
	m.eventually("systemctl show -p NRestarts -p ActiveState "+unit, "NRestarts=1", "ActiveState=active")
	if now := m.property(unit, "MainPID"); now == before {
		m.t.Errorf("process %s was killed, and is there", now)
	}
	m.run("nbdcopy " + uri + " /srv/back && cmp /srv/data /srv/back")

	m.run("systemctl stop " + unit)
	if got := m.property(unit, "Result"); got != "success" {
		m.t.Errorf("the end of the unit: %s", got)
	}
	m.run("! test -e /run/goaoe-attach/e0.1.sock && rm /srv/data /srv/back")
}

// upgraded: the new program serves within seconds, the edited file is kept, whatever ran before runs again, and nothing else.
func upgraded(m *machine) {
	m.t.Helper()
	before, other := m.property("goaoe", "MainPID"), m.property("goaoe-export@e1.0", "MainPID")
	begin := time.Now()
	m.run("dpkg -i /tmp/goaoe-1.1.deb")
	m.eventually("goaoe discover -i i0", "e0.1", "e0.2", "e1.0")
	if took := time.Since(begin); took > 30*time.Second {
		m.t.Errorf("the upgrade took %v; initiators give up after minutes, but not that calmly", took)
	}
	if m.property("goaoe", "MainPID") == before || m.property("goaoe-export@e1.0", "MainPID") == other {
		m.t.Error("the old program still runs")
	}
	m.wants("goaoe version", "1.1")
	m.wants("cat /etc/goaoe/goaoe.toml", "/srv/two.img")

	m.run("systemctl stop goaoe && dpkg -i /tmp/goaoe-1.1.deb")
	if got := m.property("goaoe", "ActiveState"); got != "inactive" {
		m.t.Errorf("an upgrade while it was stopped made it %s", got)
	}
	m.run("systemctl disable goaoe && dpkg -i /tmp/goaoe-1.1.deb")
	if out, _ := m.try("systemctl is-enabled goaoe"); strings.TrimSpace(out) != "disabled" {
		m.t.Errorf("an upgrade while it was disabled made it %s", out)
	}
	m.run("systemctl enable --now goaoe")
}

// removed: removal stops everything and keeps the configuration, purging leaves nothing.
func removed(m *machine) {
	m.t.Helper()
	m.run("dpkg -r goaoe")
	if out, code := m.try("pgrep -x goaoe"); code == 0 {
		m.t.Errorf("it still runs: %s", out)
	}
	m.run("test -e /etc/goaoe/goaoe.toml && test -d /var/lib/goaoe && ! test -e /usr/bin/goaoe")

	m.run("dpkg -i /tmp/goaoe-1.0.deb") // over a configuration that was kept: it serves again
	m.eventually("goaoe discover -i i0", "e0.1", "e0.2")

	m.run("dpkg -P goaoe")
	for _, path := range []string{"/etc/goaoe", "/var/lib/goaoe", "/usr/share/doc/goaoe", "/etc/systemd/system/multi-user.target.wants/goaoe.service",
		"/etc/systemd/system/multi-user.target.wants/goaoe-export@e1.0.service", "/etc/systemd/system/goaoe.service"} {
		if out, code := m.try("ls -ld " + path); code == 0 {
			m.t.Errorf("purging left %s", out)
		}
	}
	if out := m.run("systemctl --failed --no-legend --plain"); strings.Contains(out, "goaoe") {
		m.t.Errorf("failed units: %s", out)
	}
	m.wants("ls /srv", "disk.img") // what was exported is the user's
}

// eventually runs a command until it prints all texts, for ten seconds.
func (m *machine) eventually(command string, texts ...string) {
	m.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		out, _ := m.try(command)
		missing := ""
		for _, text := range texts {
			if !strings.Contains(out, text) {
				missing = text
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("%s: %q does not come:\n%s", command, missing, out)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// TestLintian: no errors and warnings but those that are overridden with a reason.
func TestLintian(t *testing.T) {
	lintian := need.Programs(t, "lintian")[0]
	if out := script(t, nil, lintian, "--allow-root", "--fail-on", "error,warning", pack(t, "deb", "1.0")); strings.Contains(out, "unused") {
		t.Errorf("an override that is not needed:\n%s", out)
	}
}

// TestRPM: the package can be read, has everything, and its scripts are shell.
func TestRPM(t *testing.T) {
	t.Parallel()
	rpm := need.Programs(t, "rpm")[0]
	file := pack(t, "rpm", "1.0")
	list := script(t, nil, rpm, "-qpl", file)
	for _, want := range []string{"/usr/bin/goaoe", "/etc/goaoe/goaoe.toml", "/usr/lib/systemd/system/goaoe.service", "/usr/lib/systemd/system/goaoe-export@.service",
		"/usr/lib/systemd/system/goaoe-attach@.service", "/usr/share/doc/goaoe/examples/attach-e0.1.conf",
		"/usr/lib/sysusers.d/goaoe.conf", "/usr/lib/tmpfiles.d/goaoe.conf", "/usr/lib/udev/rules.d/62-goaoe.rules", "/usr/share/man/man5/goaoe.toml.5.gz",
		"/usr/share/bash-completion/completions/goaoe", "/usr/share/zsh/site-functions/_goaoe", "/usr/share/licenses/goaoe/LICENSE"} {
		if !strings.Contains("\n"+list+"\n", "\n"+want+"\n") {
			t.Errorf("%s is not in the package", want)
		}
	}
	if got := script(t, nil, rpm, "-qpc", file); got != "/etc/goaoe/goaoe.toml" {
		t.Errorf("configuration files: %q", got)
	}
	if got := script(t, nil, rpm, "-qp", "--qf", "%{NAME} %{VERSION} %{RELEASE} %{ARCH} %{LICENSE}", file); got != "goaoe 1.0 1 x86_64 Apache-2.0" {
		t.Errorf("tags: %q", got)
	}

	need.Root(t)
	m := boot(t)
	m.copyIn(file, "/tmp/goaoe.rpm")
	m.run("rpm -i --nodeps /tmp/goaoe.rpm") // on a Debian without the database of packages that it depends on
	m.wants("goaoe version", "1.0")
	m.wants("getent passwd goaoe", "/var/lib/goaoe")
	m.wants("stat -c '%a %U:%G' /etc/goaoe/goaoe.toml /etc/goaoe/conf.d", "640 root:goaoe", "750 goaoe:goaoe")
	configure(m)
	m.wants("goaoe discover -i i0", "e0.1")
	m.copyIn(pack(t, "rpm", "1.1"), "/tmp/goaoe-1.1.rpm")
	pid := m.property("goaoe", "MainPID")
	m.run("rpm -U --nodeps /tmp/goaoe-1.1.rpm")
	m.wants("goaoe version", "1.1")
	m.eventually("goaoe discover -i i0", "e0.1")
	if now := m.property("goaoe", "MainPID"); now == pid || now == "0" {
		t.Errorf("the process was %s and is %s after the upgrade", pid, now)
	}
	m.run("rpm -e goaoe")
	if out, code := m.try("pgrep -x goaoe"); code == 0 {
		t.Errorf("it still runs: %s", out)
	}
	m.run("ls /etc/goaoe/goaoe.toml.rpmsave") // the edited file is kept
	for _, s := range []string{"postinstall", "preremove", "postremove"} {
		script(t, nil, "sh", "-n", "dist/rpm/"+s)
	}
}
