package file

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/store"
	"goaoe/internal/store/storetest"
)

// need skips a test for what this machine cannot do; in CI that is a failure.
func need(t *testing.T, what string, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("this test needs %s: %v", what, err)
	}
	t.Skipf("this test needs %s: %v", what, err)
}

// loop makes a loop device of a file, with the sector size given.
func loop(t *testing.T, path string, sector int, more ...string) string {
	t.Helper()
	args := append([]string{"-f", "--show", "-b", strconv.Itoa(sector)}, more...)
	out, err := exec.Command("losetup", append(args, path)...).CombinedOutput()
	if err != nil {
		need(t, "a loop device", fmt.Errorf("%w: %s", err, out))
	}
	dev := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		for range 50 { // the kernel may still be looking for partitions
			if err = exec.Command("losetup", "-d", dev).Run(); err == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Errorf("detaching %s: %v", dev, err)
	})
	return dev
}

// partition makes a loop device with one partition of n sectors from sector 2049 on and returns the partition's device.
func partition(t *testing.T, n int) string {
	t.Helper()
	path := sparse(t, 8<<20)
	dev := loop(t, path, 512, "-P")
	// By ioctl, not by a partition table: not every kernel reads those.
	if out, err := exec.Command("addpart", dev, "1", "2049", strconv.Itoa(n)).CombinedOutput(); err != nil {
		need(t, "addpart", fmt.Errorf("%w: %s", err, out))
	}
	part := dev + "p1"
	if _, err := os.Stat(part); err != nil { // no udev here: make the node from what sysfs says
		text, err := os.ReadFile("/sys/class/block/" + strings.TrimPrefix(part, "/dev/") + "/dev")
		if err != nil {
			need(t, "partitions on loop devices", err)
		}
		var major, minor uint32
		if _, err := fmt.Sscanf(string(text), "%d:%d", &major, &minor); err != nil {
			t.Fatal(err)
		}
		part = t.TempDir() + "/part"
		if err := unix.Mknod(part, unix.S_IFBLK|0o600, int(unix.Mkdev(major, minor))); err != nil {
			need(t, "device nodes", err)
		}
	}
	return part
}

func TestSuiteOnLoopDevices(t *testing.T) {
	for _, tc := range []struct {
		name   string
		sector int
		o      Options
	}{
		{"uring direct", 512, Options{Engine: "io_uring", Direct: true}},
		{"uring buffered", 512, Options{Engine: "io_uring"}},
		{"threads", 512, Options{Engine: "threads"}},
		{"4Kn direct", 4096, Options{Engine: "io_uring", Direct: true}},
		{"4Kn direct threads", 4096, Options{Engine: "threads", Direct: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dev := loop(t, sparse(t, 4<<20), tc.sector)
			storetest.Run(t, func(t *testing.T) store.Store { return mustOpen(t, dev, tc.o) })
		})
	}
	t.Run("partition", func(t *testing.T) {
		dev := partition(t, 8193)
		storetest.Run(t, func(t *testing.T) store.Store { return mustOpen(t, dev, Options{Direct: true}) })
	})
}

// A partition has its own size (conformance C54), and is known as a part of its disk.
func TestPartitionFacts(t *testing.T) {
	part := partition(t, 8193)
	s := mustOpen(t, part, Options{})
	defer s.Close()
	i := s.Info()
	if i.Size != 8193*512 || i.Tail != 0 {
		t.Errorf("size %d, tail %d, want %d and 0", i.Size, i.Tail, 8193*512)
	}
	if i.Start != 2049*512 || i.End != (2049+8193)*512 {
		t.Errorf("window %d to %d inside the disk", i.Start, i.End)
	}
	if i.AlignOff != 512%i.Physical {
		t.Errorf("alignment offset %d with physical sectors of %d", i.AlignOff, i.Physical)
	}
	disk := "/dev/" + strings.TrimSuffix(strings.TrimPrefix(partName(t, part), "/dev/"), "p1")
	d := mustOpen(t, disk, Options{ReadOnly: true})
	defer d.Close()
	if d.Info().ID != i.ID || !strings.HasPrefix(i.ID, "dev ") {
		t.Errorf("the partition is %q, its disk %q", i.ID, d.Info().ID)
	}
}

// partName returns the kernel's name of a partition whose node may be elsewhere.
func partName(t *testing.T, node string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(node, &st); err != nil {
		t.Fatal(err)
	}
	dir := blockDir(st.Rdev)
	return dir[strings.LastIndex(dir, "/")+1:]
}

func TestDeviceThatGrew(t *testing.T) {
	path := sparse(t, 2<<20)
	dev := loop(t, path, 512)
	s := mustOpen(t, dev, Options{})
	defer s.Close()
	if err := os.Truncate(path, 3<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("losetup", "-c", dev).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if i := s.Info(); i.Size != 2<<20 {
		t.Fatalf("size %d before Refresh", i.Size)
	}
	if i, err := s.Refresh(); err != nil || i.Size != 3<<20 || i.End-i.Start != 3<<20 {
		t.Fatalf("%+v %v", i, err)
	}
}

func TestBusyAndReadOnlyDevices(t *testing.T) {
	dev := loop(t, sparse(t, 4<<20), 512)
	fd, err := unix.Open(dev, unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, dev, Options{}, "in use", "unmount", "read-only = true", "force = true")
	mustOpen(t, dev, Options{ReadOnly: true}).Close()
	mustOpen(t, dev, Options{Force: true}).Close()
	_ = unix.Close(fd)
	a := mustOpen(t, dev, Options{Length: 1 << 20})
	b := mustOpen(t, dev, Options{Offset: 1 << 20}) // two windows of one device in one process
	if fd, err := unix.Open(dev, unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0); err == nil {
		_ = unix.Close(fd)
		t.Error("the device can be claimed by others while it is served")
	}
	a.Close()
	b.Close()
	if fd, err = unix.Open(dev, unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0); err != nil {
		t.Errorf("the device is still claimed after Close: %v", err)
	}
	_ = unix.Close(fd)
	ro := loop(t, sparse(t, 4<<20), 512, "-r")
	wantError(t, ro, Options{}, "read-only = true")
	s := mustOpen(t, ro, Options{ReadOnly: true})
	r := storetest.NewRig(t, s)
	if !s.Info().ReadOnly || s.Info().CanDiscard {
		t.Errorf("%+v", s.Info())
	}
	if e := r.Do(&store.Op{Kind: store.Write, Buf: r.Buf(512)}); e != unix.EROFS {
		t.Errorf("write: %v", e)
	}
	r.Must(&store.Op{Kind: store.Flush})
	r.Must(&store.Op{Kind: store.Read, Buf: r.Buf(512)})
}
