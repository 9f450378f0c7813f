// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"time"
)

// An action is what a rule does besides its detection. The report's message says which kinds are checked and not executed.
type action struct {
	kind   string
	pos    Position
	filter text // empty: always
	set    *setAction
	log    *logAction
	hash   *hashAction
	kill   *killAction
	body   *node // the whole item
}

// setAction gives a variable a value: one of value, field and expression.
type setAction struct {
	name         text
	value        *node
	field        text
	expression   text
	defaultValue *node
	scope        text // empty is global
	scopeField   text
	appends      bool
	size         int // capacity of a list
	ttl          time.Duration
	inherited    bool
	private      bool
}

const defaultListSize = 100

// actionKind is one row of the table of actions.
type actionKind struct {
	read func(d *reader, n *node, a *action)
	// inert, if not empty, says why the action is not executed.
	inert string
}

const notYet = "is not executed by this version"

var actionKinds = map[string]actionKind{
	"set":            {read: readSet},
	"kill":           {read: readKill},
	"hash":           {read: readHash},
	"log":            {read: readLog},
	"coredump":       {read: requires("", "process", "mount", "dentry", "no_compression"), inert: notYet},
	"network_filter": {read: requires("filter", "policy", "scope"), inert: notYet},
}

// readAction reads one item of actions: exactly one kind, and a filter if need be. It returns nil if there is none.
func readAction(d *reader, n *node) *action {
	if n.kind != nodeMap {
		d.errorf(n.pos, "an action must be a mapping such as set: {…}, it is %s", n.kind)
		return nil
	}
	a := &action{pos: n.pos, body: n}
	for i := range n.pairs {
		key, value := n.pairs[i].key, n.pairs[i].value
		if key.value == "filter" {
			a.filter = d.text(value, "filter")
			continue
		}
		kind, ok := actionKinds[key.value]
		switch {
		case !ok:
			d.errorf(key.pos, "unknown action %q%s", key.value, didYouMean(key.value, actionKinds))
			return nil
		case a.kind != "":
			d.errorf(key.pos, "an action is of one kind, this one is %s and %s", a.kind, key.value)
			return nil
		}
		a.kind, a.pos = key.value, key.pos
		if value.kind != nodeMap && value.kind != nodeNull {
			d.errorf(value.pos, "%s must be a mapping, it is %s", key.value, value.kind)
			return nil
		}
		kind.read(d, value, a)
	}
	if a.kind == "" {
		d.errorf(n.pos, "the action has no kind; it may be one of %q", sortedKeys(actionKinds))
		return nil
	}
	return a
}

// requires makes the reader of an action whose parameters are only checked: required must be there, others may be.
func requires(required string, others ...string) func(*reader, *node, *action) {
	keys := map[string]keyReader[action]{}
	for _, k := range append(others, required) {
		if k != "" {
			keys[k] = ignored[action]
		}
	}
	return func(d *reader, n *node, a *action) {
		readMapping(d, n, a, keys)
		if required != "" && !hasKey(n.pairs, required) {
			d.errorf(a.pos, "action %s needs %s", a.kind, required)
		}
	}
}

var setKeys = map[string]keyReader[setAction]{
	"name":          func(d *reader, n *node, s *setAction) { s.name = d.text(n, "set.name") },
	"value":         func(_ *reader, n *node, s *setAction) { s.value = n },
	"field":         func(d *reader, n *node, s *setAction) { s.field = d.text(n, "set.field") },
	"expression":    func(d *reader, n *node, s *setAction) { s.expression = d.text(n, "set.expression") },
	"default_value": func(_ *reader, n *node, s *setAction) { s.defaultValue = n },
	"scope":         func(d *reader, n *node, s *setAction) { s.scope = d.text(n, "set.scope") },
	"scope_field":   func(d *reader, n *node, s *setAction) { s.scopeField = d.text(n, "set.scope_field") },
	"append":        func(d *reader, n *node, s *setAction) { s.appends = d.boolean(n, "set.append") },
	"size":          func(d *reader, n *node, s *setAction) { s.size = d.integer(n, "set.size") },
	"ttl":           func(d *reader, n *node, s *setAction) { s.ttl = d.duration(n, "set.ttl") },
	"inherited":     func(d *reader, n *node, s *setAction) { s.inherited = d.boolean(n, "set.inherited") },
	"private":       func(d *reader, n *node, s *setAction) { s.private = d.boolean(n, "set.private") },
}

var setScopes = map[string]bool{"process": true, "container": true, "cgroup": true}

func readSet(d *reader, n *node, a *action) {
	s := &setAction{size: defaultListSize}
	a.set = s
	readMapping(d, n, s, setKeys)
	if s.name.value == "" {
		d.errorf(a.pos, "action set needs name")
	} else if !validVariable(s.name.value) {
		d.errorf(s.name.node.pos, "set.name %q may only have letters, digits, _ and dots", s.name.value)
	} else if scope, name, ok := strings.Cut(s.name.value, "."); ok && setScopes[scope] {
		d.errorf(s.name.node.pos, "set.name %q begins with a scope: give name %q and scope %s", s.name.value, name, scope)
	}
	sources := 0
	for _, given := range []bool{s.value != nil, s.field.value != "", s.expression.value != ""} {
		if given {
			sources++
		}
	}
	if sources != 1 {
		d.errorf(a.pos, "action set needs exactly one of value, field and expression")
	}
	if s.scope.value != "" && !setScopes[s.scope.value] {
		d.errorf(s.scope.node.pos, "set.scope is %q%s", s.scope.value, didYouMean(s.scope.value, setScopes))
	}
	if s.scopeField.value != "" && s.scope.value != "process" {
		d.errorf(s.scopeField.node.pos, "set.scope_field names a process: it needs scope process")
	}
	if s.expression.value != "" && s.defaultValue == nil {
		d.errorf(s.expression.node.pos, "set.expression needs default_value, which gives the variable its type")
	}
	if s.size <= 0 {
		d.errorf(a.pos, "set.size must be positive")
	}
}

func validVariable(name string) bool {
	return len(name) <= maxID && validID.MatchString(strings.ReplaceAll(name, ".", "_"))
}

// same says whether two actions do the same: everything but positions is equal.
func (a *action) same(b *action) bool {
	return a.kind == b.kind && a.body.equal(b.body)
}
