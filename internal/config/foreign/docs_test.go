package foreign

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocs holds the tables of docs/migrating.md against the options of the readers, both ways.
func TestDocs(t *testing.T) {
	data, err := os.ReadFile("../../../docs/migrating.md")
	if err != nil {
		t.Fatal(err)
	}
	chapters := map[string]string{}
	for _, c := range strings.Split(string(data), "\n## ")[1:] {
		title, body, _ := strings.Cut(c, "\n")
		chapters[title] = body
	}
	for program, title := range map[string]string{"ggaoed": "From ggaoed", "qaoed": "From qaoed", "vblade": "From vblade, with Debian's files too"} {
		rows := rowsOf(chapters[title])
		for _, table := range tables {
			if table.program != program {
				continue
			}
			for _, o := range table.options {
				key := o.Section + " " + o.Name
				row, ok := rows[key]
				switch {
				case !ok:
					t.Errorf("%s: no row for %s", title, key)
				case o.Native != "" && row[0] != o.Native:
					t.Errorf("%s: %s becomes %q, the page says %q", title, key, o.Native, row[0])
				case o.Native == "" && (row[0] != "none" || !strings.Contains(strings.ToLower(row[1]), strings.ToLower(o.Instead))):
					t.Errorf("%s: %s has no equivalent, but %q; the page says %q", title, key, o.Instead, row)
				}
				delete(rows, key)
			}
		}
		for key := range rows {
			t.Errorf("%s: the reader does not know %s", title, key)
		}
	}
	if !strings.Contains(chapters["From kvblade"], "kvadd") {
		t.Error("kvblade has no chapter")
	}
}

// rowsOf returns the rows of the table of options in a chapter: by section and option, what it becomes and the remark.
func rowsOf(text string) map[string][2]string {
	out := map[string][2]string{}
	plain := regexp.MustCompile("^`?\\[?([^`\\]]+)\\]?`?$")
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) != 4 || !strings.HasPrefix(line, "|") || strings.Contains(cells[0], "---") || strings.TrimSpace(cells[1]) == "option" {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		section := plain.ReplaceAllString(cells[0], "$1")
		out[section+" "+strings.Trim(cells[1], "`")] = [2]string{strings.ReplaceAll(cells[2], "`", ""), cells[3]}
	}
	return out
}
