// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

// random makes expressions and events of few words, so that they often match.
type random struct{ *rand.Rand }

func (r random) of(list ...string) string { return list[r.IntN(len(list))] }

func (r random) word() string {
	return r.of("etc", "Etc", "cron.d", "lib", "x", "shadow", "id_rsa", "so", "a.key", "passwd", "ü", "k")
}

func (r random) path() string {
	p := ""
	for range 1 + r.IntN(4) {
		p += "/" + r.word()
	}
	return p
}

// pathValue is a literal to compare a path with.
func (r random) pathValue() string {
	segments := strings.Split(r.path()[1:], "/")
	deep := false
	for i := range segments {
		switch r.IntN(7) {
		case 0:
			segments[i] = "*"
		case 1:
			segments[i] = segments[i][:1] + "*"
		case 2:
			segments[i] = "*" + segments[i][len(segments[i])-1:]
		case 3:
			if !deep {
				segments[i], deep = "**", true
			}
		}
	}
	p := "/" + strings.Join(segments, "/")
	if r.IntN(6) == 0 {
		p = "*" + p
	}
	if !strings.Contains(p, "*") && r.IntN(2) == 0 {
		return fmt.Sprintf("%q", p)
	}
	return "~" + `"` + strings.ToValidUTF8(p, "x") + `"`
}

// value is a literal to compare any string with.
func (r random) value() string {
	w := r.word()
	switch r.IntN(6) {
	case 0:
		return `~"` + w + `*"`
	case 1:
		return `~"*` + w + `"`
	case 2:
		return `~"*` + w + `*"`
	case 3:
		return `r"` + w + `"`
	case 4:
		return `~"` + strings.ToUpper(w) + `"`
	}
	return fmt.Sprintf("%q", w)
}

func (r random) list(one func() string) string {
	var l []string
	for range 1 + r.IntN(3) {
		l = append(l, one())
	}
	return "[" + strings.Join(l, ", ") + "]"
}

func (r random) atom(variables bool) string {
	n := 13
	if variables {
		n = 21
	}
	switch r.IntN(n) {
	case 0, 1:
		return "open.file.path " + r.of("in ", "not in ") + r.list(r.pathValue)
	case 2:
		return "open.file.path == " + r.pathValue()
	case 3:
		return "open.file.name " + r.of("in ", "not in ") + r.list(r.value)
	case 4:
		return "open.file.extension " + r.of("==", "!=") + fmt.Sprintf(" %q", r.of(".key", "KEY", "so", ""))
	case 5:
		return "process.argv in " + r.list(r.value)
	case 6:
		return "process.uid " + r.of("==", "!=", ">") + r.of(" 0", " 1", " 7")
	case 7:
		return "process.uid in [0, 7]"
	case 8:
		return "open.flags & (O_CREAT|O_WRONLY) > 0"
	case 9:
		return "process.ancestors[A].comm == " + fmt.Sprintf("%q", r.word())
	case 10:
		return "process.ancestors.comm in " + r.list(r.value)
	case 11:
		return "process.is_kworker"
	case 12:
		return fmt.Sprintf("%q == open.file.name", r.word())
	case 13, 17:
		return "open.file.name == ${seen}"
	case 14:
		return "process.uid not in ${ids}"
	case 15, 16:
		return `open.file.package.name == ""`
	}
	return "open.file.name in ${process.mine}"
}

func (r random) expression(depth int, variables bool) string {
	if depth == 0 || r.IntN(4) == 0 {
		return r.atom(variables)
	}
	switch r.IntN(6) {
	case 0, 5:
		return "!(" + r.expression(depth-1, variables) + ")"
	case 1:
		return "(" + r.expression(depth-1, variables) + ") == " + r.of("true", "false")
	case 2:
		return "(" + r.expression(depth-1, variables) + ") || (" + r.expression(depth-1, variables) + ")"
	}
	return "(" + r.expression(depth-1, variables) + ") && (" + r.expression(depth-1, variables) + ")"
}

func (r random) event(t *testing.T) *event.Event {
	t.Helper()
	p := r.path()
	if r.IntN(20) == 0 {
		p = r.of("", "/", "x", "//etc/x", "/etc//x", "/etc/"+strings.Repeat("k", 5000))
	}
	flags := r.of("O_RDONLY", "O_WRONLY|O_CREAT")
	ev, err := event.ParseFlatEventAt(fmt.Appendf(nil, `{"type":"open","open.file.path":%q,"open.flags":%q,"process.pid":9,"process.uid":%s,"process.is_kworker":%s,"process.argv":[%q,%q],"process.ancestors":[{"comm":%q},{"comm":%q}]}`,
		p, flags, r.of("0", "1", "7"), r.of("true", "false"), r.word(), r.word(), r.word(), r.word()), 1)
	require.NoError(t, err, p)
	return ev
}

func loadText(t *testing.T, text string) *Set {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.policy")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	set, report := Load([]string{path}, Options{Machine: testMachine()})
	require.Empty(t, report.Problems())
	return set
}

// TestIndex compares the rules that a Matcher finds with those that match one by one, and what MayMatch says with what the
// rules make of every value that the variables may have.
func TestIndex(t *testing.T) {
	r := random{rand.New(rand.NewPCG(1, 2))}
	matched, filtered, events := 0, 0, 0
	for round := range 150 {
		variables := round%3 == 2
		var text strings.Builder
		text.WriteString("rules:\n")
		expression := func() string { // one that is about an event of its own accord
			return "open.file.path != \"/none\" && (" + r.expression(3, variables) + ")"
		}
		rules := 60
		if round%3 != 1 {
			rules = 3 // events that none of them matches are rarer with more
		}
		for i := range rules {
			fmt.Fprintf(&text, "  - id: r%d\n    expression: '%s'\n", i, expression())
		}
		fmt.Fprintf(&text, "  - id: sets\n    expression: open.file.name == \"never\"\n    actions:\n")
		for _, set := range []string{"name: seen, value: x", "name: ids, value: 1, append: true", "name: mine, value: [x], scope: process"} {
			fmt.Fprintf(&text, "      - set: {%s}\n", set)
		}
		set := loadText(t, text.String())
		var m Matcher
		for range 100 {
			c := &secl.Context{Event: r.event(t), Now: 1, Host: "h"}
			var want, got []string
			for _, rule := range set.Rules(event.TypeOpen) {
				if rule.Program.Match(c) {
					want = append(want, rule.ID)
				}
			}
			m.Match(set, c)
			for rule := m.Next(); rule != nil; rule = m.Next() {
				got = append(got, rule.ID)
			}
			require.Equal(t, want, got, "%s\n%s", text.String(), c.Event.File.Path)
			matched += len(want)
			events++
			if m.MayMatch(set, c) {
				continue
			}
			filtered++
			require.Empty(t, want, "%s\n%s", text.String(), c.Event.File.Path)
			// With other values of what is not known to the filter.
			for range 5 {
				for _, v := range set.variables.All() {
					require.NoError(t, v.Set(c, randomValue(r, v), false))
				}
				for _, rule := range set.Rules(event.TypeOpen) {
					require.False(t, rule.Program.Match(c), "%s: filtered", rule.ID)
				}
			}
		}
	}
	assert.Greater(t, matched, events, "enough that matches")
	assert.Greater(t, filtered, events/20, "enough that is filtered")
}

func randomValue(r random, v *secl.Variable) secl.Value {
	switch {
	case v.Kind == event.KindInt:
		return secl.Value{Kind: v.Kind, List: true, Ints: []int64{int64(r.IntN(8)), int64(r.IntN(8))}}
	case v.List:
		return secl.Value{Kind: v.Kind, List: true, Strings: []string{r.word(), r.word()}}
	}
	return secl.Value{Kind: v.Kind, String: r.word()}
}

func TestIndexOfManyKinds(t *testing.T) {
	set := loadText(t, `
rules:
  - {id: exact, expression: 'dns.question.name == "Evil.Example"'}
  - {id: end, expression: 'dns.question.name =~ "*.Example"'}
  - {id: unicode, expression: 'dns.question.name == "bücher.example"'}
  - {id: any, expression: 'dns.question.name =~ r"ev"'}
  - {id: number, expression: 'dns.question.type in [A, AAAA] && process.uid != 0'}
  - {id: never, expression: 'dns.question.count > 0 && false'}
`)
	for ev, want := range map[string][]string{
		`{"type":"dns","dns.question.name":"EVIL.example"}`:                                        {"exact", "end"},
		`{"type":"dns","dns.question.name":"evil.\u212akelvin"}`:                                   {"any"},
		`{"type":"dns","dns.question.name":"BÜCHER.example"}`:                                      {"end", "unicode"},
		`{"type":"dns","dns.question.name":"a.b","dns.question.type":"AAAA","process.uid":1}`:      {"number"},
		`{"type":"dns","dns.question.name":"a.b","dns.question.type":"AAAA","process.uid":0}`:      nil,
		`{"type":"open","open.file.path":"/x"}`:                                                    nil,
		`{"type":"dns","dns.question.name":"` + strings.Repeat("ab.", 2000) + `Example"}`:          {"end"},
		`{"type":"dns","dns.question.name":"` + strings.Repeat("ev.", 2000) + `","process.uid":1}`: {"any"},
	} {
		e, err := event.ParseFlatEvent([]byte(ev))
		require.NoError(t, err)
		var got []string
		var m Matcher
		m.Match(set, &secl.Context{Event: e})
		for r := m.Next(); r != nil; r = m.Next() {
			got = append(got, r.ID)
		}
		assert.Equal(t, want, got, ev[:min(len(ev), 80)])
	}
	x := set.index[event.TypeDNS]
	assert.Len(t, x.fields, 2, "name and type")
	assert.Empty(t, x.guards[0].rules[1:], "the regular expression")
	assert.Equal(t, uint64(0), x.always[0])
}
