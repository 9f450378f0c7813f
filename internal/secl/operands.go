// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unsafe"

	"github.com/picketsec/picket/internal/event"
)

// readField makes o the value of a field of the event.
func readField(o *operand, f *event.Field) {
	switch {
	case f.Bool != nil:
		get := f.Bool
		o.b = func(c *Context) bool { return get(c.Event) }
	case f.Int != nil:
		get := f.Int
		o.i = func(c *Context) int64 { return get(c.Event) }
	case f.String != nil:
		get := f.String
		o.s = func(c *Context) string { return get(c.Event) }
	case f.IP != nil:
		get := f.IP
		o.ip = func(c *Context) netip.Prefix { return get(c.Event) }
	case f.Ints != nil:
		n, at := f.Ints, f.IntAt
		o.array = true
		o.intAt = func(c *Context, i int) int64 {
			if i < n(c.Event) {
				return at(c.Event, i)
			}
			return 0
		}
		o.weight += 5
		o.anyI = func(c *Context, ok func(*Context, int64) bool) bool {
			for i := range n(c.Event) {
				if ok(c, at(c.Event, i)) {
					return true
				}
			}
			return false
		}
	case f.Strings != nil:
		get := f.Strings
		setList(o, func(c *Context) []string { return get(c.Event) })
	}
}

// setList makes o an array of strings that is one slice.
func setList(o *operand, list func(*Context) []string) {
	o.array, o.list = true, list
	o.weight += 5
	o.anyS = func(c *Context, ok func(*Context, string) bool) bool {
		for _, s := range list(c) {
			if ok(c, s) {
				return true
			}
		}
		return false
	}
}

// readAll makes o the array of the values that all elements of an iterator have.
func readAll(o *operand, f *event.Field) {
	o.array = true
	switch {
	case f.ElemBool != nil:
		o.anyB = overElements(f.Elements, f.ElemBool)
	case f.ElemInt != nil:
		o.anyI = overElements(f.Elements, f.ElemInt)
	case f.ElemString != nil:
		o.anyS = overElements(f.Elements, f.ElemString)
	case f.ElemStrings != nil:
		get, elements := f.ElemStrings, f.Elements
		o.anyS = func(c *Context, ok func(*Context, string) bool) bool {
			for _, p := range elements(c.Event) {
				for _, s := range get(p) {
					if ok(c, s) {
						return true
					}
				}
			}
			return false
		}
	}
}

func overElements[T any](elements func(*event.Event) []*event.Process, get func(*event.Process) T) anyFunc[T] {
	return func(c *Context, ok func(*Context, T) bool) bool {
		for _, p := range elements(c.Event) {
			if ok(c, get(p)) {
				return true
			}
		}
		return false
	}
}

// readElement makes o the value that one element of an iterator has.
func readElement(o *operand, f *event.Field, at func(*Context) *event.Process) {
	switch {
	case f.ElemBool != nil:
		get := f.ElemBool
		o.b = func(c *Context) bool { return get(at(c)) }
	case f.ElemInt != nil:
		get := f.ElemInt
		o.i = func(c *Context) int64 { return get(at(c)) }
	case f.ElemString != nil:
		get := f.ElemString
		o.s = func(c *Context) string { return get(at(c)) }
	case f.ElemStrings != nil:
		get := f.ElemStrings
		setList(o, func(c *Context) []string { return get(at(c)) })
	}
}

const lengthSuffix = ".length"

// fieldRef compiles %{field}. Beside fields it knows the length of every string and array.
func (c *compiler) fieldRef(pos Pos, name string) (operand, *Error) {
	base, ok := strings.CutSuffix(name, lengthSuffix)
	if _, exists := event.LookupField(name); !ok || exists {
		return c.field(pos, name)
	}
	o, err := c.field(pos, base)
	if err != nil {
		return operand{}, err
	}
	return c.length(o)
}

// length compiles the number of bytes of a string, or of members of an array.
func (c *compiler) length(x operand) (operand, *Error) {
	o := operand{pos: x.pos, kind: event.KindInt, weight: x.weight + 1}
	switch {
	case x.array && x.kind == event.KindString:
		o.i = count(c, x.anyS)
	case x.array && x.kind == event.KindInt:
		o.i = count(c, x.anyI)
	case x.array && x.kind == event.KindIP:
		o.i = count(c, x.anyIP)
	case x.kind == event.KindString:
		get := x.s
		o.i = func(c *Context) int64 { return int64(len(get(c))) }
	default:
		return operand{}, compileError(x.pos, ReasonType, "a value of type %s has no length", x.typeName())
	}
	return o, nil
}

// count counts the members of an array in a slot of the context: a counter in a closure would be allocated.
func count[T any](c *compiler, all anyFunc[T]) intFunc {
	slot := c.p.slots.ints
	c.p.slots.ints++
	c.impure++
	one := func(c *Context, _ T) bool { c.ints[slot]++; return false }
	return func(c *Context) int64 {
		c.ints[slot] = 0
		all(c, one)
		return c.ints[slot]
	}
}

// Built-in variables.
const (
	variablePID  = "process.pid"
	variableUUID = "builtins.uuid4"
)

// variable compiles ${name}, also with .length.
func (c *compiler) variable(pos Pos, name string) (operand, *Error) {
	o := operand{pos: pos, weight: 10, name: fmt.Sprintf("variable %q", name)}
	c.impure++
	var variables *Variables
	if c.env != nil {
		variables = c.env.Variables
	}
	v, ok := variables.Lookup(name)
	if !ok {
		switch name {
		case variablePID:
			f, _ := event.LookupField(variablePID)
			if err := c.read(pos, f); err != nil {
				return operand{}, err
			}
			o.kind = f.Kind
			readField(&o, f)
			return o, nil
		case variableUUID:
			c.unknown++
			o.kind = event.KindString
			o.s = func(*Context) string { return newUUID() }
			return o, nil
		}
		if base, cut := strings.CutSuffix(name, lengthSuffix); cut {
			if _, ok := variables.Lookup(base); ok {
				x, err := c.variable(pos, base)
				if err != nil {
					return operand{}, err
				}
				return c.length(x)
			}
		}
		err := compileError(pos, ReasonVariable, "variable %q is not declared: no rule sets it", name)
		if near := nearest(name, func(yield func(string) bool) {
			for _, v := range variables.All() {
				if !yield(v.Ref()) {
					return
				}
			}
		}); near != "" {
			err.Hint = fmt.Sprintf("did you mean %q?", near)
		}
		return operand{}, err
	}
	c.unknown++
	if !c.seen["$"+name] {
		c.seen["$"+name] = true
		c.p.variables = append(c.p.variables, v)
		c.p.need |= v.Need()
	}
	o.kind = v.Kind
	if v.List {
		readList(&o, v)
		return o, nil
	}
	switch v.Kind {
	case event.KindBool:
		o.b = func(c *Context) bool { return v.value(c).Bool }
	case event.KindInt:
		o.i = func(c *Context) int64 { return v.value(c).Int }
	case event.KindString:
		o.s = func(c *Context) string { return v.value(c).String }
	case event.KindIP:
		o.ip = func(c *Context) netip.Prefix { return v.value(c).IP }
	}
	return o, nil
}

// Need is what a Decoder must read to tell whose value of the variable an event reads or sets.
func (v *Variable) Need() event.Need {
	switch v.Scope {
	case ScopeProcess:
		need := event.NeedProcess | event.NeedFacts
		if v.Inherited {
			need |= event.NeedAncestors
		}
		return need
	case ScopeContainer:
		return event.NeedProcess | event.NeedContainer
	case ScopeCgroup:
		return event.NeedProcess | event.NeedFacts
	}
	return 0
}

// readList makes o the live elements of a list variable.
func readList(o *operand, v *Variable) {
	o.array = true
	o.anyS = overList(v, func(x *Value) []string { return x.Strings })
	o.anyI = overList(v, func(x *Value) []int64 { return x.Ints })
	o.anyIP = overList(v, func(x *Value) []netip.Prefix { return x.IPs })
}

func overList[T any](v *Variable, elements func(*Value) []T) anyFunc[T] {
	return func(c *Context, ok func(*Context, T) bool) bool {
		val, ends := v.list(c)
		for i, x := range elements(val) {
			if !expired(ends, i, c.Now) && ok(c, x) {
				return true
			}
		}
		return false
	}
}

// newUUID returns a random UUID (RFC 9562, version 4).
func newUUID() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // never fails: see the package
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	var b [36]byte
	hex.Encode(b[:8], u[:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:], u[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// templatePart is a piece of a string template: text, or what a reference appends to the context's scratch.
type templatePart struct {
	text   string
	append func(*Context)
}

// str compiles a string literal. A plain string may hold references: ${variable} and %{field}.
func (c *compiler) str(n *stringNode) (operand, *Error) {
	o := operand{pos: n.pos, kind: event.KindString, static: true, literals: []*stringNode{n}, s: constString(n.text)}
	if n.kind == regexpString {
		if _, err := compileRegexp(n.text); err != nil {
			return operand{}, compileError(n.pos, ReasonPattern, "%v", err)
		}
	}
	if n.kind != scalarString || !strings.Contains(n.text, "${") && !strings.Contains(n.text, "%{") {
		return o, nil
	}
	var parts []templatePart
	rest, literal := n.text, ""
	for rest != "" {
		name, length := reference(rest)
		if length == 0 {
			literal += rest[:1]
			rest = rest[1:]
			continue
		}
		var x operand
		var err *Error
		if rest[0] == '$' {
			x, err = c.variable(n.pos, name)
		} else {
			x, err = c.fieldRef(n.pos, name)
		}
		if err != nil {
			return operand{}, err
		}
		appendX, err := c.appender(&x)
		if err != nil {
			return operand{}, err
		}
		parts = append(parts, templatePart{text: literal}, templatePart{append: appendX})
		o.weight += x.weight + 5
		rest, literal = rest[length:], ""
	}
	if len(parts) == 0 {
		return o, nil
	}
	parts = append(parts, templatePart{text: literal})
	c.impure++ // it writes into the scratch of the context
	o.static, o.literals = false, nil
	o.s = func(c *Context) string {
		start := len(c.scratch)
		for i := range parts {
			if p := &parts[i]; p.append != nil {
				p.append(c)
			} else {
				c.scratch = append(c.scratch, p.text...)
			}
		}
		if len(c.scratch) == start {
			return ""
		}
		// A view instead of a copy: the scratch only grows until the evaluation ends.
		return unsafe.String(&c.scratch[start], len(c.scratch)-start) //nolint:gosec // see above
	}
	return o, nil
}

// reference returns the name of the reference that s begins with, and its length; 0 if it begins with none.
func reference(s string) (name string, length int) {
	if len(s) < 4 || s[0] != '$' && s[0] != '%' || s[1] != '{' {
		return "", 0
	}
	end := strings.IndexByte(s, '}')
	if end < 0 || !isReference(s[2:end]) {
		return "", 0
	}
	return s[2:end], end + 1
}

// appender returns what appends a value's text to the context's scratch: ints in decimal, the members of an array
// separated by commas.
func (c *compiler) appender(x *operand) (func(*Context), *Error) {
	switch {
	case x.kind == event.KindBool:
		return nil, compileError(x.pos, ReasonType, "%s is a bool, which has no text", x.name)
	case x.array:
		return appendMembers(x), nil
	case x.kind == event.KindInt:
		get := x.i
		return func(c *Context) { c.scratch = strconv.AppendInt(c.scratch, get(c), 10) }, nil
	case x.kind == event.KindString:
		get := x.s
		return func(c *Context) { c.scratch = append(c.scratch, get(c)...) }, nil
	}
	get := x.ip
	return func(c *Context) { c.scratch = appendIP(c.scratch, get(c)) }, nil
}

func appendIP(dst []byte, p netip.Prefix) []byte {
	switch {
	case !p.IsValid():
		return dst
	case p.IsSingleIP():
		return p.Addr().AppendTo(dst)
	}
	return p.AppendTo(dst)
}

func appendMembers(x *operand) func(*Context) {
	str := func(c *Context, s string) bool { c.scratch = append(append(c.scratch, s...), ','); return false }
	num := func(c *Context, n int64) bool {
		c.scratch = append(strconv.AppendInt(c.scratch, n, 10), ',')
		return false
	}
	ip := func(c *Context, p netip.Prefix) bool { c.scratch = append(appendIP(c.scratch, p), ','); return false }
	kind, anyS, anyI, anyIP := x.kind, x.anyS, x.anyI, x.anyIP
	return func(c *Context) {
		start := len(c.scratch)
		switch kind {
		case event.KindString:
			anyS(c, str)
		case event.KindInt:
			anyI(c, num)
		default:
			anyIP(c, ip)
		}
		if len(c.scratch) > start {
			c.scratch = c.scratch[:len(c.scratch)-1]
		}
	}
}
