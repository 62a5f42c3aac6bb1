package config

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"goaoe/aoe"
	"goaoe/internal/privsep"
)

// Ethers maps names of hosts to Ethernet addresses.
type Ethers map[string]aoe.MAC

// ParseEthers reads the format of /etc/ethers: an Ethernet address and a name per line, with # for comments. A line that
// is something else is a warning only, because the file is not goaoe's own. The first entry of a name counts.
func ParseEthers(file string, data []byte) (Ethers, Problems) {
	names := Ethers{}
	var ps Problems
	sc := bufio.NewScanner(bytes.NewReader(data))
	for line := 1; sc.Scan(); line++ {
		text, _, _ := strings.Cut(sc.Text(), "#")
		f := strings.Fields(text)
		if len(f) == 0 {
			continue
		}
		pos := Position{File: file, Line: line}
		if len(f) < 2 {
			ps.add(Problem{Severity: Warning, Position: pos, Value: f[0], Message: fmt.Sprintf("%q: an address without a name, or a name without an address", f[0])})
			continue
		}
		mac, err := aoe.ParseMAC(f[0])
		if err != nil {
			ps.add(Problem{Severity: Warning, Position: pos, Value: f[0], Message: err.Error()})
			continue
		}
		for _, name := range f[1:] {
			if _, dup := names[name]; !dup {
				names[name] = mac
			}
		}
	}
	if err := sc.Err(); err != nil {
		ps.add(Problem{Severity: Warning, Position: Position{File: file}, Message: err.Error()})
	}
	return names, ps
}

// ReadEthers reads such a file. A file that does not exist is an empty one.
func ReadEthers(file string) (Ethers, Problems) {
	data, err := privsep.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Ethers{}, nil
	}
	if err != nil {
		return Ethers{}, Problems{{Severity: Warning, Position: Position{File: file}, Message: err.Error(),
			Hint: "names of hosts in access lists cannot be found"}}
	}
	return ParseEthers(file, data)
}
