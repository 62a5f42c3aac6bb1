package cli

import (
	_ "embed" // the text of goaoe(7)
	"strings"

	"goaoe/internal/cli/roff"
	"goaoe/internal/config"
)

// conceptsText is goaoe(7): "# " begins a section, "= " an item; the rest is text as in the commands' help.
//
//go:embed manual/goaoe.7.txt
var conceptsText string

// fileText is what goaoe.toml(5) says before the settings.
const fileText = `goaoe serve reads this file: exports, the interfaces that they are served on, and who may use them. It is TOML: sections in
brackets, and in them lines "key = value". A key that goaoe does not know, a value out of its range, an address that is given twice: each
is an error with its line, and nothing is served then. goaoe-check(1) finds all of them at once.

A running daemon reads the file again at SIGHUP (systemctl reload goaoe) and touches only what changed.

Files *.toml in the folder conf.d beside it are read too, in the order of their names. They add exports, and change those of the
main file by sections [[change]]. The daemon writes its own ones there when a change at run time is to be kept.`

// valuesText says how values of the types are written.
const valuesText = `A size is a number of bytes, or text with a suffix: "10G" (K, M, G, T, P: powers of 1024) or "2048s" (sectors of 512 bytes).
A duration is text: "50us", "2s", "1m", or "off". Names, or members of access lists, are a text or a list of texts. An interface may
be a glob: "vlan*". An Ethernet address is "02:00:00:00:00:01", the name of a host from [hosts] or from /etc/ethers, or, in access
lists, the name of another list.`

// filePage makes goaoe.toml(5).
func (m manual) filePage() string {
	p := roff.New("goaoe.toml", 5, m.date, m.source, "goaoe manual")
	p.Name("goaoe.toml", "configuration of the AoE target")
	p.Section("SYNOPSIS")
	p.Text(config.DefaultFile+"\n\n"+config.DropInDir(config.DefaultFile)+"/*.toml", true)
	p.Section("DESCRIPTION")
	p.Text(fileText, true)
	p.Section("VALUES")
	p.Text(valuesText, true)
	p.Section("SECTIONS")
	for _, s := range config.Sections {
		p.Subsection(s.Header)
		p.Text(strings.Join(s.Help, "\n"), true)
		inherited := false
		for _, k := range config.Keys {
			switch {
			case k.Section != s.Name:
			case k.Inherit:
				inherited = true
			default:
				p.Item(keyTerm(k), keyText(k))
			}
		}
		if inherited {
			p.Text("Every key of [defaults] may stand here too, and counts for this export only.", false)
		}
	}
	p.Section("EXAMPLES")
	p.Text("Two exports on one interface, the second for one initiator only:", true)
	p.Example(fileExample)
	p.Text("Every setting with its default: goaoe init --all", false)
	p.Section("FILES")
	p.Item(roff.Bold(config.DefaultFile), "Read when goaoe serve gets no -c.")
	p.Item(roff.Bold(config.DropInDir(config.DefaultFile)+"/"), "Its drop-ins. Beside a FILE of another name: FILE.d/")
	p.Item(roff.Bold("/etc/ethers"), "Names of Ethernet addresses, see ethers(5).")
	p.SeeAlso([]string{"goaoe(1)", "goaoe-check(1)", "goaoe-init(1)", "goaoe-serve(1)", "ethers(5)", manConcepts})
	return p.String()
}

// fileExample is the example of goaoe.toml(5). A test reads it as a configuration.
const fileExample = `[defaults]
interfaces = ["eth1"]

[hosts]
node1 = "02:00:00:00:00:01"

[[export]]
address = "0.1"
source = "/dev/vg0/disk1"

[[export]]
address = "0.2"
source = "UUID=0a3407de-014b-458b-b5c1-848e92a327a3"
accept = ["node1"]
read-only = true
`

// keyText is what a page says about a setting.
func keyText(k config.Key) string {
	text := k.Help
	if r := k.Range(); r != "" && k.Type != config.TypeBool {
		text += " Values: " + r + "."
	}
	switch {
	case k.Default != "":
		text += " Default: " + k.Default + "."
	case k.Example != "":
		text += " Example: " + k.Example + "."
	}
	return text
}

// conceptsPage makes goaoe(7).
func (m manual) conceptsPage() string {
	p := roff.New("goaoe", 7, m.date, m.source, "goaoe manual")
	p.Name("goaoe", "concepts, files, signals and symptoms of the AoE target")
	for _, section := range strings.Split("\n"+conceptsText, "\n# ")[1:] {
		title, body, _ := strings.Cut(section, "\n")
		p.Section(title)
		lead, items, found := strings.Cut("\n"+body, "\n= ")
		p.Text(lead, true)
		if !found {
			continue
		}
		for _, item := range strings.Split(items, "\n= ") {
			term, text, _ := strings.Cut(item, "\n")
			p.Item(roff.Bold(term), text)
		}
		if title == "SIGNALS" {
			exitStatus(p)
		}
	}
	p.SeeAlso([]string{"goaoe(1)", manFile, "aoe-discover(8)", "aoe-revalidate(8)", "aoe-stat(8)"})
	return p.String()
}
