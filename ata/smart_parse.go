package ata

import (
	"encoding/binary"
	"fmt"
)

// SmartLogSelfTest is the log of self-tests, for LBA register 0 of READ LOG.
const SmartLogSelfTest = 6

// Values of LBA register 0 of EXECUTE OFFLINE IMMEDIATE.
const (
	SmartTestOffline = 0x00 // collect data
	SmartTestShort   = 0x01 // short self-test, in the background
	SmartTestLong    = 0x02 // extended self-test, in the background
	SmartTestAbort   = 0x7f
)

// SmartAttribute is one attribute of READ DATA. What its values mean is the vendor's; higher is better by custom.
type SmartAttribute struct {
	ID        uint8
	Name      string // the usual one, or "unknown"
	Flags     uint16 // bit 0: the disk will fail when it is exceeded; bit 1: updated online
	Value     uint8  // 1 to 253
	Worst     uint8
	Raw       uint64 // 48 bits
	Threshold uint8  // 0: never exceeded
	HasLimit  bool   // the thresholds have it
}

// Exceeded tells whether the attribute has reached its threshold.
func (a SmartAttribute) Exceeded() bool {
	return a.HasLimit && a.Threshold > 0 && a.Value <= a.Threshold
}

// Prefail tells whether exceeding the threshold means that the disk fails soon, and not only that it is old.
func (a SmartAttribute) Prefail() bool { return a.Flags&1 != 0 }

// SmartInfo is the answer of READ DATA.
type SmartInfo struct {
	Revision   uint16
	Attributes []SmartAttribute
	SelfTest   uint8 // status of the last self-test: high nibble see SelfTestText, low nibble tenths that remain
	SumOK      bool
}

const (
	smartFirst   = 2
	smartEntry   = 12
	smartEntries = 30
)

// ParseSmart reads the answer of READ DATA, and of READ THRESHOLDS where that is not nil. It fails when data is shorter than 512 bytes.
func ParseSmart(data, thresholds []byte) (SmartInfo, error) {
	if len(data) < 512 {
		return SmartInfo{}, fmt.Errorf("SMART READ DATA returned %d bytes instead of 512", len(data))
	}
	out := SmartInfo{Revision: binary.LittleEndian.Uint16(data), SelfTest: data[363], SumOK: SumOK((*[512]byte)(data))}
	limits := map[uint8]uint8{}
	for i := smartFirst; len(thresholds) >= 512 && i < smartFirst+smartEntries*smartEntry; i += smartEntry {
		limits[thresholds[i]] = thresholds[i+1]
	}
	for i := smartFirst; i < smartFirst+smartEntries*smartEntry; i += smartEntry {
		e := data[i : i+smartEntry]
		if e[0] == 0 {
			continue
		}
		a := SmartAttribute{ID: e[0], Name: "unknown", Flags: binary.LittleEndian.Uint16(e[1:]), Value: e[3], Worst: e[4]}
		if n, ok := smartNames[a.ID]; ok {
			a.Name = n
		}
		for k := 5; k >= 0; k-- {
			a.Raw = a.Raw<<8 | uint64(e[5+k])
		}
		a.Threshold, a.HasLimit = limits[a.ID], false
		_, a.HasLimit = limits[a.ID]
		out.Attributes = append(out.Attributes, a)
	}
	return out, nil
}

// SmartSelfTest is one entry of the self-test log.
type SmartSelfTest struct {
	Kind   uint8  // LBA register 0 of the command that began it
	Status uint8  // high nibble see SelfTestText, low nibble tenths that remained
	Hours  uint16 // age of the disk
	LBA    uint32 // of the first error, 28 bits; valid when Failed
}

// Failed tells whether the test found an error at LBA.
func (s SmartSelfTest) Failed() bool { return s.Status>>4 >= 3 && s.Status>>4 <= 8 }

// ParseSelfTests reads the self-test log, newest first.
func ParseSelfTests(log []byte) ([]SmartSelfTest, error) {
	const first, entry, entries = 2, 24, 21
	if len(log) < 512 {
		return nil, fmt.Errorf("the self-test log has %d bytes instead of 512", len(log))
	}
	newest := int(log[508])
	if newest > entries {
		return nil, fmt.Errorf("the self-test log says that entry %d is the newest, of %d", newest, entries)
	}
	var out []SmartSelfTest
	for k := range entries {
		if newest == 0 {
			break // empty
		}
		e := log[first+(newest-1-k+entries)%entries*entry:][:entry]
		s := SmartSelfTest{Kind: e[0], Status: e[1], Hours: binary.LittleEndian.Uint16(e[2:]), LBA: binary.LittleEndian.Uint32(e[5:])}
		if s == (SmartSelfTest{}) {
			break
		}
		out = append(out, s)
	}
	return out, nil
}

// SelfTestText says what the status byte of a self-test means.
func SelfTestText(status uint8) string {
	switch status >> 4 {
	case 0:
		return "completed without an error"
	case 1:
		return "aborted by the host"
	case 2:
		return "interrupted by a reset"
	case 3:
		return "could not be completed"
	case 4:
		return "failed, an unknown element"
	case 5:
		return "failed, electrical"
	case 6:
		return "failed, servo or seek"
	case 7:
		return "failed, read"
	case 8:
		return "failed, handling damage"
	case 15:
		return fmt.Sprintf("in progress, %d%% remain", int(status&15)*10)
	}
	return fmt.Sprintf("unknown status %#02x", status)
}

// SelfTestKind names a self-test.
func SelfTestKind(kind uint8) string {
	switch kind &^ 0x80 { // bit 7: captive
	case SmartTestOffline:
		return "offline"
	case SmartTestShort:
		return "short"
	case SmartTestLong:
		return "extended"
	case 3:
		return "conveyance"
	case 4:
		return "selective"
	}
	return fmt.Sprintf("%#02x", kind)
}

// smartNames are the names by which attributes are usually known.
var smartNames = map[uint8]string{
	1: "raw read error rate", 2: "throughput", 3: "spin-up time", 4: "start/stop count", 5: "reallocated sectors", 7: "seek error rate",
	8: "seek time", 9: "power-on hours", 10: "spin retries", 11: "calibration retries", 12: "power cycles", 13: "soft read error rate",
	170: "available reserve", 171: "program failures", 172: "erase failures", 173: "wear levelling", 174: "unexpected power loss",
	175: "power loss protection", 177: "wear levelling", 178: "used reserve (worst)", 179: "used reserve", 180: "unused reserve",
	181: "program failures", 182: "erase failures", 183: "runtime bad blocks", 184: "end-to-end errors", 187: "uncorrectable errors reported",
	188: "command timeouts", 189: "high-fly writes", 190: "airflow temperature", 191: "shock errors", 192: "power-off retracts",
	193: "load cycles", 194: "temperature", 195: "corrected errors", 196: "reallocation events", 197: "pending sectors",
	198: "offline uncorrectable sectors", 199: "CRC errors", 200: "write error rate", 201: "soft read errors", 202: "lifetime remaining",
	220: "disk shift", 222: "loaded hours", 223: "load retries", 225: "load cycles", 231: "life left", 232: "available reserve",
	233: "media wearout", 234: "average erase count", 235: "good blocks", 240: "head flying hours", 241: "sectors written", 242: "sectors read", 254: "free-fall events",
}
