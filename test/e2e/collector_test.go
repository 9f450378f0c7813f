// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/intaketest"
)

// binary returns the path of a built program. `make test` builds them first.
func binary(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("PICKET_BIN")
	if dir == "" {
		dir = "../../bin"
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	require.NoError(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs %s: run make build", path)
	}
	return path
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to load BPF programs")
	}
}

// buffer collects what a process writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// collector is a running picket.
type collector struct {
	t       *testing.T
	cmd     *exec.Cmd
	log     *buffer
	metrics string
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

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
func start(t *testing.T, s setup) *collector {
	t.Helper()
	port := freePort(t)
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
	c := &collector{t: t, log: &buffer{}, cmd: exec.Command(binary(t, "picket"), args...), metrics: fmt.Sprintf("http://127.0.0.1:%d/metrics", port)}
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	require.NoError(t, c.cmd.Start())
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
		if t.Failed() {
			t.Log(c.log.String())
		}
	})
	require.Eventually(t, func() bool { return strings.Contains(c.log.String(), "Everything is ready") }, 60*time.Second, 20*time.Millisecond,
		"the collector did not become ready")
	return c
}

// stop ends the collector in order.
func (c *collector) stop() {
	c.t.Helper()
	require.NoError(c.t, c.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(c.t, c.cmd.Wait(), "the collector's exit")
}

// kill ends it as a crash would.
func (c *collector) kill() {
	c.t.Helper()
	require.NoError(c.t, c.cmd.Process.Kill())
	_ = c.cmd.Wait()
}

// metric sums up the series of a metric whose labels contain all of with.
func (c *collector) metric(name string, with ...string) (sum float64) {
	resp, err := http.Get(c.metrics)
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(resp.Body)
	require.NoError(c.t, err)
lines:
	for line := range strings.SplitSeq(b.String(), "\n") {
		series, value, ok := cutLast(line, " ")
		full, _, _ := strings.Cut(series, "{")
		if !ok || strings.TrimSuffix(full, "_total") != name {
			continue
		}
		for _, w := range with {
			if !strings.Contains(series, w) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(value, 64)
		require.NoError(c.t, err)
		sum += v
	}
	return sum
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// detection is one log that the intake took, as far as the tests look at it.
type detection map[string]any

// get follows the members; nil if one is missing.
func (d detection) get(path ...string) any {
	var v any = map[string]any(d)
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

func (d detection) rule() string {
	s, _ := d.get("agent", "rule_id").(string)
	return s
}

// detections parses the logs that are detections, and checks each against the schema.
func detections(t *testing.T, logs []intaketest.Log) (out []detection) {
	t.Helper()
	schema := compileSchema(t)
	for i := range logs {
		var d detection
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
