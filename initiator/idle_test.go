package initiator

import (
	"testing"
	"time"
)

// TestIdle: a path on which nothing is asked is not silent: after an answer nothing is waited for, and no time counts against it. The next
// request has all of its time.
func TestIdle(t *testing.T) {
	w, _, _, links := pair(t, 9000)
	tune := quick(Options{})
	tune.down, tune.askUp = time.Second, time.Hour
	d := w.open(Options{}, tune, links...)
	p := make([]byte, 64*SectorSize)
	for range 4 {
		for off := int64(0); off < 8; off++ {
			if _, err := d.ReadAt(p, off*int64(len(p))); err != nil {
				t.Fatal(err)
			}
		}
		for len(w.events) > 0 { // what a slow machine made of the reads
			<-w.events
		}
		time.Sleep(tune.down + 300*time.Millisecond)
		for len(w.events) > 0 {
			if e := <-w.events; e.Kind == PathDown || e.Kind == Gone {
				t.Fatalf("while nothing was asked: %v: %v", e.Kind, e.Err)
			}
		}
	}
}
