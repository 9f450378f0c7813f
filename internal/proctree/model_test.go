// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package proctree

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
)

// modelImage is a process image of the model: it knows everything, and forgets nothing.
type modelImage struct {
	pid    uint32
	comm   string
	marks  string
	forked bool
	gone   bool
	parent *modelImage
}

func (m *modelImage) String() string {
	var s []string
	for ; m != nil; m = m.parent {
		x := ""
		if m.gone {
			x = "x"
		}
		s = append(s, fmt.Sprintf("%d:%s%s%s", m.pid, m.comm, m.marks, x))
	}
	return strings.Join(s, " < ")
}

// world makes records of a machine with few pids, which are used again soon.
type world struct {
	rnd    *rand.Rand
	images map[uint64]*modelImage
	alive  []uint64
	used   map[uint32]bool
	ids    uint64
}

func newWorld(seed uint64) *world {
	w := &world{
		rnd:    rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // a test repeats itself
		images: map[uint64]*modelImage{1: {pid: 1, comm: "c1"}}, alive: []uint64{1}, used: map[uint32]bool{1: true}, ids: 1,
	}
	return w
}

// next makes a record, and returns the image that it is about after it.
func (w *world) next() (step, *modelImage) {
	i := w.rnd.IntN(len(w.alive))
	id := w.alive[i]
	m := w.images[id]
	s := step{id: id, pid: m.pid, ppid: 1}
	switch n := w.rnd.IntN(100); {
	case n < 35 && len(w.alive) < 150:
		pid := uint32(1)
		for w.used[pid] {
			pid = 1 + w.rnd.Uint32N(200)
		}
		w.ids++
		m.comm = fmt.Sprint("c", id)
		child := &modelImage{pid: pid, comm: m.comm, marks: "t", forked: true, parent: m}
		w.images[w.ids], w.used[pid] = child, true
		w.alive = append(w.alive, w.ids)
		s.do, s.prev, s.cpid = "fork", w.ids, pid
		return s, child
	case n < 60 && len(m.String()) < 1000:
		w.ids++
		image := &modelImage{pid: m.pid, comm: fmt.Sprint("c", w.ids), marks: "+", parent: m}
		if m.forked {
			image.parent, image.marks = m.parent, ""
		}
		w.images[w.ids], w.alive[i] = image, w.ids
		s.do, s.prev, s.id, s.par = "exec", id, w.ids, 1
		return s, image
	case n < 80 && len(w.alive) > 1 && id != 1:
		m.gone, m.comm = true, fmt.Sprint("c", id)
		w.alive = append(w.alive[:i], w.alive[i+1:]...)
		delete(w.used, m.pid)
		s.do = "exit"
		return s, m
	}
	m.comm = fmt.Sprint("c", id)
	s.do = "lookup"
	return s, m
}

func TestAgainstModel(t *testing.T) {
	for seed := range uint64(2) {
		w, tree := newWorld(seed), newTestTree(0)
		run(tree, &step{do: "snapshot", id: 1, pid: 1}, 0)
		for i := range 10000 {
			s, m := w.next()
			ctx, _ := run(tree, &s, event.Time(1000+i))
			require.Equal(t, m.String(), showContext(ctx), "seed %d, record %d: %+v", seed, i, s)
			if i%200 == 0 {
				tree.Expire(event.Time(1000 + i))
				check(t, tree)
			}
		}
	}
}

// When records are lost and the tree is too small, what it shows is less, but never wrong.
func TestAgainstModelWithLosses(t *testing.T) {
	for seed := range uint64(2) {
		w, tree := newWorld(seed), newTestTree(60)
		for i := range 10000 {
			s, m := w.next()
			if w.rnd.IntN(20) == 0 {
				continue
			}
			s.par = 0
			ctx, _ := run(tree, &s, event.Time(1000+i))
			want := strings.Split(m.String(), " < ")
			got := strings.Split(showContext(ctx), " < ")
			require.LessOrEqual(t, len(got), len(want))
			for j := range got {
				// Names and exits may be news that were lost; who it is may not.
				require.Equal(t, m.pid, ctx.PID)
				pid, _, _ := strings.Cut(got[j], ":")
				wantPID, _, _ := strings.Cut(want[j], ":")
				require.Equal(t, wantPID, pid, "seed %d, record %d: %+v: %q, %q", seed, i, s, want, got)
			}
			if i%50 == 0 {
				tree.Expire(event.Time(1000 + i))
				check(t, tree)
			}
		}
		require.NotZero(t, tree.Stats().Evicted)
		require.NotZero(t, tree.Stats().Unknown)
	}
}

// FuzzTree feeds records that contradict each other.
func FuzzTree(f *testing.F) {
	f.Add([]byte{0, 1, 1, 0, 0, 1, 1, 1, 2, 2, 2, 3, 2, 2, 1, 3, 3, 2, 0, 0, 4, 3, 2, 0, 0, 5, 0, 0, 0, 0})
	f.Add([]byte{0, 3, 30, 2, 2, 0, 2, 20, 3, 3, 1, 2, 2, 3, 30, 2, 3, 30, 2, 3})
	names := []string{"snapshot", "fork", "exec", "exit", "lookup", "expire"}
	f.Fuzz(func(t *testing.T, data []byte) {
		tree := newTestTree(16)
		tree.cfg.MaxBytes = 2000
		tree.cfg.Alive = func(pid uint32, _ event.Time) bool { return pid%4 != 0 }
		for now := event.Time(1); len(data) >= 5; now++ {
			s := step{
				do: names[int(data[0])%len(names)], id: uint64(data[1] % 32), pid: uint32(data[2] % 16),
				prev: uint64(data[3] % 32), cpid: uint32(data[3] % 16), par: uint64(data[4] % 32), out: data[0]&0x80 != 0, nox: data[0]&0x40 != 0,
			}
			data = data[5:]
			ctx, ok := run(tree, &s, now)
			if ok {
				require.NotNil(t, ctx.Process)
				require.LessOrEqual(t, len(ctx.Ancestors), MaxAncestors)
				for _, a := range ctx.Ancestors {
					require.NotNil(t, a)
				}
				if len(ctx.Ancestors) > 0 {
					require.Same(t, ctx.Ancestors[0], ctx.Parent)
				}
			}
			check(t, tree)
		}
	})
}
