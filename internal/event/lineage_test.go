// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
)

// TestLineageArguments: arguments that a forked child shares with its parent are written once, and each entry has its own
// again after reading, whatever is asked for.
func TestLineageArguments(t *testing.T) {
	args, envs := []string{"-c", "sleep 1"}, []string{"HOME"}
	shell := func() *Process { return &Process{PID: 2, Argv0: "sh", Args: args, Envs: envs} }
	child := func() *Process { return &Process{PID: 3, IsThread: true, Argv0: "sh", Args: args, Envs: envs} }
	cut := func(p *Process) *Process { p.ArgsTruncated = true; return p }
	other := &Process{PID: 1, Argv0: "init", Args: []string{"--x"}}
	tests := map[string]struct {
		lineage []*Process // the acting process first
		written int        // how often the arguments of the shell are in the text
	}{
		"child and parent":                   {[]*Process{child(), shell(), other}, 2}, // parent and ancestors[0]
		"child of a child":                   {[]*Process{child(), child(), shell()}, 1},
		"child without a parent":             {[]*Process{child()}, 1},
		"child that is cut otherwise":        {[]*Process{cut(child()), shell()}, 3},
		"child and parent, both cut":         {[]*Process{cut(child()), cut(shell())}, 2},
		"the same program executed again":    {[]*Process{shell(), shell()}, 3},
		"child of which no arguments known":  {[]*Process{{PID: 3, IsThread: true}, shell()}, 2},
		"parent of which no arguments known": {[]*Process{child(), {PID: 2}}, 1},
		"no arguments known":                 {[]*Process{{PID: 3, IsThread: true}, {PID: 2}}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := &Event{Type: TypeOpen, Process: ProcessContext{Process: test.lineage[0], Ancestors: test.lineage[1:]}}
			if len(e.Process.Ancestors) > 0 {
				e.Process.Parent = e.Process.Ancestors[0]
			}
			body := e.AppendJSON(nil)
			assert.Equal(t, test.written, bytes.Count(body, []byte(`"sleep 1"`)), "%s", body)

			same := func(want, got *Process) {
				t.Helper()
				assert.Equal(t, want.Argv0, got.Argv0)
				assert.Equal(t, want.Args, got.Args)
				assert.Equal(t, want.ArgsTruncated, got.ArgsTruncated)
				assert.Equal(t, want.Envs, got.Envs)
			}
			var d Decoder
			for _, need := range []Need{NeedArgs | NeedEnvs, NeedArgs | NeedEnvs | NeedParent, NeedAll} {
				var got Event
				require.NoError(t, d.Decode(body, need, &got))
				same(e.Process.Process, got.Process.Process)
				if need&NeedParent != 0 && e.Process.Parent != nil {
					same(e.Process.Parent, got.Process.Parent)
				}
				if need&NeedAncestors != 0 {
					require.Len(t, got.Process.Ancestors, len(e.Process.Ancestors))
					for i, a := range got.Process.Ancestors {
						same(e.Process.Ancestors[i], a)
					}
				}
			}
		})
	}
}

// TestLineageIDs: a record has the ids of the ancestors, and reading it gives them back to their processes.
func TestLineageIDs(t *testing.T) {
	e := testEvent(TypeOpen, 3)
	for i, p := range e.Process.Ancestors {
		p.ID = uint64(i) | 1<<63
	}
	e.Facts.ParentID = e.Process.Parent.ID
	lr := plog.NewLogRecord()
	EncodeRecord(e, &testHost, lr)
	ids, ok := lr.Attributes().Get(AttrProcessAncestors)
	require.True(t, ok)
	assert.Equal(t, []any{int64(-1 << 63), int64(-1<<63 + 1), int64(-1<<63 + 2)}, ids.Slice().AsRaw())

	var d Decoder
	var got Event
	require.NoError(t, d.DecodeRecord(lr, NeedAll, &got))
	assert.Equal(t, e.Process.Parent.ID, got.Process.Parent.ID)
	assert.Equal(t, []uint64{1 << 63, 1<<63 | 1, 1<<63 | 2}, got.Facts.AncestorIDs)
	require.Len(t, got.Process.Ancestors, 3)
	for i, p := range got.Process.Ancestors {
		assert.Equal(t, e.Process.Ancestors[i].ID, p.ID)
	}
}

// TestNewerCapability: a name that only a newer sender knows is no reason to lose the event.
func TestNewerCapability(t *testing.T) {
	var d Decoder
	var got Event
	require.NoError(t, d.Decode([]byte(`{"process":{"credentials":{"cap_effective":["CAP_CHOWN","CAP_OF_TOMORROW"]}}}`), NeedAll, &got))
	assert.Equal(t, CapSet(1), got.Process.Credentials.CapEffective)
}

// TestTraceContext: the ids of a trace are in the record's own fields, too.
func TestTraceContext(t *testing.T) {
	e := testEvent(TypeOpen, 0)
	e.DD = &DDContext{SpanID: 0x0102, TraceID: 0x0304}
	lr := plog.NewLogRecord()
	EncodeRecord(e, &testHost, lr)
	assert.Equal(t, "0000000000000102", lr.SpanID().String())
	assert.Equal(t, "00000000000000000000000000000304", lr.TraceID().String())
}
