package file

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"goaoe/internal/stats"
	"goaoe/internal/store"
	"goaoe/internal/store/storetest"
)

// parse makes operations of a list such as "read 8+2, write 10+1 durable": where from and how much, in sectors.
func parse(t *testing.T, list string) []*store.Op {
	t.Helper()
	var out []*store.Op
	for i, s := range strings.Split(list, ", ") {
		op := &store.Op{Kind: store.Read, User: uint32(i)}
		if strings.HasPrefix(s, "write") {
			op.Kind = store.Write
		}
		if strings.HasPrefix(s, "discard") {
			op.Kind = store.Discard
		}
		op.Durable = strings.HasSuffix(s, " durable")
		n := 0
		if _, err := fmt.Sscanf(s[strings.Index(s, " ")+1:], "%d+%d", &op.Off, &n); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		op.Off *= 512
		op.Len = int64(n) * 512
		op.Buf = bytes.Repeat([]byte{byte(i + 1)}, n*512)
		out = append(out, op)
	}
	return out
}

// TestRuns: what lies side by side and comes in one turn goes to the disk as one, and nothing else does.
func TestRuns(t *testing.T) {
	var many, far []string
	for i := range 70 {
		many = append(many, fmt.Sprintf("read %d+1", i))
	}
	for i := range 5 {
		far = append(far, fmt.Sprintf("write %d+160", i*160))
	}
	for _, tc := range []struct {
		name, ops, want string
		merged          uint64
	}{
		{"side by side", "read 8+2, read 10+1, read 11+4", "read 8+7", 2},
		{"writes", "write 0+1, write 1+1", "write 0+2", 1},
		{"a gap", "read 8+2, read 11+2", "read 8+2, read 11+2", 0},
		{"the same again", "read 8+2, read 8+2", "read 8+2, read 8+2", 0},
		{"backwards", "read 10+2, read 8+2", "read 10+2, read 8+2", 0},
		{"other kinds", "read 8+2, write 10+2, read 12+2", "read 8+2, write 10+2, read 12+2", 0},
		{"durable and not", "write 8+2, write 10+2 durable, write 12+2 durable", "write 8+2, write 10+4", 1},
		{"two runs", "write 8+2, write 10+2, write 20+1, write 21+1", "write 8+4, write 20+2", 2},
		{"a discard between", "write 8+2, discard 100+1, write 10+2", "write 8+4", 1},
		{"many", strings.Join(many, ", "), "read 0+32, read 32+32, read 64+6", 67},
		{"much", strings.Join(far, ", "), "write 0+480, write 480+320", 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := &handDisk{}
			var set store.Set
			ch, err := NewStepped(1<<20, false, d).Channel(&set)
			if err != nil {
				t.Fatal(err)
			}
			var n stats.Store
			ch.(store.Counting).CountTo(&n)
			for _, op := range parse(t, tc.ops) {
				ch.Submit(op)
			}
			set.Executors()[0].Flush()
			if got := strings.Join(d.what, ", "); got != tc.want {
				t.Errorf("the disk got %s\nwant %s", got, tc.want)
			}
			if got := n.Merged.Load(); got != tc.merged {
				t.Errorf("%d counted, want %d", got, tc.merged)
			}
		})
	}
}

// TestRunsEnd: each request of a run has its own result. What the disk did not move of them it is asked for again, one by one.
func TestRunsEnd(t *testing.T) {
	const eio, eintr = -int32(unix.EIO), -int32(unix.EINTR)
	for _, tc := range []struct {
		name  string
		first int32 // result of the run of three times 1 KiB
		again string
		then  []int32
		errno [3]unix.Errno
		done  [3]int // bytes, where there is an error
	}{
		{"all", 3072, "", nil, [3]unix.Errno{}, [3]int{}},
		{"up to a request", 2048, "4+2", []int32{1024}, [3]unix.Errno{}, [3]int{}},
		{"up to the middle of a request", 1536, "3+1, 4+2", []int32{512, 1024}, [3]unix.Errno{}, [3]int{}},
		{"the second is bad", eio, "0+2, 2+2, 4+2", []int32{1024, eio, 1024}, [3]unix.Errno{0, unix.EIO, 0}, [3]int{}},
		{"the second is bad, in the middle", 1536, "3+1, 4+2", []int32{eio, 1024}, [3]unix.Errno{0, unix.EIO, 0}, [3]int{0, 512, 0}},
		{"interrupted", eintr, "0+2, 2+2, 4+2", []int32{1024, 1024, 1024}, [3]unix.Errno{}, [3]int{}},
		{"the end came early", 1024, "2+2, 4+2", []int32{0, 0}, [3]unix.Errno{0, unix.EIO, unix.EIO}, [3]int{}},
		{"nothing", 0, "0+2, 2+2, 4+2", []int32{0, 0, 0}, [3]unix.Errno{unix.EIO, unix.EIO, unix.EIO}, [3]int{}},
		{"no memory", -int32(unix.ECANCELED), "0+2, 2+2, 4+2", []int32{1024, -int32(unix.ECANCELED), 1024}, [3]unix.Errno{0, unix.ENOMEM, 0}, [3]int{}},
	} {
		for _, kind := range []string{"read", "write"} {
			t.Run(kind+", "+tc.name, func(t *testing.T) {
				d := &handDisk{}
				var set store.Set
				ch, err := NewStepped(1<<20, false, d).Channel(&set)
				if err != nil {
					t.Fatal(err)
				}
				x := set.Executors()[0]
				ops := parse(t, strings.ReplaceAll("K 0+2, K 2+2, K 4+2", "K", kind))
				for _, op := range ops {
					ch.Submit(op)
				}
				x.Flush()
				whole := d.bufs[0]
				if kind == "read" {
					copy(whole, bytes.Repeat([]byte{'a'}, 1024))
					copy(whole[1024:], bytes.Repeat([]byte{'b'}, 1024))
					copy(whole[2048:], bytes.Repeat([]byte{'c'}, 1024))
				} else if want := slices.Concat(ops[0].Buf, ops[1].Buf, ops[2].Buf); !bytes.Equal(whole, want) {
					t.Fatal("the disk gets other data than was submitted")
				}
				d.what = nil
				end(&d.transfers, tc.first)
				var done [4]*store.Op
				n := x.Reap(done[:])
				if got := strings.ReplaceAll(strings.Join(d.what, ", "), kind+" ", ""); got != tc.again {
					t.Fatalf("asked for again: %s, want %s", got, tc.again)
				}
				for i, res := range tc.then {
					if kind == "read" && res > 0 {
						copy(d.bufs[1+i], bytes.Repeat([]byte{'r'}, int(res)))
					}
					end(&d.transfers, res)
				}
				n += x.Reap(done[n:])
				if n != 3 {
					t.Fatalf("%d operations came back", n)
				}
				for i, op := range ops {
					if !slices.Contains(done[:3], op) {
						t.Errorf("operation %d did not come back", i)
					}
					if op.Errno != tc.errno[i] || op.Errno != 0 && op.Done != tc.done[i] {
						t.Errorf("operation %d: %v after %d bytes, want %v after %d", i, op.Errno, op.Done, tc.errno[i], tc.done[i])
					}
				}
				if kind == "read" && tc.first == 3072 && (ops[0].Buf[1023] != 'a' || ops[1].Buf[0] != 'b' || ops[2].Buf[0] != 'c' || ops[2].Buf[1023] != 'c') {
					t.Error("the data is not that of the disk")
				}
			})
		}
	}
}

// TestRunsOfFiles: on a file that was cut short behind our back requests in front of its end succeed and those behind it fail, with each executor; and all that was
// written is where it belongs.
func TestRunsOfFiles(t *testing.T) {
	for _, tc := range []struct {
		name   string
		o      Options
		merged uint64
	}{
		{"io_uring", Options{Engine: "io_uring"}, 7},
		{"io_uring, direct", Options{Engine: "io_uring", Direct: true}, 7},
		{"io_uring, not merged", Options{Engine: "io_uring", NoMerge: true}, 0},
		{"io_uring, writes by the ring", Options{Engine: "io_uring", WriteNow: "off"}, 7},
		{"io_uring, writes at once", Options{Engine: "io_uring", WriteNow: "on"}, 7},
		{"threads", Options{Engine: "threads"}, 7},
		{"threads, direct", Options{Engine: "threads", Direct: true}, 7},
		{"threads, not merged", Options{Engine: "threads", NoMerge: true}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := sparse(t, 1<<20)
			r := storetest.NewRig(t, mustOpen(t, path, tc.o))
			var n stats.Store
			r.Chan.(store.Counting).CountTo(&n)
			ops := make([]store.Op, 8)
			submit := func(kind store.Kind, durable bool) {
				t.Helper()
				before := n.Merged.Load()
				for i := range ops {
					ops[i].Kind, ops[i].Durable, ops[i].Off = kind, durable, 64<<10+int64(i)*4096
					r.Chan.Submit(&ops[i])
				}
				r.Wait(len(ops))
				if got := n.Merged.Load() - before; got != tc.merged {
					t.Errorf("%d requests went with another, want %d", got, tc.merged)
				}
			}
			for i := range ops {
				ops[i].Buf = r.Buf(4096)
				copy(ops[i].Buf, bytes.Repeat([]byte{byte('a' + i)}, 4096))
			}
			submit(store.Write, false)
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := range ops {
				at := 64<<10 + i*4096
				if ops[i].Errno != 0 || !bytes.Equal(got[at:at+4096], ops[i].Buf) {
					t.Errorf("write %d: %v, or it is not in the file", i, ops[i].Errno)
				}
				clear(ops[i].Buf)
			}
			submit(store.Write, true)
			if got, err = os.ReadFile(path); err != nil || !bytes.Equal(got[64<<10:96<<10], make([]byte, 32<<10)) {
				t.Errorf("durable writes are not in the file (%v)", err)
			}
			if err := os.WriteFile(path, bytes.Repeat([]byte{'x'}, 64<<10+3*4096), 0o600); err != nil { // cut in the middle of the run
				t.Fatal(err)
			}
			submit(store.Read, false)
			for i := range ops {
				want := unix.Errno(0)
				if i >= 3 {
					want = unix.EIO
				}
				if ops[i].Errno != want || want == 0 && !bytes.Equal(ops[i].Buf, bytes.Repeat([]byte{'x'}, 4096)) {
					t.Errorf("read %d: %v, want %v, or other data than the file's", i, ops[i].Errno, want)
				}
			}
		})
	}
}
