package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/test/need"
)

// screen is a terminal that goaoe top runs in: tmux keeps it, a test types and looks.
type screen struct {
	t      *testing.T
	server string
}

func (s *screen) tmux(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", s.server, "-f", "/dev/null"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TMUX=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %v: %v: %s", args, err, out)
	}
	return string(out)
}

// newScreen runs a command in a terminal of a size.
func newScreen(t *testing.T, width, height int, command string) *screen {
	dir, err := os.MkdirTemp("", "goaoe-tmux") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, server: filepath.Join(dir, "s")}
	t.Cleanup(func() {
		_ = exec.Command("tmux", "-S", s.server, "kill-server").Run() // it may have ended with the command
		_ = os.RemoveAll(dir)
	})
	// What the command leaves on the terminal stays to be looked at.
	s.tmux("new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height), command+`; echo "status $?"; sleep 600`)
	return s
}

func (s *screen) text() string { s.t.Helper(); return s.tmux("capture-pane", "-p") }

func (s *screen) keys(k ...string) { s.t.Helper(); s.tmux(append([]string{"send-keys"}, k...)...) }

// wait waits until a condition holds for the screen.
func (s *screen) wait(what string, ok func(text string) bool) {
	s.t.Helper()
	var text string
	for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); time.Sleep(50 * time.Millisecond) {
		if text = s.text(); ok(text) {
			return
		}
	}
	s.t.Fatalf("%s: not on the screen:\n%s", what, text)
}

// see waits for texts.
func (s *screen) see(all ...string) {
	s.t.Helper()
	s.wait(strings.Join(all, ", "), func(text string) bool {
		for _, a := range all {
			if !strings.Contains(text, a) {
				return false
			}
		}
		return true
	})
}

// TestTopOnTerminal types into a real terminal: tables, sorting, filter, detail, size, a daemon that goes and comes, the end.
func TestTopOnTerminal(t *testing.T) {
	need.Programs(t, "tmux", "ip")
	r := newWatchRig(t)
	r.serve()
	s := newScreen(t, 120, 24, fmt.Sprintf("env -u NO_COLOR GOAOE_SOCKET=%s TERM=xterm-256color LC_ALL=C.UTF-8 %s top -n 0.2", r.socket(), r.goaoe))
	s.see("goaoe top", "2/2 exports served", "1 waiting: interface later0", "[1 Exports]", "> e1.0", "e1.1", "TREND", "q quit")
	mac, _ := r.load(0, 100, 50)
	s.keys("2")
	s.see("[2 Initiators]", mac, "e1.0")
	s.keys("3")
	s.see("[3 Interfaces]", r.a, "9000", "later0", "waiting")
	s.keys("Tab")
	s.see("[4 Lanes]", "ASLEEP")
	s.keys("1", "Right", "Right")
	s.see("R/s▼")
	s.keys("Left", "Left", "r")
	s.wait("e1.1 above e1.0", func(text string) bool { return strings.Index(text, "e1.1 ") < strings.Index(text, "e1.0 ") })
	s.keys("r", "Home", "Enter")
	s.see("e1.0  mail  serving", mac, "100 reads: p50", "50 writes: p50", "█", "esc back")
	s.keys("Escape")
	s.see("EXPORT▲")
	s.keys("/", "1.1")
	s.see("filter: 1.1_")
	s.wait("e1.0 filtered out", func(text string) bool { return !strings.Contains(text, "e1.0") })
	s.keys("Enter")
	s.tmux("resize-window", "-x", "50", "-y", "10")
	s.wait("a narrow screen", func(text string) bool {
		return strings.Contains(text, "> e1.1") && !strings.Contains(text, "USERS") && strings.Contains(text, "q quit") && strings.Count(strings.TrimRight(text, "\n"), "\n") == 9
	})
	s.tmux("resize-window", "-x", "120", "-y", "24")
	s.keys("Escape") // and nothing at once behind it: that would be another key
	s.see("e1.0", "USERS")
	s.keys("p")
	s.see("PAUSED")
	s.keys("p", "+")
	s.see("every 500ms")
	if code := r.end(r.daemon, unix.SIGTERM); code != 0 {
		t.Errorf("the daemon: status %d", code)
	}
	s.see("! the daemon does not answer: no daemon is running", "> e1.0")
	r.serve()
	s.wait("the daemon is back", func(text string) bool {
		return !strings.Contains(text, "does not answer") && strings.Contains(text, "2/2 exports")
	})
	s.keys("?")
	s.see("Any key ends this help", "shift+tab")
	s.keys("x", "q")
	s.see("status 0")
	if text := s.text(); strings.Contains(text, "EXPORT") {
		t.Errorf("the screen is not as before:\n%s", text)
	}
}

// TestTopPlain: without colours and without UTF-8 there are none, and Ctrl-C ends it.
func TestTopPlain(t *testing.T) {
	need.Programs(t, "tmux", "ip")
	r := newWatchRig(t)
	r.serve()
	s := newScreen(t, 120, 20, fmt.Sprintf("env GOAOE_SOCKET=%s LC_ALL=C NO_COLOR=1 %s top -n 0.2 'e1.*'", r.socket(), r.goaoe))
	s.see("> e1.0", "EXPORT^")
	s.keys("Enter")
	s.see("esc back")
	for _, c := range s.text() {
		if c > 0x7e {
			t.Errorf("%q on a terminal of plain characters", c)
		}
	}
	colours := s.tmux("capture-pane", "-p", "-e")
	for _, seq := range []string{"\x1b[3", "\x1b[4", "\x1b[9"} { // colours; bold and reverse are none
		for i := 0; ; {
			j := strings.Index(colours[i:], seq)
			if j < 0 {
				break
			}
			if rest := colours[i+j+len(seq):]; rest[0] >= '0' && rest[0] <= '8' {
				t.Errorf("a colour in spite of NO_COLOR: %q", colours[i+j:i+j+10])
				break
			}
			i += j + len(seq)
		}
	}
	s.keys("C-c")
	s.see("status 0")
}
