package peers

import (
	"bytes"
	"encoding/binary"
	"goaoe/internal/testnet"
	"goaoe/test/program"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The commands of the other end against goaoe, Debian's vblade, and targets made up of the frames that others answer with.

// statuses of the commands.
const (
	okay, failed, wrong, partly, silent, failing, refused, conflict = 0, 1, 2, 3, 4, 5, 11, 12
)

// both runs a test against goaoe and against vblade, on one link of that MTU, at address e0.1.
func both(t *testing.T, mtu int, f func(t *testing.T, r *rig, vblade bool)) {
	for _, peer := range []string{"goaoe", "vblade"} {
		t.Run(peer, func(t *testing.T) {
			if peer == "goaoe" {
				f(t, newRig(t, mtu, 1, "serve", "--state-dir", t.TempDir(), "-i", "t0", "e0.1="+image(t, "a", 1<<20)), false)
				return
			}
			r := joined(t, mtu, "bridge", mtu)
			r.vblade("0", "1", "t0", image(t, "a", 1<<20))
			f(t, r, true)
		})
	}
}

func TestWireConfig(t *testing.T) {
	t.Parallel()
	both(t, 1500, func(t *testing.T, r *rig, _ bool) {
		r.expect(okay, []string{"\n"}, "config", "get", "e0.1")
		r.expect(okay, []string{`e0.1 has the config string "hello"`}, "config", "set", "e0.1", "hello")
		r.expect(okay, nil, "config", "set", "0.1", "hello") // the same again
		r.expect(conflict, []string{`e0.1 has the config string "hello"; goaoe config force replaces it`}, "config", "set", "e0.1", "other")
		if out := r.expect(okay, nil, "config", "get", "e0.1"); out != "hello\n" {
			t.Errorf("get printed %q", out)
		}
		r.expect(okay, nil, "config", "test", "e0.1", "hello")
		r.expect(failed, []string{`another config string: "hello"`}, "config", "test", "e0.1", "hell")
		r.expect(okay, nil, "config", "prefix", "e0.1", "hell")
		r.expect(failed, nil, "config", "prefix", "e0.1", "ell")
		bin := filepath.Join(t.TempDir(), "bin")
		raw := "\x00\xff\x1b[31m\n" + strings.Repeat("x", 1000)
		write(t, bin, raw)
		r.expect(okay, nil, "config", "force", "e0.1", "--from", bin)
		if out := r.expect(okay, nil, "config", "get", "e0.1", "--raw"); out != raw {
			t.Errorf("get --raw printed %q", out)
		}
		if out := r.expect(okay, nil, "config", "get", "e0.1"); out != `\x00\xff\x1b[31m\x0a`+strings.Repeat("x", 1000)+"\n" {
			t.Errorf("get printed %q", out)
		}
		rows := into[[]struct {
			Address, Config string
			Hex             string `json:"config_hex"`
		}](t, r.expect(okay, nil, "config", "get", "--json"))
		if len(rows) != 1 || rows[0].Address != "e0.1" || !strings.HasPrefix(rows[0].Hex, "00ff1b5b") {
			t.Errorf("get --json: %+v", rows)
		}
		r.expect(okay, nil, "config", "clear", "e0.1")
		if out := r.expect(okay, nil, "config", "get", "e0.1"); out != "\n" {
			t.Errorf("after clear, get printed %q", out)
		}
		r.expect(partly, []string{"e0.1", "e3.3: no target answered under this address on h0"}, "config", "get", "0.1", "3.3", "--timeout", "1s")
		write(t, bin, strings.Repeat("x", 1025))
		r.expect(wrong, []string{"longer than the 1024 bytes"}, "config", "set", "e0.1", "--from", bin)
	})
}

func TestWireMask(t *testing.T) {
	t.Parallel()
	const a, b, c = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"
	both(t, 1500, func(t *testing.T, r *rig, vblade bool) {
		self := r.mac("h0")
		list := func() []string {
			t.Helper()
			rows := into[[]struct{ List []string }](t, r.expect(okay, nil, "mask", "get", "e0.1", "--json"))
			return rows[0].List
		}
		if got := list(); len(got) != 0 {
			t.Fatalf("at first the list is %v", got)
		}
		r.expect(refused, []string{"would lock out this machine (" + self + "); add self"}, "mask", "add", "e0.1", a)
		r.expect(okay, []string{"e0.1 serves only " + self + ", " + a}, "mask", "add", "e0.1", "self", a)
		if vblade {
			// vblade says yes to the third member and loses one: that is found out.
			r.expect(failed, []string{"answers nonsense", "vblade does this"}, "mask", "add", "e0.1", b)
			return
		}
		r.expect(okay, nil, "mask", "add", "e0.1", a, b)
		if got := list(); !slices.Equal(got, []string{self, a, b}) {
			t.Errorf("three members: %v", got)
		}
		r.expect(refused, nil, "mask", "remove", "e0.1", "self")
		r.expect(okay, nil, "mask", "remove", "e0.1", a, c)
		r.expect(okay, nil, "mask", "set", "e0.1", c, "self")
		if got := list(); !slices.Contains(got, c) || !slices.Contains(got, self) || len(got) != 2 {
			t.Errorf("set: %v", got)
		}
		r.expect(okay, []string{"e0.1 serves everybody"}, "mask", "clear", "e0.1")
		// who locks himself out by force is out, and told so in bounded time
		r.expect(okay, nil, "mask", "set", "e0.1", a, "--force")
		r.expect(silent, []string{"no target answered"}, "mask", "clear", "e0.1", "--timeout", "1s")
		r.expect(wrong, []string{`"nonsense" is not an Ethernet address`}, "mask", "add", "e0.1", "nonsense")
		r.expect(wrong, []string{"nobody can have this address"}, "mask", "add", "e0.1", "ff:ff:ff:ff:ff:ff")
	})
}

// mac returns the MAC of an interface of the host.
func (r *rig) mac(iface string) string {
	r.t.Helper()
	_, out := r.do("", "cat", "/sys/class/net/"+iface+"/address")
	return strings.TrimSpace(out)
}

func TestWireReserve(t *testing.T) {
	t.Parallel()
	const a = "02:00:00:00:00:0a"
	both(t, 1500, func(t *testing.T, r *rig, _ bool) {
		self := r.mac("h0")
		r.expect(okay, []string{"e0.1 is reserved for " + self}, "reserve", "set", "e0.1")
		r.expect(okay, []string{self}, "reserve", "get")
		r.expect(okay, nil, "ping", "e0.1", "-c", "1", "--kind", "read")
		r.expect(okay, []string{"e0.1 is reserved for " + a}, "reserve", "set", "e0.1", a)
		r.expect(refused, []string{"e0.1 is reserved for " + a + "; goaoe reserve force takes it"}, "reserve", "set", "e0.1")
		r.expect(refused, []string{"release --force"}, "reserve", "release", "e0.1")
		r.expect(okay, nil, "identify", "e0.1") // always answered
		r.expect(refused, []string{"reserved by another initiator"}, "ping", "e0.1", "-c", "1", "--kind", "read")
		rows := into[[]struct{ Reserved []string }](t, r.expect(okay, nil, "discover", "--json"))
		if len(rows) != 1 || !slices.Equal(rows[0].Reserved, []string{a}) {
			t.Errorf("discover: %+v", rows)
		}
		r.expect(okay, nil, "reserve", "force", "e0.1", "self", a)
		r.expect(okay, []string{"e0.1 is released"}, "reserve", "release", "e0.1")
		rows = into[[]struct{ Reserved []string }](t, r.expect(okay, nil, "discover", "--json"))
		if len(rows) != 1 || rows[0].Reserved == nil || len(rows[0].Reserved) != 0 {
			t.Errorf("discover after the release: %+v", rows)
		}
	})
}

// TestWireIdentify: what is decoded is what the disk says, and --raw and --binary are its bytes: those that aoeping prints.
func TestWireIdentify(t *testing.T) {
	t.Parallel()
	both(t, 1500, func(t *testing.T, r *rig, vblade bool) {
		model := "goaoe"
		if vblade {
			model = "Coraid EtherDrive vblade"
		}
		r.expect(okay, []string{model, "1048576 bytes (1.0 MiB), 2048 sectors of 512 bytes"}, "identify", "e0.1")
		id := into[struct {
			Model   string
			Sectors int
		}](t, r.expect(okay, nil, "identify", "e0.1", "--json"))
		if id.Model != model || id.Sectors != 2048 {
			t.Errorf("%+v", id)
		}
		data := []byte(r.expect(okay, nil, "identify", "e0.1", "--binary"))
		words := strings.Fields(r.expect(okay, nil, "identify", "e0.1", "--raw"))
		if len(data) != 512 || len(words) != 256 {
			t.Fatalf("%d bytes, %d words", len(data), len(words))
		}
		for i, w := range words {
			if x := binary.LittleEndian.Uint16(data[2*i:]); w != strings.ToLower(w) || hexWord(x) != w {
				t.Fatalf("word %d is %s, the bytes are %x", i, w, data[2*i:2*i+2])
			}
		}
		if !vblade { // aoeping does not hear vblade's short answers on a virtual link
			if theirs := dump(t, r.ok(nil, "aoeping", "-i", "-s", "10", "0", "1", "h0")); !bytes.Equal(theirs, data) {
				t.Errorf("aoeping shows other bytes:\n%x\n%x", theirs, data)
			}
		}
	})
}

func hexWord(x uint16) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[x>>12], digits[x>>8&15], digits[x>>4&15], digits[x&15]})
}

func TestWireSmart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := filepath.Join(dir, "goaoe.toml")
	write(t, config, "[global]\nstate-directory = \""+dir+"/state\"\n[defaults]\ninterfaces = [\"t0\"]\n[[export]]\naddress = \"0.1\"\nsmart = true\nsource = \""+image(t, "a", 1<<20)+
		"\"\n[[export]]\naddress = \"0.2\"\nsource = \""+image(t, "b", 1<<20)+"\"\n")
	r := newRig(t, 1500, 1, "serve", "-c", config)
	r.expect(okay, []string{"healthy", "no self-test log"}, "smart", "e0.1")
	s := into[struct {
		Healthy bool
		Missing []string
	}](t, r.expect(okay, nil, "smart", "e0.1", "--json"))
	if !s.Healthy || !slices.Equal(s.Missing, []string{"self-test log"}) {
		t.Errorf("%+v", s)
	}
	r.expect(okay, []string{"00000000  01 00"}, "smart", "e0.1", "--log", "0")
	r.expect(failed, []string{"refuses the command"}, "smart", "e0.1", "--log", "9")
	r.expect(okay, nil, "smart", "e0.1", "--disable")
	r.expect(failed, []string{"switched off; goaoe smart --enable"}, "smart", "e0.1")
	r.expect(okay, nil, "smart", "e0.1", "--enable")
	r.expect(okay, []string{"self-test has begun"}, "smart", "e0.1", "--test", "short")
	r.expect(failed, []string{"e0.2 has no SMART"}, "smart", "e0.2")
	r.expect(wrong, []string{"the tests are"}, "smart", "e0.1", "--test", "bogus")
	r.expect(wrong, []string{"only one of"}, "smart", "e0.1", "--enable", "--log", "1")
}

// TestWireSmartDisk: attributes, thresholds and self-tests of a disk that has them, and is failing.
func TestWireSmartDisk(t *testing.T) {
	t.Parallel()
	r := joined(t, 1500, "bridge", 1500)
	r.fake(func(f, mac []byte) [][]byte {
		data := make([]byte, 512)
		status := []byte{0, 0, 0, 0x40, f[28], f[29], f[30], 0, 0, 0, 0, 0}
		switch {
		case f[19] == 1:
			return [][]byte{answerTo(f, mac, 0, 0, configBytes("")...)}
		case f[19] != 0:
			return nil
		case f[27] == 0xec:
			data[164], data[170] = 1, 1                            // words 82, 85: SMART
			data[98+1], data[120] = 2, 100                         // word 49: LBA; 60: sectors
			data[166+1], data[172+1], data[200] = 0x74, 0x34, 0x64 // 83, 86, 100
			return [][]byte{answerTo(f, mac, 0, 0, append(status, data...)...)}
		case f[25] == 0xd0:
			copy(data[2:], []byte{5, 0x33, 0, 30, 30, 0xd2, 4, 0, 0, 0, 0, 0, 194, 0x22, 0, 70, 50, 30})
		case f[25] == 0xd1:
			copy(data[2:], []byte{5, 36})
			copy(data[14:], []byte{194, 0})
		case f[25] == 0xd5 && f[28] == 6:
			copy(data[2:], []byte{2, 0x74, 0x64, 0, 0, 0x67, 0x12, 0, 0})
			data[508] = 1
		case f[25] == 0xda:
			status[5], status[6] = 0xf4, 0x2c
			return [][]byte{answerTo(f, mac, 0, 0, status...)}
		}
		return [][]byte{answerTo(f, mac, 0, 0, append(status, data...)...)}
	})
	out := r.expect(failing, []string{"FAILING"}, "smart", "e0.1")
	for _, re := range []string{`5 +reallocated sectors +30 +30 +36 +1234 +failure +EXCEEDED`, `194 +temperature +70 +50 +0 +30 +age +ok`, `extended +failed, read +100 +sector 4711`} {
		if !regexp.MustCompile(re).MatchString(out) {
			t.Errorf("no %q in\n%s", re, out)
		}
	}
}

// answerTo builds the answer to a request, with what follows the header; padded.
func answerTo(f, mac []byte, flags, code byte, body ...byte) []byte {
	out := append([]byte(nil), f[6:12]...)
	out = append(append(append(out, mac...), 0x88, 0xa2, 0x18|flags, code, 0, 0, 1), f[19:24]...)
	out = append(out, body...)
	for len(out) < 60 {
		out = append(out, 0)
	}
	return out
}

func configBytes(str string) []byte {
	return append([]byte{0, 16, 0x40, 0x19, 2, 0x10, byte(len(str) >> 8), byte(len(str))}, str...)
}

// TestWireOthers: what targets of other makes do differently is understood, and what is nonsense is said to be, in bounded time.
func TestWireOthers(t *testing.T) {
	t.Parallel()
	r := joined(t, 1500, "bridge", 1500)
	const stored = "net.corvus.apple"
	var now atomic.Value
	now.Store("silent")
	config := func(f, mac []byte) []byte { return answerTo(f, mac, 0, 0, configBytes(stored)...) }
	r.fake(func(f, mac []byte) [][]byte {
		set := f[19] == 1 && f[29]&15 == 3
		broadcast := f[0]&1 == 1
		switch now.Load() {
		case "kvblade": // error replies of 24 bytes, no ccmd, nothing to short frames, commands 2 and 3 unknown
			if len(f) < 36 || f[19] > 1 {
				return nil
			}
			if set {
				return [][]byte{answerTo(f, mac, 4, 4)[:24]}
			}
			return [][]byte{config(f, mac)}
		case "ggaoed": // the request behind the header of an error
			if set {
				return [][]byte{answerTo(f, mac, 4, 4, f...)}
			}
			if f[19] > 1 {
				return [][]byte{answerTo(f, mac, 4, 1, f...)}
			}
			return [][]byte{config(f, mac)}
		case "another MAC": // answers what was asked of it from another address
			if out := config(f, mac); !broadcast {
				out[11] ^= 0x55
				return [][]byte{out}
			}
			return [][]byte{config(f, mac)}
		case "rubbish": // the search succeeds, everything else is cut to the header
			if broadcast {
				return [][]byte{config(f, mac)}
			}
			return [][]byte{answerTo(f, mac, 0, 0)[:24]}
		case "errors":
			if broadcast {
				return [][]byte{config(f, mac)}
			}
			return [][]byte{answerTo(f, mac, 4, 3)}
		case "config only":
			if f[19] == 1 {
				return [][]byte{config(f, mac)}
			}
		}
		return nil
	})
	for _, c := range []struct {
		mode string
		code int
		want string
		args string
	}{
		{"silent", silent, "no target answered under this address", "config get e0.1"},
		{"silent", okay, "no target answered", "discover"},
		{"silent", silent, "no target answered", "sancheck"},
		{"kvblade", conflict, `has the config string "` + stored + `"`, "config set e0.1 mine"},
		{"kvblade", failed, "does not support the command", "mask get e0.1"},
		{"kvblade", failed, "does not support the command", "reserve set e0.1"},
		{"ggaoed", conflict, `has the config string "` + stored + `"`, "config set e0.1 mine"},
		{"ggaoed", failed, "does not support the command", "mask get e0.1"},
		{"another MAC", silent, "come from", "config get e0.1"},
		{"another MAC", silent, "come from", "ping e0.1 -c 2 --interval 10ms --wait 200ms"},
		{"another MAC", failed, "and answers come from", "sancheck"},
		{"rubbish", failed, "answers nonsense", "config get e0.1"},
		{"rubbish", failed, "answers nonsense", "identify e0.1"},
		{"rubbish", failed, "answers nonsense", "sancheck"},
		{"rubbish", failed, "answers nonsense", "ping e0.1 -c 2 --interval 10ms"},
		{"errors", failed, "cannot reach its disk", "identify e0.1"},
		{"errors", failed, "cannot reach its disk", "config force e0.1 x"},
		{"config only", silent, "does not answer", "identify e0.1"},
		{"config only", silent, "100% loss", "ping e0.1 -c 2 --interval 10ms --wait 200ms --kind identify"},
		{"config only", failed, "but not IDENTIFY", "sancheck"},
	} {
		now.Store(c.mode)
		begun := time.Now()
		code, out := r.goaoe(append(strings.Fields(c.args), "--timeout", "1s")...)
		if code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s, goaoe %s: exit status %d, want %d and %q:\n%s", c.mode, c.args, code, c.code, c.want, out)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("%s, goaoe %s: took %v", c.mode, c.args, took)
		}
	}
}

// TestWirePing: loss is seen as loss, and SIGINT ends with the summary.
func TestWirePing(t *testing.T) {
	t.Parallel()
	t.Run("good", func(t *testing.T) {
		r := newRig(t, 9000, 1, "export", "--state-dir", t.TempDir(), "0", "1", "t0", image(t, "a", 1<<20))
		for _, kind := range []string{"config", "identify", "read"} {
			r.expect(okay, []string{"5 requests sent, 5 answered, 0% loss", "rtt min/avg/max/mdev = "}, "ping", "e0.1", "-c", "5", "--interval", "5ms", "--kind", kind, "--size", "8726")
		}
		out := r.expect(okay, nil, "ping", "e0.1", "-c", "3", "--interval", "5ms", "--kind", "read", "--size", "8726")
		if !strings.Contains(out, "8726 bytes from") {
			t.Errorf("frames are not as large as asked for:\n%s", out)
		}
		r.expect(okay, []string{"2000 requests sent, 2000 answered"}, "ping", "e0.1", "-f", "-c", "2000")
		r.expect(failed, []string{"at most 9000"}, "ping", "e0.1", "-c", "1", "--size", "9001")
		c := exec.Command("ip", "netns", "exec", r.host, r.bin, "ping", "e0.1", "--interval", "20ms")
		var log program.Log
		c.Stdout, c.Stderr = &log, &log
		if err := testnet.Start(c); err != nil {
			t.Fatal(err)
		}
		for limit := time.Now().Add(10 * time.Second); strings.Count(log.String(), "seq=") < 3 && time.Now().Before(limit); {
			time.Sleep(10 * time.Millisecond)
		}
		if err := c.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); err != nil || !strings.Contains(log.String(), "rtt min/avg/max/mdev = ") {
			t.Errorf("after SIGINT: %v\n%s", err, log.String())
		}
	})
	t.Run("lossy", func(t *testing.T) {
		r := joined(t, 1500, "-loss 20 -dup 20", 0)
		r.vblade("0", "1", "t0", image(t, "a", 1<<20))
		s := into[struct {
			Sent, Answers, Duplicates int
			Loss                      float64 `json:"loss_percent"`
		}](t, lastLine(r.expect(okay, nil, "ping", "e0.1", "-c", "200", "--interval", "2ms", "--wait", "300ms", "--json")))
		// of 200, 36 % lose the request or the answer: 72; three in a thousand runs would have less than 45
		if s.Sent != 200 || s.Answers > 155 || s.Answers < 60 || s.Loss != float64(200-s.Answers)/2 || s.Duplicates == 0 {
			t.Errorf("%+v", s)
		}
		r.expect(okay, nil, "config", "force", "e0.1", "through the loss") // repeated until it is answered
		r.expect(failed, nil, "config", "test", "e0.1", "another")
	})
}

// TestRefusedReplies: the kernel at the target refuses to send large replies, for ever, and says that its queue is full. The others leave
// all the same.
func TestRefusedReplies(t *testing.T) {
	t.Parallel()
	r := joined(t, 9000, "ports", 1500)
	r.start(r.bin, []string{"export", "--state-dir", t.TempDir(), "0", "1", "t0", image(t, "a", 1<<20)})
	r.expect(silent, []string{"10 requests sent, 0 answered"}, "ping", "e0.1", "-c", "10", "--interval", "5ms", "--kind", "read", "--size", "8726", "--wait", "300ms")
	r.expect(okay, []string{"10 requests sent, 10 answered, 0% loss"}, "ping", "e0.1", "-c", "10", "--interval", "20ms", "--kind", "read", "--wait", "3s")
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// TestWireDiscover: a disk over two paths is one, two disks under one address are two, and what comes and goes is told.
func TestWireDiscover(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1500, 2, "serve", "--state-dir", t.TempDir(), "-i", "t0,t1", "e0.1="+image(t, "a", 1<<20))
	type disk struct {
		Address, Serial string
		Size            int64
		Duplicate       bool
		Paths           []struct{ Interface string }
	}
	got := into[[]disk](t, r.expect(okay, nil, "discover", "--json"))
	if len(got) != 1 || len(got[0].Paths) != 2 || got[0].Size != 1<<20 || got[0].Duplicate {
		t.Fatalf("%+v", got)
	}
	r.expect(silent, []string{"e9.9: no target answered"}, "discover", "e9.9")
	r.expect(failed, []string{`interface "h9" does not exist`}, "discover", "-i", "h9")

	var log program.Log
	c := exec.Command("ip", "netns", "exec", r.host, r.bin, "discover", "--watch", "--wait", "300ms", "-i", "h0")
	c.Stdout, c.Stderr = &log, &log
	if err := testnet.Start(c); err != nil {
		t.Fatal(err)
	}
	wait := func(text string) {
		t.Helper()
		for limit := time.Now().Add(20 * time.Second); !strings.Contains(log.String(), text); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatalf("goaoe discover --watch does not say %q:\n%s", text, log.String())
			}
		}
	}
	wait("+ e0.1")
	stop := r.vblade("5", "5", "t0", image(t, "b", 2<<20))
	wait("+ e5.5")
	r.expect(okay, nil, "config", "force", "e5.5", "fish")
	wait("~ e5.5  config string - -> fish")
	stop()
	wait("- e5.5")
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("after SIGINT: %v", err)
	}

}

// TestWireDuplicate: two disks under one address are told apart, and a command does not choose one of them.
func TestWireDuplicate(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1500, 2, "export", "--state-dir", t.TempDir(), "0", "1", "t0", image(t, "a", 1<<20))
	r.vblade("0", "1", "t1", image(t, "other", 4<<20))
	r.expect(okay, []string{"DUPLICATE", "goaoe", "vblade"}, "discover")
	r.expect(failed, []string{"two different disks answer as e0.1", "--mac says which"}, "config", "force", "e0.1", "x")
	r.expect(okay, nil, "config", "force", "e0.1", "x", "-i", "h1")
	r.expect(okay, []string{`"x"`}, "config", "test", "e0.1", "x", "--mac", r.targetMAC("t1"))
	r.expect(failed, []string{`""`}, "config", "test", "e0.1", "x", "--mac", r.targetMAC("t0"))
}

// targetMAC returns the MAC of an interface of the target.
func (r *rig) targetMAC(iface string) string {
	r.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", r.target, "cat", "/sys/class/net/"+iface+"/address").Output()
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestWireBadInput: a clear line and an exit status, at once.
func TestWireBadInput(t *testing.T) {
	t.Parallel()
	r := joined(t, 1500, "bridge", 1500)
	bin := filepath.Join(t.TempDir(), "goaoe")
	data, err := os.ReadFile(r.bin)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bin, data, 0o755); err != nil {
		t.Fatal(err)
	}
	for d := filepath.Dir(bin); strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range []string{"discover", "ping e0.1", "config get e0.1", "sancheck", "identify e0.1"} {
		code, out := r.do("", append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", bin}, strings.Fields(args)...)...)
		if code != failed || !strings.Contains(out, "no permission for packet sockets") {
			t.Errorf("%s without permission: exit status %d\n%s", args, code, out)
		}
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"ping e0.1 -i nope", failed, `interface "nope" does not exist`},
		{"sancheck -i nope", failed, "there is no such interface"},
		{"ping e0.300", wrong, "e0.300"},
		{"ping", wrong, "one ADDRESS"},
		{"ping e0.1 --timeout 0s", wrong, "--timeout 0s"},
		{"ping e0.1 --size 10", wrong, "--size 10"},
		{"ping e0.1 --kind what", wrong, "the kinds are"},
		{"ping e0.1 --mac zz", wrong, "--mac zz"},
		{"config set e0.1", wrong, "ADDRESS and STRING are needed"},
		{"config set e0.* x", wrong, "one target must be named"},
		{"config frob", wrong, "goaoe config get|set"},
		{"mask", wrong, "goaoe mask get|add"},
		{"reserve release", wrong, "ADDRESS is needed"},
		{"sancheck --count 0", wrong, "--count 0"},
		{"discover *.x", wrong, `"x"`},
		{"identify e0.1 --raw --json", wrong, "only one of"},
	} {
		r.expect(c.code, []string{c.want}, strings.Fields(c.args)...)
	}
	command(t, "ip", "-n", r.host, "link", "set", "h0", "down")
	r.expect(failed, []string{"no Ethernet interface is up"}, "discover")
	r.expect(failed, []string{"down"}, "ping", "e0.1", "-i", "h0", "--timeout", "1s")
}
