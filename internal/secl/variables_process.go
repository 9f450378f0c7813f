// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"errors"
	"fmt"

	"github.com/picketsec/picket/internal/event"
)

// OfProcessNeed is what a Decoder must read for OfProcess, beside the field with the pid.
const OfProcessNeed = event.NeedProcess | event.NeedParent | event.NeedAncestors | event.NeedFacts

// errUnknownProcess says that an event has ids of processes, and not the one that is asked for. Its pid does not do
// instead: the process's own events are told apart by ids, and the pid may be another's soon.
var errUnknownProcess = errors.New("the event does not tell its process id")

// OfProcess returns a Context for Set and Get by which variables of scope process are those of another process of the
// event: the one of a pid. ErrNoScope is returned if that is no pid, such as that of a process that the event does not have.
func (c *Context) OfProcess(pid int64) (*Context, error) {
	if c.Event == nil || pid <= 0 {
		return nil, ErrNoScope
	}
	id := processByPID(c.Event, pid)
	if id == 0 {
		return nil, fmt.Errorf("%w: pid %d", errUnknownProcess, pid)
	}
	return &Context{Event: c.Event, Now: c.Now, Host: c.Host, process: id}, nil
}

// processByPID returns the key of the process of a pid; 0 if the event does not tell. The newest image comes first: an
// ancestor is the image of when the actor, or what it comes from, was forked.
func processByPID(e *event.Event, pid int64) uint64 {
	actor := e.Process.Process
	if actor != nil && int64(actor.PID) == pid {
		return processKey(e.Facts.ProcessID, actor)
	}
	id := func(p *event.Process, fact uint64) uint64 {
		switch {
		case p == nil || int64(p.PID) != pid:
			return 0
		case fact != 0:
			return fact
		}
		return p.ID
	}
	if t := e.Target(); t != nil {
		if x := id(t.Process, e.Facts.TargetID); x != 0 {
			return x
		}
		for _, p := range t.Ancestors {
			if x := id(p, 0); x != 0 {
				return x
			}
		}
	}
	if x := id(e.Process.Parent, e.Facts.ParentID); x != 0 {
		return x
	}
	for i, p := range e.Process.Ancestors {
		var fact uint64
		if i < len(e.Facts.AncestorIDs) {
			fact = e.Facts.AncestorIDs[i]
		}
		if x := id(p, fact); x != 0 {
			return x
		}
	}
	if e.Facts.ProcessID == 0 && (actor == nil || actor.ID == 0) {
		return uint64(pid) // an event without ids, as a rule's tests have them: there, pids tell processes apart
	}
	return 0
}
