package all

import (
	"strings"
	"testing"

	"goaoe/internal/link"
	"goaoe/internal/testnet"
)

func TestOpen(t *testing.T) {
	ns, a, _ := testnet.Pair(t, 4200)
	ns.Do(func() {
		links, err := Open(a, Options{Lanes: 2, RingFrames: 64, SendBuffer: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if len(links) != 2 {
			t.Errorf("%d links for 2 lanes", len(links))
		}
		for _, l := range links {
			if i := l.Info(); i.Name != a || i.MTU != 4200 {
				t.Errorf("%+v", i)
			}
			if l.Recv(make([]link.Frame, 1)) != 0 {
				t.Error("a new link hears something")
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := Open("nothere", Options{Lanes: 1}); err == nil || !strings.Contains(err.Error(), "nothere") {
			t.Errorf("an interface that does not exist: %v", err)
		}
	})
}
