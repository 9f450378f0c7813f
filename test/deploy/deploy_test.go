// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package deploy tests what people deploy: the examples, the systemd unit, the containers of the Kubernetes manifests, the image and the
// monitoring of Picket itself. The manifests as such are tested in kubernetes/, which is a module of its own.
package deploy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/intaketest"
)

const (
	root   = "../../"
	nobody = 65534
)

// binary returns the path of a built program. `make test` builds them first.
func binary(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("PICKET_BIN")
	if dir == "" {
		dir = root + "bin"
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	require.NoError(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs %s: run make build", path)
	}
	return path
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to give capabilities to the collector")
	}
}

func needCommand(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs %s, which is in Debian's package %s", name, pkg)
	}
	return path
}

// openDir makes a directory that everybody can get to.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		require.NoError(t, os.Chmod(d, 0o755))
	}
	return dir
}

// copyTo copies a program to where everybody can run it.
func copyTo(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
	require.NoError(t, os.Chmod(to, 0o755))
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// buffer collects what a process writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// process is one that the test starts, and ends at the latest when it is over.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  buffer
	done chan struct{}
}

func run(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	require.NoError(t, cmd.Start())
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Log(p.log.String())
		}
	})
	return p
}

// ready waits until the collector runs, or has ended, and says which. Then its last line says why.
func (p *process) ready() bool {
	p.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if strings.Contains(p.log.String(), "Everything is ready") {
			return true
		}
		select {
		case <-p.done:
			return false
		default:
		}
	}
	p.t.Fatal("the collector neither became ready nor ended")
	return false
}

// stop ends it in order.
func (p *process) stop() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.done:
	case <-time.After(60 * time.Second):
		p.t.Fatal("the collector does not end")
	}
	require.Zero(p.t, p.cmd.ProcessState.ExitCode(), "the collector's exit")
}

// actor is a shell that does what it is told: what is watched.
type actor struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func startActor(t *testing.T, env ...string) *actor {
	t.Helper()
	cmd := exec.Command("/bin/sh")
	cmd.Env = append([]string{"PATH=/usr/bin:/bin"}, env...)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	a := &actor{t: t, cmd: cmd, in: in, out: bufio.NewReader(out)}
	a.do(":") // it runs the shell by now
	return a
}

func (a *actor) pid() int { return a.cmd.Process.Pid }

// do returns when the script has run.
func (a *actor) do(script string) {
	a.t.Helper()
	_, err := io.WriteString(a.in, script+"\necho done\n")
	require.NoError(a.t, err)
	line, err := a.out.ReadString('\n')
	require.NoError(a.t, err)
	require.Equal(a.t, "done\n", line)
}

// example is one of examples/, with what a test must change of it.
type example struct {
	name     string
	dir      string // of storage, policies and the overrides
	policy   string
	override string // further configuration
	intake   *intaketest.Server
}

// config writes what a test changes, and returns the arguments and the environment for the collector. Both are as a
// deployment has them: the example itself is not touched.
func (e *example) config(t *testing.T) (args, env []string) {
	t.Helper()
	storage, policies := filepath.Join(e.dir, "storage"), filepath.Join(e.dir, "policies")
	for _, d := range []string{storage, policies} {
		require.NoError(t, os.MkdirAll(d, 0o755))
	}
	require.NoError(t, os.Chown(storage, nobody, nobody))
	require.NoError(t, os.WriteFile(filepath.Join(policies, "test.policy"), []byte(e.policy), 0o644))
	override := fmt.Sprintf("exporters: {csm_threats: {endpoint: %q, sending_queue: {batch: {flush_timeout: 100ms}}}}\n%s", e.intake.URL(), e.override)
	text, err := os.ReadFile(root + "examples/" + e.name)
	require.NoError(t, err)
	files := map[string]string{"config.yaml": string(text), "test.yaml": override}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file := filepath.Join(e.dir, name)
		require.NoError(t, os.WriteFile(file, []byte(files[name]), 0o644))
		args = append(args, "--config", file)
	}
	return args, []string{
		"DD_API_KEY=" + intaketest.APIKey, "PICKET_STORAGE=" + storage, "PICKET_POLICIES=" + policies,
		fmt.Sprintf("PICKET_METRICS_PORT=%d", freePort(t)), fmt.Sprintf("PICKET_HEALTH=127.0.0.1:%d", freePort(t)),
	}
}

// detection is the message of a log that the intake took.
type detection map[string]any

// get follows the members; nil if one is missing.
func (d detection) get(path ...string) any {
	var v any = map[string]any(d)
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

// detections returns what the intake has, by the id of the rule.
func detections(t *testing.T, logs []intaketest.Log) map[string]detection {
	t.Helper()
	found := map[string]detection{}
	for i := range logs {
		var d detection
		require.NoError(t, json.Unmarshal([]byte(logs[i].Message), &d))
		found[logs[i].Tag("rule_id")] = d
	}
	return found
}

// await waits for a detection of each rule.
func await(t *testing.T, intake *intaketest.Server, rules ...string) map[string]detection {
	t.Helper()
	has := func(logs []intaketest.Log) bool {
		for _, rule := range rules {
			if !slices.ContainsFunc(logs, func(l intaketest.Log) bool { return l.Tag("rule_id") == rule }) {
				return false
			}
		}
		return true
	}
	logs := intake.WaitLogs(30*time.Second, has)
	require.True(t, has(logs), "detections of %v did not arrive", rules)
	return detections(t, logs)
}

// inodeOf returns the inode number as JSON has it.
func inodeOf(t *testing.T, name string) any {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Stat(name, &st))
	return float64(st.Ino)
}
