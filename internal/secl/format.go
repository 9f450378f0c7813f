// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// formatIndent is how far each level of a broken expression is indented.
const formatIndent = "  "

// Format prints an expression, of a rule or macro, in the one canonical way: one space around operators, && and || for and
// and or, ! for not, and line breaks only where the expression has more than width columns: before the operators of its
// chain of && and ||, then inside parentheses and arrays. Literals and parentheses stay as they are written. An expression
// with comments is returned as it is, because their places would not be known.
//
// The result parses to the same tree, and formatting it again changes nothing. Errors are those of the parser, *Error.
func Format(src string, width int) (string, error) {
	before, err := parseMacro(src)
	if err != nil {
		return "", err
	}
	tokens, err := lex(src)
	if err != nil {
		return "", err
	}
	if hasComment(src, tokens) {
		return src, nil
	}
	f := formatter{tokens: tokens[:len(tokens)-1]}
	whole := f.chain(f.group(""))
	out := strings.Join(whole.broken(width, formatIndent), "\n")
	after, err := parseMacro(out)
	if err != nil || !sameTree(before, after) {
		return "", errors.New("cannot format the expression: it would change its meaning; please report this as a bug")
	}
	return out, nil
}

// SameMeaning says whether two expressions, of rules or macros, parse to the same tree.
func SameMeaning(a, b string) bool {
	if a == b {
		return true
	}
	na, err := parseMacro(a)
	if err != nil {
		return false
	}
	nb, err := parseMacro(b)
	return err == nil && sameTree(na, nb)
}

// hasComment reports whether there is anything but white space between tokens.
func hasComment(src string, tokens []token) bool {
	end := 0
	for i := range tokens {
		if strings.TrimSpace(src[end:tokens[i].pos.Offset]) != "" {
			return true
		}
		end = tokens[i].pos.Offset + len(tokens[i].raw)
	}
	return false
}

// sameTree compares trees but for their positions. Chains are as deep as they are long on their right side, so that side
// is a loop.
func sameTree(a, b node) bool {
	for {
		switch x := a.(type) {
		case *logicalNode:
			y, ok := b.(*logicalNode)
			if !ok || x.or != y.or || !sameTree(x.l, y.l) {
				return false
			}
			a, b = x.r, y.r
			continue
		case *compareNode:
			y, ok := b.(*compareNode)
			return ok && x.op == y.op && sameTree(x.l, y.l) && sameTree(x.r, y.r)
		case *memberNode:
			y, ok := b.(*memberNode)
			return ok && x.op == y.op && sameTree(x.l, y.l) && sameTree(x.r, y.r)
		case *arithNode:
			return sameArith(x, b)
		case *unaryNode:
			y, ok := b.(*unaryNode)
			return ok && x.op == y.op && sameTree(x.x, y.x)
		case *arrayNode:
			y, ok := b.(*arrayNode)
			if !ok || len(x.members) != len(y.members) {
				return false
			}
			for i := range x.members {
				if !sameTree(x.members[i], y.members[i]) {
					return false
				}
			}
			return true
		default:
			return sameLeaf(a, b)
		}
	}
}

// sameArith compares sums, which are deep on their left side, and bit operations, which are on their right, without
// recursion along either.
func sameArith(a *arithNode, other node) bool {
	b, ok := other.(*arithNode)
	for {
		if !ok || a.op != b.op {
			return false
		}
		l, deepLeft := a.l.(*arithNode)
		r, deepRight := a.r.(*arithNode)
		switch {
		case deepLeft && (a.op == '+' || a.op == '-' || !deepRight):
			if !sameTree(a.r, b.r) {
				return false
			}
			a = l
			b, ok = b.l.(*arithNode)
		case deepRight:
			if !sameTree(a.l, b.l) {
				return false
			}
			a = r
			b, ok = b.r.(*arithNode)
		default:
			return sameTree(a.l, b.l) && sameTree(a.r, b.r)
		}
	}
}

func sameLeaf(a, b node) bool {
	switch x := a.(type) {
	case *identNode:
		y, ok := b.(*identNode)
		return ok && x.name == y.name
	case *intNode:
		y, ok := b.(*intNode)
		return ok && x.v == y.v && x.duration == y.duration
	case *stringNode:
		y, ok := b.(*stringNode)
		return ok && x.kind == y.kind && x.text == y.text
	case *ipNode:
		y, ok := b.(*ipNode)
		return ok && x.prefix == y.prefix && x.cidr == y.cidr
	case *variableNode:
		y, ok := b.(*variableNode)
		return ok && x.name == y.name
	case *fieldRefNode:
		y, ok := b.(*fieldRefNode)
		return ok && x.name == y.name
	}
	panic("secl: unknown node " + reflect.TypeOf(a).String())
}

// A formatter turns tokens into text. It relies on the tokens being those of an expression that parses.
type formatter struct {
	tokens []token
	n      int
}

// piece is a word of the output: a token, an operator, or all of a pair of brackets.
type piece struct {
	text    string
	logical bool           // && or ||
	tight   bool           // a unary operator: nothing between it and what follows
	members []printedChain // of brackets
	open    string         // "(" or "["; empty: text
}

// printedChain is operands with && or || between them.
type printedChain struct {
	operands []printedOperand
}

// printedOperand is what is between two logical operators, after op, which is empty for the first.
type printedOperand struct {
	op     string
	pieces []piece
}

// group reads pieces up to a closing bracket or the end.
func (f *formatter) group(end string) []piece {
	var out []piece
	operandNext := true // whether - and the like are unary, and not is none of "not in"
	for f.n < len(f.tokens) {
		t := &f.tokens[f.n]
		if t.kind != tokenPunct && (t.kind != tokenIdent || !reserved[t.text]) {
			f.n++
			out = append(out, piece{text: t.raw})
			operandNext = false
			continue
		}
		if t.text == end || t.text == "," {
			break
		}
		f.n++
		switch t.text {
		case "(", "[":
			out = append(out, f.brackets(t.text))
			operandNext = false
		default:
			p := f.operator(t, operandNext)
			out = append(out, p)
			operandNext = true
		}
	}
	return out
}

// closing are the brackets that have an end.
var closing = map[string]string{"(": ")", "[": "]"}

func (f *formatter) brackets(open string) piece {
	p := piece{open: open}
	for f.n < len(f.tokens) {
		p.members = append(p.members, f.chain(f.group(closing[open])))
		t := &f.tokens[f.n]
		f.n++
		if t.text == closing[open] {
			break
		}
	}
	return p
}

// canonical are the spellings of operators that have another.
var canonical = map[string]string{"and": "&&", "or": "||"}

// operator makes the piece of an operator that begins with t, which has been read.
func (f *formatter) operator(t *token, operandNext bool) piece {
	next := &token{}
	if f.n < len(f.tokens) {
		next = &f.tokens[f.n]
	}
	if operandNext { // unary
		op := t.text
		if op == "not" {
			op = "!"
		}
		// A sign right before digits would become part of the number.
		digits := next.raw != "" && isDigit(next.raw[0]) && op == "-"
		return piece{text: op, tight: !digits}
	}
	switch text := t.text; {
	case canonical[text] != "":
		return piece{text: canonical[text], logical: true}
	case text == "not":
		f.n++
		return piece{text: "not in"}
	case next.kind == tokenPunct && isPair(text+next.text):
		f.n++
		return piece{text: text + next.text, logical: text == "&" || text == "|"}
	default:
		return piece{text: text}
	}
}

// isPair reports whether two characters make one operator.
func isPair(op string) bool {
	return op == "&&" || op == "||" || slices.Contains(scalarPairs, op)
}

// chain splits pieces at the logical operators.
func (f *formatter) chain(pieces []piece) printedChain {
	c := printedChain{operands: []printedOperand{{}}}
	for _, p := range pieces {
		if p.logical {
			c.operands = append(c.operands, printedOperand{op: p.text})
			continue
		}
		last := &c.operands[len(c.operands)-1]
		last.pieces = append(last.pieces, p)
	}
	return c
}

// appendFlat appends the text on one line.
func (c *printedChain) appendFlat(b []byte) []byte {
	for i := range c.operands {
		o := &c.operands[i]
		if i > 0 {
			b = append(b, ' ')
		}
		b = o.appendFlat(b)
	}
	return b
}

func (o *printedOperand) appendFlat(b []byte) []byte {
	if o.op != "" {
		b = append(append(b, o.op...), ' ')
	}
	for i := range o.pieces {
		if i > 0 && !o.pieces[i-1].tight {
			b = append(b, ' ')
		}
		b = o.pieces[i].appendFlat(b)
	}
	return b
}

func (p *piece) appendFlat(b []byte) []byte {
	if p.open == "" {
		return append(b, p.text...)
	}
	b = append(b, p.open...)
	for i := range p.members {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = p.members[i].appendFlat(b)
	}
	return append(b, closing[p.open]...)
}

// broken returns the lines of the chain: one if it fits into width, else one for each operand, or more; those after the first
// are indented by hang. A line that cannot be broken may be longer.
func (c *printedChain) broken(width int, hang string) []string {
	if flat := string(c.appendFlat(nil)); columns(flat) <= width {
		return []string{flat}
	}
	var out []string
	for i := range c.operands {
		indent := hang
		if i == 0 {
			indent = ""
		}
		for _, line := range c.operands[i].broken(width - len(indent)) {
			out = append(out, indent+line)
		}
	}
	return out
}

func columns(s string) int { return utf8.RuneCountInString(s) }

// broken returns the lines of the operand: one if it fits, else the brackets that do not fit are opened up.
func (o *printedOperand) broken(width int) []string {
	if flat := string(o.appendFlat(nil)); columns(flat) <= width {
		return []string{flat}
	}
	lines := []string{""}
	if o.op != "" {
		lines[0] = o.op + " "
	}
	for i := range o.pieces {
		p := &o.pieces[i]
		last := &lines[len(lines)-1]
		if i > 0 && !o.pieces[i-1].tight {
			*last += " "
		}
		if flat := string(p.appendFlat(nil)); p.open == "" || columns(*last+flat)+o.tail(i+1) <= width {
			*last += flat
			continue
		}
		*last += p.open
		for _, line := range p.inner(width - len(formatIndent)) {
			lines = append(lines, formatIndent+line)
		}
		lines = append(lines, closing[p.open])
	}
	return lines
}

// tail is how many columns the pieces from i on take up to where the line may be broken again.
func (o *printedOperand) tail(i int) int {
	n := 0
	for ; i < len(o.pieces); i++ {
		if o.pieces[i].open != "" {
			return n + 1 + len(o.pieces[i].open)
		}
		n += 1 + columns(o.pieces[i].text)
	}
	return n
}

// inner returns the lines between broken brackets: an expression, or members with as many on a line as fit.
func (p *piece) inner(width int) []string {
	if p.open == "(" {
		return p.members[0].broken(width, "")
	}
	var out []string
	line := ""
	for i := range p.members {
		member := string(p.members[i].appendFlat(nil))
		if i < len(p.members)-1 {
			member += ","
		}
		switch {
		case line == "":
			line = member
		case columns(line)+1+columns(member) <= width:
			line += " " + member
		default:
			out = append(out, line)
			line = member
		}
	}
	return append(out, line)
}
