// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import "go.opentelemetry.io/collector/pdata/plog"

// output builds the logs that leave the processor. As long as every record is kept it builds nothing: the source is the
// result. The first change makes it copy what was kept so far.
type output struct {
	src     plog.Logs
	dst     plog.Logs
	changed bool
	kept    int // records that were kept
	added   int

	i, j, k int // the record at hand
	// The resource and scope of src that the ends of dst are copies of, if there are any.
	resource, scope int
}

// at moves to a record; places ascend.
func (o *output) at(i, j, k int) { o.i, o.j, o.k = i, j, k }

// add appends an empty record, next to the record at hand.
func (o *output) add() plog.LogRecord {
	o.change()
	o.added++
	return o.end(o.i, o.j).AppendEmpty()
}

func (o *output) keep() {
	o.kept++
	if o.changed {
		o.copy(o.i, o.j, o.k)
	}
}

func (o *output) drop() { o.change() }

func (o *output) records() int { return o.kept + o.added }

func (o *output) logs() plog.Logs {
	if o.changed {
		return o.dst
	}
	return o.src
}

// change copies all records before the one at hand, which have been kept.
func (o *output) change() {
	if o.changed {
		return
	}
	o.changed, o.dst, o.resource, o.scope = true, plog.NewLogs(), -1, -1
	if o.kept == 0 {
		return
	}
	for i := 0; i <= o.i; i++ {
		scopes := o.src.ResourceLogs().At(i).ScopeLogs()
		for j := range scopes.Len() {
			for k := range scopes.At(j).LogRecords().Len() {
				if i == o.i && (j > o.j || (j == o.j && k >= o.k)) {
					return
				}
				o.copy(i, j, k)
			}
		}
	}
}

func (o *output) copy(i, j, k int) {
	o.src.ResourceLogs().At(i).ScopeLogs().At(j).LogRecords().At(k).CopyTo(o.end(i, j).AppendEmpty())
}

// end is the end of dst, after making it a copy of the resource i and scope j of src.
func (o *output) end(i, j int) plog.LogRecordSlice {
	if o.resource != i {
		src, dst := o.src.ResourceLogs().At(i), o.dst.ResourceLogs().AppendEmpty()
		src.Resource().CopyTo(dst.Resource())
		dst.SetSchemaUrl(src.SchemaUrl())
		o.resource, o.scope = i, -1
	}
	resources := o.dst.ResourceLogs()
	scopes := resources.At(resources.Len() - 1).ScopeLogs()
	if o.scope != j {
		src, dst := o.src.ResourceLogs().At(i).ScopeLogs().At(j), scopes.AppendEmpty()
		src.Scope().CopyTo(dst.Scope())
		dst.SetSchemaUrl(src.SchemaUrl())
		o.scope = j
	}
	return scopes.At(scopes.Len() - 1).LogRecords()
}
