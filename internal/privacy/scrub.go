// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package privacy

import (
	"fmt"
	"slices"
	"strings"
)

// hidden stands for a value that is not recorded. Its length says nothing of the value's.
const hidden = "********"

// defaultWords name what is a secret wherever it is. Each may be anywhere within a name.
var defaultWords = []string{
	"*password*", "*passwd*", "*mysql_pwd*", "*access_token*", "*auth_token*", "*api_key*", "*apikey*", "*secret*", "*credentials*", "*stripetoken*",
}

// maxWords bounds the words of the configuration, maxWordLen each of them, in bytes.
const (
	maxWords   = 256
	maxWordLen = 128
)

// Scrubber hides secrets in arguments. nil hides none.
type Scrubber struct {
	words []pattern
}

// pattern is a word without the * at its ends, folded.
type pattern struct {
	text          string
	before, after bool // anything may come before it, after it
}

// NewScrubber makes a scrubber for the default words and further ones. Words are compared without regard to case, and "-"
// and "_" are the same; a * at the beginning or end stands for anything. It returns nil if it is not enabled, and an error
// for a word that is empty, longer than 128 bytes, or has a * in the middle.
func NewScrubber(enabled bool, words []string) (*Scrubber, error) {
	if !enabled {
		return nil, nil //nolint:nilnil // a nil Scrubber is a valid one
	}
	if len(words) > maxWords {
		return nil, fmt.Errorf("%d sensitive words; at most %d are possible", len(words), maxWords)
	}
	s := &Scrubber{}
	for _, w := range slices.Concat(defaultWords, words) {
		p := pattern{text: w}
		p.text, p.before = strings.CutPrefix(p.text, "*")
		p.text, p.after = strings.CutSuffix(p.text, "*")
		switch {
		case p.text == "":
			return nil, fmt.Errorf("sensitive word %q has no letter", w)
		case len(w) > maxWordLen:
			return nil, fmt.Errorf("sensitive word %q is longer than %d bytes", w[:maxWordLen], maxWordLen)
		case strings.ContainsAny(p.text, "*"):
			return nil, fmt.Errorf("sensitive word %q: * is possible at the beginning and at the end only", w)
		}
		text := []byte(p.text)
		for i, c := range text {
			text[i] = fold(c)
		}
		p.text = string(text)
		s.words = append(s.words, p)
	}
	return s, nil
}

// Scrub returns args with the values of secrets replaced by ********. What is a secret:
//
//	--password=VALUE  -password:VALUE  PASSWORD=VALUE      after a sensitive name
//	--password VALUE                                       the argument after such an option, unless it is an option too
//	"X-Api-Key: VALUE"  {"password": "VALUE"}  ?secret=VALUE&…   and all of the above within an argument, as in sh -c "…"
//	scheme://user:VALUE@host                               wherever it is
//
// A name is a run of letters, digits, "-", "_" and ".". A value after an option that begins the argument is the whole rest;
// otherwise it ends with its closing quote or at white space, and within a word also at a quote and any of & ; , } ).
//
// If nothing is a secret, args itself is returned, without allocation; if something is, args stays as it was.
func (s *Scrubber) Scrub(args []string) []string {
	if s == nil {
		return args
	}
	out, copied := args, false
	before := ""
	for i, a := range args {
		clean, found := hidden, true
		if a == "" || a[0] == '-' || !s.option(before) {
			clean, found = s.text(a)
		}
		before = a
		if !found || clean == a {
			continue
		}
		if !copied {
			out, copied = slices.Clone(args), true
		}
		out[i] = clean
	}
	return out
}

// option reports whether a is an option with a sensitive name and no value.
func (s *Scrubber) option(a string) bool {
	if len(a) < 2 || a[0] != '-' {
		return false
	}
	for i := range len(a) {
		if !nameByte(a[i]) {
			return false
		}
	}
	return s.sensitive(a)
}

// text hides the secrets within an argument.
func (s *Scrubber) text(a string) (clean string, found bool) {
	var b []byte
	done := 0
	for i := 0; i < len(a); {
		var from, to int
		switch c := a[i]; {
		case c == ':' && strings.HasPrefix(a[i:], "://"):
			from, to = userinfo(a, i+len("://"))
			i += len("://")
		case nameByte(c):
			start := i
			for i < len(a) && nameByte(a[i]) {
				i++
			}
			from, to = s.value(a, start, i)
		default:
			i++
		}
		if from < to {
			b = append(append(b, a[done:from]...), hidden...)
			i, done = to, to
		}
	}
	if done == 0 {
		return a, false
	}
	return string(append(b, a[done:]...)), true
}

// userinfo finds the password in the authority of a URL that begins at start. Of an authority that was cut short, what
// follows a colon is taken for one unless it is a port.
func userinfo(a string, start int) (from, to int) {
	end := len(a)
	if n := strings.IndexAny(a[start:], "/?#\"' \t\n"); n >= 0 {
		end = start + n
	}
	authority := a[start:end]
	colon := strings.IndexByte(authority, ':')
	if colon < 0 {
		return 0, 0
	}
	from = start + colon + 1
	if at := strings.LastIndexByte(authority, '@'); at > colon {
		return from, start + at
	}
	if rest, cut := strings.CutSuffix(a[from:], mark); cut && end == len(a) && len(a) > MaxArgLen-len(mark)-4 && strings.Trim(rest, "0123456789") != "" {
		return from, end
	}
	return 0, 0
}

// value finds the value that follows the name a[start:end]. from < to if the name is sensitive and has one.
func (s *Scrubber) value(a string, start, end int) (from, to int) {
	option := a[start] == '-'
	word := start == 0 || space(a[start-1])
	i := end
	for n := 0; i < len(a) && n < 2 && (quote(a[i]) || a[i] == '\\' || a[i] == ']'); n++ { // "name" \"name\" x[name]
		i++
	}
	j := skipSpace(a, i)
	switch {
	case j == len(a):
		return 0, 0
	case a[j] == '=' && j == i:
		j++ // what comes after white space is not the value: PASSWORD= command
	case a[j] == '=', a[j] == ':' && !strings.HasPrefix(a[j:], "://"):
		j = skipSpace(a, j+1)
	case option && word && i == end && j > i && a[j] != '-':
		option = false // --name VALUE, within a text
	default:
		return 0, 0
	}
	if j == len(a) || !s.sensitive(a[start:end]) {
		return 0, 0
	}
	switch {
	case a[j] == '\\' && j+1 < len(a) && quote(a[j+1]):
		return j + 2, closing(a, j+2, a[j:j+2])
	case quote(a[j]) && (!option || start > 0):
		return j + 1, closing(a, j+1, a[j:j+1])
	case option && start == 0:
		return j, len(a)
	}
	stop := "\"' \t\r\n&;,})"
	if word {
		stop = " \t\r\n"
	}
	if n := strings.IndexAny(a[j:], stop); n >= 0 {
		return j, j + n
	}
	return j, len(a)
}

// closing returns where the quoted text that begins at i ends. A quote after a backslash is part of the text, unless it
// began with a backslash too.
func closing(a string, i int, q string) int {
	for ; i < len(a); i++ {
		if strings.HasPrefix(a[i:], q) {
			return i
		}
		if a[i] == '\\' {
			i++
		}
	}
	return len(a)
}

// sensitive reports whether a name, which may begin with dashes, is one of the words.
func (s *Scrubber) sensitive(name string) bool {
	name = strings.TrimLeft(name, "-")
	for i := range s.words {
		if s.words[i].match(name) {
			return true
		}
	}
	return false
}

func (p *pattern) match(name string) bool {
	n := len(p.text)
	last := len(name) - n
	if last < 0 {
		return false
	}
	from, to := 0, last
	if !p.before {
		to = 0
	}
	if !p.after {
		from = last
	}
	for i := from; i <= to; i++ {
		if fold(name[i]) == p.text[0] && equalFold(name[i:i+n], p.text) {
			return true
		}
	}
	return false
}

func equalFold(s, lower string) bool {
	for i := range len(lower) {
		if fold(s[i]) != lower[i] {
			return false
		}
	}
	return true
}

// fold makes ASCII letters lower case, and a dash an underscore: options are written with either.
func fold(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A'
	case c == '-':
		return '_'
	}
	return c
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' || c >= 0x80
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func quote(c byte) bool { return c == '"' || c == '\'' }

func skipSpace(a string, i int) int {
	for i < len(a) && space(a[i]) {
		i++
	}
	return i
}
