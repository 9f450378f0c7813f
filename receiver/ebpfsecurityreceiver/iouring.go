// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/policy"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// maxRings bounds the process images that are known to have made an io_uring. Beyond it, one of them that makes another
// ring can be reported again.
const maxRings = 4096

// rings are the process images, by the kernel side's process id, that have made an io_uring.
type rings map[uint64]struct{}

// add says whether id is new.
func (s *rings) add(id uint64) bool {
	if _, ok := (*s)[id]; ok {
		return false
	}
	if *s == nil {
		*s = rings{}
	}
	for old := range *s {
		if len(*s) < maxRings {
			break
		}
		delete(*s, old)
	}
	(*s)[id] = struct{}{}
	return true
}

// madeRing keeps the record of a process image's first ring.
func (c *converter) madeRing(ev *event.Event, r *sensor.Record) bool {
	ev.Evt = event.EventContext{Name: event.CustomEvent}
	ev.Facts.Retval = 0 // the descriptor
	return c.rings.add(r.Id)
}

// reportRing puts a picket.io_uring_used record about the event's process into the batch.
func (r *securityReceiver) reportRing(ev *event.Event) {
	agent := r.host.Agent(policy.DefaultAgentVersion)
	agent.RuleID = "io_uring_used"
	r.seq++
	ev.Facts.Sequence = r.seq
	event.EncodeProcessReport(r.batch.records.AppendEmpty(), &r.host, event.RecordIOUringUsed, "A process uses io_uring: its operations through it are not seen", &agent, ev)
	r.batch.types[event.TypeAny]++
	r.count.ioUring.Add(1)
}
