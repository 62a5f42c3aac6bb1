package capture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/sys"
)

// lookAgain is the time between two looks whether an interface that is down still exists.
const lookAgain = 200 * time.Millisecond

// Run hands the frames of all sources to each, those that wait at one moment in the order of their times, until ctx ends (nil),
// each returns an error (that error), or an interface is removed (ErrGone). When ctx ends, what the kernel had taken by then is handed
// on before Run returns. down is told of an interface that goes down; it may be nil.
func Run(ctx context.Context, sources []*Source, each func(*Frame) error, down func(name string)) error {
	wake, err := sys.NewEventFD()
	if err != nil {
		return err
	}
	defer func() { _ = wake.Close() }() // nobody signals any more
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { wake.Signal(); close(stopped) })
	defer func() {
		if !stop() {
			<-stopped // it uses wake
		}
	}()
	fds := make([]unix.PollFd, 0, len(sources)+1)
	for _, s := range sources {
		fds = append(fds, unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN})
	}
	fds = append(fds, unix.PollFd{Fd: int32(wake.FD()), Events: unix.POLLIN})
	for {
		over := ctx.Err() != nil
		limit := -1
		if over {
			limit = 0 // frames that go on coming do not keep it from ending
			for _, s := range sources {
				limit += s.ring.Frames()
			}
		}
		if err := drain(ctx, sources, each, limit); err != nil || over {
			return err
		}
		wait := int64(-1)
		for _, s := range sources {
			if s.down {
				wait = int64(lookAgain) // no event says that an interface which is down is removed
			}
		}
		if _, err := sys.Poll(fds, wait); err != nil {
			return err
		}
		for i, s := range sources {
			failed := fds[i].Revents&(unix.POLLERR|unix.POLLHUP) != 0
			if !failed && !s.down {
				continue
			}
			if s.gone() {
				return errors.Join(drain(ctx, sources, each, -1), fmt.Errorf("%s: %w", s.name, ErrGone))
			}
			if !failed {
				continue
			}
			switch err := s.check(); {
			case errors.Is(err, unix.ENETDOWN):
				if s.down = true; down != nil {
					down(s.name)
				}
			case err != nil:
				return err
			}
		}
	}
}

// drain hands on what waits, the oldest first, at most limit frames (-1: all); it looks at ctx now and then.
func drain(ctx context.Context, sources []*Source, each func(*Frame) error, limit int) error {
	for n := 0; n != limit; n++ {
		if n%1024 == 1023 && limit < 0 && ctx.Err() != nil {
			return nil //nolint:nilerr // the end of ctx is how Run ends
		}
		var first *Source
		var oldest int64
		for _, s := range sources {
			if t, ok := s.peek(); ok && (first == nil || t < oldest) {
				first, oldest = s, t
			}
		}
		if first == nil {
			return nil
		}
		f := first.take()
		first.down = false
		err := each(&f)
		first.ring.Release()
		if err != nil {
			return err
		}
	}
	return nil
}
