// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
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

const enforcePolicy = `
rules:
  - id: killed
    expression: exec.file.path == "DIR/victim"
    actions:
      - log: {level: warning, message: "killing %{process.file.name}"}
      - hash: {}
      - kill: {signal: SIGKILL}
  - id: forged
    expression: open.file.name == "trigger"
    actions: [{kill: {signal: SIGKILL}}, {hash: {}}]
  - id: marker
    expression: open.file.name == "end"
`

// TestEnforcement: a rule kills what it is about and hashes its file. The same records, sent to the same collector from
// outside, kill nobody.
func TestEnforcement(t *testing.T) {
	collectortest.NeedRoot(t, collectortest.LoadBPF)
	collectortest.Binary(t, "picket")
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	file := filepath.Join(dir, "x.policy")
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(enforcePolicy, "DIR", dir)), 0o600))
	sleep, err := os.ReadFile("/bin/sleep")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "victim"), sleep, 0o700))
	actor := collectortest.StartActor(t)
	port, out := collectortest.FreePort(t), t.TempDir()
	c := start(t, setup{
		scope: actor.PID(), policy: file, intake: intaketest.Start(t).URL(), dir: out,
		extra: fmt.Sprintf(`
receivers:
  otlp: {protocols: {http: {endpoint: 127.0.0.1:%[1]d}}}
processors:
  security_rules: {enforcement: {enabled: true}}
exporters:
  file/detected: {path: %[2]s/detected.json, flush_interval: 50ms}
service:
  pipelines:
    logs: {receivers: [ebpf_security, otlp], processors: [security_rules], exporters: [file/detected]}
`, port, out),
	})
	actor.Run(fmt.Sprintf(`
cd %s
s=0; ./victim 30 || s=$?
echo $s > status
sleep 60 < /dev/null &
echo $! > bystander
: > harmless
: > end
`, dir))
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	require.NoError(t, err)
	assert.Equal(t, "137\n", string(status), "killed by SIGKILL")
	// The victim ends before the collector has written its line.
	require.Eventually(t, func() bool { return strings.Contains(c.Log.String(), "killing victim") }, 10*time.Second, 10*time.Millisecond)

	// The record of the bystander's open, with another name, comes back from outside.
	records := func(file string) (logs []plog.Logs) {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range bytes.Lines(data) {
			if ld, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(bytes.TrimSpace(line)); err == nil {
				logs = append(logs, ld)
			}
		}
		return logs
	}
	require.Eventually(t, func() bool {
		data, _ := os.ReadFile(filepath.Join(out, "raw.json"))
		return bytes.Contains(data, []byte(dir+"/end"))
	}, 30*time.Second, 10*time.Millisecond)
	forged := 0
	for _, ld := range records(filepath.Join(out, "raw.json")) {
		text, err := (&plog.JSONMarshaler{}).MarshalLogs(ld)
		require.NoError(t, err)
		if !bytes.Contains(text, []byte("harmless")) {
			continue
		}
		forged++
		text = bytes.ReplaceAll(text, []byte("harmless"), []byte("trigger"))
		resp, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/v1/logs", port), "application/json", bytes.NewReader(text))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
	require.Positive(t, forged)

	found := map[string][]any{}
	var body string
	require.Eventually(t, func() bool {
		if _, err := os.Stat(filepath.Join(out, "detected.json")); err != nil {
			return false
		}
		for _, ld := range records(filepath.Join(out, "detected.json")) {
			for _, lr := range ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
				rule, ok := lr.Attributes().Get(event.AttrRuleName)
				if !ok {
					continue
				}
				found[rule.Str()] = nil
				if actions, ok := lr.Attributes().Get(event.AttrRuleActions); ok {
					found[rule.Str()] = actions.Slice().AsRaw()
				}
				if rule.Str() == "killed" {
					body = lr.Body().Str()
				}
			}
		}
		return len(found) == 3
	}, 30*time.Second, 10*time.Millisecond)
	assert.Equal(t, map[string][]any{
		"killed": {"kill performed", "hash Done"},
		"forged": {"kill error: not local", "hash HashFailed: not local"},
		"marker": nil,
	}, found)
	sum := sha256.Sum256(sleep)
	assert.Equal(t, 2, strings.Count(body, "sha256:"+hex.EncodeToString(sum[:])), "of the file of the event, and of the executable")
	bystander, err := os.ReadFile(filepath.Join(dir, "bystander"))
	require.NoError(t, err)
	comm, err := os.ReadFile("/proc/" + strings.TrimSpace(string(bystander)) + "/comm")
	require.NoError(t, err, "the bystander lives")
	assert.Equal(t, "sleep\n", string(comm))
	actor.Run("kill " + string(bystander))
	c.Stop()
}
