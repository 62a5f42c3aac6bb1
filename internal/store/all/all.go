// Package all is the registry of storage kinds: each is one folder beside this one and one line in Kinds.
package all

import (
	"fmt"
	"strings"

	"goaoe/internal/store"
	"goaoe/internal/store/file"
	"goaoe/internal/store/mem"
)

// Options are the settings of an export that concern its store. A kind refuses those that it cannot honour.
type Options struct {
	Offset   int64  // bytes of the source to skip, a multiple of 512
	Length   int64  // bytes to serve, a multiple of 512; 0: up to the end
	Direct   bool   // bypass the page cache
	ReadOnly bool   // open for reading only
	WriteNow string // "auto", "on" or "off": whether the lane puts writes that need not be durable into the page cache itself, see file.Options
	Force    bool   // use a device for writing although it is in use otherwise
	Engine   string // "auto", "io_uring" or "threads"
	// PlainFiles, NoReadNow and NoMerge turn off ways to be faster, see file.Options.
	PlainFiles, NoReadNow, NoMerge bool
	IOThreads                      int // threads per store and lane with the engine "threads"; 0: chosen by the store
}

// Kind is one kind of storage.
type Kind struct {
	Name string
	// Prefix begins the sources of this kind; the kind with an empty prefix takes all that no other does.
	Prefix string
	Open   func(source string, o Options) (store.Store, error)
}

// Kinds are the kinds there are. A new one is a folder and a line here.
var Kinds = []Kind{
	{"mem", "mem:", openMem},
	{"file", "", openFile},
}

// KindOf returns the kind that a source is of.
func KindOf(source string) Kind {
	for _, k := range Kinds {
		if strings.HasPrefix(source, k.Prefix) {
			return k
		}
	}
	return Kinds[len(Kinds)-1]
}

// Open opens a source: a path (names such as UUID= are resolved before), or mem:SIZE.
func Open(source string, o Options) (store.Store, error) {
	return KindOf(source).Open(source, o)
}

// Notes returns what an administrator should know of an opened store, one line each; most have nothing to say.
func Notes(s store.Store) []string {
	if n, ok := s.(interface{ Notes() []string }); ok {
		return n.Notes()
	}
	return nil
}

func openMem(source string, o Options) (store.Store, error) {
	size, _, err := mem.ParseSource(source)
	if err != nil {
		return nil, err
	}
	if o.Offset != 0 || o.Length != 0 {
		return nil, fmt.Errorf("%s: memory has no offset and length: give the size that you want", source)
	}
	return opened(mem.Open(mem.Options{Size: size, ReadOnly: o.ReadOnly}))
}

func openFile(source string, o Options) (store.Store, error) {
	return opened(file.Open(source, file.Options{Offset: o.Offset, Length: o.Length, Direct: o.Direct, ReadOnly: o.ReadOnly, WriteNow: o.WriteNow, Force: o.Force,
		Engine: o.Engine, Workers: o.IOThreads, PlainFiles: o.PlainFiles, NoReadNow: o.NoReadNow, NoMerge: o.NoMerge}))
}

// opened makes a nil store of a failed Open, and not an interface with a nil pointer in it.
func opened[S store.Store](s S, err error) (store.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}
