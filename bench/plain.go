package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link"
	"goaoe/internal/link/packet"
	"goaoe/internal/sys"
)

// plainly is set in the environment of the process that is a plain loop; its arguments are those of the loop.
const plainly = "GOAOE_BENCH_PLAIN"

// How a plain loop does its transfers.
const (
	byCall = "call" // one system call for each: preadv2 and pwrite
	byRing = "ring" // io_uring with registered files, one system call for all that came together
)

// plainOptions are its arguments.
type plainOptions struct {
	ifs     []string
	how     string
	direct  bool // past the page cache; only by the ring
	sync    bool // an answer to a write follows on an fdatasync that covers it
	each    bool // with sync: each write has its own (RWF_DSYNC) in place of one for all that wait
	spin    bool // never sleep
	loops   int  // threads; the interfaces are dealt out to them
	parts   int  // answers leave in parts of so many, with a look for new requests in between; 0: all together
	exports int  // the file is opened so many times, each with an address of its own
	first   int  // which of the addresses is the first's, from 1 on
	image   string
	xdp     bool // answers leave by AF_XDP when there are several
}

func parsePlain(args []string) (o plainOptions, err error) {
	f := flag.NewFlagSet("plain loop", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	ifs := f.String("i", "", "")
	f.StringVar(&o.how, "by", byCall, "")
	f.BoolVar(&o.direct, "direct", false, "")
	f.BoolVar(&o.sync, "sync", false, "")
	f.BoolVar(&o.each, "each", false, "")
	f.BoolVar(&o.spin, "spin", false, "")
	f.BoolVar(&o.xdp, "xdp", false, "")
	f.IntVar(&o.loops, "loops", 1, "")
	f.IntVar(&o.parts, "parts", 0, "")
	f.IntVar(&o.exports, "exports", 1, "")
	f.IntVar(&o.first, "first", 1, "")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.ifs, o.image = strings.Split(*ifs, ","), f.Arg(0)
	switch {
	case *ifs == "" || f.NArg() != 1 || o.exports < 1 || o.parts < 0 || o.first < 1:
		return o, fmt.Errorf("it wants -i, and one image: %q", args)
	case o.loops < 1 || o.loops > len(o.ifs):
		return o, fmt.Errorf("%d loops for %d interfaces", o.loops, len(o.ifs))
	case o.how != byCall && o.how != byRing || o.how == byCall && o.direct || o.each && (!o.sync || o.how == byCall):
		return o, fmt.Errorf("these arguments do not go together: %q", args)
	}
	return o, nil
}

// plainMain is the program when it is a plain loop: the least that a target has to do, as fast as we know to do it. It takes requests out of the packet
// ring, reads or writes where they say, and answers, with the ring, the socket and the io_uring that goaoe uses. It has no order, no limits, no
// statistics, no configuration, and checks nothing but that a request stays inside the file. What it reaches is the limit for every target on this machine.
func plainMain(args []string) {
	o, err := parsePlain(args)
	if err == nil {
		err = o.run()
	}
	fmt.Fprintln(os.Stderr, "plain loop:", err)
	os.Exit(1)
}

// run runs the loops until one fails.
func (o *plainOptions) run() error {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + o.loops) // as goaoe does: the scheduler leaves the loops their processors
	var addrs []aoe.Addr
	for i := range o.exports {
		addrs = append(addrs, addr(i+o.first))
	}
	failed := make(chan error)
	for n := range o.loops {
		p, err := newPlainLoop(o)
		if err != nil {
			return err
		}
		for i := n; i < len(o.ifs); i += o.loops {
			mode := packet.XDPOff
			if o.xdp {
				mode = packet.XDPOn
			}
			l, err := packet.Open(o.ifs[i], packet.Options{Linear: true, XDP: mode, Filter: &link.Filter{Addrs: addrs}})
			if err != nil {
				return err
			}
			if _, why := l.Pinning(); o.xdp && !l.Pin(p.mem) {
				return fmt.Errorf("%s: no AF_XDP: %s", o.ifs[i], why)
			}
			p.ports = append(p.ports, &plainPort{l: l, mac: l.Info().MAC, limit: 14 + l.Info().MTU - aoe.ATALen})
		}
		go func() {
			runtime.LockOSThread() // the io_uring belongs to the thread
			failed <- p.run()
		}()
	}
	return <-failed
}

const (
	plainSlots = 256      // requests under way in a loop, at most
	plainBuf   = 4 * 4096 // of each: a frame has no more than 17 sectors
	plainMost  = 17 * aoe.SectorSize
	plainData  = 512 // where its data begins: see dataOffset in internal/engine. A disk is faster with whole pages, so with -direct it is at 4096
)

// plainLoop is one thread.
type plainLoop struct {
	*plainOptions
	ports []*plainPort
	files []plainFile
	mem   []byte // that of all slots
	size  int64
	id    [512]byte
	ring  *sys.Ring // nil without
	now   sys.Reader
	slots [plainSlots]plainSlot
	free  []int32
	polls []unix.PollFd
	acts  bool // the last turn did something
	plainSyncs
}

// plainFile is one opening of the image.
type plainFile struct{ fd, ring int } // as the kernel knows it, as the ring does

// plainPort is an interface with the answers that go out on it.
type plainPort struct {
	l      link.Link
	mac    aoe.MAC
	limit  int // bytes of data in a frame
	frames [64]link.Frame
	msgs   [plainSlots]link.Msg
	owner  [plainSlots]int32
	n, out int // answers that wait, and how many of those have gone
}

// plainSlot is a request under way. buf begins with the head of the answer; the data lies behind it, at a good place in its page.
type plainSlot struct {
	buf   []byte
	port  *plainPort
	n     int // bytes of data in the answer
	want  int // bytes to transfer
	write bool
}

// newPlainLoop opens the files.
func newPlainLoop(o *plainOptions) (*plainLoop, error) {
	p := &plainLoop{plainOptions: o}
	mem, err := sys.Alloc(plainSlots * plainBuf)
	if err != nil {
		return nil, err
	}
	p.mem = mem
	for i := range p.slots {
		at := plainData
		if o.direct {
			at = 4096
		}
		p.slots[i].buf = mem[i*plainBuf+at-aoe.ATALen : (i+1)*plainBuf : (i+1)*plainBuf]
		p.free = append(p.free, int32(plainSlots-1-i))
	}
	flags := unix.O_RDWR | unix.O_CLOEXEC
	if o.direct {
		flags |= unix.O_DIRECT
	}
	for range o.exports {
		fd, err := unix.Open(o.image, flags, 0)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.image, err)
		}
		p.files = append(p.files, plainFile{fd, fd})
	}
	if o.direct { // pages in the cache would have to be removed by each write; see internal/store/file
		_ = unix.Fadvise(p.files[0].fd, 0, 0, unix.FADV_DONTNEED)
	}
	var st unix.Stat_t
	if err := unix.Fstat(p.files[0].fd, &st); err != nil {
		return nil, fmt.Errorf("%s: %w", o.image, err)
	}
	p.size = st.Size
	(&ata.Device{Sectors: uint64(p.size / aoe.SectorSize), Serial: "plain", Model: "plain loop"}).Build(&p.id)
	if o.how == byRing || o.sync {
		if p.ring, err = sys.NewRing(plainSlots); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// run answers until something fails.
func (p *plainLoop) run() error {
	if p.ring != nil {
		for i := range p.files {
			p.files[i].ring = p.ring.FixFile(p.files[i].fd)
		}
	}
	for {
		p.acts = false
		if err := p.turn(); err != nil {
			return err
		}
		if p.acts || p.spin || p.waiting() {
			continue
		}
		p.polls = p.polls[:0]
		for _, q := range p.ports {
			p.polls = append(p.polls, unix.PollFd{Fd: int32(q.l.FD()), Events: unix.POLLIN})
		}
		if p.ring != nil {
			p.polls = append(p.polls, unix.PollFd{Fd: int32(p.ring.FD()), Events: unix.POLLIN})
		}
		if _, err := sys.Poll(p.polls, -1); err != nil {
			return err
		}
	}
}

// waiting tells whether a turn would find something to do.
func (p *plainLoop) waiting() bool {
	for _, q := range p.ports {
		if q.l.Pending() || q.out < q.n {
			return true
		}
	}
	return p.ring != nil && p.ring.Waiting()
}
