// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/picketsec/picket/internal/event"
)

// Macro is a named expression or list. Exactly one of Expression and Values is set.
type Macro struct {
	ID         string
	Expression string
	Values     []string // strings; ~"…" and r"…" are a pattern and a regular expression
}

// Env is what expressions may refer to beside fields and constants. It caches parsed macros: fill Macros before the first
// Compile, and use an Env from one goroutine.
type Env struct {
	Macros    []Macro // in any order
	Variables *Variables
	// RequireEvent refuses an expression that reads no field of an event type, as rules must.
	RequireEvent bool
	// Filter compiles what only has to be false if the expression will be false for certain, although variables and fields
	// that are unavailable (event.FieldUnavailable) are not known yet.
	Filter bool
	// MaxOperands bounds what all expressions that are compiled with this Env have together, macros expanded; 0 is no bound.
	MaxOperands int

	operands int
	macros   map[string]*macro
}

type macro struct {
	Macro
	node node
	err  *Error
	done bool
}

func (env *Env) macro(id string) (*macro, bool) {
	if env == nil {
		return nil, false
	}
	if env.macros == nil {
		env.macros = make(map[string]*macro, len(env.Macros))
		for _, m := range env.Macros {
			env.macros[m.ID] = &macro{Macro: m}
		}
	}
	m, ok := env.macros[id]
	if ok && !m.done {
		m.done = true
		m.node, m.err = m.parse()
	}
	return m, ok
}

func (m *macro) parse() (node, *Error) {
	if len(m.Values) == 0 {
		return parseMacro(m.Expression)
	}
	start := place{Pos{Line: 1, Column: 1}}
	if m.Expression != "" {
		return nil, compileError(start.pos, ReasonMacro, "a macro has an expression or values, not both")
	}
	if len(m.Values) > MaxArrayMembers {
		return nil, compileError(start.pos, ReasonLimit, "the macro has more than %d values", MaxArrayMembers)
	}
	array := &arrayNode{place: start}
	for _, v := range m.Values {
		array.members = append(array.members, valueNode(start, v))
	}
	return array, nil
}

// valueNode reads a macro's value: a plain string unless it is written as a pattern or regular expression.
func valueNode(at place, v string) *stringNode {
	if strings.HasSuffix(v, `"`) && len(v) >= 3 {
		switch v[:2] {
		case `~"`:
			return &stringNode{at, patternString, v[2 : len(v)-1]}
		case `r"`:
			return &stringNode{at, regexpString, v[2 : len(v)-1]}
		}
	}
	return &stringNode{at, scalarString, v}
}

// Compile compiles the expression of a rule, which must be a bool. The error is an *Error.
func Compile(expr string, env *Env) (*Program, error) {
	n, err := parseRule(expr)
	if err != nil {
		return nil, err
	}
	p, o, err := compileNode(n, env)
	if err != nil {
		return nil, err
	}
	if o.kind != event.KindBool || o.array {
		return nil, compileError(o.pos, ReasonType, "the expression is of type %s, not bool", o.typeName())
	}
	if env != nil && env.RequireEvent && p.eventType == event.TypeAny {
		return nil, compileError(Pos{Line: 1, Column: 1}, ReasonNoEvent,
			"no event in the rule definition: the expression reads no field of an event type").
			hint(`say what event it is about, such as exec.file.path != ""`)
	}
	return p, nil
}

// CompileValue compiles an expression of any type, as the set action has. Program.Eval evaluates it.
func CompileValue(expr string, env *Env) (*Program, error) {
	n, err := parseMacro(expr)
	if err != nil {
		return nil, err
	}
	p, o, err := compileNode(n, env)
	if err != nil {
		return nil, err
	}
	if o.array && o.kind == event.KindBool {
		return nil, compileError(o.pos, ReasonType, "the expression is of type %s, which no value has", o.typeName())
	}
	if p.iterators > 0 {
		return nil, compileError(o.pos, ReasonIterator, "a value cannot use iterator variables")
	}
	return p, nil
}

// CheckMacro reports what is wrong with a macro of env by itself: it parses, its names exist and its types fit.
// The error is an *Error with places in the macro's own expression.
func CheckMacro(id string, env *Env) error {
	m, ok := env.macro(id)
	if !ok {
		return compileError(Pos{Line: 1, Column: 1}, ReasonMacro, "there is no macro %q", id)
	}
	if m.err != nil {
		return m.err
	}
	c := newCompiler(env)
	c.active[id], c.inside = true, []string{id}
	if _, err := c.compile(m.node); err != nil {
		return err
	}
	return nil
}

// compiler compiles one expression.
type compiler struct {
	env    *Env
	active map[string]bool // macros that are being expanded
	inside []string        // the same, outermost first
	nodes  int

	// For boolean: how often something was read that is not known yet; how often something that is not the same for every
	// program that reads it; whether the present part is negated; and how deep it is in an operand of a comparison.
	unknown, impure int
	negated         bool
	atom            int

	p         *Program
	seen      map[string]bool
	iterators map[string]int // iterator variable → index
}

func newCompiler(env *Env) *compiler {
	return &compiler{env: env, active: map[string]bool{}, p: &Program{}, seen: map[string]bool{}, iterators: map[string]int{}}
}

func compileNode(n node, env *Env) (*Program, *operand, *Error) {
	c := newCompiler(env)
	o, err := c.boolean(n)
	if err != nil {
		return nil, nil, err
	}
	c.p.root, c.p.weight, c.p.iterators = o, o.weight, len(c.iterators)
	c.p.retval = slices.ContainsFunc(c.p.fields, func(f *event.Field) bool { return f.Name == c.p.eventType.String()+".retval" })
	return c.p, &o, nil
}

// count adds n operands at pos, and refuses them if there are too many.
func (c *compiler) count(n int, pos Pos) *Error {
	if c.nodes += n; c.nodes > MaxNodes {
		return compileError(pos, ReasonLimit, "the expression has more than %d operands, with its macros", MaxNodes)
	}
	if env := c.env; env != nil && env.MaxOperands > 0 {
		if env.operands += n; env.operands > env.MaxOperands {
			return compileError(pos, ReasonLimit, "all expressions together have more than %d operands, with their macros", env.MaxOperands)
		}
	}
	return nil
}

// compile compiles a node.
func (c *compiler) compile(n node) (operand, *Error) {
	if err := c.count(1, n.at()); err != nil {
		return operand{}, err
	}
	switch n := n.(type) {
	case *logicalNode:
		return c.logical(n)
	case *compareNode:
		c.atom++
		defer func() { c.atom-- }()
		return c.compare(n)
	case *memberNode:
		c.atom++
		defer func() { c.atom-- }()
		return c.member(n)
	case *arithNode:
		c.atom++
		defer func() { c.atom-- }()
		return c.arith(n)
	case *unaryNode:
		return c.unary(n)
	case *identNode:
		return c.ident(n)
	case *intNode:
		return operand{pos: n.pos, kind: event.KindInt, static: true, duration: n.duration, i: constInt(n.v)}, nil
	case *stringNode:
		return c.str(n)
	case *ipNode:
		if n.cidr {
			// Where an array is wanted a network is the array of itself; elsewhere it is a scalar.
			return operand{pos: n.pos, kind: event.KindIP, static: true, ip: constIP(n.prefix), anyIP: constAny([]netip.Prefix{n.prefix})}, nil
		}
		return operand{pos: n.pos, kind: event.KindIP, static: true, ip: constIP(n.prefix)}, nil
	case *variableNode:
		return c.variable(n.pos, n.name)
	case *fieldRefNode:
		return c.fieldRef(n.pos, n.name)
	case *arrayNode:
		return c.array(n)
	}
	panic(fmt.Sprintf("secl: node %T", n)) // a bug: the parser makes no other
}

// expand compiles a macro in place of its name.
func (c *compiler) expand(n *identNode, m *macro) (operand, *Error) {
	if c.active[m.ID] {
		chain := append(slices.Clone(c.inside), m.ID)
		return operand{}, compileError(n.pos, ReasonMacro, "macro %q refers to itself: %s", m.ID, strings.Join(chain, " → "))
	}
	var o operand
	err := m.err
	if err == nil {
		c.active[m.ID] = true
		c.inside = append(c.inside, m.ID)
		o, err = c.compile(m.node)
		c.inside = c.inside[:len(c.inside)-1]
		delete(c.active, m.ID)
	}
	if err != nil {
		return operand{}, &Error{
			Kind: err.Kind, Reason: macroReason(err.Reason), Line: n.pos.Line, Column: n.pos.Column, Hint: err.Hint,
			Message: fmt.Sprintf("in macro %q at %d:%d: %s", m.ID, err.Line, err.Column, err.Message),
		}
	}
	o.pos = n.pos
	// Literals keep their text, but a complaint about one belongs where the macro is used.
	if len(o.literals) > 0 {
		moved := make([]*stringNode, len(o.literals))
		for i, l := range o.literals {
			moved[i] = &stringNode{n.place, l.kind, l.text}
		}
		o.literals = moved
	}
	return o, nil
}

// macroReason is the reason of an error within a macro: a macro that does not parse has none of its own.
func macroReason(reason string) string {
	if reason == "" {
		return ReasonMacro
	}
	return reason
}

// ident resolves a name: constant, then macro, then field.
func (c *compiler) ident(n *identNode) (operand, *Error) {
	if k, ok := event.Constants[n.name]; ok {
		return constant(n.pos, &k), nil
	}
	if m, ok := c.env.macro(n.name); ok {
		return c.expand(n, m)
	}
	return c.field(n.pos, n.name)
}

func constant(pos Pos, k *event.Constant) operand {
	o := operand{pos: pos, kind: k.Kind, static: true}
	switch k.Kind {
	case event.KindBool:
		o.b = constBool(k.Bool)
	case event.KindInt:
		o.i = constInt(k.Int)
	default:
		o.array = true
		for _, s := range k.Strings {
			o.literals = append(o.literals, &stringNode{place{pos}, scalarString, s})
		}
		o.anyS = constAny(k.Strings)
	}
	return o
}

// index is the bracket of a name: a number or an iterator variable.
type index struct {
	text string
	n    int // -1: an iterator variable
}

func parseIndex(s string) index {
	n, err := strconv.Atoi(s)
	if err != nil || !isDigit(s[0]) {
		n = -1
	}
	return index{s, n}
}

// field compiles the reading of a field.
func (c *compiler) field(pos Pos, name string) (operand, *Error) {
	full := name
	var element, member *index
	if open := strings.IndexByte(name, '['); open >= 0 {
		end := strings.IndexByte(name[open:], ']')
		if end < 0 {
			return operand{}, compileError(pos, ReasonFieldNotFound, "field %q not found", full)
		}
		ix := parseIndex(name[open+1 : open+end])
		base, rest := name[:open], name[open+end+1:]
		if event.IsIterator(base) {
			element, name = &ix, base+rest
		} else {
			member, name = &ix, base
			if rest != "" {
				return operand{}, compileError(pos, ReasonIterator, "%q: %q is no iterator, its elements have no fields", full, base)
			}
		}
		if element != nil {
			if tail, in, ok := strings.Cut(name, "["); ok && strings.HasSuffix(in, "]") {
				ix := parseIndex(in[:len(in)-1])
				member, name = &ix, tail
			}
		}
	}
	f, ok := event.LookupField(name)
	if !ok {
		return operand{}, c.noField(pos, full, name)
	}
	if err := c.read(pos, f); err != nil {
		return operand{}, err
	}
	o := operand{
		pos: pos, kind: f.Kind, weight: f.Weight, name: fmt.Sprintf("field %q", full),
		options: options{glob: f.PathGlob, fold: f.CaseInsensitive, extension: f.Extension, max: f.MaxBytes},
	}
	switch {
	case f.Iterator == "" && element != nil:
		return operand{}, compileError(pos, ReasonIterator, "%q: %q is no field of an element", full, f.Name)
	case f.Iterator == "":
		readField(&o, f)
		o.field = f
	case element == nil:
		readAll(&o, f)
	default:
		at, err := c.element(pos, f, element)
		if err != nil {
			return operand{}, err
		}
		readElement(&o, f, at)
	}
	if member != nil {
		return c.indexed(o, full, member)
	}
	return o, nil
}

// indexed compiles the reading of one member of an array.
func (c *compiler) indexed(o operand, name string, ix *index) (operand, *Error) {
	switch {
	case !o.array:
		return operand{}, compileError(o.pos, ReasonIterator, "%q: only iterators and arrays have an index", name)
	case ix.n < 0:
		return operand{}, compileError(o.pos, ReasonIterator, "%q: the index of an array is a number", name)
	}
	list, intAt, n := o.list, o.intAt, ix.n
	member := operand{pos: o.pos, kind: o.kind, weight: o.weight, options: o.options, name: o.name}
	switch {
	case list != nil:
		member.s = func(c *Context) string {
			if l := list(c); n < len(l) {
				return l[n]
			}
			return ""
		}
	case intAt != nil:
		member.i = func(c *Context) int64 { return intAt(c, n) }
	default:
		return operand{}, compileError(o.pos, ReasonIterator, "%q: an array over an iterator has no index", name)
	}
	return member, nil
}

// element resolves the index of an iterator to what it is bound to; nil at run time if there is no such element.
func (c *compiler) element(pos Pos, f *event.Field, ix *index) (func(*Context) *event.Process, *Error) {
	if ix.n >= 0 {
		n, elements := ix.n, f.Elements
		return func(c *Context) *event.Process {
			if es := elements(c.Event); n < len(es) {
				return es[n]
			}
			return nil
		}, nil
	}
	if ix.text == "" || !isIteratorName(ix.text) {
		return nil, compileError(pos, ReasonIterator, "iterator variable %q is not allowed: use a letter, such as [A]", ix.text)
	}
	c.impure++
	n, ok := c.iterators[ix.text]
	if !ok {
		if n = len(c.iterators); n == MaxIterators {
			return nil, compileError(pos, ReasonLimit, "more than %d iterator variables", MaxIterators)
		}
		c.iterators[ix.text] = n
		c.p.over = append(c.p.over, f)
	}
	if other := c.p.over[n]; other.Iterator != f.Iterator {
		return nil, compileError(pos, ReasonIterator, "iterator variable %q runs over %s and cannot run over %s too: use another letter",
			ix.text, other.Iterator, f.Iterator)
	}
	return func(c *Context) *event.Process { return c.elements[n] }, nil
}

// isIteratorName allows letters and digits after a letter; _ is kept for the language.
func isIteratorName(s string) bool {
	return isLetter(s[0]) && !strings.Contains(s, "_")
}

// read notes that the expression reads f, and that it is about f's event.
func (c *compiler) read(pos Pos, f *event.Field) *Error {
	if f.Event != event.TypeAny {
		if c.p.eventType != event.TypeAny && c.p.eventType != f.Event {
			return compileError(pos, ReasonMultipleEvents, "rule with multiple events is not supported: %s and %s", c.p.eventType, f.Event).
				hint("write a rule for each type of event")
		}
		c.p.eventType = f.Event
	}
	if f.Source == event.FieldUnavailable {
		c.unknown++
	}
	if !c.seen[f.Name] {
		c.seen[f.Name] = true
		c.p.fields = append(c.p.fields, f)
		c.p.need |= f.Need
	}
	return nil
}

// noField explains why there is no such field.
func (c *compiler) noField(pos Pos, full, name string) *Error {
	root, _, _ := strings.Cut(name, ".")
	if root == "fim" {
		return compileError(pos, ReasonUnsupportedType, "field %q stands for several fields: it can only be used by a rule of a policy itself, and in no macro", full)
	}
	if event.IsUnproduced(root) && strings.Contains(name, ".") {
		return compileError(pos, ReasonUnsupportedType, "field %q is of event type %s, which Picket does not produce yet", full, root)
	}
	err := compileError(pos, ReasonFieldNotFound, "field %q not found", full)
	if near := nearest(name, c.names); near != "" {
		err.Hint = fmt.Sprintf("did you mean %q?", near)
	}
	return err
}

// names yields everything that an identifier may be.
func (c *compiler) names(yield func(string) bool) {
	for _, f := range event.Fields() {
		if !yield(f.Name) {
			return
		}
	}
	for name := range maps.Keys(event.Constants) {
		if !yield(name) {
			return
		}
	}
	if c.env != nil {
		for name := range maps.Keys(c.env.macros) {
			if !yield(name) {
				return
			}
		}
	}
}

// logical compiles a chain of one operator. The lighter operands run first.
func (c *compiler) logical(n *logicalNode) (operand, *Error) {
	var fs []operand
	or, at := n.or, n.l.at()
	add := func(x node) *Error {
		o, err := c.boolean(x)
		if err != nil {
			return err
		}
		if o.kind != event.KindBool || o.array {
			return c.typeError(&o, "bool")
		}
		fs = append(fs, o)
		return nil
	}
	for {
		if err := add(n.l); err != nil {
			return operand{}, err
		}
		next, ok := n.r.(*logicalNode)
		if !ok || next.or != or {
			break
		}
		n = next
	}
	if err := add(n.r); err != nil {
		return operand{}, err
	}
	var dynamic []operand
	for _, o := range fs {
		switch {
		case !o.static:
			dynamic = append(dynamic, o)
		case o.constant() == or:
			return boolOperand(at, true, 0, constBool(or)), nil
		}
	}
	if len(dynamic) == 0 {
		return boolOperand(at, true, 0, constBool(!or)), nil
	}
	slices.SortStableFunc(dynamic, func(a, b operand) int { return a.weight - b.weight })
	weight := 0
	bs := make([]boolFunc, len(dynamic))
	for i, o := range dynamic {
		bs[i] = o.b
		weight += o.weight
	}
	o := operand{pos: at, kind: event.KindBool, weight: weight, b: chain(bs, or)}
	o.cover, o.guard = coverOf(dynamic, or)
	return o, nil
}

// chain joins functions by or, or else by and.
func chain(fs []boolFunc, or bool) boolFunc {
	switch {
	case len(fs) == 1:
		return fs[0]
	case len(fs) == 2 && or:
		a, b := fs[0], fs[1]
		return func(c *Context) bool { return a(c) || b(c) }
	case len(fs) == 2:
		a, b := fs[0], fs[1]
		return func(c *Context) bool { return a(c) && b(c) }
	}
	return func(c *Context) bool {
		for _, f := range fs {
			if f(c) == or {
				return or
			}
		}
		return !or
	}
}

func (c *compiler) typeError(o *operand, expected string) *Error {
	what := o.name
	if what == "" {
		what = "this"
	}
	err := compileError(o.pos, ReasonType, "%s is of type %s, expected %s", what, o.typeName(), expected)
	if o.static && !o.array {
		switch {
		case o.kind == event.KindString && expected == event.KindInt.String(), o.kind == event.KindString && expected == event.KindIP.String():
			err.Hint = "write it without quotes"
		case expected == event.KindString.String():
			err.Hint = "write it in double quotes"
		}
	}
	return err
}

func (c *compiler) unary(n *unaryNode) (operand, *Error) {
	want, compile := event.KindInt, c.compile
	if n.op == '!' {
		want, compile = event.KindBool, c.boolean
		c.negated = !c.negated
		defer func() { c.negated = !c.negated }()
	}
	x, err := compile(n.x)
	if err != nil {
		return operand{}, err
	}
	if x.kind != want || x.array {
		err := c.typeError(&x, want.String())
		if n.op == '!' {
			err.Hint = "it negates only the next operand: write not (…), or not in"
		}
		return operand{}, err
	}
	o := operand{pos: n.pos, kind: want, static: x.static, weight: x.weight, computed: true}
	switch n.op {
	case '!':
		f := x.b
		o.b = func(c *Context) bool { return !f(c) }
	case '-':
		f := x.i
		o.i = func(c *Context) int64 { return -f(c) }
	default:
		f := x.i
		o.i = func(c *Context) int64 { return ^f(c) }
	}
	o.fold()
	return o, nil
}

func (c *compiler) arith(n *arithNode) (operand, *Error) {
	l, err := c.compile(n.l)
	if err != nil {
		return operand{}, err
	}
	r, err := c.compile(n.r)
	if err != nil {
		return operand{}, err
	}
	for _, x := range []*operand{&l, &r} {
		if x.kind != event.KindInt || x.array {
			return operand{}, c.typeError(x, "int")
		}
	}
	o := operand{pos: l.pos, kind: event.KindInt, static: l.static && r.static, weight: l.weight + r.weight, computed: true}
	o.duration = l.duration && r.duration && (n.op == '+' || n.op == '-')
	a, b := l.i, r.i
	switch n.op {
	case '+':
		o.i = func(c *Context) int64 { return a(c) + b(c) }
	case '-':
		o.i = func(c *Context) int64 { return a(c) - b(c) }
	case '&':
		o.i = func(c *Context) int64 { return a(c) & b(c) }
	case '|':
		o.i = func(c *Context) int64 { return a(c) | b(c) }
	default:
		o.i = func(c *Context) int64 { return a(c) ^ b(c) }
	}
	if r.static && !l.static && n.op == '&' { // the usual test of a flag
		mask := b(nil)
		o.i = func(c *Context) int64 { return a(c) & mask }
	}
	o.fold()
	return o, nil
}

// array compiles an array literal.
func (c *compiler) array(n *arrayNode) (operand, *Error) {
	o := operand{pos: n.pos, array: true, static: true}
	if err := c.count(len(n.members), n.pos); err != nil {
		return operand{}, err
	}
	var bools []bool
	var ints []int64
	var ips []netip.Prefix
	for _, m := range n.members {
		kind := event.KindString
		switch m := m.(type) {
		case *stringNode:
			if err := c.stringMember(&o, m); err != nil {
				return operand{}, err
			}
		case *intNode:
			kind = event.KindInt
			ints = append(ints, m.v)
		case *ipNode:
			kind = event.KindIP
			ips = append(ips, m.prefix)
		case *identNode:
			k, ok := event.Constants[m.name]
			if !ok || k.Strings != nil {
				err := compileError(m.pos, ReasonType, "%q is no constant: an array holds strings, integers, constants or IP addresses", m.name)
				if near := nearest(m.name, maps.Keys(event.Constants)); near != "" {
					err.Hint = fmt.Sprintf("did you mean %q?", near)
				}
				return operand{}, err
			}
			if kind = k.Kind; kind == event.KindBool {
				bools = append(bools, k.Bool)
			} else {
				ints = append(ints, k.Int)
			}
		}
		if o.kind != 0 && kind != o.kind {
			return operand{}, compileError(m.at(), ReasonType, "this is of type %s in an array of type %s", kind, o.kind)
		}
		o.kind = kind
	}
	switch o.kind {
	case event.KindBool:
		o.anyB = constAny(bools)
	case event.KindInt:
		o.anyI = constAny(ints)
	case event.KindIP:
		o.anyIP = constAny(ips)
	default:
		o.anyS = anyString(o.literals, o.templates)
	}
	return o, nil
}

// stringMember adds a string to an array literal: its text may hold references.
func (c *compiler) stringMember(o *operand, n *stringNode) *Error {
	s, err := c.str(n)
	if err != nil {
		return err
	}
	if s.static {
		o.literals = append(o.literals, s.literals...)
		return nil
	}
	o.static = false
	o.weight += s.weight
	o.templates = append(o.templates, s.s)
	return nil
}

// anyString runs over the texts of literals, then over templates.
func anyString(literals []*stringNode, templates []stringFunc) anyFunc[string] {
	return func(c *Context, ok func(*Context, string) bool) bool {
		for _, l := range literals {
			if ok(c, l.text) {
				return true
			}
		}
		for _, t := range templates {
			if ok(c, t(c)) {
				return true
			}
		}
		return false
	}
}

// AsError returns the *Error of an error of this package.
func AsError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}
