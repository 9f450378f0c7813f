// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"bytes"
	"errors"
	"fmt"
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
}

// resolver looks at paths as a process sees them, through /proc/<pid>/root.
//
// A watched process can mount a file system that never answers (FUSE), so nothing here may ask a file system: paths are
// resolved from the kernel's cache of names only, where they are after an operation on them, attributes are taken as they
// are cached, and the name of the file system comes from its device number.
type resolver struct {
	proc int    // O_PATH descriptor of /proc
	ns   uint32 // the collector's own mount namespace
	// hostPIDs says that the collector is in the initial pid namespace.
	hostPIDs bool
	cached   uint64 // RESOLVE_CACHED where the kernel has it (5.12), else 0
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
	r := &resolver{proc: fd, cached: resolveCached, fs: map[uint64]string{}}
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

func (r *resolver) close() { _ = unix.Close(r.proc) }

// root opens the root directory of the first of the processes that is still there. If none is, and the acting process was
// in the collector's mount namespace, it is the collector's root.
func (r *resolver) root(pids []uint32, mntns uint32) (fd int, name string, ok bool) {
	for _, pid := range pids {
		dir := strconv.FormatUint(uint64(pid), 10)
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
func (r *resolver) lookup(pids []uint32, mntns uint32, path string, how lookHow) (l lookup) {
	l.path = lexical(path)
	root, rootName, ok := r.root(pids, mntns)
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
		if fd, err := r.openIn(root, path, flags); err == nil {
			defer unix.Close(fd)
			if unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &l.stat) == nil {
				l.ok = true
				l.fs = r.filesystem(uint64(l.stat.Dev_major)<<devMinorBits | uint64(l.stat.Dev_minor))
			}
			l.path = inRoot(fdPath(fd), prefix, l.path)
			return l
		}
	}
	dir := strings.TrimRight(path, "/")
	i := strings.LastIndexByte(dir, '/') + 1
	dir, name := dir[:i], dir[i:]
	if name == "" || name == "." || name == ".." {
		return l
	}
	if fd, err := r.openIn(root, dir, unix.O_DIRECTORY); err == nil {
		defer unix.Close(fd)
		if d := inRoot(fdPath(fd), prefix, ""); d != "" {
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
	data = make([]byte, limit)
	n := 0
	for n < limit {
		m, err := unix.Read(fd, data[n:])
		if err != nil {
			return nil, false, err
		}
		if m == 0 {
			return data[:n], true, nil
		}
		n += m
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
