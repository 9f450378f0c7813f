// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package suite

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// ownMounts gives the actor a mount namespace of its own, from which nothing gets out, with a tmpfs on its directory.
func ownMounts(dir string) error {
	return errors.Join(
		unix.Unshare(unix.CLONE_NEWNS),
		unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("ours", dir, "tmpfs", unix.MS_NOSUID, "size=1m"),
	)
}

func mkdirs(dir string, names ...string) (err error) {
	for _, n := range names {
		err = errors.Join(err, unix.Mkdir(dir+"/"+n, 0o755))
	}
	return err
}

const id = "[1-9][0-9]*"

var mountCases = cases("mount", []testcase{
	{
		name: "file system", do: func(dir string) error {
			return errors.Join(ownMounts(dir), mkdirs(dir, "a"),
				unix.Mount("none", dir+"/a", "tmpfs", unix.MS_NOEXEC|0xc0ed0000, ""),
				unix.Mount("", dir+"/a", "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		},
		then: func(dir string) error { return unix.Unmount(dir+"/a", unix.MNT_DETACH) },
		want: []want{
			{
				typ: "mount",
				members: members{
					"evt.outcome": "Success", "evt.category": "File Activity", "mount.mount_id": matches(id), "mount.parent_mount_id": matches(id), "mount.bind_src_mount_id": 0,
					"mount.device": matches(id), "mount.fs_type": "tmpfs", "mount.mountpoint.path": "$DIR", "mount.source.path": absent,
					"mount.mountpoint.path_error": absent, "mount.mp.path": "$DIR", "mount.root.path": "/", "mount.root.inode": 1, "mount.root.filesystem": "tmpfs", "file": absent,
				},
				attrs: members{
					"picket.syscall.path": "ours", "picket.syscall.destination.path": "$DIR", "picket.syscall.fs_type": "tmpfs",
					"picket.syscall.flags": unix.MS_NOSUID, "picket.mount.detached": absent,
				},
			},
			{
				typ: "mount", members: members{"mount.mountpoint.path": "$DIR/a", "mount.fs_type": "tmpfs"},
				attrs: members{"picket.syscall.flags": unix.MS_NOEXEC, "picket.syscall.path": "none"},
			},
			{
				typ: "mount", members: members{"mount.mountpoint.path": "$DIR/a", "mount.fs_type": "tmpfs", "mount.mount_id": matches(id)},
				attrs: members{"picket.syscall.flags": unix.MS_REMOUNT | unix.MS_RDONLY, "picket.syscall.path": absent},
			},
			{
				typ: "mount", members: members{"mount.mountpoint.path": "/", "mount.mount_id": matches(id)},
				attrs: members{"picket.syscall.flags": unix.MS_REC | unix.MS_PRIVATE},
			},
		},
		after: []want{
			{
				typ: "umount",
				members: members{
					"evt.outcome": "Success", "evt.category": "File Activity", "file.path": "$DIR/a", "file.name": "a", "file.new_mount_id": matches(id),
					"file.mount_id": matches(id), "file.fstype": "tmpfs", "file.device": matches(id), "mount": absent,
				},
				attrs: members{"picket.syscall.path": "$DIR/a", "picket.syscall.flags": unix.MNT_DETACH, "picket.file.source": "user_path"},
			},
		},
	},
	{
		name: "of a process that is gone", do: func(dir string) error {
			return errors.Join(ownMounts(dir), mkdirs(dir, "a"), unix.Mount("none", dir+"/a", "tmpfs", 0, ""))
		},
		want: []want{{
			typ: "mount",
			members: members{
				"mount.mount_id": matches(id), "mount.parent_mount_id": matches(id), "mount.device": matches(id), "mount.fs_type": "tmpfs", "mount.mountpoint.path": "$DIR/a",
				"mount.mountpoint.path_error": absent, "mount.mp.path": "$DIR/a", "mount.mp.mount_id": matches(id), "mount.root.path": "/", "mount.root.inode": 1,
			},
			attrs: members{"picket.syscall.destination.path": "$DIR/a"},
		}},
	},
	{
		// The mount namespace of a thread is not that of its process.
		name: "by a thread", stays: true, do: func(dir string) error {
			return onThread(func() error {
				return errors.Join(ownMounts(dir), mkdirs(dir, "a", "b"), unix.Mount(dir+"/a", dir+"/b", "", unix.MS_BIND, ""),
					unix.Mount("none", dir+"/a", "tmpfs", 0, ""), unix.Unmount(dir+"/a", 0))
			})
		},
		want: []want{
			{
				typ:     "mount",
				members: members{"mount.mountpoint.path": "/", "mount.mountpoint.path_error": absent, "mount.mount_id": matches(id), "mount.root.inode": matches(id)},
			},
			{
				typ: "mount", members: members{"mount.mountpoint.path": "$DIR/b", "mount.source.path": "$DIR/a", "mount.bind_src_mount_id": matches(id)},
			},
		},
	},
	{
		// So is its root, which files are looked up in.
		name: "below the root of a thread", stays: true, do: func(dir string) error {
			return onThread(func() error {
				return errors.Join(mkdirs(dir, "a", "a/b"), write(dir+"/a/b/f", 0o600), unix.Unshare(unix.CLONE_FS), unix.Chroot(dir+"/a"), unix.Chmod("/b/f", 0o640))
			})
		},
		want: []want{{typ: "chmod", members: members{"file.path": "/b/f", "file.inode": matches(id)}}},
	},
	{
		name: "bind and move", stays: true, do: func(dir string) error {
			return errors.Join(ownMounts(dir), mkdirs(dir, "from", "from/sub dir", "to", "else"), unix.Chdir(dir),
				unix.Mount("from/sub dir", dir+"/to", "", unix.MS_BIND, ""),
				unix.Mount(dir+"/to", "else", "", unix.MS_MOVE, ""))
		},
		want: []want{
			{
				typ: "mount",
				members: members{
					"mount.bind_src_mount_id": matches(id), "mount.fs_type": "tmpfs", "mount.mountpoint.path": "$DIR/to", "mount.source.path": "$DIR/from/sub dir",
					"mount.root.path": "/from/sub dir", "mount.mp.path": "$DIR/to", "mount.mp.mount_id": matches(id), "mount.source.path_error": absent,
				},
				attrs: members{"picket.syscall.path": "from/sub dir", "picket.syscall.destination.path": "$DIR/to", "picket.syscall.fs_type": absent, "picket.syscall.flags": unix.MS_BIND},
			},
			{
				typ: "mount",
				members: members{
					"mount.bind_src_mount_id": 0, "mount.fs_type": "tmpfs", "mount.mountpoint.path": "$DIR/else", "mount.source.path": "$DIR/to", "mount.root.path": "/from/sub dir",
				},
				attrs: members{"picket.syscall.path": "$DIR/to", "picket.syscall.destination.path": "else", "picket.syscall.flags": unix.MS_MOVE},
			},
		},
	},
	{
		name: "new interface", stays: true, do: func(dir string) error {
			if err := errors.Join(ownMounts(dir), mkdirs(dir, "a", "b", "c")); err != nil {
				return err
			}
			fs, err1 := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
			err2 := unix.FsconfigCreate(fs)
			m, err3 := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NODEV)
			err4 := unix.MoveMount(m, "", unix.AT_FDCWD, dir+"/a", unix.MOVE_MOUNT_F_EMPTY_PATH)
			tree, err5 := unix.OpenTree(unix.AT_FDCWD, dir+"/a", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
			err6 := unix.MoveMount(tree, "", unix.AT_FDCWD, dir+"/b", unix.MOVE_MOUNT_F_EMPTY_PATH)
			err7 := unix.MoveMount(unix.AT_FDCWD, dir+"/b", unix.AT_FDCWD, dir+"/c", 0)
			only, err8 := unix.OpenTree(unix.AT_FDCWD, dir+"/c", unix.OPEN_TREE_CLOEXEC)
			return errors.Join(err1, err2, err3, err4, err5, err6, err7, err8, unix.Close(only),
				unix.MountSetattr(unix.AT_FDCWD, dir+"/c", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}))
		},
		want: []want{
			{
				typ: "mount", // fsmount
				members: members{
					"mount.mount_id": matches(id), "mount.parent_mount_id": 0, "mount.fs_type": "tmpfs", "mount.device": matches(id), "mount.mountpoint.path": absent,
					"mount.mountpoint.path_error": "the mount is attached nowhere", "mount.root.inode": 1,
				},
				attrs: members{"picket.mount.detached": true, "picket.syscall.path": absent},
			},
			{
				typ: "mount", // move_mount of it
				members: members{
					"mount.mount_id": matches(id), "mount.parent_mount_id": matches(id), "mount.fs_type": "tmpfs", "mount.mountpoint.path": "$DIR/a",
					"mount.mp.path": "$DIR/a", "mount.mp.mount_id": matches(id), "mount.source.path": absent, "mount.source.path_error": "the mount is attached nowhere",
				},
				attrs: members{"picket.mount.detached": absent, "picket.syscall.destination.path": "$DIR/a", "picket.syscall.flags": unix.MOVE_MOUNT_F_EMPTY_PATH},
			},
			{
				typ: "mount", // open_tree
				members: members{
					"mount.mount_id": matches(id), "mount.parent_mount_id": 0, "mount.bind_src_mount_id": matches(id), "mount.source.path": "$DIR/a",
					"mount.mountpoint.path_error": "the mount is attached nowhere",
				},
				attrs: members{"picket.mount.detached": true, "picket.syscall.path": "$DIR/a"},
			},
			{typ: "mount", members: members{"mount.mountpoint.path": "$DIR/b", "mount.parent_mount_id": matches(id)}, attrs: members{"picket.mount.detached": absent}},
			{
				typ:     "mount", // move_mount by path
				members: members{"mount.mountpoint.path": "$DIR/c", "mount.source.path": "$DIR/b", "mount.parent_mount_id": matches(id), "mount.fs_type": "tmpfs"},
				attrs:   members{"picket.syscall.path": "$DIR/b", "picket.syscall.destination.path": "$DIR/c"},
			},
			{
				typ:     "mount", // mount_setattr
				members: members{"mount.mountpoint.path": "$DIR/c", "mount.source.path": absent, "mount.mount_id": matches(id)},
				attrs:   members{"picket.syscall.path": absent, "picket.syscall.destination.path": "$DIR/c"},
			},
		},
		not: []want{{typ: "mount", members: members{"mount.source.path": "$DIR/c"}}},
	},
	{
		name: "pivot_root", do: func(dir string) error {
			return errors.Join(ownMounts(dir), mkdirs(dir, "old"), unix.Chdir(dir), unix.PivotRoot(".", "old"), unix.Chdir("/"), unix.Unmount("/old", unix.MNT_DETACH))
		},
		want: []want{
			{
				typ:     "chroot",
				members: members{"evt.outcome": "Success", "file.path": "$DIR", "file.inode": 1, "file.filesystem": "tmpfs", "file.mode": matches("17407"), "file.mount_id": matches(id)},
				attrs:   members{"picket.syscall.path": ".", "picket.syscall.destination.path": "old", "picket.file.source": "user_path"},
			},
			{typ: "umount", members: members{"file.path": "/old", "evt.outcome": "Success"}},
		},
	},
	{
		name: "refused", do: func(dir string) error {
			return errors.Join(mkdirs(dir, "a"), unix.Chmod(dir, 0o755), nobody(),
				fails(unix.Mount("none", dir+"/a", "tmpfs", 0, ""), unix.EPERM),
				fails(unix.Mount("/", dir+"/a", "", unix.MS_BIND, ""), unix.EPERM),
				fails(unix.Unmount(dir+"/a", 0), unix.EPERM),
				fails(unix.PivotRoot(dir, dir+"/a"), unix.EPERM))
		},
		want: []want{
			{
				typ: "mount",
				members: members{
					"evt.outcome": "Refused", "mount.mount_id": 0, "mount.parent_mount_id": 0, "mount.device": 0, "mount.fs_type": "tmpfs", "mount.mountpoint.path": "$DIR/a",
					"mount.mp": absent, "mount.root": absent,
				},
				attrs: members{"picket.event.retval": -int(unix.EPERM), "picket.syscall.path": "none"},
			},
			{typ: "mount", members: members{"evt.outcome": "Refused", "mount.source.path": "/", "mount.bind_src_mount_id": matches(id)}, attrs: members{"picket.syscall.flags": unix.MS_BIND}},
			{typ: "umount", members: members{"evt.outcome": "Refused", "file.path": "$DIR/a", "file.inode": matches(id)}, attrs: members{"picket.file.source": "post_stat"}},
			{typ: "chroot", members: members{"evt.outcome": "Refused", "file.path": "$DIR"}, attrs: members{"picket.syscall.destination.path": "$DIR/a"}},
		},
	},
})

func TestMount(t *testing.T) { run(t, mountCases, nil) }
