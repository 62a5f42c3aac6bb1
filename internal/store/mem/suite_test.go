package mem

import (
	"testing"

	"goaoe/internal/store"
	"goaoe/internal/store/storetest"
)

func TestSuite(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store { return mustOpen(t, Options{Size: 2 << 20}) })
	})
	t.Run("shuffled", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store {
			ctl := NewControl(1)
			ctl.Shuffle(5)
			return mustOpen(t, Options{Size: 2 << 20, Control: ctl})
		})
	})
}

func mustOpen(t *testing.T, o Options) *Store {
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
