package aoe

import (
	"fmt"
	"strconv"
	"strings"
)

// Wildcards of the two halves of an address (specification: they are independent of each other).
const (
	WildMajor = 0xFFFF // every shelf
	WildMinor = 0xFF   // every slot
)

// Addr is the address of a target: shelf (major) and slot (minor).
type Addr struct {
	Major uint16 // shelf: 0 to 65534; 65535 is the wildcard
	Minor uint8  // slot: 0 to 254; 255 is the wildcard
}

// Wild tells whether either half is a wildcard.
func (a Addr) Wild() bool { return a.Major == WildMajor || a.Minor == WildMinor }

// Match tells whether a request sent to a (which may have wildcards) is for the target at the exact address t.
func (a Addr) Match(t Addr) bool {
	return (a.Major == t.Major || a.Major == WildMajor) && (a.Minor == t.Minor || a.Minor == WildMinor)
}

// Key packs the address into 24 bits, major first, so that keys order as addresses do.
func (a Addr) Key() uint32 { return uint32(a.Major)<<8 | uint32(a.Minor) }

// Less orders addresses by shelf, then by slot.
func (a Addr) Less(b Addr) bool { return a.Key() < b.Key() }

// String returns the usual form, e.g. "e0.1"; a wildcard half is written as "*".
func (a Addr) String() string {
	major, minor := "*", "*"
	if a.Major != WildMajor {
		major = strconv.Itoa(int(a.Major))
	}
	if a.Minor != WildMinor {
		minor = strconv.Itoa(int(a.Minor))
	}
	return "e" + major + "." + minor
}

// ParseAddr reads "e0.1" or "0.1". Wildcards are refused: the address is one that a target can have
// (shelf 0 to 65534, slot 0 to 254).
func ParseAddr(s string) (Addr, error) {
	shelf, slot, ok := strings.Cut(strings.TrimPrefix(s, "e"), ".")
	if !ok {
		return Addr{}, fmt.Errorf("address %q is not of the form SHELF.SLOT, e.g. 0.1 or e0.1", s)
	}
	major, err := strconv.ParseUint(shelf, 10, 16)
	if err != nil || major == WildMajor {
		return Addr{}, fmt.Errorf("address %q: shelf %q is not a number from 0 to 65534", s, shelf)
	}
	minor, err := strconv.ParseUint(slot, 10, 8)
	if err != nil || minor == WildMinor {
		return Addr{}, fmt.Errorf("address %q: slot %q is not a number from 0 to 254", s, slot)
	}
	return Addr{Major: uint16(major), Minor: uint8(minor)}, nil
}
