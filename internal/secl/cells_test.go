// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
)

// TestHostsAreApart: what processes, containers and cgroups of the same ids note on two hosts.
func TestHostsAreApart(t *testing.T) {
	e := &event.Event{Container: &event.ContainerContext{ID: "c"}}
	e.Facts.ProcessID, e.Facts.CgroupPath = 1, "/g"
	a, b := &Context{Event: e, Host: "a"}, &Context{Event: e, Host: "b"}
	for _, scope := range []Scope{ScopeGlobal, ScopeProcess, ScopeContainer, ScopeCgroup} {
		vs := NewVariables()
		v, err := vs.Declare(VariableSpec{Scope: scope, Name: "v", Kind: event.KindString})
		require.NoError(t, err)
		require.NoError(t, v.Set(a, text("x"), false))
		assert.Equal(t, "x", v.Get(a).String, scope)
		assert.Empty(t, v.Get(b).String, scope)
		require.NoError(t, v.Set(b, text("y"), false))
		vs.Forget("a")
		assert.Empty(t, v.Get(a).String, scope)
		assert.Equal(t, "y", v.Get(b).String, scope)
		assert.Equal(t, 1, v.cells.n, scope)
		vs.Forget("b")
		assert.Equal(t, cells{hosts: map[string]*hostCells{}}, v.cells, scope)
	}
}

// TestFullVariable: who has most of a full variable gives way.
func TestFullVariable(t *testing.T) {
	vs := NewVariables()
	v, err := vs.Declare(VariableSpec{Scope: ScopeProcess, Name: "v", Kind: event.KindInt})
	require.NoError(t, err)
	set := func(host string, from, n int) {
		e := &event.Event{}
		c := &Context{Event: e, Host: host}
		for i := range n {
			e.Facts.ProcessID = uint64(from + i + 1)
			require.NoError(t, v.Set(c, number(1), false))
		}
	}
	count := func(host string) int {
		if h := v.cells.hosts[host]; h != nil {
			return len(h.cells)
		}
		return 0
	}
	for i := range 100 {
		set(fmt.Sprint(i), 0, 10)
	}
	set("large", 0, MaxVariableCells-1000)
	assert.Zero(t, vs.Evicted())
	set("large", MaxVariableCells, 1)
	assert.EqualValues(t, MaxVariableCells/16, vs.Evicted())
	assert.Equal(t, MaxVariableCells-1000-MaxVariableCells/16+1, count("large"))
	set("larger", 0, 2*MaxVariableCells)
	for i := range 100 {
		require.Equal(t, 10, count(fmt.Sprint(i)), i)
	}
	assert.InDelta(t, count("large"), count("larger"), MaxVariableCells/8, "they share what the others do not have")
	assert.LessOrEqual(t, v.cells.n, MaxVariableCells)

	// The count goes on with the values.
	next := NewVariables()
	next.Continue(vs)
	w, err := next.Declare(v.VariableSpec)
	require.NoError(t, err)
	assert.Equal(t, vs.Evicted(), next.Evicted())
	assert.Same(t, v.values, w.values)
}

// TestVariableBytes: long texts count for what they are.
func TestVariableBytes(t *testing.T) {
	vs := NewVariables()
	v, err := vs.Declare(VariableSpec{Scope: ScopeContainer, Name: "v", Kind: event.KindString})
	require.NoError(t, err)
	e := &event.Event{Container: &event.ContainerContext{}}
	long := text(strings.Repeat("x", MaxStringBytes))
	for i := range 2 * MaxVariableBytes / MaxStringBytes {
		e.Container.ID = fmt.Sprint(i)
		require.NoError(t, v.Set(&Context{Event: e, Host: "large"}, long, false))
		require.NoError(t, v.Set(&Context{Event: e, Host: "small"}, text("y"), false))
		require.LessOrEqual(t, v.cells.bytes, MaxVariableBytes)
	}
	assert.Greater(t, v.cells.bytes, MaxVariableBytes/2)
	assert.Len(t, v.cells.hosts["small"].cells, 2*MaxVariableBytes/MaxStringBytes)
	assert.Positive(t, vs.Evicted())
	// What is replaced does not count any more.
	before := v.cells.bytes
	require.NoError(t, v.Set(&Context{Event: e, Host: "large"}, text(""), false))
	assert.Equal(t, before-MaxStringBytes, v.cells.bytes)
	sum := 0
	for _, h := range v.cells.hosts {
		for _, x := range h.cells {
			sum += x.bytes()
		}
	}
	assert.Equal(t, sum, v.cells.bytes)

	require.EqualError(t, v.Set(&Context{Event: e}, text(long.String+"x"), false), `variable "container.v" would be longer than 65536 bytes`)
	list, err := vs.Declare(VariableSpec{Name: "list", Kind: event.KindString, List: true})
	require.NoError(t, err)
	require.EqualError(t, list.Set(&Context{}, text(strings.Repeat("x", MaxListBytes)), true), `variable "list" would be longer than 4194304 bytes`)
}
