// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

// idOf is pk_process_id_of of bpf/lib/task.h.
func idOf(pid uint32, start, execs uint64) uint64 { return mix(mix(start^uint64(pid)<<32) + execs) }

func TestPreviousImage(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same in every run
	for range 1000 {
		pid, start, execs := random.Uint32(), random.Uint64(), random.Uint64()
		assert.Equal(t, idOf(pid, start, execs-1), PreviousImage(idOf(pid, start, execs)))
		x := random.Uint64()
		assert.Equal(t, x, unmix(mix(x)))
	}
}
