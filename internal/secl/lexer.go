// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/picketsec/picket/internal/event"
)

type tokenKind uint8

const (
	tokenEOF tokenKind = iota
	tokenIdent
	tokenInt
	tokenDuration
	tokenString
	tokenPattern
	tokenRegexp
	tokenIP
	tokenCIDR
	tokenVariable // ${name}
	tokenFieldRef // %{field}
	tokenPunct    // one character; operators of two are two tokens
)

// token is one word of an expression.
type token struct {
	kind tokenKind
	pos  Pos
	raw  string       // as written
	text string       // identifier, literal without its quotes, name of a variable
	num  int64        // tokenInt; tokenDuration in nanoseconds
	ip   netip.Prefix // tokenIP, tokenCIDR: masked
}

func (t *token) describe() string {
	if t.kind == tokenEOF {
		return "unexpected end of the expression"
	}
	return "unexpected token " + strconv.Quote(shorten(t.raw))
}

// lexer cuts an expression into tokens.
type lexer struct {
	src  string
	off  int
	line int
	// lineStart and runes make columns: runes is how many characters lie between lineStart and counted.
	lineStart, counted, runes int
}

// lex returns all tokens of src, the last of which is tokenEOF.
func lex(src string) ([]token, *Error) {
	l := &lexer{src: src, line: 1}
	if len(src) > MaxExpressionBytes {
		return nil, parseError(l.pos(0), "the expression has %d bytes, more than %d", len(src), MaxExpressionBytes)
	}
	var tokens []token
	for {
		l.skip()
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, t)
		if t.kind == tokenEOF {
			return tokens, nil
		}
	}
}

// pos returns the place of an offset, which must not be before that of the call before on the same line.
func (l *lexer) pos(off int) Pos {
	if off < l.counted || l.counted < l.lineStart {
		l.counted, l.runes = l.lineStart, 0
	}
	l.runes += utf8.RuneCountInString(l.src[l.counted:off])
	l.counted = off
	return Pos{Offset: off, Line: l.line, Column: l.runes + 1}
}

// newlines notes the lines that end between two offsets.
func (l *lexer) newlines(from, to int) {
	for i := from; i < to; i++ {
		if l.src[i] == '\n' {
			l.line++
			l.lineStart = i + 1
		}
	}
}

// skip passes white space and comments.
func (l *lexer) skip() {
	for l.off < len(l.src) {
		switch c := l.src[l.off]; {
		case c == ' ' || c == '\t' || c == '\r':
			l.off++
		case c == '\n':
			l.off++
			l.line++
			l.lineStart = l.off
		case c == '#' || strings.HasPrefix(l.src[l.off:], "//"):
			if n := strings.IndexByte(l.src[l.off:], '\n'); n >= 0 {
				l.off += n
			} else {
				l.off = len(l.src)
			}
		default:
			return
		}
	}
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isHex(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// run returns how many bytes from off on satisfy ok.
func (l *lexer) run(off int, ok func(byte) bool) int {
	n := 0
	for off+n < len(l.src) && ok(l.src[off+n]) {
		n++
	}
	return n
}

func (l *lexer) next() (token, *Error) {
	at := l.pos(l.off)
	rest := l.src[l.off:]
	if rest == "" {
		return token{kind: tokenEOF, pos: at}, nil
	}
	switch c := rest[0]; {
	case c == '"':
		return l.literal(tokenString, at, 1)
	case strings.HasPrefix(rest, `~"`):
		return l.literal(tokenPattern, at, 2)
	case strings.HasPrefix(rest, `r"`):
		return l.literal(tokenRegexp, at, 2)
	case strings.HasPrefix(rest, "${"):
		return l.braced(tokenVariable, at)
	case strings.HasPrefix(rest, "%{"):
		return l.braced(tokenFieldRef, at)
	case isHex(c) || c == ':':
		if t, ok, err := l.address(at); ok || err != nil {
			return t, err
		}
	}
	switch c := rest[0]; {
	case isLetter(c):
		return l.take(token{kind: tokenIdent, pos: at, text: rest[:l.ident()]}, l.ident()), nil
	case isDigit(c), (c == '-' || c == '+') && len(rest) > 1 && isDigit(rest[1]):
		return l.number(at)
	case c < utf8.RuneSelf && c > ' ' && c != 0x7f:
		return l.take(token{kind: tokenPunct, pos: at, text: rest[:1]}, 1), nil
	}
	_, n := utf8.DecodeRuneInString(rest)
	return token{}, parseError(at, "unexpected character %s", strconv.Quote(rest[:n]))
}

func (l *lexer) take(t token, n int) token {
	t.raw = l.src[l.off : l.off+n]
	l.off += n
	return t
}

// ident returns the length of the identifier at the current place. A bracket belongs to it only as part of an index, so
// that [O_CREAT] needs no space before the closing bracket.
func (l *lexer) ident() int {
	inIndex := func(c byte) bool { return isLetter(c) || isDigit(c) }
	inName := func(c byte) bool { return isLetter(c) || isDigit(c) || c == '.' }
	end := l.off
	for {
		end += l.run(end, inName)
		if end >= len(l.src) || l.src[end] != '[' {
			return end - l.off
		}
		n := l.run(end+1, inIndex)
		if end+1+n >= len(l.src) || l.src[end+1+n] != ']' {
			return end - l.off
		}
		end += n + 2
	}
}

// literal reads a quoted literal; prefix is the length of what is before its text. A backslash and the character after it
// are both kept, so \" does not end the literal.
func (l *lexer) literal(kind tokenKind, at Pos, prefix int) (token, *Error) {
	start := l.off + prefix
	for i := start; i < len(l.src); i++ {
		switch l.src[i] {
		case '\\':
			i++
		case '"':
			t := l.take(token{kind: kind, pos: at, text: l.src[start:i]}, i+1-l.off)
			l.newlines(at.Offset, i)
			return t, nil
		}
	}
	return token{}, parseError(at, "the string has no closing quote")
}

// braced reads ${name} or %{field}.
func (l *lexer) braced(kind tokenKind, at Pos) (token, *Error) {
	end := strings.IndexByte(l.src[l.off:], '}')
	if end < 0 {
		return token{}, parseError(at, "%q has no closing brace", l.src[l.off:l.off+2])
	}
	name := l.src[l.off+2 : l.off+end]
	if !isReference(name) {
		return token{}, parseError(at, "%q is no name", shorten(name))
	}
	return l.take(token{kind: kind, pos: at, text: name}, end+1), nil
}

// isReference reports whether s may stand between the braces of a variable or field reference.
func isReference(s string) bool {
	if s == "" || !isLetter(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && !isDigit(c) && c != '.' && c != '[' && c != ']' {
			return false
		}
	}
	return true
}

// address reads an IP address or a network, if one is there.
func (l *lexer) address(at Pos) (t token, ok bool, e *Error) {
	n := l.run(l.off, func(c byte) bool { return isHex(c) || c == ':' || c == '.' })
	word := l.src[l.off : l.off+n]
	v6 := strings.Count(word, ":") >= 2
	if v4 := isDigit(word[0]) && strings.Contains(word, "."); !v4 && !v6 {
		return token{}, false, nil
	}
	addr, err := netip.ParseAddr(word)
	if err != nil {
		if v6 && isLetter(word[0]) {
			return token{}, false, nil
		}
		return token{}, false, parseError(at, "%q is no IP address", shorten(word))
	}
	if v6 && l.off+n < len(l.src) && isLetter(l.src[l.off+n]) {
		return token{}, false, parseError(at, "%q is no IP address", shorten(l.src[l.off:l.off+n+1]))
	}
	bits := l.run(l.off+n+1, isDigit)
	if l.off+n >= len(l.src) || l.src[l.off+n] != '/' || bits == 0 {
		addr = addr.Unmap()
		return l.take(token{kind: tokenIP, pos: at, ip: netip.PrefixFrom(addr, addr.BitLen())}, n), true, nil
	}
	prefix, err := event.ParseNetwork(l.src[l.off : l.off+n+1+bits])
	if err != nil {
		return token{}, false, parseError(at, "%q is no network", shorten(l.src[l.off:l.off+n+1+bits]))
	}
	return l.take(token{kind: tokenCIDR, pos: at, ip: prefix}, n+1+bits), true, nil
}

var durationUnits = []struct {
	suffix string
	unit   time.Duration
}{{"ms", time.Millisecond}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}}

// number reads an integer, or a duration: digits with a unit and without a sign.
func (l *lexer) number(at Pos) (token, *Error) {
	sign := 0
	if !isDigit(l.src[l.off]) {
		sign = 1
	}
	n := sign + l.run(l.off+sign, isDigit)
	v, err := strconv.ParseInt(l.src[l.off:l.off+n], 10, 64)
	if err != nil {
		return token{}, parseError(at, "%s is out of range", shorten(l.src[l.off:l.off+n]))
	}
	if sign == 0 {
		word := l.run(l.off+n, func(c byte) bool { return isLetter(c) || isDigit(c) })
		suffix := l.src[l.off+n : l.off+n+word]
		for _, u := range durationUnits {
			if suffix != u.suffix {
				continue
			}
			if v > int64(1<<63-1)/int64(u.unit) {
				return token{}, parseError(at, "%s is out of range", shorten(l.src[l.off:l.off+n+word]))
			}
			return l.take(token{kind: tokenDuration, pos: at, num: v * int64(u.unit)}, n+word), nil
		}
	}
	return l.take(token{kind: tokenInt, pos: at, num: v}, n), nil
}
