package guest

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"goaoe/test/need"
	"goaoe/test/program"
)

var powerCuts = flag.Int("power.cuts", 1, "how often TestPowerCut cuts the power in each mode")

// powerMode is one way to serve.
type powerMode struct {
	name    string
	disk    string // disk, or file: a file on ext4
	command string
	depth   int
	loses   bool // what is acknowledged early is lost: the control
	informs bool // another target, for comparison: what it loses is told, not judged
}

const powerServe = `exec /root/goaoe export --socket off --state-dir /tmp/state`

func powerModes() []powerMode {
	return []powerMode{
		{name: "direct", disk: "disk", command: powerServe + ` -d 0 1 eth0 $D`, depth: 16},
		{name: "buffered, durable", disk: "disk", command: powerServe + ` 0 1 eth0 $D`, depth: 1},
		{name: "buffered, durable, batched", disk: "disk", command: powerServe + ` 0 1 eth0 $D`, depth: 64},
		{name: "a file on ext4, batched", disk: "file", command: powerServe + ` 0 1 eth0 $D`, depth: 32},
		{name: "without io_uring", disk: "disk", command: powerServe + ` --io-engine threads 0 1 eth0 $D`, depth: 16},
		{name: "write-cache = true", disk: "disk", command: powerServe + ` --write-cache 0 1 eth0 $D`, depth: 16, loses: true},
		{name: "vblade", disk: "disk", command: `exec /root/vblade 0 1 eth0 $D`, depth: 16, informs: true},
		{name: "vblade -s", disk: "disk", command: `exec /root/vblade -s 0 1 eth0 $D`, depth: 16, informs: true},
		{name: "vblade -d", disk: "disk", command: `exec /root/vblade -d 0 1 eth0 $D`, depth: 16, informs: true},
	}
}

// TestPowerCut: the target runs in the guest, on a disk with a write cache. The machine is killed outright at a random moment under
// load, together with what the disk has not been told to keep. Every write that was acknowledged must be there afterwards, and
// no sector may hold anything else than the last acknowledged write or the one that was under way. That write-cache = true does lose
// data shows that the test can see it.
func TestPowerCut(t *testing.T) {
	goaoeOnly(t)
	b := setUp(t)
	need.Programs(t, "nbdkit", "vblade", "debugfs")
	vblade, err := exec.LookPath("vblade")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range powerModes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			cuts, acked, lost := *powerCuts, uint64(0), 0
			for range cuts {
				seed := rand.Uint64()
				a, l := cutOnce(t, b, m, vblade, seed)
				acked, lost = acked+a, lost+l
				switch {
				case t.Failed():
					t.Fatalf("seed %d", seed)
				case l > 0 && !m.loses && !m.informs:
					t.Errorf("%d sectors that were acknowledged are lost (seed %d)", l, seed)
				}
			}
			if m.loses && lost == 0 {
				t.Errorf("nothing of %d writes is lost: then this test cannot see a loss", acked)
			}
			t.Logf("%s: %d cuts, %d writes acknowledged, %d sectors of acknowledged writes lost", m.name, cuts, acked, lost)
			program.Evidence(t, "power.json", map[string]any{"mode": m.name, "cuts": cuts, "acknowledged": acked, "sectors-lost": lost, "must-lose": m.loses})
		})
	}
}

// cutOnce serves, writes, cuts, and looks: how many writes were acknowledged, and how many sectors of such writes are lost.
func cutOnce(t *testing.T, b built, m powerMode, vblade string, seed uint64) (acked uint64, lost int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	const sectors = 32 << 20 / 512
	size, offset := int64(sectors*512), int64(0)
	dir := t.TempDir()
	disk := image(t, "power.img", size)
	if m.disk == "file" { // allocated, so that it lies at one place
		size = 96 << 20
		disk = image(t, "ext4.img", size)
		offset = fileOnExt4(t, disk, sectors*512)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := powerLoad{Dir: dir, Depth: m.depth, Sectors: sectors, Seed: seed, After: 200*time.Millisecond + time.Duration(r.Int64N(int64(2*time.Second)))}
	job, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	b.run(t, machine(m, b, vblade, disk, fmt.Sprintf("exec env %s='%s' %s", powerEnv, job, self)))
	var res powerResult
	out, err := os.ReadFile(filepath.Join(dir, "result.json"))
	if err == nil {
		err = json.Unmarshal(out, &res)
	}
	if err != nil || res.Error != "" || res.Failed > 0 || res.Acked == 0 {
		t.Errorf("the load: %+v, %v", res, err)
		return res.Acked, 0
	}
	records := make([]record, sectors)
	f, err := os.Open(filepath.Join(dir, "acknowledged.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := binary.Read(f, binary.LittleEndian, records); err != nil {
		t.Fatal(err)
	}
	data := readAt(t, disk, offset, sectors*512)
	for i, rec := range records {
		s := data[i*512:][:512]
		n, whole := stamped(s, int64(i), seed)
		switch {
		case whole && (n == rec.Acked || n == rec.Sent):
		case rec.Acked == 0 && !whole:
			t.Errorf("sector %d holds what nobody wrote: % x ...", i, s[:16])
			return res.Acked, lost
		case n > rec.Sent:
			t.Errorf("sector %d holds write %d, and %d was the last", i, n, rec.Sent)
			return res.Acked, lost
		default:
			lost++
		}
	}
	return res.Acked, lost
}

// machine is the guest as a target.
func machine(m powerMode, b built, vblade, disk, load string) job {
	return job{script: "power.sh", args: []string{m.disk, m.command}, add: []string{b.goaoe, vblade}, cut: disk, targets: []string{load}, mtu: 9000, limit: 5 * time.Minute}
}

// fileOnExt4 makes an ext4 with one file disk.img of that size, all zeros, in one piece, and returns where it lies in the image.
func fileOnExt4(t *testing.T, disk string, size int64) int64 {
	t.Helper()
	from := t.TempDir()
	f, err := os.Create(filepath.Join(from, "disk.img"))
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for i := range zeros {
		zeros[i] = 1 // zeros would become a hole
	}
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", from, disk).CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v: %s", err, out)
	}
	out, err := exec.Command("debugfs", "-R", "blocks /disk.img", disk).Output()
	if err != nil {
		t.Fatalf("debugfs: %v", err)
	}
	blocks := strings.Fields(string(out))
	first, err := strconv.ParseInt(blocks[0], 10, 64)
	if err != nil {
		t.Fatalf("debugfs: %s", out)
	}
	for i, b := range blocks {
		if b != strconv.FormatInt(first+int64(i), 10) {
			t.Fatalf("the file does not lie in one piece: block %d is %s, the first is %d", i, b, first)
		}
	}
	g, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if _, err := g.WriteAt(make([]byte, size), first*4096); err != nil {
		t.Fatal(err)
	}
	return first * 4096
}
