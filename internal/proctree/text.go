// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package proctree

import (
	"math"
	"slices"

	"github.com/picketsec/picket/internal/event"
)

// stringHeader is what a string in a list takes beside its bytes.
const stringHeader = 16

// text is a list of strings that images share: arguments, or environment. It counts once, whoever of them goes first.
type text struct {
	strings []string
	bytes   int
	refs    int
}

func sizeOf(s []string) int {
	size := stringHeader * len(s)
	for i := range s {
		size += len(s[i])
	}
	return size
}

// share returns a text of s for one more image: like if it says the same, as a child mostly has its parent's environment.
func (t *Tree) share(s []string, like *text) *text {
	if len(s) == 0 {
		return nil
	}
	if like != nil && (&s[0] == &like.strings[0] && len(s) == len(like.strings) || slices.Equal(s, like.strings)) {
		like.refs++
		return like
	}
	x := &text{strings: s, bytes: sizeOf(s), refs: 1}
	t.bytes += x.bytes
	return x
}

// unshare is the end of one image's use of x.
func (t *Tree) unshare(x *text) {
	if x == nil {
		return
	}
	if x.refs--; x.refs == 0 {
		t.bytes -= x.bytes
	}
}

// setText makes the lists of p those of n, shared with those of the node like if they are equal. like may be nil.
func (t *Tree) setText(n *node, p *event.Process, like *node) {
	var likeArgs, likeEnvs *text
	if like != nil {
		likeArgs, likeEnvs = like.args, like.envs
	}
	args, envs := t.share(p.Args, likeArgs), t.share(p.Envs, likeEnvs)
	t.unshare(n.args)
	t.unshare(n.envs)
	n.args, n.envs = args, envs
	own := len(p.Argv0) + len(p.TTY) + len(n.cgroupPath) + pathSize(p.Executable) + pathSize(p.Interpreter)
	encoded := own
	if args != nil {
		p.Args = args.strings
		encoded += args.bytes
	}
	if envs != nil {
		p.Envs = envs.strings
		encoded += envs.bytes
	}
	n.own, n.encoded = clamp(own), clamp(encoded)
	t.weigh(n)
}

// clamp keeps sizes within what a node has room for; the kernel side reads a thousandth of it.
func clamp(size int) int32 { return int32(min(size, math.MaxInt32/(maxAlts+2))) }

func pathSize(f *event.File) int {
	if f == nil {
		return 0
	}
	return len(f.Path) + len(f.Name)
}

// weigh accounts for what n alone takes: its own strings, and each of its forms once more as its events write it, which
// is kept for the next one. What escapes make of that is not looked at.
func (t *Tree) weigh(n *node) {
	w := n.own + n.encoded*int32(1+len(n.alts))
	t.bytes += int(w - n.weight)
	n.weight = w
	t.used.Store(uint64(t.bytes))
}

// unweigh is the end of n.
func (t *Tree) unweigh(n *node) {
	t.unshare(n.args)
	t.unshare(n.envs)
	n.args, n.envs = nil, nil
	t.bytes -= int(n.weight)
	n.weight = 0
	t.used.Store(uint64(t.bytes))
}

// size returns what the strings of x may add to the tree.
func (x *Exec) size() int {
	own := len(x.Argv0) + len(x.TTY) + len(x.CgroupPath) + pathSize(x.Executable) + pathSize(x.Interpreter)
	return 2 * (own + sizeOf(x.Args) + sizeOf(x.Envs))
}
