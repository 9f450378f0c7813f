// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Options of Load. The zero value is good.
type Options struct {
	// AgentVersion is what agent_version constraints are checked against, and agent.version of detections;
	// DefaultAgentVersion if empty.
	AgentVersion string
	// Machine is what filters are checked against; ThisMachine if nil.
	Machine *Machine
	// Previous is the set that is in use: a file that cannot be read or is no policy any more is taken from it.
	Previous *Set
	// KeepSource keeps what Set.Explain needs.
	KeepSource bool
}

// loader is one run of Load.
type loader struct {
	version *semver.Version
	fields  map[string]filterValue
	report  *Report

	macros  []*mergedMacro
	macroBy map[string]*mergedMacro
	rules   []*mergedRule
	ruleBy  map[string]*mergedRule
}

// mergedMacro is a macro after all its definitions.
type mergedMacro struct {
	macroDefinition
	entity *EntityReport
}

// mergedRule is a rule after all its definitions.
type mergedRule struct {
	ruleDefinition                 // of the first definition, with what later ones changed
	entity         *EntityReport   // report of the first definition
	fromDefault    bool            // the first definition is of the default policy
	expressionDef  *definition     // where expression is from
	expressionRep  *EntityReport   // its report
	disabledBy     *definition     // nil if enabled
	later          []*EntityReport // reports of later definitions that were merged
}

// Load reads the policies of paths, each a file of any name or a directory of *.policy files, and compiles their rules.
// It always gives a set, which may be empty, and a report; what went wrong is only in the report.
func Load(paths []string, opts Options) (*Set, *Report) {
	l := &loader{report: &Report{Policies: []PolicyReport{}}, macroBy: map[string]*mergedMacro{}, ruleBy: map[string]*mergedRule{}}
	if opts.AgentVersion == "" {
		opts.AgentVersion = DefaultAgentVersion
	}
	version, err := ParseAgentVersion(opts.AgentVersion)
	if err != nil {
		l.report.Policies = append(l.report.Policies, PolicyReport{Status: PolicyError, Message: err.Error(), Macros: []EntityReport{}, Rules: []EntityReport{}})
		return newSet(opts.AgentVersion), l.report
	}
	l.version = version
	machine := opts.Machine
	if machine == nil {
		m := ThisMachine()
		machine = &m
	}
	l.fields = machine.filterFields()

	set := newSet(opts.AgentVersion)
	if opts.Previous != nil {
		set.variables.Continue(opts.Previous.variables)
	}
	files := l.readFiles(paths, opts.Previous)
	for _, f := range files {
		if f != nil {
			set.addFile(f)
		}
	}
	for i, f := range files {
		if f != nil {
			l.define(f, &l.report.Policies[i])
		}
	}
	l.compile(set)
	if !opts.KeepSource {
		set.dropSource()
	}
	for i := range l.report.Policies {
		l.report.Policies[i].settle()
	}
	return set, l.report
}

// readFiles reads and parses all files. The result goes with the policies of the report, one by one; nil has no content.
func (l *loader) readFiles(paths []string, previous *Set) []*file {
	var files []*file
	add := func(f *file, p PolicyReport) {
		p.Macros, p.Rules = []EntityReport{}, []EntityReport{}
		if f != nil {
			p.Version = f.version
		}
		files, l.report.Policies = append(files, f), append(l.report.Policies, p)
	}
	for _, s := range list(paths) {
		p := PolicyReport{Name: filepath.Base(s.path), Path: s.path, Status: PolicyLoaded}
		src, err := s.read()
		if err != nil {
			p.Status, p.Message = PolicyError, err.Error()
			old := previous.filesOf(s.path, s.dir)
			if len(old) > 0 {
				p.Message += "; the previous version stays in use"
			}
			if len(old) == 1 && old[0].path == s.path {
				add(old[0], p)
				continue
			}
			add(nil, p)
			for _, f := range old {
				add(f, PolicyReport{Name: f.name, Path: f.path, Status: PolicyLoaded, Message: "previous version"})
			}
			continue
		}
		f, err := parseFile(p.Name, s.path, src)
		if err != nil {
			var ye *yamlError
			if errors.As(err, &ye) {
				p.Message, p.Line, p.Column, p.Snippet = ye.message, ye.pos.Line, ye.pos.Column, snippet(src, ye.pos)
			} else {
				p.Message = err.Error()
			}
			p.Status = PolicyError
			if old := previous.filesOf(s.path, false); len(old) > 0 {
				p.Message += "; the previous version stays in use"
				f = old[0]
			}
		} else {
			p.Message = warnings(f.problems)
		}
		add(f, p)
	}
	return files
}

// warnings joins the warnings of problems, each with its place.
func warnings(problems []problem) string {
	var out []string
	for _, p := range problems {
		if !p.warning {
			continue
		}
		if p.pos.Line > 0 {
			out = append(out, fmt.Sprintf("%d:%d: %s", p.pos.Line, p.pos.Column, p.message))
		} else {
			out = append(out, p.message)
		}
	}
	return strings.Join(out, "; ")
}

func (e *EntityReport) note(format string, args ...any) {
	if e.Message != "" {
		e.Message += "; "
	}
	e.Message += fmt.Sprintf(format, args...)
}

// fail marks e as an error at a place of f.
func (e *EntityReport) fail(f *file, pos Position, message string) {
	e.Status, e.Message = StatusError, message
	if pos.Line > 0 {
		e.Line, e.Column = pos.Line, pos.Column
	}
	if f != nil {
		e.Snippet = snippet(f.src, pos)
	}
}

// define merges the definitions of a file into those of the files before it.
func (l *loader) define(f *file, p *PolicyReport) {
	p.Macros = make([]EntityReport, len(f.macros))
	for i, m := range f.macros {
		e := &p.Macros[i]
		if l.accept(&m.definition, e) {
			l.defineMacro(m, e)
		}
	}
	p.Rules = make([]EntityReport, len(f.rules))
	for i, r := range f.rules {
		e := &p.Rules[i]
		e.Version = r.version
		if l.accept(&r.definition, e) {
			l.defineRule(r, e)
		}
	}
}

// accept fills the report of a definition, and says whether the definition is sound and meant for this machine.
func (l *loader) accept(d *definition, e *EntityReport) bool {
	*e = EntityReport{ID: d.id, Status: StatusLoaded, Line: d.pos.Line, Column: d.pos.Column, Message: warnings(d.problems), Version: e.Version}
	if p := hasError(d.problems); p != nil {
		e.fail(d.file, p.pos, p.message)
		return false
	}
	if d.agentVersion.value != "" {
		ok, err := versionHolds(d.agentVersion.value, l.version)
		if err != nil {
			e.fail(d.file, d.agentVersion.node.pos, err.Error())
			return false
		}
		if !ok {
			e.Status = StatusFiltered
			e.note("agent_version %q does not hold for %s", d.agentVersion.value, l.version)
			return false
		}
	}
	for _, filter := range d.filters {
		ok, err := evalFilter(filter.value, l.fields)
		var fe *filterError
		if errors.As(err, &fe) {
			e.fail(d.file, locate(d.file.src, filter.node, fe.offset), "filter: "+fe.message)
			return false
		}
		if !ok {
			e.Status = StatusFiltered
			e.note("filter %q does not hold here", filter.value)
			return false
		}
	}
	return true
}

func (l *loader) defineMacro(m *macroDefinition, e *EntityReport) {
	first, ok := l.macroBy[m.id]
	if !ok {
		merged := &mergedMacro{macroDefinition: *m, entity: e}
		l.macros, l.macroBy[m.id] = append(l.macros, merged), merged
		return
	}
	switch m.combine.value {
	case combineOverride:
		first.values, first.hasValues, first.expression, first.file = m.values, m.hasValues, m.expression, m.file
		first.entity.note("overridden by %s:%d", m.file.name, m.pos.Line)
		first.entity = e
	case combineMerge:
		if !m.hasValues || !first.hasValues {
			e.fail(m.file, m.pos, fmt.Sprintf("cannot merge macro %q: both definitions need values, an expression cannot be merged", m.id))
			return
		}
		if len(first.values)+len(m.values) > maxMacroValues {
			e.fail(m.file, m.pos, fmt.Sprintf("the merged macro has more than %d values", maxMacroValues))
			return
		}
		first.values = slices.Concat(first.values, m.values)
	default:
		e.fail(m.file, m.pos, fmt.Sprintf("macro %q is already defined in %s:%d; use combine: merge or override", m.id, first.file.name, first.pos.Line))
	}
}

func (l *loader) defineRule(r *ruleDefinition, e *EntityReport) {
	first, ok := l.ruleBy[r.id]
	switch {
	case !ok:
		merged := &mergedRule{ruleDefinition: *r, entity: e, fromDefault: r.file.name == DefaultName, expressionDef: &r.definition, expressionRep: e}
		if r.disabled {
			merged.disabledBy = &r.definition
			e.Status = StatusDisabled
		}
		if strings.TrimSpace(r.expression.value) == "" && !r.disabled {
			message := "the rule has no expression"
			if e.Message != "" { // it is under a misspelt key, maybe
				message += "; " + e.Message
			}
			e.fail(r.file, r.pos, message)
			return
		}
		l.rules, l.ruleBy[r.id] = append(l.rules, merged), merged
	case r.combine.value == combineOverride:
		first.override(r, e)
	case !r.disabled && first.disabledBy == nil:
		e.fail(r.file, r.pos, fmt.Sprintf("rule %q is already defined in %s:%d; this definition is ignored (to change the rule use combine: override)",
			r.id, first.file.name, first.pos.Line))
	default:
		if r.expression.value != "" && r.expression.value != first.expression.value {
			e.note("the rule is defined in %s:%d, only disabled is taken from here", first.file.name, first.pos.Line)
		}
		first.setDisabled(r, e)
	}
}

// setDisabled takes disabled from a later definition.
func (m *mergedRule) setDisabled(r *ruleDefinition, e *EntityReport) {
	m.later = append(m.later, e)
	if r.disabled {
		m.disabledBy = &r.definition
		m.entity.note("disabled by %s:%d", r.file.name, r.pos.Line)
	} else if m.disabledBy != nil {
		m.disabledBy = nil
		m.entity.note("enabled by %s:%d", r.file.name, r.pos.Line)
	}
	status := StatusLoaded
	if m.disabledBy != nil {
		status = StatusDisabled
	}
	m.entity.Status = status
	for _, l := range m.later {
		if l.Status != StatusError {
			l.Status = status
		}
	}
}

// override applies the fields that a definition with combine: override names: the expression if it names none.
func (m *mergedRule) override(r *ruleDefinition, e *EntityReport) {
	fields := map[string]bool{}
	for _, f := range r.overrideFields {
		fields[f.value] = true
	}
	if len(fields) == 0 {
		fields["expression"] = true
	}
	if fields["all"] {
		if !m.fromDefault {
			e.fail(r.file, r.pos, fmt.Sprintf("override_options.fields: all is only for rules of %s; the rule is of %s", DefaultName, m.file.name))
			return
		}
		for _, f := range []string{"actions", "every", "tags", "product_tags"} {
			fields[f] = true
		}
		m.description, m.version, m.groupID, m.priority = r.description, r.version, r.groupID, r.priority
		m.silent, m.limiterToken = r.silent, r.limiterToken
	}
	if fields["expression"] {
		if strings.TrimSpace(r.expression.value) == "" {
			e.fail(r.file, r.pos, "the override has no expression")
			return
		}
		m.expression, m.expressionDef, m.expressionRep = r.expression, &r.definition, e
	}
	if fields["every"] {
		m.every = r.every
	}
	if fields["tags"] {
		m.tags = r.tags
	}
	if fields["product_tags"] {
		m.productTags = r.productTags
	}
	if fields["actions"] {
		m.actions = slices.Concat(m.actions, newActions(m.actions, r.actions))
	}
	m.entity.note("overridden by %s:%d", r.file.name, r.pos.Line)
	m.setDisabled(r, e)
}

// newActions are those of added that are not in actions.
func newActions(actions, added []*action) []*action {
	var out []*action
	for _, a := range added {
		if !slices.ContainsFunc(actions, a.same) {
			out = append(out, a)
		}
	}
	return out
}

// settle makes the status of a policy from those of its macros and rules.
func (p *PolicyReport) settle() {
	if p.Status != PolicyLoaded {
		return
	}
	for _, e := range slices.Concat(p.Macros, p.Rules) {
		if e.Status == StatusError {
			p.Status = PolicyPartiallyLoaded
		}
	}
}
