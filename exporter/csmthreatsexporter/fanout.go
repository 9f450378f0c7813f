// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/event"
)

// fanOut is one component with several endpoints: the exporter of the main one, and those of the additional ones. Each has its
// own queue, on disk too, so that none waits for another.
type fanOut struct {
	exporter.Logs
	additional []*additional
	options    entryOptions // of the main endpoint, and so of all
}

// additional is the exporter of an additional endpoint.
type additional struct {
	exporter.Logs
	ahead recordCounts // what it took while the main endpoint's queue refused it
}

// Start starts all exporters. After an error the collector shuts the component down, also what was not started.
func (f *fanOut) Start(ctx context.Context, host component.Host) error {
	if err := f.Logs.Start(ctx, host); err != nil {
		return err
	}
	for _, a := range f.additional {
		if err := a.Start(ctx, host); err != nil {
			return err
		}
	}
	return nil
}

// Shutdown shuts all exporters down at the same time: each may have a request to wait for.
func (f *fanOut) Shutdown(ctx context.Context) error {
	errs := make([]error, len(f.additional))
	var wg sync.WaitGroup
	for i, a := range f.additional {
		wg.Go(func() { errs[i] = a.Shutdown(ctx) })
	}
	err := f.Logs.Shutdown(ctx)
	wg.Wait()
	return errors.Join(append(errs, err)...)
}

// ConsumeLogs puts ld into all queues. The error is that of the main endpoint's. What only an additional one refuses is lost
// there, and counted in the metric otelcol_exporter_enqueue_failed_log_records of its own: to return an error would bring the
// records to all the others once more.
//
// After an error of the main queue the pipeline may bring the same records again. Those that an additional endpoint has
// taken already are not put into its queue twice.
func (f *fanOut) ConsumeLogs(ctx context.Context, ld plog.Logs) error {
	keys := sync.OnceValue(func() []recordKey { return f.keys(ld) }) // while no endpoint is ahead, nobody asks
	ahead := make([]func() []recordKey, len(f.additional))           // what each has then that the main one may refuse
	for i, a := range f.additional {
		own := plog.NewLogs() // the exporter behind a queue may change what it is given
		ld.CopyTo(own)
		had := a.ahead.takeOut(own, keys)
		ahead[i] = keys
		if own.LogRecordCount() > 0 && a.ConsumeLogs(ctx, own) != nil {
			ahead[i] = func() []recordKey { return had }
		}
	}
	err := f.Logs.ConsumeLogs(ctx, ld)
	if err != nil {
		for i, a := range f.additional {
			a.ahead.add(ahead[i]())
		}
	}
	return err
}

// recordKey tells what a record is: its log.record.uid, and the log that is sent of it. The uid alone does not, because records of tools
// that do not number theirs share one. The zero key is of records that cannot be told from others.
type recordKey [sha256.Size]byte

// keys returns the key of each record, in order. It is zero for records without a uid, and for those that are not sent.
func (f *fanOut) keys(ld plog.Logs) []recordKey {
	keys := make([]recordKey, 0, ld.LogRecordCount())
	var buf []byte
	for _, r := range records(ld) {
		var key recordKey
		if uid, ok := r.record.Attributes().Get(event.AttrRecordUID); ok && uid.Str() != "" && r.facts.classify(r.record) == keep {
			buf = append(append(buf[:0], uid.Str()...), 0)
			buf, _ = f.options.appendEntry(buf, r.facts, r.record)
			key = sha256.Sum256(buf)
		}
		keys = append(keys, key)
	}
	return keys
}

// maxAhead is how many records a recordCounts has at least before it forgets any; it has at most twice as many. What is forgotten
// is sent twice rather than not at all.
const maxAhead = 20_000

// recordCounts counts records, until they are taken out again; the oldest are forgotten first.
type recordCounts struct {
	mu           sync.Mutex
	older, newer map[recordKey]int
	size         int // sum of newer; when it is maxAhead, newer becomes older
}

// add counts the records with these keys; those with a zero key are not.
func (c *recordCounts) add(keys []recordKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		if key == (recordKey{}) {
			continue
		}
		if c.size == maxAhead {
			c.older, c.newer, c.size = c.newer, nil, 0
		}
		if c.newer == nil {
			c.newer = make(map[recordKey]int)
		}
		c.newer[key]++
		c.size++
	}
}

// takeOut removes from ld the records that were added, each as often as it was, and forgets that they were. It returns their keys.
// keys returns those of all records of ld.
func (c *recordCounts) takeOut(ld plog.Logs, keys func() []recordKey) (taken []recordKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.older) == 0 && len(c.newer) == 0 {
		return nil
	}
	rest := keys()
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			sl.LogRecords().RemoveIf(func(plog.LogRecord) bool {
				key := rest[0]
				rest = rest[1:]
				if !c.take(key) {
					return false
				}
				taken = append(taken, key)
				return true
			})
		}
	}
	return taken
}

func (c *recordCounts) take(key recordKey) bool {
	switch {
	case c.older[key] > 0:
		decrement(c.older, key)
	case c.newer[key] > 0:
		decrement(c.newer, key)
		c.size--
	default:
		return false
	}
	return true
}

func decrement(counts map[recordKey]int, key recordKey) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}
