package conformance_test

import (
	"runtime"
	"testing"

	"goaoe/test/conformance"
)

// recorder stands in for the test that calls Covers.
type recorder struct {
	testing.TB
	fatal bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Logf(string, ...any)   {}
func (r *recorder) Fatalf(string, ...any) { r.fatal = true; runtime.Goexit() }

func TestCoversRefusesWhatIsNoNumber(t *testing.T) {
	for item, want := range map[string]bool{"C1": false, "C118": false, "": true, "118": true, "c118": true, "C0118": true, "C118 C119": true} {
		r := &recorder{TB: t}
		done := make(chan struct{})
		go func() { defer close(done); conformance.Covers(r, item) }()
		<-done
		if r.fatal != want {
			t.Errorf("Covers(%q): refused %v, want %v", item, r.fatal, want)
		}
	}
}
