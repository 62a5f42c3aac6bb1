package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"goaoe/test/conformance"
)

// TestVLANInTheGuest runs the conformance test of VLAN interfaces inside the guest, because many hosts' kernels have none.
func TestVLANInTheGuest(t *testing.T) {
	goaoeOnly(t)
	b := setUp(t)
	t.Parallel()
	conformance.Covers(t, "C20")
	bin := filepath.Join(t.TempDir(), "netns.test")
	c := exec.Command("go", "test", "-c", "-o", bin, "goaoe/test/netns")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b.run(t, job{script: "vlan.sh", add: []string{bin, b.goaoe}})
}
