package ggaoed

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"

	"goaoe/aoe"
	"goaoe/internal/config"
	"goaoe/internal/privsep"
)

// stateDirs are where ggaoed keeps what initiators have set, unless state-directory says otherwise: it depends on how it was built.
var stateDirs = []string{"/var/lib/ggaoed", "/var/ggaoed"}

// The files of a device in the state directory are NAME.config, NAME.mac_mask and NAME.reserve: in the byte order of the machine a magic
// number, a length, and then that many bytes of config string (up to 1024), or that many addresses (up to 255) of eight bytes
// each, the last two of which are padding.
const (
	magicConfig = 0x38a0bfae
	magicList   = 0xe92a716b
	headLen     = 8
	entryLen    = 8
	maxConfig   = 1024
	maxEntries  = 255
)

// saved warns of what ggaoed keeps for a device and goaoe does not take over: a MAC mask that is lost lets others in.
func (r *reader) saved(p *config.Part, g *group) {
	if strings.Contains(g.name, "/") || g.name == "" {
		return
	}
	for _, dir := range r.stateDirs {
		path := filepath.Join("/", r.sysroot, dir, g.name)
		if s := savedConfig(path + ".config"); s != "" {
			r.notTaken(p, g, fmt.Sprintf("has the config string %q, which is not taken over", s), "set it again when goaoe serves it: aoecfg -c fset")
		}
		if macs := savedList(path + ".mac_mask"); len(macs) > 0 {
			r.notTaken(p, g, fmt.Sprintf("has the MAC mask %s, which is not taken over", strings.Join(macs, ", ")), "put these addresses into accept, so that nobody else is let in")
		}
		if macs := savedList(path + ".reserve"); len(macs) > 0 {
			r.notTaken(p, g, fmt.Sprintf("is reserved for %s, which is not taken over", strings.Join(macs, ", ")), "reserve it again before others use it")
		}
	}
}

// notTaken notes what is lost, and keeps it as a comment.
func (r *reader) notTaken(p *config.Part, g *group, msg, hint string) {
	r.d.Problem(config.Problem{Severity: config.Warning, Position: g.pos, Key: "[" + g.name + "]", Message: msg, Hint: hint})
	p.Remark("In ggaoed it " + msg + ".")
}

// savedFile returns what follows the head of a state file and the length in the head; nothing where there is no such file.
func savedFile(path string, magic uint32) (body []byte, n int) {
	st, err := privsep.Stat(path)
	if err != nil || !st.Regular() || st.Size > 64<<10 {
		return nil, 0
	}
	data, err := privsep.ReadFile(path)
	if err != nil || len(data) < headLen || binary.NativeEndian.Uint32(data) != magic {
		return nil, 0
	}
	if m := binary.NativeEndian.Uint32(data[4:]); m <= maxConfig {
		n = int(m)
	}
	return data[headLen:], n
}

// savedConfig returns a saved config string.
func savedConfig(path string) string {
	body, n := savedFile(path, magicConfig)
	return string(body[:min(n, len(body))])
}

// savedList returns a saved list of addresses.
func savedList(path string) (out []string) {
	body, n := savedFile(path, magicList)
	if n > maxEntries {
		return nil
	}
	for i := range n {
		if (i+1)*entryLen <= len(body) {
			out = append(out, aoe.MAC(body[i*entryLen:]).String())
		}
	}
	return out
}
