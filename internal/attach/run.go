package attach

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/initiator"
)

// patience is how long the end waits for requests that run, before they are given up.
const patience = 10 * time.Second

// run is the life of an attached disk, from being ready to its end.
func (a *attached) run() error {
	if a.Ready != nil {
		a.Ready(a.status())
	}
	refresh := time.NewTicker(30 * time.Second)
	defer refresh.Stop()
	var look <-chan time.Time // while the end waits for users
	var why error
	force := false
	for over := false; !over; {
		select {
		case e := <-a.events:
			a.event(e)
		case text := <-a.fails:
			a.complain(text)
		case <-refresh.C:
			a.wg.Go(a.refresh)
		case force = <-a.stop:
			over = true
		case s := <-a.Signals:
			users := a.users()
			if len(users) == 0 || look != nil {
				force, over = len(users) > 0, true
				break
			}
			a.Log.Warn("in use: it ends when nobody uses it any more; a second signal ends it at once", "signal", s.String(), "users", strings.Join(users, ", "))
			t := time.NewTicker(500 * time.Millisecond)
			defer t.Stop()
			look = t.C
		case <-look:
			over = len(a.users()) == 0
		case err := <-a.ended:
			why, over = a.lost(err), true
		}
	}
	return errors.Join(why, a.end(force))
}

// lost says why the device or the socket went away without being asked for.
func (a *attached) lost(err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%s was ended by somebody else", a.deviceName())
}

// end takes everything down. By force, what runs is given up.
func (a *attached) end(force bool) error {
	var errs []error
	if a.k != nil {
		if !force {
			errs = append(errs, a.sync())
		} else {
			_ = a.d.Close() // what runs fails now
		}
		errs = append(errs, a.k.disconnect(a.dev.index))
	}
	a.server.Stop()
	t := time.AfterFunc(patience, func() { _ = a.d.Close() }) // what runs fails then
	go func() {                                               // nobody waits for a place in the channels
		for {
			select {
			case <-a.events:
			case <-a.fails:
			case <-a.ended: //nolint:errcheck // why a connection ended does not matter any more
			}
		}
	}()
	a.server.Wait()
	a.wg.Wait()
	if t.Stop() && !force && a.flush && !a.ReadOnly {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := a.d.Flush(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	a.f.remove(a.link, a.Socket)
	return errors.Join(append(errs, a.server.Close())...)
}

// sync writes what the kernel holds for the device, in bounded time.
func (a *attached) sync() error {
	done := make(chan error, 1)
	go func() {
		fd, err := unix.Open(a.deviceName(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			done <- nil // no node: nobody wrote through it
			return
		}
		done <- errors.Join(unix.Fsync(fd), unix.Close(fd))
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("writing out %s: %w", a.deviceName(), err)
		}
		return nil
	case <-time.After(a.Disk.Timeout + patience):
		return fmt.Errorf("writing out %s: not done within %v", a.deviceName(), a.Disk.Timeout+patience)
	}
}

// refresh asks whether the size has changed.
func (a *attached) refresh() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.d.Refresh(ctx); err != nil {
		a.Log.Debug("asking for the size failed", "error", err)
	}
}

// event reacts to what happens to the disk, and says so.
func (a *attached) event(e initiator.Event) {
	path := fmt.Sprintf("%v on %s", e.Path.MAC, e.Path.Interface)
	switch e.Kind {
	case initiator.Grown, initiator.Shrunk:
		say := a.Log.Info
		if e.Kind == initiator.Shrunk {
			say = a.Log.Warn
		}
		say("the disk has another size", "old", e.Old, "new", e.New)
		if a.k != nil {
			if err := a.k.resize(a.dev.index, e.New, a.dev.backend); err != nil {
				a.Log.Warn(err.Error())
			}
		}
	case initiator.Gone:
		a.Log.Warn("the target does not answer on any path; requests wait", "timeout", a.Disk.Timeout)
	case initiator.Back:
		a.Log.Info("the target answers again")
	case initiator.PathDown, initiator.PathRefused:
		a.Log.Warn(e.Kind.String(), "path", path, "error", e.Err)
	default:
		a.Log.Info(e.Kind.String(), "path", path)
	}
}

// complain says that requests failed: one line, and how many more there were.
func (a *attached) complain(text string) {
	more := 0
	for len(a.fails) > 0 {
		<-a.fails
		more++
	}
	if more > 0 {
		a.Log.Error(text, "more", more)
		return
	}
	a.Log.Error(text)
}

// users is who uses the disk.
func (a *attached) users() []string {
	if a.k != nil {
		return usage("/", fmt.Sprintf("nbd%d", a.dev.index), os.Getpid())
	}
	var out []string
	for _, c := range a.server.Clients() {
		out = append(out, fmt.Sprintf("connection of %s (pid %d)", comm(c.PID), c.PID))
	}
	return out
}

// status collects what is known.
func (a *attached) status() *Status {
	id := a.d.Identity()
	s := &Status{Address: a.Addr.String(), State: "no path", Socket: a.Socket, Size: a.d.Size(), ReadOnly: a.ReadOnly, Flush: a.flush, Trim: id.Trim,
		Model: id.Model, Serial: id.Serial, PID: os.Getpid(), Since: a.since, Timeout: a.Disk.Timeout.String(), Users: a.users()}
	if a.k != nil {
		s.Device, s.Link = a.deviceName(), a.link
	}
	for _, p := range a.d.Paths() {
		out := Path{Interface: p.Interface, MAC: p.MAC.String(), State: p.State.String(), MTU: p.MTU, Sectors: p.Sectors, RTT: p.RTT.Microseconds(),
			Requests: p.Stats.Requests, Retransmits: p.Stats.Retransmits}
		if p.Err != nil {
			out.Error = p.Err.Error()
		}
		if p.State == initiator.Up {
			s.State = "attached"
		}
		s.Paths = append(s.Paths, out)
	}
	for _, c := range a.server.Clients() {
		n := &c.Counters
		out := Client{Kernel: c.Kernel(), PID: c.PID, Since: c.Since, Reads: n.Reads.Load(), Writes: n.Writes.Load(), Flushes: n.Flushes.Load(),
			Trims: n.Trims.Load(), ReadBytes: n.ReadBytes.Load(), WrittenBytes: n.WrittenBytes.Load(), Errors: n.Errors.Load()}
		if c.PID > 0 {
			out.Command = comm(c.PID)
		}
		s.Clients = append(s.Clients, out)
	}
	return s
}

// control opens the control socket.
func (a *attached) control() error {
	_ = os.Remove(a.f.ctl()) // of a process that died; the lock is ours
	mask := unix.Umask(0o177)
	l, err := net.Listen("unix", a.f.ctl())
	unix.Umask(mask)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				time.Sleep(100 * time.Millisecond) // short of descriptors; the listener lives as long as the process
				continue
			}
			go a.asked(c)
		}
	}()
	return nil
}

// asked answers one question.
func (a *attached) asked(c net.Conn) {
	defer func() { _ = c.Close() }()
	if c.SetDeadline(time.Now().Add(10*time.Second)) != nil {
		return
	}
	var q Ask
	if json.NewDecoder(&limited{c, 4096}).Decode(&q) != nil {
		return
	}
	r := answer{Status: *a.status()}
	if q.Stop {
		r.Error = a.leave(q.Force, r.Status.Users)
	}
	_ = json.NewEncoder(c).Encode(r) // who asked has gone
}

// leave begins the end, or says why not.
func (a *attached) leave(force bool, users []string) string {
	if len(users) > 0 && !force {
		return fmt.Sprintf("%v is in use: %s", a.Addr, strings.Join(users, ", "))
	}
	select {
	case a.stop <- force:
	default: // it ends already
	}
	return ""
}

// limited ends after n bytes.
type limited struct {
	net.Conn
	n int
}

func (l *limited) Read(b []byte) (int, error) {
	if l.n <= 0 {
		return 0, errors.New("too long")
	}
	n, err := l.Conn.Read(b[:min(len(b), l.n)])
	l.n -= n
	return n, err
}
