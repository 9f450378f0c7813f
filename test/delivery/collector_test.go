// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package delivery

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// picket returns the path of the built collector.
func picket(tb testing.TB) string {
	tb.Helper()
	dir := os.Getenv("PICKET_BIN")
	if dir == "" {
		dir = "../../bin"
	}
	path, err := filepath.Abs(filepath.Join(dir, "picket"))
	require.NoError(tb, err)
	if _, err := os.Stat(path); err != nil {
		tb.Skipf("needs %s: run make build", path)
	}
	return path
}

// buffer keeps the end of what a process writes.
type buffer struct {
	mu sync.Mutex
	b  []byte
}

const maxBuffer = 1 << 20

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b = append(b.b, p...)
	if len(b.b) > 2*maxBuffer {
		b.b = append(b.b[:0], b.b[len(b.b)-maxBuffer:]...)
	}
	return len(p), nil
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.b)
}

func freePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// collector is a Collector that can be killed and started again, with the same ports and storage.
type collector struct {
	t       testing.TB
	name    string
	bin     string
	configs []string // values of --config: files, or yaml:…
	env     []string
	metrics int // port
	cmd     *exec.Cmd
	log     *buffer
}

// newCollector starts a collector from configurations that are laid one over the other.
func newCollector(tb testing.TB, bin, name string, env []string, configs ...string) *collector {
	tb.Helper()
	c := &collector{t: tb, name: name, bin: bin, env: env, metrics: freePort(tb)}
	for i, config := range configs {
		if strings.Contains(config, "\n") {
			file := filepath.Join(tb.TempDir(), fmt.Sprintf("%s-%d.yaml", name, i))
			require.NoError(tb, os.WriteFile(file, []byte(config), 0o600))
			config = file
		}
		c.configs = append(c.configs, config)
	}
	// a list is replaced as a whole: these are the only readers
	c.configs = append(c.configs, fmt.Sprintf(
		"yaml:service: {telemetry: {logs: {disable_stacktrace: true}, metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: %d}}}}]}}}", c.metrics))
	tb.Cleanup(func() {
		c.kill()
		if tb.Failed() {
			tb.Logf("the end of the log of %s:\n%s", name, c.log)
		}
	})
	c.start()
	return c
}

// start starts the process and waits until it is ready.
func (c *collector) start() {
	c.t.Helper()
	c.log = &buffer{}
	args := make([]string, 0, 2*len(c.configs))
	for _, config := range c.configs {
		args = append(args, "--config", config)
	}
	c.cmd = exec.Command(c.bin, args...)
	c.cmd.Env = append(os.Environ(), c.env...)
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing outlives the test, however it ends
	require.NoError(c.t, c.cmd.Start())
	eventually(c.t, time.Minute, func() bool { return strings.Contains(c.log.String(), "Everything is ready") }, "%s did not become ready", c.name)
}

// kill ends the process as a crash does.
func (c *collector) kill() {
	if c.cmd != nil {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
		c.cmd = nil
	}
}

func (c *collector) restart() {
	c.t.Helper()
	c.kill()
	c.start()
}

// stop ends it in order.
func (c *collector) stop() {
	c.t.Helper()
	require.NoError(c.t, c.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(c.t, c.cmd.Wait(), "the exit of %s", c.name)
	c.cmd = nil
}

// metric sums up the series of a metric whose labels contain all of with; 0 if there is none.
func (c *collector) metric(name string, with ...string) (sum float64) {
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", c.metrics))
	require.NoError(c.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
lines:
	for line := range bytes.Lines(text) {
		series, value, ok := cutLast(strings.TrimSpace(string(line)), " ")
		full, _, _ := strings.Cut(series, "{")
		if !ok || strings.TrimSuffix(full, "_total") != name {
			continue
		}
		for _, w := range with {
			if !strings.Contains(series, w) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(value, 64)
		require.NoError(c.t, err)
		sum += v
	}
	return sum
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// eventually waits for cond, and fails the test after timeout.
func eventually(tb testing.TB, timeout time.Duration, cond func() bool, format string, args ...any) {
	tb.Helper()
	for deadline := time.Now().Add(timeout); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.FailNow(tb, fmt.Sprintf(format, args...), "after %v", timeout)
		}
	}
}
