// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// hierarchy is a mount of the v2 hierarchy, or of v1's memory hierarchy.
type hierarchy struct {
	dir  string // where it is mounted
	root string // which cgroup that is, as the collector's cgroup namespace names it: "/", "/a/b", or "/../.." for one above it
	v1   bool
}

// hierarchies reads them out of a mountinfo file, whose mount points are below prefix.
func hierarchies(mountinfo, prefix string) (list []hierarchy) {
	sc := bufio.NewScanner(strings.NewReader(mountinfo))
	for sc.Scan() {
		// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
		mount, super, ok := strings.Cut(sc.Text(), " - ")
		m, s := strings.Fields(mount), strings.Fields(super)
		if !ok || len(m) < 5 || len(s) < 3 {
			continue
		}
		if v1 := s[0] == "cgroup" && hasOption(s[2], "memory"); v1 || s[0] == "cgroup2" {
			list = append(list, hierarchy{dir: prefix + m[4], root: m[3], v1: v1})
		}
	}
	return list
}

// above is how many levels the mount begins above the root of the collector's cgroup namespace.
func (h *hierarchy) above() int { return strings.Count(h.root, "/..") }

// path is where a cgroup is, named from the top of the hierarchy; empty if the mount does not have it. A mount that begins
// above the collector's namespace is taken for the whole hierarchy: what is above that has no name here.
func (h *hierarchy) path(cgroup string) string {
	cgroup = path.Clean("/" + cgroup)
	if h.root == "/" || h.above() > 0 {
		return path.Join(h.dir, cgroup)
	}
	if rel, ok := strings.CutPrefix(cgroup+"/", h.root+"/"); ok {
		return path.Join(h.dir, rel)
	}
	return ""
}

// cgroupHierarchies returns the mounts that the collector sees and those that pid 1 sees: in a container with the host's pids
// these are the host's, while its own show no more than itself. The ones that show most are first, and v2 before v1.
func cgroupHierarchies() ([]hierarchy, error) {
	own, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	list := hierarchies(string(own), "")
	if first, err := os.ReadFile("/proc/1/mountinfo"); err == nil {
		list = append(list, hierarchies(string(first), "/proc/1/root")...)
	}
	order := func(h hierarchy) int {
		if h.v1 {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b hierarchy) int {
		return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(b.above(), a.above()))
	})
	return list, nil
}

func hasOption(list, name string) bool {
	for o := range strings.SplitSeq(list, ",") {
		if o == name {
			return true
		}
	}
	return false
}

// resolveScope turns the configured scope into what the kernel side compares. It fails rather than watch something else
// than was asked for.
func (c *ScopeConfig) resolveScope() (s sensor.Scope, err error) {
	s.Containers = c.ContainersOnly
	for _, pid := range c.ProcessTrees {
		if err := unix.Kill(pid, 0); errors.Is(err, unix.ESRCH) {
			return s, fmt.Errorf("scope: process_trees: there is no process %d", pid)
		}
		s.Trees = append(s.Trees, uint32(pid))
	}
	s.PIDNS = append(s.PIDNS, c.PIDNamespaces...)

	if len(c.Cgroups) == 0 && c.Pod == "" {
		return s, nil
	}
	mounts, err := cgroupHierarchies()
	if err != nil {
		return s, fmt.Errorf("scope: cgroups: %w", err)
	}
	add := func(name string, id uint64, v1 bool) error {
		if len(s.Cgroups) > 0 && v1 != s.CgroupV1 {
			return fmt.Errorf("scope: cgroups: %s is on another hierarchy (v1 or v2) than the others", name)
		}
		s.CgroupV1 = v1
		s.Cgroups = append(s.Cgroups, id)
		return nil
	}
	for _, cg := range c.Cgroups {
		id, v1, err := cgroupID(cg, mounts)
		if err == nil {
			err = add(cg, id, v1)
		}
		if err != nil {
			return s, err
		}
	}
	if c.Pod == "self" {
		own, err := os.ReadFile("/proc/self/cgroup")
		if err != nil {
			return s, fmt.Errorf("scope: pod: %w", err)
		}
		pod, id, v1, err := ownPod(string(own), os.Getpid(), mounts)
		if err == nil {
			err = add(pod, id, v1)
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// cgroupID returns the id of a cgroup, which is the inode number of its directory.
func cgroupID(cgroup string, mounts []hierarchy) (id uint64, v1 bool, err error) {
	for i := range mounts {
		if id, ok := directory(mounts[i].path(cgroup)); ok {
			return id, mounts[i].v1, nil
		}
	}
	return 0, false, fmt.Errorf("scope: cgroups: there is no cgroup %q on the v2 hierarchy or the v1 memory hierarchy", cgroup)
}

// directory returns the inode number of a directory.
func directory(name string) (inode uint64, ok bool) {
	var st unix.Stat_t
	if name == "" || unix.Stat(name, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return 0, false
	}
	return st.Ino, true
}

// ownPod finds the cgroup of the pod that the collector is in: own is its /proc/self/cgroup, pid its process. It fails rather
// than take a cgroup that is not a pod's for one.
func ownPod(own string, pid int, mounts []hierarchy) (pod string, id uint64, v1 bool, err error) {
	seen := "/"
	for _, c := range ownCgroups(own) {
		if pod := podCgroup(c); pod != "" {
			id, v1, err := cgroupID(pod, mounts)
			if err != nil {
				err = fmt.Errorf("scope: pod: self: the pod's cgroup %s is on no mount that can be seen here; %s", pod, podHint)
			}
			return pod, id, v1, err
		}
		if c != "/" {
			seen = c
		}
	}
	// In a cgroup namespace of its own a process is told "/" wherever it is. Its directory is the one that lists it.
	for i := range mounts {
		cgroup, ok := cgroupOf(mounts[i].dir, pid)
		if !ok || cgroup == "/" {
			continue // nothing above it can be seen there, or nothing is
		}
		if pod := podCgroup(cgroup); pod != "" {
			if id, ok := directory(path.Join(mounts[i].dir, pod)); ok {
				return pod, id, mounts[i].v1, nil
			}
		}
		seen = cgroup
	}
	if seen != "/" {
		return "", 0, false, fmt.Errorf("scope: pod: self: the collector is in the cgroup %s, which is not that of a Kubernetes pod", seen)
	}
	return "", 0, false, errors.New("scope: pod: self: the collector is in the root cgroup, or in a cgroup namespace of its own " +
		"in which the pod's cgroup cannot be seen; " + podHint)
}

const podHint = "in a pod, mount the host's /sys/fs/cgroup into the container (read-only, at any path), or run it with hostPID: true and CAP_SYS_PTRACE"

// ownCgroups returns the collector's cgroup on v2 and on v1's memory hierarchy, in the order of /proc/self/cgroup.
func ownCgroups(own string) (list []string) {
	for line := range strings.SplitSeq(own, "\n") {
		id, rest, _ := strings.Cut(line, ":")
		controllers, cgroup, ok := strings.Cut(rest, ":")
		if ok && strings.HasPrefix(cgroup, "/") && (id == "0" && controllers == "" || hasOption(controllers, "memory")) {
			list = append(list, path.Clean(cgroup))
		}
	}
	return list
}

// maxCgroups is how many cgroups are looked at for the collector's own. A node of 500 pods has some 5,000.
const maxCgroups = 100_000

// cgroupOf finds the cgroup below a mount that lists the process, named from there. Ids in cgroup.procs are those of the
// reader's pid namespace, so that it can be found in any.
func cgroupOf(mount string, pid int) (cgroup string, ok bool) {
	want := []byte(strconv.Itoa(pid))
	left := maxCgroups
	err := filepath.WalkDir(mount, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && d != nil && d.IsDir():
			return fs.SkipDir // it is gone, or closed
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		}
		if left--; left < 0 {
			return fs.SkipAll
		}
		procs, err := os.ReadFile(filepath.Join(name, "cgroup.procs"))
		if err != nil {
			return nil //nolint:nilerr // it is gone
		}
		for line := range bytes.Lines(procs) {
			if bytes.Equal(bytes.TrimSpace(line), want) {
				cgroup, ok = path.Clean("/"+strings.TrimPrefix(name, mount)), true
				return fs.SkipAll
			}
		}
		return nil
	})
	return cgroup, ok && err == nil
}

// podCgroup returns the cgroup of the pod that a cgroup belongs to; empty if it belongs to none.
func podCgroup(cgroup string) string {
	// /kubepods[.slice]/…/pod<uid>/<container>, /kubepods.slice/…/kubepods-…-pod<uid>.slice/cri-….scope; in kind
	// /…/kubelet.slice/kubelet-kubepods.slice/…/kubelet-kubepods-…-pod<uid>.slice/…
	pods := false
	names := strings.Split(path.Clean("/"+cgroup), "/")
	for i, name := range names {
		switch {
		case name == "kubepods" || name == "kubepods.slice" || strings.HasSuffix(name, "-kubepods.slice"):
			pods = true
		case pods && (strings.HasPrefix(name, "pod") || strings.Contains(name, "-pod")):
			return strings.Join(names[:i+1], "/")
		}
	}
	return ""
}
