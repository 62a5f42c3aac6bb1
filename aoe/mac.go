package aoe

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// MAC is an Ethernet address in the order of the wire.
type MAC [6]byte

// Broadcast is the Ethernet address of everybody.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// IsGroup tells whether m is a group address (broadcast is one), which nobody can have as a source.
func (m MAC) IsGroup() bool { return m[0]&1 != 0 }

// IsZero tells whether m is all zero.
func (m MAC) IsZero() bool { return m == MAC{} }

// Key packs the address into the low 48 bits, first byte highest.
func (m MAC) Key() uint64 {
	return uint64(m[0])<<40 | uint64(m[1])<<32 | uint64(m[2])<<24 | uint64(m[3])<<16 | uint64(m[4])<<8 | uint64(m[5])
}

// String returns the form 02:00:00:00:00:01.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// ParseMAC reads six bytes in hexadecimal: 02:00:00:00:00:01, 2:0:0:0:0:1, 02-00-00-00-00-01 or 020000000001, in any case.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	bad := func() (MAC, error) {
		return MAC{}, fmt.Errorf("%q is not an Ethernet address such as 02:00:00:00:00:01", s)
	}
	if len(s) == 12 {
		if _, err := hex.Decode(m[:], []byte(s)); err != nil {
			return bad()
		}
		return m, nil
	}
	parts := strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == '-' })
	if len(parts) != 6 || strings.Count(s, ":")+strings.Count(s, "-") != 5 {
		return bad()
	}
	for i, p := range parts {
		if len(p) == 1 {
			p = "0" + p
		}
		if len(p) != 2 {
			return bad()
		}
		if _, err := hex.Decode(m[i:i+1], []byte(p)); err != nil {
			return bad()
		}
	}
	return m, nil
}
