// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/proctree"
)

// before is the segment of the credentials before a call.
func before(c bpf.Creds) seg { return seg{bpf.SegOld, 0, string(bytesOf(&c))} }

// after puts credentials into a header.
func after(h bpf.Header, c bpf.Creds) bpf.Header {
	h.Uid, h.Gid, h.Euid, h.Egid, h.Fsuid, h.Fsgid = c.Uid, c.Gid, c.Euid, c.Egid, c.Fsuid, c.Fsgid
	h.CapEffective, h.CapPermitted = c.CapEffective, c.CapPermitted
	return h
}

func TestConvertCredentials(t *testing.T) {
	const nobody = 65534
	all := bpf.Creds{CapEffective: 1<<41 - 1, CapPermitted: 1<<41 - 1}
	change := func(f func(*bpf.Creds)) bpf.Creds {
		c := all
		f(&c)
		return c
	}
	users := change(func(c *bpf.Creds) { c.Uid, c.Euid, c.Fsuid = nobody, 0, 4000001 })
	groups := change(func(c *bpf.Creds) { c.Gid, c.Egid, c.Fsgid = 4000002, nobody, 0 })
	caps := change(func(c *bpf.Creds) { c.CapEffective, c.CapPermitted = 1<<5, 1<<5|1<<63 })
	malformed := string(bytesOf(&all))
	for name, tt := range map[string]struct {
		typ   event.Type
		after bpf.Creds
		segs  []seg
		want  *event.CredentialsDestination // nil: no event
	}{
		"setuid": {event.TypeSetUID, users, []seg{before(all)}, &event.CredentialsDestination{
			Kind: event.CredentialsSetUID, UID: nobody, User: "nobody", EUser: "root", FSUID: 4000001,
		}},
		"setgid": {event.TypeSetGID, groups, []seg{before(all)}, &event.CredentialsDestination{
			Kind: event.CredentialsSetGID, UID: 4000002, EUID: nobody, EUser: "nogroup", FSUser: "root",
		}},
		"capset":                 {event.TypeCapset, caps, []seg{before(all)}, &event.CredentialsDestination{Kind: event.CredentialsCapset, CapEffective: 1 << 5, CapPermitted: 1<<5 | 1<<63}},
		"setuid to the same":     {event.TypeSetUID, groups, []seg{before(all)}, nil},
		"setgid to the same":     {event.TypeSetGID, users, []seg{before(all)}, nil},
		"capset to the same":     {event.TypeCapset, users, []seg{before(all)}, nil},
		"only fsuid":             {event.TypeSetUID, change(func(c *bpf.Creds) { c.Fsuid = 1 }), []seg{before(all)}, &event.CredentialsDestination{Kind: event.CredentialsSetUID, User: "root", EUser: "root", FSUID: 1, FSUser: "daemon"}},
		"only egid":              {event.TypeSetGID, change(func(c *bpf.Creds) { c.Egid = 1 }), []seg{before(all)}, &event.CredentialsDestination{Kind: event.CredentialsSetGID, User: "root", EUID: 1, EUser: "daemon", FSUser: "root"}},
		"only what is permitted": {event.TypeCapset, change(func(c *bpf.Creds) { c.CapPermitted = 0 }), []seg{before(all)}, &event.CredentialsDestination{Kind: event.CredentialsCapset, CapEffective: 1<<41 - 1}},

		// Without the state before the call it is that of the process's last event.
		"not kept":            {event.TypeSetUID, users, nil, &event.CredentialsDestination{Kind: event.CredentialsSetUID, UID: nobody, User: "nobody", EUser: "root", FSUID: 4000001}},
		"not kept, the same":  {event.TypeSetGID, all, nil, nil},
		"kept in part":        {event.TypeSetUID, users, []seg{{bpf.SegOld, 0, malformed[:len(malformed)-1]}}, &event.CredentialsDestination{Kind: event.CredentialsSetUID, UID: nobody, User: "nobody", EUser: "root", FSUID: 4000001}},
		"more than was kept":  {event.TypeSetGID, users, []seg{{bpf.SegOld, 0, malformed + "x"}}, nil},
		"kept, but not there": {event.TypeCapset, caps, []seg{{bpf.SegOld, 0, ""}}, &event.CredentialsDestination{Kind: event.CredentialsCapset, CapEffective: 1 << 5, CapPermitted: 1<<5 | 1<<63}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestConverter(t)
			known := c.convert(decode(t, wire(event.TypeFork, after(selfHeader(t), all), bpf.Fork{ChildId: 0x99, ChildPid: 99})))
			require.NotNil(t, known, "all the process's rights are known")
			ev := c.convert(decode(t, wire(tt.typ, after(selfHeader(t), tt.after), struct{}{}, tt.segs...)))
			if tt.want == nil {
				assert.Nil(t, ev)
			} else {
				require.NotNil(t, ev)
				assert.Equal(t, event.OutcomeSuccess, ev.Evt.Outcome)
				k := *ev.Process.Credentials
				assert.Equal(t, *tt.want, *k.Destination)
				k.Destination = nil
				assert.Equal(t, event.ProcessCredentials{
					User: "root", Group: "root", EUser: "root", EGroup: "root", FSUser: "root", FSGroup: "root", CapEffective: 1<<41 - 1, CapPermitted: 1<<41 - 1,
				}, k, "before the call")
				assert.Equal(t, []any{uint32(0), "root", "/usr/bin/sh", uint64(selfID)}, []any{ev.Process.UID, ev.Process.User, ev.Process.Executable.Path, ev.Process.ID})
				assert.Equal(t, "root", ev.Usr.ID)
				assert.Nil(t, ev.File)
			}
			// What comes next has the new ones, and no destination.
			next := c.mustConvert(t, wire(event.TypeOpen, after(selfHeader(t), tt.after), bpf.FileOp{}, seg{bpf.SegString, 0, "/nothing"}))
			assert.Equal(t, []uint32{tt.after.Uid, tt.after.Gid, tt.after.Fsuid, tt.after.Egid}, []uint32{next.Process.UID, next.Process.GID, next.Process.Credentials.FSUID, next.Process.Credentials.EGID})
			assert.Equal(t, event.CapSet(tt.after.CapPermitted), next.Process.Credentials.CapPermitted)
			assert.Nil(t, next.Process.Credentials.Destination)
			assert.Nil(t, known.Process.Credentials.Destination)
		})
	}
}

// Of a process that nobody has told of, what it was before is not known: there is no event, and the next one has what it is.
func TestConvertCredentialsOfUnknown(t *testing.T) {
	c := newTestConverter(t)
	h := selfHeader(t)
	h.Id, h.Pid, h.Tid, h.Uid = 0x7777, 1<<22, 1<<22, 65534
	assert.Nil(t, c.convert(decode(t, wire(event.TypeSetUID, h, struct{}{}))))
	ev := c.mustConvert(t, wire(event.TypeOpen, h, bpf.FileOp{}, seg{bpf.SegString, 0, "/nothing"}))
	assert.Equal(t, []any{uint32(65534), event.SourceUnknown}, []any{ev.Process.UID, ev.Process.Source})

	h.Id, h.Pid = 0x7778, 1<<22+1
	ev = c.mustConvert(t, wire(event.TypeSetUID, h, struct{}{}, before(bpf.Creds{})))
	assert.Equal(t, []any{uint32(0), uint32(65534)}, []any{ev.Process.UID, ev.Process.Credentials.Destination.UID})

	h.Flags = 0 // out of scope
	assert.Nil(t, c.convert(decode(t, wire(event.TypeSetUID, h, struct{}{}, before(bpf.Creds{})))))
}

func TestConvertTargets(t *testing.T) {
	own := uint32(os.Getpid())
	sh := func(p *event.ProcessContext) []any {
		return []any{p.ID, p.PID, p.ActorTID, p.Comm, p.Source, len(p.Ancestors)}
	}
	for name, tt := range map[string]struct {
		k      bpf.Target
		target []any // nil: none
		parent uint64
		signal string
		ptrace string
		addr   string
	}{
		"child": {
			k: bpf.Target{Id: 0x3333, Pid: 4242, Tid: 4243, Request: 9}, target: []any{uint64(0x3333), uint32(4242), uint32(4243), "sh", event.SourceEvent, 1},
			parent: selfID, signal: "SIGKILL", ptrace: "PTRACE_SINGLESTEP", addr: "0x0",
		},
		"itself": {
			k: bpf.Target{Id: selfID, Pid: own, Tid: own, Request: 16, Address: ^uint64(0)}, target: []any{uint64(selfID), own, own, "sh", event.SourceEvent, 0},
			signal: "SIGSTKFLT", ptrace: "PTRACE_ATTACH", addr: "0xffffffffffffffff",
		},
		"in the middle of an exec": { // its new id is not known yet
			k: bpf.Target{Id: 0x3334, Pid: 4242, Tid: 4242, Request: 0}, target: []any{uint64(0x3333), uint32(4242), uint32(4242), "sh", event.SourceEvent, 1},
			parent: selfID, signal: "0", ptrace: "PTRACE_TRACEME", addr: "0x0",
		},
		"not known": {
			k: bpf.Target{Id: 0x9999, Pid: 999, Tid: 1000, Request: 64, Address: 0x1000}, target: []any{uint64(0x9999), uint32(999), uint32(1000), "", event.SourceUnknown, 0},
			signal: "64", ptrace: "64", addr: "0x1000",
		},
		"not found":        {k: bpf.Target{Given: -4711, Request: 17}, signal: "SIGCHLD", ptrace: "PTRACE_DETACH", addr: "0x0"},
		"absurd numbers":   {k: bpf.Target{Id: ^uint64(0), Pid: ^uint32(0), Tid: ^uint32(0), Request: ^uint32(0)}, target: []any{^uint64(0), ^uint32(0), ^uint32(0), "", event.SourceUnknown, 0}, signal: "4294967295", ptrace: "4294967295", addr: "0x0"},
		"no id, but a pid": {k: bpf.Target{Pid: 4242, Request: 1}, signal: "SIGHUP", ptrace: "PTRACE_PEEKTEXT", addr: "0x0"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestConverter(t)
			c.mustConvert(t, wire(event.TypeFork, selfHeader(t), bpf.Fork{ChildId: 0x3333, ChildPid: 4242, StartTime: bootTime}))
			size := c.tree.Stats().Processes
			h := selfHeader(t)
			h.Retval = -int64(unix.EPERM)
			for _, typ := range []event.Type{event.TypeSignal, event.TypePTrace} {
				ev := c.mustConvert(t, wire(typ, h, tt.k))
				assert.Equal(t, event.OutcomeRefused, ev.Evt.Outcome)
				var target *event.ProcessContext
				if typ == event.TypeSignal {
					require.NotNil(t, ev.Signal)
					assert.Nil(t, ev.PTrace)
					assert.Equal(t, []any{tt.signal, tt.k.Pid}, []any{ev.Signal.Type, ev.Signal.PID})
					target = ev.Signal.Target
				} else {
					require.NotNil(t, ev.PTrace)
					assert.Nil(t, ev.Signal)
					assert.Equal(t, []string{tt.ptrace, tt.addr}, []string{ev.PTrace.Request, ev.PTrace.Address})
					target = ev.PTrace.Tracee
				}
				assert.Equal(t, uint64(selfID), ev.Facts.ProcessID, "who did it")
				if tt.target == nil {
					assert.Nil(t, target)
				} else {
					require.NotNil(t, target)
					assert.Equal(t, tt.target, sh(target))
					if tt.parent != 0 {
						assert.Equal(t, tt.parent, target.Parent.ID)
					} else {
						assert.Nil(t, target.Parent)
					}
				}
				assert.True(t, json.Valid(ev.AppendJSON(nil)))
			}
			assert.Equal(t, size, c.tree.Stats().Processes, "a target is not put into the tree")
		})
	}
}

// Kernel threads have no credentials to change, and nothing to show.
func TestConvertCredentialsOfKthread(t *testing.T) {
	c := newTestConverter(t)
	c.tree = proctree.New(proctree.Config{})
	h := selfHeader(t)
	h.Flags |= bpf.Kthread | bpf.Snapshot
	require.Nil(t, c.convert(decode(t, wire(event.TypeExec, h, bpf.Exec{}))))
	h.Flags = bpf.InScope
	h.Uid = 5
	ev := c.convert(decode(t, wire(event.TypeSetUID, h, struct{}{}, before(bpf.Creds{}))))
	require.NotNil(t, ev)
	body := string(ev.AppendJSON(nil))
	assert.True(t, json.Valid([]byte(body)))
	assert.Contains(t, body, `"is_kworker":true`)
	assert.NotContains(t, body, `"comm"`)
}
