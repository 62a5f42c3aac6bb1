package cli

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"goaoe/internal/cli/frames"
	"goaoe/internal/config"
	"goaoe/internal/control"
)

// completionTimeout bounds how long a press of the tab key waits for the daemon.
const completionTimeout = 500 * time.Millisecond

// The directives that say what the shell does with candidates.
const (
	noFiles     = cobra.ShellCompDirectiveNoFileComp
	files       = cobra.ShellCompDirectiveDefault
	noFilesMore = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace // the word goes on
)

// liveExports returns the exports of the running daemon for the shell, as "e0.1<tab>SOURCE, serving"; nothing when none answers.
func liveExports(env *Env) []string { return exportsOf(control.FindSocket(env.Sysroot)) }

// exportsOf is liveExports for a socket.
func exportsOf(socket string) []string {
	client := control.NewClient(socket)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	list, err := client.Exports(ctx)
	if err != nil {
		return nil // the tab key is no place for errors; the command itself says what is wrong
	}
	out := make([]string, 0, len(list))
	for _, e := range list {
		out = append(out, e.Address+"\t"+e.Source+", "+e.State)
	}
	return out
}

// liveInterfaces returns the machine's Ethernet interfaces for the shell, as "eth0<tab>up, MTU 1500".
func liveInterfaces(env *Env) []string {
	const ethernet, loopback = 1, 772 // ARPHRD_* of linux/if_arp.h
	dir := filepath.Join("/", env.Sysroot, "sys/class/net")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, n := range entries {
		if kind, err := readNumber(filepath.Join(dir, n.Name(), "type")); err != nil || kind != ethernet || kind == loopback {
			continue
		}
		about := ""
		if s, err := os.ReadFile(filepath.Join(dir, n.Name(), "operstate")); err == nil {
			about = strings.TrimSpace(string(s))
		}
		if mtu, err := readNumber(filepath.Join(dir, n.Name(), "mtu")); err == nil {
			about += ", MTU " + strconv.FormatInt(mtu, 10)
		}
		out = append(out, n.Name()+"\t"+about)
	}
	return out
}

// completeExports completes any number of live exports, each once.
func completeExports(env *Env) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
		return without(exportsFor(env, cmd), given), noFiles
	}
}

// exportsFor returns the live exports of the daemon that the command line names by --socket, or of the usual one.
func exportsFor(env *Env, cmd *cobra.Command) []string {
	if f := cmd.Flag("socket"); f != nil && f.Changed {
		return exportsOf(f.Value.String())
	}
	return liveExports(env)
}

// completeSet completes exports, then KEY=VALUE pairs.
func completeSet(env *Env) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, word string) ([]string, cobra.ShellCompDirective) {
		name, _, value := strings.Cut(word, "=")
		if value {
			return settingValues(env, name), noFiles
		}
		if len(given) == 0 {
			return exportsFor(env, cmd), noFiles
		}
		out := settingNames(given, "=")
		if len(given) == 1 || !strings.Contains(given[len(given)-1], "=") {
			out = append(out, without(exportsFor(env, cmd), given)...)
		}
		return out, noFilesMore
	}
}

// settingNames returns the keys of an export that are not given yet, with their help, and what follows a key.
func settingNames(given []string, then string) []string {
	var out []string
	for _, k := range config.Keys {
		if k.Section == "export" && !slices.ContainsFunc(given, func(g string) bool { return strings.HasPrefix(g, k.Name+"=") }) {
			out = append(out, k.Name+then+"\t"+firstSentence(k.Help))
		}
	}
	return out
}

// completeSetting completes one KEY=VALUE.
func completeSetting(env *Env) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		if name, _, value := strings.Cut(word, "="); value {
			return settingValues(env, name), noFiles
		}
		return settingNames(nil, "="), noFilesMore
	}
}

// completeKeys completes the key of a setting.
func completeKeys(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return settingNames(nil, ""), noFiles
}

// settingValues completes the value of an export's setting, as "KEY=VALUE".
func settingValues(env *Env, name string) []string {
	var values []string
	for _, k := range config.Keys {
		if k.Section != "export" || k.Name != name {
			continue
		}
		switch {
		case k.Type == config.TypeBool:
			values = []string{"true", "false"}
		case k.Type == config.TypeEnum:
			values = slices.Clone(k.Enum)
		case name == "interfaces":
			values = liveInterfaces(env)
		case k.Default != "":
			values = []string{strings.Trim(k.Default, `"`) + "\tdefault"}
		}
	}
	for i := range values {
		values[i] = name + "=" + values[i]
	}
	return values
}

// completeInterfaces completes one interface, or another one behind a comma.
func completeInterfaces(env *Env) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		head := ""
		if i := strings.LastIndexByte(word, ','); i >= 0 {
			head = word[:i+1]
		}
		var out []string
		for _, n := range without(liveInterfaces(env), strings.Split(head, ",")) {
			out = append(out, head+n)
		}
		return out, noFiles
	}
}

// completeWords completes one of a fixed set of words.
func completeWords(words ...string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) { return words, noFiles }
}

// completeFiles leaves it to the shell.
func completeFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, files
}

// completeNothing completes nothing: the argument is a number or a name that only the user knows.
func completeNothing(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, noFiles
}

// completeEach completes each argument by its own function; the last one counts for all further ones.
func completeEach(each ...cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, word string) ([]string, cobra.ShellCompDirective) {
		return each[min(len(given), len(each)-1)](cmd, given, word)
	}
}

// completeConfigFiles completes the files of all configurations that goaoe reads.
func completeConfigFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"toml", "conf"}, cobra.ShellCompDirectiveFilterFileExt
}

// completeFolders completes folders.
func completeFolders(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// without returns the candidates whose word is not among given.
func without(candidates, given []string) []string {
	return slices.DeleteFunc(slices.Clone(candidates), func(c string) bool {
		word, _, _ := strings.Cut(c, "\t")
		return slices.Contains(given, word)
	})
}

// firstSentence shortens a help text to what fits beside a candidate.
func firstSentence(text string) string {
	s, _, _ := strings.Cut(text, ". ")
	return strings.TrimSuffix(s, ".")
}

// argumentCompletions are the completions of arguments by command. A test fails for a command that takes arguments and is not
// here (or has a ValidArgsFunction of its own).
func argumentCompletions(env *Env) map[string]cobra.CompletionFunc {
	exports := completeExports(env)
	return map[string]cobra.CompletionFunc{
		"add":           completeEach(completeNothing, completeFiles),
		"announce":      exports,
		"attach":        completeTargets(env),
		"detach":        completeAttached,
		"bench":         completeTargets(env),
		"capture":       completeNothing,
		"check":         completeConfigFiles,
		"convert":       completeFiles,
		"copy":          completeFiles,
		"read":          completeEach(completeTargets(env), completeFiles),
		"write":         completeEach(completeFiles, completeTargets(env)),
		"clear":         completeEach(completeWords("config", "mask", "reserve", "stats"), exports),
		"clear config":  exports,
		"clear mask":    exports,
		"clear reserve": exports,
		"clear stats":   exports,
		"diff":          completeConfigFiles,
		"doctor":        completeConfigFiles,
		"export":        completeEach(completeNothing, completeNothing, completeInterfaces(env), completeFiles),
		"init":          completeFiles,
		"install-links": completeFolders,
		"ls":            exports,
		"man":           completeFolders,
		"monitor":       exports,
		"rm":            exports,
		"serve":         completeFiles,
		"set":           completeSet(env),
		"show":          exports,
		"stats":         exports,
		"top":           exports,
		"trace":         exports,
	}
}

// flagCompletions are the completions of flags by name, in whatever command.
func flagCompletions(env *Env) map[string]cobra.CompletionFunc {
	return map[string]cobra.CompletionFunc{
		"command":    completeWords(frames.Words()...),
		"config":     completeConfigFiles,
		"export":     completeExports(env),
		"interface":  completeInterfaces(env),
		"io-engine":  completeWords("auto", "io_uring", "threads"),
		"journal":    completeFiles,
		"log-format": completeWords("text", "json"),
		"log-level":  completeWords("error", "warn", "info", "debug"),
		"log-target": completeWords("stderr", "journal", "syslog"),
		"run-dir":    completeFolders,
		"socket":     completeFiles,
		"svg":        completeFiles,
		"state-dir":  completeFolders,
		"write-now":  completeWords("auto", "on", "off"),
		"xdp-send":   completeWords("auto", "on", "off"),
	}
}

// addCompletions gives every command its completions, unless it has some already.
func addCompletions(env *Env, root *cobra.Command) {
	arguments, flags := argumentCompletions(env), flagCompletions(env)
	maps.Copy(arguments, wireCompletions(env))
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		path := strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), root.Name()), " ")
		if f, ok := arguments[path]; ok && c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 {
			c.ValidArgsFunction = f
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			complete := flags[f.Name]
			switch f.Value.Type() {
			case "bool":
				return
			case "string", "stringSlice", "stringArray":
			default: // numbers and durations
				complete = completeNothing
			}
			if complete == nil {
				complete = completeNothing
			}
			_ = c.RegisterFlagCompletionFunc(f.Name, complete) // an error says that the command has its own
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}
