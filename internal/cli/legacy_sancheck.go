package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"goaoe/aoe"
)

// runAoeSancheck prints the tables of aoe-sancheck. It finds out the same as goaoe sancheck, which says more.
func runAoeSancheck(env *Env, args []string) int {
	opts, rest, err := letters("vh").getopt(args)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%q: it takes no arguments", rest[0])
	}
	if err != nil {
		return usage(env, "[-v]", err)
	}
	if has(opts, 'h') {
		_ = usage(env, "[-v]", nil)
		return ExitOK
	}
	c := &sanCheck{env: &Env{Stdin: env.Stdin, Stdout: env.Stdout, Stderr: env.Stderr, Sysroot: env.Sysroot, Program: env.Program},
		flags: wireFlags{timeout: patienceOfTools}, count: 60}
	fmt.Fprint(env.Stdout, "Probing...")
	err = c.run(context.Background(), nil)
	fmt.Fprintln(env.Stdout, "done.")
	const rule = "=========================================="
	fmt.Fprintf(env.Stdout, "%s\nINTERFACE SUMMARY\n%s\nName\tStatus\tMTU\tPCI ID\n", rule, rule)
	for _, i := range c.report.Interfaces {
		state := "UP"
		if i.State != "up" {
			state = "DN"
		}
		fmt.Fprintf(env.Stdout, "%s\t%s\t%d\t%s\n", i.Name, state, i.MTU, pciID(c.netDir(i.Name)))
	}
	fmt.Fprintf(env.Stdout, "%s\nDEVICE SUMMARY\n%s\nDevice\tMacs\tPayload\tLocal Interfaces\n", rule, rule)
	var addrs []aoe.Addr
	for _, p := range c.report.Paths {
		if !slices.Contains(addrs, p.t.Addr) {
			addrs = append(addrs, p.t.Addr)
			c.legacyDisk(p.t.Addr)
		}
	}
	if has(opts, 'v') {
		for _, i := range c.report.Interfaces {
			fmt.Fprintf(env.Stdout, "%s:\n", i.Name)
			for _, p := range c.report.Paths {
				if p.Interface == i.Name {
					fmt.Fprintf(env.Stdout, "%s %x %d\n", p.Address, p.t.MAC[:], p.t.Payload())
				}
			}
			fmt.Fprintln(env.Stdout)
		}
	}
	if err != nil {
		return report(env, asFailure(err))
	}
	return ExitOK
}

// legacyDisk prints a disk and what is wrong with its paths.
func (c *sanCheck) legacyDisk(a aoe.Addr) {
	out := c.env.Stdout
	var paths []sanPath
	var ifaces, macs []string
	sectors := 0
	for _, p := range c.report.Paths {
		if p.t.Addr != a {
			continue
		}
		paths = append(paths, p)
		sectors = max(sectors, p.Sectors)
		if !slices.Contains(ifaces, p.Interface) {
			ifaces = append(ifaces, p.Interface)
		}
		if !slices.Contains(macs, p.MAC) {
			macs = append(macs, p.MAC)
		}
	}
	fmt.Fprintf(out, "%v\t%4d\t%d\t%s\n", a, len(macs), sectors*aoe.SectorSize, strings.Join(ifaces, ","))
	if len(ifaces) != len(macs) {
		fmt.Fprintf(out, "   Mismatched number of interfaces: %d local, %d remote\n", len(ifaces), len(macs))
	}
	for _, p := range paths {
		if p.t.Payload() < p.Sectors {
			fmt.Fprintf(out, "   %s: MTU (%d) not set optimally: the device takes payloads of %d bytes\n", p.Interface, p.MTU, p.Sectors*aoe.SectorSize)
		}
		for _, o := range paths {
			if p.MTU < o.MTU {
				fmt.Fprintf(out, "   %s: MTU different from that of %s (%d vs. %d)\n", p.Interface, o.Interface, p.MTU, o.MTU)
				break
			}
		}
		if p.Carries < p.t.Payload() {
			fmt.Fprintf(out, "   path %s->%x: only capable of %d byte payloads\n", p.Interface, p.t.MAC[:], p.Carries*aoe.SectorSize)
		}
	}
}

// pciID returns vendor and device of a network card, e.g. "8086:10D3"; "" when it is none.
func pciID(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, "device/uevent"))
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(b)) {
		if id, ok := strings.CutPrefix(l, "PCI_ID="); ok {
			return strings.TrimSpace(id)
		}
	}
	return ""
}
