// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"context"
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
}

// additional is the exporter of an additional endpoint.
type additional struct {
	exporter.Logs
	ahead recordSet // what it took while the main endpoint's queue refused it
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
	took := make([]bool, len(f.additional))
	for i, a := range f.additional {
		own := plog.NewLogs() // the exporter behind a queue may change what it is given
		ld.CopyTo(own)
		a.ahead.takeOut(own)
		took[i] = own.LogRecordCount() == 0 || a.ConsumeLogs(ctx, own) == nil
	}
	err := f.Logs.ConsumeLogs(ctx, ld)
	if err != nil {
		for i, a := range f.additional {
			if took[i] {
				a.ahead.add(ld)
			}
		}
	}
	return err
}

// maxAhead bounds a recordSet. What is over it is sent twice rather than not at all.
const maxAhead = 20_000

// recordSet is a set of the log.record.uid of records; the oldest are forgotten first. Records without one are never in it.
type recordSet struct {
	mu    sync.Mutex
	uids  map[string]struct{}
	order []string // ring, once it has maxAhead elements
	next  int
}

func (s *recordSet) add(ld plog.Logs) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uids == nil {
		s.uids = make(map[string]struct{})
	}
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				if uid, ok := uidOf(lr); ok {
					s.addUID(uid)
				}
			}
		}
	}
}

func (s *recordSet) addUID(uid string) {
	if _, known := s.uids[uid]; known {
		return
	}
	s.uids[uid] = struct{}{}
	if len(s.order) < maxAhead {
		s.order = append(s.order, uid)
		return
	}
	delete(s.uids, s.order[s.next])
	s.order[s.next] = uid
	s.next = (s.next + 1) % maxAhead
}

// takeOut removes the records of the set from ld.
func (s *recordSet) takeOut(ld plog.Logs) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.uids) == 0 {
		return
	}
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			sl.LogRecords().RemoveIf(func(lr plog.LogRecord) bool {
				uid, ok := uidOf(lr)
				_, known := s.uids[uid]
				return ok && known
			})
		}
	}
}

func uidOf(lr plog.LogRecord) (string, bool) {
	v, ok := lr.Attributes().Get(event.AttrRecordUID)
	if !ok {
		return "", false
	}
	return v.Str(), v.Str() != ""
}
