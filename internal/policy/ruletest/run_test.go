// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package ruletest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestExamples runs the unit tests of the example policies. Each rule has a test that it matches and one that it does not, with
// at least one event of its own type for either.
func TestExamples(t *testing.T) {
	files, err := Files([]string{"../../../examples/policies"})
	require.NoError(t, err)
	names, rules := map[string]bool{}, map[string]RuleCoverage{}
	for _, path := range files {
		r := Run(path, nil)
		require.NoError(t, r.Err)
		assert.Empty(t, r.Problems)
		assert.NotEmpty(t, r.Tests)
		for _, test := range r.Tests {
			names[test.Name] = true
			for _, f := range test.Failures {
				t.Errorf("%s: %s", test.Name, f.String())
			}
		}
		for _, rule := range r.Rules {
			c := rules[rule.ID]
			c.Matched, c.Quiet = c.Matched || rule.Matched, c.Quiet || rule.Quiet
			rules[rule.ID] = c
		}
	}
	assert.NotEmpty(t, rules)
	for id, c := range rules {
		assert.True(t, c.Matched, "no event matches %s", id)
		assert.True(t, c.Quiet, "every event of its type matches %s", id)
		assert.True(t, names[id+" matches"], "%s has no test that it matches", id)
		assert.True(t, names[id+" does not match"], "%s has no test that it does not match", id)
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
