// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// cgroupMounts finds where the v2 hierarchy and the v1 memory hierarchy are mounted; empty if they are not.
func cgroupMounts(mountinfo string) (v2, memory string) {
	sc := bufio.NewScanner(strings.NewReader(mountinfo))
	for sc.Scan() {
		// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
		mount, super, ok := strings.Cut(sc.Text(), " - ")
		m, s := strings.Fields(mount), strings.Fields(super)
		if !ok || len(m) < 5 || len(s) < 3 {
			continue
		}
		switch {
		case s[0] == "cgroup2" && v2 == "":
			v2 = m[4]
		case s[0] == "cgroup" && memory == "" && hasOption(s[2], "memory"):
			memory = m[4]
		}
	}
	return v2, memory
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

	cgroups := c.Cgroups
	if c.Pod == "self" {
		own, err := os.ReadFile("/proc/self/cgroup")
		if err != nil {
			return s, fmt.Errorf("scope: pod: %w", err)
		}
		pod := podCgroup(string(own))
		if pod == "" {
			return s, errors.New("scope: pod: self: the collector's own cgroup is not that of a Kubernetes pod " +
				"(with a private cgroup namespace it cannot be told: set scope.cgroups)")
		}
		cgroups = append(cgroups[:len(cgroups):len(cgroups)], pod)
	}
	if len(cgroups) == 0 {
		return s, nil
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return s, fmt.Errorf("scope: cgroups: %w", err)
	}
	v2, memory := cgroupMounts(string(mounts))
	for _, cg := range cgroups {
		id, v1, err := cgroupID(cg, v2, memory)
		if err != nil {
			return s, err
		}
		if len(s.Cgroups) > 0 && v1 != s.CgroupV1 {
			return s, fmt.Errorf("scope: cgroups: %s is on another hierarchy (v1 or v2) than the others", cg)
		}
		s.CgroupV1 = v1
		s.Cgroups = append(s.Cgroups, id)
	}
	return s, nil
}

// cgroupID returns the id of a cgroup, which is the inode number of its directory.
func cgroupID(cg, v2, memory string) (id uint64, v1 bool, err error) {
	for _, m := range []struct {
		root string
		v1   bool
	}{{v2, false}, {memory, true}} {
		if m.root == "" {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(path.Join(m.root, path.Clean("/"+cg)), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			return st.Ino, m.v1, nil
		}
	}
	return 0, false, fmt.Errorf("scope: cgroups: there is no cgroup %q on the v2 hierarchy or the v1 memory hierarchy", cg)
}

// podCgroup finds the pod's cgroup in the text of /proc/self/cgroup; empty if the process is in none.
func podCgroup(own string) string {
	for line := range strings.SplitSeq(own, "\n") {
		_, p, ok := strings.Cut(line, "::")
		if !ok {
			_, rest, _ := strings.Cut(line, ":")
			ctrl, v1, ok := strings.Cut(rest, ":")
			if !ok || !hasOption(ctrl, "memory") {
				continue
			}
			p = v1
		}
		// /kubepods[.slice]/…/pod<uid>/<container>, /kubepods.slice/…/kubepods-…-pod<uid>.slice/cri-….scope
		for p := path.Clean(p); p != "/" && p != "."; p = path.Dir(p) {
			base := path.Base(p)
			if strings.HasPrefix(p, "/kubepods") && (strings.HasPrefix(base, "pod") || strings.Contains(base, "-pod")) {
				return p
			}
		}
	}
	return ""
}
