package need_test

import (
	"runtime"
	"strings"
	"testing"

	"goaoe/test/need"
)

// recorder stands in for the test that needs something.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Helper() {}
func (r *recorder) Skip(args ...any) {
	r.skipped, _ = args[0].(string)
	runtime.Goexit()
}
func (r *recorder) Fatalf(_ string, args ...any) {
	r.failed, _ = args[0].(string)
	runtime.Goexit()
}

func run(t *testing.T, f func(testing.TB)) *recorder {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() { defer close(done); f(r) }()
	<-done
	return r
}

func TestMissingFailsInCIOnly(t *testing.T) {
	ask := func(tb testing.TB) { need.Programs(tb, "sh", "no-such-program-anywhere") }
	t.Setenv("CI", "")
	if r := run(t, ask); !strings.Contains(r.skipped, "no-such-program-anywhere") || r.failed != "" {
		t.Errorf("outside of CI: skipped %q, failed %q", r.skipped, r.failed)
	}
	t.Setenv("CI", "true")
	if r := run(t, ask); !strings.Contains(r.failed, "no-such-program-anywhere") || r.skipped != "" {
		t.Errorf("in CI: skipped %q, failed %q", r.skipped, r.failed)
	}
}

func TestProgramsFindsWhatIsThere(t *testing.T) {
	var got []string
	r := run(t, func(tb testing.TB) { got = need.Programs(tb, "sh", "ls") })
	if r.skipped+r.failed != "" || len(got) != 2 || !strings.HasSuffix(got[0], "/sh") {
		t.Fatalf("got %q, skipped %q, failed %q", got, r.skipped, r.failed)
	}
}
