// Package initiator is the other end of ATA over Ethernet in user space: it finds targets and uses their disks without a
// kernel driver. It needs permission for packet sockets (CAP_NET_RAW).
//
//	for t, err := range initiator.Discover(ctx, initiator.Search{}) { ... }
//	disk, err := initiator.Open(ctx, aoe.Addr{Major: 0, Minor: 1}, initiator.Options{})
//	n, err := disk.ReadAt(buf, 4096)
//
// A Disk splits what it is asked into frames, keeps as many of them outstanding as the target takes, repeats what got no
// answer, and never has two requests under way whose sectors overlap unless both are reads: the network may deliver a
// delayed copy of a write after its repetition was answered, and only waiting keeps that from undoing newer data.
package initiator
