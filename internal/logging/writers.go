package logging

import (
	"errors"
	"fmt"
	"io"
	"log/syslog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"golang.org/x/sys/unix"

	"goaoe/internal/privsep"
)

// stream is stderr.
type stream struct {
	mu      sync.Mutex
	to      io.Writer
	journal bool // the journal reads it, and puts a time on every line itself
}

func newStream(w io.Writer) *stream { return &stream{to: w, journal: isJournal(w)} }

// isJournal tells whether w is what systemd says the journal reads (systemd.exec(5), JOURNAL_STREAM). A stderr that was sent elsewhere
// since has another inode.
func isJournal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	var dev, ino uint64
	if n, err := fmt.Sscanf(os.Getenv("JOURNAL_STREAM"), "%d:%d", &dev, &ino); n != 2 || err != nil {
		return false
	}
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Dev == dev && st.Ino == ino
}

func (s *stream) write(ln *line) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.to.Write(ln.text)
	return err
}

func (s *stream) close() error { return nil }

// lookEvery is how often a file is held against its name.
const lookEvery = time.Second

// file is a log file. It is opened again when it was moved or removed, so that nobody has to tell who rotates.
type file struct {
	path   string
	f      *os.File
	now    func() time.Time
	looked time.Time
	part   bool // the last line was written in part: the disk was full
}

// openFile opens a log file.
func openFile(path string, now func() time.Time) (*file, error) {
	f, err := privsep.OpenLog(path)
	if err != nil {
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil, fmt.Errorf("%w; make its directory, or let the log go to stderr", err)
		case errors.Is(err, os.ErrPermission), errors.Is(err, unix.EROFS):
			return nil, fmt.Errorf("%w; the service of the packages may write below /var/log/goaoe", err)
		}
		return nil, err
	}
	return &file{path: path, f: f, now: now, looked: now()}, nil
}

// moved tells whether the path leads to another file, or to none.
func (f *file) moved() bool {
	if f.now().Sub(f.looked) < lookEvery {
		return false
	}
	f.looked = f.now()
	there, err := privsep.StatLog(f.path)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	mine, err := f.f.Stat()
	if err != nil {
		return false
	}
	st, ok := mine.Sys().(*syscall.Stat_t)
	return ok && (st.Ino != there.Ino || uint64(st.Dev) != there.Dev) //nolint:unconvert // of other widths elsewhere
}

func (f *file) write(ln *line) error {
	var odd error
	if f.moved() {
		if n, err := openFile(f.path, f.now); err == nil {
			_ = f.f.Close()
			f.f, f.part = n.f, false
		} else {
			odd = &oddity{fmt.Errorf("it was moved away, and a new one cannot be made: %w", err)}
		}
	}
	text := ln.text
	if f.part {
		text = append([]byte{'\n'}, text...)
	}
	n, err := f.f.Write(text)
	if err != nil {
		f.part = f.part && n == 0 || n > 0
		return pathless(err)
	}
	f.part = false
	return odd
}

// pathless returns an error without the path, which stands before it already.
func pathless(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func (f *file) close() error { return f.f.Close() }

// facilities are the names of syslog's facilities that make sense for a daemon.
var facilities = map[string]syslog.Priority{
	"daemon": syslog.LOG_DAEMON, "user": syslog.LOG_USER,
	"local0": syslog.LOG_LOCAL0, "local1": syslog.LOG_LOCAL1, "local2": syslog.LOG_LOCAL2, "local3": syslog.LOG_LOCAL3,
	"local4": syslog.LOG_LOCAL4, "local5": syslog.LOG_LOCAL5, "local6": syslog.LOG_LOCAL6, "local7": syslog.LOG_LOCAL7,
}

// syslogd is a connection to a syslog daemon. It connects again by itself.
type syslogd struct{ w *syslog.Writer }

// openSyslog connects to the syslog daemon of this machine, or to the socket at path.
func openSyslog(sp spec, path string) (*syslogd, error) {
	fac, ok := facilities[sp.facility]
	if !ok {
		fac = syslog.LOG_DAEMON
	}
	network := ""
	if path != "" {
		network = "unixgram"
	}
	w, err := syslog.Dial(network, path, fac|syslog.LOG_INFO, sp.tag)
	if err != nil {
		return nil, fmt.Errorf("there is no syslog daemon to be reached (%w); under systemd use target = \"journal\"", err)
	}
	return &syslogd{w}, nil
}

func (s *syslogd) write(ln *line) error {
	switch severity(ln.level) {
	case 3:
		return s.w.Err(ln.msg)
	case 4:
		return s.w.Warning(ln.msg)
	case 6:
		return s.w.Info(ln.msg)
	}
	return s.w.Debug(ln.msg)
}

func (s *syslogd) close() error { return s.w.Close() }

// journald writes to systemd's journal in its own protocol.
type journald struct{ tag string }

var errNoJournal = errors.New("/run/systemd/journal/socket does not answer: systemd does not run here")

func openJournal(sp spec) (*journald, error) {
	if !journal.Enabled() {
		return nil, errNoJournal
	}
	return &journald{sp.tag}, nil
}

func (j *journald) write(ln *line) error {
	fields := map[string]string{"SYSLOG_IDENTIFIER": j.tag}
	for key, v := range map[string]string{"GOAOE_EXPORT": ln.about.export, "GOAOE_INTERFACE": ln.about.iface, "GOAOE_INITIATOR": ln.about.initiator} {
		if v != "" {
			fields[key] = v
		}
	}
	if ln.about.trace {
		fields["GOAOE_TRACE"] = "1"
	}
	return journal.Send(strings.ToValidUTF8(ln.msg, "?"), journal.Priority(severity(ln.level)), fields)
}

func (j *journald) close() error { return nil }
