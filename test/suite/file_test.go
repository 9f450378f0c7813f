// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package suite

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// call makes a system call by its name, past all libraries. Strings and slices are given as pointers to them.
func call(name string, args ...any) (int, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return -1, err
	}
	nr, ok := info.SyscallNames[name]
	if !ok {
		return -1, unix.ENOSYS
	}
	var (
		a    [6]uintptr
		keep []any
	)
	for i, v := range args {
		switch v := v.(type) {
		case string:
			p, err := unix.BytePtrFromString(v)
			if err != nil {
				return -1, err
			}
			keep = append(keep, p)
			a[i] = uintptr(unsafe.Pointer(p))
		case []byte:
			a[i] = uintptr(unsafe.Pointer(unsafe.SliceData(v)))
		case []int64:
			a[i] = uintptr(unsafe.Pointer(unsafe.SliceData(v)))
		case unsafe.Pointer:
			a[i] = uintptr(v)
		case int:
			a[i] = uintptr(v)
		default:
			return -1, fmt.Errorf("argument %d of %s is a %T", i, name, v)
		}
	}
	n, _, errno := unix.Syscall6(uintptr(nr), a[0], a[1], a[2], a[3], a[4], a[5])
	runtime.KeepAlive(args)
	runtime.KeepAlive(keep)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// lacks says whether the kernel has not got a call. One whose arguments are all wrong does nothing.
func lacks(name string) bool {
	_, err := call(name, -1, -1, -1, -1, -1, -1)
	return errors.Is(err, unix.ENOSYS)
}

// op is a system call, and the event that it makes.
type op struct {
	call    string
	args    []any
	errno   unix.Errno // that it must fail with
	quiet   bool       // it makes no event
	members map[string]any
	attrs   map[string]any
}

// asNobody is an op that gives up all rights.
const asNobody = "(nobody)"

// members of one event are put on top of those of others.
type members = map[string]any

func with(base members, more ...members) members {
	m := maps.Clone(base)
	for _, x := range more {
		maps.Copy(m, x)
	}
	return m
}

// family is a case that makes calls, one after the other. Calls that the kernel has not got are left out.
func family(name, typ string, prepare func() error, ops []op) testcase {
	var have []op
	for _, o := range ops {
		if o.call == asNobody || !lacks(o.call) {
			have = append(have, o)
		}
	}
	c := testcase{name: name, do: func(string) error {
		if err := prepare(); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
		for i, o := range have {
			if o.call == asNobody {
				if err := nobody(); err != nil {
					return err
				}
				continue
			}
			_, err := call(o.call, o.args...)
			if o.errno != 0 {
				err = fails(err, o.errno)
			}
			if err != nil {
				return fmt.Errorf("%d: %s: %w", i, o.call, err)
			}
		}
		return nil
	}}
	for _, o := range have {
		if o.call == asNobody || o.quiet {
			continue
		}
		w := want{typ: typ, members: with(members{"evt.outcome": "Success"}, o.members), attrs: with(members{"picket.event.retval": absent}, o.attrs)}
		if o.errno != 0 {
			w.attrs["picket.event.retval"] = -int(o.errno)
			w.members["evt.outcome"] = "Error"
			if o.errno == unix.EACCES || o.errno == unix.EPERM {
				w.members["evt.outcome"] = "Refused"
			}
		}
		c.want = append(c.want, w)
	}
	return c
}

// Descriptors that the preparation of a case opens.
const (
	fdFile = 100 + iota
	fdDir
)

// openAt opens a file as a certain descriptor.
func openAt(fd int, path string, flags int) error {
	got, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(got)
	return unix.Dup3(got, fd, unix.O_CLOEXEC)
}

// prepared makes the file f (0600, times 1 and 2), the directory d with the file g, and the symbolic link l to f, and opens f
// and d. All are of root, and others may only read them.
func prepared() error {
	const data = "content"
	err := errors.Join(
		unix.Mkdir("d", 0o755), os.WriteFile("f", []byte(data), 0o644), os.WriteFile("d/g", []byte(data), 0o644), unix.Symlink("f", "l"),
		unix.UtimesNano("f", []unix.Timespec{{Sec: 1}, {Sec: 2}}), unix.UtimesNano("d/g", []unix.Timespec{{Sec: 1}, {Sec: 2}}),
		openAt(fdFile, "f", unix.O_RDWR), openAt(fdDir, "d", unix.O_RDONLY),
	)
	// A new link cannot be followed from the cache alone until its access time is later than its change time (relatime).
	for end := time.Now().Add(time.Second); err == nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
		var file, link unix.Stat_t
		if err = errors.Join(unix.Stat("l", &file), unix.Lstat("l", &link)); link.Atim.Nano() > link.Ctim.Nano() {
			break
		}
	}
	return err
}

// Members that events of the prepared files have.
var (
	ofF = members{
		"file.path": "$DIR/f", "file.name": "f", "file.inode": present, "file.uid": 0, "file.gid": 0, "file.user": "root", "file.group": "root",
		"file.mode": unix.S_IFREG | 0o644, "file.mount_id": present, "file.filesystem": present, "file.path_resolution_error": absent,
		"file.access_time": "1970-01-01T00:00:01Z", "file.modification_time": "1970-01-01T00:00:02Z", "file.change_time": present,
	}
	ofG = with(ofF, members{"file.path": "$DIR/d/g", "file.name": "g"})
	ofL = with(ofF, members{
		"file.path": "$DIR/l", "file.name": "l", "file.mode": unix.S_IFLNK | 0o777, "file.access_time": present, "file.modification_time": present,
	})
	ofD = with(ofF, members{
		"file.path": "$DIR/d", "file.name": "d", "file.mode": unix.S_IFDIR | 0o755, "file.access_time": present, "file.modification_time": present,
	})
	ofR     = with(ofF, members{"file.mode": unix.S_IFREG | 0o640, "file.access_time": present, "file.modification_time": present})
	nothing = members{"file.inode": absent, "file.mode": absent, "file.mount_id": absent, "file.filesystem": absent, "file.change_time": absent}
)

// What a call by path changes is not known of before it.
var (
	noMode  = members{"file.mode": absent, "file.change_time": absent}
	noOwner = with(noMode, members{"file.uid": -1, "file.gid": -1, "file.user": absent, "file.group": absent})
	noTimes = members{"file.access_time": absent, "file.modification_time": absent, "file.change_time": absent}
	noCtime = members{"file.change_time": absent}
)

func byPath(path string) members {
	return members{"picket.syscall.path": path, "picket.file.source": "post_stat"}
}

var byFD = members{"picket.syscall.path": absent, "picket.file.source": "fd"}

func mode(m int) members { return members{"file.mode": m} }

func newMode(m int) members { return members{"file.destination.mode": m} }

var fileCases = cases("file", []testcase{
	{
		name: "mkdir",
		do: func(dir string) error {
			return errors.Join(unix.Mkdir("d", 0o750), os.Chmod(".", 0o700), nobody(), fails(unix.Mkdir(dir+"/e", 0o700), unix.EACCES))
		},
		want: []want{
			{typ: "mkdir", members: members{
				"evt.category": "File Activity", "evt.outcome": "Success", "file.path": "$DIR/d", "file.name": "d", "file.inode": present,
				"file.mode": unix.S_IFDIR | 0o750, "file.uid": 0, "file.user": "root", "file.destination.mode": 0o750, "file.mount_id": present,
			}, attrs: byPath("d")},
			{typ: "mkdir", members: members{
				"evt.outcome": "Refused", "file.path": "$DIR/e", "file.destination.mode": 0o700, "file.inode": absent, "process.uid": 65534, "process.user": "nobody",
			}, attrs: members{"picket.event.retval": -int(unix.EACCES), "picket.file.source": "user_path"}},
		},
	},
	family("chmod", "chmod", prepared, []op{
		{call: "chmod", args: []any{"l", 0o601}, members: with(ofF, noMode, newMode(0o601)), attrs: byPath("l")},
		{call: "fchmodat", args: []any{fdDir, "../f", 0o603}, members: with(ofF, noMode, newMode(0o603)), attrs: byPath("../f")},
		{call: "fchmod", args: []any{fdFile, 0o4602}, members: with(ofF, mode(unix.S_IFREG|0o603), newMode(0o4602)), attrs: byFD},
		{call: "fchmodat2", args: []any{unix.AT_FDCWD, "d/../d//g", 0o604, 0}, members: with(ofG, noMode, newMode(0o604)), attrs: byPath("d/../d//g")},
		{call: "fchmodat2", args: []any{fdFile, "", 0o605, unix.AT_EMPTY_PATH}, members: with(ofF, mode(unix.S_IFREG|0o4602), newMode(0o605)), attrs: byFD},
		{call: "fchmod", args: []any{fdFile, 0o644}, members: with(ofF, members{"file.mode": present}, newMode(0o644)), attrs: byFD},
		{call: asNobody},
		{call: "fchmodat", args: []any{fdDir, "../f", 0o777}, errno: unix.EPERM, members: with(ofF, newMode(0o777)), attrs: byPath("../f")},
		{call: "fchmod", args: []any{fdFile, 0o776}, errno: unix.EPERM, members: with(ofF, newMode(0o776)), attrs: byFD},
		{call: "fchmodat2", args: []any{fdFile, "", 0o775, unix.AT_EMPTY_PATH}, errno: unix.EPERM, members: with(ofF, newMode(0o775)), attrs: byFD},
	}),
	family("chown", "chown", prepared, []op{
		{call: "chown", args: []any{"l", 1, -1}, members: with(ofF, noOwner, owner(1, -1)), attrs: byPath("l")},
		{call: "fchown", args: []any{fdFile, 2, 3}, members: with(ofF, members{"file.uid": present, "file.user": present}, owner(2, 3)), attrs: byFD},
		{call: "fchown", args: []any{fdFile, 4, -1}, members: with(ofF, members{"file.uid": 2, "file.gid": 3, "file.user": present, "file.group": present}, owner(4, -1)), attrs: byFD},
		{call: "lchown", args: []any{"l", -1, 5}, members: with(ofL, noOwner, owner(-1, 5)), attrs: byPath("l")},
		{call: "fchownat", args: []any{fdDir, "../l", 6, 0, unix.AT_SYMLINK_NOFOLLOW}, members: with(ofL, noOwner, owner(6, 0)), attrs: byPath("../l")},
		{call: "fchownat", args: []any{fdFile, "", 0, 0, unix.AT_EMPTY_PATH}, members: with(ofF, members{"file.uid": 4, "file.gid": 3, "file.user": present, "file.group": present}, owner(0, 0)), attrs: byFD},
		{call: asNobody},
		{call: "fchownat", args: []any{fdDir, "g", 65534, 65534, 0}, errno: unix.EPERM, members: with(ofG, owner(65534, 65534)), attrs: byPath("g")},
		{call: "fchown", args: []any{fdFile, 65534, -1}, errno: unix.EPERM, members: with(ofF, owner(65534, -1)), attrs: byFD},
	}),
	family("utimes", "utimes", prepared, []op{
		{call: "utime", args: []any{"l", []int64{10, 20}}, members: with(ofF, noTimes, times("00:00:10Z", "00:00:20Z")), attrs: byPath("l")},
		{call: "utimes", args: []any{"l", []int64{1, 500, 2, 999999}}, members: with(ofF, noTimes, times("00:00:01.0005Z", "00:00:02.999999Z")), attrs: byPath("l")},
		{call: "futimesat", args: []any{fdDir, "g", []int64{3, 1, 4, 2}}, members: with(ofG, noTimes, times("00:00:03.000001Z", "00:00:04.000002Z")), attrs: byPath("g")},
		{call: "futimesat", args: []any{fdFile, 0, []int64{1, 0, 2, 0}}, members: with(ofF, times("00:00:01Z", "00:00:02Z"), anyTimes), attrs: byFD},
		{call: "utimensat", args: []any{fdFile, 0, []int64{7, 7, 8, 8}, 0}, members: with(ofF, anyTimes, times("00:00:07.000000007Z", "00:00:08.000000008Z")), attrs: byFD},
		{
			call: "utimensat", args: []any{fdFile, "", []int64{1, 0, 2, unix.UTIME_OMIT}, unix.AT_EMPTY_PATH},
			members: with(ofF, members{
				"file.access_time": "1970-01-01T00:00:07.000000007Z", "file.modification_time": "1970-01-01T00:00:08.000000008Z",
				"file.destination.access_time": "1970-01-01T00:00:01Z", "file.destination.modification_time": absent,
			}), attrs: byFD,
		},
		{call: "utimensat", args: []any{unix.AT_FDCWD, "l", []int64{9, unix.UTIME_NOW, 1, 1}, unix.AT_SYMLINK_NOFOLLOW}, members: with(ofL, noTimes, members{
			"file.destination.access_time": recent, "file.destination.modification_time": "1970-01-01T00:00:01.000000001Z",
		}), attrs: byPath("l")},
		{call: "utimensat", args: []any{unix.AT_FDCWD, "d", 0, 0}, members: with(ofD, noTimes, members{
			"file.destination.access_time": recent, "file.destination.modification_time": recent,
		}), attrs: byPath("d")},
		{call: asNobody},
		{call: "utimensat", args: []any{fdFile, 0, []int64{5, 0, 6, 0}, 0}, errno: unix.EPERM, members: with(ofF, anyTimes, times("00:00:05Z", "00:00:06Z")), attrs: byFD},
		{call: "utimensat", args: []any{fdDir, "../f", []int64{5, 1, 6, 1}, 0}, errno: unix.EPERM, members: with(ofF, anyTimes, times("00:00:05.000000001Z", "00:00:06.000000001Z")), attrs: byPath("../f")},
	}),
	family("setxattr", "setxattr", prepared, []op{
		{call: "setxattr", args: []any{"l", "user.a", "x", 1, 0}, members: with(ofF, noCtime, xattr("user.a")), attrs: byPath("l")},
		{call: "lsetxattr", args: []any{"l", "trusted.l", "x", 1, unix.XATTR_CREATE}, members: with(ofL, noCtime, xattr("trusted.l")), attrs: byPath("l")},
		{call: "fsetxattr", args: []any{fdFile, "user.b.c", "x", 1, 0}, members: with(ofF, xattr("user.b.c")), attrs: byFD},
		{call: "setxattrat", args: []any{fdDir, "g", 0, "user.d", xattrArgs(), 16}, members: with(ofG, noCtime, xattr("user.d")), attrs: byPath("g")},
		{call: "setxattrat", args: []any{fdFile, "", unix.AT_EMPTY_PATH, "user.e", xattrArgs(), 16}, members: with(ofF, xattr("user.e")), attrs: byFD},
		{call: asNobody},
		{call: "setxattr", args: []any{"f", "user.f", "x", 1, 0}, errno: unix.EACCES, members: with(ofF, xattr("user.f")), attrs: byPath("f")},
		{call: "fsetxattr", args: []any{fdDir, "trusted.g", "x", 1, 0}, errno: unix.EPERM, members: with(ofD, xattr("trusted.g")), attrs: byFD},
	}),
	family("removexattr", "removexattr", func() error {
		err := prepared()
		for _, name := range []string{"trusted.a", "trusted.b", "trusted.c"} {
			err = errors.Join(err, unix.Setxattr("f", name, nil, 0), unix.Lsetxattr("l", name, nil, 0), unix.Setxattr("d/g", name, nil, 0))
		}
		return err
	}, []op{
		{call: "removexattr", args: []any{"l", "trusted.a"}, members: with(ofF, noCtime, xattr("trusted.a")), attrs: byPath("l")},
		{call: "lremovexattr", args: []any{"l", "trusted.a"}, members: with(ofL, noCtime, xattr("trusted.a")), attrs: byPath("l")},
		{call: "fremovexattr", args: []any{fdFile, "trusted.b"}, members: with(ofF, xattr("trusted.b")), attrs: byFD},
		{call: "removexattrat", args: []any{fdDir, "g", 0, "trusted.a"}, members: with(ofG, noCtime, xattr("trusted.a")), attrs: byPath("g")},
		{call: "removexattrat", args: []any{fdFile, "", unix.AT_EMPTY_PATH, "trusted.c"}, members: with(ofF, xattr("trusted.c")), attrs: byFD},
		{call: asNobody},
		{call: "lremovexattr", args: []any{"d/g", "trusted.b"}, errno: unix.EPERM, members: with(ofG, xattr("trusted.b")), attrs: byPath("d/g")},
		{call: "fremovexattr", args: []any{fdDir, "trusted.b"}, errno: unix.EPERM, members: with(ofD, xattr("trusted.b")), attrs: byFD},
	}),
	family("symlink", "symlink", prepared, []op{
		{call: "symlink", args: []any{"d/../no where", "s1"}, members: with(ofL, link("s1")), attrs: with(byPath("s1"), target("d/../no where"))},
		{call: "symlinkat", args: []any{"/etc", fdDir, "s2"}, members: with(ofL, link("d/s2")), attrs: with(byPath("s2"), target("/etc"))},
		{call: asNobody},
		{call: "symlinkat", args: []any{"x", fdDir, "s3"}, errno: unix.EACCES, members: with(link("d/s3"), nothing), attrs: members{
			"picket.syscall.path": "s3", "picket.file.source": "user_path", "picket.syscall.destination.path": "x",
		}},
	}),
	family("link", "link", prepared, []op{
		{call: "link", args: []any{"f", "h1"}, members: with(ofF, noCtime, second("h1", ofF)), attrs: with(byPath("f"), target("h1"))},
		{call: "linkat", args: []any{fdDir, "g", unix.AT_FDCWD, "h2", 0}, members: with(ofG, noCtime, second("h2", ofF)), attrs: with(byPath("g"), target("h2"))},
		{call: "linkat", args: []any{unix.AT_FDCWD, "l", fdDir, "h3", 0}, members: with(ofL, noCtime, second("d/h3", ofL)), attrs: with(byPath("l"), target("h3"))},
		{call: "linkat", args: []any{unix.AT_FDCWD, "l", fdDir, "h4", unix.AT_SYMLINK_FOLLOW}, members: with(ofF, noCtime, second("d/h4", ofF)), attrs: with(byPath("l"), target("h4"))},
		{call: "linkat", args: []any{fdFile, "", fdDir, "h5", unix.AT_EMPTY_PATH}, members: with(ofF, second("d/h5", ofF)), attrs: with(byFD, target("h5"))},
		{call: asNobody},
		{call: "linkat", args: []any{fdDir, "g", fdDir, "h6", 0}, errno: refusedLink(), members: with(ofG, members{"file.destination.path": "$DIR/d/h6", "file.destination.inode": absent}), attrs: with(byPath("g"), target("h6"))},
	}),
	family("rename", "rename", func() error {
		err := prepared()
		for _, name := range []string{"r1", "r2", "r3", "r4", "r5"} {
			err = errors.Join(err, os.WriteFile(name, nil, 0o640))
		}
		return err
	}, []op{
		{call: "rename", args: []any{"r1", "d/n1"}, members: with(ofR, noCtime, link("r1"), second("d/n1", ofR)), attrs: with(byPath("r1"), target("d/n1"))},
		{call: "renameat", args: []any{fdDir, "../r2", fdDir, "n2"}, members: with(ofR, noCtime, link("r2"), second("d/n2", ofR)), attrs: with(byPath("../r2"), target("n2"))},
		{
			call: "renameat2", args: []any{unix.AT_FDCWD, "r3", fdDir, "n3", unix.RENAME_NOREPLACE}, members: with(ofR, noCtime, link("r3"), second("d/n3", ofR)),
			attrs: with(byPath("r3"), target("n3"), members{"picket.syscall.flags": unix.RENAME_NOREPLACE}),
		},
		// After an exchange both names are there; the file is the one that was under the first.
		{
			call: "renameat2", args: []any{unix.AT_FDCWD, "r4", fdDir, "g", unix.RENAME_EXCHANGE}, members: with(ofR, noCtime, link("r4"), second("d/g", ofR)),
			attrs: with(byPath("r4"), target("g"), members{"picket.syscall.flags": unix.RENAME_EXCHANGE}),
		},
		{
			call: "renameat2", args: []any{unix.AT_FDCWD, "r5", unix.AT_FDCWD, "n5", unix.RENAME_WHITEOUT}, members: with(ofR, noCtime, link("r5"), second("n5", ofR)),
			attrs: with(byPath("r5"), target("n5"), members{"picket.syscall.flags": unix.RENAME_WHITEOUT}),
		},
		{call: asNobody},
		{call: "renameat2", args: []any{unix.AT_FDCWD, "f", unix.AT_FDCWD, "n6", 0}, errno: unix.EACCES, members: with(ofF, members{
			"file.destination.path": "$DIR/n6", "file.destination.inode": absent,
		}), attrs: with(byPath("f"), target("n6"))},
	}),
	family("unlink", "unlink", prepared, []op{
		{call: "unlink", args: []any{"l"}, members: with(nothing, gone("l")), attrs: byUserPath("l")},
		{call: "unlinkat", args: []any{fdDir, ".//g", 0}, members: with(nothing, gone("d/g")), attrs: byUserPath(".//g")},
		{call: asNobody},
		{call: "unlinkat", args: []any{fdDir, "../f", 0}, errno: unix.EACCES, members: with(ofF, members{"file.flags": absent}), attrs: byPath("../f")},
	}),
	family("rmdir", "rmdir", func() error {
		return errors.Join(prepared(), unix.Mkdir("r1", 0o755), unix.Mkdir("d/r2", 0o755), unix.Mkdir("d/r3", 0o755))
	}, []op{
		{call: "rmdir", args: []any{"r1/"}, members: with(nothing, gone("r1")), attrs: byUserPath("r1/")},
		{call: "unlinkat", args: []any{fdDir, "r2", unix.AT_REMOVEDIR}, members: with(nothing, gone("d/r2")), attrs: byUserPath("r2")},
		{call: asNobody},
		{call: "unlinkat", args: []any{fdDir, "r3", unix.AT_REMOVEDIR}, errno: unix.EACCES, members: with(ofD, members{"file.path": "$DIR/d/r3", "file.name": "r3"}), attrs: byPath("r3")},
	}),
	family("mkdirat", "mkdir", prepared, []op{
		{call: "mkdirat", args: []any{fdDir, "m", 0o1755}, members: with(ofD, members{"file.path": "$DIR/d/m", "file.name": "m", "file.mode": unix.S_IFDIR | 0o1755}, newMode(0o1755)), attrs: byPath("m")},
		{call: asNobody},
		{call: "mkdirat", args: []any{fdDir, "n", 0o700}, errno: unix.EACCES, members: with(nothing, gone("d/n"), newMode(0o700)), attrs: byUserPath("n")},
	}),
	family("chdir", "chdir", func() error { return errors.Join(prepared(), unix.Mkdir("d/shut", 0o700), unix.Symlink("d", "ld")) }, []op{
		{call: "chdir", args: []any{"ld/../ld"}, members: ofD, attrs: members{"picket.syscall.path": "ld/../ld", "picket.file.source": "fd"}},
		{call: "chdir", args: []any{".."}, members: members{"file.path": "$DIR", "file.mode": unix.S_IFDIR | 0o755}, attrs: members{"picket.syscall.path": "..", "picket.file.source": "fd"}},
		{call: "fchdir", args: []any{fdDir}, members: ofD, attrs: byFD},
		{call: "chdir", args: []any{"/"}, members: members{"file.path": "/", "file.name": absent, "file.inode": present}, attrs: members{"picket.file.source": "fd"}},
		{call: "fchdir", args: []any{fdDir}, members: ofD, attrs: byFD},
		{call: asNobody},
		{call: "chdir", args: []any{"shut"}, errno: unix.EACCES, members: with(ofD, members{"file.path": "$DIR/d/shut", "file.name": "shut", "file.mode": unix.S_IFDIR | 0o700}), attrs: byPath("shut")},
	}),
	// A new root is seen from the root of the mount namespace, also the second one and the one that leaves the first.
	family("chroot", "chroot", func() error {
		return errors.Join(prepared(), unix.Mkdir("d/e", 0o755), openAt(fdFile, "/", unix.O_RDONLY))
	}, []op{
		{call: "chroot", args: []any{"d"}, members: ofD, attrs: members{"picket.syscall.path": "d", "picket.file.source": "fd"}},
		{call: "chroot", args: []any{"/e"}, members: with(ofD, members{"file.path": "$DIR/d/e", "file.name": "e"}), attrs: members{"picket.syscall.path": "/e", "picket.file.source": "fd"}},
		{call: "fchdir", args: []any{fdFile}, quiet: true},
		{call: "chroot", args: []any{"."}, members: members{"file.path": "/", "file.inode": present}, attrs: members{"picket.syscall.path": ".", "picket.file.source": "fd"}},
		{call: asNobody},
		{call: "chroot", args: []any{"/proc"}, errno: unix.EPERM, members: members{"file.path": "/proc", "file.name": "proc"}, attrs: byPath("/proc")},
	}),
	family("open", "open", func() error {
		return errors.Join(prepared(), unix.Mkfifo("pipe", 0o600), os.WriteFile("shut", nil, 0o600))
	}, []op{
		{call: "open", args: []any{"l", unix.O_RDWR | unix.O_APPEND, 0}, members: with(ofF, flags("O_RDWR O_APPEND")), attrs: opened},
		{call: "creat", args: []any{"d/c", 0o4640}, members: with(created("d/c", 0o4640), flags("O_WRONLY O_CREAT O_TRUNC")), attrs: opened},
		{call: "openat", args: []any{fdDir, "c2", unix.O_CREAT | unix.O_EXCL, 0o600}, members: with(created("d/c2", 0o600), flags("O_RDONLY O_CREAT O_EXCL")), attrs: opened},
		{
			call: "openat2", args: []any{fdDir, "c3", []int64{unix.O_CREAT | unix.O_WRONLY, 0o604, unix.RESOLVE_BENEATH}, unix.SizeofOpenHow},
			members: with(created("d/c3", 0o604), flags("O_WRONLY O_CREAT")), attrs: opened,
		},
		// a file that never has a name
		{call: "openat", args: []any{unix.AT_FDCWD, ".", unix.O_TMPFILE | unix.O_RDWR, 0o610}, members: members{
			"file.path": matches("$DIR/#[0-9]+"), "file.mode": unix.S_IFREG | 0o610, "file.destination.mode": 0o610, "file.inode": present,
		}, attrs: opened},
		{call: "openat", args: []any{unix.AT_FDCWD, "pipe", unix.O_RDONLY | unix.O_NONBLOCK, 0}, members: with(ofF, members{
			"file.path": "$DIR/pipe", "file.name": "pipe", "file.mode": unix.S_IFIFO | 0o600, "file.access_time": present, "file.modification_time": present,
		}), attrs: opened},
		{call: "openat", args: []any{unix.AT_FDCWD, "/proc/self/comm", unix.O_RDONLY, 0}, members: members{
			"file.path": "/proc/$PID/comm", "file.filesystem": "proc", "file.destination": absent,
		}, attrs: opened},
		{call: "truncate", args: []any{"l", 3}, members: with(ofF, members{"file.modification_time": present}, flags("O_WRONLY O_TRUNC")), attrs: byPath("l")},
		{call: "ftruncate", args: []any{fdFile, 2}, members: with(ofF, members{"file.modification_time": present}, flags("O_WRONLY O_TRUNC")), attrs: byFD},
		{call: asNobody},
		{call: "openat", args: []any{fdDir, "../shut", unix.O_RDONLY, 0}, errno: unix.EACCES, members: with(created("shut", 0o600), flags("O_RDONLY"), members{"file.destination.mode": absent, "file.destination": absent}), attrs: byPath("../shut")},
		{
			call: "openat2", args: []any{unix.AT_FDCWD, "shut", []int64{unix.O_WRONLY, 0, 0}, unix.SizeofOpenHow}, errno: unix.EACCES,
			members: with(created("shut", 0o600), flags("O_WRONLY"), members{"file.destination.mode": absent, "file.destination": absent}), attrs: byPath("shut"),
		},
		{call: "truncate", args: []any{"d/g", 0}, errno: unix.EACCES, members: with(ofG, flags("O_WRONLY O_TRUNC")), attrs: byPath("d/g")},
		{call: "openat", args: []any{unix.AT_FDCWD, "d/new", unix.O_CREAT, 0o700}, errno: unix.EACCES, members: with(nothing, gone("d/new"), newMode(0o700), flags("O_RDONLY O_CREAT")), attrs: byUserPath("d/new")},
		{call: "open_by_handle_at", args: []any{fdFile, []int64{8, 0, 0, 0}, 0}, errno: unix.EPERM, members: members{"file.path_resolution_error": "the call names no path"}, attrs: members{"picket.file.source": "user_path"}},
	}),
})

func TestFile(t *testing.T) { run(t, fileCases, nil) }

func owner(uid, gid int) members {
	return members{"file.destination.uid": uid, "file.destination.gid": gid}
}

func times(access, modification string) members {
	const day = "1970-01-01T"
	return members{"file.destination.access_time": day + access, "file.destination.modification_time": day + modification}
}

var anyTimes = members{"file.access_time": present, "file.modification_time": present}

func xattr(name string) members {
	namespace, _, _ := strings.Cut(name, ".")
	return members{"file.destination.attribute_name": name, "file.destination.attribute_namespace": namespace}
}

// xattrArgs is a struct xattr_args of setxattrat: no value.
func xattrArgs() []int64 { return make([]int64, 2) }

func link(path string) members {
	return members{"file.path": "$DIR/" + path, "file.name": path[len(path)-2:]}
}

func target(path string) members { return members{"picket.syscall.destination.path": path} }

// second is what destination has of a file under its second name.
func second(path string, of members) members {
	m := members{"file.destination.path": "$DIR/" + path}
	for _, name := range []string{"inode", "mode", "uid", "user", "mount_id", "filesystem", "change_time", "modification_time"} {
		m["file.destination."+name] = of["file."+name]
	}
	return m
}

func gone(path string) members { return members{"file.path": "$DIR/" + path} }

func byUserPath(path string) members {
	return members{"picket.syscall.path": path, "picket.file.source": "user_path"}
}

// refusedLink is how a link to another's file is refused.
func refusedLink() unix.Errno {
	if v, err := os.ReadFile("/proc/sys/fs/protected_hardlinks"); err == nil && v[0] == '1' {
		return unix.EPERM
	}
	return unix.EACCES
}

var opened = members{"picket.file.source": "fd", "picket.event.retval": present}

func flags(names string) members { return members{"file.flags": "[" + names + "]"} }

func created(path string, mode int) members {
	return members{
		"file.path": "$DIR/" + path, "file.mode": unix.S_IFREG | mode, "file.uid": 0, "file.user": "root", "file.inode": present, "file.mount_id": present,
		"file.filesystem": present, "file.destination.mode": mode,
	}
}
