// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// mountScratch is what mount events point to, reused from one event to the next.
type mountScratch struct {
	mount event.MountEvent
	point event.File
	root  event.File
}

// Reasons why a path of a mount is not known.
const (
	errDetached     = "the mount is attached nowhere"
	errMountUnknown = "the mount could not be found after the call"
)

// mounted makes a mount event. Of a mount that a descriptor is of, the kernel side knows all; others are looked at where they
// were mounted, after the call.
func (c *converter) mounted(ev *event.Event, r *sensor.Record) bool {
	k := r.Mount()
	done := ev.Evt.Outcome == event.OutcomeSuccess
	call := sensor.SyscallName(r.Nr, r.Flags&bpf.Compat != 0)
	c.mount, c.point, c.root = event.MountEvent{}, event.File{}, event.File{}
	m := &c.mount
	ev.Mount = m
	ev.Facts.Flags = k.Flags
	target, source := r.Segments[bpf.SegString], r.Segments[bpf.SegString2]
	ev.Facts.SyscallDestinationPath, ev.Facts.SyscallPath = string(target.Data), string(source.Data)
	if s := r.Segments[bpf.SegName]; s.Present && s.Flags&bpf.StrFault == 0 {
		ev.Facts.SyscallFSType = string(s.Data)
		m.FSType = ev.Facts.SyscallFSType // the kernel's name of it, where the mount is found
	}
	who := c.lineage(ev, r)
	if k.Root.Flags&bpf.FileValid != 0 {
		c.knownMount(k, r, who)
	} else {
		c.lookForMount(r, who, done)
	}
	if bindsSource(call, ev.Facts.Flags) {
		c.sourceOf(r, who, call == "open_tree" || call == "open_tree_attr" || ev.Facts.Flags&unix.MS_BIND != 0)
	}
	if call == "fsmount" || call == "open_tree" || call == "open_tree_attr" {
		ev.Facts.MountDetached = done
	}
	if done {
		m.MountPoint, m.Root = &c.point, &c.root
	}
	return true
}

// bindsSource says whether what is mounted is a path. The type decides otherwise: it may be a device, or mean nothing.
func bindsSource(call string, flags uint32) bool {
	switch call {
	case "mount":
		return flags&(unix.MS_BIND|unix.MS_MOVE) != 0 && flags&unix.MS_REMOUNT == 0
	case "open_tree", "open_tree_attr", "move_mount":
		return true
	}
	return false
}

// knownMount fills in a mount that the kernel side has told of.
func (c *converter) knownMount(k *bpf.Mount, r *sensor.Record, who lineage) {
	m, s := &c.mount, r.Segments[bpf.SegPath]
	fillFacts(&c.root, &k.Root)
	c.names(&c.root, r)
	m.MountID, m.ParentMountID, m.Device, m.FSType = k.Root.MountId, k.ParentId, k.Root.Dev, cString(k.Root.Fstype[:])
	if k.Whole != 0 {
		c.root.Path, c.root.Name = "/", ""
	}
	if k.ParentId == 0 {
		m.MountPointPathError = errDetached
		return
	}
	c.path = appendWalk(c.path[:0], s)
	m.MountPointPath, m.MountPointPathError = string(c.path), walkError(s.Flags)
	c.pointAt()
	_, now, _ := c.paths.mountsOf(r.Mntns, who) // it is known then when it goes
	if info := byID(now, m.MountID); info != nil && info.dev == m.Device {
		c.root.Path, c.root.Name = info.root, baseName(info.root)
	}
}

// lookForMount looks at the mount that is now where a call mounted something, or tried to.
func (c *converter) lookForMount(r *sensor.Record, who lineage, done bool) {
	m := &c.mount
	p, errText, ok := c.userPath(r.Segments[bpf.SegString], r.Segments[bpf.SegBase])
	if !ok {
		m.MountPointPathError = errText
		return
	}
	l := c.paths.lookup(who, r.Mntns, p, lookFollow)
	m.MountPointPath, m.MountPointPathError = l.path, errText
	if !done {
		return
	}
	_, now, _ := c.paths.mountsOf(r.Mntns, who)
	info := atPoint(now, l.path)
	if info == nil || l.ok && l.stat.Mask&unix.STATX_MNT_ID != 0 && uint32(l.stat.Mnt_id) != info.id {
		// It is gone again, or something else is on top of it.
		m.FSType = ""
		if m.MountPointPathError == "" {
			m.MountPointPathError = errMountUnknown
		}
		c.pointAt()
		return
	}
	if l.ok {
		l.fill(&c.root)
		c.names(&c.root, r)
	}
	m.MountID, m.ParentMountID, m.Device, m.FSType = info.id, info.parent, info.dev, info.fs
	c.root.Path, c.root.Name = info.root, baseName(info.root)
	c.pointAt()
}

// pointAt fills in the mount point, of which only path and mount are known: the mount covers it.
func (c *converter) pointAt() {
	m := &c.mount
	c.point.Path, c.point.Name = m.MountPointPath, baseName(m.MountPointPath)
	if m.ParentMountID != 0 {
		c.point.Has, c.point.MountID = event.HasMountID, m.ParentMountID
	}
}

// sourceOf fills in the path that was mounted elsewhere, and if it is still there the mount that it is on.
func (c *converter) sourceOf(r *sensor.Record, who lineage, stays bool) {
	m := &c.mount
	p, errText, ok := c.userPath(r.Segments[bpf.SegString2], r.Segments[bpf.SegBase2])
	if !ok {
		m.SourcePathError = errText
		return
	}
	if len(r.Segments[bpf.SegString2].Data) == 0 && r.Segments[bpf.SegBase2].Flags&bpf.WalkUnreachable != 0 {
		m.SourcePathError = errDetached
		return
	}
	m.SourcePath, m.SourcePathError = lexical(p), errText
	if !stays {
		return
	}
	l := c.paths.lookup(who, r.Mntns, p, lookFollow)
	m.SourcePath = l.path
	if l.ok && l.stat.Mask&unix.STATX_MNT_ID != 0 {
		m.BindSrcMountID = uint32(l.stat.Mnt_id)
	}
}

// unmounted makes an umount event: the file is the mount point, and the mount that is gone is known if it was seen before.
func (c *converter) unmounted(ev *event.Event, r *sensor.Record) bool {
	c.file = event.FileEvent{}
	f := &c.file
	ev.File = f
	ev.Facts.Flags, ev.Facts.FileSource = r.FileOp().Flags, event.FileSourceUserPath
	ev.Facts.SyscallPath = string(r.Segments[bpf.SegString].Data)
	who := c.lineage(ev, r)
	p, errText, ok := c.userPath(r.Segments[bpf.SegString], r.Segments[bpf.SegBase])
	f.PathResolutionError = errText
	if !ok {
		return true
	}
	how := lookFollow
	if ev.Facts.Flags&unix.UMOUNT_NOFOLLOW != 0 {
		how = lookNoFollow
	}
	l := c.paths.lookup(who, r.Mntns, p, how)
	if ev.Evt.Outcome != event.OutcomeSuccess {
		l.fill(&f.File)
		c.names(&f.File, r)
		if l.ok {
			ev.Facts.FileSource = event.FileSourcePostStat
		}
		return true
	}
	f.Path, f.Name = l.path, baseName(l.path) // what is there now is what the mount covered
	before, now, ok := c.paths.mountsOf(r.Mntns, who)
	if !ok {
		return true
	}
	if m := gone(before, now, f.Path); m != nil {
		f.Has |= event.HasMountID | event.HasNewMountID | event.HasDevice
		f.MountID, f.NewMountID, f.Device, f.FSType, f.Filesystem = m.id, m.id, m.dev, m.fs, m.fs
	}
	return true
}
