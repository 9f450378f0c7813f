// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/event"
)

// putFile writes a file for a test and returns its path.
func putFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

const evalPolicy = `rules:
  - id: counted
    expression: exec.file.name == "nc"
    every: 1h
    actions:
      - set: {name: n, value: 1, default_value: 0, append: true, scope: process}
      - set: {name: paths, field: exec.file.path, append: true}
      - hash: {}
        filter: ${process.n} > 1
      - set: {name: box, value: true, scope: container}
  - id: second
    silent: true
    expression: exec.file.name == "nc" && ${process.n} == 2
  - id: soon
    expression: exec.created_at < 10s && ${paths.length} > 0
  - id: written
    expression: fim.write.file.path == "/etc/x"
`

func TestRulesEval(t *testing.T) {
	rules := putFile(t, "a.policy", evalPolicy)
	newer := putFile(t, "b.policy", "rules:\n  - {id: newer, agent_version: '>= 7.80', expression: 'rename.file.path == \"/etc/x\"'}\n")
	const nc = `{"type":"exec","process.pid":7,"exec.file.path":"/bin/nc","exec.file.name":"nc","event.timestamp":100000000000,"exec.created_at":50000000000}`
	cases := []struct{ in, out string }{
		{
			nc,
			`{"matches":["counted"],"actions":[{"rule":"counted","kind":"set","variable":"process.n","value":1},` +
				`{"rule":"counted","kind":"set","variable":"paths","value":["/bin/nc"]},` +
				`{"rule":"counted","kind":"set","variable":"container.box","error":"the event is not in the variable's scope"}]}`,
		},
		{`nonsense`, `{"error":"the event is no JSON object"}`},
		{`{"type":"exec",`, `{"error":"the event is no JSON object: unexpected end of JSON input"}`},
		{``, `{"error":"the event is no JSON object"}`},
		{`{"type":"nix"}`, `{"error":"unknown event type \"nix\""}`},
		{`{"process.pid":1}`, `{"error":"the event has no type"}`},
		{`{"evt":{"name":"nix"}}`, `{"error":"unknown event type \"nix\""}`},
		{`{"evt":{"name":"open","outcome":7}}`, `{"error":"read the body: `},
		{
			nc,
			`{"matches":["counted","second"],"actions":[{"rule":"counted","kind":"set","variable":"process.n","value":2},` +
				`{"rule":"counted","kind":"set","variable":"paths","value":["/bin/nc"]},{"rule":"counted","kind":"hash"},` +
				`{"rule":"counted","kind":"set","variable":"container.box","error":"the event is not in the variable's scope"}]}`,
		},
		{`{"type":"exec","event.timestamp":100000000000,"exec.created_at":95000000000}`, `{"matches":["soon"],"actions":[]}`},
		{`{"type":"exec","exec.created_at":"now-1m"}`, `{"matches":[],"actions":[]}`},
		{`{"type":"rename","rename.file.path":"/etc/x"}`, `{"matches":["written"],"actions":[]}`},
		{`{"type":"rename","rename.file.path":"/tmp/x","rename.file.destination.path":"/etc/x"}`, `{"matches":["written"],"actions":[]}`},
		{`{"evt":{"name":"unlink","outcome":"Success"},"date":"2026-01-01T00:00:00Z","file":{"path":"/etc/x"},"process":{"pid":3}}`, `{"matches":["written"],"actions":[]}`},
		{`{"title":"t","agent":{"rule_id":"r"},"evt":{"name":"unlink"},"file":{"path":"/etc/y"}}`, `{"matches":[],"actions":[]}`},
	}
	var in strings.Builder
	for _, c := range cases {
		in.WriteString(c.in + "\n")
	}
	stdout, stderr, code := picketctl(t, in.String(), "rules", "eval", "--rules", rules, "--rules", newer, "--agent-version", "7.70.0", "--events", "-")
	assert.Equal(t, 1, code)
	assert.Empty(t, stderr)
	got := strings.Split(stdout, "\n")
	require.Len(t, got, len(cases)+1, stdout)
	for i, c := range cases {
		if strings.HasSuffix(c.out, "}") {
			assert.Equal(t, c.out, got[i], c.in)
		} else {
			assert.Contains(t, got[i], c.out, c.in)
		}
	}

	events := putFile(t, "events.jsonl", `{"type":"rename","rename.file.path":"/etc/x"}`) // no line break at the end
	stdout, stderr, code = picketctl(t, "", "rules", "eval", "--rules", rules, "--rules", newer, "--events", events)
	assert.Zero(t, code)
	assert.Empty(t, stderr)
	assert.Equal(t, `{"matches":["written","newer"],"actions":[]}`+"\n", stdout) //nolint:testifylint // the text is what counts

	stdout, _, code = picketctl(t, strings.Repeat("x", maxBatchLine+1)+"\n"+`{"type":"open"}`, "rules", "eval", "--rules", rules, "--events", "-")
	assert.Equal(t, 1, code)
	//nolint:testifylint // two lines, and their text is what counts
	assert.Equal(t, `{"error":"the line has more than 16777216 bytes"}`+"\n"+`{"matches":[],"actions":[]}`+"\n", stdout)
}

// A batch of the file exporter has what a body alone does not tell: a flag, or which process it is.
func TestRulesEvalOTLP(t *testing.T) {
	rules := putFile(t, "a.policy", `rules:
  - id: remembered
    expression: open.file.path == "/etc/a" && open.flags == O_WRONLY|O_APPEND && open.syscall.mode == 384 && process.auid == 7
    actions: [{set: {name: x, value: true, scope: process}}]
  - id: read
    expression: open.file.path == "/etc/b" && ${process.x}
`)
	logs := plog.NewLogs()
	records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	host := event.Host{ID: "h", BootID: "b"}
	for id, path := range []string{"/etc/a", "/etc/b"} {
		e := event.Event{
			Type: event.TypeOpen, File: &event.FileEvent{File: event.File{Path: path}},
			Facts:   event.Facts{Flags: 0o2001, SyscallMode: 0o600, AUID: 7, ProcessID: 1 << 40, Sequence: uint64(id + 1)},
			Process: event.ProcessContext{Process: &event.Process{PID: 9}},
		}
		event.EncodeRecord(&e, &host, records.AppendEmpty())
	}
	records.AppendEmpty().Body().SetStr("a record of somebody else")
	detection := records.AppendEmpty()
	detection.Attributes().PutStr(event.AttrRecordKind, event.KindDetection)
	detection.Body().SetStr(`{"title":"t","agent":{},"evt":{"name":"open"},"file":{"path":"/etc/a","flags":["O_WRONLY","O_APPEND"]},"process":{"pid":9}}`)
	bad := records.AppendEmpty()
	records.At(0).CopyTo(bad)
	bad.Body().SetStr("{")
	line, err := new(plog.JSONMarshaler).MarshalLogs(logs)
	require.NoError(t, err)
	stdout, stderr, code := picketctl(t, string(line)+"\n"+`{"resourceLogs":7}`+"\n", "rules", "eval", "--rules", rules, "--events", "-")
	assert.Equal(t, 1, code)
	assert.Empty(t, stderr)
	got := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	require.Len(t, got, 5)
	assert.Equal(t, []string{
		`{"matches":["remembered"],"actions":[{"rule":"remembered","kind":"set","variable":"process.x","value":true}]}`,
		`{"matches":["read"],"actions":[]}`,
		`{"matches":[],"actions":[]}`,
	}, got[:3])
	assert.Contains(t, got[3], `{"error":"read the body: `)
	assert.Contains(t, got[4], `{"error":"not a batch of logs in OTLP JSON: `)
}

// What rules have noted of a process goes when it exits, so that the next one with its pid is another.
func TestRulesEvalExit(t *testing.T) {
	rules := putFile(t, "a.policy", `rules:
  - id: tmp
    expression: exec.file.path =~ "/tmp/**"
    actions: [{set: {name: from_tmp, value: true, scope: process}}]
  - id: shadow
    expression: open.file.path == "/etc/shadow" && ${process.from_tmp}
  - id: ended
    expression: exit.code == 0 && ${process.from_tmp}
`)
	const open = `{"type":"open","process.pid":7,"open.file.path":"/etc/shadow"}`
	in := `{"type":"exec","process.pid":7,"exec.file.path":"/tmp/x"}` + "\n" + open + "\n" + `{"type":"exit","process.pid":7}` + "\n" + open + "\n"
	stdout, _, code := picketctl(t, in, "rules", "eval", "--rules", rules, "--events", "-")
	assert.Zero(t, code)
	var matches []string
	for line := range strings.Lines(stdout) {
		var r struct{ Matches []string }
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		matches = append(matches, strings.Join(r.Matches, " "))
	}
	assert.Equal(t, []string{"tmp", "shadow", "ended", ""}, matches)
}

func TestRulesEvalUsage(t *testing.T) {
	rules := putFile(t, "a.policy", "rules:\n  - {id: a, expression: 'open.flags >'}\n  - {id: b, expression: 'open.flags == 0'}\n")
	for _, tt := range []struct {
		name           string
		args           []string
		stdout, stderr string
		code           int
	}{
		{"broken rule", []string{"--rules", rules, "--events", "-"}, `{"matches":["b"],"actions":[]}` + "\n", `a.policy:2:38: rule "a": syntax error: `, 0},
		{"no rules", []string{"--events", "-"}, "", "picketctl rules eval needs --rules PATH", 2},
		{"no events", []string{"--rules", rules}, "", "needs --events FILE", 2},
		{"no such rules", []string{"--rules", "/does/not/exist", "--events", "-"}, "", "cannot read the policies", 2},
		{"no such events", []string{"--rules", rules, "--events", "/does/not/exist"}, "", "cannot read the input", 2},
		{"version", []string{"--rules", rules, "--events", "-", "--agent-version", "x"}, "", "--agent-version: ", 2},
		{"argument", []string{"x"}, "", `unexpected argument "x"`, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := picketctl(t, `{"type":"open"}`, append([]string{"rules", "eval"}, tt.args...)...)
			assert.Equal(t, tt.stdout, stdout)
			assert.Contains(t, stderr, tt.stderr)
			assert.Equal(t, tt.code, code)
		})
	}
}
