// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// evalFilter evaluates an entry of filters. It is an expression of the rule language about the machine that loads the
// policy and not about events, and so it has its own small evaluator over the same syntax: names, integers, strings,
// ~"patterns", r"regular expressions", lists, comparisons, in, not in, and/or/not with their signs, parentheses.
// Errors are *filterError.
func evalFilter(expr string, fields map[string]filterValue) (result bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			fe, ok := p.(*filterError)
			if !ok {
				panic(p)
			}
			result, err = false, fe
		}
	}()
	p := filterParser{src: expr, fields: fields}
	p.next()
	v := p.expression(0)
	if p.tok.kind != tokEnd {
		p.fail(p.tok, "unexpected %s", p.tok)
	}
	b, ok := v.(bool)
	if !ok {
		p.fail(filterToken{}, "a filter must be true or false, this is %s", typeName(v))
	}
	return b, nil
}

// filterError is a mistake in a filter; offset counts bytes in the expression.
type filterError struct {
	offset  int
	message string
}

func (e *filterError) Error() string { return e.message }

type filterTokenKind uint8

const (
	tokEnd filterTokenKind = iota
	tokIdent
	tokInt
	tokString
	tokPattern
	tokRegexp
	tokPunct
)

type filterToken struct {
	kind   filterTokenKind
	text   string
	offset int
}

func (t filterToken) String() string {
	if t.kind == tokEnd {
		return "end of the filter"
	}
	return strconv.Quote(t.text)
}

var filterLexer = regexp.MustCompile(`^(?:([A-Za-z_][A-Za-z0-9_.]*)|([-+]?[0-9]+)|([~r]?"(?:[^"\\]|\\.)*")|(&&|\|\||==|!=|=~|!~|<=|>=|[<>!()\[\],]))`)

type filterParser struct {
	src    string
	pos    int
	tok    filterToken
	fields map[string]filterValue
}

func (p *filterParser) fail(t filterToken, format string, args ...any) {
	panic(&filterError{t.offset, fmt.Sprintf(format, args...)})
}

func (p *filterParser) next() {
	for p.pos < len(p.src) && isSpace(p.src[p.pos]) {
		p.pos++
	}
	p.tok = filterToken{offset: p.pos}
	if p.pos == len(p.src) {
		return
	}
	rest := p.src[p.pos:]
	if strings.HasPrefix(rest, `r"`) { // would be read as a name and a string
		if m := filterLexer.FindStringSubmatch(rest[1:]); m != nil && m[3] != "" {
			p.tok.kind, p.tok.text = tokRegexp, m[3][1:len(m[3])-1]
			p.pos += 1 + len(m[0])
			return
		}
	}
	m := filterLexer.FindStringSubmatch(rest)
	if m == nil {
		p.fail(p.tok, "unexpected character %q", []rune(rest)[0])
	}
	p.pos += len(m[0])
	switch {
	case m[1] != "":
		p.tok.kind, p.tok.text = tokIdent, m[1]
	case m[2] != "":
		p.tok.kind, p.tok.text = tokInt, m[2]
	case strings.HasPrefix(m[3], "~"):
		p.tok.kind, p.tok.text = tokPattern, m[3][2:len(m[3])-1]
	case m[3] != "":
		p.tok.kind, p.tok.text = tokString, m[3][1:len(m[3])-1]
	default:
		p.tok.kind, p.tok.text = tokPunct, m[4]
	}
}

func (p *filterParser) accept(texts ...string) (string, bool) {
	if (p.tok.kind == tokPunct || p.tok.kind == tokIdent) && slices.Contains(texts, p.tok.text) {
		t := p.tok.text
		p.next()
		return t, true
	}
	return "", false
}

func (p *filterParser) expect(text string) {
	if _, ok := p.accept(text); !ok {
		p.fail(p.tok, "expected %q, found %s", text, p.tok)
	}
}

// expression: as in rules, && and || bind equally and to the right.
func (p *filterParser) expression(depth int) filterValue {
	if depth > maxDepth {
		p.fail(p.tok, "nested more than %d deep", maxDepth)
	}
	at := p.tok
	left := p.comparison(depth)
	op, ok := p.accept("&&", "and", "||", "or")
	if !ok {
		return left
	}
	rightAt := p.tok
	right := p.expression(depth + 1)
	l, r := p.boolean(at, left), p.boolean(rightAt, right)
	if op == "&&" || op == "and" {
		return l && r
	}
	return l || r
}

func (p *filterParser) boolean(at filterToken, v filterValue) bool {
	b, ok := v.(bool)
	if !ok {
		p.fail(at, "expected true or false, found %s", typeName(v))
	}
	return b
}

func (p *filterParser) comparison(depth int) filterValue {
	at := p.tok
	left := p.unary(depth)
	if _, ok := p.accept("in"); ok {
		return p.contains(at, left, depth)
	}
	if p.tok.kind == tokIdent && p.tok.text == "not" {
		p.next()
		p.expect("in")
		return !p.contains(at, left, depth)
	}
	op, ok := p.accept("==", "!=", "=~", "!~", "<", "<=", ">", ">=")
	if !ok {
		return left
	}
	rightAt := p.tok
	right := p.operand(depth)
	return p.compare(rightAt, left, op, right)
}

func (p *filterParser) unary(depth int) filterValue {
	if depth > maxDepth {
		p.fail(p.tok, "nested more than %d deep", maxDepth)
	}
	if _, ok := p.accept("!", "not"); ok {
		at := p.tok
		return !p.boolean(at, p.unary(depth+1))
	}
	return p.operand(depth)
}

// matcher is a pattern or regular expression.
type matcher func(string) bool

func (p *filterParser) operand(depth int) filterValue {
	t := p.tok
	switch {
	case t.kind == tokPunct && t.text == "(":
		p.next()
		v := p.expression(depth + 1)
		p.expect(")")
		return v
	case t.kind == tokInt:
		n, err := strconv.ParseInt(t.text, 10, 64)
		if err != nil {
			p.fail(t, "integer %s is out of range", t.text)
		}
		p.next()
		return n
	case t.kind == tokString:
		p.next()
		return t.text
	case t.kind == tokPattern:
		p.next()
		return wildcard(t.text)
	case t.kind == tokRegexp:
		re, err := regexp.Compile(t.text)
		if err != nil {
			p.fail(t, "regular expression: %v", err)
		}
		p.next()
		return matcher(re.MatchString)
	case t.kind == tokIdent && (t.text == "true" || t.text == "false"):
		p.next()
		return t.text == "true"
	case t.kind == tokIdent:
		v, ok := p.fields[t.text]
		if !ok {
			p.fail(t, "filter field %q does not exist%s", t.text, didYouMean(t.text, p.fields))
		}
		p.next()
		return v
	}
	p.fail(t, "unexpected %s", t)
	return nil
}

// wildcard makes the matcher of a pattern in which * stands for any text.
func wildcard(pattern string) matcher {
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("(?s)^" + strings.Join(parts, ".*") + "$").MatchString
}

func (p *filterParser) contains(at filterToken, left filterValue, depth int) bool {
	if p.tok.kind == tokIdent {
		list := p.tok
		if values, ok := p.operand(depth).([]string); ok {
			s, ok := left.(string)
			if !ok {
				p.fail(at, "expected a text, found %s", typeName(left))
			}
			return slices.Contains(values, s)
		}
		p.fail(list, "%q is not a list", list.text)
	}
	p.expect("[")
	found := false
	for {
		item := p.tok
		if p.compare(item, left, "==", p.operand(depth+1)) {
			found = true
		}
		if _, ok := p.accept(","); !ok {
			break
		}
	}
	p.expect("]")
	return found
}

func (p *filterParser) compare(at filterToken, left filterValue, op string, right filterValue) bool {
	negated := op == "!=" || op == "!~"
	ordered := op != "==" && op != "=~" && !negated
	switch l := left.(type) {
	case bool:
		if r, ok := right.(bool); ok && !ordered {
			return (l == r) != negated
		}
	case int64:
		if r, ok := right.(int64); ok {
			switch op {
			case "<":
				return l < r
			case "<=":
				return l <= r
			case ">":
				return l > r
			case ">=":
				return l >= r
			}
			return (l == r) != negated
		}
	case string:
		if m, ok := p.stringMatcher(op, right); ok && !ordered {
			return m(l) != negated
		}
	case []string:
		if m, ok := p.stringMatcher(op, right); ok && !ordered {
			return slices.ContainsFunc(l, m) != negated
		}
	}
	p.fail(at, "cannot compare %s %s %s", typeName(left), op, typeName(right))
	return false
}

func (p *filterParser) stringMatcher(op string, right filterValue) (matcher, bool) {
	switch r := right.(type) {
	case matcher:
		return r, true
	case string:
		if op == "=~" || op == "!~" {
			return wildcard(r), true
		}
		return func(s string) bool { return s == r }, true
	}
	return nil, false
}

func typeName(v filterValue) string {
	switch v.(type) {
	case bool:
		return "a bool"
	case int64:
		return "an integer"
	case string:
		return "a text"
	case []string:
		return "a list"
	}
	return "a pattern"
}
