package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"

	"goaoe/initiator"
	"goaoe/internal/daemon"
)

const (
	demoVerify  = 64 << 20 // bytes that are written, read back and compared
	demoChunk   = 1 << 20  // bytes per call
	demoClients = 32       // random reads at once
	demoRandom  = 500 * time.Millisecond
)

// demoServed says what is served.
func demoServed(w io.Writer, s daemon.Status) {
	fmt.Fprintf(w, "Two network namespaces, joined by a virtual cable (%s - %s, MTU %d).\n\n", demoTarget, demoInitiator, demoMTU)
	for _, e := range s.Exports {
		fmt.Fprintf(w, "served      %s: a fresh sparse file of %s on %s\n", e.Address, bytesOf(int64(e.Sectors)*512), demoTarget)
	}
}

// demoUse is the other end: it finds the disk, writes, reads back, compares, and measures.
func demoUse(ctx context.Context, w io.Writer) error {
	targets, err := initiator.DiscoverAll(ctx, initiator.Search{Interfaces: []string{demoInitiator}})
	if err != nil {
		return err
	}
	if len(targets) != 1 || targets[0].Addr != demoAddr {
		return fmt.Errorf("discovery found %v, not %v alone", targets, demoAddr)
	}
	t := targets[0]
	fmt.Fprintf(w, "discovered  %v at %v\n", t.Addr, t.MAC)
	disk, err := initiator.Open(ctx, demoAddr, initiator.Options{Interfaces: []string{demoInitiator}})
	if err != nil {
		return err
	}
	defer func() { _ = disk.Close() }()
	id := disk.Identity()
	fmt.Fprintf(w, "  size      %d sectors of 512 bytes, %s\n", disk.Size()/512, bytesOf(disk.Size()))
	fmt.Fprintf(w, "  frames    MTU %d, %d sectors each, up to %d outstanding\n", t.MTU, t.Payload(), t.BufferCount)
	fmt.Fprintf(w, "  model     %s, serial %s, firmware %s\n", id.Model, id.Serial, id.Firmware)
	if disk.Size() != demoDisk {
		return fmt.Errorf("the disk has %d bytes, not %d", disk.Size(), demoDisk)
	}
	return demoMeasure(w, disk)
}

// demoMeasure writes, compares and measures.
func demoMeasure(w io.Writer, disk *initiator.Disk) error {
	want := make([]byte, demoChunk)
	got := make([]byte, demoChunk)
	seed := rand.Uint64()
	begin := time.Now()
	for off := int64(0); off < demoVerify; off += demoChunk {
		pattern(want, seed, off)
		if _, err := disk.WriteAt(want, off); err != nil {
			return fmt.Errorf("writing at byte %d: %w", off, err)
		}
	}
	wrote := time.Since(begin)
	var reading time.Duration
	for off := int64(0); off < demoVerify; off += demoChunk {
		begin := time.Now()
		if _, err := disk.ReadAt(got, off); err != nil {
			return fmt.Errorf("reading at byte %d: %w", off, err)
		}
		reading += time.Since(begin)
		pattern(want, seed, off)
		if !bytes.Equal(got, want) {
			return fmt.Errorf("what was read in the %d bytes at %d is not what was written", demoChunk, off)
		}
	}
	fmt.Fprintf(w, "verified    %s written, read back and compared: no difference\n", bytesOf(demoVerify))
	rate, err := demoReads(disk)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "measured    %s/s written (each write on stable storage before it is answered), %s/s read\n", perSecond(demoVerify, wrote), perSecond(demoVerify, reading))
	fmt.Fprintf(w, "            %s reads of 4 KiB a second, at random places, %d at a time\n", humanize.Comma(int64(rate)), demoClients)
	fmt.Fprintf(w, "            (both ends share this machine's processors; with a real network see make bench)\n")
	return nil
}

// demoReads reads 4 KiB at random places, many at a time, and returns how many a second.
func demoReads(disk *initiator.Disk) (float64, error) {
	var n atomic.Int64
	errs := make(chan error, demoClients)
	var clients sync.WaitGroup
	begin := time.Now()
	for range demoClients {
		clients.Add(1)
		go func() {
			defer clients.Done()
			buf := make([]byte, 4096)
			for time.Since(begin) < demoRandom {
				if _, err := disk.ReadAt(buf, rand.Int64N(demoVerify/4096)*4096); err != nil {
					errs <- fmt.Errorf("reading at random: %w", err)
					return
				}
				n.Add(1)
			}
		}()
	}
	clients.Wait()
	took := time.Since(begin)
	select {
	case err := <-errs:
		return 0, err
	default:
		return float64(n.Load()) / took.Seconds(), nil
	}
}

// pattern fills b with bytes that depend on the place on the disk, so that a block in the wrong place is found.
func pattern(b []byte, seed uint64, off int64) {
	src := rand.New(rand.NewPCG(seed, uint64(off)))
	for i := 0; i+8 <= len(b); i += 8 {
		v := src.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
}

func bytesOf(n int64) string { return humanize.IBytes(uint64(n)) }

func perSecond(n int64, d time.Duration) string {
	return humanize.Bytes(uint64(float64(n) / d.Seconds()))
}
