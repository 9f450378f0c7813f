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

// fixedSizes is the size of the fixed part by type of record. PK_NONE is no type.
var fixedSizes = [bpf.NumTypes]int{
	bpf.SyscallPkTypePK_EXEC:          int(unsafe.Sizeof(bpf.Exec{})),
	bpf.SyscallPkTypePK_FORK:          int(unsafe.Sizeof(bpf.Fork{})),
	bpf.SyscallPkTypePK_EXIT:          int(unsafe.Sizeof(bpf.Exit{})),
	bpf.SyscallPkTypePK_OPEN:          int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_UNLINK:        int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_RMDIR:         int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_RENAME:        int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_MKDIR:         int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_CHMOD:         int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_CHOWN:         int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_LINK:          int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_CONNECT:       int(unsafe.Sizeof(bpf.Net{})),
	bpf.SyscallPkTypePK_BIND:          int(unsafe.Sizeof(bpf.Net{})),
	bpf.SyscallPkTypePK_SYMLINK:       int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_UTIMES:        int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_SETXATTR:      int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_REMOVEXATTR:   int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_CHDIR:         int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_CHROOT:        int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_SPLICE:        int(unsafe.Sizeof(bpf.Splice{})),
	bpf.SyscallPkTypePK_MOUNT:         int(unsafe.Sizeof(bpf.Mount{})),
	bpf.SyscallPkTypePK_UMOUNT:        int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_SETUID:        0,
	bpf.SyscallPkTypePK_SETGID:        0,
	bpf.SyscallPkTypePK_CAPSET:        0,
	bpf.SyscallPkTypePK_SIGNAL:        int(unsafe.Sizeof(bpf.Target{})),
	bpf.SyscallPkTypePK_PTRACE:        int(unsafe.Sizeof(bpf.Target{})),
	bpf.SyscallPkTypePK_MMAP:          int(unsafe.Sizeof(bpf.Mem{})),
	bpf.SyscallPkTypePK_MPROTECT:      int(unsafe.Sizeof(bpf.Mem{})),
	bpf.SyscallPkTypePK_SYSCALLS:      int(unsafe.Sizeof(bpf.Used{})),
	bpf.SyscallPkTypePK_BPF:           int(unsafe.Sizeof(bpf.BPF{})),
	bpf.SyscallPkTypePK_LOAD_MODULE:   int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_UNLOAD_MODULE: int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_SELINUX:       int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_ACCEPT:        int(unsafe.Sizeof(bpf.Net{})),
	bpf.SyscallPkTypePK_DNS:           int(unsafe.Sizeof(bpf.DNS{})),
	bpf.SyscallPkTypePK_EXEC_FAILED:   int(unsafe.Sizeof(bpf.FileOp{})),
	bpf.SyscallPkTypePK_IO_URING:      0,
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
	if int(h.Type) >= len(fixedSizes) || h.Type == uint8(bpf.SyscallPkTypePK_NONE) {
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
func (r *Record) Exec() *bpf.Exec { return fixed[bpf.Exec](r.Fixed) }

// Fork returns the fixed part of a fork record; of no other type may it be asked.
func (r *Record) Fork() *bpf.Fork { return fixed[bpf.Fork](r.Fixed) }

// Exit returns the fixed part of an exit record; of no other type may it be asked.
func (r *Record) Exit() *bpf.Exit { return fixed[bpf.Exit](r.Fixed) }

// FileOp returns the fixed part of a record about a file; of no other type may it be asked.
func (r *Record) FileOp() *bpf.FileOp { return fixed[bpf.FileOp](r.Fixed) }

// Net returns the fixed part of a connect, bind or accept record; of no other type may it be asked.
func (r *Record) Net() *bpf.Net { return fixed[bpf.Net](r.Fixed) }

// Target returns the fixed part of a signal or ptrace record; of no other type may it be asked.
func (r *Record) Target() *bpf.Target { return fixed[bpf.Target](r.Fixed) }

// Mem returns the fixed part of an mmap or mprotect record; of no other type may it be asked.
func (r *Record) Mem() *bpf.Mem { return fixed[bpf.Mem](r.Fixed) }

// BPF returns the fixed part of a bpf record; of no other type may it be asked.
func (r *Record) BPF() *bpf.BPF { return fixed[bpf.BPF](r.Fixed) }

// Splice returns the fixed part of a splice record; of no other type may it be asked.
func (r *Record) Splice() *bpf.Splice { return fixed[bpf.Splice](r.Fixed) }

// Mount returns the fixed part of a mount record; of no other type may it be asked.
func (r *Record) Mount() *bpf.Mount { return fixed[bpf.Mount](r.Fixed) }

// Used returns the fixed part of a syscalls record; of no other type may it be asked.
func (r *Record) Used() *bpf.Used { return fixed[bpf.Used](r.Fixed) }

// DNS returns the fixed part of a dns record; of no other type may it be asked.
func (r *Record) DNS() *bpf.DNS { return fixed[bpf.DNS](r.Fixed) }

// OldFile returns the facts that the file of a fd-based operation had before it; false if they were not kept. The copy is
// there because segments are not aligned.
func (r *Record) OldFile() (f bpf.File, ok bool) { return segment[bpf.File](&r.Segments[bpf.SegOld]) }

// OldCreds returns the credentials before the call; false if they were not kept.
func (r *Record) OldCreds() (c bpf.Creds, ok bool) {
	return segment[bpf.Creds](&r.Segments[bpf.SegOld])
}

// fixed looks at the fixed part as a T; Decode made sure of the size.
func fixed[T any](b []byte) *T { return (*T)(unsafe.Pointer(unsafe.SliceData(b))) }

func segment[T any](s *Segment) (v T, ok bool) {
	if !s.Present || len(s.Data) != int(unsafe.Sizeof(v)) {
		return v, false
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&v)), len(s.Data)), s.Data)
	return v, true
}
