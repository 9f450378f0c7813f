// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

// parser is a recursive-descent parser with one method per rule of the grammar:
//
//	Expression = Comparison [ ("||"|"or"|"&&"|"and") Expression ]
//	Comparison = Arith [ ScalarOp Comparison | ("in"|"not" "in"|"allin") Array ]
//	           | ArrayLiteral ("in"|"not" "in"|"allin") Array
//	ScalarOp   = ">=" | ">" | "<=" | "<" | "!=" | "==" | "=~" | "!~"
//	Arith      = BitOp { ("+"|"-") BitOp }
//	BitOp      = Unary [ ("&"|"|"|"^") BitOp ]
//	Unary      = ("!"|"not"|"-"|"^") Unary | Primary
//	Primary    = Ident | CIDR | IP | Int | Variable | FieldRef | String | Pattern | Regexp | Duration | "(" Expression ")"
//	Array      = CIDR | Variable | FieldRef | Ident | ArrayLiteral
//	Macro      = Expression | Array
type parser struct {
	tokens []token
	n      int
	depth  int
}

// parseRule parses the expression of a rule.
func parseRule(src string) (node, *Error) {
	return parse(src, (*parser).expression)
}

// parseMacro parses the expression of a macro, which may also be an array.
func parseMacro(src string) (node, *Error) {
	return parse(src, func(p *parser) (node, *Error) {
		if !p.isPunct("[") {
			return p.expression()
		}
		start := p.n
		array, err := p.arrayLiteral()
		if err != nil || p.peek().kind == tokenEOF {
			return array, err
		}
		p.n = start
		return p.expression()
	})
}

func parse(src string, rule func(*parser) (node, *Error)) (node, *Error) {
	tokens, err := lex(src)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	if p.peek().kind == tokenEOF {
		return nil, parseError(p.peek().pos, "the expression is empty")
	}
	n, err := rule(p)
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != tokenEOF {
		return nil, p.unexpected("an operator or the end of the expression")
	}
	return n, nil
}

func (p *parser) peek() *token { return &p.tokens[p.n] }

// peek2 returns the token after the next; the last token is tokenEOF and never passed.
func (p *parser) peek2() *token { return &p.tokens[min(p.n+1, len(p.tokens)-1)] }

func (p *parser) next() *token {
	t := &p.tokens[p.n]
	if t.kind != tokenEOF {
		p.n++
	}
	return t
}

func (p *parser) isPunct(text string) bool {
	t := p.peek()
	return t.kind == tokenPunct && t.text == text
}

// isPair reports whether the next two tokens make the operator: they may stand apart.
func (p *parser) isPair(op string) bool {
	a, b := p.peek(), p.peek2()
	return a.kind == tokenPunct && a.text == op[:1] && b.kind == tokenPunct && b.text == op[1:]
}

func (p *parser) isWord(word string) bool {
	t := p.peek()
	return t.kind == tokenIdent && t.text == word
}

func (p *parser) unexpected(expected string) *Error {
	t := p.peek()
	e := parseError(t.pos, "%s, expected %s", t.describe(), expected)
	switch {
	case t.kind == tokenInt && (t.raw[0] == '-' || t.raw[0] == '+') && p.n > 0:
		e.Hint = "a sign right before digits belongs to the number: write " + t.raw[:1] + " " + t.raw[1:]
	case t.kind == tokenPunct && (t.text == "=" || t.text == "!") && p.peek2().kind == tokenPattern:
		e.Hint = `~"…" is a pattern: put a space between the operator and the string`
	case t.kind == tokenPunct && t.text == "=" && p.n > 0 && !p.isPair("=="):
		e.Hint = "== compares"
	case t.kind == tokenPunct && t.text == "'":
		e.Hint = `strings are written with double quotes`
	}
	return e
}

// enter counts a level of nesting; the caller leaves it by p.depth--.
func (p *parser) enter() *Error {
	p.depth++
	if p.depth > MaxDepth {
		return parseError(p.peek().pos, "the expression is nested more than %d levels deep", MaxDepth)
	}
	return nil
}

func (p *parser) expression() (node, *Error) {
	// Collected first, because chains may be longer than recursion should be deep. They group to the right.
	var operands []node
	var ops []*logicalNode
	for {
		operand, err := p.comparison()
		if err != nil {
			return nil, err
		}
		operands = append(operands, operand)
		at := p.peek().pos
		switch {
		case p.isPair("||"):
			p.n += 2
			ops = append(ops, &logicalNode{place: place{at}, or: true})
		case p.isPair("&&"):
			p.n += 2
			ops = append(ops, &logicalNode{place: place{at}})
		case p.isWord("or"):
			p.n++
			ops = append(ops, &logicalNode{place: place{at}, or: true})
		case p.isWord("and"):
			p.n++
			ops = append(ops, &logicalNode{place: place{at}})
		default:
			right := operands[len(operands)-1]
			for i := len(ops) - 1; i >= 0; i-- {
				ops[i].l, ops[i].r = operands[i], right
				right = ops[i]
			}
			return right, nil
		}
	}
}

var scalarPairs = []string{">=", "<=", "!=", "==", "=~", "!~"}

// scalarOp reads a scalar operator, if one is next.
func (p *parser) scalarOp() string {
	for _, op := range scalarPairs {
		if p.isPair(op) {
			p.n += 2
			return op
		}
	}
	for _, op := range []string{">", "<"} {
		if p.isPunct(op) {
			p.n++
			return op
		}
	}
	return ""
}

// memberOp reads in, not in or allin, if one is next.
func (p *parser) memberOp() string {
	switch {
	case p.isWord("in"), p.isWord("allin"):
		return p.next().text
	case p.isWord("not") && p.peek2().kind == tokenIdent && p.peek2().text == "in":
		p.n += 2
		return "not in"
	}
	return ""
}

func (p *parser) comparison() (node, *Error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	var l node
	var err *Error
	literal := p.isPunct("[")
	if literal {
		l, err = p.arrayLiteral()
	} else {
		l, err = p.arith()
	}
	if err != nil {
		return nil, err
	}
	at := p.peek().pos
	if op := p.memberOp(); op != "" {
		r, err := p.array()
		if err != nil {
			return nil, err
		}
		return &memberNode{place: place{at}, op: op, l: l, r: r}, nil
	}
	if literal {
		return nil, p.unexpected("in, not in or allin after an array")
	}
	if op := p.scalarOp(); op != "" {
		r, err := p.comparison()
		if err != nil {
			return nil, err
		}
		return &compareNode{place: place{at}, op: op, l: l, r: r}, nil
	}
	return l, nil
}

func (p *parser) arith() (node, *Error) {
	l, err := p.bitOp()
	if err != nil {
		return nil, err
	}
	for p.isPunct("+") || p.isPunct("-") {
		op := p.next()
		r, err := p.bitOp()
		if err != nil {
			return nil, err
		}
		l = &arithNode{place: place{op.pos}, op: op.text[0], l: l, r: r}
	}
	return l, nil
}

// isBitOp reports whether a bit operator is next; && and || are none.
func (p *parser) isBitOp() bool {
	return p.isPunct("^") || p.isPunct("&") && !p.isPair("&&") || p.isPunct("|") && !p.isPair("||")
}

func (p *parser) bitOp() (node, *Error) {
	var operands []node
	var ops []*arithNode
	for {
		operand, err := p.unary()
		if err != nil {
			return nil, err
		}
		operands = append(operands, operand)
		if !p.isBitOp() {
			break
		}
		op := p.next()
		ops = append(ops, &arithNode{place: place{op.pos}, op: op.text[0]})
	}
	right := operands[len(operands)-1]
	for i := len(ops) - 1; i >= 0; i-- {
		ops[i].l, ops[i].r = operands[i], right
		right = ops[i]
	}
	return right, nil
}

func (p *parser) unary() (node, *Error) {
	t := p.peek()
	var op byte
	switch {
	case p.isPunct("!"), p.isWord("not"):
		op = '!'
	case p.isPunct("-"):
		op = '-'
	case p.isPunct("^"):
		op = '^'
	default:
		return p.primary()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	p.n++
	x, err := p.unary()
	if err != nil {
		return nil, err
	}
	return &unaryNode{place: place{t.pos}, op: op, x: x}, nil
}

// reserved are the words that are operators wherever they stand.
var reserved = map[string]bool{"in": true, "not": true, "allin": true, "and": true, "or": true}

const anOperand = "a field, a value or ("

func (p *parser) primary() (node, *Error) {
	t := p.peek()
	if n := literalNode(t); n != nil {
		p.n++
		return n, nil
	}
	if !p.isPunct("(") {
		return nil, p.unexpected(anOperand)
	}
	p.n++
	n, err := p.expression()
	if err != nil {
		return nil, err
	}
	if !p.isPunct(")") {
		return nil, p.unexpected("an operator or )")
	}
	p.n++
	return n, nil
}

// literalNode makes the node of a token that is an operand by itself; nil if it is none.
func literalNode(t *token) node {
	at := place{t.pos}
	switch t.kind {
	case tokenIdent:
		if reserved[t.text] {
			return nil
		}
		return &identNode{at, t.text}
	case tokenInt:
		return &intNode{place: at, v: t.num}
	case tokenDuration:
		return &intNode{place: at, v: t.num, duration: true}
	case tokenString:
		return &stringNode{at, scalarString, t.text}
	case tokenPattern:
		return &stringNode{at, patternString, t.text}
	case tokenRegexp:
		return &stringNode{at, regexpString, t.text}
	case tokenIP:
		return &ipNode{place: at, prefix: t.ip}
	case tokenCIDR:
		return &ipNode{place: at, prefix: t.ip, cidr: true}
	case tokenVariable:
		return &variableNode{at, t.text}
	case tokenFieldRef:
		return &fieldRefNode{at, t.text}
	}
	return nil
}

// array reads the right side of in.
func (p *parser) array() (node, *Error) {
	t := p.peek()
	switch t.kind {
	case tokenCIDR, tokenVariable, tokenFieldRef, tokenIdent:
		if n := literalNode(t); n != nil {
			p.n++
			return n, nil
		}
	}
	if p.isPunct("[") {
		return p.arrayLiteral()
	}
	return nil, p.unexpected("an array: [, a macro, a field, a variable or a network")
}

// memberClass is what an array literal may hold beside a token: members of one class do not mix with another's.
func memberClass(k tokenKind) string {
	switch k {
	case tokenString, tokenPattern, tokenRegexp:
		return "string"
	case tokenIP, tokenCIDR:
		return "IP"
	case tokenInt:
		return "int"
	case tokenIdent:
		return "constant"
	}
	return ""
}

func (p *parser) arrayLiteral() (node, *Error) {
	array := &arrayNode{place: place{p.next().pos}}
	class := ""
	for {
		t := p.peek()
		c := memberClass(t.kind)
		n := literalNode(t)
		switch {
		case c == "" || n == nil:
			if class == "" {
				return nil, p.unexpected("a string, an integer, a constant, an IP address or a network")
			}
			return nil, p.unexpected("another " + class)
		case class == "":
			class = c
		case c != class:
			return nil, parseError(t.pos, "%s, the members of an array are of one kind and this one began with a %s", t.describe(), class)
		case len(array.members) >= MaxArrayMembers:
			return nil, parseError(t.pos, "the array has more than %d members", MaxArrayMembers)
		}
		p.n++
		array.members = append(array.members, n)
		switch {
		case p.isPunct(","):
			p.n++
		case p.isPunct("]"):
			p.n++
			return array, nil
		default:
			return nil, p.unexpected(", or ]")
		}
	}
}
