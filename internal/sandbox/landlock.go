package sandbox

import (
	"errors"
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Rights of the three kinds of paths.
const (
	readRights  = ll.AccessFSReadFile | ll.AccessFSReadDir
	fileRights  = ll.AccessFSReadFile | ll.AccessFSWriteFile | ll.AccessFSTruncate
	writeRights = fileRights | ll.AccessFSReadDir | ll.AccessFSRemoveFile | ll.AccessFSMakeReg
)

// landlockVersion returns which version of Landlock the kernel has.
func landlockVersion() (string, error) {
	v, err := ll.LandlockGetABIVersion()
	switch {
	case errors.Is(err, unix.ENOSYS):
		return "", errors.New("the kernel has no Landlock: it came with Linux 5.13, where CONFIG_SECURITY_LANDLOCK is set")
	case errors.Is(err, unix.EOPNOTSUPP):
		return "", errors.New("Landlock is switched off: add landlock to lsm= of the kernel's command line") //nolint:staticcheck // a name
	case err != nil:
		return "", fmt.Errorf("Landlock: %w", err) //nolint:staticcheck // a name
	}
	return fmt.Sprintf("version %d", v), nil
}

// restrictFiles leaves of the file system what the policy names. Descriptors that are open, or are passed to the process, stay as they
// are; looking at what a path is (stat) stays possible everywhere, by the nature of Landlock. TCP ports can be neither bound nor connected
// to any more, where the kernel can forbid it (version 4); listeners that are open go on. The scopes for signals and abstract sockets
// are not used: before version 8 each thread has a domain of its own, and the Go scheduler signals its threads. Seccomp does that.
func restrictFiles(p *Policy) (string, error) {
	version, err := landlockVersion()
	if err != nil {
		return "", err
	}
	rules := []landlock.Rule{
		landlock.PathAccess(writeRights, p.Write...).IgnoreIfMissing(),
	}
	for _, path := range p.Read {
		rights := landlock.AccessFSSet(readRights)
		if !isDir(path) {
			rights = ll.AccessFSReadFile
		}
		rules = append(rules, landlock.PathAccess(rights, path).IgnoreIfMissing())
	}
	rules = append(rules, landlock.PathAccess(fileRights, p.ReadWrite...).IgnoreIfMissing())
	if err := landlock.V5.BestEffort().Restrict(rules...); err != nil {
		return "", err
	}
	return version, nil
}

func isDir(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}
