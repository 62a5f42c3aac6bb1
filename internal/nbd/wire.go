package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Magic numbers.
const (
	magicHello   = 0x4e42444d41474943 // "NBDMAGIC"
	magicOption  = 0x49484156454f5054 // "IHAVEOPT"
	magicOld     = 0x00420281861253   // of the oldstyle handshake, which is not spoken here
	magicReply   = 0x3e889045565a9    // of an answer to an option
	magicRequest = 0x25609513
	magicSimple  = 0x67446698
)

// Handshake flags of the server, and those of the client that answer them.
const (
	handshakeFixed    = 1 << 0
	handshakeNoZeroes = 1 << 1
)

// Options of the handshake.
const (
	optExportName = 1
	optAbort      = 2
	optList       = 3
	optStartTLS   = 5
	optInfo       = 6
	optGo         = 7
	optStructured = 8
)

// Answers to options.
const (
	repAck         = 1
	repServer      = 2
	repInfo        = 3
	repErrUnsup    = 1<<31 + 1
	repErrPolicy   = 1<<31 + 2
	repErrInvalid  = 1<<31 + 3
	repErrUnknown  = 1<<31 + 6
	repErrShutdown = 1<<31 + 7
	repErrTooBig   = 1<<31 + 9
)

// Kinds of information in an answer to INFO and GO.
const (
	infoExport      = 0
	infoName        = 1
	infoDescription = 2
	infoBlockSize   = 3
)

// Flags tell a client what an export can do (transmission flags).
type Flags uint16

// Transmission flags.
const (
	HasFlags       Flags = 1 << 0 // always set
	ReadOnly       Flags = 1 << 1
	CanFlush       Flags = 1 << 2
	CanFUA         Flags = 1 << 3
	Rotational     Flags = 1 << 4
	CanTrim        Flags = 1 << 5
	CanWriteZeroes Flags = 1 << 6
	CanMultiConn   Flags = 1 << 8 // a flush on one connection covers what was answered on all of them
)

// Command is the type of a request.
type Command uint16

// Commands.
const (
	CmdRead        Command = 0
	CmdWrite       Command = 1
	CmdDisconnect  Command = 2
	CmdFlush       Command = 3
	CmdTrim        Command = 4
	CmdCache       Command = 5
	CmdWriteZeroes Command = 6
)

// Flags of a request.
const (
	FlagFUA    = 1 << 0 // answered when the data is on stable storage
	FlagNoHole = 1 << 1 // WRITE_ZEROES must not make a hole
)

// Lengths of messages in bytes.
const (
	RequestLen = 28
	ReplyLen   = 16
)

// MaxRequest is the largest transfer of one request in bytes: what a client may assume of a server that tells no limit.
const MaxRequest = 32 << 20

// Header is the header of a request. The data of a CmdWrite follows it.
type Header struct {
	Flags  uint16
	Cmd    Command
	Cookie uint64 // the client's mark, which the reply repeats
	Offset uint64 // bytes
	Length uint32 // bytes
}

// errMagic says that the other end does not speak the protocol, or that the stream is out of step: nothing after it means anything.
var errMagic = errors.New("nbd: wrong magic number")

// Append adds the 28 bytes of the header to b.
func (h Header) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, magicRequest)
	b = binary.BigEndian.AppendUint16(b, h.Flags)
	b = binary.BigEndian.AppendUint16(b, uint16(h.Cmd))
	b = binary.BigEndian.AppendUint64(b, h.Cookie)
	b = binary.BigEndian.AppendUint64(b, h.Offset)
	return binary.BigEndian.AppendUint32(b, h.Length)
}

// ParseHeader reads the header of a request from the first RequestLen bytes of b, which must be there.
func ParseHeader(b []byte) (Header, error) {
	_ = b[RequestLen-1]
	if binary.BigEndian.Uint32(b) != magicRequest {
		return Header{}, errMagic
	}
	return Header{Flags: binary.BigEndian.Uint16(b[4:]), Cmd: Command(binary.BigEndian.Uint16(b[6:])), Cookie: binary.BigEndian.Uint64(b[8:]),
		Offset: binary.BigEndian.Uint64(b[16:]), Length: binary.BigEndian.Uint32(b[24:])}, nil
}

// PutReply writes a simple reply to b, which has at least ReplyLen bytes. The data of a read that succeeded follows it.
func PutReply(b []byte, cookie uint64, e Errno) {
	binary.BigEndian.PutUint32(b, magicSimple)
	binary.BigEndian.PutUint32(b[4:], uint32(e))
	binary.BigEndian.PutUint64(b[8:], cookie)
}

// ParseReply reads a simple reply from the first ReplyLen bytes of b, which must be there.
func ParseReply(b []byte) (cookie uint64, e Errno, err error) {
	_ = b[ReplyLen-1]
	if binary.BigEndian.Uint32(b) != magicSimple {
		return 0, 0, errMagic
	}
	return binary.BigEndian.Uint64(b[8:]), Errno(binary.BigEndian.Uint32(b[4:])), nil
}

// Errno is an error as the protocol carries it. 0 is success.
type Errno uint32 //nolint:errname // a number, named as the system calls name theirs

// Errors of the protocol, with the numbers of Linux.
const (
	EPERM     = Errno(unix.EPERM)
	EIO       = Errno(unix.EIO)
	ENOMEM    = Errno(unix.ENOMEM)
	EINVAL    = Errno(unix.EINVAL)
	ENOSPC    = Errno(unix.ENOSPC)
	ENOTSUP   = Errno(unix.ENOTSUP)
	ESHUTDOWN = Errno(unix.ESHUTDOWN)
)

// Error implements error.
func (e Errno) Error() string {
	switch e {
	case EPERM, EIO, ENOMEM, EINVAL, ENOSPC, ENOTSUP, ESHUTDOWN:
		return unix.Errno(e).Error()
	}
	return fmt.Sprintf("error %d", uint32(e))
}

// errnoOf is what a client is told of an error of a Backend: an Errno inside it, or EIO.
func errnoOf(err error) Errno {
	var e Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e) && e != 0:
		return e
	}
	return EIO
}
