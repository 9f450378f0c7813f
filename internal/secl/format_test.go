// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFormatExpression(t *testing.T) {
	tests := []struct {
		name, src string
		width     int // 0: 100
		want      string
	}{
		{name: "spaces", src: `open.file.path=="/x"  &&open.flags&O_CREAT>0`, want: `open.file.path == "/x" && open.flags & O_CREAT > 0`},
		{name: "line breaks", src: "a\n  ||\tb\n", want: `a || b`},
		{name: "words", src: `a and not b or not(c)`, want: `a && !b || !(c)`},
		{name: "not in", src: "a not\n in [ 1,2 ]", want: `a not in [1, 2]`},
		{name: "not and not in", src: `not a not in b`, want: `!a not in b`},
		{name: "allin", src: `[ "a" ] allin  b`, want: `["a"] allin b`},
		{name: "operators that stand apart", src: `a > = 1 & & b ! = 2 | | c = ~ "x"`, want: `a >= 1 && b != 2 || c =~ "x"`},
		{name: "pattern match", src: `a !~ "x" || a =~ "y"`, want: `a !~ "x" || a =~ "y"`},
		{name: "pattern literal", src: `a in[~"x",r"^y$" ]`, want: `a in [~"x", r"^y$"]`},
		{name: "parentheses stay", src: `((a)) && ( b || (c && d) )`, want: `((a)) && (b || (c && d))`},
		{name: "literals stay", src: `a in [007, +5] && b == "\"\t" && t < 090s`, want: `a in [007, +5] && b == "\"\t" && t < 090s`},
		{name: "networks", src: `ip in [::1,10.0.0.0/8]`, want: `ip in [::1, 10.0.0.0/8]`},
		{name: "signs", src: `a - 5 > - 5 && b - -5 == -x && ! ! c && ^ d > - - e`, want: `a - 5 > - 5 && b - -5 == -x && !!c && ^d > --e`},
		{name: "sign and duration", src: `a > - 5s`, want: `a > - 5s`},
		{name: "bit operations", src: `a&^b|c^ ^d`, want: `a & ^b | c ^ ^d`},
		{name: "names with brackets", src: `process.ancestors[A].comm==exec.argv[0]`, want: `process.ancestors[A].comm == exec.argv[0]`},
		{name: "references", src: `${process.x}+ 1>%{a.b}`, want: `${process.x} + 1 > %{a.b}`},
		{name: "macro with an array", src: ` [ "a","b" ] `, want: `["a", "b"]`},
		{name: "comment", src: "a  ==  1 # why\n&& b", want: "a  ==  1 # why\n&& b"},
		{name: "comment at the end", src: "a  == 1 // why", want: "a  == 1 // why"},
		{name: "no comment in a string", src: `a  == "#//"`, want: `a == "#//"`},
		{name: "line break in a string", src: "a  == \"x\n  y\"", want: "a == \"x\n  y\""},
		{name: "long chain", width: 20, src: `first == 1 && second == 2 || third`, want: "first == 1\n  && second == 2\n  || third"},
		{name: "just fits", width: 20, src: `first == 1 && second`, want: "first == 1 && second"},
		{
			name: "long group", width: 24, src: `a && (bbbbbbbbbb == 1 || cccccccccc == 2) && d`,
			want: "a\n  && (\n    bbbbbbbbbb == 1\n    || cccccccccc == 2\n  )\n  && d",
		},
		{
			name: "long array", width: 24, src: `(f & G) > 0 && name not in ["aaaa", "bbbb", "cccc", "dddd"]`,
			want: "(f & G) > 0\n  && name not in [\n    \"aaaa\", \"bbbb\",\n    \"cccc\", \"dddd\"\n  ]",
		},
		{
			name: "only the long brackets are opened", width: 30, src: `(f & G) in [aaaaaaaaaa, bbbbbbbbbb, cccccccccc]`,
			want: "(f & G) in [\n  aaaaaaaaaa, bbbbbbbbbb,\n  cccccccccc\n]",
		},
		{name: "not of a long group", width: 10, src: `!(aaaaaaa || bbbbbb)`, want: "!(\n  aaaaaaa\n  || bbbbbb\n)"},
		{name: "nothing to break", width: 10, src: `aaaaaaaaa == bbbbbbbbbbbb`, want: `aaaaaaaaa == bbbbbbbbbbbb`},
		{name: "columns are characters", width: 12, src: `a=="ééé"&&b`, want: "a == \"ééé\"\n  && b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.width == 0 {
				tt.width = 100
			}
			got, err := Format(tt.src, tt.width)
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
			assert.True(t, SameMeaning(tt.src, got))
			again, err := Format(got, tt.width)
			require.NoError(t, err)
			assert.Equal(t, got, again, "formatted again")
		})
	}
}

func TestFormatErrors(t *testing.T) {
	for src, want := range map[string]string{
		"":        "rule syntax error: 1:1: the expression is empty",
		"a == ":   "rule syntax error: 1:6: unexpected end of the expression, expected a field, a value or (",
		"a\n-1":   `rule syntax error: 2:1: unexpected token "-1", expected an operator or the end of the expression (a sign right before digits belongs to the number: write - 1)`,
		"a == \"": "rule syntax error: 1:6: the string has no closing quote",
	} {
		_, err := Format(src, 100)
		require.EqualError(t, err, want, src)
		_, ok := AsError(err)
		assert.True(t, ok)
	}
}

func TestSameMeaning(t *testing.T) {
	long := strings.Repeat("a && ", 20_000) + "b"
	sum := strings.Repeat("a + ", 20_000) + "b > 0"
	bits := strings.Repeat("a | ", 20_000) + "b > 0"
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"a and b", "a&&b", true},
		{"(a) == 1", "a == 1", true},
		{"a == 1", "a == 1 # comment", true},
		{"a && b || c", "a && (b || c)", true},
		{"a && b || c", "(a && b) || c", false},
		{"a && b", "a || b", false},
		{"a == 1", "a == 2", false},
		{"a == 1", "a != 1", false},
		{"a > 1s", "a > 1000000000", false},
		{`a == "x"`, `a == ~"x"`, false},
		{"a - 5 > 0", "a + 5 > 0", false},
		{"a - b - c > 0", "a - (b - c) > 0", false},
		{"a | b & c > 0", "a | (b & c) > 0", true},
		{"a | b & c > 0", "(a | b) & c > 0", false},
		{"-x > 0", "x > 0", false},
		{"- 5 > 0", "-5 > 0", false},
		{"a in [1, 2]", "a in [2, 1]", false},
		{"a in [1]", "a in [1, 1]", false},
		{"a in b", "a not in b", false},
		{"${a}", "${b}", false},
		{"%{a}", "${a}", false},
		{"a == 1.2.3.4", "a == 1.2.3.4/32", false},
		{"a ==", "a ==", true},
		{"a ==", "a == ", false},
		{long, long + " ", true},
		{long, long + "b", false},
		{sum, sum + " ", true},
		{sum, sum + "1", false},
		{bits, bits + " ", true},
		{bits, strings.Replace(bits, "b", "c", 1), false},
	} {
		assert.Equal(t, tt.want, SameMeaning(tt.a, tt.b), "%.40q and %.40q", tt.a, tt.b)
		assert.Equal(t, tt.want, SameMeaning(tt.b, tt.a), "%.40q and %.40q", tt.b, tt.a)
	}
}

// FuzzFormat: what parses is formatted to the same tree, and formatting that changes nothing.
func FuzzFormat(f *testing.F) {
	for i, s := range fuzzSeeds {
		f.Add(s, 10*i)
	}
	f.Fuzz(func(t *testing.T, src string, width int) {
		got, err := Format(src, width)
		if _, perr := parseMacro(src); (perr == nil) != (err == nil) {
			t.Fatalf("%q: parsing gives %v, formatting %v", src, perr, err)
		}
		if err != nil {
			return
		}
		if !SameMeaning(src, got) {
			t.Fatalf("%q: %q has another meaning", src, got)
		}
		if again, err := Format(got, width); err != nil || again != got {
			t.Fatalf("%q: formatted %q, and again %q, %v", src, got, again, err)
		}
	})
}
