package target

import (
	"fmt"
	"slices"

	"goaoe/aoe"
)

// Table finds exports by address. It never changes: a new configuration is a new Table.
type Table struct {
	slots []entry // open addressing, a power of two, at most half full
	mask  uint32
	all   []*Export
}

// entry is one place of the table; e is nil where it is free.
type entry struct {
	key, id uint32 // id is the export's, for who wants to look at nothing of the export itself
	e       *Export
}

// NewTable makes a table of the exports, which may be none. Two exports with the same address are an error.
func NewTable(exports []*Export) (*Table, error) {
	all := slices.Clone(exports)
	slices.SortFunc(all, func(a, b *Export) int { return int(a.addr.Key()) - int(b.addr.Key()) })
	n := 8
	for n < 2*len(all) {
		n *= 2
	}
	t := &Table{slots: make([]entry, n), mask: uint32(n - 1), all: all}
	for i, e := range all {
		if i > 0 && all[i-1].addr == e.addr {
			return nil, fmt.Errorf("two exports have the address %v: give one of them another", e.addr)
		}
		k := e.addr.Key()
		j := spread(k) & t.mask
		for t.slots[j].e != nil {
			j = (j + 1) & t.mask
		}
		t.slots[j] = entry{k, e.ID, e}
	}
	return t, nil
}

// Lookup returns the export at the exact address a, or nil. Wildcards find nothing: go through All with Addr.Match.
func (t *Table) Lookup(a aoe.Addr) *Export { return t.find(a.Key()).e }

// Find returns the export at the exact address with the key k (aoe.Addr.Key), or nil, and its ID, without a look at the export's own memory.
func (t *Table) Find(k uint32) (e *Export, id uint32) {
	s := t.find(k)
	return s.e, s.id
}

// find returns the place of a key, or the free one that ends the search for it.
func (t *Table) find(k uint32) *entry {
	for j := spread(k) & t.mask; ; j = (j + 1) & t.mask {
		s := &t.slots[j]
		if s.e == nil || s.key == k {
			return s
		}
	}
}

// All returns the exports, sorted by address. The slice must not be changed.
func (t *Table) All() []*Export { return t.all }

// spread makes neighbouring addresses hit different places.
func spread(k uint32) uint32 {
	k *= 0x9e3779b1
	return k ^ k>>15
}
