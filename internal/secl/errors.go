// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Kinds of Error.
const (
	KindParse   = "parse"   // the text is no expression
	KindCompile = "compile" // the expression has no meaning: unknown name, types that do not fit
)

// Reasons of compile errors, for callers that treat some of them apart.
const (
	ReasonFieldNotFound   = "field_not_found"
	ReasonUnsupportedType = "event_type_unsupported" // a field of an event type that Picket does not produce yet
	ReasonMultipleEvents  = "multiple_events"
	ReasonNoEvent         = "no_event"
	ReasonType            = "type"
	ReasonOperator        = "operator"
	ReasonPattern         = "pattern"
	ReasonPath            = "path"
	ReasonIterator        = "iterator"
	ReasonVariable        = "variable"
	ReasonMacro           = "macro"
	ReasonLimit           = "limit"
)

// Pos is a place in an expression.
type Pos struct {
	Offset int // bytes from the start
	Line   int // from 1
	Column int // in characters, from 1
}

// Error says what is wrong with an expression, and where.
type Error struct {
	Kind    string // KindParse or KindCompile
	Reason  string // one of the Reason constants; empty for parse errors
	Line    int
	Column  int
	Message string
	Hint    string // what may have been meant; may be empty
}

func (e *Error) Error() string {
	prefix := "rule compilation error"
	if e.Kind == KindParse {
		prefix = "rule syntax error"
	}
	s := fmt.Sprintf("%s: %d:%d: %s", prefix, e.Line, e.Column, e.Message)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Format returns the error with the line of src that it is about and a caret below the place.
func (e *Error) Format(src string) string {
	var b strings.Builder
	b.WriteString(e.Error())
	lines := strings.Split(src, "\n")
	if e.Line < 1 || e.Line > len(lines) {
		return b.String()
	}
	line := strings.TrimSuffix(lines[e.Line-1], "\r")
	b.WriteString("\n  ")
	b.WriteString(line)
	b.WriteString("\n  ")
	column := 1
	for _, r := range line {
		if column == e.Column {
			break
		}
		if r == '\t' {
			b.WriteByte('\t') // keeps the caret below its character whatever a tab's width
		} else {
			b.WriteByte(' ')
		}
		column++
	}
	b.WriteByte('^')
	return b.String()
}

// hint adds what may have been meant.
func (e *Error) hint(text string) *Error {
	e.Hint = text
	return e
}

func parseError(at Pos, format string, args ...any) *Error {
	return &Error{Kind: KindParse, Line: at.Line, Column: at.Column, Message: fmt.Sprintf(format, args...)}
}

func compileError(at Pos, reason, format string, args ...any) *Error {
	return &Error{Kind: KindCompile, Reason: reason, Line: at.Line, Column: at.Column, Message: fmt.Sprintf(format, args...)}
}

// nearest returns the candidate that a mistyped name most likely stands for, or "" if none is near.
func nearest(name string, candidates func(yield func(string) bool)) string {
	limit := max(2, len(name)/5)
	best, bestDistance := "", limit+1
	for c := range candidates {
		if d := len(c) - len(name); d > limit || -d > limit {
			continue
		}
		if d := distance(name, c, bestDistance); d < bestDistance || d == bestDistance && d <= limit && c < best {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance of two strings, or some number above limit if it is above limit.
func distance(a, b string, limit int) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal, least := row[0], i+1
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
			least = min(least, cost)
		}
		if least > limit {
			return least
		}
	}
	return row[len(b)]
}

// shorten keeps a quoted piece of the source readable in a message.
func shorten(s string) string {
	const limit = 40
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit]) + "…"
}
