// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

// BenchmarkMatch evaluates all rules of a set on an event that is decoded already, and that none of them matches.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "b.policy")
			require.NoError(b, os.WriteFile(path, benchmarkSource(n), 0o600))
			set, _ := Load([]string{path}, Options{Machine: testMachine()})
			ev, err := event.ParseFlatEvent([]byte(`{"type":"open","open.file.path":"/usr/lib/x86_64-linux-gnu/libc.so.6","open.flags":"O_RDONLY"}`))
			require.NoError(b, err)
			c := &secl.Context{Event: ev}
			b.ReportAllocs()
			for b.Loop() {
				for _, r := range set.Rules(event.TypeOpen) {
					if r.Program.Match(c) {
						b.Fatal(r.ID)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/rule")
		})
	}
}
