// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/intaketest"
)

// single makes one detection with a log.record.uid.
func single(n int) plog.Logs {
	ld := plog.NewLogs()
	addRecord(ld, event.KindDetection, n).Attributes().PutStr(event.AttrRecordUID, fmt.Sprintf("uid-%d", n))
	return ld
}

// fanOutConfig returns a configuration with a queue of that many records, for the first intake and the additional ones, whose
// keys are other-0 and so on.
func fanOutConfig(size int64, main *intaketest.Server, more ...*intaketest.Server) *Config {
	cfg := newConfig(main)
	cfg.QueueConfig = createDefaultConfig().(*Config).QueueConfig
	cfg.QueueConfig.Get().QueueSize = size
	cfg.QueueConfig.Get().Batch.Get().FlushTimeout = 20 * time.Millisecond
	cfg.QueueConfig.Get().Batch.Get().MinSize = 1
	cfg.RetryConfig.InitialInterval = 5 * time.Millisecond
	cfg.RetryConfig.MaxInterval = 20 * time.Millisecond
	for i, s := range more {
		cfg.AdditionalEndpoints = append(cfg.AdditionalEndpoints, EndpointConfig{
			Name: fmt.Sprintf("other-%d", i), Endpoint: s.URL(), APIKey: configopaque.String(fmt.Sprintf("key-%d", i)),
		})
	}
	return cfg
}

// startOthers starts n intakes with the keys that fanOutConfig gives.
func startOthers(t *testing.T, n int) []*intaketest.Server {
	t.Helper()
	out := make([]*intaketest.Server, n)
	for i := range out {
		out[i] = intaketest.Start(t, intaketest.WithAPIKey(fmt.Sprintf("key-%d", i)))
	}
	return out
}

// count returns the sum of a counter over the points that have these attributes, each as key=value.
func count(t *testing.T, tel *componenttest.Telemetry, name string, attrs ...string) int64 {
	t.Helper()
	m, err := tel.GetMetric(name)
	if err != nil {
		return 0 // nothing has been counted yet
	}
	var points []metricdata.DataPoint[int64]
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		points = data.DataPoints
	case metricdata.Gauge[int64]:
		points = data.DataPoints
	default:
		require.Failf(t, "unexpected kind of metric", "%s: %T", name, m.Data)
	}
	var sum int64
next:
	for _, p := range points {
		for _, want := range attrs {
			found := false
			for _, kv := range p.Attributes.ToSlice() {
				found = found || string(kv.Key)+"="+kv.Value.String() == want
			}
			if !found {
				continue next
			}
		}
		sum += p.Value
	}
	return sum
}

func newTelemetry(t *testing.T) *componenttest.Telemetry {
	t.Helper()
	tel := componenttest.NewTelemetry()
	t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.Background())) })
	return tel
}

const (
	sentMetric    = "otelcol_exporter_sent_log_records"
	refusedMetric = "otelcol_exporter_enqueue_failed_log_records"
)

// One endpoint is fine, one answers with errors for a while, one is away until after a restart: each gets every log once.
func TestAdditionalEndpoints(t *testing.T) {
	const n = 40
	main, others := intaketest.Start(t), startOthers(t, 2)
	flaky, away := others[0], others[1]
	flaky.Script(
		intaketest.Fault{Status: 503}, intaketest.Fault{Status: 429, RetryAfter: "1"}, intaketest.Fault{Hangup: true},
		intaketest.Fault{}, intaketest.Fault{Status: 500},
	)
	away.Down()
	tel := newTelemetry(t)
	dir := t.TempDir()
	run := func(f func(component.Component, func(plog.Logs))) {
		host, id := startStorage(t, dir)
		cfg := fanOutConfig(10_000, main, flaky, away)
		cfg.ClientConfig.Headers.Set("X-Token", "secret")
		cfg.QueueConfig.Get().StorageID = &id
		require.NoError(t, cfg.Validate())
		e := newLogsWith(t, cfg, tel.NewTelemetrySettings())
		require.NoError(t, e.Start(t.Context(), host))
		f(e, func(ld plog.Logs) { require.NoError(t, e.ConsumeLogs(t.Context(), ld)) })
		require.NoError(t, e.Shutdown(t.Context()))
		require.NoError(t, host[id].Shutdown(t.Context()))
	}
	run(func(_ component.Component, consume func(plog.Logs)) {
		for i := range n {
			consume(single(i))
		}
		main.WaitCount(n, patience)
		flaky.WaitCount(n, patience)
	})
	assert.Empty(t, away.Requests())
	assert.Zero(t, count(t, tel, sentMetric, "exporter=csm_threats/@other-1"))

	away.Up()
	run(func(_ component.Component, consume func(plog.Logs)) {
		away.WaitCount(n, patience)
		consume(single(n))
		for _, s := range []*intaketest.Server{main, flaky, away} {
			s.WaitCount(n+1, patience)
		}
	})
	for _, s := range []*intaketest.Server{main, flaky, away} {
		// What was on its way when the collector stopped comes last after the restart.
		assert.ElementsMatch(t, upTo(n+1), numbers(t, s.Logs()), "each log once")
		assert.Empty(t, s.Problems(), "to each its own key")
	}
	for _, exporter := range []string{"csm_threats", "csm_threats/@other-0", "csm_threats/@other-1"} {
		assert.EqualValues(t, n+1, count(t, tel, sentMetric, "exporter="+exporter), exporter)
		assert.Positive(t, count(t, tel, "otelcol_exporter_csm_threats_payload_bytes", "exporter="+exporter), exporter)
	}
	assert.Zero(t, count(t, tel, refusedMetric))
	assert.Equal(t, "secret", main.Requests()[0].Header.Get("X-Token"))
	assert.Empty(t, flaky.Requests()[0].Header.Get("X-Token"), "headers are for the main endpoint only")
}

// The queue of an additional endpoint is full: the main one does not notice, and what is lost there is counted.
func TestAdditionalQueueFull(t *testing.T) {
	const n, size = 20, 5
	main, others := intaketest.Start(t), startOthers(t, 2)
	others[0].Down()
	tel := newTelemetry(t)
	cfg := fanOutConfig(size, main, others...)
	cfg.QueueConfig.Get().BlockOnOverflow = true // for the main one, which is never full for long
	cfg.RetryConfig.InitialInterval, cfg.RetryConfig.MaxInterval = time.Hour, time.Hour
	e := newLogsWith(t, cfg, tel.NewTelemetrySettings())
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	for i := range n {
		require.NoError(t, e.ConsumeLogs(t.Context(), single(i)))
		main.WaitCount(i+1, patience)
		others[1].WaitCount(i+1, patience)
	}
	require.NoError(t, e.Shutdown(t.Context()))
	assert.Equal(t, upTo(n), numbers(t, main.Logs()))
	assert.Equal(t, upTo(n), numbers(t, others[1].Logs()))
	assert.EqualValues(t, n-size, count(t, tel, refusedMetric, "exporter=csm_threats/@other-0"))
	assert.EqualValues(t, n-size, count(t, tel, refusedMetric), "and none by the others")
}

// The queue of the main endpoint is full: its error is returned, so that the pipeline may try again. The additional ones get
// their logs all the same, and not once more when it does.
func TestMainQueueFull(t *testing.T) {
	const n, size = 20, 5
	main, others := intaketest.Start(t), startOthers(t, 1)
	main.Down()
	tel := newTelemetry(t)
	cfg := fanOutConfig(size, main, others...)
	cfg.RetryConfig.InitialInterval, cfg.RetryConfig.MaxInterval = time.Hour, time.Hour
	e := newLogsWith(t, cfg, tel.NewTelemetrySettings())
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	failures := 0
	for i := range n {
		for range 3 { // as a pipeline that tries again
			err := e.ConsumeLogs(t.Context(), single(i))
			if err == nil {
				break
			}
			failures++
			assert.False(t, consumererror.IsPermanent(err))
			require.ErrorContains(t, err, "queue is full")
		}
		others[0].WaitCount(i+1, patience)
	}
	assert.Equal(t, 3*(n-size), failures)
	require.NoError(t, e.Shutdown(t.Context()))
	assert.Equal(t, upTo(n), numbers(t, others[0].Logs()), "each log once")
	assert.EqualValues(t, 3*(n-size), count(t, tel, refusedMetric, "exporter=csm_threats"))
	assert.Zero(t, count(t, tel, refusedMetric, "exporter=csm_threats/@other-0"))
}

// Records that no endpoint is sent are counted and named once, not once for each endpoint.
func TestDropsAreCountedOnceOverEndpoints(t *testing.T) {
	main, others := intaketest.Start(t), startOthers(t, 2)
	tel := newTelemetry(t)
	logger, logs := observed()
	settings := tel.NewTelemetrySettings()
	settings.Logger = logger
	e := newLogsWith(t, fanOutConfig(100, main, others...), settings)
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	ld := detections(1)
	addRecord(ld, event.KindEvent, 0)
	addRecord(ld, "other", 0)
	addRecord(ld, event.KindDetection, 0).Attributes().PutInt(event.AttrContractVersion, 2)
	require.NoError(t, e.ConsumeLogs(t.Context(), ld))
	for _, s := range append(others, main) {
		s.WaitCount(1, patience)
	}
	require.NoError(t, e.Shutdown(t.Context()))
	assertDropped(t, tel, map[string]int64{"event": 1, "foreign": 1, "contract": 1})
	var reasons []string
	for _, l := range logs.FilterFieldKey("reason").All() {
		reasons = append(reasons, l.ContextMap()["reason"].(string))
	}
	assert.ElementsMatch(t, []string{"event", "foreign", "contract"}, reasons)
}

// What does not start is named, and what was started before it is shut down by the collector.
func TestAdditionalDoesNotStart(t *testing.T) {
	main := intaketest.Start(t)
	cfg := fanOutConfig(100, main, main)
	missing := component.MustNewID("file_storage")
	cfg.QueueConfig.Get().StorageID = &missing
	e := newLogsWith(t, cfg, nopTelemetry())
	require.ErrorContains(t, e.Start(t.Context(), hostWith{}), "storage")
	require.NoError(t, e.Shutdown(t.Context()))
}

func TestRecordSet(t *testing.T) {
	var s recordSet
	left := func(ld plog.Logs) int {
		own := plog.NewLogs()
		ld.CopyTo(own)
		s.takeOut(own)
		return own.LogRecordCount()
	}
	all := plog.NewLogs()
	for i := range maxAhead {
		addRecord(all, event.KindDetection, i).Attributes().PutStr(event.AttrRecordUID, fmt.Sprintf("uid-%d", i))
	}
	assert.Equal(t, maxAhead, left(all))
	s.add(single(0))
	s.add(single(0))
	assert.Equal(t, maxAhead-1, left(all))
	s.add(detections(1)) // has no uid
	assert.Equal(t, 9, left(detections(9)))
	s.add(all)
	assert.Zero(t, left(all))

	// It is full: the oldest are forgotten.
	s.add(single(maxAhead))
	s.add(single(maxAhead + 1))
	assert.Len(t, s.uids, maxAhead)
	assert.Equal(t, 1, left(single(0)))
	assert.Equal(t, 1, left(single(1)))
	assert.Zero(t, left(single(2)))
	assert.Zero(t, left(single(maxAhead)))

	// all is not changed, and may be read-only.
	assert.Equal(t, maxAhead, all.LogRecordCount())
	all.MarkReadOnly()
	s.add(all)
}
