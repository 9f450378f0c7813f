// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configcompression"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/picketsec/picket/exporter/csmthreatsexporter/internal/metadata"
	"github.com/picketsec/picket/exporter/csmthreatsexporter/internal/metadatatest"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/intaketest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const patience = 10 * time.Second

// eventTime is the time of all test records.
var eventTime = time.Date(2024, 5, 2, 9, 31, 44, 120_553_184, time.UTC)

// addRecord appends a record of that kind; its Body tells n.
func addRecord(ld plog.Logs, kind string, n int) plog.LogRecord {
	if ld.ResourceLogs().Len() == 0 {
		rl := ld.ResourceLogs().AppendEmpty()
		rl.Resource().Attributes().PutStr("host.name", "web-1")
		rl.ScopeLogs().AppendEmpty()
	}
	rl := ld.ResourceLogs().At(ld.ResourceLogs().Len() - 1)
	sl := rl.ScopeLogs().At(rl.ScopeLogs().Len() - 1)
	lr := sl.LogRecords().AppendEmpty()
	lr.SetTimestamp(pcommon.NewTimestampFromTime(eventTime))
	lr.SetEventName("process.exec")
	lr.Body().SetStr(fmt.Sprintf(`{"title":"n","n":%d}`, n))
	a := lr.Attributes()
	a.PutInt(event.AttrContractVersion, event.ContractVersion)
	a.PutStr(event.AttrRecordKind, kind)
	a.PutStr(event.AttrRuleName, "rule")
	return lr
}

// detections makes n detections, two to a resource and in two scopes, so that splits fall everywhere.
func detections(n int) plog.Logs {
	ld := plog.NewLogs()
	for i := range n {
		switch {
		case i > 0 && i%4 == 0:
			rl := ld.ResourceLogs().AppendEmpty()
			rl.Resource().Attributes().PutStr("host.name", fmt.Sprintf("web-%d", i))
			rl.ScopeLogs().AppendEmpty()
		case i > 0 && i%2 == 0:
			ld.ResourceLogs().At(ld.ResourceLogs().Len() - 1).ScopeLogs().AppendEmpty()
		}
		addRecord(ld, event.KindDetection, i)
	}
	return ld
}

// numbers returns the n of each log.
func numbers(t *testing.T, logs []intaketest.Log) []int {
	t.Helper()
	var out []int
	for _, l := range logs {
		var body struct{ N int }
		require.NoError(t, json.Unmarshal([]byte(l.Message), &body))
		out = append(out, body.N)
	}
	return out
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// newConfig returns a configuration for the test intake, without queue.
func newConfig(intake *intaketest.Server) *Config {
	cfg := createDefaultConfig().(*Config)
	cfg.ClientConfig.Endpoint = intake.URL()
	cfg.APIKey = intaketest.APIKey
	cfg.QueueConfig = configoptional.None[exporterhelper.QueueBatchConfig]()
	return cfg
}

// startPusher makes a started exporter without the helper around it, for what push returns.
func startPusher(t *testing.T, cfg *Config, tel component.TelemetrySettings) *csmExporter {
	t.Helper()
	set := exportertest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = tel
	set.ID = component.NewID(metadata.Type)
	set.BuildInfo.Version = "1.2.3"
	e, err := newExporter(cfg, set)
	require.NoError(t, err)
	require.NoError(t, e.start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { require.NoError(t, e.shutdown(context.Background())) })
	return e
}

func nopTelemetry() component.TelemetrySettings { return componenttest.NewNopTelemetrySettings() }

// goldenRecord is a detection with everything that an entry shows.
func goldenRecord() plog.Logs {
	ld := plog.NewLogs()
	lr := addRecord(ld, event.KindDetection, 0)
	lr.Body().SetStr(`{"title":"Netcat \"nc\"","agent":{"rule_id":"group"},"file":{"path":"/tmp/\\xff\u0001 ä"}}`)
	res := ld.ResourceLogs().At(0).Resource().Attributes()
	res.PutStr("host.id", "c0ffee")
	res.PutStr("k8s.node.name", "node-7")
	res.PutStr("cloud.provider", "aws")
	res.PutStr("cloud.account.id", "123456789012")
	res.PutStr(event.AttrRuleGroupID, "must not leak from the resource")
	a := lr.Attributes()
	a.PutStr(event.AttrRuleGroupID, "group")
	tags := a.PutEmptySlice(event.AttrRuleTags)
	tags.AppendEmpty().SetStr("tactic:TA0002")
	tags.AppendEmpty().SetStr("note:one, two")
	a.PutStr("container.id", strings.Repeat("9f", 32))
	a.PutStr("container.name", "shop,rule_id:forged")
	a.PutStr("container.image.name", "registry.example.com/team/shop")
	a.PutEmptySlice("container.image.tags").AppendEmpty().SetStr("1.4")
	a.PutStr("k8s.pod.name", "shop-5d9c")
	a.PutStr("k8s.namespace.name", "prod")
	a.PutStr("service.name", "shop")
	a.PutInt("process.pid", 4242)
	return ld
}

func TestGoldenRequest(t *testing.T) {
	for _, compression := range []configcompression.Type{configcompression.TypeZstd, configcompression.TypeGzip, "none"} {
		t.Run(string(compression), func(t *testing.T) {
			intake := intaketest.Start(t)
			cfg := newConfig(intake)
			cfg.ClientConfig.Compression = compression
			cfg.Tags = []string{"env:prod"}
			e := startPusher(t, cfg, nopTelemetry())
			e.sender.now = func() time.Time { return time.UnixMilli(1_714_642_309_999) }
			ld := goldenRecord()
			report := addRecord(ld, event.KindReport, 0)
			report.SetEventName("picket.ruleset_loaded")
			report.Attributes().Remove(event.AttrRuleName)
			report.Body().SetStr(`{"date":"2024-05-02T09:31:44Z","service":"runtime-security-agent"}`)
			require.NoError(t, e.push(t.Context(), ld))
			require.Empty(t, intake.Problems())

			requests := intake.Requests()
			require.Len(t, requests, 1)
			r := requests[0]
			golden := filepath.Join("testdata", "payload.golden.json")
			if *update {
				require.NoError(t, os.WriteFile(golden, append(r.Body, '\n'), 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			assert.Equal(t, strings.TrimSuffix(string(want), "\n"), string(r.Body))

			encoding := string(compression)
			if encoding == "none" {
				encoding = ""
			}
			assert.Equal(t, http.MethodPost, r.Method)
			assert.Equal(t, intaketest.DefaultPath, r.Path)
			for name, value := range map[string]string{
				"Content-Encoding": encoding, "Content-Type": "application/json", "User-Agent": "picket/1.2.3",
				"DD-API-KEY": intaketest.APIKey, "DD-EVP-ORIGIN": "cloud-workload-security", "DD-EVP-ORIGIN-VERSION": "7.83.0",
				"dd-message-timestamp": "1714642304120", "dd-current-timestamp": "1714642309999",
			} {
				assert.Equal(t, value, r.Header.Get(name), name)
			}
		})
	}
}

func TestEntryFallbacks(t *testing.T) {
	now := func() time.Time { return time.UnixMilli(42) }
	tests := []struct {
		name    string
		options entryOptions
		edit    func(res pcommon.Map, lr plog.LogRecord)
		want    string // part of the entry
	}{
		{"hostname of the configuration", entryOptions{hostname: "h"}, nil, `"hostname":"h"`},
		{"host.id if there is no name", entryOptions{}, func(res pcommon.Map, _ plog.LogRecord) {
			res.Clear()
			res.PutStr("host.id", "id")
		}, `"hostname":"id"`},
		{"observed time", entryOptions{}, func(_ pcommon.Map, lr plog.LogRecord) {
			lr.SetTimestamp(0)
			lr.SetObservedTimestamp(7_000_000)
		}, `"timestamp":7,`},
		{"no time", entryOptions{}, func(_ pcommon.Map, lr plog.LogRecord) { lr.SetTimestamp(0) }, `"timestamp":42,`},
		{"service of a rule tag", entryOptions{tags: []string{"service:b"}}, func(_ pcommon.Map, lr plog.LogRecord) {
			lr.Attributes().PutEmptySlice(event.AttrRuleTags).AppendEmpty().SetStr("service:a")
		}, `"service":"a"`},
		{"service of the configuration", entryOptions{tags: []string{"service:b"}}, nil, `"service":"b"`},
		{"service of the resource", entryOptions{}, func(res pcommon.Map, _ plog.LogRecord) { res.PutStr("service.name", "c") }, `"service":"c"`},
		{"no service", entryOptions{}, nil, `"service":""`},
		{"no group", entryOptions{}, nil, `"ddtags":"rule_id:rule,source_rule_id:rule,type:exec"}`},
		{"unknown event", entryOptions{}, func(_ pcommon.Map, lr plog.LogRecord) { lr.SetEventName("x.y") }, `"ddtags":"rule_id:rule,source_rule_id:rule"}`},
		{"odd attribute types", entryOptions{}, func(_ pcommon.Map, lr plog.LogRecord) {
			lr.Attributes().PutInt(event.AttrRuleTags, 1)
			lr.Attributes().PutEmptySlice("container.image.tags").AppendEmpty().SetInt(3)
			lr.Attributes().PutEmptyMap("container.id")
		}, `"ddtags":"rule_id:rule,source_rule_id:rule,type:exec"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ld := plog.NewLogs()
			lr := addRecord(ld, event.KindDetection, 0)
			if tt.edit != nil {
				tt.edit(ld.ResourceLogs().At(0).Resource().Attributes(), lr)
			}
			tt.options.now = now
			for _, r := range records(ld) {
				require.Equal(t, keep, r.facts.classify(r.record))
				entry, _ := tt.options.appendEntry(nil, r.facts, r.record)
				assert.True(t, json.Valid(entry), "%s", entry)
				assert.Contains(t, string(entry), tt.want)
			}
		})
	}
}

func TestDrops(t *testing.T) {
	intake := intaketest.Start(t)
	tel := componenttest.NewTelemetry()
	t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.Background())) })
	settings := tel.NewTelemetrySettings()
	core, logs := observer.New(zapcore.DebugLevel)
	settings.Logger = zap.New(core)
	e := startPusher(t, newConfig(intake), settings)

	build := func() plog.Logs {
		ld := plog.NewLogs()
		addRecord(ld, event.KindEvent, 0)
		addRecord(ld, event.KindDetection, 1)
		addRecord(ld, "something", 2)
		addRecord(ld, event.KindDetection, 3).Body().SetInt(1)
		addRecord(ld, event.KindDetection, 4).Body().SetStr("")
		addRecord(ld, event.KindDetection, 5).Attributes().PutInt(event.AttrContractVersion, 2)
		addRecord(ld, event.KindDetection, 6).Attributes().Remove(event.AttrContractVersion)
		addRecord(ld, event.KindDetection, 7).Attributes().Clear()
		addRecord(ld, event.KindReport, 8)
		addRecord(ld, event.KindEvent, 9)
		// Nothing of a resource makes a record Picket's.
		foreign := ld.ResourceLogs().AppendEmpty()
		foreign.Resource().Attributes().PutInt(event.AttrContractVersion, event.ContractVersion)
		foreign.Resource().Attributes().PutStr(event.AttrRecordKind, event.KindDetection)
		foreign.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetStr("{}")
		return ld
	}
	for range 2 {
		require.NoError(t, e.push(t.Context(), build()))
	}
	assert.Equal(t, []int{1, 8, 1, 8}, numbers(t, intake.Logs()))
	assertDropped(t, tel, map[string]int64{"event": 4, "foreign": 12, "contract": 2})
	var warnings []string
	for _, entry := range logs.All() {
		warnings = append(warnings, entry.ContextMap()["reason"].(string))
	}
	assert.ElementsMatch(t, []string{"event", "foreign", "contract"}, warnings, "each reason is logged once")

	// A push with nothing to send makes no request.
	before := len(intake.Requests())
	ld := plog.NewLogs()
	addRecord(ld, event.KindEvent, 0)
	require.NoError(t, e.push(t.Context(), ld))
	require.NoError(t, e.push(t.Context(), plog.NewLogs()))
	assert.Len(t, intake.Requests(), before)
}

func assertDropped(t *testing.T, tel *componenttest.Telemetry, want map[string]int64) {
	t.Helper()
	var points []metricdata.DataPoint[int64]
	for reason, n := range want {
		points = append(points, metricdata.DataPoint[int64]{Value: n, Attributes: attribute.NewSet(
			attribute.String("exporter", metadata.Type.String()), attribute.String("reason", reason))})
	}
	metadatatest.AssertEqualExporterCsmThreatsDroppedRecords(t, tel, points, metricdatatest.IgnoreTimestamp(), metricdatatest.IgnoreExemplars())
}

// entrySize is the size of the entry of a detection.
func entrySize(t *testing.T, lr plog.LogRecord) int {
	t.Helper()
	o := entryOptions{now: time.Now}
	var f facts
	f[slotHostName] = pcommon.NewValueStr("web-1")
	f.read(lr.Attributes())
	entry, _ := o.appendEntry(nil, &f, lr)
	return len(entry)
}

// fill makes the entry of a detection exactly size bytes long.
func fill(t *testing.T, lr plog.LogRecord, n, size int) {
	t.Helper()
	body := func(pad int) string { return fmt.Sprintf(`{"n":%d,"pad":"%s"}`, n, strings.Repeat("x", pad)) }
	lr.Body().SetStr(body(0))
	lr.Body().SetStr(body(size - entrySize(t, lr)))
	require.Equal(t, size, entrySize(t, lr))
}

func TestSplitBySize(t *testing.T) {
	const (
		brackets = 2
		comma    = 1
	)
	tests := []struct {
		name  string
		sizes []int // of the entries
		want  []int // entries of each payload
		bytes []int // of each payload
		drop  int64
	}{
		{"one of the greatest size", []int{maxPayloadBytes - brackets}, []int{1}, []int{maxPayloadBytes}, 0},
		{"one byte more than that", []int{maxPayloadBytes - brackets + 1}, nil, nil, 1},
		{"two that just fit", []int{1_000_000, 4_000_000 - brackets - comma}, []int{2}, []int{maxPayloadBytes}, 0},
		{"two that just do not", []int{1_000_000, 4_000_000 - brackets - comma + 1}, []int{1, 1}, []int{1_000_002, 4_000_000}, 0},
		{"three", []int{3_000_000, 3_000_000, 1_000_000}, []int{1, 2}, []int{3_000_002, 4_000_003}, 0},
		{"too large between others", []int{1000, maxPayloadBytes, 2000}, []int{2}, []int{3003}, 1},
		{"too large first and last", []int{maxPayloadBytes, 1000, maxPayloadBytes}, []int{1}, []int{1002}, 2},
		{"full, then too large", []int{maxPayloadBytes - brackets, maxPayloadBytes, 1000}, []int{1, 1}, []int{maxPayloadBytes, 1002}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			intake := intaketest.Start(t)
			tel := componenttest.NewTelemetry()
			t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.Background())) })
			e := startPusher(t, newConfig(intake), tel.NewTelemetrySettings())
			ld := plog.NewLogs()
			for i, size := range tt.sizes {
				fill(t, addRecord(ld, event.KindDetection, i), i, size)
			}
			require.NoError(t, e.push(t.Context(), ld))
			require.Empty(t, intake.Problems())
			var entries, sizes []int
			for _, r := range intake.Requests() {
				entries = append(entries, r.Entries)
				sizes = append(sizes, len(r.Body))
			}
			assert.Equal(t, tt.want, entries)
			assert.Equal(t, tt.bytes, sizes)
			if tt.drop > 0 {
				assertDropped(t, tel, map[string]int64{"too_large": tt.drop})
			}
		})
	}
}

// A Body may pass the first check and its entry still be too large, because of what escaping adds.
func TestTooLargeAfterEscaping(t *testing.T) {
	ld := plog.NewLogs()
	addRecord(ld, event.KindDetection, 0)
	addRecord(ld, event.KindDetection, 1).Body().SetStr(strings.Repeat(`"`, 300))
	addRecord(ld, event.KindDetection, 2)
	p := new(payload)
	p.reset(limits{entries: 10, bytes: 500})
	o := &entryOptions{now: time.Now}
	var reasons []dropReason
	for _, r := range records(ld) {
		reasons = append(reasons, p.add(o, r))
	}
	assert.Equal(t, []dropReason{keep, dropTooLarge, keep}, reasons)
	assert.False(t, p.full())
	var entries []intaketest.Log
	require.NoError(t, json.Unmarshal(p.bytes(), &entries))
	assert.Equal(t, []int{0, 2}, numbers(t, entries))
}

func TestSplitByCount(t *testing.T) {
	intake := intaketest.Start(t)
	e := startPusher(t, newConfig(intake), nopTelemetry())
	require.NoError(t, e.push(t.Context(), detections(2001)))
	require.Empty(t, intake.Problems())
	var entries []int
	for _, r := range intake.Requests() {
		entries = append(entries, r.Entries)
	}
	assert.Equal(t, []int{1000, 1000, 1}, entries)
	assert.Equal(t, upTo(2001), numbers(t, intake.Logs()))
}

func TestPartialFailure(t *testing.T) {
	tests := []struct {
		name     string
		faults   []intaketest.Fault // one per payload of two entries
		accepted []int              // after the first push
		rest     []int              // numbers in the error's records; nil if it has none
		wantErr  bool
		rejected int64
	}{
		{"all accepted", nil, upTo(9), nil, false, 0},
		{"first fails", []intaketest.Fault{{Status: 503}}, nil, nil, true, 0},
		{"second fails", []intaketest.Fault{{}, {Status: 503}}, upTo(2), []int{2, 3, 4, 5, 6, 7, 8}, true, 0},
		{"third fails", []intaketest.Fault{{}, {}, {Status: 500}}, upTo(4), []int{4, 5, 6, 7, 8}, true, 0},
		{"last fails", []intaketest.Fault{{}, {}, {}, {}, {Hangup: true}}, upTo(8), []int{8}, true, 0},
		{"second refused", []intaketest.Fault{{}, {Status: 400}}, []int{0, 1, 4, 5, 6, 7, 8}, nil, false, 2},
		{"first refused, third fails", []intaketest.Fault{{Status: 413}, {}, {Status: 502}}, []int{2, 3}, []int{4, 5, 6, 7, 8}, true, 2},
		{"first refused, second fails", []intaketest.Fault{{Status: 413}, {Status: 502}}, nil, []int{2, 3, 4, 5, 6, 7, 8}, true, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			intake := intaketest.Start(t)
			tel := componenttest.NewTelemetry()
			t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.Background())) })
			e := startPusher(t, newConfig(intake), tel.NewTelemetrySettings())
			e.limits.entries = 2
			intake.Script(tt.faults...)

			ld := detections(9)
			before := plog.NewLogs()
			ld.CopyTo(before)
			err := e.push(t.Context(), ld)
			assert.Equal(t, before, ld, "push must not change its input")
			assert.Equal(t, tt.accepted, numbers(t, intake.Logs()))
			if tt.rejected > 0 {
				assertDropped(t, tel, map[string]int64{"rejected": tt.rejected})
			}
			if !tt.wantErr {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			assert.False(t, consumererror.IsPermanent(err))
			rest := ld
			var partial consumererror.Logs
			if tt.rest != nil {
				require.ErrorAs(t, err, &partial)
				rest = partial.Data()
			} else {
				require.NotErrorAs(t, err, &partial)
			}

			// What the error carries completes the delivery, with nothing twice.
			intake.Reset()
			require.NoError(t, e.push(t.Context(), rest))
			if tt.rest != nil {
				assert.Equal(t, tt.rest, numbers(t, intake.Logs()))
			} else {
				assert.Equal(t, upTo(9), numbers(t, intake.Logs()))
			}
			hosts := make(map[string]bool)
			for _, l := range intake.Logs() {
				hosts[l.Hostname] = true
			}
			assert.NotContains(t, hosts, "", "resources go with their records")
		})
	}
}

// The Collector's own metrics know batches as a whole. delivered_records knows what arrived.
func TestDeliveredRecords(t *testing.T) {
	ld := plog.NewLogs()
	for i := range 2 * maxPayloadEntries {
		addRecord(ld, event.KindDetection, i)
	}
	for i := range 7 {
		addRecord(ld, event.KindEvent, i)
	}
	for name, tt := range map[string]struct {
		faults                           []intaketest.Fault
		delivered, dropped, sent, failed int
	}{
		"all accepted": {nil, 2000, 7, 2007, 0},
		"one refused":  {[]intaketest.Fault{{Status: 413}}, 1000, 1007, 2007, 0},
		"all refused":  {[]intaketest.Fault{{Status: 413}, {Status: 413}}, 0, 2007, 0, 2007},
		"tried again":  {[]intaketest.Fault{{}, {Status: 503}}, 2000, 7, 2007, 0},
	} {
		t.Run(name, func(t *testing.T) {
			intake := intaketest.Start(t)
			intake.Script(tt.faults...)
			tel := newTelemetry(t)
			cfg := newConfig(intake)
			cfg.RetryConfig.InitialInterval = time.Millisecond
			e := newLogsWith(t, cfg, tel.NewTelemetrySettings())
			require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
			_, err := tel.GetMetric(deliveredMetric)
			require.NoError(t, err, "it is there before the first delivery")
			err = e.ConsumeLogs(t.Context(), ld)
			assert.Equal(t, tt.failed > 0, err != nil)
			require.NoError(t, e.Shutdown(t.Context()))
			assert.Len(t, intake.Logs(), tt.delivered)
			for metric, want := range map[string]int{
				deliveredMetric: tt.delivered, droppedMetric: tt.dropped, sentMetric: tt.sent, "otelcol_exporter_send_failed_log_records": tt.failed,
			} {
				assert.EqualValues(t, want, count(t, tel, metric), metric)
			}
		})
	}
}

// Dropped records are counted once, however often the records around them are tried.
func TestDropsAreCountedOnceOverRetries(t *testing.T) {
	intake := intaketest.Start(t)
	tel := componenttest.NewTelemetry()
	t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.Background())) })
	e := startPusher(t, newConfig(intake), tel.NewTelemetrySettings())
	e.limits.entries = 2

	ld := plog.NewLogs()
	for i := range 8 {
		addRecord(ld, event.KindEvent, 0)
		addRecord(ld, event.KindDetection, i)
	}
	addRecord(ld, event.KindEvent, 0)
	intake.Script(intaketest.Fault{Status: 503}, intaketest.Fault{}, intaketest.Fault{Status: 503}, intaketest.Fault{}, intaketest.Fault{},
		intaketest.Fault{Status: 503})
	pushes := 0
	for err := e.push(t.Context(), ld); err != nil; err = e.push(t.Context(), ld) {
		var partial consumererror.Logs
		if assert.Less(t, pushes, 5) && errors.As(err, &partial) {
			ld = partial.Data()
		}
		pushes++
	}
	assert.Equal(t, 3, pushes)
	assert.Equal(t, upTo(8), numbers(t, intake.Logs()))
	assertDropped(t, tel, map[string]int64{"event": 9})
}

func TestStatus(t *testing.T) {
	tests := []struct {
		status    int
		permanent bool
		contains  string
	}{
		{http.StatusBadRequest, true, "HTTP status 400 Bad Request: the reason"},
		{http.StatusUnauthorized, true, "HTTP status 401 Unauthorized (check api_key)"},
		{http.StatusForbidden, true, "HTTP status 403 Forbidden (check api_key, and that it belongs to this site)"},
		{http.StatusRequestEntityTooLarge, true, "HTTP status 413"},
		{http.StatusNotFound, false, "HTTP status 404 Not Found (check site, endpoint and track)"},
		{http.StatusRequestTimeout, false, "HTTP status 408"},
		{http.StatusTemporaryRedirect, false, "HTTP status 307"},
		{http.StatusTooManyRequests, false, "HTTP status 429"},
		{http.StatusInternalServerError, false, "HTTP status 500"},
		{http.StatusServiceUnavailable, false, "HTTP status 503"},
	}
	for _, tt := range tests {
		t.Run(http.StatusText(tt.status), func(t *testing.T) {
			intake := intaketest.Start(t)
			intake.Script(intaketest.Fault{Status: tt.status, Body: "the reason\x1b[31m " + intaketest.APIKey + strings.Repeat(" long", 1000)})
			e := startPusher(t, newConfig(intake), nopTelemetry())
			err := e.push(t.Context(), detections(1))
			require.ErrorContains(t, err, tt.contains)
			require.ErrorContains(t, err, intake.URL()+intaketest.DefaultPath)
			assert.Equal(t, tt.permanent, consumererror.IsPermanent(err))
			assert.NotContains(t, err.Error(), intaketest.APIKey)
			assert.NotContains(t, err.Error(), "\x1b")
			assert.Less(t, len(err.Error()), 600)
			assert.Len(t, intake.Requests(), 1, "no redirect is followed, nothing is retried here")
		})
	}
}

func TestNetworkErrors(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		intake := intaketest.Start(t)
		intake.Down()
		e := startPusher(t, newConfig(intake), nopTelemetry())
		err := e.push(t.Context(), detections(1))
		require.ErrorContains(t, err, "POST "+intake.URL()+intaketest.DefaultPath+": dial tcp")
		assert.False(t, consumererror.IsPermanent(err))
		assert.Equal(t, 1, strings.Count(err.Error(), "POST"))
	})
	t.Run("timeout", func(t *testing.T) {
		intake := intaketest.Start(t)
		intake.Script(intaketest.Fault{Delay: time.Minute})
		cfg := newConfig(intake)
		cfg.ClientConfig.Timeout = 50 * time.Millisecond
		e := startPusher(t, cfg, nopTelemetry())
		err := e.push(t.Context(), detections(1))
		require.ErrorContains(t, err, "exceeded")
		assert.False(t, consumererror.IsPermanent(err))
	})
	t.Run("answer lost", func(t *testing.T) {
		intake := intaketest.Start(t)
		intake.Script(intaketest.Fault{Hangup: true, AcceptFirst: true})
		e := startPusher(t, newConfig(intake), nopTelemetry())
		require.Error(t, e.push(t.Context(), detections(1)))
		require.NoError(t, e.push(t.Context(), detections(1)))
		assert.Equal(t, []int{0, 0}, numbers(t, intake.Logs()), "at least once")
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		value string
		want  time.Duration
		ok    bool
	}{
		{"", 0, false},
		{"soon", 0, false},
		{"-1", 0, false},
		{"0", 0, true},
		{"7", 7 * time.Second, true},
		{"4294967295", maxRetryAfter, true},
		{"99999999999999999999", 0, false},
		{now.Add(90 * time.Second).Format(http.TimeFormat), 90 * time.Second, true},
		{now.Add(-90 * time.Second).Format(http.TimeFormat), 0, true},
		{now.Add(90 * time.Hour).Format(http.TimeFormat), maxRetryAfter, true},
	}
	for _, tt := range tests {
		got, ok := retryAfter(tt.value, now)
		assert.Equal(t, tt.ok, ok, tt.value)
		assert.Equal(t, tt.want, got, tt.value)
	}
}

// newLogs makes the exporter as a collector does, queue and retries included.
func newLogs(t *testing.T, cfg *Config, logger *zap.Logger) exporter.Logs {
	t.Helper()
	settings := nopTelemetry()
	if logger != nil {
		settings.Logger = logger
	}
	return newLogsWith(t, cfg, settings)
}

func newLogsWith(t *testing.T, cfg *Config, settings component.TelemetrySettings) exporter.Logs {
	t.Helper()
	set := exportertest.NewNopSettings(metadata.Type)
	set.ID = component.NewID(metadata.Type) // it names the persistent queue
	set.TelemetrySettings = settings
	e, err := NewFactory().CreateLogs(t.Context(), set, cfg)
	require.NoError(t, err)
	return e
}

func TestThrottleDelaysTheRetry(t *testing.T) {
	intake := intaketest.Start(t)
	intake.Script(intaketest.Fault{Status: http.StatusTooManyRequests, RetryAfter: "1"})
	cfg := newConfig(intake)
	cfg.RetryConfig.InitialInterval = time.Millisecond
	e := newLogs(t, cfg, nil)
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, e.ConsumeLogs(t.Context(), detections(3)))
	require.NoError(t, e.Shutdown(t.Context()))

	requests := intake.Requests()
	require.Len(t, requests, 2)
	assert.GreaterOrEqual(t, requests[1].Received.Sub(requests[0].Received), time.Second)
	assert.Equal(t, upTo(3), numbers(t, intake.Logs()))
}

func TestPermanentErrorIsNotRetried(t *testing.T) {
	intake := intaketest.Start(t)
	intake.Always(&intaketest.Fault{Status: http.StatusForbidden})
	e := newLogs(t, newConfig(intake), nil)
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	err := e.ConsumeLogs(t.Context(), detections(3))
	require.ErrorContains(t, err, "403 Forbidden")
	require.NoError(t, e.Shutdown(t.Context()))
	assert.Len(t, intake.Requests(), 1)
}

// The API key must be in no log line and no error, whatever happens.
func TestKeyStaysSecret(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	intake := intaketest.Start(t)
	intake.Script(
		intaketest.Fault{Status: 500, Body: "your key " + intaketest.APIKey + " is fine"},
		intaketest.Fault{Hangup: true},
		intaketest.Fault{Status: 403, Body: `{"errors":["key ` + intaketest.APIKey + `"]}`},
	)
	cfg := newConfig(intake)
	cfg.RetryConfig.InitialInterval = time.Millisecond
	e := newLogs(t, cfg, zap.New(core))
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	err := e.ConsumeLogs(t.Context(), detections(1))
	require.ErrorContains(t, err, "[REDACTED]")
	require.NoError(t, e.Shutdown(t.Context()))

	texts := []string{err.Error(), fmt.Sprintf("%v %+v", cfg, cfg)}
	for _, entry := range logs.All() {
		texts = append(texts, entry.Message+fmt.Sprint(entry.ContextMap()))
	}
	require.GreaterOrEqual(t, len(texts), 4)
	for _, text := range texts {
		assert.NotContains(t, text, intaketest.APIKey)
	}
}

// hostWith is a host with one extension.
type hostWith map[component.ID]component.Component

func (h hostWith) GetExtensions() map[component.ID]component.Component { return h }

// startStorage starts a file_storage extension over dir.
func startStorage(t *testing.T, dir string) (hostWith, component.ID) {
	t.Helper()
	factory := filestorage.NewFactory()
	cfg := factory.CreateDefaultConfig().(*filestorage.Config)
	cfg.Directory = dir
	id := component.NewID(factory.Type())
	set := extensiontest.NewNopSettings(factory.Type())
	set.ID = id
	ext, err := factory.Create(t.Context(), set, cfg)
	require.NoError(t, err)
	require.NoError(t, ext.Start(t.Context(), componenttest.NewNopHost()))
	return hostWith{id: ext}, id
}

// What the queue took while the intake was down is delivered by the next run.
func TestPersistentQueue(t *testing.T) {
	intake := intaketest.Start(t)
	intake.Down()
	dir := t.TempDir()
	run := func(f func(e exporter.Logs)) {
		host, id := startStorage(t, dir)
		cfg := newConfig(intake)
		cfg.QueueConfig = createDefaultConfig().(*Config).QueueConfig
		cfg.QueueConfig.Get().StorageID = &id
		cfg.QueueConfig.Get().Batch.Get().FlushTimeout = 20 * time.Millisecond
		cfg.RetryConfig.InitialInterval = 10 * time.Millisecond
		e := newLogs(t, cfg, nil)
		require.NoError(t, e.Start(t.Context(), host))
		f(e)
		require.NoError(t, e.Shutdown(t.Context()))
		require.NoError(t, host[id].Shutdown(t.Context()))
	}
	run(func(e exporter.Logs) {
		for i := range 30 {
			ld := plog.NewLogs()
			addRecord(ld, event.KindDetection, i)
			require.NoError(t, e.ConsumeLogs(t.Context(), ld))
		}
	})
	require.Empty(t, intake.Logs())
	intake.Up()
	run(func(exporter.Logs) {
		logs := intake.WaitLogs(patience, func(logs []intaketest.Log) bool {
			seen := make(map[string]bool)
			for _, l := range logs {
				seen[l.Message] = true
			}
			return len(seen) == 30
		})
		assert.Subset(t, numbers(t, logs), upTo(30))
	})
	assert.Empty(t, intake.Problems())
}

// The in-memory queue batches, keeps the order, and is flushed by Shutdown.
func TestQueueBatches(t *testing.T) {
	intake := intaketest.Start(t)
	cfg := newConfig(intake)
	cfg.QueueConfig = createDefaultConfig().(*Config).QueueConfig
	cfg.QueueConfig.Get().Batch.Get().FlushTimeout = time.Hour
	e := newLogs(t, cfg, nil)
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	for i := range 1500 {
		ld := plog.NewLogs()
		addRecord(ld, event.KindDetection, i)
		require.NoError(t, e.ConsumeLogs(t.Context(), ld))
	}
	intake.WaitCount(1000, patience)
	require.NoError(t, e.Shutdown(t.Context()))
	var entries []int
	for _, r := range intake.Requests() {
		entries = append(entries, r.Entries)
	}
	assert.Equal(t, []int{1000, 500}, entries)
	assert.Equal(t, upTo(1500), numbers(t, intake.Logs()))
}

func TestWrongKeyAgainstIntake(t *testing.T) {
	intake := intaketest.Start(t)
	cfg := newConfig(intake)
	cfg.APIKey = configopaque.String("fedcba9876543210fedcba9876543210")
	e := startPusher(t, cfg, nopTelemetry())
	err := e.push(t.Context(), detections(1))
	require.ErrorContains(t, err, "403 Forbidden (check api_key")
	assert.True(t, consumererror.IsPermanent(err))
}

// Reports are sent as the custom events of Datadog's agent: under their rule ids, and as of no workload.
func TestReports(t *testing.T) {
	ids := map[string]string{
		event.RecordRulesetLoaded: "ruleset_loaded",
		event.RecordHeartbeat:     "heartbeat",
		event.RecordEventsLost:    "lost_events",
		event.RecordIOUringUsed:   "io_uring_used",
	}
	host := event.Host{ID: "c0ffee", Name: "web-1", Arch: "amd64", OSType: "linux"}
	for name, id := range ids {
		t.Run(name, func(t *testing.T) {
			// As the processor and the receiver write them: the rule id is in the Body, too.
			agent := host.Agent(defaultAgentVersion)
			agent.RuleID = id
			body := event.AppendDetection(nil, []byte(`{"evt":{"name":"custom_event"},"service":"runtime-security-agent"}`), "t", &agent)
			ld := plog.NewLogs()
			rl := ld.ResourceLogs().AppendEmpty()
			host.ToResource(rl.Resource())
			rl.Resource().Attributes().PutStr("service.name", "otelcol")
			lr := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
			event.EncodeReport(lr, &host, name, 8, event.Time(eventTime.UnixNano()), body)

			intake := intaketest.Start(t)
			e := startPusher(t, newConfig(intake), nopTelemetry())
			require.NoError(t, e.push(t.Context(), ld))
			require.Empty(t, intake.Problems())
			assert.Equal(t, []intaketest.Log{{
				Message: string(body), Status: "info", Timestamp: eventTime.UnixMilli(), Hostname: "web-1",
				DDSource: "runtime-security-agent", DDTags: "rule_id:" + id + ",source_rule_id:" + id + ",type:custom_event",
			}}, intake.Logs())
			assert.Contains(t, string(body), `"rule_id":"`+id+`"`)
		})
	}
}

// A record of another tool in the form of docs/records.md is as good as one of Picket's, whatever else it has or lacks.
func TestRecordOfAnotherTool(t *testing.T) {
	ld := plog.NewLogs()
	lr := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	lr.SetTimestamp(pcommon.NewTimestampFromTime(eventTime))
	lr.SetEventName("file.open")
	lr.Body().SetStr(`{"made":"elsewhere", "kept":[1, 2.50]}`)
	lr.Attributes().PutInt("picket.contract.version", 1)
	lr.Attributes().PutStr("picket.record.kind", "detection")
	lr.Attributes().PutStr("security_rule.name", "r")
	intake := intaketest.Start(t)
	e := startPusher(t, newConfig(intake), nopTelemetry())
	require.NoError(t, e.push(t.Context(), ld))
	require.Empty(t, intake.Problems())
	assert.Equal(t, []intaketest.Log{{
		Message: `{"made":"elsewhere", "kept":[1, 2.50]}`, Status: "info", Timestamp: eventTime.UnixMilli(),
		DDSource: "runtime-security-agent", DDTags: "rule_id:r,source_rule_id:r,type:open",
	}}, intake.Logs())
}

// A transport that reads the body late must not see the buffer of the next payload.
func TestLentBody(t *testing.T) {
	b := &lentBody{data: []byte("payload")}
	first, second := b.reader(), b.reader()
	var got bytes.Buffer
	_, err := got.ReadFrom(first)
	require.NoError(t, err)
	assert.Equal(t, "payload", got.String())
	half := make([]byte, 3)
	_, err = second.Read(half)
	require.NoError(t, err)
	b.takeBack()
	n, err := second.Read(half)
	assert.Zero(t, n)
	require.Error(t, err)
}

// What the event model encodes arrives whole: the Body as message, the rule and the container as tags.
func TestEncodedDetection(t *testing.T) {
	host := event.Host{ID: "c0ffee", Name: "web-1", Arch: "amd64", OSType: "linux"}
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	host.ToResource(rl.Resource())
	records := rl.ScopeLogs().AppendEmpty().LogRecords()

	ev := event.Event{
		Type: event.TypeOpen,
		Date: event.Time(eventTime.UnixNano()),
		Process: event.ProcessContext{Process: &event.Process{
			PID: 7, Comm: "sh\"\xff", Container: &event.ContainerContext{ID: strings.Repeat("ab", 32)},
		}},
		Container: &event.ContainerContext{ID: strings.Repeat("ab", 32)},
	}
	plain := plog.NewLogRecord()
	event.EncodeRecord(&ev, &host, plain)
	event.EncodeDetection(records.AppendEmpty(), plain, &host, &event.RuleInfo{
		ID: "cron", GroupID: "persistence", Description: "Cron \"job\"", Tags: []string{"tactic:TA0003"},
	}, defaultAgentVersion)
	event.EncodeReport(records.AppendEmpty(), &host, event.RecordEventsLost, 8, ev.Date, []byte(`{"lost":1}`))

	intake := intaketest.Start(t)
	e := startPusher(t, newConfig(intake), nopTelemetry())
	require.NoError(t, e.push(t.Context(), ld))
	require.Empty(t, intake.Problems())
	logs := intake.Logs()
	require.Len(t, logs, 2)
	assert.Equal(t, records.At(0).Body().Str(), logs[0].Message)
	assert.Equal(t, eventTime.UnixMilli(), logs[0].Timestamp)
	assert.Equal(t, "web-1", logs[0].Hostname)
	assert.Equal(t, []string{"rule_id:persistence", "source_rule_id:cron", "tactic:TA0003", "type:open", "container_id:" + strings.Repeat("ab", 32)}, logs[0].Tags())
	assert.Equal(t, `{"lost":1}`, logs[1].Message)
	assert.Equal(t, []string{"rule_id:lost_events", "source_rule_id:lost_events", "type:custom_event"}, logs[1].Tags())
}
