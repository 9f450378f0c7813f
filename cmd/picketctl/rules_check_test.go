// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// check runs `picketctl rules check` and returns exit code, output and error text.
func check(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	root := newRootCmd()
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(append([]string{"rules", "check"}, args...))
	code = run(t.Context(), root, &errs)
	return code, out.String(), errs.String()
}

func TestRulesCheck(t *testing.T) {
	dir := t.TempDir()
	put := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	good := put("good.policy", "version: 1.0.0\nrules:\n  - {id: a, expression: 'open.flags > 0'}\n  - {id: b, expression: 'open.flags > 0', disabled: true}\n")
	bad := put("bad.policy", "rules:\n  - id: a\n    expression: open.flags >\n  - {id: new, expression: 'open.flags > 0', agent_version: '>= 7.70'}\n")
	binary := put("binary.policy", "\x00")
	missing := filepath.Join(dir, "missing.policy")
	tests := []struct {
		name           string
		args           []string
		code           int
		stdout, stderr []string
	}{
		{
			name: "good", args: []string{good}, code: 0,
			stdout: []string{good + ": loaded, 1 rules loaded, 0 filtered, 1 disabled, 0 errors\n"},
		},
		{
			name: "bad", args: []string{bad}, code: 1,
			stdout: []string{
				"error: " + bad + ":3:", "rule \"a\": syntax error: ", "        expression: open.flags >\n", "^\n",
				bad + ": partially loaded, 1 rules loaded, 0 filtered, 0 disabled, 1 errors\n",
			},
		},
		{
			name: "older agent", args: []string{"--agent-version", "7.60.0", good, bad}, code: 1,
			stdout: []string{"1 filtered", `agent_version ">= 7.70" does not hold for 7.60.0`},
		},
		{name: "no policy", args: []string{binary}, code: 1, stdout: []string{"error: " + binary + ":1:1: not a text file"}},
		{name: "directory", args: []string{dir}, code: 1, stdout: []string{good, bad, binary}},
		{name: "missing", args: []string{missing}, code: 2, stderr: []string{"missing.policy: no such file or directory"}},
		{name: "no arguments", code: 2, stderr: []string{"rules check needs a policy file or a directory"}},
		{name: "format", args: []string{"--format", "xml", good}, code: 2, stderr: []string{`--format is "xml", it may be text or json`}},
		{name: "agent version", args: []string{"--agent-version", "new", good}, code: 2, stderr: []string{`--agent-version: agent version "new"`}},
		{name: "unknown flag", args: []string{"--nope", good}, code: 2, stderr: []string{"unknown flag: --nope"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := check(t, tt.args...)
			assert.Equal(t, tt.code, code, stdout+stderr)
			for _, want := range tt.stdout {
				assert.Contains(t, stdout, want)
			}
			for _, want := range tt.stderr {
				assert.Contains(t, stderr, want)
			}
			if tt.code != 2 {
				assert.Empty(t, stderr)
			}
		})
	}
}

func TestRulesCheckJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.policy")
	require.NoError(t, os.WriteFile(path, []byte("version: 1.0.0\nmacros:\n  - {id: M, values: [a]}\nrules:\n"+
		"  - {id: a, expression: 'open.flags > 0'}\n  - {id: b}\n"), 0o600))
	code, stdout, _ := check(t, "--format", "json", path)
	assert.Equal(t, 1, code)
	assert.JSONEq(t, `{"policies":[{"name":"a.policy","version":"1.0.0","path":`+quote(t, path)+`,"status":"partially_loaded","message":"",
		"macros":[{"id":"M","status":"loaded","message":"","line":3,"column":10}],
		"rules":[
			{"id":"a","status":"loaded","message":"","line":5,"column":10},
			{"id":"b","status":"error","message":"the rule has no expression","line":6,"column":10}]}]}`, stdout)
}

func quote(t *testing.T, s string) string {
	t.Helper()
	b, err := json.Marshal(s)
	require.NoError(t, err)
	return string(b)
}
