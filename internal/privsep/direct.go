package privsep

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Direct is the Agent that does everything in this process.
type Direct struct{}

// Open implements Agent.
func (Direct) Open(_ Kind, path string, flags int, perm uint32) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC|unix.O_LARGEFILE, perm)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// Stat implements Agent.
func (Direct) Stat(_ Kind, path string) (Facts, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Facts{}, err
	}
	return factsOf(&st), nil
}

func factsOf(st *unix.Stat_t) Facts {
	return Facts{Dev: uint64(st.Dev), Ino: st.Ino, Rdev: uint64(st.Rdev), Mode: st.Mode, Size: st.Size} //nolint:unconvert // of other widths elsewhere
}

// Device implements Agent. Without the program blkid there is no answer.
func (Direct) Device(tag, value string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "blkid", "-l", "-o", "device", "-t", tag+"="+value).Output()
	path := strings.TrimSpace(string(out))
	if err != nil || !strings.HasPrefix(path, "/") {
		return ""
	}
	return path
}

// Permits implements Agent.
func (Direct) Permits(string) error { return nil }

// WriteAll implements Agent.
func (Direct) WriteAll(dir string, files map[string][]byte) error { return WriteFiles(dir, files) }

// Remove implements Agent.
func (Direct) Remove(path string) error { return os.Remove(path) }

// SendBuffer implements Agent.
func (Direct) SendBuffer(fd, bytes int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, bytes)
}

// tree is the file system as Glob sees it.
type tree struct{}

func (tree) Open(name string) (fs.File, error) { return Open("/" + name) }

func (tree) ReadDir(name string) ([]fs.DirEntry, error) { return ReadDir("/" + name) }

func (tree) Stat(name string) (fs.FileInfo, error) { return os.Stat("/" + name) }

func sortEntries(list []fs.DirEntry) {
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
}

// WriteFiles writes files of one folder, which it makes when it is missing; nil removes a file. After an error everything is as it was before;
// without one it is on stable storage.
func WriteFiles(dir string, files map[string][]byte) error {
	if len(files) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	before := map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		old, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, restore(before))
		}
		if err := replaceFile(name, files[name]); err != nil {
			return errors.Join(err, restore(before))
		}
		before[name] = old
	}
	return syncDir(dir)
}

// restore puts files back.
func restore(before map[string][]byte) error {
	var errs []error
	for name, data := range before {
		errs = append(errs, replaceFile(name, data))
	}
	return errors.Join(errs...)
}

// replaceFile writes a file so that at any moment the old or the new one is there, whole. nil removes it. The entry in the
// directory is durable only after syncDir.
func replaceFile(name string, data []byte) error {
	if data == nil {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".new*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // it is of no use to anybody
	}
	return err
}

// syncDir makes the entries of a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}
