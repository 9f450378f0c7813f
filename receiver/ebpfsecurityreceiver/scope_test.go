// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

func TestHierarchies(t *testing.T) {
	const v2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	const memory = "35 25 0:31 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
	const cpu = "36 25 0:32 / /sys/fs/cgroup/cpu rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n"
	const unified = "31 25 0:27 /../.. /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw\n"
	for name, tt := range map[string]struct {
		mountinfo string
		want      []hierarchy
	}{
		"none":                   {"24 1 8:1 / / rw - ext4 /dev/sda1 rw\n", nil},
		"v2":                     {v2, []hierarchy{{"/p/sys/fs/cgroup", "/", false}}},
		"v1":                     {cpu + memory, []hierarchy{{"/p/sys/fs/cgroup/memory", "/", true}}},
		"both":                   {cpu + unified + memory, []hierarchy{{"/p/sys/fs/cgroup/unified", "/../..", false}, {"/p/sys/fs/cgroup/memory", "/", true}}},
		"with no optional field": {"30 24 0:26 /a /cg rw - cgroup2 none rw\n", []hierarchy{{"/p/cg", "/a", false}}},
		"memory of another name": {"30 24 0:26 / /cg rw - cgroup none rw,memory_recursiveprot\n", nil},
		"malformed":              {"\n - \n1 2 3 - cgroup2\n30 24 0:26 / /cg rw cgroup2 none rw\n", nil},
		"empty":                  {"", nil},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tt.want, hierarchies(tt.mountinfo, "/p")) })
	}
}

func TestHierarchyPath(t *testing.T) {
	for _, tt := range []struct{ root, cgroup, want string }{
		{"/", "/a/b", "/m/a/b"},
		{"/", "a/b/", "/m/a/b"},
		{"/", "/", "/m"},
		{"/", "/../../a", "/m/a"},
		{"/../..", "/a", "/m/a"}, // the host's, seen from a cgroup namespace
		{"/a/b", "/a/b/c", "/m/c"},
		{"/a/b", "/a/b", "/m"},
		{"/a/b", "/a", ""},
		{"/a/b", "/a/bc", ""},
	} {
		assert.Equal(t, tt.want, (&hierarchy{dir: "/m", root: tt.root}).path(tt.cgroup), "%s at %s", tt.cgroup, tt.root)
	}
}

func TestOwnCgroups(t *testing.T) {
	assert.Equal(t, []string{"/a:b/c", "/d"}, ownCgroups("5:cpu,cpuacct:/x\n4:memory:/a:b/c\n1:name=systemd:/y\n0::/d\n"))
	assert.Equal(t, []string{"/b"}, ownCgroups("0::/../b\n"))
	for _, own := range []string{"", "\n", ":\n\nmemory\n", "0::\n", "0::a\n", "1::/a\n", "5:cpu:/a\n"} {
		assert.Empty(t, ownCgroups(own), own)
	}
}

func TestPodCgroup(t *testing.T) {
	for name, tt := range map[string]struct{ cgroup, want string }{
		"cgroupfs driver":      {"/kubepods/besteffort/pod1a2b/0123abcd", "/kubepods/besteffort/pod1a2b"},
		"guaranteed":           {"/kubepods/pod1a2b/0123abcd", "/kubepods/pod1a2b"},
		"systemd driver":       {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1a2b.slice/cri-containerd-01.scope", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1a2b.slice"},
		"systemd, guaranteed":  {"/kubepods.slice/kubepods-pod1a2b.slice/crio-01.scope", "/kubepods.slice/kubepods-pod1a2b.slice"},
		"kind":                 {"/docker/01/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod1a2b.slice/cri-01.scope", "/docker/01/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod1a2b.slice"},
		"nested":               {"/kubepods/pod1a2b/0123abcd/init", "/kubepods/pod1a2b"},
		"a pod's name inside":  {"/kubepods/pod1a2b/0123abcd/pod9/x", "/kubepods/pod1a2b"},
		"the pod itself":       {"/kubepods/pod1a2b", "/kubepods/pod1a2b"},
		"between":              {"/kubepods/besteffort", ""},
		"root":                 {"/", ""},
		"service":              {"/system.slice/podman.service", ""},
		"directory named pod…": {"/user.slice/podcast/x", ""},
		"what leads out of it": {"/kubepods/pod1a2b/../../system.slice", ""},
		"empty":                {"", ""},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tt.want, podCgroup(tt.cgroup)) })
	}
}

func TestCgroupID(t *testing.T) {
	v2, v1 := t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(v2, "a", "b"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(v1, "c"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(v2, "file"), nil, 0o644))
	both := []hierarchy{{dir: v2, root: "/"}, {dir: v1, root: "/", v1: true}}
	for _, tt := range []struct {
		cg     string
		mounts []hierarchy
		want   string
		isV1   bool
	}{
		{"/a/b", both, v2 + "/a/b", false},
		{"/", both, v2, false},
		{"/c", both, v1 + "/c", true},
		{"/c", both[1:], v1 + "/c", true},
		{"/x/a", []hierarchy{{dir: v2, root: "/x"}}, v2 + "/a", false},
	} {
		got, isV1, err := cgroupID(tt.cg, tt.mounts)
		require.NoError(t, err, tt.cg)
		assert.Equal(t, inode(t, tt.want), got, tt.cg)
		assert.Equal(t, tt.isV1, isV1, tt.cg)
	}
	for _, cg := range []string{"/nothing", "/file"} {
		_, _, err := cgroupID(cg, both)
		require.EqualError(t, err, `scope: cgroups: there is no cgroup "`+cg+`" on the v2 hierarchy or the v1 memory hierarchy`)
	}
	_, _, err := cgroupID("/a", nil)
	require.Error(t, err, "nothing is mounted")
}

func inode(t *testing.T, name string) uint64 {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Stat(name, &st))
	return st.Ino
}

// TestOwnPod has the situations in which a collector finds itself, with directories that look like cgroups.
func TestOwnPod(t *testing.T) {
	const (
		pod  = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1a2b.slice"
		self = pod + "/cri-containerd-01.scope"
		hint = "mount the host's /sys/fs/cgroup into the container (read-only, at any path), or run it with hostPID: true and CAP_SYS_PTRACE"
	)
	// The whole hierarchy, in which the collector is process 7, its sibling 8; 0 is a process of another pid namespace.
	host := t.TempDir()
	for cgroup, procs := range map[string]string{
		"": "1\n2\n", "/system.slice/a.service": "77\n", self: "0\n7\n", pod + "/cri-containerd-02.scope": "8\n", "/system.slice/picket.service": "9\n",
	} {
		require.NoError(t, os.MkdirAll(host+cgroup, 0o755))
		require.NoError(t, os.WriteFile(host+cgroup+"/cgroup.procs", []byte(procs), 0o600))
	}
	whole := hierarchy{dir: host, root: "/"}
	outer := hierarchy{dir: host, root: "/../../../.."}
	private := hierarchy{dir: host + self, root: "/"} // what a runtime mounts
	bound := hierarchy{dir: host + self, root: self}
	v1 := func(h hierarchy) hierarchy { h.v1 = true; return h }
	for name, tt := range map[string]struct {
		own    string
		pid    int
		mounts []hierarchy
		err    string // else the pod is found
	}{
		"host's cgroup namespace":               {own: "0::" + self + "\n", pid: 7, mounts: []hierarchy{whole}},
		"the same with the runtime's mount":     {own: "0::" + self + "\n", pid: 7, mounts: []hierarchy{bound, outer}},
		"v1":                                    {own: "4:memory:" + self + "\n0::/\n", pid: 7, mounts: []hierarchy{v1(whole)}},
		"private, with the host's mount":        {own: "0::/\n", pid: 7, mounts: []hierarchy{outer, private}},
		"private, of v1":                        {own: "4:memory:/\n0::/\n", pid: 7, mounts: []hierarchy{v1(outer), v1(private)}},
		"only the runtime's mount":              {own: "0::" + self + "\n", pid: 7, mounts: []hierarchy{bound}, err: "the pod's cgroup " + pod + " is on no mount that can be seen here; in a pod, " + hint},
		"private, only the runtime's mount":     {own: "0::/\n", pid: 7, mounts: []hierarchy{private}, err: "the collector is in the root cgroup, or in a cgroup namespace of its own in which the pod's cgroup cannot be seen; in a pod, " + hint},
		"root":                                  {own: "0::/\n", pid: 2, mounts: []hierarchy{whole}, err: "the collector is in the root cgroup, or in"},
		"service":                               {own: "0::/system.slice/picket.service\n", pid: 9, mounts: []hierarchy{whole}, err: "the collector is in the cgroup /system.slice/picket.service, which is not that of a Kubernetes pod"},
		"service in a namespace of its own":     {own: "0::/\n", pid: 9, mounts: []hierarchy{outer}, err: "the collector is in the cgroup /system.slice/picket.service, which is not"},
		"nothing is mounted":                    {own: "0::/\n", pid: 7, err: "the collector is in the root cgroup, or in"},
		"what is mounted is gone":               {own: "0::/\n", pid: 7, mounts: []hierarchy{{dir: host + "/gone", root: "/.."}}, err: "the collector is in the root cgroup, or in"},
		"no process of that number (7 of 77)":   {own: "0::/\n", pid: 777, mounts: []hierarchy{outer}, err: "the collector is in the root cgroup, or in"},
		"a mount that is not of cgroups at all": {own: "garbage", pid: 7, mounts: []hierarchy{{dir: t.TempDir(), root: "/.."}}, err: "the collector is in the root cgroup, or in"},
	} {
		t.Run(name, func(t *testing.T) {
			got, id, isV1, err := ownPod(tt.own, tt.pid, tt.mounts)
			if tt.err != "" {
				require.ErrorContains(t, err, "scope: pod: self: "+tt.err)
				assert.Zero(t, id)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, pod, got)
			assert.Equal(t, inode(t, host+pod), id)
			assert.Equal(t, tt.mounts[0].v1, isV1)
		})
	}
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
		"not in a pod": {ScopeConfig{Pod: "self"}, "scope: pod: self: the collector is in the "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tt.cfg.resolveScope()
			if tt.cfg.Pod != "" && err == nil {
				t.Skip("the test runs in a pod")
			}
			require.ErrorContains(t, err, tt.want)
		})
	}

	mounts, err := cgroupHierarchies()
	require.NoError(t, err)
	if len(mounts) == 0 {
		t.Skip("no cgroup hierarchy is mounted here")
	}
	got, err = (&ScopeConfig{Cgroups: []string{"/"}}).resolveScope()
	require.NoError(t, err)
	assert.Equal(t, []uint64{inode(t, mounts[0].dir)}, got.Cgroups)
	assert.Equal(t, mounts[0].v1, got.CgroupV1)
}

func FuzzScopeFiles(f *testing.F) {
	f.Add("30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
	f.Add("0::/kubepods/pod1/2\n4:memory:/a\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, h := range hierarchies(text, "/p") {
			if p := h.path(text); p != "" && p != h.dir && !strings.HasPrefix(p, strings.TrimSuffix(path.Clean(h.dir), "/")+"/") {
				t.Fatalf("%q is not below %q", p, h.dir)
			}
		}
		for _, c := range ownCgroups(text) {
			if pod := podCgroup(c); !strings.HasPrefix(c, pod) {
				t.Fatalf("%q is not above %q", pod, c)
			}
		}
	})
}
