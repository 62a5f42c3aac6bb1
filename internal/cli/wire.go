package cli

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/initiator"
)

// What the commands of the other end have in common: those that speak to targets over the wire.

// wireFlags are the flags of all of them.
type wireFlags struct {
	interfaces []string
	macs       []string
	timeout    time.Duration
	json       bool

	targets []aoe.MAC // macs, read
}

// register adds the flags to a command.
func (f *wireFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringSliceVarP(&f.interfaces, "interface", "i", nil, "interfaces to use (default: all Ethernet interfaces that are up)")
	fl.StringSliceVar(&f.macs, "mac", nil, "use only targets with these MAC addresses")
	fl.DurationVar(&f.timeout, "timeout", 5*time.Second, "how long to look for a target, and how long to wait for each answer")
	fl.BoolVar(&f.json, "json", false, "print JSON")
}

// check reads the flags.
func (f *wireFlags) check() error {
	if f.timeout <= 0 {
		return Usagef("--timeout %v: must be more than 0", f.timeout)
	}
	for _, s := range f.macs {
		m, err := aoe.ParseMAC(s)
		if err != nil {
			return Usagef("--mac %s: %v", s, err)
		}
		f.targets = append(f.targets, m)
	}
	return nil
}

// read reads the addresses of a command line (see parseAddrs), and the flags.
func (f *wireFlags) read(list []string, wild bool) ([]aoe.Addr, error) {
	addrs, err := parseAddrs(list, wild)
	if err == nil {
		err = f.check()
	}
	return addrs, err
}

// wireExit is what the help of such a command says about exit statuses.
const wireExit = `
Exit status:
   0  success
   1  failure: the line on stderr says what and what to do
   2  wrong usage
   3  partly done: the lines on stderr say what was not
   4  no target answered in time
  11  refused: reserved by another initiator
  12  conflict: the target has another config string`

// parseWild reads an address whose halves may be wildcards: "e0.1", "0.*", "*.1", "*" for all.
func parseWild(s string) (aoe.Addr, error) {
	major, minor, ok := strings.Cut(strings.TrimPrefix(s, "e"), ".")
	if s == "*" || s == "all" {
		major, minor, ok = "*", "*", true
	}
	if !ok || major != "*" && minor != "*" {
		a, err := aoe.ParseAddr(s)
		if err != nil {
			return a, Usagef("%v", err).WithHint("an address is SHELF.SLOT, e.g. e0.1; '*' stands for all, e.g. '0.*'")
		}
		return a, nil
	}
	half := func(text string, wild uint64, bits int) (uint64, error) {
		if text == "*" {
			return wild, nil
		}
		n, err := strconv.ParseUint(text, 10, bits)
		if err != nil || n == wild {
			return 0, Usagef("address %q: %q is no number from 0 to %d, and no *", s, text, wild-1)
		}
		return n, nil
	}
	a, err := half(major, aoe.WildMajor, 16)
	if err != nil {
		return aoe.Addr{}, err
	}
	b, err := half(minor, aoe.WildMinor, 8)
	return aoe.Addr{Major: uint16(a), Minor: uint8(b)}, err
}

// parseAddrs reads addresses; wildcards only when wild is set.
func parseAddrs(list []string, wild bool) ([]aoe.Addr, error) {
	var out []aoe.Addr
	for _, s := range list {
		a, err := parseWild(s)
		if err != nil {
			return nil, err
		}
		if a.Wild() && !wild {
			return nil, Usagef("%s: one target must be named, without *", s)
		}
		out = append(out, a)
	}
	return out, nil
}

// interruptible returns a context that SIGINT and SIGTERM end.
func interruptible(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	return signal.NotifyContext(parent, os.Interrupt, unix.SIGTERM)
}

// answerGrace is how long a search goes on after the first answer, for others that answer under the same address.
const answerGrace = 100 * time.Millisecond

// search returns the ways to the targets that answer, ordered. One exact address is not waited for longer than answerGrace after it was found; with wildcards
// every search takes wait. It is an error when nobody answers.
func (f *wireFlags) search(ctx context.Context, addrs []aoe.Addr, wait time.Duration) ([]initiator.Target, error) {
	exact := len(addrs) > 0 && !slices.ContainsFunc(addrs, aoe.Addr.Wild)
	if exact {
		wait = max(wait, f.timeout)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all []initiator.Target
	var errs []error
	missing := map[aoe.Addr]bool{}
	for _, a := range addrs {
		missing[a] = true
	}
	for t, err := range initiator.Discover(ctx, initiator.Search{Interfaces: f.interfaces, Addrs: addrs, Wait: wait}) {
		switch {
		case err != nil:
			errs = append(errs, err)
		case len(f.targets) > 0 && !slices.Contains(f.targets, t.MAC):
		default:
			all = append(all, t)
			if delete(missing, t.Addr); exact && len(missing) == 0 {
				time.AfterFunc(answerGrace, cancel)
			}
		}
	}
	slices.SortFunc(all, compareTargets)
	if len(errs) > 0 && (len(f.interfaces) > 0 || len(all) == 0) {
		return nil, Failf("%w", errors.Join(errs...))
	}
	if len(all) == 0 {
		return nil, f.nobody(addrs)
	}
	if exact && len(missing) > 0 {
		for _, a := range addrs {
			if missing[a] {
				return all, f.nobody([]aoe.Addr{a})
			}
		}
	}
	return all, nil
}

func compareTargets(a, b initiator.Target) int {
	if a.Addr != b.Addr {
		return int(a.Addr.Key()) - int(b.Addr.Key())
	}
	if c := strings.Compare(a.Interface, b.Interface); c != 0 {
		return c
	}
	return slices.Compare(a.MAC[:], b.MAC[:])
}

// nobody is the error when no target answers.
func (f *wireFlags) nobody(addrs []aoe.Addr) error {
	var names []string
	for _, a := range addrs {
		names = append(names, a.String())
	}
	on := strings.Join(f.interfaces, ", ")
	if on == "" {
		up, _ := initiator.Interfaces() // the search itself has said what is wrong there
		if on = strings.Join(up, ", "); len(up) > 6 {
			on = fmt.Sprintf("%d interfaces", len(up))
		}
	}
	what := "no target answered"
	if len(names) > 0 {
		what = strings.Join(names, ", ") + ": no target answered under this address"
	}
	if len(f.macs) > 0 {
		what += " from " + strings.Join(f.macs, ", ")
	}
	err := quietly{initiator.ErrNotFound, fmt.Sprintf("%s on %s", what, on)}
	return (&ExitError{Code: ExitNoAnswer, Err: err}).WithHint("goaoe discover lists those that do, goaoe sancheck looks for what is wrong")
}

// quietly is an error with a text of its own.
type quietly struct {
	error
	text string
}

// Error implements error.
func (q quietly) Error() string { return q.text }

// Unwrap implements the errors package's convention.
func (q quietly) Unwrap() error { return q.error }

// dial opens a session over a way.
func (f *wireFlags) dial(t initiator.Target) (*initiator.Session, error) {
	s, err := initiator.Dial(t, initiator.SessionOptions{Timeout: f.timeout})
	if err != nil {
		return nil, Failf("%w", err)
	}
	return s, nil
}

// one opens a session with the one target that has an address. When different disks answer under it, it is an error: nobody can
// tell which is meant.
func (f *wireFlags) one(ctx context.Context, addr aoe.Addr) (*initiator.Session, error) {
	ways, err := f.search(ctx, []aoe.Addr{addr}, 0)
	if err != nil {
		return nil, err
	}
	if err := f.sameDisk(ctx, ways); err != nil {
		return nil, err
	}
	return f.dial(ways[0])
}

// with opens a session with the one target that has an address, has do work with it until it is done or SIGINT or SIGTERM come, and closes it.
func (f *wireFlags) with(cmd *cobra.Command, addr aoe.Addr, do func(context.Context, *initiator.Session) error) error {
	ctx, stop := interruptible(cmd)
	defer stop()
	s, err := f.one(ctx, addr)
	if err != nil {
		return wireError(err)
	}
	defer func() { _ = s.Close() }() // nothing is under way
	return wireError(do(ctx, s))
}

// sameDisk is an error when the ways lead to different disks, as far as these can be identified.
func (f *wireFlags) sameDisk(ctx context.Context, ways []initiator.Target) error {
	var first string
	for i, w := range ways {
		if slices.ContainsFunc(ways[:i], func(o initiator.Target) bool { return o.MAC == w.MAC }) || !slices.ContainsFunc(ways, func(o initiator.Target) bool { return o.MAC != w.MAC }) {
			continue
		}
		s, err := initiator.Dial(w, initiator.SessionOptions{Timeout: min(f.timeout, 2*time.Second)})
		if err != nil {
			return Failf("%w", err)
		}
		id, _, err := s.Identify(ctx)
		_ = s.Close() // nothing is under way
		if err != nil {
			continue // a target that cannot be identified is the command's own matter
		}
		about := fmt.Sprintf("%q, serial %q, %d sectors", id.Model, id.Serial, id.Sectors)
		if first == "" {
			first = about
		} else if about != first {
			return Failf("two different disks answer as %v: %s, and %s at %v", w.Addr, first, about, w.MAC).WithHint("--mac says which is meant; goaoe sancheck shows both")
		}
	}
	return nil
}

// wireError is an error of the other end as a command ends with it; nil stays nil.
func wireError(err error) error {
	var ee *ExitError
	if err == nil || errors.As(err, &ee) {
		return err
	}
	code := ExitFailure
	switch {
	case errors.Is(err, initiator.ErrReserved):
		code = ExitRefused
	case errors.Is(err, initiator.ErrConfigConflict):
		code = ExitConflict
	case errors.Is(err, initiator.ErrTimeout), errors.Is(err, initiator.ErrNotFound):
		code = ExitNoAnswer
	case errors.Is(err, context.Canceled):
		err = errors.New("interrupted")
	}
	return &ExitError{Code: code, Err: err}
}

// each calls do for each address, prints what failed and returns the error with the exit status: that of the failures when all failed alike, else ExitPartly.
func (f *wireFlags) each(env *Env, addrs []aoe.Addr, do func(a aoe.Addr) error) error {
	var errs []error
	for _, a := range addrs {
		if err := wireError(do(a)); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	if len(addrs) == 1 {
		return errs[0]
	}
	code := report(env, errs[0])
	for _, err := range errs[1:] {
		if c := report(env, err); c != code {
			code = ExitFailure
		}
	}
	if len(errs) < len(addrs) {
		code = ExitPartly
	}
	return Exit(code)
}

// expand returns the addresses of all targets that addrs mean: exact ones as they are, wildcards as what answers.
func (f *wireFlags) expand(ctx context.Context, addrs []aoe.Addr) ([]aoe.Addr, error) {
	if len(addrs) > 0 && !slices.ContainsFunc(addrs, aoe.Addr.Wild) {
		return addrs, nil
	}
	ways, err := f.search(ctx, addrs, min(f.timeout, searchWait))
	if err != nil {
		return nil, err
	}
	var out []aoe.Addr
	for _, w := range ways {
		if !slices.Contains(out, w.Addr) {
			out = append(out, w.Addr)
		}
	}
	return out, nil
}

// searchWait is how long everybody is given to answer.
const searchWait = 500 * time.Millisecond

// macTexts returns MACs as text; never nil, so that JSON has a list.
func macTexts(macs []aoe.MAC) []string {
	out := make([]string, 0, len(macs))
	for _, m := range macs {
		out = append(out, m.String())
	}
	return out
}

// printable shows bytes that came over the wire: text as it is, everything else as \x00, so that nothing of it reaches the terminal.
func printable(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == '\\':
			out.WriteString(`\\`)
		case r == utf8.RuneError && n == 1 || !strconv.IsPrint(r):
			for _, x := range b[:n] {
				fmt.Fprintf(&out, `\x%02x`, x)
			}
		default:
			out.WriteRune(r)
		}
		b = b[n:]
	}
	return out.String()
}

// stringOrHex returns a text for JSON and, when the bytes are not one, their hexadecimal form.
func stringOrHex(b []byte) (text, hexa string) {
	if utf8.Valid(b) {
		return string(b), ""
	}
	return printable(b), hex.EncodeToString(b)
}

// jsonLine prints a value as JSON in one line, for commands that go on.
func jsonLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// completeTargets completes the addresses of targets that answer on the network, on the interfaces that the command line names.
func completeTargets(_ *Env) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
		defer cancel()
		interfaces, _ := cmd.Flags().GetStringSlice("interface")                                                     // none without the flag
		ways, _ := initiator.DiscoverAll(ctx, initiator.Search{Interfaces: interfaces, Wait: completionTimeout / 3}) // the tab key is no place for errors
		var out []string
		for i, w := range ways {
			if i == 0 || ways[i-1].Addr != w.Addr {
				out = append(out, fmt.Sprintf("%v\t%v on %s", w.Addr, w.MAC, w.Interface))
			}
		}
		return without(out, given), noFiles
	}
}

// completeMAC completes the members of a list.
var completeMAC = completeWords("self\tthis machine's address on the interface that leads to the target")

// wireCompletions are the completions of arguments of the commands that speak to targets over the wire.
func wireCompletions(env *Env) map[string]cobra.CompletionFunc {
	targets := completeTargets(env)
	target, members := completeEach(targets, completeNothing), completeEach(targets, completeMAC)
	all := map[string]cobra.CompletionFunc{"discover": targets, "identify": target, "ping": target, "sancheck": targets, "smart": target}
	verbs := map[string]map[string]cobra.CompletionFunc{
		"config":  {"get": targets, "set": target, "force": target, "test": target, "prefix": target, "clear": target},
		"mask":    {"get": targets, "add": members, "remove": members, "set": members, "clear": target},
		"reserve": {"get": targets, "set": members, "force": members, "release": target},
	}
	for name, sub := range verbs {
		all[name] = completeWords(slices.Sorted(maps.Keys(sub))...)
		for verb, f := range sub {
			all[name+" "+verb] = f
		}
	}
	return all
}
