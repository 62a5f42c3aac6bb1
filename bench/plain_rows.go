package main

import "fmt"

// newPlain is a plain loop with so many options; its name is what it does.
func newPlain(name string, flags ...string) contestant {
	return contestant{name: name, kind: plain, args: append(append([]string{"-i", ifName(targetIf, 0)}, flags...), "%image")}
}

// neverAsleep is a plain loop that spins where others sleep: it is stopped while it is not its turn.
func neverAsleep(flags ...string) contestant {
	c := newPlain("plain loop, never asleep", append(flags[:len(flags):len(flags)], "-spin")...)
	c.awake = true
	return c
}

// plainDirect are the plain loops of the rows with direct I/O. Answers leave one or two at a time: the sooner the first is there, the sooner the disk has the next request.
func plainDirect(writes bool) []contestant {
	flags := []string{"-by", byRing, "-direct"}
	if writes {
		flags = append(flags, "-sync")
	}
	return []contestant{newPlain("plain loop", append(flags[:len(flags):len(flags)], "-parts", "2")...),
		neverAsleep(append(flags[:len(flags):len(flags)], "-parts", "1")...)}
}

// plainCached are those of the rows with the page cache. The better one, by io_uring for reads and by calls for writes, also sends by AF_XDP.
func plainCached(writes bool) []contestant {
	most := newPlain("plain loop, io_uring, AF_XDP", "-by", byRing, "-xdp")
	if writes {
		most = newPlain("plain loop, a call each, AF_XDP", "-xdp")
	}
	return []contestant{newPlain("plain loop, a call each"), newPlain("plain loop, io_uring", "-by", byRing), most}
}

// plainDurable are those of the row with durable writes to a buffered file. One sync covers what was written when it begins, as in goaoe.
func plainDurable() []contestant {
	return []contestant{newPlain("plain loop, a call each", "-sync"), newPlain("plain loop, io_uring", "-by", byRing, "-sync")}
}

// plainFiles is a plain loop with so many files, all of which are asked.
func plainFiles(n int) contestant {
	c := newPlain("plain loop, "+plural(n, "file"), "-by", byRing, "-xdp", "-exports", fmt.Sprint(n))
	c.load = many(n).load
	return c
}

// plainLoops are so many plain loops on two interfaces.
func plainLoops(n int) contestant {
	return contestant{name: plural(n, "plain loop"), kind: plain, free: true,
		args: []string{"-i", ifName(targetIf, 0) + "," + ifName(targetIf, 1), "-by", byRing, "-loops", fmt.Sprint(n), "-exports", "2", "%image"}}
}

// plainLimits makes limits of contestants.
func plainLimits(all []contestant) (out []limit) {
	for _, c := range all {
		out = append(out, limit{name: c.name})
	}
	return out
}
