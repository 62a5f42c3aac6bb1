package sandbox

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// dropCapabilities drops all capabilities but those to be kept, from all sets: effective, permitted, inheritable, ambient and, where
// the process may, bounding. With them goes the way to get them back by running a program (no_new_privs).
func dropCapabilities(p *Policy) (string, error) {
	old := cap.GetProc()
	now := cap.NewSet()
	var kept []string
	keep := map[cap.Value]bool{}
	for _, name := range p.Keep {
		v, err := cap.FromName("cap_" + name)
		if err != nil {
			return "", fmt.Errorf("capability %s: %w", name, err)
		}
		has, err := old.GetFlag(cap.Permitted, v)
		if err != nil || !has {
			continue
		}
		keep[v] = true
		kept = append(kept, name)
		for _, f := range []cap.Flag{cap.Permitted, cap.Effective} {
			if err := now.SetFlag(f, true, v); err != nil {
				return "", fmt.Errorf("capability %s: %w", name, err)
			}
		}
	}
	if may, err := old.GetFlag(cap.Effective, cap.SETPCAP); err == nil && may {
		for v := range cap.MaxBits() {
			if keep[v] {
				continue
			}
			if err := cap.DropBound(v); err != nil {
				return "", fmt.Errorf("bounding set: %w", err)
			}
		}
	}
	if _, err := cap.Prctlw(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return "", fmt.Errorf("no_new_privs: %w", err)
	}
	_ = cap.ResetAmbient()                                      // those that are inheritable no more leave it anyway
	if err := now.SetProc(); err != nil && hasMore(old, keep) { // a filter of systemd or a container may forbid to drop what is not there
		return "", err
	}
	if len(kept) == 0 {
		return "none left", nil
	}
	return "only " + strings.Join(kept, ", "), nil
}

// hasMore tells whether a process has capabilities beside those to be kept.
func hasMore(c *cap.Set, keep map[cap.Value]bool) bool {
	for v := range cap.MaxBits() {
		if has, err := c.GetFlag(cap.Permitted, v); err != nil || has && !keep[v] {
			return true
		}
	}
	return false
}
