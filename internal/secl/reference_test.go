// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/event"
)

// A second evaluator, written from the language's definition alone: it walks the tree, knows nothing of the field table,
// takes values from a plain map, and never folds, orders or skips anything. The compiled programs must agree with it.

// walker evaluates nodes over values: bool, int64, string, netip.Prefix, and []any of one of them. Variables are under ${…}.
// An iterator is a list of objects, and a letter is the index of the one that it stands for.
type walker map[string]any

// matches evaluates a whole expression: it holds if it does for some elements that its letters may stand for.
func (w walker) matches(n node, letters map[string]string) bool {
	for letter, iterator := range letters {
		rest := maps.Clone(letters)
		delete(rest, letter)
		for i := range w.objects(iterator) {
			w[letter] = i
			if w.matches(n, rest) {
				return true
			}
		}
		return false
	}
	return w.value(n).(bool)
}

func (w walker) objects(iterator string) []walker {
	list, _ := w[iterator].([]walker)
	return list
}

// named is the value of a field, with an index, and of an iterator's field.
func (w walker) named(name string) any {
	if _, ok := w[name].([]walker); !ok {
		if v, ok := w[name]; ok {
			return v
		}
	}
	for _, iterator := range []string{"process.ancestors", "signal.target.ancestors"} {
		rest, ok := strings.CutPrefix(name, iterator)
		if !ok {
			continue
		}
		objects := w.objects(iterator)
		if rest == ".length" {
			return int64(len(objects))
		}
		if rest[0] == '.' {
			all := []any{}
			for _, o := range objects {
				all = append(all, elements(o[rest[1:]])...)
			}
			return all
		}
		letter, field, _ := strings.Cut(rest[1:], "].")
		i, err := strconv.Atoi(letter)
		if err != nil {
			i = w[letter].(int)
		}
		if i < len(objects) {
			return objects[i].named(field)
		}
		return noObject.named(field)
	}
	// A member of an array.
	base, number, ok := strings.Cut(strings.TrimSuffix(name, "]"), "[")
	i, err := strconv.Atoi(number)
	if list, isList := w[base].([]any); ok && isList && err == nil {
		if i < len(list) {
			return list[i]
		}
		return ""
	}
	panic(name)
}

// noObject has what an element that is not there reads as.
var noObject = walker{"pid": int64(0), "comm": "", "argv": []any{}, "is_thread": false, "file.path": ""}

// reference is the value of ${x} or %{x}, where every text and list has a length.
func (w walker) reference(sign, name string) any {
	get := func(name string) any {
		if sign == "$" {
			return w["${"+name+"}"]
		}
		return w.named(name)
	}
	if base, ok := strings.CutSuffix(name, ".length"); ok && name != "process.ancestors.length" {
		if s, ok := get(base).(string); ok {
			return int64(len(s))
		}
		return int64(len(get(base).([]any)))
	}
	return get(name)
}

var references = regexp.MustCompile(`([$%])\{([^}]*)\}`)

// text replaces the references in a string.
func (w walker) text(s string) string {
	return references.ReplaceAllStringFunc(s, func(ref string) string {
		var texts []string
		for _, v := range elements(w.reference(ref[:1], ref[2:len(ref)-1])) {
			texts = append(texts, strings.ReplaceAll(fmt.Sprint(v), "/32", ""))
		}
		return strings.Join(texts, ",")
	})
}

// lettersOf finds the iterator of each letter of an expression.
func lettersOf(src string) map[string]string {
	letters := map[string]string{}
	for _, m := range regexp.MustCompile(`([a-z.]+)\[([A-Z])\]`).FindAllStringSubmatch(src, -1) {
		letters[m[2]] = m[1]
	}
	return letters
}

// literal is a string literal of an expression, which compares by its kind.
type literal struct {
	kind stringKind
	text string
}

func (w walker) value(n node) any {
	switch n := n.(type) {
	case *intNode:
		return n.v
	case *stringNode:
		if n.kind == scalarString && references.MatchString(n.text) {
			return w.text(n.text)
		}
		return literal{n.kind, n.text}
	case *variableNode:
		return w.reference("$", n.name)
	case *fieldRefNode:
		return w.reference("%", n.name)
	case *ipNode:
		return n.prefix
	case *identNode:
		if k, ok := event.Constants[n.name]; ok {
			if k.Kind == event.KindBool {
				return k.Bool
			}
			return k.Int
		}
		return w.named(n.name)
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
	return ok && strings.HasSuffix(id.name, ".file.path")
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

var expressions = map[string]*regexp.Regexp{}

// expression compiles a regular expression once.
func expression(text string) *regexp.Regexp {
	if expressions[text] == nil {
		expressions[text] = regexp.MustCompile(text)
	}
	return expressions[text]
}

// matches translates patterns and globs into regular expressions.
func matches(l literal, s string, path bool) bool {
	switch {
	case l.kind == scalarString || path && !strings.Contains(l.text, "*"):
		return s == l.text
	case l.kind == regexpString:
		return expression(l.text).MatchString(s)
	case !path:
		return expression("(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(l.text), `\*`, ".*") + "$").MatchString(s)
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
	return s != "" && expression(b.String()+"$").MatchString(s)
}

func (w walker) member(n *memberNode) bool {
	l, r := w.value(n.l), w.value(n.r)
	path := w.isPath(n.l) || w.isPath(n.r)
	if first := elements(l); n.op == "allin" && len(first) > 0 {
		if _, ok := first[0].(netip.Prefix); ok {
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
type writer struct {
	*rand.Rand
	signal bool // about signals, else about opened files
}

func (w writer) pick(options ...string) string { return options[w.IntN(len(options))] }

// expression makes a whole one. Fields of signals stand where those of files would.
func (w writer) expression() string {
	src := w.boolean(3)
	if w.signal {
		src = strings.NewReplacer("open.flags", "signal.pid", "open.file.name", "signal.target.comm",
			"open.file.path", "signal.target.file.path").Replace(src)
	}
	return src
}

// element is an element of an iterator.
func (w writer) element() string {
	if w.signal && w.IntN(2) == 0 {
		return "signal.target.ancestors" + w.pick("[C]", "[C]", "[0]", "[2]")
	}
	return "process.ancestors" + w.pick("[A]", "[A]", "[B]", "[0]", "[2]")
}

// all is an iterator.
func (w writer) all() string {
	if w.signal && w.IntN(2) == 0 {
		return "signal.target.ancestors"
	}
	return "process.ancestors"
}

func (w writer) integer(depth int) string {
	if depth <= 0 || w.IntN(2) == 0 {
		return w.pick("process.pid", "process.uid", "open.flags", "O_CREAT", "O_RDWR", "0", "1", "2", "-1", "7", "64",
			"${i}", "${names.length}", "%{process.comm.length}", w.all()+".length", w.element()+".pid", "${process.n}", "%{process.argv.length}")
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

// template is a string with references.
func (w writer) template() string {
	return w.pick(`"${s}"`, `"${process.key}"`, `"%{process.comm}"`, `"s%{process.tty_name}"`, `"b${process.own}"`, `"${names}"`,
		`"%{process.argv[0]}"`, `"%{process.argv}"`, `"${ids}/${i}"`, `"n%{process.ancestors.comm}"`, `"${aging}"`, `"${ip}"`)
}

// textOrTemplate is a member of a list.
func (w writer) textOrTemplate() string {
	if w.IntN(5) == 0 {
		return w.template()
	}
	return w.text(false)
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
	equality := w.pick(" == ", " != ")
	matching := w.pick(" == ", " != ", " =~ ", " !~ ")
	ints := func() string { return w.pick("1", "2", "3", "7", "-1", "0", "64", "1000") }
	ips := func() string {
		return w.pick("10.1.2.3", "10.0.0.0/8", "10.1.0.0/16", "192.168.0.0/16", "::1", "0.0.0.0/0")
	}
	texts := func() string { return w.text(false) }
	paths := func() string { return w.text(true) }
	str := w.pick("process.comm", "process.tty_name", "open.file.name", w.element()+".comm", "${s}", "${process.key}", "${process.own}",
		"process.argv[1]", "%{process.comm}", w.element()+".argv[0]")
	strs := w.pick("process.argv", w.all()+".comm", "process.envs", w.all()+".argv", w.element()+".argv", "${names}", "${aging}", "%{process.argv}", "${none}")
	pids := w.all() + ".pid"
	path := w.pick("open.file.path", w.all()+".file.path", w.element()+".file.path")
	switch w.IntN(19) {
	case 0:
		return w.pick("true", "false", "process.is_kworker", "!process.is_kworker", "process.is_kworker in [true, false]", w.all()+".is_thread == true",
			w.element()+".is_thread", "${b}", "${b}"+equality+"process.is_kworker")
	case 1, 2:
		return w.integer(2) + ordering + w.integer(2)
	case 3:
		return pids + ordering + w.integer(1)
	case 4:
		return w.integer(1) + ordering + pids
	case 5:
		return w.pick("process.pid", pids, w.integer(1)) + w.in() + w.list(ints)
	case 6:
		return w.pick(w.integer(0), pids, "${ids}") + w.in() + w.pick(pids, "${ids}")
	case 7:
		return str + matching + w.text(false)
	case 8:
		return w.pick(str+equality+"process.comm", w.text(false)+" == "+str)
	case 9:
		return w.pick(str, strs) + w.in() + w.list(w.textOrTemplate)
	case 10:
		return strs + matching + w.text(false)
	case 11:
		return w.pick(str, w.text(false), w.list(texts), w.all()+".argv") + w.in() + strs
	case 12:
		return path + matching + w.text(true)
	case 13:
		return path + w.in() + w.list(paths)
	case 14:
		return str + equality + w.template()
	case 15:
		return w.template() + equality + w.pick(str, w.text(false))
	case 16:
		return path + equality + w.pick(`"/etc/${s}"`, `"/bin/%{process.comm}"`)
	}
	return strings.ReplaceAll(w.pick("process.pid == 7", "process.pid in "+w.list(ints), "10.1.2.3"+w.in()+w.list(ips), ips()+equality+ips(),
		"${ips}"+w.in()+w.list(ips), ips()+w.in()+"${ips}", "${ip}"+equality+ips(), "${ips}"+equality+"${ip}"), "  ", " ")
}

// referenceVariables are the variables of the test, with values that depend on the process and on time.
func referenceVariables(tb testing.TB) *Env {
	tb.Helper()
	env := &Env{Variables: NewVariables()}
	declare := func(spec VariableSpec) *Variable {
		v, err := env.Variables.Declare(spec)
		require.NoError(tb, err)
		return v
	}
	at := func(pid uint32, when event.Time) *Context {
		return &Context{Event: &event.Event{Process: event.ProcessContext{Process: &event.Process{PID: pid}}}, Now: when}
	}
	set := func(v *Variable, c *Context, val Value) { require.NoError(tb, v.Set(c, val, true)) }
	set(declare(VariableSpec{Name: "b", Kind: event.KindBool}), at(0, now), Value{Kind: event.KindBool, Bool: true})
	set(declare(VariableSpec{Name: "i", Kind: event.KindInt}), at(0, now), number(7))
	set(declare(VariableSpec{Name: "s", Kind: event.KindString}), at(0, now), text("sh"))
	declare(VariableSpec{Name: "none", Kind: event.KindString, List: true})
	set(declare(VariableSpec{Name: "ip", Kind: event.KindIP}), at(0, now), Value{Kind: event.KindIP, IP: netip.MustParsePrefix("10.1.2.3/32")})
	ids := declare(VariableSpec{Name: "ids", Kind: event.KindInt, List: true})
	names := declare(VariableSpec{Name: "names", Kind: event.KindString, List: true, Size: 2})
	ips := declare(VariableSpec{Name: "ips", Kind: event.KindIP, List: true})
	aging := declare(VariableSpec{Name: "aging", Kind: event.KindString, List: true, TTL: 10 * time.Second})
	key := declare(VariableSpec{Scope: ScopeProcess, Name: "key", Kind: event.KindString, TTL: 10 * time.Second, Default: text("x")})
	own := declare(VariableSpec{Scope: ScopeProcess, Name: "own", Kind: event.KindString, Inherited: true})
	n := declare(VariableSpec{Scope: ScopeProcess, Name: "n", Kind: event.KindInt})
	for _, x := range []int64{1, 7} {
		set(ids, at(0, now), number(x))
	}
	for _, x := range []string{"gone", "sh", "-c"} { // the first does not fit
		set(names, at(0, now), text(x))
	}
	for _, x := range []string{"10.1.0.0/16", "::1/128"} {
		set(ips, at(0, now), Value{Kind: event.KindIP, IP: netip.MustParsePrefix(x)})
	}
	set(aging, at(0, now-20*event.Time(time.Second)), text("zsh"))
	set(aging, at(0, now-1), text("bash"))
	set(key, at(2, now-20*event.Time(time.Second)), text("bash")) // expired
	set(key, at(7, now), text("sh"))
	set(own, at(1, now), text("ash"))
	set(own, at(7, now), text("sh"))
	set(n, at(7, now), number(40))
	set(n, at(7, now), number(24))
	return env
}

// setVariables gives the walker the values of referenceVariables.
func (w walker) setVariables() {
	for name, v := range map[string]any{
		"b": true, "i": int64(7), "s": "sh", "none": []any{}, "ip": netip.MustParsePrefix("10.1.2.3/32"), "ids": []any{int64(1), int64(7)},
		"names": []any{"sh", "-c"}, "ips": []any{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("::1/128")},
		"aging": []any{"bash"}, "process.key": "x", "process.own": "", "process.n": int64(0),
	} {
		w["${"+name+"}"] = v
	}
	switch w["process.pid"] {
	case int64(7):
		w["${process.key}"], w["${process.own}"], w["${process.n}"] = "sh", "sh", int64(64)
	case int64(1):
		w["${process.own}"] = "ash"
	case int64(0): // no process
	default:
		for _, a := range w.objects("process.ancestors") {
			if a["pid"] == int64(1) {
				w["${process.own}"] = "ash"
			}
		}
	}
}

// situation makes a random event, as a flat one and as the walker wants it.
func (w writer) situation(tb testing.TB) (*event.Event, walker) {
	tb.Helper()
	word := func() string { return w.pick("sh", "bash", "zsh", "s*", "", "nginx", "x", "-c") }
	file := func() string { return w.pick("/etc/a", "/etc/cron.d/x.sh", "/bin/sh", "/etc", "/x.sh", "", "/etc/sh") }
	flat := map[string]any{"type": "open"}
	values := walker{}
	list := func(words []string) []any {
		all := []any{}
		for _, s := range words {
			all = append(all, s)
		}
		return all
	}
	set := func(name string, v any) {
		flat[name], values[name] = v, v
		if words, ok := v.([]string); ok {
			values[name] = list(words)
		}
	}
	lineage := func(name string) {
		var objects []any
		for range w.IntN(4) {
			argv := []string{word(), word()}[:w.IntN(3)]
			a := map[string]any{"pid": int64(w.IntN(4)), "comm": word(), "argv": argv, "is_thread": w.IntN(2) == 0, "file.path": file()}
			objects = append(objects, a)
			o := walker(maps.Clone(a))
			o["argv"] = list(argv)
			values[name] = append(values.objects(name), o)
		}
		if objects != nil {
			flat[name] = objects
		}
	}
	number, text, path := "open.flags", "open.file.name", "open.file.path"
	if w.signal {
		flat["type"] = "signal"
		number, text, path = "signal.pid", "signal.target.comm", "signal.target.file.path"
		lineage("signal.target.ancestors")
	}
	for _, name := range []string{"process.pid", "process.uid", number} {
		set(name, []int64{0, 1, 2, 3, 7, 64, 66, 1000}[w.IntN(8)])
	}
	for _, name := range []string{"process.comm", "process.tty_name", text} {
		set(name, word())
	}
	set("process.argv", []string{word(), word()}[:w.IntN(3)])
	set("process.envs", []string{word()}[:w.IntN(2)])
	set("process.is_kworker", w.IntN(2) == 0)
	set(path, file())
	lineage("process.ancestors")
	values.setVariables()
	encoded, err := json.Marshal(flat)
	require.NoError(tb, err)
	return flatEvent(tb, string(encoded)), values
}

// agree compares both evaluators on an expression and the events, and counts the results.
func agree(tb testing.TB, env *Env, src string, events []*event.Event, values []walker, results map[bool]int) {
	tb.Helper()
	n, perr := parseRule(src)
	if perr != nil {
		tb.Fatalf("%s: %v", src, perr)
	}
	p, err := Compile(src, env)
	if err != nil {
		tb.Fatalf("%s: %v", src, err)
	}
	env.Filter = true
	filter, err := Compile(src, env)
	env.Filter = false
	if err != nil {
		tb.Fatalf("%s: %v", src, err)
	}
	letters := lettersOf(src)
	c := &Context{Now: now}
	for i, e := range events {
		c.Event = e
		got, want := p.Match(c), values[i].matches(n, letters)
		if got != want {
			tb.Fatalf("%s\nis %t, and by the definition %t, for\n%v", src, got, want, values[i])
		}
		if got && !filter.Match(c) {
			tb.Fatalf("%s\nmatches, and its filter does not, for\n%v", src, values[i])
		}
		results[got]++
	}
}

// TestAgainstReference compares about a million pairs of an expression and an event.
func TestAgainstReference(t *testing.T) {
	expressions, situations := 4000, 256
	if testing.Short() {
		expressions = 200
	}
	env := referenceVariables(t)
	results := map[bool]int{}
	for _, signal := range []bool{false, true} {
		w := writer{rand.New(rand.NewPCG(1, 2)), signal} //nolint:gosec // repeatable on purpose
		var events []*event.Event
		var values []walker
		for range situations {
			e, v := w.situation(t)
			events, values = append(events, e), append(values, v)
		}
		for range expressions / 2 {
			agree(t, env, w.expression(), events, values, results)
		}
	}
	pairs := expressions * situations
	require.Equal(t, pairs, results[true]+results[false])
	require.Greater(t, results[true], pairs/4, "both results are usual")
	require.Greater(t, results[false], pairs/4, "both results are usual")
}

// fuzzSource turns the bytes of a fuzz target into choices, and goes on by chance when they end.
type fuzzSource struct {
	data []byte
	rest *rand.PCG
}

func (s *fuzzSource) Uint64() uint64 {
	if len(s.data) == 0 {
		return s.rest.Uint64()
	}
	b := s.data[0]
	s.data = s.data[1:]
	return uint64(b) << 56
}

// FuzzAgainstReference does the same with the choices that the fuzzer makes.
func FuzzAgainstReference(f *testing.F) {
	for i := range 16 {
		f.Add([]byte(strings.Repeat(string(rune('0'+7*i)), 40)))
	}
	env := referenceVariables(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		w := writer{Rand: rand.New(&fuzzSource{data, rand.NewPCG(1, uint64(len(data)))})} //nolint:gosec // repeatable on purpose
		w.signal = w.IntN(2) == 0
		src := w.expression()
		for range 4 {
			e, values := w.situation(t)
			agree(t, env, src, []*event.Event{e}, []walker{values}, map[bool]int{})
		}
		clear(expressions)
	})
}
