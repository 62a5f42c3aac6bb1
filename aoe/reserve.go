package aoe

// The operations of CmdReserve (byte 24).
const (
	ReserveRead  = 0 // return the list
	ReserveSet   = 1 // replace the list, if it is empty or holds the sender, else error Reserved
	ReserveForce = 2 // replace the list
)

// Reserve is the argument of CmdReserve without its addresses.
type Reserve struct {
	Op    uint8 // ReserveRead, ReserveSet, ReserveForce
	Count uint8 // addresses
}

// DecodeReserve reads the argument of a frame with CmdReserve and returns a view of its addresses, Count of them, for ReserveMAC. It
// fails with ErrShort under 26 bytes, and with ErrLength when the frame does not hold Count addresses; then the
// Reserve is valid all the same.
func DecodeReserve(frame []byte) (r Reserve, macs []byte, err error) {
	if len(frame) < ReserveLen {
		return Reserve{}, nil, ErrShort
	}
	r = Reserve{Op: frame[24], Count: frame[25]}
	n := int(r.Count) * MACLen
	if n > len(frame)-ReserveLen {
		return r, nil, ErrLength
	}
	return r, frame[ReserveLen : ReserveLen+n : ReserveLen+n], nil
}

// ReserveMAC returns address i of a view that DecodeReserve returned; i must be less than its Count.
func ReserveMAC(macs []byte, i int) MAC { return MAC(macs[i*MACLen : (i+1)*MACLen]) }

// EncodeReserve writes the argument with its addresses behind the header in b and returns the frame's length before padding. It
// fails with ErrLength for more than 255 addresses and with ErrSpace when b is too small.
func EncodeReserve(b []byte, op uint8, macs []MAC) (int, error) {
	if len(macs) > 255 {
		return 0, ErrLength
	}
	n := ReserveLen + len(macs)*MACLen
	if len(b) < n {
		return 0, ErrSpace
	}
	b[24], b[25] = op, uint8(len(macs))
	for i := range macs {
		copy(b[ReserveLen+i*MACLen:], macs[i][:])
	}
	return n, nil
}

// ReserveCapacity is how many entries of a reserve list fit one frame of this MTU, 255 at most.
func ReserveCapacity(mtu int) int {
	return max(0, min((EtherLen+mtu-ReserveLen)/MACLen, 255))
}
