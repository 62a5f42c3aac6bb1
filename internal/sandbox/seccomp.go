package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"unsafe"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// calls are the system calls that goaoe makes after its start, whatever their arguments are. The first are those of the hot path: the
// kernel keeps a bitmap of calls that are always allowed (Linux 5.11), older ones go through the list. Names that a processor
// does not have are left out.
var calls = []string{
	"sendmmsg", "sendto", "io_uring_enter", "ppoll", "futex", "pread64", "pwrite64", "pwritev2", "preadv2", "fdatasync", "read", "write",
	// The Go runtime: memory, threads, timers, signals, the poller.
	"munmap", "madvise", "mincore", "brk", "exit", "exit_group", "gettid", "getpid", "getppid", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
	"sigaltstack", "restart_syscall", "sched_yield", "sched_getaffinity", "nanosleep", "clock_nanosleep", "clock_gettime", "gettimeofday", "time",
	"epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_wait", "eventfd2", "pipe2", "getrandom", "set_robust_list", "rseq", "membarrier",
	"getuid", "geteuid", "getgid", "getegid", "uname", "wait4", "waitid",
	// Files that Landlock leaves, and descriptors that came from the opener.
	"openat", "close", "fstat", "newfstatat", "statx", "stat", "lstat", "statfs", "fstatfs", "lseek", "fcntl", "flock", "ftruncate", "fsync", "fallocate", "fadvise64",
	"getdents64", "readlinkat", "readlink", "faccessat", "faccessat2", "access", "unlinkat", "unlink", "renameat", "renameat2", "rename", "mkdirat", "linkat",
	"fchmod", "dup", "dup3", "getcwd", "readv", "writev",
	"io_uring_setup", "io_uring_register",
	// Sockets that are there already, or that socket below lets be made.
	"accept4", "bind", "connect", "getsockname", "getpeername", "getsockopt", "setsockopt", "sendmsg", "recvfrom", "recvmsg", "recvmmsg", "shutdown",
}

// profileCalls are the timers of each thread, and the one of the process, by which the Go runtime takes a profile of processor time. Their signals go to the
// process itself.
var profileCalls = []string{"timer_create", "timer_settime", "timer_delete", "setitimer"}

// Requests of ioctl that are used: on block devices (include/uapi/linux/fs.h), and for an interface's address, MTU and driver. What else SIOCETHTOOL can do needs a
// capability that is gone.
var ioctls = []uint64{unix.BLKGETSIZE64, unix.BLKDISCARD, unix.BLKSSZGET, unix.BLKPBSZGET, unix.BLKALIGNOFF, unix.BLKROGET, unix.SIOCGIFHWADDR,
	unix.SIOCGIFMTU, unix.SIOCETHTOOL}

// prSetVMA names mappings, which the Go runtime does (prctl(2), PR_SET_VMA).
const prSetVMA = 0x53564d41

// conditional are calls that are allowed with certain arguments only.
func conditional() []seccomp.NameWithConditions {
	is := func(arg uint32, v uint64) seccomp.Condition {
		return seccomp.Condition{Argument: arg, Operation: seccomp.Equal, Value: v}
	}
	set := func(arg uint32, v uint64) seccomp.Condition {
		return seccomp.Condition{Argument: arg, Operation: seccomp.BitsSet, Value: v}
	}
	unset := func(arg uint32, v uint64) seccomp.Condition {
		return seccomp.Condition{Argument: arg, Operation: seccomp.BitsNotSet, Value: v}
	}
	pid := uint64(os.Getpid())
	list := []seccomp.NameWithConditions{
		{Name: "clone", Conditions: seccomp.ArgumentConditions{set(0, unix.CLONE_THREAD)}}, // threads, no processes
		{Name: "mmap", Conditions: seccomp.ArgumentConditions{unset(2, unix.PROT_EXEC)}},   // no code from data
		{Name: "mprotect", Conditions: seccomp.ArgumentConditions{unset(2, unix.PROT_EXEC)}},
		{Name: "tgkill", Conditions: seccomp.ArgumentConditions{is(0, pid)}},
		{Name: "kill", Conditions: seccomp.ArgumentConditions{is(0, pid)}},
		{Name: "prctl", Conditions: seccomp.ArgumentConditions{is(0, prSetVMA)}},
		{Name: "prlimit64", Conditions: seccomp.ArgumentConditions{is(0, 0), is(2, 0)}}, // reading one's own
		{Name: "socketpair", Conditions: seccomp.ArgumentConditions{is(0, unix.AF_UNIX)}},
		{Name: "socket", Conditions: seccomp.ArgumentConditions{is(0, unix.AF_UNIX)}},
		{Name: "socket", Conditions: seccomp.ArgumentConditions{is(0, unix.AF_PACKET)}},
		{Name: "socket", Conditions: seccomp.ArgumentConditions{is(0, unix.AF_XDP)}},
		{Name: "socket", Conditions: seccomp.ArgumentConditions{is(0, unix.AF_NETLINK), is(2, unix.NETLINK_ROUTE)}},
	}
	for _, r := range ioctls {
		list = append(list, seccomp.NameWithConditions{Name: "ioctl", Conditions: seccomp.ArgumentConditions{is(1, r)}})
	}
	return list
}

// specAllow is SECCOMP_FILTER_FLAG_SPEC_ALLOW: before Linux 5.16 a filter switches speculative store bypass off, which slows everything
// down. Nothing here runs code of others.
const specAllow seccomp.FilterFlag = unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW

// seccompAvailable says whether calls can be filtered.
func seccompAvailable() (string, error) {
	if !slices.Contains([]string{"amd64", "arm64"}, runtime.GOARCH) {
		return "", fmt.Errorf("there is no list of system calls for %s", runtime.GOARCH)
	}
	action := uint32(seccomp.ActionErrno)
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	switch e {
	case 0:
		return "the kernel has it", nil
	case unix.ENOSYS, unix.EINVAL:
		return "", errors.New("the kernel has no seccomp filters that goaoe can use: Linux 4.14 is needed, with CONFIG_SECCOMP_FILTER")
	}
	return "", fmt.Errorf("seccomp: %w", e)
}

// filterCalls lets only the calls above be made; all others fail with EPERM. The filter is put on all threads at once (SECCOMP_FILTER_FLAG_TSYNC).
func filterCalls(p *Policy) (string, error) {
	if _, err := seccompAvailable(); err != nil {
		return "", err
	}
	machine, err := arch.GetInfo("")
	if err != nil {
		return "", err
	}
	group := seccomp.SyscallGroup{Action: seccomp.ActionAllow}
	missing, err := filterNames("")
	if err != nil {
		return "", err
	}
	for _, name := range calls {
		if !slices.Contains(missing, name) {
			group.Names = append(group.Names, name)
		}
	}
	for _, c := range conditional() {
		if _, ok := machine.SyscallNames[c.Name]; ok {
			group.NamesWithCondtions = append(group.NamesWithCondtions, c)
		}
	}
	if p.Profile {
		group.Names = append(group.Names, profileCalls...)
	}
	// Its flags lie in memory, where a filter cannot see them. Whoever makes threads by it falls back to clone where it does not exist.
	noClone3 := seccomp.SyscallGroup{Names: []string{"clone3"}, Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)}
	f := seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync | specAllow,
		Policy: seccomp.Policy{DefaultAction: seccomp.ActionErrno, Syscalls: []seccomp.SyscallGroup{group, noClone3}}}
	runtime.LockOSThread() // no_new_privs is set for the thread that loads the filter
	defer runtime.UnlockOSThread()
	if err := seccomp.LoadFilter(f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d system calls", len(group.Names)+distinct(group.NamesWithCondtions)), nil
}

// filterNames returns the names of the list that a processor does not have.
func filterNames(processor string) (missing []string, err error) {
	machine, err := arch.GetInfo(processor)
	if err != nil {
		return nil, err
	}
	for _, name := range calls {
		if _, ok := machine.SyscallNames[name]; !ok {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

func distinct(list []seccomp.NameWithConditions) int {
	names := map[string]bool{}
	for _, c := range list {
		names[c.Name] = true
	}
	return len(names)
}
