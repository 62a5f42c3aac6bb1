package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"goaoe/internal/privsep"
)

// Options is what a configuration is made of beside the file.
type Options struct {
	Sysroot string // put before the path of the ethers file; empty: the machine's own
	Args    Args   // of the command line
	Idle    bool   // nothing to export is as it should be
	DropIns []File // further files, whose exports and changes are added; see ReadFiles
}

// Load reads a configuration file with its drop-ins and merges the arguments of the command line into it. An empty file name means that
// there are only arguments. The Config is never nil, but must not be used when Problems.Err is not nil.
func Load(file string, opt Options) (*Config, Problems) {
	if file == "" {
		return build("", decoder{doc: newDoc()}, opt)
	}
	f, ps := ReadFiles(file)
	if ps.Err() != nil {
		return &Config{File: file}, ps
	}
	opt.DropIns = append(f.DropIns, opt.DropIns...)
	return Parse(file, f.Main.Data, opt)
}

// readFile reads a file of sensible size.
func readFile(file string) ([]byte, error) {
	f, err := privsep.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	if st, err := f.Stat(); err == nil && st.IsDir() {
		return nil, errors.New("this is a directory, not a configuration file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(data) > maxFileBytes {
		err = fmt.Errorf("more than %s: this is no configuration file", FormatSize(maxFileBytes))
	}
	return data, err
}

// reason is the bare cause of an error of the os package: the file is named by the Problem already.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// Parse is Load for a file that was read already; file is its name for messages.
func Parse(file string, data []byte, opt Options) (*Config, Problems) {
	root, syntax := parseTree(file, data)
	d := decoder{doc: newDoc()}
	d.decode(root)
	if syntax != nil { // what was read up to there can be judged key by key, but not as a whole
		d.ps.add(*syntax)
		return &Config{File: file}, d.ps.unique().Sorted()
	}
	return build(file, d, opt)
}

// FromArgs makes a configuration of the command line alone.
func FromArgs(args Args) (*Config, Problems) { return Load("", Options{Args: args}) }

// FilePath returns the file to read when the user named none: DefaultFile if it exists, else "".
func FilePath(sysroot string) string {
	if _, err := os.Stat(filepath.Join(sysroot, DefaultFile)); err == nil {
		return filepath.Join(sysroot, DefaultFile)
	}
	return ""
}
