// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package sensor

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
)

// TestAttributesOfCalls: the table of attributes says of the types whose calls have flags and paths that they have them.
func TestAttributesOfCalls(t *testing.T) {
	of := func(key string) event.TypeSet {
		i := slices.IndexFunc(event.Attributes, func(a event.Attribute) bool { return a.Key == key })
		require.GreaterOrEqual(t, i, 0, key)
		return event.Attributes[i].Types
	}
	var flags, paths event.TypeSet
	for i := range syscalls {
		r := &syscalls[i]
		typ := r.typ
		if typ == typeExecFailed {
			typ = event.TypeExec
		}
		if r.typ >= event.NumTypes && r.typ != typeExecFailed {
			continue
		}
		isFile := slices.ContainsFunc(fileSyscalls, func(f row) bool { return f.name == r.name })
		if r.flags != 0 || isFile && r.fixed != 0 { // other calls have something else in fixed
			flags |= event.Set(typ)
		}
		if r.path != 0 {
			paths |= event.Set(typ)
		}
	}
	assert.Equal(t, flags, of(event.AttrFlags))
	assert.Equal(t, paths, of(event.AttrSyscallPath))
}
