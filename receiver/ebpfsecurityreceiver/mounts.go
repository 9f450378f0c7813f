// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// mountInfo is a line of /proc/<pid>/mountinfo (proc_pid_mountinfo(5)).
type mountInfo struct {
	id, parent uint32
	dev        uint32 // as the kernel has it inside
	root       string // what of the file system is mounted
	point      string // in the root of the process
	fs         string
}

// parseMounts reads a mountinfo file. Lines that are none are left out.
func parseMounts(text string) (mounts []mountInfo) {
	for line := range strings.Lines(text) {
		left, right, ok := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 1 {
			continue
		}
		major, minor, ok := strings.Cut(l[2], ":")
		id, err1 := strconv.ParseUint(l[0], 10, 32)
		parent, err2 := strconv.ParseUint(l[1], 10, 32)
		ma, err3 := strconv.ParseUint(major, 10, 12)
		mi, err4 := strconv.ParseUint(minor, 10, devMinorBits)
		if !ok || err1 != nil || err2 != nil || err3 != nil || err4 != nil {
			continue
		}
		mounts = append(mounts, mountInfo{
			id: uint32(id), parent: uint32(parent), dev: uint32(ma<<devMinorBits | mi),
			root: unescapeMount(l[3]), point: unescapeMount(l[4]), fs: unescapeMount(r[0]),
		})
	}
	return mounts
}

// unescapeMount undoes what the kernel does to space, tab, newline and backslash: three octal digits.
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b = append(b, byte(c))
				i += 3
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// mountTables has the mounts of the namespaces in which something was mounted, as they were last. A mount that is gone is
// known by them only.
type mountTables struct {
	// read reads the mountinfo of a process, which is as its root directory has it; empty if it is gone.
	read   func(ns, task uint32) (text, root string)
	spaces []mountSpace // the one that was used last is first
	tokens int
	filled time.Time
}

type mountSpace struct {
	ns     uint32
	root   string
	mounts []mountInfo
}

// Bounds: a process can mount more often than it is worth to read the whole table, and have more than it is worth to keep.
const (
	maxMountSpaces  = 32
	maxMountBytes   = 4 << 20 // of a file
	mountsPerSecond = 50
)

// refresh reads the mounts of a namespace through the first of the tasks that is still there. ok is false if none is, or
// if that was done too often of late. before is what there was the last time, if it was read before.
func (t *mountTables) refresh(ns uint32, tasks []uint32) (before, now []mountInfo, ok bool) {
	if s := time.Since(t.filled); s > 20*time.Millisecond {
		t.tokens = min(mountsPerSecond, t.tokens+int(min(s, time.Second)*mountsPerSecond/time.Second))
		t.filled = time.Now()
	}
	if t.tokens == 0 {
		return nil, nil, false
	}
	t.tokens--
	var text, root string
	for _, task := range tasks {
		if text, root = t.read(ns, task); text != "" {
			break
		}
	}
	if text == "" {
		return nil, nil, false
	}
	now = parseMounts(text)
	space := mountSpace{ns: ns, root: root, mounts: now}
	if i := slices.IndexFunc(t.spaces, func(s mountSpace) bool { return s.ns == ns && s.root == root }); i >= 0 {
		before = t.spaces[i].mounts
		t.spaces = slices.Delete(t.spaces, i, i+1)
	}
	t.spaces = slices.Insert(t.spaces, 0, space)
	t.spaces = t.spaces[:min(len(t.spaces), maxMountSpaces)]
	return before, now, true
}

// mountsOf is refresh for the namespace of processes, which may be the collector's own.
func (r *resolver) mountsOf(ns uint32, who lineage) (before, now []mountInfo, ok bool) {
	if r.mounts.read == nil {
		r.mounts.read = r.mountinfo
	}
	if ns == r.ns {
		who.tasks = append(who.tasks, selfPID)
	}
	return r.mounts.refresh(ns, who.tasks)
}

// selfPID stands for the collector's own process.
const selfPID = 0

func (r *resolver) mountinfo(ns, task uint32) (text, root string) {
	dir := "self"
	if task != selfPID {
		dir = strconv.FormatUint(uint64(task), 10)
	}
	var st unix.Stat_t
	if unix.Fstatat(r.proc, dir+"/ns/mnt", &st, 0) != nil || uint32(st.Ino) != ns {
		return "", ""
	}
	data, _, err := r.readProc(dir+"/mountinfo", maxMountBytes)
	if err != nil {
		return "", ""
	}
	return string(data), readlink(r.proc, dir+"/root")
}

// byID finds a mount.
func byID(mounts []mountInfo, id uint32) *mountInfo {
	if i := slices.IndexFunc(mounts, func(m mountInfo) bool { return m.id == id }); i >= 0 {
		return &mounts[i]
	}
	return nil
}

// atPoint finds the mount that is on top of a mount point.
func atPoint(mounts []mountInfo, point string) *mountInfo {
	for i := len(mounts) - 1; i >= 0; i-- {
		if mounts[i].point == point {
			return &mounts[i]
		}
	}
	return nil
}

// gone finds the mount at a mount point that there was before and is no more.
func gone(before, now []mountInfo, point string) *mountInfo {
	for i := len(before) - 1; i >= 0; i-- {
		if m := &before[i]; m.point == point && byID(now, m.id) == nil {
			return m
		}
	}
	return nil
}
