// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
)

func TestWithHashes(t *testing.T) {
	done := func(member ...string) FileHashes {
		return FileHashes{Member: member, Hashes: []string{"a:1", "b:2"}, State: HashDone}
	}
	const added = `"hashes":["a:1","b:2"],"hash_state":"Done"`
	for body, tt := range map[string]struct {
		hashes []FileHashes
		want   string
	}{
		`{"file":{"uid":0}}`:                           {[]FileHashes{done("file")}, `{"file":{` + added + `,"uid":0}}`},
		`{"file":{}}`:                                  {[]FileHashes{done("file")}, `{"file":{` + added + `}}`},
		`{"file":{"uid":1}}`:                           {[]FileHashes{{Member: []string{"file"}, State: HashFailed}}, `{"file":{"hash_state":"HashFailed","uid":1}}`},
		`{"a":{"file":{"x":1}},"file":null}`:           {[]FileHashes{done("file")}, `{"a":{"file":{"x":1}},"file":null}`},
		`{"f":"{\"file\":{}}","process":{"file":{}}}`:  {[]FileHashes{done("file"), done("nothing")}, `{"f":"{\"file\":{}}","process":{"file":{}}}`},
		`{"process":{"e":{"u":0}}, "file" : {"u":0}}`:  {[]FileHashes{done("file"), done("process", "e")}, `{"process":{"e":{` + added + `,"u":0}}, "file" : {` + added + `,"u":0}}`},
		`{"process":{"x":1},"process":{"e":{"u":0}}}`:  {[]FileHashes{done("process", "e")}, `{"process":{"x":1},"process":{"e":{"u":0}}}`},
		`{"process":{"p":{"e":{"u":0}},"e":{"u":0}}}`:  {[]FileHashes{done("process", "e")}, `{"process":{"p":{"e":{"u":0}},"e":{` + added + `,"u":0}}}`},
		`{"process":{"p":{"e":{"u":0}},"e":{"u":0}} }`: {[]FileHashes{done("process", "p", "e")}, `{"process":{"p":{"e":{` + added + `,"u":0}},"e":{"u":0}} }`},
		`{"process":`:                                  {[]FileHashes{done("process", "e")}, `{"process":`},
		``:                                             {[]FileHashes{done("file")}, ``},
	} {
		assert.Equal(t, tt.want, withHashes(body, tt.hashes), body)
	}
}

// TestDetectionActions: hashes are in the event, as its schema has them, and what actions came to in the agent object.
func TestDetectionActions(t *testing.T) {
	src, lr := record(testEvent(TypeOpen, 1)), plog.NewLogRecord()
	rule := testRule
	rule.Hashes = []FileHashes{
		{Member: []string{"file"}, Hashes: []string{"sha1:00"}, State: HashDone},
		{Member: []string{"process", "executable"}, State: HashFileTooBig},
	}
	rule.Actions = []ActionReport{
		{Type: "kill", Signal: "SIGKILL", Scope: "process", Status: ActionPerformed, Processes: 1, Created: 1e9, Detected: 2e9, Performed: 3e9},
		{Type: "hash", Path: `/a"b`, State: HashFailed, Error: "not local"},
	}
	EncodeDetection(lr, src, &testHost, &rule, "7.83.0")
	body := lr.Body().Str()
	assert.Contains(t, body, `"rule_actions":[`+
		`{"type":"kill","signal":"SIGKILL","scope":"process","status":"performed","processes":1,"created_at":"1970-01-01T00:00:01Z",`+
		`"detected_at":"1970-01-01T00:00:02Z","killed_at":"1970-01-01T00:00:03Z"},`+
		`{"type":"hash","path":"/a\"b","state":"HashFailed","error":"not local"}]},`)
	actions, ok := lr.Attributes().Get("picket.rule.actions")
	require.True(t, ok)
	assert.Equal(t, []any{"kill performed", "hash HashFailed: not local"}, actions.Slice().AsRaw())

	var d Decoder
	var want, got Event
	require.NoError(t, d.Decode([]byte(src.Body().Str()), NeedAll, &want))
	require.NoError(t, new(Decoder).Decode([]byte(body), NeedAll, &got))
	want.File.Hashes, want.File.HashState = []string{"sha1:00"}, HashDone
	want.Process.Executable.HashState = HashFileTooBig
	want.Process.Executable.Hashes = nil
	validate(t, compileSchema(t), got.AppendJSON(nil))
	assert.JSONEq(t, string(want.AppendJSON(nil)), string(got.AppendJSON(nil)))
}
