// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const testPolicy = `rules:
  - id: shadow_read
    expression: open.file.path == "/etc/shadow"
  - id: shadow_after_tmp
    expression: open.file.path == "/etc/shadow" && ${process.tmp}
  - id: tmp_exec
    expression: exec.file.path =~ "/tmp/*"
    actions:
      - set: {name: tmp, value: true, scope: process}
  - {id: older, expression: 'open.flags == 7', agent_version: '< 7.70'}
`

const passingTests = `policies: [a.policy]
tests:
  - name: direct
    events: [{type: open, open.file.path: /etc/shadow, process.pid: 7}]
    matches: [shadow_read]
  - name: by steps
    events:
      - event: {type: exec, exec.file.path: /tmp/x, process.pid: 0x7}
        matches: [tmp_exec]
      - {type: open, open.file.path: /etc/shadow, process.pid: 7}
    matches: [shadow_after_tmp, shadow_read]
  - name: state is fresh
    events: [{type: open, open.file.path: /etc/shadow, process.pid: 7}]
    includes: [shadow_read]
    excludes: [shadow_after_tmp, older]
  - name: records
    events:
      - csm_threats: '{"evt":{"name":"open"},"file":{"path":"/etc/shadow"}}'
      - event:
          csm_threats: {evt: {name: open}, file: {path: /etc/passwd}}
        matches: []
`

func testDir(t *testing.T, tests string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.policy"), []byte(testPolicy), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a_test.yaml"), []byte(tests), 0o600))
	return dir
}

func TestRulesTest(t *testing.T) {
	const failing = `policies: [a.policy]
tests:
  - name: wrong
    events:
      - event: {type: exec, exec.file.path: /tmp/x, process.pid: 7}
        matches: []
      - {type: open, open.file.path: /etc/passwd, process.pid: 7}
    matches: [shadow_read, shadow_after_tmp]
  - name: "included \e[2J"
    events: [{type: open, open.file.path: /etc/shadow}]
    includes: [shadow_after_tmp]
    excludes: [shadow_read]
  - name: no field
    events: [{type: open, open.file.pth: /etc/shadow}]
    matches: []
`
	seconds := regexp.MustCompile(`\(\d+\.\d\ds\)`)
	for _, tt := range []struct {
		name, tests    string
		args           []string
		stdout, stderr string
		code           int
	}{
		{
			"pass", passingTests, nil,
			"ok    DIR/a_test.yaml  (4 tests)\ncoverage: the tests match 3 of 3 rules\n", "", 0,
		},
		{
			"verbose", passingTests,
			[]string{"-v", "--run", "^d|fresh", "--coverage"},
			"--- PASS: direct (TIME)\n--- PASS: state is fresh (TIME)\nok    DIR/a_test.yaml  (2 tests)\n" +
				"no test matches: DIR/a.policy:4: shadow_after_tmp\nno test matches: DIR/a.policy:6: tmp_exec\n" +
				"coverage: the tests match 1 of 3 rules\n", "", 0,
		},
		{
			"fail", failing, nil,
			"--- FAIL: wrong (TIME)\n" +
				"    DIR/a_test.yaml:6:18: event 1: expected matches [], got [tmp_exec]; unexpected: tmp_exec\n" +
				"    DIR/a_test.yaml:8:14: event 2: expected matches [shadow_after_tmp, shadow_read], got []; missing: shadow_after_tmp, shadow_read\n" +
				"--- FAIL: included \\x1b[2J (TIME)\n" +
				"    DIR/a_test.yaml:12:15: expected includes [shadow_after_tmp], got [shadow_read]; missing: shadow_after_tmp; excluded: shadow_read\n" +
				"--- FAIL: no field (TIME)\n" +
				"    DIR/a_test.yaml:14:14: unknown field \"open.file.pth\"\n" +
				"FAIL  DIR/a_test.yaml  (3 of 3 tests)\ncoverage: the tests match 2 of 3 rules\n", "", 1,
		},
		{"no test of that name", passingTests, []string{"--run", "nix"}, "ok    DIR/a_test.yaml  (0 tests)\ncoverage: the tests match 0 of 3 rules\n", `no test has a name that matches --run "nix"`, 2},
		{"format", passingTests, []string{"--format", "xml"}, "", `--format is "xml", it may be text or junit`, 2},
		{"regexp", passingTests, []string{"--run", "("}, "", "--run: error parsing regexp", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := testDir(t, tt.tests)
			stdout, stderr, code := picketctl(t, "", append([]string{"rules", "test", dir}, tt.args...)...)
			got := seconds.ReplaceAllString(strings.ReplaceAll(stdout, dir, "DIR"), "(TIME)")
			assert.Equal(t, tt.stdout, got)
			assert.Contains(t, stderr, tt.stderr)
			assert.Equal(t, tt.code, code)
		})
	}
}

func TestRulesTestMistakes(t *testing.T) {
	const head = "policies: [a.policy]\ntests:\n"
	const events = "events: [{type: open}]"
	for _, tt := range []struct{ name, tests, stdout string }{
		{"unknown key", "polices: [a.policy]\ntests: []\n", `a_test.yaml:1:1: unknown key "polices"; did you mean "policies"?`},
		{"no policies", "tests: []\n", "a_test.yaml:1:1: policies is missing"},
		{"no tests", "policies: [a.policy]\n", "a_test.yaml:1:1: tests is missing"},
		{"unknown key of a test", head + "  - {name: a, " + events + ", matchs: []}\n", `a_test.yaml:3:39: unknown key "matchs"; did you mean "matches"?`},
		{"unknown key of an event", head + "  - {name: a, events: [{event: {type: open}, matches: [], nix: 1}]}\n", `a_test.yaml:3:59: unknown key "nix"`},
		{"no name", head + "  - {" + events + ", matches: []}\n", "the test has no name"},
		{"no events", head + "  - {name: a, matches: []}\n", "the test has no events"},
		{"empty events", head + "  - {name: a, events: [], matches: []}\n", "the test has no events"},
		{"nothing expected", head + "  - {name: a, " + events + "}\n", "the test expects nothing"},
		{"two expectations", head + "  - {name: a, events: [{event: {type: open}, matches: []}], matches: []}\n", "the last event has an expectation of its own"},
		{"matches and includes", head + "  - {name: a, " + events + ", matches: [], includes: []}\n", "matches says all"},
		{"two of a name", head + "  - {name: a, " + events + ", matches: []}\n  - {name: a, " + events + ", matches: []}\n", `a_test.yaml:4:5: there are two tests named "a"`},
		{"misspelt rule", head + "  - {name: a, " + events + ", excludes: [shadow_raed]}\n", `a_test.yaml:3:50: the policies have no rule "shadow_raed"; did you mean "shadow_read"?`},
		{"filtered rule", head + "  - {name: a, " + events + ", includes: [older]}\n", `rule "older" is not loaded, it is filtered`},
		{"no such policy", "policies: [nix.policy]\ntests: []\n", "a_test.yaml:1:12: cannot read the policies: "},
		{"version", "agent_version: x\n" + head, `a_test.yaml:1:16: agent version "x"`},
		{"no mapping", "- a\n", "not a test file"},
		{"empty", "", "not a test file"},
		{"no YAML", "a: [\n", "not valid YAML"},
		{"event is a text", head + "  - {name: a, events: [open], matches: []}\n", "an event must be a mapping of fields to values, it is a value"},
		{"field twice", head + "  - {name: a, events: [{type: open, type: exec}], matches: []}\n", `key "type" is there twice`},
		{"integer", head + "  - {name: a, events: [{type: open, open.flags: 18446744073709551615}], matches: []}\n", "integer 18446744073709551615 is out of range"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, _, code := picketctl(t, "", "rules", "test", testDir(t, tt.tests))
			assert.Equal(t, 2, code, stdout)
			assert.Contains(t, stdout, tt.stdout)
			assert.Contains(t, stdout, "(cannot be read)\n")
		})
	}

	_, stderr, code := picketctl(t, "", "rules", "test", t.TempDir())
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, "has no *_test.yaml file")
	_, stderr, code = picketctl(t, "", "rules", "test")
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, "rules test needs a file")
	_, _, code = picketctl(t, "", "rules", "test", "/does/not/exist")
	assert.Equal(t, 2, code)
}

// TestRulesTestAliases has an event that aliases make much larger than its file.
func TestRulesTestAliases(t *testing.T) {
	var b strings.Builder
	b.WriteString("policies: [a.policy]\ntests:\n  - name: a\n    events:\n      - type: open\n        a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		n, m := string(rune('a'+i)), string(rune('a'+i-1))
		if i == 1 {
			m = "a0"
		}
		b.WriteString("        " + n + ": &" + n + " [" + strings.TrimSuffix(strings.Repeat("*"+m+", ", 10), ", ") + "]\n")
	}
	b.WriteString("    matches: []\n")
	stdout, _, code := picketctl(t, "", "rules", "test", testDir(t, b.String()))
	assert.Equal(t, 2, code)
	assert.Contains(t, stdout, "the event has more than 1048576 bytes")
}

func TestRulesTestJUnit(t *testing.T) {
	dir := testDir(t, "policies: [a.policy]\ntests:\n  - name: <good>\n    events: [{type: open}]\n    matches: []\n"+
		"  - name: bad\n    events: [{type: open}]\n    matches: [shadow_read]\n")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "b_test.yaml"), []byte("nix: 1\n"), 0o600))
	stdout, _, code := picketctl(t, "", "rules", "test", "--format", "junit", dir)
	assert.Equal(t, 2, code)
	got := regexp.MustCompile(`time="[\d.]+"`).ReplaceAllString(strings.ReplaceAll(stdout, dir, "DIR"), `time="T"`)
	want := `<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="3" failures="1" errors="1">
  <testsuite name="DIR/a_test.yaml" tests="2" failures="1" errors="0" time="T">
    <testcase name="&lt;good&gt;" classname="DIR/a_test.yaml" time="T"></testcase>
    <testcase name="bad" classname="DIR/a_test.yaml" time="T">
      <failure message="expected matches [shadow_read], got []; missing: shadow_read">DIR/a_test.yaml:8:14: expected matches [shadow_read], got []; missing: shadow_read</failure>
    </testcase>
  </testsuite>
  <testsuite name="DIR/b_test.yaml" tests="1" failures="0" errors="1" time="T">
    <testcase name="load" classname="DIR/b_test.yaml" time="T">
      <error message="DIR/b_test.yaml:1:1: unknown key &#34;nix&#34;">`
	assert.Equal(t, want, got[:min(len(want), len(got))])
}
