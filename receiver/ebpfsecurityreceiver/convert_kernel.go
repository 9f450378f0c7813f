// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// kernelScratch is what events about the kernel point to, reused from one event to the next.
type kernelScratch struct {
	module  event.ModuleEvent
	selinux event.SELinuxEvent
	boolean event.SELinuxBoolChange
	enforce event.SELinuxEnforceStatus
	commit  event.SELinuxBoolCommit
}

// moduleLoaded makes a load_module event. What the kernel calls the module is told by a tracepoint; without that, as when the
// call is refused, it is known of a file only, by its name.
func (c *converter) moduleLoaded(ev *event.Event, r *sensor.Record) bool {
	op := r.FileOp()
	ev.Facts.Flags = op.Flags
	c.module = event.ModuleEvent{Name: cText(r.Segments[bpf.SegData].Data)}
	ev.Module = &c.module
	if s := r.Segments[bpf.SegPath]; s.Present {
		c.file = event.FileEvent{File: *c.walked(s, &op.File, r)}
		ev.File, ev.Facts.FileSource = &c.file, event.FileSourceFD
		if c.module.Name == "" {
			c.module.Name = moduleOf(c.file.Name)
		}
	} else {
		c.module.LoadedFromMemory = sensor.SyscallName(r.Nr, r.Flags&bpf.Compat != 0) == "init_module"
	}
	if s := r.Segments[bpf.SegName]; s.Present && s.Flags&bpf.StrFault == 0 {
		c.module.Argv = strings.Fields(string(s.Data))
		c.module.ArgsTruncated = s.Flags&bpf.StrTruncated != 0
	}
	return true
}

// moduleOf names the module that is in a file, as modprobe(8) does.
func moduleOf(file string) string {
	name, _, ok := strings.Cut(file, ".ko")
	if !ok {
		return ""
	}
	return strings.ReplaceAll(name, "-", "_")
}

// moduleUnloaded makes an unload_module event.
func (c *converter) moduleUnloaded(ev *event.Event, r *sensor.Record) bool {
	ev.Facts.Flags = r.FileOp().Flags
	c.module = event.ModuleEvent{Name: string(r.Segments[bpf.SegName].Data)}
	ev.Module = &c.module
	return true
}

// cText is what comes before the first NUL.
func cText(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// selinuxWritten makes an event of a write to selinuxfs. Other files of it than those that change the state of SELinux are of
// no interest.
func (c *converter) selinuxWritten(ev *event.Event, r *sensor.Record) bool {
	s := r.Segments[bpf.SegPath]
	if !s.Present {
		return false
	}
	c.file = event.FileEvent{File: *c.walked(s, &r.FileOp().File, r)}
	ev.File, ev.Facts.FileSource = &c.file, event.FileSourceFD
	value, err := strconv.ParseInt(strings.TrimSpace(cText(r.Segments[bpf.SegData].Data)), 10, 32)
	known := err == nil && r.Segments[bpf.SegData].Flags&bpf.StrFault == 0
	c.selinux = event.SELinuxEvent{}
	ev.SELinux = &c.selinux
	dir := baseName(strings.TrimSuffix(c.file.Path, "/"+c.file.Name))
	switch {
	case c.file.Name == "enforce":
		c.enforce = event.SELinuxEnforceStatus{Status: choose(known, value != 0, "enforcing", "permissive")}
		c.selinux.Enforce = &c.enforce
	case c.file.Name == "disable":
		if known && value == 0 {
			return false
		}
		c.enforce = event.SELinuxEnforceStatus{Status: "disabled"}
		c.selinux.Enforce = &c.enforce
	case c.file.Name == "commit_pending_bools":
		c.commit = event.SELinuxBoolCommit{State: known && value != 0}
		c.selinux.BoolCommit = &c.commit
	case dir == "booleans":
		c.boolean = event.SELinuxBoolChange{Name: c.file.Name, State: choose(known, value != 0, "on", "off")}
		c.selinux.Bool = &c.boolean
	default:
		return false
	}
	return true
}

// choose returns one of two words, or none if it is not known which.
func choose(known, yes bool, whenYes, whenNo string) string {
	switch {
	case !known:
		return ""
	case yes:
		return whenYes
	}
	return whenNo
}
