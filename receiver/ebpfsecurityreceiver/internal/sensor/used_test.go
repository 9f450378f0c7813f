// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package sensor

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/event"
)

// A process's set goes with it, and where there is no room for one the calls are counted as lost.
func TestUsedSets(t *testing.T) {
	collectortest.NeedRoot(t, collectortest.LoadBPF)
	s, err := Open(&Options{Types: event.Set(event.TypeSyscalls), RingSize: 1 << 20, Scope: Scope{Trees: []uint32{uint32(os.Getpid())}}})
	require.NoError(t, err)
	defer s.Close()
	assert.Nil(t, s.coll.Programs["picket_sys_exit"], "no other type needs it")
	sets := s.coll.Maps["used_sets"]
	// run executes a program and returns how many first uses were told of, and how many calls were lost.
	run := func() (told int, lost uint64) {
		t.Helper()
		before, err := s.Losses()
		require.NoError(t, err)
		cmd := exec.Command("/bin/true")
		require.NoError(t, cmd.Run())
		for end, done := time.Now().Add(time.Minute), false; !done; {
			require.True(t, time.Now().Before(end), "no exit within a minute")
			_, err := s.Drain(5*time.Millisecond, func(r *Record, err error) {
				require.NoError(t, err)
				if r.Pid != uint32(cmd.Process.Pid) {
					return
				}
				switch event.Type(r.Type) {
				case event.TypeSyscalls:
					told++
				case event.TypeExit:
					done = true
				}
			})
			require.NoError(t, err)
		}
		after, err := s.Losses()
		require.NoError(t, err)
		return told, after.Count[event.TypeSyscalls][bpf.SyscallPkLossPK_LOST_SET_FULL] - before.Count[event.TypeSyscalls][bpf.SyscallPkLossPK_LOST_SET_FULL]
	}
	// entries are the keys of the map.
	entries := func() (pids []uint32) {
		t.Helper()
		var pid uint32
		var set [2 * bpf.MaxSyscalls / 64]uint64
		it := sets.Iterate()
		for it.Next(&pid, &set) {
			pids = append(pids, pid)
		}
		require.NoError(t, it.Err())
		return pids
	}

	told, lost := run()
	assert.Greater(t, told, 5)
	assert.Zero(t, lost)
	require.Eventually(t, func() bool { return len(entries()) == 0 }, time.Minute, time.Millisecond, "the process is gone")

	const noPID = 1 << 30 // more than the kernel gives out
	for i := range sets.MaxEntries() {
		require.NoError(t, sets.Put(noPID+i, [2 * bpf.MaxSyscalls / 64]uint64{}))
	}
	told, lost = run()
	assert.Zero(t, told)
	assert.Greater(t, lost, uint64(5))

	for i := range sets.MaxEntries() {
		require.NoError(t, sets.Delete(noPID+i))
	}
	told, lost = run()
	assert.Greater(t, told, 5)
	assert.Zero(t, lost)
}
