package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"time"

	"goaoe/aoe"
	"goaoe/internal/config"
	"goaoe/internal/daemon/state"
	"goaoe/internal/engine"
	"goaoe/internal/target"
)

// running is an export as target and engine know it. A restart of the export makes a new one.
type running struct {
	target  *target.Export
	engine  *engine.Export
	sectors uint64
	since   time.Time // of its start
}

// newRunning makes target and engine export of an opened source.
func newRunning(x *export, version, machine string) (*running, error) {
	c, i := &x.cfg, &x.info
	r := &running{sectors: sectorsOf(*i, c), since: time.Now()}
	tc := target.ExportConfig{
		Addr: x.addr, Sectors: r.sectors,
		Serial: c.Serial, Model: c.Model, Firmware: c.Firmware, FirmwareVersion: firmwareVersion, BufferCount: uint16(min(c.BufferCount, 65535)),
		ReadOnly: c.ReadOnly, WriteCacheAllowed: c.WriteCache, Discard: c.Discard && i.CanDiscard, DiscardZeroes: i.DiscardZeroes, Smart: c.Smart,
		AnyVersion: c.AcceptAnyVersion, Broadcast: c.Broadcast,
		PhysicalSize: i.Physical, AlignOffset: i.AlignOff, Rotational: i.Rotational,
		Access: accessOf(c),
	}
	if c.PhysicalSector > 0 {
		tc.PhysicalSize, tc.AlignOffset = c.PhysicalSector, i.AlignOff%c.PhysicalSector
	}
	if tc.Serial == "" {
		tc.Serial = defaultSerial(x.addr, machine)
	}
	if tc.Firmware == "" {
		tc.Firmware = firmware(version)
	}
	var err error
	if r.target, err = target.NewExport(tc); err != nil {
		return nil, err
	}
	s := target.State(x.saved)
	r.target.SetState(&s)
	if x.counted != nil { // they go on over a restart of the export
		r.target.Stats.Carry(x.counted)
	}
	r.engine = &engine.Export{Target: r.target, Store: x.store, QueueLength: c.QueueLength, Limits: limitsOf(c)}
	return r, nil
}

// firmwareVersion is the number in config query replies, which initiators print and nothing more.
const firmwareVersion = 0x0100

// accessOf compiles the access lists of an export.
func accessOf(c *config.Export) target.Access {
	return target.Access{All: aclOf(c.Access), CfgRead: aclOf(c.ConfigRead), CfgSet: aclOf(c.ConfigSet), Read: aclOf(c.Read), Write: aclOf(c.Write)}
}

// limitsOf makes the limits of an export's initiators; nil where it has none.
func limitsOf(c *config.Export) *engine.Limits {
	if c.InitiatorIOPS == 0 && c.InitiatorBandwidth == 0 && len(c.InitiatorLimits) == 0 {
		return nil
	}
	l := &engine.Limits{Each: engine.Limit{IOPS: c.InitiatorIOPS, Bandwidth: c.InitiatorBandwidth}, Own: map[aoe.MAC]engine.Limit{}}
	for _, o := range c.InitiatorLimits {
		l.Own[o.MAC] = engine.Limit{IOPS: o.IOPS, Bandwidth: o.Bandwidth}
	}
	return l
}

// sameLimits tells whether two configurations limit initiators in the same way.
func sameLimits(a, b *config.Export) bool {
	return a.InitiatorIOPS == b.InitiatorIOPS && a.InitiatorBandwidth == b.InitiatorBandwidth && slices.Equal(a.InitiatorLimits, b.InitiatorLimits)
}

func aclOf(a *config.ACL) *target.ACL {
	if a == nil {
		return nil
	}
	rules := make([]target.Rule, len(a.Rows))
	for i, r := range a.Rows {
		rules[i] = target.Rule{MAC: r.MAC, Accept: r.Accept}
	}
	return target.NewACL(rules, a.Policy)
}

// defaultSerial is the serial number of an export that has none of its own: the address, and a hash of the machine's identity, so
// that it is the same after each restart and on each interface, and differs between machines. It has at most 20 characters.
func defaultSerial(a aoe.Addr, machine string) string {
	sum := sha256.Sum256([]byte("goaoe serial\n" + machine + "\n" + a.String()))
	return strings.TrimPrefix(a.String(), "e") + "-" + hex.EncodeToString(sum[:5])
}

// firmware makes a version fit the field of IDENTIFY: 8 printable characters.
func firmware(version string) string {
	var b strings.Builder
	for _, c := range []byte(version) {
		if c > ' ' && c <= '~' && b.Len() < 8 {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// machineID returns what identifies this machine: the system's machine-id, or one that the state directory keeps, or the host's name.
func machineID(sysroot string, dir *state.Dir) string {
	for _, p := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		if b, err := os.ReadFile(sysroot + p); err == nil && len(strings.TrimSpace(string(b))) >= 16 {
			return strings.TrimSpace(string(b))
		}
	}
	if dir != nil {
		if id, err := dir.MachineID(); err == nil {
			return id
		}
	}
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}
