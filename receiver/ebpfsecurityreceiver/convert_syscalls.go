// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// syscallScratch is what events about the use of syscalls point to, reused from one event to the next.
type syscallScratch struct {
	anomaly event.AnomalyDetectionSyscallEvent
}

func (c *converter) usedSyscall(ev *event.Event, r *sensor.Record) bool {
	c.anomaly = event.AnomalyDetectionSyscallEvent{Syscall: r.UsedName()}
	ev.AnomalySyscall = &c.anomaly
	return true
}
