// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

// acts gives what the rules ask for when an event matches them, in order; a log action is its message.
func acts(t *testing.T, set *Set, flat string) (out []string) {
	t.Helper()
	ev, err := event.ParseFlatEvent([]byte(flat))
	require.NoError(t, err)
	c := &secl.Context{Event: ev, Now: start, Host: "h"}
	for _, r := range set.Rules(ev.Type) {
		if !r.Program.Match(c) {
			continue
		}
		require.NoError(t, r.ActWith(c, func(a *Action) {
			switch a.Kind {
			case ActionLog:
				out = append(out, a.Log.Level+": "+a.Log.Message(c))
			case ActionHash:
				path := "-"
				if f := a.Hash.File(ev); f != nil {
					path = f.Path
				}
				out = append(out, "hash "+a.Hash.Field+" "+path)
			case ActionKill:
				out = append(out, "kill "+a.Kill.Scope+" "+a.Kill.Signal)
			}
		}))
	}
	return out
}

func TestActionsInOrder(t *testing.T) {
	set, report := loadDir(t, map[string]string{"a.policy": `
rules:
  - id: a
    expression: open.file.path == "/a"
    actions:
      - log: {level: Warning, message: "n=${n} by %{process.file.name}, $5 {x} \"quoted\""}
      - set: {name: n, expression: '${n} + 1', default_value: 3}
      - log: {level: debug}
        filter: process.uid == 0
      - log: {level: info, message: "n=${n}"}
        filter: ${n} == 4
      - hash: {max_file_size: 100}
      - hash: {field: process.file}
      - kill: {signal: SIGTERM, scope: container, disable_executable_disarmer: true}
      - kill: {signal: SIGKILL}
`})
	require.Empty(t, report.Problems())
	assert.Empty(t, report.Policies[0].Rules[0].Message)
	ev := `{"type":"open","open.file.path":"/a","process.file.name":"x\ny","process.file.path":"/bin/x","process.uid":1}`
	assert.Equal(t, []string{
		"warning: n=3 by x\ny, $5 {x} \"quoted\"", "info: n=4",
		"hash open.file /a", "hash process.file /bin/x", "kill container SIGTERM", "kill process SIGKILL",
	}, acts(t, set, ev))
	r := set.Rules(event.TypeOpen)[0]
	assert.Equal(t, int64(100), r.effects[4].action.Hash.MaxSize)
	assert.Equal(t, int64(DefaultMaxHashSize), r.effects[5].action.Hash.MaxSize)
	assert.Equal(t, KillAction{Signal: "SIGTERM", Number: 15, Scope: KillContainer, Containers: true}, *r.effects[6].action.Kill)
	assert.Equal(t, killNeed|hashNeed, set.Need(event.TypeOpen)&(killNeed|hashNeed))
}

func TestMessageIsBounded(t *testing.T) {
	set, report := loadDir(t, map[string]string{"a.policy": `
rules:
  - id: a
    expression: open.file.path == "/a"
    actions:
      - log: {level: info, message: "é%{process.comm}-%{process.comm}"}
`})
	require.Empty(t, report.Problems())
	got := acts(t, set, `{"type":"open","open.file.path":"/a","process.comm":"`+strings.Repeat("é", maxMessage/2)+`"}`)
	assert.Equal(t, []string{"info: " + strings.Repeat("é", maxMessage/2)}, got)
}

func TestActionErrors(t *testing.T) {
	tests := map[string]struct{ rule, want string }{
		"level missing":     {`expression: open.file.path == "/a", actions: [{log: {message: x}}]`, `action log needs level`},
		"level unknown":     {`expression: open.file.path == "/a", actions: [{log: {level: inf}}]`, `log.level is "inf"; did you mean "info"?`},
		"unknown variable":  {`expression: open.file.path == "/a", actions: [{log: {level: info, message: "${nix}"}}]`, `log.message: variable "nix" *`},
		"field of others":   {`expression: open.file.path == "/a", actions: [{log: {level: info, message: "%{unlink.file.path}"}}]`, `log.message: %{unlink.file.path} is about unlink events, and the rule about open`},
		"no default file":   {`expression: unlink.file.path == "/a", actions: [{hash: {}}]`, `action hash needs field: only exec and open events have a file that is hashed by default, and the rule is about unlink`},
		"no file":           {`expression: unlink.file.path == "/a", actions: [{hash: {field: process.uid}}]`, `hash.field: field "process.uid.path" does not exist`},
		"file of others":    {`expression: unlink.file.path == "/a", actions: [{hash: {field: open.file}}]`, `hash.field: field "open.file.path" is of open events, and the rule is about unlink`},
		"file of a target":  {`expression: signal.pid == 1, actions: [{hash: {field: signal.target.file}}]`, `hash.field: it is not a file of the event, of its process or of the parent`},
		"size":              {`expression: open.file.path == "/a", actions: [{hash: {max_file_size: 0}}]`, `hash.max_file_size must be positive`},
		"signal missing":    {`expression: open.file.path == "/a", actions: [{kill: {}}]`, `action kill needs signal`},
		"signal unknown":    {`expression: open.file.path == "/a", actions: [{kill: {signal: KILL}}]`, `kill.signal "KILL" is no signal, such as SIGKILL or SIGTERM`},
		"another constant":  {`expression: open.file.path == "/a", actions: [{kill: {signal: O_WRONLY}}]`, `kill.signal "O_WRONLY" is no signal, such as SIGKILL or SIGTERM`},
		"scope":             {`expression: open.file.path == "/a", actions: [{kill: {signal: SIGKILL, scope: host}}]`, `kill.scope is "host"*`},
		"filter of another": {`expression: open.file.path == "/a", actions: [{kill: {signal: SIGKILL}, filter: 'unlink.file.path == "/a"'}]`, `filter: the filter is about unlink events, and the rule about open`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			set, report := loadDir(t, map[string]string{"a.policy": "rules:\n  - {id: a, " + strings.ReplaceAll(tt.rule, `expression: `, `"expression": `) + "}\n"})
			e := report.Policies[0].Rules[0]
			assert.Equal(t, StatusError, e.Status)
			assert.Zero(t, set.Len())
			if prefix, ok := cutStar(tt.want); ok {
				assert.Contains(t, e.Message, prefix)
			} else {
				assert.Equal(t, tt.want, e.Message)
			}
			assert.Equal(t, 2, e.Line)
		})
	}
}
