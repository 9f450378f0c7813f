// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"iter"

	"go.opentelemetry.io/collector/pdata/plog"
)

// position is the place of a record in plog.Logs: indexes of resource, scope and record.
type position struct{ resource, scope, record int }

// record is a log record with the attributes that an entry is made from.
type record struct {
	record plog.LogRecord
	facts  *facts
}

// records yields all records in order. What it points to is overwritten with the next one.
func records(ld plog.Logs) iter.Seq2[position, *record] {
	return func(yield func(position, *record) bool) {
		var (
			ofResource, ofRecord facts
			r                    = record{facts: &ofRecord}
			at                   position
		)
		for ri, rl := range ld.ResourceLogs().All() {
			ofResource = facts{}
			ofResource.read(rl.Resource().Attributes())
			// Kind and rule belong to records: a resource must not turn foreign ones into Picket's.
			clear(ofResource[:slotHostName])
			for si, sl := range rl.ScopeLogs().All() {
				for li, lr := range sl.LogRecords().All() {
					at = position{ri, si, li}
					ofRecord = ofResource
					ofRecord.read(lr.Attributes())
					r.record = lr
					if !yield(at, &r) {
						return
					}
				}
			}
		}
	}
}

// recordsFrom copies the records from a position on, with their resources and scopes.
func recordsFrom(ld plog.Logs, from position) plog.Logs {
	rest := plog.NewLogs()
	for ri, rl := range ld.ResourceLogs().All() {
		if ri < from.resource {
			continue
		}
		if ri > from.resource || (from.scope == 0 && from.record == 0) {
			rl.CopyTo(rest.ResourceLogs().AppendEmpty())
			continue
		}
		destRL := rest.ResourceLogs().AppendEmpty()
		rl.Resource().CopyTo(destRL.Resource())
		destRL.SetSchemaUrl(rl.SchemaUrl())
		for si, sl := range rl.ScopeLogs().All() {
			if si < from.scope {
				continue
			}
			destSL := destRL.ScopeLogs().AppendEmpty()
			sl.Scope().CopyTo(destSL.Scope())
			destSL.SetSchemaUrl(sl.SchemaUrl())
			for li, lr := range sl.LogRecords().All() {
				if si > from.scope || li >= from.record {
					lr.CopyTo(destSL.LogRecords().AppendEmpty())
				}
			}
		}
	}
	return rest
}
