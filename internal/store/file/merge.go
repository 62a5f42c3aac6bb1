package file

import (
	"goaoe/internal/store"
)

// Requests of a client that reads or writes one thing after the other lie side by side on the disk, and come in one batch. Those that do go to the
// kernel as one operation with a list of buffers: one look-up in the page cache or one command of the disk in place of many. Each keeps its own result:
// when the one operation does not move every byte, what is left of each request is carried out on its own, so that an error meets the request whose
// sectors it concerns and no other.

const (
	// runOps is how many requests become one operation at most. More would save little, and a disk would have less to do at the same time.
	runOps = 32
	// runBytes is how much they may move: what many disks take in one command.
	runBytes = 256 << 10
)

// run is what is gathered: operations that lie side by side, in their order, linked through Op.X.Run. It is empty when head is nil.
type run struct {
	head, tail *store.Op
	end        int64 // Op.Off that the next one must have
	n, bytes   int32
	fd         int32 // where they go to
}

// takes tells whether op can be the next of the run.
func (r *run) takes(op *store.Op, fd int) bool {
	return r.head != nil && op.Off == r.end && op.Kind == r.head.Kind && op.Durable == r.head.Durable && fd == int(r.fd) &&
		r.n < runOps && int(r.bytes)+len(op.Buf) <= runBytes
}

// gather starts op, or keeps it until it is known whether what follows goes with it: until emit, in the same turn.
func (c *channel) gather(op *store.Op) {
	if op.Kind == store.Discard {
		c.x.start(c, op)
		return
	}
	fd, buf, _ := c.s.rest(op)
	r := &c.run
	if !c.s.opts.NoMerge && r.takes(op, fd) {
		r.tail.X.Run = op
		r.tail = op
		r.n++
		r.bytes += int32(len(buf))
		r.end += int64(len(buf))
		return
	}
	c.emit()
	// Field by field: a processor waits for a copy of what it has just written.
	r.head, r.tail, r.n, r.fd = op, op, 1, int32(fd)
	r.bytes, r.end = int32(len(buf)), op.Off+int64(len(buf))
	if !c.listed {
		c.listed = true
		c.x.gathering(c)
	}
}

// emit starts what is gathered.
func (c *channel) emit() {
	op := c.run.head
	if op == nil {
		return
	}
	if c.count != nil && c.run.n > 1 {
		c.count.Merged.Add(uint64(c.run.n - 1))
	}
	c.run = run{}
	c.x.start(c, op)
}

// emitAll starts what the channels of an executor have gathered, and returns the list emptied.
func emitAll(list []*channel) []*channel {
	for _, c := range list {
		c.listed = false
		c.emit()
	}
	return list[:0]
}

// split takes the result of a run: res bytes moved, from its beginning, or a negative errno. Those of which every byte was moved are done, the others are carried
// out (or finished) one by one.
func (c *channel) split(op *store.Op, res int32) {
	for left := max(int(res), 0); op != nil; {
		next := op.X.Run
		op.X.Run = nil
		if n := min(left, len(op.Buf)); n > 0 {
			left -= n
			c.complete(op, int32(n))
		} else {
			c.x.start(c, op)
		}
		op = next
	}
}
