// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package ruletest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNewerPolicies runs the unit tests of a policy that uses what policies of newer agents do.
func TestNewerPolicies(t *testing.T) {
	r := Run("testdata/newer/newer_test.yaml", nil)
	require.NoError(t, r.Err)
	assert.Empty(t, r.Problems)
	for _, test := range r.Tests {
		for _, f := range test.Failures {
			t.Errorf("%s: %s", test.Name, f.String())
		}
	}
	for _, rule := range r.Rules {
		assert.True(t, rule.Matched, "%s: %s", rule.Path, rule.ID)
	}
	assert.Len(t, r.Rules, 11)
}
