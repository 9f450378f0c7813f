// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
)

// fileless makes sure that an event has no file, as the one after one that has.
func fileless(t *testing.T, ev *event.Event) {
	t.Helper()
	assert.Nil(t, ev.File)
	assert.Empty(t, ev.Facts.FileSource)
	assert.True(t, json.Valid(ev.AppendJSON(nil)))
}

func TestConvertMMap(t *testing.T) {
	path := seg{bpf.SegPath, 0, walk("/usr/bin/sh")}
	for name, tt := range map[string]struct {
		mem  bpf.Mem
		segs []seg
		want event.MMapEvent
		file string // name; empty: none
	}{
		"a file": {
			bpf.Mem{File: shFile, Address: 0x7f0000000000, Offset: 0x2000, Length: 0x1000, Prot: unix.PROT_READ | unix.PROT_EXEC, Flags: unix.MAP_PRIVATE},
			[]seg{path},
			event.MMapEvent{Address: "0x7f0000000000", Offset: 0x2000, Length: 0x1000, Protection: "PROT_EXEC | PROT_READ", Flags: "MAP_PRIVATE"},
			"sh",
		},
		"anonymous": {
			bpf.Mem{Address: 0x1000, Length: 1, Prot: unix.PROT_EXEC | unix.PROT_WRITE, Flags: unix.MAP_ANONYMOUS | unix.MAP_SHARED},
			nil,
			event.MMapEvent{Address: "0x1000", Length: 1, Protection: "PROT_EXEC | PROT_WRITE", Flags: "MAP_ANONYMOUS | MAP_SHARED"},
			"",
		},
		"nothing": {bpf.Mem{}, nil, event.MMapEvent{Address: "0x0"}, ""},
		"absurd numbers": {
			bpf.Mem{Address: ^uint64(0), Length: ^uint64(0), Offset: ^uint64(0), Prot: 0x40, Flags: 0},
			nil,
			event.MMapEvent{Address: "0xffffffffffffffff", Offset: ^uint64(0), Length: ^uint64(0), Protection: "64"},
			"",
		},
		"a memfd": {
			bpf.Mem{File: shFile, Prot: unix.PROT_EXEC, Flags: unix.MAP_PRIVATE},
			[]seg{{bpf.SegPath, bpf.WalkDetached, "memfd:a/b\x00"}},
			event.MMapEvent{Address: "0x0", Protection: "PROT_EXEC", Flags: "MAP_PRIVATE"},
			"memfd:a/b",
		},
		"a file of which nothing is known": {bpf.Mem{Prot: unix.PROT_EXEC}, []seg{path}, event.MMapEvent{Address: "0x0", Protection: "PROT_EXEC"}, "sh"},
		"a walk that failed":               {bpf.Mem{}, []seg{{bpf.SegPath, bpf.WalkFault, "x\x00"}}, event.MMapEvent{Address: "0x0"}, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestConverter(t)
			ev := c.mustConvert(t, wire(event.TypeMMap, selfHeader(t), tt.mem, tt.segs...))
			require.NotNil(t, ev.MMap)
			assert.Equal(t, tt.want, *ev.MMap)
			if tt.file == "" {
				fileless(t, ev)
			} else {
				require.NotNil(t, ev.File)
				assert.Equal(t, tt.file, ev.File.Name)
				assert.Equal(t, event.FileSourceFD, ev.Facts.FileSource)
				assert.Equal(t, tt.mem.File.Flags&bpf.FileValid != 0, ev.File.Has&event.HasInode != 0)
				assert.Equal(t, tt.mem.File.Inode, ev.File.Inode)
				assert.Equal(t, name == "a walk that failed", ev.File.PathResolutionError != "")
			}
			next := c.mustConvert(t, wire(event.TypeMMap, selfHeader(t), bpf.Mem{}))
			assert.Equal(t, event.MMapEvent{Address: "0x0"}, *next.MMap)
			fileless(t, next)
		})
	}
}

func TestConvertMProtect(t *testing.T) {
	for name, tt := range map[string]struct {
		mem  bpf.Mem
		want event.MProtectEvent
	}{
		"an area": {
			bpf.Mem{Address: 0x5000, Length: 0x1000, VmStart: 0x4000, VmEnd: 0x8000, VmFlags: 0x73, Prot: unix.PROT_READ | unix.PROT_EXEC},
			event.MProtectEvent{VMStart: "0x4000", VMEnd: "0x8000", VMProtection: "VM_MAYEXEC | VM_MAYREAD | VM_MAYWRITE | VM_READ | VM_WRITE", ReqProtection: "VM_EXEC | VM_READ"},
		},
		"an area that is not known": {
			bpf.Mem{Address: 0x5000, Length: 0x1000, VmStart: 0x4000, Prot: unix.PROT_EXEC}, event.MProtectEvent{VMStart: "0x5000", VMEnd: "0x6000", ReqProtection: "VM_EXEC"},
		},
		"nothing allowed": {bpf.Mem{VmEnd: 1}, event.MProtectEvent{VMStart: "0x0", VMEnd: "0x1"}},
		"absurd numbers": {
			bpf.Mem{Address: ^uint64(0), Length: 2, VmFlags: 1 << 63, Prot: 1 << 11}, event.MProtectEvent{VMStart: "0xffffffffffffffff", VMEnd: "0x1", VMProtection: "9223372036854775808", ReqProtection: "2048"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestConverter(t)
			ev := c.mustConvert(t, wire(event.TypeMProtect, selfHeader(t), tt.mem, seg{bpf.SegPath, 0, walk("/usr/bin/sh")}))
			require.NotNil(t, ev.MProtect)
			assert.Equal(t, tt.want, *ev.MProtect)
			assert.Nil(t, ev.MMap)
			fileless(t, ev)
		})
	}
}

func TestConvertSplice(t *testing.T) {
	c := newTestConverter(t)
	h := selfHeader(t)
	h.Retval = 10
	k := bpf.Splice{File: shFile, EntryFlags: 0x11, ExitFlags: 1 << 31, Flags: 3}
	ev := c.mustConvert(t, wire(event.TypeSplice, h, k, seg{bpf.SegPath, 0, walk("/usr/bin/sh")}))
	assert.Equal(t, event.SpliceEvent{PipeEntryFlag: "PIPE_BUF_FLAG_CAN_MERGE | PIPE_BUF_FLAG_LRU", PipeExitFlag: "2147483648"}, *ev.Splice)
	assert.Equal(t, []any{"/usr/bin/sh", uint64(11), event.FileSourceFD, uint32(3), int64(10)}, []any{ev.File.Path, ev.File.Inode, ev.Facts.FileSource, ev.Facts.Flags, ev.Facts.Retval})

	h.Retval = -int64(unix.EACCES)
	ev = c.mustConvert(t, wire(event.TypeSplice, h, bpf.Splice{File: shFile}))
	assert.Equal(t, event.SpliceEvent{}, *ev.Splice)
	assert.Equal(t, event.OutcomeRefused, ev.Evt.Outcome)
	assert.Zero(t, ev.Facts.Flags)
	fileless(t, ev)
}

// insn is an instruction of a BPF program.
func insn(code, regs byte, imm uint32) string {
	return string([]byte{code, regs, 0, 0}) + string(binary.NativeEndian.AppendUint32(nil, imm))
}

func TestConvertBPF(t *testing.T) {
	call := func(n uint32) string { return insn(0x85, 0, n) }
	load := bpf.BPF{Cmd: unix.BPF_PROG_LOAD, ProgId: 7, ProgType: unix.BPF_PROG_TYPE_KPROBE, AttachType: unix.BPF_CGROUP_INET_EGRESS, ProgName: chars("prog"), Tag: [8]uint8{0, 1, 0xfe}}
	program := func(helpers ...string) *event.BPFProgram {
		return &event.BPFProgram{Name: "prog", Tag: "0001fe0000000000", ProgramType: "BPF_PROG_TYPE_KPROBE", AttachType: "BPF_CGROUP_INET_EGRESS", Helpers: helpers}
	}
	long := strings.Repeat(call(1), 4096)
	full := [16]int8{}
	for i := range full {
		full[i] = 'x'
	}
	for name, tt := range map[string]struct {
		k    bpf.BPF
		data string
		cmd  string
		m    *event.BPFMap
		prog *event.BPFProgram
	}{
		"map created": {
			k: bpf.BPF{Cmd: unix.BPF_MAP_CREATE, MapId: 5, MapType: unix.BPF_MAP_TYPE_HASH, MapName: chars("seen")}, cmd: "BPF_MAP_CREATE", m: &event.BPFMap{Name: "seen", MapType: "BPF_MAP_TYPE_HASH"},
		},
		"map refused": {k: bpf.BPF{Cmd: unix.BPF_MAP_CREATE, MapType: 9999}, cmd: "BPF_MAP_CREATE", m: &event.BPFMap{MapType: "9999"}},
		"map used": {
			k: bpf.BPF{Cmd: unix.BPF_MAP_LOOKUP_ELEM, MapId: 5, MapName: full}, cmd: "BPF_MAP_LOOKUP_ELEM", m: &event.BPFMap{Name: strings.Repeat("x", 16), MapType: "BPF_MAP_TYPE_UNSPEC"},
		},
		"neither":      {k: bpf.BPF{Cmd: unix.BPF_MAP_LOOKUP_ELEM}, cmd: "BPF_MAP_LOOKUP_ELEM"},
		"no such call": {k: bpf.BPF{Cmd: 4711}, cmd: "4711"},
		"loaded":       {k: load, data: call(2) + insn(0xb7, 0, 0) + call(1) + call(2), cmd: "BPF_PROG_LOAD", prog: program("BPF_MAP_LOOKUP_ELEM", "BPF_MAP_UPDATE_ELEM")},
		"load refused": {
			k: bpf.BPF{Cmd: unix.BPF_PROG_LOAD, Tag: [8]uint8{1}}, data: call(5), cmd: "BPF_PROG_LOAD",
			prog: &event.BPFProgram{ProgramType: "BPF_PROG_TYPE_UNSPEC", Helpers: []string{"BPF_KTIME_GET_NS"}},
		},
		"attached, with a map": {
			k: bpf.BPF{Cmd: unix.BPF_LINK_CREATE, ProgId: 7, MapId: 5, ProgType: 1, ProgName: chars("p")}, cmd: "BPF_LINK_CREATE",
			m: &event.BPFMap{MapType: "BPF_MAP_TYPE_UNSPEC"}, prog: &event.BPFProgram{Name: "p", Tag: "0000000000000000", ProgramType: "BPF_PROG_TYPE_SOCKET_FILTER"},
		},
		"calls of other kinds":            {k: load, data: insn(0x85, 0x10, 1) + insn(0x85, 0x20, 2) + insn(0x8d, 0, 3), cmd: "BPF_PROG_LOAD", prog: program()},
		"the second half of a number":     {k: load, data: insn(0x18, 0, 0) + call(1) + call(3), cmd: "BPF_PROG_LOAD", prog: program("BPF_MAP_DELETE_ELEM")},
		"a number without a second half":  {k: load, data: call(1) + insn(0x18, 0, 0), cmd: "BPF_PROG_LOAD", prog: program("BPF_MAP_LOOKUP_ELEM")},
		"instructions cut":                {k: load, data: (call(1) + call(2))[:15], cmd: "BPF_PROG_LOAD", prog: program("BPF_MAP_LOOKUP_ELEM")},
		"half a number at the end":        {k: load, data: insn(0x18, 0, 0) + "\x85\x00\x00", cmd: "BPF_PROG_LOAD", prog: program()},
		"numbers of no helper":            {k: load, data: call(1<<31) + call(^uint32(0)) + call(4), cmd: "BPF_PROG_LOAD", prog: program("BPF_PROBE_READ")},
		"many":                            {k: load, data: long, cmd: "BPF_PROG_LOAD", prog: program("BPF_MAP_LOOKUP_ELEM")},
		"no instructions, though counted": {k: func() bpf.BPF { k := load; k.Insns = ^uint32(0); return k }(), cmd: "BPF_PROG_LOAD", prog: program()},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestConverter(t)
			var segs []seg
			if tt.data != "" {
				segs = append(segs, seg{bpf.SegData, 0, tt.data})
			}
			ev := c.mustConvert(t, wire(event.TypeBPF, selfHeader(t), tt.k, segs...))
			assert.Equal(t, event.BPFEvent{Cmd: tt.cmd, Map: tt.m, Program: tt.prog}, *ev.BPF)
			assert.Equal(t, event.OutcomeSuccess, ev.Evt.Outcome)
			fileless(t, ev)
			next := c.mustConvert(t, wire(event.TypeBPF, selfHeader(t), bpf.BPF{Cmd: 1}))
			assert.Equal(t, event.BPFEvent{Cmd: "BPF_MAP_LOOKUP_ELEM"}, *next.BPF)
		})
	}
}

// FuzzHelperCalls reads what a process gives to the kernel as instructions.
func FuzzHelperCalls(f *testing.F) {
	f.Add([]byte(insn(0x18, 0, 0) + insn(0x85, 0, 1) + insn(0x85, 0, 2)))
	f.Add([]byte(insn(0x85, 0x10, 1) + "\x85"))
	f.Add([]byte(insn(0x85, 0, 1) + insn(0x18, 0, 0)))
	f.Fuzz(func(t *testing.T, insns []byte) {
		calls := helperCalls(nil, insns)
		require.LessOrEqual(t, len(calls), len(insns)/insnSize)
		require.LessOrEqual(t, len(event.BPFHelperNames(calls)), len(calls))
	})
}
