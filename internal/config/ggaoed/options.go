package ggaoed

import "goaoe/internal/config"

// The kinds of groups.
const (
	kindDefaults  = "defaults"
	kindACLs      = "acls"
	kindInterface = "interface"
	kindDevice    = "device"
)

// Reasons that several options share.
const (
	noMerging = "goaoe does not hold requests back to merge them: those that have arrived together and lie side by side become one operation, and all go to the disk in one system call"
	noRxQueue = "goaoe always receives by a memory-mapped ring: set ring-frames of [[interface]]"
	noPidFile = "systemd, or the shell that started it, knows the process; goaoe status tells whether it runs"
	noRingBug = "goaoe does not use the kernel's transmit ring that had the bug"
)

// Options are the options of ggaoed.conf(5), and some that only ggaoed's source and sample file know.
var Options = []config.ForeignOption{
	{Section: kindDefaults, Name: "queue-length", Manual: true, Native: "[defaults] queue-length"},
	{Section: kindDefaults, Name: "direct-io", Manual: true, Native: "[defaults] direct-io"},
	{Section: kindDefaults, Name: "trace-io", Manual: true, Native: "[defaults] trace"},
	{Section: kindDefaults, Name: "interfaces", Manual: true, Native: "[defaults] interfaces"},
	{Section: kindDefaults, Name: "mtu", Manual: true, Native: "[[interface]] mtu"},
	{Section: kindDefaults, Name: "ring-buffer-size", Manual: true, Native: "[[interface]] ring-frames"},
	{Section: kindDefaults, Name: "send-buffer-size", Native: "[[interface]] send-buffer"},
	{Section: kindDefaults, Name: "receive-buffer-size", Instead: noRxQueue},
	{Section: kindDefaults, Name: "buffers", Native: "[[interface]] ring-frames"},
	{Section: kindDefaults, Name: "tx-ring-bug", Instead: noRingBug},
	{Section: kindDefaults, Name: "max-delay", Manual: true, Instead: noMerging},
	{Section: kindDefaults, Name: "merge-delay", Manual: true, Instead: noMerging},
	{Section: kindDefaults, Name: "pid-file", Manual: true, Instead: noPidFile},
	{Section: kindDefaults, Name: "control-socket", Manual: true, Native: "[control] socket"},
	{Section: kindDefaults, Name: "state-directory", Manual: true, Native: "[global] state-directory"},

	{Section: kindACLs, Name: "NAME", Manual: true, Native: "[access-list.NAME] members"},

	{Section: kindInterface, Name: "mtu", Manual: true, Native: "[[interface]] mtu"},
	{Section: kindInterface, Name: "ring-buffer-size", Manual: true, Native: "[[interface]] ring-frames"},
	{Section: kindInterface, Name: "send-buffer-size", Native: "[[interface]] send-buffer"},
	{Section: kindInterface, Name: "receive-buffer-size", Instead: noRxQueue},
	{Section: kindInterface, Name: "buffers", Native: "[[interface]] ring-frames"},
	{Section: kindInterface, Name: "tx-ring-bug", Instead: noRingBug},

	{Section: kindDevice, Name: "path", Manual: true, Native: "[[export]] source"},
	{Section: kindDevice, Name: "uuid", Manual: true, Native: "[[export]] source"},
	{Section: kindDevice, Name: "shelf", Manual: true, Native: "[[export]] shelf"},
	{Section: kindDevice, Name: "slot", Manual: true, Native: "[[export]] slot"},
	{Section: kindDevice, Name: "queue-length", Manual: true, Native: "[[export]] queue-length"},
	{Section: kindDevice, Name: "max-delay", Manual: true, Instead: noMerging},
	{Section: kindDevice, Name: "merge-delay", Manual: true, Instead: noMerging},
	{Section: kindDevice, Name: "direct-io", Manual: true, Native: "[[export]] direct-io"},
	{Section: kindDevice, Name: "trace-io", Manual: true, Native: "[[export]] trace"},
	{Section: kindDevice, Name: "read-only", Manual: true, Native: "[[export]] read-only"},
	{Section: kindDevice, Name: "interfaces", Manual: true, Native: "[[export]] interfaces"},
	{Section: kindDevice, Name: "accept", Manual: true, Native: "[[export]] accept"},
	{Section: kindDevice, Name: "deny", Manual: true, Native: "[[export]] deny"},
	{Section: kindDevice, Name: "broadcast", Manual: true, Native: "[[export]] broadcast"},
}

// option finds an entry of the table.
func option(kind, name string) *config.ForeignOption {
	for i := range Options {
		if o := &Options[i]; o.Section == kind && (o.Name == name || kind == kindACLs) {
			return o
		}
	}
	return nil
}

// names returns the options of a kind of groups.
func names(kind string) (out []string) {
	for _, o := range Options {
		if o.Section == kind {
			out = append(out, o.Name)
		}
	}
	return out
}
