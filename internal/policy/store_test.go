// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

func rule(id string) string {
	return "rules: [{id: " + id + ", expression: '" + openA + "'}]"
}

func TestStoreReload(t *testing.T) {
	type step struct {
		content string // of a.policy; empty: the file is removed
		changed bool
		kept    bool
		inUse   []string
	}
	good, partly := rule("a"), "rules: [{id: b, expression: '"+openA+"'}, {id: c, expression: nope}]"
	tests := map[string]struct {
		onRuleError OnRuleError
		steps       []step
	}{
		"load": {OnRuleErrorLoad, []step{
			{good, true, false, []string{"a"}},
			{good, false, false, []string{"a"}},
			{"rules: [", true, false, []string{"a"}}, // the file's previous version
			{"rules: [", false, false, []string{"a"}},
			{"rules: {", true, false, []string{"a"}}, // another mistake is told
			{partly, true, false, []string{"b"}},
			{"rules: [{id: c, expression: nope}]", true, true, []string{"b"}}, // no rule at all
			{"rules: [{id: b, expression: '" + openA + "', disabled: true}]", true, true, []string{"b"}},
			{good, true, false, []string{"a"}},
			{"", true, true, []string{"a"}},
			{good, true, false, []string{"a"}},
		}},
		"keep_previous": {OnRuleErrorKeepPrevious, []step{
			{partly, true, false, []string{"b"}}, // nothing to keep at the start
			{good, true, false, []string{"a"}},
			{partly, true, true, []string{"a"}},
			{rule("x"), true, false, []string{"x"}},
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "a.policy")
			s := NewStore([]string{dir}, Options{Machine: testMachine()}, tt.onRuleError)
			assert.Nil(t, s.Current())
			var told []*Report
			for i, st := range tt.steps {
				if st.content == "" {
					require.NoError(t, os.Remove(path))
				} else {
					require.NoError(t, os.WriteFile(path, []byte(st.content), 0o600))
				}
				report, changed := s.Load()
				assert.Equal(t, st.changed, changed, "step %d", i)
				assert.Equal(t, st.kept, report.Kept, "step %d: %+v", i, report)
				assert.Equal(t, st.kept, report.Reason != "", "step %d", i)
				assert.ElementsMatch(t, st.inUse, sortedKeys(s.Current().ids), "step %d", i)
				if i == 0 {
					unsubscribe := s.Subscribe(func(set *Set, r *Report) {
						assert.Same(t, s.Current(), set)
						told = append(told, r)
					})
					t.Cleanup(unsubscribe)
				}
				assert.Same(t, report, told[len(told)-1])
			}
			changes := 0
			for _, st := range tt.steps {
				if st.changed {
					changes++
				}
			}
			assert.Len(t, told, changes)
		})
	}
}

func TestStoreUnsubscribe(t *testing.T) {
	dir := write(t, map[string]string{"a.policy": rule("a")})
	s := NewStore([]string{dir}, Options{Machine: testMachine()}, OnRuleErrorLoad)
	calls := 0
	unsubscribe := s.Subscribe(func(*Set, *Report) { calls++ })
	assert.Zero(t, calls, "nothing is loaded yet")
	s.Load()
	assert.Equal(t, 1, calls)
	unsubscribe()
	unsubscribe()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.policy"), []byte(rule("b")), 0o600))
	s.Load()
	assert.Equal(t, 1, calls)
}

func TestStoreConcurrency(t *testing.T) {
	dir := write(t, map[string]string{"a.policy": rule("r0")})
	s := NewStore([]string{dir}, Options{Machine: testMachine()}, OnRuleErrorLoad)
	s.Load()
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				assert.Len(t, s.Current().Rules(event.TypeOpen), 1)
				s.Subscribe(func(set *Set, _ *Report) { _ = set.Len() })()
			}
		})
	}
	for i := range 20 {
		tmp := filepath.Join(dir, "tmp")
		require.NoError(t, os.WriteFile(tmp, []byte(rule(fmt.Sprintf("r%d", i))), 0o600))
		require.NoError(t, os.Rename(tmp, filepath.Join(dir, "a.policy")))
		s.Load()
	}
	close(done)
	wg.Wait()
	assert.True(t, s.Current().Has("r19"))
}

// A variable keeps its values when the rules change, as long as it is the same one.
func TestValuesOutliveAReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.policy")
	store := NewStore([]string{path}, Options{Machine: testMachine()}, OnRuleErrorLoad)
	load := func(actions, expression string) *Set {
		t.Helper()
		require.NoError(t, os.WriteFile(path, []byte("rules:\n  - id: sets\n    expression: exec.comm == \"x\"\n    actions:\n"+actions+
			"  - id: reads\n    expression: '"+expression+"'\n"), 0o600))
		report, changed := store.Load()
		require.Empty(t, report.Problems())
		require.True(t, changed)
		return store.Current()
	}
	at := func(set *Set, comm string) (ids []string) {
		t.Helper()
		ev, err := event.ParseFlatEvent([]byte(`{"type":"exec","process.pid":7,"exec.comm":"` + comm + `"}`))
		require.NoError(t, err)
		c := &secl.Context{Event: ev, Host: "h"}
		var m Matcher
		m.Match(set, c)
		for r := m.Next(); r != nil; r = m.Next() {
			ids = append(ids, r.ID)
			require.NoError(t, r.Act(c))
		}
		return ids
	}
	const reads = `exec.comm == "y" && ${process.n} == 3 && "b" in ${list}`
	first := load("      - set: {name: n, value: 3, scope: process}\n      - set: {name: list, value: [a, b]}\n", reads)
	assert.Empty(t, at(first, "y"))
	assert.Equal(t, []string{"sets"}, at(first, "x"))
	assert.Equal(t, []string{"reads"}, at(first, "y"))
	second := load("      - set: {name: n, value: 4, scope: process}\n      - set: {name: list, value: [c]}\n", reads)
	assert.Equal(t, []string{"reads"}, at(second, "y"), "the values of before")
	assert.Equal(t, []string{"sets"}, at(second, "x"))
	assert.Empty(t, at(second, "y"))
	third := load("      - set: {name: n, value: x, scope: process}\n      - set: {name: list, value: [1]}\n", `exec.comm == "y" && ${process.n} == "" && ${list.length} == 0`)
	assert.Equal(t, []string{"reads"}, at(third, "y"), "of another type is another variable")
}
