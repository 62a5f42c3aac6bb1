package loadgen

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"goaoe/aoe"
)

// fillChunk is how much Fill writes and Check reads at a time.
const fillChunk = 1 << 20

// Stamp is the 64 bit word that fills the sector at lba of a stamped disk (little endian, 64 times). Different sectors have
// different stamps, and neighbours differ in about half of their bits: the finaliser of splitmix64, which is a bijection.
func Stamp(lba uint64) uint64 {
	z := lba + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// InGeneration returns what stands for the sector at lba (48 bits) in Stamp, PutStamp and Stamped when it was written by a run of
// generation gen: the stamps of different generations differ. Fill writes generation 0.
func InGeneration(lba uint64, gen uint16) uint64 { return lba | uint64(gen)<<48 }

// Unknown is the generation of a place that a request is writing to, or was when the run ended early.
const Unknown = 0xffff

// PutStamp fills b, whole sectors, with the stamps of the disk's sectors from lba on.
func PutStamp(b []byte, lba uint64) {
	for ; len(b) >= aoe.SectorSize; lba++ {
		s := b[:aoe.SectorSize]
		binary.LittleEndian.PutUint64(s, Stamp(lba))
		for n := 8; n < len(s); n *= 2 {
			copy(s[n:], s[:n])
		}
		b = b[aoe.SectorSize:]
	}
}

// Stamped tells whether b, whole sectors, holds the stamps of the disk's sectors from lba on. Every byte counts: the first
// word of a sector must be its stamp and each other word the same as the one before it, which one fast comparison of the
// sector with itself, eight bytes on, finds out. So a byte costs a fraction of a nanosecond.
func Stamped(b []byte, lba uint64) bool {
	for ; len(b) >= aoe.SectorSize; lba++ {
		s := b[:aoe.SectorSize]
		if binary.LittleEndian.Uint64(s) != Stamp(lba) || !bytes.Equal(s[8:], s[:aoe.SectorSize-8]) {
			return false
		}
		b = b[aoe.SectorSize:]
	}
	return len(b) == 0
}

// Fill makes the regular file path a stamped disk of size bytes, a multiple of 512, without holes, on stable storage when it
// returns. What the file held before is lost.
func Fill(path string, size int64) (err error) {
	if size <= 0 || size%aoe.SectorSize != 0 {
		return fmt.Errorf("image %s: its size of %d bytes is not a positive multiple of %d", path, size, aoe.SectorSize)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	defer func() {
		if e := f.Close(); err == nil && e != nil {
			err = fmt.Errorf("image: %w", e)
		}
	}()
	buf := make([]byte, fillChunk)
	for at := int64(0); at < size; {
		b := buf[:min(int64(len(buf)), size-at)]
		PutStamp(b, uint64(at/aoe.SectorSize))
		if _, err := f.Write(b); err != nil {
			return fmt.Errorf("image (%d of %d bytes written): %w", at, size, err)
		}
		at += int64(len(b))
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	return nil
}

// Check reads the whole file path, which brings it into the page cache, and fails when a sector does not have its stamp.
func Check(path string) error { return CheckWritten(path, 1, nil) }

// CheckWritten is Check for a file that was written to by runs: last has for each place of sectors sectors the generation that
// the runs wrote there last (Config.Last); 0 for places after its end. Places of generation Unknown may hold anything.
func CheckWritten(path string, sectors int, last []uint16) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	buf := make([]byte, fillChunk)
	for lba := uint64(0); ; {
		n, err := io.ReadFull(f, buf)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("image: %w", err)
		}
		for b := buf[:n]; len(b) > 0; lba++ {
			gen := uint16(0)
			if i := lba / uint64(sectors); i < uint64(len(last)) {
				gen = last[i]
			}
			s := b[:min(aoe.SectorSize, len(b))]
			if gen != Unknown && !Stamped(s, InGeneration(lba, gen)) {
				return fmt.Errorf("image %s: sector %d does not hold its stamp of generation %d", path, lba, gen)
			}
			b = b[len(s):]
		}
		if err != nil {
			return nil
		}
	}
}
