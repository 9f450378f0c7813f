// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

// Command bits32 makes the file calls of 32-bit programs, whose numbers, structs and ids are others than those of the kernel's
// own. It is built for the 32-bit twin of the architecture under test.
package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/elastic/go-seccomp-bpf/arch"
)

var failed bool

// call makes a system call by its name. One that the architecture has not got is left out.
func call(want syscall.Errno, name string, args ...any) int {
	info, err := arch.GetInfo("")
	if err != nil {
		panic(err)
	}
	nr, ok := info.SyscallNames[name]
	if !ok {
		return -1
	}
	var (
		a    [6]uintptr
		keep []*byte
	)
	for i, v := range args {
		switch v := v.(type) {
		case string:
			p, err := syscall.BytePtrFromString(v)
			if err != nil {
				panic(err)
			}
			keep = append(keep, p)
			a[i] = uintptr(unsafe.Pointer(p))
		case []int32:
			a[i] = uintptr(unsafe.Pointer(unsafe.SliceData(v)))
		case []int64:
			a[i] = uintptr(unsafe.Pointer(unsafe.SliceData(v)))
		case int:
			a[i] = uintptr(v)
		}
	}
	n, _, errno := syscall.RawSyscall6(uintptr(nr), a[0], a[1], a[2], a[3], a[4], a[5])
	runtime.KeepAlive(args)
	runtime.KeepAlive(keep)
	if errno != want {
		failed = true
		fmt.Fprintf(os.Stderr, "%s: %v, want %v\n", name, errno, want)
	}
	return int(n)
}

func main() {
	runtime.LockOSThread()
	syscall.Umask(0o22)
	const cwd = -100
	fd := call(0, "openat", cwd, "f", syscall.O_CREAT|syscall.O_RDWR, 0o644)
	call(0, "mkdirat", cwd, "d", 0o755)
	dir := call(0, "openat", cwd, "d", syscall.O_RDONLY, 0)

	call(0, "open", "f", syscall.O_WRONLY, 0)
	call(0, "creat", "c", 0o600)
	call(0, "openat2", dir, "c2", []int64{syscall.O_CREAT | syscall.O_RDWR, 0o604, 0}, 24)
	call(0, "truncate64", "f", 0, 0, 0)
	call(0, "ftruncate64", fd, 0, 0, 0)
	call(0, "chmod", "f", 0o601)
	call(0, "fchmod", fd, 0o602)
	call(0, "fchmodat", dir, "../f", 0o603)
	call(0, "chown", "f", 0xffff, 7)
	call(0, "lchown", "f", 8, 0xffff)
	call(0, "fchown", fd, 9, 0xffff)
	call(0, "chown32", "f", 70000, -1)
	call(0, "fchown32", fd, 0, 0)
	call(0, "utime", "f", []int32{10, -20})
	call(0, "utimes", "f", []int32{1, 2, 3, 4})
	call(0, "futimesat", dir, "../f", []int32{1, 3, 3, 5})
	call(0, "utimensat", cwd, "f", []int32{1, 4, 3, 6}, 0)
	call(0, "utimensat", fd, 0, []int32{1, 5, 3, 7}, 0)
	call(0, "utimensat_time64", cwd, "f", []int64{1 << 32, 6, 3, 8}, 0)
	call(0, "setxattr", "f", "user.a", "x", 1, 0)
	call(0, "fsetxattr", fd, "user.b", "x", 1, 0)
	call(0, "removexattr", "f", "user.a")
	call(0, "fremovexattr", fd, "user.b")
	call(0, "symlinkat", "to", dir, "l")
	call(0, "linkat", cwd, "f", dir, "h", 0)
	call(0, "renameat", dir, "h", dir, "h2")
	call(0, "renameat2", dir, "h2", dir, "h3", 0)
	call(0, "unlinkat", dir, "h3", 0)
	call(0, "mkdir", "m", 0o700)
	call(0, "rmdir", "m")
	call(0, "mkdirat", cwd, "m2", 0o700)
	call(0, "unlinkat", cwd, "m2", 0x200)
	call(0, "chdir", "d")
	call(0, "fchdir", dir)
	call(0, "setresuid32", 65534, 65534, 65534)
	call(syscall.EPERM, "fchmodat", cwd, "../f", 0o777)
	call(syscall.EPERM, "fchown32", fd, 1, 1)
	call(syscall.EPERM, "chroot", "/")
	call(syscall.ENOENT, "execve", "./missing", 0, 0)
	if failed {
		os.Exit(1)
	}
}
