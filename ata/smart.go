package ata

// Values of the Feature register of SMART.
const (
	SmartReadData       = 0xd0
	SmartReadThresholds = 0xd1
	SmartAutosave       = 0xd2
	SmartSave           = 0xd3
	SmartOffline        = 0xd4 // LBA register 0: which self-test
	SmartReadLog        = 0xd5 // LBA register 0: which log
	SmartWriteLog       = 0xd6
	SmartEnable         = 0xd8
	SmartDisable        = 0xd9
	SmartStatus         = 0xda // RETURN STATUS
	SmartAutoOffline    = 0xdb
)

// The signature in LBA registers 1 and 2: a SMART command must carry it, RETURN STATUS answers with it or, when a
// threshold is exceeded, with the other.
const (
	SmartSigMid   = 0x4f
	SmartSigHigh  = 0xc2
	SmartFailMid  = 0xf4
	SmartFailHigh = 0x2c
)

// SmartData writes the answer of READ DATA: revision 0x0010, no attributes, checksum.
func SmartData(b *[512]byte) {
	clear(b[:])
	b[0] = 0x10
	b[511] = complement(b[:511])
}

// SmartThresholds writes the answer of READ THRESHOLDS: none. All zeros carry the right checksum.
func SmartThresholds(b *[512]byte) { clear(b[:]) }

// SmartLogDirectory writes log 0: version 1, and no log.
func SmartLogDirectory(b *[512]byte) {
	clear(b[:])
	b[0] = 1
}

// SumOK tells whether all 512 bytes add up to 0 modulo 256, as the structures of SMART and IDENTIFY do.
func SumOK(b *[512]byte) bool { return complement(b[:]) == 0 }

// complement is the byte that makes b and itself add up to 0.
func complement(b []byte) byte {
	var sum byte
	for _, v := range b {
		sum += v
	}
	return -sum
}
