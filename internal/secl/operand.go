// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"net/netip"

	"github.com/picketsec/picket/internal/event"
)

type (
	boolFunc   = func(*Context) bool
	intFunc    = func(*Context) int64
	stringFunc = func(*Context) string
	ipFunc     = func(*Context) netip.Prefix
)

// anyFunc reports whether ok holds for any element of an array. The array is never built: this is how evaluation stays
// free of allocation.
type anyFunc[T any] = func(c *Context, ok func(*Context, T) bool) bool

// operand is a compiled sub-expression: a typed value, known or to be computed.
type operand struct {
	pos      Pos
	kind     event.Kind
	array    bool
	static   bool // known at compile time: the functions work with any Context
	weight   int
	duration bool // an int written as a duration
	computed bool // an int made by an operator: durations compare with it, not with its age
	options  options
	name     string // what it is, for messages: field "x"

	field *event.Field // whose value it is; nil if it is computed, or of an iterator
	// Of a bool: what an event has, and needs, for it to be true.
	cover []Key
	guard *Guard

	// Scalars: the one of kind.
	b  boolFunc
	i  intFunc
	s  stringFunc
	ip ipFunc

	// Arrays: the one of kind.
	anyB  anyFunc[bool]
	anyI  anyFunc[int64]
	anyS  anyFunc[string]
	anyIP anyFunc[netip.Prefix]

	// list reads a string array that is one slice, which can be indexed.
	list func(*Context) []string
	// intAt reads a member of an array of ints that is a field's; 0 if there is none.
	intAt func(*Context, int) int64
	// literals are the members of a static string or string array; a plain one has one.
	literals []*stringNode
	// templates are members of a string array whose text is computed.
	templates []stringFunc
}

func (o *operand) typeName() string {
	if o.array {
		return o.kind.String() + " array"
	}
	return o.kind.String()
}

// value evaluates the operand whatever its type.
func (o *operand) value(c *Context) Value {
	v := Value{Kind: o.kind, List: o.array}
	switch {
	case o.array:
		switch o.kind {
		case event.KindInt:
			o.anyI(c, func(_ *Context, x int64) bool { v.Ints = append(v.Ints, x); return false })
		case event.KindString:
			o.anyS(c, func(_ *Context, x string) bool { v.Strings = append(v.Strings, x); return false })
		case event.KindIP:
			o.anyIP(c, func(_ *Context, x netip.Prefix) bool { v.IPs = append(v.IPs, x); return false })
		}
	case o.kind == event.KindBool:
		v.Bool = o.b(c)
	case o.kind == event.KindInt:
		v.Int = o.i(c)
	case o.kind == event.KindString:
		v.String = o.s(c)
	case o.kind == event.KindIP:
		v.IP = o.ip(c)
	}
	return v
}

func constBool(v bool) boolFunc       { return func(*Context) bool { return v } }
func constInt(v int64) intFunc        { return func(*Context) int64 { return v } }
func constString(v string) stringFunc { return func(*Context) string { return v } }
func constIP(v netip.Prefix) ipFunc   { return func(*Context) netip.Prefix { return v } }
func constAny[T any](vs []T) anyFunc[T] { // of a static array
	return func(c *Context, ok func(*Context, T) bool) bool {
		for _, v := range vs {
			if ok(c, v) {
				return true
			}
		}
		return false
	}
}

// fold replaces the function of a static scalar by its value.
func (o *operand) fold() {
	if !o.static || o.array {
		return
	}
	c := &Context{}
	o.weight = 0
	switch o.kind {
	case event.KindBool:
		o.b = constBool(o.b(c))
	case event.KindInt:
		o.i = constInt(o.i(c))
	}
}

func boolOperand(pos Pos, static bool, weight int, f boolFunc) operand {
	o := operand{pos: pos, kind: event.KindBool, static: static, weight: weight, b: f}
	o.fold()
	return o
}

func negate(o operand) operand {
	f := o.b
	o.b = func(c *Context) bool { return !f(c) }
	o.cover = nil
	o.fold()
	return o
}

// constant returns the value of a static bool.
func (o *operand) constant() bool { return o.b(&Context{}) }
