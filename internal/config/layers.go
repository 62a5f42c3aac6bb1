package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"goaoe/aoe"
	"goaoe/internal/privsep"
)

// RunTime is the file name in a Position that stands for changes made at run time and not saved.
const RunTime = "run time"

// File is a configuration file that was read.
type File struct {
	Name string // for messages
	Data []byte
}

// Files are the files that make up a configuration: the main one, and the drop-ins, which add exports and change those of
// the main file.
type Files struct {
	Main    File
	DropIns []File // in the order of their names
}

// DropInDir returns the folder of the drop-ins of a main file: conf.d beside a file that is called goaoe.toml, else FILE.d.
func DropInDir(file string) string {
	if filepath.Base(file) == filepath.Base(DefaultFile) {
		return filepath.Join(filepath.Dir(file), "conf.d")
	}
	return file + ".d"
}

// ReadFiles reads a main file and its drop-ins (*.toml). Nothing is looked at: see Parse.
func ReadFiles(file string) (f Files, ps Problems) {
	f.Main.Name = file
	data, err := readFile(file)
	if err != nil {
		return f, Problems{fileProblem(file, err)}
	}
	f.Main.Data = data
	dir := DropInDir(file)
	entries, err := privsep.ReadDir(dir) // sorted by name
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		ps.add(fileProblem(dir, err))
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if !strings.HasSuffix(name, ".toml") || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		data, err := readFile(name)
		if err != nil {
			ps.add(fileProblem(name, err))
			continue
		}
		f.DropIns = append(f.DropIns, File{name, data})
	}
	return f, ps
}

// fileProblem says why a file cannot be read.
func fileProblem(file string, err error) Problem {
	p := Problem{Severity: Error, Position: Position{File: file}, Message: reason(err)}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Hint = "goaoe init prints one to begin with"
	case errors.Is(err, fs.ErrPermission):
		p.Hint = "run as root, or as the user that the file belongs to"
	}
	return p
}

// dropInSections are the sections that a drop-in may have. The others are about the whole and belong into the main file.
var dropInSections = []string{"export", "change", "access-list", "hosts", "interface", "log-target"}

// dropIn adds a drop-in to what was read so far.
func (d *decoder) dropIn(f File) {
	root, syntax := parseTree(f.Name, f.Data)
	if syntax != nil {
		d.ps.add(*syntax)
		return
	}
	allowed := &node{kind: root.kind, pos: root.pos}
	for _, n := range root.children {
		if !slices.Contains(dropInSections, n.name) && slices.ContainsFunc(Sections, func(s Section) bool { return s.Name == n.name }) {
			d.ps.add(Problem{Severity: Error, Position: n.pos, Key: n.name, Message: "this section belongs into the main file",
				Hint: "a drop-in has " + strings.Join(dropInSections, ", ")})
			continue
		}
		allowed.children = append(allowed.children, n)
	}
	d.decode(allowed)
}

// changes applies the [[change]] sections to the sections of the exports, before anything is made of them.
func (b *builder) changes() {
	if len(b.doc.changes) == 0 {
		return
	}
	index := b.addresses()
	for _, c := range b.doc.changes {
		v, ok := c.set["address"]
		if !ok {
			if !c.bad["address"] {
				b.problem(Error, c, "address", "is missing", `say which export is changed: address = "0.1"`)
			}
			continue
		}
		addr, err := aoe.ParseAddr(v.str)
		if err != nil {
			b.problem(Error, c, "address", err.Error(), `e.g. address = "0.1"`)
			continue
		}
		own := index[addr]
		if own == nil {
			b.problem(Warning, c, "address", fmt.Sprintf("there is no export %s to change", addr), "remove this section, or add the export")
			continue
		}
		for key := range c.bad {
			own.bad[key] = true
		}
		for key, v := range c.set {
			if key != "address" {
				own.set[key] = v
				delete(own.bad, key)
			}
		}
	}
}

// addresses returns the section of each export by its address, those numbered automatically included. Mistakes are
// noted later.
func (b *builder) addresses() map[aoe.Addr]*section {
	index := map[aoe.Addr]*section{}
	var auto []*section
	shelf := func(s *section) uint16 { return uint16(b.effective(s).num("shelf")) }
	for _, own := range b.doc.exports {
		switch v, ok := own.set["address"]; {
		case ok:
			if a, err := aoe.ParseAddr(v.str); err == nil && index[a] == nil {
				index[a] = own
			}
		case own.has("slot"):
			if a := (aoe.Addr{Major: shelf(own), Minor: uint8(own.num("slot"))}); index[a] == nil {
				index[a] = own
			}
		default:
			auto = append(auto, own)
		}
	}
	for _, own := range auto {
		for slot := int(b.doc.defaults.num("slot")); slot < aoe.WildMinor; slot++ {
			if a := (aoe.Addr{Major: shelf(own), Minor: uint8(slot)}); index[a] == nil {
				index[a] = own
				break
			}
		}
	}
	return index
}
