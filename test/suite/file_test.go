// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package suite

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

var fileCases = cases("file", []testcase{
	{
		name: "mkdir",
		do: func(dir string) error {
			return errors.Join(unix.Mkdir("d", 0o750), os.Chmod(".", 0o700), nobody(), fails(unix.Mkdir(dir+"/e", 0o700), unix.EACCES))
		},
		want: []want{
			{typ: "mkdir", members: map[string]any{
				"evt.category": "File Activity", "evt.outcome": "Success", "file.path": "$DIR/d", "file.name": "d", "file.inode": present,
				"file.mode": unix.S_IFDIR | 0o750, "file.uid": 0, "file.user": "root", "file.destination.mode": 0o750, "file.mount_id": present,
			}, attrs: map[string]any{"picket.syscall.path": "d", "picket.file.source": "post_stat"}},
			{typ: "mkdir", members: map[string]any{
				"evt.outcome": "Refused", "file.path": "$DIR/e", "file.destination.mode": 0o700, "file.inode": absent, "process.uid": 65534, "process.user": "nobody",
			}, attrs: map[string]any{"picket.event.retval": -int(unix.EACCES), "picket.file.source": "user_path"}},
		},
	},
})

func TestFile(t *testing.T) { run(t, fileCases, nil) }
