// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
)

func text(s string) Value  { return Value{Kind: event.KindString, String: s} }
func number(n int64) Value { return Value{Kind: event.KindInt, Int: n} }

func declare(t *testing.T, spec VariableSpec) *Variable {
	t.Helper()
	v, err := NewVariables().Declare(spec)
	require.NoError(t, err)
	return v
}

func TestDeclare(t *testing.T) {
	vs := NewVariables()
	a, err := vs.Declare(VariableSpec{Name: "x", Kind: event.KindInt})
	require.NoError(t, err)
	again, err := vs.Declare(VariableSpec{Name: "x", Kind: event.KindInt, TTL: time.Second})
	require.NoError(t, err)
	assert.Same(t, a, again)
	_, err = vs.Declare(VariableSpec{Scope: ScopeProcess, Name: "x", Kind: event.KindString})
	require.NoError(t, err)
	for message, spec := range map[string]VariableSpec{
		"of type int and of type string": {Name: "x", Kind: event.KindString},
		"and of type int list":           {Name: "x", Kind: event.KindInt, List: true},
		"no name":                        {Name: "a b", Kind: event.KindInt},
		"cannot be":                      {Name: "y", Kind: event.KindBool, List: true},
		"of type invalid cannot be":      {Name: "y"},
		"only variables of scope":        {Name: "y", Kind: event.KindInt, Inherited: true},
		"out of range":                   {Name: "y", Kind: event.KindString, List: true, Size: MaxListSize + 1},
	} {
		_, err := vs.Declare(spec)
		require.ErrorContains(t, err, message)
	}
	var refs []string
	for _, v := range vs.All() {
		refs = append(refs, v.Ref())
	}
	assert.Equal(t, []string{"process.x", "x"}, refs)
}

func TestSetScalar(t *testing.T) {
	c := &Context{Now: 100}
	n := declare(t, VariableSpec{Name: "n", Kind: event.KindInt})
	assert.Equal(t, number(0), n.Get(c))
	require.NoError(t, n.Set(c, number(3), false))
	require.NoError(t, n.Set(c, number(4), true))
	assert.Equal(t, number(7), n.Get(c))
	require.NoError(t, n.Set(c, number(1), false))
	assert.Equal(t, number(1), n.Get(c))
	require.ErrorContains(t, n.Set(c, text("x"), false), "of type int, not string")
	require.ErrorContains(t, n.Set(c, Value{Kind: event.KindInt, List: true}, false), "of type int")

	s := declare(t, VariableSpec{Name: "s", Kind: event.KindString, TTL: 10, Default: text("none")})
	assert.Equal(t, text("none"), s.Get(c))
	require.NoError(t, s.Set(c, text("a"), true))
	require.NoError(t, s.Set(c, text("b"), true))
	assert.Equal(t, text("ab"), s.Get(c))
	c.Now = 109
	assert.Equal(t, text("ab"), s.Get(c))
	c.Now = 110
	assert.Equal(t, text("none"), s.Get(c), "it has expired")
	require.NoError(t, s.Set(c, text("c"), true))
	assert.Equal(t, text("c"), s.Get(c), "an expired value is not continued")
	require.Error(t, s.Set(c, text(string(make([]byte, MaxStringBytes))), true))

	b := declare(t, VariableSpec{Name: "b", Kind: event.KindBool})
	require.NoError(t, b.Set(c, Value{Kind: event.KindBool, Bool: true}, false))
	assert.ErrorContains(t, b.Set(c, Value{Kind: event.KindBool, Bool: true}, true), "cannot be appended")
}

func TestSetList(t *testing.T) {
	c := &Context{Now: 100}
	get := func(v *Variable) []string { return v.Get(c).Strings }
	v := declare(t, VariableSpec{Name: "l", Kind: event.KindString, List: true, Size: 3, TTL: 10})
	for i, s := range []string{"a", "b", "c"} {
		c.Now = event.Time(100 + i)
		require.NoError(t, v.Set(c, text(s), true))
	}
	assert.Equal(t, []string{"a", "b", "c"}, get(v))
	require.NoError(t, v.Set(c, text("a"), true)) // a is young again
	assert.Equal(t, []string{"b", "c", "a"}, get(v))
	require.NoError(t, v.Set(c, text("d"), true)) // the oldest goes
	assert.Equal(t, []string{"c", "a", "d"}, get(v))
	c.Now = 112
	assert.Equal(t, []string(nil), get(v), "every element has its own end")
	require.NoError(t, v.Set(c, Value{Kind: event.KindString, List: true, Strings: []string{"x", "y", "x"}}, false))
	assert.Equal(t, []string{"y", "x"}, get(v))

	ints := declare(t, VariableSpec{Name: "i", Kind: event.KindInt, List: true})
	for i := range DefaultListSize + 1 {
		require.NoError(t, ints.Set(c, number(int64(i)), true))
	}
	assert.Len(t, ints.Get(c).Ints, DefaultListSize)
	assert.Equal(t, int64(1), ints.Get(c).Ints[0])

	ips := declare(t, VariableSpec{Name: "ip", Kind: event.KindIP, List: true})
	ip := netip.MustParsePrefix("10.0.0.0/8")
	require.NoError(t, ips.Set(c, Value{Kind: event.KindIP, IP: ip}, true))
	assert.Equal(t, []netip.Prefix{ip}, ips.Get(c).IPs)
}

func TestScopes(t *testing.T) {
	process := func(id uint64, container string, ancestors ...uint64) *Context {
		e := &event.Event{}
		e.Process.Process = &event.Process{ID: id, Container: &event.ContainerContext{ID: container}}
		for _, a := range ancestors {
			e.Process.Ancestors = append(e.Process.Ancestors, &event.Process{ID: a})
		}
		e.Facts.CgroupPath = "/" + container
		return &Context{Event: e, Now: 1}
	}
	one, two, child := process(1, "c1"), process(2, "c1"), process(3, "", 1)
	for scope, want := range map[Scope][3]string{
		ScopeGlobal:    {"x", "x", "x"},
		ScopeProcess:   {"x", "", ""},
		ScopeContainer: {"x", "x", ""},
		ScopeCgroup:    {"x", "x", ""},
	} {
		v := declare(t, VariableSpec{Scope: scope, Name: "v", Kind: event.KindString})
		require.NoError(t, v.Set(one, text("x"), false))
		for i, c := range []*Context{one, two, child} {
			assert.Equal(t, want[i], v.Get(c).String, "%s %d", v.Ref(), i)
		}
		other := *one
		other.Host = "another"
		assert.Empty(t, v.Get(&other).String, v.Ref())
	}

	v := declare(t, VariableSpec{Scope: ScopeProcess, Name: "v", Kind: event.KindString, Inherited: true})
	require.NoError(t, v.Set(one, text("x"), false))
	assert.Equal(t, "x", v.Get(child).String)
	require.NoError(t, v.Set(child, text("y"), false))
	assert.Equal(t, "y", v.Get(child).String)
	assert.Equal(t, "x", v.Get(one).String)

	// Between its fork and its first exec a process has an id that no list of ancestors has.
	const program = 1 << 60
	forked := &Context{Event: &event.Event{Facts: event.Facts{ProcessID: event.PreviousImage(program)}}}
	started := &Context{Event: &event.Event{Facts: event.Facts{ProcessID: program}}}
	below := &Context{Event: &event.Event{
		Facts:   event.Facts{ProcessID: 5, AncestorIDs: []uint64{4, program}},
		Process: event.ProcessContext{Ancestors: []*event.Process{{}, {}}},
	}}
	require.NoError(t, v.Set(forked, text("z"), false))
	assert.Equal(t, "z", v.Get(started).String)
	assert.Equal(t, "z", v.Get(below).String)
	require.NoError(t, v.Set(started, text("new"), false))
	assert.Equal(t, "new", v.Get(below).String, "the nearest")
	alone := declare(t, VariableSpec{Scope: ScopeProcess, Name: "w", Kind: event.KindString})
	require.NoError(t, alone.Set(forked, text("z"), false))
	assert.Empty(t, alone.Get(started).String, "not inherited")

	in := declare(t, VariableSpec{Scope: ScopeContainer, Name: "v", Kind: event.KindString})
	require.ErrorIs(t, in.Set(child, text("x"), false), ErrNoScope)
	require.ErrorIs(t, in.Set(&Context{}, text("x"), false), ErrNoScope)

	vs := NewVariables()
	p, err := vs.Declare(VariableSpec{Scope: ScopeProcess, Name: "p", Kind: event.KindString})
	require.NoError(t, err)
	require.NoError(t, p.Set(one, text("x"), false))
	p.Release("", 2, "")
	assert.Equal(t, "x", p.Get(one).String)
	p.Release("", 1, "")
	assert.Empty(t, p.Get(one).String)
}

func TestVariableBound(t *testing.T) {
	v := declare(t, VariableSpec{Scope: ScopeProcess, Name: "p", Kind: event.KindInt})
	e := &event.Event{}
	c := &Context{Event: e}
	for i := range MaxVariableCells + 10 {
		e.Facts.ProcessID = uint64(i + 1)
		require.NoError(t, v.Set(c, number(1), false))
	}
	assert.LessOrEqual(t, v.cells.n, MaxVariableCells)
	assert.EqualValues(t, MaxVariableCells/16, v.evicted.Load())
	assert.Equal(t, int64(1), v.Get(c).Int, "the newest stays")
}

func TestCompileValue(t *testing.T) {
	env := environment(t)
	for expr, want := range map[string]Value{
		`${i} + 1`:                 number(8),
		`process.comm`:             text("sh"),
		`"x_${i}_%{process.comm}"`: text("x_7_sh"),
		`process.pid == 7`:         {Kind: event.KindBool, Bool: true},
		`process.ancestors.comm`:   {Kind: event.KindString, List: true, Strings: []string{"bash", "nginx", "init"}},
		`[1, 2]`:                   {Kind: event.KindInt, List: true, Ints: []int64{1, 2}},
		`SHELLS`:                   {Kind: event.KindString, List: true, Strings: []string{"sh", "bash", "z*"}},
		`10.0.0.0/8`:               {Kind: event.KindIP, IP: netip.MustParsePrefix("10.0.0.0/8")},
	} {
		p, err := CompileValue(expr, env)
		require.NoError(t, err, expr)
		assert.Equal(t, want, p.Eval(&Context{Event: flatEvent(t, process), Now: now}), expr)
	}
	for _, expr := range []string{`process.ancestors[A].comm`, `process.nix`, `a b`, `process.ancestors.is_thread`} {
		_, err := CompileValue(expr, env)
		assert.Error(t, err, expr)
	}
}

func TestProgram(t *testing.T) {
	p, err := Compile(`open.file.path == "/x" && process.uid == 0 && open.file.path != "" && container.tags in ["a"] && ${process.key} == "k"`, environment(t))
	require.NoError(t, err)
	assert.Equal(t, event.TypeOpen, p.EventType())
	var names []string
	for _, f := range p.Fields() {
		names = append(names, f.Name)
	}
	assert.Equal(t, []string{"open.file.path", "process.uid", "container.tags"}, names)
	assert.Equal(t, event.NeedFile|event.NeedProcess|event.NeedCredentials|event.NeedFacts, p.Need())
	require.Len(t, p.Variables(), 1)
	assert.Equal(t, "process.key", p.Variables()[0].Ref())
	e := &event.Event{Type: event.TypeOpen}
	e.Process.Process = &event.Process{}
	assert.Equal(t, []string{"container.tags"}, p.Unavailable(nil, e))
}

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		glob, path string
		want       bool
	}{
		{"/tmp/a", "/tmp/a", true},
		{"/tmp/a", "/tmp/b", false},
		{"/tmp/*", "/tmp/a", true},
		{"/tmp/*", "/tmp/a/b", false},
		{"/tmp/*", "/tmp", false},
		{"/tmp/*", "/tmp/", true},
		{"/tmp/*/c", "/tmp/b/c", true},
		{"/tmp/*/c", "/tmp/c", false},
		{"/tmp/a*", "/tmp/a", true},
		{"/tmp/a*z", "/tmp/az", true},
		{"/tmp/a*z", "/tmp/abz", true},
		{"/tmp/a*z", "/tmp/a", false},
		{"/tmp/aa*a", "/tmp/aa", false}, // the ends may not overlap
		{"/tmp/*b*d*", "/tmp/abcde", true},
		{"/tmp/*b*d*", "/tmp/adcb", false},
		{"/tmp/**", "/tmp/a/b/c", true},
		{"/tmp/**", "/tmp", true},
		{"/tmp/**", "/tmpx", false},
		{"/tmp/**", "/var/tmp/a", false},
		{"/**", "/a/b", true},
		{"/**/b", "/b", true},
		{"/**/b", "/a/a/b", true},
		{"/**/b", "/a/b/c", false},
		{"/a/**/b", "/a/b", true},
		{"/a/**/b", "/a/x/y/b", true},
		{"/a/**/b", "/a", false},
		{"/a/**/a", "/a", false}, // one segment is not both ends
		{"/a/**/b/c", "/a/c", false},
		{"/a/**/b/*", "/a/b/b/c", true},
		{"/a/x**", "/a/xyz", true},
		{"/a/x**", "/a/x/y", false},
		{"/a/***/b", "/a/x/b", true},
		{"*/b", "/a/b", true},
		{"*/b", "/b", false},
		{"*/b", "/x/a/b", false},
		{"*b", "/ab", true},
		{"*b*", "abc", true},
		{"/ab*", "abc", false}, // not absolute
		{"**", "/a/b", true},
		{"/*", "", false},
		{"/**", "", false},
	} {
		g, err := newGlob(tt.glob)
		require.NoError(t, err, tt.glob)
		assert.Equal(t, tt.want, g.match(tt.path), "%s %s", tt.glob, tt.path)
	}
	_, err := newGlob("/**/a/**")
	assert.Error(t, err)
}

func TestPattern(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		fold, want    bool
	}{
		{"", "", false, true},
		{"", "a", false, false},
		{"*", "", false, true},
		{"*", "a/b", false, true},
		{"a*", "ab/c", false, true},
		{"*c", "ab/c", false, true},
		{"a*c", "ac", false, true},
		{"ab*bc", "abc", false, false},
		{"*a*a*", "a", false, false},
		{"*a*a*", "xaxax", false, true},
		{"a?c", "abc", false, false},
		{"a.c", "abc", false, false},
		{"A*C", "abc", false, false},
		{"A*C", "abc", true, true},
		{"*B*", "abc", true, true},
		{"ABC", "abc", true, true},
	} {
		assert.Equal(t, tt.want, newPattern(tt.pattern).match(tt.text, tt.fold), fmt.Sprint(tt))
	}
}

// TestOfProcess: which process a pid stands for.
func TestOfProcess(t *testing.T) {
	withIDs := func() *event.Event {
		e := &event.Event{Type: event.TypeSignal, Facts: event.Facts{ProcessID: 0x70, ParentID: 0x30, AncestorIDs: []uint64{0x30, 0x20}, TargetID: 0x90}}
		e.Process = event.ProcessContext{
			Process: &event.Process{PID: 7}, Parent: &event.Process{PID: 3}, Ancestors: []*event.Process{{PID: 3}, {PID: 2}},
		}
		e.Signal = &event.SignalEvent{Target: &event.ProcessContext{
			Process: &event.Process{PID: 9}, Ancestors: []*event.Process{{PID: 8, ID: 0x80}, {PID: 6}},
		}}
		return e
	}
	signalToParent := withIDs()
	signalToParent.Signal.Target.PID = 3
	tests := map[string]struct {
		e    *event.Event
		pid  int64
		want uint64
	}{
		"actor":                              {withIDs(), 7, 0x70},
		"target":                             {withIDs(), 9, 0x90},
		"parent":                             {withIDs(), 3, 0x30},
		"ancestor":                           {withIDs(), 2, 0x20},
		"ancestor of the target":             {withIDs(), 8, 0x80},
		"its id is not known":                {withIDs(), 6, 0},
		"no process of the event":            {withIDs(), 5, 0},
		"the target's image is newer":        {signalToParent, 3, 0x90},
		"an event without ids":               {&event.Event{}, 5, 5},
		"an event without ids, of the actor": {flatEvent(t, `{"type":"signal","process.pid":7,"signal.pid":9}`), 9, 9},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			of, err := (&Context{Event: tt.e, Now: 5, Host: "h"}).OfProcess(tt.pid)
			if tt.want == 0 {
				require.ErrorIs(t, err, errUnknownProcess)
				require.NotErrorIs(t, err, ErrNoScope)
				assert.Nil(t, of)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, &Context{Event: tt.e, Now: 5, Host: "h", process: tt.want}, of)
		})
	}
	for _, pid := range []int64{0, -1} {
		_, err := (&Context{Event: withIDs()}).OfProcess(pid)
		require.ErrorIs(t, err, ErrNoScope)
	}
	_, err := (&Context{}).OfProcess(7)
	require.ErrorIs(t, err, ErrNoScope)

	// Set and Get are about that process, also if the variable is inherited and the actor has a value.
	v := declare(t, VariableSpec{Scope: ScopeProcess, Name: "v", Kind: event.KindString, Inherited: true})
	c := &Context{Event: withIDs(), Now: 5, Host: "h"}
	of, err := c.OfProcess(9)
	require.NoError(t, err)
	require.NoError(t, v.Set(&Context{Event: &event.Event{Facts: event.Facts{ProcessID: 0x30}}, Now: 5, Host: "h"}, text("parent's"), false))
	assert.Empty(t, v.Get(of).String)
	assert.Equal(t, "parent's", v.Get(c).String)
	require.NoError(t, v.Set(of, text("target's"), false))
	assert.Equal(t, "target's", v.Get(of).String)
	assert.Equal(t, "parent's", v.Get(c).String)
	assert.Equal(t, "target's", v.Get(&Context{Event: &event.Event{Facts: event.Facts{ProcessID: 0x90}}, Now: 5, Host: "h"}).String)
}
