package control_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"goaoe/internal/control"
	"goaoe/internal/web/webtest"
	"goaoe/test/need"
)

// shortDir makes a folder whose path leaves room for that of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "goaoe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// leave makes a socket that nobody listens on, as a daemon that was killed does.
func leave(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
}

// TestListen: what a socket is, and what it is not made in place of.
func TestListen(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, "run", "deep", "s") // its folder is made
	l, err := control.Listen(control.SocketOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Errorf("closing it twice: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
	l, err = control.Listen(control.SocketOptions{Path: path, Mode: 0o600, Group: fmt.Sprint(os.Getgid())})
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	_ = os.Remove(path) // by somebody else
	if err := l.Close(); err != nil {
		t.Errorf("closing one that is gone: %v", err)
	}

	leave(t, path) // of a daemon that was killed
	l, err = control.Listen(control.SocketOptions{Path: path})
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	_ = l.Close()

	for name, c := range map[string]struct {
		do   func(path string)
		o    control.SocketOptions
		want string
	}{
		"relative": {nil, control.SocketOptions{Path: "run/s"}, "control socket run/s: not an absolute path"},
		"too long": {nil, control.SocketOptions{Path: "/" + strings.Repeat("x", 110)}, "111 characters are more than the 107"},
		"no group": {nil, control.SocketOptions{Path: path, Group: "no-such-group"}, `there is no group "no-such-group"; groupadd --system no-such-group makes it`},
		"a file":   {func(p string) { _ = os.WriteFile(p, []byte("data"), 0o600) }, control.SocketOptions{Path: path + "1"}, "is there and is no socket; remove it, or choose another path"},
		"a folder": {func(p string) { _ = os.Mkdir(p, 0o700) }, control.SocketOptions{Path: path + "2"}, "is there and is no socket"},
		"below a file": {func(p string) { _ = os.WriteFile(filepath.Dir(p), nil, 0o600) }, control.SocketOptions{Path: filepath.Join(dir, "file", "s")},
			"not a directory"},
	} {
		if c.do != nil {
			c.do(c.o.Path)
		}
		l, err := control.Listen(c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if err == nil {
			_ = l.Close()
		}
	}
	if b, err := os.ReadFile(path + "1"); err != nil || string(b) != "data" {
		t.Errorf("a file in its place was changed: %q, %v", b, err)
	}
}

// TestSecond: a socket that is used is not taken away, neither from a daemon nor from another program.
func TestSecond(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	first, err := control.Listen(control.SocketOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	s := control.Serve(first, control.Handler(&madeUp{Daemon: webtest.New(1)}, control.HandlerOptions{}), nil)
	_, err = control.Listen(control.SocketOptions{Path: path})
	if !errors.Is(err, control.ErrInUse) || !strings.Contains(err.Error(), path+" is used by another goaoe (process 4711)") {
		t.Errorf("a second one: %v", err)
	}
	c := control.NewClient(path)
	defer c.Close()
	if _, err := c.Status(context.Background()); err != nil {
		t.Errorf("the first one after that: %v", err)
	}
	_ = os.Remove(path) // even when its socket was removed, the first one holds the place
	if _, err = control.Listen(control.SocketOptions{Path: path}); !errors.Is(err, control.ErrInUse) {
		t.Errorf("a second one where the socket was removed: %v", err)
	}
	_ = s.Close()
	_ = first.Close()
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = control.Listen(control.SocketOptions{Path: path}); !errors.Is(err, control.ErrInUse) || !strings.Contains(err.Error(), "is used by another program") {
		t.Errorf("in the place of another program: %v", err)
	}
	if conn, err := net.Dial("unix", path); err != nil {
		t.Errorf("the other program lost its socket: %v", err)
	} else {
		_ = conn.Close()
	}
	_ = other.Close()

	leave(t, path) // many at a time find a stale one
	var wg sync.WaitGroup
	won := make(chan *control.Socket, 16)
	for range cap(won) {
		wg.Go(func() {
			l, err := control.Listen(control.SocketOptions{Path: path})
			if err == nil {
				won <- l
			} else if !errors.Is(err, control.ErrInUse) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Errorf("%d have the socket", len(won))
	}
	for len(won) > 0 {
		_ = (<-won).Close()
	}
}

// TestDial: one line for each reason for which there is no answer.
func TestDial(t *testing.T) {
	dir := shortDir(t)
	silent, err := net.Listen("unix", filepath.Join(dir, "silent"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	leave(t, filepath.Join(dir, "stale"))
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		code control.Code
		want string
	}{
		"none":   {control.CodeGone, "no daemon is running: " + dir + "/none does not exist; start one: systemctl start goaoe, or goaoe serve; another socket is named by --socket or GOAOE_SOCKET"},
		"stale":  {control.CodeGone, "no daemon is running: nobody listens on " + dir + "/stale, which the last one left behind; start one: systemctl start goaoe, or goaoe serve"},
		"file":   {control.CodeGone, "no daemon is running: nobody listens on " + dir + "/file"},
		"silent": {control.CodeGone, "the daemon behind " + dir + "/silent does not answer; systemctl status goaoe, and its log, may say why"},
	} {
		client := control.NewClient(filepath.Join(dir, name))
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		_, err := client.Status(ctx)
		cancel()
		client.Close()
		var e *control.Error
		if !errors.As(err, &e) || e.Code != c.code || !strings.HasPrefix(e.Error(), c.want) || strings.Contains(e.Error(), "\n") {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// TestPermission: who may not write to the socket is told, and what would help. It runs itself again as another user.
func TestPermission(t *testing.T) {
	if path := os.Getenv("GOAOE_TEST_SOCKET"); path != "" {
		_, err := control.NewClient(path).Status(context.Background())
		var e *control.Error
		if !errors.As(err, &e) || e.Code != control.CodeRefused || !strings.HasPrefix(e.Error(), "no permission to use "+path+"; run as root, or as a member of the group that owns it (gid ") {
			t.Errorf("%v", err)
		}
		return
	}
	need.Root(t)
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := control.Listen(control.SocketOptions{Path: filepath.Join(dir, "s")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	exe, err := os.ReadFile(os.Args[0]) // it may lie where the other user cannot reach it
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "test"), exe, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "test"), "-test.run", "^TestPermission$", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOAOE_TEST_SOCKET="+filepath.Join(dir, "s"), "GOCOVERDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: true}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestPermission") {
		t.Errorf("%v\n%s", err, out)
	}
}
