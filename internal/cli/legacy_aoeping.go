package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/initiator"
)

const aoepingUsage = "[options] {shelf} {slot} {netif}\n" +
	"  -i          print what the disk tells of itself, in hexadecimal\n" +
	"  -I          print some fields of it\n" +
	"  -v          say more\n" +
	"  -h          print this\n" +
	"  -s SECONDS  how long to wait for answers\n" +
	"  -S COMMAND  send a SMART command: read_data, offline_immediate[:N], read_log[:N],\n" +
	"              write_log[:N], enable, disable, return_status\n" +
	"  -t TAG      tag of the first request"

// smartCommand is a SMART command as aoeping names it.
type smartCommand struct {
	feature    uint8
	low        uint8
	reads, out bool // 512 bytes of data from the disk, to it
}

// parseSmart reads "read_log:1".
func parseSmart(text string) (smartCommand, error) {
	name, number, numbered := strings.Cut(text, ":")
	c, ok := map[string]smartCommand{
		"read_data": {feature: ata.SmartReadData, reads: true}, "offline_immediate": {feature: ata.SmartOffline}, "read_log": {feature: ata.SmartReadLog, reads: true},
		"write_log": {feature: ata.SmartWriteLog, out: true}, "enable": {feature: ata.SmartEnable}, "disable": {feature: ata.SmartDisable}, "return_status": {feature: ata.SmartStatus},
	}[name]
	if !ok {
		return c, fmt.Errorf("there is no SMART command %s", name)
	}
	if numbered {
		n, err := strconv.ParseUint(number, 0, 8)
		if err != nil {
			return c, fmt.Errorf("-S %s: %q is no number from 0 to 255", text, number)
		}
		c.low = uint8(n)
	}
	return c, nil
}

// aoeping is one run of it.
type aoeping struct {
	env       *Env
	addr      aoe.Addr
	iface     string
	raw       bool // -i
	fields    bool // -I
	verbose   bool
	limit     time.Duration
	tag       uint32
	smart     smartCommand
	smartText string // as it was given; empty: none
}

func runAoeping(env *Env, args []string) int {
	opts, rest, err := letters("iIvhs:S:t:").getopt(args)
	if err == nil && has(opts, 'h') {
		fmt.Fprintf(env.Stderr, "usage: %s %s\n", env.Program, aoepingUsage)
		return ExitOK
	}
	p := &aoeping{env: env, raw: has(opts, 'i'), fields: has(opts, 'I'), verbose: has(opts, 'v')}
	if err == nil && len(rest) != 3 {
		err = fmt.Errorf("%d arguments where shelf, slot and netif are expected", len(rest))
	}
	if err == nil {
		p.iface = rest[2]
		p.addr, err = toolAddress(rest[0], rest[1])
	}
	if err == nil && p.addr.Wild() {
		err = fmt.Errorf("%v: an exact address is needed", p.addr)
	}
	if err == nil {
		p.limit, err = timeLimit(opts, 's')
	}
	if v := opts['t']; err == nil && len(v) > 0 {
		n, e := strconv.ParseUint(v[len(v)-1], 0, 32)
		if p.tag = uint32(n) &^ (1 << 31); e != nil {
			err = fmt.Errorf("-t %s is no number", v[len(v)-1])
		}
	}
	if v := opts['S']; err == nil && len(v) > 0 {
		p.smartText = v[len(v)-1]
		p.smart, err = parseSmart(p.smartText)
	}
	if err != nil {
		return usage(env, aoepingUsage, err)
	}
	if p.limit == 0 {
		p.limit = patienceOfTools
	}
	return report(env, asFailure(p.run()))
}

// run asks and prints.
func (p *aoeping) run() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.limit)
	defer cancel()
	out := p.env.Stdout
	if p.verbose {
		fmt.Fprintf(out, "tag: %08x\neth: %s\nshelf: %d\nslot: %d\n", p.tag|1<<31, p.iface, p.addr.Major, p.addr.Minor)
	}
	var t *initiator.Target
	for r, err := range initiator.AskConfig(ctx, p.iface, p.addr, aoe.ConfigRead, nil, int64(p.tag)) {
		if err != nil {
			return err
		}
		if r.Refused != 0 {
			return Failf("%v answers: %w", p.addr, r.Refused)
		}
		t = &r.Target
		if p.verbose {
			fmt.Fprintln(out, "config query response:")
			hexDump(out, r.Frame)
			fmt.Fprintf(out, "found %v with mac %x\n", r.Addr, r.MAC[:])
		}
		break
	}
	if t == nil {
		return Failf("%v does not answer on %s within %v", p.addr, p.iface, p.limit)
	}
	if !p.raw && !p.fields && p.smartText == "" {
		return nil
	}
	s, err := initiator.Dial(*t, initiator.SessionOptions{Timeout: p.limit})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // nothing is under way
	id, words, err := s.Identify(ctx)
	if words == nil {
		return p.late(err)
	}
	if p.raw && !p.fields { // as the original, which prints one of them
		fmt.Fprintln(out, "device identify response:")
		hexDump(out, words)
	}
	if p.fields {
		p.printFields(words)
	}
	if p.smartText == "" {
		return nil
	}
	if !id.Smart {
		return Failf("%v does not support SMART", p.addr)
	}
	return p.doSmart(ctx, s)
}

// late says what a context's end means.
func (p *aoeping) late(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return Failf("%v does not answer on %s within %v", p.addr, p.iface, p.limit)
	}
	return err
}

// printFields prints the fields of IDENTIFY that aoeping prints: texts with their padding, words as their bytes come.
func (p *aoeping) printFields(words []byte) {
	out := p.env.Stdout
	fmt.Fprintln(out, "device identify fields:")
	for i := range 3 {
		fmt.Fprintf(out, "vendor_specific_%d: %#x\n", i, uint16(words[14+2*i])<<8|uint16(words[15+2*i]))
	}
	for _, f := range []struct {
		name    string
		from, n int
	}{{"serial_number", 20, ata.SerialLen}, {"firmware_rev", 46, ata.FirmwareLen}, {"model", 54, ata.ModelLen}} {
		text := make([]byte, f.n)
		for i := range text {
			text[i] = words[f.from+(i^1)]
		}
		fmt.Fprintf(out, "%s: %s\n", f.name, plain(text))
	}
}

// doSmart sends the SMART command and prints the registers of the answer, and its data.
func (p *aoeping) doSmart(ctx context.Context, s *initiator.Session) error {
	c := p.smart
	var data, into []byte
	if c.out {
		data = make([]byte, aoe.SectorSize)
		if _, err := io.ReadFull(p.env.Stdin, data); err != nil {
			return Failf("write_log: 512 bytes are needed on standard input: %w", err)
		}
	}
	if c.reads {
		into = make([]byte, aoe.SectorSize)
	}
	r, err := s.Smart(ctx, c.feature, c.low, data, into)
	if errors.Is(err, initiator.ErrRefused) {
		return Failf("the SMART command %s was aborted by %v", p.smartText, p.addr)
	}
	if err != nil {
		return p.late(err)
	}
	out := p.env.Stdout
	fmt.Fprintln(out, "ATA registers:")
	for _, l := range []struct {
		name  string
		value uint8
	}{{"Features", r.Feature}, {"Sector Count", r.Count}, {"LBA Low", r.LBA[0]}, {"LBA Mid", r.LBA[1]}, {"LBA High", r.LBA[2]}, {"Status", r.Command}} {
		fmt.Fprintf(out, "%20s: 0x%02x\n", l.name, l.value)
	}
	if c.reads {
		fmt.Fprintln(out, "SMART data:")
		hexDump(out, into)
	}
	return nil
}
