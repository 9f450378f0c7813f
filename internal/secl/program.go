// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"net/netip"

	"github.com/picketsec/picket/internal/event"
)

// Context is what a Program is evaluated against. It is reusable, and not for concurrent use.
type Context struct {
	Event *event.Event
	Now   event.Time // what durations count back from: the event's timestamp
	Host  string     // host.id of the event; variables of different hosts are apart

	process  uint64                       // whose variables are meant by scope process; 0: those of the acting process
	elements [MaxIterators]*event.Process // what each iterator variable is bound to
	scratch  []byte                       // text of string templates; never overwritten within one evaluation
	bools    []bool                       // the slots of a Program, as the following
	strings  []string
	ints     []int64
	ips      []netip.Prefix
}

// Program is a compiled expression. It is immutable and safe for concurrent use, each user with a Context of its own.
type Program struct {
	eventType event.Type
	fields    []*event.Field
	need      event.Need
	variables []*Variable
	weight    int
	retval    bool // it reads the return value
	notes     []string

	root      operand
	iterators int            // iterator variables in use
	over      []*event.Field // of each, a field of the iterator that it runs over
	slots     slots
}

// slots counts the places that a Program needs in a Context.
type slots struct{ bools, strings, ints, ips int }

// EventType is the type of event that the expression is about; event.TypeAny if it reads only what every event has.
func (p *Program) EventType() event.Type { return p.eventType }

// Fields are the fields that the expression reads, in the order of their first use.
func (p *Program) Fields() []*event.Field { return p.fields }

// Need is what a Decoder must read of a record for the expression.
func (p *Program) Need() event.Need { return p.need }

// Notes say what of the expression is most likely not what was meant.
func (p *Program) Notes() []string { return p.notes }

// Variables are the variables that the expression reads.
func (p *Program) Variables() []*Variable { return p.variables }

// Weight is the relative cost of one evaluation.
func (p *Program) Weight() int { return p.weight }

// Unavailable appends to dst the names of the fields that the expression reads and the event does not know.
// They were evaluated as the zero value.
func (p *Program) Unavailable(dst []string, e *event.Event) []string {
	for _, f := range p.fields {
		if f.Available != nil && !f.Available(e) {
			dst = append(dst, f.Name)
		}
	}
	return dst
}

// Match evaluates a boolean Program. An event of another type than the expression is about does not match, nor does one of
// an outcome that it is not about.
func (p *Program) Match(c *Context) bool {
	if p.eventType != event.TypeAny && c.Event.Type != p.eventType || !p.isAbout(c.Event) {
		return false
	}
	p.prepare(c)
	if p.iterators == 0 {
		return p.root.b(c)
	}
	return p.iterate(c, 0)
}

// isAbout says whether an expression is about events of this outcome. Those with another error than EACCES and EPERM are
// there for who asked for them: they are only for expressions that read the return value. A failed exec made no process, and
// has no expression at all.
func (p *Program) isAbout(e *event.Event) bool {
	switch e.Evt.Outcome {
	case event.OutcomeError:
		return p.retval
	case event.OutcomeRefused:
		return e.Type != event.TypeExec
	}
	return true
}

// prepare makes c fit for p.
func (p *Program) prepare(c *Context) {
	c.scratch = c.scratch[:0]
	if len(c.bools) < p.slots.bools {
		c.bools = make([]bool, p.slots.bools)
	}
	if len(c.strings) < p.slots.strings {
		c.strings = make([]string, p.slots.strings)
	}
	if len(c.ints) < p.slots.ints {
		c.ints = make([]int64, p.slots.ints)
	}
	if len(c.ips) < p.slots.ips {
		c.ips = make([]netip.Prefix, p.slots.ips)
	}
}

// iterate binds the iterator variables from n on to every combination of elements until the expression is true.
// Without an element there is nothing to bind, and no match.
func (p *Program) iterate(c *Context, n int) bool {
	for _, element := range p.over[n].Elements(c.Event) {
		c.elements[n] = element
		if n+1 < p.iterators {
			if p.iterate(c, n+1) {
				return true
			}
			continue
		}
		c.scratch = c.scratch[:0]
		if p.root.b(c) {
			return true
		}
	}
	return false
}

// Eval evaluates a Program of CompileValue. Its strings are valid until the next use of c.
func (p *Program) Eval(c *Context) Value {
	p.prepare(c)
	return p.root.value(c)
}
