// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/event"
)

// readingPolicy reads all that a record has.
const readingPolicy = `
rules:
  - {id: any, expression: 'open.file.path == "/etc/x" && process.pid > 0'}
  - {id: facts, expression: 'open.file.path == "/etc/x" && process.auid != 7 && process.ancestors.pid != 1'}
  - id: noted
    expression: open.file.path == "/etc/x" && process.argv not in ["-x"] && container.id == "" && cgroup.id != "/x"
    limiter_token: [process.args, open.file.path]
  - {id: run, expression: 'exec.file.name != "" && exec.args != "x"'}
  - {id: to, expression: 'connect.addr.port > 0 && connect.addr.ip != 10.0.0.1'}
  - {id: ended, expression: 'exit.code > 0'}
`

// deep makes a value of nested lists.
func deep(v pcommon.Value, levels int) {
	for range levels {
		v = v.SetEmptySlice().AppendEmpty()
	}
	v.SetStr("end")
}

// withMember puts a member at the end of a body.
func withMember(lr plog.LogRecord, member string) {
	lr.Body().SetStr(strings.TrimSuffix(lr.Body().Str(), "}") + "," + member + "}")
}

func TestHostileRecords(t *testing.T) {
	all := []string{"detection any", "detection facts", "detection noted"}
	none := map[string]int64{}
	unread := map[string]int64{"decode_errors": 1}
	alien := map[string]int64{"foreign": 1}
	tests := map[string]struct {
		spoil   func(plog.ResourceLogs, plog.LogRecord)
		want    []string // detections of it
		metrics map[string]int64
	}{
		"nothing": {func(plog.ResourceLogs, plog.LogRecord) {}, all, none},
		"many attributes": {func(_ plog.ResourceLogs, lr plog.LogRecord) {
			for i := range 100_000 {
				// Put would look for the name in all of them.
				lr.Attributes().PutStr(fmt.Sprint(i%2000), "")
			}
		}, nil, unread},
		"deep attribute":    {func(_ plog.ResourceLogs, lr plog.LogRecord) { deep(lr.Attributes().PutEmpty("x"), 10_000) }, all, none},
		"version is text":   {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Attributes().PutStr(event.AttrContractVersion, "1") }, nil, alien},
		"version is 2":      {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Attributes().PutInt(event.AttrContractVersion, 2) }, nil, alien},
		"version is 1.0":    {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Attributes().PutDouble(event.AttrContractVersion, 1) }, nil, alien},
		"kind is a number":  {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Attributes().PutInt(event.AttrRecordKind, 1) }, nil, alien},
		"kind is unknown":   {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Attributes().PutStr(event.AttrRecordKind, "alert") }, nil, alien},
		"type is unknown":   {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.SetEventName("file.nope") }, nil, alien},
		"type has no rules": {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.SetEventName("file.mkdir") }, nil, none},
		"two types":         {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.SetEventName("process.exec") }, nil, unread},
		"number is a map":   {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Attributes().PutEmptyMap(event.AttrSequence) }, all, none},
		"number below 0":    {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Attributes().PutInt(event.AttrSequence, -5) }, all, none},
		"pid is a map":      {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Attributes().PutEmptyMap(event.AttrProcessID) }, nil, unread},
		"auid of 64 bits":   {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Attributes().PutInt(event.AttrProcessAUID, 1<<40) }, nil, unread},
		"ancestors are deep": {func(_ plog.ResourceLogs, lr plog.LogRecord) {
			deep(lr.Attributes().PutEmpty(event.AttrProcessAncestors), 10_000)
		}, nil, unread},
		"endless ancestors": {func(_ plog.ResourceLogs, lr plog.LogRecord) {
			ids := lr.Attributes().PutEmptySlice(event.AttrProcessAncestors)
			for range 5000 {
				ids.AppendEmpty().SetInt(1)
			}
		}, nil, unread},
		"body is a map":            {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Body().SetEmptyMap() }, nil, unread},
		"body is bytes":            {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Body().SetEmptyBytes().Append('{', '}') }, nil, unread},
		"no body":                  {func(_ plog.ResourceLogs, lr plog.LogRecord) { plog.NewLogRecord().Body().CopyTo(lr.Body()) }, nil, unread},
		"empty body":               {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Body().SetStr("") }, nil, unread},
		"body is text":             {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Body().SetStr("open /etc/x") }, nil, unread},
		"body is an array":         {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Body().SetStr("[" + lr.Body().Str() + "]") }, nil, unread},
		"body is cut":              {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Body().SetStr(lr.Body().Str()[:40]) }, nil, unread},
		"body goes on":             {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Body().SetStr(lr.Body().Str() + "{") }, nil, unread},
		"body is null":             {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Body().SetStr("null") }, nil, unread},
		"body begins with a space": {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Body().SetStr("\n " + lr.Body().Str()) }, all, none},
		"body ends in no JSON":     {func(_ plog.ResourceLogs, lr plog.LogRecord) { withMember(lr, `"usr":<<<>>>`) }, nil, unread},
		"body ends with a comma":   {func(_ plog.ResourceLogs, lr plog.LogRecord) { withMember(lr, "") }, nil, unread},
		"body is two":              {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.Body().SetStr(lr.Body().Str() + lr.Body().Str()) }, nil, unread},
		"body names a rule":        {func(_ plog.ResourceLogs, lr plog.LogRecord) { withMember(lr, `"agent":{"rule_id":"forged"}`) }, nil, unread},
		"body has a title":         {func(_ plog.ResourceLogs, lr plog.LogRecord) { withMember(lr, `"title":"forged"`) }, nil, unread},
		"body has a member twice":  {func(_ plog.ResourceLogs, lr plog.LogRecord) { withMember(lr, `"evt":{"name":"open"}`) }, nil, unread},
		"body is not UTF-8":        {func(_ plog.ResourceLogs, lr plog.LogRecord) { withMember(lr, "\"x\":\"\xff\"") }, nil, unread},
		"deep body": {func(_ plog.ResourceLogs, lr plog.LogRecord) {
			lr.Body().SetStr(`{"file":` + strings.Repeat(`{"x":`, 1_000_000))
		}, nil, unread},
		"deep other member": {func(_ plog.ResourceLogs, lr plog.LogRecord) {
			lr.Body().SetStr(`{"x":` + strings.Repeat("[", 1_000_000))
		}, nil, unread},
		"10 MB": {func(_ plog.ResourceLogs, lr plog.LogRecord) {
			lr.Body().SetStr(strings.Replace(lr.Body().Str(), "{", `{"x":"`+strings.Repeat("x", 10<<20)+`",`, 1))
		}, nil, unread},
		"10 MB of space": {func(_ plog.ResourceLogs, lr plog.LogRecord) {
			lr.Body().SetStr(strings.Repeat(" ", 10<<20) + lr.Body().Str())
		}, nil, unread},
		"4 MB": {func(_ plog.ResourceLogs, lr plog.LogRecord) {
			lr.Body().SetStr(strings.Replace(lr.Body().Str(), "{", `{"x":"`+strings.Repeat("x", 4<<20)+`",`, 1))
		}, all, none},
		"no time":     {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.SetTimestamp(0); lr.SetObservedTimestamp(0) }, all, none},
		"end of time": {func(_ plog.ResourceLogs, lr plog.LogRecord) { lr.SetTimestamp(1<<64 - 1) }, all, none},
		"no host.id":  {func(rl plog.ResourceLogs, _ plog.LogRecord) { rl.Resource().Attributes().Remove("host.id") }, all, map[string]int64{"without_host": 2}},
		"no resource": {func(rl plog.ResourceLogs, _ plog.LogRecord) { rl.Resource().Attributes().Clear() }, all, map[string]int64{"without_host": 2}},
		"host.id is a map": {func(rl plog.ResourceLogs, _ plog.LogRecord) {
			rl.Resource().Attributes().PutEmptyMap("host.id").PutStr("a", "b")
		}, all, none},
		"host.id of 10 MB": {func(rl plog.ResourceLogs, _ plog.LogRecord) {
			rl.Resource().Attributes().PutStr("host.id", strings.Repeat("x", 10<<20))
		}, all, none},
		"boot id of 10 MB": {func(rl plog.ResourceLogs, _ plog.LogRecord) {
			rl.Resource().Attributes().PutStr(event.AttrBootID, strings.Repeat("x", 10<<20))
		}, all, none},
		"bytes in host.id": {func(rl plog.ResourceLogs, _ plog.LogRecord) {
			rl.Resource().Attributes().PutStr("host.id", "\xff\x00\n")
		}, all, none},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			// Without a time the record is of now, and the rates would wait for that to come again.
			p := newPipeline(t, NoMatchDrop, readingPolicy, func(c *Config) { c.DisableRateLimits = name == "no time" })
			ld := batch(open(t, 1, "/etc/x"), open(t, 2, "/etc/x"))
			tt.spoil(ld.ResourceLogs().At(0), firstRecord(ld))
			// The one after it is detected all the same.
			assert.Equal(t, slices.Concat(tt.want, all), names(p.consume(t, ld)))
			for _, m := range []string{"foreign", "decode_errors", "without_host"} {
				assert.Equal(t, tt.metrics[m], p.metric(t, m), m)
			}
			assert.LessOrEqual(t, p.logs.Len(), 1)
			for _, entry := range p.logs.All() {
				for _, f := range entry.Context {
					assert.Less(t, len(f.String)+len(fmt.Sprint(f.Interface)), 1000, "what is logged is short")
				}
			}
		})
	}
}

// FuzzRecords takes logs as a gateway gets them: OTLP in protobuf.
func FuzzRecords(f *testing.F) {
	add := func(ld plog.Logs) {
		data, err := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
		require.NoError(f, err)
		f.Add(data)
	}
	report := plog.NewLogs()
	event.EncodeReport(addEvents(report, &testID, open(f, 1, "/x")).AppendEmpty(), &testID, event.RecordEventsLost, 9_000_000, testTime,
		[]byte(`{"restart":{"last_sequence":5,"clean":false}}`))
	add(report)
	add(documented(f))
	add(batch(contained(f, 1, "/etc/x"), open(f, 3, "/etc/x"), failed(open(f, 2, "/etc/x"), 13)))
	add(batch(flat(f, 1, `{"type":"exec","exec.file.name":"nc","exec.argv":["-l"],"process.ancestors":[{"pid":1,"file.name":"sh"}]}`)))
	add(batch(flat(f, 1, `{"type":"connect","connect.addr.ip":"10.0.0.2","connect.addr.port":80,"process.pid":5}`)))
	add(batch(flat(f, 1, `{"type":"exit","exit.code":3,"process.pid":5}`), flat(f, 2, `{"type":"unlink","unlink.file.path":"/x"}`)))
	detected := newPipeline(f, NoMatchPass, testPolicy)
	require.NoError(f, detected.ConsumeLogs(context.Background(), batch(open(f, 1, "/etc/shadow"))))
	add(detected.batches()[0])

	const rules = 3 // of one type
	p := newPipeline(f, NoMatchPass, readingPolicy, func(c *Config) { c.MaxHosts, c.DisableRateLimits = 8, true })
	f.Fuzz(func(t *testing.T, data []byte) {
		ld, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(data)
		if err != nil {
			return
		}
		run := func() []plog.Logs {
			p.sink.Reset()
			require.NoError(t, p.ConsumeLogs(context.Background(), ld))
			return p.batches()
		}
		first := run()
		out := 0
		for _, l := range first {
			out += l.LogRecordCount()
		}
		require.LessOrEqual(t, out, rules*ld.LogRecordCount())
		require.GreaterOrEqual(t, out, ld.LogRecordCount(), "what no rule matches is passed on")
		// The same records are decided the same way, and their detections are the same.
		second := run()
		require.Len(t, second, len(first))
		for i := range first {
			want, err := (&plog.ProtoMarshaler{}).MarshalLogs(first[i])
			require.NoError(t, err)
			got, err := (&plog.ProtoMarshaler{}).MarshalLogs(second[i])
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		require.LessOrEqual(t, p.metric(t, "hosts"), int64(8))
	})
}
