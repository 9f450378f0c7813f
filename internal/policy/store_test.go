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
