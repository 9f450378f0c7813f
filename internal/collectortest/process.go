// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package collectortest

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// deadline is how long a collector may take to become ready, and to end.
const deadline = time.Minute

// maxBuffer is how much of the end of its output a Buffer keeps at least, in bytes.
const maxBuffer = 1 << 20

// Buffer keeps the end of what a process writes, and can be read meanwhile.
type Buffer struct {
	mu sync.Mutex
	b  []byte
}

// Write implements io.Writer; it never fails.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b = append(b.b, p...)
	if len(b.b) > 2*maxBuffer {
		b.b = append(b.b[:0], b.b[len(b.b)-maxBuffer:]...)
	}
	return len(p), nil
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.b)
}

// Process is a collector that a test has started.
type Process struct {
	Cmd         *exec.Cmd
	Log         Buffer        // what it writes to standard output and standard error
	Done        chan struct{} // closed when it has ended
	MetricsPort int           // where it shows its metrics on 127.0.0.1; for Scrape and Metric

	tb testing.TB
}

// Start starts a collector, which ends with the test at the latest. Its log is shown if the test fails.
func Start(tb testing.TB, cmd *exec.Cmd) *Process {
	tb.Helper()
	p := &Process{Cmd: cmd, Done: make(chan struct{}), tb: tb}
	cmd.Stdout, cmd.Stderr = &p.Log, &p.Log
	require.NoError(tb, cmd.Start())
	go func() {
		_ = cmd.Wait()
		close(p.Done)
	}()
	tb.Cleanup(func() {
		p.Kill()
		if tb.Failed() {
			tb.Logf("the end of the log of %s:\n%s", cmd, &p.Log)
		}
	})
	return p
}

// Ready waits until the collector runs, or has ended, and says which. Then the last line of its log says why.
func (p *Process) Ready() bool {
	p.tb.Helper()
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if strings.Contains(p.Log.String(), "Everything is ready") {
			return true
		}
		select {
		case <-p.Done:
			return false
		default:
		}
	}
	require.FailNow(p.tb, "the collector neither became ready nor ended")
	return false
}

// AwaitReady waits until the collector runs.
func (p *Process) AwaitReady() {
	p.tb.Helper()
	require.True(p.tb, p.Ready(), "the collector did not become ready")
}

// Stop ends the collector in order.
func (p *Process) Stop() {
	p.tb.Helper()
	require.NoError(p.tb, p.Cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.Done:
	case <-time.After(deadline):
		require.FailNow(p.tb, "the collector does not end")
	}
	require.Zero(p.tb, p.Cmd.ProcessState.ExitCode(), "the collector's exit")
}

// Kill ends the collector as a crash does, if it still runs.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill()
	<-p.Done
}

// Series is one value of a metric.
type Series struct {
	Name   string
	Labels string // as they are in the text format, without braces
	Value  float64
}

// Scrape reads all metrics of the collector.
func (p *Process) Scrape() (all []Series) {
	p.tb.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", p.MetricsPort))
	require.NoError(p.tb, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(p.tb, err)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || line[0] == '#' {
			continue
		}
		name, labels, _ := strings.Cut(line[:i], "{")
		value, err := strconv.ParseFloat(line[i+1:], 64)
		require.NoError(p.tb, err)
		all = append(all, Series{Name: name, Labels: strings.TrimSuffix(labels, "}"), Value: value})
	}
	return all
}

// Metric sums up the series of a metric whose labels contain all of with; 0 if there is none. The name has no "_total".
func (p *Process) Metric(name string, with ...string) (sum float64) {
	p.tb.Helper()
series:
	for _, s := range p.Scrape() {
		if strings.TrimSuffix(s.Name, "_total") != name {
			continue
		}
		for _, w := range with {
			if !strings.Contains(s.Labels, w) {
				continue series
			}
		}
		sum += s.Value
	}
	return sum
}
