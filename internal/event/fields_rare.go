// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"net/netip"
	"strconv"
	"strings"
)

// The fields of events about memory, processes, the kernel and the network. What rules take for a number has its names in the
// body; they are turned back without allocation.

// numberOf is the number that a text of the body stands for: names of Constants and numbers, joined by " | ".
func numberOf(text string) (n int64) {
	for text != "" {
		word := text
		if i := strings.Index(text, " | "); i >= 0 {
			word, text = text[:i], text[i+len(" | "):]
		} else {
			text = ""
		}
		if k, ok := Constants[word]; ok {
			n |= k.Int
			continue
		}
		// A number in parentheses stands behind the name of what has numbers and no name, as in qtype(65).
		if open := strings.IndexByte(word, '('); open >= 0 && strings.HasSuffix(word, ")") {
			word = word[open+1 : len(word)-1]
		}
		if v, err := strconv.ParseInt(word, 0, 64); err == nil {
			n |= v
		}
	}
	return n
}

// part is an object of the event that only events of a type have.
type part[T any] struct {
	get  func(*Event) *T // nil if there is none
	make func(*Event) *T // get, or a new one
}

// partAt is the part that a member of the event points to.
func partAt[T any](member func(*Event) **T) part[T] {
	return part[T]{
		get: func(e *Event) *T { return *member(e) },
		make: func(e *Event) *T {
			at := member(e)
			if *at == nil {
				*at = new(T)
			}
			return *at
		},
	}
}

// number is a field whose names are in a member.
func (p part[T]) number(name string, member func(*T) *string) row[Event] {
	return row[Event]{
		name: name, source: FieldBody, need: NeedOther,
		i: func(e *Event) int64 {
			if t := p.get(e); t != nil {
				return numberOf(*member(t))
			}
			return 0
		},
		setI: func(e *Event, v int64) error {
			*member(p.make(e)) = strconv.FormatInt(v, 10)
			return nil
		},
	}
}

func (p part[T]) text(name string, member func(*T) *string, ps ...prop) row[Event] {
	var all prop
	for _, p := range ps {
		all |= p
	}
	return row[Event]{
		name: name, source: FieldBody, need: NeedOther, prop: all,
		s: func(e *Event) string {
			if t := p.get(e); t != nil {
				return *member(t)
			}
			return ""
		},
		setS: func(e *Event, v string) { *member(p.make(e)) = v },
	}
}

func (p part[T]) truth(name string, member func(*T) *bool) row[Event] {
	return row[Event]{
		name: name, source: FieldBody, need: NeedOther,
		b:    func(e *Event) bool { t := p.get(e); return t != nil && *member(t) },
		setB: func(e *Event, v bool) { *member(p.make(e)) = v },
	}
}

// uint16s and uint32s are fields of numbers.
func (p part[T]) uint16s(name string, member func(*T) *uint16) row[Event] {
	return row[Event]{
		name: name, source: FieldBody, need: NeedOther,
		i: func(e *Event) int64 {
			if t := p.get(e); t != nil {
				return int64(*member(t))
			}
			return 0
		},
		setI: func(e *Event, v int64) error { return narrow(member(p.make(e)), v) },
	}
}

func (p part[T]) uint32s(name string, member func(*T) *uint32) row[Event] {
	return row[Event]{
		name: name, source: FieldBody, need: NeedOther,
		i: func(e *Event) int64 {
			if t := p.get(e); t != nil {
				return int64(*member(t))
			}
			return 0
		},
		setI: func(e *Event, v int64) error { return narrow(member(p.make(e)), v) },
	}
}

var (
	mmapPart     = partAt(func(e *Event) **MMapEvent { return &e.MMap })
	mprotectPart = partAt(func(e *Event) **MProtectEvent { return &e.MProtect })
	ptracePart   = partAt(func(e *Event) **PTraceEvent { return &e.PTrace })
	signalPart   = partAt(func(e *Event) **SignalEvent { return &e.Signal })
	splicePart   = partAt(func(e *Event) **SpliceEvent { return &e.Splice })
	modulePart   = partAt(func(e *Event) **ModuleEvent { return &e.Module })
	bpfPart      = partAt(func(e *Event) **BPFEvent { return &e.BPF })
	mountPart    = partAt(func(e *Event) **MountEvent { return &e.Mount })
	dnsPart      = partAt(func(e *Event) **DNSEvent { return &e.DNS })

	bpfMapPart = part[BPFMap]{
		get: func(e *Event) *BPFMap {
			if e.BPF != nil {
				return e.BPF.Map
			}
			return nil
		},
		make: func(e *Event) *BPFMap {
			b := bpfPart.make(e)
			if b.Map == nil {
				b.Map = &BPFMap{}
			}
			return b.Map
		},
	}
	bpfProgPart = part[BPFProgram]{
		get: func(e *Event) *BPFProgram {
			if e.BPF != nil {
				return e.BPF.Program
			}
			return nil
		},
		make: func(e *Event) *BPFProgram {
			b := bpfPart.make(e)
			if b.Program == nil {
				b.Program = &BPFProgram{}
			}
			return b.Program
		},
	}
)

// setID is a field of the credentials after the call.
func setID(name string, member func(*CredentialsDestination) *uint32) row[Event] {
	return row[Event]{
		name: name, source: FieldBody, need: NeedProcess | NeedCredentials,
		i: func(e *Event) int64 {
			if d := destinationOf(e); d != nil {
				return int64(*member(d))
			}
			return 0
		},
		setI: func(e *Event, v int64) error { return narrow(member(createDestination(e)), v) },
	}
}

func setName(name string, member func(*CredentialsDestination) *string) row[Event] {
	return row[Event]{
		name: name, source: FieldBody, need: NeedProcess | NeedCredentials,
		s: func(e *Event) string {
			if d := destinationOf(e); d != nil {
				return *member(d)
			}
			return ""
		},
		setS: func(e *Event, v string) { *member(createDestination(e)) = v },
	}
}

func setCaps(name string, member func(*CredentialsDestination) *CapSet) row[Event] {
	return row[Event]{
		name: name, source: FieldBody, need: NeedProcess | NeedCredentials,
		i: func(e *Event) int64 {
			if d := destinationOf(e); d != nil {
				return int64(*member(d))
			}
			return 0
		},
		setI: func(e *Event, v int64) error { return unsigned((*uint64)(member(createDestination(e))), v) },
	}
}

func destinationOf(e *Event) *CredentialsDestination {
	if p := e.Process.Process; p != nil && p.Credentials != nil {
		return p.Credentials.Destination
	}
	return nil
}

func createDestination(e *Event) *CredentialsDestination {
	c := createCredentials(createActor(e))
	if c.Destination == nil {
		c.Destination = &CredentialsDestination{
			Kind: map[Type]CredentialsKind{TypeSetUID: CredentialsSetUID, TypeSetGID: CredentialsSetGID, TypeCapset: CredentialsCapset}[e.Type],
		}
	}
	return c.Destination
}

// Target is the process that a signal or ptrace is about; nil if there is none.
func (e *Event) Target() *ProcessContext { return targetOf(e) }

// targetOf is the process that a signal or ptrace is about.
func targetOf(e *Event) *ProcessContext {
	switch {
	case e.Signal != nil:
		return e.Signal.Target
	case e.PTrace != nil:
		return e.PTrace.Tracee
	}
	return nil
}

func createTarget(e *Event) *ProcessContext {
	at := &signalPart.make(e).Target
	if e.Type == TypePTrace {
		e.Signal = nil
		at = &ptracePart.make(e).Tracee
	}
	if *at == nil {
		*at = &ProcessContext{}
	}
	return *at
}

// createTargetContext makes the process too: without it there is no lineage either.
func createTargetContext(e *Event) *ProcessContext {
	createTargetProcess(e)
	return createTarget(e)
}

func target(e *Event) *Process {
	if t := targetOf(e); t != nil {
		return t.Process
	}
	return nil
}

func createTargetProcess(e *Event) *Process {
	t := createTarget(e)
	if t.Process == nil {
		t.Process = &Process{}
	}
	return t.Process
}

func targetParent(e *Event) *Process {
	t := targetOf(e)
	switch {
	case t == nil:
		return nil
	case t.Parent != nil:
		return t.Parent
	case len(t.Ancestors) > 0:
		return t.Ancestors[0]
	}
	return nil
}

func createTargetParent(e *Event) *Process {
	t := createTargetContext(e)
	if t.Parent == nil {
		t.Parent = &Process{}
	}
	return t.Parent
}

// xattrRows are the fields of an extended attribute, which stand at the place of a file's.
var xattrRows = []row[File]{
	{name: "name", source: FieldBody, s: func(f *File) string { return f.AttributeName }, setS: func(f *File, v string) { f.AttributeName = v }},
	{name: "namespace", source: FieldBody, s: func(f *File) string { return f.AttributeNamespace }, setS: func(f *File, v string) { f.AttributeNamespace = v }},
}

// selinuxText is a field of one of the three objects that an selinux event can have.
func selinuxText(name string, get func(*SELinuxEvent) string, set func(*SELinuxEvent, string)) row[Event] {
	return row[Event]{
		name: name, source: FieldBody, need: NeedOther,
		s: func(e *Event) string {
			if e.SELinux != nil {
				return get(e.SELinux)
			}
			return ""
		},
		setS: func(e *Event, v string) {
			if e.SELinux == nil {
				e.SELinux = &SELinuxEvent{}
			}
			set(e.SELinux, v)
		},
	}
}

func selinuxBool(s *SELinuxEvent) *SELinuxBoolChange {
	if s.Bool == nil {
		s.Bool = &SELinuxBoolChange{}
	}
	return s.Bool
}

// end is the address of one end of the network.
func end(e *Event, source bool) (p IPPort) {
	switch {
	case e.Network == nil:
	case source:
		p = e.Network.Source
	default:
		p = e.Network.Destination
	}
	return p
}

// network is the part of the event about the network.
func network(e *Event) *NetworkContext {
	if e.Network == nil {
		e.Network = &NetworkContext{}
	}
	return e.Network
}

func prefixOf(a netip.Addr) netip.Prefix {
	if a = a.Unmap(); a.IsValid() {
		return netip.PrefixFrom(a, a.BitLen())
	}
	return netip.Prefix{}
}

// endRows are the fields of one end of a packet.
func endRows(name string, source bool) []row[Event] {
	ip := func(e *Event) netip.Prefix {
		if v := e.flat.get(name + ".ip"); v != nil {
			return v.ip
		}
		return prefixOf(end(e, source).IP)
	}
	return []row[Event]{
		{name: name + ".ip", source: FieldBody, need: NeedNetwork, ip: ip},
		{
			name: name + ".port", source: FieldBody, need: NeedNetwork, i: func(e *Event) int64 { return int64(end(e, source).Port) },
			setI: func(e *Event, v int64) error {
				n := network(e)
				if source {
					return narrow(&n.Source.Port, v)
				}
				return narrow(&n.Destination.Port, v)
			},
		},
		{name: name + ".is_public", source: FieldDerived, need: NeedNetwork, b: func(e *Event) bool {
			if v := e.flat.get(name + ".is_public"); v != nil {
				return v.b
			}
			return isPublic(ip(e))
		}},
	}
}

// networkRows are the fields of a packet.
var networkRows = append(append([]row[Event]{
	{
		name: "device.ifname", source: FieldBody, need: NeedNetwork,
		s: func(e *Event) string {
			if e.Network != nil && e.Network.Device != nil {
				return e.Network.Device.IfName
			}
			return ""
		},
		setS: func(e *Event, v string) { device(e).IfName = v },
	},
	{
		name: "device.netns", source: FieldBody, need: NeedNetwork,
		i: func(e *Event) int64 {
			if e.Network != nil && e.Network.Device != nil {
				return int64(e.Network.Device.NetNS)
			}
			return 0
		},
		setI: func(e *Event, v int64) error { return narrow(&device(e).NetNS, v) },
	},
	networkName("l3_protocol", func(n *NetworkContext) *string { return &n.L3Protocol }),
	networkName("l4_protocol", func(n *NetworkContext) *string { return &n.L4Protocol }),
	{
		name: "size", source: FieldBody, need: NeedNetwork,
		i: func(e *Event) int64 {
			if e.Network != nil {
				return int64(e.Network.Size)
			}
			return 0
		},
		setI: func(e *Event, v int64) error { return narrow(&network(e).Size, v) },
	},
	noEventInt("network_direction"),
	noEventInt("type"),
}, endRows("source", true)...), endRows("destination", false)...)

func networkName(name string, member func(*NetworkContext) *string) row[Event] {
	return row[Event]{
		name: name, source: FieldBody, need: NeedNetwork,
		i: func(e *Event) int64 {
			if e.Network != nil {
				return numberOf(*member(e.Network))
			}
			return 0
		},
		setI: func(e *Event, v int64) error {
			*member(network(e)) = strconv.FormatInt(v, 10)
			return nil
		},
	}
}

func device(e *Event) *NetworkDevice {
	n := network(e)
	if n.Device == nil {
		n.Device = &NetworkDevice{}
	}
	return n.Device
}

// fact is a text of the record's attributes.
func fact(name string, member func(*Facts) *string) row[Event] {
	return row[Event]{
		name: name, source: FieldAttribute, has: func(e *Event) bool { return *member(&e.Facts) != "" },
		s: func(e *Event) string { return *member(&e.Facts) }, setS: func(e *Event, v string) { *member(&e.Facts) = v },
	}
}

// lengthOf is the length of a text that another field has.
func lengthOf(name string, text func(*Event) string) row[Event] {
	return row[Event]{name: name, source: FieldDerived, need: NeedOther, i: func(e *Event) int64 {
		if v := e.flat.get(name); v != nil {
			return v.i
		}
		return int64(len(text(e)))
	}}
}

var hostnameRows = []row[Event]{
	{
		name: "addr.hostname", source: FieldUnavailable, prop: propNoCase,
		a: func(e *Event) []string { return e.flat.strings("addr.hostname") },
	},
	{
		name: "addr.hostname.length", source: FieldUnavailable,
		i: func(e *Event) int64 {
			if v := e.flat.get("addr.hostname.length"); v != nil {
				return v.i
			}
			return int64(len(e.flat.strings("addr.hostname")))
		},
	},
	{
		name: "addr.hostname.root_domain", source: FieldUnavailable, prop: propNoCase,
		s: func(e *Event) string {
			if v := e.flat.get("addr.hostname.root_domain"); v != nil {
				return v.s
			}
			if names := e.flat.strings("addr.hostname"); len(names) > 0 {
				return rootDomain(names[0])
			}
			return ""
		},
	},
}

func questionName(e *Event) string {
	if e.DNS != nil {
		return e.DNS.Question.Name
	}
	return ""
}

// rareRows are the fields of the event types that the rest of this file is about, but for files and processes.
var rareRows = map[Type][]row[Event]{
	TypeUtimes:      {retvalRow, syscallPathRow},
	TypeSetXattr:    {retvalRow},
	TypeRemoveXattr: {retvalRow},
	TypeChdir:       {retvalRow, syscallPathRow},
	TypeAccept:      append(append([]row[Event]{}, hostnameRows...), addrRows[:len(addrRows)-1]...), // but for the protocol
	TypeSplice: {
		retvalRow,
		splicePart.number("pipe_entry_flag", func(s *SpliceEvent) *string { return &s.PipeEntryFlag }),
		splicePart.number("pipe_exit_flag", func(s *SpliceEvent) *string { return &s.PipeExitFlag }),
	},
	TypeMMap: {
		retvalRow,
		mmapPart.number("protection", func(m *MMapEvent) *string { return &m.Protection }),
		mmapPart.number("flags", func(m *MMapEvent) *string { return &m.Flags }),
	},
	TypeMProtect: {
		retvalRow,
		mprotectPart.number("vm_protection", func(m *MProtectEvent) *string { return &m.VMProtection }),
		mprotectPart.number("req_protection", func(m *MProtectEvent) *string { return &m.ReqProtection }),
	},
	TypePTrace: {retvalRow, ptracePart.number("request", func(p *PTraceEvent) *string { return &p.Request })},
	TypeSignal: {
		retvalRow,
		signalPart.number("type", func(s *SignalEvent) *string { return &s.Type }),
		signalPart.uint32s("pid", func(s *SignalEvent) *uint32 { return &s.PID }),
	},
	TypeBPF: {
		retvalRow,
		bpfPart.number("cmd", func(b *BPFEvent) *string { return &b.Cmd }),
		bpfMapPart.number("map.type", func(m *BPFMap) *string { return &m.MapType }),
		bpfMapPart.text("map.name", func(m *BPFMap) *string { return &m.Name }, propBPFName),
		bpfProgPart.number("prog.type", func(p *BPFProgram) *string { return &p.ProgramType }),
		bpfProgPart.number("prog.attach_type", func(p *BPFProgram) *string { return &p.AttachType }),
		bpfProgPart.text("prog.name", func(p *BPFProgram) *string { return &p.Name }, propBPFName),
		bpfProgPart.text("prog.tag", func(p *BPFProgram) *string { return &p.Tag }),
		{
			name: "prog.helpers", source: FieldBody, need: NeedOther,
			n: func(e *Event) int {
				if p := bpfProgPart.get(e); p != nil {
					return len(p.Helpers)
				}
				return 0
			},
			at:   func(e *Event, i int) int64 { return numberOf(bpfProgPart.get(e).Helpers[i]) },
			setA: func(e *Event, v []string) { bpfProgPart.make(e).Helpers = v },
		},
	},
	TypeLoadModule: {
		retvalRow,
		modulePart.text("name", func(m *ModuleEvent) *string { return &m.Name }),
		modulePart.truth("loaded_from_memory", func(m *ModuleEvent) *bool { return &m.LoadedFromMemory }),
		modulePart.truth("args_truncated", func(m *ModuleEvent) *bool { return &m.ArgsTruncated }),
		{
			name: "argv", source: FieldBody, need: NeedOther,
			a: func(e *Event) []string {
				if e.Module != nil {
					return e.Module.Argv
				}
				return nil
			},
			setA: func(e *Event, v []string) { modulePart.make(e).Argv = v },
		},
		{
			name: "args", source: FieldDerived, need: NeedOther,
			s: func(e *Event) string {
				if v := e.flat.get("args"); v != nil {
					return v.s
				}
				if e.Module != nil {
					return strings.Join(e.Module.Argv, " ")
				}
				return ""
			},
		},
	},
	TypeUnloadModule: {retvalRow, modulePart.text("name", func(m *ModuleEvent) *string { return &m.Name })},
	TypeSELinux: {
		selinuxText("bool.name", func(s *SELinuxEvent) string {
			if s.Bool != nil {
				return s.Bool.Name
			}
			return ""
		}, func(s *SELinuxEvent, v string) { selinuxBool(s).Name = v }),
		selinuxText("bool.state", func(s *SELinuxEvent) string {
			if s.Bool != nil {
				return s.Bool.State
			}
			return ""
		}, func(s *SELinuxEvent, v string) { selinuxBool(s).State = v }),
		selinuxText("enforce.status", func(s *SELinuxEvent) string {
			if s.Enforce != nil {
				return s.Enforce.Status
			}
			return ""
		}, func(s *SELinuxEvent, v string) { s.Enforce = &SELinuxEnforceStatus{Status: v} }),
		{
			name: "bool_commit.state", source: FieldBody, need: NeedOther,
			b: func(e *Event) bool {
				return e.SELinux != nil && e.SELinux.BoolCommit != nil && e.SELinux.BoolCommit.State
			},
			setB: func(e *Event, v bool) {
				if e.SELinux == nil {
					e.SELinux = &SELinuxEvent{}
				}
				e.SELinux.BoolCommit = &SELinuxBoolCommit{State: v}
			},
		},
	},
	TypeSetUID: {
		setID("uid", func(d *CredentialsDestination) *uint32 { return &d.UID }), setName("user", func(d *CredentialsDestination) *string { return &d.User }),
		setID("euid", func(d *CredentialsDestination) *uint32 { return &d.EUID }), setName("euser", func(d *CredentialsDestination) *string { return &d.EUser }),
		setID("fsuid", func(d *CredentialsDestination) *uint32 { return &d.FSUID }), setName("fsuser", func(d *CredentialsDestination) *string { return &d.FSUser }),
	},
	TypeSetGID: {
		setID("gid", func(d *CredentialsDestination) *uint32 { return &d.UID }), setName("group", func(d *CredentialsDestination) *string { return &d.User }),
		setID("egid", func(d *CredentialsDestination) *uint32 { return &d.EUID }), setName("egroup", func(d *CredentialsDestination) *string { return &d.EUser }),
		setID("fsgid", func(d *CredentialsDestination) *uint32 { return &d.FSUID }), setName("fsgroup", func(d *CredentialsDestination) *string { return &d.FSUser }),
	},
	TypeCapset: {
		setCaps("cap_effective", func(d *CredentialsDestination) *CapSet { return &d.CapEffective }),
		setCaps("cap_permitted", func(d *CredentialsDestination) *CapSet { return &d.CapPermitted }),
	},
	TypeMount: {
		retvalRow,
		mountPart.text("fs_type", func(m *MountEvent) *string { return &m.FSType }),
		mountPart.text("mountpoint.path", func(m *MountEvent) *string { return &m.MountPointPath }),
		mountPart.text("source.path", func(m *MountEvent) *string { return &m.SourcePath }),
		{
			name: "root.path", source: FieldBody, need: NeedOther,
			s: func(e *Event) string {
				if e.Mount != nil && e.Mount.Root != nil {
					return e.Mount.Root.Path
				}
				return ""
			},
			setS: func(e *Event, v string) { mountPart.make(e).Root = &File{Path: v} },
		},
		{
			name: "detached", source: FieldAttribute, b: func(e *Event) bool { return e.Facts.MountDetached },
			setB: func(e *Event, v bool) { e.Facts.MountDetached = v },
		},
		{name: "visible", source: FieldDerived, b: func(e *Event) bool {
			if v := e.flat.get("visible"); v != nil {
				return v.b
			}
			return !e.Facts.MountDetached
		}},
		fact("syscall.source.path", func(f *Facts) *string { return &f.SyscallPath }),
		fact("syscall.mountpoint.path", func(f *Facts) *string { return &f.SyscallDestinationPath }),
		fact("syscall.fs_type", func(f *Facts) *string { return &f.SyscallFSType }),
	},
	TypeDNS: {
		dnsPart.uint16s("id", func(d *DNSEvent) *uint16 { return &d.ID }),
		{
			name: "question.name", source: FieldBody, need: NeedOther, prop: propNoCase, s: questionName,
			setS: func(e *Event, v string) { dnsPart.make(e).Question.Name = v },
		},
		lengthOf("question.name.length", questionName),
		{
			name: "question.name.root_domain", source: FieldDerived, need: NeedOther, prop: propNoCase,
			s: func(e *Event) string {
				if v := e.flat.get("question.name.root_domain"); v != nil {
					return v.s
				}
				return rootDomain(questionName(e))
			},
		},
		dnsPart.number("question.type", func(d *DNSEvent) *string { return &d.Question.Type }),
		dnsPart.number("question.class", func(d *DNSEvent) *string { return &d.Question.Class }),
		dnsPart.uint16s("question.length", func(d *DNSEvent) *uint16 { return &d.Question.Size }),
		dnsPart.uint16s("question.count", func(d *DNSEvent) *uint16 { return &d.Question.Count }),
		noEventInt("response.code"),
	},
}

// addRare adds the fields of this file.
func addRare(fs fields) {
	for t, rows := range rareRows {
		add(fs, object[Event]{prefix: t.String() + ".", event: t, need: NeedFacts, get: self, create: self, flat: flatOfEvent}, rows)
	}
	for _, t := range []Type{TypeUtimes, TypeSetXattr, TypeRemoveXattr, TypeChdir, TypeSplice, TypeMMap, TypeLoadModule} {
		add(fs, object[File]{
			prefix: t.String() + ".file.", event: t, need: NeedFile, get: eventFile, create: createEventFile, flat: flatOfFile,
		}, fileRows)
	}
	for _, t := range []Type{TypeSetXattr, TypeRemoveXattr} {
		add(fs, object[File]{
			prefix: t.String() + ".file.destination.", event: t, need: NeedFile, get: destinationFile, create: createDestinationFile, flat: flatOfFile,
		}, xattrRows)
	}
	add(fs, object[Event]{prefix: "network.", event: TypeDNS, get: self, create: self, flat: flatOfEvent}, networkRows)
	for prefix, t := range map[string]Type{"signal.target.": TypeSignal, "ptrace.tracee.": TypePTrace} {
		addProcess(fs, prefix, t, NeedOther, target, createTargetProcess)
		addProcess(fs, prefix+"parent.", t, NeedOther|NeedParent, targetParent, createTargetParent)
	}
}
