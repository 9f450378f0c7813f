// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/event"
)

var testNow = time.Unix(1000, 0)

// events are numbers of events.
func events(seqs ...uint64) (out []number) {
	for _, s := range seqs {
		out = append(out, number{seq: s, event: true})
	}
	return out
}

// upTo are the numbers of events from one to another.
func upTo(from, to uint64) (out []number) {
	for s := from; s <= to; s++ {
		out = append(out, number{seq: s, event: true})
	}
	return out
}

func detection(seq uint64) []number { return []number{{seq: seq}} }

func restart(seq, last uint64) []number { return []number{{seq: seq, last: last}} }

func TestNumbering(t *testing.T) {
	type batches [][]number
	const jump = 5 * maxStep
	var alternate, filled []number
	for i := range uint64(100) {
		alternate = append(alternate, events(1+2*i)...)
	}
	for i := range uint64(maxSpans) {
		filled = append(filled, events(2*i+2)...)
	}
	tests := map[string]struct {
		batches batches
		at      []time.Duration // of the batches; 0 for more
		want    sequenceCounts  // at once
		end     sequenceCounts  // with what is still missing at the end
	}{
		"nothing missing":            {batches: batches{upTo(1, 10), upTo(11, 20)}},
		"begins anywhere":            {batches: batches{upTo(5_000_000, 5_000_010)}},
		"a batch is missing":         {batches: batches{upTo(1, 10), upTo(21, 30)}, end: sequenceCounts{gaps: 10}},
		"batches out of order":       {batches: batches{upTo(1, 10), upTo(21, 30), upTo(31, 40), upTo(11, 20)}},
		"the first out of order":     {batches: batches{upTo(11, 20), upTo(1, 10), upTo(21, 30)}},
		"within a batch":             {batches: batches{events(1, 4, 3, 2, 5)}},
		"from the middle":            {batches: batches{events(1, 9, 5, 4, 6)}, end: sequenceCounts{gaps: 4}},
		"repeated":                   {batches: batches{upTo(1, 10), upTo(1, 10)}, want: sequenceCounts{repeated: 10}, end: sequenceCounts{repeated: 10}},
		"repeated after a gap":       {batches: batches{upTo(1, 10), upTo(21, 30), upTo(5, 25)}, want: sequenceCounts{repeated: 11}, end: sequenceCounts{repeated: 11}},
		"late, but not too late":     {batches: batches{events(1, 3), events(2)}, at: []time.Duration{0, patience}},
		"too late":                   {batches: batches{events(1, 3), events(2)}, at: []time.Duration{0, patience + 1}, want: sequenceCounts{gaps: 1, repeated: 1}, end: sequenceCounts{gaps: 1, repeated: 1}},
		"patience is from the first": {batches: batches{events(1, 10), events(5), events(11)}, at: []time.Duration{0, patience, patience + 1}, want: sequenceCounts{gaps: 7}, end: sequenceCounts{gaps: 7}},
		"every other one": {
			batches: batches{alternate}, want: sequenceCounts{gaps: 99 - maxSpans}, end: sequenceCounts{gaps: 99},
		},
		"as many gaps as are kept": {batches: batches{alternate[:maxSpans+1], filled}},
		"receiver starts again":    {batches: batches{upTo(1, 10), upTo(jump, jump+10)}, want: sequenceCounts{restarts: 1}, end: sequenceCounts{restarts: 1}},
		"a large loss":             {batches: batches{events(1, 1+maxStep)}, end: sequenceCounts{gaps: maxStep - 1}},
		"larger than can be told":  {batches: batches{events(1, 2+maxStep)}, want: sequenceCounts{restarts: 1}, end: sequenceCounts{restarts: 1}},
		"it lost records as it ended": {
			batches: batches{upTo(1, 10), restart(jump, 15), upTo(jump+1, jump+5)},
			want:    sequenceCounts{restarts: 1}, end: sequenceCounts{restarts: 1, gaps: 5},
		},
		"one record": {batches: batches{upTo(1, 10), restart(jump, 11)}, want: sequenceCounts{restarts: 1}, end: sequenceCounts{restarts: 1, gaps: 1}},
		"they come after the report": {
			batches: batches{upTo(1, 10), restart(jump, 15), upTo(11, 15)}, want: sequenceCounts{restarts: 1}, end: sequenceCounts{restarts: 1},
		},
		"the report knows less":   {batches: batches{upTo(1, 10), restart(jump, 7)}, want: sequenceCounts{restarts: 1}, end: sequenceCounts{restarts: 1}},
		"orderly":                 {batches: batches{upTo(1, 10), restart(11, 10), upTo(12, 20)}},
		"orderly, with a loss":    {batches: batches{upTo(1, 10), restart(13, 12), upTo(14, 20)}, end: sequenceCounts{gaps: 2}},
		"a report that lies":      {batches: batches{upTo(1, 10), restart(11, math.MaxUint64), upTo(12, 20)}},
		"two receivers at a time": {batches: batches{upTo(1, 10), upTo(jump, jump+10), upTo(11, 20), upTo(jump+11, jump+20), events(22), events(jump + 23)}, want: sequenceCounts{restarts: 1}, end: sequenceCounts{restarts: 1, gaps: 3}},
		"an older one is found":   {batches: batches{upTo(jump, jump+10), upTo(1, 10), events(jump + 11)}, want: sequenceCounts{restarts: 1}, end: sequenceCounts{restarts: 1}},
		"detections only":         {batches: batches{detection(5), detection(9), restart(20, 10), detection(jump)}},
		"detections among events": {batches: batches{upTo(1, 3), detection(4), detection(4), upTo(5, 6), detection(6)}},
		"the ends of numbers":     {batches: batches{events(1, math.MaxInt64, math.MaxInt64-1, 2)}, want: sequenceCounts{restarts: 1}, end: sequenceCounts{restarts: 1}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var h host
			var c sequenceCounts
			for i, b := range tt.batches {
				now := testNow
				if i < len(tt.at) {
					now = now.Add(tt.at[i])
				}
				h.count("boot", b, now, &c)
			}
			assert.Equal(t, tt.want, c)
			h.giveUp(&c)
			assert.Equal(t, tt.end, c)
		})
	}
}

// TestNumberingIsExact: whatever batches of a stream are lost, repeated and delayed, within what is kept, the counts are right.
func TestNumberingIsExact(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 0))
		var h host
		var c, want sequenceCounts
		var late [][]number
		next, losses := 1+r.Uint64N(1e9), 0
		send := func(b []number) { h.count("boot", b, testNow, &c) }
		batch := func() []number {
			b := upTo(next, next+r.Uint64N(20))
			next += uint64(len(b))
			return b
		}
		send(batch())
		for range 200 {
			b := batch()
			switch choice := r.IntN(16); {
			case choice == 0 && losses < maxSpans/2:
				losses++
				want.gaps += int64(len(b))
			case choice == 1:
				send(b)
				send(b)
				want.repeated += int64(len(b))
			case choice < 5 && len(late) < maxSpans/2:
				late = append(late, b)
			default:
				send(b)
			}
			if len(late) > 0 && r.IntN(4) == 0 {
				i := r.IntN(len(late))
				send(late[i])
				late = append(late[:i], late[i+1:]...)
			}
		}
		send(batch())
		for _, b := range late {
			send(b)
		}
		h.giveUp(&c)
		require.Equal(t, want, c, "seed %d", seed)
	}
}

// TestNumberingIsBounded: whatever comes, no more is kept of a host than it has room for.
func TestNumberingIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var h host
	var c sequenceCounts
	for range 20_000 {
		boot := strings.Repeat(string(rune('a'+r.IntN(4))), 1+r.IntN(2)*1000)
		near := r.Uint64N(100) * 3 * maxStep
		h.count(boot, events(near+1, near+1+r.Uint64N(2*maxStep), 1+r.Uint64N(math.MaxInt64), near+5), testNow, &c)
		require.LessOrEqual(t, len(h.boots), maxBoots)
		for _, n := range h.boots {
			require.LessOrEqual(t, len(n.boot), maxIDBytes)
			require.LessOrEqual(t, len(n.runs), maxRuns)
			for i := range n.runs {
				r := &n.runs[i]
				require.LessOrEqual(t, len(r.missing), maxSpans)
				at := r.low
				for _, s := range r.missing {
					require.Greater(t, s.from, at)
					require.GreaterOrEqual(t, s.to, s.from)
					at = s.to
				}
				require.LessOrEqual(t, at, r.high)
			}
		}
	}
}

func TestBootsAreApart(t *testing.T) {
	var h host
	var c sequenceCounts
	h.count("one", events(1, 3), testNow, &c)
	h.count("two", events(1, 5), testNow, &c)
	h.count("one", events(2), testNow, &c) // still on the way as the host booted
	assert.Equal(t, sequenceCounts{}, c)
	h.count("three", events(1), testNow, &c)
	assert.Equal(t, sequenceCounts{gaps: 3}, c, "the boot that was quiet longest is given up")
	h.count("one", events(4), testNow, &c)
	assert.Equal(t, sequenceCounts{gaps: 3}, c)
}

func TestNumbersAllocateNothing(t *testing.T) {
	hs := newHosts(1, func(*host) {})
	var c sequenceCounts
	numbers := events(0, 0, 0, 0)
	seq := uint64(1)
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		// Out of order, too.
		for i, n := range []uint64{0, 2, 1, 3} {
			numbers[i].seq = seq + n
		}
		seq += 4
		hs.get("host").count("boot", numbers, testNow, &c)
	}))
	assert.Equal(t, sequenceCounts{}, c)
}

// TestNumberOf: which records tell something, and what.
func TestNumberOf(t *testing.T) {
	record := func(kind, name, body string, seq int64) plog.LogRecord {
		lr := plog.NewLogRecord()
		lr.SetEventName(name)
		lr.Body().SetStr(body)
		lr.Attributes().PutStr(event.AttrRecordKind, kind)
		lr.Attributes().PutInt(event.AttrSequence, seq)
		return lr
	}
	const lost = `{"title":"t","evt":{"name":"custom"},"restart":{"last_sequence":5,"clean":true}}`
	wrong := record(event.KindEvent, "file.open", "", 0)
	wrong.Attributes().PutStr(event.AttrSequence, "7")
	for name, tt := range map[string]struct {
		lr   plog.LogRecord
		want number
	}{
		"event":              {record(event.KindEvent, "file.open", "{", 7), number{seq: 7, event: true}},
		"detection":          {record(event.KindDetection, "file.open", lost, 7), number{seq: 7}},
		"loss":               {record(event.KindReport, event.RecordEventsLost, `{"restart":null}`, 7), number{seq: 7}},
		"restart":            {record(event.KindReport, event.RecordEventsLost, lost, 7), number{seq: 7, last: 5}},
		"restart, no JSON":   {record(event.KindReport, event.RecordEventsLost, lost[1:], 7), number{seq: 7}},
		"restart, no number": {record(event.KindReport, event.RecordEventsLost, `{"restart":{"last_sequence":"5"}}`, 7), number{seq: 7}},
		"restart, endless":   {record(event.KindReport, event.RecordEventsLost, lost+strings.Repeat(" ", maxReport), 7), number{seq: 7}},
		"io_uring":           {record(event.KindReport, event.RecordIOUringUsed, lost, 7), number{seq: 7}},
		"of a processor":     {record(event.KindReport, event.RecordHeartbeat, lost, 7), number{}},
		"zero":               {record(event.KindEvent, "file.open", "", 0), number{}},
		"negative":           {record(event.KindEvent, "file.open", "", -1), number{}},
		"no number":          {wrong, number{}},
	} {
		n, ok := numberOf(tt.lr, kindOf(withContract(tt.lr)))
		assert.Equal(t, tt.want != number{}, ok, name)
		if ok {
			assert.Equal(t, tt.want, n, name)
		}
	}
}

func withContract(lr plog.LogRecord) plog.LogRecord {
	lr.Attributes().PutInt(event.AttrContractVersion, event.ContractVersion)
	return lr
}
