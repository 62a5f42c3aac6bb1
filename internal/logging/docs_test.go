package logging

import (
	"os"
	"strings"
	"testing"

	"goaoe/internal/config"
)

// TestDocs reads every configuration that the manual page shows.
func TestDocs(t *testing.T) {
	const page = "../../docs/logging.md"
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	in := false
	for _, line := range strings.Split(string(b), "\n") {
		code, ok := strings.CutPrefix(line, "    ")
		switch {
		case ok && !in:
			blocks = append(blocks, code+"\n")
			in = true
		case ok:
			blocks[len(blocks)-1] += code + "\n"
		case line != "":
			in = false
		default:
			if in {
				blocks[len(blocks)-1] += "\n"
			}
		}
	}
	n := 0
	for _, text := range blocks {
		if !strings.HasPrefix(text, "[") {
			continue
		}
		n++
		text += "[defaults]\ninterfaces = \"eth1\"\n"
		if strings.Contains(text, `log-target = "mail"`) && !strings.Contains(text, "[log-target.mail]") {
			text += "[log-target.mail]\ntype = \"stderr\"\n"
		}
		if _, ps := config.Parse("block", []byte(text), config.Options{Sysroot: t.TempDir()}); ps.Err() != nil {
			t.Errorf("%v\n%s", ps, text)
		} else {
			for _, p := range ps {
				if strings.Contains(p.Key, "log") {
					t.Errorf("%v\n%s", p, text)
				}
			}
		}
	}
	if n < 7 {
		t.Errorf("%d configurations found in %s", n, page)
	}
}
