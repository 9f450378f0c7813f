// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"net/netip"
	"slices"
	"strings"
)

// Kind is the type of a SECL field's value, or of its elements if the field is an array.
type Kind uint8

// The kinds of values.
const (
	KindBool Kind = iota + 1
	KindInt
	KindString
	KindIP // an address or a network
)

func (k Kind) String() string {
	switch k {
	case KindBool:
		return "bool"
	case KindInt:
		return "int"
	case KindString:
		return "string"
	case KindIP:
		return "IP"
	}
	return "invalid"
}

// FieldSource says where the value of a field comes from.
type FieldSource uint8

// The sources of fields.
const (
	FieldBody        FieldSource = iota + 1 // a member of the CSM Threats JSON
	FieldAttribute                          // a picket.* attribute of the record (Facts)
	FieldDerived                            // computed from other fields
	FieldUnavailable                        // no part of Picket fills it yet: it reads as the zero value
)

func (s FieldSource) String() string {
	switch s {
	case FieldBody:
		return "body"
	case FieldAttribute:
		return "attribute"
	case FieldDerived:
		return "derived"
	case FieldUnavailable:
		return "unavailable"
	}
	return "invalid"
}

// Costs of reading a field. Only their order matters: the lighter operand of && and || runs first.
const (
	weightMember   = 1
	weightDerived  = 5
	weightIterator = 50
)

// Field is one field of the rule language: its type, and how to read it from an Event without allocation.
//
// Exactly one of Bool, Int, String, Strings, Ints (with IntAt) and IP is set, according to Kind and Array. A field with an Iterator has none
// of them: it is an array with one value per element (several if Array is set), which the Elem functions read.
// All of them return the zero value if the event does not have what they read.
type Field struct {
	Name     string
	Event    Type // TypeAny: every event has it
	Kind     Kind
	Array    bool                    // Strings instead of String
	Iterator string                  // name of the iterator that the field runs over, such as process.ancestors; empty if none
	Elements func(*Event) []*Process // the elements of the Iterator, nearest first; nil without one

	PathGlob        bool // patterns are globs by path segment, values must be absolute
	CaseInsensitive bool
	Extension       bool // a file extension: values may be written without the dot
	Timestamp       bool // nanoseconds since the epoch
	MaxBytes        int  // no value is longer; 0: there is no limit
	HasLength       bool // Name + ".length" is a field too
	Weight          int
	Need            Need // what the Decoder must read for it
	Source          FieldSource

	Bool    func(*Event) bool
	Int     func(*Event) int64
	String  func(*Event) string
	Strings func(*Event) []string
	IP      func(*Event) netip.Prefix
	// An array of ints is read one by one: so many there are, and the one at an index.
	Ints  func(*Event) int
	IntAt func(e *Event, i int) int64

	ElemBool    func(*Process) bool
	ElemInt     func(*Process) int64
	ElemString  func(*Process) string
	ElemStrings func(*Process) []string

	// Available says whether the event knows the value; a field that is not available reads as the zero value.
	// nil: always.
	Available func(*Event) bool

	set     func(*Event, *flatValue) error   // for flat events
	setElem func(*Process, *flatValue) error // the same for an iterator's element
}

// Type describes the type of the field's value as rules see it, such as "string" or "int array".
func (f *Field) Type() string {
	if f.Array || f.Iterator != "" {
		return f.Kind.String() + " array"
	}
	return f.Kind.String()
}

var fieldTable = buildFields()

// LookupField finds a field by its SECL name. Legacy names (open.filename, process.name) find the field that
// replaced them.
func LookupField(name string) (*Field, bool) {
	if canonical, ok := legacyNames[name]; ok {
		name = canonical
	}
	f, ok := fieldTable[name]
	return f, ok
}

// Fields returns all fields, sorted by name. Legacy names are not among them.
func Fields() []*Field {
	fs := make([]*Field, 0, len(fieldTable))
	for _, f := range fieldTable {
		fs = append(fs, f)
	}
	slices.SortFunc(fs, func(a, b *Field) int { return strings.Compare(a.Name, b.Name) })
	return fs
}

// IteratorAncestors is the iterator over the ancestors of the acting process, nearest first.
const IteratorAncestors = "process.ancestors"

// lineage is an iterator: the ancestors of a process of the event, nearest first.
type lineage struct {
	name   string
	event  Type
	need   Need
	get    func(*Event) *ProcessContext // nil if the event has none
	create func(*Event) *ProcessContext // for flat events: get, or make one
}

// lineages are all iterators.
var lineages = []lineage{
	{
		name: IteratorAncestors, get: func(e *Event) *ProcessContext { return &e.Process },
		create: func(e *Event) *ProcessContext { return &e.Process },
	},
	{name: "signal.target.ancestors", event: TypeSignal, need: NeedOther, get: targetOf, create: createTargetContext},
	{name: "ptrace.tracee.ancestors", event: TypePTrace, need: NeedOther, get: targetOf, create: createTargetContext},
}

func (l *lineage) elements(e *Event) []*Process {
	if p := l.get(e); p != nil {
		return p.Ancestors
	}
	return nil
}

func lineageOf(name string) *lineage {
	if i := slices.IndexFunc(lineages, func(l lineage) bool { return l.name == name }); i >= 0 {
		return &lineages[i]
	}
	return nil
}

// IsIterator reports whether name is an iterator; fields below it may be bound to one element by name[X].
func IsIterator(name string) bool { return lineageOf(name) != nil }

// row is a field relative to an object of type T. The same rows serve every object of that type.
type row[T any] struct {
	name   string
	source FieldSource
	prop   prop
	need   Need

	b  func(*T) bool
	i  func(*T) int64
	s  func(*T) string
	a  func(*T) []string
	ip func(*T) netip.Prefix
	n  func(*T) int // length of an array of ints, and
	at func(*T, int) int64

	has func(*T) bool // nil: known whenever the object is there

	// Setters for flat events; none: the value goes to the object's flat values under name.
	setB func(*T, bool)
	setI func(*T, int64) error
	setS func(*T, string)
	setA func(*T, []string)
}

type prop uint8

const (
	propPath prop = 1 << iota
	propExtension
	propTimestamp
	propNoCase
	propBPFName
)

// maxBPFName is the length of the kernel's names of BPF maps and programs.
const maxBPFName = 16

// object is where rows of type T are found below a name.
type object[T any] struct {
	prefix string
	event  Type
	need   Need
	get    func(*Event) *T // nil if the event has none
	create func(*Event) *T // for flat events: get, or make one
	flat   func(*T) **flatValues
	// For objects of an iterator's element, instead of get and create.
	of         *lineage
	elem       func(*Process) *T
	createElem func(*Process) *T
}

type fields map[string]*Field

// add adds the rows to the object; names selects some of them, and all if empty.
func add[T any](fs fields, o object[T], rows []row[T], names ...string) {
	for n := range rows {
		r := &rows[n]
		if len(names) > 0 && !slices.Contains(names, r.name) {
			continue
		}
		f := &Field{
			Name: o.prefix + r.name, Event: o.event, Need: o.need | r.need, Source: r.source, Weight: weightMember,
			PathGlob: r.prop&propPath != 0, Extension: r.prop&propExtension != 0, Timestamp: r.prop&propTimestamp != 0,
			CaseInsensitive: r.prop&(propExtension|propNoCase) != 0,
		}
		if r.prop&propBPFName != 0 {
			f.MaxBytes = maxBPFName
		}
		if r.source == FieldDerived {
			f.Weight = weightDerived
		}
		setKind(f, r)
		if o.elem != nil {
			f.Iterator, f.Elements = o.of.name, o.of.elements
			f.Weight += weightIterator
			bindElem(f, r, o)
		} else {
			bind(f, r, o)
		}
		fs[f.Name] = f
	}
}

func setKind[T any](f *Field, r *row[T]) {
	switch {
	case r.b != nil:
		f.Kind = KindBool
	case r.i != nil:
		f.Kind = KindInt
	case r.s != nil:
		f.Kind = KindString
	case r.a != nil:
		f.Kind, f.Array = KindString, true
	case r.ip != nil:
		f.Kind = KindIP
	case r.n != nil:
		f.Kind, f.Array = KindInt, true
	}
}

func bind[T any](f *Field, r *row[T], o object[T]) {
	get := o.get
	switch {
	case r.b != nil:
		read := r.b
		f.Bool = func(e *Event) bool { t := get(e); return t != nil && read(t) }
	case r.i != nil:
		read := r.i
		f.Int = func(e *Event) int64 {
			if t := get(e); t != nil {
				return read(t)
			}
			return 0
		}
	case r.s != nil:
		read := r.s
		f.String = func(e *Event) string {
			if t := get(e); t != nil {
				return read(t)
			}
			return ""
		}
	case r.a != nil:
		read := r.a
		f.Strings = func(e *Event) []string {
			if t := get(e); t != nil {
				return read(t)
			}
			return nil
		}
	case r.ip != nil:
		read := r.ip
		f.IP = func(e *Event) netip.Prefix {
			if t := get(e); t != nil {
				return read(t)
			}
			return netip.Prefix{}
		}
	}
	if r.n != nil {
		n, at := r.n, r.at
		f.Ints = func(e *Event) int {
			if t := get(e); t != nil {
				return n(t)
			}
			return 0
		}
		f.IntAt = func(e *Event, i int) int64 { return at(get(e), i) }
	}
	name, unavailable, attribute, has := r.name, r.source == FieldUnavailable, r.source == FieldAttribute, r.has
	inBody := bodyRows[name]
	if unavailable || attribute || has != nil {
		f.Available = func(e *Event) bool {
			t := get(e)
			switch {
			case attribute && e.body != 0:
				return e.body&inBody != 0
			case t == nil:
				return !unavailable
			case (*o.flat(t)).has(name):
				return true
			case has != nil:
				return has(t)
			}
			return !unavailable
		}
	}
	f.set = func(e *Event, v *flatValue) error { return setRow(o.create(e), r, o, v) }
}

func bindElem[T any](f *Field, r *row[T], o object[T]) {
	get := o.elem
	switch {
	case r.b != nil:
		read := r.b
		f.ElemBool = func(p *Process) bool { t := get(p); return t != nil && read(t) }
	case r.i != nil:
		read := r.i
		f.ElemInt = func(p *Process) int64 {
			if t := get(p); t != nil {
				return read(t)
			}
			return 0
		}
	case r.s != nil:
		read := r.s
		f.ElemString = func(p *Process) string {
			if t := get(p); t != nil {
				return read(t)
			}
			return ""
		}
	case r.a != nil:
		read := r.a
		f.ElemStrings = func(p *Process) []string {
			if t := get(p); t != nil {
				return read(t)
			}
			return nil
		}
	}
	switch r.source {
	case FieldUnavailable:
		f.Available = func(e *Event) bool { return e.flat != nil }
	case FieldAttribute:
		f.Available = func(e *Event) bool { return e.body == 0 }
	}
	f.setElem = func(p *Process, v *flatValue) error { return setRow(o.createElem(p), r, o, v) }
}

// setRow gives a row of t the value v, whose type is right. The value is kept among the flat values too, so that derived
// fields know what was given.
func setRow[T any](t *T, r *row[T], o object[T], v *flatValue) error {
	flat := o.flat(t)
	if *flat == nil {
		*flat = &flatValues{}
	}
	(*flat).put(r.name, v)
	switch {
	case r.setB != nil:
		r.setB(t, v.b)
	case r.setI != nil:
		return r.setI(t, v.i)
	case r.setS != nil:
		r.setS(t, v.s)
	case r.setA != nil:
		r.setA(t, v.a)
	}
	return nil
}

// buildFields puts the rows of every object together. Adding a field is adding a row (fields_rows.go); adding an event
// type is a few lines here.
func buildFields() fields {
	fs := make(fields, 2048)

	// Processes.
	for _, root := range []struct {
		prefix string
		event  Type
	}{{"process.", TypeAny}, {"exec.", TypeExec}, {"exit.", TypeExit}} {
		addProcess(fs, root.prefix, root.event, NeedProcess, actor, createActor)
		add(fs, object[Event]{
			prefix: root.prefix, event: root.event, need: NeedProcess | NeedFacts,
			get: self, create: self, flat: flatOfEvent,
		}, actorRows)
	}
	addProcess(fs, "process.parent.", TypeAny, NeedParent, parent, createParent)
	for i := range lineages {
		addAncestors(fs, &lineages[i])
	}
	add(fs, object[Event]{get: self, create: self, flat: flatOfEvent}, commonRows)
	add(fs, object[File]{
		prefix: "exec.file.metadata.", event: TypeExec, flat: flatOfFile,
		get:    func(e *Event) *File { return executable(actor(e)) },
		create: func(e *Event) *File { return createExecutable(createActor(e)) },
	}, metadataRows)

	// container.* and cgroup.* of the event are those of the acting process.
	for name, f := range fs {
		short, ok := strings.CutPrefix(name, "process.")
		if ok && (strings.HasPrefix(short, "container.") || strings.HasPrefix(short, "cgroup.")) && short != "cgroup.created_at" {
			alias := *f
			alias.Name = short
			fs[short] = &alias
		}
	}

	// Files and sockets.
	for _, t := range []Type{TypeOpen, TypeUnlink, TypeRmdir, TypeRename, TypeMkdir, TypeChmod, TypeChown, TypeLink} {
		add(fs, object[File]{
			prefix: t.String() + ".file.", event: t, need: NeedFile, get: eventFile, create: createEventFile, flat: flatOfFile,
		}, fileRows)
	}
	destination := func(t Type, names ...string) {
		add(fs, object[File]{
			prefix: t.String() + ".file.destination.", event: t, need: NeedFile,
			get: destinationFile, create: createDestinationFile, flat: flatOfFile,
		}, fileRows, names...)
	}
	destination(TypeOpen, "mode")
	destination(TypeMkdir, "mode", "rights")
	destination(TypeChmod, "mode", "rights")
	destination(TypeChown, "uid", "user", "gid", "group")
	destination(TypeRename)
	destination(TypeLink)
	for t := TypeExec; t < NumTypes; t++ {
		add(fs, object[Event]{
			prefix: t.String() + ".", event: t, need: NeedFacts, get: self, create: self, flat: flatOfEvent,
		}, eventRows[t])
	}
	addRare(fs)
	for name, f := range fs {
		f.HasLength = fs[name+".length"] != nil
	}
	return fs
}

// addProcess adds the fields of a process that hangs on the event.
func addProcess(fs fields, prefix string, t Type, need Need, get, create func(*Event) *Process) {
	add(fs, object[Process]{prefix: prefix, event: t, need: need, get: get, create: create, flat: flatOfProcess}, processRows)
	add(fs, object[File]{
		prefix: prefix + "file.", event: t, need: need | NeedExecutable, flat: flatOfFile,
		get:    func(e *Event) *File { return executable(get(e)) },
		create: func(e *Event) *File { return createExecutable(create(e)) },
	}, fileRows)
	add(fs, object[File]{
		prefix: prefix + "interpreter.file.", event: t, need: need | NeedExecutable, flat: flatOfFile,
		get:    func(e *Event) *File { return interpreter(get(e)) },
		create: func(e *Event) *File { return createInterpreter(create(e)) },
	}, fileRows)
}

// addAncestors adds the fields of an iterator.
func addAncestors(fs fields, l *lineage) {
	prefix, need := l.name+".", l.need|NeedAncestors
	process := func(p *Process) *Process { return p }
	add(fs, object[Process]{
		prefix: prefix, event: l.event, need: need, of: l, elem: process, createElem: process, flat: flatOfProcess,
	}, processRows)
	add(fs, object[File]{
		prefix: prefix + "file.", event: l.event, need: need | NeedExecutable, of: l,
		elem: executable, createElem: createExecutable, flat: flatOfFile,
	}, fileRows)
	add(fs, object[File]{
		prefix: prefix + "interpreter.file.", event: l.event, need: need | NeedExecutable, of: l,
		elem: interpreter, createElem: createInterpreter, flat: flatOfFile,
	}, fileRows)
	length := prefix + "length"
	add(fs, object[Event]{event: l.event, need: need, get: self, create: self, flat: flatOfEvent}, []row[Event]{{
		name: length, source: FieldDerived,
		i: func(e *Event) int64 {
			if v := e.flat.get(length); v != nil {
				return v.i
			}
			return int64(len(l.elements(e)))
		},
	}})
}
