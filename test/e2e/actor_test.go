// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The test binary is also what is watched: started under another name or with a variable set, it plays a part.
const (
	actorEnv  = "PICKET_E2E_ACTOR"  // runs shell scripts that it is given, a line with the name of each
	deniedEnv = "PICKET_E2E_DENIED" // opens this file as nobody
	netcat    = "nc"                // the name under which it connects to the address that it is given
)

func TestMain(m *testing.M) {
	switch {
	case filepath.Base(os.Args[0]) == netcat:
		os.Exit(connect(os.Args[len(os.Args)-1]))
	case os.Getenv(deniedEnv) != "":
		os.Exit(openDenied(os.Getenv(deniedEnv)))
	case os.Getenv(actorEnv) != "":
		os.Exit(act())
	}
	os.Exit(m.Run())
}

func connect(addr string) int {
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}} // which binds
	c, err := d.Dial("tcp", addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = c.Close()
	return 0
}

// openDenied gives up root for good and tries to write a file of root's.
func openDenied(path string) int {
	if err := errors.Join(unix.Setgroups(nil), unix.Setresgid(65534, 65534, 65534), unix.Setresuid(65534, 65534, 65534)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if _, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0); !errors.Is(err, unix.EACCES) {
		fmt.Fprintln(os.Stderr, "want EACCES, got", err)
		return 1
	}
	return 0
}

// act runs each script that standard input names, and answers with its exit status.
func act() int {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		cmd := exec.Command("/bin/sh", in.Text())
		cmd.Env = []string{"PATH=/usr/bin:/bin", "LANG=C"}
		cmd.Stderr = os.Stderr
		_ = cmd.Run()
		fmt.Println(cmd.ProcessState.ExitCode())
	}
	return 0
}

// actor is the root of the process tree that the collector watches.
type actor struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	dir string
	n   int
}

func startActor(t *testing.T) *actor {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	a := &actor{t: t, cmd: exec.Command(exe), dir: t.TempDir()}
	a.cmd.Env = []string{actorEnv + "=1"}
	a.cmd.Stderr = os.Stderr
	a.in, err = a.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := a.cmd.StdoutPipe()
	require.NoError(t, err)
	a.out = bufio.NewReader(out)
	require.NoError(t, a.cmd.Start())
	t.Cleanup(func() {
		_ = a.in.Close()
		_ = a.cmd.Wait()
	})
	return a
}

func (a *actor) pid() int { return a.cmd.Process.Pid }

// run runs a shell script as a child of the actor; it must succeed.
func (a *actor) run(script string) {
	a.t.Helper()
	a.n++
	name := filepath.Join(a.dir, "script"+strconv.Itoa(a.n)+".sh")
	require.NoError(a.t, os.WriteFile(name, []byte("set -e\n"+script+"\n"), 0o600))
	_, err := fmt.Fprintln(a.in, name)
	require.NoError(a.t, err)
	line, err := a.out.ReadString('\n')
	require.NoError(a.t, err)
	require.Equal(a.t, "0", strings.TrimSpace(line), "exit status of %s", script)
}

// copyExe puts the test binary at path.
func copyExe(t *testing.T, path string) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	data, err := os.ReadFile(exe)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o755))
}
