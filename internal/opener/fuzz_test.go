package opener

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"
)

// FuzzFollow: whatever a client of the control socket sends, all of it gets to the daemon as it came and in its order, and nothing but sources is granted.
func FuzzFollow(f *testing.F) {
	for _, s := range []string{"", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", post(`{"source":"/srv/a"}`), post(`{"source":"/srv/a"}`) + post(`{"changes":[{"Source":"relative"}]}`), "nonsense\n\n",
		post(`{}`, "Expect: 100-continue\r\n") + "rest", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{} \r\n0\r\n\r\nGET"} {
		f.Add([]byte(s), uint8(0))
		f.Add([]byte(s), uint8(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, pieces uint8) {
		s := &Server{rules: &Rules{sources: map[string]bool{}}}
		var client io.Reader = bytes.NewReader(in)
		if pieces&1 != 0 {
			client = iotest.OneByteReader(client)
		}
		var out bytes.Buffer
		s.follow(client, &out, anybody)
		_, _ = io.Copy(&out, client) // as relay does
		if !bytes.Equal(out.Bytes(), in) {
			t.Fatalf("%q became %q", in, out.Bytes())
		}
		for source := range s.rules.sources {
			if !strings.HasPrefix(source, "/") && !strings.Contains(source, "=") && !strings.HasPrefix(source, "mem:") {
				t.Fatalf("%q was granted", source)
			}
		}
	})
}

// FuzzReceive: whatever comes over the socket between the daemon and its opener, reading it ends, with an error or a message, and takes no more memory
// than came.
func FuzzReceive(f *testing.F) {
	msg := func(s string) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }
	for _, s := range []string{`{}`, `{"op":"open","kind":"source","path":"/x","flags":2}`, `{"errno":13}`, `{"files":{"a":"AA=="}}`, `[`} {
		f.Add(msg(s))
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 32<<10 {
			return // more than the socket holds
		}
		c, other, err := pair(unix.SOCK_STREAM)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		o, err := connOf(other)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Write(in); err != nil {
			t.Fatal(err)
		}
		_ = o.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		var q request
		fd, err := receive(c, &q)
		if fd >= 0 {
			t.Fatal("a descriptor came from nowhere")
		}
		if err == nil && len(in) < 4 {
			t.Fatalf("%q is no message, but was taken for %+v", in, q)
		}
	})
}
