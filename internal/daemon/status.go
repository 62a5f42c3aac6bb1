package daemon

import (
	"fmt"
	"slices"

	"goaoe/internal/daemon/netwatch"
)

// Status is what a daemon does at a moment.
type Status struct {
	Exports []ExportStatus `json:"exports"`
	Ports   []PortStatus   `json:"interfaces"`
	Waiting []string       `json:"waiting"` // what is waited for, one sentence each
}

// ExportStatus is one export.
type ExportStatus struct {
	Address    string   `json:"address"` // e.g. e0.1
	Source     string   `json:"source"`
	Path       string   `json:"path,omitempty"` // what the source was found to be
	State      string   `json:"state"`          // "serving", "waiting", "failed", "opening", "closing"
	Why        string   `json:"why,omitempty"`  // waiting, failed: the reason
	Sectors    uint64   `json:"sectors"`        // of 512 bytes
	Interfaces []string `json:"interfaces"`     // where it is served
	Serial     string   `json:"serial,omitempty"`
	ReadOnly   bool     `json:"read_only"`
}

// PortStatus is one interface.
type PortStatus struct {
	Name    string `json:"name"`
	MAC     string `json:"mac"`
	MTU     int    `json:"mtu"` // in force
	Up      bool   `json:"up"`
	Exports int    `json:"exports"` // how many are served
}

// String returns the counts in words, e.g. "2 exports on 1 interface, waiting: interface eth9 does not exist".
func (s Status) String() string {
	exports, ports := 0, 0
	for _, e := range s.Exports {
		if len(e.Interfaces) > 0 {
			exports++
		}
	}
	for _, p := range s.Ports {
		if p.Exports > 0 {
			ports++
		}
	}
	text := count(exports, "export") + " on " + count(ports, "interface")
	if n := len(s.Exports) - exports; n > 0 {
		text += fmt.Sprintf(", %d not served yet", n)
	}
	return text
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Status returns what the daemon does now; ok is false when it does not run any more.
func (d *Daemon) Status() (s Status, ok bool) {
	got := make(chan Status, 1)
	if !d.post(func() { got <- d.status(d.watch.Snapshot()) }) {
		return Status{}, false
	}
	select {
	case s = <-got:
		return s, true
	case <-d.quit:
		return Status{}, false
	}
}

func (d *Daemon) status(snap []netwatch.Iface) Status {
	s := Status{Exports: []ExportStatus{}, Ports: []PortStatus{}, Waiting: []string{}}
	for _, x := range d.sorted() {
		e := ExportStatus{Address: x.addr.String(), Source: x.cfg.Source, Path: x.path, Sectors: x.sectors, Interfaces: []string{}, ReadOnly: x.cfg.ReadOnly}
		switch {
		case x.phase == serving:
			e.State, e.Serial = "serving", x.run.target.Config().Serial
		case x.phase == closing:
			e.State = "closing"
		case x.why != nil && x.missing:
			e.State, e.Why = "waiting", x.why.Error()
			s.Waiting = append(s.Waiting, fmt.Sprintf("%v: %s", x.addr, withoutAddr(x.addr, x.why)))
		case x.why != nil:
			e.State, e.Why = "failed", x.why.Error()
		default:
			e.State = "opening"
		}
		for _, p := range d.ports {
			if p.serves(x) {
				e.Interfaces = append(e.Interfaces, p.ifc.Name)
			}
			if c := p.checks[x.addr]; c != nil && c.taken != "" {
				e.Why = takenText(p, x.addr, c.taken)
			}
		}
		slices.Sort(e.Interfaces)
		s.Exports = append(s.Exports, e)
	}
	for _, i := range snap {
		if p := d.ports[i.Index]; p != nil {
			s.Ports = append(s.Ports, PortStatus{Name: i.Name, MAC: p.ifc.MAC.String(), MTU: p.mtu, Up: p.ifc.Up, Exports: len(p.served)})
		} else if f, ok := d.failed[i.Index]; ok {
			s.Waiting = append(s.Waiting, f.err.Error())
		}
	}
	for _, w := range d.waits(snap) {
		s.Waiting = append(s.Waiting, w.text)
	}
	return s
}
