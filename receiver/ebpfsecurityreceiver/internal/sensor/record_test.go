// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
)

// aligned copies b to where the ring buffer would have it: at a multiple of eight bytes.
func aligned(b []byte) []byte {
	words := make([]uint64, len(b)/8+1)
	out := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(b))
	copy(out, b)
	return out
}

// record lays a record out: a header, a fixed part of the type's size with counting bytes, and the segments.
func record(typ event.Type, segs ...Segment) []byte {
	h := bpf.Header{Type: uint8(typ), Flags: bpf.InScope, Nr: 257, Time: 1, Id: 2, Pid: 3, Tid: 4, Retval: -13, Cgroup: 5}
	b := append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&h)), headerSize)...)
	if int(typ) < len(fixedSizes) {
		for i := range fixedSizes[typ] {
			b = append(b, byte(i))
		}
	}
	for kind, s := range segs {
		if s.Present {
			b = appendSegment(b, uint8(kind), s.Flags, s.Data)
		}
	}
	return aligned(withSize(b, len(b)))
}

func appendSegment(b []byte, kind, flags uint8, data []byte) []byte {
	b = append(b, kind, flags)
	b = binary.NativeEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

func withSize(b []byte, size int) []byte {
	binary.NativeEndian.PutUint32(b, uint32(size))
	return b
}

func TestDecode(t *testing.T) {
	var segs [bpf.NumSegKinds]Segment
	for kind := 1; kind < len(segs); kind += 2 {
		segs[kind] = Segment{Present: true, Flags: uint8(kind), Data: []byte(strings.Repeat("x", kind*3))}
	}
	for typ := event.TypeExec; typ < event.NumTypes; typ++ {
		t.Run(typ.String(), func(t *testing.T) {
			b := record(typ, segs[:]...)
			var r Record
			n, err := r.Decode(append(b, 9, 9, 9)) // the next record's
			require.NoError(t, err)
			assert.Equal(t, len(b), n)
			assert.Equal(t, bpf.Header{
				Size: uint32(n), Type: uint8(typ), Flags: bpf.InScope, Nr: 257, Time: 1, Id: 2, Pid: 3, Tid: 4, Retval: -13, Cgroup: 5,
			}, *r.Header)
			require.Len(t, r.Fixed, fixedSizes[typ])
			assert.Equal(t, byte(fixedSizes[typ]-1), r.Fixed[len(r.Fixed)-1])
			assert.Equal(t, segs, r.Segments)
		})
	}
}

// Of two segments of a kind the last one counts, and an empty one is there.
func TestDecodeSegments(t *testing.T) {
	b := record(event.TypeOpen)
	b = appendSegment(b, bpf.SegString, 1, []byte("first"))
	b = appendSegment(b, bpf.SegString, 2, []byte("second"))
	b = appendSegment(b, bpf.SegBase, 0, nil)
	var r Record
	_, err := r.Decode(aligned(withSize(b, len(b))))
	require.NoError(t, err)
	assert.Equal(t, Segment{true, 2, []byte("second")}, r.Segments[bpf.SegString])
	assert.True(t, r.Segments[bpf.SegBase].Present)
	assert.Empty(t, r.Segments[bpf.SegBase].Data)
	assert.False(t, r.Segments[bpf.SegPath].Present)

	// What the record before had is not left over.
	_, err = r.Decode(record(event.TypeOpen))
	require.NoError(t, err)
	assert.Equal(t, [bpf.NumSegKinds]Segment{}, r.Segments)
}

func TestDecodeMalformed(t *testing.T) {
	good := record(event.TypeExit, make([]Segment, int(bpf.SegPath))...)
	withType := func(typ uint8) []byte {
		b := slices.Clone(good)
		b[unsafe.Offsetof(bpf.Header{}.Type)] = typ
		return aligned(b)
	}
	withSeg := func(kind uint8, length int, data string) []byte {
		b := append(slices.Clone(good), kind, 0)
		b = binary.NativeEndian.AppendUint16(b, uint16(length))
		b = append(b, data...)
		return aligned(withSize(b, len(b)))
	}
	tail := func(n int) []byte {
		b := append(slices.Clone(good), make([]byte, n)...)
		return aligned(withSize(b, len(b)))
	}
	size := len(good)
	for name, tt := range map[string]struct {
		buf  []byte
		want string
	}{
		"nothing":                  {nil, "0 bytes are no header"},
		"part of a header":         {good[:headerSize-1], fmt.Sprintf("%d bytes are no header", headerSize-1)},
		"not aligned":              {aligned(append([]byte{0}, good...))[1:], "not aligned"},
		"longer than the buffer":   {good[:size-1], fmt.Sprintf("size %d in a buffer of %d", size, size-1)},
		"size 0":                   {aligned(withSize(slices.Clone(good), 0)), fmt.Sprintf("size 0 in a buffer of %d", size)},
		"shorter than a header":    {aligned(withSize(slices.Clone(good), headerSize-1)), fmt.Sprintf("size %d in a buffer of %d", headerSize-1, size)},
		"size of all bits":         {aligned(withSize(slices.Clone(good), 1<<32-1)), fmt.Sprintf("size 4294967295 in a buffer of %d", size)},
		"type 0":                   {withType(0), "type 0"},
		"type beyond the last":     {withType(uint8(event.NumTypes)), fmt.Sprintf("type %d", event.NumTypes)},
		"type 255":                 {withType(255), "type 255"},
		"too short for the type":   {aligned(withSize(slices.Clone(good), headerSize)), fmt.Sprintf("type %d has only %d bytes", event.TypeExit, headerSize)},
		"type of a longer record":  {withType(uint8(event.TypeExec)), fmt.Sprintf("type %d has only %d bytes", event.TypeExec, size)},
		"one byte behind":          {tail(1), "1 bytes behind the last segment"},
		"part of a segment's head": {tail(3), "3 bytes behind the last segment"},
		"segment kind 0":           {withSeg(0, 0, ""), "segment kind 0, 0 bytes of 0"},
		"segment of no known kind": {withSeg(uint8(bpf.NumSegKinds), 1, "x"), fmt.Sprintf("segment kind %d, 1 bytes of 1", bpf.NumSegKinds)},
		"segment kind 255":         {withSeg(255, 0, ""), "segment kind 255, 0 bytes of 0"},
		"segment beyond the end":   {withSeg(bpf.SegPath, 4, "abc"), "segment kind 1, 4 bytes of 3"},
		"longest segment":          {withSeg(bpf.SegPath, 65535, ""), "segment kind 1, 65535 bytes of 0"},
	} {
		t.Run(name, func(t *testing.T) {
			var r Record
			n, err := r.Decode(tt.buf)
			require.ErrorIs(t, err, ErrRecord)
			require.EqualError(t, err, "malformed kernel record: "+tt.want)
			assert.Zero(t, n)
		})
	}
}

// FuzzDecode gives the decoder any bytes: it may refuse them, but nothing of the result may be outside of them.
func FuzzDecode(f *testing.F) {
	for typ := event.TypeExec; typ < event.NumTypes; typ++ {
		f.Add(record(typ))
		f.Add(record(typ, Segment{}, Segment{true, bpf.WalkTruncated, []byte("b\x00a\x00")}, Segment{true, 0, []byte("/etc/passwd")}))
	}
	f.Add([]byte{})
	f.Add(record(0))
	f.Fuzz(func(t *testing.T, data []byte) {
		buf := aligned(data)
		var r Record
		n, err := r.Decode(buf)
		if err != nil {
			require.ErrorIs(t, err, ErrRecord)
			return
		}
		require.GreaterOrEqual(t, n, headerSize)
		require.LessOrEqual(t, n, len(buf))
		require.Equal(t, n, int(r.Size))
		require.Len(t, r.Fixed, fixedSizes[r.Type])
		start := uintptr(unsafe.Pointer(unsafe.SliceData(buf)))
		within := func(b []byte) bool {
			at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
			return at >= start && at+uintptr(len(b)) <= start+uintptr(n)
		}
		require.True(t, within(r.Fixed))
		for kind, s := range r.Segments {
			require.True(t, s.Present || s.Data == nil, "kind %d", kind)
			require.True(t, !s.Present || within(s.Data), "kind %d", kind)
		}
	})
}

// The wire's numbers of event types are those of the event model: one is converted to the other without a table.
func TestWireTypesAreEventTypes(t *testing.T) {
	for want, got := range map[event.Type]bpf.SyscallPkType{
		event.TypeAny: bpf.SyscallPkTypePK_NONE, event.TypeExec: bpf.SyscallPkTypePK_EXEC, event.TypeFork: bpf.SyscallPkTypePK_FORK,
		event.TypeExit: bpf.SyscallPkTypePK_EXIT, event.TypeOpen: bpf.SyscallPkTypePK_OPEN, event.TypeUnlink: bpf.SyscallPkTypePK_UNLINK,
		event.TypeRmdir: bpf.SyscallPkTypePK_RMDIR, event.TypeRename: bpf.SyscallPkTypePK_RENAME, event.TypeMkdir: bpf.SyscallPkTypePK_MKDIR,
		event.TypeChmod: bpf.SyscallPkTypePK_CHMOD, event.TypeChown: bpf.SyscallPkTypePK_CHOWN, event.TypeLink: bpf.SyscallPkTypePK_LINK,
		event.TypeConnect: bpf.SyscallPkTypePK_CONNECT, event.TypeBind: bpf.SyscallPkTypePK_BIND, event.NumTypes: bpf.SyscallPkTypePK_NUM_TYPES,
	} {
		assert.Equal(t, uint32(want), uint32(got), want.String())
	}
	assert.Len(t, fixedSizes, int(event.NumTypes))
	for typ := event.TypeExec; typ < event.NumTypes; typ++ {
		assert.Positive(t, fixedSizes[typ], typ.String())
	}
	assert.Len(t, bpf.Losses, bpf.NumLosses)
	assert.Len(t, bpf.Config{}.Errors, int(event.NumTypes))
}

// The Go twins have the layout that a C compiler gives the structs of bpf/lib/wire.h: no gaps, and a fixed part that
// begins aligned.
func TestWireLayout(t *testing.T) {
	for _, tt := range []struct {
		v       any
		size    uintptr
		offsets map[string]uintptr
	}{
		{bpf.Header{}, 120, map[string]uintptr{"Size": 0, "Type": 4, "Flags": 5, "Nr": 6, "Time": 8, "Id": 16, "Pid": 24, "Tid": 28, "Retval": 32, "Uid": 40, "Fsgid": 60, "CapEffective": 64, "CapPermitted": 72, "Auid": 80, "Sid": 84, "Mntns": 88, "Netns": 92, "Cgroup": 96, "Comm": 104}},
		{bpf.File{}, 72, map[string]uintptr{"Inode": 0, "Atime": 8, "Mtime": 16, "Ctime": 24, "Mode": 32, "Uid": 36, "Gid": 40, "MountId": 44, "Flags": 48, "Dev": 52, "Fstype": 56}},
		{bpf.Exec{}, 112, map[string]uintptr{"PrevId": 0, "ParentId": 8, "StartTime": 16, "Ppid": 24, "ArgsLen": 28, "EnvsLen": 32, "Exe": 40}},
		{bpf.Fork{}, 24, map[string]uintptr{"ChildId": 0, "StartTime": 8, "ChildPid": 16, "ChildFlags": 20}},
		{bpf.Exit{}, 8, map[string]uintptr{"Code": 0}},
		{bpf.FileOp{}, 88, map[string]uintptr{"File": 0, "Flags": 72, "Mode": 76, "Uid": 80, "Gid": 84}},
		{bpf.Net{}, 48, map[string]uintptr{"Family": 0, "Protocol": 2, "SkType": 4, "Sport": 6, "Dport": 8, "Saddr": 16, "Daddr": 32}},
		{bpf.Seg{}, segSize, map[string]uintptr{"Kind": 0, "Flags": 1, "Len": 2}},
		{bpf.Syscall{}, 16, map[string]uintptr{"Type": 0, "Kind": 1, "Dirfd": 2, "Path": 3, "Fd": 10, "FixedFlags": 12}},
	} {
		typ := reflect.TypeOf(tt.v)
		t.Run(typ.Name(), func(t *testing.T) {
			assert.Equal(t, tt.size, typ.Size())
			for name, want := range tt.offsets {
				f, ok := typ.FieldByName(name)
				require.True(t, ok, name)
				assert.Equal(t, want, f.Offset, name)
			}
		})
	}
	assert.Zero(t, headerSize%8)
}

func BenchmarkDecode(b *testing.B) {
	path := []byte(strings.Repeat("component\x00", 6))
	for name, rec := range map[string][]byte{
		"open": record(event.TypeOpen, Segment{}, Segment{true, 0, path}),
		"exec": record(event.TypeExec, Segment{}, Segment{true, 0, path}, Segment{}, Segment{}, Segment{}, Segment{}, Segment{}, Segment{true, 0, make([]byte, 200)}, Segment{true, 0, make([]byte, 2000)}),
		"exit": record(event.TypeExit),
	} {
		b.Run(name, func(b *testing.B) {
			var r Record
			b.ReportAllocs()
			b.SetBytes(int64(len(rec)))
			for b.Loop() {
				if _, err := r.Decode(rec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
