// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math/bits"
	"slices"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/secl"
)

// index finds the rules of one event type that an event may match. What a rule needs is looked up in the event once for all
// rules (secl.Key), or tested once for all that share it (secl.Guard); only rules of which neither is known are always
// candidates. It is immutable.
type index struct {
	programs []*secl.Program // the position of a rule is its number
	words    int             // of a bit set of the rules
	fields   []indexedField
	guards   []guarded
	always   []uint64
}

// indexedField are the keys about one field.
type indexedField struct {
	field *event.Field
	kinds uint16              // bit set of secl.KeyKind
	fold  bool                // upper and lower case are the same
	rules map[uint64][]uint32 // by the sum of a key
	any   []uint32            // all of them
}

// guarded are the rules behind one condition.
type guarded struct {
	test  func(*secl.Context) bool
	rules []uint32
}

// candidates is the bit set of the rules that an event may match. It is reused from one event to the next.
type candidates []uint64

func (c candidates) add(rules []uint32) {
	for _, r := range rules {
		c[r/64] |= 1 << (r % 64)
	}
}

// next returns the first rule from n on; ok is false if there is none.
func (c candidates) next(n int) (rule int, ok bool) {
	for w := n / 64; w < len(c); w++ {
		word := c[w]
		if w == n/64 {
			word &= ^uint64(0) << (n % 64)
		}
		if word != 0 {
			return w*64 + bits.TrailingZeros64(word), true
		}
	}
	return 0, false
}

// newIndex makes the index of programs about one event type.
func newIndex(programs []*secl.Program) *index {
	x := &index{programs: programs, words: (len(programs) + 63) / 64}
	x.always = make([]uint64, x.words)
	fields, guards := map[*event.Field]int{}, map[string]int{}
	for i, p := range programs {
		rule := uint32(i)
		if value, ok := p.Constant(); ok && !value {
			continue
		}
		if keys := p.Cover(); keys != nil {
			for k := range keys {
				x.addKey(fields, &keys[k], rule)
			}
			continue
		}
		g := p.Guard()
		if g == nil {
			candidates(x.always).add([]uint32{rule})
			continue
		}
		n, ok := guards[g.Text]
		if !ok {
			n = len(x.guards)
			guards[g.Text] = n
			x.guards = append(x.guards, guarded{test: g.Test})
		}
		x.guards[n].rules = append(x.guards[n].rules, rule)
	}
	return x
}

func (x *index) addKey(fields map[*event.Field]int, k *secl.Key, rule uint32) {
	n, ok := fields[k.Field]
	if !ok {
		n = len(x.fields)
		fields[k.Field] = n
		x.fields = append(x.fields, indexedField{field: k.Field, fold: k.Field.CaseInsensitive, rules: map[uint64][]uint32{}})
	}
	f := &x.fields[n]
	f.kinds |= 1 << k.Kind
	sum := keySum(k)
	f.rules[sum] = appendRule(f.rules[sum], rule)
	f.any = appendRule(f.any, rule)
}

// appendRule appends a rule once; rules are added in order.
func appendRule(rules []uint32, rule uint32) []uint32 {
	if n := len(rules); n > 0 && rules[n-1] == rule {
		return rules
	}
	return append(rules, rule)
}

// Sums of keys are FNV-1a, beginning with the kind. Two keys with the same sum only make a rule a candidate too often.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func mix(h uint64, b byte) uint64 { return (h ^ uint64(b)) * fnvPrime }

// sumOf is the sum of a short text.
func sumOf(kind secl.KeyKind, s string, fold bool) uint64 {
	h := uint64(fnvOffset)
	for i := range len(s) {
		h = mix(h, lower(s[i], fold))
	}
	return mix(h, byte(kind)+1)
}

func lower(b byte, fold bool) byte {
	if fold && b >= 'A' && b <= 'Z' {
		b += 'a' - 'A'
	}
	return b
}

func intSum(v int64) uint64 { return mix(uint64(v)*fnvPrime, byte(secl.KeyInt)+1) }

func keySum(k *secl.Key) uint64 {
	if k.Kind == secl.KeyInt {
		return intSum(k.Int)
	}
	return sumOf(k.Kind, k.Text, false) // of a field without case it is in lower case
}

// find makes c the rules that the event may match.
func (x *index) find(c candidates, ctx *secl.Context) candidates {
	c = append(c[:0], x.always...)
	for i := range x.fields {
		f := &x.fields[i]
		switch {
		case f.field.Int != nil:
			c.add(f.rules[intSum(f.field.Int(ctx.Event))])
		case f.field.Ints != nil:
			for n := range f.field.Ints(ctx.Event) {
				c.add(f.rules[intSum(f.field.IntAt(ctx.Event, n))])
			}
		case f.field.String != nil:
			f.find(c, f.field.String(ctx.Event))
		case f.field.Strings != nil:
			for _, s := range f.field.Strings(ctx.Event) {
				f.find(c, s)
			}
		}
	}
	for i := range x.guards {
		if g := &x.guards[i]; g.test(ctx) {
			c.add(g.rules)
		}
	}
	return c
}

func (f *indexedField) has(k secl.KeyKind) bool { return f.kinds&(1<<k) != 0 }

// maxSummed bounds the text that is looked up byte by byte; longer ones are candidates for everything.
const maxSummed = 4096

// find adds the rules with a key that s has.
func (f *indexedField) find(c candidates, s string) {
	if len(s) > maxSummed {
		c.add(f.any)
		return
	}
	if f.has(secl.KeyExact) || f.has(secl.KeyDir) {
		h, dirs := uint64(fnvOffset), f.has(secl.KeyDir)
		for i := range len(s) {
			b := s[i]
			if b >= 0x80 && f.fold {
				c.add(f.any) // letters have other forms there
				return
			}
			if b == '/' && dirs && i > 0 {
				c.add(f.rules[mix(h, byte(secl.KeyDir)+1)])
			}
			h = mix(h, lower(b, f.fold))
		}
		if dirs {
			c.add(f.rules[mix(h, byte(secl.KeyDir)+1)])
		}
		c.add(f.rules[mix(h, byte(secl.KeyExact)+1)])
	} else if f.fold && !ascii(s) {
		c.add(f.any)
		return
	}
	if f.has(secl.KeyBase) {
		at := len(s)
		for at > 0 && s[at-1] != '/' {
			at--
		}
		c.add(f.rules[sumOf(secl.KeyBase, s[at:], f.fold)])
	}
	for _, e := range [...]struct {
		kind secl.KeyKind
		size int
		end  bool
	}{{secl.KeySuffix4, 4, true}, {secl.KeySuffix2, 2, true}, {secl.KeyPrefix4, 4, false}, {secl.KeyPrefix2, 2, false}} {
		switch {
		case !f.has(e.kind) || len(s) < e.size:
		case e.end:
			c.add(f.rules[sumOf(e.kind, s[len(s)-e.size:], f.fold)])
		default:
			c.add(f.rules[sumOf(e.kind, s[:e.size], f.fold)])
		}
	}
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// Matcher finds the rules of a Set that match events, without allocation. It is reusable, and not for concurrent use.
type Matcher struct {
	context *secl.Context
	rules   []*Rule
	index   *index
	found   candidates
	at      int
}

// Match begins with the rules of set about the event of c.
func (m *Matcher) Match(set *Set, c *secl.Context) {
	t := c.Event.Type
	m.context, m.rules, m.index, m.at = c, nil, nil, 0
	if t >= event.NumTypes || set.index[t] == nil {
		return
	}
	m.rules, m.index = set.byType[t], set.index[t]
	m.found = m.index.find(m.found, c)
}

// Next returns the next rule that matches, in the order of evaluation, or nil. What its actions do to variables the rules
// after it see.
func (m *Matcher) Next() *Rule {
	for m.index != nil {
		n, ok := m.found.next(m.at)
		if !ok {
			break
		}
		m.at = n + 1
		if m.index.programs[n].Match(m.context) {
			return m.rules[n]
		}
	}
	return nil
}

// MayMatch says whether any rule may match the event of c once everything is known of it that is not known yet (the
// values of variables and of fields that are unavailable), or whether the rules keep state that the event is about. If
// not, no rule will.
func (m *Matcher) MayMatch(set *Set, c *secl.Context) bool {
	t := c.Event.Type
	if t >= event.NumTypes {
		return true
	}
	if set.keep.Has(t) {
		return true
	}
	x := set.filter[t]
	if x == nil {
		return false
	}
	m.found = x.find(m.found, c)
	for at := 0; ; {
		n, ok := m.found.next(at)
		if !ok {
			return false
		}
		if x.programs[n].Match(c) {
			return true
		}
		at = n + 1
	}
}

// freeze makes the indexes, when all rules are in.
func (s *Set) freeze() {
	for t := range event.NumTypes {
		rules := s.byType[t]
		if len(rules) == 0 {
			continue
		}
		programs, filters := make([]*secl.Program, len(rules)), make([]*secl.Program, len(rules))
		for i, r := range rules {
			programs[i], filters[i] = r.Program, r.filter
			for j := range r.effects {
				v := r.effects[j].variable
				if v == nil || v.Scope != secl.ScopeProcess || v.Inherited || slices.Contains(s.transient, v) {
					continue // the values of inherited variables are the descendants' too
				}
				s.transient = append(s.transient, v)
				s.keep |= event.Set(event.TypeExit) // their values go with the process
			}
		}
		s.index[t], s.filter[t] = newIndex(programs), newIndex(filters)
	}
}
