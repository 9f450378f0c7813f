// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package ruletest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestExamples runs the unit tests of the example policies. Each rule has a test "<id> matches", in which it matches an event, and
// a test "<id> does not match", in which it matches none, of its own type or types, of which there is at least one.
func TestExamples(t *testing.T) {
	files, err := Files([]string{"../../../examples/policies"})
	require.NoError(t, err)
	tested, rules := map[string]bool{}, map[string]bool{}
	for _, path := range files {
		r := Run(path, nil)
		require.NoError(t, r.Err)
		assert.Empty(t, r.Problems)
		assert.NotEmpty(t, r.Tests)
		for _, test := range r.Tests {
			for _, f := range test.Failures {
				t.Errorf("%s: %s", test.Name, f.String())
			}
			if id, ok := strings.CutSuffix(test.Name, " matches"); ok {
				assert.True(t, test.seen.matched[id], "%s: %q has no event that does", path, test.Name)
			} else {
				id, ok = strings.CutSuffix(test.Name, " does not match")
				assert.True(t, ok, "%s: %q is no name of a test", path, test.Name)
				assert.True(t, test.seen.quiet[id], "%s: %q has no event of the rule's type", path, test.Name)
				assert.False(t, test.seen.matched[id], "%s: %q has an event that does", path, test.Name)
			}
			tested[test.Name] = true
		}
		for _, rule := range r.Rules {
			rules[rule.ID] = true
		}
	}
	assert.NotEmpty(t, rules)
	for id := range rules {
		assert.True(t, tested[id+" matches"], "%s has no test that it matches", id)
		assert.True(t, tested[id+" does not match"], "%s has no test that it does not match", id)
	}
}

// TestCoverage tells rules that no event matched, and those that no event of their type left alone, from the others.
func TestCoverage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a_test.yaml")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.policy"), []byte(`
rules:
  - {id: both, expression: exec.file.name == "a"}
  - {id: always, expression: exec.file.name != ""}
  - {id: never, expression: exec.file.name == "c"}
  - {id: other_type, expression: open.file.name == "a"}
`), 0o600))
	require.NoError(t, os.WriteFile(path, []byte(`
policies: [a.policy]
tests:
  - {name: a, events: [{event: {type: exec, exec.file.name: a}, matches: [both, always]}, {event: {type: exec, exec.file.name: b}, matches: [always]}]}
`), 0o600))
	r := Run(path, nil)
	require.NoError(t, r.Err)
	assert.True(t, r.OK())
	got := map[string][2]bool{}
	for _, rule := range r.Rules {
		got[rule.ID] = [2]bool{rule.Matched, rule.Quiet}
	}
	assert.Equal(t, map[string][2]bool{"both": {true, true}, "always": {true, false}, "never": {false, true}, "other_type": {false, false}}, got)
}
