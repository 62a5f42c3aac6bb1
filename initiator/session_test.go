package initiator

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/ata"
	"goaoe/internal/link"
	"goaoe/internal/link/mem"
	"goaoe/internal/sys"
)

// made is a target made up for a test: answer gets each request and returns the frames that come back.
type made struct {
	mu     sync.Mutex
	seen   []aoe.Header // of the requests
	answer func(h aoe.Header, f []byte) [][]byte
}

// session returns a session with a target that is made up.
func session(t *testing.T, o SessionOptions, answer func(m *made, h aoe.Header, f []byte) [][]byte) (*made, *Session) {
	t.Helper()
	n := mem.NewNet(mem.Options{Seed: 1, Auto: true})
	l := n.Open("t0", tMAC, 1500)
	m := &made{}
	m.answer = func(h aoe.Header, f []byte) [][]byte { return answer(m, h, f) }
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		var frames [16]link.Frame
		for {
			select {
			case <-stop:
				return
			default:
			}
			_, _ = sys.Poll([]unix.PollFd{{Fd: int32(l.FD()), Events: unix.POLLIN}}, int64(5*time.Millisecond))
			k := l.Recv(frames[:])
			for _, fr := range frames[:k] {
				h, err := aoe.DecodeHeader(fr.Data)
				if err != nil {
					continue
				}
				m.mu.Lock()
				m.seen = append(m.seen, h)
				out := m.answer(h, slices.Clone(fr.Data))
				m.mu.Unlock()
				for _, f := range out {
					_ = l.Inject(f)
				}
			}
			if k > 0 {
				l.Release()
			}
		}
	}()
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	s, err := dial(n.Open("h0", iMAC, 1500), Target{Addr: addr, MAC: tMAC}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(stop)
		<-ended
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return m, s
}

// reply builds an answer to a request: its header turned round, flags and code as given, then body from byte 24 on, padded.
func reply(h aoe.Header, flags uint8, code aoe.Code, body ...byte) []byte {
	f := make([]byte, max(aoe.HeaderLen+len(body), aoe.MinFrame))
	a := aoe.Header{Dst: h.Src, Src: tMAC, Version: aoe.Version, Flags: aoe.FlagResponse | flags, Code: code, Addr: addr, Cmd: h.Cmd, Tag: h.Tag}
	_, _ = a.Encode(f)
	copy(f[aoe.HeaderLen:], body)
	return f
}

// configBody is the argument of a config answer.
func configBody(op byte, str string) []byte {
	return append([]byte{0, 16, 0x40, 0x19, 2, 0x10 | op, byte(len(str) >> 8), byte(len(str))}, str...)
}

// store is a config string with the rules of the specification, as targets differ in: body says what a conflict's answer holds.
func store(str *string, conflict func(h aoe.Header, f []byte) []byte) func(m *made, h aoe.Header, f []byte) [][]byte {
	return func(_ *made, h aoe.Header, f []byte) [][]byte {
		c, err := aoe.DecodeConfig(f)
		if h.Cmd != aoe.CmdConfig || err != nil {
			return nil
		}
		arg := string(c.String)
		switch c.Op {
		case aoe.ConfigTest:
			if arg != *str {
				return nil
			}
		case aoe.ConfigPrefix:
			if !strings.HasPrefix(*str, arg) {
				return nil
			}
		case aoe.ConfigSetOp:
			if *str != "" && *str != arg {
				return [][]byte{conflict(h, f)}
			}
			*str = arg
		case aoe.ConfigForceSet:
			*str = arg
		}
		return [][]byte{reply(h, 0, 0, configBody(c.Op, *str)...)}
	}
}

func TestSessionConfig(t *testing.T) {
	t.Parallel()
	for name, conflict := range map[string]func(stored *string) func(h aoe.Header, f []byte) []byte{
		"with the string (vblade)": func(stored *string) func(h aoe.Header, f []byte) []byte {
			return func(h aoe.Header, _ []byte) []byte {
				return reply(h, aoe.FlagError, aoe.ConfigSet, configBody(aoe.ConfigSetOp, *stored)...)
			}
		},
		"bare header, 24 bytes (kvblade)": func(*string) func(h aoe.Header, f []byte) []byte {
			return func(h aoe.Header, _ []byte) []byte { return reply(h, aoe.FlagError, aoe.ConfigSet)[:aoe.HeaderLen] }
		},
		"header and the whole request (ggaoed)": func(*string) func(h aoe.Header, f []byte) []byte {
			return func(h aoe.Header, f []byte) []byte { return reply(h, aoe.FlagError, aoe.ConfigSet, f...) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			stored := ""
			_, s := session(t, SessionOptions{}, store(&stored, conflict(&stored)))
			ctx := context.Background()
			for _, step := range []struct {
				op      uint8
				arg     string
				want    string
				matched bool
				err     error
			}{
				{aoe.ConfigRead, "ignored", "", true, nil},
				{aoe.ConfigTest, "", "", true, nil},
				{aoe.ConfigTest, "x", "", false, nil},
				{aoe.ConfigSetOp, "hello", "hello", true, nil},
				{aoe.ConfigSetOp, "hello", "hello", true, nil},
				{aoe.ConfigSetOp, "other", "hello", true, ErrConfigConflict},
				{aoe.ConfigPrefix, "hell", "hello", true, nil},
				{aoe.ConfigPrefix, "ell", "hello", false, nil},
				{aoe.ConfigTest, "hell", "hello", false, nil},
				{aoe.ConfigForceSet, "other\x00\xff", "other\x00\xff", true, nil},
				{aoe.ConfigForceSet, strings.Repeat("l", 1024), strings.Repeat("l", 1024), true, nil},
				{aoe.ConfigForceSet, "", "", true, nil},
			} {
				r, err := s.Config(ctx, step.op, []byte(step.arg))
				if !errors.Is(err, step.err) || string(r.Config) != step.want || r.Matched != step.matched && step.err == nil {
					t.Fatalf("operation %d %q: string %.20q, matched %v, error %v; want %.20q, %v, %v", step.op, step.arg, r.Config, r.Matched, err, step.want, step.matched, step.err)
				}
				if err == nil && (r.BufferCount != 16 || r.Firmware != 0x4019 || r.Sectors != 2 || r.MAC != tMAC || r.Interface != "h0" || r.MTU != 1500) {
					t.Fatalf("operation %d: %+v", step.op, r.Target)
				}
			}
			if _, err := s.Config(ctx, aoe.ConfigForceSet, make([]byte, 1025)); err == nil || !strings.Contains(err.Error(), "1025") {
				t.Errorf("a string of 1025 bytes: %v", err)
			}
		})
	}
}

// TestSessionSetTwice: the answer to a set is lost, and the repetition is refused because the string is there (qaoed does so with the
// same string): the string is there, so the set succeeded.
func TestSessionSetTwice(t *testing.T) {
	stored, tags := "", map[uint32]bool{}
	m, s := session(t, SessionOptions{}, func(m *made, h aoe.Header, f []byte) [][]byte {
		c, _ := aoe.DecodeConfig(f)
		if c.Op == aoe.ConfigSetOp {
			tags[h.Tag] = true
			if stored == "" {
				stored = string(c.String)
				return nil // lost
			}
			return [][]byte{reply(h, aoe.FlagError, aoe.ConfigSet)}
		}
		return [][]byte{reply(h, 0, 0, configBody(c.Op, stored)...)}
	})
	r, err := s.Config(context.Background(), aoe.ConfigSetOp, []byte("mine"))
	if err != nil || string(r.Config) != "mine" {
		t.Fatalf("%q, %v", r.Config, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(tags) != 1 {
		t.Errorf("the repetitions of a set have %d tags, want 1: what changes something keeps its tag", len(tags))
	}
	for _, h := range m.seen {
		if h.Tag&ownTag == 0 || h.Flags != 0 || h.Version != 1 {
			t.Errorf("request %+v", h)
		}
	}
}

// TestSessionRubbish: answers that no target may send, and none at all, are an error in bounded time, never a success.
func TestSessionRubbish(t *testing.T) {
	t.Parallel()
	stranger := func(f []byte) []byte { f[11] ^= 0x40; return f }
	other := func(f []byte) []byte { f[18]++; return f } // another slot
	for name, c := range map[string]struct {
		answer func(h aoe.Header) [][]byte
		want   error
		text   string
	}{
		"nothing":       {func(aoe.Header) [][]byte { return nil }, ErrTimeout, "does not answer"},
		"24 bytes":      {func(h aoe.Header) [][]byte { return [][]byte{reply(h, 0, 0)[:24]} }, ErrRubbish, "24 bytes"},
		"14 bytes":      {func(h aoe.Header) [][]byte { return [][]byte{reply(h, 0, 0)[:14]} }, ErrTimeout, "does not answer"},
		"another MAC":   {func(h aoe.Header) [][]byte { return [][]byte{stranger(reply(h, 0, 0, configBody(0, "")...))} }, ErrTimeout, "come from 02:00:00:00:00:ea instead"},
		"another slot":  {func(h aoe.Header) [][]byte { return [][]byte{other(reply(h, 0, 0, configBody(0, "")...))} }, ErrTimeout, "does not answer"},
		"its own words": {func(h aoe.Header) [][]byte { f := reply(h, 0, 0); f[14] = 0x10; return [][]byte{f} }, ErrTimeout, "does not answer"},
		"another tag":   {func(h aoe.Header) [][]byte { h.Tag ^= 0x1000; return [][]byte{reply(h, 0, 0, configBody(0, "")...)} }, ErrTimeout, "does not answer"},
		"version":       {func(h aoe.Header) [][]byte { return [][]byte{reply(h, aoe.FlagError, aoe.BadVersion)} }, ErrIncompatible, "version"},
		"unavailable":   {func(h aoe.Header) [][]byte { return [][]byte{reply(h, aoe.FlagError, aoe.Unavailable)} }, ErrUnavailable, "unavailable"},
		"code 9":        {func(h aoe.Header) [][]byte { return [][]byte{reply(h, aoe.FlagError, 9)} }, ErrRefused, "9"},
	} {
		t.Run(name, func(t *testing.T) {
			_, s := session(t, SessionOptions{Timeout: 400 * time.Millisecond}, func(_ *made, h aoe.Header, _ []byte) [][]byte { return c.answer(h) })
			r, err := s.Config(context.Background(), aoe.ConfigRead, nil)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), "e1.1") {
				t.Errorf("error %v, want %v with %q", err, c.want, c.text)
			}
			if name == "another MAC" && !slices.Equal(s.Strangers(), []aoe.MAC{{2, 0, 0, 0, 0, 0xea}}) {
				t.Errorf("strangers %v", s.Strangers())
			}
			_ = r
		})
	}
}

// TestSessionCut: a string that is said to be longer than the frame is cut to what arrived.
func TestSessionCut(t *testing.T) {
	_, s := session(t, SessionOptions{}, func(_ *made, h aoe.Header, _ []byte) [][]byte {
		f := reply(h, 0, 0, configBody(0, strings.Repeat("x", 40))...)
		f[30], f[31] = 3, 0 // 768
		return [][]byte{f}
	})
	r, err := s.Config(context.Background(), aoe.ConfigRead, nil)
	if err != nil || !r.Cut || string(r.Config) != strings.Repeat("x", 40) {
		t.Fatalf("%q, cut %v, %v", r.Config, r.Cut, err)
	}
}

func TestSessionCancel(t *testing.T) {
	_, s := session(t, SessionOptions{Timeout: time.Hour}, func(*made, aoe.Header, []byte) [][]byte { return nil })
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := s.Config(ctx, aoe.ConfigRead, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := s.Config(ctx, aoe.ConfigRead, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("the second time: error %v", err)
	}
}

// TestSessionMask: what vblade does with its list when it has two entries is found out, and so is a target that stops in the middle.
func TestSessionMask(t *testing.T) {
	t.Parallel()
	a, b, c := aoe.MAC{2, 1}, aoe.MAC{2, 2}, aoe.MAC{2, 3}
	entries := func(e byte, macs ...aoe.MAC) []byte {
		out := []byte{0, aoe.MaskEdit, e, byte(len(macs))}
		for _, m := range macs {
			out = append(append(out, 0, 0), m[:]...)
		}
		return out
	}
	var body []byte
	_, s := session(t, SessionOptions{Timeout: time.Second}, func(_ *made, h aoe.Header, f []byte) [][]byte {
		if h.Cmd == aoe.CmdConfig {
			return [][]byte{reply(h, 0, 0, configBody(0, "")...)}
		}
		if body == nil {
			return nil
		}
		return [][]byte{reply(h, 0, 0, body...)}
	})
	ctx := context.Background()
	add := func(m aoe.MAC) []aoe.Directive { return []aoe.Directive{{Cmd: aoe.MaskAdd, MAC: m}} }
	body = entries(0, a, b)
	if l, err := s.MaskEdit(ctx, add(b)); err != nil || !slices.Equal(l, []aoe.MAC{a, b}) {
		t.Errorf("%v, %v", l, err)
	}
	if _, err := s.MaskEdit(ctx, add(c)); !errors.Is(err, ErrRubbish) || !strings.Contains(err.Error(), c.String()) {
		t.Errorf("an add that is not done: %v", err)
	}
	if _, err := s.MaskEdit(ctx, []aoe.Directive{{Cmd: aoe.MaskDelete, MAC: b}}); !errors.Is(err, ErrRubbish) {
		t.Errorf("a delete that is not done: %v", err)
	}
	body = []byte{0, aoe.MaskEdit, aoe.MaskFull, 1}
	var me *MaskError
	if _, err := s.MaskEdit(ctx, append(add(a), add(b)...)); !errors.As(err, &me) || me.Index != 1 || me.Code != aoe.MaskFull || !strings.Contains(err.Error(), "full") {
		t.Errorf("a full list: %v", err)
	}
	body = []byte{0, 0, 0, 200}
	if _, err := s.MaskRead(ctx); !errors.Is(err, ErrRubbish) {
		t.Errorf("200 entries in 60 bytes: %v", err)
	}
	body = nil // a target that does not know the command (qaoed, kvblade) says nothing
	if _, err := s.MaskRead(ctx); !errors.Is(err, ErrUnsupported) {
		t.Errorf("silence: %v", err)
	}
	if _, err := s.MaskEdit(ctx, make([]aoe.Directive, 300)); err == nil {
		t.Error("300 directives in a frame")
	}
}

// TestSessionReserve: a reservation that leaves out this machine succeeds also when its answer is lost and the repetition is refused.
func TestSessionReserve(t *testing.T) {
	t.Parallel()
	a := aoe.MAC{2, 1}
	var list []aoe.MAC
	lose := true
	body := func(op byte) []byte {
		out := []byte{op, byte(len(list))}
		for _, m := range list {
			out = append(out, m[:]...)
		}
		return out
	}
	_, s := session(t, SessionOptions{Timeout: 2 * time.Second}, func(_ *made, h aoe.Header, f []byte) [][]byte {
		r, macs, err := aoe.DecodeReserve(f)
		if h.Cmd != aoe.CmdReserve || err != nil {
			return nil
		}
		if r.Op == aoe.ReserveSet && len(list) > 0 && !slices.Contains(list, h.Src) {
			return [][]byte{reply(h, aoe.FlagError, aoe.Reserved, body(r.Op)...)}
		}
		if r.Op != aoe.ReserveRead {
			list = nil
			for i := range int(r.Count) {
				list = append(list, aoe.ReserveMAC(macs, i))
			}
			if lose {
				lose = false
				return nil
			}
		}
		return [][]byte{reply(h, 0, 0, body(r.Op)...)}
	})
	ctx := context.Background()
	if l, err := s.Reserve(ctx, []aoe.MAC{a}); err != nil || !slices.Equal(l, []aoe.MAC{a}) {
		t.Fatalf("%v, %v", l, err)
	}
	if l, err := s.Reserve(ctx, []aoe.MAC{iMAC}); !errors.Is(err, ErrReserved) || !slices.Equal(l, []aoe.MAC{a}) {
		t.Errorf("held by another: %v, %v", l, err)
	}
	if l, err := s.Reserve(ctx, nil); !errors.Is(err, ErrReserved) || !slices.Equal(l, []aoe.MAC{a}) {
		t.Errorf("release of another's: %v, %v", l, err)
	}
	if l, err := s.ForceReserve(ctx, nil); err != nil || len(l) != 0 {
		t.Errorf("forced release: %v, %v", l, err)
	}
	if l, err := s.ReserveRead(ctx); err != nil || len(l) != 0 {
		t.Errorf("read: %v, %v", l, err)
	}
}

func TestSessionIdentifyAndSmart(t *testing.T) {
	t.Parallel()
	var id [512]byte
	(&ata.Device{Sectors: 1000, Serial: "S1", Model: "made up", Smart: true}).Build(&id)
	status := []byte{0x40, 0, ata.SmartSigMid, ata.SmartSigHigh}
	short := false
	_, s := session(t, SessionOptions{Timeout: time.Second}, func(_ *made, h aoe.Header, f []byte) [][]byte {
		a, _, err := aoe.DecodeATA(f)
		if err != nil || h.Cmd != aoe.CmdATA {
			return nil
		}
		switch {
		case a.Command == ata.OpIdentify && short:
			return [][]byte{reply(h, 0, 0, append([]byte{0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0}, id[:100]...)...)}
		case a.Command == ata.OpIdentify:
			return [][]byte{reply(h, 0, 0, append([]byte{0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0}, id[:]...)...)}
		case a.Command == ata.OpSMART && a.Feature == ata.SmartStatus && a.LBA[1] == ata.SmartSigMid:
			return [][]byte{reply(h, 0, 0, 0, 0, 0, status[0], status[1], status[2], status[3], 0, 0, 0)}
		}
		return [][]byte{reply(h, 0, 0, 0, ata.ErrABRT, 0, ata.StatusError)}
	})
	ctx := context.Background()
	got, raw, err := s.Identify(ctx)
	if err != nil || got.Serial != "S1" || got.Sectors != 1000 || !bytes.Equal(raw, id[:]) {
		t.Fatalf("%+v, %v", got, err)
	}
	short = true
	if _, _, err := s.Identify(ctx); !errors.Is(err, ErrRubbish) {
		t.Errorf("100 bytes of IDENTIFY: %v", err)
	}
	if ok, err := s.SmartStatus(ctx); err != nil || !ok {
		t.Errorf("healthy: %v, %v", ok, err)
	}
	status[2], status[3] = ata.SmartFailMid, ata.SmartFailHigh
	if ok, err := s.SmartStatus(ctx); err != nil || ok {
		t.Errorf("failing: %v, %v", ok, err)
	}
	status[2] = 0
	if _, err := s.SmartStatus(ctx); !errors.Is(err, ErrRubbish) {
		t.Errorf("neither: %v", err)
	}
	if _, err := s.Smart(ctx, ata.SmartReadData, 0, nil, make([]byte, 512)); !errors.Is(err, ErrRefused) {
		t.Errorf("an aborted command: %v", err)
	}
}

// TestSessionPing: each kind of answer is told as what it is.
func TestSessionPing(t *testing.T) {
	t.Parallel()
	var late []byte
	n := 0
	m, s := session(t, SessionOptions{Timeout: 500 * time.Millisecond}, func(_ *made, h aoe.Header, f []byte) [][]byte {
		n++
		ok := reply(h, 0, 0, configBody(0, "")...)
		switch n {
		case 2:
			return [][]byte{ok, ok}
		case 3:
			return nil
		case 4:
			late = ok
			return nil
		case 6:
			strange := slices.Clone(ok)
			strange[11] ^= 0x40
			return [][]byte{strange, late, ok}
		case 7:
			return [][]byte{reply(h, aoe.FlagError, aoe.BadArgument)}
		}
		return [][]byte{ok}
	})
	var got []string
	err := s.PingMany(context.Background(), PingOptions{Count: 7, Interval: 100 * time.Millisecond, Wait: 150 * time.Millisecond, Size: 1000}, func(p Pong) {
		word := "ok"
		switch {
		case p.Strange:
			word = "strange"
		case p.Duplicate:
			word = "duplicate"
		case p.Late:
			word = "late"
		case errors.Is(p.Err, ErrTimeout):
			word = "lost"
		case p.Err != nil:
			word = "refused"
		}
		got = append(got, word+string(rune('0'+p.Seq)))
		if word == "ok" && p.RTT <= 0 || p.Err == nil && p.Bytes != 46 {
			t.Errorf("%+v", p)
		}
	})
	want := "ok1 duplicate2 ok2 lost3 lost4 ok5 ok6 late4 refused7 strange6"
	slices.Sort(got)
	w := strings.Fields(want)
	slices.Sort(w)
	if err != nil || !slices.Equal(got, w) {
		t.Errorf("%v, %v; want %v", got, err, w)
	}
	if err := s.PingMany(context.Background(), PingOptions{Count: 1, Size: 1501}, func(Pong) {}); err == nil || !strings.Contains(err.Error(), "at most 1500") {
		t.Errorf("1501 bytes: %v", err)
	}
	setN := func(v int) { m.mu.Lock(); defer m.mu.Unlock(); n = v }
	setN(2) // the last one is lost: it is waited for, and no longer
	if rtt, err := s.Ping(context.Background(), PingConfig, 0); err == nil || !errors.Is(err, ErrTimeout) {
		t.Errorf("a lost ping: %v, %v", rtt, err)
	}
	setN(10)
	count := 0
	if err := s.PingMany(context.Background(), PingOptions{Count: 5000, Flood: true}, func(p Pong) {
		if p.Err == nil {
			count++
		}
	}); err != nil || count != 5000 {
		t.Errorf("flood: %d answers, %v", count, err)
	}
	s.link.(*mem.Link).SetDown(true) // a flood does not become faster by that
	begun, failures := time.Now(), 0
	if err := s.PingMany(context.Background(), PingOptions{Count: 10, Flood: true, Interval: 20 * time.Millisecond}, func(p Pong) {
		if p.Err != nil {
			failures++
		}
	}); err != nil || failures != 10 || time.Since(begun) < 150*time.Millisecond {
		t.Errorf("while the interface is down: %d failures in %v, %v", failures, time.Since(begun), err)
	}
	s.link.(*mem.Link).SetDown(false)
	if rtt, err := s.Ping(context.Background(), PingConfig, 0); err != nil || rtt <= 0 {
		t.Errorf("one ping: %v, %v", rtt, err)
	}
	if _, err := s.Ping(context.Background(), PingRead, 1058); err == nil {
		t.Errorf("one ping of a target that answers rubbish: %v", err)
	}
}

// FuzzSessionAnswer: whatever a target answers to a config query, a mask or reserve command, or an ATA command, the session ends in an
// error or an answer, and does not panic or read past the frame.
func FuzzSessionAnswer(f *testing.F) {
	f.Add(reply(aoe.Header{Cmd: aoe.CmdConfig}, 0, 0, configBody(0, "hello")...), uint8(0))
	f.Add(reply(aoe.Header{Cmd: aoe.CmdMask}, 0, 0, 0, 1, 0, 200), uint8(2))
	f.Add(reply(aoe.Header{Cmd: aoe.CmdReserve}, aoe.FlagError, aoe.Reserved, 1, 255), uint8(3))
	f.Fuzz(func(t *testing.T, body []byte, kind uint8) {
		cut := slices.Clone(body)[:len(body):len(body)]
		a, b := mem.Pair(1500)
		s, err := dial(a, Target{Addr: addr, MAC: b.Info().MAC}, SessionOptions{Timeout: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close(); _ = b.Close() }()
		for i := range uint32(4) { // the tags that are used next
			if len(cut) >= aoe.HeaderLen {
				h, _ := aoe.DecodeHeader(cut)
				h = aoe.Header{Dst: a.Info().MAC, Src: b.Info().MAC, Version: aoe.Version, Flags: h.Flags | aoe.FlagResponse, Code: h.Code, Addr: addr,
					Cmd: aoe.Command(kind % 4), Tag: ownTag | (s.counter+i+1)&^uint32(ownTag)}
				_, _ = h.Encode(cut)
			}
			a.Put(cut, false, 0)
		}
		ctx := context.Background()
		switch kind % 4 {
		case 0:
			_, _, _ = s.Identify(ctx)
		case 1:
			_, _ = s.Config(ctx, aoe.ConfigRead, nil)
		case 2:
			_, _ = s.MaskEdit(ctx, []aoe.Directive{{Cmd: aoe.MaskAdd, MAC: iMAC}})
		case 3:
			_, _ = s.Reserve(ctx, []aoe.MAC{iMAC})
		}
	})
}
