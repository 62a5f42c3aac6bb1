package initiator

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/internal/testnet"
	"goaoe/test/conformance"
	"goaoe/test/need"
)

// TestVblade uses a disk that Debian's vblade serves: short frames, announcements of version 0.
func TestVblade(t *testing.T) {
	need.Root(t)
	vblade := need.Programs(t, "vblade")[0]
	conformance.Covers(t, "C124")
	for _, mtu := range []int{1500, 9000} {
		path := filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		ns, a, b := testnet.Pair(t, mtu)
		ns.Do(func() {
			cmd := exec.Command(vblade, "5", "7", a, path)
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if err := cmd.Start(); err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
			useVblade(t, b, path, mtu)
		})
	}
}

func useVblade(t *testing.T, iface, path string, mtu int) {
	ctx := context.Background()
	want := aoe.Addr{Major: 5, Minor: 7}
	d, err := Open(ctx, want, Options{Interfaces: []string{iface}, Wait: 10 * time.Second})
	if err != nil {
		t.Error(err)
		return
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	if d.Size() != 1<<20 || d.FrameSectors() != aoe.AdvertisedSectors(mtu) {
		t.Errorf("size %d, %d sectors a frame", d.Size(), d.FrameSectors())
	}
	found, err := DiscoverAll(ctx, Search{Interfaces: []string{iface}})
	if err != nil || len(found) != 1 || found[0].Addr != want || found[0].MAC != d.Target().MAC {
		t.Errorf("discovered %v, %v", found, err)
	}
	rng := rand.NewChaCha8([32]byte{1})
	data := make([]byte, 100<<10)
	_, _ = rng.Read(data)
	if _, err := d.WriteAt(data, 512*333); err != nil {
		t.Error(err)
		return
	}
	got := make([]byte, len(data))
	if _, err := d.ReadAt(got, 512*333); err != nil || !bytes.Equal(got, data) {
		t.Errorf("what was written does not come back (%v)", err)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b[512*333:512*333+len(data)], data) {
		t.Errorf("the file does not hold what was written (%v)", err)
	}
	// vblade refuses FLUSH CACHE EXT and answers FLUSH CACHE with status 0: both are known.
	if err := d.Flush(ctx); err != nil {
		t.Error(err)
	}
}
