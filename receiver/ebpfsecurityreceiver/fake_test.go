// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"context"
	"encoding/json"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/metadatatest"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// fakeKernel is a kernel side that a test writes the script of.
type fakeKernel struct {
	opts      *sensor.Options
	processes [][]byte // what the snapshot has
	left      [][]byte // what is still in the ring buffer after detaching

	openErr, snapshotErr error
	detached, closed     int

	pushed    chan any      // [][]byte or error, from push to Drain
	handled   chan struct{} // from Drain to push
	interrupt chan struct{}

	mu     sync.Mutex
	losses sensor.Losses
	trees  map[uint32]bool
	found  time.Time // when the last tree was added
}

func newFakeKernel(processes ...[]byte) *fakeKernel {
	return &fakeKernel{processes: processes, trees: map[uint32]bool{}, pushed: make(chan any), handled: make(chan struct{})}
}

func (k *fakeKernel) open(o *sensor.Options) (kernel, error) {
	if k.openErr != nil {
		return nil, k.openErr
	}
	k.opts = o
	k.interrupt = make(chan struct{})
	for _, pid := range o.Scope.Trees {
		k.trees[pid] = true
	}
	return k, nil
}

// push gives records, or an error, to the receiver, and returns when it has handled them.
func (k *fakeKernel) push(tb testing.TB, v any) {
	tb.Helper()
	for _, step := range []func() bool{
		func() bool {
			select {
			case k.pushed <- v:
				return true
			case <-time.After(10 * time.Second):
				return false
			}
		},
		func() bool {
			select {
			case <-k.handled:
				return true
			case <-time.After(10 * time.Second):
				return false
			}
		},
	} {
		require.True(tb, step(), "the receiver does not read")
	}
}

func (k *fakeKernel) lose(l sensor.Losses) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.losses = l
}

func each(records [][]byte, handle func(*sensor.Record, error)) int {
	var r sensor.Record
	for _, b := range records {
		_, err := r.Decode(b)
		handle(&r, err)
	}
	return len(records)
}

func (k *fakeKernel) Drain(wait time.Duration, handle func(*sensor.Record, error)) (int, error) {
	if k.detached > 0 {
		n := each(k.left, handle)
		k.left = nil
		return n, nil
	}
	select {
	case v := <-k.pushed:
		defer func() { k.handled <- struct{}{} }()
		if err, ok := v.(error); ok {
			return 0, err
		}
		return each(v.([][]byte), handle), nil
	case <-k.interrupt:
	case <-time.After(wait):
	}
	return 0, nil
}

func (k *fakeKernel) Interrupt() { close(k.interrupt) }

func (k *fakeKernel) Snapshot(handle func(*sensor.Record, error)) error {
	each(k.processes, handle)
	return k.snapshotErr
}

func (k *fakeKernel) AddTree(pid uint32) error {
	k.trees[pid], k.found = true, time.Now()
	return nil
}

func (k *fakeKernel) InTrees(pid uint32) bool { return k.trees[pid] }

func (k *fakeKernel) Losses() (sensor.Losses, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.losses, nil
}

func (*fakeKernel) InUpperLayer(int) (upper, ok bool) { return false, false }

func (k *fakeKernel) Size() (size, used int) { return 1 << 20, 4096 }

func (k *fakeKernel) Detach() error {
	k.detached++
	return nil
}

func (k *fakeKernel) Close() error {
	k.closed++
	return nil
}

// fakeHost has extensions, and remembers the status that a component reports.
type fakeHost struct {
	extensions map[component.ID]component.Component

	mu     sync.Mutex
	status []componentstatus.Status
}

func (h *fakeHost) GetExtensions() map[component.ID]component.Component { return h.extensions }

func (h *fakeHost) Report(e *componentstatus.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status = append(h.status, e.Status())
}

func (h *fakeHost) reported() []componentstatus.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status
}

// memStorage is a storage extension whose content outlives its clients.
type memStorage struct {
	component.StartFunc
	component.ShutdownFunc

	err error // of GetClient

	mu   sync.Mutex
	data map[string][]byte
	puts int
	open int
}

// crashed is the storage that a process which is killed now leaves behind.
func (m *memStorage) crashed() *memStorage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memStorage{data: maps.Clone(m.data)}
}

// next returns the state that is stored after this one.
func (m *memStorage) next(t *testing.T) (st state) {
	t.Helper()
	puts := func() int {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.puts
	}
	from := puts()
	require.Eventually(t, func() bool { return puts() > from+1 }, 10*time.Second, time.Millisecond) // one may just be on its way
	return m.state(t)
}

func (m *memStorage) state(t *testing.T) (st state) {
	t.Helper()
	require.NoError(t, json.Unmarshal(m.get(stateAt), &st))
	return st
}

func (m *memStorage) GetClient(_ context.Context, kind component.Kind, id component.ID, name string) (storage.Client, error) {
	if m.err != nil {
		return nil, m.err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open++
	return &memClient{m, kind.String() + "/" + id.String() + "/" + name + "/"}, nil
}

func (m *memStorage) get(key string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.data[key]
}

func (m *memStorage) put(key, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data[key] = []byte(value)
	m.puts++
}

func (m *memStorage) clients() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open
}

type memClient struct {
	m      *memStorage
	prefix string
}

func (c *memClient) Get(_ context.Context, key string) ([]byte, error) {
	return c.m.get(c.prefix + key), nil
}

func (c *memClient) Set(_ context.Context, key string, value []byte) error {
	c.m.put(c.prefix+key, string(value))
	return nil
}

func (c *memClient) Delete(_ context.Context, key string) error {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	delete(c.m.data, c.prefix+key)
	return nil
}

func (c *memClient) Batch(context.Context, ...*storage.Operation) error { return nil }

func (c *memClient) Close(context.Context) error {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.m.open--
	return nil
}

var (
	storageID = component.MustNewID("memory")
	// stateAt is where the receiver's state is in memStorage.
	stateAt = "Receiver/ebpf_security//" + stateKey
)

// fixture is a receiver on a fake kernel.
type fixture struct {
	*securityReceiver
	fake *fakeKernel
	tel  *componenttest.Telemetry
	host *fakeHost
}

// newFixture makes a receiver that drains often, and sends a batch only when it is full, unless change says otherwise.
func newFixture(t *testing.T, next consumer.Logs, change func(*Config)) *fixture {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.HostID = "host-1"
	cfg.Drain = DrainConfig{MinInterval: time.Millisecond, MaxInterval: 5 * time.Millisecond}
	cfg.Batch.Timeout = time.Minute
	if change != nil {
		change(cfg)
	}
	require.NoError(t, cfg.Validate())
	tel := componenttest.NewTelemetry()
	t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.Background())) }) //nolint:usetesting // the test's own context is over
	logs, err := newReceiver(metadatatest.NewSettings(tel), cfg, next)
	require.NoError(t, err)
	f := &fixture{securityReceiver: logs.(*securityReceiver), fake: newFakeKernel(), tel: tel, host: &fakeHost{}}
	f.open = f.fake.open
	return f
}

func (f *fixture) start(t *testing.T) {
	t.Helper()
	require.NoError(t, f.Start(t.Context(), f.host))
}

func (f *fixture) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, f.Shutdown(t.Context()))
}
