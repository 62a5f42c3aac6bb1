package tune

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// What is wanted of an interface.
const (
	jumbo        = 9000 // bytes: what cards and switches commonly take
	pageMTU      = 4132 // bytes: the least that carries 4 KiB in a frame
	enoughRing   = 1024 // frames: a burst of several initiators
	longestPause = 50   // microseconds that a card may wait for more frames; a read out of the page cache takes 30 or so
	shortPause   = 20
)

// network looks at one interface.
func (m *Machine) network(name string) []Advice {
	dir := "/sys/class/net/" + name
	var out []Advice
	out = append(out, m.mtu(name, dir))
	if m.Card != nil {
		out = append(out, m.rings(name, dir)...)
		out = append(out, m.coalescing(name)...)
		out = append(out, m.pause(name, dir)...)
		out = append(out, m.merging(name, dir)...)
		out = append(out, m.queueing(name)...)
	}
	out = append(out, m.queueLength(name, dir)...)
	out = append(out, m.steering(name, dir)...)
	out = append(out, m.interrupts(name, dir)...)
	out = append(out, m.near(name, dir)...)
	return append(out, m.emulated(name, dir)...)
}

// mtu never changes by itself: all of the path has to take what one end sends.
func (m *Machine) mtu(name, dir string) Advice {
	mtu, ok := m.number(dir + "/mtu")
	if !ok {
		return Advice{Topic: MTU, Subject: name, Level: Problem, Is: "its MTU cannot be read", How: ByHand, Why: "either the interface is gone, or /sys is not that of this network namespace"}
	}
	if mtu >= pageMTU {
		return fine(MTU, name, "MTU %d", mtu)
	}
	best, limit := jumbo, ""
	if m.Card != nil {
		if _, most, err := m.Card.MTURange(name); err == nil && most > 0 {
			best, limit = min(jumbo, most), fmt.Sprintf(" (its driver takes up to %d)", most)
		}
	}
	if int64(best) <= mtu {
		return fine(MTU, name, "MTU %d, and its driver takes no more", mtu)
	}
	return Advice{Topic: MTU, Subject: name, Level: Note, How: ByHand, Is: fmt.Sprintf("MTU %d, %d sectors in a frame%s", mtu, (mtu-36)/512, limit), Should: fmt.Sprintf("%d, %d sectors", best, (best-36)/512),
		Why:     "fewer frames carry the same data. Every initiator and every switch between has to take it first: else large frames vanish without a word",
		Command: fmt.Sprintf("goaoe tune %s --mtu %d --only mtu --apply", strings.Join(append(m.narrow(dir, int64(best)), name), " "), best)}
}

// narrow returns the interface below a VLAN and the like, if its MTU is less: theirs cannot be more.
func (m *Machine) narrow(dir string, mtu int64) []string {
	var out []string
	for line := range strings.Lines(m.text(dir + "/uevent")) {
		if !slices.Contains([]string{"DEVTYPE=vlan", "DEVTYPE=macvlan", "DEVTYPE=macvtap", "DEVTYPE=ipvlan"}, strings.TrimSpace(line)) {
			continue
		}
		for _, p := range m.glob(dir + "/lower_*") {
			if n, ok := m.number(p + "/mtu"); ok && n < mtu {
				out = append(out, strings.TrimPrefix(path.Base(p), "lower_"))
			}
		}
	}
	return out
}

// SetMTU makes an Advice of an MTU that is asked for.
func (m *Machine) SetMTU(name string, mtu int) (Advice, error) {
	s := m.netSetting(name, "mtu")
	was, err := s.Read()
	if err != nil {
		return Advice{}, err
	}
	if m.Card != nil {
		least, most, err := m.Card.MTURange(name)
		switch {
		case err != nil: // the driver says when it is set
		case most > 0 && (mtu < least || mtu > most):
			return Advice{}, fmt.Errorf("%s takes an MTU of %d to %d", name, least, most)
		case mtu < least:
			return Advice{}, fmt.Errorf("%s takes an MTU of %d or more", name, least)
		}
	}
	for _, below := range m.narrow("/sys/class/net/"+name, int64(mtu)) {
		if !slices.Contains(m.Use.Interfaces, below) {
			return Advice{}, fmt.Errorf("%s is on %s, whose MTU is less: name %s before %s", name, below, below, name)
		}
	}
	if was == strconv.Itoa(mtu) {
		return fine(MTU, name, "MTU %d", mtu), nil
	}
	return change(MTU, name, Note, Auto, s, strconv.Itoa(mtu), "MTU "+was, strconv.Itoa(mtu),
		"it was asked for. Every initiator and every switch between has to take it: goaoe sancheck at an initiator tries it"), nil
}

// lost returns how many frames a card had no room for.
func (m *Machine) lost(dir string) int64 {
	missed, _ := m.number(dir + "/statistics/rx_missed_errors")
	fifo, _ := m.number(dir + "/statistics/rx_fifo_errors")
	return missed + fifo
}

func (m *Machine) rings(name, dir string) []Advice {
	rx, rxMax, tx, txMax, err := m.Card.Rings(name)
	if err != nil || rxMax == 0 {
		return []Advice{fine(Ring, name, "its driver has no rings that can be changed")}
	}
	const restart = ". Many drivers take the link down for a moment at the change; initiators repeat what was lost"
	var out []Advice
	lost := m.lost(dir)
	want := min(rxMax, max(enoughRing, power2(2*m.Use.Frames[name])))
	level, why := Note, "a burst that finds it full is lost, and each lost frame costs its initiator tens of milliseconds"
	if lost > 0 {
		want, level, why = rxMax, Warning, fmt.Sprintf("the card has lost %d frames because it was full", lost)
	}
	if rx < want {
		s := m.numberSetting(name, "ethtool -G %s rx %s", func(c Card) (int, error) { n, _, _, _, err := c.Rings(name); return n, err }, func(c Card, n int) error { return c.SetRing(name, "rx", n) })
		out = append(out, change(Ring, name, level, Auto, s, strconv.Itoa(want), fmt.Sprintf("a receive ring of %d frames", rx), fmt.Sprintf("%d of at most %d", want, rxMax), why+restart))
	}
	if want := min(txMax, enoughRing); tx < want {
		s := m.numberSetting(name, "ethtool -G %s tx %s", func(c Card) (int, error) { _, _, n, _, err := c.Rings(name); return n, err }, func(c Card, n int) error { return c.SetRing(name, "tx", n) })
		out = append(out, change(Ring, name, Note, Auto, s, strconv.Itoa(want), fmt.Sprintf("a transmit ring of %d frames", tx), fmt.Sprintf("%d of at most %d", want, txMax),
			"replies leave up to 128 at a time"+restart))
	}
	if len(out) == 0 {
		out = append(out, fine(Ring, name, "rings of %d (receive) and %d (transmit) frames", rx, tx))
	}
	return out
}

// power2 returns the least power of two that is not below n.
func power2(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}

func (m *Machine) coalescing(name string) []Advice {
	usecs, adaptive, err := m.Card.Coalescing(name)
	switch {
	case err != nil:
		return nil
	case adaptive:
		return []Advice{fine(Coalescing, name, "the card finds by itself how long it gathers frames")}
	case usecs <= longestPause:
		return []Advice{fine(Coalescing, name, "it gathers frames for %d us", usecs)}
	}
	s := m.numberSetting(name, "ethtool -C %s rx-usecs %s", func(c Card) (int, error) { n, _, err := c.Coalescing(name); return n, err }, func(c Card, n int) error { return c.SetCoalescing(name, n) })
	return []Advice{change(Coalescing, name, Note, Auto, s, strconv.Itoa(shortPause), fmt.Sprintf("it waits %d us for more frames before it interrupts", usecs), fmt.Sprintf("%d us", shortPause),
		"a lone request waits all of it; a lane gathers what comes together by itself")}
}

func (m *Machine) pause(name, dir string) []Advice {
	rx, tx, err := m.Card.Pause(name)
	switch {
	case err != nil || !m.exists(dir+"/device"):
		return nil
	case rx && tx:
		return []Advice{fine(FlowControl, name, "pause frames are obeyed and sent")}
	}
	const both = "rx on tx on"
	text := func(rx, tx bool) string {
		return strings.NewReplacer("true", "on", "false", "off").Replace(fmt.Sprintf("rx %t tx %t", rx, tx))
	}
	s := cardSetting{m: m, ifname: name, tool: "ethtool -A %s %s",
		get: func(c Card) (string, error) { rx, tx, err := c.Pause(name); return text(rx, tx), err },
		set: func(c Card, value string) error {
			return c.SetPause(name, strings.Contains(value, "rx on"), strings.Contains(value, "tx on"))
		}}
	is := "pause frames are off"
	if rx || tx {
		is = "pause frames are on one way only (" + text(rx, tx) + ")"
	}
	return []Advice{change(FlowControl, name, Note, Choice, s, both, is, "on, if the switch has them, too",
		"a burst that is too fast for one side then waits and is not lost. On a port that others share a slow machine would hold them up")}
}

// merging looks at large receive offload, which must not be on where frames are passed on. GRO merges TCP and UDP only, so AoE frames never wait for it.
func (m *Machine) merging(name, dir string) []Advice {
	on, err := m.Card.LRO(name)
	switch {
	case err != nil:
		return nil
	case !on || !m.exists(dir+"/brport"):
		return []Advice{fine(Offload, name, "GRO and LRO merge no AoE frames")}
	}
	s := m.switchSetting(name, "ethtool -K %s lro %s", func(c Card) (bool, error) { return c.LRO(name) }, func(c Card, on bool) error { return c.SetLRO(name, on) })
	return []Advice{change(Offload, name, Warning, Auto, s, "off", "large receive offload is on at a port of a bridge", "off", "a bridge must not merge what it passes on")}
}

// dropsLate tells whether a discipline drops frames that waited for some milliseconds.
func dropsLate(kind string) bool {
	return slices.Contains([]string{"fq_codel", "codel", "cake", "fq_pie", "pie"}, kind)
}

func (m *Machine) queueing(name string) []Advice {
	kinds, chosen, err := m.Card.Queueing(name)
	if err != nil || len(kinds) == 0 {
		return nil
	}
	const why = "it drops what waited longer than some 5 ms, and all AoE frames are one flow to it: with several busy initiators replies wait as long, and a dropped one costs tens of milliseconds"
	switch i := slices.IndexFunc(kinds, dropsLate); {
	case i < 0:
		return []Advice{fine(Queue, name, "queueing discipline %s", kinds[0])}
	case i == 0 && chosen:
		return []Advice{{Topic: Queue, Subject: name, Level: Note, How: ByHand, Is: "queueing discipline " + kinds[0] + ", which somebody chose", Should: "pfifo_fast",
			Why: why + ". It may have options of its own (tc qdisc show dev " + name + "), which could not be taken back", Command: "tc qdisc replace dev " + name + " root pfifo_fast"}}
	case i == 0:
		s := cardSetting{m: m, ifname: name, tool: "tc qdisc replace dev %s root %s",
			get: func(c Card) (string, error) {
				k, _, err := c.Queueing(name)
				if err != nil {
					return "", err
				}
				return k[0], nil
			},
			set: func(c Card, value string) error { return c.SetQueueing(name, value) }}
		return []Advice{change(Queue, name, Note, Auto, s, "pfifo_fast", "queueing discipline "+kinds[0], "pfifo_fast", why)}
	default:
		return []Advice{{Topic: Queue, Subject: name, Level: Note, How: ByHand, Is: fmt.Sprintf("queueing discipline %s, with %s for each queue of the card", kinds[0], kinds[i]), Should: "pfifo_fast for each queue",
			Why: why, Command: "sysctl -w net.core.default_qdisc=pfifo_fast && tc qdisc replace dev " + name + " root pfifo_fast && tc qdisc replace dev " + name + " root mq"}}
	}
}

// queueLength looks at how many frames may wait before the interface.
func (m *Machine) queueLength(name, dir string) []Advice {
	n, ok := m.number(dir + "/tx_queue_len")
	if !ok || n >= enoughRing-24 || n == 0 { // the usual 1000; 0: it has no queue
		return nil
	}
	return []Advice{change(Queue, name, Note, Auto, m.netSetting(name, "tx_queue_len"), "1000", fmt.Sprintf("%d frames may wait to be sent", n), "1000",
		"replies leave in bursts; those that find the queue full are sent again only when the initiator asks again")}
}

// steering looks at RPS and XPS.
func (m *Machine) steering(name, dir string) []Advice {
	var out []Advice
	var on []string
	for _, p := range m.glob(dir + "/queues/rx-*/rps_cpus") {
		if strings.Trim(m.text(p), "0,") != "" {
			on = append(on, p)
		}
	}
	for _, same := range m.alike(on) {
		s := file{m: m, paths: same, udev: m.udevOf(name)}
		out = append(out, change(Steering, name, Note, Choice, s, "0", "RPS passes received frames to other processors", "off",
			"AoE frames have no addresses and ports that it knows, so it sends all of them to one and the same processor, by one more interrupt. Keep it where the interface carries IP, too"))
	}
	if len(on) == 0 {
		out = append(out, fine(Steering, name, "RPS is off"))
	}
	return out
}

// interrupt is one of an interface.
type interrupt struct {
	irq   string
	count int64
	cpus  []int // that it may go to
}

// interruptsOf returns the interrupts of an interface's card that came at least once.
func (m *Machine) interruptsOf(dir string) []interrupt {
	var out []interrupt
	list := m.names(dir + "/device/msi_irqs")
	if len(list) == 0 { // virtio: those of the PCI device above
		if device, err := filepath.EvalSymlinks(m.path(dir + "/device")); err == nil {
			entries, _ := os.ReadDir(filepath.Join(filepath.Dir(device), "msi_irqs")) // none: it has none
			for _, e := range entries {
				list = append(list, e.Name())
			}
		}
	}
	if len(list) == 0 {
		if n := m.text(dir + "/device/irq"); n != "" && n != "0" {
			list = []string{n}
		}
	}
	counts := map[string]int64{}
	for line := range strings.Lines(m.text("/proc/interrupts")) {
		f := strings.Fields(line)
		if len(f) < 2 || !strings.HasSuffix(f[0], ":") {
			continue
		}
		for _, x := range f[1:] {
			n, err := strconv.ParseInt(x, 10, 64)
			if err != nil {
				break
			}
			counts[strings.TrimSuffix(f[0], ":")] += n
		}
	}
	for _, irq := range list {
		if counts[irq] > 0 {
			out = append(out, interrupt{irq, counts[irq], cpuSet(m.text("/proc/irq/" + irq + "/smp_affinity_list"))})
		}
	}
	slices.SortFunc(out, func(a, b interrupt) int { return int(min(1, max(-1, b.count-a.count))) })
	return out
}

// nodeOf returns the node of a card and its processors; -1 and none where there is one node only, or it is not known.
func (m *Machine) nodeOf(dir string) (node int64, cpus []int) {
	device, err := filepath.EvalSymlinks(m.path(dir + "/device"))
	if err != nil {
		return -1, nil
	}
	for _, d := range []string{device, filepath.Dir(device)} { // the second: virtio, whose card is the PCI device above
		b, err := os.ReadFile(filepath.Join(d, "numa_node"))
		if err != nil {
			continue
		}
		node, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		cpus := cpuSet(m.text(fmt.Sprintf("/sys/devices/system/node/node%d/cpulist", node)))
		if err == nil && node >= 0 && len(cpus) > 0 && len(m.glob("/sys/devices/system/node/node[0-9]*")) > 1 {
			return node, cpus
		}
		break
	}
	return -1, nil
}

// interrupts compares where the card's interrupts go with where the lanes may run, and with the card's node.
func (m *Machine) interrupts(name, dir string) []Advice {
	irqs := m.interruptsOf(dir)
	online := cpuSet(m.text("/sys/devices/system/cpu/online"))
	if len(irqs) == 0 || len(online) < 2 {
		return nil
	}
	balanced := m.running("irqbalance")
	how, note := Auto, ""
	if balanced {
		how, note = ByHand, "; irqbalance runs and would move it again: let it leave this one alone (--banirq) first"
	}
	node, near := m.nodeOf(dir)
	if node < 0 {
		near = online
	}
	lanes := m.laneCPUs()
	rest := slices.DeleteFunc(slices.Clone(near), func(c int) bool { return slices.Contains(lanes, c) }) // never far from the card
	var out []Advice
	for left := slices.Clone(irqs); len(left) > 0; {
		cpus := left[0].cpus
		same := func(i interrupt) bool { return slices.Equal(i.cpus, cpus) } // they are one change
		var numbers, paths []string
		for _, i := range left {
			if same(i) {
				numbers, paths = append(numbers, i.irq), append(paths, "/proc/irq/"+i.irq+"/smp_affinity_list")
			}
		}
		left = slices.DeleteFunc(left, same)
		is := "interrupt " + numbers[0] + " goes"
		if len(numbers) > 1 {
			is = "interrupts " + strings.Join(numbers, ", ") + " go"
		}
		is += " to processors " + cpuList(cpus)
		move := func(to []int, where, why string) {
			out = append(out, change(Interrupts, name, Note, how, file{m: m, paths: paths}, cpuList(to), is+", "+where, "processors "+cpuList(to), why+note))
		}
		switch {
		case len(cpus) == 0: // not known
		case node >= 0 && !slices.ContainsFunc(cpus, func(c int) bool { return slices.Contains(near, c) }):
			move(near, "far from the card", fmt.Sprintf("the card is at node %d: each frame crosses between the nodes", node))
		case slices.Equal(cpus, lanes) && len(rest) > 0:
			move(rest, "the only ones that the lanes may use", "receiving and serving then take turns where they could run side by side")
		}
	}
	if len(out) == 0 {
		// Frames without addresses of IP all come by one queue, which is the one with most interrupts where the network is of AoE alone.
		text := fmt.Sprintf("%d interrupts, the busiest is %s at processors %s", len(irqs), irqs[0].irq, cpuList(irqs[0].cpus))
		if balanced {
			text += "; irqbalance runs"
		}
		out = append(out, fine(Interrupts, name, "%s", text))
	}
	return out
}

// cpuList writes processors as the kernel does, e.g. "0-3,8".
func cpuList(cpus []int) string {
	var parts []string
	for i := 0; i < len(cpus); {
		j := i
		for j+1 < len(cpus) && cpus[j+1] == cpus[j]+1 {
			j++
		}
		if j > i {
			parts = append(parts, fmt.Sprintf("%d-%d", cpus[i], cpus[j]))
		} else {
			parts = append(parts, strconv.Itoa(cpus[i]))
		}
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// laneCPUs returns the processors that the daemon may run on; none: no daemon is known.
func (m *Machine) laneCPUs() []int {
	if m.Use.PID == 0 {
		return nil
	}
	for line := range strings.Lines(m.text(fmt.Sprintf("/proc/%d/status", m.Use.PID))) {
		if list, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			return cpuSet(list)
		}
	}
	return nil
}

// running tells whether a program of this name runs.
func (m *Machine) running(program string) bool {
	return slices.ContainsFunc(m.glob("/proc/[0-9]*/comm"), func(p string) bool { return m.text(p) == program })
}

// near compares the node of a card with the processors that the daemon may run on.
func (m *Machine) near(name, dir string) []Advice {
	node, local := m.nodeOf(dir)
	lanes := m.laneCPUs()
	if node < 0 || len(lanes) == 0 {
		return nil
	}
	if !slices.ContainsFunc(lanes, func(c int) bool { return !slices.Contains(local, c) }) {
		return []Advice{fine(NUMA, name, "lanes run at node %d, where the card is", node)}
	}
	return []Advice{{Topic: NUMA, Subject: name, Level: Note, How: ByHand, Is: fmt.Sprintf("the card is at node %d; lanes may run at processors %s", node, cpuList(lanes)),
		Should:  "processors " + cpuList(local),
		Why:     "frames and data then stay in the memory and the caches of one node",
		Command: fmt.Sprintf("systemctl edit goaoe, there: [Service] CPUAffinity=%s NUMAPolicy=local, each in a line of its own; it counts from the next start", cpuList(local))}}
}

// emulated says what is known of the card of a virtual machine.
func (m *Machine) emulated(name, dir string) []Advice {
	driver := path.Base(m.link(dir + "/device/driver"))
	switch {
	case !m.virtual():
		return nil
	case slices.Contains([]string{"e1000", "e1000e", "8139cp", "8139too", "pcnet32", "ne2k-pci", "tulip"}, driver):
		return []Advice{{Topic: Virtual, Subject: name, Level: Warning, How: ByHand, Is: "an emulated card (" + driver + ")", Should: "virtio-net, or a card of the host passed through",
			Why: "the hypervisor acts out each access to it", Command: "in the machine's definition: model virtio"}}
	case driver == "virtio_net":
		return []Advice{{Topic: Virtual, Subject: name, Level: OK, Is: "a virtio card: at the host vhost-net and the MTU of its bridge and tap count, too"}}
	}
	return nil
}
