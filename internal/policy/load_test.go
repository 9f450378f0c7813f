// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
)

// write makes a directory of files; the key is the name.
func write(tb testing.TB, files map[string]string) string {
	tb.Helper()
	dir := tb.TempDir()
	for name, content := range files {
		require.NoError(tb, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return dir
}

func loadDir(t *testing.T, files map[string]string) (*Set, *Report) {
	t.Helper()
	return Load([]string{write(t, files)}, Options{Machine: testMachine()})
}

// outcome is "id status line:column message" of every macro and rule.
func outcome(r *Report) []string {
	var out []string
	for _, p := range r.Policies {
		for _, e := range p.Macros {
			out = append(out, strings.TrimSpace(fmt.Sprintf("macro %s %s %d:%d %s", e.ID, e.Status, e.Line, e.Column, e.Message)))
		}
		for _, e := range p.Rules {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %d:%d %s", e.ID, e.Status, e.Line, e.Column, e.Message)))
		}
	}
	return out
}

const (
	openA = `open.file.path == "/a"`
	openB = `open.file.path == "/b"`
)

func TestLoad(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  []string
		rules int // loaded
	}{
		{
			name: "one bad rule does not keep the others out",
			files: map[string]string{"a.policy": `
rules:
  - id: good
    expression: open.file.path == "/a"
  - id: syntax
    expression: |-
      open.file.path == "/a" &&
        open.flags = = = 3
  - id: unknown_field
    expression: open.file.nmae == "a"
  - id: no_expression
  - expression: open.file.path == "/a"
  - id: bad-id
    expression: open.file.path == "/a"
  - just a text
  - id: twice
    expression: open.file.path == "/a"
    expression: open.file.path == "/b"
  - id: shape
    expression: [a, b]
  - id: good_too
    expression: unlink.file.path == "/a"
`},
			want: []string{
				"good loaded 3:9",
				"syntax error 8:24 *",
				"unknown_field error 10:17 *",
				"no_expression error 11:9 the rule has no expression",
				" error 12:5 id is missing",
				"bad-id error 13:9 id \"bad-id\" may only have letters, digits and _",
				" error 15:5 expected a mapping with id and expression, found a value",
				"twice error 18:5 key \"expression\" is there twice",
				"shape error 20:17 expression must be a text, it is a list",
				"good_too loaded 21:9",
			},
			rules: 2,
		},
		{
			name: "versions and filters",
			files: map[string]string{"a.policy": `
rules:
  - {id: r, expression: '` + openA + `', agent_version: '< 7.60'}
  - {id: r, expression: '` + openB + `', agent_version: '>= 7.60'}
  - {id: f, expression: '` + openA + `', filters: ['os == "windows"']}
  - {id: g, expression: '` + openA + `', filters: ['os == "linux"', kernel.version.major >= 5]}
  - {id: h, expression: '` + openA + `', filters: ['oss == "linux"']}
  - {id: i, expression: '` + openA + `', agent_version: soon}
`},
			want: []string{
				`r filtered 3:10 agent_version "< 7.60" does not hold for 7.83.0`,
				`r loaded 4:10`,
				`f filtered 5:10 filter "os == \"windows\"" does not hold here`,
				`g loaded 6:10`,
				`h error 7:62 filter: filter field "oss" does not exist; did you mean "os"?`,
				`i error 8:66 agent_version "soon" is no version constraint such as ">= 7.65 < 7.70"`,
			},
			rules: 2,
		},
		{
			name: "disabled and enabled elsewhere",
			files: map[string]string{
				"default.policy": `
rules:
  - {id: a, expression: '` + openA + `'}
  - {id: b, expression: '` + openA + `', disabled: true}
  - {id: c, expression: '` + openA + `'}
  - {id: d, disabled: true}
`,
				"a.policy": `
rules:
  - {id: a, disabled: true}
  - {id: b, expression: '` + openB + `'}
  - {id: c, expression: '` + openB + `'}
`,
			},
			want: []string{
				"a disabled 3:10 disabled by a.policy:3",
				"b loaded 4:10 enabled by a.policy:4",
				"c loaded 5:10",
				"d disabled 6:10",
				"a disabled 3:10",
				"b loaded 4:10 the rule is defined in default.policy:4, only disabled is taken from here",
				`c error 5:10 rule "c" is already defined in default.policy:5; this definition is ignored (to change the rule use combine: override)`,
			},
			rules: 2,
		},
		{
			name: "overrides",
			files: map[string]string{
				"default.policy": `
rules:
  - {id: a, expression: '` + openA + `', tags: {x: 1}}
  - {id: b, expression: '` + openA + `'}
  - {id: c, expression: '` + openA + `'}
`,
				"x.policy": `
rules:
  - {id: a, combine: override, expression: '` + openB + `'}
  - {id: b, combine: override, override_options: {fields: [all]}, every: 1m, tags: {severity: low}, description: new}
  - {id: c, combine: override, expression: 'open.nope == 1'}
  - {id: own, expression: '` + openA + `'}
`,
				"y.policy": `
rules:
  - {id: own, combine: override, override_options: {fields: [all]}, expression: '` + openB + `'}
  - {id: new, combine: override, expression: '` + openB + `'}
  - {id: e, combine: overide, expression: '` + openB + `'}
  - {id: f, combine: override, override_options: {fields: [evry]}, expression: '` + openB + `'}
`,
			},
			want: []string{
				"a loaded 3:10 overridden by x.policy:3",
				"b loaded 4:10 overridden by x.policy:4",
				"c error 5:10 the expression from x.policy:5:45 does not compile",
				"a loaded 3:10", "b loaded 4:10", "c error 5:45 *",
				"own loaded 6:10",
				`own error 3:10 override_options.fields: all is only for rules of default.policy; the rule is of x.policy`,
				"new loaded 4:10",
				`e error 5:22 combine is "overide", it may be override`,
				`f error 6:60 override_options.fields cannot have "evry"; did you mean "every"?`,
			},
			rules: 4,
		},
		{
			name: "macros",
			files: map[string]string{
				"default.policy": `
macros:
  - {id: LIST, values: [a, b]}
  - {id: EXPR, expression: 'O_CREAT|O_TRUNC'}
  - {id: BOTH, expression: '1', values: [a]}
  - {id: NONE}
  - {id: EMPTY, values: []}
  - {id: NESTED, expression: 'open.file.name in LIST'}
rules:
  - {id: r, expression: 'open.file.name in LIST && (open.flags & EXPR) > 0'}
  - {id: nested, expression: 'NESTED && open.flags > 0'}
`,
				"z.policy": `
macros:
  - {id: LIST, combine: merge, values: [c]}
  - {id: EXPR, combine: merge, values: [c]}
  - {id: LIST, values: [c]}
`,
			},
			want: []string{
				"macro LIST loaded 3:10", "macro EXPR loaded 4:10",
				"macro BOTH error 5:10 a macro has an expression or values, not both",
				"macro NONE error 6:10 the macro has neither an expression nor values",
				"macro EMPTY error 7:10 values is empty",
				"macro NESTED loaded 8:10",
				"r loaded 10:10", "nested loaded 11:10",
				"macro LIST loaded 3:10",
				`macro EXPR error 4:10 cannot merge macro "EXPR": both definitions need values, an expression cannot be merged`,
				`macro LIST error 5:10 macro "LIST" is already defined in default.policy:3; use combine: merge or override`,
			},
			rules: 2,
		},
		{
			name: "warnings",
			files: map[string]string{"a.policy": `
rules:
  - id: a
    expression: open.file.path == "/a"
    serverity: high
    tags: {severity: urgent}
    limiter_token: [process.file.path]
    actions:
      - kill: {signal: SIGKILL}
      - hash: {}
  - {id: b, expression: '` + openA + `', every: 0s}
  - {id: c, expression: '` + openA + `', actions: [{kil: {}}]}
  - {id: d, expression: '` + openA + `', actions: [{kill: {}}]}
  - {id: e, expression: '` + openA + `', actions: [{kill: {signal: SIGTERM}, log: {level: info}}]}
  - {id: f, expression: '` + openA + `', actions: [{filter: 'true'}]}
  - {id: g, expression: '` + openA + `', actions: [{set: {name: x, value: 1, field: open.file.path}}]}
  - {id: h, expression: '` + openA + `', actions: [{set: {name: x, expression: '"a"'}}]}
  - {id: i, expression: '` + openA + `', actions: [{set: {name: x, value: 1, scope: thread}}]}
  - {id: j, expression: '` + openA + `', priority: high}
  - {id: k, expression: '` + openA + `', silent: perhaps}
`},
			want: []string{
				`a loaded 3:9 *`,
				`b error 11:58 every must be a positive duration such as 10s or 5m`,
				`c error 12:62 unknown action "kil"; did you mean "kill"?`,
				`d error 13:62 action kill needs signal`,
				`e error 14:87 an action is of one kind, this one is kill and log`,
				`f error 15:61 *`,
				`g error 16:62 action set needs exactly one of value, field and expression`,
				`h error 17:89 set.expression needs default_value, which gives the variable its type`,
				`i error 18:94 set.scope is "thread"*`,
				`j error 19:61 priority must be a whole number`,
				`k error 20:59 silent must be true or false`,
			},
			rules: 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, report := loadDir(t, tt.files)
			got := outcome(report)
			require.Len(t, got, len(tt.want), strings.Join(got, "\n"))
			for i, want := range tt.want {
				if prefix, ok := strings.CutSuffix(want, "*"); ok {
					assert.True(t, strings.HasPrefix(got[i], strings.TrimSpace(prefix)), "%s\nbegins not with\n%s", got[i], prefix)
				} else {
					assert.Equal(t, strings.TrimSpace(want), got[i])
				}
			}
			assert.Equal(t, tt.rules, set.Len())
			assert.Len(t, loadedIDs(report), tt.rules)
		})
	}
}

func loadedIDs(r *Report) map[string]bool {
	ids := map[string]bool{}
	for _, p := range r.Policies {
		for _, e := range p.Rules {
			if e.Status == StatusLoaded {
				ids[e.ID] = true
			}
		}
	}
	return ids
}

func TestLoadWarnsOfWhatIsNotExecuted(t *testing.T) {
	_, report := loadDir(t, map[string]string{"a.policy": `
rules:
  - id: a
    expression: open.file.path == "/a"
    serverity: high
    tags: {severity: urgent}
    limiter_token: [process.file.path]
    actions:
      - coredump: {process: true}
      - network_filter: {filter: port 53}
`})
	message := report.Policies[0].Rules[0].Message
	for _, want := range []string{
		`5:5: unknown key "serverity" is ignored`, "tag severity is not one of", "9:9: action coredump is not executed",
		"10:9: action network_filter is not executed",
	} {
		assert.Contains(t, message, want)
	}
}

func TestLoadFiles(t *testing.T) {
	dir := write(t, map[string]string{
		"b.policy":       "version: 2.0\nrules: [{id: b, expression: '" + openA + "'}]",
		"a.policy":       "rules: [{id: a, expression: '" + openA + "'}]",
		"default.policy": "rules: [{id: d, expression: '" + openA + "'}]",
		"notes.yaml":     "rules: [{id: y, expression: '" + openA + "'}]",
		".hidden.policy": "rules: [{id: h, expression: '" + openA + "'}]",
		"broken.policy":  "rules: [",
		"empty.policy":   "",
		"list.policy":    "- a",
		"macros.policy":  "rules: x",
	})
	extra := filepath.Join(dir, "notes.yaml")
	missing := filepath.Join(dir, "missing.policy")
	emptyDir := t.TempDir()
	fifo := filepath.Join(dir, "sub.policy")
	require.NoError(t, os.Mkdir(fifo, 0o700))

	_, report := Load([]string{dir, extra, extra, missing, emptyDir}, Options{Machine: testMachine()})
	type row struct{ name, version, status, message string }
	var got []row
	for _, p := range report.Policies {
		got = append(got, row{p.Name, p.Version, p.Status, p.Message})
	}
	assert.Equal(t, []row{
		{"default.policy", "", "loaded", ""},
		{filepath.Base(emptyDir), "", "error", "the directory has no *.policy file"},
		{"a.policy", "", "loaded", ""},
		{"b.policy", "2.0", "loaded", ""},
		{"broken.policy", "", "error", "not valid YAML: sequence end token ']' not found"},
		{"empty.policy", "", "error", "the file is empty"},
		{"list.policy", "", "error", "not a policy: expected a mapping with version, macros and rules, found a list"},
		{"macros.policy", "", "error", "rules must be a list, it is a value"},
		{"missing.policy", "", "error", "cannot stat: no such file or directory"},
		{"notes.yaml", "", "loaded", ""},
		{"sub.policy", "", "error", "not a regular file"},
	}, got)
}

func TestLoadTakesBrokenFilesFromThePreviousSet(t *testing.T) {
	dir := write(t, map[string]string{
		"a.policy": "rules: [{id: a, expression: '" + openA + "'}]",
		"b.policy": "rules: [{id: b, expression: '" + openA + "'}]",
		"c.policy": "rules: [{id: c, expression: '" + openA + "'}]",
	})
	opts := Options{Machine: testMachine()}
	set, report := Load([]string{dir}, opts)
	require.Zero(t, report.Errors())
	opts.Previous = set

	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.policy"), []byte("rules: ["), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "b.policy"), []byte("rules: [{id: b2, expression: '"+openB+"'}]"), 0o600))
	require.NoError(t, os.Remove(filepath.Join(dir, "c.policy")))
	set, report = Load([]string{dir}, opts)
	assert.Equal(t, map[string]struct{}{"a": {}, "b2": {}}, set.ids, "a deleted file is gone, a broken one is not")
	assert.Equal(t, "not valid YAML: sequence end token ']' not found; the previous version stays in use", report.Policies[0].Message)
	assert.Equal(t, PolicyError, report.Policies[0].Status)

	opts.Previous = set
	require.NoError(t, os.RemoveAll(dir))
	set, report = Load([]string{dir}, opts)
	assert.Equal(t, map[string]struct{}{"a": {}, "b2": {}}, set.ids, "a directory that is gone is not an order to drop all rules")
	assert.Equal(t, []string{filepath.Base(dir), "a.policy", "b.policy"}, policyNames(report))
}

func policyNames(r *Report) []string {
	var names []string
	for _, p := range r.Policies {
		names = append(names, p.Name)
	}
	return names
}

func TestLoadLineEnds(t *testing.T) {
	for name, end := range map[string]string{"LF": "\n", "CR LF": "\r\n", "CR": "\r"} {
		src := strings.ReplaceAll("rules:\n  - id: a\n    expression: |-\n      open.flags > 0 &&\n        open.nope > 0\n", "\n", end)
		_, report := loadDir(t, map[string]string{"a.policy": src})
		e := report.Policies[0].Rules[0]
		assert.Equal(t, Position{5, 9}, Position{e.Line, e.Column}, name)
		assert.Equal(t, "            open.nope > 0\n            ^\n", e.Snippet, name)
	}
}

func TestLoadRuleProperties(t *testing.T) {
	set, report := loadDir(t, map[string]string{"a.policy": `
version: 1.10
rules:
  - id: r
    version: 3
    description: d
    group_id: g
    tags: {severity: critical, technique: T1, list: [x, y]}
    product_tags: [p]
    every: 10s
    priority: 1
    silent: true
    expression: ` + openA + `
  - id: first
    priority: 10
    expression: ` + openA + `
`})
	require.Zero(t, report.Errors())
	rules := set.Rules(event.TypeOpen)
	require.Len(t, rules, 2)
	assert.Equal(t, "first", rules[0].ID)
	assert.Equal(t, event.RuleInfo{
		ID: "r", Version: "3", Description: "d", GroupID: "g", PolicyName: "a.policy", PolicyVersion: "1.10",
		Tags: []string{"severity:critical", "technique:T1", "list:x", "list:y"}, Severity: event.SeverityCritical,
	}, rules[1].Info)
	assert.Equal(t, 10*time.Second, rules[1].Every)
	assert.True(t, rules[1].Silent)
	assert.NotZero(t, set.Need(event.TypeOpen)&event.NeedFile)
	assert.Zero(t, set.Need(event.TypeExec))
	assert.Nil(t, set.Rules(event.NumTypes))
	assert.True(t, set.Has("r"))
	assert.Equal(t, "7.83.0", set.AgentVersion())
}

func TestLoadFIM(t *testing.T) {
	set, report := loadDir(t, map[string]string{"a.policy": `
rules:
  - id: fim
    expression: fim.write.file.path == "/etc/x" && process.uid == 0
  - id: bad
    expression: process.uid == 0 && fim.write.file.nope == 3
`})
	assert.Equal(t, 1, set.Len())
	for _, typ := range []event.Type{event.TypeOpen, event.TypeChmod, event.TypeChown, event.TypeLink, event.TypeRename, event.TypeUnlink} {
		require.Len(t, set.Rules(typ), 1, typ)
		assert.Equal(t, "fim", set.Rules(typ)[0].Info.ID)
	}
	assert.True(t, strings.HasPrefix(outcome(report)[1], "bad error 6:37 "), outcome(report)[1])
}

func TestReportJSONAndText(t *testing.T) {
	dir := write(t, map[string]string{"a.policy": "version: 1.0.0\nmacros:\n  - {id: M, values: [x]}\nrules:\n  - id: a\n    expression: open.file.nmae in M\n"})
	_, report := Load([]string{dir}, Options{Machine: testMachine()})
	b, err := json.Marshal(report)
	require.NoError(t, err)
	message := report.Policies[0].Rules[0].Message
	quoted, err := json.Marshal(message)
	require.NoError(t, err)
	path := filepath.Join(dir, "a.policy")
	assert.JSONEq(t, `{"policies":[{"name":"a.policy","version":"1.0.0","path":"`+path+`","status":"partially_loaded","message":"",
		"macros":[{"id":"M","status":"loaded","message":"","line":3,"column":10}],
		"rules":[{"id":"a","status":"error","message":`+string(quoted)+`,"line":6,"column":17}]}]}`, string(b))
	assert.Contains(t, message, "open.file.name", "the nearest name")

	var text bytes.Buffer
	require.NoError(t, report.WriteText(&text))
	assert.Equal(t, "error: "+path+":6:17: rule \"a\": "+message+"\n"+
		"        expression: open.file.nmae in M\n"+
		"                    ^\n"+
		path+": partially loaded, 0 rules loaded, 0 filtered, 0 disabled, 1 errors\n", text.String())
}

func TestLoadWrongAgentVersion(t *testing.T) {
	set, report := Load([]string{t.TempDir()}, Options{AgentVersion: "latest"})
	assert.Zero(t, set.Len())
	assert.Equal(t, 1, report.Errors())
	assert.Contains(t, report.Policies[0].Message, `agent version "latest"`)
}

// What loads and is most likely not what was meant is a note.
func TestLoadNotes(t *testing.T) {
	const bom = "\ufeff"
	_, report := loadDir(t, map[string]string{"a.policy": bom + `rules:
  - {id: nanoseconds, every: 10, expression: 'open.file.path == "/a"'}
  - {id: unavailable, expression: 'exec.file.package.name == "x" || exec.file.package.name == exec.file.package.version'}
  - {id: star, expression: 'open.file.path == "/tmp/*" || open.file.path in ["/a", "/b/*", ~"/c/*"] || open.file.name == "*" || open.file.path =~ "/d/*"'}
  - {id: misspelt, expresion: 'open.file.path == "/a"'}
`})
	var got []string
	for _, r := range report.Policies[0].Rules {
		got = append(got, fmt.Sprint(r.ID, " ", r.Status, ": ", r.Message))
	}
	assert.Equal(t, []string{
		"nanoseconds loaded: 2:30: every: 10 is in nanoseconds; with a unit, as in 10s, it says what is meant",
		"unavailable loaded: no event has a value for exec.file.package.name, exec.file.package.version: what is unavailable is taken as empty, 0 or false",
		`star loaded: "/tmp/*" is compared as it is, with its star; a pattern is ~"/tmp/*"; "/b/*" is compared as it is, with its star; a pattern is ~"/b/*"`,
		`misspelt error: the rule has no expression; 5:20: unknown key "expresion" is ignored; did you mean "expression"?`,
	}, got)
}

func TestLoadLimits(t *testing.T) {
	_, report := loadDir(t, map[string]string{
		"rules.policy": "rules:\n" + strings.Repeat("  - {id: a}\n", maxRules+1),
		"expr.policy":  "rules:\n  - {id: a, expression: 'open.file.path == \"" + strings.Repeat("/a", maxExpression) + "\"'}\n",
	})
	assert.Equal(t, "expression has more than 65536 bytes", report.Policies[0].Rules[0].Message)
	assert.Equal(t, "rules has more than 5000 entries", report.Policies[1].Message)
}

// Macros of macros grow, but not without an end: neither one expression, nor all of them together.
func TestLoadLimitsOfMacros(t *testing.T) {
	var b strings.Builder
	b.WriteString("macros:\n  - {id: M0, expression: 'exec.uid == 1'}\n")
	for i := range 15 {
		fmt.Fprintf(&b, "  - {id: M%d, expression: '(M%d && M%d)'}\n", i+1, i, i)
	}
	b.WriteString("rules:\n  - {id: one, expression: M15 && M15 && M15}\n")
	for i := range 100 {
		fmt.Fprintf(&b, "  - {id: r%d, expression: M15}\n", i)
	}
	set, report := loadDir(t, map[string]string{"macros.policy": b.String()})
	rules := report.Policies[0].Rules
	assert.Contains(t, rules[0].Message, "the expression has more than 200000 operands, with its macros")
	assert.Contains(t, rules[100].Message, "all expressions together have more than 10000000 operands, with their macros")
	assert.Greater(t, set.Len(), 20)
	assert.Less(t, set.Len(), 50)
}

func FuzzLoad(f *testing.F) {
	seeds, err := filepath.Glob("testdata/seeds/*")
	require.NoError(f, err)
	require.NotEmpty(f, seeds)
	for _, s := range seeds {
		b, err := os.ReadFile(s)
		require.NoError(f, err)
		f.Add(b)
	}
	machine := testMachine()
	f.Fuzz(func(t *testing.T, src []byte) {
		path := filepath.Join(t.TempDir(), "f.policy")
		require.NoError(t, os.WriteFile(path, src, 0o600))
		set, report := Load([]string{path}, Options{Machine: machine})
		lines := bytes.Count(src, []byte{'\n'}) + bytes.Count(src, []byte{'\r'}) + 1
		for _, p := range report.Problems() {
			if p.Line < 0 || p.Line > lines+1 || p.Column < 0 {
				t.Errorf("problem outside of the file: %s", p)
			}
			if p.Message == "" {
				t.Errorf("problem without a message: %+v", p)
			}
		}
		if ids := loadedIDs(report); len(ids) != set.Len() {
			t.Errorf("%d rules are reported as loaded, the set has %d", len(ids), set.Len())
		}
		again, report2 := Load([]string{path}, Options{Machine: machine})
		if again.Len() != set.Len() || report2.Errors() != report.Errors() {
			t.Error("the same file gives another result")
		}
	})
}

func benchmarkSource(n int) []byte {
	var b bytes.Buffer
	b.WriteString("rules:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - id: rule_%d\n    description: Rule number %d\n    expression: |-\n      open.file.path in [\"/etc/%d\", ~\"/opt/%d/*\"]\n        && open.flags & (O_CREAT|O_WRONLY) > 0 && process.file.name != \"p%d\"\n    tags: {severity: low}\n", i, i, i, i, i)
	}
	return b.Bytes()
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "b.policy")
			require.NoError(b, os.WriteFile(path, benchmarkSource(n), 0o600))
			b.ReportAllocs()
			for b.Loop() {
				if set, _ := Load([]string{path}, Options{Machine: testMachine()}); set.Len() != n {
					b.Fatal(set.Len())
				}
			}
		})
	}
}
