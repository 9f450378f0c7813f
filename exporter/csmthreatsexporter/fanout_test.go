// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter"
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
	sentMetric      = "otelcol_exporter_sent_log_records"
	deliveredMetric = "otelcol_exporter_csm_threats_delivered_records"
	droppedMetric   = "otelcol_exporter_csm_threats_dropped_records"
	refusedMetric   = "otelcol_exporter_enqueue_failed_log_records"
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
		assert.EqualValues(t, n+1, count(t, tel, deliveredMetric, "exporter="+exporter), exporter)
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

// After the main queue has refused a detection, those that come later are sent everywhere, also if all have the same uid.
func TestMainQueueWasFull(t *testing.T) {
	const size = 2
	main, others := intaketest.Start(t), startOthers(t, 1)
	main.Down()
	cfg := fanOutConfig(size, main, others...)
	e := newLogsWith(t, cfg, newTelemetry(t).NewTelemetrySettings())
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	for i := range size {
		require.NoError(t, e.ConsumeLogs(t.Context(), unnumbered(i)))
		others[0].WaitCount(i+1, patience)
	}
	require.ErrorContains(t, e.ConsumeLogs(t.Context(), unnumbered(size)), "queue is full")
	others[0].WaitCount(size+1, patience)
	main.Up()
	main.WaitCount(size, patience)
	require.Eventually(t, func() bool { return e.ConsumeLogs(t.Context(), unnumbered(size)) == nil }, patience, 5*time.Millisecond)
	for i := size + 1; i < 10; i++ {
		main.WaitCount(i, patience)
		others[0].WaitCount(i, patience)
		require.Eventually(t, func() bool { return e.ConsumeLogs(t.Context(), unnumbered(i)) == nil }, patience, 5*time.Millisecond)
	}
	main.WaitCount(10, patience)
	others[0].WaitCount(10, patience)
	require.NoError(t, e.Shutdown(t.Context()))
	assert.ElementsMatch(t, upTo(10), numbers(t, main.Logs()))
	assert.ElementsMatch(t, upTo(10), numbers(t, others[0].Logs()), "each log once")
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

// unnumbered makes detections of one rule on one host by a tool that does not number its records: all have one log.record.uid.
func unnumbered(ns ...int) plog.Logs {
	ld := plog.NewLogs()
	for _, n := range ns {
		addRecord(ld, event.KindDetection, n).Attributes().PutStr(event.AttrRecordUID, event.RecordUID("host", "", 0, "rule"))
	}
	return ld
}

// without makes detections that have no log.record.uid.
func without(ns ...int) plog.Logs {
	ld := plog.NewLogs()
	for _, n := range ns {
		addRecord(ld, event.KindDetection, n)
	}
	return ld
}

// of changes all records of ld.
func of(ld plog.Logs, change func(plog.LogRecord)) plog.Logs {
	for _, r := range records(ld) {
		change(r.record)
	}
	return ld
}

// queue stands for the exporter of an endpoint: it takes what it is given, or refuses it.
type queue struct {
	exporter.Logs
	refuses bool
	took    []int
}

func (q *queue) ConsumeLogs(_ context.Context, ld plog.Logs) error {
	if q.refuses {
		return errors.New("sending queue is full")
	}
	for _, r := range records(ld) {
		var n int
		if _, err := fmt.Sscanf(r.record.Body().Str(), `{"title":"n","n":%d}`, &n); err != nil {
			return err
		}
		q.took = append(q.took, n)
	}
	return nil
}

// An additional endpoint takes a record that comes again as often as it had not before, and loses none.
func TestComesAgain(t *testing.T) {
	type offer struct {
		ld                        plog.Logs
		mainRefuses, otherRefuses bool
	}
	observed := func(lr plog.LogRecord) { lr.SetObservedTimestamp(42) }
	anotherHost := func() plog.Logs {
		ld := unnumbered(1)
		ld.ResourceLogs().At(0).Resource().Attributes().PutStr("host.name", "web-2")
		return ld
	}
	plainEvent := func(n int) plog.Logs {
		return of(single(n), func(lr plog.LogRecord) { lr.Attributes().PutStr(event.AttrRecordKind, event.KindEvent) })
	}
	for name, tt := range map[string]struct {
		offers      []offer
		main, other []int
	}{
		"the same batch": {[]offer{{single(1), true, false}, {single(1), true, false}, {single(1), false, false}}, []int{1}, []int{1}},
		"in another batch": {
			[]offer{{single(1), true, false}, {of(single(1), observed), false, false}}, []int{1}, []int{1},
		},
		"later ones with the same uid": {
			[]offer{{unnumbered(1), true, false}, {unnumbered(2), false, false}, {unnumbered(3, 4), false, false}},
			[]int{2, 3, 4},
			[]int{1, 2, 3, 4},
		},
		"the same uid, all again": {
			[]offer{{unnumbered(1, 2, 3), true, false}, {unnumbered(1, 2, 3), true, false}, {unnumbered(1, 2, 3), false, false}},
			[]int{1, 2, 3},
			[]int{1, 2, 3},
		},
		"equal records, once each": {
			[]offer{{unnumbered(1, 1), true, false}, {unnumbered(1, 1, 1), false, false}, {unnumbered(1), false, false}},
			[]int{1, 1, 1, 1},
			[]int{1, 1, 1, 1},
		},
		"an equal one of another host": {
			[]offer{{unnumbered(1), true, false}, {anotherHost(), false, false}}, []int{1}, []int{1, 1},
		},
		"an equal one at another time": {
			[]offer{{unnumbered(1), true, false}, {of(unnumbered(1), func(lr plog.LogRecord) { lr.SetTimestamp(1e15) }), false, false}},
			[]int{1},
			[]int{1, 1},
		},
		"a part of the batch, then the rest": {
			[]offer{{unnumbered(1, 2, 3, 4), true, false}, {unnumbered(2, 3), false, false}, {unnumbered(1, 4), false, false}, {unnumbered(1), false, false}},
			[]int{2, 3, 1, 4, 1},
			[]int{1, 2, 3, 4, 1},
		},
		"with others": {
			[]offer{{unnumbered(1, 2), true, false}, {unnumbered(5, 1, 6, 2), true, false}, {unnumbered(6, 5, 2, 1), false, false}},
			[]int{6, 5, 2, 1},
			[]int{1, 2, 5, 6},
		},
		"two batches": {
			[]offer{{unnumbered(1), true, false}, {unnumbered(2), true, false}, {unnumbered(1, 2), false, false}}, []int{1, 2}, []int{1, 2},
		},
		"refused by both": {
			[]offer{{unnumbered(1), true, true}, {unnumbered(1), true, false}, {unnumbered(1), false, false}}, []int{1}, []int{1},
		},
		"what came with it is refused by both": {
			[]offer{{unnumbered(1), true, false}, {unnumbered(1, 2), true, true}, {unnumbered(1, 2), false, false}}, []int{1, 2}, []int{1, 2},
		},
		"what came with it is lost there": { // as anything that only its queue refuses
			[]offer{{unnumbered(1), true, false}, {unnumbered(1, 2), false, true}, {unnumbered(1), false, false}}, []int{1, 2, 1}, []int{1, 1},
		},
		"without a uid": {[]offer{{without(1), true, false}, {without(1), false, false}}, []int{1}, []int{1, 1}},
		"not sent":      {[]offer{{plainEvent(1), true, false}, {plainEvent(1), false, false}}, []int{1}, []int{1, 1}}, // dropped behind the queue
	} {
		t.Run(name, func(t *testing.T) {
			main, other := &queue{}, &queue{}
			f := &fanOut{Logs: main, additional: []*additional{{Logs: other}}}
			for _, o := range tt.offers {
				o.ld.MarkReadOnly() // as the pipeline may
				main.refuses, other.refuses = o.mainRefuses, o.otherRefuses
				err := f.ConsumeLogs(t.Context(), o.ld)
				assert.Equal(t, o.mainRefuses, err != nil)
			}
			assert.Equal(t, tt.main, main.took)
			assert.Equal(t, tt.other, other.took)
		})
	}
}

// The endpoints differ in what they have taken.
func TestComesAgainToSeveral(t *testing.T) {
	main, others := &queue{refuses: true}, []*queue{{}, {refuses: true}}
	f := &fanOut{Logs: main, additional: []*additional{{Logs: others[0]}, {Logs: others[1]}}}
	require.Error(t, f.ConsumeLogs(t.Context(), unnumbered(1, 2)))
	main.refuses, others[1].refuses = false, false
	require.NoError(t, f.ConsumeLogs(t.Context(), unnumbered(1, 2)))
	for _, q := range append(others, main) {
		assert.Equal(t, []int{1, 2}, q.took)
	}
}

func TestRecordCounts(t *testing.T) {
	f := new(fanOut)
	var c recordCounts
	left := func(ld plog.Logs) int {
		own := plog.NewLogs()
		ld.CopyTo(own)
		taken := c.takeOut(own, func() []recordKey { return f.keys(ld) })
		assert.Equal(t, ld.LogRecordCount(), own.LogRecordCount()+len(taken))
		return own.LogRecordCount()
	}
	add := func(ld plog.Logs) { c.add(f.keys(ld)) }
	ns := make([]int, maxAhead)
	for i := range ns {
		ns[i] = i
	}
	all := unnumbered(ns...)
	assert.Equal(t, maxAhead, left(all))
	add(all)
	assert.Zero(t, left(all))
	assert.Equal(t, maxAhead, left(all), "once each")
	assert.Zero(t, c.size)
	for range 3 { // a pipeline that tries again fills nothing up
		add(all)
		assert.Zero(t, left(all))
	}
	assert.Empty(t, c.newer)
	assert.Empty(t, c.older)

	// It is full: the oldest are forgotten, and those from before them are still known.
	add(all)
	add(single(0))
	assert.Zero(t, left(unnumbered(0)))
	add(unnumbered(0))
	add(single(0))
	add(single(0))
	assert.Equal(t, 4, c.size)
	for i := range maxAhead - 4 {
		add(single(i + 1))
	}
	assert.Equal(t, maxAhead, c.size)
	assert.Len(t, c.older, maxAhead-1)
	add(single(maxAhead))
	assert.Equal(t, 1, left(unnumbered(1)))
	assert.Zero(t, left(unnumbered(0)), "came again later")
	for range 3 {
		assert.Zero(t, left(single(0)))
	}
	assert.Equal(t, 1, left(single(0)))
}

// Keys are made only for an endpoint that is ahead.
func BenchmarkFanOut(b *testing.B) {
	f := &fanOut{Logs: &refusing{}, additional: []*additional{{Logs: &refusing{}}}}
	ld := benchLogs(1000)
	for i, r := range records(ld) {
		r.record.Attributes().PutStr(event.AttrRecordUID, fmt.Sprint(i))
	}
	for _, refused := range []bool{false, true} {
		b.Run(fmt.Sprintf("refused=%v", refused), func(b *testing.B) {
			f.Logs.(*refusing).all = refused
			for b.Loop() {
				_ = f.ConsumeLogs(b.Context(), ld)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
		})
	}
}

type refusing struct {
	exporter.Logs
	all bool
}

func (r *refusing) ConsumeLogs(context.Context, plog.Logs) error {
	if r.all {
		return errors.New("sending queue is full")
	}
	return nil
}
