// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRulesExpr(t *testing.T) {
	const event = `{"type":"open","open.file.path":"/etc/shadow"}`
	for _, tt := range []struct {
		name           string
		args           []string
		stdout, stderr string
		code           int
	}{
		{"match", []string{`open.file.path == "/etc/shadow"`, "--event", event}, "true\n", "", 0},
		{"no match", []string{`open.file.path == "/etc/passwd"`, "--event", event}, "false\n", "", 1},
		{"other type", []string{`unlink.file.path == "/etc/shadow"`, "--event", event}, "false\n", "", 1},
		{"no event", []string{`process.pid == 0`}, "true\n", "", 0},
		{
			"does not compile",
			[]string{`open.file.pth == "/etc/shadow"`, "--event", event},
			"",
			"picketctl: rule compilation error: 1:1: field \"open.file.pth\" not found (did you mean \"open.file.path\"?)\n" +
				"  open.file.pth == \"/etc/shadow\"\n  ^\n", 2,
		},
		{"does not parse", []string{`a -1`}, "", "picketctl: rule syntax error: 1:3: unexpected token \"-1\"", 2},
		{"bad event", []string{`process.pid == 0`, "--event", `{"nix":1}`}, "", "picketctl: unknown field \"nix\"\n", 2},
		{"no type", []string{`open.flags == 0`, "--event", `{}`}, "", "the event has no type, and the expression is about open events", 2},
		{"no expression", nil, "", "needs an expression", 2},
		{"both", []string{"true", "--batch", "x"}, "", "--batch takes its expressions", 2},
		{"no file", []string{"--batch", "/does/not/exist"}, "", "cannot read the input", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := picketctl(t, "", append([]string{"rules", "expr"}, tt.args...)...)
			assert.Equal(t, tt.stdout, stdout)
			assert.Contains(t, stderr, tt.stderr)
			assert.Equal(t, tt.code, code)
			if tt.stderr == "" {
				assert.Empty(t, stderr)
			}
		})
	}
}

func TestRulesExprBatch(t *testing.T) {
	cases := []struct{ in, out string }{
		{`{"expr":"open.flags & O_CREAT > 0","event":{"type":"open","open.flags":"O_RDWR|O_CREAT"}}`, `{"result":true}`},
		{`{"expr":"process.comm in SHELLS && M","event":{"process.comm":"sh"},"macros":[{"id":"M","expression":"process.pid == 0"},{"id":"SHELLS","values":["bash","~\"s*\""]}]}`, `{"result":true}`},
		{`{"expr":"${n} == 2 && ${process.s} == \"x\" && process.pid in ${l} && ${b}","event":{"process.pid":5},"variables":{"n":2,"process.s":"x","l":[4,5],"b":true}}`, `{"result":true}`},
		{`{"expr":"connect.addr.ip in ${l} && connect.addr.ip == ${a} && ${a2} == \"1.2.3.4\"","event":{"type":"connect","connect.addr.ip":"10.1.1.1"},"variables":{"l":["10.0.0.0/8"],"a":"10.1.1.1","a2":"1.2.3.4"}}`, `{"result":true}`},
		{`{"expr":"process.pid not in ${l} && process.comm not in ${m}","event":{"process.pid":5},"variables":{"l":[],"m":[]}}`, `{"result":true}`},
		{`{"expr":"\"a${n}b\" == \"a2b\"","event":{},"variables":{"n":2}}`, `{"result":true}`},
		{`{"expr":"process.created_at < 10s","event":{"process.created_at":"now-5s"},"id":"ignored"}`, `{"result":true}`},
		{`{"expr":"process.created_at < 10s","event":{"event.timestamp":20000000000,"process.created_at":9000000000}}`, `{"result":false}`},
		{`{"expr":"process.pid == 0"}`, `{"result":true}`},
		{`{"expr":"a -1","event":{}}`, `{"error":{"kind":"parse","message":"rule syntax error: 1:3: unexpected token \"-1\", expected an operator or the end of the expression (a sign right before digits belongs to the number: write - 1)"}}`},
		{`{"expr":"process.pid > \"x\"","event":{}}`, `{"error":{"kind":"compile","message":"rule compilation error: 1:15: this is of type string, expected int (write it without quotes)"}}`},
		{`{"expr":"M","event":{},"macros":[{"id":"M","expression":"=="}]}`, `{"error":{"kind":"parse","message":"rule syntax error: 1:1: in macro \"M\" at 1:1: unexpected token \"=\", expected a field, a value or ("}}`},
		{`{"expr":"true","event":{},"macros":[{"id":"M","expression":"nix"}]}`, `{"error":{"kind":"compile","message":"rule compilation error: 1:1: macro \"M\": field \"nix\" not found"}}`},
		{`{"expr":"${x} == 1","event":{}}`, `{"error":{"kind":"compile","message":"rule compilation error: 1:1: variable \"x\" is not declared: no rule sets it"}}`},
		{`{"expr":"process.pid == 1","event":{"process.pid":"x"}}`, `{"error":{"kind":"event","message":"field \"process.pid\": \"x\" is neither a constant nor an integer of 64 bits"}}`},
		{`{"expr":"process.pid == 1","event":[]}`, `{"error":{"kind":"event","message":"the event is no JSON object: json: cannot unmarshal array into Go value of type map[string]interface {}"}}`},
		{`{"expr":"exec.pid == 1","event":{"process.pid":1}}`, `{"error":{"kind":"event","message":"the event has no type, and the expression is about exec events"}}`},
		{`{"event":{}}`, `{"error":{"kind":"input","message":"the line has no \"expr\""}}`},
		{``, `{"error":{"kind":"input","message":"the line is no JSON object"}}`},
		{`[]`, `{"error":{"kind":"input","message":"the line is no JSON object"}}`},
		{`{"expr":"true"} x`, `{"error":{"kind":"input","message":"the JSON object is followed by something else"}}`},
		{`{"expr":"true","variables":{"x":1.5}}`, `{"error":{"kind":"input","message":"variable \"x\": 1.5 is no integer of 64 bits"}}`},
		{`{"expr":"true","variables":{"x":[1,"a"]}}`, `{"error":{"kind":"input","message":"variable \"x\": a list holds integers or strings, not both"}}`},
		{`{"expr":"true","macros":[{"id":"M","expression":"true"},{"id":"M","expression":"true"}]}`, `{"error":{"kind":"input","message":"there are two macros \"M\""}}`},
		{`{"expr":"true","macros":[{"id":"M"}]}`, `{"error":{"kind":"input","message":"macro \"M\" has neither an expression nor values"}}`},
		{`{"expr":"process.comm == \"<&>\"","event":{"process.comm":"<&>"}}`, `{"result":true}`},
	}
	var in, want strings.Builder
	for _, c := range cases {
		in.WriteString(c.in + "\n")
		want.WriteString(c.out + "\n")
	}
	stdout, stderr, code := picketctl(t, in.String(), "rules", "expr", "--batch", "-")
	assert.Zero(t, code)
	assert.Empty(t, stderr)
	got := strings.Split(stdout, "\n")
	require.Len(t, got, len(cases)+1)
	for i, c := range cases {
		assert.Equal(t, c.out, got[i], c.in)
	}

	path := filepath.Join(t.TempDir(), "cases.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(in.String()+`{"expr":"1 == 1"}`), 0o600)) // no line break at the end
	stdout, _, code = picketctl(t, "", "rules", "expr", "--batch", path)
	assert.Zero(t, code)
	assert.Equal(t, want.String()+"{\"result\":true}\n", stdout)

	stdout, _, _ = picketctl(t, strings.Repeat("x", maxBatchLine+1)+"\n"+`{"expr":"1 == 1"}`, "rules", "expr", "--batch", "-")
	//nolint:testifylint // two lines, and their text is what counts
	assert.Equal(t, `{"error":{"kind":"input","message":"the line has more than 16777216 bytes"}}`+"\n"+`{"result":true}`+"\n", stdout)
}
