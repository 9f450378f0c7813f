// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Limits of one policy file, beyond those of its YAML.
const (
	maxRules        = 5000
	maxMacros       = 2000
	maxMacroValues  = 10_000
	maxExpression   = 64 << 10 // bytes
	maxTags         = 100
	maxActions      = 50
	maxFilters      = 50
	maxLimiterToken = 10
)

// A file is a parsed policy file.
type file struct {
	name     string // base name: the policy's name
	path     string
	src      []byte
	version  string
	macros   []*macroDefinition
	rules    []*ruleDefinition
	problems []problem // of the file as a whole; none of them keeps it from loading
}

// problem is a mistake or a warning, with its place in the file.
type problem struct {
	pos     Position
	message string
	warning bool
}

func hasError(problems []problem) *problem {
	for i := range problems {
		if !problems[i].warning {
			return &problems[i]
		}
	}
	return nil
}

// text is a scalar of the file.
type text struct {
	value string
	node  *node
}

// definition is what macros and rules have in common.
type definition struct {
	id           string
	description  string
	agentVersion text
	filters      []text
	combine      text
	expression   text
	pos          Position // of the id, else of the definition
	file         *file
	problems     []problem
}

type macroDefinition struct {
	definition
	values    []string
	hasValues bool
}

type ruleDefinition struct {
	definition
	version        string
	tags           []string // key:value, in the file's order
	productTags    []string
	disabled       bool
	overrideFields []text
	every          time.Duration // 0: the default rate
	limiterToken   []text
	silent         bool
	groupID        string
	priority       int
	actions        []*action
}

// The values of combine.
const (
	combineMerge    = "merge"
	combineOverride = "override"
)

var validID = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

// maxID is far above any identifier that a person writes; ids become attributes of metrics.
const maxID = 256

// parseFile parses a policy file. The error, a *yamlError, says that the file is no policy; mistakes inside it are in
// the problems of the file, its macros and its rules.
func parseFile(name, path string, src []byte) (*file, error) {
	root, err := parseYAML(src)
	if err != nil {
		return nil, err
	}
	f := &file{name: name, path: path, src: src}
	switch {
	case root == nil || root.kind == nodeNull:
		return nil, &yamlError{message: "the file is empty"}
	case root.kind != nodeMap:
		return nil, &yamlError{root.pos, "not a policy: expected a mapping with version, macros and rules, found " + root.kind.String()}
	}
	d := reader{problems: &f.problems}
	readMapping(&d, root, f, fileKeys)
	if p := hasError(f.problems); p != nil {
		return nil, &yamlError{p.pos, p.message}
	}
	return f, nil
}

// reader reads nodes into Go values and collects what is wrong with them.
type reader struct {
	problems *[]problem
	// lenient makes mistakes of shape warnings, for members that never keep a rule from loading.
	lenient bool
}

func (d *reader) errorf(pos Position, format string, args ...any) {
	*d.problems = append(*d.problems, problem{pos: pos, message: fmt.Sprintf(format, args...), warning: d.lenient})
}

func (d *reader) warnf(pos Position, format string, args ...any) {
	*d.problems = append(*d.problems, problem{pos: pos, message: fmt.Sprintf(format, args...), warning: true})
}

// keyReader stores the value of a key in a T.
type keyReader[T any] func(d *reader, n *node, into *T)

// readMapping reads the pairs of n by a table of keys. An unknown key is a warning, because policies for newer agents may
// have keys that are not known here; a key that is there twice is an error.
func readMapping[T any](d *reader, n *node, into *T, keys map[string]keyReader[T]) {
	seen := make(map[string]int, len(n.pairs))
	for i := range n.pairs {
		seen[n.pairs[i].key.value] = i
	}
	first := make(map[string]bool, len(n.pairs))
	for i := range n.pairs {
		p := &n.pairs[i]
		name := p.key.value
		if last := seen[name]; last != i && p.merged {
			continue // overridden
		}
		if first[name] {
			d.errorf(p.key.pos, "key %q is there twice", name)
			continue
		}
		first[name] = true
		read, ok := keys[name]
		if !ok {
			hint := ""
			if near := nearest(name, keys); near != "" {
				hint = fmt.Sprintf("; did you mean %q?", near)
			}
			d.warnf(p.key.pos, "unknown key %q is ignored%s", name, hint)
			continue
		}
		if p.value.kind != nodeNull {
			read(d, p.value, into)
		}
	}
}

// ignored reads nothing: the key has a meaning elsewhere, and none here.
func ignored[T any](*reader, *node, *T) {}

func (d *reader) text(n *node, what string) text {
	if n.kind != nodeScalar {
		d.errorf(n.pos, "%s must be a text, it is %s", what, n.kind)
		return text{node: n}
	}
	return text{n.value, n}
}

var booleans = map[string]bool{
	"true": true, "yes": true, "on": true,
	"false": false, "no": false, "off": false,
}

func (d *reader) boolean(n *node, what string) bool {
	v, ok := booleans[strings.ToLower(n.value)]
	if n.kind != nodeScalar || !ok {
		d.errorf(n.pos, "%s must be true or false", what)
	}
	return v
}

func (d *reader) integer(n *node, what string) int {
	v, err := strconv.Atoi(n.value)
	if n.kind != nodeScalar || err != nil {
		d.errorf(n.pos, "%s must be a whole number", what)
	}
	return v
}

// duration reads a positive Go duration, or an integer of nanoseconds.
func (d *reader) duration(n *node, what string) time.Duration {
	v, err := time.ParseDuration(n.value)
	if err != nil {
		var ns int64
		if ns, err = strconv.ParseInt(n.value, 10, 64); err == nil {
			v = time.Duration(ns)
			d.warnf(n.pos, "%s: %s is in nanoseconds; with a unit, as in 10s, it says what is meant", what, n.value)
		}
	}
	if n.kind != nodeScalar || err != nil || v <= 0 {
		d.errorf(n.pos, "%s must be a positive duration such as 10s or 5m", what)
		return 0
	}
	return v
}

func (d *reader) list(n *node, limit int, what string) []*node {
	if n.kind != nodeList {
		d.errorf(n.pos, "%s must be a list, it is %s", what, n.kind)
		return nil
	}
	if len(n.items) > limit {
		d.errorf(n.pos, "%s has more than %d entries", what, limit)
		return nil
	}
	return n.items
}

func (d *reader) texts(n *node, limit int, what string) []text {
	items := d.list(n, limit, what)
	out := make([]text, 0, len(items))
	for _, item := range items {
		out = append(out, d.text(item, "an entry of "+what))
	}
	return out
}

func (d *reader) strings(n *node, limit int, what string) []string {
	out := make([]string, 0, len(n.items))
	for _, t := range d.texts(n, limit, what) {
		out = append(out, t.value)
	}
	return out
}

// tags reads a mapping of names to values, or to lists of values, as "name:value".
func (d *reader) tags(n *node) []string {
	if n.kind != nodeMap {
		d.errorf(n.pos, "tags must be a mapping, it is %s", n.kind)
		return nil
	}
	var out []string
	for i := range n.pairs {
		key, value := n.pairs[i].key.value, n.pairs[i].value
		switch value.kind {
		case nodeScalar:
			out = append(out, key+":"+value.value)
		case nodeList:
			for _, item := range value.items {
				out = append(out, key+":"+d.text(item, "a value of tag "+key).value)
			}
		case nodeNull:
			out = append(out, key+":")
		default:
			d.errorf(value.pos, "tag %s must be a text, it is %s", key, value.kind)
		}
	}
	if len(out) > maxTags {
		d.errorf(n.pos, "more than %d tags", maxTags)
		return nil
	}
	return out
}

var fileKeys = map[string]keyReader[file]{
	"version":           func(d *reader, n *node, f *file) { f.version = d.text(n, "version").value },
	"type":              ignored[file], // policy, content_pack, empty: how the file came to be
	"name":              ignored[file],
	"description":       ignored[file],
	"replace_policy_id": ignored[file], // remote configuration only
	"macros": func(d *reader, n *node, f *file) {
		for _, item := range d.list(n, maxMacros, "macros") {
			m := &macroDefinition{}
			readDefinition(item, f, m, &m.definition, macroKeys)
			m.finish()
			f.macros = append(f.macros, m)
		}
	},
	"rules": func(d *reader, n *node, f *file) {
		for _, item := range d.list(n, maxRules, "rules") {
			r := &ruleDefinition{}
			readDefinition(item, f, r, &r.definition, ruleKeys)
			f.rules = append(f.rules, r)
		}
	},
}

// readDefinition reads a macro or rule and checks its id. Its problems stay its own.
func readDefinition[T any](n *node, f *file, into *T, def *definition, keys map[string]keyReader[T]) {
	def.pos, def.file = n.pos, f
	d := reader{problems: &def.problems}
	if n.kind != nodeMap {
		d.errorf(n.pos, "expected a mapping with id and expression, found %s", n.kind)
		return
	}
	readMapping(&d, n, into, keys)
	switch {
	case def.id == "":
		d.errorf(n.pos, "id is missing")
	case len(def.id) > maxID:
		d.errorf(def.pos, "id has more than %d characters", maxID)
	case !validID.MatchString(def.id):
		d.errorf(def.pos, "id %q may only have letters, digits and _", def.id)
	}
	if len(def.expression.value) > maxExpression {
		d.errorf(def.expression.node.pos, "expression has more than %d bytes", maxExpression)
	}
}

// commonKeys makes the rows of a key table that macros and rules share.
func commonKeys[T any](of func(*T) *definition, keys map[string]keyReader[T]) map[string]keyReader[T] {
	keys["id"] = func(d *reader, n *node, t *T) {
		def := of(t)
		def.id, def.pos = d.text(n, "id").value, n.pos
	}
	keys["description"] = func(d *reader, n *node, t *T) { of(t).description = d.text(n, "description").value }
	keys["expression"] = func(d *reader, n *node, t *T) { of(t).expression = d.text(n, "expression") }
	keys["agent_version"] = func(d *reader, n *node, t *T) { of(t).agentVersion = d.text(n, "agent_version") }
	keys["filters"] = func(d *reader, n *node, t *T) { of(t).filters = d.texts(n, maxFilters, "filters") }
	return keys
}

func (d *reader) combine(n *node, allowed ...string) text {
	t := d.text(n, "combine")
	for _, a := range allowed {
		if t.value == a {
			return t
		}
	}
	if n.kind == nodeScalar {
		d.errorf(n.pos, "combine is %q, it may be %s", t.value, strings.Join(allowed, " or "))
	}
	return text{}
}

var macroKeys = commonKeys(func(m *macroDefinition) *definition { return &m.definition }, map[string]keyReader[macroDefinition]{
	"values": func(d *reader, n *node, m *macroDefinition) {
		m.values, m.hasValues = d.strings(n, maxMacroValues, "values"), true
	},
	"combine": func(d *reader, n *node, m *macroDefinition) { m.combine = d.combine(n, combineMerge, combineOverride) },
})

func (m *macroDefinition) finish() {
	d := reader{problems: &m.problems}
	switch {
	case hasError(m.problems) != nil:
	case m.hasValues && m.expression.value != "":
		d.errorf(m.pos, "a macro has an expression or values, not both")
	case !m.hasValues && strings.TrimSpace(m.expression.value) == "":
		d.errorf(m.pos, "the macro has neither an expression nor values")
	case m.hasValues && len(m.values) == 0:
		d.errorf(m.pos, "values is empty")
	}
}

// overridable are the values of override_options.fields.
var overridable = map[string]bool{
	"all": true, "expression": true, "actions": true, "every": true, "tags": true, "product_tags": true,
}

var overrideKeys = map[string]keyReader[ruleDefinition]{
	"fields": func(d *reader, n *node, r *ruleDefinition) {
		r.overrideFields = d.texts(n, len(overridable)*2, "override_options.fields")
		for _, f := range r.overrideFields {
			if !overridable[f.value] {
				d.errorf(f.node.pos, "override_options.fields cannot have %q%s", f.value, didYouMean(f.value, overridable))
			}
		}
	},
}

var ruleKeys = commonKeys(func(r *ruleDefinition) *definition { return &r.definition }, map[string]keyReader[ruleDefinition]{
	"version":      func(d *reader, n *node, r *ruleDefinition) { r.version = d.text(n, "version").value },
	"tags":         func(d *reader, n *node, r *ruleDefinition) { r.tags = d.tags(n) },
	"product_tags": func(d *reader, n *node, r *ruleDefinition) { r.productTags = d.strings(n, maxTags, "product_tags") },
	"disabled":     func(d *reader, n *node, r *ruleDefinition) { r.disabled = d.boolean(n, "disabled") },
	"combine":      func(d *reader, n *node, r *ruleDefinition) { r.combine = d.combine(n, combineOverride) },
	"override_options": func(d *reader, n *node, r *ruleDefinition) {
		if n.kind != nodeMap {
			d.errorf(n.pos, "override_options must be a mapping, it is %s", n.kind)
			return
		}
		readMapping(d, n, r, overrideKeys)
	},
	"every": func(d *reader, n *node, r *ruleDefinition) { r.every = d.duration(n, "every") },
	"limiter_token": func(d *reader, n *node, r *ruleDefinition) {
		r.limiterToken = d.texts(n, maxLimiterToken, "limiter_token")
	},
	"silent":   func(d *reader, n *node, r *ruleDefinition) { r.silent = d.boolean(n, "silent") },
	"group_id": func(d *reader, n *node, r *ruleDefinition) { r.groupID = d.text(n, "group_id").value },
	"priority": func(d *reader, n *node, r *ruleDefinition) { r.priority = d.integer(n, "priority") },
	"actions": func(d *reader, n *node, r *ruleDefinition) {
		for _, item := range d.list(n, maxActions, "actions") {
			if a := readAction(d, item); a != nil {
				r.actions = append(r.actions, a)
			}
		}
	},
})
