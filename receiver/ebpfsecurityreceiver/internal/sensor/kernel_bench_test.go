// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package sensor

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/event"
)

const openerEnv = "PICKET_TEST_OPENER"

// opener opens and closes a file for each line that it is told, a number of times.
func opener() int {
	var n int
	for {
		if _, err := fmt.Scanln(&n); err != nil {
			return 0
		}
		for range n {
			fd, err := unix.Open("/etc/hostname", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return 1
			}
			_ = unix.Close(fd)
		}
		fmt.Println("done")
	}
}

// BenchmarkKernel shows, by the kernel's own run-time statistics, what one run of the syscall programs costs: per open that
// is traced, and per open outside of the scope.
func BenchmarkKernel(b *testing.B) {
	collectortest.NeedRoot(b, collectortest.LoadBPF)
	for i := range 2 * len(objects) {
		scoped, object := i%2 == 0, objects[i/2].name
		b.Run(object+"/"+map[bool]string{true: "open in scope", false: "open outside"}[scoped], func(b *testing.B) {
			exe, err := os.Executable()
			require.NoError(b, err)
			cmd := exec.Command(exe)
			cmd.Env = []string{openerEnv + "=1"}
			in, err := cmd.StdinPipe()
			require.NoError(b, err)
			outPipe, err := cmd.StdoutPipe()
			require.NoError(b, err)
			out := bufio.NewReader(outPipe)
			require.NoError(b, cmd.Start())
			defer func() {
				_ = in.Close()
				_, _ = io.Copy(io.Discard, out)
				_ = cmd.Wait()
			}()
			pid := uint32(cmd.Process.Pid)
			if !scoped {
				pid = uint32(os.Getpid()) // which opens nothing that counts
			}
			s, err := Open(&Options{Types: 1 << event.TypeOpen, RingSize: 8 << 20, object: object, Scope: Scope{Trees: []uint32{pid}}})
			require.NoError(b, err)
			defer s.Close()
			stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
			require.NoError(b, err)
			defer stats.Close()
			const chunk = 5000 // fits the ring buffer
			records := 0
			before, err := s.coll.Programs["picket_sys_exit"].Stats()
			require.NoError(b, err)
			b.ResetTimer()
			for done := 0; done < b.N; done += chunk {
				n := min(chunk, b.N-done)
				fmt.Fprintln(in, n)
				_, err := out.ReadString('\n')
				require.NoError(b, err)
				_, err = s.Drain(0, func(r *Record, err error) {
					require.NoError(b, err)
					if event.Type(r.Type) == event.TypeOpen {
						records++
					}
				})
				require.NoError(b, err)
			}
			b.StopTimer()
			after, err := s.coll.Programs["picket_sys_exit"].Stats()
			require.NoError(b, err)
			runs := after.RunCount - before.RunCount
			b.ReportMetric(float64(after.Runtime-before.Runtime)/float64(runs), "kernel-ns/run")
			b.ReportMetric(float64(records)/float64(b.N), "records/op")
		})
	}
}
