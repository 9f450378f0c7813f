// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package suite

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/event"
)

const (
	floodParents = 4
	floodForks   = 2500 // of each parent
)

// What a process of the flood is follows from the code that it exits with.
const (
	floodPlain    = 10 + iota // exits at once
	floodProgram              // executes a program
	floodMiddle               // has a child, and exits before it
	floodOrphan               // is that child
	floodThreaded             // executes a program whose threads exit at once
	floodKept                 // is that child, and has not become an orphan; there is none
	floodCodes
)

// image is what execve takes.
type image struct{ path, argv, envp uintptr }

// fork makes a child that lives as its code says, and waits for it. The child is a copy of this thread only: it must not
// enter the Go runtime, as any call of a function may, so everything it does is here.
func fork(code uintptr, x *image) error {
	pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 {
		return e
	}
	if pid == 0 {
		if x != nil {
			_, _, _ = unix.RawSyscall(unix.SYS_EXECVE, x.path, x.argv, x.envp)
			_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 99, 0, 0)
		}
		if code == floodMiddle {
			self, _, _ := unix.RawSyscall(unix.SYS_GETPID, 0, 0, 0)
			if pid, _, _ := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0); pid == 0 {
				code = floodKept
				for i := 0; i < 1<<24 && code == floodKept; i++ {
					if parent, _, _ := unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0); parent != self {
						code = floodOrphan
					}
					_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
				}
			}
		}
		for {
			_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, code, 0, 0)
		}
	}
	var st unix.WaitStatus
	_, err := unix.Wait4(int(pid), &st, 0, nil)
	if err == nil && st.ExitStatus() != int(code) {
		err = fmt.Errorf("%d ended with %#x, want code %d", pid, int(st), code)
	}
	return err
}

var _ = cases("flood", []testcase{
	{name: "parent", do: func(string) error {
		executes := map[uintptr]*image{}
		for code, name := range map[uintptr]string{floodProgram: "program", floodThreaded: "threaded"} {
			path, argv, envp := append([]byte(name), 0), vector([]string{name}), vector(nil)
			defer runtime.KeepAlive([]any{path, argv, envp})
			executes[code] = &image{addressOf(&path[0]), addressOf(&argv[0]), addressOf(&envp[0])}
		}
		kinds := []uintptr{floodPlain, floodProgram, floodMiddle, floodThreaded}
		for i := range floodForks {
			kind := kinds[i%len(kinds)]
			if err := fork(kind, executes[kind]); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "actor", do: func(string) error {
		thread := []int{unix.SYS_CLONE, unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD, 0, 0, 0}
		if err := errors.Join(install("program", exits(floodProgram)), install("threaded", thread, thread, []int{unix.SYS_EXIT, floodThreaded}),
			unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)); err != nil {
			return err
		}
		errs := make(chan error)
		for range floodParents {
			go func() { errs <- again("flood/parent", nil, 0) }()
		}
		var err error
		for range floodParents {
			err = errors.Join(err, <-errs)
		}
		for err == nil {
			if _, e := unix.Wait4(-1, nil, 0, nil); errors.Is(e, unix.ECHILD) {
				break
			}
		}
		return err
	}},
})

// living is what one event says of a process's life.
type living struct {
	typ       event.Type
	pid       uint32
	born      event.Time
	seq       uint64
	id        uint64
	code      uint32
	exe       string
	isThread  bool
	ancestors []uint32
}

// census keeps the lives of processes, of what a receiver sees.
type census struct {
	mu    sync.Mutex
	lives []living
	other []string // records that are no events
	errs  []error
	dec   event.Decoder
}

func (*census) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (c *census) ConsumeLogs(_ context.Context, logs plog.Logs) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				c.add(lr)
			}
		}
	}
	return nil
}

func (c *census) add(lr plog.LogRecord) {
	if kind, _ := lr.Attributes().Get(event.AttrRecordKind); kind.Str() != event.KindEvent {
		c.other = append(c.other, lr.EventName()+" "+lr.Body().Str())
		return
	}
	var e event.Event
	if err := c.dec.DecodeRecord(lr, event.NeedAll, &e); err != nil {
		c.errs = append(c.errs, err)
		return
	}
	p := e.Process
	l := living{typ: e.Type, pid: p.PID, born: p.ForkTime, seq: e.Facts.Sequence, id: e.Facts.ProcessID, isThread: p.IsThread}
	if p.Executable != nil {
		l.exe = p.Executable.Name
	}
	for _, a := range p.Ancestors {
		l.ancestors = append(l.ancestors, a.PID)
	}
	if e.Exit != nil {
		l.code = e.Exit.Code
		if e.Exit.Cause != event.CauseExited {
			c.errs = append(c.errs, fmt.Errorf("%d: %s", p.PID, e.Exit.Cause))
		}
	}
	c.lives = append(c.lives, l)
}

// wait returns what was seen until a process exited.
func (c *census) wait(t *testing.T, pid uint32) []living {
	t.Helper()
	for end := time.Now().Add(2 * deadline); ; time.Sleep(50 * time.Millisecond) {
		c.mu.Lock()
		lives := slices.Clone(c.lives)
		c.mu.Unlock()
		if slices.ContainsFunc(lives, func(l living) bool { return l.typ == event.TypeExit && l.pid == pid }) {
			return lives
		}
		require.True(t, time.Now().Before(end), "the actor's exit was not seen")
	}
}

// Of 12,500 processes that live for a moment, half of them with a program of their own and a fifth of them orphans, every
// fork, exec and exit is seen once, and it is known of each up to the actor who made it.
func TestLifecycleFlood(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	c := &census{}
	stop := receive(t, c, nil)
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{actorEnv + "=flood/actor", dirEnv + "=" + dir}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	err := cmd.Start()
	if err == nil {
		late := time.AfterFunc(2*deadline, func() { _ = cmd.Process.Kill() })
		err = cmd.Wait()
		late.Stop()
	}
	t.Logf("the actor took %s", time.Since(began))
	pid := uint32(cmd.Process.Pid)
	var lives []living
	if err == nil {
		lives = c.wait(t, pid)
	}
	stop()
	require.NoError(t, err, "%s", &out)
	require.NoError(t, errors.Join(c.errs...))
	assert.Empty(t, c.other, "reports, which would be of losses")

	type life struct {
		pid  uint32
		born event.Time
	}
	of := map[life][]living{}
	for _, l := range lives {
		if l.typ == event.TypeFork || l.typ == event.TypeExec || l.typ == event.TypeExit {
			of[life{l.pid, l.born}] = append(of[life{l.pid, l.born}], l)
		}
	}
	var got [floodCodes]int
	faults := 0
	for who, events := range of {
		slices.SortFunc(events, func(a, b living) int { return cmp.Compare(a.seq, b.seq) })
		last := events[len(events)-1]
		if who.pid == pid || last.code < floodPlain {
			continue // the actor and the parents
		}
		var types []event.Type
		for _, e := range events {
			types = append(types, e.typ)
			if !slices.Contains(e.ancestors, pid) {
				types = append(types, event.TypeAny)
			}
		}
		want := []event.Type{event.TypeFork, event.TypeExit}
		if last.code == floodProgram || last.code == floodThreaded {
			want = []event.Type{event.TypeFork, event.TypeExec, event.TypeExit}
		}
		exe := map[uint32]string{floodProgram: "program", floodThreaded: "threaded"}[last.code]
		depth := map[uint32]int{floodOrphan: 2}[last.code]
		switch {
		case !slices.Equal(types, want), len(events) == 3 && event.PreviousImage(events[1].id) != events[0].id, last.isThread != (exe == ""), exe != "" && last.exe != exe, slices.Index(last.ancestors, pid) != 1+depth/2:
			if faults++; faults < 10 {
				t.Errorf("%d: %+v, want %v", who.pid, events, want)
				for _, l := range lives {
					if l.pid == who.pid || l.seq > events[0].seq && l.seq < last.seq {
						t.Logf("near: %+v", l)
					}
				}
			}
		}
		got[last.code]++
	}
	assert.Zero(t, faults, "lives that are not whole")
	each := floodParents * floodForks / 4
	assert.Equal(t, [floodCodes]int{floodPlain: each, floodProgram: each, floodMiddle: each, floodOrphan: each, floodThreaded: each}, got)
}
