// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package suite

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver"
)

// overlayOn mounts an overlay of low and up on root, all below dir.
func overlayOn(dir string) error {
	return unix.Mount("overlay", dir+"/root", "overlay", 0, fmt.Sprintf("lowerdir=%[1]s/low,upperdir=%[1]s/up,workdir=%[1]s/work", dir))
}

func write(path string, mode os.FileMode) error {
	return errors.Join(os.WriteFile(path, []byte("x"), 0o600), os.Chmod(path, mode))
}

func noOverlay() string {
	text, err := os.ReadFile("/proc/filesystems")
	if err != nil || !strings.Contains(string(text), "\toverlay\n") {
		return "the kernel has no overlayfs"
	}
	return ""
}

func reopen(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o640)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// different makes two values of which the second must be another than the first.
func different() (first, second func(any) error) {
	seen := ""
	return func(v any) error {
			seen = fmt.Sprint(v)
			return present(v)
		}, func(v any) error {
			if fmt.Sprint(v) == seen {
				return errors.New("the same")
			}
			return present(v)
		}
}

var (
	oneMount, otherMount = different()
	onOverlay            = members{"file.filesystem": "overlay", "file.mount_id": matches(id), "file.inode": matches(id)}
)

var placeCases = cases("place", []testcase{
	{
		name: "chroot on an overlay", stays: true, skip: noOverlay, do: func(dir string) error {
			return errors.Join(ownMounts(dir), mkdirs(dir, "low", "low/sub", "up", "work", "root"), write(dir+"/low/f", 0o640), write(dir+"/low/g", 0o640), overlayOn(dir),
				unix.Chroot(dir+"/root"), unix.Chdir("/sub"), reopen("../f", unix.O_RDONLY), reopen("new", unix.O_WRONLY|unix.O_CREAT),
				unix.Mkdir("/made", 0o755), unix.Chmod("../g", 0o600), unix.Rename("new", "/made/new"), reopen("/g", unix.O_RDONLY))
		},
		want: []want{
			{typ: "chroot", members: members{"file.path": "$DIR/root", "file.filesystem": "overlay", "file.in_upper_layer": true}},
			{typ: "chdir", members: with(onOverlay, members{"file.path": "/sub", "file.in_upper_layer": false})},
			{typ: "open", members: with(onOverlay, members{"file.path": "/f", "file.in_upper_layer": false})},
			{typ: "open", members: with(onOverlay, members{"file.path": "/sub/new", "file.in_upper_layer": true})},
			{typ: "mkdir", members: with(onOverlay, members{"file.path": "/made", "file.in_upper_layer": true})},
			{typ: "chmod", members: with(onOverlay, members{"file.path": "/g", "file.in_upper_layer": absent}), attrs: byPath("../g")}, // the call copied it up
			{typ: "rename", members: members{"file.path": "/sub/new", "file.in_upper_layer": absent, "file.destination.path": "/made/new", "file.destination.in_upper_layer": true}},
			{typ: "open", members: with(onOverlay, members{"file.path": "/g", "file.in_upper_layer": true})},
		},
	},
	{
		name: "bind mount", do: func(dir string) error {
			return errors.Join(ownMounts(dir), mkdirs(dir, "a", "b"), write(dir+"/a/f", 0o600), unix.Mount(dir+"/a", dir+"/b", "", unix.MS_BIND, ""),
				reopen(dir+"/a/f", unix.O_RDONLY), reopen(dir+"/b/f", unix.O_RDONLY))
		},
		want: []want{
			{typ: "open", members: members{"file.path": "$DIR/a/f", "file.flags.0": "O_RDONLY", "file.mount_id": oneMount, "file.filesystem": "tmpfs", "file.in_upper_layer": absent}},
			{typ: "open", members: members{"file.path": "$DIR/b/f", "file.flags.0": "O_RDONLY", "file.mount_id": otherMount, "file.filesystem": "tmpfs"}},
		},
	},
})

func TestPlaces(t *testing.T) { run(t, placeCases, nil) }

// TestContainer runs a real container: its root is an overlay that the test makes.
func TestContainer(t *testing.T) {
	collectortest.NeedRoot(t, collectortest.LoadBPF)
	runtime, err := exec.LookPath("runc")
	if err != nil {
		if runtime, err = exec.LookPath("crun"); err != nil {
			t.Skip("there is neither crun nor runc")
		}
	}
	if why := noOverlay(); why != "" {
		t.Skip(why)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	for _, d := range []string{"low/bin", "low/etc", "low/proc", "low/dev", "low/sys", "up", "work", "root", "state"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	require.NoError(t, errors.Join(write(dir+"/low/etc/lower", 0o644), write(dir+"/low/etc/other", 0o644)))
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "low/bin/contained"), "./testdata/contained")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, overlayOn(dir))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir+"/root", unix.MNT_DETACH)) })

	containerID := strings.Repeat(fmt.Sprintf("%016x", os.Getpid()), 4)
	parent := fmt.Sprintf("/picket-suite-%d", os.Getpid())
	t.Cleanup(func() { // the runtime leaves it
		for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
			dirs, _ := filepath.Glob(pattern + parent)
			for _, d := range dirs {
				assert.NoError(t, os.Remove(d))
			}
		}
	})
	namespaces := []map[string]string{{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}}
	config, err := json.Marshal(map[string]any{
		"ociVersion": "1.0.2",
		"root":       map[string]any{"path": dir + "/root"},
		"process":    map[string]any{"args": []string{"/bin/contained"}, "cwd": "/", "env": []string{"LANG=C"}, "user": map[string]int{"uid": 0, "gid": 0}},
		"mounts":     []map[string]any{{"destination": "/proc", "type": "proc", "source": "proc"}},
		"linux":      map[string]any{"namespaces": namespaces, "cgroupsPath": parent + "/" + containerID},
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dir+"/config.json", config, 0o600))

	w := start(t, nil)
	cmd := exec.Command(runtime, "--root", dir+"/state", "--cgroup-manager", "cgroupfs", "run", "--bundle", dir, containerID)
	if filepath.Base(runtime) == "runc" {
		cmd = exec.Command(runtime, "--root", dir+"/state", "run", "--bundle", dir, containerID)
	}
	t.Cleanup(func() { _ = exec.Command(runtime, "--root", dir+"/state", "delete", "--force", containerID).Run() })
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())

	inside := members{
		"container.id": containerID, "container.created_at": recent, "process.container.id": containerID, "evt.outcome": "Success", "process.pid": matches("[1-9][0-9]+"),
	}
	event := func(typ string, more members, attrs members) want {
		return want{typ: typ, other: true, members: with(inside, more), attrs: with(members{"container.id": containerID}, attrs)}
	}
	program := members{
		"file.path": "/bin/contained", "file.in_upper_layer": false, "file.filesystem": "overlay", "file.mount_id": matches(id),
		"process.executable.path": "/bin/contained", "process.executable.in_upper_layer": false, "process.argv0": "/bin/contained", "process.credentials.euid": 0,
	}
	wants := []want{
		event("exec", program, nil),
		event("open", members{"file.path": "/etc/lower", "file.in_upper_layer": false}, nil),
		event("open", members{"file.path": "/etc/made", "file.in_upper_layer": true, "file.destination.mode": 0o640}, nil),
		event("chmod", members{"file.path": "/etc/other", "file.filesystem": "overlay"}, members{"picket.syscall.path": "/etc/other", "picket.file.source": "post_stat"}),
		event("mkdir", members{"file.path": "/srv", "file.in_upper_layer": true, "file.mode": unix.S_IFDIR | 0o755}, nil),
		event("unlink", members{"file.path": "/etc/made"}, nil),
		event("exec", members{
			"file.path": "/copy", "file.in_upper_layer": true, "process.argv0": "renamed", "process.args.0": "again", "process.is_exec_child": true,
			"process.ancestors.0.executable.path": "/bin/contained", "process.ancestors.0.container.id": containerID,
		}, nil),
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	w.await(wants, dir, pid)
	require.NoError(t, stdin.Close())
	require.NoError(t, cmd.Wait(), "%s", &output)
	w.expect(t, append(wants, event("exit", members{"exit.cause": "EXITED", "exit.code": 0, "file.path": "/copy"}, nil)), []want{{typ: "open", other: true, members: members{"file.path": matches(".*/(low|up|root)/etc/.*")}}}, dir, pid)
}

// held is a process that waits until it is told to run a program that opens a file.
func held(t *testing.T, flags uintptr, file string) (pid int, release func()) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", `read x; /bin/cat "$0"`, file)
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: flags}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid, func() {
		_, err := in.Write([]byte("\n"))
		require.NoError(t, err)
		require.NoError(t, cmd.Wait())
	}
}

// Only what is in the scope is seen: a cgroup, or a pid namespace.
func TestScopes(t *testing.T) {
	collectortest.NeedRoot(t, collectortest.LoadBPF)
	for name, c := range map[string]struct {
		flags uintptr
		scope func(t *testing.T, pid int, last func(func())) ebpfsecurityreceiver.ScopeConfig
	}{
		"cgroup": {scope: func(t *testing.T, pid int, last func(func())) ebpfsecurityreceiver.ScopeConfig {
			t.Helper()
			name := fmt.Sprintf("/picket-suite-%d", os.Getpid())
			for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory"} {
				procs := root + name + "/cgroup.procs"
				if _, err := os.Stat(root + "/cgroup.procs"); err != nil || os.Mkdir(root+name, 0o755) != nil {
					continue
				}
				last(func() { assert.NoError(t, os.Remove(root+name)) })
				require.NoError(t, os.WriteFile(procs, []byte(strconv.Itoa(pid)), 0o600))
				return ebpfsecurityreceiver.ScopeConfig{Cgroups: []string{name}}
			}
			t.Skip("no cgroup can be made")
			return ebpfsecurityreceiver.ScopeConfig{}
		}},
		"pid namespace": {flags: unix.CLONE_NEWPID, scope: func(t *testing.T, pid int, _ func(func())) ebpfsecurityreceiver.ScopeConfig {
			t.Helper()
			var st unix.Stat_t
			require.NoError(t, unix.Stat(fmt.Sprintf("/proc/%d/ns/pid", pid), &st))
			return ebpfsecurityreceiver.ScopeConfig{PIDNamespaces: []uint32{uint32(st.Ino)}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, errors.Join(write(dir+"/inside", 0o600), write(dir+"/outside", 0o600)))
			clean := func() {}
			t.Cleanup(func() { clean() }) // the last cleanup, when no process is there any more
			outside, releaseOutside := held(t, 0, dir+"/outside")
			inside, release := held(t, c.flags, dir+"/inside")
			scope := c.scope(t, inside, func(f func()) { clean = f })
			w := start(t, func(cfg *ebpfsecurityreceiver.Config) { cfg.Scope = scope })
			releaseOutside()
			release()
			w.expect(t, []want{
				{typ: "exec", other: true, members: members{"process.executable.name": "cat", "process.args.0": dir + "/inside", "process.ppid": inside}},
				{typ: "open", other: true, members: members{"file.path": dir + "/inside"}},
			}, []want{
				{typ: "open", other: true, members: members{"file.path": dir + "/outside"}},
				{typ: "exec", other: true, members: members{"process.ppid": outside}},
			}, dir, strconv.Itoa(inside))
		})
	}
}
