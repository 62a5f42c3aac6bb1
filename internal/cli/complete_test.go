package cli

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"goaoe/internal/control"
)

// fakeDaemon answers GET /v1/exports on a socket of its own and returns the socket's path.
func fakeDaemon(t *testing.T, exports []control.Export) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "goaoe") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/exports" {
			http.NotFound(w, r)
			return
		}
		json.NewEncoder(w).Encode(exports)
	})}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return socket
}

// fakeSysroot has two Ethernet interfaces, a loopback and a tunnel.
func fakeSysroot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, kind := range map[string]string{"eth0": "1", "eth1": "1", "lo": "772", "tun0": "65534"} {
		dir := filepath.Join(root, "sys/class/net", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{"type": kind, "operstate": "up", "mtu": "9000"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

// completions runs goaoe __complete and returns the candidates without descriptions, and the directive.
func completions(t *testing.T, env Env, words ...string) ([]string, string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	env.Stdout, env.Stderr = &stdout, &stderr
	if code := Run(&env, append([]string{"__complete"}, words...)); code != 0 {
		t.Fatalf("%q: status %d, %s", words, code, stderr.String())
	}
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	directive := lines[len(lines)-1]
	var out []string
	for _, l := range lines[:len(lines)-1] {
		word, _, _ := strings.Cut(l, "\t")
		out = append(out, word)
	}
	return out, directive
}

// TestCompletions: what the tab key offers.
func TestCompletions(t *testing.T) {
	socket := fakeDaemon(t, []control.Export{{Address: "e0.1", Source: "/dev/sdb", State: "serving"}, {Address: "e7.0", Source: "/srv/a.img", State: "waiting"}})
	t.Setenv(control.SocketEnv, socket)
	env := Env{Sysroot: fakeSysroot(t)}
	const fileNames, noFileNames = ":0", ":4"
	for _, tt := range []struct {
		words     []string
		want      []string // must all be there
		not       []string // must not
		directive string
	}{
		{[]string{"se"}, []string{"serve"}, []string{"check"}, noFileNames},
		{[]string{"completion", ""}, []string{"bash", "zsh", "fish"}, nil, noFileNames},
		{[]string{"serve", "--log-level", ""}, []string{"error", "warn", "info", "debug"}, nil, noFileNames},
		{[]string{"serve", "--io-engine", ""}, []string{"auto", "io_uring", "threads"}, nil, noFileNames},
		{[]string{"serve", "--xdp-send", ""}, []string{"auto", "on", "off"}, nil, noFileNames},
		{[]string{"serve", "-i", ""}, []string{"eth0", "eth1"}, []string{"lo", "tun0"}, noFileNames},
		{[]string{"serve", "-i", "eth0,"}, []string{"eth0,eth1"}, []string{"eth0,eth0"}, noFileNames},
		{[]string{"serve", "-c", ""}, []string{"toml", "conf"}, nil, ":8"},
		{[]string{"serve", "e0.1="}, nil, []string{"e0.1"}, fileNames},
		{[]string{"serve", "--queue-length", ""}, nil, nil, noFileNames},
		{[]string{"export", "0", "1", ""}, []string{"eth0", "eth1"}, []string{"lo"}, noFileNames},
		{[]string{"export", "0", "1", "eth0", ""}, nil, []string{"eth0"}, fileNames},
		{[]string{"check", ""}, []string{"toml"}, nil, ":8"},
		{[]string{"discover", "-i", ""}, []string{"eth0", "eth1"}, []string{"lo"}, noFileNames},
		{[]string{"serve", "--re"}, []string{"--read-only"}, nil, noFileNames},
	} {
		got, directive := completions(t, env, tt.words...)
		for _, w := range tt.want {
			if !slices.Contains(got, w) {
				t.Errorf("%q lacks %q: %q", tt.words, w, got)
			}
		}
		for _, w := range tt.not {
			if slices.Contains(got, w) {
				t.Errorf("%q offers %q", tt.words, w)
			}
		}
		if directive != tt.directive {
			t.Errorf("%q: directive %s, want %s", tt.words, directive, tt.directive)
		}
	}
}

// TestCompleteExports: exports come from the daemon that is asked; no daemon means no candidates, at once and without a word.
func TestCompleteExports(t *testing.T) {
	one := fakeDaemon(t, []control.Export{{Address: "e0.1", Source: "/dev/sdb", State: "serving"}, {Address: "e7.0", Source: "/srv/a.img", State: "waiting"}})
	two := fakeDaemon(t, []control.Export{{Address: "e9.9", Source: "/dev/sdc", State: "serving"}})
	t.Setenv(control.SocketEnv, one)
	env := &Env{Sysroot: fakeSysroot(t)}
	newCmd := func(args ...string) *cobra.Command {
		c := &cobra.Command{Use: "x"}
		c.Flags().String("socket", "", "")
		if err := c.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if got := liveExports(env); !slices.Equal(got, []string{"e0.1\t/dev/sdb, serving", "e7.0\t/srv/a.img, waiting"}) {
		t.Errorf("liveExports: %q", got)
	}
	if got, _ := completeExports(env)(newCmd(), []string{"e0.1"}, ""); len(got) != 1 || !strings.HasPrefix(got[0], "e7.0\t") {
		t.Errorf("the second export: %q", got)
	}
	if got, _ := completeExports(env)(newCmd("--socket", two), nil, ""); len(got) != 1 || !strings.HasPrefix(got[0], "e9.9\t") {
		t.Errorf("with --socket: %q", got)
	}
	t.Setenv(control.SocketEnv, filepath.Join(t.TempDir(), "gone"))
	if got := liveExports(env); got != nil {
		t.Errorf("without a daemon: %q", got)
	}
}

// TestCompleteSet: exports, then the settings of an export, then their values.
func TestCompleteSet(t *testing.T) {
	t.Setenv(control.SocketEnv, fakeDaemon(t, []control.Export{{Address: "e0.1", State: "serving"}}))
	complete := completeSet(&Env{Sysroot: fakeSysroot(t)})
	for _, tt := range []struct {
		given []string
		word  string
		want  []string
		not   []string
	}{
		{nil, "", []string{"e0.1"}, []string{"read-only="}},
		{[]string{"e0.1"}, "", []string{"read-only=", "queue-length=", "accept="}, []string{"e0.1", "lanes="}},
		{[]string{"e0.1", "read-only=true"}, "", []string{"queue-length="}, []string{"read-only="}},
		{[]string{"e0.1"}, "read-only=", []string{"read-only=true", "read-only=false"}, nil},
		{[]string{"e0.1"}, "io-engine=", []string{"io-engine=auto", "io-engine=threads"}, nil},
		{[]string{"e0.1"}, "interfaces=", []string{"interfaces=eth0"}, []string{"interfaces=lo"}},
		{[]string{"e0.1"}, "queue-length=", []string{"queue-length=64"}, nil},
		{[]string{"e0.1"}, "no-such-key=", nil, nil},
	} {
		got, _ := complete(&cobra.Command{}, tt.given, tt.word)
		for i, c := range got {
			got[i], _, _ = strings.Cut(c, "\t")
		}
		for _, w := range tt.want {
			if !slices.Contains(got, w) {
				t.Errorf("%q %q lacks %q: %q", tt.given, tt.word, w, got)
			}
		}
		for _, w := range tt.not {
			if slices.Contains(got, w) {
				t.Errorf("%q %q offers %q", tt.given, tt.word, w)
			}
		}
	}
}

// TestEveryCommandCompletes: a command takes no arguments, or says how they are completed. So nobody is offered the files of the
// folder where an export is meant.
func TestEveryCommandCompletes(t *testing.T) {
	env := &Env{Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Runnable() && !c.HasSubCommands() && c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 {
			if c.Args == nil || c.Args(c, []string{"x"}) == nil || c.Args(c, []string{"x", "y"}) == nil {
				t.Errorf("%s takes arguments: put its completion into argumentCompletions, or set ValidArgsFunction", c.CommandPath())
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(NewRoot(env))
}

// TestBashEquals: the patched place of cobra's script is still there.
func TestBashEquals(t *testing.T) {
	script, err := bashCompletion(NewRoot(&Env{}))
	if err != nil || !strings.Contains(script, "    __goaoe_ltrim_equals \"$cur\"\n}\n") || strings.Count(script, "__goaoe_ltrim_equals()") != 1 {
		t.Errorf("cobra's script has changed: %v", err)
	}
}
