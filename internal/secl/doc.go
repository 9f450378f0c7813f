// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

// Package secl implements SECL, the expression language of the rules: lexer, parser, type checker and compiler.
//
// Compile turns an expression into a Program of closures over event.Event. Evaluation has no side effects and allocates
// nothing, so operands may run in any order and the lighter runs first.
//
// Two habits of the language surprise: && and || have the same precedence and group to the right, and a sign right before
// digits belongs to the number, so that a -1 is two operands without an operator.
package secl

// Limits. They bound what a policy file can make Picket do.
const (
	MaxExpressionBytes = 256 << 10 // one expression or macro
	MaxDepth           = 200       // nested parentheses, unary operators and chained comparisons
	MaxArrayMembers    = 10_000    // of one array literal
	MaxRegexpBytes     = 4 << 10   // one regular expression
	MaxNodes           = 200_000   // operands of one program, macros expanded
	MaxIterators       = 3         // iterator variables of one program; the elements are tried in all combinations
	MaxPathSegments    = 1363      // of a path value: what the agent's kernel side resolves
	MaxSegmentBytes    = 255
)
