// Package vbladeconf reads what Debian's vblade keeps about its exports: the shell fragments of /etc/vblade.conf.d, one for each
// vblade process (vblade-persistence(5)), and the directories of vblade-persist, which was before that: NAME/env/SHELF, SLOT, NETIF
// and SOURCE, NAME/macs/ADDRESS, and a file NAME/down for those that are not started.
//
// No shell is run: what only a shell could know is an error with its place.
package vbladeconf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"goaoe/aoe"
	"goaoe/internal/config"
)

// Sections of Options.
const (
	secVariable = "variable"
	secOption   = "options"
	secPersist  = "vblade-persist"
)

const noIonice = "all exports are in one process: set IOSchedulingClass= and IOSchedulingPriority= of goaoe.service"

// Options are the variables of vblade.conf.d, the options of vblade(8), and the files of vblade-persist.
var Options = []config.ForeignOption{
	{Section: secVariable, Name: "shelf", Manual: true, Native: "[[export]] shelf"},
	{Section: secVariable, Name: "slot", Manual: true, Native: "[[export]] slot"},
	{Section: secVariable, Name: "netif", Manual: true, Native: "[[export]] interfaces"},
	{Section: secVariable, Name: "filename", Manual: true, Native: "[[export]] source"},
	{Section: secVariable, Name: "options", Manual: true, Native: "see below"},
	{Section: secVariable, Name: "ionice", Manual: true, Instead: noIonice},

	{Section: secOption, Name: "-b", Manual: true, Native: "[[export]] queue-length, buffer-count"},
	{Section: secOption, Name: "-d", Manual: true, Native: "[[export]] direct-io"},
	{Section: secOption, Name: "-s", Manual: true, Native: "[[export]] write-cache"},
	{Section: secOption, Name: "-r", Manual: true, Native: "[[export]] read-only"},
	{Section: secOption, Name: "-m", Manual: true, Native: "[[export]] accept"},
	{Section: secOption, Name: "-o", Manual: true, Native: "[[export]] offset"},
	{Section: secOption, Name: "-l", Manual: true, Native: "[[export]] length"},

	{Section: secPersist, Name: "env/SHELF", Manual: true, Native: "[[export]] shelf"},
	{Section: secPersist, Name: "env/SLOT", Manual: true, Native: "[[export]] slot"},
	{Section: secPersist, Name: "env/NETIF", Manual: true, Native: "[[export]] interfaces"},
	{Section: secPersist, Name: "env/SOURCE", Manual: true, Native: "[[export]] source"},
	{Section: secPersist, Name: "macs/ADDRESS", Manual: true, Native: "[[export]] accept"},
	{Section: secPersist, Name: "down", Native: "[[export]] disabled"},
}

// instance is one vblade process.
type instance struct {
	name   string // of the instance, for messages and comments
	file   string
	vars   map[string]assignment // by lower case name
	macs   []config.Item         // of vblade-persist
	down   bool
	tail   []string    // comments behind the last variable
	others []*instance // further processes of the same file and address: paths
}

// reader makes a draft of instances.
type reader struct {
	d         *config.Draft
	instances []*instance
	warned    bool // of ionice
}

// maxFiles bounds how many exports a directory can have.
const maxFiles = 100_000

// IsPersist tells whether a directory is one of vblade-persist: it has folders with an env folder in them.
func IsPersist(dir string) bool {
	found, err := filepath.Glob(filepath.Join(dir, "*", "env"))
	return err == nil && len(found) > 0
}

// ReadDir reads a directory: /etc/vblade.conf.d, or /var/lib/vblade-persist/vblades.
func ReadDir(dir string) (*config.Draft, error) {
	r := &reader{d: config.NewDraft(dir)}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > maxFiles {
		return nil, fmt.Errorf("%s has more than %d files", dir, maxFiles)
	}
	persist := IsPersist(dir)
	found := false
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case persist && e.IsDir():
			found = true
			r.persist(path)
		case !persist && strings.HasSuffix(e.Name(), ".conf") && !e.IsDir():
			found = true
			data, err := readSmall(path)
			if err != nil {
				r.d.Problem(config.Problem{Severity: config.Error, Position: config.Position{File: path}, Message: reason(err)})
				continue
			}
			r.fragment(path, data)
		}
	}
	if !found {
		return nil, fmt.Errorf("%s has neither files *.conf, as /etc/vblade.conf.d, nor folders with an env folder, as /var/lib/vblade-persist/vblades", dir)
	}
	r.write()
	return r.d, nil
}

// Read reads one fragment.
func Read(file string, data []byte) *config.Draft {
	r := &reader{d: config.NewDraft(file)}
	r.fragment(file, data)
	r.write()
	return r.d
}

// maxFile bounds the size of a fragment in bytes.
const maxFile = 1 << 20

// readSmall reads a file of sensible size.
func readSmall(name string) ([]byte, error) {
	st, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular() || st.Size() > maxFile:
		return nil, fmt.Errorf("this is no configuration file")
	}
	return os.ReadFile(name)
}

// reason is the bare cause of an error.
func reason(err error) string {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// required are the variables that an export cannot do without.
var required = []string{"shelf", "slot", "netif", "filename"}

// fragment reads a file of vblade.conf.d. One without any assignment (the skeleton) is passed over; one that lacks something
// is so, too, as by Debian's scripts, but said.
func (r *reader) fragment(file string, data []byte) {
	list, tail, ok := parseShell(file, data, r.d.Problem)
	if !ok {
		r.d.Broken()
		return
	}
	if len(list) == 0 {
		return
	}
	in := &instance{name: strings.TrimSuffix(filepath.Base(file), ".conf"), file: file, vars: map[string]assignment{}, tail: tail}
	odd := false
	for _, a := range list {
		name := strings.ToLower(a.name)
		if !r.known(a, name) {
			continue
		}
		odd = odd || name != a.name
		in.vars[name] = a
	}
	if odd {
		r.d.Problem(config.Problem{Severity: config.Warning, Position: list[0].pos, Key: list[0].name, Value: list[0].value,
			Message: "Debian's vblade does not know a name in this spelling, and did not start the export; goaoe takes it",
			Hint:    "the names are all lower case"})
	}
	if missing := in.missing(); len(missing) > 0 {
		r.d.Problem(config.Problem{Severity: config.Warning, Position: config.Position{File: file}, Message: strings.Join(missing, " and ") + " missing: the file is passed over, as by Debian's vblade",
			Hint: "complete it, or remove it"})
		return
	}
	r.instances = append(r.instances, in)
}

// known tells whether a variable means something; it notes those that do not.
func (r *reader) known(a assignment, name string) bool {
	var known []string
	for _, o := range Options {
		if o.Section == secVariable {
			if o.Name == name {
				return true
			}
			known = append(known, o.Name)
		}
	}
	hint := "the variables are " + strings.Join(known, ", ")
	if n := config.Nearest(name, known); n != "" {
		hint = fmt.Sprintf("did you mean %s?", n)
	}
	r.d.Problem(config.Problem{Severity: config.Warning, Position: a.pos, Key: a.name, Value: a.value, Message: "there is no such variable, and Debian's vblade passes over it", Hint: hint})
	return false
}

// missing returns the required variables that are not there or empty.
func (in *instance) missing() (out []string) {
	for _, name := range required {
		if in.vars[name].value == "" {
			out = append(out, name)
		}
	}
	return out
}

// persist reads a directory of vblade-persist.
func (r *reader) persist(dir string) {
	in := &instance{name: filepath.Base(dir), file: dir, vars: map[string]assignment{}}
	for file, name := range map[string]string{"SHELF": "shelf", "SLOT": "slot", "NETIF": "netif", "SOURCE": "filename"} {
		path := filepath.Join(dir, "env", file)
		data, err := readSmall(path)
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(data), "\n") // as envdir(8): the first line, without blanks at its end
		pos := config.Position{File: path, Line: 1, Column: 1}
		in.vars[name] = assignment{name: "env/" + file, value: strings.TrimRight(first, " \t\r"), pos: pos, at: pos}
	}
	if missing := in.missing(); len(missing) > 0 {
		r.d.Problem(config.Problem{Severity: config.Warning, Position: config.Position{File: dir}, Message: "the files in env are not complete (" + strings.Join(missing, " and ") + " missing): it is passed over",
			Hint: "complete them, or remove the directory"})
		return
	}
	macs, _ := os.ReadDir(filepath.Join(dir, "macs")) // absent: no list
	for _, e := range macs {
		if name := e.Name(); !e.IsDir() && strings.ContainsAny(name[:1], "0123456789abcdefABCDEF") {
			in.macs = append(in.macs, config.Item{Text: name, Pos: config.Position{File: filepath.Join(dir, "macs", name), Line: 1}})
		}
	}
	_, err := os.Stat(filepath.Join(dir, "down"))
	in.down = err == nil
	r.instances = append(r.instances, in)
}

// write makes the sections of the exports, in the order of their addresses as far as those are numbers.
func (r *reader) write() {
	var first []*instance
next:
	for _, in := range r.instances {
		for _, o := range first {
			if o.same(in) {
				o.others = append(o.others, in)
				continue next
			}
		}
		first = append(first, in)
	}
	sort.SliceStable(first, func(i, j int) bool { return first[i].order() < first[j].order() })
	for _, in := range first {
		r.export(in)
	}
}

// same tells whether o is one more path to the same export: all but the interface is equal.
func (in *instance) same(o *instance) bool {
	for _, name := range []string{"shelf", "slot", "filename", "options"} {
		if in.vars[name].value != o.vars[name].value {
			return false
		}
	}
	return in.vars["netif"].value != o.vars["netif"].value && in.down == o.down && fmt.Sprint(texts(in.macs)) == fmt.Sprint(texts(o.macs))
}

// texts returns the texts of items.
func texts(items []config.Item) (out []string) {
	for _, it := range items {
		out = append(out, it.Text)
	}
	return out
}

// order is a number to sort by.
func (in *instance) order() int {
	shelf, _ := strconv.Atoi(in.vars["shelf"].value)
	slot, _ := strconv.Atoi(in.vars["slot"].value)
	return shelf*(aoe.WildMinor+1) + slot
}
