// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package collectortest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Actor is a shell that does what it is told: the root of a process tree that a collector watches.
type Actor struct {
	tb  testing.TB
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
	dir string
	n   int
}

// StartActor starts an actor, which ends with the test. Its environment is PATH, LANG and env.
func StartActor(tb testing.TB, env ...string) *Actor {
	tb.Helper()
	cmd := exec.Command("/bin/sh")
	cmd.Env = append([]string{"PATH=/usr/bin:/bin", "LANG=C"}, env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(tb, err)
	out, err := cmd.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, cmd.Start())
	tb.Cleanup(func() {
		_ = in.Close() // which ends it, unless it is still busy
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	a := &Actor{tb: tb, cmd: cmd, in: in, out: bufio.NewReader(out), dir: tb.TempDir()}
	a.Do(":") // it runs the shell by now
	return a
}

// PID is the pid of the actor itself.
func (a *Actor) PID() int { return a.cmd.Process.Pid }

// Begin makes the actor do a command, which must print nothing; Wait waits for its end.
func (a *Actor) Begin(command string) {
	a.tb.Helper()
	_, err := fmt.Fprintf(a.in, "%s\necho $?\n", command)
	require.NoError(a.tb, err)
}

// Wait waits for the end of what was begun. It must succeed.
func (a *Actor) Wait() {
	a.tb.Helper()
	line, err := a.out.ReadString('\n')
	require.NoError(a.tb, err)
	require.Equal(a.tb, "0\n", line, "exit status")
}

// Do returns when the actor itself has done a command, which must print nothing, and succeed.
func (a *Actor) Do(command string) {
	a.tb.Helper()
	a.Begin(command)
	a.Wait()
}

// Run runs a shell script as a child of the actor. Each of its commands must succeed; what it prints is not kept.
func (a *Actor) Run(script string) {
	a.tb.Helper()
	a.n++
	name := filepath.Join(a.dir, fmt.Sprintf("script%d.sh", a.n))
	require.NoError(a.tb, os.WriteFile(name, []byte("set -e\n"+script+"\n"), 0o600))
	a.Do("/bin/sh '" + name + "' </dev/null >/dev/null")
}
