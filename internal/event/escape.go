// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"strings"
	"unicode/utf8"
)

// File names, arguments and the like are bytes; JSON and OTLP want UTF-8. A byte that is not part of valid UTF-8 is written
// as a backslash, x and two lower-case hex digits. So that this can be taken back exactly, a backslash of the data itself
// that begins such a sequence is written that way too (\x5c). Escape and Unescape are the only place where this is known.

const hexDigits = "0123456789abcdef"

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func hexValue(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// looksEscaped says whether s begins with what Unescape takes for an escaped byte.
func looksEscaped(s string) bool {
	return len(s) >= 4 && s[0] == '\\' && s[1] == 'x' && isHex(s[2]) && isHex(s[3])
}

// Escape makes valid UTF-8 of any bytes. It returns s itself if there is nothing to escape.
func Escape(s string) string {
	if i := firstEscape(s); i < 0 {
		return s
	}
	return string(appendEscape(make([]byte, 0, len(s)+16), s))
}

// firstEscape returns the index of the first byte that Escape changes, -1 if there is none.
func firstEscape(s string) int {
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '\\' && looksEscaped(s[i:]):
			return i
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				return i
			}
			i += n
		}
	}
	return -1
}

func appendEscape(dst []byte, s string) []byte {
	for {
		i := firstEscape(s)
		if i < 0 {
			return append(dst, s...)
		}
		dst = append(dst, s[:i]...)
		dst = append(dst, '\\', 'x', hexDigits[s[i]>>4], hexDigits[s[i]&15])
		s = s[i+1:]
	}
}

// Unescape is the inverse of Escape. It returns s itself if nothing is escaped in it.
func Unescape(s string) string {
	i := strings.Index(s, `\x`)
	if i < 0 {
		return s
	}
	var dst []byte
	last := 0
	for ; i < len(s); i++ {
		if s[i] == '\\' && looksEscaped(s[i:]) {
			dst = append(dst, s[last:i]...)
			dst = append(dst, hexValue(s[i+2])<<4|hexValue(s[i+3]))
			i += 3
			last = i + 1
		}
	}
	if dst == nil {
		return s
	}
	return string(append(dst, s[last:]...))
}

// plain marks the bytes that stand for themselves in a JSON string, whatever comes before and after them.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// appendString appends s, escaped, as a JSON string.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		switch {
		case c >= utf8.RuneSelf, c == '\\' && looksEscaped(s[i:]):
			dst = append(dst, '\\', '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		case c == '"', c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
