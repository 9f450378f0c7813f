// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/picketsec/picket/internal/event"
)

// opError is reported for an operator that the operands' type does not have.
func (c *compiler) opError(pos Pos, op, typ string) *Error {
	err := compileError(pos, ReasonOperator, "unknown operator: %s is not defined for %s", op, typ)
	switch {
	case strings.HasPrefix(typ, "string"):
		return err.hint("strings have no order: compare them by ==, =~ and in")
	case op == "=~" || op == "!~":
		return err.hint("patterns are for strings: use == or !=")
	}
	return err
}

// compare compiles a scalar comparison.
//
// An array on the left (on either side for ints) compares if any of its elements does. != is always the negation of ==.
func (c *compiler) compare(n *compareNode) (operand, *Error) {
	l, err := c.compile(n.l)
	if err != nil {
		return operand{}, err
	}
	r, err := c.compile(n.r)
	if err != nil {
		return operand{}, err
	}
	if l.kind != r.kind {
		return operand{}, c.typeError(&r, l.kind.String())
	}
	if r.array && (l.array || l.kind != event.KindInt) {
		return operand{}, c.typeError(&r, l.kind.String()).hint("in tests whether a value is in a list")
	}
	if l.kind == event.KindString {
		return c.compareStrings(n, &l, &r)
	}
	if l.kind == event.KindInt {
		return c.compareInts(n, &l, &r)
	}
	var o operand
	switch {
	case n.op != "==" && n.op != "!=":
		return operand{}, c.opError(n.pos, n.op, l.typeName())
	case l.kind == event.KindBool:
		o = equalBools(&l, &r)
	default:
		o = equalIPs(&l, &r)
	}
	o.pos, o.kind, o.static, o.weight = l.pos, event.KindBool, l.static && r.static, l.weight+r.weight+1
	o.fold()
	if n.op == "!=" {
		o = negate(o)
	}
	return o, nil
}

func equalBools(l, r *operand) (o operand) {
	b := r.b
	if l.array {
		all := l.anyB
		is := func(c *Context, x bool) bool { return x == b(c) }
		o.b = func(c *Context) bool { return all(c, is) }
		return o
	}
	a := l.b
	o.b = func(c *Context) bool { return a(c) == b(c) }
	return o
}

// overlap reports whether either network holds the other's address. An address is the network of only itself.
func overlap(a, b netip.Prefix) bool { return a.Contains(b.Addr()) || b.Contains(a.Addr()) }

func equalIPs(l, r *operand) (o operand) {
	b := r.ip
	if l.array {
		all := l.anyIP
		is := func(c *Context, x netip.Prefix) bool { return overlap(x, b(c)) }
		o.b = func(c *Context) bool { return all(c, is) }
		return o
	}
	a := l.ip
	o.b = func(c *Context) bool { return overlap(a(c), b(c)) }
	return o
}

// mirror is what an operator becomes when its operands change sides.
var mirror = map[string]string{"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

var intTests = map[string]func(a, b int64) bool{
	"==": func(a, b int64) bool { return a == b },
	"<":  func(a, b int64) bool { return a < b },
	"<=": func(a, b int64) bool { return a <= b },
	">":  func(a, b int64) bool { return a > b },
	">=": func(a, b int64) bool { return a >= b },
}

func (c *compiler) compareInts(n *compareNode, l, r *operand) (operand, *Error) {
	op := n.op
	if _, ok := mirror[op]; !ok {
		return operand{}, c.opError(n.pos, op, l.typeName())
	}
	pos := l.pos
	if r.array || l.duration && !r.duration {
		l, r, op = r, l, mirror[op]
	}
	age := false
	if r.duration {
		if op == "!=" {
			return operand{}, c.opError(n.pos, op, "a duration")
		}
		// How long ago a time is, unless the left side was computed or is a plain number.
		age = !l.computed && !l.static
	}
	negated := op == "!="
	if negated {
		op = "=="
	}
	o := operand{
		pos: pos, kind: event.KindBool, static: l.static && r.static, weight: l.weight + r.weight + 1,
		b: intComparison(op, l, r, age),
	}
	if op == "==" && r.static && !r.array && !age {
		o.cover = intKeys(l, r.i(nil))
	}
	o.fold()
	if negated {
		o = negate(o)
	}
	return o, nil
}

func intComparison(op string, l, r *operand, age bool) boolFunc {
	test, a, b := intTests[op], l.i, r.i
	switch {
	case l.array && age:
		all := l.anyI
		is := func(c *Context, x int64) bool { return test(int64(c.Now)-x, b(c)) }
		return func(c *Context) bool { return all(c, is) }
	case l.array:
		all := l.anyI
		is := func(c *Context, x int64) bool { return test(x, b(c)) }
		return func(c *Context) bool { return all(c, is) }
	case age:
		return func(c *Context) bool { return test(int64(c.Now)-a(c), b(c)) }
	case r.static && !l.static:
		return withConstant(op, a, b(nil))
	}
	return func(c *Context) bool { return test(a(c), b(c)) }
}

// withConstant spares the call of a comparison function where the right side is known, which is the usual case.
func withConstant(op string, a intFunc, v int64) boolFunc {
	switch op {
	case "<":
		return func(c *Context) bool { return a(c) < v }
	case "<=":
		return func(c *Context) bool { return a(c) <= v }
	case ">":
		return func(c *Context) bool { return a(c) > v }
	case ">=":
		return func(c *Context) bool { return a(c) >= v }
	}
	return func(c *Context) bool { return a(c) == v }
}

// compareStrings compiles == != =~ !~ with a string or string array on the left.
func (c *compiler) compareStrings(n *compareNode, l, r *operand) (operand, *Error) {
	subject, value := l, r
	switch n.op {
	case "=~", "!~":
		if !r.static {
			return operand{}, compileError(r.pos, ReasonPattern, "non-static pattern: the right side of %s has to be a string, pattern or regexp literal", n.op)
		}
		if lit := r.literals[0]; lit.kind == scalarString {
			p := *r
			p.literals = []*stringNode{{lit.place, patternString, lit.text}}
			value = &p
		}
	case "==", "!=":
		// A literal may stand on either side: the other is what it tests.
		if l.static && !l.array && (!r.static || l.literals[0].kind != scalarString) {
			subject, value = r, l
		}
		c.noteStars(subject, value.literals)
	default:
		return operand{}, c.opError(n.pos, n.op, l.typeName())
	}
	test, weight, err := stringTest(subject, value)
	if err != nil {
		return operand{}, err
	}
	o := operand{pos: l.pos, kind: event.KindBool, static: l.static && r.static, weight: l.weight + r.weight + weight}
	o.b = applyString(subject, test)
	o.cover = stringKeys(subject, value)
	o.fold()
	if n.op[0] == '!' {
		o = negate(o)
	}
	return o, nil
}

// noteStars notes plain texts with a star that a path is compared with: hardly any path has one, and they are no patterns.
func (c *compiler) noteStars(subject *operand, literals []*stringNode) {
	for _, l := range literals {
		if subject.options.glob && l.kind == scalarString && strings.Contains(l.text, "*") {
			note := fmt.Sprintf("%q is compared as it is, with its star; a pattern is ~%[1]q", l.text)
			if !slices.Contains(c.p.notes, note) && len(c.p.notes) < 5 {
				c.p.notes = append(c.p.notes, note)
			}
		}
	}
}

// applyString tests a string, or whether any member of an array passes.
func applyString(subject *operand, test func(*Context, string) bool) boolFunc {
	if subject.array {
		all := subject.anyS
		return func(c *Context) bool { return all(c, test) }
	}
	get := subject.s
	return func(c *Context) bool { return test(c, get(c)) }
}

// stringTest makes the test whether a string, of the subject's kind, equals or matches the value; of a list: any member.
func stringTest(subject, value *operand) (test func(*Context, string) bool, weight int, err *Error) {
	if len(value.literals) == 0 && len(value.templates) == 0 {
		return dynamicTest(subject, value), 2, nil
	}
	m, err := newStringMatcher(value.literals, subject.options)
	if err != nil {
		return nil, 0, err
	}
	if len(value.templates) == 0 {
		return func(_ *Context, s string) bool { return m.match(s) }, m.weight(), nil
	}
	equals, templates := stringEquals(subject.options), value.templates
	return func(c *Context, s string) bool {
		if m.match(s) {
			return true
		}
		for _, t := range templates {
			if equals(s, t(c)) {
				return true
			}
		}
		return false
	}, m.weight(), nil
}

// stringEquals compares as the options of the sides say.
func stringEquals(o options) func(a, b string) bool {
	switch {
	case o.extension:
		return func(a, b string) bool {
			return strings.EqualFold(strings.TrimPrefix(a, "."), strings.TrimPrefix(b, "."))
		}
	case o.fold:
		return strings.EqualFold
	}
	return func(a, b string) bool { return a == b }
}

// dynamicTest tests against a value that is only known at run time.
func dynamicTest(subject, value *operand) func(*Context, string) bool {
	equals := stringEquals(options{
		fold:      subject.options.fold || value.options.fold,
		extension: subject.options.extension || value.options.extension,
	})
	get := value.s
	return func(c *Context, s string) bool { return equals(s, get(c)) }
}

// member compiles in, not in and allin.
func (c *compiler) member(n *memberNode) (operand, *Error) {
	l, err := c.compile(n.l)
	if err != nil {
		return operand{}, err
	}
	r, err := c.compile(n.r)
	if err != nil {
		return operand{}, err
	}
	if !r.array && r.kind == event.KindIP && r.anyIP != nil {
		r.array = true // a network is the list of itself
	}
	if !r.array {
		return operand{}, c.typeError(&r, l.kind.String()+" array").hint("compare with one value by ==")
	}
	if l.kind != r.kind {
		return operand{}, c.typeError(&r, l.kind.String()+" array")
	}
	o := operand{pos: l.pos, kind: event.KindBool, static: l.static && r.static, weight: l.weight + r.weight + 2}
	switch l.kind {
	case event.KindBool:
		o.b = anyCommon(l.b, l.anyB, r.anyB, c.boolSlot(), func(a, b bool) bool { return a == b })
	case event.KindInt:
		o.b = c.intMembership(&l, &r)
		if r.static && !l.static {
			o.cover = intKeys(&l, r.value(&Context{}).Ints...)
		}
	case event.KindIP:
		if n.op == "allin" {
			o.b = allCommon(l.ip, l.anyIP, r.anyIP, l.array, c.ipSlot())
		} else {
			o.b = anyCommon(l.ip, arrayOnly(&l, l.anyIP), r.anyIP, c.ipSlot(), overlap)
		}
	default:
		c.noteStars(&l, r.literals)
		f, keys, weight, err := c.stringMembership(&l, &r)
		if err != nil {
			return operand{}, err
		}
		o.b, o.cover = f, keys
		o.weight += weight
	}
	if o.static {
		// Computed with the slots that the comparison got, which a new Context does not have.
		ctx := &Context{}
		c.p.prepare(ctx)
		o.b, o.weight = constBool(o.b(ctx)), 0
	}
	if n.op == "not in" {
		o = negate(o)
	}
	return o, nil
}

// arrayOnly is all if o is an array; a network has both forms.
func arrayOnly[T any](o *operand, all anyFunc[T]) anyFunc[T] {
	if o.array {
		return all
	}
	return nil
}

// slot is a place of a Context that keeps the element of one array while another array is run over: a closure made
// during evaluation, which could hold it, would be allocated.
type slot[T any] func(*Context) *T

func (c *compiler) boolSlot() slot[bool] {
	c.impure++
	n := c.p.slots.bools
	c.p.slots.bools++
	return func(c *Context) *bool { return &c.bools[n] }
}

func (c *compiler) intSlot() slot[int64] {
	c.impure++
	n := c.p.slots.ints
	c.p.slots.ints++
	return func(c *Context) *int64 { return &c.ints[n] }
}

func (c *compiler) stringSlot() slot[string] {
	c.impure++
	n := c.p.slots.strings
	c.p.slots.strings++
	return func(c *Context) *string { return &c.strings[n] }
}

func (c *compiler) ipSlot() slot[netip.Prefix] {
	c.impure++
	n := c.p.slots.ips
	c.p.slots.ips++
	return func(c *Context) *netip.Prefix { return &c.ips[n] }
}

// anyCommon tests whether the scalar, or any member of the array all if that is not nil, equals any member of the list.
func anyCommon[T any](scalar func(*Context) T, all, list anyFunc[T], place slot[T], equals func(a, b T) bool) boolFunc {
	inner := func(c *Context, x T) bool { return equals(*place(c), x) }
	outer := func(c *Context, x T) bool { *place(c) = x; return list(c, inner) }
	if all != nil {
		return func(c *Context) bool { return all(c, outer) }
	}
	return func(c *Context) bool { return outer(c, scalar(c)) }
}

// allCommon tests whether the address, or every member of an array, is in every network of the list.
func allCommon(scalar ipFunc, all, list anyFunc[netip.Prefix], array bool, place slot[netip.Prefix]) boolFunc {
	outside := func(c *Context, x netip.Prefix) bool { return !overlap(*place(c), x) }
	missing := func(c *Context, x netip.Prefix) bool { *place(c) = x; return list(c, outside) }
	if array {
		return func(c *Context) bool { return !all(c, missing) }
	}
	return func(c *Context) bool { return !missing(c, scalar(c)) }
}

// Above this many ints a map is faster than comparing one by one.
const linearInts = 8

func (c *compiler) intMembership(l, r *operand) boolFunc {
	if !r.static || l.static {
		return anyCommon(l.i, l.anyI, r.anyI, c.intSlot(), func(a, b int64) bool { return a == b })
	}
	list := r.value(&Context{}).Ints
	test := func(_ *Context, x int64) bool { return slices.Contains(list, x) }
	if len(list) > linearInts {
		set := make(map[int64]struct{}, len(list))
		for _, x := range list {
			set[x] = struct{}{}
		}
		test = func(_ *Context, x int64) bool { _, ok := set[x]; return ok }
	}
	if l.array {
		all := l.anyI
		return func(c *Context) bool { return all(c, test) }
	}
	get := l.i
	return func(c *Context) bool { return test(c, get(c)) }
}

func (c *compiler) stringMembership(l, r *operand) (f boolFunc, cover []Key, weight int, err *Error) {
	subject, list := l, r
	switch {
	case len(r.literals)+len(r.templates) > 0:
	case len(l.literals)+len(l.templates) > 0:
		subject, list = r, l // what is known tests what is not
	default:
		equals := stringEquals(options{
			fold:      l.options.fold || r.options.fold,
			extension: l.options.extension || r.options.extension,
		})
		return anyCommon(l.s, l.anyS, r.anyS, c.stringSlot(), equals), nil, 5, nil
	}
	test, weight, err := stringTest(subject, list)
	if err != nil {
		return nil, nil, 0, err
	}
	return applyString(subject, test), stringKeys(subject, list), weight, nil
}
