// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/event"
)

// otlpServer puts an OTLP receiver in front of a consumer and returns what sends logs to it.
func otlpServer(t *testing.T, next consumer.Logs) map[string]func(plog.Logs) error {
	t.Helper()
	f := otlpreceiver.NewFactory()
	var addresses [2]string
	for i := range addresses {
		addresses[i] = fmt.Sprintf("127.0.0.1:%d", collectortest.FreePort(t))
	}
	cfg := f.CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{
		"http": map[string]any{"endpoint": addresses[0], "include_metadata": true},
		"grpc": map[string]any{"endpoint": addresses[1], "include_metadata": true},
	}}).Unmarshal(cfg))
	r, err := f.CreateLogs(t.Context(), receivertest.NewNopSettings(f.Type()), cfg, next)
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { require.NoError(t, r.Shutdown(context.Background())) })
	conn, err := grpc.NewClient(addresses[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return map[string]func(plog.Logs) error{
		"http": func(ld plog.Logs) error {
			body, err := plogotlp.NewExportRequestFromLogs(ld).MarshalProto()
			if err != nil {
				return err
			}
			resp, err := http.Post("http://"+addresses[0]+"/v1/logs", "application/x-protobuf", bytes.NewReader(body))
			if err != nil {
				return err
			}
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("status %s", resp.Status)
			}
			return resp.Body.Close()
		},
		"grpc": func(ld plog.Logs) error {
			_, err := plogotlp.NewGRPCClient(conn).Export(context.Background(), plogotlp.NewExportRequestFromLogs(ld))
			return err
		},
	}
}

// TestForgedRecords: what comes over the network makes the processor touch nothing of its own host, whatever it claims: the
// host.id and boot id of the gateway, and a process that its own receiver has just seen.
func TestForgedRecords(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, actingPolicy, enforcing)
	own := thisHost(zap.NewNop())
	require.NotEmpty(t, own.ID)
	opens, running := sleeper(t)
	path := filepath.Join(t.TempDir(), "hashed")
	require.NoError(t, os.WriteFile(path, []byte("abc"), 0o600))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(path, &st))
	hashed := func() *event.Event {
		e := opens("/hash")
		e.Process.PID = uint32(os.Getpid())
		e.File.Path, e.File.Name, e.File.Inode = path, "hashed", st.Ino
		e.File.Has |= event.HasInode
		return e
	}
	// The receiver beside it has its own.
	assert.Equal(t, "hash Done", p.acted(seen(t), t, hashed())[0])

	for name, send := range otlpServer(t, p) {
		before := len(p.batches())
		ld := plog.NewLogs()
		group := opens("/killgroup")
		group.Container = &event.ContainerContext{ID: "c"}
		group.Facts.CgroupPath, group.Facts.CgroupID = "/", 1
		addEvents(ld, &own, opens("/kill"), group, opens("/silent"), hashed())
		require.NoError(t, send(ld), name)
		out := p.batches()[before:]
		assert.Equal(t, []string{"detection killer", "detection grouped", "detection hasher"}, names(out), name)
		var actions []any
		for _, lr := range out[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
			v, _ := lr.Attributes().Get(event.AttrRuleActions)
			actions = append(actions, v.Slice().AsRaw()...)
			assert.NotContains(t, lr.Body().Str(), "hash_state", name)
			assert.NotContains(t, lr.Body().Str(), "killed_at", name)
		}
		assert.Equal(t, []any{
			"kill error: not local", "kill error: not local", "kill error: not local", "hash HashFailed: not local", "hash HashFailed: not local",
		}, actions, name)
		assert.True(t, running(), name)
	}
	// The same event from the receiver.
	assert.Equal(t, []any{"kill performed"}, p.acted(seen(t), t, opens("/kill")))
	require.Eventually(t, func() bool { return !running() }, 10*time.Second, time.Millisecond)
}
