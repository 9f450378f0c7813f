// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package enrich

import (
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/event"
)

const (
	// maxContainers bounds the cgroups whose container is known at a time.
	maxContainers = 8192
	// maxCgroupPath is the longest cgroup path that is looked at, in bytes (PATH_MAX).
	maxCgroupPath = 4096
	// maxMachineName is the longest name that systemd-nspawn gives a container (HOST_NAME_MAX).
	maxMachineName = 64
)

// Containers tells which container a cgroup is of. It belongs to one goroutine.
type Containers struct {
	stat  func(cgroupPath string) (time.Time, bool)
	cache *lru[cgroupKey, *event.ContainerContext]
}

type cgroupKey struct {
	path string
	id   uint64
}

// ContainersOption changes where Containers looks.
type ContainersOption func(*Containers)

// WithCreationTime makes f tell when the cgroup at a path was made, instead of the cgroup file systems of the machine.
func WithCreationTime(f func(cgroupPath string) (time.Time, bool)) ContainersOption {
	return func(c *Containers) { c.stat = f }
}

// NewContainers returns Containers that look at the cgroup file systems of the machine, below /sys/fs/cgroup.
func NewContainers(opts ...ContainersOption) *Containers {
	c := &Containers{stat: cgroupCreation, cache: newLRU[cgroupKey, *event.ContainerContext](maxContainers)}
	for _, o := range opts {
		o(c)
	}
	return c
}

// Lookup returns the container of the cgroup with that path and id (inode number), or nil if it is none. What it returns
// is shared.
func (c *Containers) Lookup(cgroupPath string, cgroupID uint64) *event.ContainerContext {
	if len(cgroupPath) < 2 || len(cgroupPath) > maxCgroupPath {
		return nil
	}
	k := cgroupKey{path: cgroupPath, id: cgroupID}
	if ctx, ok := c.cache.get(k); ok {
		return ctx
	}
	var ctx *event.ContainerContext
	if id, dir := ContainerID(cgroupPath); id != "" {
		ctx = &event.ContainerContext{ID: id, PodUID: PodUID(dir)}
		if t, ok := c.stat(dir); ok {
			ctx.CreatedAt = event.Time(t.UnixNano())
		}
	}
	c.cache.put(k, ctx)
	return ctx
}

// cgroupCreation tells when a cgroup was made, on the v2 hierarchy or one of v1 that every container has. The kernel gives
// cgroups no birth time (kernfs, up to 6.18 at least); the change time of the directory is that of its making, or of the
// last change of its owner.
func cgroupCreation(cgroupPath string) (time.Time, bool) {
	for _, mount := range [...]string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/systemd"} {
		var st unix.Statx_t
		path := filepath.Join(mount, filepath.Clean("/"+cgroupPath))
		if unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME|unix.STATX_CTIME, &st) != nil {
			continue
		}
		if st.Mask&unix.STATX_BTIME != 0 {
			return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)), true
		}
		if st.Mask&unix.STATX_CTIME != 0 {
			return time.Unix(st.Ctime.Sec, int64(st.Ctime.Nsec)), true
		}
	}
	return time.Time{}, false
}

// runtimes are the prefixes that container runtimes put before the id in the name of a systemd scope, and before other
// things in those that are no container.
var runtimes = []struct {
	prefix    string
	container bool
}{
	{"docker-", true},
	{"cri-containerd-", true},
	{"containerd-", true},
	{"nerdctl-", true},
	{"crio-conmon-", false}, // the monitor beside the container
	{"crio-", true},
	{"libpod-conmon-", false},
	{"libpod-payload-", true},
	{"libpod-", true},
	{"kubelet-", true},
}

// ContainerID returns the id of the container that a cgroup path is of, and the path of the container's own cgroup, which
// the given one may be below of. Both are empty if it is no container. Of containers in containers it is the innermost.
//
// Known forms of a path's components, as the runtimes make them:
//
//	docker/<id>  docker-<id>.scope                       Docker, with cgroupfs and systemd
//	…/kubepods/burstable/pod<uid>/<id>                    Kubernetes with cgroupfs
//	kubepods-….slice/cri-containerd-<id>.scope  crio-<id>.scope
//	kubepods-….slice:cri-containerd:<id>                  containerd whose driver is cgroupfs, below a slice
//	libpod-<id>.scope  libpod_parent/libpod-<id>          Podman
//	ecs/<task>/<id>  ecs/<cluster>/<task>/<id>            ECS on EC2; ecs/<task>/<task>-<number> on Fargate
//	garden/<id>                                           Garden (Cloud Foundry)
//	machine.slice/systemd-nspawn@<name>.service  machine-<name>.scope  systemd-nspawn
//
// where <id> is 64 hexadecimal digits, for Fargate 32, a dash and a number, for Garden any name.
func ContainerID(cgroupPath string) (id, dir string) {
	rest := cgroupPath
	for len(rest) > 0 {
		rest = strings.TrimRight(rest, "/")
		i := strings.LastIndexByte(rest, '/')
		if id, ok := componentID(rest[:max(i, 0)], rest[i+1:]); ok {
			return id, rest
		}
		if i < 0 {
			break
		}
		rest = rest[:i]
	}
	return "", ""
}

// componentID returns the container id that a path's component stands for; parent is the path before it.
func componentID(parent, name string) (id string, ok bool) {
	base := strings.TrimSuffix(strings.TrimSuffix(name, ".scope"), ".service")
	if i := strings.LastIndexByte(base, ':'); i >= 0 {
		base = base[i+1:]
	}
	if isHex(base, 64) {
		return base, true
	}
	for _, r := range runtimes {
		id, found := strings.CutPrefix(base, r.prefix)
		if !found {
			continue
		}
		if r.container && isHex(id, 64) {
			return id, true
		}
		break
	}
	dir := parent[strings.LastIndexByte(parent, '/')+1:]
	switch {
	case isTask(base) && strings.Contains(parent+"/", "/ecs/"):
		return base, true
	case dir == "garden" && base != "" && len(base) <= maxMachineName && isName(base):
		return base, true
	case dir == "machine.slice":
		return machineName(name)
	}
	return "", false
}

// lenUID is the length of a pod's UID, which is a UUID in text.
const lenUID = 36

// PodUID returns the UID of the Kubernetes pod that a cgroup path is of; empty if it is of none. Of pods in pods it is the
// innermost. Known forms, which the kubelet makes below a parent of any name:
//
//	kubepods/burstable/pod<uid>/…                          cgroupfs
//	kubepods-burstable-pod<uid, with _ for ->.slice/…      systemd
//
// The <uid> of a static pod is a hash of its file, 32 hexadecimal digits: the API has it in the annotation
// kubernetes.io/config.hash, and another UID.
func PodUID(cgroupPath string) string {
	root := strings.Index(cgroupPath, "kubepods")
	if root < 0 {
		return ""
	}
	for p := cgroupPath[root:]; ; {
		i := strings.LastIndex(p, "pod")
		if i < 1 {
			return ""
		}
		if c := p[i-1]; c == '/' || c == '-' {
			uid := p[i+len("pod"):]
			if end := strings.IndexAny(uid, "/.:"); end >= 0 {
				uid = uid[:end]
			}
			if isUID(uid) {
				return strings.ReplaceAll(uid, "_", "-")
			}
		}
		p = p[:i]
	}
}

// isUID reports whether s is a UUID, whose dashes may be underscores, or the hash that a static pod has in its place.
func isUID(s string) bool {
	if len(s) != lenUID {
		return isHex(s, 32)
	}
	for i := range len(s) {
		switch c := s[i]; i {
		case 8, 13, 18, 23:
			if c != '-' && c != '_' {
				return false
			}
		default:
			if !isHex(s[i:i+1], 1) {
				return false
			}
		}
	}
	return true
}

// machineName returns the name of a systemd-nspawn container from that of its unit.
func machineName(unit string) (string, bool) {
	name, ok := strings.CutPrefix(unit, "systemd-nspawn@")
	if ok {
		name, ok = strings.CutSuffix(name, ".service")
	} else if name, ok = strings.CutPrefix(unit, "machine-"); ok {
		// Virtual machines have such scopes too: their names begin with the hypervisor's.
		name, ok = strings.CutSuffix(name, ".scope")
		ok = ok && !strings.HasPrefix(name, "qemu") && !strings.HasPrefix(name, "lxc")
	}
	if !ok {
		return "", false
	}
	name = unescapeUnit(name)
	return name, name != "" && len(name) <= maxMachineName && isName(name)
}

// unescapeUnit undoes \xHH, as systemd-escape(1) writes what a unit's name may not hold.
func unescapeUnit(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if i+3 < len(s) && s[i] == '\\' && s[i+1] == 'x' && isHex(s[i+2:i+4], 2) {
			b = append(b, unhex(s[i+2])<<4|unhex(s[i+3]))
			i += 3
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c - 'a' + 10
}

// isHex reports whether s is n lower-case hexadecimal digits.
func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isTask reports whether s is the id of a container on Fargate: 32 hexadecimal digits, a dash, and a number.
func isTask(s string) bool {
	if len(s) < 34 || len(s) > 44 || s[32] != '-' || !isHex(s[:32], 32) {
		return false
	}
	for i := 33; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// isName reports whether s could be the name of a machine or container: letters, digits, dash, dot and underscore.
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}
