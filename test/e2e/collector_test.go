// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/intaketest"
)

// setup is what a collector of these tests is started with.
type setup struct {
	scope  int // process tree
	policy string
	intake string // URL
	dir    string // of the storage, kept across restarts
	extra  string // further configuration
}

// raw is the file of all records as the receiver made them.
func (s *setup) raw() string { return filepath.Join(s.dir, "raw.json") }

// checkRaw checks the body of every event that the receiver made against the schema, and returns the names of their types.
func checkRaw(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	schema := compileSchema(t)
	types := map[string]bool{}
	for line := range bytes.Lines(data) {
		logs, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(bytes.TrimSpace(line))
		require.NoError(t, err)
		for _, rl := range logs.ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for _, lr := range sl.LogRecords().All() {
					if kind, _ := lr.Attributes().Get(event.AttrRecordKind); kind.Str() != event.KindEvent {
						continue
					}
					doc, err := jsonschema.UnmarshalJSON(strings.NewReader(lr.Body().Str()))
					require.NoError(t, err)
					require.NoError(t, schema.Validate(doc), "schema: %s", lr.Body().Str())
					types[lr.EventName()] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(types))
}

// start starts picket and waits until it watches.
func start(t *testing.T, s setup) *collectortest.Process {
	t.Helper()
	port := collectortest.FreePort(t)
	config := fmt.Sprintf(`
extensions:
  file_storage: {directory: %[1]s, create_directory: true}
  security_policies: {paths: [%[2]s]}
receivers:
  ebpf_security:
    storage: file_storage
    scope: {process_trees: [%[3]d]}
processors:
  security_rules: {policies: security_policies}
exporters:
  file: {path: %[7]s, flush_interval: 50ms}
  csm_threats:
    api_key: %[4]s
    endpoint: %[5]s
    sending_queue: {storage: file_storage, batch: {flush_timeout: 100ms}}
    retry_on_failure: {initial_interval: 100ms, max_interval: 500ms}
service:
  extensions: [file_storage, security_policies]
  pipelines:
    logs: {receivers: [ebpf_security], processors: [security_rules], exporters: [csm_threats]}
    logs/raw: {receivers: [ebpf_security], exporters: [file]}
  telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: %[6]d}}}}]}}
`, filepath.Join(s.dir, "storage"), s.policy, s.scope, intaketest.APIKey, s.intake, port, s.raw())
	file := filepath.Join(s.dir, "config.yaml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	args := []string{"--config", file}
	if s.extra != "" {
		args = append(args, "--config", "yaml:"+s.extra)
	}
	p := collectortest.Start(t, exec.Command(collectortest.Binary(t, "picket"), args...))
	p.MetricsPort = port
	p.AwaitReady()
	return p
}

func ruleOf(d intaketest.Detection) string {
	s, _ := d.Get("agent", "rule_id").(string)
	return s
}

// detections parses the logs that are detections, and checks each against the schema.
func detections(t *testing.T, logs []intaketest.Log) (out []intaketest.Detection) {
	t.Helper()
	schema := compileSchema(t)
	for i := range logs {
		var d intaketest.Detection
		require.NoError(t, json.Unmarshal([]byte(logs[i].Message), &d))
		if d["service"] == "runtime-security-agent" {
			continue // a report
		}
		var plain map[string]any
		require.NoError(t, json.Unmarshal([]byte(logs[i].Message), &plain))
		delete(plain, "agent")
		delete(plain, "title")
		require.NoError(t, schema.Validate(plain), "schema: %s", logs[i].Message)
		out = append(out, d)
	}
	return out
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	f, err := os.Open("../../internal/event/testdata/csm_threats.schema.json")
	require.NoError(t, err)
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(t, c.AddResource("schema.json", doc))
	s, err := c.Compile("schema.json")
	require.NoError(t, err)
	return s
}
