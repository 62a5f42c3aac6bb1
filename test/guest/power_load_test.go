package guest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"goaoe/aoe"
	"goaoe/initiator"
)

// The load of the power cuts: a process of its own in the network of the guest, which records what was acknowledged and cuts the power
// itself, so that no moment is spared.

// powerLoad is what one load does. It is handed over as JSON in the environment.
type powerLoad struct {
	Dir     string // where acknowledged.bin and result.json go
	Depth   int    // writes outstanding
	Sectors int64  // of the disk that are used
	Seed    uint64
	After   time.Duration // from the first acknowledgement to the cut
}

const powerEnv = "GOAOE_POWER_LOAD"

// record is what is known of one sector: the last write that was sent there, and the last that was acknowledged; 0 for none.
type record struct{ Sent, Acked uint64 }

// powerResult is what came of it.
type powerResult struct {
	Acked  uint64 // writes acknowledged until the cut
	Failed uint64 // writes that the target refused before the cut
	Error  string
}

// stamp fills one sector: every byte depends on where it belongs and which write it is of.
func stamp(b []byte, lba int64, n, seed uint64) {
	binary.LittleEndian.PutUint64(b, uint64(lba))
	binary.LittleEndian.PutUint64(b[8:], n)
	r := rand.NewPCG(uint64(lba)^seed, n)
	for i := 16; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
}

// stamped returns which write a sector is of; false when it is of none.
func stamped(b []byte, lba int64, seed uint64) (uint64, bool) {
	n := binary.LittleEndian.Uint64(b[8:])
	want := make([]byte, len(b))
	if n == 0 {
		return 0, string(b) == string(want)
	}
	stamp(want, lba, n, seed)
	return n, string(b) == string(want)
}

// runPowerLoad is the process. It ends with the power.
func runPowerLoad(job string) error {
	var l powerLoad
	if err := json.Unmarshal([]byte(job), &l); err != nil {
		return err
	}
	records, res, err := l.run()
	if err != nil {
		res.Error = err.Error()
	}
	f, err := os.Create(filepath.Join(l.Dir, "acknowledged.bin"))
	if err != nil {
		return err
	}
	if err := errors.Join(binary.Write(f, binary.LittleEndian, records), f.Close()); err != nil {
		return err
	}
	out, err := json.Marshal(res)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.Dir, "result.json"), out, 0o600)
}

// run writes until the power is gone.
func (l powerLoad) run() ([]record, powerResult, error) {
	ctx, stop := context.WithTimeout(context.Background(), 4*time.Minute)
	defer stop()
	var res powerResult
	records := make([]record, l.Sectors)
	o := initiator.Options{Interfaces: []string{"t0"}, Wait: 3 * time.Minute, Timeout: 30 * time.Second, Window: l.Depth}
	d, err := initiator.Open(ctx, aoe.Addr{Major: 0, Minor: 1}, o)
	if err != nil {
		return records, res, err
	}
	var acked, failed atomic.Uint64
	first := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	for w := range l.Depth {
		wg.Go(func() { // sectors w*run to w*run+run-1 of each stripe are this writer's
			const run = 8
			r := rand.New(rand.NewPCG(l.Seed, uint64(w)))
			stripes := l.Sectors / run / int64(l.Depth)
			var b [run * initiator.SectorSize]byte
			for n := uint64(1); ctx.Err() == nil; n++ {
				at := (r.Int64N(stripes)*int64(l.Depth) + int64(w)) * run
				from := r.Int64N(run)
				count := 1 + r.Int64N(run-from)
				if n%2 == 0 {
					from, count = 0, run
				}
				for i := range count {
					stamp(b[i*initiator.SectorSize:][:initiator.SectorSize], at+from+i, n, l.Seed)
					records[at+from+i].Sent = n
				}
				_, err := d.WriteAtContext(ctx, b[:count*initiator.SectorSize], (at+from)*initiator.SectorSize)
				if err != nil {
					if ctx.Err() == nil {
						failed.Add(1)
					}
					return // what became of it is not known
				}
				for i := range count {
					records[at+from+i].Acked = n
				}
				acked.Add(1)
				once.Do(func() { close(first) })
			}
		})
	}
	select {
	case <-first:
	case <-ctx.Done():
		return records, res, errors.New("no write was acknowledged")
	}
	time.Sleep(l.After)
	res.Failed = failed.Load() // between the death of the disk and that of the machine there may be errors
	err = cutPower()
	time.Sleep(200 * time.Millisecond) // answers that are still in queues count, too: they were given before the cut
	stop()
	wg.Wait()
	res.Acked = acked.Load()
	return records, res, errors.Join(err, d.Close())
}

// cutPower kills the disk first, with what it has not made durable, and then the machine.
func cutPower() error {
	b, err := os.ReadFile(os.Getenv("POWER"))
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range strings.Fields(string(b)) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			return fmt.Errorf("%s: %w", b, err)
		}
		errs = append(errs, syscall.Kill(pid, syscall.SIGKILL))
	}
	return errors.Join(errs...)
}
