package sandbox

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// childEnv makes this test binary the process that is confined and tries to break out. Its value is the folder that it keeps.
const childEnv = "GOAOE_SANDBOX_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// escape is something that a confined process must not be able to do; try returns nil when it could.
type escape struct {
	name string
	part string // what forbids it
	try  func(dir string) error
}

func syscallError(nr uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, e := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); e != 0 {
		return e
	}
	return nil
}

func closed(fd int, err error) error {
	if err == nil {
		_ = unix.Close(fd)
	}
	return err
}

func open(path string, flags int) error { return closed(unix.Open(path, flags|unix.O_CLOEXEC, 0o600)) }

var escapes = []escape{
	{"read /etc/shadow", Landlock, func(string) error { return open("/etc/shadow", unix.O_RDONLY) }},
	{"read /etc/shadow by a path through the state directory", Landlock, func(dir string) error {
		return open(dir+strings.Repeat("/..", strings.Count(dir, "/"))+"/etc/shadow", unix.O_RDONLY)
	}},
	{"read /etc/shadow by a symbolic link", Landlock, func(dir string) error { return open(filepath.Join(dir, "link"), unix.O_RDONLY) }},
	{"read a file beside the state directory", Landlock, func(dir string) error { return open(filepath.Join(dir, "../secret"), unix.O_RDONLY) }},
	{"write there", Landlock, func(dir string) error { return open(filepath.Join(dir, "../secret"), unix.O_WRONLY) }},
	{"make a file there", Landlock, func(dir string) error { return open(filepath.Join(dir, "../new"), unix.O_WRONLY|unix.O_CREAT) }},
	{"remove it", Landlock, func(dir string) error { return unix.Unlink(filepath.Join(dir, "../secret")) }},
	{"cut it", Landlock, func(dir string) error { return unix.Truncate(filepath.Join(dir, "../secret"), 0) }},
	{"move a file out of the state directory", Landlock, func(dir string) error {
		return unix.Rename(filepath.Join(dir, "own"), filepath.Join(dir, "../moved"))
	}},
	{"open a disk by a new device node", Landlock, func(dir string) error { return unix.Mknod(filepath.Join(dir, "disk"), unix.S_IFBLK|0o600, 7<<8) }},
	{"list /root", Landlock, func(string) error { return open("/root", unix.O_RDONLY|unix.O_DIRECTORY) }},
	{"read another process's memory", Landlock, func(string) error { return open(fmt.Sprintf("/proc/%d/mem", os.Getppid()), unix.O_RDONLY) }},
	{"make the file system ours again", Capabilities, func(string) error { return unix.Mount("none", "/mnt", "tmpfs", 0, "") }},
	{"mount by a new namespace", Seccomp, func(string) error { return unix.Unshare(unix.CLONE_NEWUSER | unix.CLONE_NEWNS) }},
	{"run a program", Seccomp, func(string) error { return exec.Command("/bin/true").Run() }},
	{"fork", Seccomp, func(string) error {
		r, _, e := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if e != 0 {
			return e
		}
		if r == 0 { // the child of an escape that worked
			_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
		return nil
	}},
	{"fork by clone3", Seccomp, func(string) error {
		args := [11]uint64{4: uint64(unix.SIGCHLD)}
		return syscallError(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args))
	}},
	{"trace the parent", Seccomp, func(string) error { return unix.PtraceAttach(os.Getppid()) }},
	{"read the parent's memory", Seccomp, func(string) error {
		var b [8]byte
		local := []unix.Iovec{{Base: &b[0], Len: 8}}
		_, err := unix.ProcessVMReadv(os.Getppid(), local, []unix.RemoteIovec{{Base: 0x10000, Len: 8}}, 0)
		return err
	}},
	{"take a descriptor of the parent", Seccomp, func(string) error { return closed(unix.PidfdOpen(os.Getppid(), 0)) }},
	{"signal the parent", Seccomp, func(string) error { return unix.Kill(os.Getppid(), unix.SIGURG) }},
	{"signal a thread of the parent", Seccomp, func(string) error { return unix.Tgkill(os.Getppid(), os.Getppid(), unix.SIGURG) }},
	{"signal everybody", Seccomp, func(string) error { return unix.Kill(-1, 0) }},
	{"make a TCP socket", Seccomp, func(string) error { return closed(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)) }},
	{"make a raw IP socket", Seccomp, func(string) error { return closed(unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)) }},
	{"make an IPv6 socket", Seccomp, func(string) error { return closed(unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)) }},
	{"reach the kernel's modules", Seccomp, func(string) error { return unix.InitModule([]byte("x"), "") }},
	{"load a BPF program", Seccomp, func(string) error { return syscallError(unix.SYS_BPF, 0, 0, 0) }},
	{"use keys", Seccomp, func(string) error {
		_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
		return err
	}},
	{"map memory that can be run", Seccomp, func(string) error {
		_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
		return err
	}},
	{"make memory run", Seccomp, func(string) error {
		b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return nil // that must work
		}
		return unix.Mprotect(b, unix.PROT_READ|unix.PROT_EXEC)
	}},
	{"type into a terminal", Seccomp, func(string) error { return syscallError(unix.SYS_IOCTL, 0, unix.TIOCSTI, 0) }},
	{"chroot", Seccomp, func(string) error { return unix.Chroot("/") }},
	{"become another user", Capabilities, func(string) error { return syscallError(unix.SYS_SETUID, 65534) }},
	{"give a file away", Capabilities, func(dir string) error { return unix.Chown(filepath.Join(dir, "own"), 65534, 65534) }},
	{"set the clock", Capabilities, func(string) error { tv := unix.Timeval{Sec: 1}; return unix.Settimeofday(&tv) }},
	{"change an interface", Capabilities, func(string) error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
		if err != nil {
			return nil // that must work
		}
		defer func() { _ = unix.Close(fd) }()
		ifr, err := unix.NewIfreq("lo")
		if err != nil {
			return nil
		}
		ifr.SetUint16(0)
		return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
	}},
	{"get capabilities back", Seccomp, func(string) error {
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var d [2]unix.CapUserData
		d[0].Permitted, d[0].Effective = ^uint32(0), ^uint32(0)
		return unix.Capset(&h, &d[0])
	}},
	{"lift the limits", Seccomp, func(string) error {
		return unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}, nil)
	}},
	{"open by a handle", Seccomp, func(string) error {
		_, err := unix.OpenByHandleAt(unix.AT_FDCWD, unix.NewFileHandle(1, make([]byte, 8)), 0)
		return err
	}},
}

// needed is what a confined process must still be able to do; try returns why it could not.
var needed = []escape{
	{"a packet socket", "", func(string) error { return closed(unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)) }},
	{"an AF_XDP socket", "", func(string) error { return closed(unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)) }},
	{"who listens on interfaces", "", func(string) error { _, err := os.ReadFile("/proc/thread-self/net/ptype"); return err }},
	{"an interface's MTU and driver", "", func(string) error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		ifr, err := unix.NewIfreq("lo")
		if err != nil {
			return err
		}
		if _, err := unix.IoctlGetEthtoolDrvinfo(fd, "lo"); err != nil && err != unix.EOPNOTSUPP { // lo has none to tell
			return err
		}
		return unix.IoctlIfreq(fd, unix.SIOCGIFMTU, ifr)
	}},
	{"a file in the state directory", "", func(dir string) error {
		name := filepath.Join(dir, fmt.Sprintf("state-%d", unix.Gettid()))
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			return err
		}
		if err := os.Rename(name, name+".new"); err != nil {
			return err
		}
		return os.Remove(name + ".new")
	}},
	{"the interfaces", "", func(string) error { _, err := net.Interfaces(); return err }},
	{"a Unix socket", "", func(string) error { return closed(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)) }},
	{"a thread", "", func(string) error {
		done := make(chan struct{})
		go func() { runtime.LockOSThread(); close(done) }() // the thread ends with the goroutine
		<-done
		return nil
	}},
	{"facts of the kernel", "", func(string) error { _, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled"); return err }},
	{"facts of the process", "", func(string) error { _, err := os.ReadFile("/proc/self/stat"); return err }},
}

// result is what the child tells.
type result struct {
	Parts   []Part
	Escaped []string // names of escapes that worked, with the thread
	Broken  []string // names of what is needed and did not work
	Threads int
}

// child confines itself, with threads that were there before, and lets all of them try.
func child(dir string) {
	const before = 4
	start := make(chan struct{})
	results := make(chan result, before+1)
	var ready sync.WaitGroup
	try := func(who string) (r result) {
		for _, e := range escapes {
			if err := e.try(dir); err == nil {
				r.Escaped = append(r.Escaped, e.name+" ("+who+")")
			}
		}
		for _, n := range needed {
			if err := n.try(dir); err != nil {
				r.Broken = append(r.Broken, fmt.Sprintf("%s (%s): %v", n.name, who, err))
			}
		}
		return r
	}
	for i := range before { // as the lanes are: locked, and in the kernel
		ready.Add(1)
		go func() {
			runtime.LockOSThread()
			ready.Done()
			<-start
			results <- try(fmt.Sprintf("thread %d from before", i))
		}()
	}
	ready.Wait()
	all := result{Parts: Apply(Policy{Keep: []string{"net_raw"}, Write: []string{dir}, Read: []string{"/sys", "/proc/self"}, ReadWrite: []string{os.DevNull}})}
	close(start)
	go func() { runtime.LockOSThread(); results <- try("a new thread") }()
	for range before + 1 {
		r := <-results
		all.Escaped, all.Broken, all.Threads = append(all.Escaped, r.Escaped...), append(all.Broken, r.Broken...), all.Threads+1
	}
	_ = json.NewEncoder(os.Stdout).Encode(all)
	_ = os.Stdout.Sync()
	if os.Getenv(childEnv+"_STAY") != "" {
		time.Sleep(time.Minute)
	}
}

// confined starts the child in a folder of its own and returns what it told.
func confined(t *testing.T) result {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("needs root: a process that has rights")
		}
		t.Skip("needs root: a process that has rights")
	}
	top := t.TempDir()
	dir := filepath.Join(top, "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{filepath.Join(top, "secret"), filepath.Join(dir, "own")} {
		if err := os.WriteFile(f, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/shadow", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the child: %v\n%s", err, out)
	}
	var r result
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	if b, err := os.ReadFile(filepath.Join(top, "secret")); err != nil || string(b) != "secret" {
		t.Errorf("the file beside the state directory: %q, %v", b, err)
	}
	return r
}

// TestBreakOut: a confined process, on threads from before and from after, can do none of what it should not, and all that it needs.
func TestBreakOut(t *testing.T) {
	r := confined(t)
	for _, p := range r.Parts {
		if !p.InForce {
			t.Errorf("this kernel cannot show it: %s", p)
		}
	}
	for _, e := range r.Escaped {
		t.Errorf("it could: %s", e)
	}
	for _, b := range r.Broken {
		t.Errorf("it could not: %s", b)
	}
	if r.Threads != 5 {
		t.Errorf("%d threads tried", r.Threads)
	}
}

// TestEscapesWork: what TestBreakOut tries is possible without a sandbox, so that its failure shows something.
func TestEscapesWork(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	top := t.TempDir()
	dir := filepath.Join(top, "state")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	worked := 0
	for _, e := range escapes {
		switch e.name { // those that harm nobody here, and that root may do on any kernel
		case "read /etc/shadow", "list /root", "run a program", "make a TCP socket", "make a raw IP socket", "map memory that can be run",
			"make memory run", "read another process's memory", "make a file there", "take a descriptor of the parent":
			worked++
			if err := e.try(dir); err != nil {
				t.Errorf("%s fails also without a sandbox: %v", e.name, err)
			}
		}
	}
	if worked != 10 {
		t.Errorf("%d were tried", worked)
	}
}

// TestSwitchedOff: a part that is switched off is not applied, and says why.
func TestSwitchedOff(t *testing.T) {
	why := map[string]string{Capabilities: "not today", Landlock: "not today", Seccomp: "not today"}
	for _, p := range Apply(Policy{Off: why}) {
		if p.InForce || p.Text != "not today" {
			t.Errorf("%+v", p)
		}
	}
	if err := exec.Command("/bin/true").Run(); err != nil {
		t.Errorf("it was applied: %v", err)
	}
}

// TestListsAreKnown: no system call of the list is misspelt.
func TestListsAreKnown(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the list is that of amd64 and others; amd64 has all but few")
	}
	if text, err := filterNames("amd64"); err != nil || len(text) > 0 {
		t.Errorf("not known: %v, %v", text, err)
	}
	if text, err := filterNames("arm64"); err != nil || len(text) > 25 {
		t.Errorf("not known on arm64: %v, %v", text, err)
	}
}
