// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"encoding/binary"
	"math"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// lineage lists those through which the actor's root directory can be seen: the thread itself, its process, then the
// ancestors in the same mount namespace, for when they are gone.
func (c *converter) lineage(ev *event.Event, r *sensor.Record) lineage {
	c.tasks = append(c.tasks[:0], r.Tid)
	add := func(task uint32) {
		if task != c.tasks[len(c.tasks)-1] {
			c.tasks = append(c.tasks, task)
		}
	}
	add(r.Pid)
	for i, a := range ev.Process.Ancestors {
		if i == 8 {
			break
		}
		if a.MntNS == r.Mntns {
			add(a.PID)
		}
	}
	return lineage{pid: r.Pid, tasks: c.tasks}
}

// userPath joins a path that the process gave with the directory that it starts from. It is not made clean: behind a
// symbolic link ".." leads elsewhere than it looks. ok is false if it is not known.
func (c *converter) userPath(str, base sensor.Segment) (p string, errText string, ok bool) {
	if !str.Present {
		return "", "the call names no path", false
	}
	if str.Flags&bpf.StrFault != 0 {
		return "", "user memory could not be read", false
	}
	if (len(str.Data) == 0 || str.Data[0] != '/') && !base.Present {
		return "", "directory of a relative path is not known", false
	}
	c.base = appendWalk(c.base[:0], base)
	c.path = appendJoined(c.path[:0], c.base, str.Data)
	if str.Flags&bpf.StrTruncated != 0 {
		return string(c.path), "path is longer than 4096 bytes", true
	}
	return string(c.path), walkError(base.Flags), true
}

// look fills f with what is known of a path after the operation. Before-state is not to be had on this backend. raw is the
// path as the process gave it, source what Facts.FileSource says of f.
func (c *converter) look(f *event.File, ev *event.Event, r *sensor.Record, str, base sensor.Segment, how lookHow) (raw, source string) {
	p, errText, ok := c.userPath(str, base)
	f.PathResolutionError = errText
	raw = string(str.Data)
	if !ok {
		return raw, event.FileSourceUserPath
	}
	l := c.paths.lookup(c.lineage(ev, r), r.Mntns, p, how)
	l.fill(f)
	c.names(f, r)
	if !l.ok {
		return raw, event.FileSourceUserPath
	}
	return raw, event.FileSourcePostStat
}

const (
	permMask = 0o7777
	// tmpfile is O_TMPFILE without O_DIRECTORY, which stands in it.
	tmpfile = unix.O_TMPFILE &^ unix.O_DIRECTORY
)

// memberSet is a set of members of a file.
type memberSet uint8

const (
	memberMode memberSet = 1 << iota
	memberOwner
	memberTimes  // of access and modification
	memberChange // change_time, in_upper_layer
)

// changes are the members that a call of a type changes. Of a file that was looked at after the call they are not what the
// event is to tell, which is the file as it was before.
var changes = [event.NumTypes]memberSet{
	event.TypeChmod:       memberMode | memberChange,
	event.TypeChown:       memberMode | memberOwner | memberChange, // it clears the setuid and setgid bits
	event.TypeUtimes:      memberTimes | memberChange,
	event.TypeSetXattr:    memberChange,
	event.TypeRemoveXattr: memberChange,
	event.TypeLink:        memberChange,
	event.TypeRename:      memberChange,
}

// unknownID is the owner of a file of which it is not known, where the schema wants a number: 0 would be root.
const unknownID = -1

// forget takes members out of a file.
func forget(f *event.File, m memberSet) {
	if m&memberMode != 0 {
		f.Has, f.Mode = f.Has&^event.HasMode, 0
	}
	if m&memberOwner != 0 && f.Has&event.HasOwner != 0 {
		f.Has, f.UID, f.GID, f.User, f.Group = f.Has&^event.HasOwner, unknownID, unknownID, "", ""
	}
	if m&memberTimes != 0 {
		f.AccessTime, f.ModificationTime = 0, 0
	}
	if m&memberChange != 0 { // the call copied the file to the upper layer, if it was not there
		f.ChangeTime = 0
		f.Has, f.InUpperLayer = f.Has&^event.HasUpperLayer, false
	}
}

// lookHowOf says what a call does with the file at the end of its path.
func lookHowOf(ev *event.Event, flags uint32) lookHow {
	nofollow := flags&unix.AT_SYMLINK_NOFOLLOW != 0
	switch ev.Type {
	case event.TypeUnlink, event.TypeRmdir, event.TypeRename:
		if ev.Evt.Outcome == event.OutcomeSuccess {
			return lookGone
		}
		nofollow = true
	case event.TypeMkdir, event.TypeSymlink:
		nofollow = true
	case event.TypeLink:
		nofollow = flags&unix.AT_SYMLINK_FOLLOW == 0
	case event.TypeOpen:
		nofollow = flags&unix.O_NOFOLLOW != 0
	}
	if nofollow {
		return lookNoFollow
	}
	return lookFollow
}

// opened fills f with the file of a descriptor: as it was before the call, where that was kept. after has its facts after
// the call.
func (c *converter) opened(f *event.File, after *bpf.File, ev *event.Event, r *sensor.Record) {
	facts, unknown := after, memberSet(0)
	if ev.Evt.Outcome == event.OutcomeSuccess {
		unknown = changes[ev.Type]
	}
	old, kept := r.OldFile()
	if kept {
		facts, unknown = &old, 0
	}
	*f = *c.walked(r.Segments[bpf.SegPath], facts, r)
	forget(f, unknown)
	if kept && after.Flags&bpf.FileValid != 0 && (after.Inode != old.Inode || after.Dev != old.Dev) && f.PathResolutionError == "" {
		f.PathResolutionError = "the descriptor was another file after the call"
	}
}

// fileOp fills in the file that a call is about, and what it was to become. It serves failed execs, too.
func (c *converter) fileOp(ev *event.Event, r *sensor.Record) bool {
	op := r.FileOp()
	c.file, c.dest = event.FileEvent{}, event.File{}
	f, d := &c.file, &c.dest
	ev.File = f
	ev.Facts.Flags = op.Flags
	done := ev.Evt.Outcome == event.OutcomeSuccess
	str, base := r.Segments[bpf.SegString], r.Segments[bpf.SegBase]
	after := event.File{AccessTime: event.Time(op.File.Atime), ModificationTime: event.Time(op.File.Mtime)}
	if ev.Type == event.TypeChroot && done && !r.Segments[bpf.SegPath].Present {
		c.pivoted(ev, r)
		return true
	}
	if r.Segments[bpf.SegPath].Present {
		c.opened(&f.File, &op.File, ev, r)
		ev.Facts.FileSource = event.FileSourceFD
		if str.Present {
			ev.Facts.SyscallPath = string(str.Data)
		}
	} else {
		if s := r.Segments[bpf.SegString2]; ev.Type == event.TypeChroot && s.Present { // pivot_root
			ev.Facts.SyscallDestinationPath = string(s.Data)
		}
		ev.Facts.SyscallPath, ev.Facts.FileSource = c.look(&f.File, ev, r, str, base, lookHowOf(ev, op.Flags))
		after = f.File
		if done && ev.Type != event.TypeLink && ev.Type != event.TypeRename { // of these the other name is still to be looked at
			forget(&f.File, changes[ev.Type])
		}
	}

	switch ev.Type {
	case event.TypeOpen:
		f.Flags = event.OpenFlagNames(op.Flags)
		ev.Facts.SyscallMode = op.Mode
		if op.Flags&(unix.O_CREAT|tmpfile) != 0 {
			d.Has, d.Mode = event.HasMode, op.Mode&permMask
			f.Destination = d
		}
	case event.TypeMkdir, event.TypeChmod:
		ev.Facts.SyscallMode = op.Mode
		d.Has, d.Mode = event.HasMode, op.Mode&permMask
		f.Destination = d
	case event.TypeChown:
		c.newOwner(d, op, r)
		f.Destination = d
	case event.TypeUnlink:
		f.Flags = event.UnlinkFlagNames(op.Flags)
	case event.TypeRename, event.TypeLink:
		c.secondName(ev, r)
	case event.TypeSymlink:
		if s := r.Segments[bpf.SegName]; s.Present && s.Flags&bpf.StrFault == 0 {
			ev.Facts.SyscallDestinationPath = string(s.Data)
		}
	case event.TypeUtimes:
		d.AccessTime, d.ModificationTime = newTimes(ev, r, &after)
		f.Destination = d
	case event.TypeSetXattr, event.TypeRemoveXattr:
		d.AttributeName, d.AttributeNamespace = xattrName(r.Segments[bpf.SegName])
		f.Destination = d
	}
	return true
}

// pivoted fills in the new root of a pivot_root: its path is that of before, because now it is "/". So is that of the old root,
// which nothing more is told of than what the process gave.
func (c *converter) pivoted(ev *event.Event, r *sensor.Record) {
	f := &c.file.File
	p, errText, _ := c.userPath(r.Segments[bpf.SegString], r.Segments[bpf.SegBase])
	fillFacts(f, &r.FileOp().File)
	c.names(f, r)
	f.PathResolutionError = errText
	if p != "" {
		f.Path = lexical(p)
		f.Name = baseName(f.Path)
	}
	ev.Facts.FileSource = event.FileSourceUserPath
	ev.Facts.SyscallPath = string(r.Segments[bpf.SegString].Data)
	ev.Facts.SyscallDestinationPath = string(r.Segments[bpf.SegString2].Data)
}

// newOwner fills in the owner that a call gives to a file, as it is in the user namespace of the process; -1 is one that
// stays. Calls of the first 32-bit programs have ids of 16 bits.
func (c *converter) newOwner(d *event.File, op *bpf.FileOp, r *sensor.Record) {
	stays := ^uint32(0)
	if r.Flags&bpf.Compat != 0 {
		switch sensor.SyscallName(r.Nr, true) {
		case "chown", "lchown", "fchown":
			stays = 0xffff
		}
	}
	id := func(v uint32) int64 {
		if v &= stays; v == stays {
			return -1
		}
		return int64(v)
	}
	d.Has, d.UID, d.GID = event.HasOwner, id(op.Uid), id(op.Gid)
	if d.UID >= 0 {
		d.User = c.users.User(r.Mntns, r.Pid, uint32(d.UID))
	}
	if d.GID >= 0 {
		d.Group = c.users.Group(r.Mntns, r.Pid, uint32(d.GID))
	}
}

// secondName fills in the other name of a file that was renamed or linked.
func (c *converter) secondName(ev *event.Event, r *sensor.Record) {
	f, d := &c.file, &c.dest
	ev.Facts.SyscallDestinationPath, _ = c.look(d, ev, r, r.Segments[bpf.SegString2], r.Segments[bpf.SegBase2], lookNoFollow)
	f.Destination = d
	if ev.Evt.Outcome != event.OutcomeSuccess {
		return
	}
	// One inode with two names: what is known of it by the one holds for the other. After a rename that is the new one.
	from, to := d, &f.File
	if ev.Type == event.TypeLink {
		from, to = to, from
	}
	if from.Has&event.HasInode != 0 && (to.Has&event.HasInode == 0 || to.Inode != from.Inode) {
		p, n, e := to.Path, to.Name, to.PathResolutionError
		*to = *from
		to.Path, to.Name, to.PathResolutionError = p, n, e
		if ev.Facts.FileSource == event.FileSourceUserPath {
			ev.Facts.FileSource = event.FileSourcePostStat
		}
	}
	if ev.Facts.FileSource != event.FileSourceFD {
		forget(&f.File, changes[ev.Type])
	}
}

// xattrName splits the name of an extended attribute: the namespace is what comes before the first dot.
func xattrName(s sensor.Segment) (name, namespace string) {
	if !s.Present || s.Flags&bpf.StrFault != 0 {
		return "", ""
	}
	name = string(s.Data)
	namespace, _, ok := strings.Cut(name, ".")
	if !ok {
		return name, ""
	}
	return name, namespace
}

// timeForm is how a call gives two times.
type timeForm struct {
	fraction int64 // nanoseconds in a unit of the second member; 0 if there is none
	wide     bool  // 64-bit members also of a 32-bit task
	special  bool  // UTIME_NOW and UTIME_OMIT
}

var timeForms = map[string]timeForm{
	"utime":            {},
	"utimes":           {fraction: 1000},
	"futimesat":        {fraction: 1000},
	"utimensat":        {fraction: 1, special: true},
	"utimensat_time64": {fraction: 1, special: true, wide: true},
}

// givenTime is one of the two times that a call sets.
type givenTime struct {
	time event.Time // 0: it stays, or is not known
	now  bool       // that of the call
}

// givenTimes reads the two times of a call of the utimes family as the process gave them. Without any, both are now.
func givenTimes(s sensor.Segment, form timeForm, compat bool) (t [2]givenTime) {
	if !s.Present {
		return [2]givenTime{{now: true}, {now: true}}
	}
	width, members := 8, 2
	if compat && !form.wide {
		width = 4
	}
	if form.fraction == 0 {
		members = 1
	}
	if s.Flags&bpf.StrFault != 0 || len(s.Data) < 2*members*width {
		return t
	}
	number := func(i int) int64 {
		if width == 4 {
			return int64(int32(binary.NativeEndian.Uint32(s.Data[4*i:])))
		}
		return int64(binary.NativeEndian.Uint64(s.Data[8*i:]))
	}
	for i := range t {
		sec, part := number(members*i), int64(0)
		if members == 2 {
			part = number(2*i + 1)
			if compat && form.wide {
				part = int64(uint32(part)) // the rest is padding
			}
		}
		switch {
		case form.special && part == unix.UTIME_NOW:
			t[i].now = true
		case form.special && part == unix.UTIME_OMIT:
		case part < 0 || part >= 1e9/max(form.fraction, 1) || sec <= math.MinInt64/1_000_000_000 || sec >= math.MaxInt64/1_000_000_000:
			// the kernel refuses it, or it is centuries away
		default:
			t[i].time = event.Time(sec*1e9 + part*form.fraction)
		}
	}
	return t
}

// newTimes returns the times that a call of the utimes family gives to a file. now is the time that the file has after the
// call, or where that is not known the time of the event.
func newTimes(ev *event.Event, r *sensor.Record, after *event.File) (access, modification event.Time) {
	compat := r.Flags&bpf.Compat != 0
	t := givenTimes(r.Segments[bpf.SegData], timeForms[sensor.SyscallName(r.Nr, compat)], compat)
	of := func(g givenTime, after event.Time) event.Time {
		switch {
		case !g.now:
			return g.time
		case after != 0 && ev.Evt.Outcome == event.OutcomeSuccess:
			return after
		}
		return ev.Date
	}
	return of(t[0], after.AccessTime), of(t[1], after.ModificationTime)
}
