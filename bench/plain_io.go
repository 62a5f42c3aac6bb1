package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link"
	"goaoe/internal/sys"
)

// syncTag is what an fdatasync carries in the ring in place of the number of a slot.
const syncTag = plainSlots

// plainSyncs are the writes that wait for an fdatasync. It is for loops with -sync but without -each.
type plainSyncs struct {
	wrote   []int32 // done; the next sync covers them
	covered []int32 // the sync that runs does
	running bool
	writes  int // not done
}

// turn takes what has come, starts it, ends what is done, and answers.
func (p *plainLoop) turn() error {
	for _, q := range p.ports {
		if !q.l.Pending() {
			continue
		}
		n := q.l.Recv(q.frames[:min(len(q.frames), len(p.free))])
		for i := range q.frames[:n] {
			if err := p.take(q, q.frames[i].Data); err != nil {
				return err
			}
		}
		if n > 0 {
			q.l.Release()
			p.acts = true
		}
	}
	if err := p.finish(); err != nil {
		return err
	}
	for _, q := range p.ports {
		if q.out < q.n {
			if err := p.send(q); err != nil {
				return err
			}
		}
	}
	return nil
}

// take acts on a frame.
func (p *plainLoop) take(q *plainPort, f []byte) error {
	if len(f) < aoe.HeaderLen || f[14]&aoe.FlagResponse != 0 {
		return nil
	}
	major, minor := binary.BigEndian.Uint16(f[16:]), f[18]
	file := int(major)*250 + int(minor) - p.first // see addr
	if file < 0 || file >= len(p.files) || minor >= 250 {
		if major != aoe.WildMajor || minor != aoe.WildMinor || f[19] != byte(aoe.CmdConfig) {
			return nil
		}
		file = 0 // whoever looks for targets finds the first export
	}
	i := p.free[len(p.free)-1]
	s := &p.slots[i]
	h := s.buf[:aoe.ATALen]
	copy(h, f) // what is there: a query may be shorter
	copy(h, f[6:12])
	copy(h[6:], q.mac[:])
	h[14] |= aoe.FlagResponse
	s.port, s.n, s.write = q, 0, false
	if h[19] != byte(aoe.CmdATA) {
		p.introduce(s.buf[:aoe.MinFrame], file, q.limit)
		p.free = p.free[:len(p.free)-1]
		p.answer(i)
		return nil
	}
	if len(f) < aoe.ATALen {
		return nil
	}
	op, n := h[27], int(h[26])*aoe.SectorSize
	at := int64(uint64(h[28])|uint64(h[29])<<8|uint64(h[30])<<16|uint64(h[31])<<24|uint64(h[32])<<32|uint64(h[33])<<40) * aoe.SectorSize
	h[25], h[27] = 0, 0x40 // the registers Error and Status
	s.write = op == ata.OpWriteExt
	switch {
	case op == ata.OpIdentify:
		s.n = copy(s.buf[aoe.ATALen:], p.id[:])
		p.free = p.free[:len(p.free)-1]
		p.answer(i)
		return nil
	case !s.write && op != ata.OpReadExt, n == 0 || n > q.limit || n > plainMost, at > p.size-int64(n), s.write && len(f) < aoe.ATALen+n:
		return nil // whoever asks for this measures nothing
	}
	p.free = p.free[:len(p.free)-1]
	if s.want = n; !s.write {
		s.n = n
	}
	data := s.buf[aoe.ATALen : aoe.ATALen+n]
	if p.how == byCall {
		return p.call(i, p.files[file].fd, data, f, at)
	}
	if p.ring.Queued() == p.ring.Size() {
		if e := p.ring.Enter(); e != 0 {
			return fmt.Errorf("io_uring: %w", e)
		}
	}
	if !s.write {
		p.ring.Read(p.files[file].ring, data, at, uint64(i))
		return nil
	}
	copy(data, f[aoe.ATALen:])
	flags := uint32(0)
	if p.each {
		flags = unix.RWF_DSYNC
	} else {
		p.writes++
	}
	p.ring.Write(p.files[file].ring, data, at, flags, uint64(i))
	return nil
}

// introduce makes b, which begins with the head of an answer, what an initiator looks for: a target that takes 64 requests at a time, each of as much as a frame holds.
func (p *plainLoop) introduce(b []byte, file, limit int) {
	a := addr(file + p.first)
	binary.BigEndian.PutUint16(b[16:], a.Major)
	b[18] = a.Minor
	clear(b[aoe.HeaderLen:])
	_, _ = (&aoe.Config{BufferCount: 64, Sectors: uint8(min(limit, plainMost) / aoe.SectorSize), Version: aoe.Version}).Encode(b) // it fits
}

// call does a transfer at once. What is written goes from the receive ring to the file.
func (p *plainLoop) call(i int32, fd int, data, f []byte, at int64) error {
	s := &p.slots[i]
	if s.write {
		if n := sys.Pwrite(fd, f[aoe.ATALen:aoe.ATALen+len(data)], at); int(n) != len(data) {
			return fmt.Errorf("pwrite of %d bytes at %d: %d", len(data), at, n)
		}
		clear(s.buf[aoe.ATALen:aoe.MinFrame])
		if p.sync {
			p.wrote = append(p.wrote, i)
			return nil
		}
		p.answer(i)
		return nil
	}
	n, e := p.now.Now(fd, data, at)
	if e != 0 || n != len(data) { // not all of it is in the page cache
		switch n, err := unix.Pread(fd, data, at); {
		case err != nil:
			return fmt.Errorf("pread of %d bytes at %d: %w", len(data), at, err)
		case n != len(data):
			return fmt.Errorf("pread of %d bytes at %d: %d", len(data), at, n)
		}
	}
	p.answer(i)
	return nil
}

// finish hands over what is queued, and takes what is done.
func (p *plainLoop) finish() error {
	if p.ring == nil {
		return nil
	}
	if err := p.enter(); err != nil {
		return err
	}
	for {
		tag, res, ok := p.ring.Next()
		if !ok {
			break
		}
		p.acts = true
		if tag == syncTag {
			if res != 0 {
				return fmt.Errorf("fdatasync: %w", unix.Errno(-res))
			}
			p.running = false
			p.answerAll(&p.covered)
			continue
		}
		i := int32(tag)
		s := &p.slots[i]
		if int(res) != s.want {
			return fmt.Errorf("a transfer of %d bytes (write: %v): %d", s.want, s.write, res)
		}
		if s.write {
			if !p.each {
				p.writes--
			}
			clear(s.buf[aoe.ATALen:aoe.MinFrame])
			if p.sync && !p.each {
				p.wrote = append(p.wrote, i)
				continue
			}
		}
		p.answer(i)
	}
	// As in goaoe: a sync that began with the first write would leave the others to the next.
	if len(p.wrote) > 0 && !p.running && p.writes <= 1+len(p.wrote)/8 {
		p.covered, p.wrote, p.running = p.wrote, p.covered[:0], true
		p.ring.Datasync(p.files[0].fd, syncTag)
		return p.enter()
	}
	return nil
}

func (p *plainLoop) enter() error {
	if p.ring.Queued() == 0 && !p.ring.MustEnter() {
		return nil
	}
	if e := p.ring.Enter(); e != 0 && e != unix.EAGAIN && e != unix.EBUSY {
		return fmt.Errorf("io_uring: %w", e)
	}
	return nil
}

// answer queues the answer to a request that is done.
func (p *plainLoop) answer(i int32) {
	s := &p.slots[i]
	q := s.port
	if q.n == len(q.msgs) { // some of them have gone, or there would be no free slot
		copy(q.owner[:], q.owner[q.out:q.n])
		q.out, q.n = 0, copy(q.msgs[:], q.msgs[q.out:q.n])
	}
	q.msgs[q.n] = link.Msg{Head: s.buf[:max(aoe.ATALen+s.n, aoe.MinFrame)], Room: true}
	q.owner[q.n] = i
	q.n++
}

func (p *plainLoop) answerAll(all *[]int32) {
	for _, i := range *all {
		p.answer(i)
	}
	*all = (*all)[:0]
}

// send sends the answers of a port, or a part of them.
func (p *plainLoop) send(q *plainPort) error {
	end := q.n
	if p.parts > 0 {
		end = min(q.n, q.out+p.parts)
	}
	k, err := q.l.Send(q.msgs[q.out:end])
	if err != nil && !errors.Is(err, link.ErrFull) {
		return err
	}
	for ; k > 0; k-- {
		p.acts = true
		p.free = append(p.free, q.owner[q.out])
		q.out++
	}
	if q.out == q.n {
		q.out, q.n = 0, 0
	}
	return nil
}
