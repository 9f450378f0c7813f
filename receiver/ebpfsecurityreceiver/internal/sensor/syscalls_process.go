// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
)

// credSyscalls change credentials. The calls of 32-bit tasks whose names end in 32 take ids of 32 bits.
var credSyscalls = func() (rows []row) {
	for typ, names := range map[event.Type][]string{
		event.TypeSetUID: {"setuid", "setreuid", "setresuid", "setfsuid", "setuid32", "setreuid32", "setresuid32", "setfsuid32"},
		event.TypeSetGID: {"setgid", "setregid", "setresgid", "setfsgid", "setgid32", "setregid32", "setresgid32", "setfsgid32"},
		event.TypeCapset: {"capset"},
	} {
		for _, name := range names {
			rows = append(rows, row{name: name, typ: typ, kind: bpf.SysCred, entry: true})
		}
	}
	return rows
}()

// targetSyscalls are about another process: argument fd is its pid, uid its thread, mode the signal. A pidfd has fixed 1.
// Where a process gives the siginfo itself, reading it at entry marks the thread as a sender.
var targetSyscalls = []row{
	{name: "kill", typ: event.TypeSignal, kind: bpf.SysSignal, fd: a0, mode: a1},
	{name: "tkill", typ: event.TypeSignal, kind: bpf.SysSignal, fd: a0, mode: a1},
	{name: "tgkill", typ: event.TypeSignal, kind: bpf.SysSignal, fd: a0, uid: a1, mode: a2},
	{name: "rt_sigqueueinfo", typ: event.TypeSignal, kind: bpf.SysSignal, entry: true, fd: a0, mode: a1, data: a2, dataSize: 16},
	{name: "rt_tgsigqueueinfo", typ: event.TypeSignal, kind: bpf.SysSignal, entry: true, fd: a0, uid: a1, mode: a2, data: a3, dataSize: 16},
	{name: "pidfd_send_signal", typ: event.TypeSignal, kind: bpf.SysSignal, entry: true, fd: a0, mode: a1, data: a2, dataSize: 16, fixed: 1},
	{name: "ptrace", typ: event.TypePTrace, kind: bpf.SysPTrace},
}
