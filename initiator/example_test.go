package initiator_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"goaoe/aoe"
	"goaoe/initiator"
)

// Find everybody on an interface, as the answers come.
func ExampleDiscover() {
	ctx := context.Background()
	for t, err := range initiator.Discover(ctx, initiator.Search{Interfaces: []string{"eth0"}, Wait: 200 * time.Millisecond}) {
		if err != nil {
			log.Print(err) // this interface could not be asked; others may be
			continue
		}
		fmt.Printf("%v: %d sectors a frame, %d frames at a time\n", t, t.Payload(), t.BufferCount)
	}
	// Output: e0.1 (02:00:00:00:00:a0 on eth0): 17 sectors a frame, 16 frames at a time
}

// Use a disk like a file.
func ExampleOpen() {
	addr, err := aoe.ParseAddr("e0.1")
	if err != nil {
		log.Fatal(err)
	}
	disk, err := initiator.Open(context.Background(), addr, initiator.Options{Interfaces: []string{"eth0"}, Timeout: 10 * time.Second})
	if errors.Is(err, initiator.ErrNotFound) {
		log.Fatal("it is not there")
	} else if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	fmt.Println(disk.Size(), "bytes,", disk.Identity().Model)

	if _, err := disk.WriteAt(bytes.Repeat([]byte("goaoe "), 4096)[:8192], 1<<20); err != nil {
		log.Fatal(err)
	}
	if err := disk.Flush(context.Background()); err != nil {
		log.Fatal(err)
	}
	b := make([]byte, 8192)
	if _, err := disk.ReadAt(b, 1<<20); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", b[:12])
	// Output:
	// 16777216 bytes, goaoe disk
	// goaoe goaoe
}

// Use a disk over two interfaces, and be told what happens to them.
func ExampleOptions() {
	up := make(chan string, 2)
	disk, err := initiator.Open(context.Background(), aoe.Addr{Major: 0, Minor: 1}, initiator.Options{
		Interfaces: []string{"eth0", "eth1"},
		OnEvent: func(e initiator.Event) {
			switch e.Kind {
			case initiator.PathUp:
				up <- e.Path.Interface
			case initiator.PathDown, initiator.PathRefused:
				log.Printf("%s: %v: %v", e.Path.Interface, e.Kind, e.Err)
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	<-up
	<-up
	for _, p := range disk.Paths() {
		fmt.Println(p.Interface, p.MAC, p.State, p.Sectors)
	}
	// Output:
	// eth0 02:00:00:00:00:a0 up 17
	// eth1 02:00:00:00:00:a1 up 17
}

// Give up on a read after a while. The buffer is free again when ReadAtContext has returned.
func ExampleDisk_ReadAtContext() {
	disk, err := initiator.Open(context.Background(), aoe.Addr{Major: 0, Minor: 1}, initiator.Options{Interfaces: []string{"eth0"}})
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	n, err := disk.ReadAtContext(ctx, make([]byte, 4096), 8192)
	fmt.Println(n, err)
	// Output: 4096 <nil>
}

// Keep many requests under way from one goroutine.
func ExampleQueue() {
	disk, err := initiator.Open(context.Background(), aoe.Addr{Major: 0, Minor: 1}, initiator.Options{Interfaces: []string{"eth0"}})
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	q := disk.NewQueue(16)
	defer q.Close()
	const chunk = 64 << 10
	var next, total int64
	submit := func(r *initiator.Request) {
		if next < disk.Size() {
			r.Off = next
			next += chunk
			if err := q.Submit(r); err != nil {
				log.Fatal(err)
			}
		}
	}
	for range 16 {
		submit(&initiator.Request{Op: initiator.Read, Buf: make([]byte, chunk)})
	}
	done := make([]*initiator.Request, 16)
	for {
		n, err := q.Wait(context.Background(), done)
		if err != nil {
			log.Fatal(err)
		}
		if n == 0 { // none is outstanding
			break
		}
		for _, r := range done[:n] {
			if r.Err != nil {
				log.Fatal(r.Err)
			}
			total += int64(len(r.Buf))
			submit(r)
		}
	}
	fmt.Println(total, "bytes read")
	// Output: 16777216 bytes read
}
