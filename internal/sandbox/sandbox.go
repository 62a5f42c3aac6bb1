// Package sandbox takes from a process what it does not need: capabilities, sight of the file system (Landlock), system calls
// (seccomp). All of it holds for every thread, those of lanes included, and for all that is done later; none of it can be
// taken back. What the kernel cannot do is left out and said.
//
// The order matters: after Landlock /proc cannot be read, so capabilities come first, and after seccomp nothing more can be given up.
package sandbox

import (
	"fmt"
	"strings"
)

// Names of the parts, in the order in which they are applied.
const (
	Capabilities = "capabilities"
	Landlock     = "landlock"
	Seccomp      = "seccomp"
)

// Policy is what a process keeps.
type Policy struct {
	// Off names parts that are left out, with the reason, e.g. "switched off".
	Off map[string]string
	// Keep are the names of capabilities that stay where the process has them, e.g. "net_raw".
	Keep []string
	// Write are folders in which files may be made, changed and removed; Read are folders and files that may be read; ReadWrite are files that
	// may also be written. What does not exist is left out.
	Write, Read, ReadWrite []string
	// Profile keeps the timers by which the Go runtime takes a profile of where processor time goes.
	Profile bool
}

// Part says how a part is.
type Part struct {
	Name    string
	InForce bool
	Text    string // what is left, or why it is not in force
}

// Apply applies a policy to all threads of this process. A part that cannot be applied is no error: its Part says why.
func Apply(p Policy) []Part {
	parts := make([]Part, 0, 3)
	for _, x := range []struct {
		name  string
		apply func(*Policy) (string, error)
	}{{Capabilities, dropCapabilities}, {Landlock, restrictFiles}, {Seccomp, filterCalls}} {
		part := Part{Name: x.name}
		if why, off := p.Off[x.name]; off {
			part.Text = why
		} else if text, err := x.apply(&p); err != nil {
			part.Text = err.Error()
		} else {
			part.InForce, part.Text = true, text
		}
		parts = append(parts, part)
	}
	return parts
}

// Available says what of it the kernel can do, without applying anything.
func Available() []Part {
	parts := []Part{{Capabilities, true, "the kernel has them"}}
	for _, x := range []struct {
		name string
		look func() (string, error)
	}{{Landlock, landlockVersion}, {Seccomp, seccompAvailable}} {
		text, err := x.look()
		if err != nil {
			text = err.Error()
		}
		parts = append(parts, Part{x.name, err == nil, text})
	}
	return parts
}

// String returns "NAME: TEXT".
func (p Part) String() string {
	if p.InForce {
		return fmt.Sprintf("%s: %s", p.Name, p.Text)
	}
	return fmt.Sprintf("%s: not in force: %s", p.Name, strings.TrimSpace(p.Text))
}
