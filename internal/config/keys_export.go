package config

import "slices"

// sharedKeys are the keys of an export that [defaults] may set for all of them.
var sharedKeys = append([]Key{
	{Name: "interfaces", Type: TypeNames, Example: `["eth1", "vlan*"]`,
		Help: "Interfaces to serve on, by name or glob. They need not exist yet: goaoe waits for them."},
	{Name: "shelf", Type: TypeInt, Min: 0, Max: 65534, Default: "0",
		Help: "Shelf (major address) of exports without an address. Linux ignores shelf 4095."},
	{Name: "slot", Type: TypeInt, Min: 0, Max: 254, Default: "0",
		Help: "First slot (minor address) for exports without one: they get the free slots from here on, in the order of the file."},
	{Name: "queue-length", Type: TypeInt, Min: 2, Max: 1024, Default: "64",
		Help: "Requests that an export has on its storage at a time. Four times as many may be held; more are dropped, and repeated by the initiator."},
	{Name: "buffer-count", Type: TypeInt, Min: 2, Max: 65535, Example: "64",
		Help: "Requests that initiators are told to have outstanding. Default: queue-length. Linux uses at most 64."},
	{Name: "initiator-iops", Type: TypeInt, Min: 0, Max: maxIOPS, Default: "0",
		Help: "Requests for storage per second that each initiator gets at most; 0 is no limit. What is over it waits, and holds up no other initiator."},
	{Name: "initiator-bandwidth", Type: TypeSize, Min: 0, Max: 1 << 40, Default: "0", Example: `"50M"`,
		Help: "Bytes per second that each initiator reads and writes at most, from 64K; 0 is no limit."},
	{Name: "initiator-limits", Type: TypeLimits, Example: `["node1 iops=500 bandwidth=20M", "02:00:00:00:00:02 unlimited"]`,
		Help: "Limits of some initiators in place of these two: rows of an address, a host's name or an access list (each of its members), and iops=N, bandwidth=SIZE or both (off lifts one; what is not said is as for all), or unlimited. The first row that matches decides."},
	{Name: "direct-io", Type: TypeBool, Default: "false",
		Help: "Bypass the page cache."},
	{Name: "write-cache", Type: TypeBool, Default: "false",
		Help: "Acknowledge writes before they are on stable storage. Faster; a power failure loses acknowledged writes."},
	{Name: "write-now", Type: TypeEnum, Enum: []string{"auto", "on", "off"}, Default: `"auto"`,
		Help: "With write-cache: whether the lane's own thread puts writes into the page cache, which is faster than io_uring. auto: on a file system that can write without waiting, and elsewhere (ext4, block devices) while all exports of the lane lie on one disk and it is quick. on: always; a disk that hangs, or is behind with what it has to write, then holds up all exports of the lane. off: never. true and false mean on and off."},
	{Name: "read-only", Type: TypeBool, Default: "false",
		Help: "Refuse writes."},
	{Name: "broadcast", Type: TypeBool, Default: "false",
		Help: "Announce to everybody even when an access list says who may; otherwise only its members are told."},
	{Name: "announce", Type: TypeBool, Default: "true",
		Help: "Make the target known when it starts, its interface comes up or its size changes. Without it initiators find it by asking only. (broadcast = off in qaoed.)"},
	{Name: "discard", Type: TypeBool, Default: "false",
		Help: "Offer TRIM, where the file or device can do it."},
	{Name: "smart", Type: TypeBool, Default: "false",
		Help: "Offer SMART."},
	{Name: "io-engine", Type: TypeEnum, Enum: []string{"auto", "io_uring", "threads"}, Default: `"auto"`,
		Help: "How storage is accessed: io_uring where the system allows it (auto), io_uring or nothing, or a pool of threads."},
	{Name: "accept", Type: TypeMembers, Example: `["node1", "admins"]`,
		Help: "Only these initiators are served: addresses, names of hosts, access lists. Default: everybody."},
	{Name: "deny", Type: TypeMembers, Example: `["02:00:00:00:00:09"]`,
		Help: "These initiators are not served, even when accepted by accept."},
	{Name: "config-read", Type: TypeMembers, Example: `["admins"]`,
		Help: "Who may discover the target and read its config string. (cfgread in qaoed.)"},
	{Name: "config-set", Type: TypeMembers, Example: `["admins"]`,
		Help: "Who may set the config string. (cfgset in qaoed.)"},
	{Name: "read", Type: TypeMembers, Example: `["admins"]`,
		Help: "Who may read data."},
	{Name: "write", Type: TypeMembers, Example: `["admins"]`,
		Help: "Who may write data."},
	{Name: "model", Type: TypeText, Max: 40, Example: `"goaoe"`,
		Help: "Model in IDENTIFY, up to 40 printable ASCII characters."},
	{Name: "firmware", Type: TypeText, Max: 8, Example: `"1.0"`,
		Help: "Firmware revision in IDENTIFY, up to 8 printable ASCII characters. Default: goaoe's version."},
	{Name: "physical-sector", Type: TypeInt, Min: 512, Max: 65536, Example: "4096",
		Help: "Physical sector size in IDENTIFY, in bytes, a power of two. Default: as the device says."},
	{Name: "size-round", Type: TypeInt, Min: 1, Max: 1 << 31, Default: "1", Example: "16065",
		Help: "Round the size down to a multiple of this many sectors; 16065 is a cylinder, which some Windows initiators need."},
	{Name: "accept-any-version", Type: TypeBool, Default: "false",
		Help: "Take requests whose AoE version is not 1."},
}, exportLogKeys...)

// maxExportName is the longest name of an export in characters.
const maxExportName = 64

// ownKeys are the keys of an export that are about one device.
var ownKeys = []Key{
	{Name: "address", Type: TypeAddress, Example: `"0.1"`,
		Help: "SHELF.SLOT. Or give shelf, slot or neither: what is missing comes from [defaults]."},
	{Name: "source", Type: TypeSource, Example: `"/dev/sda5"`,
		Help: "What to serve: a path, UUID=, LABEL=, PARTUUID= or PARTLABEL=, or mem:SIZE (memory, for tests). Required."},
	{Name: "name", Type: TypeText, Max: maxExportName, Example: `"mail-spool"`,
		Help: "A name of your choice for commands and tables, up to 64 printable ASCII characters. Default: none, the address says it."},
	{Name: "offset", Type: TypeSize, Default: "0", Example: `"2048s"`,
		Help: "Where in the source the export begins: bytes, or with a suffix such as 1M or 2048s (sectors)."},
	{Name: "length", Type: TypeSize, Example: `"10G"`,
		Help: "How much of the source to serve. Default: up to the end, also when it grows."},
	{Name: "serial", Type: TypeText, Max: 20, Example: `"0.1:storage"`,
		Help: "Serial number in IDENTIFY, up to 20 printable ASCII characters. Default: made from the machine and the address."},
	{Name: "force", Type: TypeBool, Default: "false",
		Help: "Serve although another target answers under the same address. Linux then mixes the two: data loss."},
	{Name: "disabled", Type: TypeBool, Default: "false",
		Help: "Do not serve it. It keeps its address."},
}

var (
	defaultsKeys = inSection("defaults", sharedKeys)
	exportKeys   = append(inSection("export", ownKeys), inSection("export", sharedKeys)...)
	changeKeys   = inSection("change", slices.Concat(ownKeys, sharedKeys))
)

// inSection returns the keys as those of a section.
func inSection(section string, keys []Key) []Key {
	out := make([]Key, len(keys))
	for i, k := range keys {
		k.Section = section
		k.Inherit = section == "export" && i < len(keys) && isShared(k.Name)
		out[i] = k
	}
	return out
}

// isShared tells whether [defaults] knows the key.
func isShared(name string) bool {
	for _, k := range sharedKeys {
		if k.Name == name {
			return true
		}
	}
	return false
}

// foreignNames are names that other targets have for our keys; a user who writes one is told ours.
var foreignNames = map[string]string{
	"cfgread": "config-read", "cfgset": "config-set", "writecache": "write-cache", "interface": "interfaces",
	"target": "source", "path": "source", "file": "source", "device": "source", "uuid": "source",
	"acl": "accept", "allow": "accept", "reject": "deny", "mac": "accept", "macs": "accept",
	"bufcnt": "buffer-count", "buffers": "buffer-count", "sync": "write-cache", "readonly": "read-only", "ro": "read-only",
	"direct": "direct-io", "size": "length", "ring-buffer-size": "ring-frames", "send-buffer-size": "send-buffer",
	"log-level": "level", "filename": "file", "type": "target", "syslog-facility": "facility", "minor": "slot", "major": "shelf",
	"trace-io": "trace", "iops": "initiator-iops", "max-iops": "initiator-iops", "bandwidth": "initiator-bandwidth", "bps": "initiator-bandwidth",
	"limits": "initiator-limits",
}

// foreignSections are names that other targets have for our sections.
var foreignSections = map[string]string{
	"default": "defaults", "device": "export", "exports": "export", "target": "export", "targets": "export", "logging": "log",
	"acls": "access-list", "acl": "access-list", "log-targets": "log-target", "access-lists": "access-list", "interfaces": "interface", "ethers": "hosts", "host": "hosts",
}
