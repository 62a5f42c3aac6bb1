package cli

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/initiator"
)

const identifyLong = `Ask a target's disk what it tells of itself (ATA IDENTIFY DEVICE), and print it decoded. It is answered also when the disk is reserved by others.

--raw prints the 256 words in hexadecimal, eight in a line, as hdparm --Istdin reads them; --binary writes the 512 bytes.`

// identified is what goaoe identify prints as JSON.
type identified struct {
	Address   string `json:"address"`
	Interface string `json:"interface"`
	MAC       string `json:"mac"`
	Model     string `json:"model"`
	Serial    string `json:"serial"`
	Firmware  string `json:"firmware"`
	WWN       string `json:"wwn,omitempty"`
	Sectors   uint64 `json:"sectors"` // of 512 bytes
	Size      uint64 `json:"size"`    // bytes
	Physical  int    `json:"physical_sector"`
	Offset    int    `json:"alignment_offset"` // place of sector 0 in its physical sector, in sectors
	LBA48     bool   `json:"lba48"`
	// WriteCache: a volatile one is there; then what is not flushed is lost with the power.
	WriteCache        bool   `json:"write_cache"`
	WriteCacheEnabled bool   `json:"write_cache_enabled"`
	LookAhead         bool   `json:"look_ahead_enabled"`
	FUA               bool   `json:"fua"`
	Trim              bool   `json:"trim"`
	TrimZero          bool   `json:"trim_zero"`
	Smart             bool   `json:"smart"`
	SmartEnabled      bool   `json:"smart_enabled"`
	Rotation          int    `json:"rotation"` // per minute; 0 unknown, 1 not rotating
	Checksum          string `json:"checksum"` // right, wrong, none
}

func newIdentifyCmd(env *Env) *cobra.Command {
	var f wireFlags
	var raw, binaryOut bool
	cmd := &cobra.Command{
		Use:     "identify ADDRESS",
		Short:   "Show what a disk tells of itself",
		Long:    identifyLong + "\n" + wireExit,
		Example: "  goaoe identify e0.1\n  goaoe identify e0.1 --json | jq .serial\n  goaoe identify e0.1 --raw | hdparm --Istdin",
		GroupID: groupWire,
		Args:    args(cobra.ExactArgs(1), "one ADDRESS"),
		RunE: func(cmd *cobra.Command, list []string) error {
			addrs, err := f.read(list, false)
			if err != nil {
				return err
			}
			if raw && binaryOut || f.json && (raw || binaryOut) {
				return Usagef("only one of --raw, --binary and --json may be given")
			}
			return f.with(cmd, addrs[0], func(ctx context.Context, s *initiator.Session) error {
				id, words, err := s.Identify(ctx)
				switch {
				case words != nil && binaryOut:
					_, err := env.Stdout.Write(words)
					return err
				case words != nil && raw:
					return printWords(env.Stdout, words)
				case err != nil:
					return err
				case f.json:
					return printJSON(env.Stdout, newIdentified(s.Target(), id))
				}
				return printIdentified(env.Stdout, newIdentified(s.Target(), id))
			})
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&raw, "raw", false, "print the words in hexadecimal")
	cmd.Flags().BoolVar(&binaryOut, "binary", false, "write the 512 bytes")
	return cmd
}

func newIdentified(t initiator.Target, id ata.Identity) identified {
	out := identified{Address: t.Addr.String(), Interface: t.Interface, MAC: t.MAC.String(), Model: id.Model, Serial: id.Serial, Firmware: id.Firmware,
		Sectors: id.Sectors, Size: id.Sectors * aoe.SectorSize, Physical: id.PhysicalSize, Offset: id.AlignOffset, LBA48: id.LBA48,
		WriteCache: id.WriteCache, WriteCacheEnabled: id.WriteCacheEnabled, LookAhead: id.LookAheadEnabled, FUA: id.FUA, Trim: id.Trim, TrimZero: id.TrimZero,
		Smart: id.Smart, SmartEnabled: id.SmartEnabled, Rotation: int(id.Rotation), Checksum: "none"}
	if id.WWN != 0 {
		out.WWN = fmt.Sprintf("%016x", id.WWN)
	}
	if id.HasSum {
		out.Checksum = map[bool]string{true: "right", false: "wrong"}[id.SumOK]
	}
	return out
}

func printIdentified(out io.Writer, d identified) error {
	able := func(is bool) string { return map[bool]string{true: "yes", false: "no"}[is] }
	cache := "none"
	if d.WriteCache {
		cache = map[bool]string{true: "on: what is not flushed is lost with the power", false: "off"}[d.WriteCacheEnabled]
	}
	rotation := "unknown"
	switch {
	case d.Rotation == ata.RotationNone:
		rotation = "none"
	case d.Rotation > 0x400:
		rotation = fmt.Sprintf("%d per minute", d.Rotation)
	}
	trim := able(d.Trim)
	if d.TrimZero {
		trim += ", trimmed sectors read as zero"
	}
	smart := able(d.Smart)
	if d.Smart {
		smart += ", " + map[bool]string{true: "enabled", false: "disabled"}[d.SmartEnabled]
	}
	physical := fmt.Sprintf("%d bytes", d.Physical)
	if d.Offset != 0 {
		physical += fmt.Sprintf(", sector 0 at its sector %d", d.Offset)
	}
	w := newTable(out)
	for _, l := range [][2]string{
		{"address", d.Address}, {"at", d.MAC + " on " + d.Interface},
		{"model", dash(d.Model)}, {"serial", dash(d.Serial)}, {"firmware", dash(d.Firmware)}, {"WWN", orDash(d.WWN)},
		{"size", fmt.Sprintf("%d bytes (%s), %d sectors of 512 bytes", d.Size, humanize.IBytes(d.Size), d.Sectors)},
		{"physical sector", physical}, {"48 bit addresses", able(d.LBA48)}, {"write cache", cache},
		{"look-ahead", map[bool]string{true: "on", false: "off"}[d.LookAhead]}, {"FUA writes", able(d.FUA)}, {"trim", trim}, {"SMART", smart},
		{"rotation", rotation}, {"checksum", d.Checksum},
	} {
		fmt.Fprintf(w, "%s\t%s\n", l[0], l[1])
	}
	return w.Flush()
}

// printWords prints words of the wire's byte order, eight in a line.
func printWords(out io.Writer, b []byte) error {
	for i := 0; i+2 <= len(b); i += 2 {
		end := " "
		if i%16 == 14 {
			end = "\n"
		}
		if _, err := fmt.Fprintf(out, "%04x%s", binary.LittleEndian.Uint16(b[i:]), end); err != nil {
			return err
		}
	}
	return nil
}
