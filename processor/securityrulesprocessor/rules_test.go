// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/policy"
	"github.com/picketsec/picket/processor/securityrulesprocessor/internal/metadata"
	"github.com/picketsec/picket/processor/securityrulesprocessor/internal/metadatatest"
)

const testPolicy = `
version: 1.2.3
rules:
  - id: shadow
    version: "4"
    description: The password hashes were opened
    group_id: credentials
    expression: open.file.path == "/etc/shadow"
    tags: {severity: high, technique: T1003.008}
  - id: any_etc
    expression: open.file.path =~ "/etc/*"
    tags: {severity: low}
  - id: once
    expression: open.file.path == "/once"
    every: 1m
  - id: per_user
    expression: open.file.path == "/per_user"
    every: 1m
    limiter_token: [process.uid]
  - id: quiet
    expression: open.file.path == "/silent"
    silent: true
    actions:
      - set: {name: seen, value: true, scope: process}
  - id: after_quiet
    expression: open.file.path == "/after" && ${process.seen}
  - id: nc
    expression: exec.file.name == "nc"
`

var testID = event.Host{ID: "host-1", Name: "web", Arch: "amd64", OSType: "linux", BootID: "boot"}

const testTime = event.Time(1_700_000_000_000_000_000)

// flat makes an event at testTime + at.
func flat(tb testing.TB, at time.Duration, text string) *event.Event {
	tb.Helper()
	e, err := event.ParseFlatEvent([]byte(text))
	require.NoError(tb, err, text)
	e.Date = testTime + event.Time(at)
	e.Facts.Sequence = uint64(at)
	e.Facts.ProcessID = 77
	return e
}

func open(tb testing.TB, at time.Duration, path string) *event.Event {
	tb.Helper()
	return flat(tb, at, fmt.Sprintf(`{"type":"open","open.file.path":%q,"process.pid":5,"process.uid":1}`, path))
}

// batch makes logs of one resource and scope.
func batch(events ...*event.Event) plog.Logs {
	ld := plog.NewLogs()
	addEvents(ld, &testID, events...)
	return ld
}

func addEvents(ld plog.Logs, host *event.Host, events ...*event.Event) plog.LogRecordSlice {
	rl := ld.ResourceLogs().AppendEmpty()
	host.ToResource(rl.Resource())
	rl.SetSchemaUrl("resource-schema")
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName("receiver")
	sl.SetSchemaUrl("scope-schema")
	for _, e := range events {
		event.EncodeRecord(e, host, sl.LogRecords().AppendEmpty())
	}
	return sl.LogRecords()
}

// failed makes the event of a call that failed.
func failed(e *event.Event, errno int64) *event.Event {
	e.Facts.Retval = -errno
	e.Evt.Outcome = event.OutcomeOf(e.Type, -errno)
	return e
}

// pipeline is a processor under test.
type pipeline struct {
	processor.Logs
	sink  *consumertest.LogsSink
	store *policy.Store
	path  string // of the policy
	tel   *componenttest.Telemetry
	logs  *observer.ObservedLogs

	refusal atomic.Pointer[error] // what the next component says of batches. The reporter sends to it, too, at any time
}

// refuse makes the next component return an error for batches; nil for none.
func (p *pipeline) refuse(err error) { p.refusal.Store(&err) }

func newPipeline(tb testing.TB, noMatch NoMatch, source string, options ...func(*Config)) *pipeline {
	tb.Helper()
	p := &pipeline{sink: &consumertest.LogsSink{}, path: filepath.Join(tb.TempDir(), "test.policy"), tel: componenttest.NewTelemetry()}
	require.NoError(tb, os.WriteFile(p.path, []byte(source), 0o600))
	p.store = policy.NewStore([]string{p.path}, policy.Options{}, policy.OnRuleErrorLoad)
	set := processortest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = p.tel.NewTelemetrySettings()
	core, logs := observer.New(zap.WarnLevel)
	set.Logger, p.logs = zap.New(core), logs
	cfg := createDefaultConfig().(*Config)
	cfg.Policies, cfg.OnNoMatch = component.MustNewID("security_policies"), noMatch
	for _, option := range options {
		option(cfg)
	}
	next, err := consumer.NewLogs(func(ctx context.Context, ld plog.Logs) error {
		if err := p.refusal.Load(); err != nil && *err != nil && !isReport(ld) {
			return *err
		}
		return p.sink.ConsumeLogs(ctx, ld)
	})
	require.NoError(tb, err)
	p.Logs, err = NewFactory().CreateLogs(context.Background(), set, cfg, next)
	require.NoError(tb, err)
	require.NoError(tb, p.Start(context.Background(), storeHost(tb, p.store)))
	tb.Cleanup(func() {
		assert.NoError(tb, p.Shutdown(context.Background()))
		assert.NoError(tb, p.tel.Shutdown(context.Background()))
	})
	return p
}

// consume runs a batch and gives what came out, without reports on loads.
func (p *pipeline) consume(tb testing.TB, ld plog.Logs) []plog.Logs {
	tb.Helper()
	before := len(p.batches())
	require.NoError(tb, p.ConsumeLogs(context.Background(), ld))
	return p.batches()[before:]
}

func (p *pipeline) batches() []plog.Logs {
	var out []plog.Logs
	for _, ld := range p.sink.AllLogs() {
		if !isReport(ld) {
			out = append(out, ld)
		}
	}
	return out
}

func isReport(ld plog.Logs) bool {
	return ld.LogRecordCount() == 1 && ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).EventName() == event.RecordRulesetLoaded
}

// names is "kind rule" of every record, and "kind event" of those without a rule.
func names(lds []plog.Logs) []string {
	var out []string
	for _, ld := range lds {
		for _, rl := range ld.ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for _, lr := range sl.LogRecords().All() {
					name := lr.EventName()
					if rule, ok := lr.Attributes().Get(event.AttrRuleName); ok {
						name = rule.Str()
					}
					out = append(out, kindOf(lr)+" "+name)
				}
			}
		}
	}
	return out
}

func TestDetections(t *testing.T) {
	tests := map[string]struct {
		noMatch NoMatch
		events  []*event.Event
		want    []string
	}{
		"one rule":       {NoMatchDrop, []*event.Event{open(t, 1, "/etc/x")}, []string{"detection any_etc"}},
		"two rules":      {NoMatchDrop, []*event.Event{open(t, 1, "/etc/shadow")}, []string{"detection shadow", "detection any_etc"}},
		"no match, drop": {NoMatchDrop, []*event.Event{open(t, 1, "/x")}, nil},
		"no match, pass": {NoMatchPass, []*event.Event{open(t, 1, "/x")}, []string{"event file.open"}},
		"match, pass":    {NoMatchPass, []*event.Event{open(t, 1, "/etc/x")}, []string{"detection any_etc"}},
		"refused":        {NoMatchDrop, []*event.Event{failed(open(t, 1, "/etc/x"), 13)}, []string{"detection any_etc"}},
		"error, pass":    {NoMatchPass, []*event.Event{failed(open(t, 1, "/etc/x"), 2)}, []string{"event file.open"}},
		"failed execs are for no rule": {
			NoMatchPass,
			[]*event.Event{
				failed(flat(t, 1, `{"type":"exec","exec.file.name":"nc"}`), 2), failed(flat(t, 2, `{"type":"exec","exec.file.name":"nc"}`), 13),
				failed(flat(t, 3, `{"type":"exec","exec.file.name":"nc"}`), 0),
			},
			[]string{"event process.exec", "event process.exec", "detection nc"},
		},
		"no rule of type": {NoMatchDrop, []*event.Event{flat(t, 1, `{"type":"mkdir","mkdir.file.path":"/etc/x"}`)}, nil},
		"mixed, drop": {
			NoMatchDrop,
			[]*event.Event{open(t, 1, "/x"), open(t, 2, "/etc/x"), open(t, 3, "/y"), flat(t, 4, `{"type":"exec","exec.file.name":"nc"}`)},
			[]string{"detection any_etc", "detection nc"},
		},
		"mixed, pass": {
			NoMatchPass,
			[]*event.Event{open(t, 1, "/x"), open(t, 2, "/y"), open(t, 3, "/etc/x"), open(t, 4, "/z")},
			[]string{"event file.open", "event file.open", "detection any_etc", "event file.open"},
		},
		"every": {
			NoMatchDrop,
			[]*event.Event{open(t, 0, "/once"), open(t, time.Second, "/once"), open(t, time.Minute, "/once")},
			[]string{"detection once", "detection once"},
		},
		"suppressed, pass": {
			NoMatchPass,
			[]*event.Event{open(t, 0, "/once"), open(t, time.Second, "/once")},
			[]string{"detection once", "event file.open"},
		},
		"limiter_token": {
			NoMatchDrop,
			[]*event.Event{
				flat(t, 0, `{"type":"open","open.file.path":"/per_user","process.uid":1,"process.pid":5}`),
				flat(t, 1, `{"type":"open","open.file.path":"/per_user","process.uid":2,"process.pid":5}`),
				flat(t, 2, `{"type":"open","open.file.path":"/per_user","process.uid":1,"process.pid":5}`),
			},
			[]string{"detection per_user", "detection per_user"},
		},
		"silent":       {NoMatchDrop, []*event.Event{open(t, 1, "/silent")}, nil},
		"silent, pass": {NoMatchPass, []*event.Event{open(t, 1, "/silent")}, []string{"event file.open"}},
		"variable": {
			NoMatchDrop,
			[]*event.Event{open(t, 1, "/after"), open(t, 2, "/silent"), open(t, 3, "/after")},
			[]string{"detection after_quiet"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPipeline(t, tt.noMatch, testPolicy)
			assert.Equal(t, tt.want, names(p.consume(t, batch(tt.events...))))
		})
	}
}

func TestDetectionRecord(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, testPolicy)
	in := batch(open(t, 1, "/etc/shadow"))
	before := plog.NewLogs()
	in.CopyTo(before)
	in.MarkReadOnly()
	out := p.consume(t, in)
	require.Len(t, out, 1)
	assert.Equal(t, before.ResourceLogs().At(0).Resource().Attributes().AsRaw(), out[0].ResourceLogs().At(0).Resource().Attributes().AsRaw())
	assert.Equal(t, "resource-schema", out[0].ResourceLogs().At(0).SchemaUrl())
	sl := out[0].ResourceLogs().At(0).ScopeLogs().At(0)
	assert.Equal(t, "receiver", sl.Scope().Name())
	assert.Equal(t, "scope-schema", sl.SchemaUrl())

	lr, src := sl.LogRecords().At(0), before.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
	assert.Equal(t, plog.SeverityNumberError, lr.SeverityNumber())
	assert.Equal(t, pcommon.Timestamp(testTime+1), lr.Timestamp())
	attrs := lr.Attributes().AsRaw()
	assert.Equal(t, "shadow", attrs[event.AttrRuleName])
	assert.Equal(t, "4", attrs[event.AttrRuleVersion])
	assert.Equal(t, "test.policy", attrs[event.AttrRuleset])
	assert.Equal(t, "credentials", attrs[event.AttrRuleGroupID])
	assert.Equal(t, "1.2.3", attrs[event.AttrRulePolicyVersion])
	assert.NotEqual(t, src.Attributes().AsRaw()[event.AttrRecordUID], attrs[event.AttrRecordUID])

	var body struct {
		Title string `json:"title"`
		Agent struct {
			RuleID        string `json:"rule_id"`
			PolicyName    string `json:"policy_name"`
			PolicyVersion string `json:"policy_version"`
			Version       string `json:"version"`
		} `json:"agent"`
		File struct {
			Path string `json:"path"`
		} `json:"file"`
	}
	require.NoError(t, json.Unmarshal([]byte(lr.Body().Str()), &body))
	assert.Equal(t, "The password hashes were opened", body.Title)
	assert.Equal(t, "credentials", body.Agent.RuleID)
	assert.Equal(t, "test.policy", body.Agent.PolicyName)
	assert.Equal(t, "1.2.3", body.Agent.PolicyVersion)
	assert.Equal(t, "7.83.0", body.Agent.Version)
	assert.Equal(t, "/etc/shadow", body.File.Path)
}

func TestSuppressedCountIsOnTheNextDetection(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, testPolicy)
	out := p.consume(t, batch(open(t, 0, "/once"), open(t, 1, "/once"), open(t, 2, "/once"), open(t, time.Hour, "/once")))
	records := out[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
	require.Equal(t, 2, records.Len())
	_, ok := records.At(0).Attributes().Get(event.AttrRuleSuppressed)
	assert.False(t, ok)
	n, ok := records.At(1).Attributes().Get(event.AttrRuleSuppressed)
	require.True(t, ok)
	assert.EqualValues(t, 2, n.Int())
}

func TestRateLimitsCanBeOff(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, testPolicy, func(c *Config) { c.DisableRateLimits = true })
	out := p.consume(t, batch(open(t, 0, "/once"), open(t, 0, "/once"), open(t, -1, "/once")))
	assert.Equal(t, []string{"detection once", "detection once", "detection once"}, names(out))
}

// TestRefusedDetectionsComeAgain: what a full queue refuses is sent again by whoever has it, and the rate of the rule must not
// be used up by then. If it is refused for good it does not come again.
func TestRefusedDetectionsComeAgain(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, testPolicy)
	events := func() plog.Logs {
		return batch(open(t, 1, "/once"), open(t, 2, "/once"), open(t, 3, "/per_user"), open(t, 4, "/etc/shadow"))
	}
	want := []string{"detection once", "detection per_user", "detection shadow", "detection any_etc"}
	full := errors.New("queue full")
	p.refuse(full)
	for range 3 {
		require.ErrorIs(t, p.ConsumeLogs(t.Context(), events()), full)
	}
	p.refuse(nil)
	out := p.consume(t, events())
	assert.Equal(t, want, names(out))
	assert.Equal(t, []string{"detection once"}, names(p.consume(t, batch(open(t, time.Hour, "/once")))), "no more than that is given back")
	n, ok := p.batches()[1].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes().Get(event.AttrRuleSuppressed)
	require.True(t, ok)
	assert.EqualValues(t, 1, n.Int(), "of the try that was taken")
	assert.Empty(t, p.consume(t, batch(open(t, time.Hour+1, "/once"))))

	// The first of these is suppressed and the second says so: both are as they were when they come again.
	both := func() plog.Logs { return batch(open(t, time.Hour+2, "/once"), open(t, 90*time.Minute, "/once")) }
	p.refuse(full)
	require.Error(t, p.ConsumeLogs(t.Context(), both()))
	p.refuse(nil)
	out = p.consume(t, both())
	require.Equal(t, []string{"detection once"}, names(out))
	n, ok = out[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes().Get(event.AttrRuleSuppressed)
	require.True(t, ok)
	assert.EqualValues(t, 2, n.Int())

	p.refuse(consumererror.NewPermanent(errors.New("never")))
	require.Error(t, p.ConsumeLogs(t.Context(), batch(open(t, 2*time.Hour, "/once"))))
	p.refuse(nil)
	assert.Empty(t, p.consume(t, batch(open(t, 2*time.Hour, "/once"))))
}

func TestRatesOfHostsAreApart(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, testPolicy)
	ld := batch(open(t, 0, "/once"), open(t, 1, "/once"))
	other := testID
	other.ID = "host-2"
	addEvents(ld, &other, open(t, 0, "/once"), open(t, 1, "/once"))
	out := p.consume(t, ld)
	assert.Equal(t, []string{"detection once", "detection once"}, names(out))
	assert.Equal(t, 2, out[0].ResourceLogs().Len())
}

func TestUnavailableFieldsAreListed(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, "rules: [{id: r, expression: 'open.file.path == \"/a\" && process.file.package.name == \"\"'}]")
	out := p.consume(t, batch(open(t, 1, "/a")))
	require.Equal(t, []string{"detection r"}, names(out))
	fields, ok := out[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes().Get(event.AttrRuleUnavailable)
	require.True(t, ok)
	assert.Contains(t, fields.Slice().AsRaw(), "process.file.package.name")
}

func TestOtherRecords(t *testing.T) {
	for noMatch, want := range map[NoMatch][]string{
		NoMatchDrop: {"detection file.open", "report picket.heartbeat"},
		NoMatchPass: {" foreign", "detection file.open", "report picket.heartbeat", " file.open", "event file.open", "event file.nope"},
	} {
		t.Run(string(noMatch), func(t *testing.T) {
			p := newPipeline(t, noMatch, testPolicy)
			ld := plog.NewLogs()
			records := addEvents(ld, &testID)
			records.AppendEmpty().SetEventName("foreign")
			for _, kind := range []string{event.KindDetection, event.KindReport} {
				lr := records.AppendEmpty()
				event.EncodeRecord(open(t, 1, "/etc/shadow"), &testID, lr)
				lr.Attributes().PutStr(event.AttrRecordKind, kind)
				if kind == event.KindReport {
					lr.SetEventName("picket.heartbeat")
				}
			}
			newer := records.AppendEmpty()
			event.EncodeRecord(open(t, 1, "/etc/shadow"), &testID, newer)
			newer.Attributes().PutInt(event.AttrContractVersion, event.ContractVersion+1)
			broken := records.AppendEmpty()
			event.EncodeRecord(open(t, 1, "/etc/shadow"), &testID, broken)
			broken.Body().SetStr("{")
			unknown := records.AppendEmpty()
			event.EncodeRecord(open(t, 1, "/etc/shadow"), &testID, unknown)
			unknown.SetEventName("file.nope")

			assert.Equal(t, want, names(p.consume(t, ld)))
			p.consume(t, ld)
			one := func(n int64) []metricdata.DataPoint[int64] { return []metricdata.DataPoint[int64]{{Value: n}} }
			metadatatest.AssertEqualProcessorSecurityRulesForeign(t, p.tel, one(6), metricdatatest.IgnoreTimestamp())
			metadatatest.AssertEqualProcessorSecurityRulesDecodeErrors(t, p.tel, one(2), metricdatatest.IgnoreTimestamp())
			assert.Equal(t, 2, p.logs.Len(), "each kind of trouble is logged once: %v", p.logs.All())
		})
	}
}

func TestNothingLeftIsNoBatch(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, testPolicy)
	assert.Empty(t, p.consume(t, batch(open(t, 1, "/x"))))
	assert.Empty(t, p.consume(t, plog.NewLogs()))
}

func TestUnchangedBatchIsPassedOnAsItIs(t *testing.T) {
	p := newPipeline(t, NoMatchPass, testPolicy)
	in := batch(open(t, 1, "/x"), open(t, 2, "/y"))
	out := p.consume(t, in)
	require.Len(t, out, 1)
	assert.Equal(t, in, out[0])
	assert.False(t, p.Capabilities().MutatesData)
}

func TestMetrics(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, testPolicy)
	p.consume(t, batch(open(t, 1, "/x"), open(t, 2, "/etc/shadow"), open(t, 3, "/once"), open(t, 4, "/once"),
		flat(t, 5, `{"type":"exec","exec.file.name":"nc"}`)))
	point := func(key, value string, n int64) metricdata.DataPoint[int64] {
		return metricdata.DataPoint[int64]{Attributes: attribute.NewSet(attribute.String(key, value)), Value: n}
	}
	metadatatest.AssertEqualProcessorSecurityRulesEvaluated(t, p.tel, []metricdata.DataPoint[int64]{
		point("type", "open", 4), point("type", "exec", 1),
	}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualProcessorSecurityRulesDetections(t, p.tel, []metricdata.DataPoint[int64]{
		point("rule", "shadow", 1), point("rule", "any_etc", 1), point("rule", "once", 1), point("rule", "nc", 1),
	}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualProcessorSecurityRulesSuppressed(t, p.tel, []metricdata.DataPoint[int64]{point("rule", "once", 1)},
		metricdatatest.IgnoreTimestamp())
}

// reports waits until n reports on loads have come out.
func (p *pipeline) reports(tb testing.TB, n int) []plog.LogRecord {
	tb.Helper()
	var out []plog.LogRecord
	require.Eventually(tb, func() bool {
		out = nil
		for _, ld := range p.sink.AllLogs() {
			if isReport(ld) {
				out = append(out, ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0))
			}
		}
		return len(out) >= n
	}, 10*time.Second, time.Millisecond)
	return out
}

func TestReports(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, testPolicy)
	p.reports(t, 1)
	require.NoError(t, os.WriteFile(p.path, []byte("version: 2.0.0\nrules:\n  - {id: good, version: 3, expression: 'open.flags > 0'}\n  - {id: bad, expression: nope}\n"), 0o600))
	_, changed := p.store.Load()
	require.True(t, changed)
	records := p.reports(t, 2)
	lr := records[1]
	assert.Equal(t, event.KindReport, kindOf(lr))
	assert.NotEqual(t, uid(t, records[0]), uid(t, lr))
	var body map[string]any
	require.NoError(t, json.Unmarshal([]byte(lr.Body().Str()), &body))
	assert.Equal(t, "New ruleset loaded", body["title"])
	assert.Equal(t, "runtime-security-agent", body["service"])
	assert.Equal(t, "ruleset_loaded", body["agent"].(map[string]any)["rule_id"])
	policies := body["policies"].([]any)
	require.Len(t, policies, 1)
	pol := policies[0].(map[string]any)
	assert.Equal(t, "test.policy", pol["name"])
	assert.Equal(t, "2.0.0", pol["version"])
	assert.Equal(t, "partially_loaded", pol["status"])
	rules := pol["rules"].([]any)
	assert.Equal(t, map[string]any{"id": "good", "version": "3", "status": "loaded"}, rules[0])
	assert.Equal(t, "error", rules[1].(map[string]any)["status"])
	assert.NotContains(t, body, "kept_previous")

	require.NoError(t, os.WriteFile(p.path, []byte("rules: [{id: bad, expression: nope}]"), 0o600))
	p.store.Load()
	require.NoError(t, json.Unmarshal([]byte(p.reports(t, 3)[2].Body().Str()), &body))
	assert.Equal(t, true, body["kept_previous"])
	assert.Contains(t, body["reason"], "no rule could be loaded")
}

func uid(tb testing.TB, lr plog.LogRecord) string {
	tb.Helper()
	v, ok := lr.Attributes().Get(event.AttrRecordUID)
	require.True(tb, ok)
	return v.Str()
}

func TestNewRulesAreUsedAtOnce(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, testPolicy)
	assert.Empty(t, p.consume(t, batch(open(t, 1, "/x"))))
	require.NoError(t, os.WriteFile(p.path, []byte("rules: [{id: x, expression: 'open.file.path == \"/x\"'}]"), 0o600))
	p.store.Load()
	assert.Equal(t, []string{"detection x"}, names(p.consume(t, batch(open(t, 1, "/x")))))
}

func TestConcurrency(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, testPolicy)
	var wg sync.WaitGroup
	const workers, batches = 4, 50
	for range workers {
		wg.Go(func() {
			for i := range batches {
				at := time.Duration(i) * time.Second
				assert.NoError(t, p.ConsumeLogs(t.Context(), batch(
					flat(t, at, `{"type":"exec","exec.file.name":"nc"}`), open(t, at, "/x"), open(t, at, "/silent"), open(t, at, "/after"))))
			}
		})
	}
	for i := range 10 {
		require.NoError(t, os.WriteFile(p.path, []byte(strings.Replace(testPolicy, "1.2.3", fmt.Sprint(i), 1)), 0o600))
		p.store.Load()
	}
	wg.Wait()
	nc := 0
	for _, n := range names(p.batches()) {
		if n == "detection nc" {
			nc++
		}
	}
	assert.Equal(t, workers*batches, nc)
}

func TestStartErrors(t *testing.T) {
	id := component.MustNewID("security_policies")
	tests := map[string]struct {
		host component.Host
		want string
	}{
		"no extension":    {componenttest.NewNopHost(), "`policies` names the extension \"security_policies\", which is not there: configure it and list it in service::extensions"},
		"wrong extension": {&testHost{id, nopComponent{}}, "`policies` names the extension \"security_policies\", which has no rules: it must be of type security_policies"},
		"not started": {
			&testHost{id, testExtension{policy.NewStore(nil, policy.Options{}, policy.OnRuleErrorLoad)}},
			"`policies` names the extension \"security_policies\", which has not loaded any rules",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := createDefaultConfig().(*Config)
			cfg.Policies = id
			p, err := NewFactory().CreateLogs(t.Context(), processortest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
			require.NoError(t, err)
			require.EqualError(t, p.Start(t.Context(), tt.host), tt.want)
			require.NoError(t, p.Shutdown(t.Context()))
		})
	}
}

type nopComponent struct {
	component.StartFunc
	component.ShutdownFunc
}

// TestHeartbeats: which policies are in use is said every minute at first, then every ten; a change begins anew.
func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &consumertest.LogsSink{}
		r := newReporter(sink, zap.NewNop(), "v")
		defer r.close()
		dir := t.TempDir()
		write := func(name, text string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		}
		load := func() (*policy.Set, *policy.Report) { return policy.Load([]string{dir}, policy.Options{}) }
		beats := func(d time.Duration) (out []string) {
			defer sink.Reset() // what is sent before the next call may come before it, too
			start := time.Now()
			time.Sleep(d)
			synctest.Wait()
			for _, ld := range sink.AllLogs() {
				lr := firstRecord(ld)
				var body struct {
					Title, Service string
					Agent          struct {
						RuleID string `json:"rule_id"`
					}
					Policy struct{ Name, Version, Status string }
					Rules  []any
				}
				require.NoError(t, json.Unmarshal([]byte(lr.Body().Str()), &body))
				if body.Agent.RuleID != "heartbeat" {
					out = append(out, body.Agent.RuleID)
					continue
				}
				assert.Equal(t, []string{"picket.heartbeat", "Heartbeat", "runtime-security-agent"}, []string{lr.EventName(), body.Title, body.Service})
				assert.Empty(t, body.Rules)
				out = append(out, fmt.Sprint(lr.Timestamp().AsTime().Sub(start).Round(time.Second), " ", body.Policy.Name, " ", body.Policy.Version, " ", body.Policy.Status))
			}
			return out
		}
		assert.Empty(t, beats(30*time.Second), "nothing is loaded")
		write("a.policy", "version: 1.0.0\nrules: [{id: a, expression: 'open.flags > 0'}]")
		r.send(load())
		assert.Equal(t, []string{"ruleset_loaded", "1m0s a.policy 1.0.0 loaded", "2m0s a.policy 1.0.0 loaded"}, beats(150*time.Second))
		write("b.policy", "version: 2.0.0\nrules: [{id: b, expression: 'open.flags > 0'}, {id: c, expression: nope}]")
		r.send(load())
		assert.Equal(t, []string{
			"ruleset_loaded", "1m0s a.policy 1.0.0 loaded", "1m0s b.policy 2.0.0 partially_loaded",
			"2m0s a.policy 1.0.0 loaded", "2m0s b.policy 2.0.0 partially_loaded",
		}, beats(150*time.Second))
		assert.Len(t, beats(3*time.Minute), 6)
		assert.Len(t, beats(35*time.Minute), 6, "every ten minutes from here on")
		set, report := load()
		report.Kept, report.Policies = true, nil
		r.send(set, report)
		assert.Equal(t, []string{"ruleset_loaded", "4m30s a.policy 1.0.0 loaded", "4m30s b.policy 2.0.0 partially_loaded"}, beats(5*time.Minute))
	})
}

func TestReportsDoNotHoldUpALoad(t *testing.T) {
	release := make(chan struct{})
	blocked := consumertest.NewErr(errors.New("refused"))
	r := newReporter(blockingConsumer{blocked, release}, zap.NewNop(), "v")
	set, report := policy.Load([]string{"testdata/policies"}, policy.Options{})
	for range 3 * maxQueuedReports {
		r.send(set, report) // returns although nothing is taken
	}
	r.mu.Lock()
	assert.LessOrEqual(t, len(r.queue), maxQueuedReports)
	r.mu.Unlock()
	close(release)
	r.close()
}

type blockingConsumer struct {
	consumertest.Consumer
	release chan struct{}
}

func (b blockingConsumer) ConsumeLogs(ctx context.Context, ld plog.Logs) error {
	<-b.release
	return b.Consumer.ConsumeLogs(ctx, ld)
}

func TestCut(t *testing.T) {
	assert.Equal(t, "short", cut("short"))
	assert.Equal(t, strings.Repeat("x", maxMessage-1)+"…", cut(strings.Repeat("x", maxMessage-1)+"ééé"))
}
