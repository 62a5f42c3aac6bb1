package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"goaoe/ata"
	"goaoe/initiator"
)

const smartLong = `Ask a target's disk for its health (SMART): what it thinks of itself, its attributes, and the log of its self-tests, as far as the target has them. goaoe's
own exports have it with smart = true, and say that they fail when their storage had I/O errors; vblade, ggaoed and qaoed have none.

--log prints one of the disk's logs in hexadecimal, --test begins a self-test, --enable and --disable switch SMART on and off.`

const smartExit = `
Exit status:
   0  the disk says that it is healthy
   1  it could not be asked, or has no SMART
   2  wrong usage
   4  no target answered in time
   5  the disk says that it is failing, or an attribute that foretells it has reached its threshold
  11  refused: reserved by another initiator`

// smartReport is what goaoe smart prints as JSON.
type smartReport struct {
	Address    string           `json:"address"`
	Interface  string           `json:"interface"`
	MAC        string           `json:"mac"`
	Model      string           `json:"model"`
	Serial     string           `json:"serial"`
	Enabled    bool             `json:"enabled"`
	Healthy    bool             `json:"healthy"`
	Attributes []smartAttribute `json:"attributes"`
	SelfTests  []smartSelfTest  `json:"self_tests"`
	Missing    []string         `json:"missing"` // what the target does not have
}

type smartAttribute struct {
	ID        int    `json:"id"`
	Name      string `json:"name"`
	Value     int    `json:"value"`
	Worst     int    `json:"worst"`
	Threshold *int   `json:"threshold"` // null: the target tells none
	Raw       uint64 `json:"raw"`
	Prefail   bool   `json:"prefail"`
	Exceeded  bool   `json:"exceeded"`
}

type smartSelfTest struct {
	Kind   string  `json:"kind"`
	Status string  `json:"status"`
	Hours  int     `json:"hours"`
	LBA    *uint32 `json:"lba"` // of the first error; null: none
}

func newSmartCmd(env *Env) *cobra.Command {
	var f wireFlags
	var enable, disable bool
	var test string
	var log int
	cmd := &cobra.Command{
		Use:     "smart ADDRESS",
		Short:   "Show the health of a disk",
		Long:    smartLong + "\n" + smartExit,
		Example: "  goaoe smart e0.1\n  goaoe smart e0.1 --json | jq .healthy\n  goaoe smart e0.1 --test short\n  goaoe smart e0.1 --log 0",
		GroupID: groupWire,
		Args:    args(cobra.ExactArgs(1), "one ADDRESS"),
		RunE: func(cmd *cobra.Command, list []string) error {
			addrs, err := f.read(list, false)
			if err != nil {
				return err
			}
			kind, ok := map[string]uint8{"": 0, "offline": ata.SmartTestOffline, "short": ata.SmartTestShort, "long": ata.SmartTestLong, "abort": ata.SmartTestAbort}[test]
			chosen := 0
			for _, c := range []bool{enable, disable, test != "", cmd.Flags().Changed("log")} {
				if c {
					chosen++
				}
			}
			switch {
			case !ok:
				return Usagef("--test %s: the tests are offline, short, long; abort ends one", test)
			case log < 0 || log > 255:
				return Usagef("--log %d: must be from 0 to 255", log)
			case chosen > 1:
				return Usagef("only one of --enable, --disable, --test and --log may be given")
			case chosen == 1 && f.json:
				return Usagef("--json is for the report only")
			}
			return f.with(cmd, addrs[0], func(ctx context.Context, s *initiator.Session) error {
				id, _, err := s.Identify(ctx)
				if err != nil {
					return err
				}
				if !id.Smart {
					return Failf("%v has no SMART", addrs[0]).WithHint("an export of goaoe has it with smart = true")
				}
				var what string
				var feature, low uint8
				switch {
				case cmd.Flags().Changed("log"):
					return printSmartLog(ctx, env.Stdout, s, uint8(log))
				case enable:
					what, feature = "SMART is enabled", ata.SmartEnable
				case disable:
					what, feature = "SMART is disabled", ata.SmartDisable
				case test == "abort":
					what, feature, low = "the self-test is ended", ata.SmartOffline, kind
				case test != "":
					what, feature, low = "a self-test has begun; goaoe smart shows when it is over", ata.SmartOffline, kind
				default:
					return runSmart(ctx, env, &f, s, id)
				}
				if _, err := s.Smart(ctx, feature, low, nil, nil); err != nil {
					return err
				}
				_, err = fmt.Fprintf(env.Stdout, "%v: %s\n", addrs[0], what)
				return err
			})
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&enable, "enable", false, "switch SMART on")
	cmd.Flags().BoolVar(&disable, "disable", false, "switch SMART off")
	cmd.Flags().StringVar(&test, "test", "", "begin a self-test: offline, short, long; abort ends one")
	cmd.Flags().IntVar(&log, "log", 0, "print the log of this number, 0 to 255 (0: which logs there are)")
	_ = cmd.RegisterFlagCompletionFunc("test", completeWords("offline", "short", "long", "abort")) // the flag exists
	return cmd
}

func printSmartLog(ctx context.Context, out io.Writer, s *initiator.Session, log uint8) error {
	b := make([]byte, 512)
	if _, err := s.Smart(ctx, ata.SmartReadLog, log, nil, b); err != nil {
		return err
	}
	_, err := io.WriteString(out, hex.Dump(b))
	return err
}

// runSmart makes the report.
func runSmart(ctx context.Context, env *Env, f *wireFlags, s *initiator.Session, id ata.Identity) error {
	t := s.Target()
	r := smartReport{Address: t.Addr.String(), Interface: t.Interface, MAC: t.MAC.String(), Model: id.Model, Serial: id.Serial, Enabled: id.SmartEnabled,
		Attributes: []smartAttribute{}, SelfTests: []smartSelfTest{}, Missing: []string{}}
	if !id.SmartEnabled {
		return Failf("SMART of %v is switched off", t.Addr).WithHint("goaoe smart --enable switches it on")
	}
	var err error
	if r.Healthy, err = s.SmartStatus(ctx); err != nil {
		return wireError(err)
	}
	exceeded, err := r.attributes(ctx, s)
	if err == nil {
		err = r.selfTests(ctx, s)
	}
	if err != nil {
		return wireError(err)
	}
	if f.json {
		err = printJSON(env.Stdout, r)
	} else {
		err = r.print(env.Stdout)
	}
	if err == nil && (!r.Healthy || exceeded) {
		return Exit(ExitFailing)
	}
	return err
}

// attributes reads the attributes and tells whether one has reached its threshold.
func (r *smartReport) attributes(ctx context.Context, s *initiator.Session) (exceeded bool, err error) {
	data, limits := make([]byte, 512), make([]byte, 512)
	if _, err := s.Smart(ctx, ata.SmartReadData, 0, nil, data); errors.Is(err, initiator.ErrRefused) {
		r.Missing = append(r.Missing, "attributes")
		return false, nil
	} else if err != nil {
		return false, err
	}
	if _, err := s.Smart(ctx, ata.SmartReadThresholds, 0, nil, limits); errors.Is(err, initiator.ErrRefused) {
		limits = nil
		r.Missing = append(r.Missing, "thresholds")
	} else if err != nil {
		return false, err
	}
	info, err := ata.ParseSmart(data, limits)
	if err != nil {
		return false, err
	}
	for _, a := range info.Attributes {
		x := smartAttribute{ID: int(a.ID), Name: a.Name, Value: int(a.Value), Worst: int(a.Worst), Raw: a.Raw, Prefail: a.Prefail(), Exceeded: a.Exceeded()}
		if limit := int(a.Threshold); a.HasLimit {
			x.Threshold = &limit
		}
		exceeded = exceeded || x.Exceeded && x.Prefail
		r.Attributes = append(r.Attributes, x)
	}
	return exceeded, nil
}

func (r *smartReport) selfTests(ctx context.Context, s *initiator.Session) error {
	log := make([]byte, 512)
	_, err := s.Smart(ctx, ata.SmartReadLog, ata.SmartLogSelfTest, nil, log)
	if errors.Is(err, initiator.ErrRefused) {
		r.Missing = append(r.Missing, "self-test log")
		return nil
	}
	if err != nil {
		return err
	}
	tests, err := ata.ParseSelfTests(log)
	if err != nil {
		return fmt.Errorf("%w: %w", initiator.ErrRubbish, err)
	}
	for _, t := range tests {
		x := smartSelfTest{Kind: ata.SelfTestKind(t.Kind), Status: ata.SelfTestText(t.Status), Hours: int(t.Hours)}
		if lba := t.LBA; t.Failed() {
			x.LBA = &lba
		}
		r.SelfTests = append(r.SelfTests, x)
	}
	return nil
}

func (r *smartReport) print(out io.Writer) error {
	health := "healthy"
	if !r.Healthy {
		health = "FAILING: a threshold is exceeded; save the data and replace the disk"
	}
	fmt.Fprintf(out, "%s (%s, %s): %s\n", r.Address, dash(r.Model), dash(r.Serial), health)
	if len(r.Attributes) > 0 {
		fmt.Fprintln(out)
		w := newTable(out)
		fmt.Fprintln(w, "ID\tATTRIBUTE\tVALUE\tWORST\tTHRESHOLD\tRAW\tKIND\tSTATE")
		for _, a := range r.Attributes {
			limit, kind, state := "-", "age", "ok"
			if a.Threshold != nil {
				limit = fmt.Sprint(*a.Threshold)
			}
			if a.Prefail {
				kind = "failure"
			}
			if a.Exceeded {
				state = "EXCEEDED"
			}
			fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%s\t%d\t%s\t%s\n", a.ID, a.Name, a.Value, a.Worst, limit, a.Raw, kind, state)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if len(r.SelfTests) > 0 {
		fmt.Fprintln(out)
		w := newTable(out)
		fmt.Fprintln(w, "SELF-TEST\tRESULT\tAT HOUR\tFIRST ERROR AT")
		for _, t := range r.SelfTests {
			lba := "-"
			if t.LBA != nil {
				lba = fmt.Sprintf("sector %d", *t.LBA)
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", t.Kind, t.Status, t.Hours, lba)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	for _, m := range r.Missing {
		fmt.Fprintf(out, "no %s: the target does not have it\n", m)
	}
	return nil
}
