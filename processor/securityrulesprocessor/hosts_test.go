// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

// metric is the value of a metric, summed over its attributes; 0 if it has none.
func (p *pipeline) metric(tb testing.TB, name string) (n int64) {
	tb.Helper()
	m, err := p.tel.GetMetric("otelcol_processor_security_rules_" + name)
	if err != nil {
		return 0
	}
	var points []metricdata.DataPoint[int64]
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		points = data.DataPoints
	case metricdata.Gauge[int64]:
		points = data.DataPoints
	default:
		require.Fail(tb, "metric of another type", "%s: %T", name, data)
	}
	for _, d := range points {
		n += d.Value
	}
	return n
}

// scopedPolicy notes what happens in variables of all scopes and says where it has been noted.
const scopedPolicy = `
rules:
  - id: note
    expression: open.file.path == "/note"
    silent: true
    actions:
      - set: {name: seen, value: true}
      - set: {name: seen, value: true, scope: process}
      - set: {name: seen, value: true, scope: container}
      - set: {name: seen, value: true, scope: cgroup}
  - {id: global, expression: 'open.file.path == "/ask" && ${seen}'}
  - {id: process, expression: 'open.file.path == "/ask" && ${process.seen}'}
  - {id: container, expression: 'open.file.path == "/ask" && ${container.seen}'}
  - {id: cgroup, expression: 'open.file.path == "/ask" && ${cgroup.seen}'}
`

// hostNamed is a host like testID.
func hostNamed(id string) *event.Host {
	h := testID
	h.ID = id
	return &h
}

// from makes logs of one host.
func from(id string, events ...*event.Event) plog.Logs {
	ld := plog.NewLogs()
	addEvents(ld, hostNamed(id), events...)
	return ld
}

// contained makes an event in a container and a cgroup.
func contained(tb testing.TB, at time.Duration, path string) *event.Event {
	tb.Helper()
	e := open(tb, at, path)
	e.Container = &event.ContainerContext{ID: strings.Repeat("c", 64)}
	e.Facts.CgroupPath, e.Facts.CgroupID = "/system.slice/web.service", 12
	return e
}

// TestVariablesOfHostsAreApart: processes, containers and cgroups of the same ids, on two hosts, and in either order.
func TestVariablesOfHostsAreApart(t *testing.T) {
	all := []string{"detection global", "detection process", "detection container", "detection cgroup"}
	for name, unnumbered := range map[string]bool{"by id of the process image": false, "by pid": true} {
		t.Run(name, func(t *testing.T) {
			p := newPipeline(t, NoMatchDrop, scopedPolicy)
			acts := func(at time.Duration, path string) *event.Event {
				e := contained(t, at, path)
				if unnumbered {
					e.Facts.ProcessID = 0
				}
				return e
			}
			p.consume(t, from("a", acts(1, "/note")))
			assert.Empty(t, names(p.consume(t, from("b", acts(2, "/ask")))))
			assert.Equal(t, all, names(p.consume(t, from("a", acts(3, "/ask")))))
			// In one batch, too.
			ld := from("a", acts(4, "/ask"))
			addEvents(ld, hostNamed("b"), acts(5, "/ask"))
			addEvents(ld, hostNamed("a"), acts(6, "/ask"))
			assert.Equal(t, append(all, all...), names(p.consume(t, ld)))
			p.consume(t, from("b", acts(7, "/note")))
			// What exits on one host runs on, on the other.
			exit := flat(t, 8, `{"type":"exit","exit.code":0,"process.pid":5}`)
			p.consume(t, from("b", exit))
			assert.Equal(t, all, names(p.consume(t, from("a", acts(time.Hour, "/ask")))))
			if !unnumbered {
				assert.Equal(t, append(all[:1:1], all[2:]...), names(p.consume(t, from("b", acts(time.Hour, "/ask")))))
			}
		})
	}
}

// TestClocksOfHostsAreApart: a host whose clock is far ahead fills a variable, and what it loses for that is its own and counted.
func TestClocksOfHostsAreApart(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, `
rules:
  - id: note
    expression: open.file.path == "/note"
    silent: true
    actions:
      - set: {name: seen, value: true, scope: process, ttl: 1h}
  - {id: ask, expression: 'open.file.path == "/ask" && ${process.seen}'}
`)
	p.consume(t, from("a", open(t, 0, "/note")))
	const batchSize = 4096
	for base := 0; base < secl.MaxVariableCells; base += batchSize {
		ld := from("ahead", open(t, 365*24*time.Hour, "/note"))
		records := ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
		for i := range batchSize {
			if i > 0 {
				records.At(0).CopyTo(records.AppendEmpty())
			}
			records.At(i).Attributes().PutInt(event.AttrProcessID, int64(1+base+i))
		}
		p.consume(t, ld)
	}
	assert.Equal(t, []string{"detection ask"}, names(p.consume(t, from("a", open(t, time.Second, "/ask")))))
	assert.EqualValues(t, secl.MaxVariableCells/16, p.metric(t, "variables_evicted"))
	assert.Empty(t, p.consume(t, from("a", open(t, time.Hour, "/ask"))), "its own time has come")
}

// TestHostsAreBounded: of more than max_hosts, the one that was quiet longest is forgotten, with its rates and variables.
func TestHostsAreBounded(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, scopedPolicy+`
  - {id: once, expression: 'open.file.path == "/once"', every: 1h}
`, func(c *Config) { c.MaxHosts = 3 })
	for _, id := range []string{"a", "b", "c"} {
		p.consume(t, from(id, contained(t, 1, "/note"), open(t, 2, "/once"), open(t, 4, "/x")))
	}
	assert.EqualValues(t, 3, p.metric(t, "hosts"))
	p.consume(t, from("a", contained(t, 5, "/x")))
	assert.Zero(t, p.metric(t, "hosts_evicted"))
	assert.Zero(t, p.metric(t, "sequence_gaps"), "it may still come")

	p.consume(t, from("d", open(t, 1, "/x")))
	assert.EqualValues(t, 3, p.metric(t, "hosts"))
	assert.EqualValues(t, 1, p.metric(t, "hosts_evicted"))
	assert.EqualValues(t, 1, p.metric(t, "sequence_gaps"), "number 3 of b will not")
	assert.Len(t, names(p.consume(t, from("a", contained(t, 6, "/ask")))), 4)
	assert.Empty(t, names(p.consume(t, from("a", open(t, 7, "/once")))))
	assert.Empty(t, names(p.consume(t, from("b", contained(t, 6, "/ask")))), "in the place of c")
	assert.Equal(t, []string{"detection once"}, names(p.consume(t, from("b", open(t, 7, "/once")))))
	assert.EqualValues(t, 2, p.metric(t, "hosts_evicted"))
}

// TestInventedHosts: who makes up hosts, with ids of any length, costs no more than max_hosts.
func TestInventedHosts(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, scopedPolicy, func(c *Config) { c.MaxHosts = 50 })
	long := strings.Repeat("x", 1<<16)
	for i := range 20 {
		ld := plog.NewLogs()
		for j := range 100 {
			addEvents(ld, hostNamed(fmt.Sprint(long, i, " ", j)), contained(t, 1, "/note"), contained(t, 2, "/ask"))
		}
		require.Len(t, names(p.consume(t, ld)), 400)
	}
	assert.EqualValues(t, 50, p.metric(t, "hosts"))
	assert.EqualValues(t, 20*100-50, p.metric(t, "hosts_evicted"))
	assert.Zero(t, p.metric(t, "variables_evicted"), "no more values than those of 50 hosts were there at a time")
	assert.Len(t, bounded(long), len("sha256:")+64)
	assert.NotEqual(t, bounded(long), bounded(long+"y"))
}

// TestForeignRecordsAreOfNoHost: they cannot push out a host.
func TestForeignRecordsAreOfNoHost(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, scopedPolicy, func(c *Config) { c.MaxHosts = 1 })
	p.consume(t, from("a", open(t, 1, "/note")))
	ld := plog.NewLogs()
	addEvents(ld, hostNamed("b")).AppendEmpty().SetEventName("foreign")
	p.consume(t, ld)
	assert.Zero(t, p.metric(t, "hosts_evicted"))
	assert.EqualValues(t, 1, p.metric(t, "foreign"))
}

func TestRecordsWithoutHost(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, testPolicy)
	for range 2 {
		assert.Equal(t, []string{"detection any_etc"}, names(p.consume(t, from("", open(t, 1, "/etc/x"), open(t, 2, "/x")))))
	}
	assert.EqualValues(t, 4, p.metric(t, "without_host"))
	assert.Equal(t, 1, p.logs.FilterMessageSnippet("no host.id").Len())
}

// TestSequenceMetrics: records that are lost and repeated on the way from several hosts.
func TestSequenceMetrics(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, testPolicy, func(c *Config) { c.MaxHosts = 2 })
	p.consume(t, from("a", open(t, 1, "/x"), open(t, 2, "/etc/x"), open(t, 4, "/x")))
	p.consume(t, from("b", open(t, 1, "/x"), open(t, 3, "/x"), open(t, 9_000_000, "/x")))
	p.consume(t, from("a", open(t, 4, "/x")))
	p.consume(t, from("b", open(t, 2, "/x"), open(t, 9_000_005, "/x")))
	assert.EqualValues(t, 1, p.metric(t, "sequence_repeated"))
	assert.EqualValues(t, 1, p.metric(t, "sequence_restarts"))
	assert.Zero(t, p.metric(t, "sequence_gaps"))
	p.consume(t, from("c", open(t, 1, "/x")))
	p.consume(t, from("d", open(t, 1, "/x")))
	assert.EqualValues(t, 1+4, p.metric(t, "sequence_gaps"))
}

// TestOwnReportsAreNoGap: the reports of a processor have the host and boot of a receiver beside it, and numbers of their own.
func TestOwnReportsAreNoGap(t *testing.T) {
	p := newPipeline(t, NoMatchPass, testPolicy, func(c *Config) { c.MaxHosts = 1 })
	ld := from("a", open(t, 1, "/x"))
	records := ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
	event.EncodeReport(records.AppendEmpty(), hostNamed("a"), event.RecordRulesetLoaded, uint64(testTime), testTime, []byte(`{}`))
	event.EncodeReport(records.AppendEmpty(), hostNamed("a"), event.RecordEventsLost, 2, testTime, []byte(`{}`))
	event.EncodeRecord(open(t, 3, "/etc/x"), hostNamed("a"), records.AppendEmpty())
	// What comes of a processor that passes records on is as complete.
	out := p.consume(t, ld)
	require.Len(t, out, 1)
	q := newPipeline(t, NoMatchPass, testPolicy, func(c *Config) { c.MaxHosts = 1 })
	require.Equal(t, []string{"event file.open", "report picket.ruleset_loaded", "report picket.events_lost", "detection any_etc"}, names(q.consume(t, out[0])))
	for _, p := range []*pipeline{p, q} {
		p.consume(t, from("other", open(t, 1, "/x")))
		assert.Zero(t, p.metric(t, "sequence_gaps")+p.metric(t, "sequence_repeated")+p.metric(t, "sequence_restarts"))
		assert.EqualValues(t, 1, p.metric(t, "hosts_evicted"))
	}
}

// TestRedelivery: a record that comes twice makes detections with the same log.record.uid; others do not.
func TestRedelivery(t *testing.T) {
	uids := func(lds []plog.Logs) (out []string) {
		for _, ld := range lds {
			for _, rl := range ld.ResourceLogs().All() {
				for _, lr := range rl.ScopeLogs().At(0).LogRecords().All() {
					out = append(out, uid(t, lr))
				}
			}
		}
		return out
	}
	p := newPipeline(t, NoMatchDrop, testPolicy)
	first := uids(p.consume(t, batch(open(t, 1, "/etc/shadow"))))
	require.Len(t, first, 2)
	assert.Equal(t, first, uids(p.consume(t, batch(open(t, 1, "/etc/shadow")))))
	restarted := newPipeline(t, NoMatchDrop, testPolicy)
	assert.Equal(t, first, uids(restarted.consume(t, batch(open(t, 1, "/etc/shadow")))), "also by another gateway")
	assert.EqualValues(t, 1, p.metric(t, "sequence_repeated"))

	rebooted := testID
	rebooted.BootID = "another"
	ld := batch(open(t, 2, "/etc/shadow"))
	addEvents(ld, hostNamed("host-2"), open(t, 1, "/etc/shadow"))
	addEvents(ld, &rebooted, open(t, 1, "/etc/shadow"))
	all := slices.Concat(first, uids(p.consume(t, ld)))
	require.Len(t, all, 8)
	different := map[string]bool{}
	for _, u := range all {
		assert.Len(t, u, 32)
		different[u] = true
	}
	assert.Len(t, different, 8, "of the rule, host, boot and number")
}
