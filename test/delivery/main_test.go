// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package delivery runs the ways from an event to Datadog's intake as people deploy them: agent, gateway and intake as
// processes of their own, with mutual TLS or Kafka between them. It kills them, and counts what arrives. Everything is on
// loopback; agents watch a process tree that the test starts, and nothing else.
package delivery

import (
	"bufio"
	"fmt"
	"io"
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

// The test binary started again with one of these set is another process of the test.
const (
	actorEnv  = "PICKET_DELIVERY_ACTOR"  // does what the agent is to see
	intakeEnv = "PICKET_DELIVERY_INTAKE" // is the intake; the value is its address
)

func TestMain(m *testing.M) {
	if os.Getenv(actorEnv) != "" {
		os.Exit(act())
	}
	os.Exit(m.Run()) // with intakeEnv, too: the intake is TestIntakeProcess
}

// act does what each line of standard input says, and answers with "ok" or an error: "sh FILE" runs a script, "open N RATE DIR ENOUGH"
// opens files in DIR for writing, RATE a second, at least N and until there is a file ENOUGH. The name of each is its number and the time
// at which it was opened.
func act() int {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var err error
		switch f := strings.Fields(in.Text()); f[0] {
		case "sh":
			cmd := exec.Command("/bin/sh", f[1])
			cmd.Env = []string{"PATH=/usr/bin:/bin", "LANG=C"}
			cmd.Stderr = os.Stderr
			err = cmd.Run()
		case "open":
			err = openFiles(f[1], f[2], f[3], f[4])
		}
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("ok")
	}
	return 0
}

func openFiles(atLeast, rate, dir, enough string) error {
	n, err := strconv.Atoi(atLeast)
	if err != nil {
		return err
	}
	perSecond, err := strconv.Atoi(rate)
	if err != nil {
		return err
	}
	begin := time.Now()
	for i := 0; ; i++ {
		if i >= n && i%100 == 0 {
			if _, err := os.Stat(enough); err == nil {
				return nil
			}
		}
		if due := time.Duration(i) * time.Second / time.Duration(perSecond); due > time.Since(begin)+5*time.Millisecond {
			time.Sleep(due - time.Since(begin))
		}
		name := fmt.Sprintf("%s/%07d-%d", dir, i, time.Now().UnixNano())
		fd, err := unix.Open(name, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		_ = unix.Close(fd)
	}
}

// actor is the root of the process tree that an agent watches.
type actor struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	dir string
	n   int
}

func startActor(tb testing.TB) *actor {
	tb.Helper()
	exe, err := os.Executable()
	require.NoError(tb, err)
	a := &actor{t: tb, cmd: exec.Command(exe), dir: tb.TempDir()}
	a.cmd.Env = []string{actorEnv + "=1"}
	a.cmd.Stderr = os.Stderr
	a.in, err = a.cmd.StdinPipe()
	require.NoError(tb, err)
	out, err := a.cmd.StdoutPipe()
	require.NoError(tb, err)
	a.out = bufio.NewReader(out)
	require.NoError(tb, a.cmd.Start())
	tb.Cleanup(func() {
		_ = a.in.Close() // which ends it, unless it is still busy
		_ = a.cmd.Process.Kill()
		_ = a.cmd.Wait()
	})
	return a
}

func (a *actor) pid() int { return a.cmd.Process.Pid }

// begin makes the actor do something; wait waits for its end.
func (a *actor) begin(format string, args ...any) {
	a.t.Helper()
	_, err := fmt.Fprintf(a.in, format+"\n", args...)
	require.NoError(a.t, err)
}

func (a *actor) wait() {
	a.t.Helper()
	line, err := a.out.ReadString('\n')
	require.NoError(a.t, err)
	require.Equal(a.t, "ok", strings.TrimSpace(line))
}

// run runs a shell script as a child of the actor; it must succeed.
func (a *actor) run(script string) {
	a.t.Helper()
	a.n++
	name := filepath.Join(a.dir, "script"+strconv.Itoa(a.n)+".sh")
	require.NoError(a.t, os.WriteFile(name, []byte("set -e\n"+script+"\n"), 0o600))
	a.begin("sh %s", name)
	a.wait()
}

func needRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("needs root to load BPF programs")
	}
}
