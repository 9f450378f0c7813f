// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package proctree

import "github.com/picketsec/picket/internal/event"

// sources are the names of the ranks.
var sources = [...]string{
	rankUnknown: event.SourceUnknown, rankFallback: event.SourceFallback, rankSnapshot: event.SourceSnapshot, rankEvent: event.SourceEvent,
}

// kernelCredentials are those of kernel threads, of which none are recorded.
var kernelCredentials = &event.ProcessCredentials{}

// fill makes n what x says. prev is the image before the exec; nil if unknown.
func (t *Tree) fill(n *node, x *Exec, rank uint8, prev *node) {
	var before *event.Process
	if prev != nil {
		before = prev.proc
	}
	n.cgroupPath = t.pathOf(n, x, rank, prev)
	n.rank, n.inScope = rank, x.InScope
	n.key = keyOf(&x.Actor).owned()
	n.alts = nil
	n.forked = rank != rankEvent && x.Forked
	n.forkTime, n.execTime = x.ForkTime, x.Time
	if prev != nil && prev.rank >= rankSnapshot {
		n.forkTime = prev.forkTime // the same start: the clock, by which x has it, may have been adjusted since
	}
	if rank == rankUnknown || n.forked {
		n.execTime = 0
	}
	p := &event.Process{
		ID: x.ID, PID: x.PID, TID: x.PID, PPID: x.PPID, Source: sources[rank], Executable: x.Executable, IsKworker: x.IsKworker,
		Argv0: x.Argv0, Args: x.Args, ArgsTruncated: x.ArgsTruncated, Envs: x.Envs, EnvsTruncated: x.EnvsTruncated, TTY: x.TTY,
		Interpreter: x.Interpreter,
	}
	if x.Executable != nil {
		p.PathResolutionError = x.Executable.PathResolutionError
	}
	t.apply(n, p, before)
	like := prev
	if like == nil {
		like = t.nodes[x.ParentID]
	}
	t.setText(n, p, like)
	t.replace(n, p)
}

// pathOf returns the path of the cgroup of x, which n is to become: as x says, or as it was known of n or the image before.
func (t *Tree) pathOf(n *node, x *Exec, rank uint8, prev *node) string {
	path := x.CgroupPath
	for _, o := range [...]*node{n, prev} {
		if path == "" && o != nil && o.key.cgroupID == x.CgroupID {
			path = o.cgroupPath
		}
	}
	path = t.cgroups.learn(x.CgroupID, path)
	switch {
	case path != "":
		return path
	case rank == rankUnknown:
		return t.cgroups.get(x.CgroupID)
	}
	return t.cgroupPath(x.PID, x.CgroupID)
}

// forkProcess makes n a copy of its parent's process pp.
func (t *Tree) forkProcess(n, parent *node, pp *event.Process, f *Fork) {
	n.key = keyOf(&f.Parent).owned()
	n.alts = nil
	p := Clone(pp)
	p.ID, p.PID, p.TID, p.PPID = f.ChildID, f.ChildPID, f.ChildPID, f.Parent.PID
	n.forkTime, n.execTime = f.Time, 0
	n.cgroupPath = parent.cgroupPath
	p.Source = event.SourceEvent
	p.IsKworker = f.Kthread
	t.apply(n, p, pp)
	t.setText(n, p, parent)
	t.replace(n, p)
}

// apply writes the node's key into p, and cuts p down to what may be known of it. like is a process with which p may share
// what they have in common; nil if there is none.
func (t *Tree) apply(n *node, p, like *event.Process) {
	k := &n.key
	p.UID, p.GID = k.uid, k.gid
	p.AUID, p.SID, p.NetNS, p.MntNS, p.CgroupID = k.auid, k.sid, k.netns, k.mntns, k.cgroupID
	p.Comm = k.comm
	if n.inScope {
		p.ForkTime, p.ExecTime, p.ExitTime, p.CgroupPath = n.forkTime, n.execTime, n.exitTime, n.cgroupPath
		p.IsThread, p.IsExecChild = n.forked && !p.IsKworker, n.execChild
	} else {
		p.ForkTime, p.ExecTime, p.ExitTime, p.CgroupPath = 0, 0, 0, ""
		p.IsThread, p.IsExecChild = false, false
	}
	if p.IsKworker {
		strip(p)
		p.Credentials = kernelCredentials
		return
	}
	if !n.inScope {
		strip(p)
		return
	}
	if like != nil && like.MntNS == k.mntns && like.Credentials != nil && like.Credentials != kernelCredentials && sameCredentials(like.Credentials, k) {
		p.Credentials, p.User, p.Group = like.Credentials, like.User, like.Group
	} else {
		p.Credentials = t.credentials(k, p.PID)
		p.User, p.Group = p.Credentials.User, p.Credentials.Group
	}
	if like != nil && like.CgroupID == k.cgroupID && like.CgroupPath == p.CgroupPath && like.Container != nil {
		p.Container = like.Container
	} else {
		p.Container = t.container(p.CgroupPath, k.cgroupID)
	}
}

// strip leaves what lineages show of processes out of scope, and of kernel threads: pid, ppid, comm, and the path of the
// executable. The numbers of users, namespaces and cgroup stay, though no record shows them: the schema requires some of
// them, and 0 would claim that it was root. Source is about the knowledge, not about the process.
func strip(p *event.Process) {
	p.Argv0, p.Args, p.ArgsTruncated, p.Envs, p.EnvsTruncated = "", nil, false, nil, false
	p.TTY, p.User, p.Group, p.Credentials, p.Container, p.Interpreter = "", "", "", nil, nil, nil
	if e := p.Executable; e != nil && (e.Has != 0 || e.User != "" || e.Filesystem != "") {
		p.Executable = &event.File{Path: e.Path, Name: e.Name, PathResolutionError: e.PathResolutionError}
	}
	if p.IsKworker {
		p.Executable = nil
	}
}

func sameCredentials(c *event.ProcessCredentials, k *key) bool {
	return c.UID == k.uid && c.GID == k.gid && c.EUID == k.euid && c.EGID == k.egid && c.FSUID == k.fsuid && c.FSGID == k.fsgid &&
		c.CapEffective == k.capEffective && c.CapPermitted == k.capPermitted && c.Destination == nil
}

func (t *Tree) credentials(k *key, pid uint32) *event.ProcessCredentials {
	c := &event.ProcessCredentials{
		UID: k.uid, GID: k.gid, EUID: k.euid, EGID: k.egid, FSUID: k.fsuid, FSGID: k.fsgid,
		CapEffective: k.capEffective, CapPermitted: k.capPermitted,
	}
	if u := t.cfg.Users; u != nil {
		c.User, c.Group = u.User(k.mntns, pid, k.uid), u.Group(k.mntns, pid, k.gid)
		c.EUser, c.EGroup = u.User(k.mntns, pid, k.euid), u.Group(k.mntns, pid, k.egid)
		c.FSUser, c.FSGroup = u.User(k.mntns, pid, k.fsuid), u.Group(k.mntns, pid, k.fsgid)
	}
	return c
}

func (t *Tree) container(path string, id uint64) *event.ContainerContext {
	if t.cfg.Containers == nil || path == "" {
		return nil
	}
	return t.cfg.Containers.Lookup(path, id)
}

// cgroupPath returns the path of the cgroup id, which pid is in. /proc is asked only if nobody told it: pid may have moved
// on since, or be gone.
func (t *Tree) cgroupPath(pid uint32, id uint64) string {
	if path := t.cgroups.get(id); path != "" {
		return path
	}
	if t.cfg.CgroupPath == nil {
		return ""
	}
	return t.cfg.CgroupPath(pid)
}

// touch brings n up to date with a and returns the process as a shows it.
func (t *Tree) touch(n *node, a *Actor) *event.Process {
	n.touched = true
	k := keyOf(a)
	if k == n.key {
		return n.proc
	}
	named := k
	named.comm = n.key.comm
	other := a.TID != a.PID && named == n.key // nothing but another thread's name
	for i := range n.alts {
		v := &n.alts[i]
		if v.key != k {
			continue
		}
		if other {
			return v.proc
		}
		p := v.proc
		*v, n.key, n.cgroupPath = variant{key: n.key, proc: n.proc, cgroupPath: n.cgroupPath}, v.key, v.cgroupPath
		t.replace(n, p)
		return p
	}
	old := variant{key: n.key, proc: n.proc, cgroupPath: n.cgroupPath}
	p := Clone(n.proc)
	if k.cgroupID != old.key.cgroupID {
		n.cgroupPath = t.cgroupPath(n.pid, k.cgroupID)
	}
	n.key = k.owned()
	t.apply(n, p, old.proc)
	if other {
		n.key, old = old.key, variant{key: n.key, proc: p, cgroupPath: n.cgroupPath}
	} else {
		t.replace(n, p)
	}
	switch {
	case t.bytes+int(n.encoded) > t.cfg.MaxBytes: // no room for any more, and none is made in the middle of a lookup
		if len(n.alts) > 0 {
			n.alts[int(n.next)%len(n.alts)] = old
			n.next++
		}
	case len(n.alts) < maxAlts:
		n.alts = append(n.alts, old)
		t.weigh(n)
	default:
		n.alts[n.next%maxAlts] = old
		n.next++
	}
	return p
}

// enterScope completes an image that was out of scope until now.
func (t *Tree) enterScope(n *node, a *Actor) {
	n.inScope = true
	p := Clone(n.proc)
	if n.cgroupPath == "" || a.CgroupID != n.key.cgroupID {
		n.cgroupPath = t.cgroupPath(n.pid, a.CgroupID)
	}
	n.key = keyOf(a).owned()
	t.apply(n, p, nil)
	t.restate(n, p)
}

// refresh makes n's process anew after a change of what the node knows beside its key.
func (t *Tree) refresh(n *node) {
	p := Clone(n.proc)
	t.apply(n, p, n.proc)
	t.restate(n, p)
}

// restate is replace for a change that all forms of the process share.
func (t *Tree) restate(n *node, p *event.Process) {
	n.alts = nil
	t.weigh(n)
	t.replace(n, p)
}

// replace makes p what descendants see of n.
func (t *Tree) replace(n *node, p *event.Process) {
	n.proc = p
	n.chainEpoch = 0
	if n.children > 0 {
		t.epoch++
	}
}

// Clone copies what of a Process is not derived. It is done by member because a Process cannot be copied.
func Clone(p *event.Process) *event.Process {
	return &event.Process{
		PID: p.PID, PPID: p.PPID, TID: p.TID, UID: p.UID, GID: p.GID, User: p.User, Group: p.Group,
		PathResolutionError: p.PathResolutionError, Comm: p.Comm, TTY: p.TTY,
		ForkTime: p.ForkTime, ExecTime: p.ExecTime, ExitTime: p.ExitTime,
		Credentials: p.Credentials, UserSession: p.UserSession, Executable: p.Executable, Interpreter: p.Interpreter,
		Container: p.Container, Argv0: p.Argv0, Args: p.Args, ArgsTruncated: p.ArgsTruncated,
		Envs: p.Envs, EnvsTruncated: p.EnvsTruncated,
		IsThread: p.IsThread, IsKworker: p.IsKworker, IsExecChild: p.IsExecChild, Source: p.Source,
		ID: p.ID, AUID: p.AUID, SID: p.SID, NetNS: p.NetNS, MntNS: p.MntNS, CgroupID: p.CgroupID, CgroupPath: p.CgroupPath,
	}
}
