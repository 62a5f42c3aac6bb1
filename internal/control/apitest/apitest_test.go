package apitest

import (
	"sync"
	"testing"
)

// TestTogether: clients that race are checked by one Spec, all at the same time.
func TestTogether(t *testing.T) {
	for range 20 { // each compiles everything anew
		s := Load(t)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				<-start
				paths := []string{"/v1/exports", "/v1/status", "/v1/interfaces", "/v1/stats"}
				if wrong := s.Check("GET", paths[i%len(paths)], nil, 200, "application/json", []byte(`"x"`)); len(wrong) != 1 {
					t.Errorf("%q", wrong)
				}
			})
		}
		close(start)
		wg.Wait()
	}
}
