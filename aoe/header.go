package aoe

import (
	"encoding/binary"
	"errors"
	"strconv"
)

// Bits of the low nibble of byte 14.
const (
	FlagResponse = 0x08 // R: the frame is a reply
	FlagError    = 0x04 // E: byte 15 holds an error code
)

// ErrShort is returned for a frame that is shorter than the fixed part of what it should hold.
var ErrShort = errors.New("aoe: frame is too short")

// ErrLength is returned for a frame whose count or length field claims more than the frame holds or the protocol allows.
var ErrLength = errors.New("aoe: count field exceeds the frame")

// ErrSpace is returned by encoders when the buffer cannot hold the result.
var ErrSpace = errors.New("aoe: buffer is too small")

// Command is byte 19 of the header.
type Command uint8

// The published commands. 4 (keyed reserve) was never published; 0xF0 to 0xFF are for vendors.
const (
	CmdATA     Command = 0 // issue ATA command
	CmdConfig  Command = 1 // query config information
	CmdMask    Command = 2 // MAC mask list
	CmdReserve Command = 3 // reserve/release
)

// String returns the command's name.
func (c Command) String() string {
	switch c {
	case CmdATA:
		return "ata"
	case CmdConfig:
		return "config"
	case CmdMask:
		return "mask"
	case CmdReserve:
		return "reserve"
	}
	return "command " + strconv.Itoa(int(c))
}

// Code is the error code in byte 15 of a reply with FlagError. A Code is an error, so that an initiator can return it.
type Code uint8 //nolint:errname // the specification speaks of error codes

// The error codes of the specification.
//
//nolint:errname // named by what they say
const (
	BadCommand  Code = 1 // unrecognized command code
	BadArgument Code = 2 // bad argument parameter
	Unavailable Code = 3 // device unavailable
	ConfigSet   Code = 4 // config string present
	BadVersion  Code = 5 // unsupported version
	Reserved    Code = 6 // target is reserved
)

// Error returns the specification's words for the code.
func (c Code) Error() string {
	switch c {
	case BadCommand:
		return "unrecognized command code"
	case BadArgument:
		return "bad argument parameter"
	case Unavailable:
		return "device unavailable"
	case ConfigSet:
		return "config string present"
	case BadVersion:
		return "unsupported version"
	case Reserved:
		return "target is reserved"
	}
	return "unknown error " + strconv.Itoa(int(c))
}

// Header is the common header of all AoE frames, 24 bytes with the Ethernet addresses.
type Header struct {
	Dst, Src MAC
	Version  uint8 // 0 to 15; Version in everything we send
	Flags    uint8 // FlagResponse, FlagError
	Code     Code  // 0 unless FlagError
	Addr     Addr  // may have wildcards in requests, never in replies
	Cmd      Command
	Tag      uint32 // opaque to a target, which copies it; big endian on the wire
}

// IsAoE tells whether the frame is long enough for a header and has AoE's EtherType.
func IsAoE(frame []byte) bool {
	return len(frame) >= HeaderLen && frame[12] == EtherType>>8 && frame[13] == EtherType&0xff
}

// DecodeHeader reads the header. It fails with ErrShort under 24 bytes; the EtherType is not looked at (IsAoE does that). The
// reserved bits of byte 14 are left out.
func DecodeHeader(frame []byte) (Header, error) {
	var h Header
	err := h.Decode(frame)
	return h, err
}

// Decode is DecodeHeader into a structure that is there already, which saves the processor a copy of bytes that it has just written. A frame that is too short leaves
// it as it was.
func (h *Header) Decode(frame []byte) error {
	if len(frame) < HeaderLen {
		return ErrShort
	}
	h.Dst, h.Src = MAC(frame[0:6]), MAC(frame[6:12])
	h.Version, h.Flags = frame[14]>>4, frame[14]&(FlagResponse|FlagError)
	h.Code = Code(frame[15])
	h.Addr.Major, h.Addr.Minor = binary.BigEndian.Uint16(frame[16:]), frame[18]
	h.Cmd = Command(frame[19])
	h.Tag = binary.BigEndian.Uint32(frame[20:])
	return nil
}

// Encode writes the header with AoE's EtherType to b and returns HeaderLen, or ErrSpace.
func (h *Header) Encode(b []byte) (int, error) {
	if len(b) < HeaderLen {
		return 0, ErrSpace
	}
	copy(b[0:6], h.Dst[:])
	copy(b[6:12], h.Src[:])
	binary.BigEndian.PutUint16(b[12:], EtherType)
	b[14] = h.Version<<4 | h.Flags&(FlagResponse|FlagError)
	b[15] = byte(h.Code)
	binary.BigEndian.PutUint16(b[16:], h.Addr.Major)
	b[18] = h.Addr.Minor
	b[19] = byte(h.Cmd)
	binary.BigEndian.PutUint32(b[20:], h.Tag)
	return HeaderLen, nil
}
