// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package proctree

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
)

type testUsers struct{}

func (testUsers) User(_, _, uid uint32) string  { return fmt.Sprint("user", uid) }
func (testUsers) Group(_, _, gid uint32) string { return fmt.Sprint("group", gid) }

type testContainers struct{}

func (testContainers) Lookup(path string, _ uint64) *event.ContainerContext {
	if id, ok := strings.CutPrefix(path, "/c/"); ok {
		return &event.ContainerContext{ID: id, CreatedAt: 7}
	}
	return nil
}

func newTestTree(size int) *Tree {
	return New(Config{MaxProcesses: size, Retention: 10, Users: testUsers{}, Containers: testContainers{}})
}

func actor(id uint64, pid uint32, comm string) Actor {
	return Actor{ID: id, PID: pid, TID: pid, AUID: 1000, SID: 1, NetNS: 2, MntNS: 3, CgroupID: 4, Comm: comm}
}

// step is one record; show is the line that it must give.
type step struct {
	do   string // snapshot, fork, exec, exit, lookup, expire
	id   uint64
	pid  uint32
	prev uint64 // exec: the id before; fork: the child's id
	par  uint64 // exec, snapshot: the parent's id
	cpid uint32 // fork: the child's pid
	ppid uint32
	out  bool // out of scope
	nox  bool // snapshot: no exec since the fork
	show string
}

func run(t *Tree, s *step, now event.Time) (event.ProcessContext, bool) {
	a := actor(s.id, s.pid, fmt.Sprint("c", s.id))
	switch s.do {
	case "lookup":
		return t.Lookup(&a), true
	case "exit":
		return t.Exit(&Exit{Actor: a, Time: now, InScope: !s.out}), true
	case "fork":
		return t.Fork(&Fork{Parent: a, ChildID: s.prev, ChildPID: s.cpid, ChildTID: s.cpid, Time: now, InScope: !s.out}), true
	case "expire":
		t.Expire(now)
		return event.ProcessContext{}, false
	}
	x := Exec{
		Actor: a, PrevID: s.prev, PPID: s.ppid, ParentID: s.par, Time: now, ForkTime: event.Time(s.pid), InScope: !s.out, Forked: s.nox,
		Executable: &event.File{Path: fmt.Sprint("/bin/c", s.id)}, Argv0: "x", Args: []string{fmt.Sprint("a", s.id)}, Envs: []string{"E"},
	}
	if s.do == "exec" {
		return t.Exec(&x), true
	}
	t.Snapshot(&x)
	return event.ProcessContext{}, false
}

// show writes a process as pid:comm with marks: t for a forked one, + for an exec after an exec, ? for an unknown one, x for
// an exited one.
func show(p *event.Process) string {
	s := fmt.Sprintf("%d:%s", p.PID, p.Comm)
	for _, m := range []struct {
		on   bool
		mark string
	}{{p.IsThread, "t"}, {p.IsExecChild, "+"}, {p.Source == event.SourceUnknown, "?"}, {p.ExitTime != 0, "x"}} {
		if m.on {
			s += m.mark
		}
	}
	return s
}

func showContext(c event.ProcessContext) string {
	if c.Process == nil {
		return "nothing"
	}
	s := []string{show(c.Process)}
	for _, a := range c.Ancestors {
		s = append(s, show(a))
	}
	return strings.Join(s, " < ")
}

func TestLineages(t *testing.T) {
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"fork and exec", []step{
			{do: "snapshot", id: 1, pid: 1},
			{do: "fork", id: 1, pid: 1, prev: 2, cpid: 10, show: "10:c1t < 1:c1"},
			{do: "exec", id: 3, pid: 10, prev: 2, par: 1, ppid: 1, show: "10:c3 < 1:c1"},
			{do: "fork", id: 3, pid: 10, prev: 4, cpid: 11, show: "11:c3t < 10:c3 < 1:c1"},
			{do: "lookup", id: 4, pid: 11, show: "11:c4t < 10:c3 < 1:c1"},
		}},
		{"execs in one pid", []step{
			{do: "snapshot", id: 1, pid: 1},
			{do: "fork", id: 1, pid: 1, prev: 2, cpid: 10, show: "10:c1t < 1:c1"},
			{do: "exec", id: 3, pid: 10, prev: 2, show: "10:c3 < 1:c1"},
			{do: "exec", id: 4, pid: 10, prev: 3, show: "10:c4+ < 10:c3 < 1:c1"},
			{do: "exec", id: 5, pid: 10, prev: 4, show: "10:c5+ < 10:c4+ < 10:c3 < 1:c1"},
			{do: "exit", id: 5, pid: 10, show: "10:c5+x < 10:c4+ < 10:c3 < 1:c1"},
		}},
		{"forked child that forks before its exec", []step{
			{do: "snapshot", id: 1, pid: 1},
			{do: "fork", id: 1, pid: 1, prev: 2, cpid: 10, show: "10:c1t < 1:c1"},
			{do: "fork", id: 2, pid: 10, prev: 3, cpid: 11, show: "11:c2t < 10:c2t < 1:c1"},
			{do: "exec", id: 4, pid: 10, prev: 2, show: "10:c4 < 1:c1"},
			{do: "lookup", id: 3, pid: 11, show: "11:c3t < 10:c2t < 1:c1"},
			{do: "exec", id: 5, pid: 11, prev: 3, show: "11:c5 < 10:c2t < 1:c1"},
		}},
		{"orphan keeps its lineage", []step{
			{do: "snapshot", id: 1, pid: 1},
			{do: "fork", id: 1, pid: 1, prev: 2, cpid: 10, show: "10:c1t < 1:c1"},
			{do: "exec", id: 3, pid: 10, prev: 2, show: "10:c3 < 1:c1"},
			{do: "fork", id: 3, pid: 10, prev: 4, cpid: 11, show: "11:c3t < 10:c3 < 1:c1"},
			{do: "exit", id: 3, pid: 10, show: "10:c3x < 1:c1"},
			{do: "expire"},
			{do: "exec", id: 5, pid: 11, prev: 4, par: 1, ppid: 1, show: "11:c5 < 10:c3x < 1:c1"},
		}},
		{"exit after the parent's", []step{
			{do: "fork", id: 1, pid: 1, prev: 2, cpid: 10, show: "10:c1t < 1:c1?"},
			{do: "exit", id: 1, pid: 1, show: "1:c1?x"},
			{do: "exit", id: 2, pid: 10, show: "10:c2tx < 1:c1?x"},
		}},
		{"pid taken over", []step{
			{do: "snapshot", id: 1, pid: 1},
			{do: "fork", id: 1, pid: 1, prev: 2, cpid: 10, show: "10:c1t < 1:c1"},
			{do: "exec", id: 3, pid: 10, prev: 2, show: "10:c3 < 1:c1"},
			{do: "fork", id: 3, pid: 10, prev: 4, cpid: 11, show: "11:c3t < 10:c3 < 1:c1"},
			{do: "exit", id: 3, pid: 10, show: "10:c3x < 1:c1"},
			{do: "fork", id: 4, pid: 11, prev: 20, cpid: 10, show: "10:c4t < 11:c4t < 10:c3x < 1:c1"},
			{do: "exec", id: 21, pid: 10, prev: 20, show: "10:c21 < 11:c4t < 10:c3x < 1:c1"},
			{do: "lookup", id: 4, pid: 11, show: "11:c4t < 10:c3x < 1:c1"},
		}},
		{"pid taken over, exit lost", []step{
			{do: "snapshot", id: 1, pid: 1},
			{do: "fork", id: 1, pid: 1, prev: 2, cpid: 10, show: "10:c1t < 1:c1"},
			{do: "fork", id: 1, pid: 1, prev: 3, cpid: 10, show: "10:c1t < 1:c1"},
			{do: "exec", id: 4, pid: 10, prev: 3, show: "10:c4 < 1:c1"},
		}},
		{"unknown process", []step{
			{do: "lookup", id: 5, pid: 50, show: "50:c5?"},
			{do: "exec", id: 6, pid: 50, prev: 5, show: "50:c6"},
			{do: "exec", id: 7, pid: 50, prev: 6, show: "50:c7+ < 50:c6"},
			{do: "exit", id: 9, pid: 90, show: "90:c9?x"},
		}},
		{"exec whose fork was lost", []step{
			{do: "snapshot", id: 1, pid: 1},
			{do: "exec", id: 6, pid: 50, prev: 5, par: 1, ppid: 1, show: "50:c6 < 1:c1"},
		}},
		{"unknown process in the snapshot after all", []step{
			{do: "lookup", id: 5, pid: 50, show: "50:c5?"},
			{do: "snapshot", id: 5, pid: 50, par: 1},
			{do: "snapshot", id: 1, pid: 1},
			{do: "lookup", id: 5, pid: 50, show: "50:c5 < 1:c1"},
		}},
		{"snapshot in any order, twice", []step{
			{do: "snapshot", id: 3, pid: 30, par: 2},
			{do: "snapshot", id: 4, pid: 40, par: 2},
			{do: "lookup", id: 3, pid: 30, show: "30:c3"},
			{do: "snapshot", id: 1, pid: 1},
			{do: "snapshot", id: 2, pid: 20, par: 1},
			{do: "snapshot", id: 3, pid: 30, par: 2},
			{do: "lookup", id: 3, pid: 30, show: "30:c3 < 20:c2 < 1:c1"},
			{do: "lookup", id: 4, pid: 40, show: "40:c4 < 20:c2 < 1:c1"},
		}},
		{"parents that contradict each other", []step{
			{do: "snapshot", id: 1, pid: 1, par: 2},
			{do: "snapshot", id: 2, pid: 2, par: 3},
			{do: "snapshot", id: 3, pid: 3, par: 1},
			{do: "lookup", id: 1, pid: 1, show: "1:c1 < 2:c2 < 3:c3"},
		}},
		{"events of before the snapshot", []step{
			{do: "snapshot", id: 1, pid: 1},
			{do: "snapshot", id: 4, pid: 10, par: 1},
			{do: "snapshot", id: 6, pid: 12, par: 4},
			// pid 10: fork (2), exec (3), exec (4); pid 12: fork (6)
			{do: "exec", id: 3, pid: 10, prev: 2, par: 1, show: "10:c3 < 1:c1"},
			{do: "exec", id: 4, pid: 10, prev: 3, par: 1, show: "10:c4+ < 10:c3 < 1:c1"},
			{do: "fork", id: 4, pid: 10, prev: 6, cpid: 12, show: "12:c6t < 10:c4+ < 10:c3 < 1:c1"},
			{do: "exec", id: 7, pid: 12, prev: 6, show: "12:c7 < 10:c4+ < 10:c3 < 1:c1"},
		}},
		{"events that are faster than the snapshot", []step{
			{do: "exec", id: 3, pid: 10, prev: 2, par: 1, show: "10:c3"},
			{do: "snapshot", id: 1, pid: 1},
			{do: "snapshot", id: 2, pid: 10, par: 1},
			{do: "lookup", id: 3, pid: 10, show: "10:c3+ < 10:c2 < 1:c1"},
			{do: "exit", id: 5, pid: 11, show: "11:c5?x"},
			{do: "snapshot", id: 5, pid: 11, par: 1},
			{do: "lookup", id: 5, pid: 11, show: "11:c5x"},
		}},
		{"the snapshot's process has executed nothing", []step{
			{do: "snapshot", id: 1, pid: 1},
			{do: "snapshot", id: 2, pid: 10, par: 1, nox: true},
			{do: "lookup", id: 2, pid: 10, show: "10:c2t < 1:c1"},
			{do: "fork", id: 2, pid: 10, prev: 5, cpid: 11, show: "11:c2t < 10:c2t < 1:c1"},
			{do: "exec", id: 3, pid: 10, prev: 2, par: 1, show: "10:c3 < 1:c1"},
			{do: "exec", id: 4, pid: 10, prev: 3, par: 1, show: "10:c4+ < 10:c3 < 1:c1"},
			{do: "lookup", id: 5, pid: 11, show: "11:c5t < 10:c2t < 1:c1"},
		}},
		{"an exec that is faster than the snapshot of a process that had executed nothing", []step{
			{do: "exec", id: 3, pid: 10, prev: 2, show: "10:c3"},
			{do: "snapshot", id: 2, pid: 10, par: 1, nox: true},
			{do: "snapshot", id: 1, pid: 1},
			{do: "lookup", id: 3, pid: 10, show: "10:c3 < 1:c1"},
		}},
		{"an exec of a process that had executed nothing, and that only the snapshot knows the parent of", []step{
			{do: "snapshot", id: 2, pid: 10, par: 1, nox: true},
			{do: "exec", id: 3, pid: 10, prev: 2, par: 1, show: "10:c3"},
			{do: "snapshot", id: 1, pid: 1},
			{do: "lookup", id: 3, pid: 10, show: "10:c3 < 1:c1"},
		}},
		{"repeated events", []step{
			{do: "snapshot", id: 1, pid: 1},
			{do: "fork", id: 1, pid: 1, prev: 2, cpid: 10, show: "10:c1t < 1:c1"},
			{do: "fork", id: 1, pid: 1, prev: 2, cpid: 10, show: "10:c1t < 1:c1"},
			{do: "exec", id: 3, pid: 10, prev: 2, show: "10:c3 < 1:c1"},
			{do: "exec", id: 3, pid: 10, prev: 2, show: "10:c3 < 1:c1"},
			{do: "exit", id: 3, pid: 10, show: "10:c3x < 1:c1"},
			{do: "exit", id: 3, pid: 10, show: "nothing"},
		}},
		{"exit out of scope and in scope", []step{
			{do: "exec", id: 3, pid: 10, show: "10:c3"},
			{do: "exit", id: 3, pid: 10, out: true, show: "10:c3x"},
			{do: "exit", id: 3, pid: 10, show: "10:c3x"},
			{do: "exit", id: 3, pid: 10, out: true, show: "nothing"},
		}},
		{"one id, two processes", []step{
			{do: "snapshot", id: 1, pid: 1},
			{do: "fork", id: 1, pid: 1, prev: 2, cpid: 10, show: "10:c1t < 1:c1"},
			{do: "fork", id: 2, pid: 10, prev: 3, cpid: 11, show: "11:c2t < 10:c2t < 1:c1"},
			{do: "lookup", id: 2, pid: 50, show: "50:c2?"},
			{do: "lookup", id: 3, pid: 11, show: "11:c3t"},
		}},
		{"a thread is no process", []step{
			{do: "snapshot", id: 1, pid: 1},
			{do: "fork", id: 1, pid: 1, prev: 1, cpid: 10, show: "1:c1"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tree := newTestTree(0)
			for i := range tc.steps {
				s := &tc.steps[i]
				ctx, ok := run(tree, s, event.Time(1000+100*i))
				if ok {
					require.Equal(t, s.show, showContext(ctx), "step %d: %s of %d", i, s.do, s.id)
				}
				check(t, tree)
			}
		})
	}
}

// check asserts what must hold of a tree at any time.
func check(t *testing.T, tree *Tree) {
	t.Helper()
	children := map[*node]int32{}
	for id, n := range tree.nodes {
		require.Equal(t, id, n.id)
		require.False(t, n.removed)
		require.NotNil(t, n.proc)
		require.NotNil(t, n.in)
		if p := n.up(); p != nil {
			children[p]++
			require.Same(t, p, tree.nodes[p.id])
		}
	}
	for _, n := range tree.nodes {
		require.Equal(t, children[n], n.children, "children of %d", n.id)
	}
	for pid, n := range tree.pids {
		require.Equal(t, pid, n.pid)
		require.False(t, n.gone)
	}
	require.Equal(t, len(tree.nodes), tree.live.len+tree.exited.len+tree.held.len)
	bytes, texts := 0, map[*text]int{}
	for _, n := range tree.nodes {
		require.Equal(t, n.own+n.encoded*int32(1+len(n.alts)), n.weight)
		bytes += int(n.weight)
		for _, x := range []*text{n.args, n.envs} {
			if x != nil {
				texts[x]++
			}
		}
		require.Equal(t, n.args != nil, len(n.proc.Args) > 0)
		require.Equal(t, n.envs != nil, len(n.proc.Envs) > 0)
	}
	for x, refs := range texts {
		require.Equal(t, refs, x.refs)
		require.Equal(t, sizeOf(x.strings), x.bytes)
		bytes += x.bytes
	}
	require.Equal(t, bytes, tree.bytes)
	require.LessOrEqual(t, bytes, tree.cfg.MaxBytes)
	st := tree.Stats()
	require.Equal(t, Stats{
		Processes: uint64(len(tree.nodes)), Bytes: uint64(bytes), Exited: uint64(tree.exited.len + tree.held.len),
		Evicted: st.Evicted, Unknown: st.Unknown, Fallback: st.Fallback, Vanished: st.Vanished,
	}, st)
	require.LessOrEqual(t, len(tree.nodes), tree.cfg.MaxProcesses)
}

func TestProcessByValue(t *testing.T) {
	tree := newTestTree(0)
	exe := &event.File{Path: "/bin/sh", Name: "sh", Has: event.HasInode, Inode: 5}
	script := &event.File{Path: "/x.sh", Name: "x.sh"}
	a := Actor{
		ID: 2, PID: 20, TID: 20, UID: 1, GID: 2, EUID: 3, EGID: 4, FSUID: 5, FSGID: 6, CapEffective: 7, CapPermitted: 8,
		AUID: 9, SID: 10, NetNS: 11, MntNS: 12, CgroupID: 13, Comm: "x.sh",
	}
	args, envs := []string{"-x"}, []string{"HOME"}
	x := Exec{
		Actor: a, PPID: 1, ParentID: 1, Time: 200, ForkTime: 100, Executable: script, Interpreter: exe, Argv0: "sh", Args: args, ArgsTruncated: true,
		Envs: envs, EnvsTruncated: true, TTY: "pts0", CgroupPath: "/c/abc", InScope: true,
	}
	creds := &event.ProcessCredentials{
		UID: 1, User: "user1", GID: 2, Group: "group2", EUID: 3, EUser: "user3", EGID: 4, EGroup: "group4", FSUID: 5, FSUser: "user5",
		FSGID: 6, FSGroup: "group6", CapEffective: 7, CapPermitted: 8,
	}
	want := func() *event.Process {
		return &event.Process{
			ID: 2, PID: 20, TID: 20, PPID: 1, UID: 1, User: "user1", GID: 2, Group: "group2", Comm: "x.sh", TTY: "pts0", ForkTime: 100, ExecTime: 200,
			Credentials: creds, Executable: script, Interpreter: exe, Container: &event.ContainerContext{ID: "abc", CreatedAt: 7},
			Argv0: "sh", Args: args, ArgsTruncated: true, Envs: envs, EnvsTruncated: true, Source: event.SourceEvent,
			AUID: 9, SID: 10, NetNS: 11, MntNS: 12, CgroupID: 13, CgroupPath: "/c/abc",
		}
	}
	ctx := tree.Exec(&x)
	assert.Equal(t, want(), ctx.Process)
	assert.Equal(t, uint32(20), ctx.ActorTID)
	assert.Nil(t, ctx.Parent)

	a.TID = 21
	again := tree.Lookup(&a)
	assert.Same(t, ctx.Process, again.Process)
	assert.Equal(t, uint32(21), again.ActorTID)
	a.TID = 20

	child := tree.Fork(&Fork{Parent: a, ChildID: 3, ChildPID: 30, ChildTID: 30, Time: 300, InScope: true})
	forked := want()
	forked.ID, forked.PID, forked.TID, forked.PPID, forked.ForkTime, forked.ExecTime, forked.IsThread = 3, 30, 30, 20, 300, 0, true
	assert.Equal(t, forked, child.Process)
	assert.Same(t, ctx.Process, child.Parent)
	assert.Equal(t, []*event.Process{ctx.Process}, child.Ancestors)
	assert.Same(t, ctx.Credentials, child.Credentials)
	assert.Same(t, ctx.Container, child.Container)
	assert.Same(t, ctx.Executable, child.Executable)
	assert.Same(t, &args[0], &child.Args[0])

	out := tree.Exit(&Exit{Actor: a, Time: 400})
	exited := want()
	exited.ExitTime = 400
	assert.Equal(t, exited, out.Process)
	assert.Equal(t, want(), ctx.Process, "a process that an event has must not change")

	ca := a
	ca.ID, ca.PID, ca.TID = 3, 30, 30
	assert.Same(t, out.Process, tree.Lookup(&ca).Parent)
}

func TestChangesMakeANewProcess(t *testing.T) {
	for name, change := range map[string]func(*Actor){
		"uid":           func(a *Actor) { a.UID = 77 },
		"gid":           func(a *Actor) { a.GID = 77 },
		"euid":          func(a *Actor) { a.EUID = 77 },
		"egid":          func(a *Actor) { a.EGID = 77 },
		"fsuid":         func(a *Actor) { a.FSUID = 77 },
		"fsgid":         func(a *Actor) { a.FSGID = 77 },
		"cap_effective": func(a *Actor) { a.CapEffective = 77 },
		"cap_permitted": func(a *Actor) { a.CapPermitted = 77 },
		"auid":          func(a *Actor) { a.AUID = 77 },
		"sid":           func(a *Actor) { a.SID = 77 },
		"netns":         func(a *Actor) { a.NetNS = 77 },
		"mntns":         func(a *Actor) { a.MntNS = 77 },
		"cgroup":        func(a *Actor) { a.CgroupID = 77 },
		"comm":          func(a *Actor) { a.Comm = "other" },
	} {
		t.Run(name, func(t *testing.T) {
			tree := newTestTree(0)
			tree.cfg.CgroupPath = func(uint32) string { return "/c/new" }
			a, child := actor(1, 10, "a"), actor(2, 20, "a")
			tree.Exec(&Exec{Actor: a, CgroupPath: "/c/old", InScope: true})
			tree.Fork(&Fork{Parent: a, ChildID: 2, ChildPID: 20, ChildTID: 20, InScope: true})
			before, lineage := tree.Lookup(&a), tree.Lookup(&child)
			require.Same(t, before.Process, lineage.Parent)

			b := a
			change(&b)
			after := tree.Lookup(&b)
			require.NotSame(t, before.Process, after.Process)
			assert.Equal(t, b.UID, after.UID)
			assert.Equal(t, b.GID, after.GID)
			assert.Equal(t, fmt.Sprint("user", b.UID), after.User)
			assert.Equal(t, event.ProcessCredentials{
				UID: b.UID, User: fmt.Sprint("user", b.UID), GID: b.GID, Group: fmt.Sprint("group", b.GID),
				EUID: b.EUID, EUser: fmt.Sprint("user", b.EUID), EGID: b.EGID, EGroup: fmt.Sprint("group", b.EGID),
				FSUID: b.FSUID, FSUser: fmt.Sprint("user", b.FSUID), FSGID: b.FSGID, FSGroup: fmt.Sprint("group", b.FSGID),
				CapEffective: b.CapEffective, CapPermitted: b.CapPermitted,
			}, *after.Credentials)
			assert.Equal(t, []uint32{b.AUID, b.SID, b.NetNS, b.MntNS}, []uint32{after.AUID, after.SID, after.NetNS, after.MntNS})
			assert.Equal(t, b.CgroupID, after.CgroupID)
			assert.Equal(t, b.Comm, after.Comm)
			if b.CgroupID == 77 {
				assert.Equal(t, "new", after.Container.ID)
			} else {
				assert.Equal(t, "old", after.Container.ID)
			}
			assert.Same(t, after.Process, tree.Lookup(&child).Parent)
			assert.Same(t, after.Process, tree.Lookup(&b).Process)
			assert.Same(t, before.Process, tree.Lookup(&a).Process, "forms that were there before are used again")
			assert.Same(t, before.Process, tree.Lookup(&child).Parent)
		})
	}
}

func TestThreadNames(t *testing.T) {
	tree := newTestTree(0)
	a, child := actor(1, 10, "main"), actor(2, 20, "main")
	tree.Exec(&Exec{Actor: a, InScope: true})
	tree.Fork(&Fork{Parent: a, ChildID: 2, ChildPID: 20, ChildTID: 20, InScope: true})
	for range 3 {
		for i := range maxAlts + 3 {
			b := a
			b.TID, b.Comm = uint32(100+i), fmt.Sprint("worker", i)
			ctx := tree.Lookup(&b)
			assert.Equal(t, b.Comm, ctx.Comm)
			assert.Equal(t, b.TID, ctx.ActorTID)
			assert.Equal(t, "main", tree.Lookup(&child).Parent.Comm)
		}
	}
	assert.Len(t, tree.nodes[1].alts, maxAlts)
	b := a
	b.TID, b.Comm, b.UID = 100, "worker", 5 // a thread that changes user is news for the whole process
	assert.Equal(t, uint32(5), tree.Lookup(&b).UID)
	assert.Equal(t, uint32(5), tree.Lookup(&child).Parent.UID)
}

func TestScope(t *testing.T) {
	tree := newTestTree(0)
	full := func(id uint64, pid uint32, in bool) *Exec {
		return &Exec{
			Actor: Actor{ID: id, PID: pid, TID: pid, UID: 5, GID: 6, CgroupID: 1, MntNS: 3, Comm: "c"}, PPID: 9, ForkTime: 1, Time: 2, InScope: in,
			Executable: &event.File{Path: "/bin/c", Name: "c", Has: event.HasInode, Inode: 4, User: "root"}, Interpreter: &event.File{Path: "/i"},
			Argv0: "c", Args: []string{"secret"}, Envs: []string{"E"}, TTY: "pts0", CgroupPath: "/c/x", Source: event.SourceEvent,
		}
	}
	x := full(1, 10, false)
	ctx := tree.Exec(x)
	assert.Equal(t, &event.Process{
		ID: 1, PID: 10, TID: 10, PPID: 9, UID: 5, GID: 6, Comm: "c", Source: event.SourceEvent,
		Executable: &event.File{Path: "/bin/c", Name: "c"}, MntNS: 3, CgroupID: 1,
	}, ctx.Process)

	child := tree.Fork(&Fork{Parent: x.Actor, ChildID: 2, ChildPID: 20, ChildTID: 20, Time: 3, InScope: true})
	assert.Equal(t, "user5", child.User)
	assert.Equal(t, "x", child.Container.ID)
	assert.Empty(t, child.Args)
	assert.Nil(t, child.Parent.Credentials)

	// It moves into a watched cgroup.
	ctx = tree.Lookup(&x.Actor)
	assert.Equal(t, "user5", ctx.User)
	assert.Equal(t, "user5", ctx.Credentials.User)
	assert.Empty(t, ctx.Args)
	assert.Same(t, ctx.Process, tree.Lookup(&Actor{ID: 2, PID: 20, TID: 20, UID: 5, GID: 6, CgroupID: 1, MntNS: 3, Comm: "c"}).Parent)

	// A child out of scope of a parent in scope, as by clone into another cgroup.
	in := full(3, 30, true)
	tree.Exec(in)
	child = tree.Fork(&Fork{Parent: in.Actor, ChildID: 4, ChildPID: 40, ChildTID: 40, Time: 3})
	assert.Empty(t, child.Args)
	assert.Empty(t, child.Envs)
	assert.Empty(t, child.TTY)
	assert.Nil(t, child.Credentials)
	assert.Equal(t, &event.File{Path: "/bin/c", Name: "c"}, child.Executable)
	assert.Equal(t, []string{"secret"}, child.Parent.Args)
}

// Of an ancestor out of scope there is no more than who it is, whatever happens to it; what it did shows when it comes into
// scope.
func TestAncestorsOutOfScope(t *testing.T) {
	tree := newTestTree(0)
	tree.Exec(&Exec{Actor: actor(1, 10, "a"), Time: 20, ForkTime: 10, CgroupPath: "/c/x", TTY: "tty1", Executable: &event.File{Path: "/a", Name: "a"}})
	b := actor(2, 10, "b")
	tree.Exec(&Exec{Actor: b, PrevID: 1, Time: 30, ForkTime: 10, PPID: 5, Executable: &event.File{Path: "/b", Name: "b"}, Interpreter: &event.File{Path: "/i"}})
	f := actor(3, 30, "b")
	tree.Fork(&Fork{Parent: b, ChildID: 3, ChildPID: 30, ChildTID: 30, Time: 40})
	ctx := tree.Fork(&Fork{Parent: f, ChildID: 4, ChildPID: 40, ChildTID: 40, Time: 50, InScope: true})
	assert.Equal(t, event.Time(50), ctx.ForkTime)
	assert.Equal(t, "x", ctx.Container.ID, "the child of one out of scope has the same cgroup")
	tree.Exit(&Exit{Actor: b, Time: 60})
	child := actor(4, 40, "b")
	bare := func(id uint64, pid, ppid uint32, comm, exe string) *event.Process {
		return &event.Process{
			ID: id, PID: pid, TID: pid, PPID: ppid, Comm: comm, Source: event.SourceEvent, Executable: &event.File{Path: "/" + exe, Name: exe},
			AUID: 1000, SID: 1, NetNS: 2, MntNS: 3, CgroupID: 4,
		}
	}
	assert.Equal(t, []*event.Process{bare(3, 30, 10, "b", "b"), bare(2, 10, 5, "b", "b"), bare(1, 10, 0, "a", "a")}, tree.Lookup(&child).Ancestors)

	ctx = tree.Exit(&Exit{Actor: f, Time: 70, InScope: true})
	assert.Equal(t, []event.Time{40, 0, 70}, []event.Time{ctx.ForkTime, ctx.ExecTime, ctx.ExitTime})
	assert.True(t, ctx.IsThread)
	assert.Equal(t, "/c/x", ctx.CgroupPath)
	assert.Same(t, ctx.Process, tree.Lookup(&child).Parent)
	ctx = tree.Lookup(&b)
	assert.Equal(t, []event.Time{10, 30, 60}, []event.Time{ctx.ForkTime, ctx.ExecTime, ctx.ExitTime})
	assert.True(t, ctx.IsExecChild)
	assert.Equal(t, "x", ctx.Container.ID)
}

// That the path of the executable could not be read is said of the process too, and of its children until they execute
// something else.
func TestPathResolutionError(t *testing.T) {
	for _, inScope := range []bool{true, false} {
		tree := newTestTree(0)
		x := Exec{Actor: actor(1, 10, "a"), InScope: inScope, Executable: &event.File{Path: "/a", PathResolutionError: "too long", Has: event.HasInode}}
		ctx := tree.Exec(&x)
		assert.Equal(t, "too long", ctx.PathResolutionError)
		assert.Equal(t, "too long", ctx.Executable.PathResolutionError)
		ctx = tree.Fork(&Fork{Parent: x.Actor, ChildID: 2, ChildPID: 20, ChildTID: 20, InScope: inScope})
		assert.Equal(t, "too long", ctx.PathResolutionError)
		ctx = tree.Exec(&Exec{Actor: actor(3, 20, "b"), PrevID: 2, InScope: inScope, Executable: &event.File{Path: "/b"}})
		assert.Empty(t, ctx.PathResolutionError)
		assert.Equal(t, "too long", ctx.Parent.PathResolutionError)
		ctx = tree.Exec(&Exec{Actor: actor(4, 40, "c"), InScope: inScope})
		assert.Empty(t, ctx.PathResolutionError)
	}
}

// The exit is the first event of a process that was moved into scope, or the only one.
func TestExitInScope(t *testing.T) {
	for _, tc := range []struct {
		name    string
		known   bool
		inScope bool
		user    string
	}{
		{"moved into scope", true, true, "user5"},
		{"out of scope", true, false, ""},
		{"unknown, in scope", false, true, "user5"},
		{"unknown, out of scope", false, false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tree := newTestTree(0)
			a := actor(1, 10, "a")
			a.UID = 5
			if tc.known {
				tree.Exec(&Exec{Actor: a, CgroupPath: "/c/x"})
			}
			ctx := tree.Exit(&Exit{Actor: a, Time: 9, InScope: tc.inScope})
			assert.Equal(t, tc.user, ctx.User)
			assert.Equal(t, tc.inScope, ctx.Credentials != nil)
			assert.Equal(t, tc.inScope && tc.known, ctx.Container != nil)
			assert.Equal(t, uint32(5), ctx.UID)
		})
	}
}

func TestKernelThreads(t *testing.T) {
	tree := newTestTree(0)
	kthreadd := actor(2, 2, "kthreadd")
	tree.Snapshot(&Exec{Actor: kthreadd, IsKworker: true, InScope: true, Args: []string{"x"}})
	ctx := tree.Fork(&Fork{Parent: kthreadd, ChildID: 3, ChildPID: 30, ChildTID: 30, Time: 5, InScope: true, Kthread: true})
	assert.True(t, ctx.IsKworker)
	assert.False(t, ctx.IsThread)
	assert.Equal(t, &event.ProcessCredentials{}, ctx.Credentials)
	assert.Equal(t, "2:kthreadd", show(ctx.Parent))
	assert.Empty(t, ctx.Parent.Args)

	// The kernel starts a program (usermode helper).
	ctx = tree.Exec(&Exec{Actor: actor(4, 30, "modprobe"), PrevID: 3, InScope: true, Args: []string{"x"}})
	assert.False(t, ctx.IsKworker)
	assert.Equal(t, "30:modprobe < 2:kthreadd", showContext(ctx))
	assert.Equal(t, "user0", ctx.Credentials.User)
}

// A process keeps its start over its execs: the clock that the kernel's time is translated by is adjusted all the time. What was
// read from /proc is less exact than what the kernel side says.
func TestForkTimeIsKept(t *testing.T) {
	tree := New(Config{Fallback: func(pid uint32) (Exec, bool) {
		x := Exec{ForkTime: 1000, InScope: true}
		x.PID = pid
		return x, true
	}})
	shell, snapshot, read := actor(1, 10, "a"), actor(5, 50, "s"), actor(8, 80, "r")
	tree.Exec(&Exec{Actor: shell, Time: 5, ForkTime: 2, InScope: true})
	tree.Fork(&Fork{Parent: shell, ChildID: 2, ChildPID: 20, ChildTID: 20, Time: 100, InScope: true})
	tree.Snapshot(&Exec{Actor: snapshot, ForkTime: 500, Time: 500, InScope: true})
	assert.Equal(t, event.Time(1000), tree.Lookup(&read).ForkTime)
	for _, x := range []struct {
		id, prev uint64
		pid      uint32
		fork     event.Time // as the clock has it at the exec
		want     event.Time
	}{
		{3, 2, 20, 104, 100}, {4, 3, 20, 107, 100}, {6, 5, 50, 499, 500}, {9, 8, 80, 1003, 1003}, {11, 0, 90, 2000, 2000},
	} {
		ctx := tree.Exec(&Exec{Actor: actor(x.id, x.pid, "x"), PrevID: x.prev, Time: 3000, ForkTime: x.fork, InScope: true})
		assert.Equal(t, x.want, ctx.ForkTime, x.id)
	}
}

func TestFallback(t *testing.T) {
	calls := 0
	cfg := Config{Fallback: func(pid uint32) (Exec, bool) {
		calls++
		x := Exec{PPID: 1, ParentID: 1, ForkTime: 4, Executable: &event.File{Path: "/bin/f"}, Args: []string{"a"}, InScope: true}
		x.ID, x.PID, x.UID, x.Comm = uint64(pid), pid, 99, "later"
		return x, pid != 30
	}}
	tree := New(cfg)
	tree.Snapshot(&Exec{Actor: actor(1, 1, "init"), InScope: true})
	a := actor(10, 10, "f")
	ctx := tree.Lookup(&a)
	assert.Equal(t, "10:f < 1:init", showContext(ctx))
	assert.Equal(t, event.SourceFallback, ctx.Source)
	assert.Equal(t, "/bin/f", ctx.Executable.Path)
	assert.Equal(t, []string{"a"}, ctx.Args)
	assert.Equal(t, uint32(0), ctx.UID, "the event knows better")
	assert.Equal(t, uint32(1), ctx.PPID)
	tree.Lookup(&a)
	assert.Equal(t, 1, calls)

	b := actor(77, 20, "g") // the pid is another process's by now
	assert.Equal(t, event.SourceUnknown, tree.Lookup(&b).Source)
	c := actor(30, 30, "h") // no such process any more
	assert.Equal(t, event.SourceUnknown, tree.Lookup(&c).Source)
	assert.Equal(t, Stats{Processes: 4, Unknown: 3, Fallback: 1}, statsWithoutBytes(tree))
}

func TestRetention(t *testing.T) {
	tree := New(Config{Retention: 10 * time.Nanosecond})
	a, b, c := actor(1, 1, "a"), actor(2, 2, "b"), actor(3, 3, "c")
	tree.Exec(&Exec{Actor: a, InScope: true})
	tree.Fork(&Fork{Parent: a, ChildID: 2, ChildPID: 2, ChildTID: 2, InScope: true})
	tree.Fork(&Fork{Parent: b, ChildID: 3, ChildPID: 3, ChildTID: 3, InScope: true})
	tree.Exit(&Exit{Actor: a, Time: 100})
	tree.Exit(&Exit{Actor: b, Time: 100})
	tree.Expire(200)
	assert.Equal(t, Stats{Processes: 3, Exited: 2, Unknown: 0}, tree.Stats(), "kept for c")
	tree.Exit(&Exit{Actor: c, Time: 300})
	tree.Expire(309)
	assert.Equal(t, "3:ctx < 2:btx < 1:ax", showContext(tree.Lookup(&c)))
	assert.Equal(t, uint64(3), tree.Stats().Processes)
	tree.Expire(310)
	assert.Equal(t, Stats{}, tree.Stats())
	assert.Empty(t, tree.pids)
}

func TestNoRetention(t *testing.T) {
	for _, retention := range []time.Duration{0, -1} {
		tree := New(Config{Retention: retention})
		a, b := actor(1, 1, "a"), actor(2, 2, "b")
		tree.Exec(&Exec{Actor: a, InScope: true})
		tree.Fork(&Fork{Parent: a, ChildID: 2, ChildPID: 2, ChildTID: 2, InScope: true})
		assert.Equal(t, "1:ax", showContext(tree.Exit(&Exit{Actor: a, Time: 100})))
		tree.Expire(100)
		assert.Equal(t, "2:bt < 1:ax", showContext(tree.Lookup(&b)), "kept for its descendant")
		tree.Exit(&Exit{Actor: b, Time: 200})
		assert.Equal(t, "2:btx < 1:ax", showContext(tree.Lookup(&b)), "kept until the next Expire")
		tree.Expire(200)
		assert.Equal(t, Stats{Unknown: 0}, tree.Stats())
	}
}

// Setting the clock, forward or back, does not keep processes for longer.
func TestExpireWhenTheClockWasSet(t *testing.T) {
	const retention = event.Time(10 * time.Second)
	for _, tc := range []struct {
		name string
		now  event.Time // relative to the exit
		kept uint64
	}{
		{"at once", 0, 2},
		{"before the retention", retention - 1, 2},
		{"after the retention", retention, 0},
		{"much later", 3600 * retention, 0},
		{"set back a little", -retention + 1, 2},
		{"set back", -retention, 0},
		{"set back a lot", -3600 * retention, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const exit = 36000 * retention
			tree := New(Config{Retention: time.Duration(retention)})
			tree.Exit(&Exit{Actor: actor(1, 1, "a"), Time: exit})
			tree.Exit(&Exit{Actor: actor(2, 2, "b"), Time: exit})
			tree.Expire(exit + tc.now)
			assert.Equal(t, tc.kept, tree.Stats().Processes)
		})
	}
}

// A process whose exit was lost is found dead, and goes as any other that exited.
func TestLostExits(t *testing.T) {
	type check struct {
		pid   uint32
		start event.Time
	}
	var checks []check
	dead := map[uint32]bool{}
	tree := New(Config{Retention: 5, Alive: func(pid uint32, start event.Time) bool {
		checks = append(checks, check{pid, start})
		return !dead[pid]
	}})
	init := actor(1, 1, "init")
	tree.Snapshot(&Exec{Actor: init, InScope: true, ForkTime: 3})
	for i := uint64(2); i <= 4; i++ {
		tree.Fork(&Fork{Parent: init, ChildID: i, ChildPID: uint32(i), ChildTID: uint32(i), InScope: true, Time: event.Time(10 * i)})
	}
	tree.Lookup(&init)
	tree.Expire(100)
	assert.Equal(t, []check{{2, 20}, {3, 30}, {4, 40}}, checks, "who just had an event is alive")
	assert.Zero(t, tree.Stats().Vanished)

	dead[2], dead[3] = true, true
	checks = nil
	tree.Expire(101)
	assert.Equal(t, []check{{1, 3}, {2, 20}, {3, 30}, {4, 40}}, checks)
	assert.Equal(t, Stats{Processes: 4}, statsWithoutBytes(tree), "the exits may be on their way")
	tree.Exit(&Exit{Actor: actor(3, 3, "init"), Time: 101, InScope: true}) // as this one is
	tree.Expire(102)
	assert.Equal(t, Stats{Processes: 4, Exited: 2, Vanished: 1}, statsWithoutBytes(tree))
	assert.NotContains(t, tree.pids, uint32(2))
	late := actor(2, 2, "init")
	assert.Equal(t, "2:initt < 1:init", showContext(tree.Lookup(&late)), "late events, and no exit that nobody saw")
	tree.Expire(106)
	assert.Equal(t, Stats{Processes: 3, Exited: 1, Vanished: 1}, statsWithoutBytes(tree))
	tree.Expire(107)
	assert.Equal(t, Stats{Processes: 2, Vanished: 1}, statsWithoutBytes(tree))

	// The work of a call is bounded, and all have their turn.
	for i := uint64(1000); i < 1500; i++ {
		tree.Fork(&Fork{Parent: init, ChildID: i, ChildPID: uint32(i), ChildTID: uint32(i), InScope: true})
	}
	seen := map[uint32]int{}
	for i := range 8 {
		checks = nil
		tree.Expire(event.Time(200 + i))
		assert.LessOrEqual(t, len(checks), maxChecks)
		for _, c := range checks {
			seen[c.pid]++
		}
	}
	assert.Len(t, seen, 502)

	// An image that an exec replaced meanwhile is nobody that vanished.
	dead[4] = true
	for range 8 {
		tree.Expire(300)
		if len(tree.suspects) > 0 {
			break
		}
	}
	require.Len(t, tree.suspects, 1)
	tree.Exec(&Exec{Actor: actor(5, 4, "x"), PrevID: 4, InScope: true})
	dead[4] = false
	tree.Expire(301)
	assert.Equal(t, uint64(1), tree.Stats().Vanished)
}

func statsWithoutBytes(tree *Tree) Stats {
	st := tree.Stats()
	st.Bytes = 0
	return st
}

func TestEviction(t *testing.T) {
	tree := newTestTree(16)
	parent := actor(1, 1, "p")
	tree.Exec(&Exec{Actor: parent, InScope: true})
	for i := uint64(2); i <= 16; i++ {
		tree.Fork(&Fork{Parent: parent, ChildID: i, ChildPID: uint32(i), ChildTID: uint32(i), InScope: true})
	}
	has := func(id uint64) bool { return tree.nodes[id] != nil }
	tree.Exit(&Exit{Actor: actor(5, 5, "p"), Time: 1})
	tree.Exit(&Exit{Actor: actor(4, 4, "p"), Time: 2})
	a := actor(20, 20, "x")
	tree.Lookup(&a)
	assert.False(t, has(5), "who exited first goes first")
	assert.True(t, has(4))
	a = actor(21, 21, "x")
	tree.Lookup(&a)
	assert.False(t, has(4))
	assert.Equal(t, uint64(2), tree.Stats().Evicted)

	// All are alive: who has children, or an event since the last round, has another one.
	b := actor(2, 2, "p")
	require.Len(t, tree.Lookup(&b).Ancestors, 1)
	for i := range uint32(2) {
		a = actor(uint64(22+i), 22+i, "x")
		tree.Lookup(&a)
	}
	assert.True(t, has(1), "a parent")
	assert.True(t, has(2), "just had an event")
	assert.False(t, has(3))
	assert.False(t, has(6))
	assert.Equal(t, uint64(4), tree.Stats().Evicted)
	check(t, tree)
}

// A flood of processes does not displace those that are in use, and a lineage that loses its root just ends.
func TestEvictionUnderFlood(t *testing.T) {
	tree := newTestTree(256)
	init, sshd, busy := actor(1, 1, "init"), actor(2, 2, "sshd"), actor(3, 3, "busy")
	tree.Snapshot(&Exec{Actor: init, InScope: true})
	tree.Snapshot(&Exec{Actor: sshd, ParentID: 1, InScope: true})
	tree.Snapshot(&Exec{Actor: busy, ParentID: 1, InScope: true})
	tree.Snapshot(&Exec{Actor: actor(4, 4, "session"), ParentID: 2, InScope: true})
	tree.Snapshot(&Exec{Actor: actor(5, 5, "session"), ParentID: 2, InScope: true})
	shell := actor(6, 6, "shell")
	tree.Snapshot(&Exec{Actor: shell, ParentID: 4, InScope: true})
	// Each that is started starts the next one, so that nearly all have a child.
	for i := uint64(100); i < 10100; i++ {
		from := actor(i-1, uint32(i-1), "x")
		if i == 100 {
			from = shell
		}
		tree.Fork(&Fork{Parent: from, ChildID: i, ChildPID: uint32(i), ChildTID: uint32(i), InScope: true})
		tree.Lookup(&busy)
		tree.Lookup(&shell)
	}
	check(t, tree)
	assert.Equal(t, "6:shell < 4:session < 2:sshd < 1:init", showContext(tree.Lookup(&shell)))
	assert.Equal(t, "3:busy < 1:init", showContext(tree.Lookup(&busy)))
	assert.Equal(t, uint64(10006-256), tree.Stats().Evicted)

	tree.drop(tree.nodes[1])
	assert.Equal(t, "3:busy", showContext(tree.Lookup(&busy)))
	assert.Nil(t, tree.Lookup(&busy).Parent)
}

// What the strings of all images take is bounded, and what is equal is kept once.
func TestBytes(t *testing.T) {
	tree := New(Config{MaxBytes: minBytes})
	envs := func() []string { return []string{"PATH=" + strings.Repeat("p", 84), "HOME"} }
	parent := actor(1, 1, "p")
	exe := &event.File{Path: "/bin/c", Name: "c"}
	ctx := tree.Exec(&Exec{Actor: parent, InScope: true, Executable: exe, Argv0: "abc", Args: []string{"12345678"}, Envs: envs()})
	// Own: path, name and argv0. Arguments 16+8, environment 16+89+16+4. All of it once more in encoded form.
	const own, args, env = 10, 24, 125
	assert.Equal(t, uint64(2*(own+args+env)), tree.Stats().Bytes)

	child := tree.Fork(&Fork{Parent: parent, ChildID: 2, ChildPID: 2, ChildTID: 2, InScope: true})
	assert.Same(t, &ctx.Envs[0], &child.Envs[0])
	assert.Equal(t, uint64(2*(own+args+env)+own+own+args+env), tree.Stats().Bytes)

	child = tree.Exec(&Exec{Actor: actor(3, 2, "q"), PrevID: 2, InScope: true, Executable: exe, Argv0: "abc", Args: []string{"87654321"}, Envs: envs()})
	assert.Same(t, &ctx.Envs[0], &child.Envs[0], "the environment is inherited")
	assert.Equal(t, []string{"87654321"}, child.Args)
	assert.Equal(t, uint64(4*(own+args+env)-env), tree.Stats().Bytes)
	child = tree.Exec(&Exec{Actor: actor(4, 4, "q"), ParentID: 1, InScope: true, Executable: exe, Argv0: "abc", Args: []string{"12345678"}, Envs: envs()})
	assert.Same(t, &ctx.Envs[0], &child.Envs[0], "of the parent, if the fork was lost")
	assert.Same(t, &ctx.Args[0], &child.Args[0])
	check(t, tree)

	// The one that had it first goes, and it still counts.
	tree.Exit(&Exit{Actor: parent, Time: 1})
	check(t, tree)
	tree.drop(tree.nodes[1])
	assert.Equal(t, uint64(2*(2*own+args+env)+2*args+env), tree.Stats().Bytes)
	check(t, tree)
	tree.drop(tree.nodes[3])
	tree.drop(tree.nodes[4])
	assert.Zero(t, tree.Stats().Bytes)

	// Far more than fits, by processes that are all alive.
	most := uint64(0)
	for i := range uint64(1000) {
		big := []string{strings.Repeat(fmt.Sprint(i%10), 16384)}
		ctx := tree.Exec(&Exec{Actor: actor(10+i, uint32(10+i), "big"), InScope: true, Args: big, Envs: []string{fmt.Sprint(i) + strings.Repeat("e", 16380)}})
		require.Equal(t, big, ctx.Args)
		most = max(most, tree.Stats().Bytes)
	}
	assert.LessOrEqual(t, most, uint64(minBytes))
	assert.Greater(t, most, uint64(minBytes*9/10))
	assert.Equal(t, uint64(1000)-tree.Stats().Processes, tree.Stats().Evicted)
	check(t, tree)

	// A fork has a place too, and so do other forms of a process, up to the bound.
	for i := range uint64(100) {
		tree.Fork(&Fork{Parent: actor(1009, 1009, "big"), ChildID: 2000 + i, ChildPID: uint32(2000 + i), ChildTID: uint32(2000 + i), InScope: true})
		for j := range uint32(10) {
			a := actor(2000+i, uint32(2000+i), fmt.Sprint("t", j))
			a.TID = 9000 + j
			require.Equal(t, a.Comm, tree.Lookup(&a).Comm)
		}
		check(t, tree)
	}
	for i := range uint64(100) {
		for j := range uint32(10) {
			a := actor(2000+i, uint32(2000+i), fmt.Sprint("t", j))
			tree.Lookup(&a)
		}
		check(t, tree)
	}
}

// Containers stay known when /proc cannot be read.
func TestCgroupMoves(t *testing.T) {
	tree := newTestTree(0)
	reads := 0
	tree.cfg.CgroupPath = func(uint32) string { reads++; return "" }
	in := func(id uint64, pid uint32, cgroup uint64) Actor {
		a := actor(id, pid, "a")
		a.CgroupID = cgroup
		return a
	}
	tree.Exec(&Exec{Actor: in(1, 1, 1), InScope: true, CgroupPath: "/c/v1"})
	tree.Exec(&Exec{Actor: in(2, 2, 50), InScope: true, CgroupPath: "/c/one"})
	tree.Snapshot(&Exec{Actor: in(3, 3, 60), InScope: true, CgroupPath: "/c/two"})
	require.Zero(t, reads)
	for _, tc := range []struct {
		name      string
		cgroup    uint64
		container string
		reads     int
	}{
		{"an exec told it", 50, "one", 0},
		{"the snapshot told it", 60, "two", 0},
		{"nobody told it", 70, "", 1},
		{"back", 60, "two", 0},
		{"the root is not one cgroup on v1", 1, "", 1},
		{"no id", 0, "", 1},
	} {
		reads = 0
		mover := in(9, 9, tc.cgroup)
		ctx := tree.Lookup(&mover)
		if tc.container == "" {
			assert.Nil(t, ctx.Container, tc.name)
			assert.Empty(t, ctx.CgroupPath, tc.name)
		} else if assert.NotNil(t, ctx.Container, tc.name) {
			assert.Equal(t, tc.container, ctx.Container.ID, tc.name)
			assert.Equal(t, "/c/"+tc.container, ctx.CgroupPath, tc.name)
		}
		assert.Equal(t, tc.reads, reads, tc.name)
	}

	// What is used stays, and the number is bounded.
	for i := range uint64(10 * maxCgroups) {
		tree.cgroups.learn(1000+i, "/x")
		require.Equal(t, "/c/one", tree.cgroups.get(50))
		require.LessOrEqual(t, len(tree.cgroups.recent)+len(tree.cgroups.older), 2*maxCgroups)
	}
	assert.Empty(t, tree.cgroups.get(60))
	assert.Equal(t, "/new", tree.cgroups.learn(50, "/new"), "the last word counts")
	assert.Equal(t, "/new", tree.cgroups.get(50))
}

func TestLongLineage(t *testing.T) {
	tree := newTestTree(5000)
	first := actor(1, 1, "c1")
	tree.Exec(&Exec{Actor: first, InScope: true})
	var ctx event.ProcessContext
	for i := uint64(2); i <= 3000; i++ {
		ctx = tree.Exec(&Exec{Actor: actor(i, 1, fmt.Sprint("c", i)), PrevID: i - 1, InScope: true, Time: event.Time(i)})
		want := int(i - 1)
		require.Len(t, ctx.Ancestors, min(want, MaxAncestors))
	}
	check(t, tree)
	assert.Same(t, ctx.Parent, ctx.Ancestors[0])
	for i := range halfAncestors {
		require.Equal(t, fmt.Sprint("c", 2999-i), ctx.Ancestors[i].Comm)
		require.Equal(t, fmt.Sprint("c", halfAncestors-i), ctx.Ancestors[halfAncestors+i].Comm)
	}
	assert.LessOrEqual(t, len(tree.nodes), MaxAncestors+2, "images that nobody sees are not kept")

	// The same when all of them are alive, and made anew after a change at the far end.
	tree = newTestTree(5000)
	tree.Exec(&Exec{Actor: first, InScope: true})
	for i := uint64(2); i <= 500; i++ {
		ctx = tree.Fork(&Fork{Parent: actor(i-1, uint32(i-1), fmt.Sprint("c", i-1)), ChildID: i, ChildPID: uint32(i), ChildTID: uint32(i), InScope: true})
	}
	require.Len(t, ctx.Ancestors, MaxAncestors)
	first.UID = 9
	tree.Lookup(&first)
	last := actor(500, 500, "c499")
	again := tree.Lookup(&last)
	require.Len(t, again.Ancestors, MaxAncestors)
	assert.Equal(t, uint32(9), again.Ancestors[MaxAncestors-1].UID)
	assert.Equal(t, ctx.Ancestors[:MaxAncestors-1], again.Ancestors[:MaxAncestors-1])
	assert.Len(t, tree.nodes, 500)
}

func TestLineageIsShared(t *testing.T) {
	tree := newTestTree(0)
	p := actor(1, 1, "p")
	tree.Exec(&Exec{Actor: p, InScope: true})
	a := tree.Fork(&Fork{Parent: p, ChildID: 2, ChildPID: 2, ChildTID: 2, InScope: true})
	b := tree.Fork(&Fork{Parent: p, ChildID: 3, ChildPID: 3, ChildTID: 3, InScope: true})
	assert.Same(t, &a.Ancestors[0], &b.Ancestors[0])
	other := actor(9, 9, "o")
	tree.Exec(&Exec{Actor: other, InScope: true})
	tree.Fork(&Fork{Parent: other, ChildID: 10, ChildPID: 10, ChildTID: 10, InScope: true})
	other.UID = 5
	tree.Lookup(&other) // a change elsewhere
	child := actor(2, 2, "p")
	again := tree.Lookup(&child)
	assert.Same(t, &a.Ancestors[0], &again.Ancestors[0])
}

// Every member of Process must be copied; a new one must not be forgotten.
func TestCloneCopiesAll(t *testing.T) {
	p := &event.Process{}
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if !f.CanSet() {
			continue
		}
		switch f.Kind() {
		case reflect.Uint32, reflect.Uint64:
			f.SetUint(uint64(i + 1))
		case reflect.Int64:
			f.SetInt(int64(i + 1))
		case reflect.String:
			f.SetString(fmt.Sprint(i))
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{fmt.Sprint(i)}))
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
		default:
			t.Fatalf("no value for %s", v.Type().Field(i).Name)
		}
	}
	assert.Equal(t, p, Clone(p))
}
