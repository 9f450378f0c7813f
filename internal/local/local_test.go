// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"crypto/sha1" //nolint:gosec // what the hasher gives
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/event"
)

// image is the process id of the processes of these tests.
const image = 77

func bootNow(t *testing.T) uint64 {
	t.Helper()
	var ts unix.Timespec
	require.NoError(t, unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts))
	return uint64(ts.Nano())
}

// seen is the origin of an event that happens now.
func seen(t *testing.T) *Origin {
	t.Helper()
	o := NewOrigin(true)
	o.Saw(image, bootNow(t))
	return o
}

// child starts a process that waits, and returns it and a function that says by what signal it ended.
func child(t *testing.T) (target *Target, ended func() syscall.Signal) {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	require.NoError(t, cmd.Start())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return &Target{ProcessID: image, PID: uint32(cmd.Process.Pid)}, func() syscall.Signal {
		select {
		case <-done:
			return cmd.ProcessState.Sys().(syscall.WaitStatus).Signal()
		case <-time.After(10 * time.Second):
			require.Fail(t, "the process did not end")
			return 0
		}
	}
}

func alive(target *Target) bool { return unix.Kill(int(target.PID), 0) == nil }

func TestOrigin(t *testing.T) {
	assert.Nil(t, FromContext(context.Background()))
	o := NewOrigin(true)
	assert.Same(t, o, FromContext(NewContext(context.Background(), o)))
	for _, s := range []sighting{{1, 10}, {1, 12}, {1, 11}, {2, 13}, {1, 14}} {
		o.Saw(s.process, s.boot)
	}
	for process, want := range map[uint64]uint64{1: 14, 2: 13} {
		got, err := o.lastSeen(process)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	assert.Equal(t, []sighting{{1, 12}, {2, 13}, {1, 14}}, o.sightings)
	_, err := o.lastSeen(3)
	require.ErrorIs(t, err, ErrNotLocal)
	_, err = (*Origin)(nil).lastSeen(1)
	require.ErrorIs(t, err, ErrNotLocal)
}

func TestKill(t *testing.T) {
	target, ended := child(t)
	other := *target
	other.ProcessID = image + 1
	started := NewOrigin(true)
	started.Saw(image, 1) // by a process that had the pid right after boot; a later moment may be before the machine's own start
	elsewhere := NewOrigin(false)
	elsewhere.Saw(image, bootNow(t))
	for name, tt := range map[string]struct {
		origin *Origin
		target *Target
		err    error
	}{
		"forged":           {nil, target, ErrNotLocal},
		"of other records": {seen(t), &other, ErrNotLocal},
		"pid reused":       {started, target, ErrReused},
		"pid namespace":    {elsewhere, target, ErrNamespace},
		"init":             {seen(t), &Target{ProcessID: image, PID: 1}, ErrProtected},
		"everybody":        {seen(t), &Target{ProcessID: image}, ErrProtected},
		"the collector":    {seen(t), &Target{ProcessID: image, PID: uint32(os.Getpid())}, ErrProtected},
	} {
		require.ErrorIs(t, tt.origin.Kill(tt.target, int(unix.SIGKILL)), tt.err, name)
	}
	require.True(t, alive(target))
	require.NoError(t, seen(t).Kill(target, int(unix.SIGTERM)))
	assert.Equal(t, syscall.SIGTERM, ended())
	require.ErrorIs(t, seen(t).Kill(target, int(unix.SIGKILL)), ErrGone)
}

// TestKillZombie: a process that has ended and was not waited for is gone.
func TestKillZombie(t *testing.T) {
	cmd := exec.Command("true")
	require.NoError(t, cmd.Start())
	defer cmd.Wait() //nolint:errcheck // it ends
	require.Eventually(t, func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		return err == nil && strings.Contains(string(stat), ") Z ")
	}, 10*time.Second, time.Millisecond)
	require.ErrorIs(t, seen(t).Kill(&Target{ProcessID: image, PID: uint32(cmd.Process.Pid)}, int(unix.SIGKILL)), ErrGone)
}

func TestStartOf(t *testing.T) {
	stat, err := os.ReadFile("/proc/self/stat")
	require.NoError(t, err)
	start, err := startOf(stat)
	require.NoError(t, err)
	assert.Less(t, start, bootNow(t))
	assert.Greater(t, start+uint64(time.Hour), bootNow(t))

	fields := strings.Repeat(" 1", 18)
	start, err = startOf([]byte("7 (a) S 1) R" + fields + " 1234 5"))
	require.NoError(t, err)
	assert.Equal(t, uint64(12_340_000_000), start)
	for _, bad := range []string{"", "7", "7 (a", "7 (a) R" + fields, "7 (a) R" + fields + " x", "7 (a) R" + fields + " 99999999999999999999"} {
		_, err := startOf([]byte(bad))
		require.ErrorIs(t, err, errStat, bad)
	}
}

// newCgroup makes a cgroup and returns the mount, its path and a function that moves a process into a cgroup.
func newCgroup(t *testing.T) (mount, path string, move func(path string, pid uint32)) {
	t.Helper()
	mount, err := cgroup2Mount()
	if err != nil {
		t.Skip(err)
	}
	path = fmt.Sprintf("/picket-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	if err := os.Mkdir(mount+path, 0o755); err != nil {
		t.Skipf("no cgroup can be made here: %v", err)
	}
	t.Cleanup(func() {
		assert.Eventually(t, func() bool { return os.Remove(mount+path) == nil }, 10*time.Second, 10*time.Millisecond)
	})
	return mount, path, func(path string, pid uint32) {
		require.NoError(t, os.WriteFile(mount+path+"/cgroup.procs", []byte(strconv.Itoa(int(pid))), 0))
	}
}

func TestKillCgroup(t *testing.T) {
	mount, path, move := newCgroup(t)
	id := strings.Repeat("c0ffee", 10)
	pod, app, inner := path+"/pod", path+"/pod/x-"+id+".scope", path+"/pod/x-"+id+".scope/init"
	for _, dir := range []string{pod, app, inner} {
		require.NoError(t, os.Mkdir(mount+dir, 0o755))
		t.Cleanup(func() {
			assert.Eventually(t, func() bool { return os.Remove(mount+dir) == nil }, 10*time.Second, 10*time.Millisecond)
		})
	}
	outside, _ := child(t)
	first, firstEnded := child(t)
	second, secondEnded := child(t)
	move(pod, outside.PID)
	move(app, first.PID)
	move(inner, second.PID)
	at := func(path string) *Target {
		return &Target{ProcessID: image, PID: second.PID, ContainerID: id, CgroupID: inode(mount + path), CgroupPath: path}
	}

	replaced := at(inner)
	replaced.CgroupID++
	climbing := at(inner)
	climbing.CgroupPath = "/.." + inner
	uncontained := at(inner)
	uncontained.ContainerID = ""
	for name, tt := range map[string]struct {
		origin    *Origin
		target    *Target
		container bool
		err       string
	}{
		"forged":         {nil, at(inner), true, "not local"},
		"another cgroup": {seen(t), replaced, true, "the cgroup is gone"},
		"root":           {seen(t), &Target{ProcessID: image, CgroupPath: "/", CgroupID: inode(mount)}, false, "the process is in the root cgroup, with much else of the host"},
		"above ours":     {seen(t), climbing, false, "the cgroup of the process is not known"},
		"no container":   {seen(t), uncontained, true, "the process is in no container with a cgroup of its own"},
	} {
		_, err := tt.origin.KillCgroup(tt.target, int(unix.SIGKILL), tt.container)
		require.EqualError(t, err, tt.err, name)
	}
	require.True(t, alive(second))

	// With the collector itself in it, or init, nothing in it is signalled.
	own := cgroupOf(os.Getpid())
	move(app, uint32(os.Getpid()))
	_, err := seen(t).KillCgroup(at(inner), int(unix.SIGKILL), true)
	move(own, uint32(os.Getpid()))
	require.ErrorIs(t, err, ErrProtected)
	require.True(t, alive(second))

	n, err := seen(t).KillCgroup(at(inner), int(unix.SIGTERM), false)
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	assert.Equal(t, syscall.SIGTERM, secondEnded())
	require.True(t, alive(first))

	n, err = seen(t).KillCgroup(at(inner), int(unix.SIGKILL), true) // the process of the event has ended
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	assert.Equal(t, syscall.SIGKILL, firstEnded())
	assert.True(t, alive(outside), "of the pod, not of the container")
	_, err = seen(t).KillCgroup(at(inner), int(unix.SIGKILL), true)
	require.ErrorIs(t, err, ErrGone)
	require.NoError(t, seen(t).Kill(outside, int(unix.SIGKILL)))
}

// TestKillOldCgroup is as on kernels before 5.14, which have no cgroup.kill.
func TestKillOldCgroup(t *testing.T) {
	_, path, move := newCgroup(t)
	target, ended := child(t)
	move(path, target.PID)
	require.NoError(t, signalMember(int(target.PID), path+"/below", int(unix.SIGKILL)))
	require.True(t, alive(target), "of another cgroup")
	require.NoError(t, signalMember(int(target.PID), path, int(unix.SIGKILL)))
	assert.Equal(t, syscall.SIGKILL, ended())
	require.ErrorIs(t, signalMember(int(target.PID), path, int(unix.SIGKILL)), ErrGone)
}

// TestKillReadOnlyCgroup is as with systemd's ProtectControlGroups: what is there can be read only, and each process is signalled.
func TestKillReadOnlyCgroup(t *testing.T) {
	mount, path, move := newCgroup(t)
	below := path + "/below"
	require.NoError(t, os.Mkdir(mount+below, 0o755))
	t.Cleanup(func() {
		assert.Eventually(t, func() bool { return os.Remove(mount+below) == nil }, 10*time.Second, 10*time.Millisecond)
	})
	outside, _ := child(t)
	first, firstEnded := child(t)
	second, secondEnded := child(t)
	move(path, first.PID)
	move(below, second.PID)
	readOnly := t.TempDir()
	target := &Target{ProcessID: image, PID: first.PID, CgroupID: inode(mount + path), CgroupPath: path}

	type result struct {
		n                 int
		setup, write, err error
	}
	done := make(chan result)
	go func() {
		var r result
		defer func() { done <- r }()
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and its mount namespace with it
		if r.setup = unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); r.setup != nil {
			return
		}
		for _, m := range []struct {
			source, target string
			flags          uintptr
		}{
			{"", "/", unix.MS_REC | unix.MS_PRIVATE},
			{mount, readOnly, unix.MS_BIND},
			{"", readOnly, unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY},
		} {
			if r.setup = unix.Mount(m.source, m.target, "", m.flags, ""); r.setup != nil {
				return
			}
		}
		r.write = os.WriteFile(readOnly+path+"/cgroup.kill", []byte("1"), 0)
		r.n, r.err = killCgroup(readOnly, target, int(unix.SIGKILL), false)
	}()
	r := <-done
	if r.setup != nil {
		t.Skipf("no read-only mount can be made here: %v", r.setup)
	}
	require.ErrorIs(t, r.write, unix.EROFS)
	require.NoError(t, r.err)
	assert.Equal(t, 2, r.n)
	assert.Equal(t, syscall.SIGKILL, firstEnded())
	assert.Equal(t, syscall.SIGKILL, secondEnded())
	assert.True(t, alive(outside))
}

func TestContainerCgroup(t *testing.T) {
	for _, tt := range []struct{ path, id, want string }{
		{"/kubepods.slice/pod1/cri-abc.scope/x/y", "abc", "/kubepods.slice/pod1/cri-abc.scope"},
		{"/docker/abc", "abc", "/docker/abc"},
		{"/docker/abc/docker/abc", "abc", "/docker/abc"},
		{"/docker/abc", "abd", ""},
		{"/docker/abc", "", ""},
	} {
		assert.Equal(t, tt.want, containerCgroup(tt.path, tt.id), tt.path)
	}
}

func fileOf(t *testing.T, path string) *event.File {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Stat(path, &st))
	return &event.File{Path: path, Inode: st.Ino}
}

func sums(data string) []string {
	a, b := sha1.Sum([]byte(data)), sha256.Sum256([]byte(data)) //nolint:gosec // as above
	return []string{"sha1:" + hex.EncodeToString(a[:]), "sha256:" + hex.EncodeToString(b[:])}
}

func TestHash(t *testing.T) {
	dir := t.TempDir()
	write := func(name, data string) *event.File {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(data), 0o600))
		return fileOf(t, path)
	}
	h := NewHasher()
	self := &Target{ProcessID: image, PID: uint32(os.Getpid())}
	dead := &Target{ProcessID: image, PID: 1 << 30, MntNS: h.ns}
	a, empty := write("a", "hello"), write("empty", "")
	replaced := write("replaced", "x")
	replaced.Inode++
	gone := write("gone", "x")
	require.NoError(t, os.Remove(gone.Path))
	fifo := filepath.Join(dir, "fifo")
	require.NoError(t, unix.Mkfifo(fifo, 0o600))
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(a.Path, link))
	remote := *a
	remote.Filesystem = "fuse.sshfs"
	for name, tt := range map[string]struct {
		origin *Origin
		target *Target
		file   *event.File
		limit  int64
		state  string
		err    string
	}{
		"forged":        {nil, self, a, 100, event.HashFailed, "not local"},
		"process":       {seen(t), self, a, 5, event.HashDone, ""},
		"dead process":  {seen(t), dead, a, 5, event.HashDone, ""},
		"dead, other":   {seen(t), &Target{ProcessID: image, PID: 1 << 30, MntNS: 1}, a, 5, event.HashFileNotFound, "the process is gone"},
		"big":           {seen(t), self, a, 4, event.HashFileTooBig, "the file has 5 bytes"},
		"empty":         {seen(t), self, empty, 4, event.HashFileEmpty, "the file is empty"},
		"gone":          {seen(t), self, gone, 4, event.HashFileNotFound, "no such file or directory"},
		"replaced":      {seen(t), self, replaced, 4, event.HashFileOpenError, "another file is there by now"},
		"fifo":          {seen(t), self, fileOf(t, fifo), 4, event.HashFileOpenError, "it is no regular file"},
		"symbolic link": {seen(t), self, &event.File{Path: link, Inode: a.Inode}, 5, event.HashFileOpenError, "it is no regular file"},
		"remote":        {seen(t), self, &remote, 5, event.HashFailed, "files on fuse.sshfs are not hashed"},
		"unknown":       {seen(t), self, &event.File{Path: a.Path}, 5, event.HashPathnameResolutionError, "the file is not known"},
		"none":          {seen(t), self, nil, 5, event.HashPathnameResolutionError, "the file is not known"},
	} {
		hashes, state, err := h.Hash(tt.origin, tt.target, tt.file, false, tt.limit)
		assert.Equal(t, tt.state, state, name)
		if tt.err != "" {
			require.EqualError(t, err, tt.err, name)
			assert.Empty(t, hashes, name)
			continue
		}
		require.NoError(t, err, name)
		assert.Equal(t, sums("hello"), hashes, name)
	}

	// A file that changes is hashed again.
	require.NoError(t, os.WriteFile(a.Path, []byte("other"), 0o600))
	hashes, _, err := h.Hash(seen(t), self, a, false, 5)
	require.NoError(t, err)
	assert.Equal(t, sums("other"), hashes)
}

// TestHashDeletedExecutable: what a process runs can be read as long as it runs.
func TestHashDeletedExecutable(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	require.NoError(t, err)
	data, err := os.ReadFile(sleep)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "x")
	require.NoError(t, os.WriteFile(path, data, 0o700))
	f := fileOf(t, path)
	cmd := exec.Command(path, "60")
	require.NoError(t, cmd.Start())
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	require.NoError(t, os.Remove(path))
	hashes, state, err := NewHasher().Hash(seen(t), &Target{ProcessID: image, PID: uint32(cmd.Process.Pid)}, f, true, 100<<20)
	require.NoError(t, err)
	assert.Equal(t, event.HashDone, state)
	assert.Equal(t, sums(string(data)), hashes)
}

// TestHashSlow: after a file that takes too long, none is hashed for a while.
func TestHashSlow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "big")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(60<<20))
	require.NoError(t, f.Close())
	self := &Target{ProcessID: image, PID: uint32(os.Getpid())}
	h := NewHasher()
	h.Timeout = time.Nanosecond
	_, state, err := h.Hash(seen(t), self, fileOf(t, path), false, 100<<20)
	require.EqualError(t, err, "reading the file took longer than 1ns")
	assert.Equal(t, event.HashFailed, state)
	require.NoError(t, os.WriteFile(path, []byte("a"), 0o600))
	_, state, err = h.Hash(seen(t), self, fileOf(t, path), false, 100)
	require.EqualError(t, err, "a file system does not answer")
	assert.Equal(t, event.HashWasRateLimited, state)

	// When the pause is over, it goes on.
	require.Eventually(t, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return !h.busy
	}, 30*time.Second, time.Millisecond)
	h.pause, h.Timeout = time.Time{}, time.Minute
	_, state, err = h.Hash(seen(t), self, fileOf(t, path), false, 100)
	require.NoError(t, err)
	assert.Equal(t, event.HashDone, state)

	// The budget of bytes is for all.
	h.budget.SetBurst(10)
	require.NoError(t, os.WriteFile(path, []byte("more than that"), 0o600))
	_, state, err = h.Hash(seen(t), self, fileOf(t, path), false, 100)
	require.EqualError(t, err, "more than 67108864 bytes in a second")
	assert.Equal(t, event.HashWasRateLimited, state)
}
