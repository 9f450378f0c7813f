// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package secl

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picketsec/picket/internal/event"
)

// Scope is whose a variable's values are.
type Scope uint8

// The scopes. A reference names the scope before the variable: ${process.name}; without one it is global.
const (
	ScopeGlobal Scope = iota
	ScopeProcess
	ScopeContainer
	ScopeCgroup
)

var scopeNames = [...]string{"", "process", "container", "cgroup"}

func (s Scope) String() string { return scopeNames[s] }

// ParseScope is the inverse of String.
func ParseScope(s string) (Scope, error) {
	if i := slices.Index(scopeNames[:], s); i >= 0 {
		return Scope(i), nil
	}
	return 0, fmt.Errorf("unknown variable scope %q: it is process, container or cgroup", s)
}

// Bounds of what variables may hold.
const (
	DefaultListSize  = 100
	MaxListSize      = 10_000
	MaxVariableCells = 65_536   // values of one variable: processes, containers or cgroups of all hosts that have one
	MaxVariableBytes = 64 << 20 // what these take in memory, about
	MaxStringBytes   = 64 << 10
	MaxListBytes     = MaxVariableBytes / 16 // what one list takes, about
)

// Value is the value of a variable or an expression: the member that Kind and List say is set.
type Value struct {
	Kind    event.Kind
	List    bool
	Bool    bool
	Int     int64
	String  string
	IP      netip.Prefix
	Strings []string
	Ints    []int64
	IPs     []netip.Prefix
}

// VariableSpec declares a variable.
type VariableSpec struct {
	Scope     Scope
	Name      string // without the scope
	Kind      event.Kind
	List      bool
	TTL       time.Duration // 0: no end. Of a list: for each element
	Size      int           // of a list: how many elements it keeps, the oldest go first; 0 is DefaultListSize
	Inherited bool          // ScopeProcess: a process without a value has that of its nearest ancestor with one
	Private   bool          // not written into detections
	Default   Value         // what it reads as while it is not set; the zero Value is the zero value of its type
}

// Ref is the name that references use: the scope and the name.
func (s *VariableSpec) Ref() string {
	if s.Scope == ScopeGlobal {
		return s.Name
	}
	return s.Scope.String() + "." + s.Name
}

func (s *VariableSpec) typeName() string {
	if s.List {
		return s.Kind.String() + " list"
	}
	return s.Kind.String()
}

// Variables are declared variables and their values. It is safe for concurrent use.
type Variables struct {
	mu      sync.RWMutex
	vars    map[string]*Variable
	old     *Variables // whose values go on
	evicted *atomic.Uint64
}

// NewVariables returns a Variables without any.
func NewVariables() *Variables {
	return &Variables{vars: map[string]*Variable{}, evicted: new(atomic.Uint64)}
}

// Continue makes variables that are declared from here on begin with the values that those of the same name, scope and type
// have in old, and share them with these: who still uses old sees the same.
func (v *Variables) Continue(old *Variables) {
	if v.old = old; old != nil {
		v.evicted = old.evicted
	}
}

// Evicted returns how many values were dropped because a variable had MaxVariableCells or MaxVariableBytes; with those of the
// variables that these continue.
func (v *Variables) Evicted() uint64 { return v.evicted.Load() }

// Forget removes all values of a host.
func (v *Variables) Forget(host string) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for _, x := range v.vars {
		x.mu.Lock()
		x.cells.forget(host)
		x.mu.Unlock()
	}
}

// Declare adds a variable. Declaring it again with the same type returns the one that exists; another type is an error.
func (v *Variables) Declare(spec VariableSpec) (*Variable, error) {
	if !isReference(spec.Name) || strings.ContainsAny(spec.Name, "[]") {
		return nil, fmt.Errorf("%q is no name for a variable", spec.Name)
	}
	if spec.Kind < event.KindBool || spec.Kind > event.KindIP || spec.List && spec.Kind == event.KindBool {
		return nil, fmt.Errorf("variable %q: a variable of type %s cannot be", spec.Ref(), spec.typeName())
	}
	if spec.Inherited && spec.Scope != ScopeProcess {
		return nil, fmt.Errorf("variable %q: only variables of scope process are inherited", spec.Ref())
	}
	if spec.Size < 0 || spec.Size > MaxListSize {
		return nil, fmt.Errorf("variable %q: size %d is out of range, 1 to %d", spec.Ref(), spec.Size, MaxListSize)
	}
	if spec.Size == 0 {
		spec.Size = DefaultListSize
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if old, ok := v.vars[spec.Ref()]; ok {
		if old.Kind != spec.Kind || old.List != spec.List {
			return nil, fmt.Errorf("variable %q is of type %s and of type %s", spec.Ref(), old.typeName(), spec.typeName())
		}
		return old, nil
	}
	nv := &Variable{VariableSpec: spec}
	if old, ok := v.old.Lookup(spec.Ref()); ok && old.Kind == spec.Kind && old.List == spec.List {
		nv.values = old.values
	} else {
		nv.values = &values{cells: cells{hosts: map[string]*hostCells{}}, evicted: v.evicted}
	}
	v.vars[spec.Ref()] = nv
	return nv, nil
}

// Lookup finds a variable by its reference.
func (v *Variables) Lookup(ref string) (*Variable, bool) {
	if v == nil {
		return nil, false
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	x, ok := v.vars[ref]
	return x, ok
}

// All returns the variables, sorted by reference.
func (v *Variables) All() []*Variable {
	if v == nil {
		return nil
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	return slices.SortedFunc(maps.Values(v.vars), func(a, b *Variable) int { return strings.Compare(a.Ref(), b.Ref()) })
}

// Release forgets the value of a scope that has ended: a process by its id, a container or cgroup by its name.
func (v *Variable) Release(host string, process uint64, name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.cells.remove(scopeKey{host, owner{process, name}})
}

// Variable is a declared variable with its values.
type Variable struct {
	VariableSpec
	*values
}

type values struct {
	mu      sync.RWMutex
	cells   cells
	evicted *atomic.Uint64 // of all Variables
}

// ErrNoScope is returned by Set if the event has no process, container or cgroup that the value could be of.
var ErrNoScope = errors.New("the event is not in the variable's scope")

// key returns whose value the event reads or sets.
func (v *Variable) key(c *Context) (k scopeKey, ok bool) {
	k.host = c.Host
	e := c.Event
	if v.Scope == ScopeGlobal {
		return k, true
	}
	if e == nil {
		return k, false
	}
	switch v.Scope {
	case ScopeProcess:
		if k.process = c.process; k.process == 0 {
			k.process = ProcessKey(e)
		}
		return k, k.process != 0
	case ScopeContainer:
		k.name = containerID.String(e)
	case ScopeCgroup:
		k.name = cgroupID.String(e)
	}
	return k, k.name != ""
}

var (
	containerID, _ = event.LookupField("container.id")
	cgroupID, _    = event.LookupField("cgroup.id")
)

// ProcessKey is by what variables tell the process of an event; 0 if the event has none.
func ProcessKey(e *event.Event) uint64 { return processKey(e.Facts.ProcessID, e.Process.Process) }

// processKey is the process id of the kernel side, or the pid if that is not known.
func processKey(id uint64, p *event.Process) uint64 {
	switch {
	case id != 0:
		return id
	case p == nil:
		return 0
	case p.ID != 0:
		return p.ID
	}
	return uint64(p.PID)
}

// cell returns what the event reads, or nil if that is not set or has expired.
func (v *Variable) cell(c *Context) *cell {
	k, ok := v.key(c)
	if !ok {
		return nil
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	if x := v.cells.get(k); x.live(c.Now) {
		return x
	}
	if !v.Inherited || v.cells.n == 0 || c.Event == nil || c.process != 0 {
		return nil
	}
	// What an image did between its fork and its first exec is in no list of ancestors: the program takes its place there.
	if x := v.before(k, c); x != nil {
		return x
	}
	for i, p := range c.Event.Process.Ancestors {
		var id uint64
		if i < len(c.Event.Facts.AncestorIDs) {
			id = c.Event.Facts.AncestorIDs[i]
		}
		k.process = processKey(id, p)
		if x := v.cells.get(k); x.live(c.Now) {
			return x
		}
		if x := v.before(k, c); x != nil {
			return x
		}
	}
	return nil
}

// before returns the value of the image that was there before the last exec of k's process, or nil.
func (v *Variable) before(k scopeKey, c *Context) *cell {
	k.process = event.PreviousImage(k.process)
	if x := v.cells.get(k); x.live(c.Now) {
		return x
	}
	return nil
}

// value returns what the event reads, the default if it is not set.
func (v *Variable) value(c *Context) *Value {
	if x := v.cell(c); x != nil {
		return &x.value
	}
	return &v.Default
}

// list returns what the event reads from a list; ends[i] is when element i expires, and may be nil.
func (v *Variable) list(c *Context) (val *Value, ends []event.Time) {
	if x := v.cell(c); x != nil {
		return &x.value, x.elements
	}
	return &v.Default, nil
}

func expired(ends []event.Time, i int, now event.Time) bool {
	return i < len(ends) && ends[i] != 0 && now >= ends[i]
}

// Get returns the value that the event of c reads. Expired elements of a list are not in it.
func (v *Variable) Get(c *Context) Value {
	if !v.List {
		r := *v.value(c)
		r.Kind = v.Kind
		return r
	}
	val, ends := v.list(c)
	r := Value{Kind: v.Kind, List: true}
	for i, s := range val.Strings {
		if !expired(ends, i, c.Now) {
			r.Strings = append(r.Strings, s)
		}
	}
	for i, n := range val.Ints {
		if !expired(ends, i, c.Now) {
			r.Ints = append(r.Ints, n)
		}
	}
	for i, ip := range val.IPs {
		if !expired(ends, i, c.Now) {
			r.IPs = append(r.IPs, ip)
		}
	}
	return r
}

// Set sets the variable for the event of c, or appends: a list gets elements, an int is added to, a string continued.
// A scalar value of a list variable is a list of one. Set returns ErrNoScope if the event is not in the variable's scope.
func (v *Variable) Set(c *Context, val Value, appending bool) error {
	if val.Kind != v.Kind || val.List && !v.List {
		return fmt.Errorf("variable %q is of type %s, not %s", v.Ref(), v.typeName(), val.Kind)
	}
	k, ok := v.key(c)
	if !ok {
		return ErrNoScope
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.cells.get(k)
	if !old.live(c.Now) || !appending {
		old = nil
	}
	x := &cell{value: Value{Kind: v.Kind, List: v.List}}
	switch {
	case v.List:
		if x.elements = v.merge(c.Now, old, val, &x.value); x.bytes() > MaxListBytes {
			return v.errTooLong(MaxListBytes)
		}
	case len(val.String) > MaxStringBytes:
		return v.errTooLong(MaxStringBytes)
	case !appending || old == nil:
		x.value = val
		x.value.String = strings.Clone(val.String) // it may be a view of the context's scratch
	case v.Kind == event.KindInt:
		x.value.Int = old.value.Int + val.Int
	case v.Kind == event.KindString:
		if len(old.value.String)+len(val.String) > MaxStringBytes {
			return v.errTooLong(MaxStringBytes)
		}
		x.value.String = old.value.String + val.String
	default:
		return fmt.Errorf("variable %q: a %s cannot be appended to", v.Ref(), v.Kind)
	}
	if v.TTL > 0 && !v.List {
		x.expires = c.Now + event.Time(v.TTL)
	}
	if n := v.cells.put(k, x, c.Now); n > 0 {
		v.evicted.Add(uint64(n))
	}
	return nil
}

func (v *Variable) errTooLong(limit int) error {
	return fmt.Errorf("variable %q would be longer than %d bytes", v.Ref(), limit)
}

// merge puts the live elements of old and those of val into dst, the newest last and each once, and returns when they expire.
func (v *Variable) merge(now event.Time, old *cell, val Value, dst *Value) []event.Time {
	var end event.Time
	if v.TTL > 0 {
		end = now + event.Time(v.TTL)
	}
	var was Value
	var ends []event.Time
	if old != nil {
		was, ends = old.value, old.elements
	}
	var out []event.Time
	switch v.Kind {
	case event.KindString:
		given := val.Strings
		if !val.List {
			given = []string{val.String}
		}
		add := make([]string, len(given))
		for i, s := range given {
			add[i] = strings.Clone(s)
		}
		dst.Strings, out = mergeLists(was.Strings, ends, add, now, end, v.Size)
	case event.KindInt:
		add := val.Ints
		if !val.List {
			add = []int64{val.Int}
		}
		dst.Ints, out = mergeLists(was.Ints, ends, add, now, end, v.Size)
	case event.KindIP:
		add := val.IPs
		if !val.List {
			add = []netip.Prefix{val.IP}
		}
		dst.IPs, out = mergeLists(was.IPs, ends, add, now, end, v.Size)
	}
	return out
}

func mergeLists[T comparable](old []T, ends []event.Time, add []T, now, end event.Time, size int) ([]T, []event.Time) {
	list := make([]T, 0, len(old)+len(add))
	expiry := make([]event.Time, 0, len(old)+len(add))
	for i, x := range old {
		if !expired(ends, i, now) && !slices.Contains(add, x) {
			list = append(list, x)
			expiry = append(expiry, ends[i])
		}
	}
	for i, x := range add {
		if !slices.Contains(add[i+1:], x) { // the last of equal ones counts
			list = append(list, x)
			expiry = append(expiry, end)
		}
	}
	if over := len(list) - size; over > 0 {
		list, expiry = list[over:], expiry[over:]
	}
	return list, expiry
}
