package package_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"goaoe/test/need"
)

// TestUdevNames: the real driver and the real udev, with our rules: an AoE disk and its partition have all the links in /dev/disk
// that other disks have, and the target's devices the daemon's group.
func TestUdevNames(t *testing.T) {
	t.Parallel()
	need.Root(t)
	need.Linux(t, "amd64")
	need.Programs(t, "qemu-system-x86_64", "mke2fs", "mkfs.xfs", "fio", "ip", "tc", "depmod", "cpio", "xz", "zstd", "aoeping", "udevadm", "sfdisk")
	bin := build(t)
	cache := os.Getenv("GOAOE_GUEST_CACHE")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(dir, "goaoe-guest")
	}
	// A guest of its own beside that of test/guest, with some programs more.
	env := []string{"GOAOE_GUEST_CACHE=" + filepath.Join(cache, "udev"), "GOAOE_GUEST_TOOLS=/bin/udevadm /lib/systemd/systemd-udevd /lib/udev/ata_id sfdisk"}
	script(t, env, "test/guest/harness/build")
	image := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 16<<20); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("test/guest/harness/run", "-T", "150", "-a", "test/guest/scripts/lib.sh", "-a", "dist/udev/62-goaoe.rules", "-a", bin,
		"-t", "exec "+bin+" export --model goaoe --serial SERIAL-1 0 1 t0 "+image, "test/package/udev.sh")
	cmd.Dir, cmd.Env = root(t), append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
