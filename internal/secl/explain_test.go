// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
)

// outline writes an explanation on lines: decisive, result, operator or expression, values.
func outline(e *Explanation, depth int) string {
	var b strings.Builder
	mark := "-"
	if e.Decisive {
		mark = "*"
	}
	what := e.Expression
	if e.Operator != "" {
		what = e.Operator
	}
	if e.Operator == "macro" {
		what += " " + e.Expression
	}
	fmt.Fprintf(&b, "%s%s%t %s", strings.Repeat(" ", depth), mark, e.Result, what)
	for _, v := range e.Values {
		fmt.Fprintf(&b, "; %s=%v", v.Name, v.Value)
		if v.Age != "" {
			fmt.Fprintf(&b, " age %s", v.Age)
		}
		if v.Unavailable {
			b.WriteString(" unavailable")
		}
	}
	b.WriteByte('\n')
	for _, p := range e.Parts {
		b.WriteString(outline(p, depth+1))
	}
	return b.String()
}

func TestExplain(t *testing.T) {
	variables := NewVariables()
	for _, spec := range []VariableSpec{
		{Name: "n", Kind: event.KindInt, Default: Value{Kind: event.KindInt, Int: 3}},
		{Name: "list", Kind: event.KindString, List: true, Default: Value{Kind: event.KindString, List: true, Strings: []string{"a", "b"}}},
	} {
		_, err := variables.Declare(spec)
		require.NoError(t, err)
	}
	macros := []Macro{
		{ID: "SHELLS", Values: []string{"sh", `~"*sh"`}},
		{ID: "BY_SHELL", Expression: `process.file.name in SHELLS && process.uid == 0`},
		{ID: "DOOR", Expression: `open.file.path`},
	}
	const ev = `{"type":"open","open.file.path":"/etc/shadow","open.flags":"O_RDWR","process.file.name":"bash","event.timestamp":60000000000,
		"process.created_at":50000000000,"process.ancestors":[{"file.name":"sshd","pid":5},{"file.name":"init","pid":1}]}`
	for _, tt := range []struct{ expr, want, reason string }{
		{`open.file.path == "/etc/shadow"`, "*true open.file.path == \"/etc/shadow\"; open.file.path=/etc/shadow\n", ""},
		{
			`open.flags & O_CREAT > 0 && open.file.path in ["/etc/shadow"] && BY_SHELL`,
			"*false and\n *false (open.flags & O_CREAT) > 0; open.flags=2\n -true open.file.path in [\"/etc/shadow\"]; open.file.path=/etc/shadow\n" +
				" -true macro BY_SHELL\n  -true and\n   -true process.file.name in SHELLS; process.file.name=bash\n   -true process.uid == 0; process.uid=0\n", "",
		},
		{
			`!(BY_SHELL) || ${n} == 3 or "a" in ${list}`,
			"*true or\n -false not\n  -true macro BY_SHELL\n   -true and\n    -true process.file.name in SHELLS; process.file.name=bash\n" +
				"    -true process.uid == 0; process.uid=0\n *true ${n} == 3; ${n}=3\n *true \"a\" in ${list}; ${list}=[a b]\n", "",
		},
		{
			`(open.flags == 1 && open.flags == 2) || process.created_at < 10s`,
			"*false or\n *false and\n  *false open.flags == 1; open.flags=2\n  -true open.flags == 2; open.flags=2\n" +
				" *false process.created_at < 10s; process.created_at=50000000000 age 10s\n", "",
		},
		{`DOOR =~ "/tmp/**"`, "*false DOOR =~ \"/tmp/**\"; open.file.path=/etc/shadow\n", ""},
		{`open.file.path == "%{process.file.name}${n}"`, "*false open.file.path == \"%{process.file.name}${n}\"; open.file.path=/etc/shadow; process.file.name=bash; ${n}=3\n", ""},
		{
			`open.flags > 0 && process.ancestors[A].file.name == "init" && process.ancestors[A].pid == 1`,
			"*true and\n *true open.flags > 0; open.flags=2\n *true process.ancestors[A].file.name == \"init\"; process.ancestors[A].file.name=init\n" +
				" *true process.ancestors[A].pid == 1; process.ancestors[A].pid=1\n", "",
		},
		{
			`open.flags > 0 && process.ancestors[A].file.name == "init" && process.ancestors[A].pid == 5`,
			"*false and\n -true open.flags > 0; open.flags=2\n *false process.ancestors[A].file.name == \"init\"; process.ancestors[A].file.name=sshd\n" +
				" -true process.ancestors[A].pid == 5; process.ancestors[A].pid=5\n", "none of the 2 process.ancestors matches; shown is how it is for the first",
		},
		{`exec.file.name == "x"`, "*false exec.file.name == \"x\"\n", "the rule is about exec events, and this is of type open"},
	} {
		e, err := event.ParseFlatEvent([]byte(ev))
		require.NoError(t, err)
		env := &Env{Macros: macros, Variables: variables}
		ctx := &Context{Event: e, Now: e.Date}
		got, err := Explain(tt.expr, env, ctx)
		require.NoError(t, err, tt.expr)
		assert.Equal(t, tt.want, outline(got, 0), tt.expr)
		assert.Equal(t, tt.reason, got.Reason, tt.expr)
		p, err := Compile(tt.expr, env)
		require.NoError(t, err)
		assert.Equal(t, p.Match(ctx), got.Result, tt.expr)
	}

	e, err := event.ParseFlatEvent([]byte(`{"type":"open"}`))
	require.NoError(t, err)
	got, err := Explain(`process.ancestors[A].pid == 0`, nil, &Context{Event: e})
	require.NoError(t, err)
	assert.False(t, got.Result)
	assert.Equal(t, "process.ancestors is empty, and the rule is about one of it", got.Reason)
	for _, expr := range []string{"", "open.flags", "nix == 1", "open.flags >"} {
		_, err := Explain(expr, nil, &Context{Event: e})
		require.Error(t, err, expr)
	}
}
