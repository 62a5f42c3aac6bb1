package aoe

import "encoding/binary"

// The operations of CmdConfig (low nibble of byte 29).
const (
	ConfigRead     = 0 // return the string
	ConfigTest     = 1 // answer only if the string is equal
	ConfigPrefix   = 2 // answer only if the string begins so
	ConfigSetOp    = 3 // set if the string is empty or equal, else error ConfigSet
	ConfigForceSet = 4 // set
)

// Config is the argument of CmdConfig. A request uses Op and String only.
type Config struct {
	BufferCount uint16 // frames that the target can hold
	Firmware    uint16 // free for the target to use
	Sectors     uint8  // sectors per frame; 0 means 2
	Version     uint8  // high nibble of byte 29: Version in replies, not checked in requests
	Op          uint8  // low nibble of byte 29
	Length      uint16 // decoding only: the length field as it was sent, even when it is wrong
	String      []byte // 0 to MaxConfig bytes of any value; decoded: a view into the frame
}

// DecodeConfig reads the argument of a frame with CmdConfig. It fails with ErrShort under 32 bytes, and with ErrLength when
// the string's length exceeds MaxConfig or the frame; then all but String is valid, which matters because
// the length of a ConfigRead request means nothing.
func DecodeConfig(frame []byte) (Config, error) {
	if len(frame) < ConfigLen {
		return Config{}, ErrShort
	}
	c := Config{
		BufferCount: binary.BigEndian.Uint16(frame[24:]),
		Firmware:    binary.BigEndian.Uint16(frame[26:]),
		Sectors:     frame[28],
		Version:     frame[29] >> 4,
		Op:          frame[29] & 0x0f,
		Length:      binary.BigEndian.Uint16(frame[30:]),
	}
	n := int(c.Length)
	if n > MaxConfig || n > len(frame)-ConfigLen {
		return c, ErrLength
	}
	c.String = frame[ConfigLen : ConfigLen+n : ConfigLen+n]
	return c, nil
}

// Encode writes the argument behind the header in b and returns the frame's length before padding. It fails with ErrLength for a
// string over MaxConfig and with ErrSpace when b is too small. The length field follows String.
func (c *Config) Encode(b []byte) (int, error) {
	if len(c.String) > MaxConfig {
		return 0, ErrLength
	}
	n := ConfigLen + len(c.String)
	if len(b) < n {
		return 0, ErrSpace
	}
	binary.BigEndian.PutUint16(b[24:], c.BufferCount)
	binary.BigEndian.PutUint16(b[26:], c.Firmware)
	b[28] = c.Sectors
	b[29] = c.Version<<4 | c.Op&0x0f
	binary.BigEndian.PutUint16(b[30:], uint16(len(c.String)))
	copy(b[ConfigLen:], c.String)
	return n, nil
}
