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

	"github.com/cilium/ebpf/btf"
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
			if n := len(r.Fixed); n > 0 {
				assert.Equal(t, byte(n-1), r.Fixed[n-1])
			}
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
		"type beyond the last":     {withType(uint8(bpf.NumTypes)), fmt.Sprintf("type %d", bpf.NumTypes)},
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
	for typ := event.TypeExec; typ < event.Type(bpf.NumTypes); typ++ { // those that are no event type, too
		f.Add(record(typ))
		f.Add(record(typ, Segment{}, Segment{true, bpf.WalkTruncated, []byte("b\x00a\x00")}, Segment{true, 0, []byte("/etc/passwd")}))
	}
	with := func(typ event.Type, kind uint8, data []byte) {
		var segs [bpf.NumSegKinds]Segment
		segs[kind] = Segment{Present: true, Data: data}
		f.Add(record(typ, segs[:]...))
	}
	for _, typ := range []event.Type{event.TypeSetUID, event.TypeSetGID, event.TypeCapset} {
		with(typ, bpf.SegOld, make([]byte, unsafe.Sizeof(bpf.Creds{})))
		with(typ, bpf.SegOld, make([]byte, unsafe.Sizeof(bpf.Creds{})-1))
	}
	for _, typ := range []event.Type{event.TypeChmod, event.TypeChown, event.TypeUtimes, event.TypeSetXattr} {
		with(typ, bpf.SegOld, make([]byte, unsafe.Sizeof(bpf.File{})))
		with(typ, bpf.SegOld, nil)
	}
	with(event.TypeBPF, bpf.SegData, []byte{0x18, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x85, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0})
	with(event.TypeDNS, bpf.SegData, []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"))
	with(event.TypeAccept, bpf.SegSockaddr, []byte("\x01\x00/run/sock\x00"))
	with(event.TypeSetXattr, bpf.SegName, []byte("user.test"))
	with(event.TypeSplice, bpf.SegPath, []byte("f\x00tmp\x00"))
	with(event.TypeMMap, bpf.SegPath, []byte("memfd:x\x00"))
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
		old := &r.Segments[bpf.SegOld]
		_, isFile := r.OldFile()
		require.Equal(t, old.Present && len(old.Data) == int(unsafe.Sizeof(bpf.File{})), isFile)
		_, isCreds := r.OldCreds()
		require.Equal(t, old.Present && len(old.Data) == int(unsafe.Sizeof(bpf.Creds{})), isCreds)
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
	spec, err := bpf.LoadSyscall()
	require.NoError(t, err)
	var enum *btf.Enum
	require.NoError(t, spec.Types.TypeByName("pk_type", &enum))
	values := map[string]uint64{}
	for _, v := range enum.Values {
		values[v.Name] = v.Value
	}
	for typ := event.TypeExec; typ < event.NumTypes; typ++ {
		assert.Equal(t, uint64(typ), values["PK_"+strings.ToUpper(typ.String())], typ.String())
	}
	assert.Equal(t, uint64(event.NumTypes), values["PK_NUM_EVENTS"])
	assert.Len(t, bpf.Losses, bpf.NumLosses)
	assert.Len(t, bpf.Config{}.Errors, bpf.NumTypes)
}

// The Go twins have the layout of the structs that the object was compiled from, and a fixed part begins aligned.
func TestWireLayout(t *testing.T) {
	spec, err := bpf.LoadSyscall()
	require.NoError(t, err)
	camel := func(s string) (c string) {
		for part := range strings.SplitSeq(s, "_") {
			c += strings.ToUpper(part[:1]) + part[1:]
		}
		return c
	}
	for name, v := range map[string]any{
		"pk_header": bpf.Header{}, "pk_file": bpf.File{}, "pk_exec": bpf.Exec{}, "pk_fork": bpf.Fork{}, "pk_exit": bpf.Exit{}, "pk_fileop": bpf.FileOp{},
		"pk_net": bpf.Net{}, "pk_creds": bpf.Creds{}, "pk_target": bpf.Target{}, "pk_mem": bpf.Mem{}, "pk_bpf": bpf.BPF{}, "pk_splice": bpf.Splice{},
		"pk_mount": bpf.Mount{}, "pk_dns": bpf.DNS{}, "pk_seg": bpf.Seg{}, "pk_syscall": bpf.Syscall{}, "pk_config": bpf.Config{},
	} {
		t.Run(name, func(t *testing.T) {
			var c *btf.Struct
			require.NoError(t, spec.Types.TypeByName(name, &c))
			typ := reflect.TypeOf(v)
			assert.Equal(t, uintptr(c.Size), typ.Size())
			for _, m := range c.Members {
				f, ok := typ.FieldByName(camel(m.Name))
				require.True(t, ok, m.Name)
				assert.Equal(t, uintptr(m.Offset.Bytes()), f.Offset, m.Name)
			}
		})
	}
	assert.Zero(t, headerSize%8)
	assert.Equal(t, uintptr(segSize), unsafe.Sizeof(bpf.Seg{}))
	for typ, size := range fixedSizes {
		assert.Zero(t, size%8, "type %d", typ)
	}
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
