package ata

import (
	"encoding/binary"
	"slices"
	"testing"
)

func TestParseSmart(t *testing.T) {
	data, limits := make([]byte, 512), make([]byte, 512)
	data[0] = 0x10
	put := func(i int, id uint8, flags uint16, value, worst uint8, raw uint64, limit uint8) {
		e := data[2+12*i:]
		e[0], e[3], e[4] = id, value, worst
		binary.LittleEndian.PutUint16(e[1:], flags)
		for k := range 6 {
			e[5+k] = byte(raw >> (8 * k))
		}
		limits[2+12*i], limits[3+12*i] = id, limit
	}
	put(0, 5, 0x33, 100, 90, 0x010203040506, 36)
	put(2, 194, 0x22, 30, 20, 30, 0)
	put(29, 211, 1, 10, 10, 1, 10)
	data[363] = 0xf3
	data[511] = complement(data[:511])
	got, err := ParseSmart(data, limits)
	want := []SmartAttribute{
		{5, "reallocated sectors", 0x33, 100, 90, 0x010203040506, 36, true},
		{194, "temperature", 0x22, 30, 20, 30, 0, true},
		{211, "unknown", 1, 10, 10, 1, 10, true},
	}
	if err != nil || !slices.Equal(got.Attributes, want) || !got.SumOK || got.Revision != 0x10 {
		t.Fatalf("%+v, %v", got, err)
	}
	if a := got.Attributes; a[0].Exceeded() || a[1].Exceeded() || !a[2].Exceeded() || !a[0].Prefail() || a[1].Prefail() {
		t.Errorf("what is exceeded: %+v", a)
	}
	if s := SelfTestText(got.SelfTest); s != "in progress, 30% remain" {
		t.Error(s)
	}
	data[511]++
	if got, err = ParseSmart(data, nil); err != nil || got.SumOK || got.Attributes[2].Exceeded() {
		t.Errorf("without thresholds, with a wrong sum: %+v, %v", got, err)
	}
	if _, err := ParseSmart(data[:511], nil); err == nil {
		t.Error("511 bytes")
	}
}

func TestParseSelfTests(t *testing.T) {
	log := make([]byte, 512)
	if got, err := ParseSelfTests(log); err != nil || len(got) != 0 {
		t.Fatalf("empty: %v, %v", got, err)
	}
	entry := func(i int, kind, status uint8, hours uint16, lba uint32) {
		e := log[2+24*i:]
		e[0], e[1] = kind, status
		binary.LittleEndian.PutUint16(e[2:], hours)
		binary.LittleEndian.PutUint32(e[5:], lba)
	}
	entry(20, 1, 0x00, 10, 0) // the ring goes round: the last place is the oldest
	entry(0, 2, 0x75, 20, 4711)
	entry(1, 1, 0x00, 30, 0)
	log[508] = 2
	got, err := ParseSelfTests(log)
	want := []SmartSelfTest{{1, 0, 30, 0}, {2, 0x75, 20, 4711}, {1, 0, 10, 0}}
	if err != nil || !slices.Equal(got, want) || !got[1].Failed() || got[0].Failed() {
		t.Fatalf("%+v, %v", got, err)
	}
	log[508] = 22
	if _, err := ParseSelfTests(log); err == nil {
		t.Error("newest 22 of 21")
	}
	if _, err := ParseSelfTests(log[:500]); err == nil {
		t.Error("500 bytes")
	}
}

// FuzzSmart: nothing that a disk answers makes the readers panic.
func FuzzSmart(f *testing.F) {
	f.Add(make([]byte, 512), make([]byte, 512))
	f.Fuzz(func(t *testing.T, data, more []byte) {
		if s, err := ParseSmart(data, more); err == nil && len(s.Attributes) > smartEntries {
			t.Errorf("%d attributes", len(s.Attributes))
		}
		_, _ = ParseSelfTests(data)
	})
}
