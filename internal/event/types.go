// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import "fmt"

// Type is a kind of event. Its name is the SECL event type, which is also evt.name in the CSM Threats log.
type Type uint8

// The event types that Picket produces. TypeAny marks what holds for every type: fields such as process.pid,
// and flat events without a type.
const (
	TypeAny Type = iota
	TypeExec
	TypeFork
	TypeExit
	TypeOpen
	TypeUnlink
	TypeRmdir
	TypeRename
	TypeMkdir
	TypeChmod
	TypeChown
	TypeLink
	TypeConnect
	TypeBind
	NumTypes
)

// Categories of evt.category. A type that is not listed by Datadog's agent falls to File Activity there, and so here.
const (
	categoryFile    = "File Activity"
	categoryProcess = "Process Activity"
	categoryKernel  = "Kernel Activity"
)

// TypeInfo is one row of the table of event types. Code, docs and tests read it.
type TypeInfo struct {
	Type     Type
	Name     string // SECL event type and evt.name
	Category string // evt.category
	Record   string // EventName of the log record
	// Lifecycle types keep the process tree right. They may use the reserved part of the ring buffer.
	Lifecycle bool
	// AlwaysSuccess types have the outcome Success whatever the return value says.
	AlwaysSuccess bool
}

// Types is indexed by Type.
var Types = [NumTypes]TypeInfo{
	TypeAny:     {Type: TypeAny},
	TypeExec:    {TypeExec, "exec", categoryProcess, "process.exec", true, true},
	TypeFork:    {TypeFork, "fork", categoryProcess, "process.fork", true, true},
	TypeExit:    {TypeExit, "exit", categoryProcess, "process.exit", true, true},
	TypeOpen:    {TypeOpen, "open", categoryFile, "file.open", false, false},
	TypeUnlink:  {TypeUnlink, "unlink", categoryFile, "file.unlink", false, false},
	TypeRmdir:   {TypeRmdir, "rmdir", categoryFile, "file.rmdir", false, false},
	TypeRename:  {TypeRename, "rename", categoryFile, "file.rename", false, false},
	TypeMkdir:   {TypeMkdir, "mkdir", categoryFile, "file.mkdir", false, false},
	TypeChmod:   {TypeChmod, "chmod", categoryFile, "file.chmod", false, false},
	TypeChown:   {TypeChown, "chown", categoryFile, "file.chown", false, false},
	TypeLink:    {TypeLink, "link", categoryFile, "file.link", false, false},
	TypeConnect: {TypeConnect, "connect", categoryKernel, "network.connect", false, false},
	TypeBind:    {TypeBind, "bind", categoryKernel, "network.bind", false, false},
}

// Info returns the row of t; the zero row if t is none of the known types.
func (t Type) Info() *TypeInfo {
	if t < NumTypes {
		return &Types[t]
	}
	return &Types[TypeAny]
}

func (t Type) String() string { return t.Info().Name }

var typeByName = func() map[string]Type {
	m := make(map[string]Type, NumTypes)
	for _, ti := range Types[1:] {
		m[ti.Name] = ti.Type
	}
	return m
}()

// TypeByName finds an event type by its SECL name; ok is false if Picket has none of that name.
func TypeByName(name string) (t Type, ok bool) {
	t, ok = typeByName[name]
	return t, ok
}

// Outcome is what evt.outcome says.
type Outcome uint8

// The outcomes.
const (
	OutcomeNone Outcome = iota // not written
	OutcomeSuccess
	OutcomeRefused // -EACCES or -EPERM
	OutcomeError   // any other error
)

func (o Outcome) String() string {
	switch o {
	case OutcomeSuccess:
		return "Success"
	case OutcomeRefused:
		return "Refused"
	case OutcomeError:
		return "Error"
	}
	return ""
}

// Errno values that decide an outcome; they are the same on amd64 and arm64.
const (
	ePERM       = 1
	eACCES      = 13
	eINPROGRESS = 115
)

// OutcomeOf derives evt.outcome from a return value: ≥ 0 is Success, -EACCES and -EPERM are Refused, the rest is Error.
// A connection in progress (-EINPROGRESS) counts as success.
func OutcomeOf(t Type, retval int64) Outcome {
	switch {
	case retval >= 0 || t.Info().AlwaysSuccess, t == TypeConnect && retval == -eINPROGRESS:
		return OutcomeSuccess
	case retval == -eACCES || retval == -ePERM:
		return OutcomeRefused
	}
	return OutcomeError
}

// ParseOutcome is the inverse of Outcome.String.
func ParseOutcome(s string) (Outcome, error) {
	for o := OutcomeNone; o <= OutcomeError; o++ {
		if o.String() == s {
			return o, nil
		}
	}
	return OutcomeNone, fmt.Errorf("unknown outcome %q", s)
}
