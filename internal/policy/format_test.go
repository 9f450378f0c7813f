// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/secl"
)

// formatTwice formats src, and checks that formatting the result changes nothing.
func formatTwice(t *testing.T, src string) string {
	t.Helper()
	out, err := Format([]byte(src))
	require.NoError(t, err)
	again, err := Format(out)
	require.NoError(t, err)
	assert.Equal(t, string(out), string(again), "formatted again")
	return string(out)
}

func TestFormat(t *testing.T) {
	long := strings.Repeat("a", 60)
	tests := []struct{ name, src, want string }{
		{
			"order of keys",
			"rules:\n  - actions:\n      - kill: {signal: SIGKILL}\n    tags: {b: x, a: y}\n    later: 1\n    expression: a\n    every: 1m\n    id: r\n    description: d\n    new: 2\n    version: 1.0.0\n" +
				"macros:\n  - values: [a]\n    id: M\n    description: d\n",
			"rules:\n  - id: r\n    version: 1.0.0\n    description: d\n    expression: a\n    tags: {b: x, a: y}\n    every: 1m\n    actions:\n      - kill: {signal: SIGKILL}\n    later: 1\n    new: 2\n\n" +
				"macros:\n  - id: M\n    description: d\n    values: [a]\n",
		},
		{
			"indentation",
			"rules:\n-   id: a\n    filters:\n    - os == \"linux\"\n    -   b\n    actions:\n         -  set:\n               name: x\n               value: 1\n",
			"rules:\n  - id: a\n    filters:\n      - os == \"linux\"\n      - b\n    actions:\n      - set:\n          name: x\n          value: 1\n",
		},
		{
			"empty lines",
			"\n\nversion: 1\n\n\nmacros:\n\n  - id: A\n\n    values: [a]\n  - id: B\n    values: [a]\nrules:\n  - {id: a}\n  - {id: b}\n\n\n  - {id: c}\n  - id: d\n    x:\n      - 1\n\n\n      - 2\n\n",
			"version: 1\n\nmacros:\n  - id: A\n    values: [a]\n\n  - id: B\n    values: [a]\n\nrules:\n  - {id: a}\n  - {id: b}\n\n  - {id: c}\n\n  - id: d\n    x:\n      - 1\n\n      - 2\n",
		},
		{
			"quotes",
			"version: '1.0.0'\n\"type\": \"policy\"\nx:\n  - 'true'\n  - \"1\"\n  - 'null'\n  - 'a text'\n  - \"it's\"\n  - 'say \"x\"'\n  - \"say \\\"x\\\"\"\n  - \"both ' and \\\"\"\n  - 'a: b'\n  - 'a #b'\n  - '~\"x*\"'\n  - ''\n  - \"\\t\\e\"\n  - '2024-01-02'\n  - ' a'\n  - true\n  - 0x1F\n  - ~\n  - [ 'a,b', 'a b', \"c\" ]\n",
			"version: '1.0.0'\ntype: policy\nx:\n  - 'true'\n  - \"1\"\n  - 'null'\n  - a text\n  - it's\n  - say \"x\"\n  - say \"x\"\n  - both ' and \"\n  - 'a: b'\n  - 'a #b'\n  - '~\"x*\"'\n  - ''\n  - \"\\t\\x1b\"\n  - '2024-01-02'\n  - ' a'\n  - true\n  - 0x1F\n  - ~\n  - ['a,b', a b, c]\n",
		},
		{
			"comments",
			"# head\n\n# of version\nversion: 1 # beside\n# of rules\nrules: # r\n# Section\n\n- # item\n  id: a\n# of tags, wrongly indented\n  tags: # t\n    x: y # y\n    # end of tags\n  # of expression\n  expression: a   #   e\n  # end of a\n# of b\n- id: b\n# end\n",
			"# head\n\n# of version\nversion: 1  # beside\n\n# of rules\nrules:  # r\n  # Section\n\n  -  # item\n    id: a\n    # of expression\n    expression: a  #   e\n    # of tags, wrongly indented\n    tags:  # t\n      x: y  # y\n      # end of tags\n    # end of a\n\n  # of b\n  - id: b\n# end\n",
		},
		{
			"comments of moved keys",
			"rules:\n  - # of version\n    version: 1\n    # of id\n    id: a\n",
			"rules:\n  -  # of version\n    # of id\n    id: a\n    version: 1\n",
		},
		{
			"comment above the first key",
			"rules:\n  - version: 1\n    # of id\n    id: a\n",
			"rules:\n  # of id\n  - id: a\n    version: 1\n",
		},
		{
			"comment at the end of a rule",
			"rules:\n  - id: a\n    expression: a\n    # every: 1m\n  - id: b\n",
			"rules:\n  - id: a\n    expression: a\n    # every: 1m\n\n  - id: b\n",
		},
		{
			"comments in brackets",
			"rules:\n  - id: a\n    tags: { severity:  high, # s\n            x: y } # after\n",
			"rules:\n  - id: a\n    tags: { severity:  high, # s\n      x: y }  # after\n",
		},
		{
			"comments around block scalars",
			"rules:\n  - id: a\n    description: | # beside\n      one\n\n       two\n    # after\n    expression: a\n",
			"rules:\n  - id: a\n    description: |  # beside\n      one\n\n       two\n    # after\n    expression: a\n",
		},
		{
			"comment between key and value",
			"rules:\n  - id: a\n    description:\n      # about\n      text\n",
			"rules:\n  - id: a\n    # about\n    description: text\n",
		},
		{
			"anchors, aliases, merge keys and tags",
			"x: &t   {severity:   low}\ny: !!str   5\nrules:\n  - &r\n    tags: *t\n    id: a\n    expression: &e a==1\n  - <<: *r\n    id: b\n  - <<: [ *r,*t ]\n    id: c\n    expression: *e\n",
			"x: &t {severity: low}\ny: !!str 5\n\nrules:\n  - &r\n    tags: *t\n    id: a\n    expression: &e a==1\n\n  - id: b\n    <<: *r\n\n  - id: c\n    <<: [*r, *t]\n    expression: *e\n",
		},
		{
			"an alias stays behind its anchor",
			"rules:\n  - tags: &t {a: b}\n    x: *t\n    id: a\n",
			"rules:\n  - tags: &t {a: b}\n    x: *t\n    id: a\n",
		},
		{
			"expressions",
			"macros:\n  - {id: M, expression: '[\"a\",\"b\"]'}\nrules:\n  - id: a\n    expression: >\n      a==1\n      and  b\n    actions:\n      - set: {name: x, expression: '${x}+ 1'}\n        filter: \"a   ==\\\"x\\\"\"\n      - network_filter: {filter: 'a   b'}\n",
			"macros:\n  - {id: M, expression: '[\"a\", \"b\"]'}\n\nrules:\n  - id: a\n    expression: a == 1 && b\n    actions:\n      - set: {name: x, expression: '${x} + 1'}\n        filter: a == \"x\"\n      - network_filter: {filter: a   b}\n",
		},
		{
			"long expression",
			"rules:\n  - id: a\n    expression: " + long + " && " + long + " # c\n",
			"rules:\n  - id: a\n    expression: |-  # c\n      " + long + "\n        && " + long + "\n",
		},
		{
			"expression with comments",
			"rules:\n  - id: a\n    expression: |\n      a==1  // why\n      and  b\n  - id: b\n    expression: 'a==1  # why'\n",
			"rules:\n  - id: a\n    expression: |-\n      a==1  // why\n      and  b\n\n  - id: b\n    expression: 'a==1  # why'\n",
		},
		{
			"expression with a line break in a string",
			"rules:\n  - id: a\n    expression: \"a==\\\"x\\n  y\\\"\"\n",
			"rules:\n  - id: a\n    expression: |-\n      a == \"x\n        y\"\n",
		},
		{"filters are left alone", "rules:\n  - id: a\n    filters: ['os==\"linux\"  and x']\n", "rules:\n  - id: a\n    filters: [os==\"linux\"  and x]\n"},
		{"empty expression", "rules:\n  - {id: a, disabled: true, expression: ''}\n", "rules:\n  - {id: a, expression: '', disabled: true}\n"},
		{
			"long list in brackets",
			"macros:\n  - id: A\n    values: [" + strings.Repeat(long[:30]+",", 5) + "[x,y],{k: v}]\n",
			"macros:\n  - id: A\n    values: [" + long[:30] + ", " + long[:30] + ",\n             " + long[:30] + ", " + long[:30] + ",\n             " + long[:30] + ", [x, y], {k: v}]\n",
		},
		{
			"long rule in braces",
			"rules:\n  - {id: a, expression: 'a in [\"x\"]', description: " + long + ", tags: {a: b}}\n",
			"rules:\n  - id: a\n    description: " + long + "\n    expression: a in [\"x\"]\n    tags: {a: b}\n",
		},
		{
			"JSON",
			`{"version": "1.2.3", "rules": [{"id": "a", "expression": "a==1", "tags": {"x": "y"}}, {"id": "b"}], "macros": []}`,
			"version: \"1.2.3\"\n\nrules:\n  - {id: a, expression: a == 1, tags: {x: \"y\"}}\n  - {id: b}\n\nmacros: []\n",
		},
		{
			"text on several lines",
			"rules:\n  - id: a\n    description: one two\n      three\n    folded: >-\n        one\n        two\n\n          three\n    literal: |\n        one\n         two\n    kept: |+\n      one\n\n    quoted: \"one\n      two\\n\n      three\"\n    key: &x >\n      a\n",
			"rules:\n  - id: a\n    description: one two three\n    folded: >-\n      one\n      two\n\n        three\n    literal: |\n      one\n       two\n    kept: \"one\\n\\n\"\n    quoted: |-\n      one two\n       three\n    key: &x >\n      a\n",
		},
		{
			"long text on several lines",
			"rules:\n  - id: a\n    description: " + long + " bbb\n      - c " + long + "\n",
			"rules:\n  - id: a\n    description: " + long + " bbb - c\n      " + long + "\n",
		},
		{
			"null", "rules:\n  - id: a\n    every:\n    y: {a: , b: ~}\n    z: {}\n  -\n",
			"rules:\n  - id: a\n    every:\n    y: {a: null, b: ~}\n    z: {}\n\n  -\n",
		},
		{"lists in lists", "x:\n- - a\n  - - b\n-\n  - c\n", "x:\n  - - a\n    - - b\n  - - c\n"},
		{"question mark", "? version\n: 1\n", "version: 1\n"},
		{"start and end", "# c\n---  # d\n\nversion: 1\n\n...\n# e\n\n", "# c\n---  # d\nversion: 1\n...\n# e\n"},
		{"line ends", "version: 1\r\nrules:\r  - {id: a}\r\n", "version: 1\n\nrules:\n  - {id: a}\n"},
		{"characters", "rules:\n  - id: a\n    description: 'é – ü'\n    expression: a==\"é\" # ü\n    x: \"é\u00a0\"\n", "rules:\n  - id: a\n    description: é – ü\n    expression: a == \"é\"  # ü\n    x: \"é\\xa0\"\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, formatTwice(t, tt.src))
		})
	}
}

func TestFormatErrors(t *testing.T) {
	tests := []struct{ name, src, want string }{
		{"empty", "", "the file is empty"},
		{"only comments", "# nothing\n", "the file is empty"},
		{"no policy", "- a\n", "1:1: not a policy: expected a mapping with version, macros and rules, found a list"},
		{"no YAML", "rules: [", "1:8: not valid YAML: sequence end token ']' not found"},
		{"rules are no list", "rules: a\n", "1:8: rules must be a list, it is a value"},
		{"expression", "rules:\n  - id: a\n    expression: |-\n      a == 1\n        && b ==\n", "5:16: syntax error: unexpected end of the expression, expected a field, a value or ("},
		{"macro", "macros:\n  - {id: a, expression: '[1, \"a\"]'}\n", "2:30: syntax error: unexpected token \"\\\"a\\\"\", the members of an array are of one kind and this one began with a int"},
		{"filter of an action", "rules:\n  - id: a\n    expression: a\n    actions: [{kill: {}, filter: \"a b\"}]\n", "4:37: syntax error: unexpected token \"b\", expected an operator or the end of the expression"},
		{"documents", "---\nversion: 1\n---\n", "3:1: a file with more than one document cannot be formatted"},
		{"value at the start", "--- {version: 1}\n", "1:1: a file with something else on the line of --- cannot be formatted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Format([]byte(tt.src))
			require.EqualError(t, err, tt.want)
			var fe *FormatError
			require.ErrorAs(t, err, &fe)
			assert.Equal(t, fe.Line > 0, fe.Snippet != "")
		})
	}
}

// TestFormatGuard: what is not the same is told from what is.
func TestFormatGuard(t *testing.T) {
	const src = "x: {a: 1, b: [c, 'd']}\nrules:\n  - id: a\n    expression: a == 1 && b\n    tags: {a: '1', b: '2'}\n    description: a == 1\n# c\n"
	before, err := parseYAML([]byte(src))
	require.NoError(t, err)
	check := func(old, now string) error {
		require.Contains(t, src, old)
		return checkFormatted([]byte(src), []byte(strings.Replace(src, old, now, 1)), before)
	}
	for old, now := range map[string]string{
		"a == 1 && b": "a==1 and b", "id: a\n    expression: a == 1 && b\n": "expression: a == 1 && b\n    id: a\n", "'d'": "d", "x: {": "x:   {",
	} {
		require.NoError(t, check(old, now), now)
	}
	for old, now := range map[string]string{
		"a == 1 && b":                    "a == 1 || b",
		"expression: a":                  "expression: (a",
		"a == 1\n#":                      "a==1\n#",                         // a description is no expression
		"{a: '1', b: '2'}":               "{b: '2', a: '1'}",                // tags have an order
		"{a: '1'":                        "{a: 1",                           // another type
		"[c, 'd']":                       "[c]",                             // unknown keys count too
		"{a: 1, b: [c, 'd']}":            "{b: [c, 'd'], a: 1}",             // in their order
		"id: a":                          "id: b",                           //
		"# c\n":                          "",                                // a comment
		"rules:":                         "macros:",                         //
		"    description: a == 1\n":      "",                                //
		"expression: a == 1 && b\n    t": "tags: {}\n    t",                 //
		"tags: {a: '1', b: '2'}":         "tags: &t {a: '1', b: '2'}",       // an anchor
		"description: a == 1":            "description: !!str a == 1",       // a tag
		"  - id: a\n":                    "  - id: c\n  - id: a\n",          //
		"description: a == 1\n":          "description: a == 1\n    x: 1\n", //
	} {
		require.Error(t, check(old, now), now)
	}
}

// loadTexts loads policies by their names. The report is without what formatting may change: paths and places.
func loadTexts(t *testing.T, texts map[string][]byte) (*Set, *Report) {
	t.Helper()
	dir := t.TempDir()
	for name, src := range texts {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), src, 0o600))
	}
	set, report := Load([]string{dir}, Options{KeepSource: true})
	for i := range report.Policies {
		p := &report.Policies[i]
		p.Path = ""
		for _, entities := range [][]EntityReport{p.Macros, p.Rules} {
			for j := range entities {
				entities[j].Line, entities[j].Column, entities[j].Snippet = 0, 0, ""
			}
		}
	}
	return set, report
}

// assertSameRules checks that policies, by their names, load to the same rules, in the same order, when they are formatted.
func assertSameRules(t *testing.T, src map[string][]byte) {
	t.Helper()
	formatted := map[string][]byte{}
	for name, text := range src {
		formatted[name] = []byte(formatTwice(t, string(text)))
	}
	before, beforeReport := loadTexts(t, src)
	after, afterReport := loadTexts(t, formatted)
	assert.Equal(t, beforeReport, afterReport)
	require.NotZero(t, before.Len())
	for typ := range before.byType {
		a, b := before.byType[typ], after.byType[typ]
		require.Len(t, b, len(a))
		for i := range a {
			assert.Equal(t, a[i].Info, b[i].Info)
			assert.Equal(t, a[i].Every, b[i].Every)
			assert.Equal(t, a[i].Silent, b[i].Silent)
			assert.Equal(t, a[i].need, b[i].need)
			assert.Len(t, b[i].effects, len(a[i].effects))
			assert.True(t, secl.SameMeaning(before.expressions[a[i]], after.expressions[b[i]]), a[i].ID)
		}
	}
}

func TestFormatExamples(t *testing.T) {
	paths, err := Files([]string{filepath.Join("..", "..", "examples", "policies")})
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	texts := map[string][]byte{}
	for _, path := range paths {
		texts[filepath.Base(path)], err = ReadFile(path)
		require.NoError(t, err)
	}
	assertSameRules(t, texts)
}

// TestFormatRealPolicy is about the policy of TestRealPolicy.
func TestFormatRealPolicy(t *testing.T) {
	path := filepath.Join("..", "..", "..", "shared", "policies", "default_2024-03-28.policy")
	src, err := os.ReadFile(path)
	if err != nil {
		t.Skip("the shared policy is not beside the repository")
	}
	assertSameRules(t, map[string][]byte{DefaultName: src})
	out := formatTwice(t, string(src))
	assert.Equal(t, strings.Count(string(src), "- id: "), strings.Count(out, "- id: "))
	assert.Equal(t, strings.SplitN(string(src), "\n", 2)[0], strings.SplitN(out, "\n", 2)[0], "the comment at the top stays")
}

// FuzzFormat: formatting does not panic. What it gives loads to the same definitions, and formatting it again changes nothing.
// That Format refuses a file because the result would mean something else is well here: the parser takes much for YAML that
// is none.
func FuzzFormat(f *testing.F) {
	seeds, err := filepath.Glob(filepath.Join("testdata", "seeds", "*.policy"))
	require.NoError(f, err)
	require.NotEmpty(f, seeds)
	for _, path := range seeds {
		src, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(src)
	}
	for _, s := range []string{
		"rules: # r\n# Section\n\n- # item\n  id: a\n# of tags\n  tags: # t\n    x: y # y\n    # end of tags\n  # end of a\n  expression: a and\n    b #   e\n# of b\n- id: b\n",
		"x: &a [1, 2, # c\n 3]\ny: *a\nz: |+\n  a\n\n\nq: \"a\\n\n  b\"\nf: >-\n a\n  b\n? k\n: v\n",
		"--- # c\n{rules: [{id: a, expression: \"a  == 1\"}], macros: [{id: M, values: [a, '~\"b\"']}]}\n...\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		out, err := Format(src)
		if err != nil {
			if strings.Contains(err.Error(), "report this as a bug") {
				t.Fatalf("%q: %v", src, err)
			}
			return
		}
		before, err := parseFile("", "", normalizeLineEnds(src))
		if err != nil {
			t.Fatalf("%q is formatted and no policy: %v", src, err)
		}
		after, err := parseFile("", "", out)
		if err != nil {
			t.Fatalf("%q: formatted %q, which is no policy: %v", src, out, err)
		}
		if len(before.rules) != len(after.rules) || len(before.macros) != len(after.macros) {
			t.Fatalf("%q: formatted %q, which has other rules", src, out)
		}
		for i, r := range before.rules {
			if o := after.rules[i]; r.id != o.id || r.description != o.description || r.every != o.every || len(r.actions) != len(o.actions) {
				t.Fatalf("%q: formatted %q, in which rule %d is another", src, out, i)
			}
		}
		if again, err := Format(out); err != nil || string(again) != string(out) {
			t.Fatalf("%q: formatted %q, and again %q, %v", src, out, again, err)
		}
	})
}
