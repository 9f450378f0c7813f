// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/event"
)

// versionedPolicy is version n of a policy: two rules that only this version has, two that every version has, and a variable
// that each event of a host adds to.
func versionedPolicy(n int) string {
	return fmt.Sprintf(`
version: %[1]d.0.0
rules:
  - {id: first_%[1]d, expression: 'open.file.path == "/load"'}
  - id: count
    expression: open.file.path == "/load"
    silent: true
    actions: [{set: {name: count, value: 1, append: true, default_value: 0}}]
  - {id: always, expression: 'open.file.path == "/load"'}
  - {id: second_%[1]d, expression: 'open.file.path == "/load"'}
  - {id: counted, expression: 'open.file.path == "/ask" && ${count} == %[2]d'}
`, n, loadBatches*loadRecords)
}

const (
	loadHosts   = 12
	loadWorkers = 4
	loadBatches = 150
	loadRecords = 5
)

// TestReloadUnderLoad: while batches of many hosts come from several senders, rules are replaced again and again. Each record
// and batch is decided by one version as a whole, none is lost, and variables go on.
func TestReloadUnderLoad(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, versionedPolicy(0))
	var loads atomic.Int64
	stop := make(chan struct{})
	var loading sync.WaitGroup
	loading.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := os.WriteFile(p.path, []byte(versionedPolicy(n)), 0o600); err != nil {
				t.Error(err)
				return
			}
			if report, changed := p.store.Load(); !changed || report.Errors() > 0 {
				t.Error("a policy was not loaded", report.Problems())
				return
			}
			loads.Add(1)
		}
	})
	require.Eventually(t, func() bool { return loads.Load() > 0 }, 10*time.Second, time.Millisecond)
	var sending sync.WaitGroup
	for w := range loadWorkers {
		sending.Go(func() {
			for i := range loadBatches {
				ld := plog.NewLogs()
				for h := w; h < loadHosts; h += loadWorkers { // those of one host come one after the other
					var events []*event.Event
					for r := range loadRecords {
						n := i*loadRecords + r
						e := open(t, time.Duration(n)*time.Second, "/load") // slow enough for every rate
						e.Facts.Sequence = uint64(n + 1)
						events = append(events, e)
					}
					addEvents(ld, hostNamed(fmt.Sprint(h)), events...)
				}
				assert.NoError(t, p.ConsumeLogs(t.Context(), ld))
			}
		})
	}
	sending.Wait()
	// The set that is in use now has not seen most of it.
	last := loads.Load()
	require.Eventually(t, func() bool { return loads.Load() > last }, 10*time.Second, time.Millisecond)
	close(stop)
	loading.Wait()
	t.Logf("%d loads", loads.Load())
	require.Greater(t, loads.Load(), int64(10))

	type record struct {
		host string
		seq  int64
	}
	decided := map[record][]string{}
	versions := map[string]bool{}
	for _, ld := range p.batches() {
		ofBatch := map[string]bool{}
		for _, rl := range ld.ResourceLogs().All() {
			host, _ := rl.Resource().Attributes().Get("host.id")
			for _, lr := range rl.ScopeLogs().At(0).LogRecords().All() {
				seq, _ := lr.Attributes().Get(event.AttrSequence)
				rule, _ := lr.Attributes().Get(event.AttrRuleName)
				version, _ := lr.Attributes().Get(event.AttrRulePolicyVersion)
				r := record{host.Str(), seq.Int()}
				decided[r] = append(decided[r], rule.Str()+" "+version.Str())
				ofBatch[version.Str()] = true
			}
		}
		require.Len(t, ofBatch, 1)
		maps.Copy(versions, ofBatch)
	}
	require.Len(t, decided, loadHosts*loadBatches*loadRecords)
	for r, rules := range decided {
		version, _, _ := strings.Cut(rules[0], " ")
		n := strings.TrimPrefix(version, "first_")
		want := []string{"first_" + n + " " + n + ".0.0", "always " + n + ".0.0", "second_" + n + " " + n + ".0.0"}
		require.Equal(t, want, rules, r)
	}
	assert.Greater(t, len(versions), 3, "the rules did change on the way")
	assert.EqualValues(t, 3*len(decided), p.metric(t, "detections"))
	assert.EqualValues(t, len(decided), p.metric(t, "evaluated"))
	for _, m := range []string{"sequence_gaps", "sequence_repeated", "sequence_restarts", "suppressed", "hosts_evicted"} {
		assert.Zero(t, p.metric(t, m), m)
	}
	for h := range loadHosts {
		assert.Equal(t, []string{"detection counted"}, names(p.consume(t, from(fmt.Sprint(h), open(t, 24*time.Hour, "/ask")))), h)
	}
}
