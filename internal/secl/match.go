// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"fmt"
	"path"
	"regexp"
	"regexp/syntax"
	"strings"
)

// options are how the values of a field compare. The zero value is for what is no field.
type options struct {
	glob      bool // patterns are path globs, and values must be absolute paths
	fold      bool // upper and lower case are the same
	extension bool // values may be given without their leading dot
	max       int  // no longer value can be; 0: any
}

// stringMatcher tests a string against a list of values that are known at compile time.
// It never changes after it was made.
type stringMatcher struct {
	scalars []string
	set     map[string]struct{} // of scalars, if there are many and case counts
	fold    bool
	tests   []func(string) bool // patterns and regular expressions
}

// Above this many scalars a map is faster than comparing one by one.
const linearScalars = 6

func (m *stringMatcher) match(s string) bool {
	switch {
	case m.set != nil:
		if _, ok := m.set[s]; ok {
			return true
		}
	case m.fold:
		for _, v := range m.scalars {
			if strings.EqualFold(v, s) {
				return true
			}
		}
	default:
		for _, v := range m.scalars {
			if v == s {
				return true
			}
		}
	}
	for _, test := range m.tests {
		if test(s) {
			return true
		}
	}
	return false
}

// weight is the cost of match.
func (m *stringMatcher) weight() int { return 2 + min(len(m.scalars), linearScalars) + 10*len(m.tests) }

// add puts one value in.
func (m *stringMatcher) add(v *stringNode, o options) *Error {
	text := v.text
	if o.glob {
		if err := checkPath(v.kind, text); err != nil {
			return compileError(v.pos, ReasonPath, "%v", err).hint(pathHint(v))
		}
	}
	if o.max > 0 && v.kind != regexpString && len(text) > o.max {
		return compileError(v.pos, ReasonType, "%q has %d bytes, and the field's values at most %d: it never matches", shorten(text), len(text), o.max)
	}
	if o.extension && v.kind != regexpString && text != "" && !strings.HasPrefix(text, ".") {
		text = "." + text
	}
	switch v.kind {
	case scalarString:
		m.scalars = append(m.scalars, text)
	case patternString:
		if o.glob {
			g, err := newGlob(text)
			if err != nil {
				return compileError(v.pos, ReasonPattern, "%v", err)
			}
			m.tests = append(m.tests, g.match)
			break
		}
		pattern, fold := newPattern(text), o.fold
		m.tests = append(m.tests, func(s string) bool { return pattern.match(s, fold) })
	case regexpString:
		re, err := compileRegexp(text)
		if err != nil {
			return compileError(v.pos, ReasonPattern, "%v", err)
		}
		m.tests = append(m.tests, re.MatchString)
	}
	return nil
}

func newStringMatcher(values []*stringNode, o options) (*stringMatcher, *Error) {
	m := &stringMatcher{fold: o.fold}
	for _, v := range values {
		if err := m.add(v, o); err != nil {
			return nil, err
		}
	}
	if len(m.scalars) > linearScalars && !m.fold {
		m.set = make(map[string]struct{}, len(m.scalars))
		for _, s := range m.scalars {
			m.set[s] = struct{}{}
		}
	}
	return m, nil
}

// compileRegexp compiles an RE2 expression. Its size is bounded, and RE2 matches in linear time.
func compileRegexp(text string) (*regexp.Regexp, error) {
	if len(text) > MaxRegexpBytes {
		return nil, fmt.Errorf("the regular expression has %d bytes, more than %d", len(text), MaxRegexpBytes)
	}
	if _, err := syntax.Parse(text, syntax.Perl); err != nil {
		return nil, fmt.Errorf("invalid regular expression: %w", err)
	}
	return regexp.Compile(text)
}

// pattern is a string in which * stands for any sequence, also of slashes, and nothing else is special.
type pattern []string // the texts between the stars

func newPattern(text string) pattern { return strings.Split(text, "*") }

// match reports whether all of s is of the pattern's form.
func (p pattern) match(s string, fold bool) bool {
	first, last := p[0], p[len(p)-1]
	if len(p) == 1 {
		return s == first || fold && strings.EqualFold(s, first)
	}
	if len(s) < len(first)+len(last) || !equal(s[:len(first)], first, fold) || !equal(s[len(s)-len(last):], last, fold) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range p[1 : len(p)-1] {
		i := indexOf(s, part, fold)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return true
}

func equal(a, b string, fold bool) bool {
	return a == b || fold && strings.EqualFold(a, b)
}

// indexOf finds sub in s. Letters that fold to other lengths are not found, which only concerns names outside of ASCII.
func indexOf(s, sub string, fold bool) int {
	if !fold {
		return strings.Index(s, sub)
	}
	for i := 0; i+len(sub) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(sub)], sub) {
			return i
		}
	}
	return -1
}

// pathHint says what may have been meant by a value that is no path.
func pathHint(v *stringNode) string {
	switch {
	case v.kind == regexpString:
		return `use a pattern, such as ~"/etc/**", or the field of the file's name`
	case !strings.Contains(v.text, "/"):
		return "compare a name with the field of the file's name"
	}
	return ""
}

// checkPath checks a value that is compared with a path: a form that no path has would silently never match.
func checkPath(kind stringKind, text string) error {
	if kind == regexpString {
		return fmt.Errorf("regular expressions are not supported on paths")
	}
	if text == "" {
		return nil // compares with "no path"
	}
	switch {
	case text == "*", text[0] == '~', text[0] != '/' && text[0] != '*':
		return fmt.Errorf("invalid path %q: a path has to be absolute, or begin with * and go on", text)
	case text != path.Clean(text):
		return fmt.Errorf("invalid path %q: write it without repeated or trailing slashes, . and ..: %q", text, path.Clean(text))
	}
	segments := strings.Split(text, "/")
	if len(segments) > MaxPathSegments {
		return fmt.Errorf("invalid path: %d segments, more than %d", len(segments), MaxPathSegments)
	}
	for _, s := range segments {
		if s == ".." {
			return fmt.Errorf("invalid path %q: a path has to be absolute", text)
		}
		if len(s) > MaxSegmentBytes {
			return fmt.Errorf("invalid path: a segment has %d bytes, more than %d", len(s), MaxSegmentBytes)
		}
	}
	return nil
}

// glob is a path pattern, compared segment by segment. * stands for any part of one segment, ** as a whole segment for
// any number of segments, also none.
type glob struct {
	text   string // without a star: compared as it is
	prefix []pattern
	suffix []pattern // after **
	deep   bool      // there is a **
	exact  bool
	rooted bool // written with a leading slash: only absolute paths match
}

func newGlob(text string) (*glob, error) {
	if !strings.Contains(text, "*") {
		return &glob{text: text, exact: true}, nil
	}
	g := &glob{text: text, rooted: text[0] == '/'}
	if !strings.HasPrefix(text, "/") {
		text = "/" + text
	}
	for _, segment := range strings.Split(text[1:], "/") {
		if segment == "**" {
			if g.deep {
				return nil, fmt.Errorf("the pattern %q has more than one **", g.text)
			}
			g.deep = true
			continue
		}
		for strings.Contains(segment, "**") { // glued to text it is no more than *
			segment = strings.ReplaceAll(segment, "**", "*")
		}
		if g.deep {
			g.suffix = append(g.suffix, newPattern(segment))
		} else {
			g.prefix = append(g.prefix, newPattern(segment))
		}
	}
	return g, nil
}

func (g *glob) match(s string) bool {
	if g.exact {
		return s == g.text
	}
	if s == "" || g.rooted && s[0] != '/' {
		return false
	}
	s = strings.TrimPrefix(s, "/")
	ended := false // the last segment is consumed
	for _, p := range g.prefix {
		if ended {
			return false
		}
		var segment string
		var more bool
		segment, s, more = strings.Cut(s, "/")
		if !p.match(segment, false) {
			return false
		}
		ended = !more
	}
	if !g.deep {
		return ended
	}
	for i := len(g.suffix) - 1; i >= 0; i-- {
		if ended {
			return false
		}
		cut := strings.LastIndexByte(s, '/')
		if !g.suffix[i].match(s[cut+1:], false) {
			return false
		}
		if cut < 0 {
			ended = true
		} else {
			s = s[:cut]
		}
	}
	return true
}
