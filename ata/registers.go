// Package ata knows the ATA commands that an AoE target can meet: opcodes and what class they belong to, the register
// file, and the 512 byte structures of IDENTIFY DEVICE, SMART and DATA SET MANAGEMENT. Facts are those of the ATA/ATAPI
// and ACS standards as far as AoE carries them: one byte of count and feature, six bytes of LBA, 512 byte sectors.
//
// Nothing here allocates (but parsing texts for an initiator), does I/O or knows the time, and no input makes it panic.
package ata

// SectorSize is the size of a logical sector in bytes.
const SectorSize = 512

// Bits of the Status register.
const (
	StatusBSY  = 0x80 // busy: never in a reply
	StatusDRDY = 0x40 // ready: always set by us
	StatusDF   = 0x20 // device fault; only together with ERR, because some initiators look at ERR alone
	StatusDRQ  = 0x08 // data request: never in a reply
	StatusERR  = 0x01 // the Error register says why

	// StatusFailed is the mask by which initiators see a failure.
	StatusFailed = StatusBSY | StatusDF | StatusDRQ | StatusERR
)

// The values of the Status register that a target sends.
const (
	StatusOK    = StatusDRDY
	StatusError = StatusDRDY | StatusERR
	StatusFault = StatusDRDY | StatusDF | StatusERR
)

// Bits of the Error register.
const (
	ErrICRC = 0x80 // transfer error
	ErrUNC  = 0x40 // data could not be read
	ErrIDNF = 0x10 // no such sector
	ErrABRT = 0x04 // command refused
)

// Limits of addresses.
const (
	MaxLBA28     = 1<<28 - 1 // last address of 28 bit commands
	MaxSectors28 = MaxLBA28  // what IDENTIFY's 28 bit size says at most
	MaxSectors   = 1<<48 - 1 // largest size of a disk in sectors
)

// LBA48 returns all six registers as an address.
func LBA48(r [6]byte) uint64 {
	return uint64(r[0]) | uint64(r[1])<<8 | uint64(r[2])<<16 | uint64(r[3])<<24 | uint64(r[4])<<32 | uint64(r[5])<<40
}

// LBA28 returns the address of a 28 bit command: the high nibble of the fourth register belongs to the device, and the
// fifth and sixth mean nothing.
func LBA28(r [6]byte) uint64 {
	return uint64(r[0]) | uint64(r[1])<<8 | uint64(r[2])<<16 | uint64(r[3]&0x0f)<<24
}

// PutLBA48 writes all six registers.
func PutLBA48(r *[6]byte, lba uint64) {
	r[0], r[1], r[2] = byte(lba), byte(lba>>8), byte(lba>>16)
	r[3], r[4], r[5] = byte(lba>>24), byte(lba>>32), byte(lba>>40)
}

// PutLBA28 writes a 28 bit address and leaves alone what is not part of it: the high nibble of the fourth register, and the
// fifth and sixth.
func PutLBA28(r *[6]byte, lba uint64) {
	r[0], r[1], r[2] = byte(lba), byte(lba>>8), byte(lba>>16)
	r[3] = r[3]&0xf0 | byte(lba>>24)&0x0f
}

// Address returns the address that the registers of a data command name. ext says that the opcode is one of 48 bits: the
// opcode decides, not the request's E flag. wide says that the request had the E flag. A 28 bit opcode with the E flag
// and an address beyond 28 bits is not ok: cutting it would hit a wrong sector.
func Address(r [6]byte, ext, wide bool) (lba uint64, ok bool) {
	if ext {
		return LBA48(r), true
	}
	if wide {
		lba = LBA48(r)
		return lba, lba <= MaxLBA28
	}
	return LBA28(r), true
}

// InRange tells whether count sectors from lba on lie within a disk of the given size; nothing overflows.
func InRange(lba, count, size uint64) bool { return lba <= size && count <= size-lba }
