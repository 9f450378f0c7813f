// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// seg is a segment of a record under construction.
type seg struct {
	kind, flags uint8
	data        string
}

// wire lays a record out as bpf/lib/wire.h has it, in aligned memory as the ring buffer's is.
func wire[T any](typ event.Type, h bpf.Header, fixed T, segs ...seg) []byte {
	h.Type = uint8(typ)
	b := append(bytesOf(&h), bytesOf(&fixed)...)
	for _, s := range segs {
		b = append(b, s.kind, s.flags)
		b = binary.NativeEndian.AppendUint16(b, uint16(len(s.data)))
		b = append(b, s.data...)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	aligned := make([]uint64, (len(b)+7)/8)
	out := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(aligned))), len(b))
	copy(out, b)
	return out
}

// bytesOf returns a copy of the memory of v.
func bytesOf[T any](v *T) []byte {
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))...)
}

// decode reads a record that is right.
func decode(tb testing.TB, b []byte) *sensor.Record {
	tb.Helper()
	var r sensor.Record
	n, err := r.Decode(b)
	require.NoError(tb, err)
	require.Equal(tb, len(b), n)
	return &r
}

// walk is the walk of an absolute path: its names, leaf first, each with a NUL.
func walk(path string) string {
	var b strings.Builder
	for path != "" && path != "/" {
		i := strings.LastIndexByte(path, '/')
		b.WriteString(path[i+1:] + "\x00")
		path = path[:i]
	}
	return b.String()
}

// chars is a NUL-padded array of the kernel.
func chars(s string) (a [16]int8) {
	for i := range min(len(s), len(a)-1) {
		a[i] = int8(s[i])
	}
	return a
}

// Numbers of the records in these tests. The process that acts is the test itself, so that its root directory and mount
// namespace can be looked at.
const (
	selfID   = 0x1111
	parentID = 0x2222
	bootTime = 5_000_000_000 // ns
	wallBase = 1_700_000_000_000_000_000
)

// wallClock is the clock of these tests.
func wallClock(bootNS uint64) event.Time {
	if bootNS == 0 {
		return 0
	}
	return event.Time(wallBase + bootNS)
}

func ownMntNS(tb testing.TB) uint32 {
	tb.Helper()
	var st unix.Stat_t
	require.NoError(tb, unix.Stat("/proc/self/ns/mnt", &st))
	return uint32(st.Ino)
}

// selfHeader is the header of what the test process does.
func selfHeader(tb testing.TB) bpf.Header {
	tb.Helper()
	return bpf.Header{
		Flags: bpf.InScope, Time: bootTime, Id: selfID, Pid: uint32(os.Getpid()), Tid: uint32(os.Getpid()),
		Mntns: ownMntNS(tb), Netns: 4026531840, Cgroup: 77, Sid: 9, Auid: event.AUIDUnset, Comm: chars("sh"),
	}
}

// shExec is an exec of /usr/bin/sh by the test process.
func shExec(tb testing.TB) []byte {
	tb.Helper()
	args := "sh\x00-c\x00id\x00"
	return wire(event.TypeExec, selfHeader(tb), bpf.Exec{
		PrevId: 0x1110, ParentId: parentID, StartTime: bootTime - 1000, Ppid: uint32(os.Getppid()), ArgsLen: uint32(len(args)),
		Exe: bpf.File{Inode: 11, Mode: unix.S_IFREG | 0o755, MountId: 22, Flags: bpf.FileValid, Fstype: chars("ext4")},
	}, seg{bpf.SegArgs, 0, args}, seg{bpf.SegPath, 0, walk("/usr/bin/sh")})
}

// hostnameOpen is an open of /etc/hostname by the test process.
func hostnameOpen(tb testing.TB) []byte {
	tb.Helper()
	h := selfHeader(tb)
	h.Retval = 3
	return wire(event.TypeOpen, h, bpf.FileOp{
		File:  bpf.File{Inode: 33, Mode: unix.S_IFREG | 0o644, MountId: 22, Flags: bpf.FileValid, Fstype: chars("ext4")},
		Flags: unix.O_RDONLY | unix.O_CLOEXEC,
	}, seg{bpf.SegPath, 0, walk("/etc/hostname")})
}

// selfExit is the end of the test process.
func selfExit(tb testing.TB) []byte {
	tb.Helper()
	return wire(event.TypeExit, selfHeader(tb), bpf.Exit{Code: 7 << 8})
}
