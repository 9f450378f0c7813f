// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

// fire evaluates the rules on flat events in order, with their actions, and says for each which rules matched.
func fire(t *testing.T, set *Set, events ...string) [][]string {
	t.Helper()
	var out [][]string
	c := &secl.Context{Now: start, Host: "h"}
	for _, flat := range events {
		ev, err := event.ParseFlatEvent([]byte(flat))
		require.NoError(t, err, flat)
		c.Event = ev
		c.Now += event.Time(time.Second)
		var ids []string
		for _, r := range set.Rules(ev.Type) {
			if r.Program.Match(c) {
				ids = append(ids, r.ID)
				require.NoError(t, r.Act(c))
			}
		}
		out = append(out, ids)
	}
	return out
}

func TestSetActions(t *testing.T) {
	set, report := loadDir(t, map[string]string{"a.policy": `
rules:
  - id: remember
    expression: open.file.path == "/etc/shadow"
    silent: true
    actions:
      - set: {name: seen, value: true, scope: process}
      - set: {name: paths, field: process.file.path, append: true}
      - set: {name: last, field: open.file.name}
      - set: {name: count, expression: '${count} + 1', default_value: 0}
      - set: {name: short, value: 7, ttl: 1s}
      - set: {name: root, value: true}
        filter: process.uid == 0
  - id: seen
    expression: open.file.path == "/b" && ${process.seen}
  - id: listed
    expression: open.file.path == "/b" && process.file.path in ${paths}
  - id: last
    expression: open.file.path == "/b" && "${last}" == "shadow"
  - id: twice
    expression: open.file.path == "/b" && ${count} == 2
  - id: short
    expression: open.file.path == "/b" && ${short} == 7
  - id: root
    expression: open.file.path == "/b" && ${root}
`})
	require.Empty(t, report.Problems())
	for _, e := range report.Policies[0].Rules {
		assert.Empty(t, e.Message)
	}
	shadow := `{"type":"open","open.file.path":"/etc/shadow","open.file.name":"shadow","process.pid":7,"process.file.path":"/bin/x","process.uid":1}`
	shadowRoot := `{"type":"open","open.file.path":"/etc/shadow","open.file.name":"shadow","process.pid":8,"process.file.path":"/bin/y","process.uid":0}`
	b := `{"type":"open","open.file.path":"/b","process.pid":7,"process.file.path":"/bin/x"}`
	other := `{"type":"open","open.file.path":"/b","process.pid":9,"process.file.path":"/bin/z"}`
	assert.Equal(t, [][]string{
		nil,
		{"remember"},
		{"seen", "listed", "last"},
		{"last"},
		{"remember"},
		{"last", "twice", "root"},
	}, fire(t, set, b, shadow, b, other, shadowRoot, other))
}

func TestSetActionErrors(t *testing.T) {
	tests := map[string]struct{ actions, want string }{
		"unknown field":       {`{name: x, field: open.file.nmae}`, `set: field "open.file.nmae" does not exist`},
		"iterator":            {`{name: x, field: process.ancestors.pid}`, `set: field "process.ancestors.pid" has a value per ancestor, it cannot be kept in a variable`},
		"field of other type": {`{name: x, field: unlink.file.path}`, `set.field: field "unlink.file.path" is of unlink events, and the rule is about open`},
		"mixed list":          {`{name: x, value: [1, a]}`, `set: a list must be of texts only, or of integers only`},
		"mapping":             {`{name: x, value: {}}`, `set: the value of a variable cannot be a mapping`},
		"bad expression":      {`{name: x, expression: '${x} +', default_value: 0}`, `set.expression: syntax error: *`},
		"type of expression":  {`{name: x, expression: 'process.uid', default_value: a}`, `set: the value is of type int, the variable x of type string`},
		"size":                {`{name: x, value: 1, size: 0}`, `set.size must be positive`},
		"inherited":           {`{name: x, value: 1, inherited: true}`, `set: variable "x": only variables of scope process are inherited`},
		"pid of nothing":      {`{name: x, value: 1, scope: process, scope_field: process.pd}`, `set.scope_field: field "process.pd" does not exist`},
		"no pid":              {`{name: x, value: 1, scope: process, scope_field: process.uid}`, `set.scope_field: field "process.uid" is no pid: it may be one that ends with .pid or .ppid`},
		"thread":              {`{name: x, value: 1, scope: process, scope_field: process.tid}`, `set.scope_field: field "process.tid" is no pid: *`},
		"pid of other type":   {`{name: x, value: 1, scope: process, scope_field: signal.pid}`, `set.scope_field: field "signal.pid" is of signal events, and the rule is about open`},
		"many pids":           {`{name: x, value: 1, scope: process, scope_field: process.ancestors.pid}`, `set.scope_field: field "process.ancestors.pid" has a value per ancestor, and only one is of use here`},
		"pid of no type":      {`{name: x, value: 1, scope: process, scope_field: cgroup_write.pid}`, `set.scope_field: field "cgroup_write.pid" is of event type cgroup_write, which Picket does not produce yet`},
		"field of no type":    {`{name: x, field: imds.url}`, `set: field "imds.url" is of event type imds, which Picket does not produce yet`},
		"pid and no scope":    {`{name: x, value: 1, scope_field: process.pid}`, `set.scope_field names a process: it needs scope process`},
		"pid and other scope": {`{name: x, value: 1, scope: cgroup, scope_field: process.pid}`, `set.scope_field names a process: it needs scope process`},
		"name":                {`{name: "a b", value: 1}`, `set.name "a b" may only have letters, digits, _ and dots`},
		"name with a scope":   {`{name: process.x, value: 1}`, `set.name "process.x" begins with a scope: give name "x" and scope process`},
		"large number":        {`{name: x, value: 99999999999999999999}`, `set: 99999999999999999999 is no integer of 64 bits, and there are no other numbers; in quotes it is a text`},
		"negative number":     {`{name: x, value: -9223372036854775809}`, `set: -9223372036854775809 is no integer of 64 bits, *`},
		"fraction":            {`{name: x, value: 1.5}`, `set: 1.5 is no integer of 64 bits, *`},
		"fraction in a list":  {`{name: x, value: [1, 1.5]}`, `set: 1.5 is no integer of 64 bits, *`},
		"append a bool":       {`{name: x, value: true, append: true}`, `set: append adds to numbers, texts and lists; *`},
		"append a bool field": {`{name: x, field: process.is_exec, append: true}`, `set: append adds to numbers, texts and lists; *`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			set, report := loadDir(t, map[string]string{"a.policy": `
rules:
  - id: a
    expression: open.file.path == "/a"
    actions:
      - set: ` + tt.actions + `
  - id: b
    expression: open.file.path == "/b"
`})
			e := report.Policies[0].Rules[0]
			assert.Equal(t, StatusError, e.Status)
			if prefix, ok := cutStar(tt.want); ok {
				assert.Contains(t, e.Message, prefix)
			} else {
				assert.Equal(t, tt.want, e.Message)
			}
			assert.Equal(t, 6, e.Line)
			assert.Equal(t, map[string]struct{}{"b": {}}, set.ids)
		})
	}
}

func cutStar(s string) (string, bool) {
	if s[len(s)-1] == '*' {
		return s[:len(s)-1], true
	}
	return s, false
}

func TestVariableOfTwoTypes(t *testing.T) {
	_, report := loadDir(t, map[string]string{"a.policy": `
rules:
  - {id: a, expression: 'open.file.path == "/a"', actions: [{set: {name: x, value: 1}}]}
  - {id: b, expression: 'open.file.path == "/a"', actions: [{set: {name: x, value: y}}]}
  - {id: c, expression: 'open.file.path == "/a" && ${undeclared} == 1'}
`})
	rules := report.Policies[0].Rules
	assert.Equal(t, StatusLoaded, rules[0].Status)
	assert.Equal(t, StatusError, rules[1].Status)
	assert.Equal(t, `set: variable "x" is of type int and of type string`, rules[1].Message)
	assert.Equal(t, StatusError, rules[2].Status)
	assert.Contains(t, rules[2].Message, "undeclared")
}

func TestAppendToken(t *testing.T) {
	set, report := loadDir(t, map[string]string{"a.policy": `
rules:
  - id: a
    expression: open.file.path == "/a"
    limiter_token: [process.file.path, process.uid, process.argv]
  - id: b
    expression: open.file.path == "/a"
    limiter_token: [process.file.paht]
  - id: c
    expression: open.file.path == "/a"
    limiter_token: [unlink.file.path]
`})
	assert.Equal(t, `limiter_token: field "process.file.paht" does not exist`, report.Policies[0].Rules[1].Message)
	assert.Equal(t, `limiter_token: field "unlink.file.path" is of unlink events, and the rule is about open`, report.Policies[0].Rules[2].Message)
	ev, err := event.ParseFlatEvent([]byte(`{"type":"open","process.file.path":"/bin/x","process.uid":5,"process.argv":["a","b"]}`))
	require.NoError(t, err)
	rules := set.Rules(event.TypeOpen)
	require.Len(t, rules, 1)
	assert.Equal(t, "/bin/x\x005\x00a,b,\x00", string(rules[0].AppendToken(nil, ev)))
}
