// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package proctree

// maxCgroups is how many cgroups' paths are remembered, twice: those that were of use lately, and those before.
const maxCgroups = 1024

// cgroupPaths tells the path of a cgroup by its id, which the kernel does not use twice. When recent is full, it becomes
// older, and what older had is forgotten.
type cgroupPaths struct {
	recent, older map[uint64]string
}

// onlyOne says that id names one cgroup: 0 is unknown, and 1 is the root, where all processes are on a machine that still
// uses the hierarchies of v1.
func onlyOne(id uint64) bool { return id > 1 }

// learn remembers a path, and returns the one that is kept. A path that is empty is not known.
func (c *cgroupPaths) learn(id uint64, path string) string {
	if path == "" || !onlyOne(id) {
		return path
	}
	if known := c.get(id); known == path {
		return known
	}
	c.put(id, path)
	return path
}

func (c *cgroupPaths) get(id uint64) string {
	if path, ok := c.recent[id]; ok {
		return path
	}
	path := c.older[id]
	if path != "" {
		c.put(id, path)
	}
	return path
}

func (c *cgroupPaths) put(id uint64, path string) {
	if c.recent == nil || len(c.recent) >= maxCgroups {
		c.recent, c.older = make(map[uint64]string), c.recent
	}
	c.recent[id] = path
}
