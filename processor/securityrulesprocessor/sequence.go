// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"encoding/json"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/event"
)

// A receiver gives the records that leave it consecutive numbers. It begins above all that this boot has seen before: at the
// microseconds since the boot, unless it knows its last number. So there may be several runs of numbers at a time, of receivers
// one after the other or, as in sidecars, beside each other; no two are nearer than about a million for each second between them.

// maxStep is how far a number may be ahead of its run: what is further is another run.
const maxStep = 1_000_000

// Bounds of what is kept of a boot. What is missing counts as lost if it has not come by then, or if there is more of it.
const (
	maxRuns  = 32
	maxSpans = 16 // of a run: batches that are on the way at a time
	patience = time.Minute
)

// number is what a record tells about the numbers of its host.
type number struct {
	seq  uint64
	last uint64 // of a report on a restart: the last number of the run before
	// event says that it is an event. A detection has the number of its event, maybe one of several, and only the host's events
	// tell whether others than those that rules matched were to come this way.
	event bool
	boot  uint32 // of numbers, which it is of
}

// sequenceCounts is what the numbers tell.
type sequenceCounts struct {
	gaps, repeated, restarts int64
}

// numbering follows the numbers of a boot.
type numbering struct {
	boot string
	runs []run // the one of the last record first
}

// run are consecutive numbers.
type run struct {
	low, high uint64
	missing   []span // in between, ascending and from the oldest on
}

// span are numbers that have not come, although a higher one has.
type span struct {
	from, to uint64
	since    time.Time
}

func (s *span) len() int64 { return int64(s.to - s.from + 1) }

// numberOf reads what a record of a kind tells; ok is false if that is nothing.
func numberOf(lr plog.LogRecord, kind string) (n number, ok bool) {
	v, ok := lr.Attributes().Get(event.AttrSequence)
	if !ok || v.Int() <= 0 {
		return n, false
	}
	n.seq, n.event = uint64(v.Int()), kind == event.KindEvent
	if kind == event.KindReport {
		switch lr.EventName() {
		case event.RecordEventsLost:
			n.last = lastOf(lr.Body())
		case event.RecordIOUringUsed:
		default: // those of a processor have no numbers of this kind
			return n, false
		}
	}
	return n, true
}

// maxReport bounds a report that is read, in bytes.
const maxReport = 64 << 10

// lastOf reads the last number of the run before from a report on a restart; 0 if it is about something else.
func lastOf(body pcommon.Value) uint64 {
	var report struct {
		Restart struct {
			LastSequence uint64 `json:"last_sequence"`
		} `json:"restart"`
	}
	text := body.Str()
	if len(text) > maxReport || json.Unmarshal([]byte(text), &report) != nil {
		return 0
	}
	return report.Restart.LastSequence
}

// add takes the number of the next record.
func (n *numbering) add(x number, now time.Time, c *sequenceCounts) {
	if len(n.runs) == 0 && !x.event {
		return
	}
	if x.last > 0 {
		if r := n.find(x.last); r != nil && x.last > r.high {
			r.miss(x.last, now, c)
		}
	}
	r := n.find(x.seq)
	if r == nil {
		if !n.early(x.seq) {
			n.begin(x.seq, c)
		}
		return
	}
	switch {
	case x.seq == r.high+1:
		r.high = x.seq
	case x.seq > r.high:
		r.miss(x.seq-1, now, c)
		r.high = x.seq
	case !r.fill(x.seq, c) && x.event:
		c.repeated++
	}
}

// find moves the run that a number is of to the front and returns it, nil if there is none.
func (n *numbering) find(seq uint64) *run {
	found := -1
	for i := range n.runs {
		r := &n.runs[i]
		if r.low > seq || seq-r.low > r.high-r.low+maxStep {
			continue
		}
		if seq <= r.high {
			found = i
			break
		}
		if found < 0 || r.low > n.runs[found].low {
			found = i
		}
	}
	if found < 0 {
		return nil
	}
	if found > 0 {
		r := n.runs[found]
		copy(n.runs[1:found+1], n.runs[:found])
		n.runs[0] = r
	}
	return &n.runs[0]
}

// early says whether a number is from before a run was first heard of. Whether it came before is not known.
func (n *numbering) early(seq uint64) bool {
	for i := range n.runs {
		if low := n.runs[i].low; seq < low && low-seq <= maxStep {
			return true
		}
	}
	return false
}

// begin makes a run that begins with a number.
func (n *numbering) begin(seq uint64, c *sequenceCounts) {
	if len(n.runs) > 0 {
		c.restarts++
	}
	if len(n.runs) == maxRuns {
		n.runs[maxRuns-1].giveUp(maxSpans, c)
		n.runs = n.runs[:maxRuns-1]
	}
	n.runs = append(n.runs, run{})
	copy(n.runs[1:], n.runs)
	n.runs[0] = run{low: seq, high: seq}
}

// expire gives up what has been missing since before a time.
func (n *numbering) expire(before time.Time, c *sequenceCounts) {
	for i := range n.runs {
		r := &n.runs[i]
		old := 0
		for old < len(r.missing) && r.missing[old].since.Before(before) {
			old++
		}
		r.giveUp(old, c)
	}
}

// giveUp gives up all that is missing.
func (n *numbering) giveUp(c *sequenceCounts) {
	for i := range n.runs {
		n.runs[i].giveUp(maxSpans, c)
	}
}

// giveUp counts the oldest spans, up to n of them, as gaps.
func (r *run) giveUp(n int, c *sequenceCounts) {
	n = min(n, len(r.missing))
	if n == 0 {
		return
	}
	for i := range r.missing[:n] {
		c.gaps += r.missing[i].len()
	}
	r.missing = append(r.missing[:0], r.missing[n:]...)
}

// miss goes on to a number; it and those before are missing.
func (r *run) miss(to uint64, now time.Time, c *sequenceCounts) {
	if len(r.missing) == maxSpans {
		r.giveUp(1, c)
	}
	r.missing = append(r.missing, span{from: r.high + 1, to: to, since: now})
	r.high = to
}

// fill takes a number out of what is missing. It is false if it is not missing.
func (r *run) fill(seq uint64, c *sequenceCounts) bool {
	for i := len(r.missing) - 1; i >= 0; i-- {
		s := &r.missing[i]
		switch {
		case seq > s.to:
			return false
		case seq < s.from:
			continue
		case s.from == s.to:
			r.missing = append(r.missing[:i], r.missing[i+1:]...)
		case seq == s.from:
			s.from++
		case seq == s.to:
			s.to--
		default:
			rest := span{from: seq + 1, to: s.to, since: s.since}
			s.to = seq - 1
			r.missing = append(r.missing, span{})
			copy(r.missing[i+2:], r.missing[i+1:])
			r.missing[i+1] = rest
			if len(r.missing) > maxSpans {
				r.giveUp(1, c)
			}
		}
		return true
	}
	return false
}
