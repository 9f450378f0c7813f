// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package proctree

import (
	"slices"

	"github.com/picketsec/picket/internal/event"
)

// maxWalk bounds how far up a lineage is followed. Only a chain of that many processes that all still run is longer; the
// oldest ancestors of it are those within reach.
const maxWalk = 1024

// lineage returns n's process and its ancestors, nearest first: what a child of n has as its ancestors. All children share
// it. It is made once, and again only if something in it changed.
func (t *Tree) lineage(n *node) []*event.Process {
	if n.chainEpoch == t.epoch {
		return n.chain
	}
	s := t.scratch[:0]
	p := n.up()
	switch {
	case p != nil && p.chainEpoch == t.epoch:
		s = append(s, n.proc)
		if len(p.chain) < MaxAncestors {
			s = append(s, p.chain...)
		} else {
			s = append(s, p.chain[:halfAncestors-1]...)
			s = append(s, p.chain[halfAncestors:]...)
		}
	default:
		for a := n; a != nil && len(s) < maxWalk; a = a.up() {
			s = append(s, a.proc)
		}
		if len(s) > MaxAncestors {
			copy(s[halfAncestors:], s[len(s)-halfAncestors:])
			s = s[:MaxAncestors]
		}
	}
	if !slices.Equal(s, n.chain) {
		n.chain = slices.Clone(s)
	}
	n.chainEpoch = t.epoch
	clear(s)
	t.scratch = s[:0]
	return n.chain
}

// compact takes one image out of the middle of a lineage that has become longer than what is shown of it, so that a
// program that executes itself forever does not fill the tree. n is the newest image of the lineage.
func (t *Tree) compact(n *node) {
	if n.depth <= MaxAncestors {
		return
	}
	// child is n's ancestor at the end of the near half; its parent is shown to nobody if the lineage has no branches here.
	child := n
	for range halfAncestors {
		child = child.up()
		if child == nil || child.children != 1 {
			return
		}
	}
	m := child.up()
	if m == nil || !m.gone || m.children != 1 {
		return
	}
	above := m
	for range halfAncestors {
		if above = above.up(); above == nil {
			return
		}
	}
	p := m.up()
	child.parent = p // m's place among p's children
	m.parent, m.children = nil, 0
	n.depth--
	t.drop(m)
}
