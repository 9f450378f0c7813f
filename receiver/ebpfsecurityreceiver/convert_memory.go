// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// memoryScratch is what events about memory, bpf and splice point to, reused from one event to the next.
type memoryScratch struct {
	mmap     event.MMapEvent
	mprotect event.MProtectEvent
	splice   event.SpliceEvent
	bpf      event.BPFEvent
	bpfMap   event.BPFMap
	bpfProg  event.BPFProgram
	calls    []uint32
}

func address(v uint64) string { return "0x" + strconv.FormatUint(v, 16) }

// openFile puts an open file that the kernel side told of into the event, if it told of one.
func (c *converter) openFile(ev *event.Event, k *bpf.File, r *sensor.Record) {
	s := r.Segments[bpf.SegPath]
	if !s.Present {
		return
	}
	c.file = event.FileEvent{File: *c.walked(s, k, r)}
	ev.File = &c.file
	ev.Facts.FileSource = event.FileSourceFD
}

func (c *converter) mapped(ev *event.Event, r *sensor.Record) bool {
	k := r.Mem()
	c.openFile(ev, &k.File, r)
	c.mmap = event.MMapEvent{
		Address: address(k.Address), Offset: k.Offset, Length: k.Length,
		Protection: event.ProtectionNames(k.Prot), Flags: event.MapFlagNames(k.Flags),
	}
	ev.MMap = &c.mmap
	return true
}

// protected makes an mprotect event. Where the kernel side does not know the area, its bounds are those of the call.
func (c *converter) protected(ev *event.Event, r *sensor.Record) bool {
	k := r.Mem()
	start, end := k.VmStart, k.VmEnd
	if end == 0 {
		start, end = k.Address, k.Address+k.Length
	}
	c.mprotect = event.MProtectEvent{
		VMStart: address(start), VMEnd: address(end), VMProtection: event.VMFlagNames(k.VmFlags), ReqProtection: event.VMFlagNames(uint64(k.Prot)),
	}
	ev.MProtect = &c.mprotect
	return true
}

func (c *converter) spliced(ev *event.Event, r *sensor.Record) bool {
	k := r.Splice()
	c.openFile(ev, &k.File, r)
	c.splice = event.SpliceEvent{PipeEntryFlag: event.PipeFlagNames(k.EntryFlags), PipeExitFlag: event.PipeFlagNames(k.ExitFlags)}
	ev.Splice = &c.splice
	ev.Facts.Flags = k.Flags
	return true
}

func (c *converter) bpfCall(ev *event.Event, r *sensor.Record) bool {
	k := r.BPF()
	c.bpf = event.BPFEvent{Cmd: event.BPFCommandName(k.Cmd)}
	ev.BPF = &c.bpf
	if k.MapId != 0 || k.Cmd == unix.BPF_MAP_CREATE {
		c.bpfMap = event.BPFMap{Name: cString(k.MapName[:]), MapType: event.BPFMapTypeName(k.MapType)}
		c.bpf.Map = &c.bpfMap
	}
	if k.ProgId != 0 || k.Cmd == unix.BPF_PROG_LOAD {
		c.bpfProg = event.BPFProgram{
			Name: cString(k.ProgName[:]), ProgramType: event.BPFProgramTypeName(k.ProgType), AttachType: event.BPFAttachTypeName(k.AttachType),
		}
		if k.ProgId != 0 {
			c.bpfProg.Tag = hex.EncodeToString(k.Tag[:])
		}
		c.calls = helperCalls(c.calls[:0], r.Segments[bpf.SegData].Data)
		c.bpfProg.Helpers = event.BPFHelperNames(c.calls)
		c.bpf.Program = &c.bpfProg
	}
	return true
}

// The form of an instruction (include/uapi/linux/bpf.h): eight bytes, the opcode first, the registers, an offset of two
// bytes, then a number of four.
const (
	insnSize  = 8
	insnCall  = 0x85 // BPF_JMP | BPF_CALL
	insnLoad2 = 0x18 // BPF_LD | BPF_IMM | BPF_DW: takes the place of two
)

// helperCalls appends the numbers of the helper functions that instructions call. A call of a function of the program
// itself, or of the kernel by its type, has a source register.
func helperCalls(dst []uint32, insns []byte) []uint32 {
	for len(insns) >= insnSize {
		if insns[0] == insnCall && insns[1]>>4 == 0 {
			dst = append(dst, binary.NativeEndian.Uint32(insns[4:]))
		}
		n := insnSize
		if insns[0] == insnLoad2 {
			n = min(2*insnSize, len(insns))
		}
		insns = insns[n:]
	}
	return dst
}
