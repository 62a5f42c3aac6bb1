package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"goaoe/aoe"
	"goaoe/initiator"
)

// discovered is a row of goaoe discover.
type discovered struct {
	Address     string `json:"address"`
	MAC         string `json:"mac"`
	Interface   string `json:"interface"`
	MTU         int    `json:"mtu"`
	Sectors     int    `json:"sectors_per_frame"`
	BufferCount int    `json:"buffer_count"`
	Size        int64  `json:"size,omitempty"` // bytes; absent when the disk could not be identified
	Model       string `json:"model,omitempty"`
	Serial      string `json:"serial,omitempty"`
	Config      string `json:"config"`
	Error       string `json:"error,omitempty"` // why the disk could not be identified
}

const discoverLong = `Asks on the interfaces which targets are there, and each disk for its size and model. A target that is reached over several
interfaces is listed once for each. No kernel driver is needed; permission for packet sockets is.

A target on this machine is not heard on the interface that it serves itself.`

func newDiscoverCmd(env *Env) *cobra.Command {
	var interfaces []string
	var wait time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "discover",
		Short:   "List the targets on the network",
		Long:    discoverLong,
		GroupID: groupTools,
		Example: "  goaoe discover\n  goaoe discover -i eth1 --json",
		Args:    args(cobra.NoArgs, "discover takes no arguments: interfaces are named by -i"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if wait <= 0 {
				return Usagef("--wait %v: must be more than 0", wait)
			}
			rows, err := discover(cmd.Context(), interfaces, wait)
			if err != nil && len(rows) == 0 {
				return Failf("%v", err)
			}
			if asJSON {
				enc := json.NewEncoder(env.Stdout)
				enc.SetIndent("", "  ")
				if e := enc.Encode(rows); e != nil {
					return e
				}
			} else {
				printDiscovered(env, rows)
			}
			if err != nil { // some interfaces answered, others could not be asked
				return Failf("%v", err)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringSliceVarP(&interfaces, "interface", "i", nil, "interfaces to ask on (default: all Ethernet interfaces that are up)")
	f.DurationVar(&wait, "wait", 500*time.Millisecond, "how long to wait for answers")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// discover finds the targets and identifies their disks.
func discover(ctx context.Context, interfaces []string, wait time.Duration) ([]discovered, error) {
	if ctx == nil {
		ctx = context.Background()
	}
	targets, err := initiator.DiscoverAll(ctx, initiator.Search{Interfaces: interfaces, Wait: wait})
	rows := make([]discovered, 0, len(targets))
	for _, t := range targets {
		r := discovered{Address: t.Addr.String(), MAC: t.MAC.String(), Interface: t.Interface, MTU: t.MTU, Sectors: t.Sectors,
			BufferCount: t.BufferCount, Config: string(t.Config)}
		d, e := initiator.Open(ctx, t.Addr, initiator.Options{Interfaces: []string{t.Interface}, Targets: []aoe.MAC{t.MAC}, Timeout: 2 * time.Second})
		if e != nil {
			r.Error = e.Error()
		} else {
			id := d.Identity()
			r.Size, r.Model, r.Serial = d.Size(), id.Model, id.Serial
			_ = d.Close() // nothing is under way
		}
		rows = append(rows, r)
	}
	return rows, err
}

func printDiscovered(env *Env, rows []discovered) {
	if len(rows) == 0 {
		fmt.Fprintln(env.Stderr, "no target answered")
		return
	}
	w := tabwriter.NewWriter(env.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ADDRESS\tSIZE\tMODEL\tSERIAL\tINTERFACE\tMAC\tMTU\tSECTORS\tBUFFERS\tCONFIG")
	for _, r := range rows {
		size := "?"
		if r.Error == "" {
			size = humanize.IBytes(uint64(r.Size))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", r.Address, size, dash(r.Model), dash(r.Serial), r.Interface, r.MAC, r.MTU, r.Sectors,
			r.BufferCount, dash(r.Config))
	}
	w.Flush()
	for _, r := range rows {
		if r.Error != "" {
			fmt.Fprintf(env.Stderr, "%s: %s\n", r.Address, r.Error)
		}
	}
}

// dash shows a text that came over the wire: nothing as "-", and what is not printable as "?".
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
