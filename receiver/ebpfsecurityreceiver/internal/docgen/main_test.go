// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPagesAreUpToDate: a table that changes takes its page along.
func TestPagesAreUpToDate(t *testing.T) {
	for name, want := range pages() {
		got, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", name))
		require.NoError(t, err)
		require.Equal(t, want, string(got), "docs/%s is older than the code: run make generate", name)
	}
}

// TestFieldsHidesOnlyWhatProcessHas: a field of exec or exit that process lacks has a row of its own.
func TestFieldsHidesOnlyWhatProcessHas(t *testing.T) {
	names := map[string]bool{"process.pid": true}
	for name, want := range map[string]bool{
		"exec.pid": true, "exit.pid": true, "process.parent.pid": true, "process.ancestors.pid": true,
		"exit.code": false, "process.ancestors.length": false, "process.pid": false, "execution.pid": false,
	} {
		require.Equal(t, want, isRepeated(name, names), name)
	}
}
