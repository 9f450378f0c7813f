// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter"
	contribgolden "github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/event"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const patience = 10 * time.Second

// picketctl runs the command with those arguments and returns what it printed and its exit code.
func picketctl(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	root := newRootCmd()
	var out, errOut bytes.Buffer
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errOut)
	code = run(t.Context(), root, &errOut)
	return out.String(), errOut.String(), code
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), got)
}

// lineOf makes a line as the collector's file exporter writes it, with one record for each Body.
func lineOf(t *testing.T, kind string, bodies ...string) string {
	t.Helper()
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("host.name", "web-1")
	records := rl.ScopeLogs().AppendEmpty().LogRecords()
	for _, body := range bodies {
		addRecord(records, kind, plog.SeverityNumberError, body)
	}
	b, err := (&plog.JSONMarshaler{}).MarshalLogs(ld)
	require.NoError(t, err)
	return string(b) + "\n"
}

func addRecord(records plog.LogRecordSlice, kind string, severity plog.SeverityNumber, body string) plog.LogRecord {
	lr := records.AppendEmpty()
	lr.SetTimestamp(pcommon.NewTimestampFromTime(time.Date(2024, 5, 2, 9, 31, 44, 120_553_184, time.UTC)))
	lr.SetSeverityNumber(severity)
	lr.Attributes().PutStr(event.AttrRecordKind, kind)
	lr.Body().SetStr(body)
	return lr
}

const execBody = `{"title":"Netcat was launched with a shell","agent":{"rule_id":"netcat_shell","policy_name":"default.policy","policy_version":"1.27.0"},` +
	`"evt":{"name":"exec","category":"Process Activity","outcome":"Success"},"file":{"path":"/usr/bin/nc.openbsd","uid":0,"gid":0},` +
	`"process":{"pid":4242,"ppid":4201,"uid":1000,"user":"app","comm":"nc","tty":"pts0","executable":{"path":"/usr/bin/nc.openbsd"},"argv0":"nc",` +
	`"args":["-e","/bin/sh","198.51.100.7","it's here"],"ancestors":[{"pid":4201,"comm":"sh"},{"pid":4150,"comm":"containerd-shim"}]},` +
	`"container":{"id":"9f1c0d"}}`

// situations are one record for each thing that a block shows.
func situations() plog.Logs {
	process := `"process":{"pid":7,"uid":0,"user":"root","comm":"sh","executable":{"path":"/bin/dash"},"args":["-c","x"],"args_truncated":true,` +
		`"ancestors":[{"pid":1,"comm":"init"}]}`
	body := func(name, outcome, members string) string {
		return fmt.Sprintf(`{"title":"T","agent":{"rule_id":"r"},"evt":{"name":%q,"outcome":%q},%s%s}`, name, outcome, members, process)
	}
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("host.name", "web-1")
	records := rl.ScopeLogs().AppendEmpty().LogRecords()
	add := func(severity plog.SeverityNumber, body string) plog.LogRecord {
		return addRecord(records, event.KindDetection, severity, body)
	}
	add(plog.SeverityNumberError, execBody)
	add(plog.SeverityNumberFatal, body("open", "Refused", `"file":{"path":"/etc/cron.d/x","flags":["O_WRONLY","O_CREAT"]},`))
	add(plog.SeverityNumberWarn, body("rename", "Success", `"file":{"path":"/tmp/a","destination":{"path":"/tmp/b"}},`))
	add(plog.SeverityNumberInfo2, body("chmod", "Success", `"file":{"path":"/tmp/a","destination":{"mode":2541,"uid":0,"gid":0}},`))
	add(plog.SeverityNumberInfo, body("chown", "Success", `"file":{"path":"/tmp/a","destination":{"uid":-1,"gid":50}},`))
	add(plog.SeverityNumberWarn, body("unlink", "Success", `"file":{"path":"/tmp/a"},`))
	add(plog.SeverityNumberWarn, body("connect", "Success",
		`"network":{"l4_protocol":"IP_PROTO_TCP","source":{"ip":"0.0.0.0","port":0},"destination":{"ip":"2001:db8::1","port":443}},`))
	add(plog.SeverityNumberWarn, body("connect", "Success", "")).Attributes().PutStr(event.AttrSocketPath, "/run/docker.sock")
	add(plog.SeverityNumberWarn, body("bind", "Success", `"bind":{"addr":{"family":"AF_INET","ip":"0.0.0.0","port":4444}},`))
	add(plog.SeverityNumberWarn, body("exit", "Success", `"exit":{"cause":"SIGNALED","code":9},`))
	add(plog.SeverityNumberWarn, body("syscalls", "", `"anomaly_detection_syscall":{"syscall":"ptrace"},`))
	add(plog.SeverityNumberWarn, body("open", "Success", "")) // without its file
	// Hostile text: cursor movement, a fake line, a bell, right-to-left override, C1 controls.
	add(plog.SeverityNumberError, `{"title":"a\u001b]0;owned\u0007b","agent":{"rule_id":"r\u009b2J"},"evt":{"name":"exec\r"},`+
		`"file":{"path":"/tmp/x\nINFO  all is well"},"process":{"pid":1,"user":"root\u202egnp","comm":"\u001b[2K","argv0":"a\u2028b","args":["\t","\\xff"]}}`)
	add(plog.SeverityNumberError, "not JSON \x1b[31m")
	add(plog.SeverityNumberError, `{"title":["wrong type"],"agent":{"rule_id":"still_shown"}}`)
	add(plog.SeverityNumberError, `{"title":"`+strings.Repeat("ä", 3000)+`"}`)
	report := addRecord(records, event.KindReport, plog.SeverityNumberInfo,
		`{"date":"2024-05-02T09:31:44Z","service":"runtime-security-agent","policies":[{"name":"a\u001b"}]}`)
	report.SetEventName("picket.ruleset_loaded")
	report = addRecord(records, event.KindReport, plog.SeverityNumberInfo,
		`{"title":"New ruleset loaded","agent":{"rule_id":"ruleset_loaded"},"policies":[{"name":"p","version":"1","status":"loaded",`+
			`"rules":[{"id":"a","status":"loaded"},{"id":"b","status":"loaded"},{"id":"c","status":"error","message":"no field opn"},`+
			`{"id":"d","status":"filtered"}]},{"name":"q","status":"error","message":"not YAML"}]}`)
	report.SetEventName("picket.ruleset_loaded")
	report = addRecord(records, event.KindReport, plog.SeverityNumberInfo,
		`{"title":"Events were lost","agent":{"rule_id":"lost_events"},"from":"2024-05-02T09:31:00Z","to":"2024-05-02T09:31:44Z","duration_ns":44000000000,`+
			`"lost_events":[{"type":"open","reason":"ring_full","count":7}]}`)
	report.SetEventName("picket.events_lost")
	report = addRecord(records, event.KindReport, plog.SeverityNumberInfo,
		body("custom_event", "", `"container":{"id":"9f1c0d"},"usr":{"id":"root"},"date":"2024-05-02T09:31:44Z","service":"runtime-security-agent",`))
	report.SetEventName("picket.io_uring_used")
	plain := addRecord(records, event.KindEvent, plog.SeverityNumberInfo, body("mkdir", "Success", `"file":{"path":"/d"},`))
	plain.SetEventName("file.mkdir")
	foreign := records.AppendEmpty()
	foreign.Body().SetStr("of another receiver")
	addRecord(records, event.KindDetection, plog.SeverityNumberError, "").Body().SetInt(1)
	return ld
}

func printAll(t *testing.T, pretty, colour, events bool) string {
	t.Helper()
	var out bytes.Buffer
	p := newPrinter(&out, pretty, colour)
	p.zone = time.UTC
	r := &logReader{printer: p, events: events}
	require.NoError(t, r.print(situations()))
	require.NoError(t, p.flush())
	return out.String()
}

func TestPretty(t *testing.T) {
	plain := printAll(t, true, false, true)
	golden(t, "pretty.golden", plain)
	for _, line := range strings.Split(plain, "\n") {
		assert.True(t, isSafe(line), "%q", line)
	}
	coloured := printAll(t, true, true, true)
	golden(t, "colour.golden", coloured)
	// The only controls are the styles that this command writes.
	for _, style := range append([]string{styleReset, styleDim, styleBold}, severityStyles[:]...) {
		coloured = strings.ReplaceAll(coloured, style, "")
	}
	assert.Equal(t, plain, coloured)
}

func TestJSON(t *testing.T) {
	out := printAll(t, false, false, false)
	golden(t, "json.golden", out)
	for _, line := range strings.Split(out, "\n") {
		assert.True(t, isSafe(line), "%q", line)
	}
	assert.True(t, strings.HasPrefix(out, execBody+"\n"), "a Body is printed as it is")
}

func TestSanitizeJSONKeepsTheValue(t *testing.T) {
	in := "{\"a\":\"\x7f\u009b31m \u202eb \U000e0041\",\n\t\"b\":\"\\u001b\"}"
	out := sanitizeJSON(in)
	assert.True(t, isSafe(out))
	assert.JSONEq(t, in, out)
}

func FuzzSanitize(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b[2J\u009b\x7f", "\xff\xfe", "\u202e\u2028\U000e0041", `{"a":"b"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if out := sanitize(s); !isSafe(out) {
			t.Fatalf("%q", out)
		}
		out := sanitizeJSON(s)
		if !isSafe(out) {
			t.Fatalf("%q", out)
		}
		if json.Valid([]byte(s)) != json.Valid([]byte(out)) && json.Valid([]byte(s)) {
			t.Fatalf("%q became %q", s, out)
		}
	})
}

func FuzzLine(f *testing.F) {
	line, err := (&plog.JSONMarshaler{}).MarshalLogs(situations())
	require.NoError(f, err)
	f.Add(line)
	records, err := filepath.Glob(filepath.Join(recordsDir, "*.yaml"))
	require.NoError(f, err)
	require.NotEmpty(f, records)
	for _, file := range records {
		ld, err := contribgolden.ReadLogs(file)
		require.NoError(f, err)
		line, err := (&plog.JSONMarshaler{}).MarshalLogs(ld)
		require.NoError(f, err)
		f.Add(line)
	}
	f.Add([]byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"{}"}}]}]}]}`))
	f.Add([]byte(`{"resourceMetrics":[]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		for _, pretty := range []bool{true, false} {
			var out, errOut bytes.Buffer
			r := &logReader{printer: newPrinter(&out, pretty, false), events: true, stderr: &errOut}
			l := r.lines(func() {})
			l.write(line)
			l.finish()
			if err := r.printer.flush(); err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{out.String(), errOut.String()} {
				if !isSafe(strings.ReplaceAll(text, "\n", "")) {
					t.Fatalf("%q", text)
				}
			}
		}
	})
}

func TestLogsCommand(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "logs.json")
	two := lineOf(t, event.KindDetection, `{"n":1}`, `{"n":2}`)
	content := two + lineOf(t, event.KindEvent, `{"n":3}`) + lineOf(t, event.KindReport, `{"n":4}`)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	bad := filepath.Join(dir, "bad.json")
	require.NoError(t, os.WriteFile(bad, []byte(two+"{\"resourceLogs\": \x1b\n\n"+strings.TrimSuffix(two, "\n")), 0o600))

	tests := []struct {
		name   string
		stdin  string
		args   []string
		stdout string
		stderr string // part of it
		code   int
	}{
		{"file", "", []string{"logs", "--follow=false", path}, "{\"n\":1}\n{\"n\":2}\n{\"n\":4}\n", "", 0},
		{"events too", "", []string{"logs", "--follow=false", "--events", path}, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n", "", 0},
		{"standard input", content, []string{"logs", "-"}, "{\"n\":1}\n{\"n\":2}\n{\"n\":4}\n", "", 0},
		{"no argument, a pipe", content, []string{"logs"}, "{\"n\":1}\n{\"n\":2}\n{\"n\":4}\n", "", 0},
		{"empty", "", []string{"logs", "-"}, "", "", 0},
		{"other signals", `{"resourceMetrics":[]}` + "\n", []string{"logs", "-"}, "", "", 0},
		{"a bad line between good ones", "", []string{"logs", "--follow=false", bad}, strings.Repeat("{\"n\":1}\n{\"n\":2}\n", 2), bad + ":2: not a batch of logs in OTLP JSON", 1},
		{"no file", "", []string{"logs", "--follow=false", filepath.Join(dir, "none")}, "", "no such file", 1},
		{"a directory", "", []string{"logs", dir}, "", "is a directory", 1},
		{"format", "", []string{"logs", "--format", "xml", path}, "", `must be one of auto, pretty, json (try 'picketctl logs --help')`, 2},
		{"two files", "", []string{"logs", path, path}, "", "unexpected argument", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := picketctl(t, tt.stdin, tt.args...)
			assert.Equal(t, tt.stdout, stdout)
			assert.Contains(t, stderr, tt.stderr)
			if tt.stderr == "" {
				assert.Empty(t, stderr)
			}
			assert.Equal(t, tt.code, code)
			assert.NotContains(t, stderr, "\x1b")
		})
	}
}

// The collector's own file exporter writes what the command reads.
func TestFileExporter(t *testing.T) {
	factory := fileexporter.NewFactory()
	cfg := factory.CreateDefaultConfig().(*fileexporter.Config)
	cfg.Path = filepath.Join(t.TempDir(), "logs.json")
	e, err := factory.CreateLogs(t.Context(), exportertest.NewNopSettings(factory.Type()), cfg)
	require.NoError(t, err)
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, e.ConsumeLogs(t.Context(), situations()))
	require.NoError(t, e.ConsumeLogs(t.Context(), situations()))
	require.NoError(t, e.Shutdown(t.Context()))

	stdout, stderr, code := picketctl(t, "", "logs", "--follow=false", cfg.Path)
	assert.Equal(t, strings.Repeat(printAll(t, false, false, false), 2), stdout)
	assert.Empty(t, stderr)
	assert.Zero(t, code)
}

func TestUseColour(t *testing.T) {
	tests := []struct {
		choice   string
		terminal bool
		env      map[string]string
		want     bool
	}{
		{"auto", true, nil, true},
		{"auto", false, nil, false},
		{"auto", true, map[string]string{"NO_COLOR": "1"}, false},
		{"auto", true, map[string]string{"TERM": "dumb"}, false},
		{"always", false, map[string]string{"NO_COLOR": "1"}, true},
		{"never", true, nil, false},
	}
	for _, tt := range tests {
		got := useColour(tt.choice, tt.terminal, func(k string) string { return tt.env[k] })
		assert.Equal(t, tt.want, got, "%+v", tt)
	}
}

func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs.json")
	var (
		out, errOut collectortest.Buffer
		looks       atomic.Int64
	)
	ctx, cancel := context.WithCancel(t.Context())
	r := &logReader{name: path, printer: newPrinter(&out, false, false), stderr: &errOut}
	tl := &tail{
		path: path, follow: true, interval: time.Millisecond, lines: r.lines(cancel),
		idle: func() {
			r.flush(cancel)
			looks.Add(1)
		},
		missing: func() { fmt.Fprintln(&errOut, "waiting") },
	}
	done := make(chan error)
	go func() { done <- r.finish(tl.run(ctx)) }()

	want := ""
	expect := func(more string) {
		t.Helper()
		want += more
		require.Eventually(t, func() bool { return out.String() == want }, patience, time.Millisecond, "have %q", out.String())
	}
	appendTo := func(text string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		require.NoError(t, err)
		_, err = f.WriteString(text)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	line := func(n int) string { return lineOf(t, event.KindDetection, fmt.Sprintf(`{"n":%d}`, n)) }

	require.Eventually(t, func() bool { return errOut.String() == "waiting\n" }, patience, time.Millisecond)
	appendTo(line(1)) // the file appears
	expect("{\"n\":1}\n")
	appendTo(line(2) + line(3)[:20]) // a partial line waits for its end
	expect("{\"n\":2}\n")
	appendTo(line(3)[20:])
	expect("{\"n\":3}\n")

	require.NoError(t, os.Rename(path, path+".1")) // rotation
	appendTo(line(4))
	expect("{\"n\":4}\n")

	require.NoError(t, os.Truncate(path, 0)) // a collector that starts again
	// A file that has grown to its old size again cannot be told from one that was not truncated: wait until there was a look.
	before := looks.Load()
	require.Eventually(t, func() bool { return looks.Load() >= before+2 }, patience, time.Millisecond)
	appendTo(line(5))
	expect("{\"n\":5}\n")

	cancel()
	require.NoError(t, <-done)
	assert.Equal(t, "waiting\n", errOut.String())
}

func TestLines(t *testing.T) {
	input := "one\n\n  two  \nthree\r\n" + strings.Repeat("x", 30) + "\nfour\n" + strings.Repeat("y", 40)
	want := []string{"1:one", "3:two", "4:three", "5:too long", "6:four", "7:too long"}
	for size := 1; size <= len(input); size++ {
		var got []string
		l := &lines{
			limit:   16,
			handle:  func(n int, line []byte) { got = append(got, fmt.Sprintf("%d:%s", n, line)) },
			tooLong: func(n int) { got = append(got, fmt.Sprintf("%d:too long", n)) },
		}
		for rest := []byte(input); len(rest) > 0; {
			n := min(size, len(rest))
			l.write(rest[:n])
			rest = rest[n:]
		}
		l.finish()
		require.Equal(t, want, got, "in pieces of %d", size)
		l.finish()
		require.Equal(t, want, got)
	}
}

// failingWriter is a pipe whose reader is gone.
type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestOutputFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs.json")
	require.NoError(t, os.WriteFile(path, []byte(lineOf(t, event.KindDetection, `{}`)), 0o600))
	r := &logReader{name: path, printer: newPrinter(failingWriter{}, false, false), stderr: failingWriter{}}
	require.ErrorContains(t, r.file(t.Context(), path, true), "broken pipe") // and it does not follow for ever
}

func TestRoot(t *testing.T) {
	stdout, _, code := picketctl(t, "", "--version")
	assert.Zero(t, code)
	assert.Regexp(t, `^picketctl \S+\n$`, stdout)
	stdout, _, code = picketctl(t, "", "version")
	assert.Zero(t, code)
	assert.Regexp(t, `^picketctl \S+ go\S+ \w+/\w+\n$`, stdout)
	stdout, _, code = picketctl(t, "", "--help")
	assert.Zero(t, code)
	assert.Contains(t, stdout, "logs ")
	_, stderr, code := picketctl(t, "", "nosuch")
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, `picketctl: unknown command "nosuch"`)
	stdout, _, code = picketctl(t, "", "completion", "bash")
	assert.Zero(t, code)
	assert.Contains(t, stdout, "__start_picketctl")
	stdout, _, _ = picketctl(t, "", "__complete", "logs", "--format", "")
	assert.Contains(t, stdout, "auto\npretty\njson\n")
}

func TestExitCodes(t *testing.T) {
	tests := []struct {
		err    error
		code   int
		stderr string
	}{
		{nil, 0, ""},
		{errors.New("x"), 1, "picketctl: x\n"},
		{exitError{code: 2, err: errors.New("y")}, 2, "picketctl: y\n"},
		{fmt.Errorf("z: %w", exitError{code: 3, err: errors.New("y")}), 3, "picketctl: z: y\n"},
		{exitError{code: 4}, 4, ""},
	}
	for _, tt := range tests {
		root := newRootCmd()
		cmd := newVersionCmd()
		cmd.Use = "fail"
		cmd.RunE = func(*cobra.Command, []string) error { return tt.err }
		root.AddCommand(cmd)
		root.SetArgs([]string{"fail"})
		var stderr bytes.Buffer
		assert.Equal(t, tt.code, run(t.Context(), root, &stderr))
		assert.Equal(t, tt.stderr, stderr.String())
	}
}
