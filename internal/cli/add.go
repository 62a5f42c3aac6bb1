package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"goaoe/internal/config"
	"goaoe/internal/control"
)

const addLong = `Add an export to the running daemon. ADDRESS is SHELF.SLOT, with or without the e of e1.0; SHELF alone takes the next free slot of
the shelf. SOURCE is a file or block device, UUID=..., LABEL=..., PARTUUID=... or PARTLABEL=... of one, or mem:SIZE.

What is not said by a flag comes from [defaults] of the configuration. Every key of [[export]] can be set by -o KEY=VALUE; goaoe
init --keys explains them. Without --save the next start of the daemon does not know the export.

The command waits until the export is served, or says what it waits for: a source or an interface that does not exist yet is
no error.`

const addExample = `  goaoe add 1.0 /dev/sdb
  goaoe add 1 /srv/images/node7.img -i eth1 --read-only --save
  goaoe add e2.0 UUID=2b1c0c5e-... -o queue-length=256 -o name=mail-spool --accept node1,node2`

// waitForExport is how long add, set and rm wait for what they did to have its effect, unless told otherwise.
const waitForExport = 10 * time.Second

// maxWait is the longest that --wait can be: the daemon keeps no caller waiting longer.
const maxWait = 100 * time.Second

// settingFlag is a flag that is one key of [[export]].
type settingFlag struct {
	key   string
	value func() string
}

// settingFlags are the flags for the common settings of an export, and -o for all of them.
type settingFlags struct {
	byName map[string]settingFlag
	set    []string // KEY=VALUE
}

// register adds the flags to a command.
func (s *settingFlags) register(fs *pflag.FlagSet) {
	s.byName = map[string]settingFlag{}
	list := func(name, short, key, usage string) {
		v := fs.StringSliceP(name, short, nil, usage)
		s.byName[name] = settingFlag{key, func() string { return strings.Join(*v, ",") }}
	}
	yes := func(name, key, usage string) {
		v := fs.Bool(name, false, usage)
		s.byName[name] = settingFlag{key, func() string { return strconv.FormatBool(*v) }}
	}
	text := func(name, key, usage string) {
		v := fs.String(name, "", usage)
		s.byName[name] = settingFlag{key, func() string { return *v }}
	}
	number := func(name, key, usage string) {
		v := fs.Int(name, 0, usage)
		s.byName[name] = settingFlag{key, func() string { return strconv.Itoa(*v) }}
	}
	list("interface", "i", "interfaces", "interfaces to serve on, by name or glob (default: those of [defaults])")
	yes("read-only", "read-only", "refuse writes")
	yes("write-cache", "write-cache", "acknowledge writes before they are durable")
	s.byName["write-now"] = settingFlag{"write-now", writeNowFlag(fs, new(string))}
	yes("direct", "direct-io", "bypass the page cache")
	yes("discard", "discard", "offer TRIM")
	list("accept", "", "accept", "initiators that are served; others are not: addresses, names of hosts, access lists")
	list("deny", "", "deny", "initiators that are not served")
	number("queue-length", "queue-length", "requests on the storage at a time, 2 to 1024 (default 64)")
	number("buffer-count", "buffer-count", "requests that initiators are told to have outstanding (default: the queue length)")
	number("initiator-iops", "initiator-iops", "requests per second that each initiator gets at most; 0 is no limit")
	text("initiator-bandwidth", "initiator-bandwidth", "bytes per second that each initiator reads and writes at most, e.g. 50M; 0 is no limit")
	list("initiator-limits", "", "initiator-limits", "limits of some initiators instead, e.g. \"node1 iops=500 bandwidth=20M,backup unlimited\"")
	text("offset", "offset", "where in SOURCE the export begins: bytes, or e.g. 1M, 2048s")
	text("length", "length", "how much of SOURCE is served (default: up to the end)")
	text("serial", "serial", "serial number, up to 20 characters")
	text("model", "model", "model, up to 40 characters")
	text("name", "name", "a name of your choice, for commands and tables")
	fs.StringArrayVarP(&s.set, "set", "o", nil, "any other setting of an export, as KEY=VALUE; may be given several times")
}

// writeNowFlag adds the flag --write-now, which alone means on, and returns what reads it as the configuration has it.
func writeNowFlag(fs *pflag.FlagSet, to *string) func() string {
	fs.StringVar(to, "write-now", string(config.WriteNowAuto), "with --write-cache: `WHEN` the lane itself writes into the page cache: auto, on or off")
	fs.Lookup("write-now").NoOptDefVal = string(config.WriteNowOn)
	return func() string { return plainValue("write-now", *to) }
}

// settings returns what was given.
func (s *settingFlags) settings(fs *pflag.FlagSet) (map[string]string, error) {
	out := map[string]string{}
	for name, f := range s.byName {
		if fs.Changed(name) {
			out[f.key] = f.value()
		}
	}
	given, err := parseSettings(s.set, "--set")
	if err != nil {
		return nil, err
	}
	for key, v := range given {
		if old, twice := out[key]; twice && old != v {
			return nil, Usagef("%s is given twice: %q by its flag, %q by --set", key, old, v).WithHint("leave one of them out")
		}
	}
	maps.Copy(out, given)
	return out, nil
}

// parseSettings reads KEY=VALUE pairs. The daemon knows the keys and what they take; here only the form is looked at, and what
// people write for true and false is understood.
func parseSettings(pairs []string, where string) (map[string]string, error) {
	out := map[string]string{}
	for _, p := range pairs {
		key, value, ok := strings.Cut(p, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || key == "" {
			return nil, Usagef("%s %q is not KEY=VALUE", where, p).WithHint("e.g. queue-length=128; goaoe init --keys lists the keys of [[export]]")
		}
		if old, twice := out[key]; twice {
			return nil, Usagef("%s is given twice: %q and %q", key, old, value).WithHint("leave one of them out; a list is joined by commas")
		}
		out[key] = plainValue(key, value)
	}
	return out, nil
}

// plainValue writes a value as the configuration has it: yes, on, 1 and true of a switch are the same, and no, off, 0 and false.
func plainValue(key, value string) string {
	keys := config.ExportKeys()
	i := slices.IndexFunc(keys, func(k config.Key) bool { return k.Name == key })
	if i < 0 || keys[i].Type != config.TypeBool && !keys[i].Switch() {
		return value
	}
	yes, no := "true", "false"
	if keys[i].Switch() {
		yes, no = "on", "off"
	}
	switch strings.ToLower(value) {
	case "yes", "on", "1", "true":
		return yes
	case "no", "off", "0", "false":
		return no
	}
	return value
}

// changeFlags are the flags of the commands that change exports.
type changeFlags struct {
	remoteFlags
	save, dryRun, force bool
	wait                time.Duration
}

// registerChange adds the flags to a command. force says what --force does there.
func (f *changeFlags) registerChange(cmd *cobra.Command, env *Env, force string) {
	f.register(cmd)
	fs := cmd.Flags()
	fs.BoolVar(&f.save, "save", false, "keep it over restarts, by a file in conf.d beside the configuration")
	fs.BoolVar(&f.dryRun, "dry-run", false, "check everything and change nothing")
	fs.BoolVar(&f.force, "force", false, force)
	fs.DurationVar(&f.wait, "wait", waitForExport, "how long to wait for it to take effect; 0: not at all")
	_ = cmd.RegisterFlagCompletionFunc("set", completeSetting(env)) // an error: it has no such flag
}

// check says what is wrong with the values.
func (f *changeFlags) check() error {
	if f.wait < 0 || f.wait > maxWait {
		return Usagef("--wait %v: is not between 0 (not at all) and %v", f.wait, maxWait)
	}
	return nil
}

// request makes the request for a set of changes.
func (f *changeFlags) request(changes []control.Change) *control.ChangeRequest {
	return &control.ChangeRequest{Changes: changes, Save: f.save, DryRun: f.dryRun, WaitMS: int(f.wait / time.Millisecond)}
}

// say returns what is said of a success: what was done, and what the daemon adds to that; with whole a note of the daemon says it all.
func (f *changeFlags) say(what string, whole bool) func(note string) string {
	return func(note string) string {
		text := what
		if f.save {
			text += " and saved"
		}
		if whole && note != "" {
			text, note = note, ""
		}
		if f.dryRun {
			text = "would be " + text
		}
		if note != "" {
			text += "; " + note
		}
		return text
	}
}

func newAddCmd(env *Env) *cobra.Command {
	var f changeFlags
	var s settingFlags
	cmd := &cobra.Command{
		Use:     "add ADDRESS SOURCE",
		Short:   "Add an export to the running daemon",
		Long:    addLong,
		Example: addExample,
		GroupID: groupControl,
		RunE: func(cmd *cobra.Command, list []string) error {
			if len(list) != 2 {
				return Usagef("goaoe add takes ADDRESS and SOURCE, not %s", count(len(list), "argument")).WithHint("e.g. goaoe add 1.0 /dev/sdb")
			}
			settings, err := s.settings(cmd.Flags())
			if err == nil {
				err = f.check()
			}
			if err != nil {
				return err
			}
			return runAdd(env, cmd, &f, control.Change{Op: control.OpAdd, Address: list[0], Source: absolute(list[1]), Settings: settings, Force: f.force})
		},
	}
	s.register(cmd.Flags())
	f.registerChange(cmd, env, "serve it although another target answers under the address")
	return cmd
}

// runAdd adds one export.
func runAdd(env *Env, cmd *cobra.Command, f *changeFlags, change control.Change) error {
	if strings.TrimSpace(change.Address) == "" {
		return Usagef("the address is empty").WithHint("SHELF.SLOT, e.g. 1.0, or SHELF alone for its next free slot")
	}
	if strings.Contains(change.Address, "/") {
		return Usagef("%q is no address", change.Address).WithHint("the address comes first: goaoe add 1.0 " + change.Address)
	}
	c := remote(env, &f.remoteFlags)
	defer c.Close()
	ctx, cancel := patience(cmd, f.wait)
	defer cancel()
	stop := waitingFor(env, change.Address+" to be served")
	reply, err := c.Change(ctx, f.request([]control.Change{change}))
	stop()
	if err != nil {
		return remoteError(err)
	}
	if err := printResults(env, &f.remoteFlags, reply, f.say("added", false)); err != nil {
		return err
	}
	for _, r := range reply.Results {
		if strings.HasPrefix(r.Note, control.StateFailed+": ") {
			fmt.Fprintf(env.Stderr, "goaoe: %s was added, but cannot be served, and is tried again and again; goaoe rm %s takes it back\n", r.Address,
				strings.TrimPrefix(r.Address, "e"))
			return Exit(ExitFailure)
		}
	}
	return nil
}
