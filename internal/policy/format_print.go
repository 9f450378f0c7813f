// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"github.com/picketsec/picket/internal/secl"
)

// indentation is that of each level.
const indentation = "  "

// noWidth is for text that is not to be broken.
const noWidth = 1 << 30

// printer makes lines of a layout. The lines of a value are relative to the indentation of its collection.
type printer struct {
	err   *secl.Error // the first expression that does not parse
	errAt *layoutNode
}

// located is the error with its place in the file.
func (p *printer) located(src []byte) error {
	n := &node{pos: p.errAt.start, style: p.errAt.style, value: p.errAt.value}
	message, line, column := describe(p.err)
	pos := n.pos
	if line > 0 {
		pos = locate(src, n, byteOffset([]byte(n.value), Position{line, column}))
	}
	return &FormatError{Position: pos, Message: message}
}

func (p *printer) document(l *layout) []string {
	p.prepare(l.root, roleRoot)
	out := slices.Clone(l.prefix)
	switch {
	case l.root.isBlock():
		if l.root.props != "" {
			out = append(out, l.root.props)
		}
		out = append(out, p.collection(l.root, roleRoot, 0)...)
	default:
		out = append(out, p.inline("", l.root, roleRoot, 0)...)
		out = appendComments(out, l.root.foot)
	}
	return append(out, l.suffix...)
}

// isBlock says whether a value is printed as a block of entries.
func (n *layoutNode) isBlock() bool { return n.kind != layoutScalar && !n.flow }

// prepare puts the keys of rules and macros in order, and decides which collections in brackets become blocks.
func (p *printer) prepare(n *layoutNode, r role) {
	if n.kind == layoutScalar || n.verbatim != nil {
		return
	}
	if (r == roleRoot || r == roleRules || r == roleMacros) && len(n.entries) > 0 {
		n.flow = false
	}
	// Moved, an alias might come before its anchor.
	if keyOrder[r] != nil && (!n.hasAnchor || !n.hasAlias) {
		slices.SortStableFunc(n.entries, func(a, b *layoutEntry) int { return rank(r, a.key) - rank(r, b.key) })
	}
	for _, e := range n.entries {
		er := entryRole(r, e)
		if p.isLongDefinition(e, er) {
			e.value.flow = false
		}
		p.prepare(e.value, er)
		if n.kind == layoutList && e.beside == "" && e.value.isBlock() && e.value.props == "" {
			// The first entry is on the line of the -, and what is above it moves above that.
			first := e.value.entries[0]
			e.above = append(e.above, first.above...)
			first.above = nil
		}
	}
}

func entryRole(r role, e *layoutEntry) role {
	if e.key == "" {
		return roleOfItem[r]
	}
	return roleOfKey[r][e.key]
}

// isLongDefinition says whether a rule or macro in braces does not fit on its line.
func (p *printer) isLongDefinition(e *layoutEntry, r role) bool {
	if keyOrder[r] == nil || e.value.kind != layoutMap || !e.value.flow || e.value.verbatim != nil || len(e.value.entries) == 0 {
		return false
	}
	const lead = len(indentation + "- ") // in a list below a key
	return lead+len(e.value.props)+1+columns(p.flat(e.value, r)) > formatWidth
}

// collection prints the entries of a block; abs is how far it is indented in the file.
func (p *printer) collection(n *layoutNode, r role, abs int) []string {
	var out []string
	var before []string // the lines of the entry before
	for i, e := range n.entries {
		lines := p.entry(e, r, abs)
		blanks := keyOrder[r] == nil // kept where they are, but for those in rules and macros
		gap := blanks && e.blankLine
		if len(e.above) > 0 {
			gap = blanks && e.above[0].blankLine
		}
		if i > 0 && (gap || p.mustGap(n.entries[i-1], e, before, lines, r)) {
			out = append(out, "")
		}
		for j, c := range e.above {
			if blanks && j > 0 && c.blankLine {
				out = append(out, "")
			}
			out = append(out, c.text)
		}
		if len(e.above) > 0 && blanks && e.blankLine {
			out = append(out, "")
		}
		out = append(out, lines...)
		before = lines
	}
	return appendComments(out, n.foot)
}

func appendComments(lines []string, comments []layoutComment) []string {
	for _, c := range comments {
		if c.blankLine && len(lines) > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, c.text)
	}
	return lines
}

// mustGap says whether an empty line goes between two entries: between rules and between macros, unless both are on one line
// each, and around their lists.
func (p *printer) mustGap(a, b *layoutEntry, aLines, bLines []string, r role) bool {
	switch r {
	case roleRules, roleMacros:
		return len(aLines) > 1 || len(bLines) > 1
	case roleRoot:
		return a.isDefinitions() || b.isDefinitions()
	default:
		return false
	}
}

func (e *layoutEntry) isDefinitions() bool {
	r := roleOfKey[roleRoot][e.key]
	return (r == roleRules || r == roleMacros) && e.value.isBlock()
}

// entry prints a pair or an item.
func (p *printer) entry(e *layoutEntry, r role, abs int) []string {
	lead := "-"
	if e.in.kind == layoutMap {
		lead = e.key + ":"
	}
	v, vr := e.value, entryRole(r, e)
	if !v.isBlock() {
		lines := p.inline(lead, v, vr, abs)
		if e.beside != "" {
			at := len(lines) - 1
			if isBlockScalar(lines[0]) { // of its lines only the first can have a comment
				at = 0
			}
			lines[at] += "  " + e.beside
		}
		return lines
	}
	inner := p.collection(v, vr, abs+len(indentation))
	var out []string
	if e.in.kind == layoutList && v.props == "" && e.beside == "" {
		inner[0] = lead + " " + inner[0]
		out, inner = append(out, inner[0]), inner[1:]
	} else {
		if v.props != "" {
			lead += " " + v.props
		}
		if e.beside != "" {
			lead += "  " + e.beside
		}
		out = append(out, lead)
	}
	return append(out, indent(inner)...)
}

func indent(lines []string) []string {
	for i, line := range lines {
		if line != "" {
			lines[i] = indentation + line
		}
	}
	return lines
}

// isBlockScalar says whether a line ends in the indicator of a block scalar. The first of several lines of other texts does not:
// wrap sees to that.
func isBlockScalar(line string) bool {
	for _, s := range []string{"|", "|-", ">", ">-"} {
		if line == s || strings.HasSuffix(line, " "+s) {
			return true
		}
	}
	return false
}

// inline prints a value that begins on the line of its key.
func (p *printer) inline(lead string, n *layoutNode, r role, abs int) []string {
	if n.props != "" {
		lead = joinWords(lead, n.props)
	}
	if n.verbatim != nil {
		return append([]string{joinWords(lead, n.verbatim[0])}, n.verbatim[1:]...)
	}
	if n.kind != layoutScalar {
		start := columns(lead)
		if start > 0 {
			start++
		}
		lines := p.flow(n, r, start, formatWidth-abs)
		lines[0] = joinWords(lead, lines[0])
		return lines
	}
	if r == roleExpression && n.isText() && !n.anchored {
		if lines := p.expression(lead, n, abs); lines != nil {
			return lines
		}
	}
	return n.scalar(lead, abs)
}

func joinWords(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + " " + b
}

func columns(s string) int { return utf8.RuneCountInString(s) }

func (n *layoutNode) isText() bool { return plainType(n.style) == token.StringType }

// formatted is the text of an expression; the text as it is if it is empty, too long or does not parse.
func (p *printer) formatted(n *layoutNode, width int) string {
	if strings.TrimSpace(n.value) == "" {
		return n.value
	}
	out, err := secl.Format(n.value, width)
	if err != nil {
		if e, ok := secl.AsError(err); ok && p.err == nil {
			p.err, p.errAt = e, n
		}
		return n.value
	}
	if out = strings.TrimSpace(out); len(out) > maxExpression { // the printed form is longer than what is read
		return n.value
	}
	return out
}

// expression prints an expression: on one line if it fits, else as a literal block. nil if that cannot have it.
func (p *printer) expression(lead string, n *layoutNode, abs int) []string {
	flat := p.formatted(n, noWidth)
	if !strings.Contains(flat, "\n") {
		if line := joinWords(lead, encode(flat, token.SingleQuoteType, false)); abs+columns(line) <= formatWidth || flat == "" {
			return []string{line}
		}
	}
	text := p.formatted(n, formatWidth-abs-len(indentation))
	if !fitsLiteral(text) {
		return nil
	}
	return literal(lead, text)
}

// literal prints text, of which fitsLiteral is true, as a literal block.
func literal(lead, text string) []string {
	header := "|-"
	if body, ok := strings.CutSuffix(text, "\n"); ok {
		header, text = "|", body
	}
	return append([]string{joinWords(lead, header)}, indent(strings.Split(text, "\n"))...)
}

// fitsLiteral says whether a literal block can have text as it is, without an indication of its indentation.
func fitsLiteral(text string) bool {
	body := strings.TrimSuffix(text, "\n")
	if body == "" || strings.ContainsAny(body[:1], " \t\n") {
		return false
	}
	last := body[strings.LastIndexByte(body, '\n')+1:]
	return strings.TrimSpace(last) != "" && printable(strings.NewReplacer("\n", "", "\t", "").Replace(body))
}

func printable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}

// scalar prints a text that is no expression, or a value of another type.
func (n *layoutNode) scalar(lead string, abs int) []string {
	text := n.inFlow(false)
	switch {
	case !n.isText() || !n.multi:
		return []string{joinWords(lead, text)}
	case n.style == token.FoldedType && (n.head == ">" || n.head == ">-"):
		if lines := n.folded(lead); lines != nil {
			return lines
		}
	case strings.Contains(n.value, "\n") && fitsLiteral(n.value):
		return literal(lead, n.value)
	}
	if strings.Contains(n.value, "\n") {
		return []string{joinWords(lead, text)}
	}
	return wrap(lead, text, formatWidth-abs)
}

// folded prints a folded block with the lines that it has.
func (n *layoutNode) folded(lead string) []string {
	body := strings.TrimSuffix(n.value, "\n")
	lines := trimEnd(n.lines)
	if strings.TrimSpace(body) == "" || strings.HasSuffix(body, "\n") || len(lines) == 0 {
		return nil
	}
	header := ">"
	if body == n.value {
		header = ">-"
	}
	return append([]string{joinWords(lead, header)}, indent(lines)...)
}

func trimEnd(lines []string) []string {
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	return slices.Clone(lines)
}

// wrap breaks a text that is on several lines in the source. YAML makes one space of a line break.
func wrap(lead, text string, width int) []string {
	line := lead
	var out []string
	for i, word := range strings.Split(text, " ") {
		begins := word != "" && isWordByte(word[0]) && i > 0 && !strings.HasSuffix(line, " ") && !isBlockScalar(line)
		if begins && len(line) > len(lead) && columns(line)+1+columns(word) > width {
			out = append(out, line)
			line = indentation + word
			continue
		}
		if i > 0 || line != "" {
			line += " "
		}
		line += word
	}
	return append(out, line)
}

func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// inFlow is the value on one line, as it may stand between brackets or not.
func (n *layoutNode) inFlow(flow bool) string {
	switch {
	case n.style == token.ImplicitNullType && flow:
		return "null"
	case n.style == token.ImplicitNullType:
		return ""
	case !n.isText():
		return n.value
	case n.style == token.StringType && !n.multi:
		return n.value // as written
	default:
		return encode(n.value, n.style, flow)
	}
}

// flat prints a value in brackets on one line.
func (p *printer) flat(n *layoutNode, r role) string {
	if n.kind == layoutScalar {
		text := n.inFlow(true)
		if r == roleExpression && n.isText() && !n.anchored {
			if s := p.formatted(n, noWidth); s != n.value || n.style != token.StringType {
				text = encode(s, token.SingleQuoteType, true)
			}
		}
		return joinWords(n.props, text)
	}
	var b strings.Builder
	if n.props != "" {
		b.WriteString(n.props + " ")
	}
	open, end := n.brackets()
	b.WriteString(open)
	for i, e := range n.entries {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(joinWords(n.flowLead(e), p.flat(e.value, entryRole(r, e))))
	}
	b.WriteString(end)
	return b.String()
}

func (n *layoutNode) brackets() (open, end string) {
	if n.kind == layoutMap {
		return "{", "}"
	}
	return "[", "]"
}

func (n *layoutNode) flowLead(e *layoutEntry) string {
	if n.kind == layoutMap {
		return e.key + ":"
	}
	return ""
}

// flow prints a collection in brackets from a column on: as many members on a line as fit, aligned behind the bracket.
func (p *printer) flow(n *layoutNode, r role, column, width int) []string {
	line := p.flat(n, r)
	if n.props != "" { // printed by inline, or below
		line = strings.TrimPrefix(line, n.props+" ")
	}
	if column+columns(line) <= width || n.kind == layoutScalar {
		return []string{line}
	}
	open, end := n.brackets()
	pad := strings.Repeat(" ", column+len(open))
	var out []string
	line = open
	for i, e := range n.entries {
		lead := joinWords(n.flowLead(e), e.value.props)
		at := len(pad) + columns(lead)
		if lead != "" {
			at++
		}
		var lines []string
		if e.value.kind == layoutScalar {
			lines = []string{joinWords(n.flowLead(e), p.flat(e.value, entryRole(r, e)))}
		} else {
			lines = p.flow(e.value, entryRole(r, e), at, width)
			lines[0] = joinWords(lead, lines[0])
		}
		if i < len(n.entries)-1 {
			lines[len(lines)-1] += ","
		}
		used := columns(line)
		if i > 0 && len(out) == 0 {
			used += column // the first line has the bracket, the others are padded
		}
		switch {
		case i == 0:
			line += lines[0]
		case len(lines) == 1 && used+1+columns(lines[0]) <= width:
			line += " " + lines[0]
			continue
		default:
			out = append(out, line)
			line = pad + lines[0]
		}
		if len(lines) > 1 {
			out = append(out, line)
			out = append(out, lines[1:len(lines)-1]...)
			line = lines[len(lines)-1]
		}
	}
	return append(out, line+end)
}

// encode writes a text on one line: plain if it stays a text so, else in the quotes that it had if they are as good as others.
func encode(text string, style token.Type, flow bool) string {
	if isPlain(text, flow) {
		return text
	}
	hasSingle, hasDouble := strings.Contains(text, "'"), strings.ContainsAny(text, `"\`)
	switch {
	case !printable(text):
		return escaped(text)
	case style == token.DoubleQuoteType && hasDouble && !hasSingle:
		style = token.SingleQuoteType
	case style != token.DoubleQuoteType && hasSingle && !hasDouble:
		style = token.DoubleQuoteType
	}
	if style == token.DoubleQuoteType {
		return escaped(text)
	}
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}

// escapes are the characters that have an escape sequence of their own.
var escapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\t': `\t`, '\r': `\r`}

// escaped writes a text in double quotes.
func escaped(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch e, ok := escapes[r]; {
		case ok:
			b.WriteString(e)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// typed are the words that some YAML library takes for something other than a text.
var typed = map[string]bool{
	"null": true, "true": true, "false": true, "yes": true, "no": true, "on": true, "off": true, "y": true, "n": true,
	"inf": true, "nan": true,
}

// isPlain says whether a text may be written without quotes. It says no if in doubt.
func isPlain(text string, flow bool) bool {
	if text == "" || !printable(text) || strings.TrimSpace(text) != text || typed[strings.ToLower(strings.TrimLeft(text, "."))] {
		return false
	}
	first, _ := utf8.DecodeRuneInString(text)
	switch {
	case unicode.IsLetter(first), strings.ContainsRune("_/($^", first):
	case first == '.', first >= '0' && first <= '9':
		if strings.Trim(text, "0123456789abcdefABCDEFxXoOtTzZ_.:+- ") == "" { // perhaps a number or a time
			return false
		}
	default:
		return false
	}
	if strings.Contains(text, ": ") || strings.Contains(text, " #") || strings.HasSuffix(text, ":") ||
		flow && strings.ContainsAny(text, ",[]{}") {
		return false
	}
	tokens := lexer.Tokenize(text)
	return len(tokens) == 1 && tokens[0].Type == token.StringType && tokens[0].Value == text
}
