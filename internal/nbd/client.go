package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Remote is what a server tells of its export.
type Remote struct {
	Size  int64
	Flags Flags
	// Block sizes in bytes. Where the server tells none: 1, 4096 and MaxRequest.
	MinBlock, Preferred, MaxBlock int
}

// Handshake is the client's side of the handshake over rw: it asks for the export, "" being the server's default, and returns
// when requests may be sent. The caller bounds the time by a deadline of its connection. It uses GO, and EXPORT_NAME with servers that do not
// know GO.
func Handshake(rw io.ReadWriter, export string) (Remote, error) {
	r, err := connect(rw, export)
	if err != nil {
		return Remote{}, fmt.Errorf("nbd: handshake for the export %q: %w", export, err)
	}
	return r, nil
}

func connect(rw io.ReadWriter, export string) (Remote, error) {
	var none Remote
	if len(export) > maxString {
		return none, fmt.Errorf("a name of %d bytes, longer than %d", len(export), maxString)
	}
	var hello [18]byte
	if _, err := io.ReadFull(rw, hello[:]); err != nil {
		return none, err
	}
	if binary.BigEndian.Uint64(hello[:]) != magicHello {
		return none, errMagic
	}
	switch binary.BigEndian.Uint64(hello[8:]) {
	case magicOption:
	case magicOld:
		return none, errors.New("the server speaks the oldstyle handshake only, which is not supported")
	default:
		return none, errMagic
	}
	flags := binary.BigEndian.Uint16(hello[16:]) & (handshakeFixed | handshakeNoZeroes)
	if _, err := rw.Write(binary.BigEndian.AppendUint32(nil, uint32(flags))); err != nil {
		return none, err
	}
	if flags&handshakeFixed != 0 {
		r, known, err := connectGo(rw, export)
		if known || err != nil {
			return r, err
		}
	}
	return connectName(rw, export, flags&handshakeNoZeroes != 0)
}

// sendOption sends one option.
func sendOption(w io.Writer, opt uint32, data []byte) error {
	b := binary.BigEndian.AppendUint64(nil, magicOption)
	b = binary.BigEndian.AppendUint32(b, opt)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	_, err := w.Write(append(b, data...))
	return err
}

// connectGo tries GO. known is false when the server does not know it.
func connectGo(rw io.ReadWriter, export string) (r Remote, known bool, err error) {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(export)))
	b = append(b, export...)
	b = binary.BigEndian.AppendUint16(b, 1)
	b = binary.BigEndian.AppendUint16(b, infoBlockSize)
	if err := sendOption(rw, optGo, b); err != nil {
		return r, false, err
	}
	r = Remote{Size: -1, MinBlock: 1, Preferred: 4096, MaxBlock: MaxRequest}
	for range maxOptions {
		rep, data, err := readAnswer(rw, optGo)
		switch {
		case err != nil:
			return r, false, err
		case rep == repErrUnsup:
			return r, false, nil
		case rep == repInfo:
			if err := r.info(data); err != nil {
				return r, false, err
			}
		case rep == repAck && r.Size < 0:
			return r, false, errors.New("the server did not tell the size")
		case rep == repAck:
			return r, true, nil
		default:
			return r, false, refusal(rep, data)
		}
	}
	return r, false, errors.New("the server does not come to an end")
}

// readAnswer reads one answer to an option.
func readAnswer(r io.Reader, opt uint32) (rep uint32, data []byte, err error) {
	var head [20]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	if binary.BigEndian.Uint64(head[:]) != magicReply || binary.BigEndian.Uint32(head[8:]) != opt {
		return 0, nil, errMagic
	}
	n := binary.BigEndian.Uint32(head[16:])
	if n > maxOptionData {
		return 0, nil, fmt.Errorf("an answer of %d bytes, more than %d", n, maxOptionData)
	}
	data = make([]byte, n)
	_, err = io.ReadFull(r, data)
	return binary.BigEndian.Uint32(head[12:]), data, err
}

func refusal(rep uint32, text []byte) error {
	if rep == repErrUnknown {
		return fmt.Errorf("the server has no such export: %q", text)
	}
	return fmt.Errorf("the server refuses (%#x): %q", rep, text)
}

// info takes over one piece of information.
func (r *Remote) info(b []byte) error {
	bad := errors.New("the server's information has the wrong length")
	if len(b) < 2 {
		return bad
	}
	switch binary.BigEndian.Uint16(b) {
	case infoExport:
		if len(b) != 12 {
			return bad
		}
		return r.export(b[2:])
	case infoBlockSize:
		if len(b) != 14 {
			return bad
		}
		low, best, high := binary.BigEndian.Uint32(b[2:]), binary.BigEndian.Uint32(b[6:]), binary.BigEndian.Uint32(b[10:])
		if low == 0 || low&(low-1) != 0 || low > 65536 || high < low {
			return fmt.Errorf("the server tells block sizes of %d to %d bytes", low, high)
		}
		r.MinBlock, r.Preferred, r.MaxBlock = int(low), int(min(best, MaxRequest)), int(min(high, MaxRequest))
	}
	return nil
}

// export takes over size and flags, 10 bytes.
func (r *Remote) export(b []byte) error {
	size := binary.BigEndian.Uint64(b)
	if size > 1<<63-1 {
		return fmt.Errorf("the server tells a size of %d bytes", size)
	}
	r.Size, r.Flags = int64(size), Flags(binary.BigEndian.Uint16(b[8:]))
	return nil
}

// connectName uses EXPORT_NAME, which an old server answers with the size and a new one that refuses by closing.
func connectName(rw io.ReadWriter, export string, noZeroes bool) (Remote, error) {
	r := Remote{MinBlock: 1, Preferred: 4096, MaxBlock: MaxRequest}
	if err := sendOption(rw, optExportName, []byte(export)); err != nil {
		return r, err
	}
	n := 10
	if !noZeroes {
		n += 124
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(rw, b); err != nil {
		return r, fmt.Errorf("the server closes: it may have no such export: %w", err)
	}
	return r, r.export(b[:10])
}
