package loadgen

import (
	"context"
	"fmt"
	"time"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link"
	"goaoe/internal/sys"
)

const (
	findFor   = 5 * time.Second        // a target that was just started may take this long to appear
	findEvery = 100 * time.Millisecond // between two questions
	findTag   = 0x676f616f             // not a tag of a runner, which all have the top bit
)

// target is what there is to know about the other end.
type target struct {
	addr    aoe.Addr
	mac     aoe.MAC
	sectors uint64
}

// find asks everybody for the address, and the one that answers for its size.
func find(ctx context.Context, l link.Link, addr aoe.Addr) (target, error) {
	t := target{addr: addr, mac: aoe.Broadcast}
	var q [60]byte
	h := aoe.Header{Dst: t.mac, Src: l.Info().MAC, Version: aoe.Version, Addr: addr, Cmd: aoe.CmdConfig, Tag: findTag}
	if _, err := h.Encode(q[:]); err != nil {
		return t, err
	}
	if _, err := (&aoe.Config{Version: aoe.Version, Op: aoe.ConfigRead}).Encode(q[:]); err != nil {
		return t, err
	}
	err := ask(ctx, l, q[:], func(r aoe.Header, _ []byte) bool {
		if r.Cmd != aoe.CmdConfig || !addr.Match(r.Addr) {
			return false
		}
		t.addr, t.mac = r.Addr, r.Src
		return true
	})
	if err != nil {
		return t, fmt.Errorf("loadgen: target %v on interface %s: %w", addr, l.Info().Name, err)
	}
	h.Dst, h.Addr, h.Cmd = t.mac, t.addr, aoe.CmdATA
	q = [60]byte{}
	if _, err := h.Encode(q[:]); err != nil {
		return t, err
	}
	if _, err := (&aoe.ATA{Count: 1, Command: ata.OpIdentify}).Encode(q[:]); err != nil {
		return t, err
	}
	err = ask(ctx, l, q[:], func(r aoe.Header, frame []byte) bool {
		a, data, err := aoe.DecodeATA(frame)
		if err != nil || r.Cmd != aoe.CmdATA || r.Addr != t.addr || a.Command&1 != 0 {
			return false
		}
		id, err := ata.ParseIdentify(data)
		t.sectors = id.Sectors
		return err == nil
	})
	if err != nil {
		return t, fmt.Errorf("loadgen: size of target %v on interface %s: %w", t.addr, l.Info().Name, err)
	}
	return t, nil
}

// ask sends a frame again and again until got accepts an answer.
func ask(ctx context.Context, l link.Link, q []byte, got func(h aoe.Header, frame []byte) bool) error {
	var frames [16]link.Frame
	start := sys.Nanotime()
	for next := start; ; {
		now := sys.Nanotime()
		if err := ctx.Err(); err != nil {
			return err
		}
		if now-start > int64(findFor) {
			return fmt.Errorf("no answer for %v", findFor)
		}
		if now >= next {
			if err := l.Inject(q); err != nil {
				return err
			}
			next = now + int64(findEvery)
		}
		k := l.Recv(frames[:])
		if k == 0 {
			time.Sleep(100 * time.Microsecond)
			continue
		}
		found := false
		for _, f := range frames[:k] {
			h, err := aoe.DecodeHeader(f.Data)
			if err != nil || !aoe.IsAoE(f.Data) || h.Flags != aoe.FlagResponse || h.Tag != findTag || found {
				continue
			}
			found = got(h, f.Data)
		}
		l.Release()
		if found {
			return nil
		}
	}
}
