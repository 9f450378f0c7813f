// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"github.com/picketsec/picket/bpf"
)

// Segment is one segment of a record. Data aliases the record's buffer.
type Segment struct {
	Present bool
	Flags   uint8
	Data    []byte
}

// Record is a decoded record of the kernel side. It is valid until the buffer that it was decoded from is used again.
type Record struct {
	*bpf.Header
	Fixed    []byte // of the length that the type has
	Segments [bpf.NumSegKinds]Segment
}

// ErrRecord is wrapped by every error of Decode.
var ErrRecord = errors.New("malformed kernel record")

const (
	headerSize = int(unsafe.Sizeof(bpf.Header{}))
	segSize    = 4
)

// fixedSizes is the size of the fixed part by type; 0 is no known type.
var fixedSizes = [...]int{
	bpf.SyscallPkTypePK_EXEC:    int(unsafe.Sizeof(bpf.Exec{})),
	bpf.SyscallPkTypePK_FORK:    int(unsafe.Sizeof(bpf.Fork{})),
	bpf.SyscallPkTypePK_EXIT:    int(unsafe.Sizeof(bpf.Exit{})),
	bpf.SyscallPkTypePK_OPEN:    int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_UNLINK:  int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_RMDIR:   int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_RENAME:  int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_MKDIR:   int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_CHMOD:   int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_CHOWN:   int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_LINK:    int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_CONNECT: int(unsafe.Sizeof(bpf.Net{})),
	bpf.SyscallPkTypePK_BIND:    int(unsafe.Sizeof(bpf.Net{})),
}

// Decode reads the record at the start of buf, which must be aligned to eight bytes, into r and returns its size.
// Every error wraps ErrRecord.
func (r *Record) Decode(buf []byte) (int, error) {
	if len(buf) < headerSize {
		return 0, fmt.Errorf("%w: %d bytes are no header", ErrRecord, len(buf))
	}
	if uintptr(unsafe.Pointer(unsafe.SliceData(buf)))%8 != 0 {
		return 0, fmt.Errorf("%w: not aligned", ErrRecord)
	}
	h := (*bpf.Header)(unsafe.Pointer(unsafe.SliceData(buf)))
	size := int(h.Size)
	if size > len(buf) || size < headerSize {
		return 0, fmt.Errorf("%w: size %d in a buffer of %d", ErrRecord, h.Size, len(buf))
	}
	if int(h.Type) >= len(fixedSizes) || fixedSizes[h.Type] == 0 {
		return 0, fmt.Errorf("%w: type %d", ErrRecord, h.Type)
	}
	at := headerSize + fixedSizes[h.Type]
	if at > size {
		return 0, fmt.Errorf("%w: type %d has only %d bytes", ErrRecord, h.Type, size)
	}
	r.Header = h
	r.Fixed = buf[headerSize:at]
	r.Segments = [bpf.NumSegKinds]Segment{}
	for at < size {
		if size-at < segSize {
			return 0, fmt.Errorf("%w: %d bytes behind the last segment", ErrRecord, size-at)
		}
		kind, flags, n := buf[at], buf[at+1], int(binary.NativeEndian.Uint16(buf[at+2:]))
		at += segSize
		if int(kind) >= bpf.NumSegKinds || kind == 0 || n > size-at {
			return 0, fmt.Errorf("%w: segment kind %d, %d bytes of %d", ErrRecord, kind, n, size-at)
		}
		r.Segments[kind] = Segment{Present: true, Flags: flags, Data: buf[at : at+n]}
		at += n
	}
	return size, nil
}

// Exec returns the fixed part of an exec record; of no other type may it be asked.
func (r *Record) Exec() *bpf.Exec { return (*bpf.Exec)(unsafe.Pointer(unsafe.SliceData(r.Fixed))) }

// Fork returns the fixed part of a fork record; of no other type may it be asked.
func (r *Record) Fork() *bpf.Fork { return (*bpf.Fork)(unsafe.Pointer(unsafe.SliceData(r.Fixed))) }

// Exit returns the fixed part of an exit record; of no other type may it be asked.
func (r *Record) Exit() *bpf.Exit { return (*bpf.Exit)(unsafe.Pointer(unsafe.SliceData(r.Fixed))) }

// FileOp returns the fixed part of a file record; of no other type may it be asked.
func (r *Record) FileOp() *bpf.FileOp {
	return (*bpf.FileOp)(unsafe.Pointer(unsafe.SliceData(r.Fixed)))
}

// Net returns the fixed part of a connect or bind record; of no other type may it be asked.
func (r *Record) Net() *bpf.Net { return (*bpf.Net)(unsafe.Pointer(unsafe.SliceData(r.Fixed))) }
