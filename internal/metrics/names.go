package metrics

import "github.com/prometheus/client_golang/prometheus"

// Names of the metrics. They are an interface: dashboards and alerts of users hold on to them, so a name is never changed or reused.
const (
	BuildInfo = "goaoe_build_info"
	StartTime = "goaoe_start_time_seconds"
	Up        = "goaoe_up"
	Unsaved   = "goaoe_unsaved_exports"
	Waiting   = "goaoe_waiting"
	Problem   = "goaoe_problem"
	Problems  = "goaoe_problems"

	ExportState         = "goaoe_export_state"
	ExportServing       = "goaoe_export_serving"
	ExportSize          = "goaoe_export_size_bytes"
	ExportUsers         = "goaoe_export_users"
	ExportRequests      = "goaoe_export_requests_total"
	ExportRead          = "goaoe_export_read_bytes_total"
	ExportWritten       = "goaoe_export_written_bytes_total"
	ExportErrors        = "goaoe_export_errors_total"
	ExportRejects       = "goaoe_export_rejects_total"
	ExportDrops         = "goaoe_export_dropped_requests_total"
	ExportRetransmits   = "goaoe_export_retransmits_total"
	ExportWaits         = "goaoe_export_overlap_waits_total"
	ExportStalls        = "goaoe_export_queue_stalls_total"
	ExportLimited       = "goaoe_export_limited_requests_total"
	ExportViews         = "goaoe_export_zero_copy_reads_total"
	ExportStateRequests = "goaoe_export_state_requests_total"
	ExportStorageOps    = "goaoe_export_storage_operations_total"
	ExportBatches       = "goaoe_export_storage_batches_total"
	ExportSyncs         = "goaoe_export_syncs_total"
	ExportMerged        = "goaoe_export_merged_requests_total"
	ExportWriteNow      = "goaoe_export_write_now_requests_total"
	ExportWritePauses   = "goaoe_export_write_now_pauses_total"
	ExportSyncWrites    = "goaoe_export_synced_writes_total"
	ExportInFlight      = "goaoe_export_in_flight"
	ExportQueued        = "goaoe_export_queued"
	ExportQueueLimit    = "goaoe_export_queue_limit"
	ExportLatency       = "goaoe_export_latency_seconds"

	InterfaceUp          = "goaoe_interface_up"
	InterfaceExports     = "goaoe_interface_exports"
	InterfaceMTU         = "goaoe_interface_mtu_bytes"
	InterfaceRxFrames    = "goaoe_interface_receive_frames_total"
	InterfaceRxBytes     = "goaoe_interface_receive_bytes_total"
	InterfaceRxBatches   = "goaoe_interface_receive_batches_total"
	InterfaceTxFrames    = "goaoe_interface_transmit_frames_total"
	InterfaceTxBytes     = "goaoe_interface_transmit_bytes_total"
	InterfaceTxBatches   = "goaoe_interface_transmit_batches_total"
	InterfaceTxXDP       = "goaoe_interface_transmit_xdp_frames_total"
	InterfaceTxErrors    = "goaoe_interface_transmit_errors_total"
	InterfaceTxFull      = "goaoe_interface_transmit_queue_full_total"
	InterfaceKernelDrops = "goaoe_interface_kernel_drops_total"
	InterfaceDrops       = "goaoe_interface_dropped_frames_total"

	InitiatorRequests    = "goaoe_initiator_requests_total"
	InitiatorOps         = "goaoe_initiator_operations_total"
	InitiatorRead        = "goaoe_initiator_read_bytes_total"
	InitiatorWritten     = "goaoe_initiator_written_bytes_total"
	InitiatorErrors      = "goaoe_initiator_errors_total"
	InitiatorRejects     = "goaoe_initiator_rejects_total"
	InitiatorDenied      = "goaoe_initiator_denied_total"
	InitiatorDrops       = "goaoe_initiator_dropped_requests_total"
	InitiatorRetransmits = "goaoe_initiator_retransmits_total"
	InitiatorLimited     = "goaoe_initiator_limited_requests_total"
	InitiatorBusy        = "goaoe_initiator_busy_seconds_total"
	InitiatorLastSeen    = "goaoe_initiator_last_seen_timestamp_seconds"

	LaneTurns     = "goaoe_lane_turns_total"
	LaneSleeps    = "goaoe_lane_sleeps_total"
	LaneSpins     = "goaoe_lane_spins_total"
	LaneSleep     = "goaoe_lane_sleep_seconds_total"
	LaneSpin      = "goaoe_lane_spin_seconds_total"
	LaneSlots     = "goaoe_lane_slots"
	LaneSlotsUsed = "goaoe_lane_slots_used"
)

// Metric describes one metric.
type Metric struct {
	Name   string
	Type   string // "gauge", "counter", "histogram"
	Labels []string
	Help   string
}

const (
	gauge     = "gauge"
	counter   = "counter"
	histogram = "histogram"
)

var (
	export    = []string{"export"}
	iface     = []string{"interface"}
	initiator = []string{"initiator", "name", "export"}
	lane      = []string{"lane"}
)

// Metrics are all metrics, in the order of the documentation.
var Metrics = []Metric{
	{Up, gauge, nil, "1 when the daemon answered, 0 when it did not: then nothing else is there."},
	{BuildInfo, gauge, []string{"version"}, "Always 1; the label is the version of the daemon."},
	{StartTime, gauge, nil, "When the daemon started, in seconds since 1970."},
	{Unsaved, gauge, nil, "Exports with run-time changes that the next start will not know."},
	{Waiting, gauge, []string{"subject", "reason"}, "1 for each export or interface that has no effect yet, and why."},
	{Problem, gauge, []string{"reason"}, "1 for each thing that is wrong."},
	{Problems, gauge, nil, "How many things are wrong."},

	{ExportState, gauge, []string{"export", "state"}, "1 for the state that the export is in: serving, waiting, failed, opening, closing or disabled."},
	{ExportServing, gauge, export, "1 when the export is served on an interface, 0 when it is not (disabled ones are left out)."},
	{ExportSize, gauge, export, "Size of the disk."},
	{ExportUsers, gauge, export, "Initiators that use it: an ATA command within the last ten minutes, or a reservation."},
	{ExportRequests, counter, []string{"export", "op"}, "Requests done with success: read, write, flush, discard, other (answered without storage)."},
	{ExportRead, counter, export, "Bytes read by initiators."},
	{ExportWritten, counter, export, "Bytes written by initiators."},
	{ExportErrors, counter, []string{"export", "kind"}, "Error replies because storage failed."},
	{ExportRejects, counter, []string{"export", "kind"}, "Error replies because of the request."},
	{ExportDrops, counter, []string{"export", "reason"}, "Requests that got no reply."},
	{ExportRetransmits, counter, export, "Requests that initiators sent again."},
	{ExportWaits, counter, export, "Requests that waited for an earlier one of the same sectors."},
	{ExportStalls, counter, export, "Requests that waited because queue-length operations were on the storage."},
	{ExportLimited, counter, export, "Requests that waited because their initiator had used up its limits."},
	{ExportViews, counter, export, "Reads that were sent out of the storage's own memory, without a copy."},
	{ExportStateRequests, counter, export, "Requests that change persistent state (config string, MAC mask, reserve list)."},
	{ExportStorageOps, counter, export, "Operations handed to the storage."},
	{ExportBatches, counter, export, "Batches that these operations came in."},
	{ExportSyncs, counter, export, "Times that data was made durable on its own (fdatasync)."},
	{ExportMerged, counter, export, "Requests that went to the disk with the one before them, as one operation."},
	{ExportWriteNow, counter, export, "Writes that the lane put into the page cache itself."},
	{ExportWritePauses, counter, export, "Times that it gave that up for a while, because one took long."},
	{ExportSyncWrites, counter, export, "Durable writes and flushes that these covered."},
	{ExportInFlight, gauge, export, "Operations on the storage at this moment."},
	{ExportQueued, gauge, export, "Requests that wait at this moment."},
	{ExportQueueLimit, gauge, export, "queue-length in force."},
	{ExportLatency, histogram, []string{"export", "op"}, "From the arrival of a request until its reply was handed to the kernel: read, write, flush (and discard), other."},

	{InterfaceUp, gauge, iface, "1 when the interface is open and has a link, 0 when it has not or is waited for."},
	{InterfaceExports, gauge, iface, "Exports that are served on the interface."},
	{InterfaceMTU, gauge, iface, "MTU in force."},
	{InterfaceRxFrames, counter, iface, "Frames received."},
	{InterfaceRxBytes, counter, iface, "Bytes received, from the Ethernet header on."},
	{InterfaceRxBatches, counter, iface, "Batches that frames were received in."},
	{InterfaceTxFrames, counter, iface, "Frames sent."},
	{InterfaceTxBytes, counter, iface, "Bytes sent, from the Ethernet header on."},
	{InterfaceTxBatches, counter, iface, "Batches that frames were sent in (system calls)."},
	{InterfaceTxXDP, counter, iface, "Frames sent by AF_XDP, which captures do not see."},
	{InterfaceTxErrors, counter, iface, "Frames that could not be sent."},
	{InterfaceTxFull, counter, iface, "Times that the kernel's send queue was full."},
	{InterfaceKernelDrops, counter, iface, "Frames lost because the receive ring was full: the daemon is too slow, or its ring too small."},
	{InterfaceDrops, counter, []string{"interface", "reason"}, "Received frames that got no reply."},

	{InitiatorRequests, counter, initiator, "All requests of an initiator to an export, whatever became of them."},
	{InitiatorOps, counter, append(initiator[:3:3], "op"), "Reads and writes done with success."},
	{InitiatorRead, counter, initiator, "Bytes read by the initiator."},
	{InitiatorWritten, counter, initiator, "Bytes written by the initiator."},
	{InitiatorErrors, counter, initiator, "Error replies because storage failed."},
	{InitiatorRejects, counter, initiator, "Error replies because of the request."},
	{InitiatorDenied, counter, initiator, "Requests refused by an access list, a MAC mask list or a reservation."},
	{InitiatorDrops, counter, initiator, "Requests that got no reply."},
	{InitiatorRetransmits, counter, initiator, "Requests that it sent again."},
	{InitiatorLimited, counter, initiator, "Requests that waited because it had used up its limits."},
	{InitiatorBusy, counter, initiator, "Sum of the latencies of its requests for storage; its rate is the mean number under way."},
	{InitiatorLastSeen, gauge, initiator, "When its last request came, in seconds since 1970."},

	{LaneTurns, counter, lane, "Turns of the lane that found work."},
	{LaneSleeps, counter, lane, "Times that the lane slept."},
	{LaneSpins, counter, lane, "Times that work came while the lane looked for some."},
	{LaneSleep, counter, lane, "Time asleep. The rest of the time is work, and looking for some."},
	{LaneSpin, counter, lane, "Time spent looking for work."},
	{LaneSlots, gauge, lane, "Requests that the lane has memory for."},
	{LaneSlotsUsed, gauge, lane, "How many of them are used at this moment."},
}

// descs are the descriptions by name.
var descs = func() map[string]*prometheus.Desc {
	m := map[string]*prometheus.Desc{}
	for _, d := range Metrics {
		m[d.Name] = prometheus.NewDesc(d.Name, d.Help, d.Labels, nil)
	}
	return m
}()

// types are the types of values by name.
var types = func() map[string]prometheus.ValueType {
	m := map[string]prometheus.ValueType{}
	for _, d := range Metrics {
		m[d.Name] = prometheus.CounterValue
		if d.Type == gauge {
			m[d.Name] = prometheus.GaugeValue
		}
	}
	return m
}()
