// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/local"
	"github.com/picketsec/picket/internal/policy"
	"github.com/picketsec/picket/processor/securityrulesprocessor/internal/metadatatest"
)

const actingPolicy = `
rules:
  - id: killer
    expression: open.file.path == "/kill"
    actions: [{kill: {signal: SIGTERM}}]
  - id: grouped
    expression: open.file.path == "/killgroup"
    actions: [{kill: {signal: SIGKILL, scope: cgroup}}, {kill: {signal: SIGKILL, scope: container}}]
  - id: silent_killer
    expression: open.file.path == "/silent"
    silent: true
    actions: [{kill: {signal: SIGTERM}}, {hash: {}}]
  - id: hasher
    expression: open.file.name == "hashed"
    actions: [{hash: {}}, {hash: {field: process.file, max_file_size: 3}}]
  - id: hash_killer
    expression: open.file.path == "/hashkill"
    actions: [{hash: {field: process.file}}, {kill: {signal: SIGKILL}}]
  - id: logger
    expression: open.file.path == "/log"
    actions: [{log: {level: warning, message: "%{open.file.path} by ${n}"}}, {set: {name: n, value: x}}, {log: {level: debug, message: no}}]
  - id: chatty
    expression: open.file.path == "/chat"
    actions: [{set: {name: seen, value: true, scope: process}}]
  - id: after_chat
    expression: open.file.path == "/after" && ${process.seen}
`

// seen is the context of records about the process 77, which was there just now.
func seen(t *testing.T) context.Context {
	t.Helper()
	var ts unix.Timespec
	require.NoError(t, unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts))
	o := local.NewOrigin(true)
	o.Saw(77, uint64(ts.Nano()))
	return local.NewContext(context.Background(), o)
}

func enforcing(cfg *Config) { cfg.Enforcement.Enabled = true }

// sleeper starts a process that waits and returns a function that makes an event of it, and one that says whether it still runs.
func sleeper(t *testing.T) (opens func(path string) *event.Event, running func() bool) {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	require.NoError(t, cmd.Start())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-done })
	n := time.Duration(0)
	return func(path string) *event.Event {
			n += time.Minute
			return flat(t, n, fmt.Sprintf(`{"type":"open","open.file.path":%q,"process.pid":%d,"process.file.path":"/usr/bin/sleep"}`, path, cmd.Process.Pid))
		}, func() bool {
			select {
			case <-done:
				return false
			case <-time.After(20 * time.Millisecond):
				return true
			}
		}
}

// acted runs an event and returns what its detection says of the actions.
func (p *pipeline) acted(ctx context.Context, t *testing.T, e *event.Event) []any {
	t.Helper()
	before := len(p.batches())
	require.NoError(t, p.ConsumeLogs(ctx, batch(e)))
	out := p.batches()[before:]
	if len(out) == 0 {
		return nil
	}
	lr := firstRecord(out[0])
	actions, ok := lr.Attributes().Get(event.AttrRuleActions)
	if !ok {
		return nil
	}
	return actions.Slice().AsRaw()
}

func firstRecord(ld plog.Logs) plog.LogRecord {
	return ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
}

func TestKill(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, actingPolicy, enforcing)
	off := newPipeline(t, NoMatchDrop, actingPolicy)
	excluding := newPipeline(t, NoMatchDrop, actingPolicy, enforcing, func(cfg *Config) { cfg.Enforcement.ExcludeExecutables = []string{"/usr/bin/sl*"} })
	const isOff = "rules have kill actions, and nothing is killed: enforcement.enabled is false"
	assert.Zero(t, p.logs.FilterMessage(isOff).Len())
	said := off.logs.FilterMessage(isOff).All()
	require.Len(t, said, 1)
	assert.Equal(t, []any{"killer", "grouped", "silent_killer", "hash_killer"}, said[0].ContextMap()["rules"])
	opens, running := sleeper(t)

	assert.Equal(t, []any{"kill error: not local"}, p.acted(context.Background(), t, opens("/kill")), "whoever sends a record cannot kill")
	other := opens("/kill")
	other.Facts.ProcessID = 78
	assert.Equal(t, []any{"kill error: not local"}, p.acted(seen(t), t, other), "nor with one of ours")
	assert.Equal(t, []any{"kill disabled"}, off.acted(seen(t), t, opens("/kill")))
	assert.Equal(t, []any{"kill error: not local"}, off.acted(context.Background(), t, opens("/kill")))
	assert.Equal(t, []any{"kill excluded"}, excluding.acted(seen(t), t, opens("/kill")))
	assert.Equal(t, []any{
		"kill error: the cgroup of the process is not known", "kill error: the cgroup of the process is not known",
	}, p.acted(seen(t), t, opens("/killgroup")))
	require.True(t, running())

	e := opens("/kill")
	e.Process.ForkTime = testTime
	require.NoError(t, p.ConsumeLogs(seen(t), batch(e)))
	require.Eventually(t, func() bool { return !running() }, 10*time.Second, time.Millisecond)
	all := p.batches()
	var body struct {
		Agent struct {
			Actions []map[string]any `json:"rule_actions"`
		}
	}
	require.NoError(t, json.Unmarshal([]byte(firstRecord(all[len(all)-1]).Body().Str()), &body))
	require.Len(t, body.Agent.Actions, 1)
	performed, err := time.Parse(time.RFC3339Nano, body.Agent.Actions[0]["killed_at"].(string))
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), performed, time.Minute)
	delete(body.Agent.Actions[0], "killed_at")
	assert.Equal(t, map[string]any{
		"type": "kill", "signal": "SIGTERM", "scope": "process", "status": "performed", "processes": 1.0,
		"created_at": "2023-11-14T22:13:20Z", "detected_at": time.Unix(0, int64(e.Date)).UTC().Format(time.RFC3339Nano),
	}, body.Agent.Actions[0])
	assert.Equal(t, []any{"kill error: the process is gone"}, p.acted(seen(t), t, opens("/kill")))

	point := func(rule, status string, n int64) metricdata.DataPoint[int64] {
		return metricdata.DataPoint[int64]{Value: n, Attributes: attribute.NewSet(
			attribute.String("rule", rule), attribute.String("action", "kill"), attribute.String("status", status))}
	}
	metadatatest.AssertEqualProcessorSecurityRulesActions(t, p.tel, []metricdata.DataPoint[int64]{
		point("killer", "error", 3), point("grouped", "error", 2), point("killer", "performed", 1),
	}, metricdatatest.IgnoreTimestamp())
}

func TestSilentKill(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, actingPolicy, enforcing)
	opens, running := sleeper(t)
	assert.Nil(t, p.acted(seen(t), t, opens("/silent")))
	require.Eventually(t, func() bool { return !running() }, 10*time.Second, time.Millisecond)
}

func TestDisarmer(t *testing.T) {
	cfg := createDefaultConfig().(*Config).Enforcement.Disarmer
	cfg.MaxContainers, cfg.MaxExecutables = 2, 3
	both := &policy.KillAction{Containers: true, Programs: true}
	neither := &policy.KillAction{}
	now := time.Unix(1000, 0)
	type kill struct {
		rule, container, program string
		after                    time.Duration
	}
	for name, tt := range map[string]struct {
		action *policy.KillAction
		kills  []kill
		last   bool
	}{
		"same":           {both, []kill{{"r", "a", "x", 0}, {"r", "a", "x", 0}, {"r", "a", "x", 0}, {"r", "a", "x", 0}}, true},
		"containers":     {both, []kill{{"r", "a", "x", 0}, {"r", "b", "x", 0}, {"r", "c", "x", 0}}, false},
		"stays":          {both, []kill{{"r", "a", "x", 0}, {"r", "b", "x", 0}, {"r", "c", "x", 0}, {"r", "a", "x", time.Hour}}, false},
		"executables":    {both, []kill{{"r", "", "x", 0}, {"r", "", "y", 0}, {"r", "", "z", 0}, {"r", "", "u", 0}}, false},
		"over time":      {both, []kill{{"r", "a", "x", 0}, {"r", "b", "x", 0}, {"r", "c", "x", 61 * time.Second}}, true},
		"rules apart":    {both, []kill{{"r", "a", "x", 0}, {"r", "b", "x", 0}, {"s", "c", "x", 0}}, true},
		"not asked for":  {neither, []kill{{"r", "a", "x", 0}, {"r", "b", "y", 0}, {"r", "c", "z", 0}, {"r", "d", "u", 0}}, true},
		"no names known": {both, []kill{{"r", "", "", 0}, {"r", "", "", 0}, {"r", "", "", 0}, {"r", "", "", 0}}, true},
	} {
		d := disarmer{cfg: &cfg, logger: zap.NewNop()}
		d.rearm()
		for i, k := range tt.kills {
			want := i < len(tt.kills)-1 || tt.last
			if name == "stays" && i >= 2 {
				want = false
			}
			assert.Equal(t, want, d.allow(k.rule, tt.action, k.container, k.program, now.Add(k.after)), "%s: %d", name, i)
		}
		d.rearm()
		assert.True(t, d.allow("r", both, "z", "z", now), name)
	}
}

// TestDisarmed: a rule that kills too much is stopped, and works again when the rules change.
func TestDisarmed(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, actingPolicy, enforcing, func(cfg *Config) { cfg.Enforcement.Disarmer.MaxExecutables = 1 })
	opens, running := sleeper(t)
	first := opens("/kill")
	first.Process.Executable.Path = "/usr/bin/first"
	first.Process.PID = 1 << 30
	assert.Equal(t, []any{"kill error: the process is gone"}, p.acted(seen(t), t, first))
	assert.Equal(t, []any{"kill rule_disarmed"}, p.acted(seen(t), t, opens("/kill")))
	require.True(t, running())
	require.NoError(t, os.WriteFile(p.path, []byte(actingPolicy+"#\n"), 0o600))
	p.store.Load()
	assert.Equal(t, []any{"kill performed"}, p.acted(seen(t), t, opens("/kill")))
}

func TestHashAction(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, actingPolicy) // what is only read needs no enforcement
	path := filepath.Join(t.TempDir(), "hashed")
	require.NoError(t, os.WriteFile(path, []byte("abc"), 0o600))
	var st, exe unix.Stat_t
	require.NoError(t, unix.Stat(path, &st))
	self, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, unix.Stat(self, &exe))
	opens := func(at time.Duration) *event.Event {
		return flat(t, at, fmt.Sprintf(
			`{"type":"open","open.file.path":%q,"open.file.name":"hashed","open.file.inode":%d,"process.pid":%d,"process.file.path":%q,"process.file.inode":%d}`,
			path, st.Ino, os.Getpid(), self, exe.Ino))
	}
	size := fmt.Sprintf("hash FileTooBig: the file has %d bytes", exe.Size)
	assert.Equal(t, []any{"hash Done", size}, p.acted(seen(t), t, opens(0)))
	var d event.Decoder
	var got event.Event
	require.NoError(t, d.Decode([]byte(firstRecord(p.batches()[0]).Body().Str()), event.NeedAll, &got))
	assert.Equal(t, []string{
		"sha1:a9993e364706816aba3e25717850c26c9cd0d89d", "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	}, got.File.Hashes)
	assert.Equal(t, event.HashDone, got.File.HashState)
	assert.Equal(t, event.HashFileTooBig, got.Process.Executable.HashState)

	assert.Equal(t, []any{"hash HashFailed: not local", "hash HashFailed: not local"}, p.acted(context.Background(), t, opens(time.Minute)))
	body := firstRecord(p.batches()[1]).Body().Str()
	assert.NotContains(t, body, "hashes")
	assert.NotContains(t, body, "hash_state")
}

// TestHashBeforeKill: what is hashed before a kill in the order of the actions does not go with the process, here the program of one
// that was deleted.
func TestHashBeforeKill(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, actingPolicy, enforcing)
	sleep, err := exec.LookPath("sleep")
	require.NoError(t, err)
	data, err := os.ReadFile(sleep)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "x")
	require.NoError(t, os.WriteFile(path, data, 0o700))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(path, &st))
	cmd := exec.Command(path, "60")
	require.NoError(t, cmd.Start())
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	require.NoError(t, os.Remove(path))
	e := flat(t, 0, fmt.Sprintf(`{"type":"open","open.file.path":"/hashkill","process.pid":%d,"process.file.path":%q,"process.file.inode":%d}`, cmd.Process.Pid, path, st.Ino))
	assert.Equal(t, []any{"kill performed", "hash Done"}, p.acted(seen(t), t, e))
}

func TestLogAction(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, actingPolicy, enforcing) // else the log says that it kills nothing
	p.consume(t, batch(open(t, 0, "/log")))
	p.consume(t, batch(open(t, time.Minute, "/log")))
	var lines []string
	for _, e := range p.logs.All() {
		fields := e.ContextMap()
		lines = append(lines, fmt.Sprint(e.Level, " ", e.Message, " ", fields["rule"], " ", fields["host.id"], " ", fields["event"], " ", fields["pid"]))
	}
	assert.Equal(t, []string{"warn /log by  logger host-1 open 5", "warn /log by x logger host-1 open 5"}, lines)
}

// TestExitForgets: what was noted of a process goes when it exits.
func TestExitForgets(t *testing.T) {
	p := newPipeline(t, NoMatchDrop, actingPolicy)
	exit := flat(t, 4, `{"type":"exit","exit.code":0,"process.pid":5}`)
	assert.Equal(t, []string{"detection chatty", "detection after_chat"}, names(p.consume(t, batch(open(t, 1, "/chat"), open(t, 2, "/after"), exit, open(t, 5, "/after")))))
	assert.Equal(t, []string{"detection chatty", "detection after_chat"}, names(p.consume(t, batch(open(t, time.Minute, "/chat"), open(t, 2*time.Minute, "/after")))))
}
