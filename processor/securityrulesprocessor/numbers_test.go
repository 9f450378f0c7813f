// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/event"
)

// sequences reads what the metrics of numbers are.
func (p *pipeline) sequences(tb testing.TB) sequenceCounts {
	tb.Helper()
	return sequenceCounts{
		gaps: p.metric(tb, "sequence_gaps"), repeated: p.metric(tb, "sequence_repeated"), restarts: p.metric(tb, "sequence_restarts"),
	}
}

// addNumbered adds a resource of a host and boot, with an event of each number.
func addNumbered(ld plog.Logs, template plog.LogRecord, host, boot string, seqs ...uint64) {
	id := event.Host{ID: host, BootID: boot}
	records := addEvents(ld, &id)
	for _, s := range seqs {
		lr := records.AppendEmpty()
		template.CopyTo(lr)
		lr.Attributes().PutInt(event.AttrSequence, int64(s))
	}
}

// TestRegroupedRecords: in whatever resources of a batch the records are, and in whatever order, what counts is whether they are there.
func TestRegroupedRecords(t *testing.T) {
	const n = 1000
	template := firstRecord(batch(open(t, 1, "/x")))
	for name, group := range map[string]func(seq uint64) int{
		"as they were":        func(uint64) int { return 0 },
		"by turns":            func(seq uint64) int { return int(seq % 2) },
		"in many groups":      func(seq uint64) int { return int(seq % 100) },
		"in random groups":    func(uint64) int { return rand.IntN(7) },
		"the last ones first": func(seq uint64) int { return int((4*n - seq) / 10 % 100) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPipeline(t, NoMatchDrop, testPolicy, func(c *Config) { c.MaxHosts = 2 })
			// add puts the numbers of a batch of a host into groups, and those of others into resources in between.
			add := func(ld plog.Logs, boot string, seqs []uint64) {
				groups := make([][]uint64, 101)
				for _, s := range seqs {
					g := group(s)
					groups[g] = append(groups[g], s)
				}
				for _, g := range groups {
					addNumbered(ld, template, "h", boot, g...)
					addNumbered(ld, template, "other", "b")
				}
			}
			next := func(from uint64) (out []uint64) {
				for s := from; s < from+n; s++ {
					out = append(out, s)
				}
				return out
			}
			ld := plog.NewLogs()
			add(ld, "first", next(1))
			add(ld, "second", next(1))
			p.consume(t, ld)
			ld = plog.NewLogs()
			add(ld, "second", next(n+1))
			addNumbered(ld, template, "other", "b", 1, 2, 3)
			add(ld, "first", next(n+1))
			p.consume(t, ld)
			assert.Equal(t, sequenceCounts{}, p.sequences(t))

			// What is really missing, and what comes again.
			ld = plog.NewLogs()
			add(ld, "first", slices.Concat(next(n), next(2*n+21)))
			p.consume(t, ld)
			assert.Equal(t, sequenceCounts{repeated: n}, p.sequences(t))
			p.consume(t, from("third", open(t, 1, "/x")))
			p.consume(t, from("fourth", open(t, 1, "/x")))
			assert.Equal(t, sequenceCounts{repeated: n, gaps: 20}, p.sequences(t))
		})
	}
}

// TestMoreHostsThanAreKept: what is missing of a host that has lost its place within a batch counts, too.
func TestMoreHostsThanAreKept(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, testPolicy, func(c *Config) { c.MaxHosts = 3 })
	template := firstRecord(batch(open(t, 1, "/x")))
	ld := plog.NewLogs()
	for i := range uint64(10) {
		addNumbered(ld, template, fmt.Sprint(i), "b", 4+i, 2+i, 1+i)
	}
	p.consume(t, ld)
	assert.Equal(t, sequenceCounts{gaps: 10 - 3}, p.sequences(t), "of the last three it may still come")
	p.consume(t, from("7", open(t, 10, "/x")))
	assert.Equal(t, sequenceCounts{gaps: 10 - 3}, p.sequences(t))
}

// TestDetectionInAnotherResource: an event is not repeated because a detection of it is in a resource before.
func TestDetectionInAnotherResource(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, testPolicy)
	lr := firstRecord(batch(open(t, 1, "/x")))
	detected := plog.NewLogRecord()
	lr.CopyTo(detected)
	detected.Attributes().PutStr(event.AttrRecordKind, event.KindDetection)
	ld := plog.NewLogs()
	addNumbered(ld, detected, "h", "b", 2, 2, 3)
	addNumbered(ld, lr, "h", "b", 1, 2, 3, 4)
	p.consume(t, ld)
	assert.Equal(t, sequenceCounts{}, p.sequences(t))
}

func TestNumbersOfABatchAllocateNothing(t *testing.T) {
	hs := newHosts(4, func(*host) {})
	ids := []string{"a", "b", "c", "d"}
	var ns numbers
	var c sequenceCounts
	seq := uint64(1)
	fill := func() {
		for _, id := range ids {
			for part := range uint64(2) {
				ns.enter(boot{hs.get(id), "boot"})
				for i := range uint64(50) {
					ns.add(number{seq: seq + 2*i + part, event: true})
				}
			}
		}
		seq += 100
		ns.count(testNow, &c)
		ns.clear()
	}
	assert.Zero(t, testing.AllocsPerRun(100, fill))
	assert.Equal(t, sequenceCounts{}, c)

	// A large batch is worked off, and then it is forgotten.
	for i := range uint64(2 * maxKeptNumbers) {
		if i < 2*maxKeptBoots {
			ns.enter(boot{hs.get("a"), fmt.Sprint(i)})
		}
		ns.add(number{seq: seq + i, event: true})
	}
	ns.count(testNow, &c)
	ns.clear()
	assert.Equal(t, numbers{at: ns.at}, ns)
}
