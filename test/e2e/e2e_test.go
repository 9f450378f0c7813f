// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package e2e runs the built collector on the real kernel, against an intake that is as strict as Datadog's. The collector
// watches a process tree that the test starts, and nothing else.
package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/intaketest"
)

// policy has one rule for each thing that the actor does; DIR is the test's directory.
const policy = `
version: 1.2.3
macros:
  - id: WRITES
    expression: O_CREAT|O_WRONLY|O_RDWR
rules:
  - id: cron_write
    version: "7"
    description: Somebody wrote to a cron file
    expression: open.file.path =~ "DIR/etc/cron.d/**" && open.flags & WRITES > 0
    tags: {severity: high, technique: T1053.003-cron}
  - id: renamed
    expression: rename.file.destination.name == "job" && rename.file.path == "DIR/etc/cron.d/job.tmp"
  - id: made_executable
    expression: chmod.file.path == "DIR/dropped" && chmod.file.destination.mode & (S_IXUSR|S_IXGRP|S_IXOTH) > 0
  - id: ran_dropped
    expression: exec.file.path == "DIR/dropped" && exec.argv0 == "/bin/sh" && exec.args == "./dropped one two"
  - id: netcat_from_shell
    expression: exec.file.name == "nc" && process.parent.file.name in ["sh", "dash", "bash", "busybox"]
  - id: connected
    expression: connect.addr.ip == 127.0.0.0/8 && connect.addr.port == PORT && process.file.name == "nc"
  - id: bound
    expression: bind.addr.ip == 127.0.0.1 && bind.addr.family == AF_INET && process.file.name == "nc"
  - id: denied
    expression: open.file.path == "DIR/secret" && open.retval == EACCES && process.uid == 65534
  - id: made_directory
    expression: mkdir.file.name == "made" && mkdir.file.path =~ "DIR/*"
  - id: removed_directory
    expression: rmdir.file.path == "DIR/made"
  - id: linked
    expression: link.file.path == "DIR/secret" && link.file.destination.path == "DIR/hard"
  - id: owner_changed
    expression: chown.file.path == "DIR/owned" && chown.file.destination.uid == 12
  - id: removed
    expression: unlink.file.path == "DIR/hard"
  - id: forked
    expression: exit.cause == EXITED && exit.code == 3 && process.file.name in ["sh", "dash", "bash", "busybox"]
`

func TestEveryEventReachesTheIntake(t *testing.T) {
	collectortest.NeedRoot(t, collectortest.LoadBPF)
	collectortest.Binary(t, "picket")
	dir := collectortest.OpenDir(t) // nobody must get as far as the file that it may not open
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "etc/cron.d"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secret"), []byte("x"), 0o600))
	copyExe(t, filepath.Join(dir, "nc"))
	copyExe(t, filepath.Join(dir, "opener"))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port

	policyFile := filepath.Join(dir, "test.policy")
	text := strings.NewReplacer("DIR", dir, "PORT", strconv.Itoa(port)).Replace(policy)
	require.NoError(t, os.WriteFile(policyFile, []byte(text), 0o600))
	intake := intaketest.Start(t)
	actor := collectortest.StartActor(t)
	s := setup{scope: actor.PID(), policy: policyFile, intake: intake.URL(), dir: t.TempDir()}
	c := start(t, s)

	actor.Run(fmt.Sprintf(`
cd %s
echo '* * * * * root id' > etc/cron.d/job.tmp
mv etc/cron.d/job.tmp etc/cron.d/../cron.d/job
printf '#!/bin/sh\nexit 0\n' > dropped
chmod +x dropped
PASSWORD=x ./dropped one two
sh -c 'sh -c "./nc -v --password hunter2 127.0.0.1:%d; true"; true'
%s=%s/secret ./opener
mkdir made
rmdir made
ln secret hard
rm hard
: > owned
chown 12:34 owned
(exit 3) || true
`, dir, port, deniedEnv, dir))

	want := []string{
		"bound", "connected", "cron_write", "denied", "forked", "linked", "made_directory", "made_executable", "netcat_from_shell",
		"owner_changed", "ran_dropped", "removed", "removed_directory", "renamed",
	}
	missing := func() (m []string) {
		for _, w := range want {
			if !slices.ContainsFunc(intake.Logs(), func(l intaketest.Log) bool { return l.Tag("rule_id") == w }) {
				m = append(m, w)
			}
		}
		return m
	}
	for deadline := time.Now().Add(30 * time.Second); len(missing()) > 0 && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	require.Empty(t, missing(), "rules whose detections did not arrive")
	logs := intake.Logs()
	require.Empty(t, intake.Problems(), "what the intake refused")
	byRule := map[string]intaketest.Detection{}
	var rules []string
	for _, d := range detections(t, logs) {
		if _, ok := byRule[ruleOf(d)]; !ok {
			rules = append(rules, ruleOf(d))
		}
		byRule[ruleOf(d)] = d
	}
	slices.Sort(rules)
	require.Equal(t, want, rules)

	number := func(v any) int {
		f, ok := v.(float64)
		require.True(t, ok, "%v is no number", v)
		return int(f)
	}
	shell, err := filepath.EvalSymlinks("/bin/sh")
	require.NoError(t, err)

	t.Run("cron_write", func(t *testing.T) {
		d := byRule["cron_write"]
		require.Equal(t, "Somebody wrote to a cron file", d["title"])
		require.Equal(t, "7", d.Get("agent", "rule_version"))
		require.Equal(t, "test.policy", d.Get("agent", "policy_name"))
		require.Equal(t, "1.2.3", d.Get("agent", "policy_version"))
		require.Equal(t, map[string]any{"name": "open", "category": "File Activity", "outcome": "Success"}, d["evt"])
		require.Equal(t, dir+"/etc/cron.d/job.tmp", d.Get("file", "path"))
		require.Equal(t, "job.tmp", d.Get("file", "name"))
		require.Equal(t, []any{"O_WRONLY", "O_CREAT", "O_TRUNC"}, d.Get("file", "flags"))
		require.Equal(t, 0o666, number(d.Get("file", "destination", "mode")))
		require.Equal(t, 0, number(d.Get("process", "uid")))
		require.Equal(t, "root", d.Get("process", "user"))
		require.Equal(t, "root", d.Get("usr", "id"))
		require.Equal(t, shell, d.Get("process", "executable", "path"))
		require.Equal(t, "/bin/sh", d.Get("process", "argv0"))
		require.Len(t, d.Get("process", "args"), 1)
		require.Equal(t, actor.PID(), number(d.Get("process", "ppid")))
		// the lineage: the actor, then this test, of which only what identifies it is told
		require.Equal(t, actor.PID(), number(d.Get("process", "parent", "pid")))
		ancestors, ok := d.Get("process", "ancestors").([]any)
		require.True(t, ok)
		require.GreaterOrEqual(t, len(ancestors), 2)
		self := intaketest.Detection(ancestors[1].(map[string]any))
		require.Equal(t, os.Getpid(), number(self["pid"]))
		require.Nil(t, self["args"], "arguments of a process outside of the scope")
		require.Nil(t, self["envs"])
		when, err := time.Parse(time.RFC3339Nano, d["date"].(string))
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), when, 2*time.Minute)
	})
	t.Run("renamed", func(t *testing.T) {
		d := byRule["renamed"]
		require.Equal(t, dir+"/etc/cron.d/job", d.Get("file", "destination", "path"))
		require.Equal(t, d.Get("file", "destination", "inode"), d.Get("file", "inode"))
		st, err := os.Stat(dir + "/etc/cron.d/job")
		require.NoError(t, err)
		require.Equal(t, "job", st.Name())
		require.Equal(t, 0o100644, number(d.Get("file", "mode")))
		require.Equal(t, "mv", d.Get("process", "comm"))
	})
	t.Run("made_executable", func(t *testing.T) {
		d := byRule["made_executable"]
		require.Equal(t, 0o755, number(d.Get("file", "destination", "mode")))
		require.Equal(t, dir+"/dropped", d.Get("file", "path"))
		require.Nil(t, d.Get("file", "mode"), "what it was before cannot be known of a path")
	})
	t.Run("ran_dropped", func(t *testing.T) {
		d := byRule["ran_dropped"]
		require.Equal(t, "Process Activity", d.Get("evt", "category"))
		require.Equal(t, dir+"/dropped", d.Get("file", "path"), "a script is what was executed")
		require.Equal(t, shell, d.Get("process", "interpreter", "path"), "and its interpreter runs it")
		envs, ok := d.Get("process", "envs").([]any)
		require.True(t, ok)
		require.Contains(t, envs, "PASSWORD", "of most variables only the name")
		require.Contains(t, envs, "PATH=/usr/bin:/bin", "of a few the value")
	})
	t.Run("netcat_from_shell", func(t *testing.T) {
		d := byRule["netcat_from_shell"]
		require.Equal(t, []any{"-v", "--password", "********", "127.0.0.1:" + strconv.Itoa(port)}, d.Get("process", "args"))
		var comms []string
		for _, a := range d.Get("process", "ancestors").([]any)[:3] {
			comms = append(comms, a.(map[string]any)["comm"].(string))
		}
		require.Equal(t, []string{"sh", "sh", "sh"}, comms)
	})
	t.Run("connected", func(t *testing.T) {
		d := byRule["connected"]
		require.Equal(t, "ETH_P_IP", d.Get("network", "l3_protocol"))
		require.Equal(t, "IP_PROTO_TCP", d.Get("network", "l4_protocol"))
		require.Equal(t, map[string]any{"ip": "127.0.0.1", "port": float64(port)}, d.Get("network", "destination"))
		require.Equal(t, "Success", d.Get("evt", "outcome"))
	})
	t.Run("denied", func(t *testing.T) {
		d := byRule["denied"]
		require.Equal(t, "Refused", d.Get("evt", "outcome"))
		require.Equal(t, dir+"/secret", d.Get("file", "path"))
		require.Equal(t, 65534, number(d.Get("process", "credentials", "euid")))
		require.Equal(t, "nobody", d.Get("process", "user"))
		require.Equal(t, []any{}, d.Get("process", "credentials", "cap_effective"))
	})
	t.Run("owner_changed", func(t *testing.T) {
		d := byRule["owner_changed"]
		require.Equal(t, 12, number(d.Get("file", "destination", "uid")))
		require.Equal(t, 34, number(d.Get("file", "destination", "gid")))
		require.Equal(t, -1, number(d.Get("file", "uid")), "whose it was before cannot be known of a path, and the schema wants a number")
		require.NotZero(t, number(d.Get("file", "inode")))
	})
	t.Run("linked", func(t *testing.T) {
		d := byRule["linked"]
		require.Equal(t, d.Get("file", "inode"), d.Get("file", "destination", "inode"))
	})
	t.Run("exit", func(t *testing.T) {
		d := byRule["forked"]
		require.Equal(t, map[string]any{"cause": "EXITED", "code": float64(3)}, d["exit"])
		require.Equal(t, true, d.Get("process", "is_thread"), "a subshell has executed nothing")
		require.NotNil(t, d.Get("process", "exit_time"))
	})
	t.Run("bound", func(t *testing.T) {
		d := byRule["bound"]
		require.Equal(t, "AF_INET", d.Get("bind", "addr", "family"))
		require.Equal(t, "127.0.0.1", d.Get("bind", "addr", "ip"))
	})
	require.Zero(t, c.Metric("otelcol_receiver_ebpf_security_events_lost"))
	require.Zero(t, c.Metric("otelcol_receiver_ebpf_security_events_dropped"))
	c.Stop()
	require.Subset(t, checkRaw(t, s.raw()), []string{
		"process.exec", "process.fork", "process.exit", "file.open", "file.unlink", "file.rmdir", "file.rename", "file.mkdir",
		"file.chmod", "file.chown", "file.link", "network.connect", "network.bind",
	}, "types of the events that the receiver made; test/suite has them all")
}

// TestNothingAcknowledgedIsLost: the intake is down, the collector is killed, and after a restart with the intake up
// everything that the queue had taken arrives, with a report of the time in between.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	collectortest.NeedRoot(t, collectortest.LoadBPF)
	collectortest.Binary(t, "picket")
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	policyFile := filepath.Join(dir, "test.policy")
	require.NoError(t, os.WriteFile(policyFile, []byte(`
version: 1.0.0
rules:
  - {id: written, expression: 'open.file.path =~ "`+dir+`/f*" && open.flags & O_CREAT > 0'}
`), 0o600))
	intake := intaketest.Start(t)
	intake.Down()
	actor := collectortest.StartActor(t)
	s := setup{scope: actor.PID(), policy: policyFile, intake: intake.URL(), dir: t.TempDir()}
	c := start(t, s)

	const files = 35 // below the burst of a rule's rate limit
	write := func(from, to int) {
		actor.Run(fmt.Sprintf("i=%d; while [ $i -lt %d ]; do : > %s/f$i; i=$((i+1)); done", from, to, dir))
	}
	write(0, files)
	// Records count as acknowledged when the exporter's queue has them; with the intake down none leaves it.
	require.Eventually(t, func() bool {
		return c.Metric("otelcol_processor_security_rules_detections", `rule="written"`) == files
	}, 60*time.Second, 50*time.Millisecond)
	require.Eventually(t, func() bool { return c.Metric("otelcol_exporter_queue_size") >= 1 }, 30*time.Second, 50*time.Millisecond)
	c.Kill()
	require.Empty(t, intake.Logs())

	write(100, 105) // nobody sees these
	intake.Up()
	c = start(t, s)
	write(200, 205)

	paths := func(logs []intaketest.Log) map[string]bool {
		m := map[string]bool{}
		for _, d := range detections(t, logs) {
			m[d.Get("file", "name").(string)] = true
		}
		return m
	}
	logs := intake.WaitLogs(60*time.Second, func(logs []intaketest.Log) bool {
		return len(paths(logs)) >= files+5 && report(logs) != nil
	})
	want := map[string]bool{}
	for i := range files {
		want["f"+strconv.Itoa(i)] = true
	}
	for i := 200; i < 205; i++ {
		want["f"+strconv.Itoa(i)] = true
	}
	require.Equal(t, want, paths(logs))
	r := report(logs)
	require.NotNil(t, r, "no report of the gap")
	require.False(t, r.Restart.Clean)
	require.Positive(t, r.Restart.LastSequence)
	require.Positive(t, r.Duration)
	require.True(t, r.From.Before(r.To))
	c.Stop()
	require.Empty(t, intake.Problems())
}

type gap struct {
	From, To time.Time
	Duration int64 `json:"duration_ns"`
	Restart  *struct {
		LastSequence uint64 `json:"last_sequence"`
		Clean        bool   `json:"clean"`
	} `json:"restart"`
}

// report finds the report of a restart among the logs.
func report(logs []intaketest.Log) *gap {
	for i := range logs {
		var g gap
		if json.Unmarshal([]byte(logs[i].Message), &g) == nil && g.Restart != nil {
			return &g
		}
	}
	return nil
}
