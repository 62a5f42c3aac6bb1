package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"goaoe/internal/config"
)

// logFiles says which log files could not be written: with one of those a daemon does not start. Nothing is made or written.
func (m machine) logFiles(cfg *config.Config) config.Problems {
	var ps config.Problems
	look := func(key, path string, pos config.Position) {
		p := config.Problem{Severity: config.Error, Position: pos, Key: key + ".file", Value: path}
		real := filepath.Join("/", m.sysroot, path)
		st, err := os.Stat(real)
		switch {
		case err == nil && st.IsDir():
			p.Message, p.Hint = path+" is a directory", "name a file in it"
		case err == nil:
			if err = unix.Access(real, unix.W_OK); err == nil {
				return
			}
			p.Message, p.Hint = path+" cannot be written: "+err.Error(), "the service of the packages may write below /var/log/goaoe"
		case !errors.Is(err, fs.ErrNotExist):
			p.Message, p.Hint = err.Error(), "name another file"
		default:
			dir := filepath.Dir(real)
			if err := unix.Access(dir, unix.W_OK|unix.X_OK); errors.Is(err, fs.ErrNotExist) {
				p.Message, p.Hint = "the directory "+filepath.Dir(path)+" does not exist", "make it: install -d -m 0750 "+filepath.Dir(path)
			} else if err != nil {
				p.Message, p.Hint = "no file can be made in "+filepath.Dir(path)+": "+err.Error(), "the service of the packages may write below /var/log/goaoe"
			} else {
				return
			}
		}
		ps = append(ps, p)
	}
	if cfg.Log.Target == config.LogFile && cfg.Log.File != "" {
		look("log", cfg.Log.File, config.Position{File: cfg.File})
	}
	for _, t := range cfg.LogTargets {
		if t.Type == config.LogFile && t.File != "" {
			look("log-target."+t.Name, t.File, t.Pos)
		}
	}
	return ps
}
