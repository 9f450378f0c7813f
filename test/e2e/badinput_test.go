// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/intaketest"
)

const goodRule = `
version: 1.0.0
rules:
  - {id: ran_true, expression: 'exec.file.name == "true"'}
`

// TestBadInputStops: what cannot work ends the collector with one message that says what and where.
func TestBadInputStops(t *testing.T) {
	picket := collectortest.Binary(t, "picket")
	dir := t.TempDir()
	good := filepath.Join(dir, "good.policy")
	require.NoError(t, os.WriteFile(good, []byte(goodRule), 0o600))
	noYAML := filepath.Join(dir, "noyaml.policy")
	require.NoError(t, os.WriteFile(noYAML, []byte("rules: [\n"), 0o600))
	config := func(receiver, policy string) string {
		return fmt.Sprintf(`
extensions: {security_policies: {paths: [%s]}}
receivers: {ebpf_security: {%s}}
processors: {security_rules: {policies: security_policies}}
exporters: {debug: {}}
service:
  extensions: [security_policies]
  pipelines: {logs: {receivers: [ebpf_security], processors: [security_rules], exporters: [debug]}}
  telemetry: {metrics: {level: none}}
`, policy, receiver)
	}
	tests := map[string]struct {
		config string
		want   []string
	}{
		"unknown key": {config("scop: {}", good), []string{"has invalid keys: scop"}},
		"wrong type":  {config("ring_buffer_size: big", good), []string{"'ring_buffer_size'", "uint32"}},
		"wrong value": {
			config("ring_buffer_size: 5000, backend: function, events: {opn: {}}", good),
			[]string{"ring_buffer_size: 5000 must be a power of two", "backend: function is not part of this version", `there is no event type "opn"`},
		},
		"unknown backend":     {config("backend: kprobe", good), []string{`backend "kprobe": must be auto, function or syscall`}},
		"policy is no YAML":   {config("", noYAML), []string{"noyaml.policy"}},
		"no such policy file": {config("", filepath.Join(dir, "missing.policy")), []string{"missing.policy", "no such file"}},
		"no such process":     {config("scope: {process_trees: [4194303]}", good), []string{"there is no process 4194303"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if name == "no such process" {
				collectortest.NeedRoot(t, collectortest.LoadBPF)
			}
			cmd := exec.Command(picket, "--config", "yaml:"+test.config)
			out, err := cmd.CombinedOutput()
			require.Error(t, err, "the collector started")
			for _, w := range test.want {
				require.Contains(t, string(out), w)
			}
		})
	}
	t.Run("no root", func(t *testing.T) {
		collectortest.NeedRoot(t, collectortest.LoadBPF) // to give it up
		open := collectortest.OpenDir(t)
		collectortest.CopyProgram(t, picket, filepath.Join(open, "picket"))
		require.NoError(t, os.WriteFile(filepath.Join(open, "good.policy"), []byte(goodRule), 0o644))
		cmd := exec.Command(filepath.Join(open, "picket"), "--config", "yaml:"+config("", filepath.Join(open, "good.policy")))
		cmd.Dir = open
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		require.Error(t, err, "the collector started")
		require.Contains(t, string(out), "missing privileges: CAP_BPF and CAP_PERFMON not effective: run as root")
	})
}

// TestBadRuleKeepsTheOthers: a rule that does not compile is named with its place, and the other rules work; so they do
// after the file was replaced by one that is no YAML.
func TestBadRuleKeepsTheOthers(t *testing.T) {
	collectortest.NeedRoot(t, collectortest.LoadBPF)
	collectortest.Binary(t, "picket")
	dir := t.TempDir()
	file := filepath.Join(dir, "test.policy")
	write := func(text string) {
		t.Helper()
		require.NoError(t, os.WriteFile(file+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(file+".new", file))
	}
	write(goodRule + `  - {id: broken, expression: 'exec.file.nam == "x"'}` + "\n")
	intake := intaketest.Start(t)
	actor := collectortest.StartActor(t)
	c := start(t, setup{scope: actor.PID(), policy: file, intake: intake.URL(), dir: t.TempDir()})
	require.Contains(t, c.Log.String(), "exec.file.name", "the nearest field is named")
	require.Contains(t, c.Log.String(), "test.policy:5:")

	runs := func(rule string) (n int) {
		for _, l := range intake.Logs() {
			if l.Tag("rule_id") == rule {
				n++
			}
		}
		return n
	}
	require.Eventually(t, func() bool {
		actor.Run("/bin/true")
		return runs("ran_true") > 0
	}, 30*time.Second, 300*time.Millisecond)

	write("rules: [\n")
	require.Eventually(t, func() bool { return strings.Count(c.Log.String(), "test.policy") > 1 }, 30*time.Second, 50*time.Millisecond)
	before := runs("ran_true")
	require.Eventually(t, func() bool {
		actor.Run("/bin/true")
		return runs("ran_true") > before
	}, 30*time.Second, 300*time.Millisecond, "the rules before are still in use")

	write(strings.ReplaceAll(goodRule, "ran_true", "ran_true_again"))
	require.Eventually(t, func() bool {
		actor.Run("/bin/true")
		return runs("ran_true_again") > 0
	}, 30*time.Second, 300*time.Millisecond, "the new rules are in use")
	c.Stop()
	require.Empty(t, intake.Problems())
}
