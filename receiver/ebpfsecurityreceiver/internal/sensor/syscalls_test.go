// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package sensor

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
)

const allTypes = 1<<event.NumTypes - 2

// numbers of the rows on an architecture
func numbers(goarch string, r *row) (native, compat int) {
	if goarch == "arm64" {
		return r.arm64, r.arm
	}
	return r.amd64, r.i386
}

// The numbers of this machine's architecture are those of golang.org/x/sys/unix, which are made from the kernel's headers.
func TestSyscallNumbers(t *testing.T) {
	checked := 0
	for i := range syscalls {
		r := &syscalls[i]
		n, _ := numbers(runtime.GOARCH, r)
		want, ok := nativeNumbers[r.name]
		if !ok {
			want = none // no syscall of this architecture
		} else {
			checked++
		}
		assert.Equal(t, want, n, r.name)
	}
	assert.Len(t, nativeNumbers, checked, "a number that is in no row")
}

func TestSyscallTable(t *testing.T) {
	for _, goarch := range []string{"amd64", "arm64"} {
		t.Run(goarch, func(t *testing.T) {
			table := table(goarch, allTypes)
			native, compat, names := map[int]string{}, map[int]string{}, map[string]bool{}
			for i := range syscalls {
				r := &syscalls[i]
				require.False(t, names[r.name], "%s twice", r.name)
				names[r.name] = true
				n, c := numbers(goarch, r)
				if n != none {
					require.Empty(t, native[n], "%s has the number of another", r.name)
					require.Less(t, n, bpf.MaxSyscalls)
					native[n] = r.name
					assert.Equal(t, uint8(r.typ), table[n].Type, r.name)
					assert.Equal(t, r.kind, table[n].Kind, r.name)
				}
				require.NotEqual(t, none, c, "%s: every call of a 64-bit task has a 32-bit one", r.name)
				require.Empty(t, compat[c], "%s has the number of another", r.name)
				require.Less(t, c, bpf.MaxSyscalls)
				compat[c] = r.name
				assert.Equal(t, uint8(r.typ), table[bpf.MaxSyscalls+c].Type, r.name)
			}
			rows := 0
			for _, d := range table {
				if d.Kind != 0 {
					rows++
				}
			}
			assert.Equal(t, len(native)+len(compat), rows)
		})
	}
}

// Every row says where its arguments are, as its kind needs them.
func TestSyscallArguments(t *testing.T) {
	for i := range syscalls {
		r := &syscalls[i]
		used := map[int8]bool{}
		for _, arg := range []int8{r.dirfd, r.path, r.dirfd2, r.path2, r.flags, r.mode, r.uid, r.gid, r.fd} {
			if arg == none {
				continue
			}
			assert.True(t, arg >= 0 && arg < 6, "%s: argument %d", r.name, arg)
			assert.False(t, used[arg], "%s: argument %d is two things", r.name, arg)
			used[arg] = true
		}
		switch r.kind {
		case bpf.SysOpen, bpf.SysOpenat2, bpf.SysPath:
			assert.NotEqual(t, int8(none), r.path, r.name)
			assert.Equal(t, int8(none), r.fd, r.name)
		case bpf.SysFD:
			assert.Equal(t, int8(0), r.fd, r.name)
			assert.Equal(t, int8(none), r.path, r.name)
		case bpf.SysSock:
			assert.Equal(t, []int8{0, 1, 2}, []int8{r.fd, r.path, r.mode}, r.name)
		default:
			t.Errorf("%s: kind %d", r.name, r.kind)
		}
		assert.Equal(t, r.typ == event.TypeRename || r.typ == event.TypeLink, r.path2 != none, "%s: second path", r.name)
		assert.Equal(t, r.dirfd2 != none, r.path2 != none && r.dirfd != none, "%s: second directory", r.name)
		assert.Equal(t, r.typ == event.TypeChown, r.uid != none && r.gid != none, "%s: owner", r.name)
		assert.False(t, r.typ.Info().Lifecycle, "%s: tracepoints of their own", r.name)
		assert.NotEmpty(t, SyscallNames(r.typ))
	}
	for typ := event.TypeExec; typ < event.NumTypes; typ++ {
		assert.Equal(t, typ.Info().Lifecycle, len(SyscallNames(typ)) == 0, typ.String())
	}
	assert.Equal(t, []string{"rmdir", "unlinkat with AT_REMOVEDIR"}, SyscallNames(event.TypeRmdir))
}

// Only what is wanted is in the table. unlinkat is both unlink and rmdir.
func TestSyscallTableOfTypes(t *testing.T) {
	types := func(table [2 * bpf.MaxSyscalls]bpf.Syscall) map[event.Type]int {
		m := map[event.Type]int{}
		for _, d := range table {
			if d.Kind != 0 {
				m[event.Type(d.Type)]++
			}
		}
		return m
	}
	assert.Empty(t, types(table("amd64", 0)))
	assert.Empty(t, types(table("amd64", 1<<event.TypeExec|1<<event.TypeFork)))
	assert.Equal(t, map[event.Type]int{event.TypeConnect: 2}, types(table("arm64", 1<<event.TypeConnect)))
	assert.Equal(t, map[event.Type]int{event.TypeUnlink: 4}, types(table("amd64", 1<<event.TypeUnlink)))
	assert.Equal(t, map[event.Type]int{event.TypeUnlink: 4, event.TypeRmdir: 2}, types(table("amd64", 1<<event.TypeRmdir)))
	assert.Len(t, types(table(runtime.GOARCH, allTypes)), int(event.NumTypes)-1-3)
}

func TestNeedsEntry(t *testing.T) {
	for typ, want := range map[event.Type]bool{
		event.TypeOpen:   true, // truncate
		event.TypeUnlink: true, event.TypeRmdir: true, event.TypeRename: true, event.TypeMkdir: true, event.TypeChmod: true, event.TypeChown: true,
		event.TypeLink: true, event.TypeConnect: false, event.TypeBind: false, event.TypeExec: false, event.TypeFork: false, event.TypeExit: false,
	} {
		assert.Equal(t, want, needsEntry(1<<typ), typ.String())
		assert.Equal(t, !typ.Info().Lifecycle, syscallTypes()&(1<<typ) != 0, typ.String())
	}
}

// A ring buffer of another size than the kernel takes is refused before anything is loaded.
func TestConfigureRefusesRingSize(t *testing.T) {
	for _, size := range []uint32{0, 3, 64, 5000, 12288} {
		require.ErrorContains(t, configure(nil, &Options{RingSize: size}), "must be a power of two and at least a page")
	}
}

// What the options become in the object's configuration.
func TestConfigure(t *testing.T) {
	for _, obj := range objects {
		t.Run(obj.name, func(t *testing.T) {
			spec, err := obj.load()
			require.NoError(t, err)
			o := Options{
				Types: allTypes, RingSize: 1 << 16,
				Scope: Scope{Trees: []uint32{1}, Cgroups: []uint64{2}, CgroupV1: true, PIDNS: []uint32{3}, Containers: true},
			}
			o.Errors[event.TypeOpen] = []unix.Errno{unix.ENOENT, 70, 133, 192, 4000}
			require.NoError(t, configure(spec, &o))
			assert.Equal(t, uint32(1<<16), spec.Maps["events"].MaxEntries)
			var cfg bpf.Config
			require.NoError(t, spec.Variables["config"].Get(&cfg))
			assert.Equal(t, uint32(allTypes), cfg.Types)
			assert.Equal(t, uint64(1<<16), cfg.RingSize)
			assert.Equal(t, uint64(1<<16-1<<14), cfg.RingReserve)
			assert.Equal(t, bpf.ScopeTrees|bpf.ScopeCgroups|bpf.ScopePIDNS|bpf.ScopeContainers|bpf.ScopeCgroupV1, cfg.Scope)
			assert.Equal(t, [3]uint64{1 << 2, 1 << 6, 1 << 5}, cfg.Errors[event.TypeOpen])
			assert.Equal(t, [3]uint64{}, cfg.Errors[event.TypeUnlink])
			var got [2 * bpf.MaxSyscalls]bpf.Syscall
			require.NoError(t, spec.Variables["syscalls"].Get(&got))
			assert.Equal(t, table(runtime.GOARCH, allTypes), got)
		})
	}
}
