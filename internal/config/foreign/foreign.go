// Package foreign reads configuration files of every format that goaoe knows: its own, and those of ggaoed, qaoed and Debian's vblade.
// Files of other targets go through their readers (folders beside this one) and from there the way of a native file, so that the same
// rules hold and messages name file, line and column of the file that the user has.
package foreign

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"goaoe/internal/config"
	"goaoe/internal/config/ggaoed"
	"goaoe/internal/config/qaoed"
	"goaoe/internal/config/vbladeconf"
)

// Describe returns what a user calls a file of this format.
func (f Format) Describe() string {
	switch f {
	case Ggaoed:
		return "a configuration of ggaoed"
	case Qaoed:
		return "a configuration of qaoed"
	case Vblade:
		return "a configuration of Debian's vblade"
	case Persist:
		return "a directory of vblade-persist"
	}
	return "a native configuration"
}

// ParseFormat reads the name of a format, one of those allowed; "auto" and "" are Auto.
func ParseFormat(s string, allowed []Format) (Format, error) {
	if s == "" || s == "auto" {
		return Auto, nil
	}
	var names []string
	for _, f := range allowed {
		if string(f) == s {
			return f, nil
		}
		names = append(names, string(f))
	}
	return Auto, fmt.Errorf("%q is no format that is known here: one of %s", s, strings.Join(names, ", "))
}

// Of returns the format of a file: the one that is asked for, else what Detect says.
func Of(data []byte, format Format) Format {
	if format == Auto {
		return Detect(data)
	}
	return format
}

// Parse is config.Parse for a file of any format. Drop-ins (in opt) are native always.
func Parse(file string, data []byte, format Format, opt config.Options) (*config.Config, config.Problems) {
	if format = Of(data, format); format == Native {
		return config.Parse(file, data, opt)
	}
	return draft(file, data, format, opt.Sysroot).Parse(opt)
}

// Load is config.Load for a file of any format. It returns the format, too.
func Load(file string, format Format, opt config.Options) (*config.Config, Format, config.Problems) {
	files, ps := config.ReadFiles(file)
	if ps.Err() != nil {
		return &config.Config{File: file}, Of(nil, format), ps
	}
	format = Of(files.Main.Data, format)
	opt.DropIns = append(files.DropIns, opt.DropIns...)
	cfg, ps := Parse(file, files.Main.Data, format, opt)
	return cfg, format, ps
}

// draft reads a foreign file.
func draft(file string, data []byte, format Format, sysroot string) *config.Draft {
	switch format {
	case Ggaoed:
		return ggaoed.Read(file, data, sysroot)
	case Qaoed:
		return qaoed.Read(file, data, sysroot)
	default:
		return vbladeconf.Read(file, data)
	}
}

// Conversion is the result of Convert.
type Conversion struct {
	Format   Format
	TOML     string         // the native file; empty when there is an error among the problems
	Config   *config.Config // what the foreign file means
	Problems config.Problems
}

// Convert makes a native file of a foreign one, or of a directory of Debian's vblade. The error says that path cannot be read or is native
// already; what is wrong inside of it is among the problems.
func Convert(path string, format Format, sysroot string) (*Conversion, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	var d *config.Draft
	if st.IsDir() {
		if format != Auto && format != Vblade && format != Persist {
			return nil, fmt.Errorf("%s is a directory, not %s", path, format.Describe())
		}
		format = Vblade
		if vbladeconf.IsPersist(path) {
			format = Persist
		}
		if d, err = vbladeconf.ReadDir(path); err != nil {
			return nil, err
		}
	} else {
		files, ps := config.ReadFiles(path)
		if err := ps.Err(); err != nil {
			return nil, err
		}
		if format = Of(files.Main.Data, format); format == Native {
			return nil, fmt.Errorf("%s is a native configuration already", path)
		}
		d = draft(path, files.Main.Data, format, sysroot)
	}
	c := &Conversion{Format: format}
	c.Config, c.Problems = d.Parse(config.Options{Sysroot: sysroot})
	if c.Problems.Err() == nil {
		c.TOML = head(path, format) + d.TOML()
	}
	return c, nil
}

// head is the beginning of a converted file.
func head(path string, format Format) string {
	return fmt.Sprintf("# Made by goaoe convert of %s, %s. goaoe check says what is wrong with it;\n# all settings: goaoe init --all\n\n",
		strings.ToValidUTF8(filepath.Base(path), "?"), format.Describe())
}
