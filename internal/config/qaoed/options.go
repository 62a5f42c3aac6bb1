package qaoed

import "goaoe/internal/config"

// The kinds of sections. secGlobal is what stands outside of all; secACL is acl { } inside of device and default.
const (
	secGlobal    = "global"
	secLogging   = "logging"
	secInterface = "interface"
	secDefault   = "default"
	secDevice    = "device"
	secACL       = "acl"
	secAccess    = "access-list"
)

// sections are the blocks that can stand at the top.
var sections = []string{secLogging, secInterface, secDefault, secDevice, secAccess}

// Options are the options of qaoed.conf(5), and some that only qaoed's source knows.
var Options = []config.ForeignOption{
	{Section: secGlobal, Name: "log-level", Manual: true, Native: "[log] level"},
	{Section: secGlobal, Name: "apisocket", Native: "[control] socket"},
	{Section: secGlobal, Name: "include", Native: "the included file's sections"},

	{Section: secLogging, Name: "name", Manual: true, Native: "[log-target.NAME]"},
	{Section: secLogging, Name: "type", Manual: true, Native: "[log-target.NAME] type"},
	{Section: secLogging, Name: "filename", Manual: true, Native: "[log-target.NAME] file"},
	{Section: secLogging, Name: "syslog-facility", Manual: true, Native: "[log-target.NAME] facility"},
	{Section: secLogging, Name: "syslog-level", Manual: true,
		Instead: "goaoe sends each message with its own level; to write only the important ones set level of [log-target.NAME] or [log]"},

	{Section: secInterface, Name: "interface", Manual: true, Native: "[[interface]] name"},
	{Section: secInterface, Name: "mtu", Manual: true, Native: "[[interface]] mtu"},
	{Section: secInterface, Name: "log", Manual: true, Native: "[[interface]] log-target"},
	{Section: secInterface, Name: "log-level", Manual: true, Native: "[[interface]] log-level"},

	{Section: secDefault, Name: "shelf", Manual: true, Native: "[defaults] shelf"},
	{Section: secDefault, Name: "slot", Manual: true, Native: "[[export]] slot"},
	{Section: secDefault, Name: "broadcast", Manual: true, Native: "[defaults] announce"},
	{Section: secDefault, Name: "writecache", Manual: true, Native: "[defaults] write-cache"},
	{Section: secDefault, Name: "interface", Manual: true, Native: "[defaults] interfaces"},
	{Section: secDefault, Name: "log", Manual: true, Native: "[defaults] log-target"},
	{Section: secDefault, Name: "log-level", Manual: true, Native: "[defaults] log-level"},
	{Section: secDefault, Name: "acl", Manual: true, Native: "[defaults] config-read, config-set, read, write"},

	{Section: secDevice, Name: "shelf", Manual: true, Native: "[[export]] shelf"},
	{Section: secDevice, Name: "slot", Manual: true, Native: "[[export]] slot"},
	{Section: secDevice, Name: "target", Manual: true, Native: "[[export]] source"},
	{Section: secDevice, Name: "broadcast", Manual: true, Native: "[[export]] announce"},
	{Section: secDevice, Name: "writecache", Manual: true, Native: "[[export]] write-cache"},
	{Section: secDevice, Name: "interface", Manual: true, Native: "[[export]] interfaces"},
	{Section: secDevice, Name: "log", Manual: true, Native: "[[export]] log-target"},
	{Section: secDevice, Name: "log-level", Manual: true, Native: "[[export]] log-level"},
	{Section: secDevice, Name: "acl", Manual: true, Native: "[[export]] config-read, config-set, read, write"},
	{Section: secDevice, Name: "persistent-cfg",
		Instead: "goaoe always keeps config strings over a restart"},

	{Section: secACL, Name: "cfgread", Manual: true, Native: "[[export]] config-read"},
	{Section: secACL, Name: "discover", Native: "[[export]] config-read"},
	{Section: secACL, Name: "cfgset", Manual: true, Native: "[[export]] config-set"},
	{Section: secACL, Name: "read", Manual: true, Native: "[[export]] read"},
	{Section: secACL, Name: "write", Manual: true, Native: "[[export]] write"},

	{Section: secAccess, Name: "name", Manual: true, Native: "[access-list.NAME]"},
	{Section: secAccess, Name: "policy", Manual: true, Native: "[access-list.NAME] policy"},
	{Section: secAccess, Name: "log", Manual: true, Native: "[access-list.NAME] log, log-target"},
	{Section: secAccess, Name: "accept", Manual: true, Native: "[access-list.NAME] rules"},
	{Section: secAccess, Name: "reject", Manual: true, Native: "[access-list.NAME] rules"},
	{Section: secAccess, Name: "allow", Manual: true, Native: "[access-list.NAME] rules"},
}

// option finds an entry of the table.
func option(section, name string) *config.ForeignOption {
	for i := range Options {
		if o := &Options[i]; o.Section == section && o.Name == name {
			return o
		}
	}
	return nil
}

// names returns the options of a section.
func names(section string) (out []string) {
	for _, o := range Options {
		if o.Section == section {
			out = append(out, o.Name)
		}
	}
	return out
}
