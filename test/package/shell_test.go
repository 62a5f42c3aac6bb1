package package_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"goaoe/internal/testnet"
	"goaoe/test/need"
)

// fakeDaemon answers the question for exports on a socket and returns the socket's path.
func fakeDaemon(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "goaoe") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `[{"address":"e0.1","source":"/dev/sdb","state":"serving"},{"address":"e7.0","source":"/srv/seven.img","state":"waiting"}]`)
	})}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return filepath.Join(dir, "s")
}

// terminal is an interactive shell on a pseudo-terminal.
type terminal struct {
	t   *testing.T
	in  io.WriteCloser
	mu  sync.Mutex
	out bytes.Buffer
}

// Write implements io.Writer for what the shell prints.
func (s *terminal) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}

// open starts a shell whose goaoe is that of this tree.
func open(t *testing.T, bin, command string, env ...string) *terminal {
	t.Helper()
	s := &terminal{t: t}
	cmd := exec.Command(need.Programs(t, "script")[0], "-qec", command, "/dev/null")
	cmd.Env = append([]string{"PATH=" + filepath.Dir(bin) + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + t.TempDir(), "TERM=dumb", "LANG=C.UTF-8", "GOAOE_SOCKET=" + fakeDaemon(t)}, env...)
	cmd.Dir = t.TempDir()
	cmd.Stdout, cmd.Stderr = s, s
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.in = in
	if err := testnet.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return s
}

// await waits for a text on the terminal and returns all that was printed.
func (s *terminal) await(text string) string {
	s.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		s.mu.Lock()
		out := s.out.String()
		s.mu.Unlock()
		if strings.Contains(out, text) {
			return out
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%q does not come: %q", text, out)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// complete types a line with a tab at its end and returns what the shell made of it: the line is not run, but echoed.
func (s *terminal) complete(n int, line string) string {
	s.t.Helper()
	const begin, end = "\x01", "\x05" // to the beginning of the line, to its end
	io.WriteString(s.in, line+"\t")
	time.Sleep(700 * time.Millisecond) // the shell asks goaoe, which asks the daemon
	mark := fmt.Sprintf("L%dE", n)
	io.WriteString(s.in, begin+"echo L"+fmt.Sprint(n)+"''E '"+end+"|'\r")
	out := s.await("\n" + mark + " ")
	_, out, _ = strings.Cut(out, "\n"+mark+" ")
	out, _, found := strings.Cut(out, "|")
	if !found {
		time.Sleep(200 * time.Millisecond)
	}
	return out
}

// completionCases are what a user types, and what the line is after the tab key.
var completionCases = []struct{ typed, want string }{
	{"goaoe ser", "goaoe serve "},
	{"goaoe serve --log-level deb", "goaoe serve --log-level debug "},
	{"goaoe serve --read-o", "goaoe serve --read-only "},
	{"goaoe completion fi", "goaoe completion fish "},
	{"goaoe check some", "goaoe check some.toml "},
	{"goaoe show e7", "goaoe show e7.0 "},
	{"goaoe rm e0.1 e", "goaoe rm e0.1 e7.0 "},
}

func testShell(t *testing.T, s *terminal) {
	t.Helper()
	io.WriteString(s.in, "touch some.toml other.txt; echo READ''Y\r")
	s.await("READY")
	for i, c := range completionCases {
		if got := s.complete(i, c.typed); strings.TrimSpace(got) != strings.TrimSpace(c.want) {
			t.Errorf("%q became %q, want %q", c.typed, got, c.want)
		}
	}
}

// TestBash: the tab key in an interactive bash with the package bash-completion.
func TestBash(t *testing.T) {
	bash := need.Programs(t, "bash")[0]
	const library = "/usr/share/bash-completion/bash_completion"
	if _, err := os.Stat(library); err != nil {
		need.Missing(t, "needs the Debian package bash-completion: "+err.Error())
	}
	rc := filepath.Join(t.TempDir(), "rc")
	if err := os.WriteFile(rc, []byte("PS1='$ '\nbind 'set bell-style none'\n. "+library+"\n. <(goaoe completion bash)\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	testShell(t, open(t, build(t), bash+" --noprofile --rcfile "+rc+" -i"))
}

// TestZsh: the same in zsh.
func TestZsh(t *testing.T) {
	zsh := need.Programs(t, "zsh")[0]
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".zshrc"), []byte("PS1='$ '\nunsetopt beep\nbindkey -e\nautoload -U compinit\ncompinit -u\n. <(goaoe completion zsh)\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	testShell(t, open(t, build(t), zsh+" -i", "ZDOTDIR="+dir))
}

// TestFish: what fish completes. It is asked by its own command, because its line editor needs a real terminal.
func TestFish(t *testing.T) {
	fish := need.Programs(t, "fish")[0]
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "some.toml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	bin, socket := build(t), fakeDaemon(t)
	for _, c := range completionCases {
		cmd := exec.Command(fish, "--no-config", "-c", "goaoe completion fish | source; complete -C \""+c.typed+"\"")
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + filepath.Dir(bin) + ":/usr/bin:/bin", "HOME=" + dir, "GOAOE_SOCKET=" + socket}
		out, err := cmd.CombinedOutput()
		want := c.want[strings.LastIndexByte(strings.TrimSpace(c.want), ' ')+1:]
		got, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\t")
		if err != nil || got != strings.TrimSpace(want) {
			t.Errorf("%q: %q, %v; want %q", c.typed, out, err, want)
		}
	}
}
