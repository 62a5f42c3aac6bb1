package main

// newPlain is a plain loop with so many options; its name is what it does.
func newPlain(name string, flags ...string) contestant {
	return contestant{name: name, kind: plain, args: append(append([]string{"-i", targetIf}, flags...), "%image")}
}

// plainDirect are the plain loops of the rows with direct I/O. Answers leave one or two at a time: the sooner the first is there, the sooner the disk has the next request.
func plainDirect(writes bool) []contestant {
	flags := []string{"-by", byRing, "-direct"}
	if writes {
		flags = append(flags, "-sync")
	}
	return []contestant{newPlain("plain loop", append(flags[:len(flags):len(flags)], "-parts", "2")...),
		newPlain("plain loop, never asleep", append(flags[:len(flags):len(flags)], "-parts", "1", "-spin")...)}
}
