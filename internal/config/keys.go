package config

import "slices"

// Type is the type of a setting.
type Type uint8

// The types of settings and how they are written in TOML.
const (
	TypeString   Type = iota + 1 // "text"
	TypeText                     // "text", printable ASCII of a bounded length (Max)
	TypeBool                     // true or false
	TypeInt                      // 64, between Min and Max
	TypeSize                     // 1048576, "10G" or "2048s"; a multiple of 512
	TypeDuration                 // "50us", "2s"; "off" when Min is 0
	TypeEnum                     // one of Enum
	TypeNames                    // "eth0" or ["eth0", "vlan*"]
	TypeMembers                  // "admins" or ["02:00:00:00:00:01", "host", "list"]
	TypeRules                    // ["accept MEMBER", "reject MEMBER"]
	TypePath                     // an absolute path
	TypeAddress                  // "0.1"
	TypeSource                   // a path, UUID=..., LABEL=..., PARTUUID=..., PARTLABEL=..., mem:SIZE
	TypeMAC                      // "02:00:00:00:00:01"
	TypeLimits                   // ["MEMBER iops=500 bandwidth=20M", "MEMBER unlimited"]
)

// String names the type as the documentation does.
func (t Type) String() string {
	return [...]string{"?", "string", "text", "true or false", "integer", "size", "duration", "one of", "name or names", "members", "rules", "path", "address", "source", "Ethernet address", "limits"}[t]
}

// Key describes one setting. The table of keys drives the decoding, the reference file, the help and the manual.
type Key struct {
	Section string   // "global", "log", "defaults", "interface", "access-list", "hosts", "export"
	Name    string   // the key; "*" in hosts, where the user chooses it
	Type    Type     //
	Min     int64    // TypeInt, TypeDuration (nanoseconds): smallest value
	Max     int64    // TypeInt, TypeDuration: largest; TypeText: longest
	Enum    []string // TypeEnum: the values
	Default string   // TOML of the value that counts when the key is absent; empty: see Help
	Example string   // TOML of a value for the reference file, where Default will not do
	Help    string   // what it does, one or two short sentences
	Inherit bool     // may be set in [defaults], too
}

// Section describes one section of the file.
type Section struct {
	Name   string
	Header string // how it is opened in the reference file
	Help   []string
}

// Sections lists the sections in the order of the reference file.
var Sections = []Section{
	{"global", "[global]", []string{"The process as a whole."}},
	{"log", "[log]", []string{"Where messages go, and how many of them."}},
	{"log-target", "[log-target.NAME]", []string{
		"Another place for messages, for those exports, interfaces and access lists that name it by log-target."}},
	{"defaults", "[defaults]", []string{
		"Settings that every export has unless it sets them itself.",
		"Every key of [[export]] that is not about one device can stand here."}},
	{"interface", "[[interface]]", []string{
		"Settings of interfaces, by name or glob; the first section that matches counts. No interface needs one:",
		"which interfaces are used is said by the interfaces of the exports."}},
	{"hosts", "[hosts]", []string{
		"Names for Ethernet addresses, to be used in access lists beside those of /etc/ethers."}},
	{"access-list", "[access-list.NAME]", []string{
		"A named set of initiators, by Ethernet address. First the rules are tried from top to bottom, then the members",
		"(all accepted), then the policy decides. A member is an address, a host's name or another access list."}},
	{"export", "[[export]]", []string{"One target: a file or device and the address it is served under."}},
	{"change", "[[change]]", []string{
		"Settings that an export of another file has instead of those that stand there. It has the keys of [[export]], and address",
		"says which one is meant. It is for the drop-ins in conf.d, where goaoe set --save keeps what it changed."}},
	{"control", "[control]", []string{"The socket for the commands that control a running daemon."}},
	{"web", "[web]", []string{"The web page."}},
	{"metrics", "[metrics]", []string{"Metrics for Prometheus."}},
	{"pprof", "[pprof]", []string{"Profiles of the daemon, for go tool pprof. Only needed to find out what it spends its time on."}},
}

// Keys is the table of all settings, in the order of the reference file.
var Keys = slices.Concat(globalKeys, logKeys, logTargetKeys, defaultsKeys, interfaceKeys, interfaceLogKeys, hostsKeys, accessKeys, exportKeys, changeKeys, serviceKeys)

var globalKeys = []Key{
	{Section: "global", Name: "state-directory", Type: TypePath, Default: `"/var/lib/goaoe"`,
		Help: "Where config strings, MAC masks and reservations are kept over restarts."},
	{Section: "global", Name: "lanes", Type: TypeInt, Min: 1, Max: 64, Default: "1",
		Help: "Threads that serve requests. Each export belongs to one of them; more than one pays with several busy exports."},
	{Section: "global", Name: "busy-poll", Type: TypeDuration, Max: 10_000_000, Default: `"off"`, Example: `"50us"`,
		Help: "How long a lane that ran dry watches for the next frame before it sleeps, while frames come that often. Lowers latency, costs processor time."},
	{Section: "global", Name: "disk-poll", Type: TypeBool, Default: "true",
		Help: "A lane that only waits for direct I/O which the disks end quickly (more than 10,000 a second) watches for it instead of sleeping, unless somebody else wants the processor. Less latency, costs processor time while they come."},
	{Section: "global", Name: "request-age-limit", Type: TypeDuration, Max: 60_000_000_000, Default: `"2s"`,
		Help: "Requests that waited longer than this are dropped, because the initiator has repeated them since. \"off\" keeps all."},
	{Section: "global", Name: "duplicate-check", Type: TypeBool, Default: "true",
		Help: "Before an address is served, ask the wire whether another target has it."},
	{Section: "global", Name: "io-threads", Type: TypeInt, Min: 1, Max: 256, Default: "16",
		Help: "Workers per lane for the I/O engine \"threads\"."},
	{Section: "global", Name: "linear-frames", Type: TypeBool, Default: "true",
		Help: "Have the kernel keep a frame of a page and more in one piece while it sends it. Faster; off is for a driver that cannot cope."},
	{Section: "global", Name: "xdp-send", Type: TypeEnum, Enum: []string{"auto", "on", "off"}, Default: `"auto"`,
		Help: "Send replies by AF_XDP, past queueing disciplines, while nobody captures frames. Faster; auto does it on veth interfaces without a queueing discipline, on also on cards."},
	{Section: "global", Name: "registered-files", Type: TypeBool, Default: "true",
		Help: "Register files and devices with io_uring, so that the kernel need not look them up for each request."},
	{Section: "global", Name: "read-now", Type: TypeBool, Default: "true",
		Help: "Read what is in the page cache without io_uring when it is for a single request: less latency."},
	{Section: "global", Name: "merge-requests", Type: TypeBool, Default: "true",
		Help: "Carry out requests that come together and lie side by side on the disk as one operation: sequential reads and writes get faster."},
	{Section: "global", Name: "sandbox-capabilities", Type: TypeBool, Default: "true",
		Help: "Drop all capabilities that serving does not need."},
	{Section: "global", Name: "sandbox-landlock", Type: TypeBool, Default: "true",
		Help: "See nothing of the file system but the state directory; what is served is opened by a process of its own, goaoe-opener, and only what the configuration or a client of the control socket names."},
	{Section: "global", Name: "sandbox-seccomp", Type: TypeBool, Default: "true",
		Help: "Make no other system calls than those that serving needs."},
	{Section: "global", Name: "ethers", Type: TypePath, Default: `"/etc/ethers"`,
		Help: "File of names of Ethernet addresses (see ethers(5)). It need not exist."},
}

var interfaceKeys = []Key{
	{Section: "interface", Name: "name", Type: TypeString, Example: `"eth1"`,
		Help: "The interface, by name or by a glob such as \"vlan*\". Required."},
	{Section: "interface", Name: "mtu", Type: TypeInt, Min: MinMTU, Max: 65535, Example: "9000",
		Help: "Use at most this many bytes per frame. Default: the interface's own MTU, which it cannot exceed."},
	{Section: "interface", Name: "ring-frames", Type: TypeInt, Min: 16, Max: 65536, Example: "4096",
		Help: "Frames that the receive ring holds. Default: chosen from the MTU."},
	{Section: "interface", Name: "send-buffer", Type: TypeSize, Min: 65536, Max: 1 << 30, Example: `"4M"`,
		Help: "Size of the send buffer. Default: chosen by goaoe."},
}

var hostsKeys = []Key{
	{Section: "hosts", Name: "*", Type: TypeMAC, Example: `"02:00:00:00:00:01"`,
		Help: "The name is yours to choose: node1 = \"02:00:00:00:00:01\"."},
}

var accessKeys = []Key{
	{Section: "access-list", Name: "members", Type: TypeMembers, Example: `["node1", "02:00:00:00:00:02"]`,
		Help: "Who is accepted: addresses, names of hosts, names of other access lists."},
	{Section: "access-list", Name: "rules", Type: TypeRules, Example: `["reject 02:00:00:00:00:03"]`,
		Help: "Rows \"accept MEMBER\" and \"reject MEMBER\"; the first that matches decides, before the members."},
	{Section: "access-list", Name: "policy", Type: TypeEnum, Enum: []string{"accept", "reject"}, Default: `"reject"`,
		Help: "What happens to everybody else."},
	{Section: "access-list", Name: "log", Type: TypeBool, Default: "false",
		Help: "Write refusals to the log (at a limited rate)."},
	{Section: "access-list", Name: "log-target", Type: TypeString, Example: `"disks"`,
		Help: "Where refusals are written: the NAME of a [log-target.NAME]. Default: where the messages of the export go."},
}

// MinMTU is the smallest MTU that goaoe serves on: the longest config string and its header must fit a frame.
const MinMTU = 1042
