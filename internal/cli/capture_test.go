package cli

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"goaoe/internal/cli/frames"
	"goaoe/test/need"
)

// TestCapture: what capture shows and writes of a load, seen from the initiator's side, is what the load did.
func TestCapture(t *testing.T) {
	need.Programs(t, "ip", "tshark")
	const reads, writes = 60, 30
	r := newWatchRig(t)
	r.serve()
	live := r.process("capture", "-i", r.b, "--json", "1.0")
	file := r.process("capture", "-i", r.b, "-w", "wire.pcapng", "e1.*", "--command", "read,write")
	old := r.process("capture", "-i", r.b, "-i", r.a, "-w", "wire.pcap", "--snap", "64")
	none := r.process("capture", "-i", r.b, "9.*")
	few := r.process("capture", "-c", "5", "--command", "write")
	for _, p := range []*watchProc{live, file, old, none, few} {
		p.err.wait(t, `(?m)^listening on `)
	}
	mac, again := r.load(0, reads, writes)
	if code := r.end(few, 0); code != 0 || strings.Count(few.out.String(), " write lba ") != 5 || strings.Count(few.out.String(), "\n") != 5 {
		t.Errorf("-c 5: status %d\n%s%s", code, &few.out, &few.err)
	}
	for _, p := range []*watchProc{live, file, old, none} {
		if code := r.end(p, unix.SIGINT); code != 0 {
			t.Errorf("%v: status %d\n%s", p.cmd.Args, code, &p.err)
		}
	}
	near := func(got, want int) bool { return got >= want && got <= want+int(again) }
	asked, answered := map[string]int{}, map[string]int{}
	for i, f := range lines[frames.Frame](t, live.out.String()) {
		if f.Initiator != mac || f.Interface != r.b || f.Export != "e1.0" && f.Export != "e*.*" {
			t.Errorf("frame %d: %s", i, f.Line())
		}
		switch {
		case !f.Out:
			asked[f.What]++
		case f.Result == frames.OK && (again > 0 || f.Latency != nil && *f.Latency > 0):
			answered[f.What]++
		}
	}
	if !near(asked["read"], reads) || !near(asked["write"], writes) || !near(answered["read"], reads) || !near(answered["write"], writes) {
		t.Errorf("asked %v, answered %v", asked, answered)
	}
	if out := none.out.String(); out != "" {
		t.Errorf("frames of a target that is not there:\n%s", out)
	}

	fields := r.tshark("wire.pcapng", "frame.interface_name", "eth.src", "aoe.response", "aoe.ata.cmd", "aoe.sector_count", "frame.len", "frame.cap_len")
	kinds := map[string]int{}
	for _, f := range fields {
		if f[0] != r.b || f[5] != f[6] {
			t.Errorf("tshark: %q", f)
		}
		kinds[strings.Join(f[2:5], " ")]++
	}
	if !near(kinds["0 0x24 8"], reads) || !near(kinds["0 0x34 8"], writes) || len(fields) < 2*(reads+writes) {
		t.Errorf("tshark sees %v", kinds)
	}
	for _, f := range r.tshark("wire.pcap", "frame.len", "frame.cap_len") {
		if f[0] == "4132" && f[1] != "64" || f[0] == "60" && f[1] != "60" {
			t.Errorf("--snap 64 keeps %s of %s bytes", f[1], f[0])
		}
	}
	file.err.wait(t, `(?m)^\d+ frames written to wire.pcapng$`)
	// The file says itself that nothing was lost.
	out, err := exec.Command("tshark", "-r", filepath.Join(r.dir, "wire.pcapng"), "-q", "-z", "expert").CombinedOutput()
	if err != nil || bytes.Contains(bytes.ToLower(out), []byte("malformed")) {
		t.Errorf("%v: %s", err, out)
	}
}

// tshark returns fields of the frames of a file.
func (r *watchRig) tshark(file string, fields ...string) (out [][]string) {
	r.t.Helper()
	args := []string{"-r", filepath.Join(r.dir, file), "-T", "fields"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	cmd := exec.Command("tshark", args...)
	text, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("tshark %v: %v", args, err)
	}
	for _, l := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		f := strings.Split(l, "\t")
		if len(f) != len(fields) {
			r.t.Fatalf("tshark: %q", l)
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		r.t.Fatalf("%s has no frames", file)
	}
	return out
}

// TestCaptureEnds: by a duration with nothing to see, and when its interface is removed, each with its status.
func TestCaptureEnds(t *testing.T) {
	need.Programs(t, "ip")
	r := newWatchRig(t)
	if out, text := r.run(0, "capture", "-i", r.b, "--duration", "200ms"); out != "" || text != fmt.Sprintf("listening on %s\n", r.b) {
		t.Errorf("%q, %q", out, text)
	}
	p := r.process("capture", "-w", "gone.pcapng")
	p.err.wait(t, "listening on")
	r.ns.Delete(r.a)
	if code := r.end(p, 0); code != ExitFailure || !strings.Contains(p.err.String(), "the interface is gone") || !strings.Contains(p.err.String(), "0 frames written to gone.pcapng") {
		t.Errorf("status %d: %s", code, &p.err)
	}
	if _, text := r.run(ExitFailure, "capture", "-i", "nosuch0"); !strings.Contains(text, `interface "nosuch0" does not exist`) {
		t.Error(text)
	}
	if _, text := r.run(ExitFailure, "capture"); !strings.Contains(text, "no Ethernet interface is up") {
		t.Error(text)
	}
}

// TestCaptureMistakes: each wrong call is one line.
func TestCaptureMistakes(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"mail", `"mail" is neither the address of a target`},
		{"e*.x", `"e*.x" is neither`},
		{"99999.*", `"99999.*" is neither`},
		{"-c -1", "-c -1: must be"},
		{"--duration -1s", "--duration -1s: must be"},
		{"--snap 5", "--snap 5: must be"},
		{"--buffer 0", "--buffer 0: must be"},
		{"--command colour", "there is no such command; it is one of ata, config"},
		{"--json -w x", "exclude each other"},
	} {
		var stdout, stderr bytes.Buffer
		code := Run(&Env{Stdout: &stdout, Stderr: &stderr, Sysroot: t.TempDir()}, append([]string{"capture"}, strings.Fields(c.args)...))
		if code != ExitUsage || stdout.Len() > 0 || strings.Count(stderr.String(), "\n") != 1 || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("goaoe capture %s: status %d, %q, %q", c.args, code, stdout.String(), stderr.String())
		}
	}
}
