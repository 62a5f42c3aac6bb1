package initiator

import "time"

// event tells the user what happened. Events wait in a list, which one goroutine works off while there are any.
func (d *Disk) event(e Event) {
	if d.opt.OnEvent == nil || d.closed {
		return
	}
	e.Time = time.Now()
	d.events = append(d.events, e)
	if len(d.events) == 1 && !d.telling {
		d.telling = true
		go d.tellEvents()
	}
}

func (d *Disk) tellEvents() {
	d.mu.Lock()
	for len(d.events) > 0 {
		e := d.events[0]
		d.events = d.events[1:]
		d.mu.Unlock()
		d.opt.OnEvent(e)
		d.mu.Lock()
	}
	d.events, d.telling = nil, false
	d.mu.Unlock()
}

// show is what a user may know of a path.
func (d *Disk) show(w *path) Path {
	p := Path{Interface: w.port.info.Name, MAC: w.mac, MTU: w.port.info.MTU, Sectors: w.sectors, BufferCount: w.conf.BufferCount,
		RTT: w.rtt.mean, Window: w.window, Outstanding: w.inflight, Stats: w.stats, Err: w.err}
	switch w.state {
	case pathUp:
		p.State = Up
	case pathRefused:
		p.State = Refused
	}
	return p
}

// changed wakes those who wait for a change of a path.
func (d *Disk) changed() {
	for _, w := range d.watchers {
		w.tell()
	}
}
