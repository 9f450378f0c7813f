// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// layout is a policy file as it is to be printed: a tree of values with the comments where they belong.
type layout struct {
	lines  []string // of the source
	prefix []string // lines up to the one with ---
	suffix []string // lines from the one with ...
	root   *layoutNode

	flows   []*layoutNode  // the outermost flow collections
	entries []*layoutEntry // of block collections, in the order of the file
}

type layoutKind uint8

const (
	layoutScalar layoutKind = iota // or an alias
	layoutMap
	layoutList
)

// layoutNode is a value.
type layoutNode struct {
	kind     layoutKind
	props    string   // anchor and tag, as written
	anchored bool     // the text of a scalar may be used elsewhere
	flow     bool     // written in brackets
	verbatim []string // of a flow collection with comments: its lines
	start    Position // where the value begins
	end      Position // of flow collections: where the last bracket is
	entries  []*layoutEntry
	foot     []layoutComment
	parent   *layoutEntry // nil for the root
	column   int          // of block collections: where entries begin

	style token.Type // of scalars
	value string
	multi bool   // the source has the text on several lines
	head  string // of block scalars: the line of | or > from there on
	lines []string

	hasAnchor, hasAlias bool // something in it
}

// layoutEntry is a pair of a mapping or an item of a list.
type layoutEntry struct {
	pos       Position
	key       string // as printed; empty for items
	value     *layoutNode
	in        *layoutNode
	above     []layoutComment
	beside    string
	blankLine bool // before the entry itself
}

type layoutComment struct {
	text      string
	blankLine bool // before it
}

// newLayout reads a file, of which parseYAML has said that it is well.
func newLayout(src []byte) (*layout, error) {
	l := &layout{lines: strings.Split(string(src), "\n")}
	tokens := lexer.Tokenize(string(src))
	first, last, err := l.frame(tokens)
	if err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, syntaxError(err)
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if l.root, err = l.node(doc.Body, nil, false); err != nil {
			return nil, err
		}
	}
	if l.root == nil {
		return nil, errors.New("the file is empty")
	}
	return l, l.comments(tokens, first, last)
}

// frame cuts off what is before and after the document, and returns the lines of the document.
func (l *layout) frame(tokens token.Tokens) (first, last int, err error) {
	first, last = 1, len(l.lines)
	started, ended := false, false
	for i, t := range tokens {
		line := t.Position.Line
		switch t.Type {
		case token.DocumentHeaderType:
			if started || ended {
				return 0, 0, &yamlError{tokenPosition(t), "a file with more than one document cannot be formatted"}
			}
			if i+1 < len(tokens) && tokens[i+1].Position.Line == line && tokens[i+1].Type != token.CommentType {
				return 0, 0, &yamlError{tokenPosition(t), "a file with something else on the line of --- cannot be formatted"}
			}
			started = true
			l.prefix = trimLines(l.lines[:line])
			first = line + 1
		case token.DocumentEndType:
			if ended {
				return 0, 0, &yamlError{tokenPosition(t), "a file with more than one document cannot be formatted"}
			}
			ended = true
			l.suffix = trimLines(l.lines[line-1:])
			last = line - 1
		default:
		}
	}
	return first, last, nil
}

// trimLines takes white space from the ends of lines, and empty lines from the ends.
func trimLines(lines []string) []string {
	out := make([]string, 0, len(lines))
	for _, line := range lines {
		line = strings.TrimRight(line, " \t")
		if line != "" || len(out) > 0 {
			out = append(out, line)
		}
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

func (l *layout) blank(line int) bool {
	return line >= 1 && line <= len(l.lines) && strings.TrimSpace(l.lines[line-1]) == ""
}

// node makes the node of a value.
func (l *layout) node(n ast.Node, parent *layoutEntry, inFlow bool) (*layoutNode, error) {
	out := &layoutNode{parent: parent}
	for {
		if n != nil && out.start.Line == 0 {
			out.start = tokenPosition(n.GetToken())
		}
		switch v := n.(type) {
		case *ast.AnchorNode:
			out.props += "&" + v.Name.GetToken().Value + " "
			out.anchored = true
			n = v.Value
			continue
		case *ast.TagNode:
			out.props += v.Start.Value + " "
			n = v.Value
			continue
		}
		break
	}
	out.props = strings.TrimSuffix(out.props, " ")
	var err error
	switch v := n.(type) {
	case *ast.MappingNode:
		err = l.mapping(out, v.Values, inFlow || v.IsFlowStyle, v.Start, v.End, inFlow)
	case *ast.MappingValueNode:
		err = l.mapping(out, []*ast.MappingValueNode{v}, inFlow, nil, nil, inFlow)
	case *ast.SequenceNode:
		err = l.sequence(out, v, inFlow)
	case *ast.AliasNode:
		out.style, out.value, out.hasAlias = token.AliasType, "*"+v.Value.GetToken().Value, true
	case *ast.LiteralNode:
		out.style, out.value, out.multi = v.Start.Type, v.Value.Value, true
		l.blockScalar(out, v.Start.Position)
	case *ast.StringNode:
		out.style, out.value = v.Token.Type, v.Value
		out.multi = strings.Contains(strings.TrimSpace(v.Token.Origin), "\n")
	case nil:
		out.style = token.ImplicitNullType
	case ast.ScalarNode:
		t := v.GetToken()
		out.style, out.value = t.Type, t.Value
	default:
		err = fmt.Errorf("a %s cannot be formatted", strings.ToLower(n.Type().String()))
	}
	return out, err
}

// blockScalar notes how a block scalar is written.
func (l *layout) blockScalar(n *layoutNode, pos *token.Position) {
	line := []rune(l.lines[pos.Line-1])
	n.head = strings.TrimSpace(string(line[min(pos.Column-1, len(line)):]))
	n.head, _, _ = strings.Cut(n.head, " ")
	n.lines = dedent(l.lines[pos.Line:])
}

// dedent returns the first lines that are indented like the first that is not blank, without that indentation.
func dedent(lines []string) []string {
	var out []string
	indent := -1
	for _, line := range lines {
		text := strings.TrimLeft(line, " ")
		switch {
		case text == "" && indent < 0:
			out = append(out, "")
			continue
		case indent < 0:
			indent = len(line) - len(text)
		case len(line)-len(text) < indent && text != "":
			return out
		}
		out = append(out, line[min(indent, len(line)):])
	}
	return out
}

func (l *layout) add(out *layoutNode, e *layoutEntry, value ast.Node) error {
	e.in = out
	out.entries = append(out.entries, e)
	if !out.flow {
		l.entries = append(l.entries, e)
		e.blankLine = l.blank(e.pos.Line - 1)
	}
	v, err := l.node(value, e, out.flow)
	if err != nil {
		return err
	}
	e.value = v
	out.hasAnchor = out.hasAnchor || v.hasAnchor || v.anchored
	out.hasAlias = out.hasAlias || v.hasAlias
	return nil
}

func (l *layout) mapping(out *layoutNode, values []*ast.MappingValueNode, flow bool, start, end *token.Token, inFlow bool) error {
	out.kind, out.flow = layoutMap, flow
	if flow && !inFlow {
		if err := l.addFlow(out, start, end); err != nil {
			return err
		}
	}
	for i, mv := range values {
		key, err := layoutKey(mv.Key)
		if err != nil {
			return err
		}
		pos := tokenPosition(mv.Key.GetToken())
		if i == 0 {
			out.column = pos.Column
		}
		if err := l.add(out, &layoutEntry{pos: pos, key: key}, mv.Value); err != nil {
			return err
		}
	}
	return nil
}

func (l *layout) sequence(out *layoutNode, v *ast.SequenceNode, inFlow bool) error {
	out.kind, out.flow = layoutList, inFlow || v.IsFlowStyle
	if v.IsFlowStyle && !inFlow {
		if err := l.addFlow(out, v.Start, v.End); err != nil {
			return err
		}
	}
	if !out.flow && len(v.Entries) != len(v.Values) {
		return errors.New("a list cannot be formatted")
	}
	for i, item := range v.Values {
		e := &layoutEntry{}
		if !out.flow {
			e.pos = tokenPosition(v.Entries[i].Start)
			out.column = e.pos.Column
		}
		if err := l.add(out, e, item); err != nil {
			return err
		}
	}
	return nil
}

func (l *layout) addFlow(out *layoutNode, start, end *token.Token) error {
	if start == nil || end == nil {
		return errors.New("a list or mapping has no end")
	}
	out.start, out.end = tokenPosition(start), tokenPosition(end)
	l.flows = append(l.flows, out)
	return nil
}

// layoutKey is the text of a key.
func layoutKey(k ast.MapKeyNode) (string, error) {
	var n ast.Node = k
	if mk, ok := k.(*ast.MappingKeyNode); ok {
		n = mk.Value
	}
	switch v := n.(type) {
	case *ast.MergeKeyNode:
		return mergeKey, nil
	case *ast.StringNode:
		if v.Token.Type == token.StringType && !strings.Contains(strings.TrimSpace(v.Token.Origin), "\n") {
			return v.Value, nil
		}
		return encode(v.Value, v.Token.Type, true), nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return v.GetToken().Value, nil
	}
	return "", &yamlError{tokenPosition(k.GetToken()), "a key of this kind cannot be formatted"}
}

// comments gives each comment between two lines its place.
func (l *layout) comments(tokens token.Tokens, first, last int) error {
	n := 0 // how many entries begin before the comment
	f := 0 // flow collections that end before it
	for _, t := range tokens {
		if t.Type != token.CommentType || t.Position.Line < first || t.Position.Line > last {
			continue
		}
		// It ends the line. The column that the lexer gives is one too many after | and >.
		pos := tokenPosition(t)
		text := strings.TrimRight("#"+t.Value, " \t")
		ahead, ok := strings.CutSuffix(strings.TrimRight(l.lines[pos.Line-1], " \t"), text)
		if !ok {
			return &yamlError{pos, "the place of a comment is not known"}
		}
		pos.Column = columns(ahead) + 1
		for n < len(l.entries) && l.entries[n].pos.Line <= pos.Line {
			n++
		}
		for f < len(l.flows) && before(l.flows[f].end, pos) {
			f++
		}
		if f < len(l.flows) && before(l.flows[f].start, pos) {
			if err := l.keepVerbatim(l.flows[f]); err != nil {
				return err
			}
			continue
		}
		if strings.TrimSpace(ahead) != "" {
			l.beside(n, text)
			continue
		}
		l.between(n, pos, layoutComment{text: text, blankLine: l.blank(pos.Line - 1)})
	}
	return nil
}

func before(a, b Position) bool { return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column }

// beside puts a comment at the end of a line to the last entry that begins before it, the n-th.
func (l *layout) beside(n int, text string) {
	switch {
	case n == 0:
		l.between(n, Position{}, layoutComment{text: text})
	case l.entries[n-1].beside == "":
		l.entries[n-1].beside = text
	default:
		l.entries[n-1].above = append(l.entries[n-1].above, layoutComment{text: text})
	}
}

// between puts a comment on a line of its own above the next entry, or, by its indentation, at the end of a collection that
// ends here. n entries begin before it.
func (l *layout) between(n int, pos Position, c layoutComment) {
	var next *layoutEntry
	if n < len(l.entries) {
		next = l.entries[n]
	}
	if n > 0 {
		last := l.entries[n-1]
		if v := last.value; (v.kind == layoutScalar || v.flow) && before(pos, v.start) {
			last.above = append(last.above, c) // between a key and its value
			return
		}
		if next == nil || pos.Column > next.in.column {
			if ending := endingAt(last, pos.Column); next == nil || !ending.contains(next) {
				ending.foot = append(ending.foot, c)
				return
			}
		}
	}
	if next == nil {
		l.root.foot = append(l.root.foot, c)
		return
	}
	next.above = append(next.above, c)
}

// endingAt is the innermost collection around an entry that is not indented more than column; of those that are indented
// alike the outermost.
func endingAt(e *layoutEntry, column int) *layoutNode {
	n := e.in
	for n.column > column && n.parent != nil {
		n = n.parent.in
	}
	for n.parent != nil && n.parent.in.column == n.column {
		n = n.parent.in
	}
	return n
}

// contains says whether an entry is in n or deeper.
func (n *layoutNode) contains(e *layoutEntry) bool {
	for e != nil {
		if e.in == n {
			return true
		}
		e = e.in.parent
	}
	return false
}

// keepVerbatim keeps the lines of a flow collection. The indentation of those after the first is made 2 relative to the entry.
func (l *layout) keepVerbatim(n *layoutNode) error {
	if n.verbatim != nil {
		return nil
	}
	lines := slices.Clone(l.lines[n.start.Line-1 : n.end.Line])
	last := []rune(lines[len(lines)-1])
	if n.end.Column > len(last) {
		return &yamlError{n.start, "the end of a list or mapping is not known"}
	}
	lines[len(lines)-1] = string(last[:n.end.Column])
	lines[0] = string([]rune(lines[0])[n.start.Column-1:])
	indent := -1
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " \t")
		if text := strings.TrimLeft(lines[i], " "); i > 0 && text != "" && (indent < 0 || len(lines[i])-len(text) < indent) {
			indent = len(lines[i]) - len(text)
		}
	}
	for i := 1; i < len(lines); i++ {
		if lines[i] != "" {
			lines[i] = indentation + lines[i][indent:]
		}
	}
	n.verbatim = lines
	return nil
}
