// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/intaketest"
)

// filterPolicies are two versions of a policy: with variables, lists, globs, negations and ancestors.
var filterPolicies = [2]string{`
rules:
  - id: marker
    expression: open.file.name == "end"
  - id: counts
    expression: exec.file.name in ["cat", "true"]
    actions: [{set: {name: runs, value: 1, append: true, scope: process, inherited: true}}]
  - id: first_write
    expression: open.file.path =~ "DIR/**" && open.flags & O_CREAT > 0 && open.file.path not in ${written}
    actions: [{set: {name: written, field: open.file.path, append: true}}]
  - id: removed_what_was_written
    expression: unlink.file.path in ${written}
  - id: no_cat
    expression: exec.file.path != "" && !(exec.file.name == "cat") && process.ancestors.comm in ["sh"]
  - id: quiet
    expression: mkdir.file.path == "/nowhere"
`, `
rules:
  - id: marker
    expression: open.file.name == "end"
  - id: first_write
    expression: open.file.path =~ "DIR/**" && open.flags & O_CREAT > 0 && open.file.path not in ${written}
    actions: [{set: {name: written, field: open.file.path, append: true}}]
  - id: made
    expression: mkdir.file.name =~ "d*" && process.ancestors[A].comm == "sh"
  - id: ended
    expression: exit.cause == EXITED && exit.code in [0, 3] && process.file.name == "rmdir"
`}

// TestFilterChangesNoDetection runs two pipelines on the same events: in one the receiver leaves out what no rule can
// match. Both must detect the same, also when the rules change meanwhile.
func TestFilterChangesNoDetection(t *testing.T) {
	collectortest.NeedRoot(t, collectortest.LoadBPF)
	collectortest.Binary(t, "picket")
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	file := filepath.Join(dir, "x.policy")
	use := func(text string) {
		t.Helper()
		text = strings.ReplaceAll(text, "DIR", dir)
		require.NoError(t, os.WriteFile(file+"~", []byte(text), 0o600))
		require.NoError(t, os.Rename(file+"~", file))
	}
	use(filterPolicies[0])
	actor := collectortest.StartActor(t)
	out := t.TempDir()
	c := start(t, setup{
		scope: actor.PID(), policy: file, intake: intaketest.Start(t).URL(), dir: out,
		extra: fmt.Sprintf(`
extensions:
  security_policies/filtered: {paths: [%[3]s]} # variables are those of an extension
receivers:
  ebpf_security/filtered: {scope: {process_trees: [%[1]d]}, policies: security_policies/filtered}
processors:
  security_rules/filtered: {policies: security_policies/filtered}
exporters:
  file/all: {path: %[2]s/all.json, flush_interval: 50ms}
  file/filtered: {path: %[2]s/filtered.json, flush_interval: 50ms}
service:
  extensions: [file_storage, security_policies, security_policies/filtered]
  pipelines:
    logs: {receivers: [ebpf_security], processors: [security_rules], exporters: [file/all]}
    logs/filtered: {receivers: [ebpf_security/filtered], processors: [security_rules/filtered], exporters: [file/filtered]}
`, actor.PID(), out, file),
	})
	loads := func() int { return strings.Count(c.Log.String(), "policies loaded") }
	for round := range 4 {
		if round > 0 {
			before := loads()
			use(filterPolicies[round%2] + fmt.Sprintf("# %d\n", round))
			require.Eventually(t, func() bool { return loads() >= before+2 }, 30*time.Second, 10*time.Millisecond)
		}
		actor.Run(fmt.Sprintf(`
cd %s
for i in 1 2 3; do
	mkdir d$i; rmdir d$i
	cat /dev/null > f$i; cat f$i; /bin/true
	(cat f$i; rm f$i)
	: > g$i; : > g$i
done
: > end
`, dir))
		// What was read before a change of the rules and is decided after it would be decided by chance.
		for _, name := range []string{"all", "filtered"} {
			require.Eventually(t, func() bool {
				data, _ := os.ReadFile(filepath.Join(out, name+".json"))
				return bytes.Count(data, []byte(`"stringValue":"marker"`)) == round+1
			}, 30*time.Second, 10*time.Millisecond, name)
		}
	}
	emitted := c.Metric("otelcol_receiver_ebpf_security_events_emitted")
	filtered := c.Metric("otelcol_receiver_ebpf_security_events_filtered")
	c.Stop()
	all, few := detected(t, out+"/all.json"), detected(t, out+"/filtered.json")
	require.Equal(t, all, few)
	var rules []string
	for _, d := range all {
		rule, _, _ := strings.Cut(d, " ")
		rules = append(rules, rule)
	}
	slices.Sort(rules)
	assert.Equal(t, []string{"counts", "ended", "first_write", "made", "marker", "no_cat", "removed_what_was_written"}, slices.Compact(rules))
	assert.Greater(t, len(all), 60)
	assert.Greater(t, filtered, emitted/4, "a good part is left out")
}

// detected lists the detections of a file: rule, event, process and file.
func detected(t *testing.T, file string) (list []string) {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	for line := range bytes.Lines(data) {
		logs, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(bytes.TrimSpace(line))
		require.NoError(t, err)
		for _, rl := range logs.ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for _, lr := range sl.LogRecords().All() {
					if kind, _ := lr.Attributes().Get(event.AttrRecordKind); kind.Str() != event.KindDetection {
						continue
					}
					var d intaketest.Detection
					require.NoError(t, json.Unmarshal([]byte(lr.Body().Str()), &d))
					list = append(list, fmt.Sprint(ruleOf(d), " ", d.Get("evt", "name"), " ", d.Get("process", "pid"), " ", d.Get("process", "comm"), " ", d.Get("file", "path")))
				}
			}
		}
	}
	slices.Sort(list)
	return list
}
