// Package need says what a test cannot do without. Where the thing is missing, the test is skipped with the reason; where
// everything is supposed to be there (the environment variable CI is "true", as `make test` sets it), it fails instead, so
// that a skip has to be earned.
package need

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// packages names the Debian package of a program, where it has another name.
var packages = map[string]string{
	"qemu-system-x86_64": "qemu-system-x86",
	"aoeping":            "aoetools",
	"aoecfg":             "aoetools",
	"aoe-sancheck":       "aoetools",
	"aoe-interfaces":     "aoetools",
	"ip":                 "iproute2",
	"qemu-img":           "qemu-utils",
	"qemu-io":            "qemu-utils",
	"nbdinfo":            "libnbd-bin",
	"nbdcopy":            "libnbd-bin",
	"mke2fs":             "e2fsprogs",
	"mkfs.xfs":           "xfsprogs",
	"losetup":            "mount",
	"unshare":            "util-linux",
	"setpriv":            "util-linux",
	"depmod":             "kmod",
	"xz":                 "xz-utils",
	"systemd-analyze":    "systemd",
	"systemctl":          "systemd",
	"udevadm":            "udev",
	"sfdisk":             "fdisk",
	"col":                "bsdextrautils",
	"script":             "bsdutils",
}

// Missing ends the test because of reason: skipped, or failed where CI is "true".
func Missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("cannot be skipped with CI=true: %s", reason)
	}
	t.Skip(reason)
}

// Root needs the test to run as the superuser: it makes network namespaces, links and loop devices.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "needs root (network namespaces, links, loop devices); run it as root, or by `make test`")
	}
}

// Linux needs the operating system to be Linux on this architecture ("amd64"), or on any when it is "".
func Linux(t testing.TB, arch string) {
	t.Helper()
	if runtime.GOOS != "linux" || arch != "" && runtime.GOARCH != arch {
		Missing(t, "needs linux "+arch+", this is "+runtime.GOOS+" "+runtime.GOARCH)
	}
}

// Programs needs programs to be found in PATH or in the folders of the administrator's programs, which an ordinary
// user's PATH leaves out. It returns their paths in the same order.
func Programs(t testing.TB, names ...string) []string {
	t.Helper()
	paths := make([]string, 0, len(names))
	var gone []string
	for _, n := range names {
		p := find(n)
		if p == "" {
			pkg := packages[n]
			if pkg == "" {
				pkg = n
			}
			gone = append(gone, n+" (Debian package "+pkg+")")
		}
		paths = append(paths, p)
	}
	if len(gone) > 0 {
		Missing(t, "needs "+strings.Join(gone, ", ")+"; test/install installs all that the tests need")
	}
	return paths
}

func find(name string) string {
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && !st.IsDir() && st.Mode()&0o111 != 0 {
			return p
		}
	}
	return ""
}
