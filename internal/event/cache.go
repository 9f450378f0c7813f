// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"bytes"
	"sync/atomic"
)

// processCache holds derived forms of a Process; a form that is not there yet is empty. It is never changed, but replaced.
type processCache struct {
	// The JSON from the first member to the brace that ends the object. tid, which differs from event to event, comes before.
	whole []byte
	bare  []byte // without argv0, args and envs, for an entry that shares them with the next one

	created string // ForkTime as text, for process.creation.time
	seen    bool   // whole was asked for
}

// cached returns a copy of what is there, to be added to and stored.
func (p *Process) cached() *processCache {
	var c processCache
	if old := p.cache.Load(); old != nil {
		c = *old
	}
	return &c
}

// appendMembers appends the JSON of p from its first member on, without arguments and environment if it is to be bare. If two
// goroutines make it at the same time, they make the same.
func (p *Process) appendMembers(dst []byte, bare bool) []byte {
	if c := p.cache.Load(); c != nil {
		text := c.whole
		if bare {
			text = c.bare
		}
		if text != nil {
			return append(dst, text...)
		}
	}
	start := len(dst)
	dst = appendProcessMembers(dst, p, !bare)
	c := p.cached()
	switch {
	case bare:
		c.bare = bytes.Clone(dst[start:])
	case (p.IsThread || p.ExitTime != 0) && !c.seen: // most execute a program before a second event, or there is none any more
		c.seen = true
	default:
		c.whole = bytes.Clone(dst[start:])
	}
	p.cache.Store(c)
	return dst
}

// creation returns ForkTime as text.
func (p *Process) creation() string {
	if c := p.cache.Load(); c != nil && c.created != "" {
		return c.created
	}
	c := p.cached()
	c.created = string(p.ForkTime.AppendRFC3339(nil))
	p.cache.Store(c)
	return c.created
}

// capsCache has the JSON of sets of capabilities that were written of late, at places that follow from the set: there are few
// different ones, and a whole one takes 800 bytes.
var capsCache [16]atomic.Pointer[capsJSON]

type capsJSON struct {
	set  CapSet
	text []byte
}

// capsPlace is the place of a set.
func capsPlace(set CapSet) *atomic.Pointer[capsJSON] {
	return &capsCache[uint64(set)*0x9e3779b97f4a7c15>>60] // the golden ratio: every bit counts
}
