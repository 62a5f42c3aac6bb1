package config

import (
	"fmt"
	"path"
	"strings"
)

// maxInterfaceName is the longest name that the kernel gives an interface (IFNAMSIZ less the terminator).
const maxInterfaceName = 15

// MatchName tells whether the interface called name matches pattern: the name itself, or a glob of *, ? and [...].
func MatchName(pattern, name string) bool {
	if pattern == name {
		return true
	}
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// IsGlob tells whether pattern is more than a plain name.
func IsGlob(pattern string) bool { return strings.ContainsAny(pattern, `*?[\`) }

// checkPattern says what is wrong with an interface name or glob.
func checkPattern(p string) error {
	switch {
	case p == "":
		return fmt.Errorf("an empty name matches no interface")
	case strings.ContainsAny(p, "/ \t\n") || p == "." || p == "..":
		return fmt.Errorf("%q cannot be the name of an interface", p)
	case IsGlob(p):
		if _, err := path.Match(p, "x"); err != nil {
			return fmt.Errorf("%q is not a valid pattern: a [ without its ], or a \\ at the end", p)
		}
	case len(p) > maxInterfaceName:
		return fmt.Errorf("%q is longer than an interface name can be (%d characters)", p, maxInterfaceName)
	}
	return nil
}
