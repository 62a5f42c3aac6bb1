package control_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestTune: goaoe tune on real interfaces, those of a veth pair: what their driver refuses is no finding, what can be changed is, and its undo takes it back.
func TestTune(t *testing.T) {
	r := newRig(t, "[[export]]\naddress = \"1.0\"\nsource = \"mem:16M\"\n")
	// in runs a script in the namespace, with its own /sys.
	in := func(code int, script string) string {
		t.Helper()
		var out bytes.Buffer
		cmd := exec.Command("unshare", "--mount", "sh", "-ec", "mount -t sysfs none /sys\nPATH=$PATH:/usr/sbin:/sbin\n"+script)
		cmd.Stdout, cmd.Stderr = &out, &out
		cmd.Env = append(cmd.Environ(), "GOAOE_SOCKET="+r.socket, "goaoe="+r.bin)
		var err error
		r.ns.Do(func() { err = cmd.Run() })
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() != code {
			t.Errorf("%s\nstatus %v, want %d:\n%s", script, err, code, &out)
		}
		return out.String()
	}
	const state = "cat /sys/class/net/va/mtu /sys/class/net/va/tx_queue_len /sys/class/net/va/queues/rx-0/rps_cpus; tc qdisc show dev va | head -1"
	type advice struct{ Topic, Subject, Level, Is, Should, How, Command string }
	type report struct {
		OK      bool
		Advice  []advice
		Results []struct{ Topic, Subject, Command, Was, Now, Error, Undo string }
	}
	look := func(args string) (rep report) {
		t.Helper()
		text := in(0, `"$goaoe" tune --json `+args)
		if err := json.Unmarshal([]byte(text), &rep); err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		return rep
	}
	const topics = " --only mtu,ring,coalescing,flow-control,offload,queue,steering,interrupts"

	// The interface comes from the daemon, which does not know the namespace's /sys.
	rep := look(topics)
	said := map[string]string{}
	for _, a := range rep.Advice {
		if a.Subject != "va" {
			t.Errorf("%+v", a)
		}
		said[a.Topic] += a.Level + " " + a.Is + "|"
	}
	if !strings.Contains(said["mtu"], "note MTU 1500, 2 sectors in a frame (its driver takes up to 65535)") || !strings.Contains(said["ring"], "ok its driver has no rings") ||
		!strings.Contains(said["queue"], "ok queueing discipline noqueue") || !strings.Contains(said["steering"], "ok RPS is off") || said["flow-control"]+said["interrupts"] != "" {
		t.Errorf("%v", said)
	}

	// Made worse by hand, mended by the command, and taken back by what it prints.
	codel := strings.Contains(in(0, "tc qdisc replace dev va root fq_codel && echo there || echo none"), "there")
	in(0, "ip link set dev va txqueuelen 50; echo 3 > /sys/class/net/va/queues/rx-0/rps_cpus")
	worse := in(0, state)
	out := in(0, `"$goaoe" tune --apply --only queue,steering`)
	want := []string{"done     queue va: ip link set dev va txqueuelen 1000 (was 50)", "done     steering va: echo 0 > /sys/class/net/va/queues/rx-0/rps_cpus (was 3)"}
	if codel {
		if s := look("--only queue"); !slices.ContainsFunc(s.Advice, func(a advice) bool {
			return a.How == "hand" && strings.Contains(a.Is, "fq_codel, which somebody chose")
		}) {
			t.Errorf("%+v", s)
		}
	} else {
		t.Log("this kernel has no fq_codel")
	}
	for _, w := range want {
		if !strings.Contains(out, w+"\n") {
			t.Errorf("%q is not in\n%s", w, out)
		}
	}
	better := in(0, state)
	if !strings.Contains(better, "\n1000\n0\n") || codel && !strings.Contains(better, "qdisc fq_codel") {
		t.Errorf("after the changes:\n%s", better)
	}
	_, undo, _ := strings.Cut(out, "To take back what was done:\n")
	undo, _, _ = strings.Cut(undo, "The next boot")
	in(0, undo)
	if again := in(0, state); kinds(again) != kinds(worse) {
		t.Errorf("after the undo:\n%s\nbefore:\n%s", again, worse)
	}

	// The MTU: only when asked for, only what the driver takes; the daemon goes on and uses it.
	in(0, `"$goaoe" tune --apply --only mtu,queue`)
	if s := in(0, state); !strings.HasPrefix(s, "1500\n") {
		t.Errorf("the MTU was changed without being asked for:\n%s", s)
	}
	if s := in(2, `"$goaoe" tune va --mtu 60 --apply`); !strings.Contains(s, "must be") {
		t.Errorf("%s", s)
	}
	in(0, "ip link set dev vb mtu 9000")
	rep = look("va --only mtu --mtu 9000 --apply")
	if len(rep.Results) != 1 || rep.Results[0].Error != "" || rep.Results[0].Now != "9000" || !strings.HasPrefix(rep.Results[0].Undo, "ip link set dev va mtu ") {
		t.Errorf("%+v", rep.Results)
	}
	r.until("the daemon uses the MTU", func() bool { return strings.Contains(r.try("interfaces").stdout, "9000") })
	b := make([]byte, 8192)
	if _, err := r.open("e1.0").ReadAt(b, 0); err != nil {
		t.Error(err)
	}

	// With the /sys of another namespace nothing is looked at, and least of all changed.
	var foreign result
	r.ns.Do(func() {
		cmd := exec.Command(r.bin, "tune", "va", "--apply")
		text, _ := cmd.CombinedOutput() // its status is looked at
		foreign = result{code: cmd.ProcessState.ExitCode(), stderr: string(text)}
	})
	if foreign.code != 1 || !strings.Contains(foreign.stderr, "va is not that of /sys, which belongs to another network namespace") {
		t.Errorf("%+v", foreign)
	}

	// Without rights it looks, and says what it may not change.
	in(0, "ip link set dev va txqueuelen 50")
	if s := in(1, `setpriv --reuid 65534 --clear-groups "$goaoe" tune va --apply --only queue`); !strings.Contains(s, "failed   queue va: ip link set dev va txqueuelen 1000: ") ||
		!strings.Contains(s, "permission denied") || !strings.Contains(s, "goaoe: --apply needs root\n") || !strings.Contains(s, "0 of 1 change made") {
		t.Errorf("%s", s)
	}
}

// kinds takes the handles of queueing disciplines out of a text: each new one has another.
func kinds(s string) string {
	var out []string
	for line := range strings.Lines(s) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "qdisc" {
			line = f[1]
		}
		out = append(out, line)
	}
	return strings.Join(out, "")
}
