//go:build (amd64 || arm64) && !race

package stats

import "sync/atomic"

// Single is a number that one goroutine writes (or one after the other, with something between that orders them) and any may read.
//
// The writer adds with an ordinary load and store: a locked addition costs as much as everything else that is counted for a request
// together. On these processors an aligned word is read and written whole, which is all that a reader needs: each value that it sees was
// there. On others, and under the race detector, which cannot know that, the store is atomic (single_atomic.go).
type Single struct{ v uint64 }

// Add adds n.
func (c *Single) Add(n uint64) { c.v += n }

// Inc adds one.
func (c *Single) Inc() { c.v++ }

// Dec subtracts one, of a number that says how many there are now.
func (c *Single) Dec() { c.v-- }

// Set replaces the value, of a number that says how many there are now.
func (c *Single) Set(n uint64) { c.v = n }

// Load returns the value.
func (c *Single) Load() uint64 { return atomic.LoadUint64(&c.v) }

// reset sets the value in order with other atomic operations.
func (c *Single) reset(n uint64) { atomic.StoreUint64(&c.v, n) }

// addShared adds n where there are several writers, who must all use it.
func (c *Single) addShared(n uint64) { atomic.AddUint64(&c.v, n) }
