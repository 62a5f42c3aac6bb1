// Package aoe holds the wire format of ATA over Ethernet (specification revision 11, version nibble 1): addresses, the
// common header and the arguments of the four published commands.
//
// Everything works on whole Ethernet frames that begin with the destination address; all offsets count from there.
// Multi-byte fields are big endian, but for the LBA registers of ATA commands, which are little endian (package ata).
// Decoding returns small values and views into the frame, so a decoded value is valid as long as the frame's memory is.
// Nothing here allocates, does I/O or knows the time, and no input makes it panic.
//
// Reserved bits and bytes are written as zero and ignored when read, as revision 11 demands of senders.
package aoe

// EtherType of AoE, at offset 12 of the frame.
const EtherType = 0x88A2

// Version is the only version of the protocol there is: the high nibble of byte 14.
const Version = 1

// Lengths in bytes from the start of the frame.
const (
	EtherLen   = 14 // Ethernet header: two addresses and the EtherType
	HeaderLen  = 24 // common header; the argument follows
	ATALen     = 36 // header and ATA registers; data follows
	ConfigLen  = 32 // header and fixed part of the config query; the string follows
	MaskLen    = 28 // header and fixed part of the MAC mask list; directives follow
	ReserveLen = 26 // header and fixed part of reserve/release; addresses follow

	DirectiveLen = 8 // one directive or entry of a MAC mask list
	MACLen       = 6 // one entry of a reserve list

	// MinFrame is the shortest frame on a wire without FCS. Replies are padded to it, because virtual interfaces do
	// not pad, and some peers ignore what is shorter.
	MinFrame = 60
	// SectorSize is the unit of LBAs and counts on the wire, whatever the disk's own sectors are.
	SectorSize = 512
	// MaxConfig is the length of the longest config string.
	MaxConfig = 1024
	// MinMTU is the smallest MTU that carries every reply: the longest config string (1056 bytes of frame).
	MinMTU = ConfigLen + MaxConfig - EtherLen
	// MaxCount is the largest number of sectors that a request can name: its field has one byte.
	MaxCount = 255
)

// AdvertisedSectors is how many sectors a frame of this MTU carries as initiators reckon it: (MTU - 36) / 512, 255 at
// most, 0 when not even one fits.
func AdvertisedSectors(mtu int) int { return sectors(mtu - ATALen) }

// PhysicalSectors is how many sectors really fit a frame of this MTU, 255 at most. The 36 bytes before the data include the
// 14 byte Ethernet header, which the MTU does not count, so this may be one more than AdvertisedSectors.
func PhysicalSectors(mtu int) int { return sectors(mtu + EtherLen - ATALen) }

func sectors(room int) int {
	if room < SectorSize {
		return 0
	}
	return min(room/SectorSize, MaxCount)
}

// Pad writes zeros from n up to MinFrame and returns the length of the frame, MinFrame or n if that is more. b must
// hold MinFrame bytes when n is less; if it does not, n is returned.
func Pad(b []byte, n int) int {
	if n >= MinFrame || len(b) < MinFrame || n < 0 {
		return n
	}
	clear(b[n:MinFrame])
	return MinFrame
}
