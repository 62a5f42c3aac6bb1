package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link"
	"goaoe/internal/link/packet"
	"goaoe/internal/sys"
)

// echoing is set in the environment of the process that is the echo loop; its value is the interface.
const echoing = "GOAOE_BENCH_ECHO"

// echoAs is the address that it has: that of the export in all rows.
var echoAs = addr(1)

// echo turns frames around on an interface until it is killed: what a target that does nothing at all could do with the socket, ring and
// sendmmsg that goaoe uses. A read is answered by as many bytes as it asks for, always the same ones.
func echo(name string) error {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1) // as goaoe does: the scheduler leaves the loop its processor
	runtime.LockOSThread()
	l, err := packet.Open(name, packet.Options{Filter: &link.Filter{Addrs: []aoe.Addr{echoAs}}})
	if err != nil {
		return err
	}
	var e echoLoop
	id := e.id[:]
	(&ata.Device{Sectors: 1 << 15, Serial: "echo", Model: "echo loop"}).Build((*[512]byte)(id))
	e.mac = l.Info().MAC
	poll := []unix.PollFd{{Fd: int32(l.FD()), Events: unix.POLLIN}}
	for {
		if err := e.turn(l); err != nil {
			return err
		}
		if !l.Pending() {
			if _, err := sys.Poll(poll, -1); err != nil {
				return err
			}
		}
	}
}

type echoLoop struct {
	frames [64]link.Frame
	heads  [64][60]byte
	msgs   [64]link.Msg
	body   [9000]byte
	id     [512]byte
	mac    aoe.MAC
}

// turn answers what waits.
func (e *echoLoop) turn(l link.Link) error {
	n := l.Recv(e.frames[:])
	k := 0
	for _, f := range e.frames[:n] {
		if len(f.Data) < aoe.ATALen || f.Data[14]&aoe.FlagResponse != 0 {
			continue
		}
		h := e.heads[k][:]
		copy(h, f.Data[:aoe.ATALen])
		copy(h, f.Data[6:12])
		copy(h[6:], e.mac[:])
		h[14] |= aoe.FlagResponse
		h[16], h[17], h[18] = byte(echoAs.Major>>8), byte(echoAs.Major), echoAs.Minor
		m := link.Msg{Head: h}
		if h[19] == byte(aoe.CmdATA) {
			op, count := h[27], int(h[26])
			switch {
			case op == ata.OpIdentify:
				m = link.Msg{Head: h[:aoe.ATALen], Body: e.id[:]}
			case op == ata.OpReadExt && count*aoe.SectorSize <= len(e.body):
				m = link.Msg{Head: h[:aoe.ATALen], Body: e.body[:count*aoe.SectorSize]}
			}
			h[25], h[27] = 0, 0x40 // the registers Error and Status
		}
		e.msgs[k] = m
		k++
	}
	if n > 0 {
		l.Release()
	}
	for sent := 0; sent < k; {
		s, err := l.Send(e.msgs[sent:k])
		if err != nil && s == 0 && !errors.Is(err, link.ErrFull) {
			return err
		}
		sent += s
	}
	return nil
}

// echoMain is the program when it is the echo loop.
func echoMain(name string) {
	err := echo(name)
	fmt.Fprintln(os.Stderr, "echo loop:", err)
	os.Exit(1)
}
