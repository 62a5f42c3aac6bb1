package tune

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Read-ahead of a disk in KiB.
const (
	leastAhead    = 128  // the kernel's default
	spinningAhead = 1024 // some 8 ms of a disk with heads
	mostAhead     = 4096
)

// mostRequests is how long the queue of a scheduler can be (block/blk-mq-sched.h, MAX_SCHED_RQ).
const mostRequests = 2048

// blockDevice is a device as /sys/block has it.
type blockDevice struct {
	name   string // e.g. "sda"; '!' stands for '/'
	queue  int    // requests that the exports on it hold at a time
	direct bool   // none of them uses the page cache
	top    bool   // an export, or its file system, is right on it: read-ahead counts here
	leaf   bool   // no other device is below it: scheduler and queues count here
}

// storage looks at what is behind the exports.
func (m *Machine) storage() []Advice {
	var out []Advice
	var disks []*blockDevice
	find := func(name string) *blockDevice {
		for _, d := range disks {
			if d.name == name {
				return d
			}
		}
		d := &blockDevice{name: name, direct: true}
		disks = append(disks, d)
		return d
	}
	mounts := m.mounts()
	seen := map[string]bool{}
	for _, e := range m.Use.Disks {
		path := m.path(e.Path)
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		var st unix.Stat_t
		if e.Path == "" || unix.Stat(path, &st) != nil {
			continue
		}
		dev := st.Dev
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			dev = st.Rdev
		} else {
			mnt := mountOf(mounts, st.Dev, "/"+strings.TrimPrefix(strings.TrimPrefix(path, m.path("/")), "/"))
			if mnt != nil {
				if !seen[mnt.point] {
					out = append(out, mnt.judge()...)
				}
				seen[mnt.point] = true
				if !m.exists(devDir(dev)) { // btrfs and the like have numbers of their own
					var src unix.Stat_t
					if unix.Stat(m.path(mnt.source), &src) == nil && src.Mode&unix.S_IFMT == unix.S_IFBLK {
						dev = src.Rdev
					}
				}
			}
			out = append(out, sparse(e, &st)...)
		}
		name := m.diskOf(dev)
		if name == "" {
			continue
		}
		top := find(name)
		top.top, top.direct = true, top.direct && e.Direct
		for _, leaf := range m.leaves(name, 0) {
			d := find(leaf)
			d.leaf = true
			d.queue += e.Queue
		}
	}
	for _, d := range disks {
		out = append(out, m.disk(d)...)
	}
	return out
}

func devDir(dev uint64) string {
	return fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(dev), unix.Minor(dev))
}

// diskOf returns the name of the whole disk of a device below /sys/block, or "".
func (m *Machine) diskOf(dev uint64) string {
	dir, err := filepath.EvalSymlinks(m.path(devDir(dev)))
	if err != nil {
		return ""
	}
	rel := "/" + strings.TrimPrefix(strings.TrimPrefix(dir, m.path("/")), "/")
	if m.exists(rel + "/partition") {
		rel = filepath.Dir(rel)
	}
	if name := filepath.Base(rel); m.exists("/sys/block/" + name + "/queue") {
		return name
	}
	return ""
}

// leaves returns the disks that a device is made of: those of a RAID or a volume, or itself.
func (m *Machine) leaves(name string, depth int) []string {
	below := m.names("/sys/block/" + name + "/slaves")
	if len(below) == 0 || depth > 8 {
		return []string{name}
	}
	var out []string
	for _, b := range below {
		if !m.exists("/sys/block/" + b) { // a partition
			if real, err := filepath.EvalSymlinks(m.path("/sys/block/" + name + "/slaves/" + b)); err == nil {
				b = filepath.Base(filepath.Dir(real))
			}
		}
		for _, l := range m.leaves(b, depth+1) {
			if !slices.Contains(out, l) {
				out = append(out, l)
			}
		}
	}
	return out
}

// disk looks at one disk.
func (m *Machine) disk(d *blockDevice) []Advice {
	dir := "/sys/block/" + d.name
	queue := dir + "/queue/"
	var out []Advice
	spinning, _ := m.number(queue + "rotational")
	virtio := strings.HasPrefix(d.name, "vd")
	if d.leaf {
		offered := m.text(queue + "scheduler")
		now, can := picked(offered), strings.Fields(strings.NewReplacer("[", "", "]", "").Replace(offered))
		want, why := "none", "goaoe orders nothing by place, and the disk has no heads to move: a scheduler only costs time"
		if spinning == 1 && !virtio {
			want, why = "mq-deadline", "it has heads to move, and reads must not wait behind many writes"
		}
		switch {
		case offered == "":
		case now != want && slices.Contains(can, want) && (want == "none" || now == "none" || now == "bfq"):
			out = append(out, change(Disks, d.name, Note, Auto, m.diskSetting(d.name, "queue/scheduler"), want, "scheduler "+now, want, why))
			now = want
		default:
			out = append(out, fine(Disks, d.name, "scheduler %s", now))
		}
		// Without a scheduler the queue is that of the disk itself, and cannot be made longer (block/blk-mq.c, blk_mq_update_nr_requests).
		if held := min(d.queue, mostRequests); now != "none" {
			if n, ok := m.number(queue + "nr_requests"); ok && n < int64(held) {
				out = append(out, change(Disks, d.name, Note, Auto, m.diskSetting(d.name, "queue/nr_requests"), strconv.Itoa(held), fmt.Sprintf("its queue takes %d requests", n), strconv.Itoa(held),
					fmt.Sprintf("the exports on it hold %d at a time; those beyond wait outside of it, and cannot be merged", d.queue)))
			}
		}
		if n, ok := m.number(dir + "/device/queue_depth"); ok && n < 16 {
			out = append(out, Advice{Topic: Disks, Subject: d.name, Level: Note, How: ByHand, Is: fmt.Sprintf("the disk takes %d requests at a time", n), Should: "32",
				Why: "it can choose the order only among those that it has", Command: "echo 32 > " + dir + "/device/queue_depth; where that is refused, AHCI in the machine's setup"})
		}
		switch cache := m.text(queue + "write_cache"); cache {
		case "write back":
			out = append(out, fine(Disks, d.name, "it has a write cache, which is flushed before a write is acknowledged"))
		case "write through":
			out = append(out, fine(Disks, d.name, "no write cache that would have to be flushed"))
		}
	}
	if n, ok := m.number(queue + "read_ahead_kb"); ok && d.top {
		set := func(want int, why string) {
			out = append(out, change(Disks, d.name, Note, Auto, m.diskSetting(d.name, "queue/read_ahead_kb"), strconv.Itoa(want), fmt.Sprintf("read-ahead of %d KiB", n), fmt.Sprintf("%d KiB", want), why))
		}
		switch {
		case d.direct:
			out = append(out, fine(Disks, d.name, "read-ahead of %d KiB, which direct-io does not use", n))
		case spinning == 1 && !virtio && n < spinningAhead:
			set(spinningAhead, "an initiator that reads in order asks for a frame at a time; the page cache then reads from the heads in pieces of this size")
		case n < leastAhead:
			set(leastAhead, "an initiator that reads in order asks for a frame at a time, and waits for the disk each time without it")
		case n > mostAhead:
			set(mostAhead, "a few reads in order bring as much into the page cache, and delay what others ask of the disk")
		default:
			out = append(out, fine(Disks, d.name, "read-ahead of %d KiB", n))
		}
	}
	return out
}

// mount is a line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	device  string // MAJOR:MINOR
	point   string
	kind    string
	source  string
	options []string
}

func (m *Machine) mounts() []mount {
	var out []mount
	for line := range strings.Lines(m.text("/proc/self/mountinfo")) {
		f := strings.Fields(line)
		i := slices.Index(f, "-")
		if i < 6 || len(f) < i+4 {
			continue
		}
		out = append(out, mount{device: f[2], point: unescape(f[4]), kind: f[i+1], source: unescape(f[i+2]), options: strings.Split(f[5]+","+f[i+3], ",")})
	}
	return out
}

// unescape puts back what the kernel writes as \040 and the like.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// mountOf returns where a file is mounted: the longest path of those with its device; nil when it is not known.
func mountOf(list []mount, dev uint64, file string) *mount {
	var best *mount
	found := false
	for i, x := range list {
		if x.device != fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev)) {
			continue
		}
		inside := file == x.point || strings.HasPrefix(file, strings.TrimSuffix(x.point, "/")+"/")
		if best == nil || inside && (!found || len(x.point) >= len(best.point)) { // of the same place the last one counts
			best, found = &list[i], inside
		}
	}
	return best
}

// judge says what of a file system's options slows goaoe down.
func (x *mount) judge() []Advice {
	has := func(o string) bool { return slices.Contains(x.options, o) }
	var out []Advice
	say := func(is, should, why, command string) {
		out = append(out, Advice{Topic: Files, Subject: x.point, Level: Note, How: ByHand, Is: is, Should: should, Why: why, Command: command})
	}
	if has("sync") {
		say("mounted with sync", "async", "goaoe makes writes durable itself, many by one flush; sync does it for each", "mount -o remount,async "+x.point+", and in /etc/fstab")
	}
	if !has("noatime") && !has("relatime") && !has("ro") && slices.Contains([]string{"ext4", "ext3", "xfs", "btrfs", "f2fs"}, x.kind) {
		say("mounted with strictatime", "noatime", "each read of an export writes the time of the access", "mount -o remount,noatime "+x.point+", and in /etc/fstab")
	}
	if x.kind == "btrfs" {
		say("a btrfs file system", "files without copy on write, or a device", "each write goes to a new place: the file breaks into pieces, and so does reading in order",
			"chattr +C on the folder, before the file is made (it switches checksums off, too)")
	}
	if len(out) == 0 {
		out = append(out, fine(Files, x.point, "%s, %s", x.kind, strings.Join(x.options[:min(len(x.options), 4)], ",")))
	}
	return out
}

// sparse says when much of a file has no blocks yet.
func sparse(e Disk, st *unix.Stat_t) []Advice {
	missing := st.Size - st.Blocks*512
	if e.ReadOnly || st.Size == 0 || missing < st.Size/20 {
		return nil
	}
	return []Advice{{Topic: Files, Subject: e.Address, Level: Note, How: ByHand, Is: fmt.Sprintf("%s is sparse: %d %% of it have no place on the disk yet", e.Path, 100*missing/st.Size), Should: "all of it has one",
		Why:     "the first write to each place also writes where it is, and that has to be durable, too. It takes the room for good, so keep it sparse where discard is to save room",
		Command: fmt.Sprintf("fallocate -l %d %s", st.Size, e.Path)}}
}
