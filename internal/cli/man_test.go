package cli

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"goaoe/internal/config"
)

// unroff takes the markup of our own pages away, as far as words are looked for in them.
func unroff(page string) string {
	return strings.NewReplacer(`\fB`, "", `\fI`, "", `\fR`, "", `\-`, "-", `\(aq`, "'", `\(ti`, "~", `\(ha`, "^", `\(ga`, "`", `\e`, `\`, `\&`, "",
		`\(dq`, `"`).Replace(page)
}

func testManual(t *testing.T) (*cobra.Command, map[string]string) {
	t.Helper()
	root := NewRoot(&Env{Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}})
	pages := manual{date: "2026-01-02", source: "goaoe test"}.pages(root)
	for name, p := range pages {
		pages[name] = unroff(p)
	}
	return root, pages
}

// section returns the text of a section of a page.
func section(page, title string) string {
	_, text, _ := strings.Cut(page, "\n.SH \""+title+"\"\n")
	text, _, _ = strings.Cut(text, "\n.SH ")
	return text
}

var flagTerm = regexp.MustCompile(`(?m)^\.TP\n(?:-(\w), )?--([a-z0-9-]+)`)

// TestManualHasEverything: each command has a page, each flag is in it, and there is nothing in the pages that is not in the program.
func TestManualHasEverything(t *testing.T) {
	root, pages := testManual(t)
	known := map[string]bool{"goaoe.toml.5": true, "goaoe.7": true}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		name := pageName(c) + ".1"
		known[name] = true
		page := pages[name]
		for _, s := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"} {
			if section(page, s) == "" {
				t.Errorf("%s has no section %s", name, s)
			}
		}
		if c.Example != "" && section(page, "EXAMPLES") == "" {
			t.Errorf("%s lacks the examples", name)
		}
		var want, got []string
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				want = append(want, f.Shorthand+"/"+f.Name)
			}
		})
		for _, m := range flagTerm.FindAllStringSubmatch(section(page, "OPTIONS"), -1) {
			got = append(got, m[1]+"/"+m[2])
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			t.Errorf("%s: has the flags %q, the command %q", name, got, want)
		}
		if c.HasParent() && !c.Hidden && !strings.Contains(section(pages[pageName(c.Parent())+".1"], "COMMANDS"), pageName(c)+"(1)") {
			t.Errorf("%s is not in its parent's page", name)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	for name := range pages {
		if !known[name] {
			t.Errorf("%s is the page of no command", name)
		}
	}
}

// TestManualReferences: what a page refers to exists: our own pages, and those of others that are known.
func TestManualReferences(t *testing.T) {
	_, pages := testManual(t)
	foreign := []string{"ethers(5)", "aoe-discover(8)", "aoe-interfaces(8)", "aoe-revalidate(8)", "aoe-stat(8)"}
	ref := regexp.MustCompile(`([a-z][a-z0-9.-]+)\s?\(([1-8])\)`)
	for name, page := range pages {
		for _, m := range ref.FindAllStringSubmatch(page, -1) {
			if pages[m[1]+"."+m[2]] == "" && !slices.Contains(foreign, m[1]+"("+m[2]+")") {
				t.Errorf("%s refers to %s(%s), which is nowhere", name, m[1], m[2])
			}
		}
	}
}

// TestManualOfTheFile: goaoe.toml(5) has every section and every key, and no others; its example is a good configuration.
func TestManualOfTheFile(t *testing.T) {
	_, pages := testManual(t)
	parts := strings.Split(section(pages["goaoe.toml.5"], "SECTIONS"), `.SS "`)[1:]
	if len(parts) != len(config.Sections) {
		t.Fatalf("%d sections, want %d", len(parts), len(config.Sections))
	}
	term := regexp.MustCompile(`(?m)^\.TP\n([a-zA-Z*-]+) = `)
	for i, s := range config.Sections {
		if !strings.HasPrefix(parts[i], s.Header+`"`) {
			t.Errorf("section %d begins %.30q, want %s", i, parts[i], s.Header)
		}
		var want, got []string
		for _, k := range config.Keys {
			if k.Section == s.Name && !k.Inherit {
				want = append(want, strings.ReplaceAll(k.Name, "*", "NAME"))
			}
		}
		for _, m := range term.FindAllStringSubmatch(parts[i], -1) {
			got = append(got, m[1])
		}
		if !slices.Equal(want, got) {
			t.Errorf("%s: page has %q, the table %q", s.Header, got, want)
		}
	}
	if _, problems := config.Parse("example", []byte(fileExample), config.Options{}); len(problems) > 0 {
		t.Errorf("the example: %v", problems)
	}
}

// TestManualOfTheEnvironment: goaoe(7) has every variable that the program reads, every file it has a default for, and every exit status.
func TestManualOfTheEnvironment(t *testing.T) {
	_, pages := testManual(t)
	page := pages["goaoe.7"]
	variable := regexp.MustCompile(`os\.(?:Getenv|LookupEnv)\("([A-Z_]+)"\)`)
	test := func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		text, err := os.ReadFile(file)
		for _, m := range variable.FindAllStringSubmatch(string(text), -1) {
			if m[1] != "SOURCE_DATE_EPOCH" && !strings.Contains(section(page, "ENVIRONMENT"), m[1]) { // that one is in goaoe-man(1)
				t.Errorf("%s reads %s, which is not in goaoe(7)", file, m[1])
			}
		}
		return err
	}
	for _, dir := range []string{".", "../config", "../control", "../daemon", "../logging"} {
		if err := filepath.WalkDir(dir, test); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{config.DefaultFile, config.DropInDir(config.DefaultFile), "/var/lib/goaoe", "/run/goaoe/control.sock"} {
		if !strings.Contains(section(page, "FILES"), file) {
			t.Errorf("goaoe(7) lacks the file %s", file)
		}
	}
	codes := regexp.MustCompile(`(?m)^ +(\d+)  `).FindAllStringSubmatch(exitHelp, -1)
	for _, code := range codes {
		if !strings.Contains(section(page, "EXIT STATUS"), ".TP\n"+code[1]+"\n") {
			t.Errorf("goaoe(7) lacks the exit status %s:\n%s", code[1], section(page, "EXIT STATUS"))
		}
	}
	if len(codes) < 3 {
		t.Errorf("only %d exit statuses in the help", len(codes))
	}
}

// TestManCommand: the pages are written where man finds them, and the same twice.
func TestManCommand(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "86400")
	read := func() map[string]string {
		dir := t.TempDir()
		var stdout, stderr bytes.Buffer
		if code := Main([]string{"man", dir}, &stdout, &stderr); code != 0 || stdout.String() != dir+"\n" {
			t.Fatalf("status %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
		}
		out := map[string]string{}
		for _, f := range []string{"man1/goaoe.1", "man1/goaoe-serve.1", "man5/goaoe.toml.5", "man7/goaoe.7"} {
			text, err := os.ReadFile(filepath.Join(dir, f))
			if err != nil {
				t.Fatal(err)
			}
			out[f] = string(text)
		}
		return out
	}
	first, second := read(), read()
	for f, text := range first {
		if !strings.Contains(text, `"1970-01-02"`) {
			t.Errorf("%s does not have the date: %.80s", f, text)
		}
		if text != second[f] {
			t.Errorf("%s is not the same the second time", f)
		}
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	var stdout, stderr bytes.Buffer
	if code := Main([]string{"man", t.TempDir()}, &stdout, &stderr); code != ExitFailure || !strings.Contains(stderr.String(), `"yesterday"`) {
		t.Errorf("status %d, %q", code, stderr.String())
	}
}
