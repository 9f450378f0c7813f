// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package enrich

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const testPasswd = `root:x:0:0:root:/root:/bin/bash
# comment
daemon:x:1:1::/:/usr/sbin/nologin
toor:x:0:0::/root:/bin/sh
`

func write(tb testing.TB, path, content string) {
	tb.Helper()
	require.NoError(tb, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(tb, os.WriteFile(path, []byte(content), 0o600))
}

func testUsers(tb testing.TB, now *time.Time) (u *Users, host, proc string) {
	tb.Helper()
	host, proc = tb.TempDir(), tb.TempDir()
	return NewUsers(WithHostRoot(host), WithProc(proc), WithMountNamespace(1), WithTime(func() time.Time { return *now })), host, proc
}

// namespaceFile makes the namespace file of a process and returns the namespace's number.
func namespaceFile(tb testing.TB, proc, pid string) uint32 {
	tb.Helper()
	path := filepath.Join(proc, pid, "ns/mnt")
	write(tb, path, "")
	return namespaceOf(path)
}

func TestUsers(t *testing.T) {
	now := time.Unix(1000, 0)
	u, host, proc := testUsers(t, &now)
	write(t, filepath.Join(host, "etc/passwd"), testPasswd)
	write(t, filepath.Join(host, "etc/group"), "root:x:0:\nadm:x:4:a,b\n")
	write(t, filepath.Join(proc, "50/root/etc/passwd"), "app:x:1000:1000::/:/bin/sh\nroot:x:0:0::/:/bin/sh")
	ns := namespaceFile(t, proc, "50")
	namespaceFile(t, proc, "53")
	write(t, filepath.Join(proc, "53/root/etc/passwd"), "wrong:x:0:0::/:/bin/sh")
	for _, tc := range []struct {
		mntns, pid, id uint32
		user, group    string
	}{
		{1, 10, 0, "root", "root"},
		{0, 10, 0, "root", "root"},
		{1, 10, 1, "daemon", ""},
		{1, 10, 4, "", "adm"},
		{1, 10, 1000, "", ""},
		{ns, 50, 1000, "app", ""},
		{ns, 50, 0, "root", ""},
		{ns, 51, 1000, "app", ""}, // the namespace is known already
		{3, 52, 0, "", ""},        // no such process
		{4, 53, 0, "", ""},        // the pid is of a process in another namespace by now
	} {
		assert.Equal(t, tc.user, u.User(tc.mntns, tc.pid, tc.id), "user %+v", tc)
		assert.Equal(t, tc.group, u.Group(tc.mntns, tc.pid, tc.id), "group %+v", tc)
	}
}

func TestUsersNoticeChanges(t *testing.T) {
	now := time.Unix(1000, 0)
	u, host, proc := testUsers(t, &now)
	passwd := filepath.Join(host, "etc/passwd")
	assert.Empty(t, u.User(1, 1, 0), "there is no file yet")
	write(t, passwd, testPasswd)
	now = now.Add(recheck - 1)
	assert.Empty(t, u.User(1, 1, 0), "nothing is looked up so soon")
	now = now.Add(1)
	assert.Equal(t, "root", u.User(1, 1, 0))

	write(t, passwd, "admin:x:0:0::/:/bin/sh\n")
	assert.Equal(t, "root", u.User(1, 1, 0))
	now = now.Add(recheck)
	assert.Equal(t, "admin", u.User(1, 1, 0))
	require.NoError(t, os.Remove(passwd))
	now = now.Add(recheck)
	assert.Equal(t, "admin", u.User(1, 1, 0), "what was known last is better than nothing")

	// A container's process that is gone leaves its names to the others.
	write(t, filepath.Join(proc, "50/root/etc/passwd"), testPasswd)
	ns := namespaceFile(t, proc, "50")
	assert.Equal(t, "daemon", u.User(ns, 50, 1))
	require.NoError(t, os.RemoveAll(filepath.Join(proc, "50")))
	now = now.Add(recheck)
	assert.Equal(t, "daemon", u.User(ns, 51, 1))
}

// A container can make anything of its files.
func TestUsersOfHostileContainer(t *testing.T) {
	now := time.Unix(1000, 0)
	u, host, proc := testUsers(t, &now)
	write(t, filepath.Join(host, "etc/passwd"), testPasswd)

	etc := func(pid string) string {
		dir := filepath.Join(proc, pid, "root/etc")
		require.NoError(t, os.MkdirAll(dir, 0o755))
		return dir
	}
	user := func(pid uint32) string { return u.User(namespaceFile(t, proc, fmt.Sprint(pid)), pid, 0) }
	require.NoError(t, unix.Mkfifo(filepath.Join(etc("60"), "passwd"), 0o600))
	assert.Empty(t, user(60), "a FIFO")

	require.NoError(t, os.Symlink(filepath.Join(host, "etc/passwd"), filepath.Join(etc("70"), "passwd")))
	assert.Empty(t, user(70), "a link to a file outside of its root")
	require.NoError(t, os.Symlink("../../../../../../usr/passwd", filepath.Join(etc("71"), "passwd")))
	write(t, filepath.Join(proc, "71/root/usr/passwd"), testPasswd)
	assert.Equal(t, "root", user(71), "a link to a file within")
	require.NoError(t, os.MkdirAll(filepath.Join(etc("72"), "passwd"), 0o755))
	assert.Empty(t, user(72), "a directory")

	for i := range uint32(2 * maxNamespaces) {
		u.User(1000+i, 60, 0)
	}
	assert.Len(t, u.spaces.items, maxNamespaces)
}

// TestUsersOfContainerThatHangs: names that are not there in time are missing at first, and there once they are read. A
// container whose files never come costs others nothing.
func TestUsersOfContainerThatHangs(t *testing.T) {
	now := time.Unix(1000, 0)
	u, _, _ := testUsers(t, &now)
	answer := make(chan struct{})
	u.read = func(uint32, uint32, string, fileContent) fileContent {
		<-answer
		return fileContent{names: map[uint32]string{7: "late"}}
	}
	for ns := uint32(100); ns < 100+2*maxReaders; ns++ {
		assert.Empty(t, u.User(ns, 1, 7))
		assert.Empty(t, u.User(ns, 1, 7), "the reader is still at it")
	}
	assert.EqualValues(t, maxReaders, u.readers.Load(), "readers that wait")
	close(answer)
	assert.Eventually(t, func() bool { return u.User(100, 1, 7) == "late" }, 10*time.Second, time.Millisecond)
	assert.Eventually(t, func() bool { return u.readers.Load() == 0 }, 10*time.Second, time.Millisecond)
	assert.Empty(t, u.User(100+maxReaders, 1, 7), "there was no reader left for it")
	now = now.Add(recheck)
	assert.Eventually(t, func() bool { return u.User(100+maxReaders, 1, 7) == "late" }, 10*time.Second, time.Millisecond)
}

func TestParseNames(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       map[uint32]string
	}{
		{"nothing", "", map[uint32]string{}},
		{"two", testPasswd, map[uint32]string{0: "root", 1: "daemon"}},
		{"no newline at the end", "a:x:1", map[uint32]string{1: "a"}},
		{"DOS", "a:x:1:\r\nb:x:2\r\n", map[uint32]string{1: "a", 2: "b"}},
		{"no name", ":x:1:\n", map[uint32]string{}},
		{"no id", "a:x::\nb:x:y:\nc:x:-1:\nd:x:4294967296:\ne\nf:x\n", map[uint32]string{}},
		{"largest id", "a:x:4294967295:\n", map[uint32]string{4294967295: "a"}},
		{"NIS", "+:::\n+a:x:1:\n-b:x:2:\n", map[uint32]string{}},
		{"long name", strings.Repeat("a", 257) + ":x:1:\n" + strings.Repeat("b", 256) + ":x:2:\n", map[uint32]string{2: strings.Repeat("b", 256)}},
		{"long line", "a:x:1:" + strings.Repeat("z", 3*maxUserLine) + "\nb:x:2:\n", map[uint32]string{2: "b"}},
		{"long line at the end", "b:x:2:\na:x:1:" + strings.Repeat("z", 3*maxUserLine), map[uint32]string{2: "b"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			assert.Equal(t, tc.want, parseNames(strings.NewReader(tc.text)))
		})
	}
	var many strings.Builder
	for i := range maxUsers + 10 {
		fmt.Fprintf(&many, "u%d:x:%d:\n", i, i)
	}
	assert.Len(t, parseNames(strings.NewReader(many.String())), maxUsers)
	assert.Empty(t, parseNames(strings.NewReader(strings.Repeat("#\n", maxUserFile)+"a:x:1:\n")), "larger than what is read")
}

func FuzzParseNames(f *testing.F) {
	for _, s := range []string{testPasswd, "a:x:1", ":::", "a:x:4294967296:", "\n\n", "a\x00:x:1:\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, name := range parseNames(strings.NewReader(s)) {
			assert.NotEmpty(t, name)
			assert.LessOrEqual(t, len(name), maxUserName)
			assert.False(t, strings.ContainsAny(name, ":\n"))
		}
	})
}

func BenchmarkUser(b *testing.B) {
	now := time.Unix(1000, 0)
	u, host, _ := testUsers(b, &now)
	write(b, filepath.Join(host, "etc/passwd"), testPasswd)
	u.now = time.Now
	b.ReportAllocs()
	for b.Loop() {
		u.User(1, 1, 0)
	}
}
