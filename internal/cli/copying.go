package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"goaoe/aoe"
	"goaoe/initiator"
	"goaoe/internal/attach"
	"goaoe/internal/config"
	"goaoe/internal/transfer"
)

// size is a flag: a number of bytes, or with a suffix.
type size int64

// String implements pflag.Value.
func (s *size) String() string {
	if *s < 0 {
		return ""
	}
	return config.FormatSize(int64(*s))
}

// Set implements pflag.Value.
func (s *size) Set(text string) error {
	n, err := config.ParseSize(text)
	*s = size(n)
	return err
}

// Type implements pflag.Value.
func (s *size) Type() string { return "size" }

// copying is a run of goaoe copy, read or write.
type copying struct {
	env      *Env
	verb     string
	wire     wireFlags
	from, to size
	length   size
	rate     size
	journal  string
	resume   bool
	verify   bool
	dense    bool
	pad      bool
	yes      bool
	force    bool
	quiet    bool
	keep     bool // what a file has in front of the copy and behind

	progress *progressLine
	mu       sync.Mutex // of what goes to stderr: notes come from the disk's goroutine
	src      transfer.Source
	dst      transfer.Sink
}

func (c *copying) register(cmd *cobra.Command) {
	c.length = -1
	f := cmd.Flags()
	c.wire.register(cmd)
	t := f.Lookup("timeout")
	t.DefValue, t.Usage = "1m0s", "how long a target may not answer before the command fails"
	c.wire.timeout = time.Minute
	f.Var(&c.length, "length", "how much (default: up to the end)")
	f.Var(&c.rate, "rate", "bytes a second at most, e.g. 50M (default: as fast as it goes)")
	f.StringVar(&c.journal, "journal", "", "note in this file how far the copy is")
	f.BoolVar(&c.resume, "resume", false, "go on with a copy that was interrupted")
	f.BoolVar(&c.verify, "verify", false, "read everything back and compare")
	f.BoolVar(&c.dense, "dense", false, "write zeros like other data")
	f.BoolVarP(&c.yes, "yes", "y", false, "overwrite without a question")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "show no progress and no summary")
}

// registerWrites adds the flags of commands that write to disks.
func (c *copying) registerWrites(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&c.pad, "pad", false, "fill the last sector with zeros when the source ends inside of one")
	f.BoolVar(&c.force, "force", false, "write to a disk although it is in use or reserved")
}

// copied is the result as JSON.
type copied struct {
	Source      string  `json:"source"`
	Destination string  `json:"destination"`
	Bytes       int64   `json:"bytes"`         // copied, or found to be there: all of it
	Written     int64   `json:"written_bytes"` // of it sent
	Zeros       int64   `json:"zero_bytes"`    // of it made zeros without sending them
	Kept        int64   `json:"kept_bytes"`    // of it there already (--resume)
	Resumed     int64   `json:"resumed_bytes"` // of it done before, by the journal
	Flushed     bool    `json:"flushed"`       // the destination says that it is on stable storage
	Verified    bool    `json:"verified"`
	Seconds     float64 `json:"seconds"`
	Rate        float64 `json:"bytes_per_second"`
	Retransmits uint64  `json:"retransmits"`
}

func (c *copying) run(cmd *cobra.Command, from, to string) error {
	if err := c.check(from, to); err != nil {
		return err
	}
	c.keep = cmd.Flags().Changed("to")
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, stop := endless(parent)
	defer stop()
	c.progress = newProgress(c.env.Stderr)
	if c.quiet || c.wire.json {
		c.progress.columns = 0
	}
	err := c.open(ctx, from, to)
	defer c.close()
	if err != nil {
		return wireError(err)
	}
	o := transfer.Options{From: int64(c.from), To: int64(c.to), Length: int64(c.length), Rate: int64(c.rate), Dense: c.dense, Pad: c.pad, Verify: c.verify,
		Compare: c.resume && c.journal == "", Journal: c.journal, Resume: c.resume,
		Progress: func(p transfer.Progress) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.progress.show(p.Phase, p.Done, p.Total)
		}}
	if err := c.consent(ctx, &o); err != nil {
		return err
	}
	res, err := transfer.Run(ctx, c.src, c.dst, o)
	c.mu.Lock()
	c.progress.clear()
	c.mu.Unlock()
	if err == nil {
		err = c.closeSink()
	}
	if err != nil {
		return c.failed(err, &res)
	}
	return c.report(&res)
}

// check reads the arguments.
func (c *copying) check(from, to string) error {
	switch {
	case c.length == 0:
		return Usagef("--length 0: nothing would be copied")
	case c.wire.json && to == "-":
		return Usagef("--json and standard output as the destination exclude each other")
	case from == "-" && to != "-" && !c.yes:
		return Usagef("standard input is the source, so nothing can be asked").WithHint("--yes overwrites without a question")
	case c.resume && (from == "-" || to == "-"):
		return Usagef("--resume: what is piped cannot be gone on with")
	case c.verify && to == "-":
		return Usagef("--verify: what is piped cannot be read back")
	}
	if err := c.wire.check(); err != nil {
		return err
	}
	if _, _, tty := terminal(c.env.Stdout); tty && to == "-" {
		return Usagef("standard output is a terminal").WithHint("name a file, or pipe it somewhere")
	}
	return nil
}

// open opens both ends. Nothing is changed by it but that a new file is made.
func (c *copying) open(ctx context.Context, from, to string) (err error) {
	switch addr, isAddr := address(from); {
	case isAddr:
		d, err := c.disk(ctx, addr)
		if err != nil {
			return err
		}
		c.src = transfer.NewDisk(d)
	case from == "-":
		c.src = transfer.NewPipe("standard input", c.env.Stdin)
	default:
		if c.src, err = transfer.OpenSource(from); err != nil {
			return Failf("%w", err)
		}
	}
	switch addr, isAddr := address(to); {
	case isAddr:
		d, err := c.disk(ctx, addr)
		if err != nil {
			return err
		}
		c.dst = transfer.NewDisk(d)
		return c.free(ctx, d)
	case to == "-":
		c.dst = transfer.NewPipeSink("standard output", c.env.Stdout)
		return nil
	}
	if st, err := os.Stat(to); err == nil && st.Mode()&os.ModeCharDevice != 0 { // /dev/null, a tape: from its beginning to its end
		f, err := os.OpenFile(to, os.O_WRONLY, 0)
		if err != nil {
			return Failf("%w", err)
		}
		c.dst = transfer.NewPipeSink(to, f)
		return nil
	}
	device, _, err := transfer.Exists(to)
	if err != nil {
		return Failf("%w", err)
	}
	if device && !c.force {
		if err := transfer.InUse(c.env.Sysroot, to); err != nil {
			return &ExitError{Code: ExitRefused, Err: err, Hint: c.forceHint()}
		}
	}
	c.dst, err = transfer.OpenSink(to, c.keep)
	if err != nil {
		c.dst = nil
		return Failf("%w", err)
	}
	return nil
}

func (c *copying) forceHint() string {
	if c.verb == "read" {
		return "goaoe copy has --force"
	}
	return "--force writes to it all the same"
}

// address reads an address; everything else names a file.
func address(s string) (aoe.Addr, bool) {
	a, err := aoe.ParseAddr(s)
	return a, err == nil
}

// disk opens the disk of a target. What happens to it is told on stderr.
func (c *copying) disk(ctx context.Context, a aoe.Addr) (*initiator.Disk, error) {
	down := map[string]bool{} // paths that were: those that are there from the beginning are not news
	return initiator.Open(ctx, a, initiator.Options{Interfaces: c.wire.interfaces, Targets: c.wire.targets, Timeout: c.wire.timeout, Wait: min(c.wire.timeout, 5*time.Second),
		OnEvent: func(e initiator.Event) {
			if e.Kind == initiator.PathDown {
				down[e.Path.Interface+e.Path.MAC.String()] = true
			}
			if e.Kind != initiator.PathUp || down[e.Path.Interface+e.Path.MAC.String()] {
				c.note("%s", eventText(a, e))
			}
		}})
}

// note writes a line to stderr, above the progress.
func (c *copying) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress.clear()
	fmt.Fprintf(c.env.Stderr, format+"\n", args...)
}

// eventText is an event as a line.
func eventText(a aoe.Addr, e initiator.Event) string {
	text := fmt.Sprintf("%v: %v", a, e.Kind)
	if e.Path.Interface != "" {
		text += fmt.Sprintf(": %v on %s", e.Path.MAC, e.Path.Interface)
	}
	switch e.Kind {
	case initiator.Grown, initiator.Shrunk:
		text += fmt.Sprintf(" from %d to %d bytes", e.Old, e.New)
	case initiator.Reduced, initiator.Raised:
		text += fmt.Sprintf(" from %d to %d sectors per frame", e.Old, e.New)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// free refuses a disk that somebody uses.
func (c *copying) free(ctx context.Context, d *initiator.Disk) error {
	if c.force {
		return nil
	}
	if err := transfer.InUse(c.env.Sysroot, transfer.KernelDevice(c.env.Sysroot, d.Addr())); err != nil {
		return &ExitError{Code: ExitRefused, Err: err, Hint: c.forceHint()}
	}
	if err := attachedHere(c.env.Sysroot, d.Addr()); err != nil {
		return &ExitError{Code: ExitRefused, Err: err, Hint: c.forceHint()}
	}
	s, err := initiator.Dial(d.Target(), initiator.SessionOptions{Timeout: min(c.wire.timeout, 2*time.Second)})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // nothing is under way
	owners, err := s.ReserveRead(ctx)
	if err != nil || len(owners) == 0 {
		return nil // older targets know no reservations, and do not answer
	}
	for _, p := range d.Paths() {
		if i, err := net.InterfaceByName(p.Interface); err == nil && len(i.HardwareAddr) == aoe.MACLen && slices.Contains(owners, aoe.MAC(i.HardwareAddr)) {
			return nil
		}
	}
	var names []string
	for _, o := range owners {
		names = append(names, o.String())
	}
	return &ExitError{Code: ExitRefused, Err: fmt.Errorf("%v is reserved by %s", d.Addr(), strings.Join(names, ", ")), Hint: c.forceHint()}
}

// attachedHere is an error when somebody uses the disk by way of goaoe attach on this machine.
func attachedHere(root string, a aoe.Addr) error {
	s, err := attach.Find(filepath.Join("/", root, attach.DefaultDir()), a.String())
	if s == nil || err != nil {
		return nil //nolint:nilerr // it belongs to somebody else, whom the kernel and the target know
	}
	who := s.Users
	for _, cl := range s.Clients {
		if !cl.Kernel {
			who = append(who, fmt.Sprintf("%s (pid %d) by its socket", cmp.Or(cl.Command, "a client"), cl.PID))
		}
	}
	if len(who) == 0 {
		return nil
	}
	return fmt.Errorf("%v is attached to this machine and in use: %s", a, strings.Join(who, ", "))
}

// consent checks that everything fits, and asks before anything is overwritten.
func (c *copying) consent(ctx context.Context, o *transfer.Options) error {
	fail := func(err error) error {
		c.discard()
		return err
	}
	if err := transfer.Same(c.env.Sysroot, c.src, c.dst); err != nil {
		return fail(&ExitError{Code: ExitUsage, Err: err})
	}
	end, err := transfer.Check(c.src, c.dst, *o)
	if err != nil {
		return fail(Failf("%w", err))
	}
	c.warnSource()
	f, isFile := c.dst.(*transfer.File)
	what := ""
	switch d, isDisk := c.dst.(*transfer.Disk); {
	case isDisk:
		what = fmt.Sprintf("%s on %s", d.Name(), d.About())
	case isFile && f.Device():
		what = fmt.Sprintf("%s, %s", f.Name(), humanize.IBytes(uint64(f.Size())))
	case isFile && !f.Made() && f.Length() > 0:
		what = fmt.Sprintf("%s, which exists and has %s", f.Name(), humanize.IBytes(uint64(f.Length())))
	}
	if what != "" && !c.yes {
		part := fmt.Sprintf("bytes %d to %d of ", o.To, o.To+end-o.From)
		if end < 0 {
			part = fmt.Sprintf("everything from byte %d on of ", o.To)
		}
		if !c.ask(ctx, fmt.Sprintf("This overwrites %s%s. Go on? (yes, no) [no]: ", part, what)) {
			return fail(&ExitError{Code: ExitRefused, Err: errors.New("nothing was written"), Hint: "--yes overwrites without a question"})
		}
	}
	if isFile {
		if err := f.Begin(o.Compare || o.Resume); err != nil {
			return fail(Failf("%w", err))
		}
	}
	return nil
}

// ask asks on stderr, because stdout may be for a program.
func (c *copying) ask(ctx context.Context, question string) bool {
	fmt.Fprint(c.env.Stderr, question)
	answer := make(chan string, 1)
	go func() {
		in := bufio.NewScanner(c.env.Stdin)
		in.Scan()
		answer <- in.Text()
	}()
	select {
	case a := <-answer:
		if a == "" {
			fmt.Fprintln(c.env.Stderr)
		}
		return strings.HasPrefix(strings.ToLower(strings.TrimSpace(a)), "y")
	case <-ctx.Done():
		fmt.Fprintln(c.env.Stderr)
		return false
	}
}

// warnSource says when the source may change while it is copied.
func (c *copying) warnSource() {
	path := ""
	switch s := c.src.(type) {
	case *transfer.Disk:
		path = transfer.KernelDevice(c.env.Sysroot, s.Addr())
	case *transfer.File:
		if s.Device() {
			path = s.Name()
		}
	}
	if path == "" {
		return
	}
	if err := transfer.InUse(c.env.Sysroot, path); err != nil {
		c.note("note: %v: what is written to it meanwhile may be in the copy or not", err)
	}
}

// discard removes a file that was made and is still empty.
func (c *copying) discard() {
	if f, ok := c.dst.(*transfer.File); ok && f.Made() {
		_ = os.Remove(f.Name()) // it is empty
	}
}

// closeSink closes the destination of a copy that succeeded: the last chance for an error.
func (c *copying) closeSink() error {
	if f, ok := c.dst.(*transfer.File); ok {
		return f.Close()
	}
	if p, ok := c.dst.(*transfer.Pipe); ok && p.Name() != "standard output" {
		return p.Close()
	}
	return nil
}

func (c *copying) close() {
	for _, e := range []io.Closer{c.src, c.dst} {
		if p, ok := e.(*transfer.Pipe); ok && strings.HasPrefix(p.Name(), "standard ") {
			continue // not ours
		}
		if e != nil {
			_ = e.Close() // everything was flushed, or the copy has failed anyway
		}
	}
}

// failed says how far a copy came.
func (c *copying) failed(err error, res *transfer.Result) error {
	how := fmt.Sprintf("%s of %s is copied", humanize.IBytes(uint64(res.Bytes)), c.src.Name())
	if errors.Is(err, transfer.ErrDiffers) {
		return &ExitError{Code: ExitFailure, Err: err}
	}
	out := &ExitError{Code: ExitFailure, Err: fmt.Errorf("%w; %s", err, how)}
	if e := new(ExitError); errors.As(wireError(err), &e) {
		out.Code = e.Code
	}
	if errors.Is(err, transfer.ErrInterrupted) {
		out.Code = ExitFailure
	}
	if _, pipe := c.src.(*transfer.Pipe); !pipe && (res.Bytes > 0 || c.journal != "") {
		if _, pipe := c.dst.(*transfer.Pipe); !pipe {
			out.Hint = "the same command with --resume goes on"
		}
	}
	return out
}

// report says what was done.
func (c *copying) report(res *transfer.Result) error {
	r := copied{Source: c.src.Name(), Destination: c.dst.Name(), Bytes: res.Bytes, Written: res.Written, Zeros: res.Zeroed, Kept: res.Kept, Resumed: res.Resumed,
		Flushed: res.Flushed, Verified: c.verify, Seconds: res.Took.Seconds()}
	if r.Seconds > 0 {
		r.Rate = float64(r.Bytes-r.Resumed) / r.Seconds
	}
	for _, e := range []transfer.End{c.src, c.dst} {
		if d, ok := e.(*transfer.Disk); ok {
			r.Retransmits += d.Stats().Retransmits
		}
	}
	if !r.Flushed && !c.dst.Ordered() {
		c.note("note: %s knows no command to flush: that it answered each write is all there is to know", c.dst.Name())
	}
	if c.wire.json {
		enc := json.NewEncoder(c.env.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(&r)
	}
	if c.quiet {
		return nil
	}
	text := fmt.Sprintf("%s copied from %s to %s in %s (%s/s)", humanize.IBytes(uint64(r.Bytes)), r.Source, r.Destination, shortTime(res.Took), humanize.IBytes(uint64(r.Rate)))
	for _, part := range []struct {
		n    int64
		what string
	}{{r.Resumed, "done before"}, {r.Kept, "there already"}, {r.Zeros, "zeros that were not sent"}} {
		if part.n > 0 {
			text += fmt.Sprintf(", %s %s", humanize.IBytes(uint64(part.n)), part.what)
		}
	}
	if r.Flushed {
		text += "; on stable storage"
	}
	if r.Verified {
		text += "; verified"
	}
	w := c.env.Stdout
	if c.dst.Ordered() {
		w = c.env.Stderr
	}
	fmt.Fprintln(w, text)
	return nil
}

// shortTime is a time in a digit or two behind the point, or in the two largest units.
func shortTime(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return spell(d)
}
