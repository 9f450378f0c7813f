// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

const mountinfoText = `22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 28 254:1 /var/a\040b /mnt/c\011d rw - ext4 /dev/vda1 rw
41 28 0:45 / /mnt/x rw master:3 propagate_from:1 - fuse.sshfs host: rw
42 41 0:46 / /mnt/x rw - tmpfs none rw
`

func TestParseMounts(t *testing.T) {
	mounts := parseMounts(mountinfoText)
	assert.Equal(t, []mountInfo{
		{id: 22, parent: 28, dev: 20, root: "/", point: "/sys", fs: "sysfs"},
		{id: 28, parent: 1, dev: 254<<20 | 1, root: "/", point: "/", fs: "ext4"},
		{id: 40, parent: 28, dev: 254<<20 | 1, root: "/var/a b", point: "/mnt/c\td", fs: "ext4"},
		{id: 41, parent: 28, dev: 45, root: "/", point: "/mnt/x", fs: "fuse.sshfs"},
		{id: 42, parent: 41, dev: 46, root: "/", point: "/mnt/x", fs: "tmpfs"},
	}, mounts)
	assert.Equal(t, uint32(42), atPoint(mounts, "/mnt/x").id)
	assert.Nil(t, atPoint(mounts, "/mnt"))
	assert.Equal(t, "/sys", byID(mounts, 22).point)
	assert.Nil(t, byID(mounts, 1))
	assert.Equal(t, uint32(42), gone(mounts, mounts[:4], "/mnt/x").id)
	assert.Nil(t, gone(mounts, mounts, "/mnt/x"))
	assert.Nil(t, gone(nil, mounts, "/mnt/x"))
	for _, bad := range []string{"", "\n", "x", "1 2 3 / /", "1 2 3:4 / / rw", "1 2 3:4 / / rw - ", "1 2 34 / / rw - a", "-1 2 3:4 / / rw - a", "1 4294967296 3:4 / / rw - a", "1 2 3:x / / rw - a"} {
		assert.Empty(t, parseMounts(bad), bad)
	}
}

func TestUnescapeMount(t *testing.T) {
	for in, want := range map[string]string{"/a": "/a", `/a\040b`: "/a b", `\134`: `\`, `/\012/`: "/\n/", `\04`: `\04`, `\`: `\`, `\999x`: `\999x`, `\400`: `\400`, `a\\040`: `a\ `} {
		assert.Equal(t, want, unescapeMount(in), in)
	}
}

// The table of a namespace is what was read last; how often it is read is bounded, as is the number of namespaces.
func TestMountTables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := map[uint32]string{1: mountinfoText, 2: strings.Join(strings.SplitAfter(mountinfoText, "\n")[:4], ""), 3: mountinfoText}
		reads := 0
		tables := mountTables{read: func(_, pid uint32) (text, root string) {
			reads++
			return files[pid], fmt.Sprint("/", pid/3)
		}}
		before, now, ok := tables.refresh(7, []uint32{9, 1})
		assert.True(t, ok)
		assert.Nil(t, before)
		assert.Len(t, now, 5)
		assert.Equal(t, 2, reads)

		before, now, ok = tables.refresh(7, []uint32{2})
		assert.True(t, ok)
		assert.Equal(t, uint32(42), gone(before, now, "/mnt/x").id)

		before, _, ok = tables.refresh(7, []uint32{3}) // as another root has it
		assert.True(t, ok)
		assert.Nil(t, before)
		before, _, ok = tables.refresh(8, []uint32{1}) // another namespace
		assert.True(t, ok)
		assert.Nil(t, before)
		_, _, ok = tables.refresh(7, []uint32{9})
		assert.False(t, ok, "the process is gone")

		reads = 0
		for range 2 * mountsPerSecond {
			tables.refresh(7, []uint32{1})
		}
		assert.Equal(t, mountsPerSecond-5, reads, "a second's worth")
		time.Sleep(time.Second / 2)
		_, _, ok = tables.refresh(7, []uint32{1})
		assert.True(t, ok)

		for ns := range uint32(maxMountSpaces) {
			time.Sleep(time.Second)
			tables.refresh(100+ns, []uint32{1})
		}
		assert.Len(t, tables.spaces, maxMountSpaces)
		before, _, ok = tables.refresh(7, []uint32{1})
		assert.True(t, ok)
		assert.Nil(t, before, "forgotten")
	})
}
