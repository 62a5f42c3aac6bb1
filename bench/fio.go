package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
)

// fioArgs is the command line for an image. It ends when it is told to.
func fioArgs(c contestant, image string) []string {
	return append([]string{"fio", "--name=bench", "--thread", "--filename=" + image, "--ioengine=io_uring", "--direct=1", "--norandommap",
		"--randrepeat=0", "--time_based", "--runtime=1d", "--output-format=json"}, c.args...)
}

func ms(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

// fioRival is fio on the image, wherever the kernel likes: it is the limit of what the storage gives. It is stopped when it is not its turn; what it did in its
// turns the kernel counts.
type fioRival struct {
	t       timing
	p       *process
	block   float64 // bytes
	done    float64 // requests
	seconds float64
	all     float64 // requests, also those that do not count
	void    error
}

func (b *bench) startFio(r *row, w work, t timing) *fioRival {
	image := b.image
	if r.work.Writes > 0 {
		image = b.fioImage
	}
	v := &fioRival{t: t, block: float64(r.work.Sectors) * aoe.SectorSize}
	args := fioArgs(w.contestant, image)
	args[0] = b.programs[fio]
	_ = exec.Command(args[0], "--version").Run() // so that reading the program is not among what it reads
	v.p, v.void = start(-1, filepath.Join(b.logs, w.id+"-fio.log"), args)
	return v
}

// open waits until it has begun.
func (v *fioRival) open() {
	before, grew := math.Inf(1), 0
	for end := time.Now().Add(10 * time.Second); v.void == nil; time.Sleep(5 * time.Millisecond) {
		n := v.count()
		if grew++; n <= before {
			grew = 0
		}
		if before = n; grew == 4 { // what it reads of itself comes at once
			v.signal(unix.SIGSTOP)
			return
		}
		if time.Now().After(end) {
			v.void = errors.New("fio does nothing")
		}
	}
}

// count returns how many requests it has sent to the disk.
func (v *fioRival) count() float64 {
	bytes, err := transferred(v.p.cmd.Process.Pid)
	if gone := v.p.gone(); gone != nil {
		err = gone
	}
	if err != nil && v.void == nil {
		v.void = err
	}
	return bytes / v.block
}

func (v *fioRival) signal(s syscall.Signal) {
	if err := v.p.cmd.Process.Signal(s); err != nil && v.void == nil {
		v.void = fmt.Errorf("fio: %w", err)
	}
}

// restFor is how long the disk has for what fio has asked it for when it is stopped.
const restFor = 10 * time.Millisecond

func (v *fioRival) turn() {
	if v.void != nil {
		return
	}
	v.signal(unix.SIGCONT)
	time.Sleep(v.t.warmup)
	begin, n := time.Now(), v.count()
	time.Sleep(v.t.duration)
	v.done += v.count() - n
	v.seconds += time.Since(begin).Seconds()
	v.signal(unix.SIGSTOP)
	time.Sleep(restFor)
}

// result ends it. What it says itself of all that it did must be what the kernel has counted.
func (v *fioRival) result() sample {
	if v.void != nil {
		return sample{Void: v.void.Error()}
	}
	v.all = v.count()
	v.signal(unix.SIGINT)
	v.signal(unix.SIGCONT)
	if v.void != nil { // it has ended by itself
		return sample{Void: v.void.Error()}
	}
	select {
	case <-v.p.done:
	case <-time.After(10 * time.Second):
		return sample{Void: "fio does not end"}
	}
	out, err := os.ReadFile(v.p.log)
	if err != nil {
		return sample{Void: err.Error()}
	}
	s, err := parseFio(string(out))
	if err != nil {
		return sample{Void: err.Error()}
	}
	return v.sum(s)
}

// mayDiffer is by how much fio's count and the kernel's may differ, as a part of the whole: when it was told to end, some were still under way.
const mayDiffer = .02

// sum makes a sample of what was counted and of what fio said.
func (v *fioRival) sum(said sample) sample {
	out := sample{P50: said.P50, Requests: uint64(v.done)} // the longest latencies are those of requests that were under way when it was stopped
	if v.seconds > 0 {
		out.PerSecond = v.done / v.seconds
	}
	if d := math.Abs(float64(said.Requests) - v.all); d > mayDiffer*v.all+300 {
		out.Void = fmt.Sprintf("fio says that it did %d requests, the kernel %.0f", said.Requests, v.all)
	}
	return out
}

func (v *fioRival) close() {
	if v.p != nil {
		_ = v.p.cmd.Process.Kill() // it is over, or of no use
		v.p.stop()
	}
}

// transferred is how many bytes a process has had read and written by the disk, or has told it to.
func transferred(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		if name == "read_bytes" || name == "write_bytes" {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/%d/io: %w", pid, err)
			}
			sum += n
		}
	}
	return sum, nil
}

// parseFio reads fio's JSON, which notes may precede.
func parseFio(out string) (sample, error) {
	type times struct {
		Percentile map[string]float64 `json:"percentile"`
	}
	type half struct {
		IOPS float64 `json:"iops"`
		N    uint64  `json:"total_ios"`
		Clat times   `json:"clat_ns"` // from the end of the submission
		Lat  times   `json:"lat_ns"`  // from its beginning; with percentiles only where they were asked for
	}
	var v struct {
		Jobs []struct {
			Error int  `json:"error"`
			Read  half `json:"read"`
			Write half `json:"write"`
		} `json:"jobs"`
	}
	at := strings.IndexByte(out, '{')
	if at < 0 {
		return sample{}, errors.New("fio printed no JSON: " + tail([]byte(out)))
	}
	if err := json.NewDecoder(strings.NewReader(out[at:])).Decode(&v); err != nil {
		return sample{}, fmt.Errorf("fio's JSON: %w", err)
	}
	if len(v.Jobs) != 1 || v.Jobs[0].Error != 0 {
		return sample{}, errors.New("fio's job failed: " + tail([]byte(out)))
	}
	h := v.Jobs[0].Read
	if h.N == 0 {
		h = v.Jobs[0].Write
	}
	if h.N == 0 || h.IOPS <= 0 {
		return sample{}, errors.New("fio did no I/O")
	}
	if len(h.Lat.Percentile) > 0 {
		h.Clat = h.Lat
	}
	return sample{PerSecond: h.IOPS, P50: h.Clat.Percentile["50.000000"] / 1e3, P999: h.Clat.Percentile["99.900000"] / 1e3, Requests: h.N}, nil
}
