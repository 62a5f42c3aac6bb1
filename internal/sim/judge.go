package sim

import (
	"encoding/binary"
	"slices"

	"goaoe/aoe"
)

// The judge says what a frame means to an export, from the protocol reference and in its own words: it uses none of the target's code.

// outcome is what has to become of a frame.
type outcome uint8

const (
	oSilent   outcome = iota
	oAoE              // an AoE error: code
	oATA              // an ATA error: code is the error register
	oDone             // success without data
	oIdentify         // success with 512 bytes
	oRead             // storage operations
	oWrite
	oFlush
	oDiscard
	oConfig  // a config reply that shows str
	oMask    // a mask reply
	oReserve // a reserve reply
	oCommit  // a change of state: judged again when it is carried out
)

// verdict is the judge's answer.
type verdict struct {
	what    outcome
	code    byte
	lba     uint64
	count   int
	durable bool // oWrite
	cache   int  // 1: the write cache is on from now on, -1: off
	str     []byte
}

func silent() verdict             { return verdict{what: oSilent} }
func aoeError(c byte) verdict     { return verdict{what: oAoE, code: c} }
func ataError(c byte) verdict     { return verdict{what: oATA, code: c} }
func verdictOf(o outcome) verdict { return verdict{what: o} }

// header is the common part of a frame.
type header struct {
	dst, src aoe.MAC
	flags    byte
	err      byte
	major    int
	minor    int
	cmd      byte
	tag      uint32
}

func readHeader(f []byte) header {
	return header{dst: aoe.MAC(f[0:6]), src: aoe.MAC(f[6:12]), flags: f[14], err: f[15], major: int(f[16])<<8 | int(f[17]), minor: int(f[18]),
		cmd: f[19], tag: binary.BigEndian.Uint32(f[20:])}
}

// forUs is the receive filter as far as it does not depend on the export.
func forUs(f []byte, tagged bool, tci uint16, mac aoe.MAC) bool {
	if len(f) < 24 || f[12] != 0x88 || f[13] != 0xa2 || tagged && tci&0xfff != 0 {
		return false
	}
	h := readHeader(f)
	if h.dst != mac && h.dst != aoe.Broadcast {
		return false
	}
	return h.src[0]&1 == 0 && h.src != (aoe.MAC{}) && h.src != mac && h.flags&8 == 0
}

func (h *header) matches(a aoe.Addr) bool {
	return (h.major == 0xffff || h.major == int(a.Major)) && (h.minor == 0xff || h.minor == int(a.Minor))
}

func (h *header) wild() bool { return h.major == 0xffff || h.minor == 0xff }

// judge says what f means to export x now. commit: f is a change of state that is carried out now.
func (x *mexport) judge(f []byte, h *header, mtu int, commit bool) verdict {
	if len(x.state.Mask) > 0 && !slices.Contains(x.state.Mask, h.src) || slices.Contains(x.denied, h.src) {
		return silent()
	}
	if h.flags>>4 != 1 {
		if h.wild() {
			return silent()
		}
		return aoeError(5)
	}
	switch h.cmd {
	case 0:
		return x.judgeATA(f, h, mtu)
	case 1:
		return x.judgeConfig(f, commit)
	case 2:
		return x.judgeMask(f, commit)
	case 3:
		return x.judgeReserve(f, commit)
	}
	if h.wild() {
		return silent()
	}
	return aoeError(1)
}

// The opcodes of data commands: protocol reference, section 2.4.
var (
	reads28  = []byte{0x20, 0x21, 0xc4, 0xc8, 0xc9}
	reads48  = []byte{0x24, 0x25, 0x29}
	writes28 = []byte{0x30, 0x31, 0xc5, 0xca, 0xcb}
	writes48 = []byte{0x34, 0x35, 0x39, 0x3d, 0xce}
	noData   = []byte{0xe0, 0xe1, 0xe2, 0xe3, 0x94, 0x95, 0x96, 0x97, 0xe5, 0x98, 0xe6, 0x99, 0xf8, 0x27}
)

const (
	abrt = 0x04
	idnf = 0x10
	unc  = 0x40
)

func (x *mexport) judgeATA(f []byte, h *header, mtu int) verdict {
	if len(f) < 36 {
		return silent()
	}
	op, feature, count, data := f[27], f[25], int(f[26]), f[36:]
	if op == 0xec {
		return verdict{what: oIdentify, lba: x.sectors}
	}
	if len(x.state.Reserve) > 0 && !slices.Contains(x.state.Reserve, h.src) {
		return aoeError(6)
	}
	if h.wild() {
		return silent()
	}
	write := slices.Contains(writes28, op) || slices.Contains(writes48, op)
	read := slices.Contains(reads28, op) || slices.Contains(reads48, op)
	wide := slices.Contains(writes48, op) || slices.Contains(reads48, op) || op == 0x42
	if (write || op == 0x06) && x.readOnly {
		return ataError(abrt)
	}
	switch {
	case write, read, op == 0x40, op == 0x41, op == 0x42:
		if count == 0 || (write || read) && count*512+36 > 14+mtu || write && len(data) < count*512 {
			return ataError(abrt)
		}
		lba := uint64(f[28]) | uint64(f[29])<<8 | uint64(f[30])<<16 | uint64(f[31])<<24 | uint64(f[32])<<32 | uint64(f[33])<<40
		if !wide {
			if f[24]&0x40 == 0 {
				lba &= 0x0fffffff
			} else if lba > 0x0fffffff {
				return ataError(idnf)
			}
		}
		if lba >= x.sectors || uint64(count) > x.sectors-lba {
			return ataError(idnf)
		}
		switch {
		case write:
			return verdict{what: oWrite, lba: lba, count: count, durable: !x.cache || op == 0x3d || op == 0xce}
		case read:
			return verdict{what: oRead, lba: lba, count: count}
		}
		return verdictOf(oDone)
	case op == 0xe7 || op == 0xea:
		return verdictOf(oFlush)
	case op == 0x06:
		if !x.discard || feature != 1 || count != 1 || len(data) < 512 {
			return ataError(abrt)
		}
		for i := 0; i < 64; i++ {
			lba, n := trimRange(data, i)
			if n > 0 && (lba >= x.sectors || uint64(n) > x.sectors-lba) {
				return ataError(idnf)
			}
		}
		return verdictOf(oDiscard)
	case op == 0xef:
		switch feature {
		case 0x02:
			if !x.cacheAllowed {
				return ataError(abrt)
			}
			return verdict{what: oDone, cache: 1}
		case 0x82:
			if x.cacheAllowed {
				return verdict{what: oFlush, cache: -1}
			}
			return verdictOf(oDone)
		case 0xaa, 0x55, 0x03, 0x05, 0x85, 0x66, 0xcc:
			return verdictOf(oDone)
		}
	case op == 0xc6:
		if count <= 128 && count&(count-1) == 0 {
			return verdictOf(oDone)
		}
	case slices.Contains(noData, op):
		return verdictOf(oDone)
	}
	return ataError(abrt)
}

// trimRange returns range i of a TRIM's payload.
func trimRange(data []byte, i int) (lba uint64, n int) {
	e := binary.LittleEndian.Uint64(data[i*8:])
	return e & (1<<48 - 1), int(e >> 48)
}

func (x *mexport) shows(code byte) verdict {
	v := verdict{what: oConfig, str: x.state.Config}
	if code != 0 {
		v.what, v.code = oAoE, code
	}
	return v
}

func (x *mexport) judgeConfig(f []byte, commit bool) verdict {
	if len(f) < 32 {
		return silent()
	}
	n := int(f[30])<<8 | int(f[31])
	bad := n > 1024 || n > len(f)-32
	var arg []byte
	if !bad {
		arg = f[32 : 32+n]
	}
	op := f[29] & 15
	switch op {
	case 0:
	case 1, 2:
		if bad || len(arg) > len(x.state.Config) || op == 1 && len(arg) != len(x.state.Config) || !slices.Equal(arg, x.state.Config[:len(arg)]) {
			return silent()
		}
	case 3, 4:
		if bad {
			return aoeError(2)
		}
		if !commit {
			return verdictOf(oCommit)
		}
		if op == 3 && len(x.state.Config) > 0 && !slices.Equal(arg, x.state.Config) {
			return x.shows(4)
		}
		x.next.Config = slices.Clone(arg)
		return verdict{what: oConfig, str: x.next.Config}
	default:
		return aoeError(2)
	}
	return x.shows(0)
}

func (x *mexport) judgeMask(f []byte, commit bool) verdict {
	if len(f) < 28 {
		return silent()
	}
	switch f[25] {
	case 0:
		return verdictOf(oMask)
	case 1:
	default:
		return aoeError(2)
	}
	n := int(f[27])
	if n*8 > len(f)-28 {
		return aoeError(2)
	}
	if !commit {
		return verdictOf(oCommit)
	}
	list := slices.Clone(x.state.Mask)
	for i := range n {
		d := f[28+8*i:]
		m := aoe.MAC(d[2:8])
		at := slices.Index(list, m)
		switch d[1] {
		case 0:
			continue
		case 1:
			if at < 0 {
				list = append(list, m)
			}
			continue
		case 2:
			if at >= 0 {
				list = slices.Delete(list, at, at+1)
			}
			continue
		}
		break // what came before stays done
	}
	x.next.Mask = list
	return verdictOf(oMask)
}

func (x *mexport) judgeReserve(f []byte, commit bool) verdict {
	if len(f) < 26 {
		return silent()
	}
	n := int(f[25])
	switch f[24] {
	case 0:
		return verdictOf(oReserve)
	case 1, 2:
	default:
		return aoeError(2)
	}
	if 6*n > len(f)-26 || n > 248 {
		return aoeError(2)
	}
	if !commit {
		return verdictOf(oCommit)
	}
	h := readHeader(f)
	if f[24] == 1 && len(x.state.Reserve) > 0 && !slices.Contains(x.state.Reserve, h.src) {
		return aoeError(6)
	}
	x.next.Reserve = nil
	for i := range n {
		x.next.Reserve = append(x.next.Reserve, aoe.MAC(f[26+6*i:]))
	}
	return verdictOf(oReserve)
}
