// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/enrich"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/privacy"
	"github.com/picketsec/picket/internal/proctree"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

const containerID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// newTestConverter is a converter on wallClock that has seen the test process execute /usr/bin/sh.
func newTestConverter(tb testing.TB) *converter {
	tb.Helper()
	paths, err := newResolver()
	require.NoError(tb, err)
	tb.Cleanup(paths.close)
	scrubber, err := privacy.NewScrubber(true, nil)
	require.NoError(tb, err)
	c := &converter{users: enrich.NewUsers(), scrubber: scrubber, envs: privacy.NewEnvFilter([]string{"LANG"}), paths: paths, wall: wallClock}
	c.tree = proctree.New(proctree.Config{Users: c.users, Containers: enrich.NewContainers(), CgroupPath: func(uint32) string { return "/" }})
	require.NotNil(tb, c.convert(decode(tb, shExec(tb))))
	return c
}

func (c *converter) mustConvert(tb testing.TB, b []byte) *event.Event {
	tb.Helper()
	ev := c.convert(decode(tb, b))
	require.NotNil(tb, ev)
	return ev
}

// names of the user and the group of the test's own files
func ownNames(tb testing.TB) (uid, gid int64, userName, groupName string) {
	tb.Helper()
	uid, gid = int64(os.Getuid()), int64(os.Getgid())
	if u, err := user.LookupId(strconv.FormatInt(uid, 10)); err == nil {
		userName = u.Username
	}
	if g, err := user.LookupGroupId(strconv.FormatInt(gid, 10)); err == nil {
		groupName = g.Name
	}
	return uid, gid, userName, groupName
}

var shFile = bpf.File{Inode: 11, Mode: unix.S_IFREG | 0o755, MountId: 22, Flags: bpf.FileValid, Fstype: chars("ext4"), Atime: 1, Mtime: 2, Ctime: 3}

func TestConvertExec(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	script := filepath.Join(dir, "run.sh")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(script, &st))
	uid, gid, userName, groupName := ownNames(t)

	sh := &event.File{
		Path: "/usr/bin/sh", Name: "sh", Has: event.HasInode | event.HasMode | event.HasOwner | event.HasMountID, Inode: 11,
		Mode: unix.S_IFREG | 0o755, MountID: 22, Filesystem: "ext4", User: "root", Group: "root", AccessTime: 1, ModificationTime: 2, ChangeTime: 3,
	}
	with := func(change func(*event.File)) *event.File {
		f := *sh
		change(&f)
		return &f
	}
	ofScript := func(t *testing.T, p *event.Process) {
		t.Helper()
		f := p.Executable
		assert.Equal(t, script, f.Path)
		assert.Equal(t, "run.sh", f.Name)
		assert.Equal(t, st.Ino, f.Inode)
		assert.Equal(t, uint32(unix.S_IFREG|0o755), f.Mode)
		assert.Equal(t, []any{uid, gid, userName, groupName}, []any{f.UID, f.GID, f.User, f.Group})
		assert.Empty(t, f.PathResolutionError)
		assert.Equal(t, sh, p.Interpreter)
	}
	path := seg{bpf.SegPath, 0, walk("/usr/bin/sh")}
	for name, tt := range map[string]struct {
		change func(*bpf.Header, *bpf.Exec)
		segs   []seg
		want   func(*testing.T, *event.Process)
	}{
		"binary": {
			segs: []seg{path, {bpf.SegArgs, 0, "sh\x00-c\x00mysql --password=hunter2\x00"}, {bpf.SegEnvs, 0, "LANG=C\x00AWS_SECRET=x\x00"}, {bpf.SegTTY, 0, "pts0"}},
			change: func(_ *bpf.Header, x *bpf.Exec) {
				x.ArgsLen, x.EnvsLen = 30, 19
			},
			want: func(t *testing.T, p *event.Process) {
				t.Helper()
				assert.Equal(t, sh, p.Executable)
				assert.Nil(t, p.Interpreter)
				assert.Equal(t, "sh", p.Argv0)
				require.Len(t, p.Args, 2)
				assert.Equal(t, "-c", p.Args[0])
				assert.NotContains(t, p.Args[1], "hunter2")
				assert.Equal(t, []string{"LANG=C", "AWS_SECRET"}, p.Envs)
				assert.False(t, p.ArgsTruncated || p.EnvsTruncated)
				assert.Equal(t, "pts0", p.TTY)
				assert.Equal(t, []any{uint32(os.Getpid()), uint32(42), "sh", event.SourceEvent}, []any{p.PID, p.PPID, p.Comm, p.Source})
				assert.Equal(t, []event.Time{wallBase + bootTime - 1000, wallBase + bootTime, 0}, []event.Time{p.ForkTime, p.ExecTime, p.ExitTime})
			},
		},
		"truncated arguments": {
			segs:   []seg{path, {bpf.SegArgs, 0, "sh\x00-c\x00begin"}, {bpf.SegEnvs, 0, "LANG=C\x00PA"}},
			change: func(_ *bpf.Header, x *bpf.Exec) { x.ArgsLen, x.EnvsLen = 10000, 20000 },
			want: func(t *testing.T, p *event.Process) {
				t.Helper()
				assert.Equal(t, []string{"-c", "begin..."}, p.Args)
				assert.True(t, p.ArgsTruncated)
				assert.Equal(t, []string{"LANG=C"}, p.Envs)
				assert.True(t, p.EnvsTruncated)
			},
		},
		"script by absolute path": {
			segs: []seg{path, {bpf.SegFilename, 0, script}, {bpf.SegBase, 0, walk("/somewhere")}},
			want: ofScript,
		},
		"script by relative path": {
			segs: []seg{path, {bpf.SegFilename, 0, "./x/../run.sh"}, {bpf.SegBase, 0, walk(filepath.Join(dir, "gone"))}},
			want: func(t *testing.T, p *event.Process) { // the directory is not there: what is left is the name
				t.Helper()
				assert.Equal(t, dir+"/gone/run.sh", p.Executable.Path)
				assert.Zero(t, p.Executable.Has)
				assert.Equal(t, sh, p.Interpreter)
			},
		},
		"script in the working directory": {
			segs: []seg{path, {bpf.SegFilename, 0, "./run.sh"}, {bpf.SegBase, 0, walk(dir)}},
			want: ofScript,
		},
		"script whose name could not be read": {
			segs: []seg{path, {bpf.SegFilename, bpf.StrFault, ""}},
			want: func(t *testing.T, p *event.Process) {
				t.Helper()
				assert.Equal(t, sh, p.Executable)
			},
		},
		"memfd": {
			segs: []seg{{bpf.SegPath, bpf.WalkDetached, "memfd:x\x00"}},
			want: func(t *testing.T, p *event.Process) {
				t.Helper()
				assert.Equal(t, with(func(f *event.File) { f.Path, f.Name = "", "memfd:x" }), p.Executable)
			},
		},
		"memfd with a slash in its name": {
			segs: []seg{{bpf.SegPath, bpf.WalkDetached, "memfd:/usr/bin/sh\x00"}},
			want: func(t *testing.T, p *event.Process) {
				t.Helper()
				assert.Equal(t, with(func(f *event.File) { f.Path, f.Name = "", "memfd:/usr/bin/sh" }), p.Executable)
			},
		},
		"path too long": {
			segs: []seg{{bpf.SegPath, bpf.WalkTruncated, walk("/a/b")}},
			want: func(t *testing.T, p *event.Process) {
				t.Helper()
				assert.Equal(t, with(func(f *event.File) {
					f.Path, f.Name, f.PathResolutionError = "/a/b", "b", "path is longer than 4096 bytes or 320 components"
				}), p.Executable)
			},
		},
		"renamed meanwhile": {
			segs: []seg{{bpf.SegPath, bpf.WalkRaced, walk("/a/b")}},
			want: func(t *testing.T, p *event.Process) {
				t.Helper()
				assert.Equal(t, "renamed while the path was read", p.Executable.PathResolutionError)
			},
		},
		"kernel memory not readable": {
			segs: []seg{{bpf.SegPath, bpf.WalkFault | bpf.WalkTruncated, walk("/b")}},
			want: func(t *testing.T, p *event.Process) {
				t.Helper()
				assert.Equal(t, "kernel memory could not be read", p.Executable.PathResolutionError)
			},
		},
		"bytes that are not UTF-8": {
			segs: []seg{{bpf.SegPath, 0, walk("/tmp/\xff\xfe")}, {bpf.SegArgs, 0, "\xffsh\x00\x80\x00"}},
			want: func(t *testing.T, p *event.Process) {
				t.Helper()
				assert.Equal(t, []string{"/tmp/\xff\xfe", "\xff\xfe", "\xffsh", "\x80"}, []string{p.Executable.Path, p.Executable.Name, p.Argv0, p.Args[0]})
			},
		},
		"in a container": {
			segs: []seg{path, {bpf.SegCgroup, 0, walk("/kubepods/besteffort/pod1/" + containerID)}},
			want: func(t *testing.T, p *event.Process) {
				t.Helper()
				assert.Equal(t, "/kubepods/besteffort/pod1/"+containerID, p.CgroupPath)
				require.NotNil(t, p.Container)
				assert.Equal(t, containerID, p.Container.ID)
			},
		},
		"credentials": {
			segs: []seg{path},
			change: func(h *bpf.Header, _ *bpf.Exec) {
				h.Uid, h.Gid, h.Euid, h.Egid, h.Fsuid, h.Fsgid = 4000001, 4000002, 4000003, 4000004, 4000005, 4000006
				h.CapEffective, h.CapPermitted, h.Auid, h.Sid = 1<<21, 1<<21|1, 1000, 12
			},
			want: func(t *testing.T, p *event.Process) {
				t.Helper()
				assert.Equal(t, &event.ProcessCredentials{
					UID: 4000001, GID: 4000002, EUID: 4000003, EGID: 4000004, FSUID: 4000005, FSGID: 4000006, CapEffective: 1 << 21, CapPermitted: 1<<21 | 1,
				}, p.Credentials)
				assert.Equal(t, []uint32{1000, 12, 4026531840}, []uint32{p.AUID, p.SID, p.NetNS})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestConverter(t)
			h, x := selfHeader(t), bpf.Exec{PrevId: selfID, ParentId: parentID, StartTime: bootTime - 1000, Ppid: 42, Exe: shFile}
			h.Id = selfID + 1
			if tt.change != nil {
				tt.change(&h, &x)
			}
			ev := c.mustConvert(t, wire(event.TypeExec, h, x, tt.segs...))
			assert.Equal(t, event.TypeExec, ev.Type)
			assert.Equal(t, event.Time(wallBase+bootTime), ev.Date)
			assert.Equal(t, event.OutcomeSuccess, ev.Evt.Outcome)
			assert.Equal(t, []uint64{selfID + 1, selfID}, []uint64{ev.Facts.ProcessID, ev.Facts.ParentID})
			assert.Equal(t, event.FileSourceFD, ev.Facts.FileSource)
			assert.Equal(t, *ev.Process.Executable, ev.File.File, "what an exec is about")
			assert.Nil(t, ev.File.Destination)
			assert.Same(t, ev.Process.Container, ev.Container)
			tt.want(t, ev.Process.Process)
		})
	}
}

func TestConvertFork(t *testing.T) {
	c := newTestConverter(t)
	fork := func(flags uint8, childFlags uint32) []byte {
		h := selfHeader(t)
		h.Flags = flags
		return wire(event.TypeFork, h, bpf.Fork{ChildId: 0x3333, ChildPid: 4242, StartTime: bootTime + 5, ChildFlags: childFlags})
	}
	ev := c.mustConvert(t, fork(bpf.InScope, 0))
	p := ev.Process
	assert.Equal(t, event.TypeFork, ev.Type)
	assert.Equal(t, []uint32{4242, uint32(os.Getpid()), 4242}, []uint32{p.PID, p.PPID, p.ActorTID})
	assert.True(t, p.IsThread)
	assert.Equal(t, []string{"-c", "id"}, p.Args, "the parent's")
	assert.Equal(t, event.Time(wallBase+bootTime+5), p.ForkTime)
	assert.Equal(t, []uint64{0x3333, selfID}, []uint64{ev.Facts.ProcessID, ev.Facts.ParentID})
	require.Len(t, p.Ancestors, 1)
	assert.Equal(t, uint64(selfID), p.Parent.ID)
	assert.Nil(t, ev.File)

	assert.Nil(t, c.convert(decode(t, fork(0, 0))), "out of scope")
	kernel := c.mustConvert(t, wire(event.TypeFork, selfHeader(t), bpf.Fork{ChildId: 0x4444, ChildPid: 4343, ChildFlags: uint32(bpf.Kthread)}))
	assert.True(t, kernel.Process.IsKworker)
	assert.Empty(t, kernel.Process.Args)
}

func TestConvertExit(t *testing.T) {
	for name, tt := range map[string]struct {
		code uint32
		want event.ExitEvent
	}{
		"0":           {0, event.ExitEvent{Cause: event.CauseExited}},
		"7":           {7 << 8, event.ExitEvent{Cause: event.CauseExited, Code: 7}},
		"255":         {255 << 8, event.ExitEvent{Cause: event.CauseExited, Code: 255}},
		"killed":      {uint32(unix.SIGKILL), event.ExitEvent{Cause: event.CauseSignaled, Code: 9}},
		"core dumped": {uint32(unix.SIGSEGV) | 0x80, event.ExitEvent{Cause: event.CauseCoreDumped, Code: 11}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestConverter(t)
			h := selfHeader(t)
			h.Time = bootTime + 50
			ev := c.mustConvert(t, wire(event.TypeExit, h, bpf.Exit{Code: tt.code}))
			assert.Equal(t, tt.want, *ev.Exit)
			assert.Equal(t, event.Time(wallBase+bootTime+50), ev.Process.ExitTime)
			assert.Equal(t, event.OutcomeSuccess, ev.Evt.Outcome)
			assert.Equal(t, "/usr/bin/sh", ev.File.Path, "the executable")
		})
	}
}

// What is not an event, and what becomes of it.
func TestConvertIsNoEvent(t *testing.T) {
	h := selfHeader(t)
	t.Run("out of scope", func(t *testing.T) {
		c := newTestConverter(t)
		h := h
		h.Flags, h.Id = 0, selfID+1
		assert.Nil(t, c.convert(decode(t, wire(event.TypeExec, h, bpf.Exec{PrevId: selfID, Exe: shFile}, seg{bpf.SegPath, 0, walk("/usr/bin/cat")}))))
		assert.Equal(t, uint64(2), c.tree.Stats().Processes, "but the tree knows it")
	})
	t.Run("snapshot", func(t *testing.T) {
		c := newTestConverter(t)
		h := h
		h.Flags, h.Id, h.Pid, h.Tid = bpf.InScope|bpf.Snapshot, 0x5555, 1<<22, 1<<22
		assert.Nil(t, c.convert(decode(t, wire(event.TypeExec, h, bpf.Exec{ParentId: selfID, StartTime: 7, Exe: shFile}, seg{bpf.SegPath, 0, walk("/usr/bin/cat")}))))
		h.Flags = bpf.InScope
		ev := c.mustConvert(t, wire(event.TypeExit, h, bpf.Exit{}))
		assert.Equal(t, event.SourceSnapshot, ev.Process.Source)
		assert.Equal(t, "/usr/bin/cat", ev.Process.Executable.Path)
		assert.Equal(t, event.Time(wallBase+7), ev.Process.ExecTime)
		assert.Equal(t, uint64(selfID), ev.Facts.ParentID)
	})
	t.Run("containers only", func(t *testing.T) {
		c := newTestConverter(t)
		c.containersOnly = true
		assert.Nil(t, c.convert(decode(t, hostnameOpen(t))))
		h := h
		h.Id = selfID + 1
		exec := bpf.Exec{PrevId: selfID, Exe: shFile}
		ev := c.convert(decode(t, wire(event.TypeExec, h, exec, seg{bpf.SegPath, 0, walk("/bin/sh")}, seg{bpf.SegCgroup, 0, walk("/docker/" + containerID)})))
		require.NotNil(t, ev)
		assert.Equal(t, containerID, ev.Container.ID)
	})
}

// Threads that end at the same time can make two records of the end of a process, and the later of them can be the one that is
// in scope.
func TestConvertExitTwice(t *testing.T) {
	for name, inScope := range map[string][]bool{"in scope": {true, true, false}, "first out of scope": {false, true, true}, "never": {false, false}} {
		t.Run(name, func(t *testing.T) {
			c := newTestConverter(t)
			want := true
			for i, in := range inScope {
				h := selfHeader(t)
				if !in {
					h.Flags = 0
				}
				ev := c.convert(decode(t, wire(event.TypeExit, h, bpf.Exit{Code: 3 << 8})))
				assert.Equal(t, in && want, ev != nil, "record %d", i)
				want = want && !in
			}
		})
	}
}

// The snapshot reads from /proc what the kernel side does not have.
func TestConvertSnapshotArgs(t *testing.T) {
	t.Setenv("LANG", "C") // not in /proc: environ is what the process was started with
	c := newTestConverter(t)
	h := selfHeader(t)
	h.Flags, h.Id = bpf.InScope|bpf.Snapshot, 0x6666
	c.tree = proctree.New(proctree.Config{})
	require.Nil(t, c.convert(decode(t, wire(event.TypeExec, h, bpf.Exec{Exe: shFile}))))
	h.Flags = bpf.InScope
	ev := c.mustConvert(t, wire(event.TypeExit, h, bpf.Exit{}))
	data, err := os.ReadFile("/proc/self/cmdline")
	require.NoError(t, err)
	args := strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
	assert.Equal(t, args[0], ev.Process.Argv0)
	assert.Len(t, ev.Process.Args, len(args)-1)
	environ, err := os.ReadFile("/proc/self/environ")
	require.NoError(t, err)
	assert.Equal(t, len(environ) > 0, len(ev.Process.Envs) > 0)

	h.Id, h.Flags, h.Pid, h.Tid = 0x7777, bpf.Snapshot, 1, 1
	require.Nil(t, c.convert(decode(t, wire(event.TypeExec, h, bpf.Exec{Exe: shFile}))))
	h.Flags = bpf.InScope
	ev = c.mustConvert(t, wire(event.TypeExit, h, bpf.Exit{}))
	assert.Empty(t, ev.Process.Argv0, "out of scope nothing is read")
	assert.Empty(t, ev.Process.Envs)
}

// The body is in the form that the configuration asks for.
func TestConvertSchema(t *testing.T) {
	h := selfHeader(t)
	rec := wire(event.TypeConnect, h, bpf.Net{
		Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, Dport: htons(443), Daddr: [16]uint8{10, 0, 0, 1},
	})
	for _, extended := range []bool{false, true} {
		c := newTestConverter(t)
		c.extended = extended
		ev := c.mustConvert(t, rec)
		assert.Equal(t, extended, ev.Extended)
		assert.Equal(t, extended, strings.Contains(string(ev.AppendJSON(nil)), `"connect":{`))
	}
}

func BenchmarkConvert(b *testing.B) {
	exec := bpf.Exec{PrevId: selfID, ParentId: parentID, StartTime: bootTime - 1000, Ppid: 42, ArgsLen: 9, EnvsLen: 7, Exe: shFile}
	execBytes := wire(event.TypeExec, selfHeader(b), exec, seg{bpf.SegArgs, 0, "sh\x00-c\x00id\x00"}, seg{bpf.SegEnvs, 0, "LANG=C\x00"},
		seg{bpf.SegPath, 0, walk("/usr/bin/sh")}, seg{bpf.SegCgroup, 0, walk("/system.slice/ssh.service")})
	for name, recs := range map[string][][]byte{"open": {hostnameOpen(b)}, "exec": {execBytes}, "exec, exit": {execBytes, selfExit(b)}} {
		b.Run(name, func(b *testing.B) {
			c := newTestConverter(b)
			var rs []*sensor.Record
			for _, rec := range recs {
				rs = append(rs, decode(b, rec))
			}
			id := rs[0].Id
			b.ReportAllocs()
			for b.Loop() {
				if name != "open" { // a new image each time, as the tree has it with a program that executes itself
					rs[0].Exec().PrevId = id
					id++
				}
				for _, r := range rs {
					r.Id = id
					if c.convert(r) == nil {
						b.Fatal("no event")
					}
				}
			}
		})
	}
}

// BenchmarkOpenToRecord is an open from the bytes of the ring buffer to the log record.
func BenchmarkOpenToRecord(b *testing.B) {
	c := newTestConverter(b)
	rec := hostnameOpen(b)
	host := event.Host{ID: "host-1", BootID: "boot-1"}
	benchmarkToRecord(b, c, rec, &host)
}
