// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command contained is what runs in the container of the tests: it has no libraries, and the container nothing else.
package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

func main() {
	if len(os.Args) > 1 {
		_, _ = os.Stdin.Read(make([]byte, 1)) // executed again: it is there until nobody looks at the container any more
		return
	}
	err := errors.Join(
		touch("/etc/lower", syscall.O_RDONLY),
		touch("/etc/made", syscall.O_WRONLY|syscall.O_CREAT),
		syscall.Chmod("/etc/other", 0o600),
		syscall.Mkdir("/srv", 0o755),
		syscall.Unlink("/etc/made"),
		copyTo("/copy"),
		syscall.Exec("/copy", []string{"renamed", "again"}, []string{"PATH=/bin"}),
	)
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func touch(path string, flags int) error {
	fd, err := syscall.Open(path, flags, 0o640)
	if err != nil {
		return err
	}
	return syscall.Close(fd)
}

func copyTo(path string) error {
	program, err := os.ReadFile("/bin/contained")
	if err != nil {
		return err
	}
	return os.WriteFile(path, program, 0o755)
}
