// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package enrich

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const testStat = "71 (a) b) S 1 71 71 0 -1 4194368 100 0 0 0 1 2 0 0 20 0 1 0 12345 1000 20 18446744073709551615 1 1 0\n"

func TestParseStat(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       ProcStat
		ok         bool
	}{
		{"forked", testStat, ProcStat{State: 'S', Flags: 4194368, Start: 12345, Forked: true}, true},
		{"executed", "1 (x) R 0 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 7", ProcStat{State: 'R', Flags: 4194304, Start: 7}, true},
		{"empty", "", ProcStat{}, false},
		{"no name", "1 x R 0 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 7", ProcStat{}, false},
		{"nothing behind the name", "1 (x)", ProcStat{}, false},
		{"too short", "1 (x) R 0 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0", ProcStat{}, false},
		{"flags too large", "1 (x) R 0 1 1 0 -1 4294967296 0 0 0 0 0 0 0 0 20 0 1 0 7", ProcStat{}, false},
		{"no state", "1 (x) 12 0 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 7", ProcStat{}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, ok := ParseStat([]byte(tc.text))
			assert.Equal(t, tc.ok, ok)
			assert.Equal(t, tc.want, got)
		})
	}
}

// The kernel's own word: a shell has executed a program, its subshell has not.
func TestParseStatOfSubshell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell")
	}
	cmd := exec.CommandContext(t.Context(), sh, "-c", `exec 3<&0; (read x <&3) & echo $!; wait`)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _, _ = in.Close(), cmd.Wait() })
	stat := func(pid int) ProcStat {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		require.NoError(t, err)
		s, ok := ParseStat(data)
		require.True(t, ok)
		return s
	}
	assert.False(t, stat(cmd.Process.Pid).Forked)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	pid := 0
	_, err = fmt.Sscan(line, &pid)
	require.NoError(t, err)
	s := stat(pid)
	assert.True(t, s.Forked)
	assert.GreaterOrEqual(t, s.Start, stat(cmd.Process.Pid).Start)
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(testStat))
	f.Add([]byte(") S"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, ok := ParseStat(data)
		if !ok {
			assert.Equal(t, ProcStat{}, s)
		}
		assert.Equal(t, s.Flags&pfForkNoExec != 0, s.Forked)
	})
}
