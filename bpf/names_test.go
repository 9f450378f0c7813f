// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
)

// TestMapNames: rules know Picket's own maps by their names.
func TestMapNames(t *testing.T) {
	var names []string
	for _, load := range []func() (*ebpf.CollectionSpec, error){LoadSyscall, LoadSyscallDirect} {
		spec, err := load()
		require.NoError(t, err)
		for name := range spec.Maps {
			if !strings.HasPrefix(name, ".") { // variables
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	assert.Equal(t, event.Constants["CWS_MAP_NAMES"].Strings, slices.Compact(names))
}
