// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

// processCache holds the JSON of a Process, from the brace that ends its members backwards to, but without, the opening
// one: tid, which differs from event to event, is written before it.
type processCache struct {
	whole []byte
	bare  []byte // without argv0, args and envs, for an entry that shares them with the next one; nil unless IsThread

	created string // ForkTime as text, for process.creation.time
}

// pieces returns the cached JSON of p. Two goroutines may both make it; they make the same.
func (p *Process) pieces() *processCache {
	if c := p.cache.Load(); c != nil {
		return c
	}
	c := &processCache{whole: appendProcessMembers(nil, p, true)}
	if p.IsThread { // others share nothing
		c.bare = appendProcessMembers(nil, p, false)
	}
	if p.ForkTime != 0 {
		c.created = string(p.ForkTime.AppendRFC3339(nil))
	}
	p.cache.Store(c)
	return c
}
