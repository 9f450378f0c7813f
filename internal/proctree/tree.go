// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

// Package proctree keeps the processes of the machine: who started whom, and what is known of each.
//
// A node is one process image. The kernel side gives a process a new 64-bit id at fork and at each exec, so ids never mean
// two things, and lineage follows ids only. Pids just say which image is the current one.
//
// A Tree belongs to one goroutine, the one that drains the ring buffer; only Stats may be called from others.
package proctree

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/picketsec/picket/internal/event"
)

const (
	// DefaultMaxProcesses bounds the tree if Config does not.
	DefaultMaxProcesses = 65536
	// DefaultMaxBytes bounds the tree's strings if Config does not.
	DefaultMaxBytes = 64 << 20

	minProcesses = 16      // one call may need several nodes at once
	minBytes     = 1 << 20 // room for as many, each with all that the kernel side reads of one

	// MaxAncestors is the most that a lineage has: the nearest and the oldest half of a longer one.
	MaxAncestors  = 2 * halfAncestors
	halfAncestors = 100
)

// Actor is the process that did something, as the kernel side saw it at that moment. All ids are of the host's namespaces.
type Actor struct {
	ID                         uint64
	PID, TID                   uint32
	UID, GID, EUID, EGID       uint32
	FSUID, FSGID               uint32
	CapEffective, CapPermitted event.CapSet
	AUID, SID, NetNS, MntNS    uint32
	CgroupID                   uint64
	Comm                       string // of the thread; the tree copies what it keeps
}

// Exec is the start of a program. The tree keeps its pointers and slices: the caller must not change them any more.
type Exec struct {
	Actor                     // after the exec
	PrevID        uint64      // the process's id before the exec; 0 if unknown
	PPID          uint32      // of the parent that the kernel has now: a reaper, if the one that forked is gone
	ParentID      uint64      // id of that parent
	Time          event.Time  // of the exec
	ForkTime      event.Time  // start time of the process
	Executable    *event.File // nil if unknown
	Interpreter   *event.File // nil if Executable is no script
	Argv0         string
	Args          []string // without argv[0], scrubbed
	ArgsTruncated bool
	Envs          []string // filtered
	EnvsTruncated bool
	TTY           string
	CgroupPath    string // empty if unknown
	IsKworker     bool   // a kernel thread
	// Forked says of a process of the snapshot or of /proc that it has not executed a program since its fork (the kernel's
	// PF_FORKNOEXEC). Executable and arguments, which are its parent's, do not tell.
	Forked  bool
	InScope bool
	Source  string // of whom it is; the tree knows by the method that is called
}

// Fork is a new process.
type Fork struct {
	Parent             Actor
	ChildID            uint64
	ChildPID, ChildTID uint32
	Time               event.Time // start time of the child
	InScope            bool       // of the child
	Kthread            bool       // the child is a kernel thread
}

// Exit is the end of a process.
type Exit struct {
	Actor
	Time    event.Time
	InScope bool
}

// Config says how large a Tree may get and where it looks up what the kernel side does not know.
type Config struct {
	MaxProcesses int // images, running and exited; DefaultMaxProcesses if 0
	// Retention is how long an exited process is kept for late events. If 0, it is kept only for its descendants, and goes
	// with the next Expire.
	Retention time.Duration
	// MaxBytes bounds what the images' strings take, and what their events keep of them in encoded form; DefaultMaxBytes if
	// 0. Equal lists of arguments or environment of an image and the one it comes from are kept, and counted, once.
	MaxBytes int

	// Users names user and group ids as the process's mount namespace has them. May be nil.
	Users interface {
		User(mntns, pid, uid uint32) string
		Group(mntns, pid, gid uint32) string
	}
	// Containers tells the container of a cgroup; nil if it is none. May be nil.
	Containers interface {
		Lookup(cgroupPath string, cgroupID uint64) *event.ContainerContext
	}
	// CgroupPath reads the cgroup of a process that moved to one of which no exec and no snapshot has told the path. May be
	// nil.
	CgroupPath func(pid uint32) string
	// Fallback reads a process from /proc of which no fork, exec or snapshot was seen. If it knows the process id, it sets
	// Exec.ID, and a result for another id (the pid was taken over) is not used. It sets InScope if the process is. May be nil.
	Fallback func(pid uint32) (Exec, bool)
	// Alive says whether a process still runs, so that one whose exit was lost does not stay for ever; start is its start
	// time, as it was known then, and 0 if unknown. It must say false only if it is sure. May be nil: then none is checked.
	Alive func(pid uint32, start event.Time) bool
}

// Stats are the tree's counters.
type Stats struct {
	Processes uint64 // images in the tree, Exited included
	Bytes     uint64 // what Config.MaxBytes bounds
	Exited    uint64 // of them: exited or replaced by an exec, and kept for their descendants or late events
	Evicted   uint64 // thrown out because the tree was full, since the start
	Unknown   uint64 // actors of which neither fork nor exec nor snapshot was seen, since the start
	Fallback  uint64 // of them: found in /proc
	Vanished  uint64 // found dead, though no exit was seen, since the start
}

// Tree is the process tree.
type Tree struct {
	cfg   Config
	nodes map[uint64]*node
	pids  map[uint32]*node // the current image of each pid
	// wanted lists, by the id of a parent that is not in the tree, the nodes that wait for it.
	wanted map[uint64]*node

	live   list // a clock, see liveVictim
	exited list // in the order of their exit, within the retention
	held   list // past the retention, kept for their descendants

	// epoch changes whenever what cached lineages show has changed; a lineage that was checked in this epoch is right.
	epoch   uint64
	scratch []*event.Process
	bytes   int
	cgroups cgroupPaths
	keep    *node // must not be evicted by the call that goes on
	// suspects were dead at the last Expire, though no exit had been seen until then.
	suspects []*node

	processes, used, gone, evicted, unknown, fallback, vanished atomic.Uint64
}

// New makes an empty tree.
func New(cfg Config) *Tree {
	if cfg.MaxProcesses <= 0 {
		cfg.MaxProcesses = DefaultMaxProcesses
	}
	cfg.MaxProcesses = max(cfg.MaxProcesses, minProcesses)
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	cfg.MaxBytes = max(cfg.MaxBytes, minBytes)
	cfg.Retention = max(cfg.Retention, 0)
	return &Tree{
		cfg: cfg, nodes: map[uint64]*node{}, pids: map[uint32]*node{}, wanted: map[uint64]*node{}, epoch: 1,
	}
}

// Stats may be called from any goroutine.
func (t *Tree) Stats() Stats {
	return Stats{
		Processes: t.processes.Load(), Bytes: t.used.Load(), Exited: t.gone.Load(), Evicted: t.evicted.Load(),
		Unknown: t.unknown.Load(), Fallback: t.fallback.Load(), Vanished: t.vanished.Load(),
	}
}

// Lookup returns the context of an event of a. Only processes in scope have events, so an image that was out of scope
// comes into scope by it (a process that was moved into a watched cgroup); its arguments stay unknown.
//
// A change of what Actor carries makes a new Process. What only differs in the name of a thread does not become part of
// the lineage of descendants: there the process has its main thread's name.
func (t *Tree) Lookup(a *Actor) event.ProcessContext {
	n := t.known(a, 0)
	if !n.inScope {
		t.enterScope(n, a)
	}
	if n.uses < maxUses {
		n.uses++
	}
	return t.context(n, t.touch(n, a), a.TID)
}

// Find returns the context of a process that something was done to, as it is known; false if it is not in the tree. It
// changes nothing: the state of a process follows from what it does. In the middle of an exec a process has an id that no
// record has told yet; then it is still the image before.
func (t *Tree) Find(id uint64, pid uint32) (event.ProcessContext, bool) {
	n := t.nodes[id]
	if n == nil {
		n = t.pids[pid]
	}
	if n == nil || n.proc == nil {
		return event.ProcessContext{}, false
	}
	return t.context(n, n.proc, n.pid), true
}

// Exec adds the image of an exec and returns its context.
func (t *Tree) Exec(x *Exec) event.ProcessContext {
	n := t.node(x.ID, x.PID)
	if n != nil && n.rank >= rankEvent {
		return t.context(n, t.touch(n, &x.Actor), x.TID) // seen before
	}
	var prev *node
	if x.PrevID != 0 && x.PrevID != x.ID {
		prev = t.node(x.PrevID, x.PID)
	}
	if n == nil {
		t.makeRoom(1, x.size(), prev)
	} else if t.makeRoom(0, x.size(), n); prev != nil && prev.removed {
		prev = nil
	}
	isNew := n == nil
	if isNew {
		n = t.insert(x.ID, x.PID)
	}
	n.prevID = x.PrevID
	n.execChild = prev != nil && !prev.forked && prev.rank > rankUnknown
	n.forked = false
	t.fill(n, x, rankEvent, prev)
	switch {
	case prev == nil:
		t.linkID(n, x.ParentID)
	case n.execChild:
		t.link(n, prev)
		t.retire(prev, x.Time, true)
	default:
		// The first exec after the fork takes the place of the forked image, in the lineage too.
		if p := prev.up(); p != nil {
			t.link(n, p)
		} else {
			t.linkID(n, x.ParentID)
		}
		t.retire(prev, x.Time, true)
	}
	if isNew {
		t.becomeCurrent(n, x.ForkTime, x.Time)
	}
	t.compact(n)
	ctx := t.context(n, n.proc, x.TID)
	if p := n.parent; p != nil && p.gone && p.parent != nil && p.parent.gone {
		p.parent.dropLineage() // of a chain of execs only the last image's lineage is used
	}
	return ctx
}

// Fork adds a child and returns the child's context.
func (t *Tree) Fork(f *Fork) event.ProcessContext {
	if f.ChildID == f.Parent.ID && f.ChildID != 0 { // a thread, not a process
		n := t.known(&f.Parent, 0)
		return t.context(n, t.touch(n, &f.Parent), f.ChildTID)
	}
	parent := t.known(&f.Parent, 1)
	pp := t.touch(parent, &f.Parent)
	n := t.node(f.ChildID, f.ChildPID)
	switch {
	case n == nil:
		n = t.insert(f.ChildID, f.ChildPID)
		t.becomeCurrent(n, f.Time, f.Time)
	case n.rank >= rankEvent:
		return t.context(n, n.proc, f.ChildTID)
	case n.rank == rankSnapshot || n.rank == rankFallback:
		// The snapshot saw the child after the fork and has the same arguments, but not that it is a forked one.
		n.forked = true
		n.rank = rankEvent
		n.forkTime, n.execTime = f.Time, 0
		t.refresh(n)
		t.link(n, parent)
		return t.context(n, n.proc, f.ChildTID)
	}
	n.forked, n.rank, n.inScope = true, rankEvent, f.InScope
	t.forkProcess(n, parent, pp, f)
	t.link(n, parent)
	t.compact(n)
	return t.context(n, n.proc, f.ChildTID)
}

// Exit marks a process as exited and returns its last context, with the time of the exit. Threads that end at the same time
// may each be the last one to the kernel side, so a process can exit twice; the second time there is no context. One that was
// not in scope does not count: the other of the two may have taken the process out of scope already.
func (t *Tree) Exit(x *Exit) event.ProcessContext {
	n := t.known(&x.Actor, 0)
	if n.exited {
		return event.ProcessContext{}
	}
	n.exited = x.InScope
	if x.InScope && !n.inScope {
		t.enterScope(n, &x.Actor)
	}
	t.touch(n, &x.Actor)
	if n.exitTime == 0 {
		n.exitTime = x.Time
		t.refresh(n)
	}
	t.retire(n, x.Time, false)
	return t.context(n, n.proc, x.TID)
}

// Snapshot adds a process that was there at the start. Processes may come in any order: who comes before the parent is
// linked when the parent comes. What an event has said of the process already is kept.
func (t *Tree) Snapshot(x *Exec) {
	n := t.node(x.ID, x.PID)
	if n != nil {
		if n.rank < rankSnapshot {
			t.makeRoom(0, x.size(), n)
			t.fill(n, x, rankSnapshot, nil)
		}
		if n.parent == nil && !n.gone {
			t.linkID(n, x.ParentID)
		}
		return
	}
	t.makeRoom(1, x.size(), nil)
	n = t.insert(x.ID, x.PID)
	cur := t.pids[x.PID]
	t.fill(n, x, rankSnapshot, nil)
	t.linkID(n, x.ParentID)
	switch {
	case cur == nil:
		t.pids[x.PID] = n
	case cur.rank == rankEvent:
		// Events were faster than the snapshot: the pid is somebody else by now, or this image was replaced meanwhile.
		t.retire(n, max(cur.execTime, cur.forkTime), true)
		switch {
		case cur.prevID != x.ID || cur.prevID == 0:
		case !n.forked:
			t.unlink(cur)
			t.link(cur, n)
			cur.execChild = true
			t.refresh(cur)
		case cur.up() == nil: // its first exec
			t.linkID(cur, x.ParentID)
		}
	default:
		t.becomeCurrent(n, x.ForkTime, x.Time)
	}
}

// Expire forgets processes that exited longer than the retention ago and have no descendants in the tree. now is on the
// clock of the events. A clock that was set back makes exits lie in the future: those are forgotten too, if by more than
// the retention.
//
// It also looks for processes whose exit was lost, a few at a time, so it should be called about once a second.
func (t *Tree) Expire(now event.Time) {
	retention := event.Time(t.cfg.Retention)
	for n := t.exited.front; n != nil && (now-n.goneAt >= retention || n.goneAt-now >= retention); n = t.exited.front {
		t.exited.remove(n)
		t.held.push(n)
		t.release(n)
	}
	if t.cfg.Alive != nil {
		t.checkAlive(now)
	}
}

// maxChecks is how many processes one Expire looks at: 1,000 running ones are through in a quarter of a minute.
const maxChecks = 64

// checkAlive looks at the running processes without events for longest. One that is dead is retired only at the next call:
// by then its exit has been read, if it was not lost.
func (t *Tree) checkAlive(now event.Time) {
	for _, n := range t.suspects {
		if n.gone {
			continue
		}
		t.vanished.Add(1)
		t.retire(n, now, false)
	}
	clear(t.suspects)
	t.suspects = t.suspects[:0]
	for range min(maxChecks, t.live.len) {
		n := t.live.front
		t.live.remove(n)
		t.live.push(n)
		if n.uses > 0 {
			n.uses--
			continue
		}
		if !t.cfg.Alive(n.pid, n.forkTime) {
			t.suspects = append(t.suspects, n)
		}
	}
}

// known returns the node of a, making one if it is not in the tree. extra is how many nodes the caller is about to add.
func (t *Tree) known(a *Actor, extra int) *node {
	if n := t.node(a.ID, a.PID); n != nil {
		if extra > 0 {
			t.makeRoom(extra, int(n.own+n.encoded), n)
		}
		return n
	}
	t.unknown.Add(1)
	x, rank := Exec{Actor: *a}, rankUnknown
	if t.cfg.Fallback != nil {
		if f, ok := t.cfg.Fallback(a.PID); ok && (f.ID == 0 || f.ID == a.ID) {
			t.fallback.Add(1)
			x = f
			x.Actor = *a // what the event says of the process is of its moment, /proc is later
			rank = rankFallback
		}
	}
	t.makeRoom(1+extra, (1+extra)*x.size(), nil)
	n := t.insert(a.ID, a.PID)
	t.becomeCurrent(n, x.ForkTime, 0)
	t.fill(n, &x, rank, nil)
	t.linkID(n, x.ParentID)
	return n
}

// context puts a process and its lineage together.
func (t *Tree) context(n *node, p *event.Process, tid uint32) event.ProcessContext {
	ctx := event.ProcessContext{Process: p, ActorTID: tid}
	if parent := n.up(); parent != nil {
		ctx.Ancestors = t.lineage(parent)
		ctx.Parent = ctx.Ancestors[0]
	}
	return ctx
}

// key is what can change during the life of an image.
type key struct {
	uid, gid, euid, egid, fsuid, fsgid uint32
	capEffective, capPermitted         event.CapSet
	auid, sid, netns, mntns            uint32
	cgroupID                           uint64
	comm                               string
}

func keyOf(a *Actor) key {
	return key{
		uid: a.UID, gid: a.GID, euid: a.EUID, egid: a.EGID, fsuid: a.FSUID, fsgid: a.FSGID,
		capEffective: a.CapEffective, capPermitted: a.CapPermitted,
		auid: a.AUID, sid: a.SID, netns: a.NetNS, mntns: a.MntNS, cgroupID: a.CgroupID, comm: a.Comm,
	}
}

// owned returns the key with a comm of its own.
func (k key) owned() key {
	k.comm = strings.Clone(k.comm)
	return k
}
