// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"fmt"
	"strings"
	"testing"
	"time"

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

// TestExpiryIsOfTheHost: only its own time expires what a host has, and what goes for room before that is counted.
func TestExpiryIsOfTheHost(t *testing.T) {
	const ttl, year = time.Hour, 365 * 24 * time.Hour
	const sixteenth = MaxVariableCells / 16
	for name, tt := range map[string]struct {
		n       int           // how many values host a has beside its last one
		age     time.Duration // of these, by the last one
		skew    time.Duration // how far the clock of host b is ahead of a's
		step    time.Duration // how far b's events are apart
		kept    int           // how many of the n are there after b has filled the variable
		evicted int           // how many live ones of both are not
	}{
		"the same clock":            {n: 10, age: 1, kept: 10, evicted: sixteenth},
		"b is ahead":                {n: 10, age: 1, skew: year, kept: 10, evicted: sixteenth},
		"b is behind":               {n: 10, age: ttl, skew: -year, kept: 0, evicted: sixteenth - 10},
		"b's own expire":            {n: 10, age: 1, skew: year, step: ttl, kept: 10},
		"a has most":                {n: 12 * sixteenth, age: 1, skew: year, kept: 11 * sixteenth, evicted: sixteenth},
		"a has most, b's expire":    {n: 12 * sixteenth, age: 1, skew: year, step: ttl, kept: 12 * sixteenth},
		"a has most, which expired": {n: 12 * sixteenth, age: ttl, skew: -year, kept: 0},
	} {
		t.Run(name, func(t *testing.T) {
			vs := NewVariables()
			v, err := vs.Declare(VariableSpec{Scope: ScopeProcess, Name: "v", Kind: event.KindInt, TTL: ttl})
			require.NoError(t, err)
			e := &event.Event{}
			set := func(host string, process int, at event.Time) {
				e.Facts.ProcessID = uint64(process)
				require.NoError(t, v.Set(&Context{Event: e, Host: host, Now: at}, number(1), false))
			}
			for i := range tt.n {
				set("a", i+1, now-event.Time(tt.age))
			}
			last := tt.n + 1
			set("a", last, now)
			for i := range MaxVariableCells - tt.n {
				set("b", i+1, now+event.Time(tt.skew)+event.Time(i)*event.Time(tt.step))
			}
			require.Contains(t, v.cells.hosts, "a")
			kept := len(v.cells.hosts["a"].cells) - 1
			assert.InDelta(t, tt.kept, kept, 1, "the last one may go for one of them")
			assert.EqualValues(t, tt.evicted, vs.Evicted())
			assert.LessOrEqual(t, v.cells.n, MaxVariableCells)
		})
	}
}

// TestTimeGoesBack: a host whose clock was ahead for a moment has its later values until they expire, or are counted.
func TestTimeGoesBack(t *testing.T) {
	vs := NewVariables()
	v, err := vs.Declare(VariableSpec{Scope: ScopeProcess, Name: "v", Kind: event.KindInt, TTL: time.Hour})
	require.NoError(t, err)
	e := &event.Event{}
	e.Facts.ProcessID = 1
	c := &Context{Event: e, Host: "h", Now: now + event.Time(365*24*time.Hour)}
	require.NoError(t, v.Set(c, number(1), false))
	c.Now = now
	for range MaxVariableCells {
		e.Facts.ProcessID++
		require.NoError(t, v.Set(c, number(1), false))
	}
	assert.EqualValues(t, MaxVariableCells/16, vs.Evicted())
	assert.Equal(t, MaxVariableCells-MaxVariableCells/16+1, v.cells.n)
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

// BenchmarkSet sets a value that is there, and values of ever more processes, for which others must go.
func BenchmarkSet(b *testing.B) {
	for name, processes := range map[string]uint64{"there": 1, "full": 1 << 62} {
		b.Run(name, func(b *testing.B) {
			v, err := NewVariables().Declare(VariableSpec{Scope: ScopeProcess, Name: "v", Kind: event.KindInt, TTL: time.Hour})
			require.NoError(b, err)
			e := &event.Event{}
			c := &Context{Event: e, Now: now, Host: "h"}
			set := func(i uint64) {
				e.Facts.ProcessID = 1 + i%processes
				if err := v.Set(c, number(1), false); err != nil {
					b.Fatal(err)
				}
			}
			n := uint64(0)
			for ; n < MaxVariableCells; n++ {
				set(n)
			}
			b.ReportAllocs()
			for b.Loop() {
				n++
				set(n)
			}
		})
	}
}
