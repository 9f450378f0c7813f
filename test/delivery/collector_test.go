// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package delivery

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/collectortest"
)

// picket returns the path of the built collector.
func picket(tb testing.TB) string {
	tb.Helper()
	return collectortest.Binary(tb, "picket")
}

// collector is a Collector that can be killed and started again, with the same ports and storage.
type collector struct {
	*collectortest.Process // the one that was started last

	t       testing.TB
	bin     string
	configs []string // values of --config: files, or yaml:…
	env     []string
	metrics int // port
}

// newCollector starts a collector from configurations that are laid one over the other.
func newCollector(tb testing.TB, bin, name string, env []string, configs ...string) *collector {
	tb.Helper()
	c := &collector{t: tb, bin: bin, env: env, metrics: collectortest.FreePort(tb)}
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
	c.start()
	return c
}

// start starts the process and waits until it is ready.
func (c *collector) start() {
	c.t.Helper()
	args := make([]string, 0, 2*len(c.configs))
	for _, config := range c.configs {
		args = append(args, "--config", config)
	}
	cmd := exec.Command(c.bin, args...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing outlives the test, however it ends
	c.Process = collectortest.Start(c.t, cmd)
	c.MetricsPort = c.metrics
	c.AwaitReady()
}

func (c *collector) restart() {
	c.t.Helper()
	c.Kill()
	c.start()
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
