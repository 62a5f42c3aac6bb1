package sim

import "encoding/binary"

const (
	sectorSize = 512
	halfSize   = sectorSize / 2
	// unwritten marks sectors that nobody has written yet, by place: they do not look alike.
	unwritten = uint64(1) << 56
	// guard marks sectors behind the end of an export.
	guard = uint64(1) << 57
)

// Each half of a sector carries a stamp, from which all its bytes follow. Every sector of every write of every initiator has a stamp of its
// own, so what a read returns tells which write it is from, byte for byte, and a sector torn in the middle shows.

func word(stamp uint64, half, i int) uint64 {
	x := stamp*0x9e3779b97f4a7c15 + uint64(half*64+i)*0xd6e8feb86659fd93
	return x ^ x>>29
}

// putHalf writes half 0 or 1 of a sector. Stamp 0 is zeros.
func putHalf(b []byte, half int, stamp uint64) {
	b = b[:halfSize]
	if stamp == 0 {
		clear(b)
		return
	}
	binary.LittleEndian.PutUint64(b, stamp)
	for i := 1; i < halfSize/8; i++ {
		binary.LittleEndian.PutUint64(b[i*8:], word(stamp, half, i))
	}
}

// putSector writes both halves.
func putSector(b []byte, stamp uint64) {
	putHalf(b, 0, stamp)
	putHalf(b[halfSize:], 1, stamp)
}

// readHalf returns the stamp of half 0 or 1 of a sector; ok is false when its bytes are none that putHalf writes.
func readHalf(b []byte, half int) (stamp uint64, ok bool) {
	stamp = binary.LittleEndian.Uint64(b)
	for i := 1; i < halfSize/8; i++ {
		want := uint64(0)
		if stamp != 0 {
			want = word(stamp, half, i)
		}
		if binary.LittleEndian.Uint64(b[i*8:]) != want {
			return stamp, false
		}
	}
	return stamp, true
}

// readSector returns the stamps of both halves.
func readSector(b []byte) (v [2]uint64, ok bool) {
	var ok0, ok1 bool
	v[0], ok0 = readHalf(b, 0)
	v[1], ok1 = readHalf(b[halfSize:], 1)
	return v, ok0 && ok1
}
