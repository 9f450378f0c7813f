// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// walkError says what a walk's flags mean for the path; empty if the path is right.
func walkError(flags uint8) string {
	switch {
	case flags&bpf.WalkFault != 0:
		return "kernel memory could not be read"
	case flags&bpf.WalkTruncated != 0:
		return "path is longer than 4096 bytes or 320 components"
	case flags&bpf.WalkRaced != 0:
		return "renamed while the path was read"
	}
	return ""
}

// appendWalk appends the path that a walk's names, which are leaf first, make. Of a file that is in no directory it is the
// bare name.
func appendWalk(dst []byte, s sensor.Segment) []byte {
	names := s.Data
	if s.Flags&bpf.WalkDetached != 0 {
		return append(dst, bytes.TrimSuffix(names, []byte{0})...)
	}
	if len(names) == 0 {
		return append(dst, '/')
	}
	for end := len(names) - 1; end >= 0; {
		start := bytes.LastIndexByte(names[:end], 0) + 1
		dst = append(dst, '/')
		dst = append(dst, names[start:end]...)
		end = start - 1
	}
	return dst
}

// appendClean appends p, joined to the absolute base if it is relative, without "." and ".." and double slashes. It is
// lexical: a symbolic link before ".." is not looked at.
func appendClean(dst, base, p []byte) []byte {
	start := len(dst)
	if len(p) == 0 || p[0] != '/' {
		dst = append(dst, base...)
		if len(dst) == start+1 && dst[start] == '/' {
			dst = dst[:start]
		}
	}
	for len(p) > 0 {
		var part []byte
		if i := bytes.IndexByte(p, '/'); i >= 0 {
			part, p = p[:i], p[i+1:]
		} else {
			part, p = p, nil
		}
		switch string(part) {
		case "", ".":
		case "..":
			if i := bytes.LastIndexByte(dst[start:], '/'); i >= 0 {
				dst = dst[:start+i]
			}
		default:
			dst = append(dst, '/')
			dst = append(dst, part...)
		}
	}
	if len(dst) == start {
		dst = append(dst, '/')
	}
	return dst
}

// appendJoined appends p, joined to the absolute base if it is relative, as it is.
func appendJoined(dst, base, p []byte) []byte {
	if len(p) > 0 && p[0] == '/' {
		return append(dst, p...)
	}
	dst = append(dst, base...)
	if len(p) > 0 { // else the base itself is meant, which need not be a directory
		dst = append(append(dst, '/'), p...)
	}
	return dst
}

// lexical returns an absolute path as appendClean makes it.
func lexical(p string) string { return string(appendClean(nil, nil, []byte(p))) }

func baseName(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }

// lookup is what is known of a path after the operation.
type lookup struct {
	path string // without symbolic links, in the root of the process
	stat unix.Statx_t
	fs   string
	ok   bool // stat and fs are filled in

	upper, overlay bool // on overlayfs; in its upper layer
}

// resolver looks at paths as a process sees them, through /proc/<pid>/root.
//
// A watched process can mount a file system that never answers (FUSE), so nothing here may ask a file system: paths are
// resolved from the kernel's cache of names only, where they are after an operation on them, attributes are taken as they
// are cached, and the name of the file system comes from its device number. Only symbolic links may be read, with a timeout.
type resolver struct {
	proc int    // O_PATH descriptor of /proc
	ns   uint32 // the collector's own mount namespace
	// hostPIDs says that the collector is in the initial pid namespace.
	hostPIDs bool
	cached   uint64 // RESOLVE_CACHED where the kernel has it (5.12), else 0
	self     string // the collector's own directory in /proc, which is also where /proc/self leads it
	links    linkReader
	mounts   mountTables
	layer    func(fd int) (upper, overlay bool) // nil: not known
	fs       map[uint64]string
	fsRead   time.Time // when mountinfo was read for fs
}

// resolveCached is RESOLVE_CACHED of include/uapi/linux/openat2.h.
const resolveCached = 0x20

func newResolver() (*resolver, error) {
	fd, err := unix.Open("/proc", unix.O_PATH|unix.O_CLOEXEC|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	r := &resolver{proc: fd, cached: resolveCached, self: "/proc/" + strconv.Itoa(unix.Getpid()), fs: map[uint64]string{}}
	r.links.read = func(fd int) string { return readlink(fd, "") }
	var st unix.Stat_t
	if unix.Fstatat(fd, "self/ns/mnt", &st, 0) == nil {
		r.ns = uint32(st.Ino)
	}
	if unix.Fstatat(fd, "self/ns/pid", &st, 0) == nil {
		r.hostPIDs = st.Ino == initialPIDNS
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolveCached}
	if self, err := unix.Openat2(fd, "self", &how); err == nil {
		_ = unix.Close(self)
	} else if errors.Is(err, unix.EINVAL) {
		r.cached = 0
	}
	return r, nil
}

func (r *resolver) close() {
	r.links.close()
	_ = unix.Close(r.proc)
}

// lineage are those through which can be seen what a process sees.
type lineage struct {
	pid   uint32   // the process, which is what /proc/self is to it; 0 if there is none
	tasks []uint32 // threads of it and other processes, the best first: a thread can have a root and mounts of its own
}

// root opens the root directory of the first of the tasks that is still there. If none is, and the acting process was
// in the collector's mount namespace, it is the collector's root.
func (r *resolver) root(tasks []uint32, mntns uint32) (fd int, name string, ok bool) {
	for _, task := range tasks {
		dir := strconv.FormatUint(uint64(task), 10)
		var st unix.Stat_t
		if unix.Fstatat(r.proc, dir+"/ns/mnt", &st, 0) != nil || uint32(st.Ino) != mntns {
			continue // gone, its pid taken over, or elsewhere by now
		}
		if fd, err := unix.Openat(r.proc, dir+"/root", unix.O_PATH|unix.O_CLOEXEC|unix.O_DIRECTORY, 0); err == nil {
			return fd, "/proc/" + dir + "/root", true
		}
	}
	if mntns == r.ns {
		if fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC|unix.O_DIRECTORY, 0); err == nil {
			return fd, "", true
		}
	}
	return -1, "", false
}

// lookHow says what an operation did with the file at the end of its path.
type lookHow uint8

const (
	lookFollow   lookHow = iota
	lookNoFollow         // it was about a symbolic link itself
	lookGone             // it took the file away from this path: what is there now is another one
)

// lookup resolves path, which must be absolute and may have symbolic links, "." and "..". If the file is not there (any
// more), the result has the resolved directory and the name; if the directory is not found either, it is lexical.
func (r *resolver) lookup(who lineage, mntns uint32, path string, how lookHow) (l lookup) {
	l.path = lexical(path)
	root, rootName, ok := r.root(who.tasks, mntns)
	if !ok {
		return l
	}
	defer unix.Close(root)
	prefix := ""
	if rootName != "" {
		prefix = readlink(unix.AT_FDCWD, rootName)
	}
	if how != lookGone {
		flags := uint64(0)
		if how == lookNoFollow {
			flags = unix.O_NOFOLLOW
		}
		if fd, seen, err := r.find(root, prefix, path, flags, who.pid); err == nil {
			defer unix.Close(fd)
			if unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &l.stat) == nil {
				l.ok = true
				l.fs = r.filesystem(uint64(l.stat.Dev_major)<<devMinorBits | uint64(l.stat.Dev_minor))
				if l.fs == "overlay" && r.layer != nil {
					l.upper, l.overlay = r.layer(fd)
				}
			}
			l.path = inRoot(seen, prefix, l.path)
			return l
		}
	}
	dir := strings.TrimRight(path, "/")
	i := strings.LastIndexByte(dir, '/') + 1
	dir, name := dir[:i], dir[i:]
	if name == "" || name == "." || name == ".." {
		return l
	}
	if fd, seen, err := r.find(root, prefix, dir, unix.O_DIRECTORY, who.pid); err == nil {
		defer unix.Close(fd)
		if d := inRoot(seen, prefix, ""); d != "" {
			l.path = strings.TrimSuffix(d, "/") + "/" + name
		}
	}
	return l
}

// openIn opens path below a root, from the kernel's cache of names only.
func (r *resolver) openIn(root int, path string, flags uint64) (int, error) {
	return unix.Openat2(root, path, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC | flags, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | r.cached,
	})
}

// openTries is how often a name is looked up in the cache. The kernel gives up if anything is renamed or mounted meanwhile,
// anywhere, and says the same (EAGAIN) of a name that is not in the cache.
const openTries = 4

// openStep opens as openIn does, and again if that may help.
func (r *resolver) openStep(root int, path string, flags uint64) (fd int, err error) {
	for range openTries {
		if fd, err = r.openIn(root, path, flags); !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	return fd, err
}

// find opens path below a root for a process; seen is where the collector sees what it found. The kernel does
// not follow every symbolic link from its cache alone: not one whose access time it then has to note, which is every new
// one, and none of an overlay. And it takes /proc/self for the collector.
func (r *resolver) find(root int, prefix, path string, flags uint64, pid uint32) (fd int, seen string, err error) {
	fd, err = r.openIn(root, path, flags)
	if err == nil {
		seen = fdPath(fd)
		if !isBelow(inRoot(seen, prefix, ""), r.self) {
			return fd, seen, nil
		}
		_ = unix.Close(fd)
	} else if !errors.Is(err, unix.EAGAIN) {
		return -1, "", err
	}
	if fd, err = r.follow(root, path, flags, pid); err != nil {
		return -1, "", err
	}
	return fd, fdPath(fd), nil
}

func isBelow(path, dir string) bool {
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || rest[0] == '/')
}

// Bounds of a path that is followed step by step.
const (
	maxSteps = 128
	maxLinks = 40
)

// follow opens path below a root as openIn does, one name after the other.
func (r *resolver) follow(root int, path string, flags uint64, pid uint32) (int, error) {
	at := root
	enter := func(dir int) {
		if at != root {
			_ = unix.Close(at)
		}
		at = dir
	}
	defer func() { enter(root) }()
	done, rest := "", path // done is where at is; it has no links in it, so that ".." is what it looks like
	for step, links := 0, 0; step < maxSteps; step++ {
		name, after, more := strings.Cut(strings.TrimLeft(rest, "/"), "/")
		switch name {
		case "":
			return r.openStep(root, done+"/", flags)
		case ".":
			rest = after
			continue
		case "..":
			done, rest = done[:max(strings.LastIndexByte(done, '/'), 0)], after
			dir, err := r.openStep(root, done+"/", unix.O_DIRECTORY)
			if err != nil {
				return -1, err
			}
			enter(dir)
			continue
		}
		fd, err := r.openStep(at, name, unix.O_NOFOLLOW)
		if err != nil {
			return -1, err
		}
		var st unix.Statx_t
		if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st); err != nil {
			_ = unix.Close(fd)
			return -1, err
		}
		kind := st.Mode & unix.S_IFMT
		switch {
		case kind == unix.S_IFLNK && (more || flags&unix.O_NOFOLLOW == 0):
			target := r.target(fd, name, &st, pid)
			_ = unix.Close(fd)
			if links++; target == "" || links > maxLinks {
				return -1, unix.ELOOP
			}
			if target[0] == '/' {
				done = ""
				enter(root)
			}
			rest = target
			if more {
				rest += "/" + after
			}
		case kind != unix.S_IFDIR && (more || flags&unix.O_DIRECTORY != 0):
			_ = unix.Close(fd)
			return -1, unix.ENOTDIR
		case !more:
			return fd, nil
		default:
			done, rest = done+"/"+name, after
			enter(fd)
		}
	}
	return -1, unix.ELOOP
}

// target is where a symbolic link leads a process; empty if that is not known. In /proc many links are
// no paths, and some depend on who reads them.
func (r *resolver) target(fd int, name string, st *unix.Statx_t, pid uint32) string {
	if r.filesystem(uint64(st.Dev_major)<<devMinorBits|uint64(st.Dev_minor)) == "proc" {
		switch {
		case name == "self" && pid != 0 && r.hostPIDs:
			return strconv.FormatUint(uint64(pid), 10)
		case name != "mounts" && name != "net":
			return ""
		}
	}
	return r.links.target(fd)
}

// linkReader reads symbolic links, which can take any time: a watched process may be the one that answers. A link that is
// not read soon is given up, and then none is read for a while.
type linkReader struct {
	read    func(fd int) string
	ask     chan int
	answer  chan string
	waiting bool // for the answer to a question that was given up
	pause   time.Time
}

const (
	linkTimeout = 20 * time.Millisecond
	linkPause   = 10 * time.Second
)

func (l *linkReader) target(fd int) string {
	if l.waiting {
		select {
		case <-l.answer:
			l.waiting = false
		default:
			return ""
		}
	}
	if time.Now().Before(l.pause) {
		return ""
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	if l.ask == nil {
		l.ask, l.answer = make(chan int), make(chan string, 1)
		go func() {
			for fd := range l.ask {
				text := l.read(fd)
				_ = unix.Close(fd)
				l.answer <- text
			}
		}()
	}
	l.ask <- own
	timeout := time.NewTimer(linkTimeout)
	defer timeout.Stop()
	select {
	case text := <-l.answer:
		return text
	case <-timeout.C:
		l.waiting, l.pause = true, time.Now().Add(linkPause)
		return ""
	}
}

func (l *linkReader) close() {
	if l.ask != nil {
		close(l.ask)
	}
}

// Device numbers as the kernel has them inside (include/linux/kdev_t.h).
const devMinorBits = 20

// maxFilesystems bounds what is remembered of devices; a machine with more has lost nothing but a few names.
const maxFilesystems = 4096

// learn remembers the file system of a device, which the kernel side reads with every open file.
func (r *resolver) learn(dev uint32, name string) {
	if name != "" && len(r.fs) < maxFilesystems {
		r.fs[uint64(dev)] = name
	}
}

// filesystem names the file system of a device; empty if it is not known. What no event has told is looked up among the
// collector's own mounts, at most every few seconds.
func (r *resolver) filesystem(dev uint64) string {
	if name, ok := r.fs[dev]; ok {
		return name
	}
	if time.Since(r.fsRead) < 5*time.Second {
		return ""
	}
	r.fsRead = time.Now()
	data, _, err := r.readProc("self/mountinfo", 4<<20)
	if err != nil {
		return ""
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		mount, super, _ := strings.Cut(line, " - ")
		m, s := strings.Fields(mount), strings.Fields(super)
		if len(m) < 3 || len(s) < 1 || len(r.fs) >= maxFilesystems {
			continue
		}
		var major, minor uint64
		if _, err := fmt.Sscanf(m[2], "%d:%d", &major, &minor); err == nil {
			r.fs[major<<devMinorBits|minor] = s[0]
		}
	}
	return r.fs[dev]
}

func fdPath(fd int) string {
	return readlink(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd))
}

func readlink(dirfd int, name string) string {
	var buf [4096]byte
	n, err := unix.Readlinkat(dirfd, name, buf[:])
	if err != nil || n == len(buf) {
		return ""
	}
	return string(buf[:n])
}

// inRoot cuts the root of a process off a path that the collector sees; fallback is for what is not below it.
func inRoot(seen, root, fallback string) string {
	if seen == "" || seen[0] != '/' || strings.HasSuffix(seen, " (deleted)") {
		return fallback
	}
	if root == "" || root == "/" {
		return seen
	}
	rest, ok := strings.CutPrefix(seen, root)
	switch {
	case !ok:
		return fallback
	case rest == "":
		return "/"
	case rest[0] == '/':
		return rest
	}
	return fallback
}

// fill fills f from a look-up.
func (l *lookup) fill(f *event.File) {
	f.Path, f.Name = l.path, baseName(l.path)
	if !l.ok {
		return
	}
	st := &l.stat
	f.Has |= event.HasInode | event.HasMode | event.HasOwner
	f.Inode, f.Mode = st.Ino, uint32(st.Mode)
	f.UID, f.GID = int64(st.Uid), int64(st.Gid)
	if st.Mask&unix.STATX_MNT_ID != 0 {
		f.Has |= event.HasMountID
		f.MountID = uint32(st.Mnt_id)
	}
	if l.overlay {
		f.Has |= event.HasUpperLayer
		f.InUpperLayer = l.upper
	}
	f.Filesystem = l.fs
	ns := func(t unix.StatxTimestamp) event.Time { return event.Time(t.Sec*1e9 + int64(t.Nsec)) }
	f.AccessTime, f.ModificationTime, f.ChangeTime = ns(st.Atime), ns(st.Mtime), ns(st.Ctime)
}

// fillFacts fills f from what the kernel side read of an open file.
func fillFacts(f *event.File, k *bpf.File) {
	if k.Flags&bpf.FileValid == 0 {
		return
	}
	f.Has |= event.HasInode | event.HasMode | event.HasOwner | event.HasMountID
	f.Inode, f.Mode, f.UID, f.GID, f.MountID = k.Inode, k.Mode, int64(k.Uid), int64(k.Gid), k.MountId
	if k.Flags&bpf.FileOverlay != 0 {
		f.Has |= event.HasUpperLayer
		f.InUpperLayer = k.Flags&bpf.FileUpper != 0
	}
	f.Filesystem = cString(k.Fstype[:])
	f.AccessTime, f.ModificationTime, f.ChangeTime = event.Time(k.Atime), event.Time(k.Mtime), event.Time(k.Ctime)
}

// cString turns a NUL-terminated array of the kernel into a string.
func cString(a []int8) string {
	var b [16]byte
	n := 0
	for n < len(a) && n < len(b) && a[n] != 0 {
		b[n] = byte(a[n])
		n++
	}
	return string(b[:n])
}

// readProc reads at most limit bytes of a file below /proc; whole says whether that is all.
func (r *resolver) readProc(name string, limit int) (data []byte, whole bool, err error) {
	fd, err := unix.Openat(r.proc, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false, err
	}
	defer unix.Close(fd)
	data = make([]byte, 0, min(limit, 8<<10))
	for len(data) < limit {
		data = slices.Grow(data, 1)
		m, err := unix.Read(fd, data[len(data):min(cap(data), limit)])
		if err != nil {
			return nil, false, err
		}
		if m == 0 {
			return data, true, nil
		}
		data = data[:len(data)+m]
	}
	return data, false, nil
}

// cgroupPath reads a process's cgroup from /proc: that on the v2 hierarchy, or where that is the root the one of the v1
// memory controller, as the kernel side does it. Empty if the process is gone.
func (r *resolver) cgroupPath(pid uint32) string {
	if !r.hostPIDs {
		return ""
	}
	data, _, err := r.readProc(strconv.FormatUint(uint64(pid), 10)+"/cgroup", maxProcRead)
	if err != nil {
		return ""
	}
	v1 := ""
	for line := range strings.SplitSeq(string(data), "\n") {
		_, rest, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		controllers, p, _ := strings.Cut(rest, ":")
		switch {
		case controllers == "" && p != "/":
			return p
		case hasOption(controllers, "memory"):
			v1 = p
		}
	}
	return v1
}

// initialPIDNS is the inode number of the initial pid namespace (PROC_PID_INIT_INO of include/linux/proc_ns.h).
const initialPIDNS = 0xEFFFFFFC

// alive says whether a process may still run. It is sure of the contrary only in the initial pid namespace, whose pids the
// kernel side reports.
func (r *resolver) alive(pid uint32, _ event.Time) bool {
	return !r.hostPIDs || !errors.Is(unix.Kill(int(pid), 0), unix.ESRCH)
}
