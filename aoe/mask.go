package aoe

// The operations of CmdMask (byte 25).
const (
	MaskRead = 0 // return the list
	MaskEdit = 1 // apply directives, then return the list
)

// Error codes of CmdMask (byte 26). They are the command's own: FlagError is not set with them.
const (
	MaskOK           = 0
	MaskUnspecified  = 1
	MaskBadDirective = 2
	MaskFull         = 3
)

// Directives of MaskEdit.
const (
	MaskNone   = 0 // no directive; what the entries of a reply have
	MaskAdd    = 1
	MaskDelete = 2
)

// Directive is one element of a MAC mask list: in a request what to do with an address, in a reply an entry.
type Directive struct {
	Cmd uint8 // MaskNone, MaskAdd, MaskDelete
	MAC MAC
}

// Mask is the argument of CmdMask without its directives.
type Mask struct {
	Op    uint8 // MaskRead, MaskEdit
	Error uint8 // reply: MaskOK etc.
	Count uint8 // directives or entries; in a reply with Error the index of the directive that failed
}

// DecodeMask reads the argument of a frame with CmdMask and returns a view of its directives, Count of them, for MaskDirective.
// It fails with ErrShort under 28 bytes, and with ErrLength when the frame does not hold Count directives; then the
// Mask is valid all the same (in a read request and in a reply with Error the count is not a number of directives).
func DecodeMask(frame []byte) (m Mask, directives []byte, err error) {
	if len(frame) < MaskLen {
		return Mask{}, nil, ErrShort
	}
	m = Mask{Op: frame[25], Error: frame[26], Count: frame[27]}
	n := int(m.Count) * DirectiveLen
	if n > len(frame)-MaskLen {
		return m, nil, ErrLength
	}
	return m, frame[MaskLen : MaskLen+n : MaskLen+n], nil
}

// MaskDirective returns directive i of a view that DecodeMask returned; i must be less than its Count.
func MaskDirective(directives []byte, i int) Directive {
	d := directives[i*DirectiveLen : (i+1)*DirectiveLen]
	return Directive{Cmd: d[1], MAC: MAC(d[2:8])}
}

// Encode writes the argument without directives behind the header in b and returns MaskLen, or ErrSpace.
func (m *Mask) Encode(b []byte) (int, error) {
	if len(b) < MaskLen {
		return 0, ErrSpace
	}
	b[24], b[25], b[26], b[27] = 0, m.Op, m.Error, m.Count
	return MaskLen, nil
}

// PutDirective writes directive i into the frame b and returns the frame's length so far, or ErrSpace.
func PutDirective(b []byte, i int, d Directive) (int, error) {
	if i < 0 || i > 254 || len(b) < MaskLen+(i+1)*DirectiveLen {
		return 0, ErrSpace
	}
	p := b[MaskLen+i*DirectiveLen:]
	p[0], p[1] = 0, d.Cmd
	copy(p[2:8], d.MAC[:])
	return MaskLen + (i+1)*DirectiveLen, nil
}

// MaskCapacity is how many entries of a MAC mask list fit one frame of this MTU, 255 at most.
func MaskCapacity(mtu int) int {
	return max(0, min((EtherLen+mtu-MaskLen)/DirectiveLen, 255))
}
