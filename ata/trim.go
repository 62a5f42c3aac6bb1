package ata

import "encoding/binary"

// TrimEntryLen is the length of one range of DATA SET MANAGEMENT: 48 bits of LBA and 16 bits of count, little endian.
const TrimEntryLen = 8

// TrimRange returns range i of the payload of DATA SET MANAGEMENT. A count of 0 is an unused entry. ok is false behind
// the end of the payload.
func TrimRange(payload []byte, i int) (lba uint64, count int, ok bool) {
	if i < 0 || i >= len(payload)/TrimEntryLen {
		return 0, 0, false
	}
	v := binary.LittleEndian.Uint64(payload[i*TrimEntryLen:])
	return v & MaxSectors, int(v >> 48), true
}

// PutTrimRange writes range i of a payload and tells whether it fits: lba below 2^48, count up to 65535, i within b.
func PutTrimRange(payload []byte, i int, lba uint64, count int) bool {
	if i < 0 || i >= len(payload)/TrimEntryLen || lba > MaxSectors || count < 0 || count > 0xffff {
		return false
	}
	binary.LittleEndian.PutUint64(payload[i*TrimEntryLen:], lba|uint64(count)<<48)
	return true
}

// TrimInRange tells whether every range of the payload lies within a disk of the given size in sectors.
func TrimInRange(payload []byte, size uint64) bool {
	for i := 0; ; i++ {
		lba, count, ok := TrimRange(payload, i)
		if !ok {
			return true
		}
		if count > 0 && !InRange(lba, uint64(count), size) {
			return false
		}
	}
}
