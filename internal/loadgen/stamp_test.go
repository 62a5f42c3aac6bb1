package loadgen

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"goaoe/aoe"
)

func TestStampNoticesEveryByte(t *testing.T) {
	const lba = 1 << 40
	b := make([]byte, 3*aoe.SectorSize)
	PutStamp(b, lba)
	if !Stamped(b, lba) {
		t.Fatal("what PutStamp wrote is not taken for stamped")
	}
	for i := range b {
		b[i] ^= 1 << (i % 8)
		if Stamped(b, lba) {
			t.Fatalf("a flipped bit in byte %d went unnoticed", i)
		}
		b[i] ^= 1 << (i % 8)
	}
	if Stamped(b, lba+1) || Stamped(b, lba-1) || Stamped(make([]byte, 512), lba) {
		t.Error("data of another place was taken for stamped")
	}
	if Stamped(b[:700], lba) {
		t.Error("half a sector was taken for a whole one")
	}
}

func TestStampsDiffer(t *testing.T) {
	seen := map[uint64]uint64{}
	for lba := range uint64(1 << 16) {
		s := Stamp(lba)
		if o, ok := seen[s]; ok || s == 0 {
			t.Fatalf("sector %d has the stamp %#x, as sector %d or an empty disk", lba, s, o)
		}
		seen[s] = lba
	}
}

func TestFillAndCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	const size = 2<<20 + 3*512
	if err := Fill(path, size); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Size() != size {
		t.Fatalf("the image: %v, %v; want %d bytes", st, err, size)
	}
	if err := Check(path); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{1, 2}, 4097*512+500); err != nil {
		t.Fatal(err)
	}
	if err := Check(path); err == nil || !strings.Contains(err.Error(), "sector 4097 ") {
		t.Errorf("Check said %v; want sector 4097", err)
	}
	if err := f.Truncate(700); err != nil {
		t.Fatal(err)
	}
	if err := Check(path); err == nil || !strings.Contains(err.Error(), "sector 1 ") {
		t.Errorf("Check of a cut image said %v; want sector 1", err)
	}
	for _, size := range []int64{0, -512, 100} {
		if Fill(path, size) == nil {
			t.Errorf("Fill made an image of %d bytes", size)
		}
	}
}

func TestHistogram(t *testing.T) {
	var h Histogram
	if h.Quantile(.5) != 0 {
		t.Error("an empty histogram has a median")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var all []int64
	for range 20000 {
		v := int64(rng.Uint64() >> (28 + rng.Uint64N(36)))
		all = append(all, v)
		h.Add(v)
	}
	slices.Sort(all)
	for _, q := range []float64{0, .01, .5, .9, .99, .999, 1} {
		i := max(int(q*float64(len(all))+.999999)-1, 0)
		want, got := all[i], int64(h.Quantile(q))
		if got < want || float64(got) > float64(want)*(1+1./subs)+1 {
			t.Errorf("quantile %v is %d, want %d and at most 1/64 more", q, got, want)
		}
	}
	if int64(h.Max()) != all[len(all)-1] || h.Count() != uint64(len(all)) {
		t.Errorf("max %v of %d; want %d of %d", h.Max(), h.Count(), all[len(all)-1], len(all))
	}
	h.Add(-5)
	h.Add(1 << 62)
	if h.Quantile(1) > 1<<62 || int64(h.Max()) != 1<<62 {
		t.Errorf("values beyond the last step: %v, %v", h.Quantile(1), h.Max())
	}
}

func TestHistogramSteps(t *testing.T) {
	for i := 1; i < steps; i++ {
		if step(upper(i)) != i || step(upper(i-1)+1) != i {
			t.Fatalf("step %d ends at %d, which is in step %d; the one before ends at %d", i, upper(i), step(upper(i)), upper(i-1))
		}
	}
}
