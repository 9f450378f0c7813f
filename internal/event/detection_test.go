// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
)

// TestDetectionGolden is a whole detection: its body, and what it has beside the attributes of its event.
func TestDetectionGolden(t *testing.T) {
	src := record(testEvent(TypeOpen, 1))
	src.SetTraceID([16]byte{1})
	src.SetSpanID([8]byte{2})
	before := plog.NewLogRecord()
	src.CopyTo(before)
	lr := plog.NewLogRecord()
	EncodeDetection(lr, src, &testHost, &testRule, "7.83.0")
	assert.Equal(t, before, src)

	var indented bytes.Buffer
	require.NoError(t, json.Indent(&indented, []byte(lr.Body().Str()), "", "  "))
	goldenText(t, "testdata/detection.json", indented.String()+"\n")

	want := src.Attributes().AsRaw()
	for k, v := range map[string]any{
		"picket.record.kind": "detection", "log.record.uid": RecordUID(testHost.ID, testHost.BootID, 1_234_567, "shadow_read"),
		"security_rule.name": "shadow_read", "security_rule.version": "3", "security_rule.description": "The password hashes were read",
		"security_rule.ruleset.name": "default.policy", "picket.rule.policy.version": "1.2.3", "picket.rule.group_id": "credentials",
		"picket.rule.tags": []any{"severity:high", "technique:T1003.008"}, "picket.rule.suppressed_count": int64(4),
		"picket.rule.unavailable_fields": []any{"process.file.package.name"},
	} {
		want[k] = v
	}
	assert.Equal(t, want, lr.Attributes().AsRaw())
	assert.Equal(t, "file.open", lr.EventName())
	assert.Equal(t, src.Timestamp(), lr.Timestamp())
	assert.Equal(t, src.ObservedTimestamp(), lr.ObservedTimestamp())
	assert.Equal(t, src.TraceID(), lr.TraceID())
	assert.Equal(t, src.SpanID(), lr.SpanID())
	assert.Equal(t, plog.SeverityNumberError, lr.SeverityNumber())
	assert.Equal(t, "high", lr.SeverityText())
}

// TestDetectionBody: what a body has besides title and agent is the event, which the schema accepts and the Decoder reads.
func TestDetectionBody(t *testing.T) {
	schema := compileSchema(t)
	src, lr := record(testEvent(TypeRename, 2)), plog.NewLogRecord()
	EncodeDetection(lr, src, &testHost, &testRule, "7.83.0")
	var body map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(lr.Body().Str()), &body))
	delete(body, "title")
	delete(body, "agent")
	event, err := json.Marshal(body)
	require.NoError(t, err)
	validate(t, schema, event)
	assert.JSONEq(t, src.Body().Str(), string(event))

	var d Decoder
	var got Event
	require.NoError(t, d.Decode([]byte(lr.Body().Str()), NeedAll, &got))
	assert.JSONEq(t, src.Body().Str(), string(got.AppendJSON(nil)))
}

func TestAppendDetection(t *testing.T) {
	const required = `"agent":{"rule_id":"r","policy_name":"","policy_version":"","version":"","os":"","arch":"","origin":""`
	tests := map[string]struct {
		body, title string
		agent       Agent
		want        string
	}{
		"least": {`{"a":1}`, "t", Agent{RuleID: "r"}, `{"title":"t",` + required + `},"a":1}`},
		"empty": {`{}`, "", Agent{RuleID: "r"}, `{"title":"",` + required + `}}`},
		"all": {
			`{"a":{}}`, "a \"title\"\xff",
			Agent{"group", "rule", "2", "p", "1.0", "7.83.0", "linux", "arm64", "ebpf", "6.1", "debian - 12", []ActionReport{{Type: "a"}, {Type: "b"}}},
			`{"title":"a \"title\"\\xff","agent":{"rule_id":"group","original_rule_id":"rule","rule_version":"2","policy_name":"p","policy_version":"1.0",` +
				`"version":"7.83.0","os":"linux","arch":"arm64","origin":"ebpf","kernel_version":"6.1","distribution":"debian - 12","rule_actions":[{"type":"a"},{"type":"b"}]},"a":{}}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := AppendDetection([]byte("before "), []byte(test.body), test.title, &test.agent)
			assert.Equal(t, "before "+test.want, string(got))
			assert.True(t, json.Valid(got[len("before "):]))
		})
	}
}

// TestDetectionOfForgedRecord: the rule's attributes are those of the rule, whatever the event's record claims.
func TestDetectionOfForgedRecord(t *testing.T) {
	src := record(testEvent(TypeOpen, 0))
	for _, k := range []string{AttrRuleName, AttrRuleVersion, AttrRuleGroupID, AttrRuleTags, AttrRuleSuppressed} {
		src.Attributes().PutStr(k, "forged")
	}
	lr := plog.NewLogRecord()
	EncodeDetection(lr, src, &Host{Arch: "arm64", OSName: "alpine"}, &RuleInfo{ID: "r"}, "7.83.0")
	assert.Equal(t, map[string]any{"security_rule.name": "r"}, attributesWith(lr, "security_rule.", "picket.rule."))

	var body struct {
		Title string         `json:"title"`
		Agent map[string]any `json:"agent"`
	}
	require.NoError(t, json.Unmarshal([]byte(lr.Body().Str()), &body))
	assert.Equal(t, "r", body.Title) // a rule without a description
	assert.Equal(t, map[string]any{
		"rule_id": "r", "policy_name": "", "policy_version": "", "version": "7.83.0", "os": "linux", "arch": "arm64", "origin": "ebpf", "distribution": "alpine",
	}, body.Agent)
}

// TestDetectionSeverity: the severity of a detection is its rule's, that of an event INFO without a text.
func TestDetectionSeverity(t *testing.T) {
	src := record(testEvent(TypeOpen, 0))
	assert.Equal(t, plog.SeverityNumberInfo, src.SeverityNumber())
	assert.Empty(t, src.SeverityText())
	for s, want := range map[Severity]struct {
		number plog.SeverityNumber
		text   string
	}{
		SeverityInfo:     {plog.SeverityNumberInfo, "info"},
		SeverityLow:      {plog.SeverityNumberInfo2, "low"},
		SeverityMedium:   {plog.SeverityNumberWarn, "medium"},
		SeverityHigh:     {plog.SeverityNumberError, "high"},
		SeverityCritical: {plog.SeverityNumberFatal, "critical"},
	} {
		lr := plog.NewLogRecord()
		EncodeDetection(lr, src, &testHost, &RuleInfo{ID: "r", Severity: s}, "7.83.0")
		assert.Equal(t, want.number, lr.SeverityNumber(), want.text)
		assert.Equal(t, want.text, lr.SeverityText())
	}
}

func TestSeverities(t *testing.T) {
	for name, want := range map[string]plog.SeverityNumber{"info": 9, "low": 10, "medium": 13, "high": 17, "critical": 21} {
		s, ok := ParseSeverity(name)
		assert.True(t, ok)
		assert.Equal(t, want, s.Number())
		assert.Equal(t, name, s.String())
	}
	s, ok := ParseSeverity("HIGH")
	assert.False(t, ok)
	assert.Equal(t, SeverityMedium, s)
}
