package sim

// Deliberately broken variants of the real code, each of which the simulator must find within a stated number of seeds.
//
// How the code is broken: not at all in the source. The table below has edits; the test writes copies of the files with all of them, each
// switched by a name in the environment, and builds this package once more with them laid over the source (go test -overlay). So the
// program that is shipped has neither the switches nor a build tag that could put them there, and nothing to measure. An edit whose
// place in the source is gone makes the test fail: then the edit follows the source.

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// broken is a variant: its name, what is wrong with it, and within how many seeds it must be found.
type broken struct {
	name, what string
	seeds      int
}

var variants = []broken{
	{"order", "overlapping requests run together", 200},
	{"order-read", "a read does not wait for the write before it", 200},
	{"order-write", "a write does not wait for the read before it", 400},
	{"order-retire", "the end of one request lets all that wait run", 400},
	{"merge", "frames of two interfaces run as they are found, not as they came", 3000},
	{"stale", "a write that arrived before a newer one of another interface is carried out after it", 3000},
	{"durable", "writes are answered before they are on stable storage", 100},
	{"fua", "FUA writes are not durable with the write cache on", 3000},
	{"flush", "a flush is answered and does nothing", 2000},
	{"flush-error", "a flush that failed is answered as done", 6000},
	{"cache-off", "the write cache is switched off without a flush", 3000},
	{"cache-on", "the write cache is switched on although the user did not allow it", 3000},
	{"bound", "the end of the export is checked one sector too late", 400},
	{"bound-count", "only the first sector of a request is checked against the end", 400},
	{"bound-28", "addresses beyond 28 bits are cut to 28 bits", 3000},
	{"bound-trim", "the ranges of a discard are not checked against the end", 3000},
	{"payload", "the count is not checked against the length of the frame", 400},
	{"reply-size", "a read may ask for more than the interface can carry", 400},
	{"early-free", "a slot is free before its reply was sent: replies carry other data", 3000},
	{"view-order", "a read out of memory is not in the order until it was sent", 2000},
	{"read-error", "a read that failed is answered as if it had not", 400},
	{"write-error", "a write that failed in the middle is answered as done", 6000},
	{"lost-completion", "of two operations that end together one is forgotten", 400},
	{"lost-ready", "a request that waited for a place on the storage is forgotten", 400},
	{"slot-leak", "a reply that could not be sent keeps its slot", 1000},
	{"slot-leak-stale", "a request that waited for too long keeps its slot", 3000},
	{"queue-length", "more operations are on the storage than the queue length allows", 400},
	{"repetition-data", "a write is taken for a repetition whatever its data", 1000},
	{"repetition-who", "a request is taken for a repetition of another initiator's", 3000},
	{"repetition-count", "a request is taken for a repetition whatever its count", 1000},
	{"tag", "the reply has the tag of the slot's last request", 100},
	{"place-last", "the table of where requests lie leaves their last sectors out", 3000},
	{"place-wide", "the table of where requests lie leaves out those that are too large for it", 3000},
	{"interface", "replies leave by the first interface", 200},
	{"mac", "replies to a repetition go to where the first came from", 3000},
	{"padding", "replies are not padded", 100},
	{"read-only", "read-only is ignored", 1000},
	{"read-only-trim", "a read-only export can be trimmed", 8000},
	{"reserve", "reservations are ignored", 1000},
	{"mask", "the MAC mask list is ignored", 1000},
	{"access", "access lists are ignored", 2000},
	{"wildcard", "reads and writes to a wildcard address are carried out", 1000},
	{"response", "replies of others are taken for requests", 3000},
	{"state-early", "a config string is in force before it is durable", 1000},
	{"state-error", "a config string that could not be saved is answered as set", 1000},
	{"config-set", "a config string that is set can be set again without force", 1000},
	{"discard-range", "a discard takes one sector too many", 3000},
	{"discard-order", "a discard does not wait for what came before it", 3000},
	{"drain", "an export is removed while requests are on its storage", 1000},
	{"sync-none", "the file store does not sync durable writes", 400},
	{"sync-early", "a sync counts for writes that ended after it had begun", 2000},
	{"sync-error", "a sync that failed counts as done", 3000},
	{"sync-once", "a flush after one that failed succeeds", 6000},
	{"sync-below", "a sync that succeeds counts for writes whose first part a sync that failed before it may have lost", 12000},
	{"sync-forgotten", "writes that end while a sync runs are not covered by the next", 400},
	{"sync-memory", "a sync for which there was no memory counts as done", 1000},
	{"memory", "what there was no memory for is answered as an error of the disk", 400},
	{"sync-each", "writes that are synced one by one are not", 1000},
	{"flush-early", "the file store answers a flush at once", 3000},
	{"short-transfer", "a transfer that ended early counts as whole", 400},
	{"short-place", "the rest of a transfer that ended early goes to its beginning", 400},
	{"lent-begins", "a write that has to wait is carried out with what is in the receive ring by then", 400},
	{"lent-early", "frames are given back before what lies in them was written", 400},
	{"lent-kept", "the file store hands data to the disk that was only lent to it", 400},
	{"merged-short", "of requests that the disk carries out as one all count as done when some are", 1000},
	{"merged-lost", "of requests that the disk carries out as one only the first ends", 400},
	{"merged-apart", "requests become one that do not lie side by side", 400},
	{"interrupted", "a transfer that was interrupted counts as failed", 400},
	{"limit-none", "limits of initiators are ignored", 1000},
	{"limit-waits", "what has waited for its limit is not counted against it", 1000},
	{"limit-saved", "who was idle may use at once what it did not use", 3000},
	{"limit-forgotten", "those that have waited for their limit once are not looked at again", 1000},
	{"limit-asleep", "the lane does not wake for those that wait for their limits", 1000},
	{"limit-removed", "an export that is removed waits for limits, and its requests for ever", 3000},
	{"silent-drop", "a request that finds no slot is dropped without being counted", 1000},
}

// edit is a change to a file of the module, by text that is there exactly once.
type edit struct{ file, old, new string }

var edits = []edit{
	{"internal/engine/order.go", "	return (a.write || b.write) && a.start < b.end && b.start < a.end\n",
		`	if stats.Broken("order") || stats.Broken("order-read") && !(a.write && b.write) {
		return false
	}
	return (a.write || b.write) && a.start < b.end && b.start < a.end
`},
	{"internal/engine/map.go", "	for ; n > 0; n-- {\n		m[at%placeCount]++\n", "	if stats.Broken(\"place-last\") && n > 1 {\n		n--\n	}\n	for ; n > 0; n-- {\n		m[at%placeCount]++\n"},
	{"internal/engine/map.go", "	if wide || x.wide > 0 {\n", "	if (wide || x.wide > 0) && !stats.Broken(\"place-wide\") {\n"},
	{"internal/engine/map.go", "package engine\n", "package engine\n\nimport \"goaoe/internal/stats\"\n"},
	{"internal/engine/order.go", "			if overlaps(o, s) {\n", "			if overlaps(o, s) && !(stats.Broken(\"order-write\") && s.write && !o.write) {\n"},
	{"internal/engine/order.go", "			if o.blockers > 0 && overlaps(s, o) {\n				if o.blockers--; o.blockers == 0 {\n",
		`			if o.blockers > 0 && (overlaps(s, o) || stats.Broken("order-retire")) {
				if o.blockers--; o.blockers == 0 || stats.Broken("order-retire") {
					o.blockers = 0
`},
	{"internal/engine/lane.go", "q.frames[q.cur].Time < p.frames[p.cur].Time", "q.frames[q.cur].Time < p.frames[p.cur].Time && !stats.Broken(\"merge\")"},
	{"internal/engine/io.go", "len(l.ports) > 1 && x.log.overtaken(f, p, start, end, l.now)", "len(l.ports) > 1 && !stats.Broken(\"stale\") && x.log.overtaken(f, p, start, end, l.now)"},
	{"internal/engine/io.go", "op.Durable, op.Len = s.io.Durable, 0\n", "op.Durable, op.Len = s.io.Durable && !stats.Broken(\"durable\"), 0\n"},
	{"internal/target/ata.go", "act.IO.Kind, act.IO.Durable = IOWrite, r.op.FUA || !e.has(flagWriteCache)", "act.IO.Kind, act.IO.Durable = IOWrite, r.op.FUA && !stats.Broken(\"fua\") || !e.has(flagWriteCache)"},
	{"internal/target/ata.go", "if e.cfg.ReadOnly { // nothing was ever written", "if e.cfg.ReadOnly || stats.Broken(\"flush\") {"},
	{"internal/target/ata.go", "if e.has(flagCacheAllowed) && !e.cfg.ReadOnly {", "if e.has(flagCacheAllowed) && !e.cfg.ReadOnly && !stats.Broken(\"cache-off\") {"},
	{"internal/target/ata.go", "if !e.has(flagCacheAllowed) {", "if !e.has(flagCacheAllowed) && !stats.Broken(\"cache-on\") {"},
	{"internal/target/ata.go", "	if !ok || !ata.InRange(lba, uint64(count), e.sectors.Load()) {\n",
		`	size, n := e.sectors.Load(), uint64(count)
	if stats.Broken("bound") {
		size++
	}
	if stats.Broken("bound-count") {
		n = 1
	}
	if stats.Broken("bound-28") && !ok {
		lba, ok = lba&0x0fffffff, true
	}
	if !ok || !ata.InRange(lba, n, size) {
`},
	{"internal/target/ata.go", "	if !ata.TrimInRange(r.data[:ata.SectorSize], e.sectors.Load()) {\n", "	if !stats.Broken(\"bound-trim\") && !ata.TrimInRange(r.data[:ata.SectorSize], e.sectors.Load()) {\n"},
	{"internal/target/ata.go", "if r.op.Class == ata.Write && len(r.data) < count*ata.SectorSize {", "if r.op.Class == ata.Write && len(r.data) < count*ata.SectorSize && !stats.Broken(\"payload\") {"},
	{"internal/target/ata.go", "if r.op.Class != ata.Verify && count > aoe.PhysicalSectors(in.MTU) {", "if r.op.Class != ata.Verify && count > aoe.PhysicalSectors(in.MTU) && !stats.Broken(\"reply-size\") {"},
	{"internal/target/ata.go", "	if req.Addr.Wild() { // one broadcast", "	if req.Addr.Wild() && !stats.Broken(\"wildcard\") { // one broadcast"},
	{"internal/target/ata.go", "		if e.has(flagReadOnly) {\n", "		if e.has(flagReadOnly) && !stats.Broken(\"read-only\") && !(stats.Broken(\"read-only-trim\") && r.op.Class == ata.DataSet) {\n"},
	{"internal/engine/tx.go", "	p.owner[p.n] = s\n	p.n++\n	return true\n",
		`	p.owner[p.n] = s
	if stats.Broken("early-free") && s.state == slotReply {
		p.owner[p.n], p.plain[p.n] = nil, plain{s.exp.te, s.at}
		l.slots.put(s)
	}
	p.n++
	return true
`},
	{"internal/engine/io.go", "	l.count(s)\n	if !l.queueSlot(s, s.buf[:h], v[:d]) {\n",
		`	l.count(s)
	if stats.Broken("view-order") {
		x := s.exp
		s.state = slotReply
		x.retire(s)
		if !x.pumping && (x.fair.any() || x.closing) {
			x.pumping = true
			x.pumpNext, l.pumpList = l.pumpList, x
		}
	}
	if !l.queueSlot(s, s.buf[:h], v[:d]) {
`},
	{"internal/engine/io.go", "	res := result(s.op.Errno)\n",
		`	res := result(s.op.Errno)
	if stats.Broken("read-error") && s.io.Kind == target.IORead || stats.Broken("flush-error") && s.io.Kind == target.IOFlush ||
		stats.Broken("write-error") && s.io.Kind == target.IOWrite && s.op.Done > 0 {
		res = target.OK
	}
`},
	{"internal/engine/io.go", "			for _, op := range l.done[:n] {\n", "			for i, op := range l.done[:n] {\n				if i == 1 && stats.Broken(\"lost-completion\") {\n					continue\n				}\n"},
	{"internal/engine/io.go", "		x.te.Stats.Stalls.Inc()\n", "		if x.te.Stats.Stalls.Inc(); stats.Broken(\"lost-ready\") && x.queued > 0 {\n			s.state = slotReady\n			return\n		}\n"},
	{"internal/engine/tx.go", "	p.st.Drops[stats.DropSend].Inc()\n	if s != nil {\n		s.ini.Drops.Inc()\n		l.release(s)\n	}\n}\n",
		"	p.st.Drops[stats.DropSend].Inc()\n	if s != nil && !stats.Broken(\"slot-leak\") {\n		s.ini.Drops.Inc()\n		l.release(s)\n	}\n}\n"},
	{"internal/engine/io.go", "			x.retire(s)\n			l.slots.put(s)\n			continue\n", "			x.retire(s)\n			if !stats.Broken(\"slot-leak-stale\") {\n				l.slots.put(s)\n			}\n			continue\n"},
	{"internal/engine/io.go", "	if x.onStore >= x.queue {\n", "	if x.onStore >= x.queue && !stats.Broken(\"queue-length\") {\n"},
	{"internal/engine/order.go", "if n := payloadLen(spec); n > 0 {", "if n := payloadLen(spec); n > 0 && !stats.Broken(\"repetition-data\") {"},
	{"internal/engine/io.go", "		copy(s.op.Spare, data)\n", "		if !stats.Broken(\"lent-begins\") {\n			copy(s.op.Spare, data)\n		}\n"},
	{"internal/engine/lane.go", "	for _, x := range l.set.Executors() {\n		x.Flush()\n	}\n	l.giveBack()\n", "	if stats.Broken(\"lent-early\") {\n		l.giveBack()\n	}\n	for _, x := range l.set.Executors() {\n		x.Flush()\n	}\n	l.giveBack()\n"},
	{"internal/store/file/channel.go", "		if op.Spare != nil {\n", "		if op.Spare != nil && !stats.Broken(\"lent-kept\") {\n"},
	{"internal/engine/order.go", "o.io.LBA != spec.LBA || o.io.Count != spec.Count ||", "o.io.LBA != spec.LBA || o.io.Count != spec.Count && !(stats.Broken(\"repetition-count\") && o.io.Count > spec.Count) ||"},
	{"internal/engine/order.go", "		if !bytes.Equal(o.req[6:12], frame[6:12]) || !bytes.Equal(o.req[24:reqHeader], frame[24:reqHeader]) {\n",
		"		if !bytes.Equal(o.req[6:12], frame[6:12]) && !stats.Broken(\"repetition-who\") || !bytes.Equal(o.req[24:reqHeader], frame[24:reqHeader]) && !stats.Broken(\"repetition-count\") {\n"},
	{"internal/engine/io.go", "	copy(s.req, f.Data[:reqHeader])\n	data, lend",
		"	old4 := [4]byte(s.req[20:24])\n	copy(s.req, f.Data[:reqHeader])\n	if stats.Broken(\"tag\") && old4 != [4]byte{} {\n		copy(s.req[20:], old4[:])\n	}\n	data, lend"},
	{"internal/engine/io.go", "	s.port, s.io, s.time, s.at = p, spec,", "	if stats.Broken(\"interface\") {\n		p = l.ports[0]\n	}\n	s.port, s.io, s.time, s.at = p, spec,"},
	{"internal/engine/io.go", "				o.port, o.time = p, f.Time\n", "				if o.time = f.Time; !stats.Broken(\"mac\") {\n					o.port = p\n				}\n"},
	{"internal/target/finish.go", "	return aoe.Pad(hdr, aoe.ATALen), 0\n", "	if stats.Broken(\"padding\") {\n		return aoe.ATALen, 0\n	}\n	return aoe.Pad(hdr, aoe.ATALen), 0\n"},
	{"internal/target/finish.go", "import (\n", "import (\n	\"goaoe/internal/stats\"\n"},
	{"internal/target/reserve.go", "	return len(st.Reserve) > 0 &&", "	return len(st.Reserve) > 0 && !stats.Broken(\"reserve\") &&"},
	{"internal/target/handle.go", "if len(st.Mask) > 0 && !slices", "if len(st.Mask) > 0 && !stats.Broken(\"mask\") && !slices"},
	{"internal/target/acl.go", "	if a.Allows(m) {\n", "	if stats.Broken(\"access\") || a.Allows(m) {\n"},
	{"internal/target/filter.go", "	if h.Flags&aoe.FlagResponse != 0 {\n", "	if h.Flags&aoe.FlagResponse != 0 && !stats.Broken(\"response\") {\n"},
	{"internal/target/handle.go", "	if persist(s) != nil {\n		return false\n	}\n",
		`	if stats.Broken("state-early") {
		old := e.state.Load()
		if e.state.Store(s); persist(s) != nil {
			e.state.Store(old)
			return false
		}
		return true
	}
	if persist(s) != nil {
		return stats.Broken("state-error")
	}
`},
	{"internal/target/config.go", "if c.Op == aoe.ConfigSetOp && len(st.Config) > 0 && !same {", "if c.Op == aoe.ConfigSetOp && len(st.Config) > 0 && !same && !stats.Broken(\"config-set\") {"},
	{"internal/engine/io.go", "			s.op.Kind, s.op.Off, s.op.Len = store.Discard,", "			if stats.Broken(\"discard-range\") && lba > 0 {\n				lba, n = lba-1, n+1\n			}\n			s.op.Kind, s.op.Off, s.op.Len = store.Discard,"},
	{"internal/engine/io.go", "		start, end, write = 0, math.MaxUint64, true\n", "		start, end, write = 0, math.MaxUint64, true\n		if stats.Broken(\"discard-order\") {\n			start, end = 0, 0\n		}\n"},
	{"internal/engine/manage.go", "	if !x.closing || x.held > 0 {\n", "	if !x.closing || x.held > 0 && !stats.Broken(\"drain\") {\n"},
	{"internal/engine/manage.go", "import (\n", "import (\n	\"goaoe/internal/stats\"\n"},
	{"internal/store/file/channel.go", "		if op.Errno == 0 {\n			c.wait(op)\n", "		if op.Errno == 0 && !stats.Broken(\"sync-none\") {\n			c.wait(op)\n"},
	{"internal/store/file/channel.go", "	c.syncing = false\n	switch e {\n", `	c.syncing = false
	if stats.Broken("sync-early") {
		c.covered.append(&c.waiting)
		c.nWaiting, c.nFlush = 0, 0
	}
	if stats.Broken("sync-error") || stats.Broken("sync-memory") && e == unix.ECANCELED {
		e = 0
	}
	switch e {
`},
	{"internal/store/file/channel.go", "op.Kind == store.Write && e == 0 && op.X.Gen != c.fails {", "op.Kind == store.Write && e == 0 && op.X.Gen != c.fails && !stats.Broken(\"sync-below\") {"},
	{"internal/store/file/channel.go", "	if e != 0 && e != notRun {\n", "	if e != 0 && e != notRun && !stats.Broken(\"sync-once\") {\n"},
	{"internal/store/file/channel.go", "	if c.nWaiting > 0 && !c.marked {\n", "	if c.nWaiting > 0 && !c.marked && !stats.Broken(\"sync-forgotten\") {\n"},
	{"internal/engine/io.go", "	if s.op.Errno == unix.ENOMEM {\n", "	if s.op.Errno == unix.ENOMEM && !stats.Broken(\"memory\") {\n"},
	{"internal/store/file/stepped.go", "op.Durable && c.s.each, done", "op.Durable && c.s.each && !stats.Broken(\"sync-each\"), done"},
	{"internal/store/file/stepped.go", "import (\n", "import (\n	\"goaoe/internal/stats\"\n"},
	{"internal/store/file/channel.go", "		if c.s.opts.ReadOnly {\n", "		if c.s.opts.ReadOnly || stats.Broken(\"flush-early\") {\n"},
	{"internal/store/file/channel.go", "		if op.X.N < len(op.Buf) {\n", "		if op.X.N < len(op.Buf) && !stats.Broken(\"short-transfer\") {\n"},
	{"internal/store/file/channel.go", "	off = s.opts.Offset + op.Off + int64(op.X.N)\n", "	off = s.opts.Offset + op.Off + int64(op.X.N)\n	if stats.Broken(\"short-place\") {\n		off = s.opts.Offset + op.Off\n	}\n"},
	{"internal/store/file/channel.go", "	case res == -int32(unix.EINTR) || res == -int32(unix.EAGAIN):\n", "	case (res == -int32(unix.EINTR) || res == -int32(unix.EAGAIN)) && !stats.Broken(\"interrupted\"):\n"},
	{"internal/store/file/merge.go", "		if n := min(left, len(op.Buf)); n > 0 {\n", "		n := min(left, len(op.Buf))\n		if stats.Broken(\"merged-short\") && res > 0 {\n			n = len(op.Buf)\n		}\n		if n > 0 {\n"},
	{"internal/store/file/merge.go", "		op = next\n", "		if op = next; stats.Broken(\"merged-lost\") {\n			return\n		}\n"},
	{"internal/store/file/merge.go", "op.Off == r.end && ", "(op.Off == r.end || stats.Broken(\"merged-apart\")) && "},
	{"internal/store/file/merge.go", "op.Durable == r.head.Durable && ", "(op.Durable == r.head.Durable || stats.Broken(\"merged-kinds\")) && "},
	{"internal/store/file/merge.go", "import (\n", "import (\n	\"goaoe/internal/stats\"\n"},
	{"internal/engine/limit.go", "	if s.passed || l.stopping {\n", "	if s.passed || l.stopping || stats.Broken(\"limit-none\") {\n"},
	{"internal/engine/limit.go", "!stale && !all && !b.take(l.mono, s.bytes())", "!stale && !all && !(stats.Broken(\"limit-waits\") && b.due(s.bytes()) <= l.mono) && !b.take(l.mono, s.bytes())"},
	{"internal/engine/limit.go", "		b.ops = max(b.ops, now) + b.perOp\n", "		if b.ops < now && !stats.Broken(\"limit-saved\") {\n			b.ops = now\n		}\n		b.ops += b.perOp\n"},
	{"internal/engine/limit.go", "		next = min(next, b.due(b.first.bytes()))\n", "		next = min(next, b.due(b.first.bytes()))\n		if stats.Broken(\"limit-forgotten\") {\n			continue\n		}\n"},
	{"internal/engine/limit.go", "	if l.ended || l.limited == nil {\n", "	if l.ended || l.limited == nil || stats.Broken(\"limit-asleep\") {\n"},
	{"internal/engine/manage.go", "	l.setLimits(le, nil) //", "	if stats.Broken(\"limit-removed\") {\n		le.limits, l.limited = nil, nil\n		return\n	}\n	l.setLimits(le, nil) //"},
	{"internal/engine/io.go", "		l.drop(p, x, stats.DropFull)\n", "		if !stats.Broken(\"silent-drop\") {\n			l.drop(p, x, stats.DropFull)\n		}\n"},
}

const brokenGo = `package stats

import "os"

var broken = os.Getenv("GOAOE_BROKEN")

// Broken tells whether a deliberately broken variant is wanted. It is not part of the source: see internal/sim.
func Broken(variant string) bool { return broken == variant }
`

// buildBroken builds this package's tests with all edits laid over the source, and returns the program.
func buildBroken(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text := map[string]string{}
	for _, e := range edits {
		if _, ok := text[e.file]; !ok {
			b, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				t.Fatal(err)
			}
			text[e.file] = string(b)
		}
		if n := strings.Count(text[e.file], e.old); n != 1 {
			t.Fatalf("%s has this %d times; the edit must follow the source:\n%s", e.file, n, e.old)
		}
		text[e.file] = strings.Replace(text[e.file], e.old, e.new, 1)
	}
	text["internal/stats/broken.go"] = brokenGo
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	all := ""
	for name, s := range text {
		path := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(root, name)] = path
		all += s
	}
	for _, v := range variants {
		if !strings.Contains(all, "Broken(\""+v.name+"\")") {
			t.Errorf("no edit makes the variant %s", v.name)
		}
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list, prog := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "broken.test")
	if err := os.WriteFile(list, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "test", "-c", "-overlay", list, "-o", prog, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the broken variants: %v\n%s", err, out)
	}
	return prog
}

var found = regexp.MustCompile(`seed (\d+), after [^:]*: (.*)`)

// TestVariants: every broken variant is found, and the same program without one is not taken for broken.
func TestVariants(t *testing.T) {
	prog := buildBroken(t)
	try := func(variant string, seeds int) (seed int, what string) {
		cmd := exec.Command(prog, "-test.run", "^TestSeeds$", "-sim.shrink=false", "-sim.seeds", strconv.Itoa(seeds))
		cmd.Env = append(os.Environ(), "GOAOE_BROKEN="+variant, "GOAOE_EVIDENCE=", "GOMAXPROCS=1")
		out, err := cmd.CombinedOutput()
		m := found.FindStringSubmatch(string(out))
		switch {
		case err == nil:
			return 0, ""
		case m == nil:
			t.Fatalf("%s: %v\n%s", variant, err, out)
		}
		seed, err = strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		return seed, m[2]
	}
	t.Run("shrunk", func(t *testing.T) { shrunk(t, prog) })
	if seed, what := try("", 200); seed != 0 {
		t.Fatalf("without any variant: seed %d: %s", seed, what)
	}
	var caught []map[string]any
	var mu sync.Mutex
	var group sync.WaitGroup
	limit := make(chan struct{}, 2)
	for _, v := range variants {
		limit <- struct{}{}
		group.Add(1)
		go func() {
			defer group.Done()
			seed, what := try(v.name, v.seeds)
			<-limit
			mu.Lock()
			defer mu.Unlock()
			if seed == 0 {
				t.Errorf("%s (%s): not found within %d seeds", v.name, v.what, v.seeds)
				return
			}
			caught = append(caught, map[string]any{"name": v.name, "what": v.what, "seed": seed, "within": v.seeds})
			t.Logf("%-17s seed %4d of %4d: %s", v.name, seed, v.seeds, fmt.Sprintf("%.150s", what))
		}()
	}
	group.Wait()
	slices.SortFunc(caught, func(a, b map[string]any) int { return strings.Compare(a["name"].(string), b["name"].(string)) })
	evidence(t, "variants", caught)
}

var shrunkTo = regexp.MustCompile(`(?s)shrunk in \d+ runs: seed \d+, after \S+: ([^\n]*)\n\s+again: go test ./internal/sim (-run TestReplay -v [^\n]*)\n(.*?)\nFAIL`)

// shrunk checks what a failing run prints: a short trace, and a command that gives the same failure each time.
func shrunk(t *testing.T, prog string) {
	call := func(args ...string) string {
		cmd := exec.Command(prog, args...)
		cmd.Env = append(os.Environ(), "GOAOE_BROKEN=order", "GOAOE_EVIDENCE=")
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Fatalf("%v: nothing was found", args)
		}
		return string(out)
	}
	out := call("-test.run", "^TestSeeds$", "-sim.seeds=200")
	m := shrunkTo.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no shrunk run in the output:\n%s", out)
	}
	if lines := strings.Count(m[3], "\n"); lines < 3 || lines > 90 {
		t.Errorf("the trace has %d lines", lines)
	}
	args := strings.Fields(strings.ReplaceAll(m[2], "-run", "-test.run"))
	args[slices.Index(args, "-v")] = "-test.v"
	for range 2 {
		if out := call(args...); !strings.Contains(out, m[1]) {
			t.Errorf("%v does not give %q again:\n%s", args, m[1], out)
		}
	}
}
