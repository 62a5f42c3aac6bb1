package daemon

import (
	"context"
	"fmt"
	"testing"
	"time"

	"goaoe/internal/control"
)

// TestAddThousands adds 1000 exports by the API, most of them at once. Each is served; the times are logged, not judged.
func TestAddThousands(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	r.start(onA0)
	const n = 1000
	ctx := context.Background()
	add := func(from, to int) time.Duration {
		t.Helper()
		q := control.ChangeRequest{WaitMS: int((6 * patience).Milliseconds())}
		for i := from; i < to; i++ {
			q.Changes = append(q.Changes, control.Change{Op: control.OpAdd, Address: fmt.Sprintf("%d.%d", 1+i/200, i%200), Source: "mem:64K"})
		}
		begin := time.Now()
		reply, err := r.d.Control().Change(ctx, &q)
		took := time.Since(begin)
		if err != nil {
			t.Fatal(err)
		}
		for _, res := range reply.Results {
			if res.Error != nil || res.Note != "serving on a0" {
				t.Fatalf("%+v", res)
			}
		}
		return took
	}
	oneByOne := func(from, to int) (each time.Duration) {
		for i := from; i < to; i++ {
			each += add(i, i+1)
		}
		return each / time.Duration(to-from)
	}
	first := oneByOne(0, 10)
	many := add(10, n-10)
	last := oneByOne(n-10, n)
	t.Logf("the first 10: %v each; %d at once: %v; the last 10: %v each", first, n-20, many, last)
	s, err := r.d.Control().Status(ctx)
	if err != nil || s.Serving != n {
		t.Errorf("%+v %v", s, err)
	}
}
