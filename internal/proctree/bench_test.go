// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package proctree

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/picketsec/picket/internal/event"
)

type benchUsers struct{}

func (benchUsers) User(_, _, _ uint32) string  { return "root" }
func (benchUsers) Group(_, _, _ uint32) string { return "root" }

// benchTree has a login session of usual depth, beside 2,000 other processes.
func benchTree() (*Tree, Actor) {
	t := New(Config{Users: benchUsers{}, Containers: testContainers{}, Retention: time.Second})
	t.Snapshot(&Exec{Actor: actor(1, 1, "systemd"), InScope: true})
	for i := uint64(2); i <= 8; i++ {
		t.Snapshot(&Exec{Actor: actor(i, uint32(i), "bash"), ParentID: i - 1, InScope: true, Args: []string{"-l"}})
	}
	for i := uint64(100); i < 2100; i++ {
		t.Snapshot(&Exec{Actor: actor(i, uint32(i), "sleep"), ParentID: 1, InScope: true})
	}
	return t, actor(8, 8, "bash")
}

func TestLookupDoesNotAllocate(t *testing.T) {
	tree, a := benchTree()
	assert.Len(t, tree.Lookup(&a).Ancestors, 7)
	assert.Zero(t, testing.AllocsPerRun(100, func() { tree.Lookup(&a) }))
}

func BenchmarkLookup(b *testing.B) {
	tree, a := benchTree()
	b.ReportAllocs()
	for b.Loop() {
		tree.Lookup(&a)
	}
}

// BenchmarkLookupThreads alternates between four threads with names of their own.
func BenchmarkLookupThreads(b *testing.B) {
	tree, a := benchTree()
	names := [...]string{"worker-0", "worker-1", "worker-2", "bash"}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		a.TID, a.Comm = uint32(8+i%4), names[(i+3)%4]
		tree.Lookup(&a)
	}
}

// BenchmarkLookupAfterChange looks a process up after a change of some other process with children.
func BenchmarkLookupAfterChange(b *testing.B) {
	tree, a := benchTree()
	other := actor(1, 1, "systemd")
	b.ReportAllocs()
	for b.Loop() {
		tree.epoch++
		tree.Lookup(&a)
	}
	tree.Lookup(&other)
}

// BenchmarkForkExecExit is the life of a process.
func BenchmarkForkExecExit(b *testing.B) {
	for _, size := range []int{0, 4096} {
		b.Run(fmt.Sprint("max=", size), func(b *testing.B) {
			tree, a := benchTree()
			if size != 0 {
				tree.cfg.MaxProcesses = size
			}
			exe, args := &event.File{Path: "/bin/true"}, []string{"x"}
			b.ReportAllocs()
			id := uint64(10000)
			now := event.Time(0)
			for b.Loop() {
				id += 2
				now += 100_000 // 10,000 a second
				pid := uint32(10000 + id%20000)
				tree.Fork(&Fork{Parent: a, ChildID: id, ChildPID: pid, ChildTID: pid, Time: now, InScope: true})
				x := Exec{Actor: actor(id+1, pid, "true"), PrevID: id, PPID: 8, ParentID: 8, Time: now, ForkTime: now, Executable: exe, Args: args, InScope: true}
				tree.Exec(&x)
				tree.Exit(&Exit{Actor: x.Actor, Time: now})
				if id%10000 == 0 {
					tree.Expire(now)
				}
			}
			b.ReportMetric(float64(tree.Stats().Processes), "processes")
		})
	}
}
