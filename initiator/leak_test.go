package initiator

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails when a goroutine outlives the tests: each Disk, search and session must end all of its own.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
