// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"bytes"
	"strconv"
	"strings"

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

func baseName(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }

// fsNames names file systems by the magic number that statfs(2) returns (include/uapi/linux/magic.h). The kernel side
// has the name itself; this is for files that were looked up by path.
var fsNames = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.TMPFS_MAGIC: "tmpfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.NFS_SUPER_MAGIC: "nfs", unix.PROC_SUPER_MAGIC: "proc", unix.SYSFS_MAGIC: "sysfs",
	unix.CGROUP2_SUPER_MAGIC: "cgroup2", unix.CGROUP_SUPER_MAGIC: "cgroup", unix.DEVPTS_SUPER_MAGIC: "devpts",
	unix.HUGETLBFS_MAGIC: "hugetlbfs", unix.RAMFS_MAGIC: "ramfs", unix.SQUASHFS_MAGIC: "squashfs", unix.DEBUGFS_MAGIC: "debugfs",
	unix.TRACEFS_MAGIC: "tracefs", unix.BPF_FS_MAGIC: "bpf", unix.FUSE_SUPER_MAGIC: "fuse", unix.MSDOS_SUPER_MAGIC: "vfat",
	unix.SECURITYFS_MAGIC: "securityfs", unix.SELINUX_MAGIC: "selinuxfs", unix.F2FS_SUPER_MAGIC: "f2fs", 0x2fc12fc1: "zfs",
}

// lookup is what is known of a path after the operation.
type lookup struct {
	path string // without symbolic links, in the root of the process
	stat unix.Statx_t
	fs   string
	ok   bool // stat and fs are filled in
}

// resolver looks at paths as a process sees them, through /proc/<pid>/root. It opens with O_PATH only, which no file
// system or watched process takes notice of.
type resolver struct {
	proc int // O_PATH descriptor of /proc
	ns   uint32
}

func newResolver() (*resolver, error) {
	fd, err := unix.Open("/proc", unix.O_PATH|unix.O_CLOEXEC|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	r := &resolver{proc: fd}
	var st unix.Stat_t
	if unix.Fstatat(fd, "self/ns/mnt", &st, 0) == nil {
		r.ns = uint32(st.Ino)
	}
	return r, nil
}

func (r *resolver) close() { _ = unix.Close(r.proc) }

// root opens the root directory of the first of the processes that is still there. If none is, and the acting process was
// in the collector's mount namespace, it is the collector's root.
func (r *resolver) root(pids []uint32, mntns uint32) (fd int, name string, ok bool) {
	for _, pid := range pids {
		name := "/proc/" + strconv.FormatUint(uint64(pid), 10) + "/root"
		if fd, err := unix.Openat(r.proc, name[len("/proc/"):], unix.O_PATH|unix.O_CLOEXEC|unix.O_DIRECTORY, 0); err == nil {
			return fd, name, true
		}
	}
	if mntns == r.ns {
		if fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC|unix.O_DIRECTORY, 0); err == nil {
			return fd, "", true
		}
	}
	return -1, "", false
}

// lookup resolves path, which must be absolute. follow says whether a symbolic link at its end was followed by the
// operation. If the file is not there (any more), the result has the resolved directory and the name.
func (r *resolver) lookup(pids []uint32, mntns uint32, path string, follow bool) (l lookup) {
	l.path = path
	root, rootName, ok := r.root(pids, mntns)
	if !ok {
		return l
	}
	defer unix.Close(root)
	prefix := ""
	if rootName != "" {
		prefix = readlink(unix.AT_FDCWD, rootName)
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	if !follow {
		how.Flags |= unix.O_NOFOLLOW
	}
	if fd, err := unix.Openat2(root, path, &how); err == nil {
		defer unix.Close(fd)
		var fs unix.Statfs_t
		if unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &l.stat) == nil && unix.Fstatfs(fd, &fs) == nil {
			l.ok = true
			l.fs = fsNames[fs.Type]
		}
		l.path = inRoot(fdPath(fd), prefix, path)
		return l
	}
	// gone, as after unlink: its directory tells where it was
	dir := path[:strings.LastIndexByte(path, '/')+1]
	how.Flags = unix.O_PATH | unix.O_CLOEXEC | unix.O_DIRECTORY
	if fd, err := unix.Openat2(root, dir, &how); err == nil {
		defer unix.Close(fd)
		d := inRoot(fdPath(fd), prefix, dir)
		l.path = strings.TrimSuffix(d, "/") + "/" + baseName(path)
	}
	return l
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
