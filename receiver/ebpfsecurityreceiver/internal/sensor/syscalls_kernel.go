// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package sensor

import (
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
)

// mountSyscalls have where something is mounted as the first path, and what is mounted as the second one.
var mountSyscalls = []row{
	{name: "mount", typ: event.TypeMount, kind: bpf.SysMount, entry: true, path: a1, path2: a0, text: a2, flags: a3},
	{name: "fsmount", typ: event.TypeMount, kind: bpf.SysMount},
	{name: "open_tree", typ: event.TypeMount, kind: bpf.SysMount, entry: true, dirfd2: a0, path2: a1, flags: a2},
	{name: "open_tree_attr", typ: event.TypeMount, kind: bpf.SysMount, entry: true, dirfd2: a0, path2: a1, flags: a2},
	{name: "move_mount", typ: event.TypeMount, kind: bpf.SysMount, entry: true, dirfd2: a0, path2: a1, dirfd: a2, path: a3, flags: a4},
	{name: "mount_setattr", typ: event.TypeMount, kind: bpf.SysMount, entry: true, dirfd: a0, path: a1, flags: a2},
	{name: "umount", typ: event.TypeUmount, kind: bpf.SysPath, path: a0},
	{name: "umount2", typ: event.TypeUmount, kind: bpf.SysPath, path: a0, flags: a1},
	{name: "pivot_root", typ: event.TypeChroot, kind: bpf.SysCwd, entry: true, path: a0, path2: a1},
}

// kernelSyscalls change what the kernel does. Of a write, mode is the number of bytes; the data of writev are in a struct
// iovec.
var kernelSyscalls = []row{
	{name: "init_module", typ: event.TypeLoadModule, kind: bpf.SysModule, entry: true, text: a2},
	{name: "finit_module", typ: event.TypeLoadModule, kind: bpf.SysModule, entry: true, fd: a0, text: a1, flags: a2},
	{name: "delete_module", typ: event.TypeUnloadModule, kind: bpf.SysModule, entry: true, text: a0, flags: a1},
	{name: "write", typ: event.TypeSELinux, kind: bpf.SysWrite, fd: a0, data: a1, mode: a2},
	{name: "pwrite64", typ: event.TypeSELinux, kind: bpf.SysWrite, fd: a0, data: a1, mode: a2},
	{name: "writev", typ: event.TypeSELinux, kind: bpf.SysWrite, fd: a0, data: a1, dataSize: iovec, dataSize32: iovec / 2},
	{name: "pwritev", typ: event.TypeSELinux, kind: bpf.SysWrite, fd: a0, data: a1, dataSize: iovec, dataSize32: iovec / 2},
	{name: "pwritev2", typ: event.TypeSELinux, kind: bpf.SysWrite, fd: a0, data: a1, dataSize: iovec, dataSize32: iovec / 2},
}

// iovec is the size of a struct iovec.
const iovec = uint8(unix.SizeofPtr * 2)
