package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// fioArgs is the command line for one run on an image.
func fioArgs(c contestant, image string, t timing) []string {
	return append([]string{"fio", "--name=bench", "--filename=" + image, "--ioengine=io_uring", "--direct=1", "--norandommap",
		"--randrepeat=0", "--time_based", "--runtime=" + ms(t.duration), "--ramp_time=" + ms(t.warmup), "--output-format=json"}, c.args...)
}

func ms(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

// fio runs it on the image, wherever the kernel likes: it is the limit of what the storage gives.
func (b *bench) fio(ctx context.Context, r row, c contestant) (sample, error) {
	image := b.image
	if r.work.Writes > 0 {
		image = b.fioImage
	}
	args := fioArgs(c, image, b.timing)
	cmd := exec.CommandContext(ctx, b.programs[fio], args[1:]...)
	var out, bad bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &bad
	if err := cmd.Run(); err != nil {
		return sample{}, fmt.Errorf("fio: %w: %s", err, tail(append(bad.Bytes(), out.Bytes()...)))
	}
	return parseFio(out.String())
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
