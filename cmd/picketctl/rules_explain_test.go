// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRulesExplain(t *testing.T) {
	rules := putFile(t, "a.policy", `rules:
  - id: one
    expression: open.flags == 1 && (open.file.path == "/etc/shadow" || process.file.name in ["a", "\x1b[2J"])
  - {id: child, expression: 'exec.file.name == "sh" && process.ancestors[A].file.name == "nginx"'}
  - {id: written, expression: 'fim.write.file.path == "/etc/x"'}
  - {id: broken, expression: 'open.flags >'}
  - {id: first, expression: 'exec.file.name == "w"', actions: [{set: {name: seen, value: 1, default_value: 0, append: true}}]}
  - {id: then, expression: 'open.flags == 1 && ${seen} > 1'}
`)
	file := putFile(t, "event.json", `{"type":"open","open.flags":1}`)
	const open = `{"type":"open","open.flags":1,"open.file.path":"/etc/shadow","process.file.name":"\u001b[31m"}`
	for _, tt := range []struct {
		name           string
		args           []string
		stdout, stderr string
		code           int
	}{
		{
			"match",
			[]string{"one", "--event", open},
			"one matches\n* true   and\n* true     open.flags == 1\n             open.flags = 1\n* true     or\n" +
				"* true       open.file.path == \"/etc/shadow\"\n               open.file.path = \"/etc/shadow\"\n" +
				"  false      process.file.name in [\"a\", \"\\x1b[2J\"]\n               process.file.name = \"\\x1b[31m\"\n", "broken", 0,
		},
		{
			"iterator",
			[]string{"child", "--event", `{"type":"exec","exec.file.name":"sh","process.ancestors":[{},{"file.name":"nginx"}]}`},
			"child matches\n  [A] is ancestor 1\n* true   and\n* true     exec.file.name == \"sh\"\n             exec.file.name = \"sh\"\n" +
				"* true     process.ancestors[A].file.name == \"nginx\"\n             process.ancestors[A].file.name = \"nginx\"\n", "", 0,
		},
		{"other type", []string{"child", "--event", "@" + file}, "child does not match\n  the rule is about exec events, and this is of type open\n", "", 1},
		{"fim", []string{"written", "--event", `{"type":"unlink","unlink.file.path":"/etc/y"}`}, "written does not match\n* false  unlink.file.path == \"/etc/x\"\n           unlink.file.path = \"/etc/y\"\n", "", 1},
		{"records", []string{"written", "--event", `{"evt":{"name":"unlink"},"file":{"path":"/etc/x"}}`}, "written matches\n* true   unlink.file.path == \"/etc/x\"\n           unlink.file.path = \"/etc/x\"\n", "", 0},
		{
			"json",
			[]string{"written", "--format", "json", "--event", `{"type":"unlink","unlink.file.path":"/etc/y"}`},
			"{\n  \"expression\": \"unlink.file.path == \\\"/etc/x\\\"\",\n  \"result\": false,\n  \"decisive\": true,\n  \"values\": [\n    {\n      \"name\": \"unlink.file.path\",\n      \"value\": \"/etc/y\"\n    }\n  ]\n}\n", "", 1,
		},
		{
			"after other events",
			[]string{"then", "--event", `{"type":"exec","exec.file.name":"w"}`, "--event", `{"type":"exec","exec.file.name":"w"}`, "--event", `{"type":"open","open.flags":1}`},
			"then matches\n* true   and\n* true     open.flags == 1\n             open.flags = 1\n* true     ${seen} > 1\n             ${seen} = 2\n", "", 0,
		},
		{"misspelt", []string{"wrritten", "--event", open}, "", `there is no rule "wrritten"; did you mean "written"?`, 2},
		{"not loaded", []string{"broken", "--event", open}, "", `there is no rule "broken"`, 2},
		{"no rule", nil, "", "needs the id of one rule", 2},
		{"no event", []string{"one"}, "", "needs --event", 2},
		{"bad event", []string{"one", "--event", "{"}, "", "cannot read the event: ", 2},
		{"bad event before", []string{"one", "--event", "{", "--event", open}, "", "cannot read the event: ", 2},
		{"no file", []string{"one", "--event", "@/does/not/exist"}, "", "cannot read the event: ", 2},
		{"format", []string{"one", "--event", open, "--format", "xml"}, "", `--format is "xml"`, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := picketctl(t, "", append([]string{"rules", "explain", "--rules", rules}, tt.args...)...)
			assert.Equal(t, tt.stdout, stdout)
			assert.Contains(t, stderr, tt.stderr)
			assert.Equal(t, tt.code, code)
		})
	}
	_, stderr, code := picketctl(t, strings.Repeat("x", maxBatchLine+1), "rules", "explain", "one", "--rules", rules, "--event", "@-")
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, "it has more than 16777216 bytes")
}

func TestRulesList(t *testing.T) {
	good := putFile(t, "good.policy", "version: 1.2.3\nrules:\n"+
		"  - {id: a, description: d, expression: 'open.flags == 1', tags: {severity: high, tactic: [x, y]}, silent: true, version: 4.0.0}\n"+
		"  - {id: b, expression: 'rename.file.path == \"/x\"'}\n  - {id: off, expression: 'open.flags == 1', disabled: true}\n")
	stdout, stderr, code := picketctl(t, "", "rules", "list", good)
	assert.Zero(t, code)
	assert.Empty(t, stderr)
	assert.Equal(t, "ID  EVENT TYPE  SEVERITY  POLICY       TAGS\na   open        high      good.policy  severity:high tactic:x tactic:y\n"+
		"b   rename      medium    good.policy  \n", stdout)

	stdout, _, code = picketctl(t, "", "rules", "list", "--format", "json", good)
	assert.Zero(t, code)
	assert.JSONEq(t, `[{"id":"a","event_types":["open"],"severity":"high","policy":"good.policy","policy_version":"1.2.3","path":`+quote(t, good)+`,"line":3,
		"version":"4.0.0","description":"d","silent":true,"tags":["severity:high","tactic:x","tactic:y"]},
		{"id":"b","event_types":["rename"],"severity":"medium","policy":"good.policy","policy_version":"1.2.3","path":`+quote(t, good)+`,"line":4,"tags":[]}]`, stdout)

	bad := putFile(t, "bad.policy", "rules:\n  - {id: a, expression: 'open.flags >'}\n")
	stdout, stderr, code = picketctl(t, "", "rules", "list", "--format", "json", bad)
	assert.Equal(t, 1, code)
	assert.Equal(t, "[]\n", stdout) //nolint:testifylint // the text is what counts
	assert.Contains(t, stderr, `rule "a": syntax error`)
	for _, args := range [][]string{{}, {"--format", "xml", good}, {"/does/not/exist"}} {
		_, stderr, code = picketctl(t, "", append([]string{"rules", "list"}, args...)...)
		assert.Equal(t, 2, code, stderr)
	}
}

func TestCompletion(t *testing.T) {
	rules := putFile(t, "a.policy", "rules:\n  - {id: a, expression: 'open.flags == 1'}\n")
	for _, tt := range []struct {
		args   []string
		stdout string
	}{
		{[]string{"rules", "explain", "--rules", rules, ""}, "a\topen\n:4\n"},
		{[]string{"rules", "explain", ""}, ":4\n"},
		{[]string{"rules", "check", ""}, "policy\n:8\n"},
		{[]string{"rules", "test", ""}, "yaml\n:8\n"},
		{[]string{"rules", "eval", "--rules", ""}, "policy\n:8\n"},
		{[]string{"rules", "list", "--format", ""}, "text\njson\n:4\n"},
		{[]string{"rules", "expr", "load_module.loaded_f"}, "load_module.loaded_from_memory\n:6\n"},
		{[]string{"rules", "expr", "process.pid == 1 && load_module.loaded_f"}, "process.pid == 1 && load_module.loaded_from_memory\n:6\n"},
	} {
		stdout, _, code := picketctl(t, "", append([]string{"__complete"}, tt.args...)...)
		assert.Zero(t, code)
		assert.Equal(t, tt.stdout, stdout, tt.args)
	}
	stdout, _, code := picketctl(t, "", "completion", "bash")
	assert.Zero(t, code)
	assert.Contains(t, stdout, "__start_picketctl")
}
