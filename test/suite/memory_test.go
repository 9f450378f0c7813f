// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package suite

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver"
)

// mapFile maps a file of the actor's directory.
func mapFile(path string, flags, prot, how int) error {
	fd, err := unix.Open(path, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	page, err := unix.Mmap(fd, int64(os.Getpagesize()), 2*os.Getpagesize(), prot, how)
	if err != nil {
		return err
	}
	return unix.Munmap(page)
}

// noexec mounts a tmpfs on which nothing may be executed, in a mount namespace of the actor's own.
func noexec(dir string) error {
	return errors.Join(
		unix.Unshare(unix.CLONE_NEWNS), unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mkdir(dir+"/noexec", 0o755), unix.Mount("picket", dir+"/noexec", "tmpfs", unix.MS_NOEXEC, ""),
	)
}

var anonymous = map[string]any{
	"evt.outcome": "Success", "evt.category": "Kernel Activity", "file": absent, "mmap.address": matches("0x[0-9a-f]+"), "mmap.offset": 0,
	"mmap.length": 2 * os.Getpagesize(), "mmap.flags": "MAP_ANONYMOUS | MAP_PRIVATE",
}

var memoryCases = cases("memory", []testcase{
	{
		name: "anonymous, writable and executable",
		do: func(string) error {
			_, err := unix.Mmap(-1, 0, 2*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
			return err
		},
		want: []want{{typ: "mmap", members: with(anonymous, map[string]any{"mmap.protection": "PROT_EXEC | PROT_READ | PROT_WRITE"})}},
	},
	{
		name: "not executable",
		do: func(string) error {
			_, err := unix.Mmap(-1, 0, 2*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
			return err
		},
		not: []want{{typ: "mmap", members: map[string]any{"mmap.protection": "PROT_READ | PROT_WRITE"}}},
	},
	{
		name: "a file",
		do: func(string) error {
			return errors.Join(os.WriteFile("lib.so", make([]byte, 4*os.Getpagesize()), 0o755), mapFile("lib.so", unix.O_RDONLY, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_SHARED))
		},
		want: []want{{typ: "mmap", members: map[string]any{
			"evt.outcome": "Success", "file.path": "$DIR/lib.so", "file.name": "lib.so", "file.mode": unix.S_IFREG | 0o755, "file.uid": 0, "file.inode": present,
			"file.filesystem": present, "mmap.offset": os.Getpagesize(), "mmap.length": 2 * os.Getpagesize(), "mmap.protection": "PROT_EXEC | PROT_READ", "mmap.flags": "MAP_SHARED",
		}, attrs: map[string]any{"picket.file.source": "fd"}}},
	},
	{
		name: "refused",
		do: func(dir string) error {
			return errors.Join(noexec(dir), os.WriteFile("noexec/lib.so", make([]byte, 4*os.Getpagesize()), 0o755),
				fails(mapFile("noexec/lib.so", unix.O_RDONLY, unix.PROT_EXEC, unix.MAP_PRIVATE), unix.EPERM))
		},
		want: []want{{typ: "mmap", members: map[string]any{
			"evt.outcome": "Refused", "file.path": "$DIR/noexec/lib.so", "file.filesystem": "tmpfs", "mmap.address": "0x0", "mmap.protection": "PROT_EXEC",
		}, attrs: map[string]any{"picket.event.retval": -1}}},
	},
	{
		name: "mprotect",
		do: func(string) error {
			page, err := unix.Mmap(-1, 0, 2*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
			return errors.Join(err, unix.Mprotect(page[:os.Getpagesize()], unix.PROT_READ|unix.PROT_EXEC),
				unix.Mprotect(page[:os.Getpagesize()], unix.PROT_READ), unix.Mprotect(page, unix.PROT_NONE))
		},
		want: []want{
			{typ: "mprotect", members: map[string]any{
				"evt.outcome": "Success", "mprotect.vm_start": matches("0x[0-9a-f]+"), "mprotect.vm_end": matches("0x[0-9a-f]+"),
				"mprotect.vm_protection": matches(`.*VM_READ.* \| VM_WRITE.*`), "mprotect.req_protection": "VM_EXEC | VM_READ",
			}},
			{typ: "mprotect", members: map[string]any{"mprotect.vm_protection": matches(`.*VM_EXEC \|.*`), "mprotect.req_protection": "VM_READ"}},
		},
		not: []want{{typ: "mprotect", members: map[string]any{"mprotect.req_protection": ""}}},
	},
	{
		name: "mprotect refused",
		do: func(string) error {
			if err := os.WriteFile("f", make([]byte, os.Getpagesize()), 0o600); err != nil {
				return err
			}
			fd, err := unix.Open("f", unix.O_RDONLY, 0)
			if err != nil {
				return err
			}
			page, err := unix.Mmap(fd, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_EXEC, unix.MAP_SHARED)
			return errors.Join(err, fails(unix.Mprotect(page, unix.PROT_WRITE), unix.EACCES))
		},
		want: []want{{typ: "mprotect", members: map[string]any{
			"evt.outcome": "Refused", "mprotect.vm_protection": matches(`.*VM_EXEC \| .*VM_READ.*`), "mprotect.req_protection": "VM_WRITE",
		}, attrs: map[string]any{"picket.event.retval": -int(unix.EACCES)}}},
	},
})

func TestMemory(t *testing.T) { run(t, memoryCases, nil) }

var allMemoryCases = cases("all memory", []testcase{{
	name: "not executable",
	do: func(string) error {
		page, err := unix.Mmap(-1, 0, 2*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		return errors.Join(err, unix.Mprotect(page, unix.PROT_READ))
	},
	want: []want{
		{typ: "mmap", members: with(anonymous, map[string]any{"mmap.protection": "PROT_READ | PROT_WRITE"})},
		{typ: "mprotect", members: map[string]any{"mprotect.req_protection": "VM_READ"}},
	},
}})

func TestAllMemory(t *testing.T) {
	run(t, allMemoryCases, func(cfg *ebpfsecurityreceiver.Config) {
		cfg.Events = map[string]ebpfsecurityreceiver.EventConfig{"mmap": {All: true}, "mprotect": {All: true}}
	})
}

func pipe() (r, w int, err error) {
	var p [2]int
	err = unix.Pipe(p[:])
	return p[0], p[1], err
}

// fileWith makes a file and opens it.
func fileWith(name, content string) (int, error) {
	if err := os.WriteFile(name, []byte(content), 0o640); err != nil {
		return -1, err
	}
	return unix.Open(name, unix.O_RDWR, 0)
}

var spliceCases = cases("splice", []testcase{
	{
		name: "file to pipe to file",
		do: func(string) error {
			from, err1 := fileWith("from", "some bytes")
			to, err2 := fileWith("to", "")
			r, w, err3 := pipe()
			_, err4 := unix.Splice(from, nil, w, nil, 5, 0)
			_, err5 := unix.Splice(r, nil, to, nil, 5, unix.SPLICE_F_MOVE)
			return errors.Join(err1, err2, err3, err4, err5)
		},
		want: []want{
			{typ: "splice", members: map[string]any{
				"evt.outcome": "Success", "evt.category": "File Activity", "file.path": "$DIR/from", "file.mode": unix.S_IFREG | 0o640, "file.inode": present,
				"splice.pipe_entry_flag": "", "splice.pipe_exit_flag": "",
			}, attrs: map[string]any{"picket.event.retval": 5}},
			{typ: "splice", members: map[string]any{"file.path": absent, "file.name": absent, "file.filesystem": "pipefs", "file.mode": present, "splice.pipe_exit_flag": ""}},
		},
	},
	{
		name: "tee and vmsplice", // a pipe that was written to may be written to again
		do: func(string) error {
			r, w, err1 := pipe()
			_, w2, err2 := pipe()
			_, err3 := unix.Write(w, []byte("x"))
			_, err4 := unix.Tee(r, w2, 1, 0)
			page := make([]byte, 8)
			iov := unix.Iovec{Base: &page[0]}
			iov.SetLen(len(page))
			_, err5 := unix.Vmsplice(w, []unix.Iovec{iov}, unix.SPLICE_F_GIFT)
			return errors.Join(err1, err2, err3, err4, err5)
		},
		want: []want{
			{typ: "splice", members: map[string]any{"splice.pipe_entry_flag": "", "splice.pipe_exit_flag": ""}},
			{typ: "splice", members: map[string]any{"file": absent, "splice.pipe_entry_flag": "PIPE_BUF_FLAG_CAN_MERGE"}},
		},
	},
})

func TestSplice(t *testing.T) { run(t, spliceCases, nil) }

// filter is a socket filter that calls two helpers, one of them twice.
func filter() (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "picket_filter", Type: ebpf.SocketFilter, License: "GPL",
		Instructions: asm.Instructions{
			asm.FnKtimeGetNs.Call(), asm.FnGetSmpProcessorId.Call(), asm.FnKtimeGetNs.Call(),
			asm.LoadImm(asm.R1, int64(insnCallLike), asm.DWord), asm.Mov.Imm(asm.R0, 0), asm.Return(),
		},
	})
}

// insnCallLike is a number whose second half looks like a call of a helper.
const insnCallLike = 7<<32 | 0x85

func newMap() (*ebpf.Map, error) {
	return ebpf.NewMap(&ebpf.MapSpec{Name: "picket_map", Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 3})
}

var bpfCases = cases("bpf", []testcase{
	{
		name: "map",
		do: func(string) error {
			m, err := newMap()
			return errors.Join(err, m.Put(uint32(1), uint64(2)))
		},
		want: []want{
			{typ: "bpf", members: map[string]any{
				"evt.category": "Kernel Activity", "evt.outcome": "Success", "bpf.cmd": "BPF_MAP_CREATE", "bpf.map.name": "picket_map",
				"bpf.map.map_type": "BPF_MAP_TYPE_HASH", "bpf.program": absent,
			}},
			{typ: "bpf", members: map[string]any{"bpf.cmd": "BPF_MAP_UPDATE_ELEM", "bpf.map.name": "picket_map", "bpf.map.map_type": "BPF_MAP_TYPE_HASH"}},
		},
	},
	{
		name: "program",
		do: func(string) error {
			p, err := filter()
			if err != nil {
				return err
			}
			info, err := p.Info()
			if err != nil {
				return err
			}
			return os.WriteFile("tag", []byte(info.Tag), 0o600)
		},
		want: []want{
			{typ: "bpf", members: map[string]any{
				"bpf.cmd": "BPF_PROG_LOAD", "bpf.program.name": "picket_filter", "bpf.program.program_type": "BPF_PROG_TYPE_SOCKET_FILTER", "bpf.program.attach_type": absent,
				"bpf.program.tag": tagOf16, "bpf.program.helpers": "[BPF_KTIME_GET_NS BPF_GET_SMP_PROCESSOR_ID]", "bpf.map": absent,
			}},
			{typ: "bpf", members: map[string]any{"bpf.cmd": "BPF_OBJ_GET_INFO_BY_FD", "bpf.program.name": "picket_filter", "bpf.program.tag": tagOf16}},
		},
	},
	{
		name: "refused",
		do: func(string) error {
			if err := nobody(); err != nil {
				return err
			}
			attr := struct {
				typ, key, value, max, flags, inner, node uint32
				name                                     [16]byte
			}{typ: unix.BPF_MAP_TYPE_RINGBUF, max: 4096}
			copy(attr.name[:], "picket_ring")
			return fails(sys(unix.SYS_BPF, unix.BPF_MAP_CREATE, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr)), unix.EPERM)
		},
		want: []want{{typ: "bpf", members: map[string]any{
			"bpf.cmd": "BPF_MAP_CREATE", "bpf.map.name": "picket_ring", "bpf.map.map_type": "BPF_MAP_TYPE_RINGBUF", "process.uid": 65534,
		}, attrs: map[string]any{"picket.event.retval": -1}}},
	},
	{
		name: "no such command and no attributes",
		do: func(string) error {
			return errors.Join(fails(sys(unix.SYS_BPF, 9999, 0, 0), unix.EINVAL), fails(sys(unix.SYS_BPF, 9999, 1, keep), unix.E2BIG))
		},
		not: []want{{typ: "bpf", members: map[string]any{"bpf.cmd": "9999"}}}, // neither success nor refused
	},
})

// tagOf16 says that it is a tag: eight bytes in hex.
func tagOf16(v any) error {
	b, err := hex.DecodeString(fmt.Sprint(v))
	if err == nil && len(b) != 8 {
		err = errors.New("not eight bytes")
	}
	return err
}

func TestBPF(t *testing.T) { run(t, bpfCases, nil) }
