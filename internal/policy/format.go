// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"github.com/picketsec/picket/internal/secl"
)

// formatWidth is how many columns a line of a formatted policy has at most, where there is a way to break it.
const formatWidth = 100

// FormatError says why a policy cannot be formatted, and where.
type FormatError struct {
	Position        // zero if unknown
	Message  string // one line
	Snippet  string // the line with a caret, as in reports; empty if the place is unknown
}

func (e *FormatError) Error() string {
	if e.Line == 0 {
		return e.Message
	}
	return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Message)
}

// Format returns the policy file src in its canonical form: expressions as secl.Format prints them, the keys of rules and macros
// in one order, indentation by two, an empty line between rules, quotes only where YAML needs them. Comments, anchors, aliases,
// merge keys, tags and unknown keys stay.
//
// The result is checked: it loads to the same rules and macros, with the same expressions, and all else in the file has the
// same values. If it does not, or src is no policy or has an expression that does not parse, there is an error, a *FormatError.
func Format(src []byte) ([]byte, error) {
	src = normalizeLineEnds(src)
	out, err := format(src)
	if err == nil {
		return out, nil
	}
	var fe *FormatError
	var ye *yamlError
	switch {
	case errors.As(err, &fe):
	case errors.As(err, &ye):
		fe = &FormatError{Position: ye.pos, Message: ye.message}
	default:
		fe = &FormatError{Message: err.Error()}
	}
	fe.Snippet = snippet(src, fe.Position)
	return nil, fe
}

func format(src []byte) (out []byte, err error) {
	if _, err := parseFile("", "", src); err != nil {
		return nil, err
	}
	before, err := parseYAML(src)
	if err != nil {
		return nil, err
	}
	// As in parseYAML: what fails here is one file.
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("cannot format the file: %v; please report this as a bug", p)
		}
	}()
	l, err := newLayout(src)
	if err != nil {
		return nil, err
	}
	p := printer{}
	out = []byte(strings.Join(p.document(l), "\n") + "\n")
	if p.err != nil {
		return nil, p.located(src)
	}
	if err := checkFormatted(src, out, before); err != nil {
		return nil, fmt.Errorf("cannot format the file: the result would not mean the same: %w", err)
	}
	return out, nil
}

// checkFormatted says whether out has all that src has.
func checkFormatted(src, out []byte, before *node) error {
	after, err := parseYAML(out)
	if err != nil {
		return err
	}
	c := comparison{same: map[comparedPair]bool{}}
	if !c.equal(before, after, roleRoot) {
		return fmt.Errorf("line %d has another value", c.line)
	}
	if _, err := parseFile("", "", out); err != nil {
		return err
	}
	if !slices.Equal(besides(src), besides(out)) {
		return errors.New("a comment, anchor, alias or tag is lost")
	}
	return nil
}

// besides returns, sorted, what a file has beside its values.
func besides(src []byte) []string {
	var out []string
	for _, t := range lexer.Tokenize(string(src)) {
		switch t.Type {
		case token.CommentType:
			out = append(out, "#"+strings.TrimRight(t.Value, " \t\r"))
		case token.AnchorType, token.AliasType:
			if t.Next != nil {
				out = append(out, t.Value+t.Next.Value)
			}
		case token.TagType:
			out = append(out, t.Value)
		default:
		}
	}
	slices.Sort(out)
	return out
}

// role is what a value is for, by its place in the file.
type role uint8

const (
	roleNone role = iota
	roleRoot
	roleRules
	roleRule
	roleMacros
	roleMacro
	roleActions
	roleAction
	roleSet
	roleExpression
)

// roleOfKey are the roles of the values of a mapping with a role.
var roleOfKey = map[role]map[string]role{
	roleRoot:   {"rules": roleRules, "macros": roleMacros},
	roleRule:   {"expression": roleExpression, "actions": roleActions},
	roleMacro:  {"expression": roleExpression},
	roleAction: {"filter": roleExpression, "set": roleSet},
	roleSet:    {"expression": roleExpression},
}

// roleOfItem are the roles of the items of a list with a role.
var roleOfItem = map[role]role{roleRules: roleRule, roleMacros: roleMacro, roleActions: roleAction}

// keyOrder is the order of the keys of rules and macros; others follow.
var keyOrder = map[role][]string{
	roleRule: {
		"id", mergeKey, "version", "description", "combine", "override_options", "expression", "tags", "product_tags", "group_id",
		"disabled", "agent_version", "filters", "every", "limiter_token", "silent", "priority", "actions",
	},
	roleMacro: {"id", mergeKey, "description", "combine", "expression", "values", "agent_version", "filters"},
}

const mergeKey = "<<"

// rank is the place of a key among those of r.
func rank(r role, key string) int {
	if i := slices.Index(keyOrder[r], key); i >= 0 {
		return i
	}
	return len(keyOrder[r])
}

// comparedPair is a comparison that has been made. Aliases make the tree a graph, in which each is made once.
type comparedPair struct {
	a, b *node
	role role
}

type comparison struct {
	same map[comparedPair]bool
	line int // of the difference
}

// equal says whether two values mean the same: all texts and their types are the same, but expressions, of which it is the
// tree. The order of keys is free in rules and macros only.
func (c *comparison) equal(a, b *node, r role) bool {
	if same, ok := c.same[comparedPair{a, b, r}]; ok {
		return same
	}
	same := c.equalValues(a, b, r)
	c.same[comparedPair{a, b, r}] = same
	if !same && c.line == 0 {
		c.line = a.pos.Line
	}
	return same
}

func (c *comparison) equalValues(a, b *node, r role) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.kind != b.kind || len(a.items) != len(b.items) || len(a.pairs) != len(b.pairs) {
		return false
	}
	if a.kind == nodeScalar {
		if plainType(a.style) != plainType(b.style) {
			return false
		}
		return a.value == b.value || r == roleExpression && len(b.value) <= maxExpression && secl.SameMeaning(a.value, b.value)
	}
	for i := range a.items {
		if !c.equal(a.items[i], b.items[i], roleOfItem[r]) {
			return false
		}
	}
	ap, bp := a.pairs, b.pairs
	if keyOrder[r] != nil {
		ap, bp = sortedPairs(ap), sortedPairs(bp)
	}
	for i := range ap {
		key := ap[i].key.value
		if key != bp[i].key.value || ap[i].merged != bp[i].merged || !c.equal(ap[i].value, bp[i].value, roleOfKey[r][key]) {
			return false
		}
	}
	return true
}

func sortedPairs(pairs []pair) []pair {
	pairs = slices.Clone(pairs)
	slices.SortStableFunc(pairs, func(a, b pair) int { return strings.Compare(a.key.value, b.key.value) })
	return pairs
}

// plainType is the type of a scalar; texts are of one type however they are written.
func plainType(style token.Type) token.Type {
	switch style {
	case token.SingleQuoteType, token.DoubleQuoteType, token.LiteralType, token.FoldedType:
		return token.StringType
	default:
		return style
	}
}
