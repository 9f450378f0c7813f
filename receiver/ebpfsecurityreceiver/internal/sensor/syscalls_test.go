// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package sensor

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
)

const allTypes = event.AllTypes

// Every row is of a call that some architecture has, in its table under its number.
func TestSyscallTable(t *testing.T) {
	for _, goarch := range []string{"amd64", "arm64"} {
		t.Run(goarch, func(t *testing.T) {
			table := table(goarch, allTypes|1<<typeExecFailed|1<<typeIOUring)
			native, compat := numbers(goarch)
			names, rows := map[string]bool{}, 0
			for i := range syscalls {
				r := &syscalls[i]
				require.False(t, names[r.name], "%s twice", r.name)
				names[r.name] = true
				n, ok := native.SyscallNames[r.name]
				if ok {
					rows++
					assert.Equal(t, uint8(r.typ), table[n].Type, r.name)
					assert.Equal(t, r.kind, table[n].Kind, r.name)
				}
				c, ok32 := compat.SyscallNames[r.name]
				if ok32 {
					rows++
					assert.Equal(t, uint8(r.typ), table[bpf.MaxSyscalls+c].Type, r.name)
				}
				assert.True(t, goarch == "arm64" || ok || ok32, "%s: no such call", r.name)
				assert.True(t, !ok || ok32 || r.name == "mmap" || r.name == "accept", "%s: every call of a 64-bit task has a 32-bit one", r.name)
			}
			for _, d := range table {
				if d.Kind != 0 {
					rows--
				}
			}
			assert.Zero(t, rows)
		})
	}
	// A few numbers as the kernel's headers have them.
	assert.Equal(t, uint8(event.TypeOpen), table("amd64", allTypes)[257].Type)
	assert.Equal(t, uint8(event.TypeOpen), table("amd64", allTypes)[bpf.MaxSyscalls+295].Type)
	assert.Equal(t, uint8(event.TypeOpen), table("arm64", allTypes)[56].Type)
	assert.Equal(t, uint8(event.TypeOpen), table("arm64", allTypes)[bpf.MaxSyscalls+322].Type)
}

// No argument of a call is two things, and each kind has what it reads.
func TestSyscallArguments(t *testing.T) {
	for i := range syscalls {
		r := &syscalls[i]
		used := map[argument]bool{}
		for _, arg := range []argument{r.dirfd, r.path, r.dirfd2, r.path2, r.flags, r.mode, r.uid, r.gid, r.fd, r.text, r.data} {
			if arg == 0 {
				continue
			}
			assert.True(t, arg >= a0 && arg <= a5, "%s: argument %d", r.name, arg)
			assert.False(t, used[arg], "%s: argument %d is two things", r.name, arg)
			used[arg] = true
		}
		switch r.kind {
		case bpf.SysPath:
			assert.NotZero(t, r.path, r.name)
			assert.Zero(t, r.fd, r.name)
		case bpf.SysFD:
			assert.Equal(t, a0, r.fd, r.name)
			assert.Zero(t, r.path, r.name)
		}
		assert.False(t, r.dirfd2 != 0 && r.path2 == 0 && r.kind != bpf.SysSplice, "%s: second directory", r.name)
		assert.Equal(t, r.data != 0, r.dataSize != 0 || r.name == "write" || r.name == "pwrite64", "%s: data", r.name)
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
}

func TestNeedsEntry(t *testing.T) {
	for typ, want := range map[event.Type]bool{
		event.TypeOpen:   true, // truncate
		event.TypeUnlink: true, event.TypeRmdir: true, event.TypeRename: true, event.TypeMkdir: true, event.TypeChmod: true, event.TypeChown: true,
		event.TypeLink: true, event.TypeConnect: false, event.TypeBind: false, event.TypeExec: false, event.TypeFork: false, event.TypeExit: false,
	} {
		assert.Equal(t, want, needsEntry(1<<typ), typ.String())
		assert.Equal(t, !typ.Info().Lifecycle, needsExit(1<<typ), typ.String())
		assert.Equal(t, !typ.Info().Lifecycle, (&Options{Types: 1 << typ}).recordTypes().Has(typeIOUring), typ.String())
	}
}

// A ring buffer of another size than the kernel takes is refused before anything is loaded.
func TestConfigureRefusesRingSize(t *testing.T) {
	for _, size := range []uint32{0, 3, 64, 5000, 12288} {
		require.ErrorContains(t, configure(nil, &Options{RingSize: size}), "must be a power of two and at least a page")
	}
}

// A type that is off costs nothing: its programs and their map are not loaded, and nothing is attached.
func TestLeaveOut(t *testing.T) {
	programs := map[string]bool{"picket_used": false, "picket_used_exec": false, "picket_used_exit": false, "picket_signal": false, "picket_exec": true}
	for _, obj := range objects {
		for _, on := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", obj.name, on), func(t *testing.T) {
				spec, err := obj.load()
				require.NoError(t, err)
				types := event.Set(event.TypeExec, event.TypeOpen)
				if on {
					types |= event.Set(event.TypeSyscalls, event.TypeSignal)
				}
				require.NoError(t, leaveOut(spec, types))
				for name, always := range programs {
					assert.Equal(t, on || always, spec.Programs[name] != nil, name)
				}
				assert.Equal(t, on, spec.Maps["used_sets"] != nil)
				assert.NotNil(t, spec.Maps["events"])
			})
		}
	}
}

// What the options become in the object's configuration.
func TestConfigure(t *testing.T) {
	types := allTypes &^ event.Set(event.TypeSELinux) // which not every kernel has
	for _, obj := range objects {
		t.Run(obj.name, func(t *testing.T) {
			spec, err := obj.load()
			require.NoError(t, err)
			o := Options{
				Types: types, RingSize: 1 << 16,
				Scope: Scope{Trees: []uint32{1}, Cgroups: []uint64{2}, CgroupV1: true, PIDNS: []uint32{3}, Containers: true},
			}
			o.Errors[event.TypeOpen] = []unix.Errno{unix.ENOENT, 70, 133, 192, 4000}
			require.NoError(t, configure(spec, &o))
			assert.Equal(t, uint32(1<<16), spec.Maps["events"].MaxEntries)
			var cfg bpf.Config
			require.NoError(t, spec.Variables["config"].Get(&cfg))
			assert.Equal(t, uint64(types|1<<typeIOUring), cfg.Types)
			assert.Equal(t, uint64(1<<16), cfg.RingSize)
			assert.Equal(t, uint64(1<<16-1<<14), cfg.RingReserve)
			assert.Equal(t, bpf.ScopeTrees|bpf.ScopeCgroups|bpf.ScopePIDNS|bpf.ScopeContainers|bpf.ScopeCgroupV1, cfg.Scope)
			assert.Equal(t, [3]uint64{1 << 2, 1 << 6, 1 << 5}, cfg.Errors[event.TypeOpen])
			assert.Equal(t, [3]uint64{}, cfg.Errors[event.TypeUnlink])
			var got [2 * bpf.MaxSyscalls]bpf.Syscall
			require.NoError(t, spec.Variables["syscalls"].Get(&got))
			assert.Equal(t, table(runtime.GOARCH, types|1<<typeIOUring), got)
		})
	}
}
