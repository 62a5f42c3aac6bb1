package logging

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"goaoe/internal/config"
)

const (
	queueLines   = 1024                   // lines that wait for a slow target; more are lost, and counted
	sendPatience = 200 * time.Millisecond // how long who logs waits for a line to be written
	openPatience = 2 * time.Second        // how long Set waits for a file to open
	lastPatience = time.Second            // how long closing waits for what is in the queue
	retryOpen    = 5 * time.Second        // a target that could not be opened is tried again
	calmAfter    = 5 * time.Second        // trouble that ends earlier is not over yet: it is not said again and again
)

// writer is a place where lines end.
type writer interface {
	write(ln *line) error
	close() error
}

// sink is one target: a queue, and a goroutine that writes what is in it. So a file system that hangs, a full disk or a syslogd that
// has stopped hold up nobody but themselves.
type sink struct {
	log    *Log
	spec   spec
	form   *formatter
	direct bool // no queue: the process is about to end

	mu      sync.Mutex // guards what follows
	queue   chan *line // nil: not started
	closed  bool
	stalled bool   // a line was not written in time: nobody waits until the queue is empty
	lost    uint64 // lines that were not written since the trouble began
	ended   chan struct{}

	// Of the goroutine:
	w       writer
	retryAt time.Time
	openErr error

	state   sync.Mutex // guards what follows; never held while anything is written
	failing bool
	since   time.Time
}

func (l *Log) newSink(sp spec) *sink {
	return &sink{log: l, spec: sp, form: newFormatter(sp, l.stderr.journal && sp.kind != config.LogFile)}
}

// format makes the line of a record for this target.
func (s *sink) format(r slog.Record, steps []step) *line { return s.form.line(r, steps) }

// String names the target in messages.
func (s *sink) String() string {
	switch s.spec.kind {
	case config.LogFile:
		return "log file " + s.spec.file
	case config.LogSyslog:
		return "syslog"
	case config.LogJournal:
		return "the journal"
	}
	return "stderr"
}

// errSlow is an open that takes too long.
var errSlow = errors.New("opening it takes too long; does its file system hang?")

// open opens the target before its first line, so that mistakes are known. Only files can fail: see Set.
func (s *sink) open() error {
	opened := make(chan error, 1)
	s.mu.Lock()
	s.start(func() {
		err := s.reopen()
		opened <- err
		if err != nil && s.spec.kind != config.LogFile {
			s.trouble(err)
		}
	})
	s.mu.Unlock()
	select {
	case err := <-opened:
		if s.spec.kind == config.LogFile {
			return err
		}
		return nil
	case <-time.After(openPatience):
		return fmt.Errorf("%s: %w", s.spec.file, errSlow)
	}
}

// start starts the goroutine. The lock is held.
func (s *sink) start(first func()) {
	s.queue, s.ended = make(chan *line, queueLines), make(chan struct{})
	go func() {
		defer close(s.ended)
		if first != nil {
			first()
		}
		for ln := range s.queue {
			s.deliver(ln)
			close(ln.done)
			if len(s.queue) == 0 {
				s.mu.Lock()
				s.stalled = false
				s.mu.Unlock()
			}
		}
		if s.w != nil {
			_ = s.w.close()
		}
	}()
}

// send gives a line to the target, and waits for it to be written, for a moment. It returns false when the target was closed.
func (s *sink) send(ln *line) bool {
	if s.direct {
		_ = s.log.stderr.write(ln)
		return true
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false
	}
	if s.queue == nil {
		s.start(nil)
	}
	select {
	case s.queue <- ln:
	default:
		s.lost++
		s.mu.Unlock()
		s.trouble(errors.New("it does not take what is written to it"))
		return true
	}
	wait := !s.stalled && !ln.hurry
	s.mu.Unlock()
	if !wait {
		return true
	}
	timer := time.NewTimer(sendPatience)
	defer timer.Stop()
	select {
	case <-ln.done:
	case <-timer.C:
		s.mu.Lock()
		s.stalled = len(s.queue) > 0 || !isDone(ln)
		s.mu.Unlock()
	}
	return true
}

func isDone(ln *line) bool {
	select {
	case <-ln.done:
		return true
	default:
		return false
	}
}

// close has the goroutine end when the queue is empty, and waits for that, for a moment.
func (s *sink) close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	if s.queue == nil {
		s.mu.Unlock()
		return
	}
	close(s.queue)
	s.mu.Unlock()
	select {
	case <-s.ended:
	case <-time.After(lastPatience):
	}
}

// reopen makes the writer.
func (s *sink) reopen() (err error) {
	s.retryAt = s.log.now().Add(retryOpen)
	switch s.spec.kind {
	case config.LogFile:
		s.w, err = openFile(s.spec.file, s.log.now)
	case config.LogSyslog:
		s.w, err = openSyslog(s.spec, s.log.syslog)
	case config.LogJournal:
		s.w, err = openJournal(s.spec)
	default:
		s.w = s.log.stderr
	}
	if err != nil {
		s.w = nil // not an interface around a nil pointer
	}
	s.openErr = err
	return err
}

// deliver writes one line, or accounts for it.
func (s *sink) deliver(ln *line) {
	err := s.openErr
	if s.w == nil && (err == nil || !s.log.now().Before(s.retryAt)) {
		err = s.reopen()
	}
	if s.w != nil {
		err = s.w.write(ln)
	}
	var odd *oddity
	switch {
	case errors.As(err, &odd): // written, but something is wrong
		s.trouble(odd.err)
	case err == nil:
		s.fine()
	default:
		s.trouble(err)
		if s.replaced() {
			_ = s.log.stderr.write(ln)
			return
		}
		s.mu.Lock()
		s.lost++
		s.mu.Unlock()
	}
}

// replaced tells whether stderr takes what this target does not.
func (s *sink) replaced() bool {
	return s.spec.kind == config.LogSyslog || s.spec.kind == config.LogJournal
}

// oddity is trouble with a line that was written all the same.
type oddity struct{ err error }

func (o *oddity) Error() string { return o.err.Error() }

// trouble says, once, that the target does not work.
func (s *sink) trouble(err error) {
	s.state.Lock()
	said := s.failing
	s.failing = true
	if !said {
		s.since = s.log.now()
	}
	s.state.Unlock()
	if said || s == s.log.notes || s.spec.kind == config.LogStderr {
		return
	}
	what := "what is logged there is lost until it works again"
	var odd *oddity
	if errors.As(err, &odd) {
		what = "it goes on with the old one"
	}
	if s.replaced() {
		what = "what is meant for it goes to stderr until it works again"
	}
	s.log.warn(fmt.Sprintf("%v: %v; %s", s, err, what))
}

// fine says, once, that the target works again.
func (s *sink) fine() {
	s.state.Lock()
	over := s.failing && s.log.now().Sub(s.since) >= calmAfter
	if over {
		s.failing = false
	}
	s.state.Unlock()
	if !over {
		return
	}
	s.mu.Lock()
	lost := s.lost
	s.lost = 0
	s.mu.Unlock()
	text := fmt.Sprintf("%v works again", s)
	if lost > 0 {
		text += fmt.Sprintf("; %d messages were lost", lost)
	}
	if s.w != s.log.stderr {
		s.log.warn(text)
	}
	_ = s.w.write(s.format(slog.NewRecord(s.log.now(), slog.LevelWarn, text, 0), nil)) // what fails shows at the next line
}
