// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/picketsec/picket/internal/event"
)

// KeyKind is what part of a value a Key is about.
type KeyKind uint8

// The kinds of keys, the most selective first.
const (
	KeyExact   KeyKind = iota // the whole string
	KeyBase                   // the last segment of a path
	KeyDir                    // a directory that the path is, or is below of
	KeySuffix4                // the last 4 bytes
	KeyPrefix4                // the first 4 bytes
	KeySuffix2
	KeyPrefix2
	KeyInt // the whole integer
	NumKeyKinds
)

// Key is a property of one value of an event that is cheap to look up: a field, and what its value, or of an array any
// member, is. Of a field that knows no case (event.Field.CaseInsensitive) Text is in lower case and ASCII.
type Key struct {
	Field *event.Field
	Kind  KeyKind
	Text  string
	Int   int64
}

// Guard is a condition without which an expression is not true, and that is the same for every event whoever evaluates it.
type Guard struct {
	// Text identifies the condition: two guards with the same Text, of programs that were compiled with the same Env, are
	// the same.
	Text string
	Test func(*Context) bool

	weight int
}

// Cover are the properties of which an event has at least one if the expression is true; nil if that is not known. It is of an
// expression with many parts the part that says most.
func (p *Program) Cover() []Key { return p.root.cover }

// Guard is the cheapest condition that the expression needs; nil if there is none.
func (p *Program) Guard() *Guard { return p.root.guard }

// Constant says whether the expression has the same value for all events, and which.
func (p *Program) Constant() (value, ok bool) {
	if !p.root.static || p.root.kind != event.KindBool {
		return false, false
	}
	return p.root.constant(), true
}

// Bounds of what is worth an index.
const (
	maxKeys       = 4096 // of one expression
	maxGuardBytes = 4096
)

// keyCost orders the kinds by how many events have such a property by accident.
var keyCost = [NumKeyKinds]int{
	KeyExact: 1, KeyBase: 2, KeyDir: 4, KeySuffix4: 5, KeyPrefix4: 6, KeyInt: 8, KeySuffix2: 12, KeyPrefix2: 14,
}

const (
	emptyCost = 20 // most events have none of most things
	arrayCost = 4  // each member has to be looked up
)

// cost is that of the worst key: an event that has it is looked at.
func cost(keys []Key) int {
	worst := 0
	for i := range keys {
		k := &keys[i]
		c := keyCost[k.Kind]
		if k.Kind == KeyExact && k.Text == "" || k.Kind == KeyInt && k.Int == 0 {
			c = emptyCost
		}
		if k.Field.Array {
			c += arrayCost
		}
		worst = max(worst, c)
	}
	return worst + len(keys)/64
}

// better returns the cover to use of an expression that needs both.
func better(a, b []Key) []Key {
	switch {
	case a == nil:
		return b
	case b == nil || cost(a) <= cost(b):
		return a
	}
	return b
}

// either returns the cover of an expression that needs only one.
func either(a, b []Key) []Key {
	if a == nil || b == nil || len(a)+len(b) > maxKeys {
		return nil
	}
	return append(a[:len(a):len(a)], b...)
}

// coverOf joins what parts of a chain of && or || have.
func coverOf(parts []operand, or bool) (keys []Key, g *Guard) {
	keys = parts[0].cover
	for i := range parts {
		p := &parts[i]
		switch {
		case i == 0:
		case or:
			keys = either(keys, p.cover)
		default:
			keys = better(keys, p.cover)
		}
		if !or && p.guard != nil && (g == nil || p.guard.weight < g.weight) {
			g = p.guard
		}
	}
	return keys, g
}

// intKeys covers a comparison with constants.
func intKeys(o *operand, values ...int64) []Key {
	if o.field == nil || o.array || len(values) > maxKeys {
		return nil
	}
	keys := make([]Key, len(values))
	for i, v := range values {
		keys[i] = Key{Field: o.field, Kind: KeyInt, Int: v}
	}
	return keys
}

// stringKeys covers a comparison of the subject with literals.
func stringKeys(subject, value *operand) []Key {
	if subject.field == nil || len(value.templates) > 0 || len(value.literals) == 0 || len(value.literals) > maxKeys {
		return nil
	}
	keys := make([]Key, 0, len(value.literals))
	for _, l := range value.literals {
		kind, text, ok := keyOf(l, subject.options)
		if !ok {
			return nil
		}
		keys = append(keys, Key{Field: subject.field, Kind: kind, Text: text})
	}
	return keys
}

// keyOf finds what every value has that a literal matches.
func keyOf(l *stringNode, o options) (kind KeyKind, text string, ok bool) {
	text = l.text
	if o.extension && l.kind != regexpString && text != "" && !strings.HasPrefix(text, ".") {
		text = "." + text
	}
	if o.fold {
		if !isASCII(text) {
			return 0, "", false
		}
		text = strings.ToLower(text)
	}
	switch {
	case l.kind == regexpString:
		return 0, "", false
	case l.kind == scalarString:
		return KeyExact, text, true
	case o.glob:
		return globKey(text)
	}
	parts := newPattern(text)
	if len(parts) == 1 {
		return KeyExact, text, true
	}
	return endKey(parts[0], parts[len(parts)-1])
}

// endKey is the longer of what a value begins and ends with.
func endKey(first, last string) (kind KeyKind, text string, ok bool) {
	const long, short = 4, 2
	switch {
	case len(last) >= long:
		return KeySuffix4, last[len(last)-long:], true
	case len(first) >= long:
		return KeyPrefix4, first[:long], true
	case len(last) >= short:
		return KeySuffix2, last[len(last)-short:], true
	case len(first) >= short:
		return KeyPrefix2, first[:short], true
	}
	return 0, "", false
}

func globKey(text string) (kind KeyKind, key string, ok bool) {
	g, err := newGlob(text)
	if err != nil {
		return 0, "", false
	}
	if g.exact {
		return KeyExact, text, true
	}
	var last pattern // nil if anything may follow
	switch {
	case len(g.suffix) > 0:
		last = g.suffix[len(g.suffix)-1]
	case !g.deep:
		last = g.prefix[len(g.prefix)-1]
	}
	if len(last) == 1 && last[0] != "" {
		return KeyBase, last[0], true
	}
	dir, depth := "", 0
	for _, p := range g.prefix {
		if !g.rooted || len(p) > 1 {
			break
		}
		dir += "/" + p[0]
		depth++
	}
	tail := ""
	if last != nil {
		tail = last[len(last)-1]
	}
	kind, key, ok = endKey("", tail)
	if depth > 1 || depth == 1 && (!ok || kind == KeySuffix2) {
		return KeyDir, dir, true
	}
	return kind, key, ok
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// boolean compiles a node that is a truth value by itself: the expression, or a part of it that is joined by &&, || and !.
//
// For a filter (Env.Filter) such a part that reads what is not known yet is taken for true, or where it is negated for
// false. As && and || only get truer by that, the whole is false only if it is false whatever is found out later: Kleene's
// three-valued logic, with "true" and "unknown" in one.
func (c *compiler) boolean(n node) (operand, *Error) {
	unknown, impure := c.unknown, c.impure
	o, err := c.compile(n)
	if err != nil || o.kind != event.KindBool || o.array {
		return o, err
	}
	if c.env != nil && c.env.Filter && c.atom == 0 && c.unknown > unknown {
		c.unknown = unknown
		return boolOperand(o.pos, true, 0, constBool(!c.negated)), nil
	}
	if o.guard == nil && c.impure == impure && !o.static {
		var b []byte
		if b = appendNode(b, n); len(b) <= maxGuardBytes {
			o.guard = &Guard{Text: string(b), Test: o.b, weight: o.weight}
		}
	}
	return o, nil
}

// appendNode appends a text that only equal nodes have.
func appendNode(dst []byte, n node) []byte {
	if len(dst) > maxGuardBytes {
		return dst
	}
	two := func(op string, l, r node) []byte {
		dst = append(appendNode(append(dst, '('), l), ' ')
		dst = append(append(dst, op...), ' ')
		return append(appendNode(dst, r), ')')
	}
	switch n := n.(type) {
	case *logicalNode:
		if n.or {
			return two("||", n.l, n.r)
		}
		return two("&&", n.l, n.r)
	case *compareNode:
		return two(n.op, n.l, n.r)
	case *memberNode:
		return two(n.op, n.l, n.r)
	case *arithNode:
		return two(string(n.op), n.l, n.r)
	case *unaryNode:
		return append(appendNode(append(dst, '(', n.op), n.x), ')')
	case *identNode:
		return append(dst, n.name...)
	case *intNode:
		if n.duration {
			dst = append(dst, 'd')
		}
		return strconv.AppendInt(dst, n.v, 10)
	case *stringNode:
		return strconv.AppendQuote(append(dst, n.kind.String()...), n.text)
	case *ipNode:
		dst = n.prefix.AppendTo(dst)
		return strconv.AppendBool(dst, n.cidr)
	case *variableNode:
		return append(append(append(dst, "${"...), n.name...), '}')
	case *fieldRefNode:
		return append(append(append(dst, "%{"...), n.name...), '}')
	case *arrayNode:
		dst = append(dst, '[')
		for _, m := range n.members {
			dst = append(appendNode(dst, m), ',')
		}
		return append(dst, ']')
	}
	panic(fmt.Sprintf("secl: node %T", n)) // a bug: the parser makes no other
}
