package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// sizeUnits are the suffixes of sizes. All are powers of 1024, as vblade's and dd's users expect; s is a sector of 512 bytes.
var sizeUnits = map[string]int64{
	"": 1, "b": 1, "s": 512,
	"k": 1 << 10, "kib": 1 << 10,
	"m": 1 << 20, "mib": 1 << 20,
	"g": 1 << 30, "gib": 1 << 30,
	"t": 1 << 40, "tib": 1 << 40,
	"p": 1 << 50, "pib": 1 << 50,
}

// ParseSize reads a size in bytes: "1048576", "10G", "10GiB" (powers of 1024) or "2048s" (sectors of 512 bytes).
func ParseSize(s string) (int64, error) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	unit, known := sizeUnits[strings.ToLower(strings.TrimSpace(s[i:]))]
	if i == 0 || !known {
		return 0, fmt.Errorf("%q is not a size: a number of bytes, or with a suffix such as 10G (K, M, G, T, P: powers of 1024) or 2048s (sectors)", s)
	}
	n, err := strconv.ParseInt(s[:i], 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is more than any device can have", s)
	}
	return n * unit, nil
}

// FormatSize writes a size so that ParseSize reads the same: in the largest unit that divides it.
func FormatSize(n int64) string {
	for _, u := range []struct {
		suffix string
		unit   int64
	}{{"P", 1 << 50}, {"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}} {
		if n > 0 && n%u.unit == 0 {
			return strconv.FormatInt(n/u.unit, 10) + u.suffix
		}
	}
	if n > 0 && n%512 == 0 {
		return strconv.FormatInt(n/512, 10) + "s"
	}
	return strconv.FormatInt(n, 10)
}

// parseDuration reads "50us", "2s" or "off" (0).
func parseDuration(s string) (time.Duration, error) {
	if s == "off" || s == "0" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as \"50us\", \"2s\" or \"off\"", s)
	}
	return d, nil
}

// formatDuration writes a duration as a user writes it.
func formatDuration(d time.Duration) string {
	if d == 0 {
		return "off"
	}
	s := d.String()
	s = strings.Replace(s, "µ", "u", 1)
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	return s
}

// printable tells whether s can stand in IDENTIFY: ASCII from space to tilde, not only spaces.
func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return strings.TrimSpace(s) != ""
}

// nearest returns the candidate that s was probably meant to be, or "" when none is close: at most a third of its
// letters differ, or one is a part of the other.
func nearest(s string, candidates []string) string {
	best, bestD := "", 1+max(len(s), 3)/3
	norm := normalName(s)
	for _, c := range candidates {
		if d := distance(norm, normalName(c)); d < bestD {
			best, bestD = c, d
		}
	}
	for _, c := range candidates { // a part of the name: "uring" for "io_uring", "warning" for "warn"
		if n := normalName(c); best == "" && min(len(n), len(norm)) >= 4 && (strings.Contains(n, norm) || strings.Contains(norm, n)) {
			best = c
		}
	}
	return best
}

// normalName makes the usual variations of a name equal: case, underscores and hyphens.
func normalName(s string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(s))
}

// distance is the number of letters to insert, delete, replace, or swap with a neighbour to make b of a.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return math.MaxInt32
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
