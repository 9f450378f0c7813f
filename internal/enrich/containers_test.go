// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package enrich

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
)

const (
	id1 = "3f1c0e5f9f5b2e0a3c7d8e9f00112233445566778899aabbccddeeff00112233"
	id2 = "aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999"
	uid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
)

var containerPaths = []struct {
	name, path, id, dir string
}{
	{"nothing", "", "", ""},
	{"root", "/", "", ""},
	{"user session", "/user.slice/user-1000.slice/session-2.scope", "", ""},
	{"service", "/system.slice/docker.service", "", ""},
	{"Docker, cgroupfs", "/docker/" + id1, id1, "/docker/" + id1},
	{"Docker, systemd", "/system.slice/docker-" + id1 + ".scope", id1, "/system.slice/docker-" + id1 + ".scope"},
	{"below a container", "/docker/" + id1 + "/init.scope/x", id1, "/docker/" + id1},
	{"slash at the end", "/docker/" + id1 + "/", id1, "/docker/" + id1},
	{"container in a container", "/docker/" + id1 + "/docker/" + id2, id2, "/docker/" + id1 + "/docker/" + id2},
	{"another parent", "/my/own/parent/" + id1, id1, "/my/own/parent/" + id1},
	{"Kubernetes, cgroupfs", "/kubepods/burstable/pod" + uid + "/" + id1, id1, "/kubepods/burstable/pod" + uid + "/" + id1},
	{"pod without container", "/kubepods/burstable/pod" + uid, "", ""},
	{
		"Kubernetes, systemd, containerd",
		"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod6ba7b810_9dad_11d1_80b4_00c04fd430c8.slice/cri-containerd-" + id1 + ".scope", id1,
		"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod6ba7b810_9dad_11d1_80b4_00c04fd430c8.slice/cri-containerd-" + id1 + ".scope",
	},
	{"containerd, cgroupfs below a slice", "/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:" + id1, id1, "/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:" + id1},
	{"CRI-O", "/kubepods.slice/crio-" + id1 + ".scope/container", id1, "/kubepods.slice/crio-" + id1 + ".scope"},
	{"CRI-O, monitor", "/kubepods.slice/crio-conmon-" + id1 + ".scope", "", ""},
	{"Podman, root", "/machine.slice/libpod-" + id1 + ".scope", id1, "/machine.slice/libpod-" + id1 + ".scope"},
	{"Podman, split", "/user.slice/user-1000.slice/x.service/libpod-payload-" + id1, id1, "/user.slice/user-1000.slice/x.service/libpod-payload-" + id1},
	{"Podman, cgroupfs", "/libpod_parent/libpod-" + id1, id1, "/libpod_parent/libpod-" + id1},
	{"Podman, monitor", "/machine.slice/libpod-conmon-" + id1 + ".scope", "", ""},
	{"ECS on EC2", "/ecs/0123456789abcdef0123456789abcdef/" + id1, id1, "/ecs/0123456789abcdef0123456789abcdef/" + id1},
	{"ECS on Fargate", "/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-2532465743", "0123456789abcdef0123456789abcdef-2532465743", "/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-2532465743"},
	{"Fargate's form elsewhere", "/x/0123456789abcdef0123456789abcdef-2532465743", "", ""},
	{"Garden", "/garden/" + uid, uid, "/garden/" + uid},
	{"nspawn, service", "/machine.slice/systemd-nspawn@web.service/payload", "web", "/machine.slice/systemd-nspawn@web.service"},
	{"nspawn, scope", `/machine.slice/machine-my\x2dweb.scope/payload`, "my-web", `/machine.slice/machine-my\x2dweb.scope`},
	{"nspawn, bad name", `/machine.slice/machine-a\x2fb.scope`, "", ""},
	{"virtual machine", `/machine.slice/machine-qemu\x2d1\x2dvm.scope`, "", ""},
	{"systemd's own", "/machine.slice/x.service", "", ""},
	{"63 digits", "/docker/" + id1[1:], "", ""},
	{"65 digits", "/docker/0" + id1, "", ""},
	{"upper case", "/docker/" + strings.ToUpper(id2), "", ""},
	{"unknown prefix", "/docker/x-" + id1, "", ""},
	{"relative, as a cgroup namespace shows it", "/../" + id1, id1, "/../" + id1},
}

func TestContainerID(t *testing.T) {
	for _, tc := range containerPaths {
		t.Run(tc.name, func(t *testing.T) {
			id, dir := ContainerID(tc.path)
			assert.Equal(t, tc.id, id)
			assert.Equal(t, tc.dir, dir)
		})
	}
}

func TestPodUID(t *testing.T) {
	const underscored, hash = "6ba7b810_9dad_11d1_80b4_00c04fd430c8", "0123456789abcdef0123456789abcdef"
	for _, tc := range []struct{ name, path, want string }{
		{"cgroupfs", "/kubepods/burstable/pod" + uid, uid},
		{"guaranteed", "/kubepods/pod" + uid + "/" + id1, uid},
		{"systemd", "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + underscored + ".slice/cri-containerd-" + id1 + ".scope", uid},
		{"a parent of another name", "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + underscored + ".slice/crio-" + id1 + ".scope", uid},
		{"cgroupfs below a slice", "/system.slice/containerd.service/kubepods-burstable-pod" + underscored + ".slice:cri-containerd:" + id1, uid},
		{"static pod", "/kubepods/burstable/pod" + hash + "/" + id1, hash},
		{"pod in a pod", "/kubepods/pod" + strings.Replace(uid, "6", "7", 1) + "/" + id1 + "/kubelet/kubepods/pod" + uid + "/" + id2, uid},
		{"a cgroup of the container's own", "/kubepods/pod" + uid + "/" + id1 + "/podman/pod1", uid},
		{"no Kubernetes", "/libpod_parent/pod" + uid, ""},
		{"no UID", "/kubepods/burstable/pod1/" + id1, ""},
		{"another word", "/kubepods/tripod" + uid, ""},
		{"digits of another base", "/kubepods/pod" + strings.Replace(uid, "6", "g", 1), ""},
		{"dashes elsewhere", "/kubepods/pod6ba7b8109-dad-11d1-80b4-00c04fd430c8", ""},
		{"upper case", "/kubepods/pod" + strings.ToUpper(uid), ""},
		{"none", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) { assert.Equal(t, tc.want, PodUID(tc.path)) })
	}
}

func TestContainers(t *testing.T) {
	var asked []string
	c := NewContainers(WithCreationTime(func(path string) (time.Time, bool) {
		asked = append(asked, path)
		return time.Unix(5, 6), !strings.HasPrefix(path, "/gone")
	}))
	want := &event.ContainerContext{ID: id1, CreatedAt: 5_000_000_006}
	got := c.Lookup("/docker/"+id1+"/x", 7)
	assert.Equal(t, want, got)
	assert.Same(t, got, c.Lookup("/docker/"+id1+"/x", 7))
	assert.Equal(t, []string{"/docker/" + id1}, asked)
	assert.Nil(t, c.Lookup("/system.slice/x.service", 8))
	assert.Nil(t, c.Lookup("/system.slice/x.service", 8))
	assert.Nil(t, c.Lookup("", 0))
	assert.Nil(t, c.Lookup("/"+strings.Repeat("x/", 2500)+id1, 0), "no path is that long")
	assert.Len(t, asked, 1)
	assert.Equal(t, &event.ContainerContext{ID: id2}, c.Lookup("/gone/"+id2, 9))
	assert.Equal(t, &event.ContainerContext{ID: id2, PodUID: uid}, c.Lookup("/gone/kubepods/pod"+uid+"/"+id2, 9))

	assert.NotSame(t, got, c.Lookup("/docker/"+id1+"/x", 70), "another cgroup of that name")
	for i := range uint64(maxContainers + 10) {
		c.Lookup("/x", i)
	}
	assert.Len(t, c.cache.items, maxContainers)
}

func TestCgroupCreation(t *testing.T) {
	at, ok := cgroupCreation("/")
	if !ok {
		t.Skip("no cgroup file system at /sys/fs/cgroup")
	}
	assert.True(t, at.After(time.Unix(0, 0)), "%s", at)
	assert.False(t, at.After(time.Now()), "%s", at)
	_, ok = cgroupCreation("/../../../etc")
	assert.False(t, ok)
}

func TestLRU(t *testing.T) {
	l := newLRU[int, string](2)
	l.put(1, "a")
	l.put(2, "b")
	_, ok := l.get(1)
	require.True(t, ok)
	l.put(3, "c")
	_, ok = l.get(2)
	assert.False(t, ok, "2 was not used for longest")
	l.put(1, "d")
	v, ok := l.get(1)
	assert.True(t, ok)
	assert.Equal(t, "d", v)
}

func FuzzContainerID(f *testing.F) {
	for _, tc := range containerPaths {
		f.Add(tc.path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		id, dir := ContainerID(path)
		assert.Equal(t, id == "", dir == "")
		assert.LessOrEqual(t, len(id), 64)
		assert.True(t, isName(id), "%q", id)
		assert.True(t, strings.HasPrefix(path, dir))
		if id != "" {
			again, _ := ContainerID(dir)
			assert.Equal(t, id, again)
		}
	})
}

func BenchmarkContainers(b *testing.B) {
	c := NewContainers(WithCreationTime(func(string) (time.Time, bool) { return time.Time{}, false }))
	path := "/system.slice/docker-" + id1 + ".scope"
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Lookup(path, 1)
		}
	})
	b.Run("parse", func(b *testing.B) {
		paths := make([]string, 16)
		for i := range paths {
			paths[i] = fmt.Sprint("/system.slice/a", i, ".slice/docker-", id1, ".scope/x")
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			ContainerID(paths[i%16])
		}
	})
}
