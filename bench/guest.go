package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// guestDir is where the rig of a Linux kernel in QEMU is, from the top of the repository.
const guestDir = "test/guest"

// guestWork is what scripts/speed.sh does, in its words and in ours.
var guestWork = [][2]string{
	{"fio-read-512", "512 byte random reads"}, {"fio-write-512", "512 byte random writes"}, {"fio-read-1k", "1 KiB random reads"}, {"fio-write-1k", "1 KiB random writes"},
	{"fio-read-4k", "4 KiB random reads"}, {"fio-write-4k", "4 KiB random writes"}, {"fio-read-16k", "16 KiB random reads"}, {"fio-write-16k", "16 KiB random writes"},
	{"fio-read-64k", "64 KiB random reads"}, {"fio-write-64k", "64 KiB random writes"}, {"mkfs", "mkfs.ext4, times a second"}, {"untar", "untar of 404 files onto ext4, times a second"},
	{"read", "reading them back, times a second"},
}

// guestPlain is what no target in the guest's network could be much faster than: it writes into the page cache, as the others do.
func guestPlain() contestant { return newPlain("plain loop, a call each", "-first", "3") }

// guest has the Linux driver do the same work on a disk of goaoe, on one of vblade and on one of a plain loop, in turn, in one guest that is emulated.
func (o *options) guest(ctx context.Context) error {
	own, err := filepath.Abs(o.goaoe)
	if err != nil {
		return err
	}
	peer, err := exec.LookPath(vblade)
	if err != nil {
		return fmt.Errorf("%w (%s)", err, packages[vblade])
	}
	reps, secs, limit := 6, 2, 1800
	if o.quick {
		reps, secs, limit = 4, 1, 900
	}
	if o.reps > 0 {
		reps = o.reps
	}
	if out, err := exec.CommandContext(ctx, guestDir+"/harness/build").CombinedOutput(); err != nil {
		return fmt.Errorf("%s/harness/build: %w: %s", guestDir, err, tail(out))
	}
	logs := filepath.Join(o.out, "guest")
	dir, err := os.MkdirTemp("", "goaoe-bench-guest-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // temporary anyway
	self, err := os.Executable()
	if err != nil {
		return err
	}
	images := make([]string, 3)
	for i := range images {
		images[i] = filepath.Join(dir, fmt.Sprint("disk", i))
		if err := errors.Join(os.WriteFile(images[i], nil, 0o600), os.Truncate(images[i], 256<<20)); err != nil {
			return err
		}
	}
	if n := quietly(ctx, o.noisy); n != "" && !o.noisy {
		return fmt.Errorf("the machine is not quiet: %s; -noisy measures all the same", n)
	}
	before := lookAround()
	cmd := exec.CommandContext(ctx, guestDir+"/harness/run", "-m", "9000", "-T", fmt.Sprint(limit), "-o", logs, "-l", logs, "-a", guestDir+"/scripts/lib.sh",
		"-t", fmt.Sprintf("exec %s serve --socket off --log-level warn --state-dir %s/state --write-cache -i t0 0.1=%s", own, dir, images[0]),
		"-t", fmt.Sprintf("exec %s 0 2 t0 %s", peer, images[1]),
		"-t", fmt.Sprintf("exec env %s=1 %s", plainly, strings.Join(argv(self, guestPlain().args, images[2], "", 0), " ")), guestDir+"/scripts/speed.sh", fmt.Sprint(reps), fmt.Sprint(secs))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if o.quiet {
		cmd.Stdout = nil
	}
	err = cmd.Run()
	noise := lookAround().since(before, os.Getpid()).String()
	if err != nil {
		return fmt.Errorf("the guest (its logs are in %s): %w", logs, err)
	}
	f, err := os.Open(filepath.Join(logs, "results"))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	b := &bench{programs: map[string]string{goaoe: own, vblade: peer}, targetOn: -1, clientOn: -1}
	r := report{Machine: b.machine()}
	r.Machine[1] = fmt.Sprintf("%d repetitions of %d s by the aoe driver of a Linux kernel in QEMU, emulated, which is what limits; goaoe, vblade and a plain loop in turn", reps, secs)
	if r.Rows, err = parseGuest(f, noise); err != nil {
		return err
	}
	r.text(os.Stdout)
	return r.save(o.out, o.json, o.svg)
}

// parseGuest makes rows of what the guest wrote: lines "WORK DISK RATE", in the order in which they were measured.
func parseGuest(in io.Reader, noise string) ([]outcome, error) {
	var out []outcome
	for i, w := range guestWork {
		out = append(out, outcome{ID: numberedFrom("t", i), Title: "Linux driver in a guest: " + w[1], MTU: 9000,
			Entries: []entry{{Name: "goaoe", Kind: goaoe, Command: "goaoe serve --write-cache"}, {Name: "vblade", Kind: vblade, Command: "vblade"},
				{Name: guestPlain().name, Kind: plain, Command: describe(guestPlain())}},
			row: row{contestants: []contestant{{name: "goaoe", kind: goaoe}, {name: "vblade", kind: vblade}, guestPlain()},
				goals: []goal{{what: rate, peer: "vblade", want: 1, limits: plainLimits([]contestant{guestPlain()})}},
				run:   (*bench).once}}) // the load generator is not their client
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 3 {
			return nil, fmt.Errorf("the guest wrote %q", lines.Text())
		}
		v, err := strconv.ParseFloat(f[2], 64)
		if err != nil {
			return nil, fmt.Errorf("the guest wrote %q: %w", lines.Text(), err)
		}
		s := sample{PerSecond: v, Noise: noise}
		if v <= 0 {
			s.Void = "nothing was done"
		}
		found := false
		for i, w := range guestWork {
			if w[0] != f[0] {
				continue
			}
			disk := map[string]int{"e0.1": 0, "e0.2": 1, "e0.3": 2}
			n, ok := disk[f[1]]
			if found = ok; ok {
				e := &out[i].Entries[n]
				e.Samples = append(e.Samples, s)
			}
		}
		if !found {
			return nil, fmt.Errorf("the guest wrote %q", lines.Text())
		}
	}
	for i := range out {
		out[i].sum()
	}
	return out, lines.Err()
}

// numberedFrom is "t1", "t2" ...
func numberedFrom(letter string, i int) string { return fmt.Sprint(letter, i+1) }
