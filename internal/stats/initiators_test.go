package stats

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

func list(t *Initiators) map[uint64]InitiatorSnapshot {
	m := map[uint64]InitiatorSnapshot{}
	t.Snapshots(func(mac uint64, addr uint32, iface uint32, s InitiatorSnapshot) { m[mac<<16|uint64(addr)&0xffff] = s })
	return m
}

func TestInitiators(t *testing.T) {
	tab := NewInitiators()
	now := time.Now().UnixNano()
	a := tab.Find(0x020000000001, 0x000101, now)
	b := tab.Find(0x020000000001, 0x000102, now) // another slot of the same shelf
	c := tab.Find(0x020000000002, 0x000101, now)
	if a == b || a == c || b == c {
		t.Fatal("different pairs share an entry")
	}
	a.Requests.Add(3)
	a.LastSeen.Set(uint64(now))
	a.MetOn(4)
	if tab.Find(0x020000000001, 0x000101, now+1) != a {
		t.Fatal("an entry is not found again")
	}
	n := 0
	tab.Snapshots(func(mac uint64, addr uint32, iface uint32, s InitiatorSnapshot) {
		n++
		if mac == 0x020000000001 && addr == 0x101 {
			if iface != 4 || s.MAC != "02:00:00:00:00:01" || s.Requests != 3 || s.FirstSeen.UnixNano() != now || s.LastSeen.UnixNano() != now || !s.LastATA.IsZero() {
				t.Errorf("entry: iface %d %+v", iface, s)
			}
		}
	})
	if n != 3 {
		t.Errorf("%d entries, want 3", n)
	}
}

// TestInitiatorsOverflow: the table takes nearly as many as it has places, loses nobody who is active, and counts the rest together.
// Those that were idle for long make room, but not with requests under way.
func TestInitiatorsOverflow(t *testing.T) {
	tab := NewInitiators()
	now := time.Now().UnixNano()
	const many = 2 * maxEntries
	placed := map[*Initiator]uint64{}
	for i := range uint64(many) {
		e := tab.Find(0x020000000000+i, uint32(i%7), now)
		e.Requests.Inc()
		e.LastSeen.Set(uint64(now))
		if e == &tab.others {
			continue
		}
		if _, twice := placed[e]; twice {
			t.Fatal("an entry was given away while its owner is active")
		}
		placed[e] = i
	}
	if len(placed) < maxEntries*9/10 {
		t.Errorf("%d of %d places are used", len(placed), maxEntries)
	}
	l := list(tab)
	if got := l[0].Requests; got != uint64(many-len(placed)) || l[0].MAC != "" {
		t.Errorf("the others have %d requests, want %d", got, many-len(placed))
	}
	for e, i := range placed {
		if tab.Find(0x020000000000+i, uint32(i%7), now) != e {
			t.Fatalf("initiator %d is not found any more", i)
		}
		e.InFlight.Inc()
	}
	later := now + int64(IdleAfter) + 1
	fresh := func() (got int) {
		for i := range uint64(200) {
			if e := tab.Find(0x040000000000+i, 1, later); e != &tab.others {
				e.LastSeen.Set(uint64(later))
				if e.Requests.Load() != 0 && e.first.Load() != later {
					t.Fatal("an entry was not emptied for its new owner")
				}
				got++
			}
		}
		return got
	}
	if before := maxEntries - len(placed); fresh() > before {
		t.Error("an entry with requests under way was given away")
	}
	for e := range placed {
		e.InFlight.Dec()
	}
	if n := fresh(); n != 200 {
		t.Errorf("%d of 200 new ones found a place of somebody idle", n)
	}
}

// TestInitiatorsReaders: a snapshot never mixes two owners of an entry. Each owner's requests are its MAC's lowest byte times as many as its
// writes.
func TestInitiatorsReaders(t *testing.T) {
	tab := NewInitiators()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				tab.Snapshots(func(mac uint64, addr uint32, _ uint32, s InitiatorSnapshot) {
					if mac != 0 && addr != uint32(mac&0xff) {
						t.Errorf("MAC %#x with address %#x", mac, addr)
					}
				})
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
	}
	now := time.Now().UnixNano()
	r := rand.New(rand.NewPCG(1, 2))
	for range 60000 {
		mac := 0x020000000000 + r.Uint64N(20000)
		e := tab.Find(mac, uint32(mac&0xff), now)
		e.Requests.Inc()
		e.LastSeen.Set(uint64(now))
		now += int64(IdleAfter) / 2000
	}
	close(stop)
	wg.Wait()
}

func TestFindAllocatesNothing(t *testing.T) {
	tab := NewInitiators()
	mac := uint64(0x020000000000)
	if n := testing.AllocsPerRun(20000, func() { mac++; tab.Find(mac, 1, int64(mac)).Requests.Inc() }); n != 0 {
		t.Errorf("%v allocations per new initiator", n)
	}
}
