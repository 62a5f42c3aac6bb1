package metrics

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v2"

	"goaoe/internal/stats"
)

// series returns the names of all series that a metric has.
func series() map[string]*Metric {
	out := map[string]*Metric{}
	for i := range Metrics {
		m := &Metrics[i]
		out[m.Name] = m
		if m.Type == histogram {
			for _, s := range []string{"_bucket", "_sum", "_count"} {
				out[m.Name+s] = m
			}
		}
	}
	return out
}

var (
	metricName = regexp.MustCompile(`goaoe_[a-z_]+`)
	selector   = regexp.MustCompile(`(goaoe_[a-z_]+)\{([^}]*)\}`)
	labelName  = regexp.MustCompile(`(?:^|,)\s*([a-z]+)\s*(?:=~|!~|!=|=)`)
	grouping   = regexp.MustCompile(`by \(([a-z, ]+)\)`)
)

// checkExpression holds an expression of Prometheus against the metrics that there are.
func checkExpression(t *testing.T, where, expr string) {
	t.Helper()
	all := series()
	names := metricName.FindAllString(expr, -1)
	if len(names) == 0 {
		t.Errorf("%s: %q uses no metric of goaoe", where, expr)
	}
	may := map[string]bool{"le": true, "instance": true, "job": true}
	for _, n := range names {
		m := all[n]
		if m == nil {
			t.Errorf("%s: there is no metric %s", where, n)
			continue
		}
		for _, l := range m.Labels {
			may[l] = true
		}
		if m.Type == counter && !regexp.MustCompile(`(rate|increase)\(`+n).MatchString(expr) {
			t.Errorf("%s: %s is a counter, and used without a rate", where, n)
		}
	}
	for _, s := range selector.FindAllStringSubmatch(expr, -1) {
		for _, l := range labelName.FindAllStringSubmatch(s[2], -1) {
			if m := all[s[1]]; m != nil && !slices.Contains(append([]string{"le", "instance", "job"}, m.Labels...), l[1]) {
				t.Errorf("%s: %s has no label %s", where, s[1], l[1])
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for _, l := range strings.Split(g[1], ",") {
			if !may[strings.TrimSpace(l)] {
				t.Errorf("%s: by (%s): no metric of %q has the label %s", where, g[1], expr, l)
			}
		}
	}
	if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") {
		t.Errorf("%s: parentheses of %q", where, expr)
	}
}

// TestDashboard: each metric and label that the dashboard uses is there, panels do not overlap, and have a title and a description.
func TestDashboard(t *testing.T) {
	b, err := os.ReadFile("../../dist/grafana/goaoe.json")
	if err != nil {
		t.Fatal(err)
	}
	type pos struct{ H, W, X, Y int }
	var d struct {
		Title, UID string
		Panels     []struct {
			ID                       int
			Type, Title, Description string
			GridPos                  pos
			Targets                  []struct{ Expr, RefID string }
		}
		Templating struct {
			List []struct {
				Name, Definition string
			}
		}
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	taken := map[string]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || p.Type != "row" && p.Description == "" {
			t.Errorf("panel %d %q: id twice, or without title or description", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s: beyond the right edge", p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				k := fmt.Sprint(x, ",", y)
				if other := taken[k]; other != "" {
					t.Fatalf("%s is over %s", p.Title, other)
				}
				taken[k] = p.Title
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s asks for nothing", p.Title)
		}
		for _, q := range p.Targets {
			checkExpression(t, "panel "+p.Title, q.Expr)
		}
	}
	used := string(b)
	for _, v := range d.Templating.List {
		if v.Definition != "" {
			checkExpression(t, "variable "+v.Name, v.Definition)
		}
		if strings.Count(used, "$"+v.Name)+strings.Count(used, "${"+v.Name) == 0 {
			t.Errorf("variable %s is not used", v.Name)
		}
	}
	for _, m := range []string{ExportRead, ExportLatency, InitiatorRetransmits, InterfaceKernelDrops, ExportDrops, Problem, Waiting} {
		if !strings.Contains(used, m) {
			t.Errorf("the dashboard does not show %s", m)
		}
	}
}

// TestAlerts: each rule has what Prometheus wants, and uses metrics that are there.
func TestAlerts(t *testing.T) {
	b, err := os.ReadFile("../../dist/grafana/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.UnmarshalStrict(b, &f); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	docs, err := os.ReadFile("../../docs/monitor.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			if !strings.HasPrefix(r.Alert, "Goaoe") || seen[r.Alert] || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("rule %q: name or annotations", r.Alert)
			}
			seen[r.Alert] = true
			if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
				t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
			}
			if r.For != "" && !regexp.MustCompile(`^\d+[smhd]$`).MatchString(r.For) {
				t.Errorf("%s: for %q", r.Alert, r.For)
			}
			checkExpression(t, r.Alert, r.Expr)
			if !strings.Contains(string(docs), "`"+r.Alert+"`") {
				t.Errorf("docs/monitor.md does not say what to do about %s", r.Alert)
			}
		}
	}
	if len(seen) < 10 {
		t.Errorf("%d rules", len(seen))
	}
}

// TestDocs: the table in docs/monitor.md is the table of the code.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/monitor.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n")
	for _, m := range Metrics {
		labels := "-"
		if len(m.Labels) > 0 {
			labels = "`" + strings.Join(m.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s |\n", m.Name, m.Type, labels, m.Help)
	}
	if !strings.Contains(string(b), want.String()) {
		t.Errorf("the table of metrics in docs/monitor.md is to be\n%s", want.String())
	}
	var reasons []string
	for i := stats.NoDrop + 1; i < stats.NumDrops; i++ {
		reasons = append(reasons, i.String())
	}
	for i := stats.NoReject + 1; i < stats.NumRejects; i++ {
		reasons = append(reasons, i.String())
	}
	for i := stats.NoError + 1; i < stats.NumErrors; i++ {
		reasons = append(reasons, i.String())
	}
	for _, r := range reasons {
		if !strings.Contains(string(b), "\n| `"+r+"` | ") {
			t.Errorf("docs/monitor.md does not say what %s means", r)
		}
	}
	if strings.Contains(string(b), "\t") {
		t.Error("docs/monitor.md has tabs")
	}
}
