package engine

// A new request waits for earlier ones that overlap it, and may repeat one of them. To look at all that an export holds for that takes long when there
// are many, in memory that is not in the cache. So a lane counts in a small table how many requests lie in each few sectors: where the table has nothing,
// nothing has to be looked for. Two places of the table may have the same counter; then there is a look for nothing.

const (
	placeBits    = 11
	placeCount   = 1 << placeBits
	placeShift   = 3   // a place has 8 sectors, most often one page
	placeSectors = 128 // a request of more sectors is not in the table: it has the export look at everything
)

// places counts the requests of all exports of a lane by where they lie.
type places [placeCount]uint32

// span returns the first place of the sectors [start, end) of an export and how many places they have, none for no sector. wide: they are more than the table
// takes, and have no place.
func span(id uint32, start, end uint64) (at, n uint32, wide bool) {
	if end-start-1 >= placeSectors { // no sector: the difference is below 0
		return 0, 0, end != start
	}
	first, last := start>>placeShift, (end-1)>>placeShift
	return uint32(first) + id*0x9e3779b1>>(32-placeBits), uint32(last-first) + 1, false
}

// add counts a request.
func (m *places) add(x *laneExport, s *slot) {
	at, n, wide := span(x.te.ID, s.start, s.end)
	if wide {
		x.wide++
	}
	for ; n > 0; n-- {
		m[at%placeCount]++
		at++
	}
}

// remove takes back add.
func (m *places) remove(x *laneExport, s *slot) {
	at, n, wide := span(x.te.ID, s.start, s.end)
	if wide {
		x.wide--
	}
	for ; n > 0; n-- {
		m[at%placeCount]--
		at++
	}
}

// meets tells whether a request of the export for the sectors [start, end) may overlap one that is counted. When it says no, none does.
func (m *places) meets(x *laneExport, start, end uint64) bool {
	at, n, wide := span(x.te.ID, start, end)
	if wide || x.wide > 0 {
		return true
	}
	for ; n > 0; n-- {
		if m[at%placeCount] > 0 {
			return true
		}
		at++
	}
	return false
}
