// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// locate finds where in the file the byte at offset of a scalar's value stands. YAML folds and indents lines and has
// escapes, and so the value is laid along the file's text: what is in the text but not in the value is passed over.
func locate(src []byte, n *node, offset int) Position {
	i := byteOffset(src, n.pos)
	switch n.style {
	case token.DoubleQuoteType, token.SingleQuoteType:
		i++
	case token.LiteralType, token.FoldedType: // the value begins on the line after | or >
		if nl := bytes.IndexByte(src[i:], '\n'); nl >= 0 {
			i += nl + 1
		}
	default:
	}
	value := n.value[:min(max(offset, 0), len(n.value))]
	for v := 0; v < len(value) && i < len(src); {
		c := value[v]
		switch {
		case n.style == token.DoubleQuoteType && src[i] == '\\':
			i += escapeLength(src[i:])
			if i <= len(src) && src[i-1] == '\n' {
				continue // an escaped line break is nothing
			}
			_, size := utf8.DecodeRuneInString(value[v:])
			v += size
		case src[i] == c && !isSpace(c):
			i++
			v++
			if n.style == token.SingleQuoteType && c == '\'' {
				i++ // doubled in the text
			}
		case isSpace(c) && isSpace(src[i]):
			end := v // a run of white space in the value is one in the text
			for end < len(value) && isSpace(value[end]) {
				end++
			}
			// In the middle of a run of equal length the places correspond; otherwise lines were folded.
			run := spaceRun(src[i:])
			if end == len(value) && end-v < run && !bytes.ContainsRune(src[i:i+run], '\n') {
				run = end - v
			}
			i += run
			v = end
		case isSpace(src[i]):
			i++
		default: // the text ran away from the value: the beginning is the best that can be said
			return n.pos
		}
	}
	for i < len(src) && offset < len(n.value) && isSpace(src[i]) && !isSpace(n.value[offset]) {
		i++
	}
	return positionOf(src, min(i, len(src)))
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func spaceRun(b []byte) int {
	n := 0
	for n < len(b) && isSpace(b[n]) {
		n++
	}
	return n
}

// escapeLength is the length of the escape sequence of a double-quoted scalar at the start of b.
func escapeLength(b []byte) int {
	n := 2
	if len(b) > 1 {
		switch b[1] {
		case 'x':
			n = 4
		case 'u':
			n = 6
		case 'U':
			n = 10
		}
	}
	return min(n, len(b))
}

// byteOffset is the inverse of positionOf. The parser's columns count characters.
func byteOffset(src []byte, pos Position) int {
	i := 0
	for line := 1; line < pos.Line; line++ {
		nl := bytes.IndexByte(src[i:], '\n')
		if nl < 0 {
			return len(src)
		}
		i += nl + 1
	}
	for col := 1; col < pos.Column && i < len(src) && src[i] != '\n'; col++ {
		_, size := utf8.DecodeRune(src[i:])
		i += size
	}
	return i
}

func positionOf(src []byte, offset int) Position {
	before := src[:offset]
	lineStart := bytes.LastIndexByte(before, '\n') + 1
	return Position{
		Line:   1 + bytes.Count(before, []byte{'\n'}),
		Column: 1 + utf8.RuneCount(before[lineStart:]),
	}
}

// snippet is the line of src at pos with a caret below, indented; empty if pos is unknown. Long lines are cut.
func snippet(src []byte, pos Position) string {
	if pos.Line == 0 {
		return ""
	}
	const maxBefore, maxAfter = 80, 100 // characters around the caret
	start := byteOffset(src, Position{Line: pos.Line, Column: 1})
	line := src[start:]
	if nl := bytes.IndexByte(line, '\n'); nl >= 0 {
		line = line[:nl]
	}
	runes := []rune(strings.ReplaceAll(strings.TrimRight(string(line), "\r"), "\t", " "))
	caret := min(pos.Column-1, len(runes))
	for i, r := range runes { // nothing that moves the cursor of a terminal
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			runes[i] = utf8.RuneError
		}
	}
	prefix, suffix := "", ""
	if caret > maxBefore {
		runes, caret, prefix = runes[caret-maxBefore:], maxBefore, "…"
	}
	if len(runes) > caret+maxAfter {
		runes, suffix = runes[:caret+maxAfter], "…"
	}
	indent := strings.Repeat(" ", caret+utf8.RuneCountInString(prefix))
	return "    " + prefix + string(runes) + suffix + "\n    " + indent + "^\n"
}
