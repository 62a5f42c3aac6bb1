package frames

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"goaoe/aoe"
	"goaoe/ata"
)

// names are the classes of ATA commands in words.
var names = []string{
	ata.Read - 1: "read", ata.Write - 1: "write", ata.Verify - 1: "verify", ata.Flush - 1: "flush", ata.Identify - 1: "identify",
	ata.SetFeatures - 1: "set features", ata.SMART - 1: "SMART", ata.SetMultiple - 1: "set multiple", ata.CheckPower - 1: "check power",
	ata.Power - 1: "power", ata.NativeMax - 1: "native max", ata.DataSet - 1: "trim",
}

var (
	configOps  = []string{"config read", "config test", "config prefix", "config set", "config force set"}
	maskOps    = []string{"mask read", "mask edit"}
	reserveOps = []string{"reserve read", "reserve set", "reserve force"}
	maskErrors = map[uint8]string{aoe.MaskUnspecified: "unspecified error", aoe.MaskBadDirective: "bad directive", aoe.MaskFull: "list is full"}
)

func pick(list []string, what string, i uint8) string {
	if int(i) < len(list) {
		return list[i]
	}
	return fmt.Sprintf("%s operation %d", what, i)
}

// describe says what a request asks for.
func describe(f *Frame, h aoe.Header, frame []byte) {
	switch h.Cmd {
	case aoe.CmdATA:
		a, _, err := aoe.DecodeATA(frame)
		if err != nil {
			f.Detail = "cut off"
			return
		}
		describeATA(f, &a)
	case aoe.CmdConfig:
		c, err := aoe.DecodeConfig(frame)
		f.What = pick(configOps, "config", c.Op)
		if c.Op != aoe.ConfigRead {
			f.Detail = str(c.String, int(c.Length), err, frame)
		}
	case aoe.CmdMask:
		m, _, _ := aoe.DecodeMask(frame)
		f.What = pick(maskOps, "mask", m.Op)
		if m.Op != aoe.MaskRead {
			f.Detail = maskList(frame)
		}
	case aoe.CmdReserve:
		r, _, _ := aoe.DecodeReserve(frame)
		f.What = pick(reserveOps, "reserve", r.Op)
		if r.Op != aoe.ReserveRead {
			f.Detail = reserveList(frame)
		}
	default:
		f.What = f.Command
	}
}

// describeATA says what an ATA command asks for.
func describeATA(f *Frame, a *aoe.ATA) {
	op := ata.Lookup(a.Command)
	f.Opcode = &a.Command
	if op.Class == ata.Unsupported {
		f.What = fmt.Sprintf("command 0x%02x", a.Command)
		return
	}
	f.What = names[op.Class-1]
	switch op.Class {
	case ata.Read, ata.Write, ata.Verify:
		f.Sectors = &a.Count
		lba, ok := ata.Address(a.LBA, op.Ext, a.Flags&aoe.ATAExtended != 0)
		if !ok {
			f.Detail = "invalid address"
			return
		}
		f.LBA = &lba
		if op.FUA {
			f.Detail = "FUA"
		}
	case ata.SetFeatures, ata.SMART:
		f.Detail = fmt.Sprintf("0x%02x", a.Feature)
	}
}

// configReply says what a reply or an announcement tells.
func configReply(f *Frame, frame []byte) {
	c, err := aoe.DecodeConfig(frame)
	if len(frame) < aoe.ConfigLen {
		f.Detail = "cut off"
		return
	}
	f.Detail = fmt.Sprintf("%s buffers %d sectors %d", str(c.String, int(c.Length), err, frame), c.BufferCount, c.Sectors)
}

// str quotes a config string; what was cut off by the trace is shown as dots.
func str(s []byte, length int, err error, frame []byte) string {
	if err == nil {
		return strconv.Quote(string(s))
	}
	if length > aoe.MaxConfig || len(frame) < aoe.ConfigLen {
		return fmt.Sprintf("(%d bytes)", length)
	}
	return strconv.Quote(string(frame[aoe.ConfigLen:])) + "..."
}

// maskList shows the directives or entries of a MAC mask list, as far as they are in the frame.
func maskList(frame []byte) string {
	if len(frame) < aoe.MaskLen {
		return "cut off"
	}
	signs := map[uint8]string{aoe.MaskAdd: "+", aoe.MaskDelete: "-"}
	var out []string
	n, rest := int(frame[aoe.MaskLen-1]), frame[aoe.MaskLen:]
	for i := 0; i < n && len(rest) >= aoe.DirectiveLen; i++ {
		d := aoe.MaskDirective(rest, 0)
		out = append(out, signs[d.Cmd]+d.MAC.String())
		rest = rest[aoe.DirectiveLen:]
	}
	return list(out, n)
}

// reserveList shows the addresses of a reserve list, as far as they are in the frame.
func reserveList(frame []byte) string {
	if len(frame) < aoe.ReserveLen {
		return "cut off"
	}
	var out []string
	n, rest := int(frame[aoe.ReserveLen-1]), frame[aoe.ReserveLen:]
	for i := 0; i < n && len(rest) >= aoe.MACLen; i++ {
		out = append(out, aoe.ReserveMAC(rest, 0).String())
		rest = rest[aoe.MACLen:]
	}
	return list(out, n)
}

func list(out []string, n int) string {
	if n == 0 {
		return "(empty)"
	}
	if len(out) < n {
		out = append(out, fmt.Sprintf("... (%d)", n))
	}
	return strings.Join(out, ",")
}

// registers says what the Status and Error registers of a failed command mean.
func registers(status, reg uint8) string {
	var words []string
	for _, b := range []struct {
		in, bit uint8
		name    string
	}{
		{reg, ata.ErrICRC, "transfer error (ICRC)"}, {reg, ata.ErrUNC, "unreadable data (UNC)"}, {reg, ata.ErrIDNF, "no such sector (IDNF)"},
		{reg, ata.ErrABRT, "command refused (ABRT)"}, {status, ata.StatusDF, "device fault (DF)"},
	} {
		if b.in&b.bit != 0 {
			words = append(words, b.name)
		}
	}
	if len(words) == 0 {
		return fmt.Sprintf("status 0x%02x error 0x%02x", status, reg)
	}
	return strings.Join(words, ", ")
}

// Line is the frame as one line for people. The arrow points at who gets it.
func (f *Frame) Line() string {
	b := make([]byte, 0, 160)
	b = f.Time.Local().AppendFormat(b, "15:04:05.000000")
	b = append(b, ' ')
	b = append(b, f.Interface...)
	if f.Tag == nil {
		b = fmt.Appendf(b, " %s, %d bytes", f.Detail, f.Length)
		return string(f.outcome(b))
	}
	arrow, who := ">", f.Initiator
	if f.Out {
		arrow = "<"
	}
	if who == "" {
		who = "everybody        " // as wide as an address
	}
	b = fmt.Appendf(b, " %s %s %s", who, arrow, f.Export)
	what := f.What
	if what == "" { // a reply whose request was not seen
		what = f.Command
	}
	b = fmt.Appendf(b, " %s", what)
	if f.LBA != nil {
		b = fmt.Appendf(b, " lba %d", *f.LBA)
	}
	if f.Sectors != nil {
		b = fmt.Appendf(b, " count %d", *f.Sectors)
	}
	if f.Detail != "" {
		b = fmt.Appendf(b, " %s", f.Detail)
	}
	b = fmt.Appendf(b, " tag %08x", *f.Tag)
	return string(f.outcome(b))
}

// outcome adds how it ended.
func (f *Frame) outcome(b []byte) []byte {
	if f.Repeat {
		b = append(b, " again"...)
	}
	switch {
	case f.Drop != "":
		b = fmt.Appendf(b, " dropped: %s", f.Drop)
	case f.Result == Failed:
		b = fmt.Appendf(b, " error: %s", f.Error)
	case f.Result != "":
		b = fmt.Appendf(b, " %s", f.Result)
	}
	if f.Latency != nil {
		b = fmt.Appendf(b, " %s", Duration(*f.Latency))
	}
	return b
}

// Duration shows nanoseconds in three digits or so: 850ns, 12.3us, 1.23ms, 4.50s.
func Duration(ns int64) string {
	d := time.Duration(ns)
	var unit float64
	var name string
	switch {
	case d >= time.Second:
		unit, name = 1e9, "s"
	case d >= time.Millisecond:
		unit, name = 1e6, "ms"
	case d >= time.Microsecond:
		unit, name = 1e3, "us"
	default:
		return strconv.FormatInt(ns, 10) + "ns"
	}
	v := float64(ns) / unit
	switch {
	case v >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64) + name
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64) + name
	}
	return strconv.FormatFloat(v, 'f', 2, 64) + name
}
