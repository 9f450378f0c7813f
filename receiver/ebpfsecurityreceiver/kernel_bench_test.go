// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// cpuTime is the CPU time of this process.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var ru unix.Rusage
	require.NoError(tb, unix.Getrusage(unix.RUSAGE_SELF, &ru))
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// BenchmarkOpensAttributed reads the opens of a shell from the kernel, decodes them and attributes them to their process, as the
// typed event that rules look at, while they happen; no record is made of them. It shows the CPU time of each, how many there
// were in a second, and how many were lost.
func BenchmarkOpensAttributed(b *testing.B) {
	collectortest.NeedRoot(b, collectortest.LoadBPF)
	cmd := exec.Command("/bin/sh", "-c", `read n; i=0; while [ $i -lt $n ]; do i=$((i+1)); : </etc/hostname; done`)
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	k, err := openSensor(&sensor.Options{
		Types: event.Set(event.TypeExec, event.TypeFork, event.TypeExit, event.TypeOpen), RingSize: 8 << 20,
		Scope: sensor.Scope{Trees: []uint32{uint32(cmd.Process.Pid)}},
	})
	require.NoError(b, err)
	defer k.Close()
	c := newTestConverter(b)
	require.NoError(b, k.Snapshot(func(r *sensor.Record, err error) {
		require.NoError(b, err)
		c.convert(r)
	}))
	events, attributed, done := 0, 0, false
	handle := func(r *sensor.Record, err error) {
		require.NoError(b, err)
		switch ev := c.convert(r); {
		case ev == nil:
		case ev.Type == event.TypeExit && r.Pid == uint32(cmd.Process.Pid):
			done = true
		case ev.Type == event.TypeOpen && ev.File.Path == "/etc/hostname":
			events++
			if ev.Process.PID == uint32(cmd.Process.Pid) && ev.Process.Executable != nil {
				attributed++
			}
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	cpu, start := cpuTime(b), time.Now()
	_, err = fmt.Fprintln(in, b.N)
	require.NoError(b, err)
	for !done {
		_, err := k.Drain(20*time.Millisecond, handle)
		require.NoError(b, err)
	}
	took, used := time.Since(start), cpuTime(b)-cpu
	b.StopTimer()
	require.NoError(b, cmd.Wait())
	losses, err := k.Losses()
	require.NoError(b, err)
	lost := uint64(0)
	for _, n := range losses.Count[event.TypeOpen] {
		lost += n
	}
	require.Equal(b, events, attributed)
	require.Equal(b, uint64(b.N), uint64(events)+lost)
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)/took.Seconds(), "opens/s")
	b.ReportMetric(float64(lost), "lost")
}
