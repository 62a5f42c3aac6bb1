package guest

import (
	"testing"
	"time"
)

// Target and driver in one guest, where everything below the target can be broken: see scripts/inside.sh.

// TestLinuxWhileTheDiskFails: EIO, a hanging disk, a full one, under verified I/O; what lies on another disk goes on meanwhile.
func TestLinuxWhileTheDiskFails(t *testing.T) {
	goaoeOnly(t)
	b := setUp(t)
	for name, flags := range map[string][]string{"buffered": nil, "direct": {"--direct"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b.run(t, job{script: "faults_disk.sh", args: flags, add: []string{b.goaoe, "scripts/inside.sh"}, limit: 8 * time.Minute})
		})
	}
}

// TestLinuxWhileTheHostFails: interfaces, clock, descriptors, memory, state folder, the process itself, under verified I/O without an error.
func TestLinuxWhileTheHostFails(t *testing.T) {
	goaoeOnly(t)
	b := setUp(t)
	t.Parallel()
	b.run(t, job{script: "faults_host.sh", add: []string{b.goaoe, "scripts/inside.sh"}, limit: 8 * time.Minute})
}
