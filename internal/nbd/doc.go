// Package nbd is the Network Block Device protocol: its wire format, the handshake of both ends, a server that serves any
// Backend, and a small client. It knows nothing of where the data comes from; goaoe attach puts an AoE disk behind the
// server, and a storage kind over somebody else's NBD server needs Handshake and the wire format of this package.
//
// The server speaks the fixed newstyle handshake (EXPORT_NAME, GO, INFO, LIST, ABORT) and simple replies, with READ, WRITE,
// FLUSH, TRIM, WRITE_ZEROES and FUA. Structured replies are refused: their use is to tell of holes, and a Backend knows of none.
//
// Source of all numbers and rules: doc/proto.md of the NBD project (https://github.com/NetworkBlockDevice/nbd), and
// include/uapi/linux/nbd.h for what the kernel's client does. All integers are big endian.
package nbd
