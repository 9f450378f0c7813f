// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	unformatted = "rules:\n- expression: open.flags>0\n  id: a # why\n"
	formatted   = "rules:\n  - id: a  # why\n    expression: open.flags > 0\n"
)

func runFmt(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	root := newRootCmd()
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(append([]string{"rules", "fmt"}, args...))
	code = run(t.Context(), root, &errs)
	return code, out.String(), errs.String()
}

func TestRulesFmt(t *testing.T) {
	dir := t.TempDir()
	put := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	good := put("good.policy", formatted)
	ugly := put("ugly.policy", unformatted)
	crlf := put("crlf.policy", strings.ReplaceAll(formatted, "\n", "\r\n"))
	broken := put("broken/a.policy", "rules:\n  - id: a\n    expression: open.flags >\n")
	noYAML := put("broken/b.policy", "rules: [")
	put("broken/c.policy", unformatted)
	put("none/readme", "")
	missing := filepath.Join(dir, "missing.policy")
	change := "@@ -1,3 +1,3 @@\n rules:\n-- expression: open.flags>0\n-  id: a # why\n+  - id: a  # why\n+    expression: open.flags > 0\n"
	lineBreak := "@@ -1,3 +1,3 @@\n rules:\n   - id: a  # why\n-    expression: open.flags > 0\n\\ No newline at end of file\n+    expression: open.flags > 0\n"
	tests := []struct {
		name, stdin string
		args        []string
		code        int
		stdout      string
		stderr      []string
	}{
		{name: "file", args: []string{ugly}, stdout: formatted},
		{name: "two files", args: []string{ugly, good}, stdout: formatted + formatted},
		{name: "standard input", stdin: unformatted, stdout: formatted},
		{name: "dash", args: []string{"-"}, stdin: unformatted, stdout: formatted},
		{name: "list", args: []string{"-l", dir}, code: 1, stdout: crlf + "\n" + ugly + "\n"},
		{name: "list of none", args: []string{"--list", good}},
		{name: "list of standard input", args: []string{"-l"}, stdin: unformatted, code: 1, stdout: "<standard input>\n"},
		{name: "diff", args: []string{"-d", ugly, good}, code: 1, stdout: "--- " + ugly + ".orig\n+++ " + ugly + "\n" + change},
		{
			name: "diff of a text without a line break at its end", args: []string{"--diff"}, stdin: strings.TrimSuffix(formatted, "\n"), code: 1,
			stdout: "--- <standard input>.orig\n+++ <standard input>\n" + lineBreak,
		},
		{name: "diff of none", args: []string{"--diff"}, stdin: formatted},
		{name: "list and diff", args: []string{"-ld"}, stdin: unformatted, code: 1, stdout: "<standard input>\n--- <standard input>.orig\n+++ <standard input>\n" + change},
		{
			name: "mistakes", args: []string{filepath.Dir(broken)}, code: 1, stdout: formatted,
			stderr: []string{
				"error: " + broken + ":3:29: syntax error: unexpected end of the expression", "        expression: open.flags >\n", "^\n",
				"error: " + noYAML + ":1:8: not valid YAML",
			},
		},
		{name: "mistake in standard input", stdin: "rules: [", code: 1, stderr: []string{"picketctl: <standard input>:1:8: not valid YAML", "    rules: [\n"}},
		{name: "empty", stdin: "", code: 1, stderr: []string{"picketctl: <standard input>: the file is empty\n"}},
		{name: "missing", args: []string{good, missing}, code: 2, stderr: []string{"missing.policy: cannot stat: no such file or directory"}},
		{name: "directory without policies", args: []string{filepath.Join(dir, "none")}, code: 2, stderr: []string{"the directory has no *.policy file"}},
		{name: "write to standard input", args: []string{"-w", "-"}, code: 2, stderr: []string{"--write needs a file"}},
		{name: "standard input and a file", args: []string{good, "-"}, code: 2, stderr: []string{"cannot be formatted in one run"}},
		{name: "unknown flag", args: []string{"--nope"}, code: 2, stderr: []string{"unknown flag: --nope"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := runFmt(t, tt.stdin, tt.args...)
			assert.Equal(t, tt.code, code, stderr)
			assert.Equal(t, tt.stdout, stdout)
			for _, want := range tt.stderr {
				assert.Contains(t, stderr, want)
			}
			if len(tt.stderr) == 0 {
				assert.Empty(t, stderr)
			}
		})
	}
	content, err := os.ReadFile(ugly)
	require.NoError(t, err)
	assert.Equal(t, unformatted, string(content), "nothing is written without --write")
}

func TestRulesFmtWrite(t *testing.T) {
	dir := t.TempDir()
	path, link, broken := filepath.Join(dir, "a.policy"), filepath.Join(dir, "link.policy"), filepath.Join(dir, "z.policy")
	require.NoError(t, os.WriteFile(path, []byte(unformatted), 0o600))
	require.NoError(t, os.Chmod(path, 0o640))
	require.NoError(t, os.Symlink("a.policy", link))
	const mistake = "rules:\n- id:   a\n  expression: open.flags >\n"
	require.NoError(t, os.WriteFile(broken, []byte(mistake), 0o600))

	code, stdout, stderr := runFmt(t, "", "-w", link, broken)
	assert.Equal(t, 1, code)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, broken+":3:27: syntax error")

	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, formatted, string(content))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode())
	target, err := os.Readlink(link)
	require.NoError(t, err)
	assert.Equal(t, "a.policy", target)
	content, err = os.ReadFile(broken)
	require.NoError(t, err)
	assert.Equal(t, mistake, string(content), "left alone")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 3, "no temporary file is left")

	before := info.ModTime()
	code, stdout, stderr = runFmt(t, "", "-w", "-l", path)
	assert.Equal(t, 0, code)
	assert.Empty(t, stdout+stderr)
	info, err = os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, before, info.ModTime(), "a file that is formatted is not written")

	require.NoError(t, os.WriteFile(path, []byte(unformatted), 0o600))
	code, stdout, _ = runFmt(t, "", "-w", "-l", path)
	assert.Equal(t, 0, code, "it is formatted now")
	assert.Equal(t, path+"\n", stdout)
}

func TestRulesFmtCompletion(t *testing.T) {
	var out bytes.Buffer
	root := newRootCmd()
	root.SetOut(&out)
	root.SetErr(&bytes.Buffer{})
	root.SetArgs([]string{"__complete", "rules", "fmt", ""})
	require.NoError(t, root.Execute())
	assert.Equal(t, "policy\n:8\n", out.String())
}
