// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// kernelTestHost is the host of the generated lifecycle test, which needs a kernel that lets itself be watched.
func kernelTestHost(t *testing.T) component.Host {
	t.Helper()
	err := sensor.Probe()
	if errors.Is(err, sensor.ErrPrivilege) || errors.Is(err, sensor.ErrUnsupported) {
		t.Skip("needs the kernel side:", err)
	}
	require.NoError(t, err)
	return newMdatagenNopHost()
}

// openFiles is the number of this process's descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

func TestStartAndShutdownAgain(t *testing.T) {
	sink := new(consumertest.LogsSink)
	f := newFixture(t, sink, nil)
	require.NoError(t, f.Shutdown(t.Context()), "without Start")
	files := openFiles(t)
	for i := range 3 {
		f.start(t)
		f.fake.push(t, [][]byte{shExec(t)})
		f.stop(t)
		require.NoError(t, f.Shutdown(t.Context()), "a second time")
		assert.Equal(t, i+1, f.fake.closed)
		assert.Equal(t, i+1, sink.LogRecordCount())
		f.fake.detached = 0
	}
	assert.Equal(t, files, openFiles(t))
}

func TestStartErrors(t *testing.T) {
	missing := component.MustNewID("file_storage")
	for name, tt := range map[string]struct {
		change func(*Config)
		setup  func(*fakeKernel, *memStorage)
		is     error
		want   string
		opened bool
	}{
		"no privileges": {
			setup: func(k *fakeKernel, _ *memStorage) {
				k.openErr = fmt.Errorf("%w: CAP_BPF not effective: run as root", sensor.ErrPrivilege)
			},
			is: sensor.ErrPrivilege, want: "missing privileges: CAP_BPF not effective: run as root",
		},
		"unsupported kernel": {
			setup: func(k *fakeKernel, _ *memStorage) {
				k.openErr = fmt.Errorf("%w: kernel 4.19 has no BTF", sensor.ErrUnsupported)
			},
			is: sensor.ErrUnsupported, want: "kernel not supported: kernel 4.19 has no BTF",
		},
		"no storage extension": {
			change: func(c *Config) { c.Storage = &missing },
			want:   "storage: there is no extension file_storage in service.extensions",
		},
		"not a storage extension": {
			change: func(c *Config) { c.Storage = &noStorageID },
			want:   "storage: extension other is no storage extension",
		},
		"storage does not open": {
			setup: func(_ *fakeKernel, m *memStorage) { m.err = errors.New("disk full") },
			want:  "storage: disk full",
		},
		"no such process tree": {
			change: func(c *Config) { c.Scope.ProcessTrees = []int{maxTreePID} }, // pid_max is the first pid that there is not
			want:   "scope: process_trees: there is no process 4194304",
		},
		"no such cgroup": {
			change: func(c *Config) { c.Scope.Cgroups = []string{"/no/such/cgroup"} },
			want:   `scope: cgroups: there is no cgroup "/no/such/cgroup" on the v2 hierarchy or the v1 memory hierarchy`,
		},
		"sensitive word": {
			change: func(c *Config) { c.Args.SensitiveWords = []string{""} },
			want:   "args: ",
		},
		"no snapshot": {
			setup: func(k *fakeKernel, _ *memStorage) { k.snapshotErr = errors.New("attach the task iterator: no") },
			want:  "attach the task iterator: no", opened: true,
		},
		"snapshot of another form": {
			setup: func(k *fakeKernel, _ *memStorage) { k.processes = [][]byte{make([]byte, 8)} },
			is:    sensor.ErrRecord, want: "malformed kernel record: 8 bytes are no header", opened: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := &memStorage{data: map[string][]byte{}}
			f := newFixture(t, consumertest.NewNop(), func(c *Config) {
				c.Storage = &storageID
				if tt.change != nil {
					tt.change(c)
				}
			})
			f.host.extensions = map[component.ID]component.Component{storageID: store, noStorageID: &fakeComponent{}}
			if tt.setup != nil {
				tt.setup(f.fake, store)
			}
			files := openFiles(t)
			for i := range 2 {
				err := f.Start(t.Context(), f.host)
				require.ErrorContains(t, err, tt.want)
				if tt.is != nil {
					require.ErrorIs(t, err, tt.is)
				}
				require.NoError(t, f.Shutdown(t.Context()))
				if tt.opened {
					assert.Equal(t, i+1, f.fake.closed)
				}
			}
			assert.Zero(t, store.clients(), "clients of the storage")
			assert.Equal(t, files, openFiles(t))
		})
	}
}

var noStorageID = component.MustNewID("other")

type fakeComponent struct {
	component.StartFunc
	component.ShutdownFunc
}

// What the kernel side is asked for.
func TestOptions(t *testing.T) {
	f := newFixture(t, consumertest.NewNop(), func(c *Config) {
		off := false
		c.RingBufferSize = 1 << 16
		c.Events = map[string]EventConfig{"open": {Errors: []string{"ENOENT", "EROFS"}}, "link": {Enabled: &off}, "exit": {Enabled: &off}}
		c.Scope = ScopeConfig{ProcessTrees: []int{os.Getpid()}, PIDNamespaces: []uint32{7}, ContainersOnly: true}
	})
	f.start(t)
	defer f.stop(t)
	want := sensor.Options{
		Types: event.AllTypes &^ event.Set(event.TypeLink, event.TypeExit, event.TypeSyscalls), RingSize: 1 << 16,
		Scope: sensor.Scope{Trees: []uint32{uint32(os.Getpid())}, PIDNS: []uint32{7}, Containers: true},
	}
	want.Errors[event.TypeOpen] = append(want.Errors[event.TypeOpen], errnoByName("ENOENT"), errnoByName("EROFS"))
	assert.Equal(t, want, *f.fake.opts)
}

// snapshotOf is a process of the snapshot.
func snapshotOf(t *testing.T, pid, ppid uint32) []byte {
	t.Helper()
	h := bpf.Header{Flags: bpf.Snapshot, Id: uint64(pid) << 32, Pid: pid, Tid: pid, Comm: chars("p")}
	return wire(event.TypeExec, h, bpf.Exec{Ppid: ppid, ParentId: uint64(ppid) << 32})
}

// The running descendants of a process tree are in scope, whatever the order in which they are listed.
func TestScopeTakesInDescendants(t *testing.T) {
	self := uint32(os.Getpid())
	child, grandchild, orphan, cousin := self+10, self+1, self+2, self+3
	f := newFixture(t, consumertest.NewNop(), func(c *Config) { c.Scope.ProcessTrees = []int{int(self)} })
	f.fake.processes = [][]byte{
		snapshotOf(t, grandchild, child), snapshotOf(t, child, self), snapshotOf(t, self, 1), snapshotOf(t, 1, 0),
		snapshotOf(t, cousin, 1), snapshotOf(t, orphan, maxTreePID),
	}
	f.start(t)
	defer f.stop(t)
	assert.Equal(t, map[uint32]bool{self: true, child: true, grandchild: true}, f.fake.trees)
	assert.Equal(t, uint64(6), f.conv.tree.Stats().Processes)
}

func TestDescends(t *testing.T) {
	parents := map[uint32]uint32{1: 0, 2: 1, 3: 2, 4: 3, 5: 6, 6: 5, 7: 7}
	in := func(pid uint32) bool { return pid == 2 }
	for pid, want := range map[uint32]bool{4: true, 3: true, 2: false, 1: false, 5: false, 7: false, 99: false} {
		assert.Equal(t, want, descends(pid, parents, in), "pid %d", pid)
	}
}

// hangingConsumer does not return from ConsumeLogs until it is told to.
type hangingConsumer struct {
	consumertest.LogsSink
	entered, release chan struct{}
}

func newHangingConsumer() *hangingConsumer {
	return &hangingConsumer{entered: make(chan struct{}, 100), release: make(chan struct{})}
}

func (c *hangingConsumer) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	c.entered <- struct{}{}
	<-c.release
	return c.LogsSink.ConsumeLogs(ctx, logs)
}

func (*hangingConsumer) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

// A pipeline that hangs makes Shutdown an error in time; when it returns, everything is freed all the same.
func TestShutdownWithHangingPipeline(t *testing.T) {
	next := newHangingConsumer()
	f := newFixture(t, next, func(c *Config) { c.Batch.MaxRecords = 1; c.Storage = &storageID })
	store := &memStorage{data: map[string][]byte{}}
	f.host.extensions = map[component.ID]component.Component{storageID: store}
	f.start(t)
	f.fake.push(t, [][]byte{shExec(t)})
	<-next.entered
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := f.Shutdown(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "the pipeline did not take the last records")
	assert.Equal(t, 1, store.clients())
	close(next.release)
	require.Eventually(t, func() bool { return store.clients() == 0 }, 10*time.Second, time.Millisecond)
	assert.Equal(t, 1, f.fake.closed)
	assert.Equal(t, 1, next.LogRecordCount())
}

// When the ring buffer can no longer be read, what was read before is still sent, and the Collector's health shows it.
func TestKernelSideFails(t *testing.T) {
	sink := new(consumertest.LogsSink)
	f := newFixture(t, sink, nil)
	f.start(t)
	f.fake.push(t, [][]byte{shExec(t), hostnameOpen(t)})
	f.fake.push(t, errors.New("read the ring buffer: gone"))
	require.Eventually(t, func() bool { return sink.LogRecordCount() == 2 }, 10*time.Second, time.Millisecond)
	assert.Equal(t, []componentstatus.Status{componentstatus.StatusPermanentError}, f.host.reported())
	f.stop(t)
	assert.Equal(t, 1, f.fake.closed)
}
