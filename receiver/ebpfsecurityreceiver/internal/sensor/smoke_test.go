// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package sensor

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSmoke(t *testing.T) {
	s, err := Open(&Options{Types: 1<<14 - 2, RingSize: 1 << 20, Scope: Scope{Trees: []uint32{uint32(os.Getpid())}}})
	if err != nil {
		t.Fatal(err.Error()[max(0, len(err.Error())-6000):])
	}
	defer s.Close()
	n := 0
	require.NoError(t, s.Snapshot(func(r *Record, err error) { require.NoError(t, err); n++ }))
	t.Log(n, "processes")
}
