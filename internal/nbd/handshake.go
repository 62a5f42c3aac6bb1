package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Bounds of a handshake, so that no client can hold memory or a connection by it.
const (
	maxOptionData = 16 << 10 // bytes of one option
	maxOptions    = 64       // options of one handshake
)

// errDone ends a handshake that needs no error: the client aborted it.
var errDone = errors.New("nbd: the client ended the handshake")

// serveHandshake is the server's side of the handshake over rw. nil: the client uses the export now, whose size it was told as size.
func serveHandshake(rw io.ReadWriter, e Export, size int64) error {
	h := handshake{rw: rw, e: e, size: size}
	b := binary.BigEndian.AppendUint64(nil, magicHello)
	b = binary.BigEndian.AppendUint64(b, magicOption)
	b = binary.BigEndian.AppendUint16(b, handshakeFixed|handshakeNoZeroes)
	if _, err := rw.Write(b); err != nil {
		return err
	}
	var flags [4]byte
	if _, err := io.ReadFull(rw, flags[:]); err != nil {
		return err
	}
	f := binary.BigEndian.Uint32(flags[:])
	if f&^(handshakeFixed|handshakeNoZeroes) != 0 {
		return fmt.Errorf("nbd: the client sets unknown flags %#x", f)
	}
	h.noZeroes = f&handshakeNoZeroes != 0
	for range maxOptions {
		over, err := h.option(f&handshakeFixed != 0)
		if over || err != nil {
			return err
		}
	}
	return fmt.Errorf("nbd: the client sent %d options and chose no export", maxOptions)
}

type handshake struct {
	rw       io.ReadWriter
	e        Export
	size     int64
	noZeroes bool
}

// option serves one option. over: the transmission phase begins.
func (h *handshake) option(fixed bool) (over bool, err error) {
	var head [16]byte
	if _, err := io.ReadFull(h.rw, head[:]); err != nil {
		return false, err
	}
	if binary.BigEndian.Uint64(head[:]) != magicOption {
		return false, errMagic
	}
	opt, n := binary.BigEndian.Uint32(head[8:]), binary.BigEndian.Uint32(head[12:])
	if n > maxOptionData {
		return false, fmt.Errorf("nbd: option %d with %d bytes, more than %d", opt, n, maxOptionData)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(h.rw, data); err != nil {
		return false, err
	}
	if !fixed && opt != optExportName {
		return false, fmt.Errorf("nbd: option %d from a client that does not know the fixed newstyle handshake", opt)
	}
	switch opt {
	case optExportName:
		return true, h.exportName(string(data))
	case optAbort:
		return false, errors.Join(h.answer(opt, repAck, nil), errDone)
	case optList:
		return false, h.list(data)
	case optInfo, optGo:
		ok, err := h.info(opt, data)
		return ok && opt == optGo, err
	}
	return false, h.answer(opt, repErrUnsup, nil)
}

// answer sends one answer to an option. The data of an error is a text for people.
func (h *handshake) answer(opt, rep uint32, data []byte) error {
	b := make([]byte, 0, 20+len(data))
	b = binary.BigEndian.AppendUint64(b, magicReply)
	b = binary.BigEndian.AppendUint32(b, opt)
	b = binary.BigEndian.AppendUint32(b, rep)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	_, err := h.rw.Write(append(b, data...))
	return err
}

func (h *handshake) known(name string) bool { return name == "" || name == h.e.Name }

func (h *handshake) exportName(name string) error {
	if !h.known(name) { // this option has no other way to refuse
		return fmt.Errorf("nbd: the client wants the export %q, here is %q", name, h.e.Name)
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(h.size))
	b = binary.BigEndian.AppendUint16(b, uint16(h.e.Flags))
	if !h.noZeroes {
		b = append(b, make([]byte, 124)...)
	}
	_, err := h.rw.Write(b)
	return err
}

func (h *handshake) list(data []byte) error {
	if len(data) > 0 {
		return h.answer(optList, repErrInvalid, []byte("LIST takes no data"))
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(h.e.Name)))
	b = append(append(b, h.e.Name...), h.e.Description...)
	if err := h.answer(optList, repServer, b); err != nil {
		return err
	}
	return h.answer(optList, repAck, nil)
}

// info serves INFO and GO. ok: the client was told all.
func (h *handshake) info(opt uint32, data []byte) (ok bool, err error) {
	name, wanted, err := parseInfo(data)
	if err != nil {
		return false, h.answer(opt, repErrInvalid, []byte(err.Error()))
	}
	if !h.known(name) {
		return false, h.answer(opt, repErrUnknown, []byte("here is only the export "+h.e.Name))
	}
	export := binary.BigEndian.AppendUint16(nil, infoExport)
	export = binary.BigEndian.AppendUint64(export, uint64(h.size))
	export = binary.BigEndian.AppendUint16(export, uint16(h.e.Flags))
	// The block sizes are told to everybody: a client may get what it did not ask for, and strict ones want it.
	sizes := binary.BigEndian.AppendUint16(nil, infoBlockSize)
	for _, n := range []int{h.e.MinBlock, h.e.Preferred, h.e.MaxBlock} {
		sizes = binary.BigEndian.AppendUint32(sizes, uint32(n))
	}
	infos := [][]byte{export, sizes}
	for _, w := range wanted {
		switch {
		case w == infoName:
			infos = append(infos, append([]byte{0, infoName}, h.e.Name...))
		case w == infoDescription && h.e.Description != "":
			infos = append(infos, append([]byte{0, infoDescription}, h.e.Description...))
		}
	}
	for _, i := range infos {
		if err := h.answer(opt, repInfo, i); err != nil {
			return false, err
		}
	}
	return true, h.answer(opt, repAck, nil)
}

// parseInfo reads the data of INFO and GO: a name and the kinds of information that the client wants, each kind once.
func parseInfo(b []byte) (name string, wanted []uint16, err error) {
	bad := errors.New("the lengths in the option do not add up")
	if len(b) < 6 {
		return "", nil, bad
	}
	n := binary.BigEndian.Uint32(b)
	if n > maxString || int(n) > len(b)-6 {
		return "", nil, bad
	}
	name, b = string(b[4:4+n]), b[4+n:]
	count := int(binary.BigEndian.Uint16(b))
	if len(b) != 2+2*count {
		return "", nil, bad
	}
	seen := [infoBlockSize + 1]bool{}
	for b = b[2:]; len(b) > 0; b = b[2:] {
		if w := binary.BigEndian.Uint16(b); int(w) < len(seen) && !seen[w] {
			seen[w] = true
			wanted = append(wanted, w)
		}
	}
	return name, wanted, nil
}
