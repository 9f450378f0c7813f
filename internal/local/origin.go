// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
)

// Why something was not done.
var (
	ErrNotLocal  = errors.New("not local") // no receiver of this process made the event
	ErrGone      = errors.New("the process is gone")
	ErrReused    = errors.New("the pid is another process's by now")
	ErrNamespace = errors.New("the collector is in a pid namespace of its own")
	ErrProtected = errors.New("the collector and pid 1 are never signalled")
)

// Origin stands for a receiver of this process and the records that it hands on with a context. It is not changed after that.
type Origin struct {
	hostPIDs  bool
	sightings []sighting
}

// sighting is that a process did something at a time of the boot clock, in ns.
type sighting struct {
	process, boot uint64
}

// NewOrigin makes the origin of records to come. hostPIDs says that the collector is in the initial pid namespace, whose pids events have.
func NewOrigin(hostPIDs bool) *Origin { return &Origin{hostPIDs: hostPIDs} }

// Saw notes that a process, by the 64-bit id of its image, was there at a time of the boot clock in ns.
func (o *Origin) Saw(process, boot uint64) {
	if n := len(o.sightings); n > 0 && o.sightings[n-1].process == process {
		o.sightings[n-1].boot = max(o.sightings[n-1].boot, boot)
		return
	}
	o.sightings = append(o.sightings, sighting{process, boot})
}

// lastSeen is when a process was there for certain.
func (o *Origin) lastSeen(process uint64) (boot uint64, err error) {
	if o == nil {
		return 0, ErrNotLocal
	}
	for i := len(o.sightings) - 1; i >= 0; i-- {
		if o.sightings[i].process == process {
			return o.sightings[i].boot, nil
		}
	}
	return 0, ErrNotLocal
}

type contextKey struct{}

// NewContext returns a context for handing records of o on.
func NewContext(ctx context.Context, o *Origin) context.Context {
	return context.WithValue(ctx, contextKey{}, o)
}

// FromContext returns where the records that came with ctx are from; nil if that is no receiver of this process, or if a
// component in between gave them a context of its own, as batch does.
func FromContext(ctx context.Context) *Origin {
	o, _ := ctx.Value(contextKey{}).(*Origin)
	return o
}

// Target is the process of an event, and where it is.
type Target struct {
	ProcessID   uint64 // of the image
	PID         uint32
	ContainerID string // empty: in none
	CgroupID    uint64
	CgroupPath  string
	MntNS       uint32
}
