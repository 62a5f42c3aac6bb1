package ata

// Opcodes that have a meaning of their own to a target or an initiator. Others are found in the table only.
const (
	OpDSM          = 0x06 // DATA SET MANAGEMENT
	OpRead         = 0x20 // READ SECTORS
	OpReadExt      = 0x24 // READ SECTORS EXT
	OpReadDMAExt   = 0x25
	OpNativeMaxExt = 0x27 // READ NATIVE MAX ADDRESS EXT
	OpReadMultExt  = 0x29
	OpWrite        = 0x30 // WRITE SECTORS
	OpWriteExt     = 0x34 // WRITE SECTORS EXT
	OpWriteDMAExt  = 0x35
	OpWriteMultExt = 0x39
	OpWriteFUAExt  = 0x3d // WRITE DMA FUA EXT
	OpVerify       = 0x40 // READ VERIFY SECTORS
	OpVerifyExt    = 0x42
	OpSMART        = 0xb0
	OpReadMult     = 0xc4
	OpWriteMult    = 0xc5
	OpSetMultiple  = 0xc6
	OpReadDMA      = 0xc8
	OpWriteDMA     = 0xca
	OpWriteMultFUA = 0xce // WRITE MULTIPLE FUA EXT
	OpCheckPower   = 0xe5
	OpFlush        = 0xe7 // FLUSH CACHE
	OpFlushExt     = 0xea // FLUSH CACHE EXT
	OpIdentify     = 0xec // IDENTIFY DEVICE
	OpSetFeatures  = 0xef
	OpNativeMax    = 0xf8 // READ NATIVE MAX ADDRESS
)

// Class is what kind of command an opcode is.
type Class uint8

// The classes.
const (
	Unsupported Class = iota // answered ABRT
	Read                     // sectors to the initiator
	Write                    // sectors from the initiator
	Verify                   // range check, no data
	Flush                    // what was acknowledged becomes durable
	Identify                 // IDENTIFY DEVICE
	SetFeatures              // SET FEATURES; the Feature register says which
	SMART                    // SMART; the Feature register says which
	SetMultiple              // SET MULTIPLE MODE
	CheckPower               // CHECK POWER MODE
	Power                    // standby, idle, sleep: success without effect
	NativeMax                // READ NATIVE MAX ADDRESS
	DataSet                  // DATA SET MANAGEMENT
)

// Op is what is known of an opcode.
type Op struct {
	Class Class
	Ext   bool // 48 bit registers. The opcode decides this, and the direction of data; the request's flags do not
	FUA   bool // Write: durable before the reply whatever the write cache's state
}

// Modifies tells whether the command changes what is on the disk, so that a read-only disk refuses it.
func (o Op) Modifies() bool { return o.Class == Write || o.Class == DataSet }

// Lookup returns what is known of an opcode; most are Unsupported.
func Lookup(opcode byte) Op { return table[opcode] }

var table = [256]Op{
	OpDSM: {Class: DataSet, Ext: true},

	OpRead: {Class: Read}, 0x21: {Class: Read}, // with and without retry
	OpReadMult: {Class: Read},
	OpReadDMA:  {Class: Read}, 0xc9: {Class: Read},
	OpReadExt:     {Class: Read, Ext: true},
	OpReadDMAExt:  {Class: Read, Ext: true},
	OpReadMultExt: {Class: Read, Ext: true},

	OpWrite: {Class: Write}, 0x31: {Class: Write},
	OpWriteMult: {Class: Write},
	OpWriteDMA:  {Class: Write}, 0xcb: {Class: Write},
	OpWriteExt:     {Class: Write, Ext: true},
	OpWriteDMAExt:  {Class: Write, Ext: true},
	OpWriteMultExt: {Class: Write, Ext: true},
	OpWriteFUAExt:  {Class: Write, Ext: true, FUA: true},
	OpWriteMultFUA: {Class: Write, Ext: true, FUA: true},

	OpVerify: {Class: Verify}, 0x41: {Class: Verify},
	OpVerifyExt: {Class: Verify, Ext: true},

	OpFlush:    {Class: Flush},
	OpFlushExt: {Class: Flush, Ext: true},

	OpIdentify:    {Class: Identify},
	OpSetFeatures: {Class: SetFeatures},
	OpSMART:       {Class: SMART},
	OpSetMultiple: {Class: SetMultiple},

	OpCheckPower: {Class: CheckPower}, 0x98: {Class: CheckPower},
	0xe0: {Class: Power}, 0xe1: {Class: Power}, 0xe2: {Class: Power}, 0xe3: {Class: Power},
	0x94: {Class: Power}, 0x95: {Class: Power}, 0x96: {Class: Power}, 0x97: {Class: Power},
	0xe6: {Class: Power}, 0x99: {Class: Power},

	OpNativeMax:    {Class: NativeMax},
	OpNativeMaxExt: {Class: NativeMax, Ext: true},
}

// Values of the Feature register of SET FEATURES.
const (
	FeatureWriteCacheOn  = 0x02
	FeatureWriteCacheOff = 0x82
	FeatureTransferMode  = 0x03
	FeatureAPMOn         = 0x05
	FeatureAPMOff        = 0x85
	FeatureLookAheadOn   = 0xaa
	FeatureLookAheadOff  = 0x55
	FeatureKeep          = 0x66 // keep settings over a reset
	FeatureRevert        = 0xcc // revert to defaults at a reset
)

// FeatureTrim is the one value of the Feature register of DATA SET MANAGEMENT that is offered.
const FeatureTrim = 0x01
