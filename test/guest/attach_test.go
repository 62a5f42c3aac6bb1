package guest

import (
	"strconv"
	"testing"
	"time"
)

// TestLinuxAttaches: the disk through goaoe attach and the kernel's NBD driver, without the aoe driver.
func TestLinuxAttaches(t *testing.T) {
	goaoeOnly(t) // its target is started on both interfaces by one command
	b := setUp(t)
	const size = 128 << 20
	path := image(t, "disk.img", size)
	b.run(t, job{script: "attach.sh", args: []string{path, strconv.Itoa(size)}, nics: 2, mtu: 9000, add: []string{b.goaoe}, limit: 5 * time.Minute,
		targets: []string{serve(t, b, []string{"t0", "t1"}, export{addr: "0.1", path: path})}, noise: `t0.*(down|DOWN)|ENETDOWN|network is down`})
}
