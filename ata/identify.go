package ata

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Lengths of the texts of IDENTIFY in characters.
const (
	SerialLen   = 20
	FirmwareLen = 8
	ModelLen    = 40
)

// Words of IDENTIFY DEVICE that are used here by name.
const (
	wSerial   = 10
	wFirmware = 23
	wModel    = 27
)

// Rotation rates (word 217).
const (
	RotationUnknown = 0
	RotationNone    = 1 // not rotating; 0x0401 to 0xFFFE are revolutions per minute
)

// Device is what IDENTIFY DEVICE tells about a disk.
type Device struct {
	Sectors  uint64 // of 512 bytes; more than MaxSectors is cut
	Serial   string // up to 20 printable ASCII characters: unique per disk, the same on every path and for ever
	Firmware string // up to 8
	Model    string // up to 40

	PhysicalSize int // physical sector in bytes: a power of two of 512 or more; 0 means 512. A hint for alignment
	AlignOffset  int // place of LBA 0 inside its physical sector, in sectors

	WriteCache        bool // a volatile write cache is possible
	WriteCacheEnabled bool // and on
	LookAheadEnabled  bool
	Smart             bool // the SMART commands are there
	SmartEnabled      bool // and on
	FUA               bool // the FUA write commands are there
	Trim              bool // DATA SET MANAGEMENT with TRIM is there, one block of ranges at a time
	TrimZero          bool // trimmed sectors read as zero
	WWN               uint64
	Rotation          uint16 // RotationUnknown, RotationNone, or revolutions per minute
	Multiple          uint8  // what SET MULTIPLE MODE chose; 0 none
}

// CheckText returns an error when s cannot be a text of IDENTIFY of up to n characters: it is longer, or holds something other than
// printable ASCII. what names it in the error.
func CheckText(what, s string, n int) error {
	if len(s) > n {
		return fmt.Errorf("%s %q has %d characters: at most %d fit IDENTIFY DEVICE", what, s, len(s), n)
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] > 0x7e {
			return fmt.Errorf("%s %q: character %d is not printable ASCII", what, s, i+1)
		}
	}
	return nil
}

// Build writes the 512 bytes of IDENTIFY DEVICE to b, checksum included. Words are little endian. Texts that are too long are
// cut, and characters that are not printable ASCII become "?" (CheckText finds both). It does not allocate.
func (d *Device) Build(b *[512]byte) {
	clear(b[:])
	size := min(d.Sectors, MaxSectors)
	d.buildGeometry(b, size)
	putText(b[2*wSerial:], d.Serial, SerialLen)
	putText(b[2*wFirmware:], d.Firmware, FirmwareLen)
	putText(b[2*wModel:], d.Model, ModelLen)
	d.buildFeatures(b)

	put(b, 100, uint16(size))
	put(b, 101, uint16(size>>16))
	put(b, 102, uint16(size>>32)) // 103 stays 0: sizes have 48 bits
	if log := bits.Len(uint(max(d.PhysicalSize, SectorSize))/SectorSize) - 1; log > 0 {
		put(b, 106, 0x6000|uint16(min(log, 15)))
		put(b, 209, 0x4000|uint16(d.AlignOffset)&0x3fff)
	} else {
		put(b, 106, 0x4000)
	}
	for i := 0; d.WWN != 0 && i < 4; i++ {
		put(b, 108+i, uint16(d.WWN>>(48-16*i))) // highest word first
	}
	put(b, 217, d.Rotation)
	b[510] = 0xa5
	b[511] = complement(b[:511])
}

// buildGeometry writes the words about cylinders, heads and the 28 bit size.
func (d *Device) buildGeometry(b *[512]byte, size uint64) {
	const heads, perTrack = 16, 63
	cylinders := uint16(min(size/(heads*perTrack), 16383))
	chs := uint32(cylinders) * heads * perTrack
	put(b, 0, 0x0040) // fixed device
	put(b, 1, cylinders)
	put(b, 3, heads)
	put(b, 6, perTrack)
	put(b, 54, cylinders)
	put(b, 55, heads)
	put(b, 56, perTrack)
	put(b, 57, uint16(chs))
	put(b, 58, uint16(chs>>16))
	size28 := uint32(min(size, MaxSectors28))
	put(b, 60, uint16(size28))
	put(b, 61, uint16(size28>>16))
}

// buildFeatures writes the words about what the disk can do and what of it is on.
func (d *Device) buildFeatures(b *[512]byte) {
	put(b, 47, 0x8001)
	put(b, 49, 0x0200) // LBA: Plan 9 refuses a disk without it
	put(b, 50, 0x4000)
	put(b, 53, 0x0007)
	if d.Multiple > 0 {
		put(b, 59, 0x0100|uint16(d.Multiple))
	}
	put(b, 64, 0x0003)
	for w := 65; w <= 68; w++ {
		put(b, w, 120) // ns
	}
	put(b, 80, 0x01f0) // ATA-4 to ATA8-ACS

	can, on := uint16(0x0048), uint16(0x0008) // power management; look-ahead
	if d.LookAheadEnabled {
		on |= 0x0040
	}
	if d.WriteCache {
		can |= 0x0020
		if d.WriteCacheEnabled {
			on |= 0x0020
		}
	}
	if d.Smart {
		can |= 0x0001
		if d.SmartEnabled {
			on |= 0x0001
		}
	}
	more := uint16(0x4000)
	if d.WWN != 0 {
		more |= 0x0100
	}
	if d.FUA {
		more |= 0x0040
	}
	put(b, 82, can)
	put(b, 83, 0x7400) // FLUSH CACHE, FLUSH CACHE EXT, LBA48
	put(b, 84, more)
	put(b, 85, on)
	put(b, 86, 0x3400) // LBA48 here too: some initiators look at 83, some at 86
	put(b, 87, more)
	put(b, 93, 0x400b)
	put(b, 119, 0x4000)
	put(b, 120, 0x4000)
	if d.Trim {
		det := uint16(0x4000)
		if d.TrimZero {
			det |= 0x0020
		}
		put(b, 69, det)
		put(b, 105, 1)
		put(b, 169, 1)
	}
}

func put(b *[512]byte, word int, v uint16) { binary.LittleEndian.PutUint16(b[2*word:], v) }

// putText writes n characters (n is even) padded with spaces; the first of two is in the high byte of its word.
func putText(b []byte, s string, n int) {
	for i := 0; i < n; i++ {
		c := byte(' ')
		if i < len(s) {
			if c = s[i]; c < 0x20 || c > 0x7e {
				c = '?'
			}
		}
		b[i^1] = c
	}
}
