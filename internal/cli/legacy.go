package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// program is another target's command that goaoe takes the place of when it is called by its name.
type program struct {
	name  string
	short string
	run   func(env *Env, args []string) int
}

// programs lists them. They take the arguments of the originals and print what scripts around those look for; what the
// originals did wrong is not kept: an error always has an exit status other than 0.
func programs() []program {
	return []program{
		{"vblade", "exports one file, in the foreground", runVblade},
		{"vbladed", "the same in the background, logging to syslog", runVbladed},
		{"kvadd", "adds an export; starts a daemon if none runs", runKvadd},
		{"kvdel", "removes one", runKvdel},
		{"kvstat", "lists them", runKvstat},
		{"ggaoed", "runs the daemon with a ggaoed.conf", runGgaoed},
		{"ggaoectl", "controls it", runGgaoectl},
		{"qaoed", "runs the daemon with a qaoed.conf", runQaoed},
		{"aoe-discover", "has the kernel's aoe driver search; without one, searches itself", runAoeDiscover},
		{"aoe-stat", "lists the disks of the kernel's aoe driver; without one, what it finds itself", runAoeStat},
		{"aoeping", "asks a target for what it is, and sends SMART commands", runAoeping},
		{"aoecfg", "reads and sets config strings", runAoecfg},
		{"aoe-sancheck", "tries the paths to all targets", runAoeSancheck},
	}
}

// MainAs is Main for a program that was called by a name: that of one of programs makes it behave as that.
func MainAs(name string, args []string, stdout, stderr io.Writer) int {
	env := &Env{Stdin: os.Stdin, Stdout: stdout, Stderr: stderr}
	name = filepath.Base(name)
	for _, p := range programs() {
		if p.name == name {
			env.Program = name
			return min(guard(stderr, func() int { return p.run(env, args) }), ExitFailure) // the originals know no other
		}
	}
	return Main(args, stdout, stderr)
}

// letters are the options of a program in getopt's form: "b:dr" has -b with a value, -d and -r.
type letters string

// getopt takes the options off args as getopt(3) of the GNU C library does in the originals: letters may stand together, values may
// follow at once, options may stand behind arguments, -- ends them. The result has the values of each letter given, "" for those without one.
func (l letters) getopt(args []string) (opts map[byte][]string, rest []string, err error) {
	opts = map[byte][]string{}
	for len(args) > 0 {
		a := args[0]
		args = args[1:]
		if a == "--" {
			return opts, append(rest, args...), nil
		}
		if len(a) < 2 || a[0] != '-' {
			rest = append(rest, a)
			continue
		}
		for i := 1; i < len(a); i++ {
			at := strings.IndexByte(string(l), a[i])
			if at < 0 || a[i] == ':' {
				return nil, nil, fmt.Errorf("invalid option -- '%c'", a[i])
			}
			value := ""
			if at+1 < len(l) && l[at+1] == ':' {
				if value = a[i+1:]; value == "" {
					if len(args) == 0 {
						return nil, nil, fmt.Errorf("option requires an argument -- '%c'", a[i])
					}
					value, args = args[0], args[1:]
				}
				opts[a[i]] = append(opts[a[i]], value)
				break
			}
			opts[a[i]] = append(opts[a[i]], value)
		}
	}
	return opts, rest, nil
}

// usage prints how a program is called, with what was wrong, and returns exit status 1, as the originals do.
func usage(env *Env, text string, err error) int {
	if err != nil {
		fmt.Fprintf(env.Stderr, "%s: %s\n", env.Program, err)
	}
	fmt.Fprintf(env.Stderr, "usage: %s %s\n", env.Program, text)
	return ExitFailure
}

const vbladeUsage = "[-b bufcnt] [-o offset] [-l length] [-d] [-s] [-r] [-m mac[,mac...]] shelf slot netif filename"

// vbladeArgs turns vblade's arguments into those of goaoe export, or says what is wrong with them.
func vbladeArgs(args []string) ([]string, error) {
	opts, rest, err := letters("b:dsrm:o:l:").getopt(args)
	if err != nil {
		return nil, err
	}
	if len(rest) != 4 {
		return nil, fmt.Errorf("%d arguments where shelf, slot, netif and filename are expected", len(rest))
	}
	native := []string{"export"}
	for _, o := range []byte("bdsrmol") {
		for _, v := range opts[o] {
			native = append(native, "-"+string(o))
			if v != "" || strings.IndexByte("bmol", o) >= 0 {
				native = append(native, v)
			}
		}
	}
	return append(append(native, "--"), rest...), nil
}

func runVblade(env *Env, args []string) int {
	native, err := vbladeArgs(args)
	if err != nil {
		return usage(env, vbladeUsage, err)
	}
	return Run(env, native)
}

func runVbladed(env *Env, args []string) int {
	native, err := vbladeArgs(args)
	if err != nil {
		return usage(env, vbladeUsage, err)
	}
	if isDetached() {
		return Run(env, native)
	}
	return detach(env, "vbladed", args)
}

// ggaoedFile is where ggaoed and ggaoectl look.
const ggaoedFile = "/etc/ggaoed.conf"

func runGgaoed(env *Env, args []string) int {
	const text = "[-c FILE] [-d] [-n]\n  -c, --config=FILE   configuration file (default /etc/ggaoed.conf)\n  -d, --debug         stay in the foreground and log more, to stderr\n" +
		"  -n, --nofork        stay in the foreground\n  -h, --help          print this\n  -V, --version       print the version"
	opts, rest, err := letters("c:dhnV").getopt(shortened(args, map[string]string{"config": "c", "debug": "d", "help": "h", "nofork": "n", "version": "V"}))
	switch {
	case err != nil:
		return usage(env, text, err)
	case len(rest) > 0:
		return usage(env, text, fmt.Errorf("%q: ggaoed takes no arguments", rest[0]))
	}
	return oldDaemon(env, args, opts, text, ggaoedFile, "ggaoed", has(opts, 'd') || has(opts, 'n'), 'V')
}

func runQaoed(env *Env, args []string) int {
	const text = "[-V] [-h] [-f] [-c config_file]\n  -V  print the version and exit\n  -h  print this and exit\n  -f  stay in the foreground\n" +
		"  -c  configuration file (default /etc/qaoed.conf)"
	opts, rest, err := letters("c:fhV").getopt(args)
	switch {
	case err != nil:
		return usage(env, text, err)
	case len(rest) > 0:
		return usage(env, text, fmt.Errorf("%q: qaoed takes no arguments", rest[0]))
	}
	return oldDaemon(env, args, opts, text, "/etc/qaoed.conf", "qaoed", has(opts, 'f'), 'V')
}

func has(opts map[byte][]string, o byte) bool { return len(opts[o]) > 0 }

// oldDaemon runs goaoe serve with a configuration file of another program, in the background unless foreground.
func oldDaemon(env *Env, args []string, opts map[byte][]string, text, file, format string, foreground bool, version byte) int {
	if has(opts, 'h') {
		fmt.Fprintf(env.Stdout, "usage: %s %s\n", env.Program, text)
		return ExitOK
	}
	if has(opts, version) {
		fmt.Fprintf(env.Stdout, "%s: goaoe %s\n", env.Program, Version)
		return ExitOK
	}
	file = filepath.Join("/", env.Sysroot, file)
	if c := opts['c']; len(c) > 0 {
		file = c[len(c)-1]
	}
	if foreground || isDetached() {
		native := []string{"serve", "-c", file, "--format", format}
		if has(opts, 'd') {
			native = append(native, "--log-level", "debug")
		}
		return Run(env, native)
	}
	return detach(env, env.Program, args)
}

// shortened replaces long options by letters: --config=FILE and --config FILE by -c FILE.
func shortened(args []string, long map[string]string) []string {
	out := make([]string, 0, len(args))
	for i, a := range args {
		if a == "--" {
			return append(out, args[i:]...)
		}
		name, value, valued := strings.Cut(strings.TrimPrefix(a, "--"), "=")
		letter := long[name]
		if !strings.HasPrefix(a, "--") || letter == "" {
			out = append(out, a)
			continue
		}
		out = append(out, "-"+letter)
		if valued {
			out = append(out, value)
		}
	}
	return out
}

// programNames are the names of programs, for messages and completion.
func programNames() []string {
	var names []string
	for _, p := range programs() {
		names = append(names, p.name)
	}
	return names
}

// absolute makes a file name of the command line absolute, as the daemon's directory is another one. Names of devices by UUID= and
// the like, and memory, stay.
func absolute(source string) string {
	if filepath.IsAbs(source) || strings.HasPrefix(source, "mem:") {
		return source
	}
	if tag, _, ok := strings.Cut(source, "="); ok && slices.Contains([]string{"UUID", "LABEL", "PARTUUID", "PARTLABEL"}, tag) {
		return source
	}
	if dir, err := os.Getwd(); err == nil {
		return filepath.Join(dir, source)
	}
	return source
}
