// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

func TestAppendWalk(t *testing.T) {
	for _, tt := range []struct {
		names string
		flags uint8
		want  string
	}{
		{"", 0, "/"},
		{"a\x00", 0, "/a"},
		{"c\x00b\x00a\x00", 0, "/a/b/c"},
		{"\xff\x00a b\x00", 0, "/a b/\xff"},
		{"memfd:x\x00", bpf.WalkDetached, "memfd:x"},
		{"memfd:a/b\x00", bpf.WalkDetached, "memfd:a/b"},
		{"memfd:x", bpf.WalkDetached, "memfd:x"},
		{"", bpf.WalkDetached, ""},
		{"c\x00b\x00", bpf.WalkTruncated, "/b/c"},
		// The kernel side sends no such thing, but nothing may break.
		{"\x00", 0, "/"},
		{"\x00\x00", 0, "//"},
	} {
		got := appendWalk([]byte("x"), sensor.Segment{Present: true, Flags: tt.flags, Data: []byte(tt.names)})
		assert.Equal(t, "x"+tt.want, string(got), "%q", tt.names)
	}
	for _, p := range []string{"/", "/etc/passwd", "/a/b/c/d"} {
		assert.Equal(t, p, string(appendWalk(nil, sensor.Segment{Data: []byte(walk(p))})), "and the other way round")
	}
}

func TestWalkError(t *testing.T) {
	assert.Empty(t, walkError(0))
	assert.Empty(t, walkError(bpf.WalkDetached|bpf.WalkUnreachable), "the path is right")
	assert.Equal(t, "kernel memory could not be read", walkError(bpf.WalkFault))
	assert.Equal(t, "path is longer than 4096 bytes or 320 components", walkError(bpf.WalkTruncated|bpf.WalkRaced))
	assert.Equal(t, "renamed while the path was read", walkError(bpf.WalkRaced))
}

func TestAppendClean(t *testing.T) {
	for _, tt := range []struct{ base, p, want, joined string }{
		{"/base", "/a/b", "/a/b", "/a/b"},
		{"/base", "a", "/base/a", "/base/a"},
		{"/base", "", "/base", "/base"},
		{"/base", ".", "/base", "/base/."},
		{"/base", "..", "/", "/base/.."},
		{"/base", "../../../x", "/x", "/base/../../../x"},
		{"/", "a", "/a", "//a"},
		{"/", "", "/", "/"},
		{"/", "..", "/", "//.."},
		{"", "a", "/a", "/a"},
		{"/a/b", "../c/./d//e/", "/a/c/d/e", "/a/b/../c/./d//e/"},
		{"/a", "...", "/a/...", "/a/..."},
		{"/a", "..b/.c", "/a/..b/.c", "/a/..b/.c"},
		{"/a", "//x//", "/x", "//x//"},
		{"/a", "/..", "/", "/.."},
		{"/a", "\xff/../\xfe", "/a/\xfe", "/a/\xff/../\xfe"},
	} {
		assert.Equal(t, "+"+tt.want, string(appendClean([]byte("+"), []byte(tt.base), []byte(tt.p))), "%q in %q", tt.p, tt.base)
		assert.Equal(t, "+"+tt.joined, string(appendJoined([]byte("+"), []byte(tt.base), []byte(tt.p))), "%q in %q", tt.p, tt.base)
	}
	assert.Equal(t, "/b", lexical("/a/../b"))
}

// FuzzPaths compares with the standard library what is put together of a directory and a path that a process chose.
func FuzzPaths(f *testing.F) {
	for _, s := range []string{"", "a", "/", "..", "../..", "a//b/./../c", "\xff", "/a/../../b/"} {
		f.Add([]byte("b\x00a\x00"), []byte(s))
	}
	f.Fuzz(func(t *testing.T, names, p []byte) {
		base := appendWalk(nil, sensor.Segment{Data: names})
		if bytes.IndexByte(p, 0) >= 0 || bytes.IndexByte(names, '/') >= 0 || string(base) != path.Clean(string(base)) {
			return // no string of a process, and no names of directories
		}
		want := path.Clean("/" + string(base) + "/" + string(p))
		if len(p) > 0 && p[0] == '/' {
			want = path.Clean(string(p))
		}
		assert.Equal(t, want, string(appendClean(nil, base, p)))
		assert.Equal(t, want, lexical(string(appendJoined(nil, base, p))))
	})
}

func TestInRoot(t *testing.T) {
	for _, tt := range []struct{ seen, root, want string }{
		{"/a/b", "", "/a/b"},
		{"/a/b", "/", "/a/b"},
		{"/c/root/a", "/c/root", "/a"},
		{"/c/root", "/c/root", "/"},
		{"/c/rootless/a", "/c/root", "fallback"},
		{"/other", "/c/root", "fallback"},
		{"", "/c/root", "fallback"},
		{"/a (deleted)", "", "fallback"},
		{"(unreachable)/a", "", "fallback"},
		{"memfd:x", "/", "fallback"},
	} {
		assert.Equal(t, tt.want, inRoot(tt.seen, tt.root, "fallback"), "%q below %q", tt.seen, tt.root)
	}
}

// process is the lineage of a process alone.
func process(pid uint32) lineage { return lineage{pid, []uint32{pid}} }

func TestLookup(t *testing.T) {
	r, err := newResolver()
	require.NoError(t, err)
	defer r.close()
	dir := fileTree(t)
	self := process(uint32(os.Getpid()))
	const gone = maxTreePID // no process has it
	for name, tt := range map[string]struct {
		who   lineage
		mntns uint32
		path  string
		how   lookHow
		want  string // path
		file  string // whose facts are known; empty if none are
	}{
		"file":                       {self, r.ns, "/d/f", lookFollow, "/d/f", "/d/f"},
		"directory":                  {self, r.ns, "/d/sub", lookFollow, "/d/sub", "/d/sub"},
		"with a slash at its end":    {self, r.ns, "/d/sub/", lookNoFollow, "/d/sub", "/d/sub"},
		"symbolic link":              {self, r.ns, "/lf", lookFollow, "/d/f", "/d/f"},
		"symbolic link itself":       {self, r.ns, "/lf", lookNoFollow, "/lf", "/lf"},
		"below a symbolic link":      {self, r.ns, "/link/../f", lookFollow, "/d/f", "/d/f"},
		"dots":                       {self, r.ns, "/./d/../d/./f", lookFollow, "/d/f", "/d/f"},
		"gone":                       {self, r.ns, "/link/x", lookFollow, "/d/sub/x", ""},
		"gone with its directory":    {self, r.ns, "/link/x/y", lookFollow, "/link/x/y", ""},
		"taken away":                 {self, r.ns, "/link/../f", lookGone, "/d/f", ""},
		"taken away, with a slash":   {self, r.ns, "/link/x/", lookGone, "/d/sub/x", ""},
		"taken away, by its dot":     {self, r.ns, "/d/sub/.", lookGone, "/d/sub", ""},
		"process is gone":            {process(gone), r.ns, "/lf", lookFollow, "/d/f", "/d/f"},
		"process is gone, container": {process(gone), r.ns + 1, "/lf/../x", lookFollow, "/x", ""},
		"parent is there":            {lineage{gone, []uint32{gone, self.pid}}, r.ns, "/lf", lookFollow, "/d/f", "/d/f"},
		"pid of another":             {self, r.ns + 1, "/lf", lookFollow, "/lf", ""},
		"file as a directory":        {self, r.ns, "/d/f/x", lookFollow, "/d/f/x", ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := r.lookup(tt.who, tt.mntns, dir+tt.path, tt.how)
			assert.Equal(t, dir+tt.want, l.path)
			require.Equal(t, tt.file != "", l.ok)
			if !l.ok {
				return
			}
			var st unix.Stat_t
			require.NoError(t, unix.Lstat(dir+tt.file, &st))
			assert.Equal(t, []any{st.Ino, st.Mode}, []any{l.stat.Ino, uint32(l.stat.Mode)})
		})
	}
	l := r.lookup(self, r.ns, "/", lookFollow)
	assert.Equal(t, "/", l.path)
	assert.True(t, l.ok)
	l = r.lookup(self, r.ns, "/", lookGone)
	assert.Equal(t, "/", l.path)
	assert.False(t, l.ok)
	long := "/" + strings.Repeat("x/", 3000)
	l = r.lookup(self, r.ns, long, lookFollow)
	assert.Equal(t, strings.TrimSuffix(long, "/"), l.path)
	assert.False(t, l.ok)
}

// The links of /proc lead out of every root, as a process in a container can make use of: they are not followed.
func TestLookupFollowsNoMagicLinks(t *testing.T) {
	r, err := newResolver()
	require.NoError(t, err)
	defer r.close()
	_, err = os.Stat("/proc/self/root/etc")
	require.NoError(t, err)
	l := r.lookup(lineage{}, r.ns, "/proc/self/root/etc", lookFollow)
	assert.False(t, l.ok)
	assert.Equal(t, "/proc/self/root/etc", l.path)
}

// What the kernel does not follow from its cache is followed step by step, and comes to the same.
func TestFollow(t *testing.T) {
	r, err := newResolver()
	require.NoError(t, err)
	defer r.close()
	dir := fileTree(t)
	for name, target := range map[string]string{
		"abs": "/", "up": "../" + filepath.Base(dir) + "/d/", "loop": "loop", "loop1": "loop2", "loop2": "./loop1", "dead": "nothing/more", "chain": "link/../../link",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	root, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(root)
	for path, want := range map[string]string{
		"/": "", "": "", "/.": "", "/..": "", "/d/f": "/d/f", "//d//./sub/": "/d/sub", "/lf": "/d/f", "/link/../f": "/d/f", "/abs/d": "/d", "/abs": "", "/chain": "/d/sub",
		"/../../d/g": "/d/g", "/abs/../link/": "/d/sub", "/lf/": "ENOTDIR", "/d/f/..": "ENOTDIR", "/d/f/x": "ENOTDIR", "/d/nothing": "EAGAIN", "/dead": "EAGAIN", // not in the cache
		"/loop": "ELOOP", "/loop1/x": "ELOOP", "/" + strings.Repeat("d/../", 100): "ELOOP",
	} {
		fd, err := r.follow(root, path, 0, 0)
		if err != nil {
			assert.Equal(t, want, errnoName(err), path)
			continue
		}
		assert.Equal(t, dir+want, fdPath(fd), path)
		require.NoError(t, unix.Close(fd))
	}
	fd, err := r.follow(root, "/lf", unix.O_NOFOLLOW, 0)
	require.NoError(t, err)
	assert.Equal(t, dir+"/lf", fdPath(fd))
	require.NoError(t, unix.Close(fd))

	// A link that was made just now.
	l := r.lookup(lineage{}, r.ns, dir+"/up/../lf", lookFollow)
	assert.True(t, l.ok)
	assert.Equal(t, dir+"/d/f", l.path)
}

// /proc/self is the process that names it, and not the collector. What its links lead to is not followed.
func TestFollowSelf(t *testing.T) {
	r, err := newResolver()
	require.NoError(t, err)
	defer r.close()
	if !r.hostPIDs {
		t.Skip("in a private pid namespace")
	}
	child := exec.Command("sleep", "60")
	require.NoError(t, child.Start())
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	pid := uint32(child.Process.Pid)
	own := "/proc/" + strconv.Itoa(child.Process.Pid)
	for _, name := range []string{"/comm", ""} {
		_, err = os.Stat(own + name) // into the cache
		require.NoError(t, err)
		l := r.lookup(process(pid), r.ns, "/proc/self"+name, lookFollow)
		assert.Equal(t, own+name, l.path)
		assert.True(t, l.ok)
	}
	l := r.lookup(process(pid), r.ns, "/proc/self/nothing", lookFollow)
	assert.Equal(t, own+"/nothing", l.path)
	l = r.lookup(process(pid), r.ns, "/proc/thread-self/comm", lookFollow)
	assert.False(t, l.ok)
	_, err = os.Stat(r.self + "/comm")
	require.NoError(t, err)
	l = r.lookup(process(uint32(os.Getpid())), r.ns, r.self+"/comm", lookFollow)
	assert.True(t, l.ok)
}

// A link that nobody answers for is given up, and does not hold up the next one.
func TestLinkReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan string)
		l := linkReader{read: func(int) string { return <-answer }}
		defer l.close()
		fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		defer unix.Close(fd)
		go func() { answer <- "first" }()
		assert.Equal(t, "first", l.target(fd))
		start := time.Now()
		assert.Empty(t, l.target(fd))
		assert.Equal(t, linkTimeout, time.Since(start))
		assert.Empty(t, l.target(fd), "the reader is stuck")
		assert.Equal(t, linkTimeout, time.Since(start), "no further wait")
		answer <- "too late"
		synctest.Wait()
		assert.Empty(t, l.target(fd), "none is read for a while")
		time.Sleep(linkPause)
		go func() { answer <- "again" }()
		assert.Equal(t, "again", l.target(fd))
	})
}

func TestFilesystemNames(t *testing.T) {
	r, err := newResolver()
	require.NoError(t, err)
	defer r.close()
	var st unix.Stat_t
	require.NoError(t, unix.Stat("/proc", &st))
	dev := uint64(unix.Major(st.Dev))<<devMinorBits | uint64(unix.Minor(st.Dev))
	assert.Equal(t, "proc", r.filesystem(dev))
	assert.Empty(t, r.filesystem(1<<40), "what is not mounted")
	r.learn(77, "myfs")
	r.learn(78, "")
	assert.Equal(t, "myfs", r.filesystem(77))
	assert.NotContains(t, r.fs, uint64(78))
	for i := range uint32(2 * maxFilesystems) {
		r.learn(1<<20+i, "many")
	}
	assert.Len(t, r.fs, maxFilesystems)
}

func TestReadProc(t *testing.T) {
	r, err := newResolver()
	require.NoError(t, err)
	defer r.close()
	want, err := os.ReadFile("/proc/self/cmdline")
	require.NoError(t, err)
	got, whole, err := r.readProc("self/cmdline", maxProcRead)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got))
	assert.True(t, whole)
	got, whole, err = r.readProc("self/cmdline", 4)
	require.NoError(t, err)
	assert.Equal(t, string(want[:4]), string(got))
	assert.False(t, whole)
	_, _, err = r.readProc("self/nothing", 4)
	require.ErrorIs(t, err, unix.ENOENT)
	_, _, err = r.readProc("self", 4)
	require.ErrorIs(t, err, unix.EISDIR)
}

func TestCgroupPath(t *testing.T) {
	data, err := os.ReadFile("/proc/self/cgroup")
	require.NoError(t, err)
	r, err := newResolver()
	require.NoError(t, err)
	defer r.close()
	got := r.cgroupPath(uint32(os.Getpid()))
	if got != "" {
		assert.Contains(t, string(data), ":"+got+"\n")
	} else {
		assert.NotContains(t, string(data), "memory:")
	}
	assert.Empty(t, r.cgroupPath(maxTreePID))
}

func TestFillFacts(t *testing.T) {
	k := bpf.File{Inode: 1, Atime: 2, Mtime: 3, Ctime: 4, Mode: 5, Uid: ^uint32(0) - 1, Gid: 6, MountId: 7, Fstype: chars("a-file-system-of-a-long-name")}
	var f event.File
	fillFacts(&f, &k)
	assert.Equal(t, event.File{}, f, "not valid")
	k.Flags = bpf.FileValid
	fillFacts(&f, &k)
	assert.Equal(t, event.File{
		Has: event.HasInode | event.HasMode | event.HasOwner | event.HasMountID, Inode: 1, AccessTime: 2, ModificationTime: 3, ChangeTime: 4,
		Mode: 5, UID: 1<<32 - 2, GID: 6, MountID: 7, Filesystem: "a-file-system-o",
	}, f)
}

func TestCString(t *testing.T) {
	assert.Empty(t, cString(nil))
	assert.Empty(t, cString(make([]int8, 16)))
	a := chars("sh")
	assert.Equal(t, "sh", cString(a[:]))
	full := bytes.Repeat([]byte{'x'}, 20)
	var b [20]int8
	for i, c := range full {
		b[i] = int8(c)
	}
	assert.Equal(t, string(full[:16]), cString(b[:]), "no end, and longer than a name is")
	assert.Equal(t, "\xff", cString([]int8{-1, 0}))
}

func TestBaseName(t *testing.T) {
	for p, want := range map[string]string{"/a/b": "b", "/": "", "a": "a", "": ""} {
		assert.Equal(t, want, baseName(p))
	}
}

// TestLookupBesideMounts looks a path up while somebody mounts and renames all the time: the kernel gives a look-up from its
// cache alone up when either happens meanwhile, wherever it is.
func TestLookupBesideMounts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "a", "f")
	require.NoError(t, os.Mkdir(filepath.Dir(file), 0o700))
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	sub := []string{filepath.Join(dir, "x"), filepath.Join(dir, "y")}
	require.NoError(t, os.Mkdir(sub[0], 0o700))

	stop, mounts := make(chan struct{}), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		for done := false; err == nil && !done; {
			err = errors.Join(unix.Mount(dir, dir, "", unix.MS_BIND, ""), unix.Unmount(dir, unix.MNT_DETACH), os.Rename(sub[0], sub[1]), os.Rename(sub[1], sub[0]))
			select {
			case <-stop:
				done = true
			default:
			}
		}
		mounts <- err
	}()
	r, err := newResolver()
	require.NoError(t, err)
	defer r.close()
	missed := 0
	for range 50_000 {
		if !r.lookup(lineage{}, r.ns, file, lookFollow).ok {
			missed++
		}
	}
	close(stop)
	require.NoError(t, <-mounts)
	assert.Zero(t, missed)
}

func BenchmarkLookup(b *testing.B) {
	r, err := newResolver()
	require.NoError(b, err)
	defer r.close()
	dir := b.TempDir()
	file := filepath.Join(dir, "f")
	require.NoError(b, os.WriteFile(file, nil, 0o600))
	self := process(uint32(os.Getpid()))
	for name, p := range map[string]string{"there": file, "gone": filepath.Join(dir, "x")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l := r.lookup(self, r.ns, p, lookFollow)
				if l.ok != (p == file) {
					b.Fatal(l)
				}
			}
		})
	}
}

func errnoName(err error) string {
	var e unix.Errno
	errors.As(err, &e)
	return unix.ErrnoName(e)
}
