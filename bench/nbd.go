package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"goaoe/internal/loadgen"
)

// Kinds of contestants of the rows about NBD, which fio's nbd engine asks: goaoe attach over goaoe, and nbdkit over TCP, both with the same file
// at the other end of the same link. The target's end of it is in a namespace of its own there, or TCP would not use the link.
const (
	attachKind = "attach"
	nbdkit     = "nbdkit"
)

const (
	nbdkitAddr = "10.99.0.1"
	fioAddr    = "10.99.0.2"
	nbdkitPort = "10809"
)

func isNBD(kind string) bool { return kind == attachKind || kind == nbdkit }

// far is the namespace of the target's end.
type far struct {
	ns   netns.NsHandle
	near string // the interface of the pair that stayed here
}

// newFar makes the namespace and puts the target's interface of a pair into it.
func newFar(pair int) (*far, error) {
	near, away := realName(clientIf, pair), realName(targetIf, pair)
	here, err := netns.Get()
	if err != nil {
		return nil, err
	}
	defer func() { _ = here.Close() }()
	ns, err := netns.New() // and enters it; this thread is locked
	if err != nil {
		return nil, fmt.Errorf("making a namespace for the target: %w", err)
	}
	if err := netns.Set(here); err != nil {
		return nil, err
	}
	f := &far{ns, near}
	l, err := netlink.LinkByName(away)
	if err == nil {
		err = netlink.LinkSetNsFd(l, int(ns))
	}
	if err == nil {
		err = f.do(func() error { return address(away, nbdkitAddr) })
	}
	if err == nil {
		err = address(near, fioAddr)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the link for NBD: %w", err), ns.Close())
	}
	return f, nil
}

// close removes the link, whose other end undo of wire does not find.
func (f *far) close() {
	if l, err := netlink.LinkByName(f.near); err == nil {
		_ = netlink.LinkDel(l) // the namespaces end soon anyway
	}
	_ = f.ns.Close()
}

// do calls do in the namespace, or where it is called when there is none.
func (f *far) do(do func() error) error {
	if f == nil {
		return do()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := netns.Get()
	if err != nil {
		return err
	}
	defer func() { _ = here.Close() }()
	if err := netns.Set(f.ns); err != nil {
		return err
	}
	return errors.Join(do(), netns.Set(here))
}

// address gives an interface an address and takes it up.
func address(name, ip string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	a := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(ip), Mask: net.CIDRMask(24, 32)}}
	return errors.Join(netlink.AddrAdd(l, a), netlink.LinkSetUp(l))
}

// nbd runs a contestant once that fio asks over NBD. In rows about goaoe attach nothing is bound to a CPU: there are three programs at work with
// goaoe and two with nbdkit.
func (b *bench) nbd(ctx context.Context, r row, w work) sample {
	c, f, id := w.contestant, w.far, w.id
	state := filepath.Join(b.state, id)
	program, args := b.programs[goaoe], goaoeExport("--write-cache")
	if c.kind == nbdkit {
		program, args = b.programs[nbdkit], c.args
	}
	var target *process
	err := f.do(func() (err error) {
		target, err = start(place(r, c, b.targetOn), filepath.Join(b.logs, id+"-target.log"), argv(program, args, b.image, state, w.pair))
		return err
	})
	if err != nil {
		return sample{Void: err.Error()}
	}
	defer target.stop()
	uri := "nbd://" + net.JoinHostPort(nbdkitAddr, nbdkitPort) + "/"
	if c.kind == attachKind {
		run := filepath.Join(b.state, id+"-run")
		socket := filepath.Join(run, "s")
		p, err := start(-1, filepath.Join(b.logs, id+"-attach.log"), argv(b.programs[goaoe], append([]string{"attach", "--foreground", "--run-dir", run, "--socket", socket}, c.args...), b.image, state, w.pair))
		if err != nil {
			return sample{Void: err.Error()}
		}
		defer p.stop()
		uri = "nbd+unix:///?socket=" + socket
		if err := listens(p, "unix", socket); err != nil {
			return sample{Void: err.Error()}
		}
	} else if err := listens(target, "tcp", net.JoinHostPort(nbdkitAddr, nbdkitPort)); err != nil {
		return sample{Void: err.Error()}
	}
	t := b.times.whole
	used := loadgen.ProcessCPU(target.cmd.Process.Pid)
	s, err := b.fioNBD(ctx, r, place(r, c, b.clientOn), uri)
	if c.kind == nbdkit && s.PerSecond > 0 { // of its warm-up, too
		s.TargetCPU = (loadgen.ProcessCPU(target.cmd.Process.Pid) - used) * 1e6 / (s.PerSecond * (t.warmup + t.duration).Seconds())
	}
	if err = errors.Join(err, target.gone()); err != nil {
		return sample{Void: err.Error()}
	}
	return s
}

// listens waits until a server takes connections.
func listens(p *process, network, addr string) error {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial(network, addr)
		if err == nil {
			return c.Close()
		}
		if e := p.gone(); e != nil {
			return e
		}
		if time.Now().After(end) {
			return fmt.Errorf("nobody listens at %s: %w", addr, err)
		}
	}
}

// fioNBDArgs is fio's command line. Its usual latencies leave the submission out, in which a server on the same processor may do all of the work.
func fioNBDArgs(r row, uri string, size int64, t timing) []string {
	how := "randread"
	if r.work.Sequential {
		how = "read"
	}
	return []string{"fio", "--name=bench", "--ioengine=nbd", "--uri=" + uri, "--rw=" + how, fmt.Sprintf("--bs=%d", r.work.Sectors*512), fmt.Sprintf("--iodepth=%d", r.work.Depth),
		fmt.Sprintf("--size=%d", size), "--norandommap", "--randrepeat=0", "--time_based", "--runtime=" + ms(t.duration), "--ramp_time=" + ms(t.warmup),
		"--lat_percentiles=1", "--clat_percentiles=0", "--output-format=json"}
}

func (b *bench) fioNBD(ctx context.Context, r row, cpu int, uri string) (sample, error) {
	args := fioNBDArgs(r, uri, b.size, b.times.whole)
	cmd := exec.CommandContext(ctx, b.programs[fio], args[1:]...)
	cmd.Dir = b.state
	var out, bad bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &bad
	err := onCPU(cpu, cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return sample{}, fmt.Errorf("fio: %w: %s", err, tail(append(bad.Bytes(), out.Bytes()...)))
	}
	return parseFio(out.String())
}

// describeNBD tells the commands of a contestant as a user would type them.
func describeNBD(c contestant) string {
	if c.kind == nbdkit {
		return strings.Join(argv(nbdkit, c.args, "IMAGE", "DIR", 0), " ")
	}
	return strings.Join(argv(goaoe, goaoeExport("--write-cache"), "IMAGE", "DIR", 0), " ") + "; " + strings.Join(argv(goaoe, append([]string{"attach", "--socket", "DIR/s"}, c.args...), "", "", 0), " ")
}

// nbdkitFile is nbdkit with the image, over TCP.
func nbdkitFile() contestant {
	return contestant{name: "nbdkit file, TCP", kind: nbdkit, args: []string{"--foreground", "--ipaddr", nbdkitAddr, "--port", nbdkitPort, "--readonly", "file", "%image"}}
}

// nbdRows are the rows about goaoe attach.
func nbdRows(reads row) []row {
	kit := nbdkitFile()
	own := contestant{name: "goaoe attach", kind: attachKind, args: []string{"-i", ifName(clientIf, 0), "e0.1"}}
	sleeps := contestant{name: "goaoe attach --busy-poll 0", kind: attachKind, args: []string{"-i", ifName(clientIf, 0), "--busy-poll", "0", "e0.1"}}
	reads.far, reads.free, reads.run = true, true, (*bench).nbd
	deep, one := reads, reads
	deep.id, deep.title, deep.work.Depth = "n", "NBD, fio: 4 KiB random reads, depth 32, page cache", 32
	deep.contestants, deep.goals = []contestant{own, kit}, []goal{{what: rate, peer: kit.name, want: .8}}
	one.id, one.title, one.work.Depth, one.latency = "o", "NBD, fio: 4 KiB random reads, one at a time, page cache", 1, true
	one.contestants, one.goals = []contestant{own, sleeps, kit}, []goal{{what: p50, peer: kit.name, want: 1}}
	return []row{deep, one}
}
