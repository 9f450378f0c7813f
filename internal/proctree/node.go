// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package proctree

import (
	"cmp"

	"github.com/picketsec/picket/internal/event"
)

// The ranks of what is known of an image: what comes from a lower one never replaces what comes from a higher one.
const (
	rankUnknown uint8 = iota
	rankFallback
	rankSnapshot
	rankEvent
)

// maxAlts is how many other forms of a process (other threads' names and credentials) are kept.
const maxAlts = 4

// maxUses is how many rounds of the clock a process without children stays that had many events.
const maxUses = 3

// node is one process image.
type node struct {
	id, prevID uint64
	wantsID    uint64 // id of the parent that it waits for
	pid        uint32

	rank      uint8
	forked    bool // no exec yet
	execChild bool
	inScope   bool
	gone      bool // exited, or replaced by an exec
	exited    bool // its exit was seen, in scope
	removed   bool
	next      uint8 // the one of alts that goes next
	touched   bool  // an event was about it
	uses      uint8 // how many events it had, up to maxUses, less the rounds of the clock since

	proc *event.Process // as the lineage of descendants shows it
	key  key            // what proc was made of
	alts []variant      // the last forms beside proc
	// What proc has of these only in scope.
	forkTime, execTime, exitTime event.Time
	cgroupPath                   string // as of key.cgroupID

	args, envs *text
	own        int32 // bytes of its own strings
	encoded    int32 // bytes of all its strings
	weight     int32 // what of the tree's bytes is for it alone

	parent   *node
	children int32
	depth    int32 // number of ancestors; a hint, as nodes that come late or leave are not accounted for
	goneAt   event.Time

	// chain is the lineage of the children: proc, then the ancestors. It is right if chainEpoch is the tree's.
	chain      []*event.Process
	chainEpoch uint64

	in                 *list
	before, after      *node // in the list
	wantNext, wantPrev *node // among those that wait for the same parent
}

// variant is a form of a process.
type variant struct {
	key        key
	proc       *event.Process
	cgroupPath string
}

// up returns the parent if it is still in the tree.
func (n *node) up() *node {
	if n.parent != nil && n.parent.removed {
		n.parent = nil
	}
	return n.parent
}

func (n *node) dropLineage() { n.chain, n.chainEpoch = nil, 0 }

// list is a queue of nodes from which every node can be taken out. A node is in one list at most.
type list struct {
	front, back *node
	len         int
}

func (l *list) push(n *node) {
	n.in, n.before, n.after = l, l.back, nil
	if l.back != nil {
		l.back.after = n
	} else {
		l.front = n
	}
	l.back = n
	l.len++
}

func (l *list) remove(n *node) {
	if n.before != nil {
		n.before.after = n.after
	} else {
		l.front = n.after
	}
	if n.after != nil {
		n.after.before = n.before
	} else {
		l.back = n.before
	}
	n.in, n.before, n.after = nil, nil, nil
	l.len--
}

// node returns the node with the id. Should it be of another pid, then the ids of two processes are the same: it is
// forgotten, rather than taken for the other.
func (t *Tree) node(id uint64, pid uint32) *node {
	n := t.nodes[id]
	if n != nil && n.pid != pid {
		t.drop(n)
		return nil
	}
	return n
}

// insert adds a node that is alive and has no parent and no process yet.
func (t *Tree) insert(id uint64, pid uint32) *node {
	n := &node{id: id, pid: pid}
	t.nodes[id] = n
	t.live.push(n)
	t.processes.Store(uint64(len(t.nodes)))
	for w := t.wanted[id]; w != nil; {
		next := w.wantNext
		t.unwant(w)
		t.link(w, n)
		w = next
	}
	return n
}

// becomeCurrent makes n the image of its pid. If the image that the pid had is of the same process, by the start time,
// known from the snapshot, neither n's predecessor nor seen in any event yet, then it is the later one: n is of before the
// snapshot, whose events are still coming in.
func (t *Tree) becomeCurrent(n *node, forkTime, now event.Time) {
	cur := t.pids[n.pid]
	if cur == n {
		return
	}
	if cur != nil && cur.rank == rankSnapshot && !cur.touched && cur.id != n.prevID && forkTime != 0 && sameStart(cur.forkTime, forkTime) {
		t.retire(n, now, true)
		return
	}
	t.pids[n.pid] = n
	if cur != nil && !cur.gone {
		t.retire(cur, now, true) // replaced by an exec, or its exit was lost
	}
}

// sameStart compares start times, which are on the wall clock and so move a little when it is adjusted. No pid comes
// back within that time.
func sameStart(a, b event.Time) bool {
	const tolerance = 1_000_000
	return a-b < tolerance && b-a < tolerance
}

// link makes p the parent of n.
func (t *Tree) link(n, p *node) {
	if n.up() == p || n == p {
		return
	}
	if n.children > 0 { // late: ids that contradict each other must not make a circle
		for a := p; a != nil; a = a.up() {
			if a == n {
				return
			}
		}
		t.epoch++
	}
	t.unlink(n)
	n.parent = p
	p.children++
	n.depth = p.depth + 1
}

// linkID makes the node with the id the parent of n, now or when it comes.
func (t *Tree) linkID(n *node, id uint64) {
	if id == 0 || id == n.id {
		return
	}
	if p := t.nodes[id]; p != nil {
		t.link(n, p)
		return
	}
	if n.up() != nil {
		return
	}
	t.unwant(n)
	n.wantsID = id
	if first := t.wanted[id]; first != nil {
		n.wantNext, first.wantPrev = first, n
	}
	t.wanted[id] = n
}

// unwant ends n's waiting for its parent.
func (t *Tree) unwant(n *node) {
	if n.wantsID == 0 {
		return
	}
	switch {
	case n.wantPrev != nil:
		n.wantPrev.wantNext = n.wantNext
	case n.wantNext != nil:
		t.wanted[n.wantsID] = n.wantNext
	default:
		delete(t.wanted, n.wantsID)
	}
	if n.wantNext != nil {
		n.wantNext.wantPrev = n.wantPrev
	}
	n.wantsID, n.wantNext, n.wantPrev = 0, nil, nil
}

// unlink takes n from its parent, which may be free to go then.
func (t *Tree) unlink(n *node) {
	t.unwant(n)
	p := n.up()
	n.parent = nil
	if p == nil {
		return
	}
	p.children--
	if p.children == 0 {
		p.dropLineage()
	}
	t.release(p)
}

// retire marks n as gone: exited, or replaced by another image (then nobody but descendants asks for it any more).
func (t *Tree) retire(n *node, now event.Time, replaced bool) {
	if t.pids[n.pid] == n {
		delete(t.pids, n.pid)
	}
	if n.gone {
		return
	}
	n.gone, n.goneAt = true, now
	n.alts = nil
	t.weigh(n)
	t.live.remove(n)
	if replaced && (n.children > 0 || n.forked) {
		t.held.push(n)
		t.gone.Store(uint64(t.exited.len + t.held.len))
		t.release(n)
		return
	}
	t.exited.push(n)
	t.gone.Store(uint64(t.exited.len + t.held.len))
}

// release removes a node that is past its retention if nobody descends from it, and then its ancestors likewise.
func (t *Tree) release(n *node) {
	for n != nil && n != t.keep && n.children == 0 && n.in == &t.held {
		p := n.up()
		t.drop(n)
		n = p
	}
}

// drop takes a node out of the tree.
func (t *Tree) drop(n *node) {
	t.unwant(n)
	if p := n.up(); p != nil {
		p.children--
		if p.children == 0 {
			p.dropLineage()
		}
		n.parent = nil
	}
	if n.in != nil {
		n.in.remove(n)
	}
	if t.nodes[n.id] == n {
		delete(t.nodes, n.id)
	}
	if t.pids[n.pid] == n {
		delete(t.pids, n.pid)
	}
	if n.children > 0 {
		t.epoch++ // the lineages of its descendants end below it now
	}
	// Descendants still point to it, so nothing may hang on it.
	n.removed, n.gone = true, true
	n.proc, n.alts = nil, nil
	t.unweigh(n)
	n.dropLineage()
	t.processes.Store(uint64(len(t.nodes)))
	t.gone.Store(uint64(t.exited.len + t.held.len))
}

// maxScan is how many processes are looked at for one that may go before one that had better stay has to.
const maxScan = 32

// makeRoom evicts nodes until there is room for more of them, and for that many bytes. keep, which may be nil, stays.
func (t *Tree) makeRoom(more, size int, keep *node) {
	size = min(size, t.cfg.MaxBytes/minProcesses)
	t.keep = keep
	defer func() { t.keep = nil }()
	for len(t.nodes)+more > t.cfg.MaxProcesses || t.bytes+size > t.cfg.MaxBytes {
		n := t.victim()
		if n == nil {
			return
		}
		p := n.up()
		t.drop(n)
		t.evicted.Add(1)
		t.release(p)
	}
}

// victim chooses what is missed least: an exited process without descendants, else the one that exited first, else a
// running one.
func (t *Tree) victim() *node {
	n := t.exited.front
	for i := 0; n != nil && i < maxScan; i++ {
		if n.children == 0 && n != t.keep {
			return n
		}
		n = n.after
	}
	for _, l := range [...]*list{&t.held, &t.exited} {
		n := l.front
		if n != nil && n == t.keep {
			n = n.after
		}
		if n != nil {
			return n
		}
	}
	return t.liveVictim()
}

// liveVictim chooses a running process. The list is a clock: who has children, or had events since it was at the front
// last, goes to the back and has another round. If all that are looked at are such, it is the one that is missed least of
// them, by its children and events; else the one that is farthest from the root, as a flood is.
func (t *Tree) liveVictim() *node {
	var (
		least *node
		worth int32
	)
	for range min(maxScan, t.live.len) {
		n := t.live.front
		if n != t.keep {
			if n.children == 0 && n.uses == 0 {
				return n
			}
			w := n.children + int32(n.uses)
			if least == nil || cmp.Or(cmp.Compare(w, worth), cmp.Compare(least.depth, n.depth)) < 0 {
				least, worth = n, w
			}
		}
		if n.uses > 0 {
			n.uses--
		}
		t.live.remove(n)
		t.live.push(n)
	}
	return least
}
