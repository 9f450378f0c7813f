// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sensor

import "golang.org/x/sys/unix"

var nativeNumbers = map[string]int{
	"openat": unix.SYS_OPENAT, "openat2": unix.SYS_OPENAT2, "truncate": unix.SYS_TRUNCATE, "unlinkat": unix.SYS_UNLINKAT,
	"renameat": unix.SYS_RENAMEAT, "renameat2": unix.SYS_RENAMEAT2, "mkdirat": unix.SYS_MKDIRAT,
	"fchmod": unix.SYS_FCHMOD, "fchmodat": unix.SYS_FCHMODAT, "fchmodat2": unix.SYS_FCHMODAT2,
	"fchown": unix.SYS_FCHOWN, "fchownat": unix.SYS_FCHOWNAT, "linkat": unix.SYS_LINKAT, "connect": unix.SYS_CONNECT, "bind": unix.SYS_BIND,
}
