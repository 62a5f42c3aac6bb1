package sim

import (
	"fmt"
)

// describe says what a request is, for the trace.
func describe(x *mexport, f []byte, v verdict) string {
	what := fmt.Sprintf("command %d", f[19])
	switch v.what {
	case oRead, oWrite:
		what = fmt.Sprintf("%s sectors %d to %d", ifText(v.what == oRead, "read", "write"), v.lba, int(v.lba)+v.count-1)
		if v.what == oWrite {
			s, _ := readSector(f[36:])
			what += fmt.Sprintf(" value %x", s[0]) + ifText(v.durable, "", " (write cache)")
		}
	case oFlush:
		what = ifText(v.cache < 0, "write cache off", "flush")
	case oIdentify:
		what = "identify"
	case oDiscard:
		what = "discard"
	case oConfig, oCommit, oMask, oReserve:
		what = []string{"", "config", "mask", "reserve"}[f[19]&3]
	case oSilent:
		what += ", silence"
	case oAoE:
		what += fmt.Sprintf(", AoE error %d", v.code)
	case oATA:
		what = fmt.Sprintf("ATA %02x, error %02x", f[27], v.code)
	}
	return fmt.Sprintf("e%d.%d %s", x.addr.Major, x.addr.Minor, what)
}

// describeReply says what a reply is.
func describeReply(f []byte, h *header) string {
	switch {
	case h.flags == 0x1c:
		return fmt.Sprintf("AoE error %d", h.err)
	case h.cmd != 0:
		return "done"
	case f[27] != 0x40:
		return fmt.Sprintf("ATA status %02x error %02x", f[27], f[25])
	case len(f) > 60:
		s := ""
		for at := 36; at+sectorSize <= len(f); at += sectorSize {
			v, _ := readSector(f[at:])
			s += fmt.Sprintf(" %x", v[0])
		}
		return "values" + s
	}
	return "done"
}
