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
	TypeSymlink
	TypeUtimes
	TypeSetXattr
	TypeRemoveXattr
	TypeChdir
	TypeChroot
	TypeSplice
	TypeMount
	TypeUmount
	TypeSetUID
	TypeSetGID
	TypeCapset
	TypeSignal
	TypePTrace
	TypeMMap
	TypeMProtect
	TypeSyscalls
	TypeBPF
	TypeLoadModule
	TypeUnloadModule
	TypeSELinux
	TypeAccept
	TypeDNS
	NumTypes
)

// Categories of evt.category. A type that is not listed by Datadog's agent falls to File Activity there, and so here.
const (
	categoryFile    = "File Activity"
	categoryProcess = "Process Activity"
	categoryKernel  = "Kernel Activity"
	categoryNetwork = "Network Activity"
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
	// OptIn types are off unless the configuration enables them.
	OptIn bool
}

// TypeSet is a set of event types: bit n is Type n.
type TypeSet uint64

// AllTypes are all types of events.
const AllTypes TypeSet = 1<<NumTypes - 2

// Set returns the set of the given types.
func Set(types ...Type) (s TypeSet) {
	for _, t := range types {
		s |= 1 << t
	}
	return s
}

// Has says whether t is in the set.
func (s TypeSet) Has(t Type) bool { return s&(1<<t) != 0 }

// Types is indexed by Type.
var Types = [NumTypes]TypeInfo{
	TypeAny:          {},
	TypeExec:         {Type: TypeExec, Name: "exec", Category: categoryProcess, Record: "process.exec", Lifecycle: true, AlwaysSuccess: true},
	TypeFork:         {Type: TypeFork, Name: "fork", Category: categoryProcess, Record: "process.fork", Lifecycle: true, AlwaysSuccess: true},
	TypeExit:         {Type: TypeExit, Name: "exit", Category: categoryProcess, Record: "process.exit", Lifecycle: true, AlwaysSuccess: true},
	TypeOpen:         {Type: TypeOpen, Name: "open", Category: categoryFile, Record: "file.open"},
	TypeUnlink:       {Type: TypeUnlink, Name: "unlink", Category: categoryFile, Record: "file.unlink"},
	TypeRmdir:        {Type: TypeRmdir, Name: "rmdir", Category: categoryFile, Record: "file.rmdir"},
	TypeRename:       {Type: TypeRename, Name: "rename", Category: categoryFile, Record: "file.rename"},
	TypeMkdir:        {Type: TypeMkdir, Name: "mkdir", Category: categoryFile, Record: "file.mkdir"},
	TypeChmod:        {Type: TypeChmod, Name: "chmod", Category: categoryFile, Record: "file.chmod"},
	TypeChown:        {Type: TypeChown, Name: "chown", Category: categoryFile, Record: "file.chown"},
	TypeLink:         {Type: TypeLink, Name: "link", Category: categoryFile, Record: "file.link"},
	TypeConnect:      {Type: TypeConnect, Name: "connect", Category: categoryKernel, Record: "network.connect"},
	TypeBind:         {Type: TypeBind, Name: "bind", Category: categoryKernel, Record: "network.bind"},
	TypeSymlink:      {Type: TypeSymlink, Name: "symlink", Category: categoryFile, Record: "file.symlink"},
	TypeUtimes:       {Type: TypeUtimes, Name: "utimes", Category: categoryFile, Record: "file.utimes"},
	TypeSetXattr:     {Type: TypeSetXattr, Name: "setxattr", Category: categoryFile, Record: "file.setxattr"},
	TypeRemoveXattr:  {Type: TypeRemoveXattr, Name: "removexattr", Category: categoryFile, Record: "file.removexattr"},
	TypeChdir:        {Type: TypeChdir, Name: "chdir", Category: categoryFile, Record: "file.chdir"},
	TypeChroot:       {Type: TypeChroot, Name: "chroot", Category: categoryFile, Record: "file.chroot"},
	TypeSplice:       {Type: TypeSplice, Name: "splice", Category: categoryFile, Record: "file.splice"},
	TypeMount:        {Type: TypeMount, Name: "mount", Category: categoryFile, Record: "file.mount"},
	TypeUmount:       {Type: TypeUmount, Name: "umount", Category: categoryFile, Record: "file.umount"},
	TypeSetUID:       {Type: TypeSetUID, Name: "setuid", Category: categoryFile, Record: "process.setuid", Lifecycle: true, AlwaysSuccess: true},
	TypeSetGID:       {Type: TypeSetGID, Name: "setgid", Category: categoryFile, Record: "process.setgid", Lifecycle: true, AlwaysSuccess: true},
	TypeCapset:       {Type: TypeCapset, Name: "capset", Category: categoryFile, Record: "process.capset", Lifecycle: true, AlwaysSuccess: true},
	TypeSignal:       {Type: TypeSignal, Name: "signal", Category: categoryProcess, Record: "process.signal"},
	TypePTrace:       {Type: TypePTrace, Name: "ptrace", Category: categoryKernel, Record: "process.ptrace"},
	TypeMMap:         {Type: TypeMMap, Name: "mmap", Category: categoryKernel, Record: "process.mmap"},
	TypeMProtect:     {Type: TypeMProtect, Name: "mprotect", Category: categoryKernel, Record: "process.mprotect"},
	TypeSyscalls:     {Type: TypeSyscalls, Name: "syscalls", Category: categoryProcess, Record: "process.anomalous_syscall", OptIn: true},
	TypeBPF:          {Type: TypeBPF, Name: "bpf", Category: categoryKernel, Record: "kernel.bpf", AlwaysSuccess: true},
	TypeLoadModule:   {Type: TypeLoadModule, Name: "load_module", Category: categoryFile, Record: "kernel.load_module"},
	TypeUnloadModule: {Type: TypeUnloadModule, Name: "unload_module", Category: categoryKernel, Record: "kernel.unload_module"},
	TypeSELinux:      {Type: TypeSELinux, Name: "selinux", Category: categoryKernel, Record: "kernel.selinux", AlwaysSuccess: true},
	TypeAccept:       {Type: TypeAccept, Name: "accept", Category: categoryKernel, Record: "network.accept"},
	TypeDNS:          {Type: TypeDNS, Name: "dns", Category: categoryNetwork, Record: "network.dns", AlwaysSuccess: true},
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
// A connection in progress (-EINPROGRESS) counts as success, anomalous syscalls have none, and an exec event with an error
// tells of a call that failed, which is seen only if it was asked for.
func OutcomeOf(t Type, retval int64) Outcome {
	switch {
	case t == TypeSyscalls: // about the use of a syscall, whatever came of it
		return OutcomeNone
	case retval >= 0 || t.Info().AlwaysSuccess && t != TypeExec, t == TypeConnect && retval == -eINPROGRESS:
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
