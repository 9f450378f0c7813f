// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a body. The schema's deepest member is at 9.
const maxDepth = 64

// scanner reads JSON text from front to back. What it reads may alias the text. It stops at the first error: after that
// every method does nothing, and err says where it was.
type scanner struct {
	text  string
	pos   int
	depth int
	err   error

	escaped bool // the last string had a backslash
}

var (
	errSyntax = errors.New("not JSON")
	errRange  = errors.New("number out of range")
	errDepth  = fmt.Errorf("nested more than %d levels deep", maxDepth)
)

func (s *scanner) fail(err error) {
	if s.err == nil {
		s.err = fmt.Errorf("at byte %d: %w", s.pos, err)
	}
}

// peek returns the next byte that is no white space; 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// jsonObject is the state of reading an object: for o := (jsonObject{}); s.next(&o); { … the value of o.key … }
type jsonObject struct {
	key  string
	open bool
}

// next goes to the next member. It is false at the end of the object, for a null, and on an error.
func (s *scanner) next(o *jsonObject) bool {
	if !s.follows(&o.open, '{', '}') {
		return false
	}
	if s.peek() != '"' {
		s.fail(errSyntax)
		return false
	}
	o.key = s.quoted()
	if s.peek() != ':' {
		s.fail(errSyntax)
		return false
	}
	s.pos++
	return s.err == nil
}

// element goes to the next element of an array, whose state is open, as next does.
func (s *scanner) element(open *bool) bool { return s.follows(open, '[', ']') }

// follows goes to the next of what is between begin and end.
func (s *scanner) follows(open *bool, begin, end byte) bool {
	if s.err != nil {
		return false
	}
	c := s.peek()
	switch {
	case !*open && c == begin:
		s.pos++
		if s.depth++; s.depth > maxDepth {
			s.fail(errDepth)
			return false
		}
		*open = true
		if s.peek() != end {
			return true
		}
	case !*open:
		if !s.null() {
			s.fail(errSyntax)
		}
		return false
	case c == ',':
		s.pos++
		return true
	case c != end:
		s.fail(errSyntax)
		return false
	}
	s.pos++
	s.depth--
	return false
}

// null goes over a null, if there is one.
func (s *scanner) null() bool {
	if s.peek() == 'n' && strings.HasPrefix(s.text[s.pos:], "null") {
		s.pos += len("null")
		return true
	}
	return false
}

// quoted reads a string as JSON has it, without regard to escaped bytes.
func (s *scanner) quoted() string {
	if s.err != nil {
		return ""
	}
	if s.peek() != '"' {
		s.fail(errSyntax)
		return ""
	}
	s.escaped = false
	start := s.pos + 1
	for i := start; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '"':
			s.pos = i + 1
			return s.text[start:i]
		case c == '\\':
			s.escaped = true
			return s.unquote(start, i)
		case c < ' ':
			s.pos = i
			s.fail(errSyntax)
			return ""
		}
	}
	s.fail(errSyntax)
	return ""
}

var simpleEscapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unquote reads a string that begins at start and has its first escape sequence at i.
func (s *scanner) unquote(start, i int) string {
	end := strings.IndexByte(s.text[i:], '"')
	b := make([]byte, 0, max(end, 0)+i-start+16)
	for {
		b = append(b, s.text[start:i]...)
		s.pos = i
		if i+1 >= len(s.text) {
			s.fail(errSyntax)
			return ""
		}
		switch c := s.text[i+1]; {
		case s.text[i] == '"':
			s.pos = i + 1
			return string(b)
		case c == 'u':
			r, n := s.rune(i)
			if n == 0 {
				s.fail(errSyntax)
				return ""
			}
			b = utf8.AppendRune(b, r)
			i += n
		case simpleEscapes[c] != 0:
			b = append(b, simpleEscapes[c])
			i += 2
		default:
			s.fail(errSyntax)
			return ""
		}
		for start = i; i < len(s.text) && s.text[i] != '"' && s.text[i] != '\\'; i++ {
			if s.text[i] < ' ' {
				s.fail(errSyntax)
				return ""
			}
		}
		if i < len(s.text) && s.text[i] == '"' {
			b = append(b, s.text[start:i]...)
			s.pos = i + 1
			return string(b)
		}
	}
}

// rune reads \uXXXX, or two that are one character, at i. n is its length in bytes; 0 if there is none.
func (s *scanner) rune(i int) (r rune, n int) {
	hex := func(i int) rune {
		if i+6 > len(s.text) || s.text[i] != '\\' || s.text[i+1] != 'u' {
			return -1
		}
		var r rune
		for _, c := range []byte(s.text[i+2 : i+6]) {
			if !isHex(c) {
				return -1
			}
			r = r<<4 | rune(hexValue(c))
		}
		return r
	}
	r = hex(i)
	if r < 0 {
		return 0, 0
	}
	if utf16.IsSurrogate(r) {
		if pair := utf16.DecodeRune(r, hex(i+6)); pair != utf8.RuneError {
			return pair, 12
		}
		r = utf8.RuneError
	}
	return r, 6
}

// str reads a string of the model: bytes that were escaped are bytes again. A null is "".
func (s *scanner) str(v *string) {
	*v = ""
	if s.null() {
		return
	}
	if *v = s.quoted(); s.escaped {
		*v = Unescape(*v)
	}
}

func (s *scanner) boolean(v *bool) {
	if s.err != nil {
		return
	}
	switch {
	case s.peek() == 't' && strings.HasPrefix(s.text[s.pos:], "true"):
		*v = true
		s.pos += len("true")
	case strings.HasPrefix(s.text[s.pos:], "false"):
		*v = false
		s.pos += len("false")
	case s.null():
		*v = false
	default:
		s.fail(errSyntax)
	}
}

// uint reads an integer from 0 to limit. A null is 0.
func (s *scanner) uint(limit uint64) uint64 {
	if s.err != nil || s.null() {
		return 0
	}
	s.peek()
	start := s.pos
	var v uint64
	for ; s.pos < len(s.text); s.pos++ {
		c := s.text[s.pos] - '0'
		if c > 9 {
			break
		}
		if v > (math.MaxUint64-uint64(c))/10 {
			s.fail(errRange)
			return 0
		}
		v = v*10 + uint64(c)
	}
	switch {
	case s.pos == start, s.pos > start+1 && s.text[start] == '0':
		s.fail(errSyntax)
		return 0
	case s.pos < len(s.text) && (s.text[s.pos] == '.' || s.text[s.pos]|0x20 == 'e'):
		s.fail(errSyntax) // no integer
		return 0
	case v > limit:
		s.fail(errRange)
		return 0
	}
	return v
}

func (s *scanner) u64(v *uint64) { *v = s.uint(math.MaxUint64) }
func (s *scanner) u32(v *uint32) { *v = uint32(s.uint(math.MaxUint32)) }
func (s *scanner) u16(v *uint16) { *v = uint16(s.uint(math.MaxUint16)) }

func (s *scanner) i64(v *int64) {
	if s.err == nil && s.peek() == '-' {
		s.pos++
		*v = -int64(s.uint(math.MaxInt64))
		return
	}
	*v = int64(s.uint(math.MaxInt64))
}

// Times that nanoseconds in 64 bits can hold.
var (
	firstTime = time.Unix(0, math.MinInt64)
	lastTime  = time.Unix(0, math.MaxInt64)
)

// time reads an RFC 3339 timestamp. A null is 0.
func (s *scanner) time(v *Time) {
	*v = 0
	if s.err != nil || s.null() {
		return
	}
	text := s.quoted()
	if s.err != nil {
		return
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	switch {
	case err != nil:
		s.fail(errors.New("no RFC 3339 time"))
	case t.Before(firstTime) || t.After(lastTime):
		s.fail(errRange)
	default:
		*v = Time(t.UnixNano())
	}
}

// stop marks the bytes at which skip has something to do.
var stop = [256]bool{'"': true, '{': true, '[': true, '}': true, ']': true}

// skip goes over one value. It only looks at what is needed to find its end: brackets and strings.
func (s *scanner) skip() {
	if s.err != nil {
		return
	}
	switch s.peek() {
	case '"':
		s.skipString()
	case '{', '[':
		s.skipNested()
	default:
		start := s.pos
		for s.pos < len(s.text) && isScalar(s.text[s.pos]) {
			s.pos++
		}
		if s.pos == start {
			s.fail(errSyntax)
		}
	}
}

// isScalar says whether c may be part of a number, true, false or null.
func isScalar(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || c == '-' || c == '+' || c == '.' || c == 'E'
}

// skipNested goes over an object or an array.
func (s *scanner) skipNested() {
	var stack [maxDepth]byte
	ends := stack[:0] // the brackets that are still to come
	for i := s.pos; i < len(s.text); i++ {
		c := s.text[i]
		if !stop[c] {
			continue
		}
		switch c {
		case '"':
			s.pos = i
			if s.skipString(); s.err != nil {
				return
			}
			i = s.pos - 1
		case '{', '[':
			if s.depth+len(ends) >= maxDepth {
				s.pos = i
				s.fail(errDepth)
				return
			}
			ends = append(ends, c+2) // in ASCII, } and ] are 2 after { and [
		default:
			last := len(ends) - 1
			if ends[last] != c {
				s.pos = i
				s.fail(errSyntax)
				return
			}
			if ends = ends[:last]; last == 0 {
				s.pos = i + 1
				return
			}
		}
	}
	s.pos = len(s.text)
	s.fail(errSyntax)
}

// skipString goes over a string.
func (s *scanner) skipString() {
	for i := s.pos + 1; i < len(s.text); i++ {
		switch s.text[i] {
		case '"':
			s.pos = i + 1
			return
		case '\\':
			i++
		}
	}
	s.fail(errSyntax)
}
