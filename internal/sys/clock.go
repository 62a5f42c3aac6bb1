package sys

import "time"

var base = time.Now()

// Nanotime returns nanoseconds on a clock that never jumps, counted from some moment near the start of the process. It
// costs no system call and is good for differences only.
func Nanotime() int64 { return int64(time.Since(base)) }

// Clocks returns Realtime and Nanotime of one moment, at the cost of one of them.
func Clocks() (realtime, nanotime int64) {
	now := time.Now()
	return now.UnixNano(), int64(now.Sub(base))
}

// Realtime returns nanoseconds since the Unix epoch by the clock that the kernel stamps received frames with. It may
// jump when the clock is set.
func Realtime() int64 { return time.Now().UnixNano() }
