// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

// compile compiles the merged macros and rules into set.
func (l *loader) compile(set *Set) {
	env := &secl.Env{Variables: set.variables, MaxOperands: maxOperands}
	set.env, set.expressions = env, map[*Rule]string{}
	for _, m := range l.macros {
		env.Macros = append(env.Macros, secl.Macro{ID: m.id, Expression: m.expression.value, Values: m.values})
	}
	for _, m := range l.macros {
		if err := secl.CheckMacro(m.id, env); err != nil {
			l.failMacro(m, err)
		}
	}
	rules := l.inOrder()
	for _, r := range rules {
		if r.active() {
			l.declareVariables(env, r)
		}
	}
	for _, r := range rules {
		if r.active() {
			l.compileRule(set, env, r)
		}
	}
	set.freeze()
}

// active says whether the rule is to be compiled.
func (m *mergedRule) active() bool { return m.entity.Status != StatusError && m.disabledBy == nil }

// inOrder sorts the rules as they are to be evaluated: those of the default policy first, then by priority.
func (l *loader) inOrder() []*mergedRule {
	rules := slices.Clone(l.rules)
	slices.SortStableFunc(rules, func(a, b *mergedRule) int {
		if a.fromDefault != b.fromDefault {
			if a.fromDefault {
				return -1
			}
			return 1
		}
		return b.priority - a.priority
	})
	return rules
}

// failMacro reports an error in a macro. Rules that use it fail by themselves.
func (l *loader) failMacro(m *mergedMacro, err error) {
	message, line, column := describe(err)
	pos := m.pos
	if m.expression.node != nil && line > 0 {
		pos = locate(m.file.src, m.expression.node, byteOffset([]byte(m.expression.value), Position{line, column}))
	}
	m.entity.fail(m.file, pos, message)
}

// describe splits an error of the compiler into its message and its place in the expression.
func describe(err error) (message string, line, column int) {
	se, ok := secl.AsError(err)
	if !ok {
		return err.Error(), 0, 0
	}
	message = se.Message
	if se.Kind == secl.KindParse {
		message = "syntax error: " + message
	}
	if se.Hint != "" {
		message += "; " + se.Hint
	}
	return message, se.Line, se.Column
}

func (l *loader) compileRule(set *Set, env *secl.Env, m *mergedRule) {
	if strings.TrimSpace(m.expression.value) == "" {
		m.entity.fail(m.file, m.pos, "the rule has no expression")
		return
	}
	info := event.RuleInfo{
		ID: m.id, Version: m.version, Description: m.description, GroupID: m.groupID,
		PolicyName: m.file.name, PolicyVersion: m.file.version, Tags: m.tags,
	}
	severity, known := severityOf(m.tags)
	info.Severity = severity
	if !known {
		m.entity.note("tag severity is not one of info, low, medium, high and critical; medium is used")
	}
	var compiled []*Rule
	for _, v := range expandFIM(m.expression.value) {
		env.RequireEvent = true
		program, err := secl.Compile(v.expression, env)
		if err != nil {
			m.failExpression(&v, err)
			return
		}
		env.Filter = true
		filter, err := secl.Compile(v.expression, env)
		env.Filter = false
		if err != nil { // a bug: it has just been compiled
			m.failExpression(&v, err)
			return
		}
		r := &Rule{
			ID: m.id, Type: program.EventType(), Program: program, Info: info, Every: m.every, Silent: m.silent,
			need: program.Need(), filter: filter,
		}
		if !m.compileToken(r) || !m.compileActions(env, r) {
			return
		}
		m.keepInert(env, r)
		set.expressions[r] = v.expression
		compiled = append(compiled, r)
	}
	for _, r := range compiled {
		set.addRule(r)
	}
	for _, note := range compiled[0].Program.Notes() {
		m.entity.note("%s", note)
	}
	m.noteUnavailable(compiled)
	m.noteInert()
}

// failExpression reports an error of the compiler, where the expression stands in its file.
func (m *mergedRule) failExpression(v *variant, err error) {
	message, line, column := describe(err)
	pos := m.expressionDef.pos
	if line > 0 {
		offset := byteOffset([]byte(v.expression), Position{line, column})
		pos = locate(m.expressionDef.file.src, m.expression.node, v.origin(offset))
	}
	m.expressionRep.fail(m.expressionDef.file, pos, message)
	if m.entity != m.expressionRep {
		m.entity.fail(nil, Position{}, fmt.Sprintf("the expression from %s:%d:%d does not compile", m.expressionDef.file.name, pos.Line, pos.Column))
	}
}

// compileToken looks the fields of limiter_token up.
func (m *mergedRule) compileToken(r *Rule) bool {
	for _, t := range m.limiterToken {
		f, err := fieldOf(t.value, r.Type)
		if err != nil {
			m.failAt(t.node, "limiter_token: "+err.Error())
			return false
		}
		r.token = append(r.token, f)
		r.need |= f.Need
	}
	return true
}

// fieldOf finds a field that events of type t have, with one value per event.
func fieldOf(name string, t event.Type) (*event.Field, error) {
	f, ok := event.LookupField(written(name, t))
	switch {
	case !ok:
		return nil, noField(name)
	case f.Event != event.TypeAny && f.Event != t:
		return nil, fmt.Errorf("field %q is of %s events, and the rule is about %s", name, f.Event, t)
	case f.Iterator != "":
		return nil, fmt.Errorf("field %q has a value per ancestor, and only one is of use here", name)
	}
	return f, nil
}

// noField says why there is no field of that name.
func noField(name string) error {
	if root, _, ok := strings.Cut(name, "."); ok && event.IsUnproduced(root) {
		return fmt.Errorf("field %q is of event type %s, which Picket does not produce yet", name, root)
	}
	return fmt.Errorf("field %q does not exist", name)
}

// failAt reports a mistake in something else than the expression. That may be from another file than the first definition,
// if the rule has overrides.
func (m *mergedRule) failAt(n *node, message string) {
	m.entity.fail(m.file, n.pos, message)
}

// compileActions makes the effects of a rule.
func (m *mergedRule) compileActions(env *secl.Env, r *Rule) bool {
	env.RequireEvent = false // a filter may be about variables and the process only
	for _, a := range m.actions {
		if actionKinds[a.kind].inert != "" {
			continue
		}
		e := effect{appends: a.set != nil && a.set.appends}
		if a.filter.value != "" {
			program, err := secl.Compile(written(a.filter.value, r.Type), env)
			if err == nil && program.EventType() != event.TypeAny && program.EventType() != r.Type {
				err = fmt.Errorf("the filter is about %s events, and the rule about %s", program.EventType(), r.Type)
			}
			if err != nil {
				m.failText("filter", a.filter, err)
				return false
			}
			e.filter = program
			r.need |= program.Need()
		}
		if a.set == nil {
			if e.action = m.compileAction(env, r, a); e.action == nil {
				return false
			}
			r.effects = append(r.effects, e)
			continue
		}
		spec, _, err := a.set.spec() // declared before, and so without error
		if err != nil {
			m.failAt(a.set.name.node, err.Error())
			return false
		}
		e.variable, _ = env.Variables.Lookup(spec.Ref())
		r.need |= e.variable.Need()
		if f := a.set.scopeField; f.value != "" {
			if e.pid, err = pidField(f.value, r.Type); err != nil {
				m.failAt(f.node, "set.scope_field: "+err.Error())
				return false
			}
			r.need |= e.pid.Need | secl.OfProcessNeed
		}
		if e.value, err = m.compileValue(env, r, a.set, &spec); err != nil {
			return false
		}
		r.effects = append(r.effects, e)
	}
	return true
}

// failText reports an error in an expression that is not the rule's own.
func (m *mergedRule) failText(what string, t text, err error) {
	message, line, column := describe(err)
	pos := t.node.pos
	if line > 0 {
		pos = locate(m.file.src, t.node, byteOffset([]byte(t.value), Position{line, column}))
	}
	m.entity.fail(m.file, pos, what+": "+message)
}

// compileValue makes what a set action sets. The error has been reported.
func (m *mergedRule) compileValue(env *secl.Env, r *Rule, s *setAction, spec *secl.VariableSpec) (func(*secl.Context) secl.Value, error) {
	var kind event.Kind
	var list bool
	var value func(*secl.Context) secl.Value
	at := s.name
	switch {
	case s.value != nil:
		at.node = s.value
		v, err := constant(s.value)
		if err != nil {
			m.failAt(s.value, "set.value: "+err.Error())
			return nil, err
		}
		kind, list, value = v.Kind, v.List, func(*secl.Context) secl.Value { return v }
	case s.field.value != "":
		at = s.field
		f, err := fieldOf(s.field.value, r.Type)
		if err != nil {
			m.failAt(s.field.node, "set.field: "+err.Error())
			return nil, err
		}
		r.need |= f.Need
		kind, list, value = f.Kind, f.Array, fieldValue(f)
	default:
		at = s.expression
		program, err := secl.CompileValue(written(s.expression.value, r.Type), env)
		if err == nil && program.EventType() != event.TypeAny && program.EventType() != r.Type {
			err = fmt.Errorf("it is about %s events, and the rule about %s", program.EventType(), r.Type)
		}
		if err != nil {
			m.failText("set.expression", s.expression, err)
			return nil, err
		}
		r.need |= program.Need()
		// What an event without anything gives is of the type that all values of the expression are of.
		zero := program.Eval(&secl.Context{Event: &event.Event{Type: r.Type}})
		kind, list, value = zero.Kind, zero.List, program.Eval
	}
	if kind != spec.Kind || (list && !spec.List) {
		err := fmt.Errorf("set: the value is of type %s, the variable %s of type %s", typeOf(kind, list), spec.Ref(), typeOf(spec.Kind, spec.List))
		m.failAt(at.node, err.Error())
		return nil, err
	}
	return value, nil
}

func typeOf(k event.Kind, list bool) string {
	if list {
		return k.String() + " list"
	}
	return k.String()
}

// noteUnavailable says in the report which fields of a rule no event has a value for.
func (m *mergedRule) noteUnavailable(compiled []*Rule) {
	var names []string
	for _, r := range compiled {
		for _, f := range r.Program.Fields() {
			if f.Source == event.FieldUnavailable && !slices.Contains(names, f.Name) {
				names = append(names, f.Name)
			}
		}
	}
	if len(names) > 0 {
		m.entity.note("no event has a value for %s: what is unavailable is taken as empty, 0 or false", strings.Join(names, ", "))
	}
}

// noteInert says in the report which parts of a rule load and do nothing.
func (m *mergedRule) noteInert() {
	for _, a := range m.actions {
		if kind := actionKinds[a.kind]; kind.inert != "" {
			m.entity.note("%d:%d: action %s %s", a.pos.Line, a.pos.Column, a.kind, kind.inert)
		}
	}
}

// severityOf reads the tag severity; medium if there is none.
func severityOf(tags []string) (s event.Severity, known bool) {
	for _, t := range tags {
		if value, ok := strings.CutPrefix(t, "severity:"); ok {
			s, known = event.ParseSeverity(value)
			if !known {
				s = event.SeverityMedium
			}
			return s, known
		}
	}
	return event.SeverityMedium, true
}
