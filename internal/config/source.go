package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"goaoe/internal/privsep"
)

// NotFoundError says that a source is not there (yet). A daemon waits for it, a check reports it.
type NotFoundError struct {
	Source string // as configured
	Path   string // the path that was tried; empty when there is none to try
}

// Error implements error.
func (e *NotFoundError) Error() string {
	if e.Path == "" || e.Path == e.Source {
		return e.Source + " does not exist"
	}
	return fmt.Sprintf("%s: no such device (%s does not exist)", e.Source, e.Path)
}

// Is makes errors.Is(err, fs.ErrNotExist) true.
func (e *NotFoundError) Is(target error) bool { return target == fs.ErrNotExist }

// linkDirs are the directories under /dev/disk for each kind of name, and the name that blkid has for the kind.
var linkDirs = map[string]string{
	"UUID": "by-uuid", "LABEL": "by-label", "PARTUUID": "by-partuuid", "PARTLABEL": "by-partlabel",
}

// CheckSource checks the form of a source, without a look at the machine.
func CheckSource(spec string) error {
	if strings.HasPrefix(spec, "mem:") {
		n, err := ParseSize(strings.TrimPrefix(spec, "mem:"))
		switch {
		case err != nil:
			return err
		case n == 0 || n%512 != 0:
			return fmt.Errorf("%q: the size must be a multiple of 512 and not 0", spec)
		}
		return nil
	}
	tag, value, ok := strings.Cut(spec, "=")
	if ok && linkDirs[tag] != "" {
		if value == "" {
			return fmt.Errorf("%s= names no device", tag)
		}
		if strings.ContainsRune(value, 0) {
			return fmt.Errorf("%q cannot be the name of a device", spec)
		}
		return nil
	}
	if !filepath.IsAbs(spec) || strings.ContainsRune(spec, 0) {
		return fmt.Errorf("%q is not an absolute path", spec)
	}
	return nil
}

// MemSize returns the size in bytes of a source "mem:SIZE"; ok is false for other sources.
func MemSize(spec string) (size int64, ok bool) {
	if !strings.HasPrefix(spec, "mem:") {
		return 0, false
	}
	n, err := ParseSize(strings.TrimPrefix(spec, "mem:"))
	return n, err == nil
}

// ResolveSource returns the path of a source: paths are themselves, names of devices are looked up in the links below
// /dev/disk and then by the program blkid. All paths are below sysroot ("" for the machine itself; blkid is asked
// only then). The error is a *NotFoundError when the source does not exist at present. Sources in memory have no path.
func ResolveSource(spec, sysroot string) (string, error) {
	if err := CheckSource(spec); err != nil {
		return "", err
	}
	if strings.HasPrefix(spec, "mem:") {
		return "", fmt.Errorf("%s has no path", spec)
	}
	tag, value, ok := strings.Cut(spec, "=")
	dir := linkDirs[tag]
	if !ok || dir == "" {
		path := filepath.Join(sysroot, spec)
		if _, err := privsep.StatSource(path); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return "", &NotFoundError{Source: spec, Path: spec}
			}
			return "", fmt.Errorf("%s: %s", spec, reason(err))
		}
		return path, nil
	}
	value = strings.Trim(value, `"`)
	names := []string{escapeLink(value)}
	if tag == "UUID" || tag == "PARTUUID" { // written in either case; the links of most file systems are in lower case
		names = append(names, strings.ToLower(value), strings.ToUpper(value))
	}
	for _, name := range names {
		path, err := filepath.EvalSymlinks(filepath.Join(sysroot, "/dev/disk", dir, name))
		if err == nil {
			return path, nil
		}
	}
	if sysroot == "" {
		if path := privsep.Device(tag, value); path != "" {
			return path, nil
		}
	}
	return "", &NotFoundError{Source: spec, Path: filepath.Join("/dev/disk", dir, names[0])}
}

// escapeLink writes a label as udev names the link: other than letters, digits and #+-.:=@_ and UTF-8 become \xNN.
func escapeLink(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= 0x80, strings.IndexByte("#+-.:=@_", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}
