package cli

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/loadgen"
)

// TestBench: the report of two disks that are compared, in each form; nothing is written to them.
func TestBench(t *testing.T) {
	r := newWatchRig(t)
	old := bytes.Repeat([]byte{0x55}, 8*mib)
	r.put("disk2", old)
	r.serve()
	out, text := r.run(0, "bench", "1.0", "1.1", "--compare", "--repeat", "3", "--duration", "150ms", "--warmup", "20ms", "--svg", "out.svg", "--json", "--timeout", "30s")
	var rep benchReport
	if err := json.Unmarshal([]byte(out), &rep); err != nil {
		t.Fatalf("%v: %s%s", err, out, text)
	}
	if len(rep.Disks) != 2 || len(rep.Comparison) != 1 || rep.Work.Size != 4096 || rep.Work.Depth != 32 {
		t.Fatalf("%s", out)
	}
	for i, d := range rep.Disks {
		l := d.Latency
		if d.Address != []string{"e1.0", "e1.1"}[i] || len(d.Runs) != 3 || d.Rate <= 0 || d.Bytes != d.Rate*4096 || d.OwnCPU <= 0 || d.Size != 8*mib || len(d.Paths) == 0 {
			t.Errorf("%+v", d)
		}
		if l.Min <= 0 || l.Min > l.P50 || l.P50 > l.P90 || l.P90 > l.P95 || l.P95 > l.P99 || l.P99 > l.P999 || l.P999 > l.P9999 || l.P9999 > l.Max+.01 || len(l.Histogram) == 0 {
			t.Errorf("%+v", l)
		}
		n, runs := 0.0, uint64(0)
		for _, b := range l.Histogram {
			n += b[2]
		}
		for _, x := range d.Runs {
			runs += x.Requests
		}
		if uint64(n) != l.Count || runs != l.Count {
			t.Errorf("%v requests in the histogram, %d in the runs, %d in all", n, runs, l.Count)
		}
	}
	c := rep.Comparison[0]
	if c.Address != "e1.1" || c.To != "e1.0" || c.RateMin > c.Rate || c.Rate > c.RateMax || c.RateMin <= 0 {
		t.Errorf("%+v", c)
	}
	svg, err := os.ReadFile(filepath.Join(r.dir, "out.svg"))
	if err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(bytes.NewReader(svg))
	paths := 0
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "path" {
			paths++
		}
	}
	if paths < 6 || !bytes.Contains(svg, []byte("e1.1 / e1.0 = ")) || !bytes.Contains(svg, []byte("Random reads of 4.0 KiB, 32 outstanding")) {
		t.Errorf("the picture has %d lines: %.400s", paths, svg)
	}

	out, _ = r.run(0, "bench", "1.1", "--count", "500", "--duration", "1m", "--size", "64K", "--depth", "2", "--sequential", "--warmup", "0")
	if !strings.HasPrefix(out, "Sequential reads of 64 KiB, 2 outstanding\n") || !strings.Contains(out, "e1.1  ") || !strings.Contains(out, "\nlatency of e1.1\n") || !strings.Contains(out, "###") {
		t.Errorf("%s", out)
	}
	r.holds("disk2", old)
}

// TestBenchWrites: writes are asked for, and stamps are in the range and nowhere else.
func TestBenchWrites(t *testing.T) {
	r := newWatchRig(t)
	old := bytes.Repeat([]byte{0x55}, 8*mib)
	r.put("disk2", old)
	r.serve()
	for _, args := range []string{"bench 1.1 --writes 100", "bench 1.1 --verify"} {
		p := r.piped([]byte("no\n"), strings.Fields(args)...)
		if p.cmd.ProcessState.ExitCode() != ExitRefused || !strings.Contains(p.err.String(), "This destroys bytes 0 to 8388608 of e1.1 on ") || !strings.Contains(p.err.String(), "nothing was written; --yes") {
			t.Errorf("%s: %s", args, &p.err)
		}
	}
	r.holds("disk2", old)
	out, _ := r.run(0, "bench", "1.1", "--writes", "40", "--verify", "--offset", "1M", "--length", "2M", "--count", "2000", "--yes", "--timeout", "30s")
	if !strings.Contains(out, "Random reads and 40 % writes of 4.0 KiB, 32 outstanding, all verified") || !strings.Contains(out, " writes  ") {
		t.Errorf("%s", out)
	}
	got, err := os.ReadFile(filepath.Join(r.dir, "disk2"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got[:mib], old[:mib]) || !bytes.Equal(got[3*mib:], old[3*mib:]) {
		t.Error("something was written outside of the range")
	}
	for at := mib; at < 3*mib; at += 512 {
		ok := false
		for gen := range uint16(200) {
			if ok = loadgen.Stamped(got[at:at+512], loadgen.InGeneration(uint64(at/512), gen)); ok {
				break
			}
		}
		if !ok {
			t.Fatalf("sector %d has no stamp", at/512)
		}
	}
	// A target that is killed ends it, in bounded time and with its status.
	p := r.process("bench", "1.1", "--duration", "1m", "--timeout", "1s", "--warmup", "0", "--svg", "never.svg")
	r.onTheWire(p)
	time.Sleep(300 * time.Millisecond) // some requests
	_ = r.daemon.cmd.Process.Kill()
	_ = r.daemon.cmd.Wait()
	if code := r.end(p, 0); code != ExitNoAnswer || p.out.String() != "" || !strings.Contains(p.err.String(), "e1.1: read of 4096 bytes") {
		t.Errorf("status %d: %s%s", code, &p.out, &p.err)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "never.svg")); err == nil {
		t.Error("a picture of nothing is left")
	}
	r.serve()
	p = r.process("bench", "1.1", "--duration", "1m")
	r.onTheWire(p)
	if code := r.end(p, unix.SIGINT); code != ExitFailure || !strings.Contains(p.err.String(), "interrupted") {
		t.Errorf("status %d: %s%s", code, &p.out, &p.err)
	}
}

// TestBenchMistakes: each wrong call is one line, before anything is sent.
func TestBenchMistakes(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "takes one ADDRESS or more"},
		{"x", "x"},
		{"0.*", "without *"},
		{"0.1 e0.1", "e0.1 is named twice"},
		{"0.1 --compare", "--compare needs two disks"},
		{"0.1 --size 100", "a size of 100 bytes is no multiple of 512"},
		{"0.1 --size x", `"x" is not a size`},
		{"0.1 --depth 0", "a depth of 0 is not 1 to 1024"},
		{"0.1 --writes 101", "101 percent of writes"},
		{"0.1 --repeat -1", "--repeat -1: must be"},
		{"0.1 --duration 0", "neither a duration nor a number"},
		{"0.1 --duration -1s", "must not be negative"},
		{"0.1 --timeout 0", "--timeout 0s: must be"},
	} {
		var stdout, stderr bytes.Buffer
		code := Run(&Env{Stdout: &stdout, Stderr: &stderr, Sysroot: t.TempDir()}, append([]string{"bench"}, strings.Fields(c.args)...))
		if code != ExitUsage || stdout.Len() > 0 || strings.Count(stderr.String(), "\n") != 1 || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("goaoe bench %s: status %d, %q, %q", c.args, code, stdout.String(), stderr.String())
		}
	}
}

// TestBars: the counts of all lines are all requests, and the longest line is as long as it may be.
func TestBars(t *testing.T) {
	var h loadgen.Histogram
	for i := range 1000 {
		h.Add(int64(10_000 + 37*i))
	}
	h.Add(5_000_000)
	text := bars(&h, 16, 40)
	if n := strings.Count(text, "\n"); n < 8 || n > 16 {
		t.Errorf("%d lines:\n%s", n, text)
	}
	if !strings.Contains(text, strings.Repeat("#", 40)+"\n") || strings.Contains(text, strings.Repeat("#", 41)) || !strings.HasSuffix(text, ".\n") || !strings.Contains(strings.Join(strings.Fields(text), " "), "longer 0.10 % .") {
		t.Errorf("\n%s", text)
	}
	var one loadgen.Histogram
	one.Add(77_000)
	if text := bars(&one, 16, 40); strings.Count(text, "\n") != 1 || !strings.Contains(text, "100.00 % ") {
		t.Errorf("%q", text)
	}
}
