// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/collectortest"
)

// What `make run` calls: the first run goes on when a second is tried, all of it ends by a signal to the script, what it showed
// stays in a file, and a configuration that is wrong is named.
func TestRunScript(t *testing.T) {
	collectortest.NeedRoot(t, collectortest.LoadBPF)
	bin := filepath.Dir(collectortest.Binary(t, "picket"))
	collectortest.Binary(t, "picketctl")
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, "scripts"), os.DirFS(filepath.Join(root, "scripts"))))
	require.NoError(t, os.CopyFS(filepath.Join(dir, "examples"), os.DirFS(filepath.Join(root, "examples"))))
	require.NoError(t, os.Symlink(bin, filepath.Join(dir, "bin")))
	policy := filepath.Join(dir, "run.policy")
	require.NoError(t, os.WriteFile(policy, []byte("rules:\n  - {id: made, expression: 'mkdir.file.name == \"made-by-run\"'}\n"), 0o600))

	actor := collectortest.StartActor(t)
	script := func() *exec.Cmd {
		cmd := exec.Command("bash", filepath.Join(dir, "scripts", "run"))
		cmd.Env = append(os.Environ(), "SCOPE="+strconv.Itoa(actor.PID()), "PICKET_POLICIES="+policy, "PICKET_METRICS_PORT=0", "DD_API_KEY=")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		return cmd
	}
	detections := filepath.Join(dir, "_run", "detections.json")
	has := func(path, text string) bool {
		data, _ := os.ReadFile(path)
		return strings.Contains(string(data), text)
	}

	var out collectortest.Buffer
	first := script()
	first.Stdout, first.Stderr = &out, &out
	require.NoError(t, first.Start())
	done := make(chan error, 1)
	go func() { done <- first.Wait() }()
	t.Cleanup(func() { _ = first.Process.Signal(syscall.SIGTERM) })
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "picket watches process tree") }, time.Minute, 20*time.Millisecond)
	actor.Run("mkdir " + dir + "/made-by-run")
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "made-by-run") }, 30*time.Second, 20*time.Millisecond, "the detection is shown")

	second, err := script().CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(second), "make run: it runs here already (process "+strconv.Itoa(first.Process.Pid)+")")
	require.True(t, has(detections, "made-by-run"), "the first run has lost nothing")

	require.NoError(t, first.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-done:
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		require.Equal(t, 128+int(syscall.SIGTERM), exit.ExitCode())
	case <-time.After(time.Minute):
		require.FailNow(t, "the script does not end")
	}

	// Nothing holds the lock any more, so the collector and the viewer have ended. The next run keeps the file of this one.
	config := filepath.Join(dir, "examples", "quickstart.yaml")
	text, err := os.ReadFile(config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(config, []byte(strings.Replace(string(text), "    storage: ", "    storag: ", 1)), 0o600))
	third, err := script().CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(third), "has invalid keys: storag\n")
	require.Contains(t, string(third), "make run: picket ended with status 1")
	require.True(t, has(filepath.Join(dir, "_run", "detections.previous.json"), "made-by-run"))
	require.False(t, has(detections, "made-by-run"))
}
