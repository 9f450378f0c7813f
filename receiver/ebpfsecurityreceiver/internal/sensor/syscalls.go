// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
)

// row is a row of the syscall table with its place in each architecture's numbering; -1: not there.
type row struct {
	name          string
	amd64, arm64  int // native numbers
	i386, arm     int // numbers of 32-bit tasks on amd64 and arm64
	typ           event.Type
	kind          uint8
	dirfd, path   int8
	dirfd2, path2 int8
	flags, mode   int8
	uid, gid      int8
	fd            int8
	fixed         uint32
}

const none = -1

// syscalls is the table of the calls that make events: which argument is what. Sources of the numbers: the kernel's
// syscall_64.tbl, syscall_32.tbl, asm-generic/unistd.h and arm's syscall.tbl.
var syscalls = []row{
	// name, amd64, arm64, i386, arm, type, kind, dirfd, path, dirfd2, path2, flags, mode, uid, gid, fd, fixed flags
	{"open", 2, none, 5, 5, event.TypeOpen, bpf.SysOpen, none, 0, none, none, 1, 2, none, none, none, 0},
	{"creat", 85, none, 8, 8, event.TypeOpen, bpf.SysOpen, none, 0, none, none, none, 1, none, none, none, unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC},
	{"openat", 257, 56, 295, 322, event.TypeOpen, bpf.SysOpen, 0, 1, none, none, 2, 3, none, none, none, 0},
	{"openat2", 437, 437, 437, 437, event.TypeOpen, bpf.SysOpenat2, 0, 1, none, none, 2, none, none, none, none, 0},
	{"truncate", 76, 45, 92, 92, event.TypeOpen, bpf.SysPath, none, 0, none, none, none, none, none, none, none, unix.O_WRONLY | unix.O_TRUNC},
	{"truncate64", none, none, 193, 193, event.TypeOpen, bpf.SysPath, none, 0, none, none, none, none, none, none, none, unix.O_WRONLY | unix.O_TRUNC},
	{"unlink", 87, none, 10, 10, event.TypeUnlink, bpf.SysPath, none, 0, none, none, none, none, none, none, none, 0},
	{"unlinkat", 263, 35, 301, 328, event.TypeUnlink, bpf.SysPath, 0, 1, none, none, 2, none, none, none, none, 0},
	{"rmdir", 84, none, 40, 40, event.TypeRmdir, bpf.SysPath, none, 0, none, none, none, none, none, none, none, unix.AT_REMOVEDIR},
	{"rename", 82, none, 38, 38, event.TypeRename, bpf.SysPath, none, 0, none, 1, none, none, none, none, none, 0},
	{"renameat", 264, 38, 302, 329, event.TypeRename, bpf.SysPath, 0, 1, 2, 3, none, none, none, none, none, 0},
	{"renameat2", 316, 276, 353, 382, event.TypeRename, bpf.SysPath, 0, 1, 2, 3, 4, none, none, none, none, 0},
	{"mkdir", 83, none, 39, 39, event.TypeMkdir, bpf.SysPath, none, 0, none, none, none, 1, none, none, none, 0},
	{"mkdirat", 258, 34, 296, 323, event.TypeMkdir, bpf.SysPath, 0, 1, none, none, none, 2, none, none, none, 0},
	{"chmod", 90, none, 15, 15, event.TypeChmod, bpf.SysPath, none, 0, none, none, none, 1, none, none, none, 0},
	{"fchmod", 91, 52, 94, 94, event.TypeChmod, bpf.SysFD, none, none, none, none, none, 1, none, none, 0, 0},
	{"fchmodat", 268, 53, 306, 333, event.TypeChmod, bpf.SysPath, 0, 1, none, none, none, 2, none, none, none, 0},
	{"fchmodat2", 452, 452, 452, 452, event.TypeChmod, bpf.SysPath, 0, 1, none, none, 3, 2, none, none, none, 0},
	{"chown", 92, none, 182, 182, event.TypeChown, bpf.SysPath, none, 0, none, none, none, none, 1, 2, none, 0},
	{"lchown", 94, none, 16, 16, event.TypeChown, bpf.SysPath, none, 0, none, none, none, none, 1, 2, none, unix.AT_SYMLINK_NOFOLLOW},
	{"fchown", 93, 55, 95, 95, event.TypeChown, bpf.SysFD, none, none, none, none, none, none, 1, 2, 0, 0},
	{"fchownat", 260, 54, 298, 325, event.TypeChown, bpf.SysPath, 0, 1, none, none, 4, none, 2, 3, none, 0},
	{"chown32", none, none, 212, 212, event.TypeChown, bpf.SysPath, none, 0, none, none, none, none, 1, 2, none, 0},
	{"lchown32", none, none, 198, 198, event.TypeChown, bpf.SysPath, none, 0, none, none, none, none, 1, 2, none, unix.AT_SYMLINK_NOFOLLOW},
	{"fchown32", none, none, 207, 207, event.TypeChown, bpf.SysFD, none, none, none, none, none, none, 1, 2, 0, 0},
	{"link", 86, none, 9, 9, event.TypeLink, bpf.SysPath, none, 0, none, 1, none, none, none, none, none, 0},
	{"linkat", 265, 37, 303, 330, event.TypeLink, bpf.SysPath, 0, 1, 2, 3, 4, none, none, none, none, 0},
	// sockets: the address is argument path, its length argument mode
	{"connect", 42, 203, 362, 283, event.TypeConnect, bpf.SysSock, none, 1, none, none, none, 2, none, none, 0, 0},
	{"bind", 49, 200, 361, 282, event.TypeBind, bpf.SysSock, none, 1, none, none, none, 2, none, none, 0, 0},
}

// table returns the table of the kernel side for an architecture (a GOARCH): the numbers of its own tasks, then those of
// 32-bit ones. Only the rows of wanted types are filled in.
func table(goarch string, types uint32) (t [2 * bpf.MaxSyscalls]bpf.Syscall) {
	for _, r := range syscalls {
		if types&(1<<r.typ) == 0 && (r.typ != event.TypeUnlink || types&(1<<event.TypeRmdir) == 0) {
			continue
		}
		n, c := r.amd64, r.i386
		if goarch == "arm64" {
			n, c = r.arm64, r.arm
		}
		d := bpf.Syscall{
			Type: uint8(r.typ), Kind: r.kind, Dirfd: r.dirfd, Path: r.path, Dirfd2: r.dirfd2, Path2: r.path2,
			Flags: r.flags, Mode: r.mode, Uid: r.uid, Gid: r.gid, Fd: r.fd, FixedFlags: r.fixed,
		}
		if n >= 0 {
			t[n] = d
		}
		if c >= 0 {
			t[bpf.MaxSyscalls+c] = d
		}
	}
	return t
}

// needsEntry says whether one of the types keeps state from the entry of a syscall to its exit.
func needsEntry(types uint32) bool {
	for _, r := range syscalls {
		if r.kind == bpf.SysPath && types&(1<<r.typ) != 0 {
			return true
		}
	}
	return false
}

// SyscallTypes are the types that need the syscall tracepoints, as a bit set.
func syscallTypes() (types uint32) {
	for _, r := range syscalls {
		types |= 1 << r.typ
	}
	return types
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
