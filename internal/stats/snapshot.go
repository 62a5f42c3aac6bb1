package stats

import "time"

// The snapshots are what readers work with: plain values, summed over lanes, ready for JSON. Counters only grow while the process
// lives, also over a restart of an export. "Clearing" statistics means that the reader keeps a snapshot as a baseline and shows
// snapshot.Sub(baseline); the hot path never sets anything back. Rates are a Sub of two snapshots divided by the time between them.

// Counts are counters by name, without those that are zero. A nil map has none.
type Counts map[string]uint64

// Latency is how long requests took, by what they asked for: from the arrival of the frame (the kernel's time stamp, where there is
// one) until the reply was handed to the kernel. Only requests that got a reply are in it, with success or with an error.
type Latency struct {
	Read  HistogramSnapshot `json:"read"`
	Write HistogramSnapshot `json:"write"`
	Flush HistogramSnapshot `json:"flush"` // flush and discard
	Other HistogramSnapshot `json:"other"` // answered without storage: config query, IDENTIFY, refusals, ...
}

// ExportSnapshot is what happened to one export.
type ExportSnapshot struct {
	Reads      uint64 `json:"reads"`    // done with success, as all up to WriteBytes
	Writes     uint64 `json:"writes"`   //
	Flushes    uint64 `json:"flushes"`  //
	Discards   uint64 `json:"discards"` // TRIM commands
	Others     uint64 `json:"others"`   // answered without storage
	ReadBytes  uint64 `json:"read_bytes"`
	WriteBytes uint64 `json:"write_bytes"`

	Views       uint64 `json:"views"`       // reads that were sent out of the storage's own memory, without a copy
	Waits       uint64 `json:"waits"`       // requests that waited for an earlier one of the same sectors
	Stalls      uint64 `json:"stalls"`      // requests that waited because queue-length operations were on the store
	Limited     uint64 `json:"limited"`     // requests that waited because their initiator had used up its limits
	Retransmits uint64 `json:"retransmits"` // requests seen again: see Export.Retransmits
	Slow        uint64 `json:"slow_path"`   // requests that change persistent state (config string, mask, reserve), handed to the daemon

	Errors      uint64 `json:"errors"`                 // error replies because storage failed
	ErrorKinds  Counts `json:"error_kinds,omitempty"`  // the same by ErrorKind
	Rejects     uint64 `json:"rejects"`                // error replies because of the request
	RejectKinds Counts `json:"reject_kinds,omitempty"` // the same by RejectKind
	Drops       Counts `json:"drops,omitempty"`        // requests that got no reply, by Drop

	// What is in the engine at the moment of the snapshot; Sub keeps the newer value.
	InFlight uint64 `json:"in_flight"` // operations on the store
	Queued   uint64 `json:"queued"`    // requests that wait for an earlier one, for room on the store, for their initiator's limits, or to be sent
	Limit    uint64 `json:"limit"`     // queue-length in force

	Latency Latency       `json:"latency"`
	Storage StoreSnapshot `json:"storage"`
}

// StoreSnapshot is how requests were grouped on their way to the storage.
type StoreSnapshot struct {
	Ops            uint64 `json:"ops"`              // operations handed to the storage (a discard may be several)
	Batches        uint64 `json:"batches"`          // turns of the lane in which there were any: Ops/Batches is the mean batch
	Syncs          uint64 `json:"syncs"`            // times that data was made durable on its own (fdatasync)
	SyncWrites     uint64 `json:"sync_writes"`      // durable writes and flushes that these covered: SyncWrites/Syncs share one
	Merged         uint64 `json:"merged"`           // requests that went to the disk with the one before them, as one operation
	WriteNow       uint64 `json:"write_now"`        // writes that the lane put into the page cache itself
	WriteNowPauses uint64 `json:"write_now_pauses"` // times that it gave that up for a while, because one took long
}

// PortSnapshot is what happened on one interface, in all lanes.
type PortSnapshot struct {
	RxFrames    uint64 `json:"rx_frames"`
	RxBytes     uint64 `json:"rx_bytes"` // from the Ethernet header on, without FCS
	RxBatches   uint64 `json:"rx_batches"`
	TxFrames    uint64 `json:"tx_frames"`
	TxBytes     uint64 `json:"tx_bytes"`
	TxBatches   uint64 `json:"tx_batches"`    // system calls that sent
	TxXDP       uint64 `json:"tx_xdp_frames"` // frames that left by AF_XDP, past queueing disciplines and captures
	TxErrors    uint64 `json:"tx_errors"`
	TxFull      uint64 `json:"tx_full"`         // times that the kernel's send queue was full
	KernelDrops uint64 `json:"kernel_drops"`    // frames lost because the receive ring was full
	Drops       Counts `json:"drops,omitempty"` // received frames that got no reply, by Drop
}

// InitiatorSnapshot is what one initiator did with one export.
type InitiatorSnapshot struct {
	// MAC is the initiator's address, as "02:00:00:00:00:01"; empty in the entry that stands for all that had no room in the tables.
	MAC       string `json:"mac"`
	Interface string `json:"interface,omitempty"` // where its last request came in

	Requests    uint64 `json:"requests"` // all that were addressed to the export, whatever became of them
	Reads       uint64 `json:"reads"`    // done with success, as all up to WriteBytes
	Writes      uint64 `json:"writes"`
	ReadBytes   uint64 `json:"read_bytes"`
	WriteBytes  uint64 `json:"write_bytes"`
	Errors      uint64 `json:"errors"`      // error replies because storage failed
	Rejects     uint64 `json:"rejects"`     // error replies because of the request, those of Denied too
	Denied      uint64 `json:"denied"`      // refused by an access list, a MAC mask list or a reservation, with a reply or with silence
	Drops       uint64 `json:"drops"`       // got no reply, for whatever reason
	Retransmits uint64 `json:"retransmits"` // see Export.Retransmits
	Limited     uint64 `json:"limited"`     // waited because it had used up its limits
	BusyNs      uint64 `json:"busy_ns"`     // sum of the latencies of storage requests; divided by time: how many were under way on average

	InFlight uint64 `json:"in_flight"` // requests for storage under way at this moment; Sub keeps the newer value

	// FirstSeen is when its counters began. An initiator that was idle for IdleAfter may lose them to another and begin anew.
	FirstSeen time.Time `json:"first_seen,omitzero"`
	LastSeen  time.Time `json:"last_seen,omitzero"` // of its last request, any; Sub keeps the newer value
	LastATA   time.Time `json:"last_ata,omitzero"`  // of its last ATA command that was accepted: it uses the disk
}

// LaneSnapshot is the work of one lane.
type LaneSnapshot struct {
	Turns   uint64 `json:"turns"`    // that found work
	Sleeps  uint64 `json:"sleeps"`   // times that it slept
	Spins   uint64 `json:"spins"`    // times that work came while it looked for some
	SleepNs uint64 `json:"sleep_ns"` // time asleep: the rest is work, and spinning
	SpinNs  uint64 `json:"spin_ns"`  // time spent looking for work
	// Slots are the requests that the lane has memory for, and how many are used at this moment; Sub keeps the newer value.
	Slots     uint64 `json:"slots"`
	SlotsUsed uint64 `json:"slots_used"`
}

// HistogramSnapshot is a distribution of times. Buckets are ordered and leave out those that are empty.
type HistogramSnapshot struct {
	Count   uint64   `json:"count"`
	SumNs   uint64   `json:"sum_ns"`
	Buckets []Bucket `json:"buckets,omitempty"`
}

// Bucket counts the times that were longer than the bucket before and not longer than LE nanoseconds. The bounds are the same in
// all histograms: BucketBounds. The last one, of about 69 seconds, also counts everything longer.
type Bucket struct {
	LE int64  `json:"le_ns"`
	N  uint64 `json:"n"`
}
