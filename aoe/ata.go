package aoe

import "encoding/binary"

// Bits of the flags byte of an ATA command (offset 24).
const (
	ATAExtended = 0x40 // E: the registers are those of a 48 bit command
	ATADevice   = 0x10 // D: bit 4 of the device/head register, looked at with E only
	ATAAsync    = 0x02 // A: the target may write asynchronously
	ATAWrite    = 0x01 // W: data goes from the initiator to the target
	// ATAFlags are all defined bits; the others are reserved.
	ATAFlags = ATAExtended | ATADevice | ATAAsync | ATAWrite
)

// ATA is the argument of CmdATA: the registers of a disk. A request carries feature and command where a reply carries error
// and status.
type ATA struct {
	Flags   uint8   // ATAExtended etc.
	Feature uint8   // request: Feature register; reply: Error register
	Count   uint8   // request: sectors; reply: sectors not transferred
	Command uint8   // request: Command register; reply: Status register
	LBA     [6]byte // lowest byte first; how many bits of it count depends on the command
}

// DecodeATA reads the registers of a frame with CmdATA and returns a view of what follows them, padding included. It
// fails with ErrShort under 36 bytes. Reserved flags are left out.
func DecodeATA(frame []byte) (a ATA, data []byte, err error) {
	data, err = a.Decode(frame)
	return a, data, err
}

// Decode is DecodeATA into a structure that is there already, which saves the processor a copy of bytes that it has just written. A frame that is too short leaves it
// as it was.
func (a *ATA) Decode(frame []byte) (data []byte, err error) {
	if len(frame) < ATALen {
		return nil, ErrShort
	}
	a.Flags, a.Feature, a.Count, a.Command = frame[24]&ATAFlags, frame[25], frame[26], frame[27]
	a.LBA = [6]byte(frame[28:34])
	return frame[ATALen:], nil
}

// Answer writes to b the header and the registers of the answer to an ATA request that was carried out, and returns ATALen: from mac and addr to who sent
// request, with its tag, its flags and its address, the status, and zeros in the registers Error and Count. request is the beginning of the frame, ATALen bytes or more of it. It does
// what decoding, changing and encoding would, in one go. ErrShort, ErrSpace: nothing was written.
func Answer(b, request []byte, mac *MAC, addr Addr, status byte) (int, error) {
	if len(request) < ATALen {
		return 0, ErrShort
	}
	if len(b) < ATALen {
		return 0, ErrSpace
	}
	copy(b[0:6], request[6:12])
	copy(b[6:12], mac[:])
	binary.BigEndian.PutUint16(b[12:], EtherType)
	binary.BigEndian.PutUint16(b[14:], (Version<<4|FlagResponse)<<8)
	binary.BigEndian.PutUint16(b[16:], addr.Major)
	b[18], b[19] = addr.Minor, request[19]
	copy(b[20:24], request[20:24])
	binary.BigEndian.PutUint32(b[24:], uint32(request[24]&ATAFlags)<<24|uint32(status))
	copy(b[28:34], request[28:34])
	b[34], b[35] = 0, 0
	return ATALen, nil
}

// Encode writes the registers behind the header in b and returns ATALen, or ErrSpace. Data follows from there.
func (a *ATA) Encode(b []byte) (int, error) {
	if len(b) < ATALen {
		return 0, ErrSpace
	}
	b[24] = a.Flags & ATAFlags
	b[25] = a.Feature
	b[26] = a.Count
	b[27] = a.Command
	copy(b[28:34], a.LBA[:])
	b[34], b[35] = 0, 0
	return ATALen, nil
}
