package foreign

import (
	"regexp"
	"slices"
	"strings"

	"goaoe/internal/config"
)

// Format is the format of a configuration file.
type Format string

// The formats. Auto is none of them: it asks for Detect.
const (
	Auto    Format = ""
	Native  Format = "native"
	Ggaoed  Format = "ggaoed"
	Qaoed   Format = "qaoed"
	Vblade  Format = "vblade"         // a shell fragment of vblade.conf.d, or the directory of them
	Persist Format = "vblade-persist" // the directory of Debian's vblade-persist
)

// Served are the formats that a daemon runs from; Converted are those that can be converted.
var (
	Served    = []Format{Native, Ggaoed, Qaoed}
	Converted = []Format{Ggaoed, Qaoed, Vblade, Persist}
)

var (
	// qaoedStart is how the first statement of a qaoed.conf begins: a block, or an assignment that ends in a semicolon.
	qaoedStart = regexp.MustCompile(`^[A-Za-z-]+\s*(\{|=\s*("[^"\n]*"|[^\s;"]+)\s*;)`)
	// groupLine is the header of a group or a table.
	groupLine = regexp.MustCompile(`^\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$`)
	// tomlValue is how values begin that only TOML has.
	tomlValue = regexp.MustCompile(`^(["'\[{]|\d{4}-\d\d-\d\d)`)
	// sizeOrBare is a value that TOML can have, too: a number or a truth value.
	plainValue = regexp.MustCompile(`^(true|false|[+-]?[0-9][0-9_]*)\s*(#.*)?$`)
	// assign is NAME=VALUE of a shell fragment, without blanks around the sign.
	assign = regexp.MustCompile(`^(?i:shelf|slot|netif|filename|options|ionice)=`)
)

// Detect tells the format of a file by what is in it. Its name plays no part. In this order:
//
//   - What begins, behind comments, with "word {" or with "word = value;" is a qaoed.conf.
//   - What has a line that begins with "[[" is a native file, and so is one with a section that only goaoe has, such as [global] or
//     [access-list.NAME].
//   - What has groups "[name]" is a ggaoed.conf when a value stands there as TOML cannot have it (without quotation marks, and neither
//     number nor true or false), or when a group other than goaoe's sections has a key "shelf", and otherwise native.
//   - Lines "shelf=1" and the like without any group are a file of vblade.conf.d.
//   - Everything else, an empty file too, is native.
func Detect(data []byte) Format {
	text := strings.TrimPrefix(string(data), "\ufeff")
	if qaoedStart.MatchString(skipComments(text)) {
		return Qaoed
	}
	sections := ownSections()
	groups, bare, shelf, quoted, variables := false, false, false, false, false
	group := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
			continue
		case strings.HasPrefix(line, "[["):
			return Native
		}
		if m := groupLine.FindStringSubmatch(line); m != nil {
			groups, group = true, m[1]
			base, _, dotted := strings.Cut(group, ".")
			if slices.Contains(sections, base) && group != "defaults" && (!dotted || base == "access-list" || base == "log-target") {
				return Native
			}
			continue
		}
		if !groups && assign.MatchString(line) {
			variables = true
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch {
		case tomlValue.MatchString(value):
			quoted = true
		case !plainValue.MatchString(value):
			bare = true
		}
		shelf = shelf || strings.TrimSpace(key) == "shelf" && group != "defaults" && groups
	}
	switch {
	case groups && (shelf || bare && !quoted):
		return Ggaoed
	case groups && bare && group != "" && group != "defaults":
		return Ggaoed
	case !groups && variables:
		return Vblade
	}
	return Native
}

// ownSections are the names of goaoe's sections.
func ownSections() (out []string) {
	for _, s := range config.Sections {
		out = append(out, s.Name)
	}
	return out
}

// skipComments returns what follows the comments of a file's beginning: # and // to the end of the line, and /* */.
func skipComments(s string) string {
	for {
		s = strings.TrimLeft(s, " \t\r\n\f\v;")
		switch {
		case strings.HasPrefix(s, "#"), strings.HasPrefix(s, "//"):
			_, s, _ = strings.Cut(s, "\n")
		case strings.HasPrefix(s, "/*"):
			_, s, _ = strings.Cut(s[2:], "*/")
		default:
			return s
		}
	}
}
