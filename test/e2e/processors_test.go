// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/intaketest"
)

const (
	exampleProcessors = "../../examples/processors.yaml"
	goldenRecords     = "../../internal/event/testdata/records"
)

// caseAttr tells the records of this test apart.
const caseAttr = "test.case"

// goldenLogs reads the golden records, and makes more of them: by the name of a case.
func goldenLogs(t *testing.T) (plog.Logs, map[string]plog.LogRecord) {
	t.Helper()
	ld, sent := plog.NewLogs(), map[string]plog.LogRecord{}
	add := func(name, file string, change func(lr plog.LogRecord)) {
		one, err := golden.ReadLogs(filepath.Join(goldenRecords, file+".yaml"))
		require.NoError(t, err)
		rl := ld.ResourceLogs().AppendEmpty()
		one.ResourceLogs().At(0).CopyTo(rl)
		lr := rl.ScopeLogs().At(0).LogRecords().At(0)
		lr.Attributes().PutStr(caseAttr, name)
		if change != nil {
			change(lr)
		}
		sent[name] = plog.NewLogRecord()
		lr.CopyTo(sent[name])
	}
	put := func(key, value string) func(plog.LogRecord) {
		return func(lr plog.LogRecord) { lr.Attributes().PutStr(key, value) }
	}
	files, err := os.ReadDir(goldenRecords)
	require.NoError(t, err)
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), ".yaml")
		add(name, name, nil)
	}
	const journald = "/usr/lib/systemd/systemd-journald"
	add("event of journald", "open", put(event.AttrProcessExePath, journald))
	add("detection of journald", "detection", put(event.AttrProcessExePath, journald))
	add("open in proc", "open", put(event.AttrFilePath, "/proc/1/status"))
	add("unlink in proc", "unlink", put(event.AttrFilePath, "/proc/1/status"))
	add("secret arguments", "exec", put(event.AttrProcessExeName, "psql"))
	add("no container", "exec", func(lr plog.LogRecord) {
		lr.Attributes().Remove(event.AttrContainerID)
		lr.Attributes().Remove(event.AttrPodUID)
	})
	return ld, sent
}

// received are the records that a file exporter has written, by case, with the attributes of their Resources.
type received struct {
	record   plog.LogRecord
	resource map[string]any
	scope    string
}

func readCases(t *testing.T, file string) map[string]received {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	out := map[string]received{}
	for line := range bytes.Lines(data) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // it is being written
		}
		logs, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(line)
		require.NoError(t, err)
		for _, rl := range logs.ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for _, lr := range sl.LogRecords().All() {
					v, ok := lr.Attributes().Get(caseAttr)
					require.True(t, ok)
					require.NotContains(t, out, v.Str())
					out[v.Str()] = received{lr, rl.Resource().Attributes().AsRaw(), sl.Scope().Name()}
				}
			}
		}
	}
	return out
}

// TestExampleProcessors sends golden records through the processors of examples/processors.yaml as they are there, and looks
// at what comes out: to a file, and from csm_threats.
func TestExampleProcessors(t *testing.T) {
	picket := collectortest.Binary(t, "picket")
	intake := intaketest.Start(t)
	dir := t.TempDir()
	port, out := collectortest.FreePort(t), filepath.Join(dir, "out.json")
	cmd := exec.Command(picket, "--config", exampleProcessors, "--config", fmt.Sprintf(`yaml:
receivers:
  otlp: {protocols: {http: {endpoint: "127.0.0.1:%d"}}}
exporters:
  file: {path: %s, flush_interval: 50ms}
  csm_threats: {api_key: %s, endpoint: %s, sending_queue: {batch: {flush_timeout: 100ms}}}
service:
  pipelines:
    logs: {receivers: [otlp], exporters: [file, csm_threats]}
`, port, out, intaketest.APIKey, intake.URL()))
	cmd.Env = append(os.Environ(), fmt.Sprintf("PICKET_METRICS_PORT=%d", collectortest.FreePort(t)))
	collectortest.Start(t, cmd).AwaitReady()

	ld, sent := goldenLogs(t)
	body, err := plogotlp.NewExportRequestFromLogs(ld).MarshalProto()
	require.NoError(t, err)
	resp, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/v1/logs", port), "application/x-protobuf", bytes.NewReader(body))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)

	dropped := []string{"event of journald", "open in proc"}
	var got map[string]received
	require.Eventually(t, func() bool {
		got = readCases(t, out)
		return len(got) >= len(sent)-len(dropped)
	}, 20*time.Second, 50*time.Millisecond, "the file exporter's records")

	host := map[string]any{}
	for _, key := range []string{"host.id", "host.name", "host.arch", "os.type", "os.name", "os.version", event.AttrHostIDSource, event.AttrKernelRelease, event.AttrBootID} {
		v, ok := ld.ResourceLogs().At(0).Resource().Attributes().Get(key)
		require.True(t, ok, key)
		host[key] = v.Str()
	}
	for name, src := range sent {
		if slices.Contains(dropped, name) {
			assert.NotContains(t, got, name)
			continue
		}
		if !assert.Contains(t, got, name) {
			continue
		}
		r := got[name]
		// The record as it was, but for what the configuration says.
		want, resource := src.Attributes().AsRaw(), map[string]any{}
		for k, v := range host {
			resource[k] = v
		}
		for _, k := range []string{event.AttrContainerID, event.AttrPodUID} {
			if v, ok := want[k]; ok {
				resource[k] = v
				delete(want, k)
			}
		}
		if user, ok := want[event.AttrProcessRealUser]; ok {
			want["user.name"] = user
		}
		switch name {
		case "secret arguments":
			want[event.AttrProcessArgs] = []any{"/usr/local/lib/program-0/bin/run", "****"}
		case "rename":
			want["com.example.file.new_path"] = "/etc/shadow-"
		}
		assert.Equal(t, want, r.record.Attributes().AsRaw(), name)
		assert.Equal(t, resource, r.resource, name)
		assert.Equal(t, "github.com/picketsec/picket/receiver/ebpfsecurityreceiver", r.scope)
		assert.Equal(t, src.Body().AsRaw(), r.record.Body().AsRaw(), name)
		assert.Equal(t, src.EventName(), r.record.EventName())
		assert.Equal(t, src.Timestamp(), r.record.Timestamp())
		assert.Equal(t, src.SeverityNumber(), r.record.SeverityNumber())

		if kind, _ := src.Attributes().Get(event.AttrRecordKind); kind.Str() == event.KindEvent {
			// What rules are matched against is the same event.
			var d event.Decoder
			var before, after event.Event
			require.NoError(t, d.DecodeRecord(src, event.NeedAll, &before))
			facts, text := before.Facts, before.AppendJSON(nil)
			require.NoError(t, d.DecodeRecord(r.record, event.NeedAll, &after))
			assert.Equal(t, facts, after.Facts, name)
			assert.JSONEq(t, string(text), string(after.AppendJSON(nil)), name)
		}
	}
	assert.Len(t, got, len(sent)-len(dropped))

	// The intake gets detections and reports, with their Bodies to the byte.
	var want, messages []string
	for _, name := range []string{"detection", "detection of journald", event.RecordRulesetLoaded, event.RecordHeartbeat, event.RecordEventsLost, event.RecordIOUringUsed} {
		want = append(want, sent[name].Body().Str())
	}
	taken := intake.WaitCount(len(want), 20*time.Second)
	for i := range taken {
		messages = append(messages, taken[i].Message)
	}
	assert.ElementsMatch(t, want, messages)
	found := detections(t, taken)
	require.Len(t, found, 2)
	for _, d := range found {
		assert.Equal(t, "credentials", ruleOf(d))
	}
	for i := range taken {
		if strings.Contains(taken[i].Message, `"original_rule_id"`) {
			assert.Equal(t, "9f1c2d3e4f5061728394a5b6c7d8e9f00112233445566778899aabbccddeeff0", taken[i].Tag("container_id"), "the tag is found on the Resource, too")
			assert.Equal(t, "web-1", taken[i].Hostname)
		}
	}
}
