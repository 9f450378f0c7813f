// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseYAMLErrors(t *testing.T) {
	tests := []struct {
		name, src, want string
	}{
		{"open list", "rules: [", "1:8: not valid YAML: sequence end token ']' not found"},
		{"two values", "a: b: c", "1:4: not valid YAML: mapping value is not allowed in this context"},
		{"open quote", "id: \"x", "1:5: not valid YAML: could not find end character of double-quoted text"},
		{"NUL", "a: 1\nb\x00: 2", "2:2: not a text file: there are bytes that are not UTF-8, or NUL"},
		{"not UTF-8", "a: é\xff", "1:5: not a text file: there are bytes that are not UTF-8, or NUL"},
		{"two documents", "a: 1\n---\nb: 1\n", "3:2: the file has more than one YAML document"},
		{"unknown alias", "a: *b", "1:4: alias \"b\" has no anchor before it"},
		{"self reference", "a: &x [*x]", "1:8: alias \"x\" has no anchor before it"},
		{"merge of a text", "a: {<<: b}", "1:9: a merge key (<<) needs a mapping, it has a value"},
		{"deep list", "a: " + strings.Repeat("[", 100_000), "1:68: nested more than 64 deep"},
		{"deep mapping", strings.Repeat("{a: ", 100_000), "1:257: nested more than 64 deep"},
		{"deep block", strings.Repeat("- ", 100_000) + "a", "1:129: nested more than 64 deep"},
		{"deep tags", strings.Repeat("!a ", 1000) + "b", "1:129: nested more than 64 deep"},
		{"too large", strings.Repeat("#", maxFileSize+1), "the file has more than 4194304 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseYAML([]byte(tt.src))
			require.EqualError(t, err, tt.want)
		})
	}
}

func TestParseYAMLDeepIndentation(t *testing.T) {
	var b strings.Builder
	for i := range 1500 {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	_, err := parseYAML([]byte(b.String()))
	require.ErrorContains(t, err, "deep")
}

func TestAliasesAreNotExpanded(t *testing.T) {
	// Each line doubles the one before: expanded, these would be 2^50 values.
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x]\n")
	for i := 1; i < 50; i++ {
		prev := "*a" + string(rune('0'+(i-1)/10)) + string(rune('0'+(i-1)%10))
		if i == 1 {
			prev = "*a0"
		}
		b.WriteString("k" + string(rune('0'+i/10)) + string(rune('0'+i%10)) + ": &a" + string(rune('0'+i/10)) + string(rune('0'+i%10)) + " [" + prev + ", " + prev + "]\n")
	}
	root, err := parseYAML([]byte(b.String()))
	require.NoError(t, err)
	last := root.pairs[49].value
	assert.Same(t, last.items[0], last.items[1])
	other, err := parseYAML([]byte(b.String()))
	require.NoError(t, err)
	assert.False(t, root.equal(other), "a comparison is given up, and does not run for ever")
}

func TestMergeKeys(t *testing.T) {
	root, err := parseYAML([]byte("base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n"))
	require.NoError(t, err)
	got := map[string]string{}
	for _, p := range root.pairs[1].value.pairs {
		got[p.key.value] = p.value.value
	}
	assert.Equal(t, map[string]string{"x": "1", "y": "3"}, got)
}

func TestLocate(t *testing.T) {
	// In each source the value of e has a mark @ and the place of the mark is sought.
	tests := []struct {
		name, src string
		want      Position
	}{
		{"plain", "e: foo == @bar", Position{1, 11}},
		{"plain over lines", "e: foo ==\n   \n    b @bar", Position{3, 7}},
		{"single quotes", "- e: 'it''s \"@x\"'", Position{1, 14}},
		{"double quotes", `e: "a \"\x41\t\u00e9 @x"`, Position{1, 22}},
		{"double quotes over lines", "e: \"a \\\n   b\n   c @x\"", Position{3, 6}},
		{"literal", "r:\n  - e: |-\n      foo ==\n        @bar\n", Position{4, 9}},
		{"literal with a comment before", "# é\ne: |\n  foo\n\n  @bar\n", Position{5, 3}},
		{"literal at the start of a line", "e: |\n  é @bar\n", Position{2, 5}},
		{"folded", "e: >-\n  one\n  two\n  @three\n", Position{4, 3}},
		{"folded with an empty line", "e: >-\n  one\n\n  two @three\n", Position{4, 7}},
		{"at once", "e: '@'", Position{1, 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			src := []byte(tt.src)
			root, err := parseYAML(src)
			require.NoError(t, err)
			n := find(root, "e")
			require.NotNil(t, n)
			offset := strings.IndexByte(n.value, '@')
			require.GreaterOrEqual(t, offset, 0, "value is %q", n.value)
			assert.Equal(t, tt.want, locate(src, n, offset), "value is %q", n.value)
		})
	}
}

func find(n *node, key string) *node {
	for _, p := range n.pairs {
		if p.key.value == key {
			return p.value
		}
		if f := find(p.value, key); f != nil {
			return f
		}
	}
	for _, i := range n.items {
		if f := find(i, key); f != nil {
			return f
		}
	}
	return nil
}

func TestSnippet(t *testing.T) {
	src := []byte("a: 1\n\te: f\x1b[31moo\nlong: " + strings.Repeat("x", 400))
	assert.Equal(t, "     e: f�[31moo\n      ^\n", snippet(src, Position{2, 3}))
	assert.Empty(t, snippet(src, Position{}))
	got := snippet(src, Position{3, 200})
	assert.Equal(t, "    …"+strings.Repeat("x", 180)+"…\n    "+strings.Repeat(" ", 81)+"^\n", got)
}

func TestNearest(t *testing.T) {
	names := map[string]int{"expression": 0, "description": 0, "id": 0, "tags": 0}
	for name, want := range map[string]string{
		"expresion": "expression", "exprsesion": "expression", "tag": "tags", "di": "", "version": "", "": "",
		strings.Repeat("expression", 10): "",
	} {
		assert.Equal(t, want, nearest(name, names), name)
	}
}
