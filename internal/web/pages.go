package web

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"goaoe/aoe"
	"goaoe/internal/control"
)

// view answers GET /api/view. Parameters: q (a part of address, name, source, interface or initiator), state, sort (a column),
// dir ("asc", "desc"), page (from 1), size. The daemon's thousands of exports stay here; a page of them travels.
func (s *site) view(w http.ResponseWriter, r *http.Request) {
	v, err := s.makeView(r.Context(), r.URL.Query())
	reply(w, r, v, err)
}

func (s *site) makeView(ctx context.Context, q url.Values) (*View, error) {
	page, err := number(q, "page", 1, math.MaxInt32)
	if err != nil {
		return nil, err
	}
	size, err := number(q, "size", 50, maxPageSize)
	if err != nil {
		return nil, err
	}
	order, ok := orders[cmp.Or(q.Get("sort"), "address")]
	if !ok {
		return nil, control.Errorf(control.CodeUsage, "there is no column %.40q to sort by", q.Get("sort"))
	}
	f, err := s.samples.get(ctx)
	if err != nil {
		return nil, err
	}
	v := &View{At: millis(f.at), Every: pollEvery.Milliseconds(), Host: s.host, Writable: s.guard.writable, Status: f.status, Since: millis(f.stats.Since),
		Warnings: append([]Warning{}, f.warnings...), Interfaces: ports(f)}
	v.Totals = totals(f)
	rows := search(f, strings.ToLower(strings.TrimSpace(q.Get("q"))), q.Get("state"))
	if order != nil { // by address they come
		slices.SortStableFunc(rows, order)
	}
	if q.Get("dir") == "desc" {
		slices.Reverse(rows)
	}
	pages := max(1, (len(rows)+size-1)/size)
	page = min(page, pages)
	v.Page = Page{Number: page, Size: size, Pages: pages, Found: len(rows)}
	v.Exports = append([]Row{}, rows[min((page-1)*size, len(rows)):min(page*size, len(rows))]...)
	v.Initiators = initiators(f, "")
	if v.Peers = len(v.Initiators); v.Peers > maxPeers {
		v.Initiators = v.Initiators[:maxPeers]
	}
	return v, nil
}

// number reads a parameter from 1 to top.
func number(q url.Values, name string, or, top int) (int, error) {
	text := q.Get(name)
	if text == "" {
		return or, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > top {
		return 0, control.Errorf(control.CodeUsage, "%s: %.40q is not a number from 1 to %d", name, text, top)
	}
	return n, nil
}

// orders are the columns that exports are sorted by, ascending.
var orders = map[string]func(a, b Row) int{
	"address": nil,
	"name": func(a, b Row) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.Source, b.Source))
	},
	"source":     func(a, b Row) int { return cmp.Compare(a.Source, b.Source) },
	"state":      func(a, b Row) int { return cmp.Compare(a.State, b.State) },
	"size":       func(a, b Row) int { return cmp.Compare(a.Sectors, b.Sectors) },
	"initiators": func(a, b Row) int { return cmp.Compare(a.Users, b.Users) },
	"read":       func(a, b Row) int { return cmp.Compare(a.Now.Read, b.Now.Read) },
	"write":      func(a, b Row) int { return cmp.Compare(a.Now.Write, b.Now.Write) },
	"ops": func(a, b Row) int {
		return cmp.Compare(a.Now.ReadOps+a.Now.WriteOps, b.Now.ReadOps+b.Now.WriteOps)
	},
	"latency": func(a, b Row) int { return cmp.Compare(a.Now.P99, b.Now.P99) },
}

// search returns the rows of exports in which text occurs, in a state or any.
func search(f *sample, text, state string) []Row {
	counters := map[string]*control.ExportStats{}
	for i := range f.stats.Exports {
		counters[f.stats.Exports[i].Address] = &f.stats.Exports[i]
	}
	var out []Row
	for i := range f.exports {
		e := &f.exports[i]
		if state != "" && e.State != state || text != "" && !matches(e, text) {
			continue
		}
		out = append(out, row(f, e, counters[e.Address]))
	}
	return out
}

// matches tells whether text, in lower case, occurs in what people know an export by.
func matches(e *control.Export, text string) bool {
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	return has(e.Address) || has(e.Name) || has(e.Source) || has(e.Path) || slices.ContainsFunc(e.Served, has) ||
		slices.ContainsFunc(e.Users, func(u control.User) bool { return has(u.MAC) || has(u.Name) })
}

// row makes the row of an export; c may be nil.
func row(f *sample, e *control.Export, c *control.ExportStats) Row {
	r := Row{Address: e.Address, Name: e.Name, Source: e.Source, State: e.State, Why: e.Why, Sectors: e.Sectors, Served: e.Served, Users: len(e.Users),
		ReadOnly: e.Settings["read-only"] == "true", Unsaved: e.Unsaved, Now: f.rates.exports[e.Address]}
	if r.Served == nil {
		r.Served = []string{}
	}
	if r.Why == "" && len(e.Waiting) > 0 {
		r.Why = strings.Join(e.Waiting, "; ")
	}
	if c != nil {
		r.InFlight, r.Errors = c.InFlight, c.Errors
	}
	return r
}

func totals(f *sample) Totals {
	t := Totals{Exports: len(f.exports), States: map[string]int{}, Point: f.point}
	for i := range f.exports {
		t.States[f.exports[i].State]++
		if f.exports[i].State == control.StateServing {
			t.Sectors += f.exports[i].Sectors
		}
	}
	for i := range f.stats.Exports {
		t.InFlight += f.stats.Exports[i].InFlight
		t.Queued += f.stats.Exports[i].Queued
	}
	return t
}

func ports(f *sample) []Port {
	drops := map[string]uint64{}
	for i := range f.stats.Interfaces {
		drops[f.stats.Interfaces[i].Name] = f.stats.Interfaces[i].KernelDrops
	}
	out := []Port{}
	for _, i := range f.interfaces {
		p := f.rates.interfaces[i.Name]
		p.Interface, p.Dropped = i, drops[i.Name]
		out = append(out, p)
	}
	return out
}

// initiators sums what each initiator does, on one export or on all. The busiest come first, then who was heard last.
func initiators(f *sample, export string) []Peer {
	by := map[string]*Peer{}
	for i := range f.stats.Initiators {
		p := &f.stats.Initiators[i]
		if export != "" && p.Export != export {
			continue
		}
		x := by[p.MAC]
		if x == nil {
			x = &Peer{MAC: p.MAC, Exports: []string{}}
			by[p.MAC] = x
		}
		if x.Name == "" {
			x.Name = p.Name
		}
		if at := millis(p.LastSeen); at >= x.LastSeen {
			x.LastSeen, x.Interface = at, cmp.Or(p.Interface, x.Interface)
		}
		if len(x.Exports) < maxPeerExports {
			x.Exports = append(x.Exports, p.Export)
		} else {
			x.More++
		}
		now := f.rates.initiators[[2]string{p.MAC, p.Export}]
		x.Read += now.Read
		x.Write += now.Write
		x.Ops += now.Ops
		x.Requests += p.Requests
		x.Retransmits += p.Retransmits
		x.Denied += p.Denied
		x.Errors += p.Errors
	}
	out := make([]Peer, 0, len(by))
	for _, p := range by {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(b.Read+b.Write, a.Read+a.Write), cmp.Compare(b.LastSeen, a.LastSeen), cmp.Compare(a.MAC, b.MAC))
	})
	return out
}

// history answers GET /api/history. Parameters: since (Unix milliseconds), export (an address; none: everything).
func (s *site) history(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	since, err := strconv.ParseInt(cmp.Or(q.Get("since"), "0"), 10, 64)
	if err != nil {
		fail(w, http.StatusBadRequest, control.Errorf(control.CodeUsage, "since: %.40q is not a time in milliseconds", q.Get("since")))
		return
	}
	if _, err := s.samples.get(r.Context()); err != nil {
		reply(w, r, nil, err)
		return
	}
	reply(w, r, map[string][]Point{"points": s.samples.past(q.Get("export"), since)}, nil)
}

// export answers GET /api/exports/ADDRESS.
func (s *site) export(w http.ResponseWriter, r *http.Request) {
	d, err := s.detail(r.Context(), r.PathValue("address"))
	reply(w, r, d, err)
}

func (s *site) detail(ctx context.Context, address string) (*Detail, error) {
	a, err := aoe.ParseAddr(address)
	if err != nil {
		return nil, control.Errorf(control.CodeUsage, "%.40q is not an address", address)
	}
	f, err := s.samples.get(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(f.exports, func(e control.Export) bool { return e.Address == a.String() })
	if i < 0 {
		return nil, control.Errorf(control.CodeNotFound, "there is no export %v", a)
	}
	d := &Detail{Export: f.exports[i], Peers: initiators(f, a.String()), Counts: []Count{}, History: s.samples.past(a.String(), 0)}
	var c *control.ExportStats
	if j := slices.IndexFunc(f.stats.Exports, func(e control.ExportStats) bool { return e.Address == a.String() }); j >= 0 {
		c = &f.stats.Exports[j]
		d.Queue = [3]uint64{c.InFlight, c.Queued, c.Limit}
		d.Counts = counts(c)
	}
	d.Row = row(f, &f.exports[i], c)
	return d, nil
}

// counts puts the counters of an export in words: the first always, the others when there is something to tell.
func counts(c *control.ExportStats) []Count {
	out := []Count{{"Read", c.ReadBytes, true}, {"Written", c.WriteBytes, true}, {"Reads", c.Reads, false}, {"Writes", c.Writes, false}}
	for _, x := range []Count{
		{"Flushes", c.Flushes, false},
		{"Discards", c.Discards, false},
		{"Errors of the disk", c.Errors, false},
		{"Requests refused", c.Rejects, false},
		{"Requests seen again", c.Retransmits, false},
		{"Requests that waited for room", c.Stalls, false},
		{"Requests that waited for an earlier one", c.Waits, false},
		{"Requests that waited for their initiator's limit", c.Limited, false},
	} {
		if x.N > 0 {
			out = append(out, x)
		}
	}
	var dropped uint64
	for _, n := range c.Drops {
		dropped += n
	}
	if dropped > 0 {
		out = append(out, Count{"Requests without an answer", dropped, false})
	}
	return out
}
