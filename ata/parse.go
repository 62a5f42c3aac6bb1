package ata

import (
	"encoding/binary"
	"fmt"
)

// Identity is what an initiator learns from IDENTIFY DEVICE.
type Identity struct {
	Device
	LBA48     bool // 48 bit commands are there, and Sectors comes from the 48 bit words
	Sectors28 uint32
	HasSum    bool // the checksum byte is in use (it is optional)
	SumOK     bool // and right; true when it is not in use
}

// ParseIdentify reads the data of IDENTIFY DEVICE. It fails when there are fewer than 512 bytes, or when the disk says that it has no
// sectors. Like the usual initiators it takes LBA48 to be there when word 83 or word 86 says so.
func ParseIdentify(data []byte) (Identity, error) {
	if len(data) < 512 {
		return Identity{}, fmt.Errorf("IDENTIFY DEVICE returned %d bytes instead of 512", len(data))
	}
	b := (*[512]byte)(data)
	id := Identity{
		LBA48:     (get(b, 83)|get(b, 86))&0x0400 != 0,
		Sectors28: uint32(get(b, 60)) | uint32(get(b, 61))<<16,
		HasSum:    b[510] == 0xa5,
		SumOK:     true,
	}
	if id.HasSum {
		id.SumOK = SumOK(b)
	}
	id.Sectors = uint64(id.Sectors28)
	if id.LBA48 {
		id.Sectors = uint64(get(b, 100)) | uint64(get(b, 101))<<16 | uint64(get(b, 102))<<32 | uint64(get(b, 103))<<48
	}
	id.Serial = text(b[2*wSerial:], SerialLen)
	id.Firmware = text(b[2*wFirmware:], FirmwareLen)
	id.Model = text(b[2*wModel:], ModelLen)
	id.parseFeatures(b)
	if id.Sectors == 0 {
		return id, fmt.Errorf("IDENTIFY DEVICE: the disk (model %q, serial %q) says it has 0 sectors", id.Model, id.Serial)
	}
	if id.Sectors > MaxSectors {
		return id, fmt.Errorf("IDENTIFY DEVICE: size of %d sectors is beyond 48 bits", id.Sectors)
	}
	return id, nil
}

func (id *Identity) parseFeatures(b *[512]byte) {
	can, on := get(b, 82), get(b, 85)
	id.WriteCache, id.WriteCacheEnabled = can&0x0020 != 0, on&0x0020 != 0
	id.LookAheadEnabled = on&0x0040 != 0
	id.Smart, id.SmartEnabled = can&0x0001 != 0, on&0x0001 != 0
	if w := get(b, 84); w&0xc000 == 0x4000 {
		id.FUA = w&0x0040 != 0
		if w&0x0100 != 0 {
			for i := 0; i < 4; i++ {
				id.WWN = id.WWN<<16 | uint64(get(b, 108+i))
			}
		}
	}
	id.Trim = get(b, 169)&1 != 0
	id.TrimZero = id.Trim && get(b, 69)&0x4020 == 0x4020
	id.PhysicalSize = SectorSize
	if w := get(b, 106); w&0xe000 == 0x6000 { // bits 15:14 are 01: the word is valid; bit 13: several in one
		id.PhysicalSize = SectorSize << (w & 0x0f)
		if a := get(b, 209); a&0xc000 == 0x4000 {
			id.AlignOffset = int(a & 0x3fff)
		}
	}
	id.Rotation = get(b, 217)
	if w := get(b, 59); w&0x0100 != 0 {
		id.Multiple = uint8(w)
	}
}

func get(b *[512]byte, word int) uint16 { return binary.LittleEndian.Uint16(b[2*word:]) }

// text undoes putText: it swaps the bytes, makes what is not printable a "?", and cuts spaces and NULs at both ends.
func text(b []byte, n int) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = b[i^1]
	}
	for len(out) > 0 && (out[len(out)-1] == ' ' || out[len(out)-1] == 0) {
		out = out[:len(out)-1]
	}
	for len(out) > 0 && (out[0] == ' ' || out[0] == 0) {
		out = out[1:]
	}
	for i, c := range out {
		if c < 0x20 || c > 0x7e {
			out[i] = '?'
		}
	}
	return string(out)
}
