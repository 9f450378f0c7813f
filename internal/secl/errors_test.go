// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSyntaxErrors(t *testing.T) {
	for _, tt := range []struct {
		expr    string
		at      string
		message string
	}{
		{``, "1:1", "empty"},
		{"  \n # only a comment", "2:18", "empty"},
		{`a -1`, "1:3", `unexpected token "-1"`},
		{`process.pid-1 == 6`, "1:12", `unexpected token "-1"`},
		{`a == `, "1:6", "unexpected end"},
		{`== a`, "1:1", `unexpected token "="`},
		{`a = b`, "1:3", `unexpected token "="`},
		{`a ==`, "1:5", "unexpected end"},
		{`a && `, "1:6", "unexpected end"},
		{`a & & & b`, "1:7", `unexpected token "&"`},
		{`a b`, "1:3", `unexpected token "b"`},
		{`(a`, "1:3", "unexpected end"},
		{`a)`, "1:2", `unexpected token ")"`},
		{`()`, "1:2", `unexpected token ")"`},
		{`a in`, "1:5", "unexpected end"},
		{`a in "x"`, "1:6", `unexpected token "\"x\""`},
		{`a in 5`, "1:6", `unexpected token "5"`},
		{`a in (b)`, "1:6", `unexpected token "("`},
		{`a in []`, "1:7", `unexpected token "]"`},
		{`a in ["x", 1]`, "1:12", "members of an array are of one kind"},
		{`a in ["x", O_CREAT]`, "1:12", "members of an array are of one kind"},
		{`a in [1, "x"]`, "1:10", "members of an array are of one kind"},
		{`a in [1.2.3.4, "x"]`, "1:16", "members of an array are of one kind"},
		{`a in [["x"]]`, "1:7", `unexpected token "["`},
		{`a in ["x" "y"]`, "1:11", "expected , or ]"},
		{`a in ["x",]`, "1:11", `unexpected token "]"`},
		{`a in ["x"`, "1:10", "unexpected end"},
		{`a in [5s]`, "1:7", `unexpected token "5s"`},
		{`a in [true, process]`, "", ""}, // parses: the compiler knows names
		{`["x"] == a`, "1:7", "expected in, not in or allin"},
		{`["x"]`, "1:6", "expected in, not in or allin"},
		{`a not b`, "1:3", `unexpected token "not"`},
		{`a allin "x"`, "1:9", `unexpected token`},
		{`a or or b`, "1:6", `unexpected token "or"`},
		{`in == 1`, "1:1", `unexpected token "in"`},
		{`a == "x`, "1:6", "no closing quote"},
		{`a == "x\"`, "1:6", "no closing quote"},
		{`a == ~"x`, "1:6", "no closing quote"},
		{`a =~"x"`, "1:3", `unexpected token "="`}, // ~"x" is a pattern
		{`a ~ "x"`, "1:3", `unexpected token "~"`},
		{`a == 'x'`, "1:6", `unexpected token "'"`},
		{`~a`, "1:1", `unexpected token "~"`},
		{`a == 1.5`, "1:6", "no IP address"},
		{`a == 0x10`, "1:7", `unexpected token "x10"`},
		{`a == 5d`, "1:7", `unexpected token "d"`},
		{`a == 99999999999999999999`, "1:6", "out of range"},
		{`a == 9999999999999h`, "1:6", "out of range"},
		{`a == 1.2.3.4.5`, "1:6", "no IP address"},
		{`a == 10.0.0.0/33`, "1:6", "no network"},
		{`a == 1::2::3`, "1:6", "no IP address"},
		{`a == ${x`, "1:6", "no closing brace"},
		{`a == ${}`, "1:6", "no name"},
		{`a == ${1x}`, "1:6", "no name"},
		{`a == %{x y}`, "1:6", "no name"},
		{`a == ü`, "1:6", "unexpected character"},
		{"a == \x00", "1:6", "unexpected character"},
		{`"ü" == ? b`, "1:8", `unexpected token "?"`}, // columns count characters
		{"a ==\n\t\"b\" c", "2:6", `unexpected token "c"`},
		{"\"x\ny\" == = a", "2:7", `unexpected token "="`}, // a string over two lines
		{`a * b`, "1:3", `unexpected token "*"`},
		{`a, b`, "1:2", `unexpected token ","`},
		{`a[1`, "1:2", `unexpected token "["`},
		{strings.Repeat("(", 300) + "a" + strings.Repeat(")", 300), "1:201", "nested more than 200 levels"},
		{strings.Repeat("!", 300) + "a", "1:200", "nested more than 200 levels"},
		{strings.Repeat("a", MaxExpressionBytes+1), "1:1", "more than 262144"},
		{"a in [" + strings.Repeat("1,", MaxArrayMembers) + "1]", fmt.Sprintf("1:%d", 7+2*MaxArrayMembers), "more than 10000 members"},
	} {
		n, err := parseRule(tt.expr)
		if tt.at == "" {
			assert.Nil(t, err, tt.expr)
			assert.NotNil(t, n)
			continue
		}
		name := shorten(tt.expr)
		if assert.NotNil(t, err, name) {
			assert.Equal(t, tt.at, fmt.Sprintf("%d:%d", err.Line, err.Column), "%s: %v", name, err)
			assert.Contains(t, err.Message, tt.message, name)
			assert.Equal(t, KindParse, err.Kind)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	env := environment(t)
	env.Macros = append(env.Macros,
		Macro{ID: "BROKEN", Expression: `process.comm ==`},
		Macro{ID: "UNKNOWN", Expression: `process.com == "x"`},
		Macro{ID: "SELF", Expression: `SELF`},
		Macro{ID: "CYCLE_A", Expression: `process.pid == 1 && CYCLE_B`},
		Macro{ID: "CYCLE_B", Expression: `CYCLE_A || false`},
		Macro{ID: "BOTH", Expression: `true`, Values: []string{"x"}},
		Macro{ID: "RELATIVE", Values: []string{"etc/passwd"}},
		Macro{ID: "USES_OPEN", Expression: `open.flags == 1`},
	)
	for i := range 30 { // 2^30 operands
		expr := "process.pid == 1"
		if i > 0 {
			expr = fmt.Sprintf("BOMB%d || BOMB%d", i-1, i-1)
		}
		env.Macros = append(env.Macros, Macro{ID: fmt.Sprintf("BOMB%d", i), Expression: expr})
	}
	long := strings.Repeat("a", 300)
	for _, tt := range []struct {
		expr, at, reason, message string
	}{
		{`open.file.pathh == "/x"`, "1:1", ReasonFieldNotFound, `field "open.file.pathh" not found`},
		{`process.pid == 1 && foo`, "1:21", ReasonFieldNotFound, `field "foo" not found`},
		{`open`, "1:1", ReasonFieldNotFound, "not found"},
		{`imds.url == "x"`, "1:1", ReasonUnsupportedType, "event type imds, which Picket does not produce yet"},
		{`fim.write.file.path == "/x"`, "1:1", ReasonUnsupportedType, "can only be used by a rule of a policy itself, and in no macro"},
		{`open.flags == 1 && exec.pid == 2`, "1:20", ReasonMultipleEvents, "multiple events is not supported: open and exec"},
		{`open.flags == 1 || exec.pid == 2`, "1:20", ReasonMultipleEvents, "multiple events"},
		{`exec.pid == 1 && USES_OPEN`, "1:18", ReasonMultipleEvents, "multiple events"},
		{`true || open.flags == 1 || exec.pid == 2`, "1:28", ReasonMultipleEvents, "multiple events"},

		{`process.pid`, "1:1", ReasonType, "is of type int, not bool"},
		{`"x"`, "1:1", ReasonType, "is of type string, not bool"},
		{`process.argv`, "1:1", ReasonType, "is of type string array, not bool"},
		{`SHELLS`, "1:1", ReasonType, "string array, not bool"},
		{`process.pid == "1"`, "1:16", ReasonType, "this is of type string, expected int"},
		{`process.comm == 1`, "1:17", ReasonType, "of type int, expected string"},
		{`process.comm == process.pid`, "1:17", ReasonType, `field "process.pid" is of type int, expected string`},
		{`process.is_kworker == 1`, "1:23", ReasonType, "expected bool"},
		{`connect.addr.ip == "10.0.0.1"`, "1:20", ReasonType, "expected IP"},
		{`process.pid && true`, "1:1", ReasonType, `field "process.pid" is of type int, expected bool`},
		{`true && process.comm`, "1:9", ReasonType, "expected bool"},
		{`!process.pid`, "1:2", ReasonType, "expected bool"},
		{`not process.comm in ["x"]`, "1:5", ReasonType, "expected bool"},
		{`-process.comm == 1`, "1:2", ReasonType, "expected int"},
		{`process.pid + "x" == 1`, "1:15", ReasonType, "expected int"},
		{`process.comm + "x" == "shx"`, "1:1", ReasonType, "expected int"},
		{`process.ancestors.pid & 1 == 1`, "1:1", ReasonType, "int array, expected int"},
		{`process.ancestors.is_thread`, "1:1", ReasonType, "bool array, not bool"},
		{`!process.ancestors.is_thread`, "1:2", ReasonType, "expected bool"},
		{`process.ancestors.pid == process.ancestors.uid`, "1:26", ReasonType, "expected int"},
		{`process.comm == process.argv`, "1:17", ReasonType, "string array, expected string"},
		{`process.comm == SHELLS`, "1:17", ReasonType, "string array, expected string"},
		{`process.pid in ["x"]`, "1:16", ReasonType, "expected int array"},
		{`process.comm in [1]`, "1:17", ReasonType, "expected string array"},
		{`process.comm in process.tty_name`, "1:17", ReasonType, "expected string array"},
		{`process.comm in ${s}`, "1:17", ReasonType, `variable "s" is of type string`},
		{`process.pid in O_CREAT`, "1:16", ReasonType, "expected int array"},
		{`process.pid in [true, O_CREAT]`, "1:23", ReasonType, "of type int in an array of type bool"},
		{`process.pid in [O_CREATE]`, "1:17", ReasonType, `"O_CREATE" is no constant`},
		{`process.comm in [SHELLS]`, "1:18", ReasonType, `"SHELLS" is no constant`},
		{`process.pid == 1 == true`, "1:21", ReasonType, "is of type bool, expected int"}, // pid == (1 == true)

		{`process.comm > "a"`, "1:14", ReasonOperator, "> is not defined for string"},
		{`process.pid =~ 1`, "1:13", ReasonOperator, "=~ is not defined for int"},
		{`process.is_kworker < true`, "1:20", ReasonOperator, "< is not defined for bool"},
		{`connect.addr.ip > 1.2.3.4`, "1:17", ReasonOperator, "> is not defined for IP"},
		{`process.created_at != 5s`, "1:20", ReasonOperator, "!= is not defined for a duration"},

		{`process.comm =~ process.tty_name`, "1:17", ReasonPattern, "non-static pattern"},
		{`process.comm =~ ${s}`, "1:17", ReasonPattern, "non-static pattern"},
		{`process.comm =~ "x${s}"`, "1:17", ReasonPattern, "non-static pattern"},
		{`process.comm =~ r"("`, "1:17", ReasonPattern, "missing closing )"},
		{`process.comm in ["a", r"["]`, "1:23", ReasonPattern, "missing closing ]"},
		{`process.comm =~ r"` + strings.Repeat("a", MaxRegexpBytes+1) + `"`, "1:17", ReasonPattern, "more than 4096"},
		{`open.file.path =~ "/a/**/b/**"`, "1:19", ReasonPattern, "more than one **"},

		{`open.file.path =~ r"^/etc"`, "1:19", ReasonPath, "regular expressions are not supported on paths"},
		{`open.file.path in ["/a", r"x"]`, "1:26", ReasonPath, "regular expressions"},
		{`open.file.path == "etc/passwd"`, "1:19", ReasonPath, "absolute"},
		{`"etc/passwd" == open.file.path`, "1:1", ReasonPath, "absolute"},
		{`open.file.path == "/etc/"`, "1:19", ReasonPath, `"/etc"`},
		{`open.file.path == "/etc//passwd"`, "1:19", ReasonPath, `"/etc/passwd"`},
		{`open.file.path == "/etc/../passwd"`, "1:19", ReasonPath, `"/passwd"`},
		{`open.file.path =~ "*"`, "1:19", ReasonPath, "absolute"},
		{`open.file.path == "~/x"`, "1:19", ReasonPath, "absolute"},
		{`open.file.path in RELATIVE`, "1:19", ReasonPath, "absolute"},
		{`open.file.path == "/` + long + `"`, "1:19", ReasonPath, "more than 255"},
		{`open.file.path == "/` + strings.Repeat("a/", 1400) + `a"`, "1:19", ReasonPath, "more than 1363"},
		{`process.ancestors.file.path in ["x"]`, "1:33", ReasonPath, "absolute"},

		{`process.ancestors[_].comm == "x"`, "1:1", ReasonIterator, `"_" is not allowed`},
		{`process.ancestors[].comm == "x"`, "1:1", ReasonIterator, "not allowed"},
		{`process.parent[A].comm == "x"`, "1:1", ReasonIterator, `"process.parent" is no iterator`},
		{`process.argv[A] == "x"`, "1:1", ReasonIterator, "a number"},
		{`process.comm[0] == "x"`, "1:1", ReasonIterator, "only iterators and arrays"},
		{`process.ancestors.argv[0] == "x"`, "1:1", ReasonIterator, "no index"},
		{`process.ancestors[A].length == 1`, "1:1", ReasonIterator, "no field of an element"},
		{
			`process.ancestors[A].pid == 1 && signal.target.ancestors[A].pid == 1`, "1:34", ReasonIterator,
			`"A" runs over process.ancestors and cannot run over signal.target.ancestors too`,
		},
		{`signal.target.ancestors[A].pid == 1 && ptrace.tracee.ancestors[B].pid == 1`, "1:40", ReasonMultipleEvents, "signal and ptrace"},
		{`signal.target.ancestors[A].length == 1`, "1:1", ReasonIterator, "no field of an element"},
		{`process.ancestors[A] == "x"`, "1:1", ReasonFieldNotFound, "not found"},
		{`process.ancestors[A].pid == 1 && process.ancestors[B].pid == 1 && process.ancestors[C].pid == 1 && process.ancestors[D].pid == 1`, "1:100", ReasonLimit, "more than 3 iterator variables"},

		{`${nix} == 1`, "1:1", ReasonVariable, `variable "nix" is not declared`},
		{`"a${nix}" == "a"`, "1:1", ReasonVariable, "not declared"},
		{`"a${b}" == "a"`, "1:1", ReasonType, "which has no text"},
		{`"%{process.is_kworker}" == "a"`, "1:1", ReasonType, "which has no text"},
		{`%{process.nix} == "a"`, "1:1", ReasonFieldNotFound, "not found"},
		{`${i.length} == 1`, "1:1", ReasonType, "has no length"},

		{`BROKEN`, "1:1", ReasonMacro, `in macro "BROKEN" at 1:16: unexpected end`},
		{`true && UNKNOWN`, "1:9", ReasonFieldNotFound, `in macro "UNKNOWN" at 1:1: field "process.com" not found`},
		{`SELF`, "1:1", ReasonMacro, "SELF → SELF"},
		{`CYCLE_A`, "1:1", ReasonMacro, "CYCLE_A → CYCLE_B → CYCLE_A"},
		{`BOTH`, "1:1", ReasonMacro, "not both"},
		{`BOMB29`, "1:1", ReasonLimit, "more than 200000 operands"},
	} {
		_, err := Compile(tt.expr, env)
		name := shorten(tt.expr)
		e, ok := AsError(err)
		if assert.True(t, ok, name) {
			assert.Equal(t, tt.at, fmt.Sprintf("%d:%d", e.Line, e.Column), "%s: %v", name, err)
			assert.Equal(t, tt.reason, e.Reason, "%s: %v", name, err)
			assert.Contains(t, e.Message, tt.message, name)
			if tt.expr != "BROKEN" {
				assert.Equal(t, KindCompile, e.Kind, name)
			}
		}
	}
}

func TestRequireEvent(t *testing.T) {
	env := &Env{RequireEvent: true}
	for _, expr := range []string{`process.pid == 1`, `true`, `1 == 1`} {
		_, err := Compile(expr, env)
		e, ok := AsError(err)
		require.True(t, ok, expr)
		assert.Equal(t, ReasonNoEvent, e.Reason)
	}
	_, err := Compile(`open.flags == 1`, env)
	assert.NoError(t, err)
}

func TestHints(t *testing.T) {
	env := environment(t)
	for expr, want := range map[string]string{
		`open.file.pth == "/x"`:                 `did you mean "open.file.path"?`,
		`open.flags & O_CREATE > 0`:             `did you mean "O_CREAT"?`,
		`process.comm in SHELS`:                 `did you mean "SHELLS"?`,
		`process.comm in ${nams}`:               `did you mean "names"?`,
		`exec.args_flag in ["x"]`:               `did you mean "exec.args_flags"?`,
		`a -1`:                                  `a sign right before digits belongs to the number: write - 1`,
		`process.comm =~"x"`:                    `~"…" is a pattern: put a space between the operator and the string`,
		`process.nothing.like.this == "x"`:      "",
		`process.comm = "x"`:                    "== compares",
		`process.comm == 'x'`:                   "strings are written with double quotes",
		`process.comm > "a"`:                    "strings have no order: compare them by ==, =~ and in",
		`process.pid =~ 1`:                      "patterns are for strings: use == or !=",
		`process.pid == "1"`:                    "write it without quotes",
		`connect.addr.ip == "10.0.0.1"`:         "write it without quotes",
		`process.comm == 1`:                     "write it in double quotes",
		`process.comm == SHELLS`:                "in tests whether a value is in a list",
		`process.comm in process.tty_name`:      "compare with one value by ==",
		`not process.comm in ["x"]`:             "it negates only the next operand: write not (…), or not in",
		`open.flags == 1 && exec.pid == 2`:      "write a rule for each type of event",
		`open.file.path =~ r"^/etc"`:            `use a pattern, such as ~"/etc/**", or the field of the file's name`,
		`open.file.path == "passwd"`:            "compare a name with the field of the file's name",
		`open.file.path == "etc/passwd"`:        "",
		`process.comm in ["a"] && open.x == ""`: "",
	} {
		_, err := Compile(expr, env)
		e, ok := AsError(err)
		require.True(t, ok, expr)
		assert.Equal(t, want, e.Hint, expr)
	}
}

func TestFormat(t *testing.T) {
	for src, want := range map[string]string{
		"process.pid == 1 &&\n\topen.file.pth == \"/x\"": "rule compilation error: 2:2: field \"open.file.pth\" not found (did you mean \"open.file.path\"?)\n" +
			"  \topen.file.pth == \"/x\"\n  \t^",
		`"ü" == ?`: "rule syntax error: 1:8: unexpected token \"?\", expected a field, a value or (\n  \"ü\" == ?\n         ^",
	} {
		_, err := Compile(src, nil)
		e, ok := AsError(err)
		require.True(t, ok)
		assert.Equal(t, want, e.Format(src))
	}
}

func TestCheckMacro(t *testing.T) {
	env := environment(t)
	for _, m := range env.Macros {
		require.NoError(t, CheckMacro(m.ID, env), m.ID)
	}
	env = &Env{Macros: []Macro{{ID: "M1", Expression: `M2`}, {ID: "M2", Expression: "true &&\n M1"}, {ID: "M3", Expression: `"x" in`}}}
	err := CheckMacro("M1", env)
	e, ok := AsError(err)
	require.True(t, ok)
	assert.Equal(t, "1:1", fmt.Sprintf("%d:%d", e.Line, e.Column))
	assert.Contains(t, e.Message, "M1 → M2 → M1")
	e, ok = AsError(CheckMacro("M3", env))
	require.True(t, ok)
	assert.Equal(t, KindParse, e.Kind)
	require.Error(t, CheckMacro("M4", env))
}
