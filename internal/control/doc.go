// Package control is the run-time control of a daemon: the types of its API, the Backend that a daemon implements, the
// server (HTTP and JSON on a Unix socket) and the client that the commands use.
//
// The way of a call is
//
//	command -> Client -> HTTP on the Unix socket -> Server -> Backend (the daemon's loop) -> reply
//
// docs/api.md is the reference, docs/openapi.json its machine-readable form; tests hold both against the routes in table.go.
// The API is versioned by the first part of the path (/v1). Within a version fields are added, never changed or removed, so a
// program must ignore fields that it does not know.
package control

// Version is the version of the API, the first part of every path.
const Version = "v1"

// DefaultSocket is where a daemon listens when its configuration says nothing else. A daemon of an ordinary user uses
// $XDG_RUNTIME_DIR/goaoe/control.sock.
const DefaultSocket = "/run/goaoe/control.sock"

// SocketEnv is the environment variable that names the socket for daemons and commands that got no --socket; for a daemon "off" means none.
const SocketEnv = "GOAOE_SOCKET"
