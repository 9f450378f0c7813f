// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	contribgolden "github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/event"
)

// pretty prints batches as blocks, in UTC, and events too.
func pretty(t *testing.T, batches ...plog.Logs) string {
	t.Helper()
	var out bytes.Buffer
	p := newPrinter(&out, true, false)
	p.zone = time.UTC
	r := &logReader{printer: p, events: true}
	for _, ld := range batches {
		require.NoError(t, r.print(ld))
	}
	require.NoError(t, p.flush())
	return out.String()
}

// one makes a batch with one record of web-1, of that second of a minute.
func one(kind, eventName string, seconds int, body string, attrs map[string]any) plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr(event.AttrHostName, "web-1")
	lr := addRecord(rl.ScopeLogs().AppendEmpty().LogRecords(), kind, plog.SeverityNumberError, body)
	lr.SetTimestamp(pcommon.NewTimestampFromTime(time.Date(2024, 5, 2, 9, 31, seconds, 0, time.UTC)))
	lr.SetEventName(eventName)
	for k, v := range attrs {
		if err := lr.Attributes().PutEmpty(k).FromRaw(v); err != nil {
			panic(err)
		}
	}
	return ld
}

// line returns the line of a block with that label, without it.
func line(t *testing.T, block, label string) string {
	t.Helper()
	prefix := fmt.Sprintf("  %-8s ", label)
	for l := range strings.Lines(block) {
		if text, ok := strings.CutPrefix(l, prefix); ok {
			return strings.TrimSuffix(text, "\n")
		}
	}
	return ""
}

// recordsDir has one record of every type of event and of every report.
const recordsDir = "../../internal/event/testdata/records"

// goldenRecord reads a record as the receiver writes it.
func goldenRecord(t *testing.T, name string) plog.Logs {
	t.Helper()
	ld, err := contribgolden.ReadLogs(filepath.Join(recordsDir, name+".yaml"))
	require.NoError(t, err)
	return ld
}

// TestPrettyRecords shows one record of every type of event and of every report, as the receiver writes them.
func TestPrettyRecords(t *testing.T) {
	var batches []plog.Logs
	for typ := event.TypeExec; typ < event.NumTypes; typ++ {
		batches = append(batches, goldenRecord(t, typ.String()))
	}
	for _, name := range []string{"detection", event.RecordRulesetLoaded, event.RecordHeartbeat, event.RecordIOUringUsed} {
		batches = append(batches, goldenRecord(t, name))
	}
	out := pretty(t, batches...)
	golden(t, "records.golden", out)
	for _, l := range strings.Split(out, "\n") {
		assert.True(t, isSafe(l), "%q", l)
	}
}

// TestEveryTypeHasItsObject: of every event more is shown than its name, unless the process is all that there is.
func TestEveryTypeHasItsObject(t *testing.T) {
	for typ := event.TypeExec; typ < event.NumTypes; typ++ {
		what := line(t, pretty(t, goldenRecord(t, typ.String())), "what")
		assert.Equal(t, typ == event.TypeFork, strings.TrimSuffix(what, " · Success") == typ.String(), what)
	}
}

func TestWhat(t *testing.T) {
	type attrs = map[string]any
	tests := []struct {
		name, body string // without evt
		attrs      attrs
		want       string
	}{
		{"exec", `"file":{"path":"","name":"memfd:x"}`, nil, "memfd:x (a file in memory)"},
		{"exec", `"file":{"path":"","name":"memfd:a\u001b[2Jb"}`, nil, `memfd:a\x1b[2Jb (a file in memory)`},
		{"exec", `"file":{"path":"/opt/memfd:x","name":"memfd:x"}`, nil, "/opt/memfd:x"},
		{"exec", "", attrs{event.AttrSyscallPath: "./gone"}, "./gone (as given)"},
		{"open", `"file":{"name":"x"}`, nil, "x (path unknown)"},
		{"rename", `"file":{"path":"/a"}`, attrs{event.AttrSyscallDestPath: "b"}, "/a → b"},
		{"link", `"file":{"path":"/a","destination":{"path":"/b"}}`, nil, "/a → /b"},
		{"symlink", `"file":{"path":"/a"}`, attrs{event.AttrSymlinkTarget: "../b"}, "/a → ../b"},
		{"chroot", `"file":{"path":"/new"}`, attrs{event.AttrSyscallDestPath: "/new/old"}, "/new with the old root at /new/old"},
		{"mount", `"mount":{"fs_type":"tmpfs","mountpoint.path":"/mnt"}`, attrs{event.AttrSyscallPath: "none", event.AttrSyscallDestPath: "mnt"}, "none → /mnt (tmpfs)"},
		{"mount", `"mount":{"source.path":"/srv"}`, attrs{event.AttrMountDetached: true}, "/srv → (attached nowhere)"},
		{"mount", "", attrs{event.AttrSyscallPath: "/dev/sda", event.AttrSyscallDestPath: "/mnt", event.AttrSyscallFSType: "ext4"}, "/dev/sda → /mnt (ext4)"},
		{"exit", `"exit":{"cause":"COREDUMPED","code":11}`, nil, "COREDUMPED SIGSEGV"},
		{"exit", `"exit":{"cause":"EXITED","code":0}`, nil, "EXITED 0"},
		{"setuid", `"process":{"credentials":{"destination":{"uid":0,"user":"root","euid":0,"euser":"root","fsuid":0}}}`, nil, "→ uid 0 (root)"},
		{"setuid", `"process":{"credentials":{"destination":{"uid":1000,"euid":0,"fsuid":0}}}`, nil, "→ uid 1000, euid 0, fsuid 0"},
		{"capset", `"process":{"credentials":{"destination":{"cap_effective":[],"cap_permitted":["A","B","C","D","E","F","G","H","I","J"]}}}`, nil, "→ effective none, permitted A|B|C|D|E|F|G|H and 2 more"},
		{"signal", `"signal":{"type":"SIGTERM","pid":77}`, nil, "SIGTERM → pid 77"},
		{"signal", `"signal":{"type":"SIGTERM","pid":77,"target":{"pid":77,"comm":"sl\neep"}}`, nil, `SIGTERM → sl\neep(77)`},
		{"ptrace", `"ptrace":{"request":"PTRACE_TRACEME"}`, nil, "PTRACE_TRACEME"},
		{"mmap", `"mmap":{"length":4096,"protection":"","flags":"MAP_ANONYMOUS | MAP_PRIVATE"}`, nil, "none MAP_ANONYMOUS|MAP_PRIVATE 4096 bytes"},
		{"bpf", `"bpf":{"cmd":"BPF_MAP_CREATE","map":{"name":"m","map_type":"BPF_MAP_TYPE_HASH"}}`, nil, "BPF_MAP_CREATE map m (BPF_MAP_TYPE_HASH)"},
		{"load_module", `"module":{"name":"m","loaded_from_memory":true}`, nil, "module m from memory"},
		{"selinux", `"selinux":{"enforce":{"status":"permissive"}}`, nil, "→ permissive"},
		{"selinux", `"selinux":{"bool_commit":{"state":true}}`, nil, "commit"},
		{"connect", "", attrs{event.AttrTransport: "unix", event.AttrSocketPath: "@x\x1b"}, `unix @x\x1b`},
		{"accept", "", attrs{event.AttrTransport: "unix", event.AttrSocketPath: "/run/s"}, "unix from /run/s"},
		{"bind", `"bind":{"addr":{"ip":"::","port":53}}`, attrs{event.AttrTransport: "udp"}, "udp [::]:53"},
		{"dns", `"dns":{"question":{"type":"A","name":"a\u202eb.example"}}`, nil, `A a\u202eb.example`},
		// Members that are not there must not look like values.
		{"mprotect", "", nil, ""},
		{"mmap", "", nil, ""},
		{"capset", "", nil, ""},
		{"splice", "", nil, ""},
		{"mount", "", nil, ""},
		{"signal", "", nil, ""},
		{"no_such_type", "", nil, ""},
	}
	for _, tt := range tests {
		body := fmt.Sprintf(`{"evt":{"name":%q}}`, tt.name)
		if tt.body != "" {
			body = fmt.Sprintf(`{"evt":{"name":%q},%s}`, tt.name, tt.body)
		}
		got := line(t, pretty(t, one(event.KindEvent, "", 0, body, tt.attrs)), "what")
		assert.Equal(t, strings.TrimSpace(tt.name+" "+tt.want), got, body)
	}
}

// A long name must not push what comes after it out of sight.
func TestWhatBoundsEachWord(t *testing.T) {
	long := strings.Repeat("a", 2*maxShown)
	out := pretty(t, one(event.KindEvent, "", 0, `{"evt":{"name":"rename"},"file":{"path":"`+long+`","destination":{"path":"/b"}}}`, nil))
	assert.Equal(t, "rename "+long[:maxShown]+"… → /b", line(t, out, "what"))
}

func TestRuleLines(t *testing.T) {
	body := `{"title":"T","agent":{"rule_id":"r","rule_actions":[` +
		`{"type":"kill","signal":"SIGKILL","scope":"process","status":"disabled"},` +
		`{"type":"kill","signal":"SIGTERM","scope":"container","status":"performed","processes":3},` +
		`{"type":"kill","signal":"SIGKILL","scope":"process","status":"error","error":"it is gone\u001b[2J"},` +
		`{"type":"hash","path":"/bin/x","state":"Done"},` +
		`{"type":"hash","path":"/bin/y","state":"FileTooBig","error":"20 bytes"}]},` +
		`"evt":{"name":"exec","outcome":"Success"},"file":{"path":"/bin/x","hashes":["sha1:00","sha256:11"]}}`
	attrs := map[string]any{
		event.AttrRuleTags:        []any{"severity:high", "tactic:TA0002", "team:\x1bx"},
		event.AttrRuleUnavailable: []any{"exec.args", "process.parent.envs"},
		event.AttrRuleActions:     []any{"kill disabled"},
	}
	assert.Equal(t, `2024-05-02 09:31:00.000  HIGH      r  T
  what     exec /bin/x · Success
  action   kill SIGKILL process: disabled, enforcement is not enabled
  action   kill SIGTERM container: performed, 3 processes
  action   kill SIGKILL process: error, it is gone\x1b[2J
  action   hash /bin/x: Done, sha1:00 sha256:11
  action   hash /bin/y: FileTooBig, 20 bytes
  tags     tactic:TA0002, team:\x1bx
  unknown  exec.args, process.parent.envs
  where    host web-1

`, pretty(t, one(event.KindDetection, "process.exec", 0, body, attrs)))

	// What the body does not have is taken from the attributes.
	out := pretty(t, one(event.KindDetection, "process.exec", 0, `{"evt":{"name":"exec"}}`, attrs))
	assert.Equal(t, "kill disabled", line(t, out, "action"))
	// What there is none of has no line.
	out = pretty(t, one(event.KindDetection, "process.exec", 0, `{"evt":{"name":"exec"}}`, map[string]any{event.AttrRuleTags: []any{"severity:low"}}))
	for _, label := range []string{"action", "tags", "unknown"} {
		assert.NotContains(t, out, label)
	}
}

func TestReports(t *testing.T) {
	tests := []struct{ name, eventName, body, want string }{
		{
			"all rules load", event.RecordRulesetLoaded,
			`{"title":"New ruleset loaded","agent":{"rule_id":"ruleset_loaded"},"policies":[{"name":"p","version":"1","status":"loaded","rules":[{"id":"a","status":"loaded"},{"id":"b","status":"filtered","message":"not here"}]}]}`,
			`picket.ruleset_loaded  New ruleset loaded
  rules    p 1: 1 filtered, 1 loaded
`,
		},
		{
			"something failed", event.RecordRulesetLoaded,
			`{"title":"New ruleset loaded","policies":[{"name":"p","version":"1","status":"partially_loaded","macros":[{"id":"m","status":"error","message":"no such list"}],"rules":[{"id":"a","status":"loaded"},{"id":"c\u001b","status":"error","message":"no field opn"},{"id":"d","status":"error","message":"x"}]},{"name":"q","status":"error","message":"not YAML"}]}`,
			`picket.ruleset_loaded  New ruleset loaded, without what failed: 1 policy, 1 macro, 2 rules
  rules    p 1: 2 error, 1 loaded
  failed   macro m: no such list
  failed   rule c\x1b: no field opn
  failed   rule d: x
  failed   policy q: not YAML
`,
		},
		{
			"the rules before stay", event.RecordRulesetLoaded,
			`{"title":"New ruleset loaded","policies":[],"kept_previous":true,"reason":"no rule loads"}`,
			`picket.ruleset_loaded  New ruleset not used, the rules before stay in use: no rule loads
`,
		},
		{
			"events lost", event.RecordEventsLost,
			`{"title":"Events were lost","agent":{"rule_id":"lost_events"},"from":"2024-05-02T09:30:59.5Z","to":"2024-05-02T09:31:00Z","duration_ns":500000000,"lost_events":[{"type":"open","reason":"ring_full","count":12},{"type":"all","reason":"recursion","count":1},{"type":"exec","reason":"ring_full","count":2}]}`,
			`picket.events_lost  Events were lost
  between  2024-05-02 09:30:59.500 → 2024-05-02 09:31:00.000 (500ms)
  lost     12 open, 2 exec: ring_full
  lost     1 all: recursion
`,
		},
		{
			"restart", event.RecordEventsLost,
			`{"title":"Nothing was watched between two runs","from":"2024-05-02T09:30:00Z","to":"2024-05-02T09:31:00Z","duration_ns":60000000000,"restart":{"last_sequence":41,"clean":true}}`,
			`picket.events_lost  Nothing was watched between two runs
  between  2024-05-02 09:30:00.000 → 2024-05-02 09:31:00.000 (1m0s)
  restart  the run before ended in order; its last record has picket.sequence 41
`,
		},
		{
			"crash", event.RecordEventsLost,
			`{"title":"Nothing was watched between two runs","from":"\u001b","to":"","restart":{"last_sequence":41,"clean":false}}`,
			`picket.events_lost  Nothing was watched between two runs
  between  \x1b → ?
  restart  the run before was cut short (no orderly shutdown); its last record has picket.sequence 41
`,
		},
		{
			"io_uring", event.RecordIOUringUsed,
			`{"title":"U","agent":{"rule_id":"io_uring_used"},"process":{"pid":7,"uid":0,"user":"root","comm":"db"},"dd":{"trace_id":"1"}}`,
			`picket.io_uring_used  U
  who      root (uid 0), db[7]
  lineage  db(7)
`,
		},
		{"unknown", "picket.other", `{"title":"U","date":"x","n":{"a\u001b":1}}`, `picket.other  U
  report   {"n":{"a\u001b":1}}
`},
		{"not as it should be", event.RecordEventsLost, `{"title":"U","lost_events":{}}`, `picket.events_lost  U
  report   {"lost_events":{}}
`},
	}
	for _, tt := range tests {
		got := pretty(t, one(event.KindReport, tt.eventName, 0, tt.body, nil))
		assert.Equal(t, "2024-05-02 09:31:00.000  REPORT    "+tt.want+"  where    host web-1\n\n", got, tt.name)
	}
}

func TestReportBoundsItsLines(t *testing.T) {
	rules := strings.Repeat(`{"id":"a","status":"error"},`, maxLines+5)
	out := pretty(t, one(event.KindReport, event.RecordRulesetLoaded, 0, `{"policies":[{"name":"p","rules":[`+strings.TrimSuffix(rules, ",")+`]}]}`, nil))
	assert.Equal(t, maxLines-1, strings.Count(out, "  failed   rule a: \n")) // and one line for the policy
	assert.Contains(t, out, "\n           … and 6 more\n")
}

// The heartbeats of a moment are one line, and no block runs into it.
func TestHeartbeats(t *testing.T) {
	beat := func(seconds int, name, status string) plog.Logs {
		return one(event.KindReport, event.RecordHeartbeat, seconds,
			fmt.Sprintf(`{"title":"Heartbeat","agent":{"rule_id":"heartbeat"},"policy":{"name":"%s","version":"1.0","source":"file","status":%q}}`, name, status), nil)
	}
	detection := one(event.KindDetection, "process.exec", 2, `{"title":"T","agent":{"rule_id":"r"}}`, nil)
	elsewhere := beat(50, "a", "loaded")
	elsewhere.ResourceLogs().At(0).Resource().Attributes().PutStr(event.AttrHostName, "db\x1b")
	assert.Equal(t, `2024-05-02 09:31:01.000  REPORT    picket.heartbeat  host web-1, policies 2 loaded, 1 partially loaded: a 1.0, b 1.0, c\x07 1.0 (partially loaded)

2024-05-02 09:31:02.000  HIGH      r  T
  where    host web-1

2024-05-02 09:31:40.000  REPORT    picket.heartbeat  host web-1, policies 1 loaded: a 1.0
2024-05-02 09:31:50.000  REPORT    picket.heartbeat  host web-1, policies 1 loaded: a 1.0
2024-05-02 09:31:50.000  REPORT    picket.heartbeat  host db\x1b, policies 1 loaded: a 1.0
`, pretty(t, beat(1, "a", "loaded"), beat(1, "b", "loaded"), beat(1, `c\u0007`, "partially_loaded"), detection,
		beat(40, "a", "loaded"), beat(50, "a", "loaded"), elsewhere))

	// One that is none is a report as others are.
	out := pretty(t, one(event.KindReport, event.RecordHeartbeat, 0, `{"title":"Heartbeat","policy":7}`, nil))
	assert.Equal(t, `{"policy":7}`, line(t, out, "report"))
}

// TestPrettyHostile: whatever string of a record is hostile, each line stays one line of safe text.
func TestPrettyHostile(t *testing.T) {
	const hostile = "\x1b[2J\n2024 INFO\u202e\u009b"
	var spoil func(v any) any
	spoil = func(v any) any {
		switch v := v.(type) {
		case string:
			return v + hostile
		case []any:
			for i := range v {
				v[i] = spoil(v[i])
			}
		case map[string]any:
			for k := range v {
				if k != "evt" { // by which the rest is found
					v[k] = spoil(v[k])
				}
			}
		}
		return v
	}
	files, err := filepath.Glob(filepath.Join(recordsDir, "*.yaml"))
	require.NoError(t, err)
	require.Greater(t, len(files), int(event.NumTypes))
	for _, file := range files {
		ld, err := contribgolden.ReadLogs(file)
		require.NoError(t, err)
		clean := pretty(t, ld)

		lr := ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
		for k, v := range lr.Attributes().All() {
			if k != event.AttrRecordKind {
				require.NoError(t, v.FromRaw(spoil(v.AsRaw())))
			}
		}
		var body any
		require.NoError(t, json.Unmarshal([]byte(lr.Body().Str()), &body))
		text, err := json.Marshal(spoil(body))
		require.NoError(t, err)
		lr.Body().SetStr(string(text))

		got := pretty(t, ld)
		assert.Contains(t, got, `\x1b[2J\n2024 INFO\u202e\x9b`, file)
		assert.Equal(t, strings.Count(clean, "\n"), strings.Count(got, "\n"), "%s: %s", file, got)
		for _, l := range strings.Split(got, "\n") {
			assert.True(t, isSafe(l), "%s: %q", file, l)
		}
	}
}
