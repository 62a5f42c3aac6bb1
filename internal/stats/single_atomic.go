//go:build !(amd64 || arm64) || race

package stats

import "sync/atomic"

// Single is a number that one goroutine writes and any may read: see single_plain.go.
type Single struct{ v atomic.Uint64 }

// Add adds n.
func (c *Single) Add(n uint64) { c.v.Store(c.v.Load() + n) }

// Inc adds one.
func (c *Single) Inc() { c.Add(1) }

// Dec subtracts one, of a number that says how many there are now.
func (c *Single) Dec() { c.v.Store(c.v.Load() - 1) }

// Set replaces the value, of a number that says how many there are now.
func (c *Single) Set(n uint64) { c.v.Store(n) }

// Load returns the value.
func (c *Single) Load() uint64 { return c.v.Load() }

// reset sets the value in order with other atomic operations.
func (c *Single) reset(n uint64) { c.v.Store(n) }

// addShared adds n where there are several writers, who must all use it.
func (c *Single) addShared(n uint64) { c.v.Add(n) }
