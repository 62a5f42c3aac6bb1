package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/bits"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/initiator"
	"goaoe/internal/control"
	"goaoe/internal/control/apitest"
	"goaoe/internal/testnet"
	"goaoe/test/need"
	"goaoe/test/program"
)

// daemon is goaoe serve in a network namespace, with the page at 127.0.0.1:8480 of it, which forwarded leads to.
type daemon struct {
	*testing.T
	ns        *testnet.NS
	dir, file string
	bin       string
	cmd       *exec.Cmd
	log       *program.Log
	forwarded string
}

func serve(t *testing.T, exports string) *daemon {
	t.Helper()
	need.Root(t)
	need.Programs(t, "chromium")
	dir, err := os.MkdirTemp("", "goaoe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &daemon{T: t, dir: dir, file: filepath.Join(dir, "goaoe.toml"), bin: program.Goaoe(t)}
	text := fmt.Sprintf("[global]\nstate-directory = %q\n[control]\nsocket = %q\n[web]\nlisten = \"127.0.0.1:8480\"\ntoken-file = %q\n[defaults]\ninterfaces = [\"va\"]\n%s", dir+"/state", dir+"/s", dir+"/token", exports)
	for name, content := range map[string]string{"goaoe.toml": text, "token": token + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.ns, _, _ = testnet.Pair(t, 9000)
	d.forward()
	d.start()
	t.Cleanup(func() {
		d.end()
		if t.Failed() {
			t.Logf("log of the daemon:\n%s", d.log)
		}
	})
	return d
}

func (d *daemon) start() {
	d.Helper()
	d.log = &program.Log{}
	d.cmd = exec.Command(d.bin, "serve", "-c", d.file)
	d.cmd.Stderr = d.log
	d.ns.Start(d.cmd)
	for end := time.Now().Add(patience); !strings.Contains(d.log.String(), "goaoe: ready"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			d.Fatalf("the daemon is not ready:\n%s", d.log)
		}
	}
}

func (d *daemon) end() {
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Signal(unix.SIGTERM)
	if err := d.cmd.Wait(); err != nil {
		d.Errorf("the daemon ended by %v", err)
	}
	d.cmd = nil
}

// forward leads connections from outside of the namespace to the page.
func (d *daemon) forward() {
	d.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.Fatal(err)
	}
	d.forwarded = "http://" + l.Addr().String() + "/"
	d.Cleanup(func() { _ = l.Close() })
	to := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8480}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			var out *net.TCPConn
			d.ns.Do(func() { out, err = net.DialTCP("tcp4", nil, to) })
			if err != nil {
				_ = in.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				go func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = in.Close()
					_ = out.Close()
				}()
			}
		}
	}()
}

// export asks the daemon for an export by its socket; nil: there is none.
func (d *daemon) export(address string) *control.Export {
	d.Helper()
	c := control.NewClient(d.dir + "/s")
	defer c.Close()
	list, err := c.Exports(context.Background())
	if err != nil {
		d.Fatal(err)
	}
	for i := range list {
		if list[i].Address == address {
			return &list[i]
		}
	}
	return nil
}

// disk opens an export at the other end of the wire.
func (d *daemon) disk(address string) *initiator.Disk {
	d.Helper()
	addr, err := aoe.ParseAddr(address)
	if err != nil {
		d.Fatal(err)
	}
	var disk *initiator.Disk
	d.ns.Do(func() {
		disk, err = initiator.Open(context.Background(), addr, initiator.Options{Interfaces: []string{"vb"}, Timeout: patience})
	})
	if err != nil {
		d.Fatalf("opening %s: %v", address, err)
	}
	d.Cleanup(func() { _ = disk.Close() })
	return disk
}

// announceAsAnother announces an address at the other end of the wire, as a second target would.
func (d *daemon) announceAsAnother(address string) {
	d.Helper()
	addr, err := aoe.ParseAddr(address)
	if err != nil {
		d.Fatal(err)
	}
	d.ns.Do(func() {
		protocol := bits.ReverseBytes16(aoe.EtherType)
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(protocol))
		if err != nil {
			d.Fatal(err)
		}
		defer func() { _ = unix.Close(fd) }()
		vb, err := net.InterfaceByName("vb")
		if err != nil {
			d.Fatal(err)
		}
		frame := make([]byte, 1500)
		h := aoe.Header{Dst: aoe.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, Src: aoe.MAC{2, 0, 0, 0, 0, 0x77}, Version: aoe.Version, Flags: aoe.FlagResponse, Addr: addr, Cmd: aoe.CmdConfig}
		n := 0
		if _, err = h.Encode(frame); err == nil {
			n, err = (&aoe.Config{BufferCount: 16, Sectors: 2}).Encode(frame)
		}
		if err == nil {
			err = unix.Sendto(fd, frame[:max(n, 60)], 0, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: vb.Index})
		}
		if err != nil {
			d.Fatal(err)
		}
	})
}

// TestDaemon: the page of a real daemon, while an initiator reads and writes: it shows that, adds, changes and removes exports, is told of somebody
// who was quicker, and survives the daemon.
func TestDaemon(t *testing.T) {
	d := serve(t, "[[export]]\naddress = \"0.1\"\nsource = \"mem:64M\"\nname = \"first\"\n[[export]]\naddress = \"0.2\"\nsource = \"mem:1M\"\ninterfaces = [\"eth9\"]\n")
	image := filepath.Join(d.dir, "disk.img")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 8<<20); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	disk := d.disk("e0.1")
	wg.Go(func() {
		buf := make([]byte, 64<<10)
		for n := int64(0); ctx.Err() == nil; n++ {
			if _, err := disk.WriteAt(buf, n%512*64<<10); err == nil {
				_, _ = disk.ReadAt(buf, n%512*64<<10)
			}
			time.Sleep(2 * time.Millisecond)
		}
	})
	defer wg.Wait()
	defer stop()

	p := visit(t, d.forwarded, desktop).ready()
	p.until("the export is there", `document.querySelectorAll("#exporttable tbody tr").length === 2`)
	for _, c := range []struct{ table, row, column, want string }{
		{"exporttable", "e0.1", "State", "serving"}, {"exporttable", "e0.1", "Size", "64 MiB"}, {"exporttable", "e0.1", "Interfaces", "va"},
		{"interfacetable", "va", "MTU", "9000"}, {"interfacetable", "va", "State", "serving"},
	} {
		if got := p.cell(c.table, c.row, c.column); got != c.want {
			t.Errorf("%s of %s: %q, want %q", c.column, c.row, got, c.want)
		}
	}
	p.has("waiting: interface eth9 does not exist")
	p.until("the initiator is there", `document.querySelectorAll("#initiatortable tbody tr").length === 1`)
	p.until("what it does is shown", `/^[1-9].*B\/s$/.test(document.querySelector("#tiles > div:nth-child(4) dd span").innerText) && /^[1-9].*B\/s$/.test(document.querySelector("#tiles > div:nth-child(5) dd span").innerText)`)
	p.until("charts have lines", `document.querySelectorAll("#chartbox path.line").length === 6`)
	d.announceAsAnother("e0.1")
	p.has("another target at 02:00:00:00:00:77 announces the same address on va")
	p.has("two disks under one address get mixed up, which destroys data")
	p.shot("page")

	// Add.
	p.unlock()
	p.press("Add an export")
	p.fill("address", "1.0")
	p.fill("source", filepath.Join(d.dir, "typo.img"))
	p.fill("queue-length", "5000")
	p.press("Add")
	p.has("queue-length: 5000 is out of range")
	p.fill("queue-length", "32")
	p.fill("source", image)
	p.press("Add")
	p.closed()
	p.has("e1.0 was added")
	p.until("it is in the table", `document.querySelector('#exporttable a[href="#e1.0"]')`)
	e := d.export("e1.0")
	if e == nil || e.State != control.StateServing || e.Source != image || e.Settings["queue-length"] != "32" || e.Unsaved {
		t.Fatalf("the daemon has %+v", e)
	}
	if b, err := os.ReadFile(filepath.Join(d.dir, "conf.d", "e1.0.toml")); err != nil || !strings.Contains(string(b), image) {
		t.Errorf("it is not saved: %s, %v", b, err)
	}
	added := d.disk("e1.0")
	if _, err := added.WriteAt([]byte("by the page, to the disk"+strings.Repeat(".", 488)), 0); err != nil {
		t.Errorf("writing to what was added: %v", err)
	}

	// Change it, and be too late once.
	p.open("e1.0")
	p.press("Change settings")
	p.tick("read-only")
	c := control.NewClient(d.dir + "/s")
	defer c.Close()
	if r, err := c.Change(ctx, &control.ChangeRequest{Changes: []control.Change{{Op: control.OpSet, Address: "1.0", Settings: map[string]string{"name": "quicker"}}}}); err != nil || r.Results[0].Error != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	p.press("Apply")
	p.has("Somebody else changed e1.0 in the meantime. Nothing of yours was applied.")
	if e := d.export("e1.0"); e.Settings["read-only"] != "false" || e.Name != "quicker" {
		t.Errorf("the daemon has %v", e.Settings)
	}
	p.press("Show its settings of now")
	p.until("they are there", `document.querySelector("dialog:last-of-type [name=name]").value === "quicker"`)
	p.tick("read-only")
	p.press("Apply")
	p.has("e1.0 was changed")
	if e := d.export("e1.0"); e.Settings["read-only"] != "true" || e.Name != "quicker" {
		t.Errorf("the daemon has %v", e.Settings)
	}
	if _, err := added.WriteAt(make([]byte, 512), 0); err == nil {
		t.Error("a read-only export takes a write")
	}

	// Remove it, which is in use.
	p.expectFailures() // the page may ask once more for what is gone, and the daemon is ended below
	p.press("Remove")
	p.has("It is in use by:")
	p.seen("remove")
	p.tick("force")
	p.press("Remove")
	p.closed()
	p.until("it is gone", `!document.querySelector('#exporttable a[href="#e1.0"]')`)
	if e := d.export("e1.0"); e != nil {
		t.Errorf("the daemon has %+v", e)
	}
	if _, err := os.Stat(filepath.Join(d.dir, "conf.d", "e1.0.toml")); err == nil {
		t.Error("its file is still there")
	}
	if b, err := os.ReadFile(image); err != nil || !bytes.HasPrefix(b, []byte("by the page, to the disk")) {
		t.Errorf("what was written is not in the file: %v", err)
	}

	// Reload.
	f, err := os.OpenFile(d.file, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("[[export]]\naddress = \"3.3\"\nsource = \"mem:1M\"\n")
		_ = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.press("Reload configuration")
	p.has("add e3.3")
	p.press("Apply")
	p.closed()
	p.until("what the file adds is there", `document.querySelector('#exporttable a[href="#e3.3"]')`)

	// The daemon ends and comes again.
	d.end()
	p.until("it says that nobody answers", `/goaoe does not answer/.test(document.querySelector("#gone").innerText)`)
	d.start()
	p.until("it goes on", `document.querySelector("#gone").hidden && document.querySelectorAll("#exporttable tbody tr").length === 3`)
	p.run(chromedp.Reload())
	p.ready()
	p.until("and so does the initiator", `document.querySelectorAll("#initiatortable tbody tr").length === 1`)

	// What the socket says all the while is as described.
	spec := apitest.Load(t)
	for _, path := range []string{"status", "exports", "exports/0.1", "interfaces", "stats", "plan", "config"} {
		conn, err := net.Dial("unix", d.dir+"/s")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /v1/%s HTTP/1.0\r\n\r\n", path)
		b, _ := io.ReadAll(conn)
		_ = conn.Close()
		_, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
		if !json.Valid(body) {
			t.Errorf("%s: %s", path, b)
		}
		for _, wrong := range spec.Check("GET", "/v1/"+path, nil, 200, "application/json", body) {
			t.Error(wrong)
		}
	}
}
