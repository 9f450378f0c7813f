// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package suite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver"
)

// descend makes n directories, one in the other, goes into the last one, and returns the path to it from where it began.
func descend(n int, name string) (string, error) {
	for range n {
		if err := errors.Join(unix.Mkdir(name, 0o755), unix.Chdir(name)); err != nil {
			return "", err
		}
	}
	return strings.Repeat(name+"/", n), nil
}

// deep makes and removes a file and a directory behind n directories, by relative paths.
func deep(n int, name string) func(string) error {
	return func(string) error {
		_, err := descend(n, name)
		if err != nil {
			return err
		}
		fd, err := unix.Open("leaf", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		return errors.Join(err, unix.Fchmod(fd, 0o600), unix.Mkdir("dir", 0o700), unix.Rename("leaf", "dir/leaf2"), unix.Unlink("dir/leaf2"))
	}
}

// ofDeep are the events of deep.
func ofDeep(n int, name string) []want {
	dir := "$DIR/" + strings.Repeat(name+"/", n)
	whole := func(path string, more ...members) members {
		return with(members{"file.path": path, "file.name": filepath.Base(path), "file.path_resolution_error": absent}, more...)
	}
	return []want{
		{typ: "open", members: whole(dir+"leaf", members{"file.inode": present})},
		{typ: "chmod", members: whole(dir+"leaf", members{"file.mode": unix.S_IFREG | 0o644})},
		{typ: "mkdir", members: whole(dir+"dir", members{"file.mode": unix.S_IFDIR | 0o700})},
		{typ: "rename", members: whole(dir+"leaf", members{"file.destination.path": dir + "dir/leaf2"})},
		{typ: "unlink", members: whole(dir + "dir/leaf2")},
	}
}

// tooDeep are the events of deep that cannot have the whole path. They say so.
func tooDeep() (w []want) {
	const why = "path is longer than 4096 bytes or 320 components"
	for _, typ := range []string{"open", "chmod", "mkdir", "rename", "unlink"} {
		w = append(w, want{typ: typ, members: members{"file.path_resolution_error": why, "file.path": present, "file.name": present}})
	}
	return w
}

// named makes a file of a name in all ways that a name comes to the kernel.
func named(name string) testcase {
	shown := escape(name)
	return testcase{
		do: func(string) error {
			return errors.Join(
				openAt(fdFile, name, unix.O_CREAT|unix.O_RDWR), unix.Fchmod(fdFile, 0o600), unix.Chmod(name, 0o640), unix.Symlink(name, "to"),
				unix.Mkdir("d", 0o755), unix.Rename(name, "d/"+name), unix.Setxattr("d/"+name, "user.x", nil, 0), unix.Unlink("d/"+name),
			)
		},
		want: []want{
			{typ: "open", members: members{"file.path": "$DIR/" + shown, "file.name": shown, "file.path_resolution_error": absent}},
			{typ: "chmod", members: members{"file.path": "$DIR/" + shown, "file.name": shown}, attrs: byFD},
			{typ: "chmod", members: members{"file.path": "$DIR/" + shown, "file.name": shown}, attrs: members{"picket.syscall.path": shown}},
			{typ: "symlink", attrs: target(shown), members: members{"file.path": "$DIR/to"}},
			{typ: "rename", members: members{"file.path": "$DIR/" + shown, "file.destination.path": "$DIR/d/" + shown, "file.destination.name": shown}},
			{typ: "setxattr", members: members{"file.path": "$DIR/d/" + shown}},
			{typ: "unlink", members: members{"file.path": "$DIR/d/" + shown, "file.name": shown}},
		},
	}
}

// escape writes a byte that is no UTF-8 as records have it.
func escape(s string) string {
	return strings.NewReplacer("\xff", `\xff`, "\xc3\x28", `\xc3(`, `\x41`, `\x5cx41`).Replace(s)
}

// notResident is memory that the kernel has yet to read from a file: the first look at it, at the entry of a syscall, fails.
func notResident(dir, text string) (unsafe.Pointer, error) {
	page := os.Getpagesize()
	f, err := os.CreateTemp(dir, "memory")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Write(append([]byte(text), make([]byte, page)...)); err != nil {
		return nil, err
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, page, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	return unsafe.Pointer(unsafe.SliceData(mem)), unix.Madvise(mem, unix.MADV_DONTNEED)
}

// callWith makes a call with strings that are not resident in memory in the place of the strings among the arguments.
func callWith(dir, name string, args ...any) error {
	for i, v := range args {
		if text, ok := v.(string); ok {
			p, err := notResident(dir, text)
			if err != nil {
				return err
			}
			args[i] = p
		}
	}
	_, err := call(name, args...)
	return err
}

var oddCases = cases("odd", []testcase{
	{name: "30 levels", do: deep(30, "level"), want: ofDeep(30, "level")},
	{name: "300 levels", do: deep(300, "lv"), want: ofDeep(300, "lv")},
	{name: "400 levels", do: deep(400, "lv"), want: tooDeep()},
	{name: "more than 4096 bytes", do: deep(20, strings.Repeat("n", 250)), want: tooDeep()},
	with1("spaces", named(" a  b ")),
	with1("newlines", named("a\nb\r\t\x01\x7f")),
	with1("no UTF-8", named("a\xff\xc3\x28é\\x41")),
	with1("255 bytes", named(strings.Repeat("n", 251)+"\xff☃")),
	with1("quotes", named("\"'\\ {}<&>$(`)")),
	{
		name: "dots and links",
		do: func(string) error {
			return errors.Join(unix.Mkdir("a", 0o755), unix.Mkdir("a/b", 0o755), unix.Symlink("a/b", "l"), unix.Mkdir("l/../c", 0o755), unix.Rmdir("./l/.././/c/"),
				openAt(fdDir, "l/..", unix.O_RDONLY), unix.Mkdirat(fdDir, "b/../d", 0o755))
		},
		want: []want{
			{typ: "mkdir", members: members{"file.path": "$DIR/a/c"}, attrs: members{"picket.syscall.path": "l/../c"}},
			{typ: "rmdir", members: members{"file.path": "$DIR/a/c", "file.name": "c"}},
			{typ: "open", members: members{"file.path": "$DIR/a"}},
			{typ: "mkdir", members: members{"file.path": "$DIR/a/d", "file.inode": present}, attrs: byPath("b/../d")},
		},
	},
	{
		name: "descriptors",
		do: func(string) error {
			memfd, err := unix.MemfdCreate("a/b c", unix.MFD_CLOEXEC)
			if err != nil {
				return err
			}
			through := func(fd int) error { return openAt(fdDir, fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY) }
			return errors.Join(
				through(memfd), unix.Fchmod(memfd, 0o700), os.WriteFile("gone", []byte("x"), 0o604), openAt(fdFile, "gone", unix.O_RDWR), unix.Unlink("gone"),
				through(fdFile), unix.Fchown(fdFile, 1, 2), unix.Ftruncate(fdFile, 0),
			)
		},
		want: []want{
			{typ: "open", members: members{"file.path": absent, "file.name": "memfd:a/b c", "file.mode": unix.S_IFREG | 0o777, "file.filesystem": "tmpfs"}, attrs: opened},
			{typ: "chmod", members: with(members{"file.path": absent, "file.name": "memfd:a/b c", "file.mode": unix.S_IFREG | 0o777}, newMode(0o700)), attrs: byFD},
			{typ: "open", members: members{"file.path": "$DIR/gone", "file.mode": unix.S_IFREG | 0o604, "file.flags": "[O_RDONLY O_CLOEXEC]"}, attrs: opened},
			{typ: "chown", members: with(members{"file.path": "$DIR/gone", "file.uid": 0, "file.inode": present}, owner(1, 2)), attrs: byFD},
			{typ: "open", members: members{"file.path": "$DIR/gone", "file.uid": 1, "file.gid": 2, "file.flags": "[O_WRONLY O_TRUNC]"}, attrs: byFD},
		},
	},
	{
		name: "handle",
		do: func(string) error {
			if err := os.WriteFile("f", nil, 0o640); err != nil {
				return err
			}
			handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, "f", 0)
			if err != nil {
				return err
			}
			if err := openAt(fdDir, ".", unix.O_RDONLY); err != nil {
				return err
			}
			fd, err := unix.OpenByHandleAt(fdDir, handle, unix.O_RDWR|unix.O_CLOEXEC)
			return errors.Join(err, unix.Close(fd))
		},
		want: []want{{typ: "open", members: members{"file.path": "$DIR/f", "file.flags": "[O_RDWR O_CLOEXEC]", "file.mode": unix.S_IFREG | 0o640}, attrs: opened}},
	},
	{
		// At entry there is nothing to read; the kernel then fetches the page, and at exit there is.
		name: "memory that is not resident",
		do: func(dir string) error {
			times, err := notResident(dir, string(int64Bytes(3, 4, 5, 6)))
			return errors.Join(
				err, callWith(dir, "mkdirat", unix.AT_FDCWD, "a", 0o750), os.WriteFile("b", nil, 0o600), callWith(dir, "fchmodat", unix.AT_FDCWD, "b", 0o640),
				callWith(dir, "setxattr", "b", "user.x", "y", 1, 0), openAt(fdFile, "b", unix.O_RDWR), callWith(dir, "fsetxattr", fdFile, "user.y", "y", 1, 0),
				callWith(dir, "symlinkat", "target", unix.AT_FDCWD, "c"), callWith(dir, "renameat2", unix.AT_FDCWD, "c", unix.AT_FDCWD, "d", 0),
				callWith(dir, "utimensat", unix.AT_FDCWD, "b", times, 0),
			)
		},
		want: []want{
			{typ: "mkdir", members: members{"file.path": "$DIR/a", "file.path_resolution_error": absent}, attrs: byPath("a")},
			{typ: "chmod", members: members{"file.path": "$DIR/b"}, attrs: byPath("b")},
			{typ: "setxattr", members: with(members{"file.path": "$DIR/b"}, xattr("user.x"))},
			{typ: "setxattr", members: with(members{"file.path": "$DIR/b", "file.mode": unix.S_IFREG | 0o640, "file.change_time": present}, xattr("user.y")), attrs: byFD},
			{typ: "symlink", members: members{"file.path": "$DIR/c"}, attrs: target("target")},
			{typ: "rename", members: members{"file.path": "$DIR/c", "file.destination.path": "$DIR/d"}},
			{typ: "utimes", members: members{"file.path": "$DIR/b", "file.destination.access_time": "1970-01-01T00:00:03.000000004Z", "file.destination.modification_time": "1970-01-01T00:00:05.000000006Z"}},
		},
	},
	{
		// Calls with pointers that lead nowhere are no events, and do no harm.
		name: "bad pointers",
		do: func(string) error {
			var errs []error
			for _, name := range []string{
				"open", "creat", "openat", "truncate", "unlink", "rmdir", "rename", "mkdir", "chmod", "chown", "lchown", "link", "symlink", "utime", "utimes",
				"futimesat", "utimensat", "setxattr", "lsetxattr", "removexattr", "chdir", "chroot", "execve", "unlinkat", "renameat2", "mkdirat", "linkat",
				"symlinkat", "fchmodat", "fchownat", "openat2", "fchmodat2", "setxattrat", "removexattrat", "execveat", "open_by_handle_at",
			} {
				if lacks(name) {
					continue
				}
				for _, p := range []int{0, 1, -1, -4096, 1 << 62} {
					if p == 0 && (name == "utimensat" || name == "futimesat") {
						continue // the times of the standard input
					}
					if _, err := call(name, p, p, p, p, p, p); err == nil {
						errs = append(errs, fmt.Errorf("%s succeeds", name))
					}
				}
			}
			return errors.Join(append(errs, unix.Mkdir("last", 0o700))...)
		},
		want: []want{{typ: "mkdir", members: members{"file.path": "$DIR/last"}}},
		not: []want{
			{typ: "open", members: members{"evt.outcome": "Error"}},
			{typ: "chmod", members: members{"evt.outcome": "Error"}},
			{typ: "exec", members: members{"evt.outcome": "Error"}},
		},
	},
})

func with1(name string, c testcase) testcase {
	c.name = name
	return c
}

func int64Bytes(v ...int64) (b []byte) {
	for _, n := range v {
		b = binary.NativeEndian.AppendUint64(b, uint64(n))
	}
	return b
}

func TestFileOdd(t *testing.T) { run(t, oddCases, nil) }

// What is an event only because it was asked for.
var errorCases = cases("errors", []testcase{
	{
		name: "exec",
		do: func(dir string) error {
			if err := errors.Join(os.WriteFile("plain", nil, 0o644), openAt(fdDir, ".", unix.O_RDONLY), openAt(fdFile, "plain", unix.O_RDONLY)); err != nil {
				return err
			}
			none := []int64{0}
			_, missing := call("execve", "./missing", none, none)
			_, plain := call("execve", dir+"/plain", none, none)
			_, at := call("execveat", fdDir, "missing2", none, none, 0)
			_, empty := call("execveat", fdFile, "", none, none, unix.AT_EMPTY_PATH)
			notThere := callWith(dir, "execve", "missing3", none, none)
			_, other := call("execve", "/", none, none) // EACCES
			_, loop := call("execve", "plain/x", none, none)
			return errors.Join(fails(missing, unix.ENOENT), fails(plain, unix.EACCES), fails(at, unix.ENOENT), fails(empty, unix.EACCES),
				fails(notThere, unix.ENOENT), fails(other, unix.EACCES), fails(loop, unix.ENOTDIR))
		},
		want: []want{
			{typ: "exec", members: members{
				"evt.outcome": "Error", "evt.category": "Process Activity", "file.path": "$DIR/missing", "file.name": "missing", "file.inode": absent,
				"process.executable.name": "suite.test",
			}, attrs: members{"picket.event.retval": -int(unix.ENOENT), "picket.syscall.path": "./missing", "picket.file.source": "user_path"}},
			{typ: "exec", members: members{
				"evt.outcome": "Refused", "file.path": "$DIR/plain", "file.mode": unix.S_IFREG | 0o644, "file.inode": present, "process.executable.name": "suite.test",
			}, attrs: with(byPath("$DIR/plain"), members{"picket.event.retval": -int(unix.EACCES)})},
			{typ: "exec", members: members{"evt.outcome": "Error", "file.path": "$DIR/missing2"}, attrs: members{"picket.syscall.path": "missing2"}},
			{typ: "exec", members: members{"evt.outcome": "Refused", "file.path": "$DIR/plain"}, attrs: byFD},
			{typ: "exec", members: members{"evt.outcome": "Error", "file.path": "$DIR/missing3"}, attrs: members{"picket.syscall.path": "missing3"}},
			{typ: "exec", members: members{"evt.outcome": "Refused", "file.path": "/"}},
			{typ: "exit", members: members{"process.executable.name": "suite.test"}},
		},
		not: []want{{typ: "exec", attrs: members{"picket.event.retval": -int(unix.ENOTDIR)}}},
	},
	{
		name: "file",
		do: func(string) error {
			_, null := call("openat", unix.AT_FDCWD, 0, 0, 0)
			_, wild := call("mkdirat", unix.AT_FDCWD, -4096, 0)
			_, long := call("mkdirat", unix.AT_FDCWD, strings.Repeat("a/", 3000), 0)
			return errors.Join(fails(null, unix.EFAULT), fails(wild, unix.EFAULT), fails(long, unix.ENAMETOOLONG), fails(unix.Mkdir("no/where", 0o700), unix.ENOENT),
				fails(unix.Fchmod(999, 0o700), unix.EBADF), fails(unix.Fchdir(999), unix.EBADF))
		},
		want: []want{
			{typ: "open", members: members{"evt.outcome": "Error", "file.path": absent, "file.path_resolution_error": "user memory could not be read"}, attrs: members{"picket.event.retval": -int(unix.EFAULT)}},
			{typ: "mkdir", members: members{"evt.outcome": "Error", "file.path": absent, "file.path_resolution_error": "user memory could not be read"}},
			{typ: "mkdir", members: members{"evt.outcome": "Error", "file.path": present, "file.path_resolution_error": "path is longer than 4096 bytes"}},
			{typ: "mkdir", members: members{"evt.outcome": "Error", "file.path": "$DIR/no/where"}, attrs: members{"picket.event.retval": -int(unix.ENOENT)}},
			{typ: "chmod", members: members{"evt.outcome": "Error", "file.path": absent, "file.path_resolution_error": "the call names no path"}},
			{typ: "chdir", members: members{"evt.outcome": "Error", "file.path": absent, "file.path_resolution_error": "the call names no path"}},
		},
	},
})

func TestFileErrors(t *testing.T) {
	run(t, errorCases, func(cfg *ebpfsecurityreceiver.Config) {
		cfg.Events = map[string]ebpfsecurityreceiver.EventConfig{
			"exec": {Errors: []string{"ENOENT", "EACCES"}}, "open": {Errors: []string{"EFAULT"}}, "mkdir": {Errors: []string{"EFAULT", "ENAMETOOLONG", "ENOENT"}},
			"chmod": {Errors: []string{"EBADF"}}, "chdir": {Errors: []string{"EBADF"}},
		}
	})
}
