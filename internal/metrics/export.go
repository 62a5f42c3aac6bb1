package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"goaoe/internal/control"
	"goaoe/internal/stats"
)

// Operations, the values of the label op.
const (
	opRead    = "read"
	opWrite   = "write"
	opFlush   = "flush"
	opDiscard = "discard"
	opOther   = "other"
)

// latencyBounds are the bounds of the buckets in nanoseconds: powers of two from 8 us to 17 s. They are bounds of the counters' own,
// finer buckets too, so that what is counted up to one of them is exact.
var latencyBounds = func() []int64 {
	var b []int64
	for shift := 13; shift <= 34; shift++ {
		b = append(b, 1<<shift)
	}
	return b
}()

// export sends the counters of one export.
func (s sender) export(e *control.ExportStats) {
	a := e.Address
	for _, x := range []struct {
		op string
		n  uint64
	}{{opRead, e.Reads}, {opWrite, e.Writes}, {opFlush, e.Flushes}, {opDiscard, e.Discards}, {opOther, e.Others}} {
		s.count(ExportRequests, x.n, a, x.op)
	}
	s.count(ExportRead, e.ReadBytes, a)
	s.count(ExportWritten, e.WriteBytes, a)
	s.counts(ExportErrors, e.ErrorKinds, a)
	s.counts(ExportRejects, e.RejectKinds, a)
	s.counts(ExportDrops, e.Drops, a)
	s.count(ExportRetransmits, e.Retransmits, a)
	s.count(ExportWaits, e.Waits, a)
	s.count(ExportStalls, e.Stalls, a)
	s.count(ExportLimited, e.Limited, a)
	s.count(ExportViews, e.Views, a)
	s.count(ExportStateRequests, e.Slow, a)
	s.count(ExportStorageOps, e.Storage.Ops, a)
	s.count(ExportBatches, e.Storage.Batches, a)
	s.count(ExportSyncs, e.Storage.Syncs, a)
	s.count(ExportMerged, e.Storage.Merged, a)
	s.count(ExportWriteNow, e.Storage.WriteNow, a)
	s.count(ExportWritePauses, e.Storage.WriteNowPauses, a)
	s.count(ExportSyncWrites, e.Storage.SyncWrites, a)
	s.count(ExportInFlight, e.InFlight, a)
	s.count(ExportQueued, e.Queued, a)
	s.count(ExportQueueLimit, e.Limit, a)
	// A latency of reads and writes is always there, so that a rate over it starts at zero; the rarer ones come with their first request.
	s.latency(e.Latency.Read, a, opRead)
	s.latency(e.Latency.Write, a, opWrite)
	if e.Latency.Flush.Count > 0 {
		s.latency(e.Latency.Flush, a, opFlush)
	}
	if e.Latency.Other.Count > 0 {
		s.latency(e.Latency.Other, a, opOther)
	}
}

// latency sends one histogram.
func (s sender) latency(h stats.HistogramSnapshot, labels ...string) {
	// The count is that of the buckets: the lane goes on while it is read, and a bucket above the count would be nonsense.
	var total uint64
	for _, b := range h.Buckets {
		total += b.N
	}
	buckets := make(map[float64]uint64, len(latencyBounds))
	var n uint64
	i := 0
	for _, le := range latencyBounds {
		for ; i < len(h.Buckets) && h.Buckets[i].LE <= le; i++ {
			n += h.Buckets[i].N
		}
		buckets[float64(le)/1e9] = n
	}
	m, err := prometheus.NewConstHistogram(descs[ExportLatency], total, seconds(h.SumNs), buckets, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(descs[ExportLatency], err)
	}
	s.ch <- m
}
