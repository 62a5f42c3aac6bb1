package config

import (
	"fmt"
	"strings"
	"time"
)

const referenceHead = `# goaoe.toml: every setting of goaoe, with its default.
#
# This file is made from the table that the program itself checks configurations with. A line "#key = value" shows the
# default, or an example where the text says so. Most configurations need a few lines only: goaoe init prints one.
# goaoe check says what is wrong with a file. A running goaoe reads it again at SIGHUP.
#
# Sizes are bytes, or have a suffix: "10G" (K, M, G, T, P: powers of 1024) or "2048s" (sectors of 512 bytes).
# Durations are written "50us", "2s", "1m", or "off".
`

// referenceActive are the lines of the reference file that are not comments, so that it is a working example.
var referenceActive = map[string]string{
	"defaults.interfaces": `["eth1", "vlan*"]`,
	"export.address":      `"0.1"`,
	"export.source":       `"/dev/sda5"`,
}

// Reference returns the reference file: all sections and keys with help, range and default.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	for _, s := range Sections {
		b.WriteString("\n")
		for _, line := range s.Help {
			b.WriteString("# " + line + "\n")
		}
		header := s.Header
		switch s.Name {
		case "interface":
			header = "#" + header
		case "log-target":
			header = "#[log-target.disks]"
		case "access-list":
			header = "#[access-list.admins]"
		case "change":
			b.WriteString("#     [[change]]\n#     address = \"0.1\"\n#     read-only = true\n")
			continue
		}
		b.WriteString(header + "\n")
		inherited := false
		for _, k := range Keys {
			if k.Section != s.Name {
				continue
			}
			if k.Inherit && !inherited {
				b.WriteString("\n# These take the place of the settings in [defaults], where they are explained.\n")
			}
			inherited = k.Inherit
			writeKey(&b, k)
		}
	}
	return b.String()
}

// writeKey writes one key of the reference file. The keys that [[export]] shares with [defaults] are explained there.
func writeKey(b *strings.Builder, k Key) {
	name := k.Name
	if name == "*" {
		name = "node1"
	}
	if !k.Inherit {
		b.WriteString("\n")
		for _, line := range wrap(k.Help, 100) {
			b.WriteString("# " + line + "\n")
		}
		if r := k.Range(); r != "" {
			b.WriteString("# Values: " + r + ".\n")
		}
	}
	if v, ok := referenceActive[k.Section+"."+k.Name]; ok {
		fmt.Fprintf(b, "%s = %s\n", name, v)
		return
	}
	value, note := k.Default, ""
	if value == "" {
		value, note = k.Example, "  # an example"
	}
	fmt.Fprintf(b, "#%s = %s%s\n", name, value, note)
}

// Switch tells whether the key also takes true for on and false for off: one that is on, off, and something else.
func (k *Key) Switch() bool {
	return k.Type == TypeEnum && contains(k.Enum, "on") && contains(k.Enum, "off")
}

// Range says in words which values a key takes; empty when the type says it all.
func (k Key) Range() string {
	switch k.Type {
	case TypeBool:
		return "true, false"
	case TypeInt:
		return fmt.Sprintf("%d to %d", k.Min, k.Max)
	case TypeText:
		return fmt.Sprintf("1 to %d characters", k.Max)
	case TypeEnum:
		return strings.Join(k.Enum, ", ")
	case TypeDuration:
		lo := fmt.Sprintf("%q", formatDuration(time.Duration(k.Min)))
		return lo + fmt.Sprintf(" to %q", formatDuration(time.Duration(k.Max)))
	case TypeSize:
		if k.Max > 0 {
			return fmt.Sprintf("%q to %q", FormatSize(k.Min), FormatSize(k.Max))
		}
		return "a multiple of 512 bytes"
	}
	return ""
}

// wrap breaks a text into lines of at most width bytes.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, w := range strings.Fields(text) {
		if line != "" && len(line)+1+len(w) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	return append(lines, line)
}

// KeysHelp returns the settings of the named sections (all when none is named) as text for a terminal or a manual: name, default,
// and what it does.
func KeysHelp(sections ...string) string {
	var b strings.Builder
	for _, s := range Sections {
		if len(sections) > 0 && !contains(sections, s.Name) {
			continue
		}
		fmt.Fprintf(&b, "%s\n", s.Header)
		for _, k := range Keys {
			if k.Section != s.Name || k.Inherit || s.Name == "change" {
				continue
			}
			def := ""
			if k.Default != "" {
				def = " (" + k.Default + ")"
			}
			fmt.Fprintf(&b, "  %s%s\n", k.Name, def)
			for _, line := range wrap(k.Help, 90) {
				fmt.Fprintf(&b, "      %s\n", line)
			}
		}
		switch s.Name {
		case "export":
			b.WriteString("  and every key of [defaults]\n")
		case "change":
			b.WriteString("  address\n      Which export is changed. Required.\n  and every key of [[export]]\n")
		}
	}
	return b.String()
}

const minimalHead = `# goaoe configuration. goaoe check says what is wrong with it; all settings: goaoe init --all

[defaults]
# Interfaces to serve on, by name or glob.
interfaces = [%s]

# Requests that an export holds at a time, and that initiators are told to have outstanding.
#queue-length = 64
`

const minimalExport = `
[[export]]
address = %s
# A path, or UUID=, LABEL=, PARTUUID=, PARTLABEL= of a device.
source = %s
# Bypass the page cache.
direct-io = false
# Acknowledge writes before they are on stable storage: faster, unsafe at a power failure.
write-cache = false
`

const minimalNoExport = `
# One section for each target. Initiators find this one as e0.1, Linux as /dev/etherd/e0.1.
#[[export]]
#address = "0.1"
#source = "/dev/sda5"     # or UUID=, LABEL=, PARTUUID=, PARTLABEL= of a device
#direct-io = true         # bypass the page cache
#write-cache = false      # true: acknowledge writes before they are on stable storage
`

// Minimal returns a file to begin with, for the exports of c and these interfaces. accept are who may use them; none: everybody.
func Minimal(c *Config, interfaces, accept []string) string {
	var quoted []string
	for _, i := range interfaces {
		quoted = append(quoted, Quote(i))
	}
	var b strings.Builder
	fmt.Fprintf(&b, minimalHead, strings.Join(quoted, ", "))
	if len(accept) > 0 {
		for i, m := range accept {
			accept[i] = Quote(m)
		}
		fmt.Fprintf(&b, "\n# Only these initiators are served.\naccept = [%s]\n", strings.Join(accept, ", "))
	}
	for _, e := range c.Exports {
		fmt.Fprintf(&b, minimalExport, Quote(strings.TrimPrefix(e.Addr.String(), "e")), Quote(e.Source))
	}
	if len(c.Exports) == 0 {
		b.WriteString(minimalNoExport)
	}
	return b.String()
}

// Quote writes s as a TOML string.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
