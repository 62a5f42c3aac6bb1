// Package pcap writes capture files for tcpdump and Wireshark: pcapng (draft-ietf-opsawg-pcapng), which names the interface, the
// direction and a comment for each frame, and the older pcap (draft-ietf-opsawg-pcap), which cannot. Both have times in nanoseconds.
//
// gopacket's writers would do as well; they come with decoders of a hundred protocols that make the program two megabytes larger.
package pcap

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"

	"goaoe/internal/control"
)

const (
	linkEthernet = 1
	snapAll      = 262144 // what tcpdump says for everything

	blockSection   = 0x0A0D0D0A
	blockInterface = 1
	blockStats     = 5
	blockPacket    = 6
	byteOrder      = 0x1A2B3C4D

	optComment   = 1
	optName      = 2 // if_name, epb_flags
	optDropCount = 4 // epb_dropcount
	optAppl      = 4 // shb_userappl
	optTSResol   = 9
	optReceived  = 4 // isb_ifrecv
	optDropped   = 5 // isb_ifdrop
)

// Writer writes frames of a trace. Each call writes whole records at once, so that a reader of a pipe sees a frame when it comes.
type Writer struct {
	w      io.Writer
	ng     bool
	ifaces map[string]uint32
	buf    []byte
}

// New writes the head of a file, pcapng or the older pcap.
func New(w io.Writer, ng bool) (*Writer, error) {
	p := &Writer{w: w, ng: ng, ifaces: map[string]uint32{}}
	if ng {
		p.block(blockSection, func() {
			p.u32(byteOrder)
			p.u16(1) // version 1.0
			p.u16(0)
			p.u64(math.MaxUint64) // length of the section: not known
			p.option(optAppl, []byte("goaoe"))
			p.option(0, nil)
		})
	} else {
		p.u32(0xA1B23C4D) // nanoseconds
		p.u16(2)          // version 2.4
		p.u16(4)
		p.u64(0)
		p.u32(snapAll)
		p.u32(linkEthernet)
	}
	return p, p.flush()
}

// Write adds a frame.
func (p *Writer) Write(r *control.TraceRecord) error {
	ns := uint64(r.Time.UnixNano())
	if !p.ng {
		p.u32(uint32(ns / 1e9))
		p.u32(uint32(ns % 1e9))
		p.u32(uint32(len(r.Frame)))
		p.u32(uint32(max(r.Length, len(r.Frame))))
		p.buf = append(p.buf, r.Frame...)
		return p.flush()
	}
	id, ok := p.ifaces[r.Interface]
	if !ok {
		id = uint32(len(p.ifaces))
		p.ifaces[r.Interface] = id
		p.iface(r.Interface)
	}
	p.block(blockPacket, func() {
		p.u32(id)
		p.u32(uint32(ns >> 32))
		p.u32(uint32(ns))
		p.u32(uint32(len(r.Frame)))
		p.u32(uint32(max(r.Length, len(r.Frame))))
		p.buf = append(p.buf, r.Frame...)
		p.pad()
		direction := uint32(1) // inbound
		if r.Out {
			direction = 2
		}
		p.option(optName, binary.LittleEndian.AppendUint32(nil, direction))
		if r.Missed > 0 {
			p.option(optDropCount, binary.LittleEndian.AppendUint64(nil, r.Missed))
		}
		if r.Drop != "" {
			p.option(optComment, fmt.Appendf(nil, "goaoe dropped it: %s", r.Drop))
		}
		p.option(0, nil)
	})
	return p.flush()
}

// iface describes an interface; packets name it by its number in the order of the descriptions.
func (p *Writer) iface(name string) {
	p.block(blockInterface, func() {
		p.u16(linkEthernet)
		p.u16(0)
		p.u32(snapAll)
		p.option(optName, []byte(name))
		p.option(optTSResol, []byte{9})
		p.option(0, nil)
	})
}

// Stats adds what was counted on an interface until the time at: frames that passed the filter, and of them those that were lost
// because nobody took them in time. The older pcap cannot say it.
func (p *Writer) Stats(name string, at time.Time, received, dropped uint64) error {
	if !p.ng {
		return nil
	}
	id, ok := p.ifaces[name]
	if !ok { // nothing came on it
		id = uint32(len(p.ifaces))
		p.ifaces[name] = id
		p.iface(name)
	}
	p.block(blockStats, func() {
		p.u32(id)
		ns := uint64(at.UnixNano())
		p.u32(uint32(ns >> 32))
		p.u32(uint32(ns))
		p.option(optReceived, binary.LittleEndian.AppendUint64(nil, received))
		p.option(optDropped, binary.LittleEndian.AppendUint64(nil, dropped))
		p.option(0, nil)
	})
	return p.flush()
}

// block writes a block: its type and length go around what f writes.
func (p *Writer) block(kind uint32, f func()) {
	start := len(p.buf)
	p.u32(kind)
	p.u32(0)
	f()
	n := uint32(len(p.buf) - start + 4)
	binary.LittleEndian.PutUint32(p.buf[start+4:], n)
	p.u32(n)
}

func (p *Writer) option(code uint16, v []byte) {
	p.u16(code)
	p.u16(uint16(len(v)))
	p.buf = append(p.buf, v...)
	p.pad()
}

// pad fills up to a multiple of four bytes; blocks begin at one.
func (p *Writer) pad() {
	for len(p.buf)%4 != 0 {
		p.buf = append(p.buf, 0)
	}
}

func (p *Writer) u16(v uint16) { p.buf = binary.LittleEndian.AppendUint16(p.buf, v) }
func (p *Writer) u32(v uint32) { p.buf = binary.LittleEndian.AppendUint32(p.buf, v) }
func (p *Writer) u64(v uint64) { p.buf = binary.LittleEndian.AppendUint64(p.buf, v) }

func (p *Writer) flush() error {
	_, err := p.w.Write(p.buf)
	p.buf = p.buf[:0]
	return err
}
