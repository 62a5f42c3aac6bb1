package guest

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"goaoe/test/conformance"
)

// The boot sector reads bootSectors sectors from bootReadAt on, and writes them at bootWriteAt with every bit inverted.
const (
	bootReadAt, bootWriteAt, bootSectors = 1, 1000, 64
	bootDone                             = 33 // exit status of QEMU when the boot sector has run to its good end
)

// TestIPXEBoots: iPXE attaches the disk, boots from it, and reads and writes it.
func TestIPXEBoots(t *testing.T) {
	b := setUp(t)
	text, err := os.ReadFile("harness/bootsect.b64")
	if err != nil {
		t.Fatal(err)
	}
	sector, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	if err != nil || len(sector) != 512 {
		t.Fatalf("bootsect.b64: %d bytes, %v", len(sector), err)
	}
	for _, mtu := range []int{1500, 9000} {
		t.Run(fmt.Sprintf("mtu %d", mtu), func(t *testing.T) {
			t.Parallel()
			conformance.Covers(t, "C122")
			const sectors = 131073 // an odd number
			path := image(t, "disk.img", sectors*512)
			data := scribble(t, path, bootReadAt*512, bootSectors*512)
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(sector, 0); err != nil {
				t.Fatal(err)
			}

			command := serve(t, b, []string{"t0"}, export{addr: "0.1", path: path})
			if peer() == "goaoe" { // without a configuration
				command = fmt.Sprintf("exec %s serve --state-dir %s -i t0 e0.1=%s", b.goaoe, t.TempDir(), path)
			}
			log := filepath.Join(t.TempDir(), "log")
			code, out := execute(t, 2*time.Minute, "harness/ipxe", "-m", fmt.Sprint(mtu), "-t", command, "-l", log, "-T", "90")
			l, _ := os.ReadFile(log)
			t.Logf("%s", out)
			if code != bootDone {
				t.Fatalf("exit status %d, want %d\nlog of the target:\n%s", code, bootDone, l)
			}
			for _, line := range complaints(string(l), "") {
				t.Errorf("the target complained: %s", line)
			}
			checkBoot(t, out, path, data, sectors)
		})
	}
}

// checkBoot compares what the boot sector says with the image, and the image with what it should have written.
func checkBoot(t *testing.T, out, path string, data []byte, sectors uint32) {
	t.Helper()
	var sum uint16
	for i := 0; i < len(data); i += 2 {
		sum += binary.LittleEndian.Uint16(data[i:])
	}
	for _, want := range []string{fmt.Sprintf("SECTORS %08x", sectors), fmt.Sprintf("SUM %04x", sum), "BOOTED-OVER-AOE", "READ-WRITE-OK"} {
		// (the serial port wraps lines at 80 columns)
		if !strings.Contains(regexp.MustCompile(`\s`).ReplaceAllString(out, ""), strings.ReplaceAll(want, " ", "")) {
			t.Errorf("the boot sector did not say %q", want)
		}
	}
	for i := range data {
		data[i] = ^data[i]
	}
	if !bytes.Equal(readAt(t, path, bootWriteAt*512, bootSectors*512), data) {
		t.Errorf("the image does not hold what iPXE wrote")
	}
}
