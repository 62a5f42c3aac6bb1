package sim

// event is something that happens at a moment of virtual time.
type event struct {
	at  int64
	seq uint64 // events of one moment happen in the order in which they were planned
	fn  func()
}

// queue holds the events to come: a binary heap.
type queue struct {
	h   []event
	seq uint64
}

func (q *queue) less(i, j int) bool {
	if q.h[i].at != q.h[j].at {
		return q.h[i].at < q.h[j].at
	}
	return q.h[i].seq < q.h[j].seq
}

func (q *queue) push(at int64, fn func()) {
	q.seq++
	q.h = append(q.h, event{at, q.seq, fn})
	for i := len(q.h) - 1; i > 0; {
		p := (i - 1) / 2
		if !q.less(i, p) {
			break
		}
		q.h[i], q.h[p] = q.h[p], q.h[i]
		i = p
	}
}

// next returns when the first event is due; ok is false when there is none.
func (q *queue) next() (at int64, ok bool) {
	if len(q.h) == 0 {
		return 0, false
	}
	return q.h[0].at, true
}

func (q *queue) pop() event {
	e := q.h[0]
	n := len(q.h) - 1
	q.h[0] = q.h[n]
	q.h[n] = event{}
	q.h = q.h[:n]
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			return e
		}
		if c+1 < n && q.less(c+1, c) {
			c++
		}
		if !q.less(c, i) {
			return e
		}
		q.h[i], q.h[c] = q.h[c], q.h[i]
		i = c
	}
}
