// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package ruletest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestExamples runs the unit tests of the example policies.
func TestExamples(t *testing.T) {
	files, err := Files([]string{"../../../examples/policies"})
	require.NoError(t, err)
	for _, path := range files {
		r := Run(path, nil)
		require.NoError(t, r.Err)
		assert.Empty(t, r.Problems)
		assert.NotEmpty(t, r.Tests)
		for _, test := range r.Tests {
			for _, f := range test.Failures {
				t.Errorf("%s: %s", test.Name, f.String())
			}
		}
	}
}
