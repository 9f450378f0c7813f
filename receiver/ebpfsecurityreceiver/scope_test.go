// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

func TestCgroupMounts(t *testing.T) {
	const v2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	const memory = "35 25 0:31 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
	const cpu = "36 25 0:32 / /sys/fs/cgroup/cpu rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n"
	const unified = "31 25 0:27 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw\n"
	for name, tt := range map[string]struct{ mountinfo, v2, memory string }{
		"none":                   {"24 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "", ""},
		"v2":                     {v2, "/sys/fs/cgroup", ""},
		"v1":                     {cpu + memory, "", "/sys/fs/cgroup/memory"},
		"both":                   {cpu + unified + memory, "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory"},
		"the first one counts":   {v2 + unified, "/sys/fs/cgroup", ""},
		"with no optional field": {"30 24 0:26 / /cg rw - cgroup2 none rw\n", "/cg", ""},
		"memory of another name": {"30 24 0:26 / /cg rw - cgroup none rw,memory_recursiveprot\n", "", ""},
		"malformed":              {"\n - \n1 2 3 - cgroup2\n30 24 0:26 / /cg rw cgroup2 none rw\n", "", ""},
		"empty":                  {"", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got2, got1 := cgroupMounts(tt.mountinfo)
			assert.Equal(t, tt.v2, got2)
			assert.Equal(t, tt.memory, got1)
		})
	}
}

func TestPodCgroup(t *testing.T) {
	for name, tt := range map[string]struct{ own, want string }{
		"cgroupfs driver":       {"0::/kubepods/besteffort/pod1a2b/0123abcd\n", "/kubepods/besteffort/pod1a2b"},
		"guaranteed":            {"0::/kubepods/pod1a2b/0123abcd\n", "/kubepods/pod1a2b"},
		"systemd driver":        {"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1a2b.slice/cri-containerd-01.scope\n", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1a2b.slice"},
		"nested":                {"0::/kubepods/pod1a2b/0123abcd/init\n", "/kubepods/pod1a2b"},
		"v1":                    {"5:cpu,cpuacct:/x\n4:memory:/kubepods/pod1a2b/0123abcd\n0::/\n", "/kubepods/pod1a2b"},
		"private namespace":     {"0::/\n", ""},
		"service":               {"0::/system.slice/podman.service\n", ""},
		"directory named pod…":  {"0::/user.slice/podcast/x\n", ""},
		"other v1 hierarchies":  {"5:cpu:/kubepods/pod1a2b/0123abcd\n", ""},
		"what leads out of it":  {"0::/kubepods/pod1a2b/../../system.slice\n", ""},
		"of the namespace host": {"0::/../../kubepods/pod1a2b/0123abcd\n", "/kubepods/pod1a2b"},
		"malformed":             {":\n\nmemory\n", ""},
		"empty":                 {"", ""},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tt.want, podCgroup(tt.own)) })
	}
}

func TestCgroupID(t *testing.T) {
	v2, v1 := t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(v2, "a", "b"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(v1, "c"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(v2, "file"), nil, 0o644))
	inode := func(p string) uint64 {
		var st unix.Stat_t
		require.NoError(t, unix.Stat(p, &st))
		return st.Ino
	}
	for _, tt := range []struct {
		cg, v2, v1 string
		want       uint64
		isV1       bool
	}{
		{"/a/b", v2, v1, inode(v2 + "/a/b"), false},
		{"a/b/", v2, v1, inode(v2 + "/a/b"), false},
		{"/", v2, v1, inode(v2), false},
		{"/c", v2, v1, inode(v1 + "/c"), true},
		{"/c", "", v1, inode(v1 + "/c"), true},
		{"/../../a", v2, "", inode(v2 + "/a"), false},
	} {
		got, isV1, err := cgroupID(tt.cg, tt.v2, tt.v1)
		require.NoError(t, err, tt.cg)
		assert.Equal(t, tt.want, got, tt.cg)
		assert.Equal(t, tt.isV1, isV1, tt.cg)
	}
	for _, cg := range []string{"/nothing", "/file"} {
		_, _, err := cgroupID(cg, v2, v1)
		require.EqualError(t, err, `scope: cgroups: there is no cgroup "`+cg+`" on the v2 hierarchy or the v1 memory hierarchy`)
	}
	_, _, err := cgroupID("/a", "", "")
	require.Error(t, err, "nothing is mounted")
}

func TestResolveScope(t *testing.T) {
	got, err := (&ScopeConfig{}).resolveScope()
	require.NoError(t, err)
	assert.Equal(t, sensor.Scope{}, got, "everything")

	got, err = (&ScopeConfig{ProcessTrees: []int{1, os.Getpid()}, PIDNamespaces: []uint32{5}, ContainersOnly: true}).resolveScope()
	require.NoError(t, err)
	assert.Equal(t, sensor.Scope{Trees: []uint32{1, uint32(os.Getpid())}, PIDNS: []uint32{5}, Containers: true}, got)

	for name, tt := range map[string]struct {
		cfg  ScopeConfig
		want string
	}{
		"process":      {ScopeConfig{ProcessTrees: []int{os.Getpid(), maxTreePID}}, "scope: process_trees: there is no process 4194304"},
		"cgroup":       {ScopeConfig{Cgroups: []string{"/no/such"}}, `scope: cgroups: there is no cgroup "/no/such"`},
		"not in a pod": {ScopeConfig{Pod: "self"}, "scope: pod: self: the collector's own cgroup is not that of a Kubernetes pod"},
	} {
		t.Run(name, func(t *testing.T) {
			if own, err := os.ReadFile("/proc/self/cgroup"); tt.cfg.Pod != "" && (err != nil || podCgroup(string(own)) != "") {
				t.Skip("the test runs in a pod")
			}
			_, err := tt.cfg.resolveScope()
			require.ErrorContains(t, err, tt.want)
		})
	}

	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	v2, memory := cgroupMounts(string(mounts))
	if v2 == "" && memory == "" {
		t.Skip("no cgroup hierarchy is mounted here")
	}
	got, err = (&ScopeConfig{Cgroups: []string{"/"}}).resolveScope()
	require.NoError(t, err)
	assert.Len(t, got.Cgroups, 1)
	assert.Equal(t, v2 == "", got.CgroupV1)
}

func FuzzScopeFiles(f *testing.F) {
	f.Add("30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
	f.Add("0::/kubepods/pod1/2\n4:memory:/a\n")
	f.Fuzz(func(_ *testing.T, text string) {
		cgroupMounts(text)
		podCgroup(text)
	})
}
