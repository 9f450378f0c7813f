// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/token"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

// effect is an action that is ready to run: one that sets a variable, or one that others execute.
type effect struct {
	filter   *secl.Program // nil: always
	action   *Action       // nil: variable is set
	variable *secl.Variable
	value    func(*secl.Context) secl.Value
	appends  bool
	pid      *event.Field // of the process whose variable is set; nil: the acting process
}

// set sets the variable and returns the Context of the process that has it now.
func (e *effect) set(c *secl.Context) (*secl.Context, error) {
	of := c
	if e.pid != nil {
		var err error
		if of, err = c.OfProcess(e.pid.Int(c.Event)); err != nil {
			return c, fmt.Errorf("variable %q: %s: %w", e.variable.Ref(), e.pid.Name, err)
		}
	}
	return of, e.variable.Set(of, e.value(c), e.appends) //nolint:wrapcheck // it names the variable
}

// pidField finds a field that holds the pid of a process of the event.
func pidField(name string, t event.Type) (*event.Field, error) {
	f, err := fieldOf(name, t)
	if err == nil && (f.Kind != event.KindInt || !strings.HasSuffix(f.Name, ".pid") && !strings.HasSuffix(f.Name, ".ppid")) {
		err = fmt.Errorf("field %q is no pid: it may be one that ends with .pid or .ppid", name)
	}
	return f, err
}

// HasActions says whether Act does anything.
func (r *Rule) HasActions() bool { return len(r.effects) > 0 }

// Kills says whether an action of the rule kills.
func (r *Rule) Kills() bool {
	return slices.ContainsFunc(r.effects, func(e effect) bool { return e.action != nil && e.action.Kill != nil })
}

// Act runs the set actions of a rule that has matched the event of c. It goes on after an error; an event that is not in
// the scope of a variable is none.
func (r *Rule) Act(c *secl.Context) error { return r.ActWith(c, nil) }

// ActWith runs all actions in the order of the policy, as Act does; do executes those that are no set actions.
func (r *Rule) ActWith(c *secl.Context, do func(*Action)) error {
	var errs []error
	for i := range r.effects {
		e := &r.effects[i]
		if e.filter != nil && !e.filter.Match(c) {
			continue
		}
		if e.action != nil {
			if do != nil {
				do(e.action)
			}
			continue
		}
		if _, err := e.set(c); err != nil && !errors.Is(err, secl.ErrNoScope) {
			errs = append(errs, fmt.Errorf("rule %q: %w", r.ID, err))
		}
	}
	return errors.Join(errs...)
}

// declareVariables declares what the set actions of a rule set, before any rule is compiled: rules may use the variables of
// each other.
func (l *loader) declareVariables(env *secl.Env, m *mergedRule) {
	for _, a := range m.actions {
		if a.set == nil {
			continue
		}
		spec, pos, err := a.set.spec()
		if err == nil {
			_, err = env.Variables.Declare(spec)
		}
		if err != nil {
			m.entity.fail(m.file, pos, "set: "+err.Error())
			return
		}
	}
}

// spec infers the type of the variable: that of default_value, else of the value or field; what is appended to is a list
// unless default_value says otherwise. pos is where a mistake is.
func (s *setAction) spec() (spec secl.VariableSpec, pos Position, err error) {
	pos = s.name.node.pos
	scope, err := secl.ParseScope(s.scope.value)
	if err != nil {
		return spec, pos, err
	}
	spec = secl.VariableSpec{
		Scope: scope, Name: s.name.value, TTL: s.ttl, Size: s.size, Inherited: s.inherited, Private: s.private,
	}
	switch {
	case s.defaultValue != nil:
		pos = s.defaultValue.pos
		spec.Default, err = constant(s.defaultValue)
		spec.Kind, spec.List = spec.Default.Kind, spec.Default.List
	case s.value != nil:
		pos = s.value.pos
		var v secl.Value
		v, err = constant(s.value)
		spec.Kind, spec.List = v.Kind, v.List || s.appends
	case s.field.value != "":
		pos = s.field.node.pos
		f, ok := event.LookupField(written(s.field.value, event.TypeOpen)) // they have the same fields
		switch {
		case !ok:
			return spec, pos, noField(s.field.value)
		case f.Iterator != "":
			return spec, pos, fmt.Errorf("field %q has a value per ancestor, it cannot be kept in a variable", s.field.value)
		}
		spec.Kind, spec.List = f.Kind, f.Array || s.appends
	}
	if err == nil && s.appends && spec.Kind == event.KindBool {
		return spec, s.name.node.pos, errors.New("append adds to numbers, texts and lists; a variable that is true or false has neither")
	}
	return spec, pos, err
}

// constant reads a value of the file: a text, integer, true or false, or a list of texts or integers.
func constant(n *node) (secl.Value, error) {
	switch n.kind {
	case nodeScalar:
		switch n.style {
		case token.BoolType:
			return secl.Value{Kind: event.KindBool, Bool: booleans[n.value]}, nil
		case token.IntegerType, token.OctetIntegerType, token.HexIntegerType, token.BinaryIntegerType:
			i, err := strconv.ParseInt(n.value, 0, 64)
			if err != nil {
				return secl.Value{}, fmt.Errorf("integer %s is out of range", n.value)
			}
			return secl.Value{Kind: event.KindInt, Int: i}, nil
		case token.SingleQuoteType, token.DoubleQuoteType, token.LiteralType, token.FoldedType:
		default:
			if _, err := strconv.ParseFloat(n.value, 64); err == nil && strings.ContainsAny(n.value[:1], "+-.0123456789") { // not "nan"
				return secl.Value{}, fmt.Errorf("%s is no integer of 64 bits, and there are no other numbers; in quotes it is a text", n.value)
			}
		}
		return secl.Value{Kind: event.KindString, String: n.value}, nil
	case nodeList:
		list := secl.Value{List: true}
		for _, item := range n.items {
			v, err := constant(item)
			switch {
			case err != nil:
				return list, err
			case v.List || v.Kind == event.KindBool || (list.Kind != 0 && v.Kind != list.Kind):
				return list, errors.New("a list must be of texts only, or of integers only")
			}
			list.Kind = v.Kind
			if v.Kind == event.KindInt {
				list.Ints = append(list.Ints, v.Int)
			} else {
				list.Strings = append(list.Strings, v.String)
			}
		}
		if list.Kind == 0 {
			list.Kind = event.KindString
		}
		return list, nil
	default:
		return secl.Value{}, fmt.Errorf("the value of a variable cannot be %s", n.kind)
	}
}

// fieldValue reads a field as the value of a variable.
func fieldValue(f *event.Field) func(*secl.Context) secl.Value {
	v := secl.Value{Kind: f.Kind, List: f.Array}
	return func(c *secl.Context) secl.Value {
		v := v
		switch {
		case f.Array && f.Strings != nil:
			v.Strings = append([]string(nil), f.Strings(c.Event)...)
		case f.Kind == event.KindBool:
			v.Bool = f.Bool(c.Event)
		case f.Kind == event.KindInt:
			v.Int = f.Int(c.Event)
		case f.Kind == event.KindString:
			v.String = f.String(c.Event)
		case f.Kind == event.KindIP:
			v.IP = f.IP(c.Event)
		}
		return v
	}
}

// appendField appends a field's value as text, for the token of a rate limit.
func appendField(dst []byte, f *event.Field, e *event.Event) []byte {
	switch {
	case f.Array:
		for _, s := range f.Strings(e) {
			dst = append(append(dst, s...), ',')
		}
		return dst
	case f.Kind == event.KindBool:
		return strconv.AppendBool(dst, f.Bool(e))
	case f.Kind == event.KindInt:
		return strconv.AppendInt(dst, f.Int(e), 10)
	case f.Kind == event.KindString:
		return append(dst, f.String(e)...)
	case f.Kind == event.KindIP:
		if p := f.IP(e); p != (netip.Prefix{}) {
			return p.AppendTo(dst)
		}
	}
	return dst
}
