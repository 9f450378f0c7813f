// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of one policy file. The largest public policy has some 300 rules in 400 KiB.
const (
	maxFileSize = 4 << 20 // bytes
	// maxDepth bounds nesting, because the YAML parser recurses and a Go stack overflow cannot be recovered from.
	maxDepth = 64
	// maxNodes bounds what one file may make of its bytes.
	maxNodes = 500_000
	// maxMergedKeys bounds a mapping with a merge key, in which every key is compared with every other.
	maxMergedKeys = 200
)

// Position is a place in a file. Lines and columns count from 1, columns in characters; the zero Position is unknown.
type Position struct {
	Line, Column int
}

type nodeKind uint8

const (
	nodeNull nodeKind = iota
	nodeScalar
	nodeList
	nodeMap
)

var nodeKindNames = [...]string{nodeNull: "nothing", nodeScalar: "a value", nodeList: "a list", nodeMap: "a mapping"}

func (k nodeKind) String() string { return nodeKindNames[k] }

// node is a YAML value with its position. An alias is the very node of its anchor, so that nothing is ever expanded.
type node struct {
	kind  nodeKind
	pos   Position
	style token.Type // of scalars
	value string     // of scalars: the text, unquoted
	items []*node    // of lists
	pairs []pair     // of mappings, in the file's order; merge keys are resolved
}

type pair struct {
	key    *node
	value  *node
	merged bool // from a merge key: a pair of the same name in the mapping itself wins
}

// yamlError is a mistake in the YAML itself.
type yamlError struct {
	pos     Position
	message string
}

func (e *yamlError) Error() string {
	if e.pos.Line == 0 {
		return e.message
	}
	return fmt.Sprintf("%d:%d: %s", e.pos.Line, e.pos.Column, e.message)
}

// parseYAML parses the first and only document of src. It returns nil if the document is empty; errors are *yamlError.
func parseYAML(src []byte) (root *node, err error) {
	if len(src) > maxFileSize {
		return nil, &yamlError{message: fmt.Sprintf("the file has more than %d bytes", maxFileSize)}
	}
	src = bytes.TrimPrefix(src, []byte("\ufeff")) // a byte order mark, as some editors write it
	if pos, ok := firstBadByte(src); !ok {
		return nil, &yamlError{pos, "not a text file: there are bytes that are not UTF-8, or NUL"}
	}
	// The parser is third-party code and its input is a file that others may write. A panic in it is a bad file, and must
	// not take the collector down.
	defer func() {
		if p := recover(); p != nil {
			root, err = nil, &yamlError{message: fmt.Sprintf("not valid YAML: the parser failed: %v", p)}
		}
	}()
	tokens := lexer.Tokenize(string(src))
	if err := checkDepth(tokens); err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, syntaxError(err)
	}
	c := converter{anchors: map[string]*node{}}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			return nil, &yamlError{tokenPosition(doc.Body.GetToken()), "the file has more than one YAML document"}
		}
		if root, err = c.convert(doc.Body, 0); err != nil {
			return nil, err
		}
	}
	return root, nil
}

// firstBadByte finds the first byte that cannot be in YAML.
func firstBadByte(src []byte) (Position, bool) {
	if utf8.Valid(src) && bytes.IndexByte(src, 0) < 0 {
		return Position{}, true
	}
	pos := Position{Line: 1, Column: 1}
	for len(src) > 0 {
		r, n := utf8.DecodeRune(src)
		switch {
		case r == 0, r == utf8.RuneError && n == 1:
			return pos, false
		case r == '\n':
			pos = Position{Line: pos.Line + 1, Column: 1}
		default:
			pos.Column++
		}
		src = src[n:]
	}
	return pos, true
}

// checkDepth refuses what would make the parser recurse deeply: nested brackets, and entries or keys that begin on one line.
func checkDepth(tokens token.Tokens) error {
	flow, inLine, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, inLine = t.Position.Line, 0
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			inLine++
		default:
		}
		// Each level of block nesting on lines of its own costs a column at least.
		if flow > maxDepth || inLine > maxDepth || (flow == 0 && t.Type == token.MappingValueType && t.Position.IndentNum > 16*maxDepth) {
			return &yamlError{tokenPosition(t), fmt.Sprintf("nested more than %d deep", maxDepth)}
		}
	}
	return nil
}

func syntaxError(err error) *yamlError {
	var se *yaml.SyntaxError
	if errors.As(err, &se) {
		return &yamlError{tokenPosition(se.Token), "not valid YAML: " + se.Message}
	}
	msg, _, _ := strings.Cut(err.Error(), "\n")
	return &yamlError{message: "not valid YAML: " + msg}
}

func tokenPosition(t *token.Token) Position {
	if t == nil || t.Position == nil {
		return Position{}
	}
	return Position{Line: t.Position.Line, Column: max(t.Position.Column, 1)}
}

// converter turns the parser's tree into nodes.
type converter struct {
	anchors map[string]*node
	nodes   int
}

func (c *converter) convert(n ast.Node, depth int) (*node, error) {
	pos := Position{}
	if n != nil {
		pos = tokenPosition(n.GetToken())
	}
	if c.nodes++; c.nodes > maxNodes {
		return nil, &yamlError{pos, fmt.Sprintf("more than %d YAML values", maxNodes)}
	}
	if depth > maxDepth {
		return nil, &yamlError{pos, fmt.Sprintf("nested more than %d deep", maxDepth)}
	}
	switch v := n.(type) {
	case nil, *ast.NullNode:
		return &node{kind: nodeNull, pos: pos}, nil
	case *ast.StringNode:
		return &node{kind: nodeScalar, pos: pos, style: v.Token.Type, value: v.Value}, nil
	case *ast.LiteralNode:
		return &node{kind: nodeScalar, pos: pos, style: v.Start.Type, value: v.Value.Value}, nil
	case *ast.MappingNode:
		out := &node{kind: nodeMap, pos: pos}
		if len(v.Values) > 0 && !v.IsFlowStyle { // the parser has the position of the first colon
			out.pos = tokenPosition(v.Values[0].Key.GetToken())
		}
		for _, mv := range v.Values {
			if err := c.addPair(out, mv, depth); err != nil {
				return nil, err
			}
		}
		return out, nil
	case *ast.MappingValueNode:
		out := &node{kind: nodeMap, pos: tokenPosition(v.Key.GetToken())}
		return out, c.addPair(out, v, depth)
	case *ast.SequenceNode:
		out := &node{kind: nodeList, pos: pos, items: make([]*node, 0, len(v.Values))}
		for _, item := range v.Values {
			in, err := c.convert(item, depth+1)
			if err != nil {
				return nil, err
			}
			out.items = append(out.items, in)
		}
		return out, nil
	case *ast.AnchorNode:
		out, err := c.convert(v.Value, depth)
		if err == nil && v.Name != nil {
			c.anchors[v.Name.GetToken().Value] = out
		}
		return out, err
	case *ast.AliasNode:
		name := ""
		if v.Value != nil {
			name = v.Value.GetToken().Value
		}
		// An anchor is known only after its value is complete, so that a tree cannot contain itself.
		out, ok := c.anchors[name]
		if !ok {
			return nil, &yamlError{pos, fmt.Sprintf("alias %q has no anchor before it", name)}
		}
		return out, nil
	case *ast.TagNode:
		return c.convert(v.Value, depth+1)
	case ast.ScalarNode: // numbers, booleans: their text is what policies mean (version: 1.10)
		t := v.GetToken()
		return &node{kind: nodeScalar, pos: pos, style: t.Type, value: t.Value}, nil
	}
	return nil, &yamlError{pos, fmt.Sprintf("unexpected %s", strings.ToLower(n.Type().String()))}
}

func (c *converter) addPair(out *node, mv *ast.MappingValueNode, depth int) error {
	value, err := c.convert(mv.Value, depth+1)
	if err != nil {
		return err
	}
	if _, ok := mv.Key.(*ast.MergeKeyNode); ok {
		return c.merge(out, value)
	}
	key, err := c.convert(keyNode(mv.Key), depth+1)
	if err != nil {
		return err
	}
	if key.kind != nodeScalar {
		return &yamlError{key.pos, "a key must be a plain value"}
	}
	out.pairs = append(out.pairs, pair{key: key, value: value})
	return nil
}

func keyNode(k ast.MapKeyNode) ast.Node {
	if mk, ok := k.(*ast.MappingKeyNode); ok {
		return mk.Value
	}
	return k
}

// merge puts the pairs of a merge key's value ("<<: *anchor", or a list of such) in front of those of out. Of the merged
// ones, the first of a name is taken.
func (c *converter) merge(out, value *node) error {
	sources := []*node{value}
	if value.kind == nodeList {
		sources = value.items
	}
	var merged []pair
	for _, s := range sources {
		if s.kind != nodeMap {
			return &yamlError{s.pos, "a merge key (<<) needs a mapping, it has " + s.kind.String()}
		}
		if len(merged)+len(s.pairs) > maxMergedKeys {
			return &yamlError{s.pos, fmt.Sprintf("merge keys (<<) of more than %d keys", maxMergedKeys)}
		}
		for _, p := range s.pairs {
			if !hasKey(merged, p.key.value) {
				p.merged = true
				merged = append(merged, p)
			}
		}
	}
	out.pairs = append(merged, out.pairs...)
	return nil
}

func hasKey(pairs []pair, name string) bool {
	for i := range pairs {
		if pairs[i].key.value == name {
			return true
		}
	}
	return false
}

// equal says whether two nodes are the same but for their positions. Aliases make the tree a graph, and so what is compared
// is bounded by budget.
func (n *node) equal(o *node) bool {
	budget := 10_000
	return n.equalWithin(o, &budget)
}

func (n *node) equalWithin(o *node, budget *int) bool {
	if n == o {
		return true
	}
	if *budget--; *budget < 0 {
		return false
	}
	if n.kind != o.kind || n.value != o.value || len(n.items) != len(o.items) || len(n.pairs) != len(o.pairs) {
		return false
	}
	for i := range n.items {
		if !n.items[i].equalWithin(o.items[i], budget) {
			return false
		}
	}
	for i := range n.pairs {
		if n.pairs[i].key.value != o.pairs[i].key.value || !n.pairs[i].value.equalWithin(o.pairs[i].value, budget) {
			return false
		}
	}
	return true
}
