// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
)

// argument says which argument of a syscall has a meaning; 0 is none.
type argument int8

const (
	a0 argument = iota + 1
	a1
	a2
	a3
	a4
	a5
)

// row is a row of the syscall table: what a call makes, and which argument is what. The numbers are looked up by name.
type row struct {
	name          string
	typ           event.Type
	kind          uint8
	entry         bool // something is kept at entry that is not there at exit any more
	dirfd, path   argument
	dirfd2, path2 argument
	flags, mode   argument
	uid, gid      argument
	fd            argument
	text          argument // a string that is no path
	data          argument // a pointer to bytes
	dataSize      uint8
	dataSize32    uint8  // of a 32-bit task, if it is another
	fixed         uint32 // flags that the call implies
}

// syscalls is the table of the calls that make events, in families. A name that an architecture has not got makes none there.
var syscalls = slices.Concat(
	fileSyscalls, socketSyscalls, credSyscalls, targetSyscalls, memorySyscalls, spliceSyscalls,
	mountSyscalls, kernelSyscalls, ioUringSyscalls,
)

var fileSyscalls = []row{
	{name: "open", typ: event.TypeOpen, kind: bpf.SysOpen, path: a0, flags: a1, mode: a2},
	{name: "creat", typ: event.TypeOpen, kind: bpf.SysOpen, path: a0, mode: a1, fixed: unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC},
	{name: "openat", typ: event.TypeOpen, kind: bpf.SysOpen, dirfd: a0, path: a1, flags: a2, mode: a3},
	{name: "openat2", typ: event.TypeOpen, kind: bpf.SysOpenat2, dirfd: a0, path: a1, flags: a2},
	{name: "open_by_handle_at", typ: event.TypeOpen, kind: bpf.SysOpen, flags: a2},
	{name: "truncate", typ: event.TypeOpen, kind: bpf.SysPath, path: a0, fixed: unix.O_WRONLY | unix.O_TRUNC},
	{name: "truncate64", typ: event.TypeOpen, kind: bpf.SysPath, path: a0, fixed: unix.O_WRONLY | unix.O_TRUNC},
	{name: "ftruncate", typ: event.TypeOpen, kind: bpf.SysFD, fd: a0, fixed: unix.O_WRONLY | unix.O_TRUNC},
	{name: "ftruncate64", typ: event.TypeOpen, kind: bpf.SysFD, fd: a0, fixed: unix.O_WRONLY | unix.O_TRUNC},
	{name: "unlink", typ: event.TypeUnlink, kind: bpf.SysPath, path: a0},
	{name: "unlinkat", typ: event.TypeUnlink, kind: bpf.SysPath, dirfd: a0, path: a1, flags: a2},
	{name: "rmdir", typ: event.TypeRmdir, kind: bpf.SysPath, path: a0, fixed: unix.AT_REMOVEDIR},
	{name: "rename", typ: event.TypeRename, kind: bpf.SysPath, path: a0, path2: a1},
	{name: "renameat", typ: event.TypeRename, kind: bpf.SysPath, dirfd: a0, path: a1, dirfd2: a2, path2: a3},
	{name: "renameat2", typ: event.TypeRename, kind: bpf.SysPath, dirfd: a0, path: a1, dirfd2: a2, path2: a3, flags: a4},
	{name: "mkdir", typ: event.TypeMkdir, kind: bpf.SysPath, path: a0, mode: a1},
	{name: "mkdirat", typ: event.TypeMkdir, kind: bpf.SysPath, dirfd: a0, path: a1, mode: a2},
	{name: "chmod", typ: event.TypeChmod, kind: bpf.SysPath, path: a0, mode: a1},
	{name: "fchmod", typ: event.TypeChmod, kind: bpf.SysFD, entry: true, mode: a1, fd: a0},
	{name: "fchmodat", typ: event.TypeChmod, kind: bpf.SysPath, dirfd: a0, path: a1, mode: a2},
	{name: "fchmodat2", typ: event.TypeChmod, kind: bpf.SysPath, dirfd: a0, path: a1, flags: a3, mode: a2},
	{name: "chown", typ: event.TypeChown, kind: bpf.SysPath, path: a0, uid: a1, gid: a2},
	{name: "lchown", typ: event.TypeChown, kind: bpf.SysPath, path: a0, uid: a1, gid: a2, fixed: unix.AT_SYMLINK_NOFOLLOW},
	{name: "fchown", typ: event.TypeChown, kind: bpf.SysFD, entry: true, uid: a1, gid: a2, fd: a0},
	{name: "fchownat", typ: event.TypeChown, kind: bpf.SysPath, dirfd: a0, path: a1, flags: a4, uid: a2, gid: a3},
	{name: "chown32", typ: event.TypeChown, kind: bpf.SysPath, path: a0, uid: a1, gid: a2},
	{name: "lchown32", typ: event.TypeChown, kind: bpf.SysPath, path: a0, uid: a1, gid: a2, fixed: unix.AT_SYMLINK_NOFOLLOW},
	{name: "fchown32", typ: event.TypeChown, kind: bpf.SysFD, entry: true, uid: a1, gid: a2, fd: a0},
	{name: "link", typ: event.TypeLink, kind: bpf.SysPath, path: a0, path2: a1},
	{name: "linkat", typ: event.TypeLink, kind: bpf.SysPath, dirfd: a0, path: a1, dirfd2: a2, path2: a3, flags: a4},
	// the path is that of the new link
	{name: "symlink", typ: event.TypeSymlink, kind: bpf.SysPath, text: a0, path: a1},
	{name: "symlinkat", typ: event.TypeSymlink, kind: bpf.SysPath, text: a0, dirfd: a1, path: a2},
	// the data are two times: converting them needs the name of the call
	{name: "utime", typ: event.TypeUtimes, kind: bpf.SysPath, path: a0, data: a1, dataSize: 16, dataSize32: 8},
	{name: "utimes", typ: event.TypeUtimes, kind: bpf.SysPath, path: a0, data: a1, dataSize: 32, dataSize32: 16},
	{name: "futimesat", typ: event.TypeUtimes, kind: bpf.SysPath, dirfd: a0, path: a1, data: a2, dataSize: 32, dataSize32: 16},
	{name: "utimensat", typ: event.TypeUtimes, kind: bpf.SysPath, dirfd: a0, path: a1, data: a2, dataSize: 32, dataSize32: 16, flags: a3},
	{name: "utimensat_time64", typ: event.TypeUtimes, kind: bpf.SysPath, dirfd: a0, path: a1, data: a2, dataSize: 32, flags: a3},
	// the flags of setxattr are those of the attribute, and not of the path
	{name: "setxattr", typ: event.TypeSetXattr, kind: bpf.SysPath, path: a0, text: a1},
	{name: "lsetxattr", typ: event.TypeSetXattr, kind: bpf.SysPath, path: a0, text: a1, fixed: unix.AT_SYMLINK_NOFOLLOW},
	{name: "fsetxattr", typ: event.TypeSetXattr, kind: bpf.SysFD, entry: true, fd: a0, text: a1},
	{name: "setxattrat", typ: event.TypeSetXattr, kind: bpf.SysPath, dirfd: a0, path: a1, flags: a2, text: a3},
	{name: "removexattr", typ: event.TypeRemoveXattr, kind: bpf.SysPath, path: a0, text: a1},
	{name: "lremovexattr", typ: event.TypeRemoveXattr, kind: bpf.SysPath, path: a0, text: a1, fixed: unix.AT_SYMLINK_NOFOLLOW},
	{name: "fremovexattr", typ: event.TypeRemoveXattr, kind: bpf.SysFD, entry: true, fd: a0, text: a1},
	{name: "removexattrat", typ: event.TypeRemoveXattr, kind: bpf.SysPath, dirfd: a0, path: a1, flags: a2, text: a3},
	{name: "chdir", typ: event.TypeChdir, kind: bpf.SysCwd, entry: true, path: a0},
	{name: "fchdir", typ: event.TypeChdir, kind: bpf.SysCwd, fd: a0},
	{name: "chroot", typ: event.TypeChroot, kind: bpf.SysCwd, entry: true, path: a0},
	// only those that fail
	{name: "execve", typ: typeExecFailed, kind: bpf.SysExec, entry: true, path: a0},
	{name: "execveat", typ: typeExecFailed, kind: bpf.SysExec, entry: true, dirfd: a0, path: a1, flags: a4},
}

// socketSyscalls have descriptor, address and its length as the first arguments. Of socketcall, which is i386's, the first
// one tells which it is.
var socketSyscalls = []row{
	{name: "connect", typ: event.TypeConnect, kind: bpf.SysSock},
	{name: "bind", typ: event.TypeBind, kind: bpf.SysSock},
	{name: "accept", typ: event.TypeAccept, kind: bpf.SysAccept},
	{name: "accept4", typ: event.TypeAccept, kind: bpf.SysAccept},
	{name: "socketcall", typ: event.TypeConnect, kind: bpf.SysSocketcall},
}

// ioUringSyscalls make what can do without syscalls.
var ioUringSyscalls = []row{
	{name: "io_uring_setup", typ: typeIOUring, kind: bpf.SysIOUring},
}

// numbers returns the syscall numbers of an architecture (a GOARCH): those of its own tasks, and those of 32-bit ones.
func numbers(goarch string) (native, compat *arch.Info) {
	if goarch == "arm64" {
		return arch.AARCH64, arch.ARM
	}
	return arch.X86_64, arch.I386
}

// SyscallName names a syscall by its number, which is one of a 32-bit task or of the kernel's own. It is empty if there is none.
func SyscallName(nr uint16, compat bool) string { return syscallName(int(nr), compat) }

func syscallName(nr int, compat bool) string {
	native, info := numbers(runtime.GOARCH)
	if !compat {
		info = native
	}
	return info.SyscallNumbers[nr]
}

// UsedName names the syscall that a syscalls record is about; one without a name is its number.
func (r *Record) UsedName() string {
	nr := int(r.Used().Nr)
	if name := syscallName(nr, r.Flags&bpf.Compat != 0); name != "" {
		return name
	}
	return strconv.Itoa(nr)
}

// table returns the table of the kernel side for an architecture: the numbers of its own tasks, then those of 32-bit ones.
// Only the rows of wanted types are filled in.
func table(goarch string, types event.TypeSet) (t [2 * bpf.MaxSyscalls]bpf.Syscall) {
	native, compat := numbers(goarch)
	for i := range syscalls {
		r := &syscalls[i]
		if !r.wanted(types) {
			continue
		}
		d := bpf.Syscall{
			Type: uint8(r.typ), Kind: r.kind, Dirfd: int8(r.dirfd) - 1, Path: int8(r.path) - 1, Dirfd2: int8(r.dirfd2) - 1,
			Path2: int8(r.path2) - 1, Flags: int8(r.flags) - 1, Mode: int8(r.mode) - 1, Uid: int8(r.uid) - 1, Gid: int8(r.gid) - 1,
			Fd: int8(r.fd) - 1, Name: int8(r.text) - 1, Data: int8(r.data) - 1, DataSize: r.dataSize, FixedFlags: r.fixed,
		}
		if r.keeps() {
			d.Entry = 1
		}
		if n, ok := native.SyscallNames[r.name]; ok {
			t[n] = d
		}
		if n, ok := compat.SyscallNames[r.name]; ok {
			if r.dataSize32 != 0 {
				d.DataSize = r.dataSize32
			}
			t[bpf.MaxSyscalls+n] = d
		}
	}
	return t
}

func (r *row) wanted(types event.TypeSet) bool {
	switch {
	case r.typ == event.TypeUnlink && types.Has(event.TypeRmdir):
		return true
	case r.kind == bpf.SysSocketcall:
		return types&event.Set(event.TypeConnect, event.TypeBind, event.TypeAccept) != 0
	}
	return types.Has(r.typ)
}

// keeps says whether something is kept from the entry of the call to its exit.
func (r *row) keeps() bool { return r.entry || r.kind == bpf.SysPath }

// needsEntry says whether one of the types keeps state from the entry of a syscall to its exit.
func needsEntry(types event.TypeSet) bool {
	return slices.ContainsFunc(syscalls, func(r row) bool { return r.wanted(types) && r.keeps() })
}

// needsExit says whether one of the types is made by syscalls.
func needsExit(types event.TypeSet) bool {
	return slices.ContainsFunc(syscalls, func(r row) bool { return r.wanted(types) })
}

// SyscallNames returns the syscalls that make events of a type; none for a type that no syscall makes.
func SyscallNames(t event.Type) (names []string) {
	for _, r := range syscalls {
		if r.typ == t {
			names = append(names, r.name)
		}
	}
	if t == event.TypeRmdir {
		names = append(names, "unlinkat with AT_REMOVEDIR")
	}
	return names
}

// Tracepoints returns the kernel's tracepoints, other than those of syscalls, that make events of a type.
func Tracepoints(t event.Type) (names []string, err error) {
	spec, err := bpf.LoadSyscall()
	if err != nil {
		return nil, fmt.Errorf("read the embedded object: %w", err)
	}
	for i := range hooks {
		at := spec.Programs[hooks[i].program].AttachTo
		if (hooks[i].types == event.Set(t) || at == "sched_process_"+t.String()) && !slices.Contains(names, at) {
			names = append(names, at)
		}
	}
	return names, nil
}
