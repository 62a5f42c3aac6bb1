package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"path"
	"strings"
	"syscall"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"goaoe/internal/control"
)

// What the commands that go on until they are interrupted have in common: monitor, top, trace.

// endless returns a context that ends with SIGINT, SIGTERM and SIGHUP, the usual ways to end such a command. Writing to a pipe that nobody
// reads any more becomes an error instead of a death by SIGPIPE: see ended.
func endless(parent context.Context) (context.Context, context.CancelFunc) {
	if parent == nil {
		parent = context.Background()
	}
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	return ctx, func() {
		stop()
		signal.Reset(syscall.SIGPIPE)
	}
}

// ended makes nil of an error that only says that nobody reads the output any more, as with goaoe monitor | head.
func ended(err error) error {
	if errors.Is(err, unix.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return err
}

// terminal tells whether w is a terminal, and its size in characters.
func terminal(w io.Writer) (columns, lines int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(f.Fd()) {
		return 0, 0, false
	}
	columns, lines, err := term.GetSize(f.Fd())
	return columns, lines, err == nil && columns > 0 && lines > 0
}

// unknownNames makes the error for names that mean nothing.
func unknownNames(unknown []string, s *control.Stats) error {
	var there []string
	for i := range s.Exports {
		there = append(there, s.Exports[i].Address)
	}
	for i := range s.Interfaces {
		there = append(there, s.Interfaces[i].Name)
	}
	hint := "there are none yet"
	if n := len(there); n > 8 {
		hint = "there are " + strings.Join(there[:8], ", ") + ", ..."
	} else if n > 0 {
		hint = "there are " + strings.Join(there, ", ")
	}
	return Failf("nothing is called %s", strings.Join(unknown, ", ")).WithHint(hint)
}

// watchSocket adds --socket.
func watchSocket(f *pflag.FlagSet, socket *string) {
	f.StringVar(socket, "socket", "", "the daemon's control socket (default: $"+control.SocketEnv+", else "+control.DefaultSocket+")")
}

// watched returns a client of the daemon that is to be watched.
func watched(env *Env, socket string) *control.Client {
	return remote(env, &remoteFlags{socket: socket})
}

// checkNames refuses names that can mean nothing.
func checkNames(names []string) error {
	for _, n := range names {
		if _, err := path.Match(n, ""); err != nil || n == "" {
			return Usagef("%q is not a valid name or pattern", n).WithHint("a [ needs its ], and something must follow a \\")
		}
	}
	return nil
}
