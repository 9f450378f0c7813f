// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package csmthreatsexporter

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/picketsec/picket/internal/policy"
)

// The exporter says the same version in its header as the rules say in the logs.
func TestAgentVersion(t *testing.T) {
	assert.Equal(t, policy.DefaultAgentVersion, defaultAgentVersion)
}
