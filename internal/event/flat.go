// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Limits of a flat event.
const (
	maxFlatBytes     = 1 << 20
	maxFlatAncestors = 4096
	maxFlatMembers   = 65_536 // of one list
	maxConstDepth    = 1000   // operators and parentheses of a constant expression
)

// flatValue is a value of a flat event: the member that the field's type says.
type flatValue struct {
	b  bool
	i  int64
	s  string
	a  []string
	ip netip.Prefix
}

// flatValues are the values that a flat event gives to one object, by the names of rows. A nil one has none.
// Rows that no member of the model holds read them, and derived rows, because an explicit value wins.
type flatValues struct{ m map[string]*flatValue }

func (f *flatValues) put(name string, v *flatValue) {
	if f.m == nil {
		f.m = map[string]*flatValue{}
	}
	f.m[name] = v
}

func (f *flatValues) get(name string) *flatValue {
	if f == nil {
		return nil
	}
	return f.m[name]
}

func (f *flatValues) has(name string) bool { return f.get(name) != nil }

func (f *flatValues) bool(name string) bool {
	v := f.get(name)
	return v != nil && v.b
}

func (f *flatValues) int(name string) int64 {
	if v := f.get(name); v != nil {
		return v.i
	}
	return 0
}

func (f *flatValues) string(name string) string {
	if v := f.get(name); v != nil {
		return v.s
	}
	return ""
}

func (f *flatValues) strings(name string) []string {
	if v := f.get(name); v != nil {
		return v.a
	}
	return nil
}

// ParseNetwork reads an address or a network. Host bits are dropped; an address is the network of only itself, and a
// v4 address that is mapped into v6 is a v4 address.
func ParseNetwork(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is no IP address", s)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no network", s)
	}
	if const96 := 96; p.Addr().Is4In6() && p.Bits() >= const96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-const96)
	}
	return p.Masked(), nil
}

// ParseFlatEvent reads a flat event: a JSON object from SECL field names to values, with the event type under "type".
//
// Ints are numbers or constant expressions ("O_RDWR|O_CREAT"), addresses and networks are strings, arrays are lists of
// strings, timestamps are nanoseconds or relative ("now-5s"). "process.ancestors" is a list of objects, nearest first,
// with names relative to process, and so are the ancestors of a signal's target and of a tracee. What is not given is the zero value, unless it derives from what is given: argv gives
// args, mode gives rights. Legacy names are accepted. Without a type the event is of TypeAny.
func ParseFlatEvent(data []byte) (*Event, error) {
	return ParseFlatEventAt(data, Time(time.Now().UnixNano()))
}

// ParseFlatEventAt is ParseFlatEvent with the time that relative timestamps count from. If the event has an absolute
// event.timestamp they count from that.
func ParseFlatEventAt(data []byte, now Time) (*Event, error) {
	if len(data) > maxFlatBytes {
		return nil, fmt.Errorf("the event has %d bytes, more than %d", len(data), maxFlatBytes)
	}
	var members map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&members); err != nil {
		return nil, fmt.Errorf("the event is no JSON object: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the event is followed by something else")
	}
	if members == nil {
		return nil, errors.New("the event is no JSON object")
	}
	p := &flatParser{now: now, given: map[string]string{}, e: &Event{flat: &flatValues{}}}
	createActor(p.e).flat = &flatValues{}
	if err := p.parse(members); err != nil {
		return nil, err
	}
	return p.e, nil
}

type flatParser struct {
	e     *Event
	now   Time
	given map[string]string // the one name of a value → the name under which it was given
}

// Names in a flat event that are no fields.
const (
	flatType      = "type"
	flatTimestamp = "event.timestamp"
)

func (p *flatParser) parse(members map[string]any) error {
	if t, ok := members[flatType]; ok {
		name, ok := t.(string)
		if !ok {
			return fmt.Errorf("type is %s, not a string", jsonType(t))
		}
		if p.e.Type, ok = TypeByName(name); !ok {
			if IsUnproduced(name) {
				return fmt.Errorf("event type %q: Picket does not produce it yet", name)
			}
			return fmt.Errorf("unknown event type %q", name)
		}
	}
	if v, ok := members[flatTimestamp]; ok {
		if err := p.field(flatTimestamp, v); err != nil {
			return err
		}
		p.now = p.e.Date
	}
	for i := range lineages {
		if v, ok := members[lineages[i].name]; ok {
			if err := p.ancestors(&lineages[i], v); err != nil {
				return err
			}
		}
	}
	for name, v := range members {
		if name == flatType || name == flatTimestamp || IsIterator(name) {
			continue
		}
		if err := p.field(name, v); err != nil {
			return err
		}
	}
	return nil
}

// fits checks that what is of event type t may be in this event.
func (p *flatParser) fits(name string, t Type) error {
	switch {
	case t == TypeAny || t == p.e.Type:
		return nil
	case p.e.Type == TypeAny:
		return fmt.Errorf("field %q is of event type %s, and the event has no type", name, t)
	}
	return fmt.Errorf("field %q is of event type %s, and the event's is %s", name, t, p.e.Type)
}

// field sets one field.
func (p *flatParser) field(name string, raw any) error {
	f, ok := LookupField(name)
	if !ok {
		return fmt.Errorf("unknown field %q", name)
	}
	if err := p.fits(name, f.Event); err != nil {
		return err
	}
	if f.Iterator != "" {
		return p.elements(f, name, raw)
	}
	v, err := p.value(f, raw)
	if err != nil {
		return fmt.Errorf("field %q: %w", name, err)
	}
	// exec.x, exit.x and process.x are one value, as container.x and process.container.x.
	one := f.Name
	for _, alias := range []string{"exec.", "exit."} {
		if rest, ok := strings.CutPrefix(one, alias); ok && fieldTable["process."+rest] != nil {
			one = "process." + rest
		}
	}
	for _, alias := range []string{"container.", "cgroup."} {
		if strings.HasPrefix(one, alias) {
			one = "process." + one
		}
	}
	if other, ok := p.given[one]; ok && other != name {
		if same := fieldTable[one]; !sameValue(same, p.e, v) {
			return fmt.Errorf("fields %q and %q are one value and differ", min(name, other), max(name, other))
		}
	}
	p.given[one] = name
	if err := f.set(p.e, v); err != nil {
		return fmt.Errorf("field %q: %w", name, err)
	}
	return nil
}

// sameValue reports whether the field of e has the value v.
func sameValue(f *Field, e *Event, v *flatValue) bool {
	switch {
	case f.Bool != nil:
		return f.Bool(e) == v.b
	case f.Int != nil:
		return f.Int(e) == v.i
	case f.String != nil:
		return f.String(e) == v.s
	case f.IP != nil:
		return f.IP(e) == v.ip
	}
	return strings.Join(f.Strings(e), "\x00") == strings.Join(v.a, "\x00")
}

// ancestors reads the list of ancestors.
func (p *flatParser) ancestors(l *lineage, raw any) error {
	if err := p.fits(l.name, l.event); err != nil {
		return err
	}
	list, ok := raw.([]any)
	if !ok {
		return fmt.Errorf("%s is %s, not a list", l.name, jsonType(raw))
	}
	if len(list) > maxFlatAncestors {
		return fmt.Errorf("%s has more than %d elements", l.name, maxFlatAncestors)
	}
	if len(list) == 0 {
		return nil
	}
	owner := l.create(p.e)
	for i, x := range list {
		object, ok := x.(map[string]any)
		if !ok {
			return fmt.Errorf("%s[%d] is %s, not an object", l.name, i, jsonType(x))
		}
		a := &Process{flat: &flatValues{}}
		for name, raw := range object {
			f, ok := LookupField(l.name + "." + name)
			if !ok || f.Iterator == "" {
				return fmt.Errorf("%s[%d]: unknown field %q", l.name, i, name)
			}
			v, err := p.value(f, raw)
			if err == nil {
				err = f.setElem(a, v)
			}
			if err != nil {
				return fmt.Errorf("%s[%d]: field %q: %w", l.name, i, name, err)
			}
		}
		owner.Ancestors = append(owner.Ancestors, a)
	}
	return nil
}

// elements sets a field of the ancestors from the list of its values, nearest first.
func (p *flatParser) elements(f *Field, name string, raw any) error {
	list, ok := raw.([]any)
	if !ok {
		return fmt.Errorf("field %q is %s, not a list with one value per ancestor", name, jsonType(raw))
	}
	if len(list) > maxFlatAncestors {
		return fmt.Errorf("field %q has more than %d elements", name, maxFlatAncestors)
	}
	if len(list) == 0 {
		return nil
	}
	owner := lineageOf(f.Iterator).create(p.e)
	for i, x := range list {
		if i == len(owner.Ancestors) {
			owner.Ancestors = append(owner.Ancestors, &Process{flat: &flatValues{}})
		}
		v, err := p.value(f, x)
		if err == nil {
			err = f.setElem(owner.Ancestors[i], v)
		}
		if err != nil {
			return fmt.Errorf("field %q, element %d: %w", name, i, err)
		}
	}
	return nil
}

// value reads a JSON value as the field's type wants it.
func (p *flatParser) value(f *Field, raw any) (*flatValue, error) {
	mismatch := func() (*flatValue, error) {
		want := f.Kind.String()
		if f.Array {
			want = "list of " + want + "s"
		}
		return nil, fmt.Errorf("%s, expected %s", jsonType(raw), want)
	}
	if f.Array {
		list, ok := raw.([]any)
		if !ok {
			return mismatch()
		}
		if len(list) > maxFlatMembers {
			return nil, fmt.Errorf("more than %d members", maxFlatMembers)
		}
		v := &flatValue{a: make([]string, len(list))}
		for i, x := range list {
			if v.a[i], ok = x.(string); ok {
				continue
			}
			n, ok := x.(json.Number)
			if !ok || f.Kind != KindInt {
				return nil, fmt.Errorf("member %d is %s, expected %s", i, jsonType(x), map[bool]string{true: "a number or a constant", false: "a string"}[f.Kind == KindInt])
			}
			v.a[i] = n.String()
		}
		return v, nil
	}
	switch x := raw.(type) {
	case bool:
		if f.Kind == KindBool {
			return &flatValue{b: x}, nil
		}
	case json.Number:
		if f.Kind == KindInt {
			n, err := strconv.ParseInt(x.String(), 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%s is no integer of 64 bits", x)
			}
			return &flatValue{i: n}, nil
		}
	case string:
		switch f.Kind {
		case KindString:
			return &flatValue{s: x}, nil
		case KindIP:
			ip, err := ParseNetwork(x)
			return &flatValue{ip: ip}, err
		case KindInt:
			n, err := p.text(f, x)
			return &flatValue{i: n}, err
		}
	}
	return mismatch()
}

// text reads the text of an int: a constant expression, or for a timestamp a time relative to now.
func (p *flatParser) text(f *Field, s string) (int64, error) {
	if rest, ok := strings.CutPrefix(strings.ReplaceAll(s, " ", ""), "now"); ok && f.Timestamp {
		if rest == "" {
			return int64(p.now), nil
		}
		d, err := time.ParseDuration(rest)
		if err != nil || rest[0] != '-' && rest[0] != '+' {
			return 0, fmt.Errorf("%q is no time relative to now, such as now-5s", s)
		}
		return int64(p.now) + int64(d), nil
	}
	return ParseConstant(s)
}

func jsonType(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a bool"
	case json.Number:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "a list"
	}
	return "an object"
}

// ParseConstant evaluates a constant expression of ints: decimal numbers, constants, + - & | ^ and parentheses, with the
// precedence of the rule language: & | ^ bind tighter than + and -.
func ParseConstant(s string) (int64, error) {
	p := constParser{src: s}
	v, err := p.sum()
	if err != nil {
		return 0, err
	}
	if p.peek(); p.off < len(s) {
		return 0, fmt.Errorf("%q: unexpected %q", s, s[p.off:])
	}
	return v, nil
}

type constParser struct {
	src   string
	off   int
	depth int
}

// peek returns the next character that is no space; 0 at the end.
func (p *constParser) peek() byte {
	for p.off < len(p.src) && (p.src[p.off] == ' ' || p.src[p.off] == '\t') {
		p.off++
	}
	if p.off == len(p.src) {
		return 0
	}
	return p.src[p.off]
}

func (p *constParser) sum() (int64, error) {
	v, err := p.bits()
	for err == nil {
		op := p.peek()
		if op != '+' && op != '-' {
			return v, nil
		}
		p.off++
		var r int64
		if r, err = p.bits(); op == '+' {
			v += r
		} else {
			v -= r
		}
	}
	return 0, err
}

func (p *constParser) bits() (int64, error) {
	if p.depth++; p.depth > maxConstDepth {
		return 0, fmt.Errorf("%q: nested more than %d levels deep", p.src, maxConstDepth)
	}
	defer func() { p.depth-- }()
	v, err := p.unary()
	if err != nil {
		return 0, err
	}
	op := p.peek()
	if op != '&' && op != '|' && op != '^' {
		return v, nil
	}
	p.off++
	r, err := p.bits()
	switch op {
	case '&':
		v &= r
	case '|':
		v |= r
	default:
		v ^= r
	}
	return v, err
}

func (p *constParser) unary() (int64, error) {
	switch c := p.peek(); c {
	case '-', '^':
		if p.depth++; p.depth > maxConstDepth {
			return 0, fmt.Errorf("%q: nested more than %d levels deep", p.src, maxConstDepth)
		}
		defer func() { p.depth-- }()
		p.off++
		v, err := p.unary()
		if c == '^' {
			return ^v, err
		}
		return -v, err
	case '(':
		p.off++
		v, err := p.sum()
		if err == nil && p.peek() != ')' {
			return 0, fmt.Errorf("%q: a parenthesis is not closed", p.src)
		}
		p.off++
		return v, err
	}
	start := p.off
	for p.off < len(p.src) && (isAlphanumeric(p.src[p.off]) || p.src[p.off] == '_') {
		p.off++
	}
	word := p.src[start:p.off]
	if k, ok := Constants[word]; ok && k.Kind == KindInt {
		return k.Int, nil
	}
	if word == "" {
		return 0, fmt.Errorf("%q: expected a number or a constant", p.src)
	}
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is neither a constant nor an integer of 64 bits", word)
	}
	return n, nil
}

// unproduced are the event types of the rule language that Picket does not produce yet, and its other roots of fields.
var unproduced = func() map[string]bool {
	m := map[string]bool{}
	for _, name := range strings.Fields(`capabilities cgroup_write fim imds network_flow_monitor ondemand packet prctl setrlimit
		setsockopt socket sysctl unshare`) {
		m[name] = true
	}
	return m
}()

// IsUnproduced reports whether name is an event type, or the root of fields, that the rule language has and Picket does
// not produce yet.
func IsUnproduced(name string) bool { return unproduced[name] }
