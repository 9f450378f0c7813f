// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/proctree"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// processScratch is what events about processes point to, reused from one event to the next.
type processScratch struct {
	signal event.SignalEvent
	ptrace event.PTraceEvent
	target event.ProcessContext
}

// credsOf puts the credentials before a call in place of those that the process has by now. Without them the tree knows
// what the process had at its last event. It returns false if that is not known either.
func (c *converter) credsOf(r *sensor.Record) bool {
	old, ok := r.OldCreds()
	a := &c.actor
	if ok {
		a.UID, a.GID, a.EUID, a.EGID, a.FSUID, a.FSGID = old.Uid, old.Gid, old.Euid, old.Egid, old.Fsuid, old.Fsgid
		a.CapEffective, a.CapPermitted = event.CapSet(old.CapEffective), event.CapSet(old.CapPermitted)
		return true
	}
	known, ok := c.tree.Find(r.Id, r.Pid)
	if !ok || known.Credentials == nil {
		return false
	}
	k := known.Credentials
	a.UID, a.GID, a.EUID, a.EGID, a.FSUID, a.FSGID = k.UID, k.GID, k.EUID, k.EGID, k.FSUID, k.FSGID
	a.CapEffective, a.CapPermitted = k.CapEffective, k.CapPermitted
	return true
}

// credentials makes the event of changed credentials: the process has those before the change, and in destination those
// after it. The tree goes on with the new ones.
func (c *converter) credentials(ev *event.Event, r *sensor.Record) bool {
	defer func() {
		a := &c.actor
		a.UID, a.GID, a.EUID, a.EGID, a.FSUID, a.FSGID = r.Uid, r.Gid, r.Euid, r.Egid, r.Fsuid, r.Fsgid
		a.CapEffective, a.CapPermitted = event.CapSet(r.CapEffective), event.CapSet(r.CapPermitted)
		c.tree.Lookup(a)
	}()
	before := ev.Process.Credentials
	if before == nil {
		return false
	}
	d := &event.CredentialsDestination{}
	switch ev.Type {
	case event.TypeSetUID:
		if before.UID == r.Uid && before.EUID == r.Euid && before.FSUID == r.Fsuid {
			return false
		}
		d.Kind, d.UID, d.EUID, d.FSUID = event.CredentialsSetUID, r.Uid, r.Euid, r.Fsuid
		d.User, d.EUser, d.FSUser = c.users.User(r.Mntns, r.Pid, r.Uid), c.users.User(r.Mntns, r.Pid, r.Euid), c.users.User(r.Mntns, r.Pid, r.Fsuid)
	case event.TypeSetGID:
		if before.GID == r.Gid && before.EGID == r.Egid && before.FSGID == r.Fsgid {
			return false
		}
		d.Kind, d.UID, d.EUID, d.FSUID = event.CredentialsSetGID, r.Gid, r.Egid, r.Fsgid
		d.User, d.EUser, d.FSUser = c.users.Group(r.Mntns, r.Pid, r.Gid), c.users.Group(r.Mntns, r.Pid, r.Egid), c.users.Group(r.Mntns, r.Pid, r.Fsgid)
	default:
		if uint64(before.CapEffective) == r.CapEffective && uint64(before.CapPermitted) == r.CapPermitted {
			return false
		}
		d.Kind, d.CapEffective, d.CapPermitted = event.CredentialsCapset, event.CapSet(r.CapEffective), event.CapSet(r.CapPermitted)
	}
	p, creds := proctree.Clone(ev.Process.Process), *before
	creds.Destination = d
	p.Credentials = &creds
	ev.Process.Process = p
	return true
}

// targetOf returns the process that a record is about beside the actor, with its own lineage; nil if the kernel side did
// not find it.
func (c *converter) targetOf(k *bpf.Target) *event.ProcessContext {
	if k.Id == 0 {
		return nil
	}
	var ok bool
	if c.target, ok = c.tree.Find(k.Id, k.Pid); !ok {
		c.target = event.ProcessContext{Process: &event.Process{ID: k.Id, PID: k.Pid, TID: k.Tid, Source: event.SourceUnknown}}
	}
	c.target.ActorTID = k.Tid
	return &c.target
}

func (c *converter) sentSignal(ev *event.Event, r *sensor.Record) bool {
	k := r.Target()
	c.signal = event.SignalEvent{Type: event.SignalName(k.Request), PID: k.Pid, Target: c.targetOf(k)}
	ev.Signal = &c.signal
	return true
}

func (c *converter) traced(ev *event.Event, r *sensor.Record) bool {
	k := r.Target()
	c.ptrace = event.PTraceEvent{
		Request: event.PTraceRequestName(k.Request), Address: address(k.Address), Tracee: c.targetOf(k),
	}
	ev.PTrace = &c.ptrace
	return true
}
