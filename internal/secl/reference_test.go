// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
)

// A second evaluator, written from the language's definition alone: it walks the tree, knows nothing of the field table,
// takes values from a plain map, and never folds, orders or skips anything. The compiled programs must agree with it.

// walker evaluates nodes over values: bool, int64, string, netip.Prefix, and []any of one of them.
type walker map[string]any

// literal is a string literal of an expression, which compares by its kind.
type literal struct {
	kind stringKind
	text string
}

// pathNames are the fields of the test whose patterns go by path segment.
var pathNames = map[string]bool{"open.file.path": true, "process.ancestors.file.path": true}

func (w walker) value(n node) any {
	switch n := n.(type) {
	case *intNode:
		return n.v
	case *stringNode:
		return literal{n.kind, n.text}
	case *ipNode:
		return n.prefix
	case *identNode:
		if k, ok := event.Constants[n.name]; ok {
			if k.Kind == event.KindBool {
				return k.Bool
			}
			return k.Int
		}
		return w[n.name]
	case *arrayNode:
		var list []any
		for _, m := range n.members {
			list = append(list, w.value(m))
		}
		return list
	case *unaryNode:
		switch x := w.value(n.x).(type) {
		case bool:
			return !x
		case int64:
			if n.op == '-' {
				return -x
			}
			return -x - 1
		}
	case *arithNode:
		a, b := w.value(n.l).(int64), w.value(n.r).(int64)
		return map[byte]int64{'+': a + b, '-': a - b, '&': a & b, '|': a | b, '^': a ^ b}[n.op]
	case *logicalNode:
		a, b := w.value(n.l).(bool), w.value(n.r).(bool)
		if n.or {
			return a || b
		}
		return a && b
	case *compareNode:
		return w.compare(n)
	case *memberNode:
		return w.member(n)
	}
	panic(fmt.Sprintf("%T", n))
}

func elements(v any) []any {
	if list, ok := v.([]any); ok {
		return list
	}
	return []any{v}
}

func (w walker) isPath(n node) bool {
	id, ok := n.(*identNode)
	return ok && pathNames[id.name]
}

func (w walker) compare(n *compareNode) bool {
	l, r := w.value(n.l), w.value(n.r)
	negated := n.op[0] == '!'
	found := false
	for _, a := range elements(l) {
		for _, b := range elements(r) {
			if lit, ok := b.(literal); ok && n.op[1:] == "~" && lit.kind == scalarString {
				b = literal{patternString, lit.text}
			}
			found = found || w.holds(n.op, a, b, w.isPath(n.l) || w.isPath(n.r))
		}
	}
	return found != negated
}

func (w walker) holds(op string, a, b any, path bool) bool {
	x, isInt := a.(int64)
	if !isInt {
		return same(a, b, path)
	}
	y := b.(int64)
	switch op {
	case "<":
		return x < y
	case "<=":
		return x <= y
	case ">":
		return x > y
	case ">=":
		return x >= y
	}
	return x == y
}

// same compares by value; one side may be a literal.
func same(a, b any, path bool) bool {
	switch b := b.(type) {
	case literal:
		switch a := a.(type) {
		case literal:
			if a.kind != scalarString {
				return same(b.text, a, path)
			}
			return same(a.text, b, path)
		case string:
			return matches(b, a, path)
		}
	case netip.Prefix:
		x := a.(netip.Prefix)
		return x.Contains(b.Addr()) || b.Contains(x.Addr())
	case string:
		if l, ok := a.(literal); ok {
			return matches(l, b, path)
		}
	}
	return a == b
}

// matches translates patterns and globs into regular expressions.
func matches(l literal, s string, path bool) bool {
	switch {
	case l.kind == scalarString || path && !strings.Contains(l.text, "*"):
		return s == l.text
	case l.kind == regexpString:
		return regexp.MustCompile(l.text).MatchString(s)
	case !path:
		return regexp.MustCompile("(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(l.text), `\*`, ".*") + "$").MatchString(s)
	}
	var b strings.Builder
	b.WriteString("(?s)^")
	for _, segment := range strings.Split(strings.TrimPrefix(l.text, "/"), "/") {
		if segment == "**" {
			b.WriteString("(/[^/]*)*")
			continue
		}
		b.WriteString("/" + strings.ReplaceAll(regexp.QuoteMeta(segment), `\*`, "[^/]*"))
	}
	return s != "" && regexp.MustCompile(b.String()+"$").MatchString(s)
}

func (w walker) member(n *memberNode) bool {
	l, r := w.value(n.l), w.value(n.r)
	path := w.isPath(n.l) || w.isPath(n.r)
	if n.op == "allin" {
		if _, ok := l.(netip.Prefix); ok {
			for _, a := range elements(l) {
				for _, b := range elements(r) {
					if !same(a, b, path) {
						return false
					}
				}
			}
			return true
		}
	}
	for _, a := range elements(l) {
		for _, b := range elements(r) {
			if same(a, b, path) {
				return n.op != "not in"
			}
		}
	}
	return n.op == "not in"
}

// writer makes random expressions that compile.
type writer struct{ *rand.Rand }

func (w writer) pick(options ...string) string { return options[w.IntN(len(options))] }

func (w writer) integer(depth int) string {
	if depth <= 0 || w.IntN(2) == 0 {
		return w.pick("process.pid", "process.uid", "open.flags", "O_CREAT", "O_RDWR", "0", "1", "2", "-1", "7", "64")
	}
	switch w.IntN(4) {
	case 0:
		return "(" + w.integer(depth-1) + " " + w.pick("+", "-") + " " + w.integer(depth-1) + ")"
	case 1:
		return w.pick("- ", "^ ") + w.integer(0)
	}
	return w.integer(depth-1) + " " + w.pick("&", "|", "^", "+", "-") + " " + w.integer(depth-1)
}

func (w writer) text(path bool) string {
	if path {
		return w.pick(`"/etc/a"`, `"/etc/cron.d/x.sh"`, `~"/etc/*"`, `~"/etc/**"`, `~"/**/x.sh"`, `~"/etc/*/x*"`, `~"*/cron.d/*"`, `"/bin/sh"`, `""`, `~"/etc/**/x.sh"`)
	}
	return w.pick(`"sh"`, `"bash"`, `"s*"`, `~"s*"`, `~"*s*h"`, `r"^s"`, `r"a.h$"`, `""`, `~"*"`, `"nginx"`, `~"n*x"`, `"-c"`, `~"-*"`)
}

func (w writer) list(member func() string) string {
	members := make([]string, 1+w.IntN(9))
	for i := range members {
		members[i] = member()
	}
	return "[" + strings.Join(members, ", ") + "]"
}

func (w writer) in() string { return w.pick(" in ", " not in ", " allin ") }

func (w writer) boolean(depth int) string {
	if depth > 0 {
		switch w.IntN(6) {
		case 0, 1:
			return w.boolean(depth-1) + w.pick(" && ", " || ", " and ", " or ") + w.boolean(depth-1)
		case 2:
			return "(" + w.boolean(depth-1) + ")"
		case 3:
			return w.pick("!", "not ") + "(" + w.boolean(depth-1) + ")"
		}
	}
	ordering := w.pick(" == ", " != ", " < ", " <= ", " > ", " >= ")
	ints := func() string { return w.pick("1", "2", "3", "7", "-1", "0", "64", "1000") }
	ips := func() string {
		return w.pick("10.1.2.3", "10.0.0.0/8", "10.1.0.0/16", "192.168.0.0/16", "::1", "0.0.0.0/0")
	}
	str := w.pick("process.comm", "process.tty_name", "open.file.name")
	strs := w.pick("process.argv", "process.ancestors.comm", "process.envs", "process.ancestors.argv")
	path := w.pick("open.file.path", "process.ancestors.file.path")
	switch w.IntN(15) {
	case 0:
		return w.pick("true", "false", "process.is_kworker", "!process.is_kworker", "process.is_kworker in [true, false]", "process.ancestors.is_thread == true")
	case 1, 2:
		return w.integer(2) + ordering + w.integer(2)
	case 3:
		return "process.ancestors.pid" + ordering + w.integer(1)
	case 4:
		return w.integer(1) + ordering + "process.ancestors.pid"
	case 5:
		return w.pick("process.pid", "process.ancestors.pid", w.integer(1)) + w.in() + w.list(ints)
	case 6:
		return w.integer(0) + w.in() + "process.ancestors.pid"
	case 7:
		return str + w.pick(" == ", " != ", " =~ ", " !~ ") + w.text(false)
	case 8:
		return w.pick(str+w.pick(" == ", " != ")+"process.comm", w.text(false)+" == "+str)
	case 9:
		return w.pick(str, strs) + w.in() + w.list(func() string { return w.text(false) })
	case 10:
		return strs + w.pick(" == ", " != ", " =~ ", " !~ ") + w.text(false)
	case 11:
		return w.pick(str, w.text(false), w.list(func() string { return w.text(false) }), "process.ancestors.argv") + w.in() + strs
	case 12:
		return path + w.pick(" == ", " != ", " =~ ", " !~ ") + w.text(true)
	case 13:
		return path + w.in() + w.list(func() string { return w.text(true) })
	}
	return strings.ReplaceAll(w.pick("process.pid == 7", "process.pid in "+w.list(ints), "10.1.2.3"+w.in()+w.list(ips), ips()+w.pick(" == ", " != ")+ips()), "  ", " ")
}

// situation makes a random event, as a flat one and as the walker wants it.
func (w writer) situation(t *testing.T) (*event.Event, walker) {
	t.Helper()
	word := func() string { return w.pick("sh", "bash", "zsh", "s*", "", "nginx", "x", "-c") }
	file := func() string { return w.pick("/etc/a", "/etc/cron.d/x.sh", "/bin/sh", "/etc", "/x.sh", "") }
	flat := map[string]any{"type": "open"}
	values := walker{}
	set := func(name string, v any) {
		flat[name], values[name] = v, v
		if list, ok := v.([]string); ok {
			all := []any{}
			for _, s := range list {
				all = append(all, s)
			}
			values[name] = all
		}
	}
	for _, name := range []string{"process.pid", "process.uid", "open.flags"} {
		set(name, []int64{0, 1, 2, 3, 7, 64, 66, 1000}[w.IntN(8)])
	}
	for _, name := range []string{"process.comm", "process.tty_name", "open.file.name"} {
		set(name, word())
	}
	set("process.argv", []string{word(), word()}[:w.IntN(3)])
	set("process.envs", []string{word()}[:w.IntN(2)])
	set("process.is_kworker", w.IntN(2) == 0)
	set("open.file.path", file())
	var ancestors []any
	columns := map[string][]any{"pid": {}, "comm": {}, "argv": {}, "is_thread": {}, "file.path": {}}
	for range w.IntN(4) {
		a := map[string]any{"pid": int64(w.IntN(4)), "comm": word(), "argv": []string{word()}, "is_thread": w.IntN(2) == 0, "file.path": file()}
		ancestors = append(ancestors, a)
		for name, v := range a {
			if argv, ok := v.([]string); ok {
				v = argv[0]
			}
			columns[name] = append(columns[name], v)
		}
	}
	if ancestors != nil {
		flat["process.ancestors"] = ancestors
	}
	for name, column := range columns {
		values["process.ancestors."+name] = column
	}
	text, err := json.Marshal(flat)
	require.NoError(t, err)
	return flatEvent(t, string(text)), values
}

func TestAgainstReference(t *testing.T) {
	expressions, situations := 4000, 8
	if testing.Short() {
		expressions = 400
	}
	w := writer{rand.New(rand.NewPCG(1, 2))} //nolint:gosec // repeatable on purpose
	results := map[bool]int{}
	for range expressions {
		src := w.boolean(3)
		n, perr := parseRule(src)
		if perr != nil {
			t.Fatalf("%s: %v", src, perr)
		}
		p, err := Compile(src, nil)
		require.NoError(t, err, src)
		for range situations {
			e, values := w.situation(t)
			got := p.Match(&Context{Event: e, Now: now})
			want := values.value(n).(bool)
			if p.EventType() == event.TypeAny || p.EventType() == event.TypeOpen {
				require.Equal(t, want, got, "%s\n%v", src, values)
			}
			results[got]++
		}
	}
	require.Greater(t, results[true], expressions, "both results are usual")
	require.Greater(t, results[false], expressions, "both results are usual")
}
