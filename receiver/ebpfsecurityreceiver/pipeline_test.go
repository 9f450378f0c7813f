// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/metadatatest"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// records returns the log records of all batches.
func records(all []plog.Logs) (lrs []plog.LogRecord) {
	for _, logs := range all {
		for _, rl := range logs.ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for _, lr := range sl.LogRecords().All() {
					lrs = append(lrs, lr)
				}
			}
		}
	}
	return lrs
}

func batchSizes(all []plog.Logs) (sizes []int) {
	for _, logs := range all {
		sizes = append(sizes, logs.LogRecordCount())
	}
	return sizes
}

func attr(t *testing.T, lr plog.LogRecord, key string) any {
	t.Helper()
	v, ok := lr.Attributes().Get(key)
	require.True(t, ok, "no attribute %s", key)
	return v.AsRaw()
}

// lossBody is the body of a picket.events_lost record.
type lossBody struct {
	Title string `json:"title"`
	Agent struct {
		RuleID string `json:"rule_id"`
		Origin string `json:"origin"`
	} `json:"agent"`
	Evt struct {
		Name string `json:"name"`
	} `json:"evt"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	Duration int64     `json:"duration_ns"`
	Lost     []lossRow `json:"lost_events"`
	Restart  *struct {
		LastSequence uint64 `json:"last_sequence"`
		Clean        bool   `json:"clean"`
	} `json:"restart"`
}

// reports returns the bodies of the reports, each of which must be a whole record of its kind.
func reports(t *testing.T, all []plog.Logs) (bodies []lossBody) {
	t.Helper()
	for _, lr := range records(all) {
		if attr(t, lr, event.AttrRecordKind) != event.KindReport {
			continue
		}
		assert.Equal(t, event.RecordEventsLost, lr.EventName())
		var b lossBody
		require.NoError(t, json.Unmarshal([]byte(lr.Body().Str()), &b))
		title := "Events were lost"
		if b.Restart != nil {
			title = "Nothing was watched between two runs"
		}
		assert.Equal(t, title, b.Title)
		assert.Equal(t, "lost_events", b.Agent.RuleID)
		assert.Equal(t, "ebpf", b.Agent.Origin)
		assert.Equal(t, "custom_event", b.Evt.Name)
		from, err := time.Parse(time.RFC3339Nano, b.From)
		require.NoError(t, err)
		to, err := time.Parse(time.RFC3339Nano, b.To)
		require.NoError(t, err)
		assert.Equal(t, b.Duration, to.Sub(from).Nanoseconds())
		assert.Equal(t, to.UnixNano(), int64(lr.Timestamp()))
		bodies = append(bodies, b)
	}
	return bodies
}

// points are data points of a metric by event type and reason.
func points(n int64, labels ...string) metricdata.DataPoint[int64] {
	kv := make([]attribute.KeyValue, 0, 2)
	for i, key := range []string{"event.type", "reason"} {
		if i < len(labels) {
			kv = append(kv, attribute.String(key, labels[i]))
		}
	}
	return metricdata.DataPoint[int64]{Value: n, Attributes: attribute.NewSet(kv...)}
}

// byType are the data points of a metric that has one for every event type, whatever its value.
func byType(counts map[string]int64, withAll bool) (dps []metricdata.DataPoint[int64]) {
	for _, ti := range event.Types[1:] {
		dps = append(dps, points(counts[ti.Name], ti.Name))
	}
	if withAll {
		dps = append(dps, points(counts[anyType], anyType))
	}
	return dps
}

func (f *fixture) dropped(t *testing.T, more ...metricdata.DataPoint[int64]) {
	t.Helper()
	dps := more
	for _, why := range dropNames {
		found := false
		for _, dp := range more {
			typ, _ := dp.Attributes.Value("event.type")
			reason, _ := dp.Attributes.Value("reason")
			found = found || typ.AsString() == anyType && reason.AsString() == why
		}
		if !found {
			dps = append(dps, points(0, anyType, why))
		}
	}
	metadatatest.AssertEqualReceiverEbpfSecurityEventsDropped(t, f.tel, dps, metricdatatest.IgnoreTimestamp())
}

func (f *fixture) emitted(t *testing.T, counts map[string]int64) {
	t.Helper()
	metadatatest.AssertEqualReceiverEbpfSecurityEventsEmitted(t, f.tel, byType(counts, true), metricdatatest.IgnoreTimestamp())
}

// From the bytes of the kernel side to log records, with everything that they must have.
func TestRecordsOfOneBatch(t *testing.T) {
	sink := new(consumertest.LogsSink)
	f := newFixture(t, sink, nil)
	f.set.BuildInfo.Version = "1.2.3"
	f.start(t)
	before := f.seq
	f.fake.push(t, [][]byte{shExec(t), hostnameOpen(t), selfExit(t)})
	host := f.securityReceiver.host
	processes := f.conv.tree.Stats().Processes
	metadatatest.AssertEqualReceiverEbpfSecurityEventsRead(t, f.tel, byType(map[string]int64{"exec": 1, "open": 1, "exit": 1}, false), metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualReceiverEbpfSecurityRingSize(t, f.tel, []metricdata.DataPoint[int64]{{Value: 1 << 20}}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualReceiverEbpfSecurityRingUsed(t, f.tel, []metricdata.DataPoint[int64]{{Value: 4096}}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualReceiverEbpfSecurityProcesses(t, f.tel, []metricdata.DataPoint[int64]{{Value: int64(processes)}}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualReceiverEbpfSecurityProcessesEvicted(t, f.tel, []metricdata.DataPoint[int64]{{}}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualReceiverEbpfSecurityProcessesUnknown(t, f.tel, []metricdata.DataPoint[int64]{{}}, metricdatatest.IgnoreTimestamp())
	f.stop(t)

	require.Len(t, sink.AllLogs(), 1)
	logs := sink.AllLogs()[0]
	require.Equal(t, 1, logs.ResourceLogs().Len())
	rl := logs.ResourceLogs().At(0)
	assert.Equal(t, event.SchemaURL, rl.SchemaUrl())
	assert.Equal(t, host, event.HostFromResource(rl.Resource()))
	for key, want := range map[string]string{
		"host.id": "host-1", event.AttrHostIDSource: "config", "host.arch": runtime.GOARCH, "os.type": "linux",
	} {
		v, _ := rl.Resource().Attributes().Get(key)
		assert.Equal(t, want, v.AsString(), key)
	}
	require.Equal(t, 1, rl.ScopeLogs().Len())
	scope := rl.ScopeLogs().At(0)
	assert.Equal(t, event.SchemaURL, scope.SchemaUrl())
	assert.Equal(t, "github.com/picketsec/picket/receiver/ebpfsecurityreceiver", scope.Scope().Name())
	assert.Equal(t, "1.2.3", scope.Scope().Version())

	lrs := records(sink.AllLogs())
	require.Len(t, lrs, 3)
	names := []string{"process.exec", "file.open", "process.exit"}
	types := []event.Type{event.TypeExec, event.TypeOpen, event.TypeExit}
	var d event.Decoder
	for i, lr := range lrs {
		seq := before + uint64(i) + 1
		assert.Equal(t, names[i], lr.EventName())
		assert.Equal(t, plog.SeverityNumberInfo, lr.SeverityNumber())
		assert.Equal(t, int64(event.ContractVersion), attr(t, lr, event.AttrContractVersion))
		assert.Equal(t, event.KindEvent, attr(t, lr, event.AttrRecordKind))
		assert.Equal(t, int64(seq), attr(t, lr, event.AttrSequence))
		assert.Equal(t, event.RecordUID("host-1", host.BootID, seq, ""), attr(t, lr, event.AttrRecordUID))
		assert.Equal(t, int64(os.Getpid()), attr(t, lr, event.AttrProcessPID))
		assert.Equal(t, f.clock.Wall(bootTime), event.Time(lr.Timestamp()))
		assert.InDelta(t, time.Now().UnixNano(), int64(lr.ObservedTimestamp()), float64(time.Minute))

		var ev event.Event
		require.NoError(t, d.DecodeRecord(lr, event.NeedAll, &ev))
		assert.Equal(t, types[i], ev.Type)
		assert.Equal(t, "/usr/bin/sh", ev.Process.Executable.Path)
		assert.Equal(t, []string{"-c", "id"}, ev.Process.Args)
		assert.Equal(t, uint64(selfID), ev.Facts.ProcessID)
	}
	var open, exit event.Event
	require.NoError(t, d.DecodeRecord(lrs[1], event.NeedAll, &open))
	assert.Equal(t, "/etc/hostname", open.File.Path)
	assert.Equal(t, event.OutcomeSuccess, open.Evt.Outcome)
	require.NoError(t, d.DecodeRecord(lrs[2], event.NeedAll, &exit))
	assert.Equal(t, event.ExitEvent{Cause: event.CauseExited, Code: 7}, *exit.Exit)
}

// What was in the ring buffer when the receiver detached is sent, too.
func TestShutdownDrains(t *testing.T) {
	sink := new(consumertest.LogsSink)
	f := newFixture(t, sink, nil)
	f.start(t)
	f.fake.left = [][]byte{shExec(t), hostnameOpen(t)}
	f.stop(t)
	assert.Equal(t, []int{2}, batchSizes(sink.AllLogs()))
	assert.Equal(t, 1, f.fake.detached)
}

func TestBatchByCount(t *testing.T) {
	sink := new(consumertest.LogsSink)
	f := newFixture(t, sink, func(c *Config) { c.Batch.MaxRecords = 3 })
	f.start(t)
	f.fake.push(t, [][]byte{shExec(t), hostnameOpen(t), hostnameOpen(t), hostnameOpen(t), hostnameOpen(t), hostnameOpen(t), hostnameOpen(t)})
	require.Eventually(t, func() bool { return len(sink.AllLogs()) == 2 }, 10*time.Second, time.Millisecond)
	f.stop(t)
	assert.Equal(t, []int{3, 3, 1}, batchSizes(sink.AllLogs()))
}

func TestBatchByTime(t *testing.T) {
	sink := new(consumertest.LogsSink)
	f := newFixture(t, sink, func(c *Config) { c.Batch.Timeout = 5 * time.Millisecond })
	f.start(t)
	f.fake.push(t, [][]byte{shExec(t), hostnameOpen(t)})
	require.Eventually(t, func() bool { return sink.LogRecordCount() == 2 }, 10*time.Second, time.Millisecond)
	f.stop(t)
	assert.Equal(t, []int{2}, batchSizes(sink.AllLogs()))
}

// The process tree needs types that are switched off; they make no records, and no holes in the sequence.
func TestTypesThatAreOff(t *testing.T) {
	sink := new(consumertest.LogsSink)
	f := newFixture(t, sink, func(c *Config) {
		off := false
		c.Events = map[string]EventConfig{"exec": {Enabled: &off}, "exit": {Enabled: &off}}
	})
	f.start(t)
	before := f.seq
	f.fake.push(t, [][]byte{shExec(t), hostnameOpen(t), selfExit(t), hostnameOpen(t)})
	f.stop(t)
	lrs := records(sink.AllLogs())
	require.Len(t, lrs, 2)
	for i, lr := range lrs {
		assert.Equal(t, "file.open", lr.EventName())
		assert.Equal(t, int64(before)+int64(i)+1, attr(t, lr, event.AttrSequence))
		assert.Equal(t, "/usr/bin/sh", attr(t, lr, event.AttrProcessExePath))
	}
}

// A record that makes no sense is counted, and the next one is read.
func TestMalformedRecords(t *testing.T) {
	sink := new(consumertest.LogsSink)
	f := newFixture(t, sink, nil)
	f.start(t)
	bad := hostnameOpen(t)
	bad[4] = 200 // no such type
	f.fake.push(t, [][]byte{shExec(t), bad, bad[:16], hostnameOpen(t)})
	f.dropped(t, points(2, anyType, "malformed"))
	f.stop(t)
	assert.Equal(t, 3, sink.LogRecordCount(), "with the report")
	got := reports(t, sink.AllLogs())
	require.Len(t, got, 1)
	assert.Equal(t, []lossRow{{anyType, "malformed", 2}}, got[0].Lost)
}

// A pipeline that does not keep up costs records, never time of the kernel.
func TestSlowPipeline(t *testing.T) {
	next := newHangingConsumer()
	f := newFixture(t, next, func(c *Config) { c.Batch.MaxRecords = 1; c.Batch.QueueSize = 1 })
	f.start(t)
	f.fake.push(t, [][]byte{shExec(t)})
	<-next.entered // the first one is with the pipeline
	f.fake.push(t, [][]byte{hostnameOpen(t), hostnameOpen(t), hostnameOpen(t), hostnameOpen(t), selfExit(t)})
	f.dropped(t, points(3, "open", "queue_full"), points(1, "exit", "queue_full"))
	close(next.release)
	require.Eventually(t, func() bool { return f.count.emitted[event.TypeOpen].Load() == 1 }, 10*time.Second, time.Millisecond)
	f.emitted(t, map[string]int64{"exec": 1, "open": 1})
	f.stop(t)

	lrs := records(next.AllLogs())
	require.Len(t, lrs, 3)
	assert.Equal(t, "process.exec", lrs[0].EventName())
	assert.Equal(t, "file.open", lrs[1].EventName())
	first, last := attr(t, lrs[0], event.AttrSequence).(int64), attr(t, lrs[2], event.AttrSequence).(int64)
	assert.Equal(t, first+6, last, "dropped records leave a hole in the sequence")
	got := reports(t, next.AllLogs())
	require.Len(t, got, 1)
	assert.ElementsMatch(t, []lossRow{{"open", "queue_full", 3}, {"exit", "queue_full", 1}}, got[0].Lost)
}

// refusingConsumer returns the errors of its list, then none.
type refusingConsumer struct {
	consumertest.LogsSink

	mu    sync.Mutex
	errs  []error
	calls int
}

func (c *refusingConsumer) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if len(c.errs) > 0 {
		err := c.errs[0]
		c.errs = c.errs[1:]
		return err
	}
	return c.LogsSink.ConsumeLogs(ctx, logs)
}

func (c *refusingConsumer) called() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

func (*refusingConsumer) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func TestRefusingPipeline(t *testing.T) {
	refused := errors.New("queue is full")
	for name, tt := range map[string]struct {
		errs  []error
		calls int // for the first batch
		lost  bool
	}{
		"once":        {errs: []error{refused}, calls: 2},
		"almost":      {errs: []error{refused, refused, refused}, calls: 4},
		"always":      {errs: []error{refused, refused, refused, refused}, calls: 4, lost: true},
		"permanently": {errs: []error{consumererror.NewPermanent(refused)}, calls: 1, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			next := &refusingConsumer{errs: tt.errs}
			f := newFixture(t, next, func(c *Config) { c.Batch.MaxRecords = 2 })
			f.start(t)
			f.fake.push(t, [][]byte{shExec(t), hostnameOpen(t)})
			require.Eventually(t, func() bool {
				return f.count.emitted[event.TypeOpen].Load()+f.count.dropped[event.TypeOpen][dropRefused].Load() == 1
			}, 10*time.Second, time.Millisecond)
			assert.Equal(t, tt.calls, next.called())
			if tt.lost {
				f.dropped(t, points(1, "exec", "refused"), points(1, "open", "refused"))
				f.emitted(t, nil)
			} else {
				f.dropped(t)
				f.emitted(t, map[string]int64{"exec": 1, "open": 1})
			}
			f.stop(t)
			got := reports(t, next.AllLogs())
			if tt.lost {
				require.Len(t, got, 1)
				assert.ElementsMatch(t, []lossRow{{"exec", "refused", 1}, {"open", "refused", 1}}, got[0].Lost)
				return
			}
			assert.Empty(t, got)
			assert.Equal(t, []int{2}, batchSizes(next.AllLogs()))
		})
	}
}

// While the receiver stops, a batch is tried once: a queue of many must not hold up the Collector.
func TestShutdownWithRefusingPipeline(t *testing.T) {
	refused := errors.New("no")
	next := &refusingConsumer{errs: []error{refused, refused, refused, refused, refused, refused, refused, refused, refused, refused}}
	f := newFixture(t, next, func(c *Config) { c.Batch.MaxRecords = 1 })
	f.start(t)
	f.fake.left = [][]byte{shExec(t), hostnameOpen(t), hostnameOpen(t), hostnameOpen(t)}
	f.stop(t)
	assert.Equal(t, int64(1), f.count.dropped[event.TypeExec][dropRefused].Load())
	assert.Equal(t, int64(3), f.count.dropped[event.TypeOpen][dropRefused].Load())
	report := f.count.dropped[event.TypeAny][dropRefused].Load() // 1 if the first was refused in time to be reported
	assert.Equal(t, 4+int(report), next.called())
}

// What the kernel side counts is in the metrics after a second, and in one report.
func TestLosses(t *testing.T) {
	sink := new(consumertest.LogsSink)
	f := newFixture(t, sink, nil)
	f.start(t)
	var l sensor.Losses
	l.Count[event.TypeOpen][bpf.SyscallPkLossPK_LOST_RING_FULL] = 3
	l.Count[event.TypeExec][bpf.SyscallPkLossPK_LOST_SCRATCH] = 1
	l.Count[event.TypeChmod][bpf.NoteStateFull] = 5 // nothing lost
	l.Recursion = 2
	f.fake.lose(l)
	require.Eventually(t, func() bool { return f.count.recursion.Load() == 2 }, 10*time.Second, time.Millisecond)
	metadatatest.AssertEqualReceiverEbpfSecurityEventsLost(t, f.tel, []metricdata.DataPoint[int64]{
		points(3, "open", "ring_full"), points(1, "exec", "scratch_busy"), points(2, anyType, "recursion"),
	}, metricdatatest.IgnoreTimestamp())

	l.Count[event.TypeOpen][bpf.SyscallPkLossPK_LOST_RING_FULL] = 10
	l.Count[event.TypeOpen][bpf.SyscallPkLossPK_LOST_RESERVED] = 4
	l.Count[event.TypeFork][bpf.SyscallPkLossPK_LOST_SCOPE_FULL] = 1
	f.fake.lose(l)
	f.stop(t)
	got := reports(t, sink.AllLogs())
	require.Len(t, got, 1)
	assert.Nil(t, got[0].Restart)
	assert.ElementsMatch(t, []lossRow{
		{"open", "ring_full", 10}, {"open", "ring_reserved", 4}, {"exec", "scratch_busy", 1}, {"fork", "scope_full", 1}, {anyType, "recursion", 2},
	}, got[0].Lost)
	assert.Equal(t, int64(10), f.count.lost[event.TypeOpen][bpf.SyscallPkLossPK_LOST_RING_FULL].Load())
}

// What a descendant of a process tree does before it is found is not seen, so a restart is over with the last of them.
func TestRestartWithDescendants(t *testing.T) {
	store := &memStorage{data: map[string][]byte{}}
	self := uint32(os.Getpid())
	var found time.Time
	var logs []plog.Logs
	for range 2 {
		sink := new(consumertest.LogsSink)
		f := withStore(t, sink, store, func(c *Config) { c.Scope.ProcessTrees = []int{int(self)} })
		f.fake.processes = [][]byte{snapshotOf(t, self, 1), snapshotOf(t, self+1, self)}
		f.start(t)
		f.stop(t)
		logs, found = sink.AllLogs(), f.fake.found
	}
	got := reports(t, logs)
	require.Len(t, got, 1)
	to, err := time.Parse(time.RFC3339Nano, got[0].To)
	require.NoError(t, err)
	assert.False(t, to.Before(found), "%s, and the last was found at %s", to, found)
}

// With storage, the receiver after this one knows where it ended.
func TestRestart(t *testing.T) {
	store := &memStorage{data: map[string][]byte{}}
	run := func(push ...[]byte) ([]plog.Logs, *fixture) {
		sink := new(consumertest.LogsSink)
		f := withStore(t, sink, store, nil)
		f.start(t)
		f.fake.push(t, push)
		f.stop(t)
		assert.Zero(t, store.clients())
		return sink.AllLogs(), f
	}
	saved := func() state { return store.state(t) }

	logs, f := run(shExec(t), hostnameOpen(t))
	assert.Empty(t, reports(t, logs), "the first run misses nothing")
	st := saved()
	assert.Equal(t, state{BootID: f.securityReceiver.host.BootID, Sequence: uint64(attr(t, records(logs)[1], event.AttrSequence).(int64)), Time: st.Time, Clean: true}, st)
	assert.InDelta(t, time.Now().UnixNano(), int64(st.Time), float64(time.Minute))

	t.Run("clean", func(t *testing.T) {
		last := saved()
		logs, _ := run(shExec(t))
		lrs := records(logs)
		require.Len(t, lrs, 2)
		assert.Equal(t, int64(last.Sequence)+1, attr(t, lrs[0], event.AttrSequence))
		assert.Equal(t, int64(last.Sequence)+2, attr(t, lrs[1], event.AttrSequence))
		got := reports(t, logs)
		require.Len(t, got, 1)
		require.NotNil(t, got[0].Restart)
		assert.Equal(t, last.Sequence, got[0].Restart.LastSequence)
		assert.True(t, got[0].Restart.Clean)
		assert.Equal(t, rfc3339(last.Time), got[0].From)
		assert.Empty(t, got[0].Lost)
		assert.Equal(t, last.Sequence+2, saved().Sequence)
	})
	t.Run("after a crash", func(t *testing.T) {
		last := saved()
		last.Clean = false
		data, err := json.Marshal(last)
		require.NoError(t, err)
		store.put(stateAt, string(data))
		logs, _ := run(shExec(t))
		lrs := records(logs)
		require.Len(t, lrs, 2)
		got := reports(t, logs)
		require.Len(t, got, 1)
		require.NotNil(t, got[0].Restart)
		assert.Equal(t, last.Sequence, got[0].Restart.LastSequence)
		assert.False(t, got[0].Restart.Clean)
		assert.Greater(t, attr(t, lrs[0], event.AttrSequence), int64(last.Sequence)+1, "no number is given twice")
		assert.Equal(t, attr(t, lrs[0], event.AttrSequence).(int64)+1, attr(t, lrs[1], event.AttrSequence))
	})
	t.Run("after a reboot", func(t *testing.T) {
		last := saved()
		last.BootID = "another"
		data, err := json.Marshal(last)
		require.NoError(t, err)
		store.put(stateAt, string(data))
		logs, f := run(shExec(t))
		assert.Empty(t, reports(t, logs))
		assert.Equal(t, f.securityReceiver.host.BootID, saved().BootID)
	})
	t.Run("spoiled state", func(t *testing.T) {
		store.put(stateAt, "{")
		logs, _ := run(shExec(t))
		assert.Len(t, records(logs), 1)
		assert.True(t, saved().Clean)
	})
}

// withStore makes a receiver that keeps its state in a storage.
func withStore(t *testing.T, next consumer.Logs, store *memStorage, change func(*Config)) *fixture {
	t.Helper()
	f := newFixture(t, next, func(c *Config) {
		c.Storage = &storageID
		if change != nil {
			change(c)
		}
	})
	f.host.extensions = map[component.ID]component.Component{storageID: store}
	return f
}

// crashReport runs a receiver on the storage of one that was killed, and returns what it says of the time in between.
func crashReport(t *testing.T, left *memStorage) lossBody {
	t.Helper()
	sink := new(consumertest.LogsSink)
	f := withStore(t, sink, left, nil)
	f.start(t)
	f.stop(t)
	got := reports(t, sink.AllLogs())
	require.Len(t, got, 1)
	require.NotNil(t, got[0].Restart)
	assert.False(t, got[0].Restart.Clean)
	return got[0]
}

// Every second it is stored how far the pipeline is, so that after a crash the gap is known to the second.
func TestCheckpoint(t *testing.T) {
	t.Parallel()
	store := &memStorage{data: map[string][]byte{}}
	f := withStore(t, consumertest.NewNop(), store, func(c *Config) { c.Batch.MaxRecords = 1 })
	f.start(t)
	defer f.stop(t)
	before := store.state(t).Sequence
	f.fake.push(t, [][]byte{shExec(t)})
	pushed := event.Time(time.Now().UnixNano())
	st := store.next(t)
	assert.Equal(t, before+1, st.Sequence)
	assert.False(t, st.Clean)
	assert.Greater(t, st.Time, pushed, "nothing happens, and this is delivered too")
}

// A receiver that is killed before it has stored anything else has stored that it was there, and from where it has used numbers.
func TestCrashAtOnce(t *testing.T) {
	t.Parallel()
	store := &memStorage{data: map[string][]byte{}}
	f := withStore(t, consumertest.NewNop(), store, nil)
	f.start(t)
	first := store.state(t)
	killed := store.crashed()
	f.stop(t)
	assert.Equal(t, state{BootID: first.BootID, Sequence: first.Sequence, Time: first.Time}, first)
	got := crashReport(t, killed)
	assert.Equal(t, rfc3339(first.Time), got.From)
	assert.Equal(t, first.Sequence, got.Restart.LastSequence)

	// The second after a clean end, before its report on the time in between is delivered.
	clean := store.state(t)
	assert.True(t, clean.Clean)
	f = withStore(t, consumertest.NewNop(), store, nil)
	f.start(t)
	store.next(t)
	killed = store.crashed()
	f.stop(t)
	got = crashReport(t, killed)
	assert.Equal(t, rfc3339(clean.Time), got.From)
	assert.Equal(t, clean.Sequence, got.Restart.LastSequence)
	assert.Greater(t, killed.state(t).Sequence, clean.Sequence+1, "numbers that the second has given are not given again")
}

// What the pipeline has not taken yet is not reached.
func TestCheckpointOfWhatIsDelivered(t *testing.T) {
	t.Parallel()
	store := &memStorage{data: map[string][]byte{}}
	next := newHangingConsumer()
	f := withStore(t, next, store, func(c *Config) { c.Batch.MaxRecords = 2 })
	f.start(t)
	first := store.state(t)
	f.fake.push(t, [][]byte{shExec(t), hostnameOpen(t), hostnameOpen(t)})
	<-next.entered // two are with the pipeline, which does not say that it has them, and one is not
	assert.Equal(t, first, store.next(t))
	killed := store.crashed()
	close(next.release)
	st := store.next(t)
	assert.Equal(t, first.Sequence+2, st.Sequence)
	assert.GreaterOrEqual(t, st.Time, first.Time)
	f.fake.push(t, [][]byte{selfExit(t)})
	assert.Equal(t, first.Sequence+4, store.next(t).Sequence)
	f.stop(t)
	got := crashReport(t, killed)
	assert.Equal(t, rfc3339(first.Time), got.From)
	assert.Equal(t, first.Sequence, got.Restart.LastSequence)
}

// A report that the pipeline refuses is said again in the next one.
func TestRefusedReport(t *testing.T) {
	t.Parallel()
	store := &memStorage{data: map[string][]byte{}}
	f := withStore(t, consumertest.NewNop(), store, nil)
	f.start(t)
	f.stop(t)
	last := store.state(t)
	next := &refusingConsumer{errs: []error{consumererror.NewPermanent(errors.New("no"))}}
	f = withStore(t, next, store, func(c *Config) { c.Batch.MaxRecords = 2 })
	f.start(t)
	f.fake.push(t, [][]byte{shExec(t)}) // the second, after the report
	require.Eventually(t, func() bool { return f.count.dropped[event.TypeExec][dropRefused].Load() == 1 }, 10*time.Second, time.Millisecond)
	f.stop(t)
	got := reports(t, next.AllLogs())
	require.Len(t, got, 1)
	assert.Equal(t, rfc3339(last.Time), got[0].From)
	require.NotNil(t, got[0].Restart)
	assert.Equal(t, last.Sequence, got[0].Restart.LastSequence)
	assert.ElementsMatch(t, []lossRow{{"exec", "refused", 1}, {anyType, "refused", 1}}, got[0].Lost)
	assert.Greater(t, store.state(t).Time, last.Time)
}

// Losses of which there is no report yet are not reached either, nor those whose report was not delivered.
func TestCheckpointOfLosses(t *testing.T) {
	t.Parallel()
	lose := func(f *fixture) {
		var l sensor.Losses
		l.Recursion = 2
		f.fake.lose(l)
		require.Eventually(t, func() bool { return f.count.recursion.Load() == 2 }, 10*time.Second, time.Millisecond)
	}
	t.Run("of the kernel side", func(t *testing.T) {
		t.Parallel()
		store := &memStorage{data: map[string][]byte{}}
		f := withStore(t, consumertest.NewNop(), store, nil)
		f.start(t)
		first := store.state(t)
		lose(f)
		assert.Equal(t, first.Time, store.next(t).Time)
		f.stop(t)
		assert.Greater(t, store.state(t).Time, first.Time, "reported")
	})
	t.Run("refused at the end", func(t *testing.T) {
		t.Parallel()
		store := &memStorage{data: map[string][]byte{}}
		f := withStore(t, consumertest.NewErr(errors.New("no")), store, nil)
		f.start(t)
		first := store.state(t)
		f.fake.push(t, [][]byte{shExec(t)})
		f.stop(t)
		assert.Equal(t, state{BootID: first.BootID, Sequence: first.Sequence + 1, Time: first.Time, Clean: true}, store.state(t))
	})
	t.Run("whose report was refused at the end", func(t *testing.T) {
		t.Parallel()
		store := &memStorage{data: map[string][]byte{}}
		f := withStore(t, consumertest.NewErr(errors.New("no")), store, nil)
		f.start(t)
		first := store.state(t)
		lose(f)
		f.stop(t)
		st := store.state(t)
		assert.True(t, st.Clean)
		assert.Equal(t, first.Time, st.Time)
	})
}

// Of a kernel side that can be read no longer nothing is known: the next run reports the time since then as not watched.
func TestStateAfterReadError(t *testing.T) {
	t.Parallel()
	store := &memStorage{data: map[string][]byte{}}
	f := withStore(t, consumertest.NewNop(), store, nil)
	f.start(t)
	first := store.state(t)
	f.fake.push(t, errors.New("gone"))
	f.stop(t)
	st := store.state(t)
	assert.False(t, st.Clean)
	assert.InDelta(t, int64(first.Time), int64(st.Time), float64(2*time.Second))
}
