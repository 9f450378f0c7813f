// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import "github.com/picketsec/picket/internal/secl"

// Acted is what one action of a rule did, for tools that show it.
type Acted struct {
	Kind     string     // set, hash, kill, …
	Variable string     // of set: the reference
	Value    secl.Value // of set: what the variable reads as afterwards
	Err      error      // of set: why the variable was not set
	Message  string     // of log
}

// inertAction is an action that Act does not execute, kept so that ActTraced can name it.
type inertAction struct {
	kind   string
	filter *secl.Program // nil: always
	after  int           // effects that come before it
}

// keepInert remembers the actions that have no effect. One with a filter that does not compile is left out: what is not
// executed keeps no rule from loading.
func (m *mergedRule) keepInert(env *secl.Env, r *Rule) {
	env.RequireEvent = false
	effects := 0
	for _, a := range m.actions {
		if actionKinds[a.kind].inert == "" {
			effects++
			continue
		}
		x := inertAction{kind: a.kind, after: effects}
		if a.filter.value != "" {
			var err error
			if x.filter, err = secl.Compile(a.filter.value, env); err != nil {
				continue
			}
		}
		r.inert = append(r.inert, x)
	}
}

// ActTraced runs the actions as Act does and reports each whose filter holds, in the order of the policy. Only variables are
// set; actions of other kinds are reported and not executed.
func (r *Rule) ActTraced(c *secl.Context, report func(Acted)) {
	inert := r.inert
	for i := range len(r.effects) + 1 {
		for ; len(inert) > 0 && inert[0].after == i; inert = inert[1:] {
			if x := &inert[0]; x.filter == nil || x.filter.Match(c) {
				report(Acted{Kind: x.kind})
			}
		}
		if i == len(r.effects) {
			return
		}
		e := &r.effects[i]
		if e.filter != nil && !e.filter.Match(c) {
			continue
		}
		if e.action != nil {
			acted := Acted{Kind: e.action.Kind}
			if e.action.Log != nil {
				acted.Message = e.action.Log.Message(c)
			}
			report(acted)
			continue
		}
		of, err := e.set(c)
		report(Acted{Kind: "set", Variable: e.variable.Ref(), Value: e.variable.Get(of), Err: err})
	}
}
