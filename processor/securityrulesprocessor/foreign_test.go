// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"encoding/json"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/event"
)

// documented is the record in the README.
func documented(tb testing.TB) plog.Logs {
	tb.Helper()
	readme, err := os.ReadFile("README.md")
	require.NoError(tb, err)
	blocks := regexp.MustCompile("(?s)## Records of other tools\n.*?```json\n(.*?)```").FindSubmatch(readme)
	require.NotNil(tb, blocks)
	ld, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(blocks[1])
	require.NoError(tb, err)
	require.Equal(tb, 1, ld.LogRecordCount())
	return ld
}

// TestRecordOfAnotherTool: the record that the README says is enough is enough, and no part of it too much.
func TestRecordOfAnotherTool(t *testing.T) {
	const source = `
version: 1.0.0
rules:
  - id: shadow
    expression: open.file.path == "/etc/shadow" && process.file.name == "cat" && process.uid == 1000 && process.pid == 4242
    actions: [{set: {name: seen, value: true, scope: process}}]
  - {id: seen, expression: 'open.file.path == "/etc/shadow" && ${process.seen}'}
`
	p := newPipeline(t, NoMatchDrop, source)
	out := p.consume(t, documented(t))
	require.Equal(t, []string{"detection shadow", "detection seen"}, names(out))
	lr := firstRecord(out[0])
	assert.Equal(t, testTime, event.Time(lr.Timestamp()))
	assert.Equal(t, event.RecordUID("5f0c8bd1", "", 1, "shadow"), uid(t, lr))
	var body map[string]any
	require.NoError(t, json.Unmarshal([]byte(lr.Body().Str()), &body))
	assert.Equal(t, "shadow", body["title"])
	assert.Equal(t, map[string]any{
		"rule_id": "shadow", "policy_name": "test.policy", "policy_version": "1.0.0", "version": "7.83.0", "os": "linux", "arch": "", "origin": "ebpf",
	}, body["agent"])
	assert.Equal(t, map[string]any{"name": "open", "outcome": "Success"}, body["evt"])
	assert.Equal(t, "/etc/shadow", body["file"].(map[string]any)["path"])
	for _, m := range []string{"foreign", "decode_errors", "without_host", "sequence_gaps"} {
		assert.Zero(t, p.metric(t, m), m)
	}
	assert.Zero(t, p.logs.Len())

	for name, spoil := range map[string]func(plog.Logs, plog.LogRecord){
		"foreign":       func(_ plog.Logs, lr plog.LogRecord) { lr.Attributes().Remove(event.AttrContractVersion) },
		"decode_errors": func(_ plog.Logs, lr plog.LogRecord) { lr.Body().SetStr("an open of /etc/shadow") },
		"without_host": func(ld plog.Logs, _ plog.LogRecord) {
			ld.ResourceLogs().At(0).Resource().Attributes().Remove("host.id")
		},
	} {
		for range 2 {
			ld := documented(t)
			spoil(ld, firstRecord(ld))
			p.consume(t, ld)
		}
		assert.EqualValues(t, 2, p.metric(t, name), name)
	}
	assert.Equal(t, 3, p.logs.Len(), "each is reported once")
	ld := documented(t)
	firstRecord(ld).Attributes().Remove(event.AttrRecordKind)
	p.consume(t, ld)
	ld = documented(t)
	firstRecord(ld).SetEventName("file.opened")
	p.consume(t, ld)
	assert.EqualValues(t, 4, p.metric(t, "foreign"))
	assert.Equal(t, 3, p.logs.Len())
}
