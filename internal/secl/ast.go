// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import "net/netip"

// node is one node of a parsed expression.
type node interface{ at() Pos }

// place is embedded in every node.
type place struct{ pos Pos }

func (p place) at() Pos { return p.pos }

type (
	// logicalNode is l && r or l || r.
	logicalNode struct {
		place
		or   bool
		l, r node
	}

	// compareNode is a scalar comparison; op is the operator without spaces, place is where it stands.
	compareNode struct {
		place
		op   string
		l, r node
	}

	// memberNode is l in r, l not in r or l allin r.
	memberNode struct {
		place
		op   string // "in", "not in", "allin"
		l, r node
	}

	// arithNode is l op r, with op one of + - & | ^.
	arithNode struct {
		place
		op   byte
		l, r node
	}

	// unaryNode is op x, with op one of ! - ^.
	unaryNode struct {
		place
		op byte
		x  node
	}

	// identNode is the name of a constant, a macro or a field.
	identNode struct {
		place
		name string
	}

	intNode struct {
		place
		v        int64
		duration bool // in nanoseconds
	}

	stringNode struct {
		place
		kind stringKind
		text string
	}

	// ipNode is an address, as the network of only that, or a network.
	ipNode struct {
		place
		prefix netip.Prefix
		cidr   bool
	}

	variableNode struct {
		place
		name string
	}

	fieldRefNode struct {
		place
		name string
	}

	// arrayNode is an array literal; its members are all stringNodes, ipNodes, intNodes or identNodes.
	arrayNode struct {
		place
		members []node
	}
)

// stringKind is how the text of a string literal compares.
type stringKind uint8

const (
	scalarString stringKind = iota
	patternString
	regexpString
)

func (k stringKind) String() string {
	return [...]string{"string", "pattern", "regexp"}[k]
}
