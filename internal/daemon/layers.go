package daemon

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"goaoe/aoe"
	"goaoe/internal/config"
	"goaoe/internal/privsep"
)

// layers are what the configuration in force is made of: the files as they were when they were last read, and on top of them
// what was changed at run time and not saved. Both go through the parser together, so a change at run time obeys the same rules
// as a line of a file.
type layers struct {
	files   config.Files
	unsaved map[aoe.Addr]config.Layer
}

// clone returns a copy that can be changed.
func (l *layers) clone() layers {
	c := layers{files: l.files, unsaved: maps.Clone(l.unsaved)}
	c.files.DropIns = slices.Clone(l.files.DropIns)
	if c.unsaved == nil {
		c.unsaved = map[aoe.Addr]config.Layer{}
	}
	return c
}

// all returns the files with the run time as the last of them.
func (l *layers) all() config.Files {
	f := l.files
	if len(l.unsaved) == 0 {
		return f
	}
	var b strings.Builder
	for _, a := range slices.SortedFunc(maps.Keys(l.unsaved), func(x, y aoe.Addr) int { return int(x.Key()) - int(y.Key()) }) {
		b.WriteString(l.unsaved[a].TOML())
	}
	f.DropIns = append(slices.Clone(f.DropIns), config.File{Name: config.RunTime, Data: []byte(b.String())})
	return f
}

// layer returns a copy of what the run time says of an export; ok is false when it says nothing.
func (l *layers) layer(a aoe.Addr) (config.Layer, bool) {
	u, ok := l.unsaved[a]
	if !ok {
		u = config.Layer{Addr: a}
	}
	return u.Clone(), ok
}

// put takes a layer over. One that says nothing is dropped.
func (l *layers) put(u config.Layer) {
	if !u.New && len(u.Settings) == 0 {
		delete(l.unsaved, u.Addr)
		return
	}
	l.unsaved[u.Addr] = u
}

// dropIn returns the drop-in that belongs to an export, as far as it is goaoe's to rewrite.
func (l *layers) dropIn(dir string, a aoe.Addr) (layer config.Layer, found bool, err error) {
	name := filepath.Join(dir, config.LayerName(a))
	i := slices.IndexFunc(l.files.DropIns, func(f config.File) bool { return f.Name == name })
	if i < 0 {
		if _, err := os.Lstat(name); err == nil {
			return layer, false, fmt.Errorf("%s was written meanwhile and not read yet; goaoe reload reads it", name)
		}
		return config.Layer{Addr: a, Settings: map[string]string{}}, false, nil
	}
	if layer, err = config.ParseLayer(l.files.DropIns[i]); err != nil {
		return layer, false, err
	}
	if layer.Addr != a {
		return layer, false, fmt.Errorf("%s is about %v, so goaoe does not rewrite it", name, layer.Addr)
	}
	return layer, true, nil
}

// setDropIn puts a drop-in in place, or removes it (nil).
func (l *layers) setDropIn(name string, data []byte) {
	l.files.DropIns = slices.DeleteFunc(l.files.DropIns, func(f config.File) bool { return f.Name == name })
	if data != nil {
		l.files.DropIns = append(l.files.DropIns, config.File{Name: name, Data: data})
		slices.SortStableFunc(l.files.DropIns, func(a, b config.File) int { return strings.Compare(a.Name, b.Name) })
	}
}

// saving is a set of drop-ins to be written; nil removes one.
type saving struct {
	dir   string
	files map[string][]byte
}

// save turns what the run time says of an export into a drop-in. unset are keys that the drop-in shall not have any more.
func (l *layers) save(s *saving, a aoe.Addr, unset []string) error {
	base, found, err := l.dropIn(s.dir, a)
	if err != nil {
		return err
	}
	name := filepath.Join(s.dir, config.LayerName(a))
	u, changed := l.layer(a)
	delete(l.unsaved, a)
	if !changed && len(unset) == 0 {
		return nil
	}
	if u.New && !base.New {
		base = config.Layer{Addr: a, New: true, Settings: map[string]string{}}
	}
	maps.Copy(base.Settings, u.Settings)
	for _, k := range unset {
		if _, set := u.Settings[k]; !set {
			delete(base.Settings, k)
		}
	}
	switch {
	case !base.New && len(base.Settings) == 0 && found:
		l.setDropIn(name, nil)
		s.files[name] = nil
	case base.New || len(base.Settings) > 0:
		data := []byte(base.File())
		l.setDropIn(name, data)
		s.files[name] = data
	}
	return nil
}

// forget removes the drop-in of an export; ok is false when there is none that makes the export.
func (l *layers) forget(s *saving, a aoe.Addr) (ok bool, err error) {
	base, found, err := l.dropIn(s.dir, a)
	if err != nil || !found || !base.New {
		return false, err
	}
	name := filepath.Join(s.dir, config.LayerName(a))
	delete(l.unsaved, a)
	l.setDropIn(name, nil)
	s.files[name] = nil
	return true, nil
}

// write writes the drop-ins. After an error everything is as it was before.
func (s *saving) write() error { return privsep.WriteAll(s.dir, s.files) }
