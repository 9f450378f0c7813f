// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/intaketest"
)

const (
	rulesFile     = root + "deploy/prometheus/picket.rules.yaml"
	dashboardFile = root + "deploy/grafana/picket.json"
)

// ruleFile is what the test reads of a rule file of Prometheus.
type ruleFile struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []rule `yaml:"rules"`
	} `yaml:"groups"`
}

type rule struct {
	Record string            `yaml:"record,omitempty"`
	Alert  string            `yaml:"alert,omitempty"`
	Expr   string            `yaml:"expr"`
	Labels map[string]string `yaml:"labels,omitempty"`
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	text, err := os.ReadFile(rulesFile)
	require.NoError(t, err)
	var f ruleFile
	require.NoError(t, yaml.Unmarshal(text, &f))
	for _, g := range f.Groups {
		all = append(all, g.Rules...)
	}
	require.NotEmpty(t, all)
	return all
}

type dashboard struct {
	Panels []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr string }
	}
}

// queries are the expressions of the dashboard by what shows them, with Grafana's variables replaced.
func queries(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	require.NoError(t, err)
	var d dashboard
	require.NoError(t, json.Unmarshal(text, &d))
	found := map[string]string{}
	for _, p := range d.Panels {
		for i, target := range p.Targets {
			found[fmt.Sprintf("panel %d, %s, %c", p.ID, p.Title, 'A'+i)] = strings.NewReplacer(
				"$__rate_interval", "5m", "$__range", "6h", "$job", ".*", "$instance", ".*").Replace(target.Expr)
		}
	}
	require.NotEmpty(t, found)
	return found
}

var (
	metricName    = regexp.MustCompile(`\b(otelcol|picket:)[a-z0-9_:]*`)
	component     = regexp.MustCompile(`(?m)^ +- gomod: (\S+) (v\S+)$`)
	documentation = regexp.MustCompile(`(?m)^### (\S+)$`)
)

// documented are the metrics that the components, and the parts of the Collector that they are made with, say they have.
func documented(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(root + "*/*/documentation.md")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 4)
	manifest, err := os.ReadFile(root + "builder-config.yaml")
	require.NoError(t, err)
	cache, err := exec.Command("go", "env", "GOMODCACHE").Output()
	require.NoError(t, err)
	modules := []string{}
	for _, m := range component.FindAllStringSubmatch(string(manifest), -1) {
		modules = append(modules, m[1]+"@"+m[2])
		if core, ok := strings.CutSuffix(m[1], "receiver/otlpreceiver"); ok {
			modules = append(modules, core+"exporter/exporterhelper@"+m[2], core+"receiver/receiverhelper@"+m[2])
		}
	}
	require.Greater(t, len(modules), 10)
	for _, m := range modules {
		file := filepath.Join(strings.TrimSpace(string(cache)), m, "documentation.md")
		if _, err := os.Stat(file); err == nil { // many have no metrics of their own
			files = append(files, file)
		}
	}
	names := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range documentation.FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
	}
	return names
}

// scrape returns the metrics of a collector that runs, with their labels.
func scrape(t *testing.T) map[string][]string {
	t.Helper()
	a := collectortest.StartActor(t)
	e := example{
		name: "agent.yaml", dir: collectortest.OpenDir(t), intake: intaketest.Start(t), policy: "version: 1.0.0\nrules:\n  - {id: made, expression: 'mkdir.file.name == \"picket-made\"'}\n",
		override: fmt.Sprintf("receivers: {ebpf_security: {scope: {process_trees: [%d]}}}", a.PID()),
	}
	args, env := e.config(t)
	cmd := exec.Command(collectortest.Binary(t, "picket"), args...)
	cmd.Env = env
	p := collectortest.Start(t, cmd)
	require.True(t, p.Ready())
	a.Do("mkdir " + e.dir + "/picket-made")
	await(t, e.intake, "made")
	for _, v := range env {
		if v, ok := strings.CutPrefix(v, "PICKET_METRICS_PORT="); ok {
			p.MetricsPort, _ = strconv.Atoi(v)
		}
	}
	found := map[string][]string{}
	for _, s := range p.Scrape() {
		found[s.Name] = append(found[s.Name], s.Labels)
	}
	p.Stop()
	return found
}

// TestMetricsExist: no rule and no panel is about a metric that nobody has.
func TestMetricsExist(t *testing.T) {
	collectortest.NeedRoot(t, toGiveCapabilities)
	known := documented(t)
	running := scrape(t)
	for name := range running {
		known[name] = true // the process's, which are documented in a module that only the distribution has
	}
	recorded := map[string]bool{}
	all := rules(t)
	for _, r := range all {
		recorded[r.Record] = true
	}
	check := func(where, expr string) {
		names := metricName.FindAllString(expr, -1)
		for _, name := range names {
			assert.True(t, known[name] || recorded[name], "%s: there is no metric %s", where, name)
		}
		assert.True(t, len(names) > 0 || strings.Contains(expr, "up{"), "%s: no metric in %s", where, expr)
	}
	for _, r := range all {
		check(r.Record+r.Alert, r.Expr)
		if r.Alert != "" {
			assert.Contains(t, []string{"info", "warning", "critical"}, r.Labels["severity"], r.Alert)
		}
	}
	for where, expr := range queries(t) {
		check(where, expr)
	}
	// Names and labels as the collector's page has them: no suffixes, dots as underscores.
	for name, label := range map[string]string{
		"otelcol_receiver_ebpf_security_events_read":            `event_type="mkdir"`,
		"otelcol_receiver_ebpf_security_events_lost":            `reason=`,
		"otelcol_receiver_ebpf_security_events_dropped":         `reason="queue_full"`,
		"otelcol_processor_security_rules_detections":           `rule="made"`,
		"otelcol_processor_security_rules_evaluated":            `type="mkdir"`,
		"otelcol_extension_security_policies_rules":             `status="error"`,
		"otelcol_extension_security_policies_loads":             `result="loaded"`,
		"otelcol_exporter_queue_size":                           `exporter="csm_threats"`,
		"otelcol_exporter_sent_log_records":                     `exporter="csm_threats"`,
		"otelcol_exporter_csm_threats_delivered_records":        `exporter="csm_threats"`,
		"otelcol_exporter_csm_threats_payload_bytes":            ``,
		"otelcol_receiver_accepted_log_records":                 `receiver="ebpf_security"`,
		"otelcol_process_uptime":                                ``,
		"otelcol_receiver_ebpf_security_ring_used":              ``,
		"otelcol_receiver_ebpf_security_ring_size":              ``,
		"otelcol_processor_memory_limiter_accepted_log_records": `processor="memory_limiter"`,
	} {
		assert.Contains(t, strings.Join(running[name], ""), label, name)
		assert.NotEmpty(t, running[name], name)
	}
}

func TestRules(t *testing.T) {
	promtool := needCommand(t, "promtool", "prometheus")
	out, err := exec.Command(promtool, "check", "rules", rulesFile).CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.Command(promtool, "test", "rules", root+"deploy/prometheus/picket.test.yaml").CombinedOutput()
	require.NoError(t, err, "%s", out)

	// Every alert is in a test.
	text, err := os.ReadFile(root + "deploy/prometheus/picket.test.yaml")
	require.NoError(t, err)
	for _, r := range rules(t) {
		assert.True(t, r.Alert == "" || strings.Contains(string(text), r.Alert), "no test has %s", r.Alert)
	}
}

func TestDashboard(t *testing.T) {
	text, err := os.ReadFile(dashboardFile)
	require.NoError(t, err)
	var d dashboard
	require.NoError(t, json.Unmarshal(text, &d))
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		assert.False(t, ids[p.ID], "panel %d is there twice", p.ID)
		ids[p.ID] = true
		assert.NotEmpty(t, p.Title)
		assert.True(t, p.Type == "row" || len(p.Targets) > 0, p.Title)
		g := p.GridPos
		assert.LessOrEqual(t, g.X+g.W, 24, p.Title)
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				assert.Empty(t, cells[[2]int{x, y}], "%s is on another panel", p.Title)
				cells[[2]int{x, y}] = p.Title
			}
		}
	}

	promtool := needCommand(t, "promtool", "prometheus")
	file := ruleFile{Groups: make([]struct {
		Name  string `yaml:"name"`
		Rules []rule `yaml:"rules"`
	}, 1)}
	file.Groups[0].Name = "dashboard"
	i := 0
	for _, expr := range queries(t) {
		i++
		file.Groups[0].Rules = append(file.Groups[0].Rules, rule{Record: fmt.Sprintf("panel:%d", i), Expr: expr})
	}
	out, err := yaml.Marshal(file)
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "dashboard.rules.yaml")
	require.NoError(t, os.WriteFile(name, out, 0o600))
	said, err := exec.Command(promtool, "check", "rules", name).CombinedOutput()
	require.NoError(t, err, "%s", said)
}
