// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package sensor

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/event"
)

// A wait is ended by the first record after a pause, by the ring buffer that fills up, and by Interrupt.
func TestDrainIsWoken(t *testing.T) {
	collectortest.NeedRoot(t, collectortest.LoadBPF)
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = []string{openerEnv + "=1"}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	outPipe, err := cmd.StdoutPipe()
	require.NoError(t, err)
	out := bufio.NewReader(outPipe)
	require.NoError(t, cmd.Start())
	defer func() {
		_ = in.Close()
		_ = cmd.Wait()
	}()
	s, err := Open(&Options{Types: event.Set(event.TypeOpen), RingSize: 256 << 10, Scope: Scope{Trees: []uint32{uint32(cmd.Process.Pid)}}})
	require.NoError(t, err)
	defer s.Close()
	opens := 0
	drain := func(wait time.Duration) {
		t.Helper()
		start := time.Now()
		_, err := s.Drain(wait, func(r *Record, err error) {
			require.NoError(t, err)
			if event.Type(r.Type) == event.TypeOpen {
				opens++
			}
		})
		require.NoError(t, err)
		require.Less(t, time.Since(start), time.Hour)
	}
	// quiet drains until there is nothing, so that the first record wakes the next Drain.
	quiet := func() {
		t.Helper()
		for end := time.Now().Add(time.Minute); s.idle == 0; {
			require.True(t, time.Now().Before(end))
			drain(time.Millisecond)
		}
	}
	// open lets the process open a file n times, and drains until it has seen that.
	open := func(n int) {
		t.Helper()
		opens = 0
		fmt.Fprintln(in, n)
		drain(time.Hour)
		for opens == 0 { // the lives of others are told of too
			quiet()
			if opens == 0 {
				drain(time.Hour)
			}
		}
		_, err := out.ReadString('\n')
		require.NoError(t, err)
	}
	for range 3 {
		quiet()
		open(1)
	}
	for range 3 {
		s.idle = 0 // as if there just was something: only a fill of one half wakes
		open(5000)
		drain(0)
	}
	quiet()
	s.Interrupt()
	drain(time.Hour)
	require.NoError(t, s.Close())
	_, err = s.Drain(0, func(*Record, error) {})
	require.ErrorIs(t, err, os.ErrClosed)
}
