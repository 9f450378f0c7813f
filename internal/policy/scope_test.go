// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

// overRecord takes an event to where the rules of a set see it: from a record, with nothing but what they need.
func overRecord(t *testing.T, set *Set, ev *event.Event) *event.Event {
	t.Helper()
	lr := plog.NewLogRecord()
	event.EncodeRecord(ev, &event.Host{ID: "h"}, lr)
	var d event.Decoder
	var decoded event.Event
	require.NoError(t, d.DecodeRecord(lr, set.Need(ev.Type), &decoded))
	return &decoded
}

// hits evaluates the rules on a record of the event, with their actions, as the processor does.
func hits(t *testing.T, set *Set, ev *event.Event) (ids []string, errs []error) {
	t.Helper()
	c := &secl.Context{Event: overRecord(t, set, ev), Now: start, Host: "h"}
	var m Matcher
	m.Match(set, c)
	for r := m.Next(); r != nil; r = m.Next() {
		ids = append(ids, r.ID)
		if err := r.Act(c); err != nil {
			errs = append(errs, err)
		}
	}
	return ids, errs
}

// proc is a process of a test: its pid, its 64-bit id and its ancestors, nearest first.
type proc struct {
	pid       uint32
	id        uint64
	ancestors []proc
}

func (p proc) context() event.ProcessContext {
	c := event.ProcessContext{Process: &event.Process{PID: p.pid, ID: p.id, Comm: "x"}, ActorTID: p.pid}
	for _, a := range p.ancestors {
		c.Ancestors = append(c.Ancestors, &event.Process{PID: a.pid, ID: a.id, Comm: "x"})
	}
	if len(p.ancestors) > 0 {
		c.Parent, c.PPID = c.Ancestors[0], c.Ancestors[0].PID
	}
	return c
}

// by makes an event of what a process does.
func (p proc) by(t event.Type) *event.Event {
	e := &event.Event{Type: t, Date: start, Process: p.context(), Facts: event.Facts{AUID: event.AUIDUnset, ProcessID: p.id}}
	for _, a := range p.ancestors {
		e.Facts.AncestorIDs = append(e.Facts.AncestorIDs, a.id)
	}
	if len(p.ancestors) > 0 {
		e.Facts.ParentID = p.ancestors[0].id
	}
	return e
}

func (p proc) opens(path string) *event.Event {
	e := p.by(event.TypeOpen)
	e.File = &event.FileEvent{File: event.File{Path: path, Name: path[1:]}}
	return e
}

func (p proc) kills(target proc) *event.Event {
	e := p.by(event.TypeSignal)
	at := target.context()
	e.Signal = &event.SignalEvent{Type: "SIGUSR1", PID: target.pid, Target: &at}
	return e
}

func (p proc) traces(target proc) *event.Event {
	e := p.by(event.TypePTrace)
	at := target.context()
	e.PTrace = &event.PTraceEvent{Request: "PTRACE_ATTACH", Tracee: &at}
	return e
}

const scopePolicy = `
rules:
  - id: kills
    expression: signal.type == SIGUSR1
    actions:
      - set: {name: killed, value: true, scope: process, scope_field: signal.pid}
      - set: {name: killers, field: process.pid, scope: process, scope_field: signal.target.pid, inherited: true, append: true}
  - id: traces
    expression: ptrace.request == PTRACE_ATTACH
    actions:
      - set: {name: traced, value: true, scope: process, scope_field: ptrace.tracee.pid}
      - set: {name: tracers, value: 1, append: true, default_value: 0, scope: process, scope_field: ptrace.tracee.ppid}
  - id: tells_parent
    expression: open.file.path == "/parent"
    actions:
      - set: {name: told, value: true, scope: process, scope_field: process.parent.pid}
  - id: tells_itself
    expression: open.file.path == "/self"
    actions:
      - set: {name: told, value: true, scope: process, scope_field: process.pid}
  - {id: killed, expression: 'open.file.path == "/x" && ${process.killed}'}
  - {id: killed_below, expression: 'open.file.path == "/x" && 7 in ${process.killers}'}
  - {id: traced, expression: 'open.file.path == "/x" && ${process.traced}'}
  - {id: twice_a_tracers_parent, expression: 'open.file.path == "/x" && ${process.tracers} == 2'}
  - {id: told, expression: 'open.file.path == "/x" && ${process.told}'}
`

// TestScopeField sets variables of other processes than the acting one, over records with the ids of processes.
func TestScopeField(t *testing.T) {
	load := func() *Set {
		set, report := loadDir(t, map[string]string{"a.policy": scopePolicy})
		require.Empty(t, report.Problems())
		for _, e := range report.Policies[0].Rules {
			require.Empty(t, e.Message, e.ID)
		}
		return set
	}
	first := proc{pid: 1, id: 0x10}
	parent := proc{pid: 6, id: 0x60, ancestors: []proc{first}}
	actor := proc{pid: 7, id: 0x70, ancestors: []proc{parent, first}}
	target := proc{pid: 9, id: 0x90, ancestors: []proc{first}}
	child := proc{pid: 10, id: 0xa0, ancestors: []proc{target, first}}
	expect := func(set *Set, ev *event.Event, want ...string) {
		t.Helper()
		ids, errs := hits(t, set, ev)
		assert.Equal(t, want, ids)
		assert.Empty(t, errs)
	}

	set := load()
	expect(set, target.opens("/x"))
	expect(set, actor.kills(target), "kills")
	expect(set, actor.opens("/x"))
	expect(set, target.opens("/x"), "killed", "killed_below")
	expect(set, child.opens("/x"), "killed_below") // the other is not inherited
	expect(set, proc{pid: target.pid, id: 0x91}.opens("/x"))

	// What is not inherited goes with the process; what is stays for its descendants.
	set.Exited("other", target.id)
	expect(set, target.opens("/x"), "killed", "killed_below")
	set.Exited("h", actor.id)
	expect(set, target.opens("/x"), "killed", "killed_below")
	set.Exited("h", target.id)
	expect(set, target.opens("/x"), "killed_below")
	expect(set, child.opens("/x"), "killed_below")

	// A process whose id the event does not have: what else the rule sets is set, and the error names the one.
	set = load()
	ids, errs := hits(t, set, actor.traces(child))
	assert.Equal(t, []string{"traces"}, ids)
	require.Len(t, errs, 1)
	require.EqualError(t, errs[0], `rule "traces": variable "process.tracers": ptrace.tracee.ppid: the event does not tell its process id: pid 9`)
	expect(set, child.opens("/x"), "traced")
	expect(set, target.opens("/x"))
	lost := actor.kills(target)
	lost.Signal.Target = nil
	ids, errs = hits(t, set, lost)
	assert.Equal(t, []string{"kills"}, ids)
	require.Len(t, errs, 1)
	require.EqualError(t, errs[0], `rule "kills": variable "process.killed": signal.pid: the event does not tell its process id: pid 9`)
	expect(set, target.opens("/x"))
	lost.Signal.PID = 0 // no process was found: there is nothing to set
	expect(set, lost, "kills")
	// A debugger's child: the parent is who acts.
	debugged := proc{pid: 11, id: 0xb0, ancestors: []proc{actor, parent, first}}
	expect(set, actor.traces(debugged), "traces")
	expect(set, actor.traces(debugged), "traces")
	expect(set, actor.opens("/x"), "twice_a_tracers_parent")

	// The parent and the process itself.
	set = load()
	expect(set, actor.opens("/parent"), "tells_parent")
	expect(set, actor.opens("/x"))
	expect(set, parent.opens("/x"), "told")
	expect(set, target.opens("/self"), "tells_itself")
	expect(set, target.opens("/x"), "told")
}

// TestScopeFieldOfFlatEvents: events without ids of processes are told apart by pid, and the trace reads what was set.
func TestScopeFieldOfFlatEvents(t *testing.T) {
	set, report := loadDir(t, map[string]string{"a.policy": scopePolicy})
	require.Empty(t, report.Problems())
	assert.Equal(t, [][]string{{"kills"}, {"killed", "killed_below"}, nil, {"killed_below"}}, fire(t, set,
		`{"type":"signal","signal.type":"SIGUSR1","signal.pid":9,"signal.target.pid":9,"process.pid":7}`,
		`{"type":"open","open.file.path":"/x","process.pid":9}`,
		`{"type":"open","open.file.path":"/x","process.pid":7}`,
		`{"type":"open","open.file.path":"/x","process.pid":10,"process.ancestors":[{"pid":9}]}`))

	ev, err := event.ParseFlatEvent([]byte(`{"type":"signal","signal.type":"SIGUSR1","signal.pid":12,"process.pid":7}`))
	require.NoError(t, err)
	var acted []Acted
	set.Rules(event.TypeSignal)[0].ActTraced(&secl.Context{Event: ev, Now: start}, func(a Acted) { acted = append(acted, a) })
	assert.Equal(t, []Acted{
		{Kind: "set", Variable: "process.killed", Value: secl.Value{Kind: event.KindBool, Bool: true}},
		{Kind: "set", Variable: "process.killers", Value: secl.Value{Kind: event.KindInt, List: true}, Err: acted[1].Err},
	}, acted)
	require.ErrorIs(t, acted[1].Err, secl.ErrNoScope, "the event has no signal.target.pid")
}

// TestSetNeedsItsScope: a rule that reads nothing of the process or container can set a variable of it all the same.
func TestSetNeedsItsScope(t *testing.T) {
	p := proc{pid: 7, id: 0x70, ancestors: []proc{{pid: 1, id: 0x10}}}
	for scope, read := range map[string]string{"process": "${process.v}", "container": "${container.v}", "cgroup": "${cgroup.v}"} {
		set, report := loadDir(t, map[string]string{"a.policy": `
rules:
  - id: sets
    expression: open.file.path == "/a"
    actions:
      - set: {name: v, value: true, scope: ` + scope + `}
  - {id: reads, expression: 'unlink.file.path == "/a" && ` + read + `'}
`})
		require.Empty(t, report.Problems())
		in := func(ev *event.Event) *event.Event {
			ev.Container, ev.Facts.CgroupPath = &event.ContainerContext{ID: "c"}, "/c"
			return ev
		}
		hits(t, set, in(p.opens("/a")))
		removes := p.by(event.TypeUnlink)
		removes.File = &event.FileEvent{File: event.File{Path: "/a", Name: "a"}}
		ids, errs := hits(t, set, in(removes))
		assert.Equal(t, []string{"reads"}, ids, scope)
		assert.Empty(t, errs)
	}
}
