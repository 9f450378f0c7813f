// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/picketsec/picket/internal/event"
)

// Explanation says how an expression, or a part of it, came to its result.
type Explanation struct {
	// Operator is and, or or not, of which Parts are the operands; macro, of which the only part is the expression; or empty
	// for a test, which has no parts.
	Operator   string         `json:"operator,omitempty"`
	Expression string         `json:"expression"` // long arrays are cut
	Result     bool           `json:"result"`
	Decisive   bool           `json:"decisive"` // with another result of this part the whole may have had another one
	Reason     string         `json:"reason,omitempty"`
	Values     []Operand      `json:"values,omitempty"` // what a test read
	Parts      []*Explanation `json:"parts,omitempty"`
	Bindings   []Binding      `json:"bindings,omitempty"` // of the whole: the iterator variables
}

// Operand is a field or variable that a test read.
type Operand struct {
	Name        string `json:"name"`
	Value       any    `json:"value"` // a bool, int64 or string, or a slice of these
	Age         string `json:"age,omitempty"`
	Unavailable bool   `json:"unavailable,omitempty"` // the event does not know it: it read as the zero value
}

// Binding is the element that an iterator variable stood for.
type Binding struct {
	Variable string `json:"variable"`
	Element  int    `json:"element"` // from 0, the nearest ancestor
}

// Explain evaluates the expression of a rule part by part. It is for people: a Program gives the same result much faster.
func Explain(expr string, env *Env, ctx *Context) (*Explanation, error) {
	n, perr := parseRule(expr)
	if perr != nil {
		return nil, perr
	}
	c := newCompiler(env)
	o, perr := c.compile(n)
	if perr != nil {
		return nil, perr
	}
	if o.kind != event.KindBool || o.array {
		return nil, compileError(o.pos, ReasonType, "the expression is of type %s, not bool", o.typeName())
	}
	program, err := Compile(expr, env)
	if err != nil {
		return nil, err
	}
	x := explainer{env: env, ctx: ctx, iterators: c.iterators, over: program.over}
	matches := program.Match(ctx)
	switch {
	case program.eventType != event.TypeAny && ctx.Event.Type != program.eventType:
		return &Explanation{
			Expression: render(n), Decisive: true,
			Reason: fmt.Sprintf("the rule is about %s events, and this is of type %s", program.eventType, ctx.Event.Type),
		}, nil
	case !program.isAbout(ctx.Event):
		return &Explanation{
			Expression: render(n), Decisive: true,
			Reason: fmt.Sprintf("the event's outcome is %s, and such events are only for rules that read the return value", ctx.Event.Evt.Outcome),
		}, nil
	}
	reason := ""
	if program.iterators > 0 && !matches { // of all bindings that fail, show the first
		for i := range program.iterators {
			elements := program.over[i].Elements(ctx.Event)
			if len(elements) == 0 {
				return &Explanation{
					Expression: render(n), Decisive: true,
					Reason: fmt.Sprintf("%s is empty, and the rule is about one of it", program.over[i].Iterator),
				}, nil
			}
			ctx.elements[i] = elements[0]
		}
		reason = fmt.Sprintf("none of the %d %s matches; shown is how it is for the first",
			len(program.over[0].Elements(ctx.Event)), program.over[0].Iterator)
	}
	root, perr := x.explain(n)
	if perr != nil {
		return nil, perr
	}
	root.Reason = reason
	for name, i := range c.iterators {
		for k, e := range program.over[i].Elements(ctx.Event) {
			if e == ctx.elements[i] {
				root.Bindings = append(root.Bindings, Binding{name, k})
				break
			}
		}
	}
	sortBindings(root.Bindings)
	root.decide()
	return root, nil
}

func sortBindings(b []Binding) {
	for i := range b {
		for j := i; j > 0 && b[j].Variable < b[j-1].Variable; j-- {
			b[j], b[j-1] = b[j-1], b[j]
		}
	}
}

// decide marks the parts of a decisive explanation that made its result.
func (e *Explanation) decide() {
	e.Decisive = true
	for _, p := range e.Parts {
		// With and, a false part decides; if there is none all do. With or the other way round.
		if e.Operator != "and" && e.Operator != "or" || p.Result == e.Result {
			p.decide()
		}
	}
}

type explainer struct {
	env       *Env
	ctx       *Context
	iterators map[string]int // of the whole expression
	over      []*event.Field // the same of Program
}

// compile compiles a part, with the iterator variables bound as in the whole.
func (x *explainer) compile(n node) (operand, *Error) {
	c := newCompiler(x.env)
	c.iterators, c.p.over = x.iterators, x.over
	o, err := c.compile(n)
	if err == nil {
		c.p.prepare(x.ctx)
	}
	return o, err
}

func (x *explainer) explain(n node) (*Explanation, *Error) {
	e := &Explanation{Expression: render(n)}
	switch n := n.(type) {
	case *logicalNode:
		e.Operator = map[bool]string{true: "or", false: "and"}[n.or]
		operands := []node{n.l}
		right := n.r
		for next, ok := right.(*logicalNode); ok && next.or == n.or; next, ok = right.(*logicalNode) {
			operands, right = append(operands, next.l), next.r
		}
		e.Result = !n.or
		for _, o := range append(operands, right) {
			part, err := x.explain(o)
			if err != nil {
				return nil, err
			}
			if part.Result == n.or {
				e.Result = n.or
			}
			e.Parts = append(e.Parts, part)
		}
		return e, nil
	case *unaryNode:
		if n.op == '!' {
			part, err := x.explain(n.x)
			if err != nil {
				return nil, err
			}
			e.Operator, e.Result, e.Parts = "not", !part.Result, []*Explanation{part}
			return e, nil
		}
	case *identNode:
		if _, constant := event.Constants[n.name]; !constant {
			if m, ok := x.env.macro(n.name); ok && m.err == nil {
				part, err := x.explain(m.node)
				if err != nil {
					return nil, err
				}
				e.Operator, e.Result, e.Parts = "macro", part.Result, []*Explanation{part}
				return e, nil
			}
		}
	}
	o, err := x.compile(n)
	if err != nil {
		return nil, err
	}
	e.Result = o.b(x.ctx)
	x.read(n, e, map[string]bool{})
	return e, nil
}

// read collects what a test reads. seen has names and macros.
func (x *explainer) read(n node, e *Explanation, seen map[string]bool) {
	switch n := n.(type) {
	case *logicalNode:
		x.read(n.l, e, seen)
		x.read(n.r, e, seen)
	case *compareNode:
		x.read(n.l, e, seen)
		x.read(n.r, e, seen)
	case *memberNode:
		x.read(n.l, e, seen)
		x.read(n.r, e, seen)
	case *arithNode:
		x.read(n.l, e, seen)
		x.read(n.r, e, seen)
	case *unaryNode:
		x.read(n.x, e, seen)
	case *arrayNode:
		for _, m := range n.members {
			x.read(m, e, seen)
		}
	case *identNode:
		if _, constant := event.Constants[n.name]; constant || seen[n.name] {
			return
		}
		if m, ok := x.env.macro(n.name); ok {
			if seen[n.name] = true; m.err == nil {
				x.read(m.node, e, seen)
			}
			return
		}
		x.operand(n, n.name, n.name, e, seen)
	case *fieldRefNode:
		x.operand(n, n.name, n.name, e, seen)
	case *variableNode:
		x.operand(n, "${"+n.name+"}", "", e, seen)
	case *stringNode:
		if n.kind != scalarString {
			return
		}
		for i := range len(n.text) {
			name, length := reference(n.text[i:])
			switch {
			case length == 0:
			case n.text[i] == '$':
				x.read(&variableNode{n.place, name}, e, seen)
			default:
				x.read(&fieldRefNode{n.place, name}, e, seen)
			}
		}
	}
}

// operand adds a value. field is the name of its field, if it is one.
func (x *explainer) operand(n node, name, field string, e *Explanation, seen map[string]bool) {
	if seen[name] {
		return
	}
	seen[name] = true
	o, err := x.compile(n)
	if err != nil { // the whole compiled, and so do its parts
		return
	}
	out := Operand{Name: name, Value: plain(&o, x.ctx)}
	base := field
	if open := strings.IndexByte(base, '['); open >= 0 {
		if end := strings.IndexByte(base, ']'); end > open {
			base = base[:open] + base[end+1:]
		}
	}
	if f, ok := event.LookupField(base); ok && field != "" {
		out.Unavailable = f.Available != nil && !f.Available(x.ctx.Event)
		if v, ok := out.Value.(int64); ok && f.Timestamp && v != 0 {
			out.Age = time.Duration(int64(x.ctx.Now) - v).String()
		}
	}
	e.Values = append(e.Values, out)
}

// plain is the value of an operand as Go and JSON have it.
func plain(o *operand, c *Context) any {
	if o.array && o.kind == event.KindBool {
		list := []bool{}
		o.anyB(c, func(_ *Context, v bool) bool { list = append(list, v); return false })
		return list
	}
	return o.value(c).Plain()
}

// Plain is the value as Go and JSON have it: a bool, an int64 or a string, or a slice of these. Addresses and networks are text.
func (v Value) Plain() any {
	switch {
	case v.Kind == event.KindBool:
		return v.Bool
	case v.Kind == event.KindInt && v.List:
		return append([]int64{}, v.Ints...)
	case v.Kind == event.KindInt:
		return v.Int
	case v.Kind == event.KindString && v.List:
		list := make([]string, 0, len(v.Strings))
		for _, s := range v.Strings {
			list = append(list, strings.Clone(s)) // it may be a view of a context's scratch
		}
		return list
	case v.Kind == event.KindString:
		return strings.Clone(v.String)
	case v.List:
		list := make([]string, 0, len(v.IPs))
		for _, ip := range v.IPs {
			list = append(list, string(appendIP(nil, ip)))
		}
		return list
	}
	return string(appendIP(nil, v.IP))
}

// maxShownMembers is how many members of an array literal are written out.
const maxShownMembers = 8

// render writes an expression out. Its parts group as in the tree.
func render(n node) string {
	var b strings.Builder
	renderTo(&b, n)
	return b.String()
}

func renderTo(b *strings.Builder, n node) {
	switch n := n.(type) {
	case *logicalNode:
		renderOperand(b, n.l, false)
		b.WriteString(map[bool]string{true: " || ", false: " && "}[n.or])
		next, ok := n.r.(*logicalNode)
		renderOperand(b, n.r, ok && next.or == n.or)
	case *compareNode:
		renderOperand(b, n.l, false)
		b.WriteString(" " + n.op + " ")
		renderOperand(b, n.r, false)
	case *memberNode:
		renderOperand(b, n.l, false)
		b.WriteString(" " + n.op + " ")
		renderOperand(b, n.r, false)
	case *arithNode:
		renderOperand(b, n.l, false)
		b.WriteString(" " + string(n.op) + " ")
		renderOperand(b, n.r, false)
	case *unaryNode:
		b.WriteByte(n.op)
		renderOperand(b, n.x, false)
	case *identNode:
		b.WriteString(n.name)
	case *intNode:
		if n.duration {
			b.WriteString(shortDuration(n.v))
		} else {
			b.WriteString(strconv.FormatInt(n.v, 10))
		}
	case *stringNode:
		b.WriteString(map[stringKind]string{patternString: "~", regexpString: "r"}[n.kind])
		b.WriteString(quote(n.text))
	case *ipNode:
		b.WriteString(renderPrefix(n))
	case *variableNode:
		b.WriteString("${" + n.name + "}")
	case *fieldRefNode:
		b.WriteString("%{" + n.name + "}")
	case *arrayNode:
		b.WriteByte('[')
		for i, m := range n.members {
			if i > 0 {
				b.WriteString(", ")
			}
			if i == maxShownMembers && len(n.members) > maxShownMembers+1 {
				fmt.Fprintf(b, "… %d more", len(n.members)-i)
				break
			}
			renderTo(b, m)
		}
		b.WriteByte(']')
	}
}

// renderOperand puts what an operator made into parentheses, unless bare.
func renderOperand(b *strings.Builder, n node, bare bool) {
	switch n.(type) {
	case *logicalNode, *compareNode, *memberNode, *arithNode:
		if !bare {
			b.WriteByte('(')
			renderTo(b, n)
			b.WriteByte(')')
			return
		}
	}
	renderTo(b, n)
}

// quote is only for people: escapes of the language are not all known to Go, nor the other way round.
func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"` }

func renderPrefix(n *ipNode) string {
	if n.cidr || n.prefix == (netip.Prefix{}) {
		return n.prefix.String()
	}
	return n.prefix.Addr().String()
}

// shortDuration is a duration without the zero units at its end.
func shortDuration(ns int64) string {
	s := time.Duration(ns).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
