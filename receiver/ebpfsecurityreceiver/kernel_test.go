// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"encoding/json"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
)

// callHeader is the header of a call of the test process.
func callHeader(t *testing.T, call string, retval int64) bpf.Header {
	t.Helper()
	info, err := arch.GetInfo("")
	require.NoError(t, err)
	nr, ok := info.SyscallNames[call]
	require.True(t, ok, call)
	h := selfHeader(t)
	h.Nr, h.Retval = uint16(nr), retval
	return h
}

func TestConvertModules(t *testing.T) {
	file := bpf.FileOp{File: bpf.File{Inode: 33, Mode: unix.S_IFREG | 0o644, Flags: bpf.FileValid, Fstype: chars("ext4")}, Flags: 2}
	path := seg{bpf.SegPath, 0, walk("/lib/modules/nf-tables.ko.xz")}
	told := seg{bpf.SegData, 0, "nf_tables\x00rest of the array"}
	for name, c := range map[string]struct {
		call   string
		retval int64
		fixed  bpf.FileOp
		segs   []seg
		want   event.ModuleEvent
		file   string
	}{
		"from a file":        {"finit_module", 0, file, []seg{path, told, {bpf.SegName, 0, " a=1  b "}}, event.ModuleEvent{Name: "nf_tables", Argv: []string{"a=1", "b"}}, "/lib/modules/nf-tables.ko.xz"},
		"refused":            {"finit_module", -int64(unix.EPERM), file, []seg{path, {bpf.SegName, bpf.StrFault, ""}}, event.ModuleEvent{Name: "nf_tables"}, "/lib/modules/nf-tables.ko.xz"},
		"from memory":        {"init_module", 0, bpf.FileOp{}, []seg{told, {bpf.SegName, bpf.StrTruncated, "a"}}, event.ModuleEvent{Name: "nf_tables", LoadedFromMemory: true, Argv: []string{"a"}, ArgsTruncated: true}, ""},
		"from memory, no":    {"init_module", -int64(unix.EPERM), bpf.FileOp{}, nil, event.ModuleEvent{LoadedFromMemory: true}, ""},
		"no module's name":   {"finit_module", -int64(unix.EPERM), file, []seg{{bpf.SegPath, 0, walk("/bin/sh")}}, event.ModuleEvent{}, "/bin/sh"},
		"no such descriptor": {"finit_module", -int64(unix.EPERM), bpf.FileOp{}, nil, event.ModuleEvent{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			conv := newTestConverter(t)
			ev := conv.mustConvert(t, wire(event.TypeLoadModule, callHeader(t, c.call, c.retval), c.fixed, c.segs...))
			if len(ev.Module.Argv) == 0 {
				ev.Module.Argv = nil
			}
			assert.Equal(t, &c.want, ev.Module)
			if c.file == "" {
				assert.Nil(t, ev.File)
				return
			}
			assert.Equal(t, c.file, ev.File.Path)
			assert.Equal(t, event.FileSourceFD, ev.Facts.FileSource)
			assert.Equal(t, uint32(2), ev.Facts.Flags)
		})
	}
	conv := newTestConverter(t)
	ev := conv.mustConvert(t, wire(event.TypeUnloadModule, callHeader(t, "delete_module", 0), bpf.FileOp{Flags: unix.O_NONBLOCK}, seg{bpf.SegName, 0, "dummy"}))
	assert.Equal(t, &event.ModuleEvent{Name: "dummy"}, ev.Module)
	assert.Equal(t, uint32(unix.O_NONBLOCK), ev.Facts.Flags)
	assert.Nil(t, ev.File)
}

func TestConvertSELinux(t *testing.T) {
	for _, c := range []struct{ path, data, want string }{
		{"/sys/fs/selinux/enforce", "0", `{"enforce":{"status":"permissive"}}`},
		{"/sys/fs/selinux/enforce", "1\n", `{"enforce":{"status":"enforcing"}}`},
		{"/sys/fs/selinux/disable", "1\x00", `{"enforce":{"status":"disabled"}}`},
		{"/sys/fs/selinux/disable", "0", ""},
		{"/sys/fs/selinux/commit_pending_bools", "1", `{"bool_commit":{"state":true}}`},
		{"/mnt/booleans/allow_ptrace", "1", `{"bool":{"name":"allow_ptrace","state":"on"}}`},
		{"/mnt/booleans/allow_ptrace", " 0", `{"bool":{"name":"allow_ptrace","state":"off"}}`},
		{"/sys/fs/selinux/enforce", "yes", `{"enforce":{}}`}, // the kernel refuses it
		{"/sys/fs/selinux/enforce", "", `{"enforce":{}}`},
		{"/sys/fs/selinux/load", "policy", ""},
		{"/", "1", ""},
	} {
		conv := newTestConverter(t)
		fixed := bpf.FileOp{File: bpf.File{Inode: 4, Mode: unix.S_IFREG | 0o644, Flags: bpf.FileValid, Fstype: chars("selinuxfs")}}
		ev := conv.convert(decode(t, wire(event.TypeSELinux, callHeader(t, "write", 1), fixed, seg{bpf.SegPath, 0, walk(c.path)}, seg{bpf.SegData, 0, c.data})))
		if c.want == "" {
			assert.Nil(t, ev, c.path)
			continue
		}
		require.NotNil(t, ev, c.path)
		text, err := json.Marshal(ev.SELinux)
		require.NoError(t, err)
		assert.JSONEq(t, c.want, string(text), "%s %q", c.path, c.data)
		assert.Equal(t, c.path, ev.File.Path)
		assert.Equal(t, "selinuxfs", ev.File.Filesystem)
	}
	conv := newTestConverter(t)
	assert.Nil(t, conv.convert(decode(t, wire(event.TypeSELinux, callHeader(t, "write", 1), bpf.FileOp{}))), "no path")
}

// Mounts that the kernel side has told of, and records that lack what they should have.
func TestConvertMounts(t *testing.T) {
	root := bpf.File{Inode: 1, Mode: unix.S_IFDIR | 0o755, MountId: 4_000_000, Dev: 77, Flags: bpf.FileValid, Fstype: chars("tmpfs")}
	conv := newTestConverter(t)
	ev := conv.mustConvert(t, wire(event.TypeMount, callHeader(t, "mount", 0), bpf.Mount{Root: root, ParentId: 28, Flags: unix.MS_NOSUID, Whole: 1},
		seg{bpf.SegPath, 0, walk("/mnt/new")}, seg{bpf.SegString, 0, "/mnt/../mnt/new"}, seg{bpf.SegString2, 0, "none"}, seg{bpf.SegName, 0, "tmpfs"}))
	assert.Equal(t, &event.MountEvent{
		MountPoint: &event.File{Path: "/mnt/new", Name: "new", MountID: 28, Has: event.HasMountID}, Root: ev.Mount.Root,
		MountID: 4_000_000, ParentMountID: 28, Device: 77, FSType: "tmpfs", MountPointPath: "/mnt/new",
	}, ev.Mount)
	assert.Equal(t, []any{"/", uint64(1), uint32(4_000_000), "tmpfs"}, []any{ev.Mount.Root.Path, ev.Mount.Root.Inode, ev.Mount.Root.MountID, ev.Mount.Root.Filesystem})
	assert.Equal(t, []any{"none", "/mnt/../mnt/new", "tmpfs", uint32(unix.MS_NOSUID), false},
		[]any{ev.Facts.SyscallPath, ev.Facts.SyscallDestinationPath, ev.Facts.SyscallFSType, ev.Facts.Flags, ev.Facts.MountDetached})

	ev = conv.mustConvert(t, wire(event.TypeMount, callHeader(t, "fsmount", 5), bpf.Mount{Root: root, Whole: 1}, seg{bpf.SegPath, bpf.WalkUnreachable, ""}))
	assert.Equal(t, []any{uint32(4_000_000), uint32(0), "", errDetached, true}, []any{ev.Mount.MountID, ev.Mount.ParentMountID, ev.Mount.MountPointPath, ev.Mount.MountPointPathError, ev.Facts.MountDetached})

	for name, c := range map[string]struct {
		call   string
		retval int64
		segs   []seg
		err    string
	}{
		"nothing at all":          {"mount", 0, nil, "the call names no path"},
		"a path that is no mount": {"mount", 0, []seg{{bpf.SegString, 0, "/no/such/place"}}, errMountUnknown},
		"memory that is gone":     {"mount", -int64(unix.EPERM), []seg{{bpf.SegString, bpf.StrFault, ""}, {bpf.SegString2, bpf.StrFault, ""}}, "user memory could not be read"},
		"no directory":            {"mount_setattr", 0, []seg{{bpf.SegString, 0, "a"}}, "directory of a relative path is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			ev := conv.mustConvert(t, wire(event.TypeMount, callHeader(t, c.call, c.retval), bpf.Mount{}, c.segs...))
			assert.Equal(t, []any{uint32(0), uint32(0), uint32(0), c.err}, []any{ev.Mount.MountID, ev.Mount.ParentMountID, ev.Mount.Device, ev.Mount.MountPointPathError})
		})
	}
	ev = conv.mustConvert(t, wire(event.TypeUmount, callHeader(t, "umount2", 0), bpf.FileOp{}))
	assert.Equal(t, "the call names no path", ev.File.PathResolutionError)
}
