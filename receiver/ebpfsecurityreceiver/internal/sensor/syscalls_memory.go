// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
)

// memorySyscalls have their arguments in the order of the kernel's own. mmap2, which 32-bit tasks have, has fixed 1: its
// offset counts pages; mmap of i386 has its arguments in memory.
var memorySyscalls = []row{
	{name: "mmap", typ: event.TypeMMap, kind: bpf.SysMMap},
	{name: "mmap2", typ: event.TypeMMap, kind: bpf.SysMMap, fixed: 1},
	{name: "mprotect", typ: event.TypeMProtect, kind: bpf.SysMProtect, entry: true},
	{name: "pkey_mprotect", typ: event.TypeMProtect, kind: bpf.SysMProtect, entry: true},
	{name: "bpf", typ: event.TypeBPF, kind: bpf.SysBPF},
}

// spliceSyscalls read from argument fd and write to argument dirfd2.
var spliceSyscalls = []row{
	{name: "splice", typ: event.TypeSplice, kind: bpf.SysSplice, entry: true, fd: a0, dirfd2: a2, flags: a5},
	{name: "tee", typ: event.TypeSplice, kind: bpf.SysSplice, entry: true, fd: a0, dirfd2: a1, flags: a3},
	{name: "vmsplice", typ: event.TypeSplice, kind: bpf.SysSplice, entry: true, dirfd2: a0, flags: a3},
}
