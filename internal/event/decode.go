// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unsafe"
)

// Bounds of what is read of a body, which may come from the network.
const (
	maxAncestors = 1024
	maxProcesses = 4 * maxAncestors // of all lineages together
	maxStrings   = 4096             // elements of an array
)

var (
	errTooLong   = fmt.Errorf("an array has more than %d elements", maxStrings)
	errAncestors = fmt.Errorf("more than %d ancestors", maxAncestors)
	errProcesses = fmt.Errorf("more than %d processes", maxProcesses)
	errAddress   = errors.New("no IP address")
	errOutcome   = errors.New("unknown outcome")
	errCut       = errors.New("the body does not end as an object")
	errTrailing  = errors.New("the body is followed by something else")
)

// Decoder reads CSM Threats JSON back into the model. It is for one goroutine at a time. The zero value is ready for use.
//
// What an event points to belongs to the Decoder and holds until its next call; strings may alias the body.
type Decoder struct {
	scanner
	need Need

	procs       arena[decodedProcess]
	files       arena[File]
	credentials arena[ProcessCredentials]
	containers  arena[ContainerContext]
	fileEvent   FileEvent
	strings     []string
	ancestors   []*Process
	lineage     []*decodedProcess
	caps        [4]capsText
	nextCaps    int
}

// decodedProcess is a Process, and whether its text had arguments or environment of its own.
type decodedProcess struct {
	Process
	own bool
}

// capsText remembers what an array of capabilities meant: the same few sets come again and again.
type capsText struct {
	text string
	set  CapSet
}

// arena gives out zero values, and the same ones again after reset.
type arena[T any] struct {
	items []*T
	n     int
}

func (a *arena[T]) get() *T {
	if a.n == len(a.items) {
		a.items = append(a.items, new(T))
	}
	a.n++
	return a.items[a.n-1]
}

// maxKept bounds what an unusually large event leaves behind.
const maxKept = 64

func (a *arena[T]) reset() {
	if len(a.items) > maxKept {
		clear(a.items[maxKept:])
		a.items = a.items[:maxKept]
	}
	for _, p := range a.items[:min(a.n, len(a.items))] {
		var zero T
		*p = zero
	}
	a.n = 0
}

func (d *Decoder) reset(body string, need Need) {
	d.procs.reset()
	d.files.reset()
	d.credentials.reset()
	d.containers.reset()
	if cap(d.strings) > maxStrings {
		d.strings = nil
	}
	clear(d.strings)
	d.strings = d.strings[:0]
	clear(d.lineage)
	clear(d.ancestors)
	d.lineage, d.ancestors = d.lineage[:0], d.ancestors[:0]
	d.scanner = scanner{text: body}
	d.need = need
}

// processNeeds are the groups whose members are in process.
const processNeeds = NeedProcess | NeedArgs | NeedEnvs | NeedExecutable | NeedCredentials | NeedParent | NeedAncestors

// Decode reads an event's or a detection's body as far as need asks for it, and replaces all of e. Members that are not
// known are skipped, and a null is a member that is absent. It reads no further than to the last member that is needed:
// what comes after that is only checked to end as an object does.
//
// e points to what belongs to the Decoder, and its strings may alias body: use it until the next call, and while body
// does not change.
func (d *Decoder) Decode(body []byte, need Need, e *Event) error {
	return d.decode(unsafe.String(unsafe.SliceData(body), len(body)), need, e, TypeAny)
}

func (d *Decoder) decode(body string, need Need, e *Event, t Type) error {
	*e = Event{Type: t}
	d.reset(body, need)
	if d.peek() != '{' {
		d.fail(errSyntax) // a null would be no members
	}
	d.root(e)
	if d.err != nil {
		return fmt.Errorf("read the body: %w", d.err)
	}
	return nil
}

// The members of the root that are always read, as two more groups.
const (
	needEvt Need = 1 << (iota + 30)
	needDate
)

// wanted returns which groups are to be read of an event of type t that can have them. Each is one member of the root,
// but for NeedOther, which only ends with the body.
func wanted(need Need, t Type) Need {
	n := need & (NeedFile | NeedExit | NeedContainer | NeedNetwork | NeedOther)
	if need&processNeeds != 0 {
		n |= NeedProcess
	}
	switch t {
	case TypeAny, TypeExit:
	case TypeFork:
		n &^= NeedFile | NeedExit | NeedNetwork
	case TypeConnect, TypeBind, TypeAccept, TypeDNS:
		n &^= NeedFile | NeedExit
	default:
		n &^= NeedExit | NeedNetwork
	}
	return n | needEvt | needDate
}

func (d *Decoder) wants(n Need) bool { return d.need&n != 0 }

func (d *Decoder) root(e *Event) {
	var seen Need
	for o := (jsonObject{}); d.next(&o); {
		seen |= d.rootMember(e, o.key)
		if wanted(d.need, e.Type)&^seen == 0 {
			if d.err == nil && !strings.HasSuffix(strings.TrimRight(d.text[d.pos:], " \t\r\n"), "}") {
				d.fail(errCut)
			}
			return
		}
	}
	if d.peek(); d.pos < len(d.text) {
		d.fail(errTrailing)
	}
}

// rootMember reads a member of the root and returns its group.
func (d *Decoder) rootMember(e *Event, key string) Need {
	if d.null() {
		return 0
	}
	switch key {
	case "evt":
		d.evt(e)
		return needEvt
	case "date":
		d.time(&e.Date)
		return needDate
	case "file":
		if d.wants(NeedFile) {
			d.fileEvent = FileEvent{}
			e.File = &d.fileEvent
			d.readFileEvent(e.File)
			if f := e.File.Destination; f != nil && e.Type == TypeChown {
				f.Has |= HasOwner
			}
			return NeedFile
		}
	case "exit":
		if d.wants(NeedExit) {
			e.Exit = &ExitEvent{}
			d.exit(e.Exit)
			return NeedExit
		}
	case "process":
		if d.wants(processNeeds) {
			d.processContext(&e.Process)
			return NeedProcess
		}
	case "container":
		if d.wants(NeedContainer) {
			e.Container = d.containers.get()
			d.container(e.Container)
			return NeedContainer
		}
	case "network":
		if d.wants(NeedNetwork) {
			e.Network = &NetworkContext{}
			d.network(e.Network)
			return NeedNetwork
		}
	case "bind":
		if d.wants(NeedNetwork) {
			e.Bind = &BindEvent{}
			d.socketAddress(&e.Bind.Addr, new(string))
			return NeedNetwork
		}
	case "connect":
		// No group: network, which comes after it, may be there too.
		if e.Extended = true; d.wants(NeedNetwork) {
			e.Connect = &ConnectEvent{}
			d.socketAddress(&e.Connect.Addr, &e.Connect.Protocol)
			return 0
		}
	case "accept":
		if e.Extended = true; d.wants(NeedNetwork) {
			e.Accept = &AcceptEvent{}
			d.socketAddress(&e.Accept.Addr, new(string))
			return 0
		}
	case "cgroup":
		if e.Extended = true; d.wants(NeedFacts) {
			d.cgroup(&e.Facts.CgroupPath)
			return 0
		}
	case "usr":
		if d.wants(NeedOther) {
			e.Usr = &UserContext{}
			d.usr(e.Usr)
			return 0
		}
	default:
		if d.wants(NeedOther) {
			d.rare(e, key)
			return 0
		}
	}
	d.skip()
	return 0
}

func (d *Decoder) strs(v *[]string) {
	start := len(d.strings)
	*v = nil
	for open := false; d.element(&open); {
		if len(d.strings)-start == maxStrings {
			d.fail(errTooLong)
			return
		}
		var s string
		d.str(&s)
		d.strings = append(d.strings, s)
	}
	if end := len(d.strings); end > start {
		*v = d.strings[start:end:end]
	}
}

func (d *Decoder) capSet(v *CapSet) {
	*v = 0
	d.peek()
	start := d.pos
	if d.skip(); d.err != nil {
		return
	}
	text := d.text[start:d.pos]
	if text == "[]" {
		return
	}
	for i := range d.caps {
		if d.caps[i].text == text {
			*v = d.caps[i].set
			return
		}
	}
	d.pos = start
	for open := false; d.element(&open); {
		name := d.quoted()
		if n, ok := capNumbers[name]; ok {
			*v |= 1 << n
			continue
		}
		// The bits without a name are one number. A name that is not known here is of a newer sender.
		if n, err := strconv.ParseUint(name, 10, 64); err == nil {
			*v |= CapSet(n)
		}
	}
	const longest = 2048
	if d.err == nil && len(text) <= longest {
		d.caps[d.nextCaps%len(d.caps)] = capsText{strings.Clone(text), *v}
		d.nextCaps++
	}
}

func (d *Decoder) addr(v *netip.Addr) {
	*v = netip.Addr{}
	text := d.quoted()
	if d.err != nil || text == "" {
		return
	}
	var err error
	if *v, err = netip.ParseAddr(text); err != nil {
		d.fail(errAddress)
	}
}

func (d *Decoder) evt(e *Event) {
	e.Evt = EventContext{}
	var name, category string
	for o := (jsonObject{}); d.next(&o); {
		switch o.key {
		case "name":
			d.str(&name)
		case "category":
			d.str(&category)
		case "outcome":
			var text string
			d.str(&text)
			var err error
			if e.Evt.Outcome, err = ParseOutcome(text); err != nil {
				d.fail(errOutcome)
			}
		case "async":
			d.boolean(&e.Evt.Async)
		case "matched_rules":
			e.Evt.MatchedRules = nil
			for open := false; d.element(&open); {
				if len(e.Evt.MatchedRules) == maxStrings {
					d.fail(errTooLong)
					return
				}
				var r MatchedRule
				d.matchedRule(&r)
				e.Evt.MatchedRules = append(e.Evt.MatchedRules, r)
			}
		default:
			d.skip()
		}
	}
	t, known := TypeByName(name)
	switch {
	case d.err != nil:
	case !known:
		e.Evt.Name, e.Evt.Category = name, category // of a newer sender
	case e.Type != TypeAny && e.Type != t:
		d.fail(fmt.Errorf("evt.name is %s, and the record's event name is of %s", t, e.Type))
	default:
		e.Type = t
	}
}

func (d *Decoder) matchedRule(r *MatchedRule) {
	for o := (jsonObject{}); d.next(&o); {
		switch o.key {
		case "id":
			d.str(&r.ID)
		case "version":
			d.str(&r.Version)
		case "tags":
			d.strs(&r.Tags)
		case "policy_name":
			d.str(&r.PolicyName)
		case "policy_version":
			d.str(&r.PolicyVersion)
		default:
			d.skip()
		}
	}
}

func (d *Decoder) exit(x *ExitEvent) {
	for o := (jsonObject{}); d.next(&o); {
		switch o.key {
		case "cause":
			d.str(&x.Cause)
		case "code":
			d.u32(&x.Code)
		default:
			d.skip()
		}
	}
}

func (d *Decoder) cgroup(path *string) {
	for o := (jsonObject{}); d.next(&o); {
		if o.key == "id" {
			d.str(path)
		} else {
			d.skip()
		}
	}
}

func (d *Decoder) usr(u *UserContext) {
	for o := (jsonObject{}); d.next(&o); {
		switch o.key {
		case "id":
			d.str(&u.ID)
		case "group":
			d.str(&u.Group)
		default:
			d.skip()
		}
	}
}

// fileMember reads one member of a File; false if it has none of that name.
func (d *Decoder) fileMember(f *File, key string) bool {
	if d.null() {
		return true
	}
	switch key {
	case "path":
		d.str(&f.Path)
	case "name":
		d.str(&f.Name)
	case "path_resolution_error":
		d.str(&f.PathResolutionError)
	case "inode":
		f.Has |= HasInode
		d.u64(&f.Inode)
	case "mode":
		f.Has |= HasMode
		d.u32(&f.Mode)
	case "in_upper_layer":
		f.Has |= HasUpperLayer
		d.boolean(&f.InUpperLayer)
	case "mount_id":
		f.Has |= HasMountID
		d.u32(&f.MountID)
	case "filesystem":
		d.str(&f.Filesystem)
	case "uid":
		d.i64(&f.UID)
	case "gid":
		d.i64(&f.GID)
	case "user":
		d.str(&f.User)
	case "group":
		d.str(&f.Group)
	case "attribute_name":
		d.str(&f.AttributeName)
	case "attribute_namespace":
		d.str(&f.AttributeNamespace)
	case "flags":
		d.strs(&f.Flags)
	case "access_time":
		d.time(&f.AccessTime)
	case "modification_time":
		d.time(&f.ModificationTime)
	case "change_time":
		d.time(&f.ChangeTime)
	case "package_name":
		d.str(&f.PackageName)
	case "package_version":
		d.str(&f.PackageVersion)
	case "hashes":
		d.strs(&f.Hashes)
	case "hash_state":
		d.str(&f.HashState)
	default:
		return false
	}
	return true
}

// owned marks the owner of a file as known. The schema requires uid and gid, so they say 0 also where nothing is known: then
// there is no inode, nor another owner than root. Where the rest of the file is known but its owner, they say -1.
func (f *File) owned() {
	if f.UID == -1 && f.GID == -1 {
		return
	}
	if f.Has&HasInode != 0 || f.UID != 0 || f.GID != 0 || f.User != "" || f.Group != "" {
		f.Has |= HasOwner
	}
}

// file reads a File. A null is none.
func (d *Decoder) file(v **File) {
	*v = nil
	if d.null() {
		return
	}
	f := d.files.get()
	for o := (jsonObject{}); d.next(&o); {
		if !d.fileMember(f, o.key) {
			d.skip()
		}
	}
	f.owned()
	*v = f
}

func (d *Decoder) readFileEvent(f *FileEvent) {
	for o := (jsonObject{}); d.next(&o); {
		if d.fileMember(&f.File, o.key) {
			continue
		}
		switch o.key {
		case "destination":
			d.file(&f.Destination)
		case "new_mount_id":
			f.Has |= HasNewMountID
			d.u32(&f.NewMountID)
		case "device":
			f.Has |= HasDevice
			d.u32(&f.Device)
		case "fstype":
			d.str(&f.FSType)
		default:
			d.skip()
		}
	}
	f.owned()
}

func (d *Decoder) container(c *ContainerContext) {
	for o := (jsonObject{}); d.next(&o); {
		switch o.key {
		case "id":
			d.str(&c.ID)
		case "created_at":
			d.time(&c.CreatedAt)
		default:
			d.skip()
		}
	}
}

func (d *Decoder) readCredentials(c *ProcessCredentials) {
	for o := (jsonObject{}); d.next(&o); {
		switch o.key {
		case "uid":
			d.u32(&c.UID)
		case "user":
			d.str(&c.User)
		case "gid":
			d.u32(&c.GID)
		case "group":
			d.str(&c.Group)
		case "euid":
			d.u32(&c.EUID)
		case "euser":
			d.str(&c.EUser)
		case "egid":
			d.u32(&c.EGID)
		case "egroup":
			d.str(&c.EGroup)
		case "fsuid":
			d.u32(&c.FSUID)
		case "fsuser":
			d.str(&c.FSUser)
		case "fsgid":
			d.u32(&c.FSGID)
		case "fsgroup":
			d.str(&c.FSGroup)
		case "cap_effective":
			d.capSet(&c.CapEffective)
		case "cap_permitted":
			d.capSet(&c.CapPermitted)
		case "destination":
			if !d.null() {
				c.Destination = &CredentialsDestination{}
				d.credentialsDestination(c.Destination)
			}
		default:
			d.skip()
		}
	}
}

// credentialsDestination finds the kind by the members that are there.
func (d *Decoder) credentialsDestination(c *CredentialsDestination) {
	for o := (jsonObject{}); d.next(&o); {
		switch o.key {
		case "uid":
			c.Kind = CredentialsSetUID
			d.u32(&c.UID)
		case "gid":
			c.Kind = CredentialsSetGID
			d.u32(&c.UID)
		case "euid", "egid":
			d.u32(&c.EUID)
		case "fsuid", "fsgid":
			d.u32(&c.FSUID)
		case "user", "group":
			d.str(&c.User)
		case "euser", "egroup":
			d.str(&c.EUser)
		case "fsuser", "fsgroup":
			d.str(&c.FSUser)
		case "cap_effective":
			c.Kind = CredentialsCapset
			d.capSet(&c.CapEffective)
		case "cap_permitted":
			d.capSet(&c.CapPermitted)
		default:
			d.skip()
		}
	}
}

func (d *Decoder) userSession(u *UserSessionContext) {
	for o := (jsonObject{}); d.next(&o); {
		switch o.key {
		case "id":
			d.str(&u.ID)
		case "session_type":
			d.str(&u.SessionType)
		case "k8s_username":
			d.str(&u.K8SUsername)
		case "k8s_uid":
			d.str(&u.K8SUID)
		case "k8s_groups":
			d.strs(&u.K8SGroups)
		case "k8s_extra":
			u.K8SExtra = nil
			for o := (jsonObject{}); d.next(&o); {
				if len(u.K8SExtra) == maxStrings {
					d.fail(errTooLong)
					return
				}
				if u.K8SExtra == nil {
					u.K8SExtra = map[string][]string{}
				}
				var v []string
				d.strs(&v)
				u.K8SExtra[Unescape(o.key)] = v
			}
		default:
			d.skip()
		}
	}
}

// processMember reads one member of a Process; false if it has none of that name.
func (d *Decoder) processMember(p *decodedProcess, key string) bool {
	switch key {
	case "pid":
		d.u32(&p.PID)
	case "ppid":
		d.u32(&p.PPID)
	case "tid":
		d.u32(&p.TID)
	case "uid":
		d.u32(&p.UID)
	case "gid":
		d.u32(&p.GID)
	case "user":
		d.str(&p.User)
	case "group":
		d.str(&p.Group)
	case "path_resolution_error":
		d.str(&p.PathResolutionError)
	case "comm":
		d.str(&p.Comm)
	case "tty":
		d.str(&p.TTY)
	case "fork_time":
		d.time(&p.ForkTime)
	case "exec_time":
		d.time(&p.ExecTime)
	case "exit_time":
		d.time(&p.ExitTime)
	case "is_thread":
		d.boolean(&p.IsThread)
	case "is_kworker":
		d.boolean(&p.IsKworker)
	case "is_exec_child":
		d.boolean(&p.IsExecChild)
	case "source":
		d.str(&p.Source)
	default:
		return d.processGroup(p, key)
	}
	return true
}

// processGroup is processMember for the members that a Need of their own stands for.
func (d *Decoder) processGroup(p *decodedProcess, key string) bool {
	need := NeedProcess
	switch key {
	case "credentials":
		need = NeedCredentials
	case "executable", "interpreter":
		need = NeedExecutable
	case "container":
		need = NeedContainer | NeedProcess
	case "argv0", "args", "args_truncated":
		need, p.own = NeedArgs, true
	case "envs", "envs_truncated":
		need, p.own = NeedEnvs, true
	case "user_session":
	default:
		return false
	}
	if !d.wants(need) {
		d.skip()
		return true
	}
	if d.null() {
		return true
	}
	switch key {
	case "credentials":
		p.Credentials = d.credentials.get()
		d.readCredentials(p.Credentials)
	case "executable":
		d.file(&p.Executable)
	case "interpreter":
		d.file(&p.Interpreter)
	case "container":
		p.Container = d.containers.get()
		d.container(p.Container)
	case "argv0":
		d.str(&p.Argv0)
	case "args":
		d.strs(&p.Args)
	case "args_truncated":
		d.boolean(&p.ArgsTruncated)
	case "envs":
		d.strs(&p.Envs)
	case "envs_truncated":
		d.boolean(&p.EnvsTruncated)
	case "user_session":
		p.UserSession = &UserSessionContext{}
		d.userSession(p.UserSession)
	}
	return true
}

// lacksArgs says whether the encoder left the arguments of a forked child to the next entry.
func (p *decodedProcess) lacksArgs() bool { return p.IsThread && !p.own }

func (p *decodedProcess) inheritArgs(from *decodedProcess) {
	if p.lacksArgs() {
		p.Argv0, p.Args, p.ArgsTruncated = from.Argv0, from.Args, from.ArgsTruncated
		p.Envs, p.EnvsTruncated = from.Envs, from.EnvsTruncated
	}
}

func (d *Decoder) newProcess() *decodedProcess {
	if d.procs.n == maxProcesses {
		d.fail(errProcesses)
	}
	return d.procs.get()
}

// span is where a value is in the text.
type span struct{ start, end int }

func (d *Decoder) skipSpan() span {
	d.peek()
	s := span{start: d.pos}
	d.skip()
	s.end = d.pos
	return s
}

func (d *Decoder) process() *decodedProcess {
	p := d.newProcess()
	for o := (jsonObject{}); d.next(&o); {
		if !d.processMember(p, o.key) {
			d.skip()
		}
	}
	return p
}

// processList reads a lineage and returns where its first element is.
func (d *Decoder) processList() (list []*decodedProcess, first span) {
	base := len(d.lineage)
	for open := false; d.element(&open); {
		n := len(d.lineage) - base
		if n == maxAncestors {
			d.fail(errAncestors)
			break
		}
		d.peek()
		start := d.pos
		d.lineage = append(d.lineage, d.process())
		if n == 0 {
			first = span{start, d.pos}
		}
	}
	return d.lineage[base:], first
}

// at reads what was skipped before.
func (d *Decoder) at(s span, read func()) {
	if pos := d.pos; d.err == nil && s.end > 0 {
		d.pos = s.start
		if read(); d.err == nil {
			d.pos = pos
		}
	}
}

func (d *Decoder) processContext(c *ProcessContext) {
	*c = ProcessContext{}
	if d.null() {
		return
	}
	var (
		p                        = d.newProcess()
		parent, ancestors, first span
		lineage                  []*decodedProcess
	)
	for o := (jsonObject{}); d.next(&o); {
		switch {
		case d.null():
		case d.processMember(p, o.key):
		case o.key == "parent":
			parent = d.skipSpan()
		case o.key == "ancestors" && d.wants(NeedAncestors):
			lineage, first = d.processList()
		case o.key == "ancestors":
			ancestors = d.skipSpan()
		default:
			d.skip()
		}
	}
	c.Process, c.ActorTID = &p.Process, p.TID
	base := len(d.ancestors)
	for _, a := range lineage {
		d.ancestors = append(d.ancestors, &a.Process)
	}
	if n := len(d.ancestors); n > base {
		c.Ancestors = d.ancestors[base:n:n]
	}
	var next *decodedProcess // the parent
	switch {
	case !d.wants(NeedParent) || d.err != nil:
	case first.end > 0 && d.text[first.start:first.end] == d.text[parent.start:parent.end]:
		next = lineage[0]
	default:
		d.at(parent, func() { next = d.process() })
	}
	if next != nil {
		c.Parent = &next.Process
	}
	if !d.wants(NeedArgs|NeedEnvs) || d.err != nil {
		return
	}
	// Whoever lacks arguments has those of the next entry, which may not have been asked for.
	if p.lacksArgs() || next != nil && next.lacksArgs() {
		d.at(ancestors, func() { lineage, _ = d.processList() })
		if len(lineage) == 0 && next == nil {
			d.at(parent, func() { next = d.process() })
		}
	}
	for i := len(lineage) - 2; i >= 0; i-- {
		lineage[i].inheritArgs(lineage[i+1])
	}
	if len(lineage) > 0 {
		if next != nil {
			next.inheritArgs(lineage[0])
		}
		next = lineage[0]
	}
	if next != nil {
		p.inheritArgs(next)
	}
}

func (d *Decoder) ipPort(p *IPPort) {
	for o := (jsonObject{}); d.next(&o); {
		switch o.key {
		case "ip":
			d.addr(&p.IP)
		case "port":
			d.u16(&p.Port)
		default:
			d.skip()
		}
	}
}

// socketAddress reads bind or connect.
func (d *Decoder) socketAddress(p *IPPortFamily, protocol *string) {
	for o := (jsonObject{}); d.next(&o); {
		switch o.key {
		case "addr":
			for o := (jsonObject{}); d.next(&o); {
				switch o.key {
				case "family":
					d.str(&p.Family)
				case "ip":
					d.addr(&p.IP)
				case "port":
					d.u16(&p.Port)
				default:
					d.skip()
				}
			}
		case "protocol":
			d.str(protocol)
		default:
			d.skip()
		}
	}
}

func (d *Decoder) network(n *NetworkContext) {
	for o := (jsonObject{}); d.next(&o); {
		switch o.key {
		case "device":
			n.Device = &NetworkDevice{}
			for o := (jsonObject{}); d.next(&o); {
				switch o.key {
				case "netns":
					d.u32(&n.Device.NetNS)
				case "ifindex":
					d.u32(&n.Device.IfIndex)
				case "ifname":
					d.str(&n.Device.IfName)
				default:
					d.skip()
				}
			}
		case "l3_protocol":
			d.str(&n.L3Protocol)
		case "l4_protocol":
			d.str(&n.L4Protocol)
		case "source":
			d.ipPort(&n.Source)
		case "destination":
			d.ipPort(&n.Destination)
		case "size":
			d.u32(&n.Size)
		default:
			d.skip()
		}
	}
}

// table gives the places of an object's members by name: a pointer to a value of the model, or a function that reads one.
type table map[string]any

// members reads an object as the table says and skips what is not in it.
func (d *Decoder) members(t table) {
	for o := (jsonObject{}); d.next(&o); {
		switch v := t[o.key].(type) {
		case *string:
			d.str(v)
		case *[]string:
			d.strs(v)
		case *bool:
			d.boolean(v)
		case *uint16:
			d.u16(v)
		case *uint32:
			d.u32(v)
		case *uint64:
			d.u64(v)
		case **File:
			d.file(v)
		case func():
			v()
		default:
			d.skip()
		}
	}
}

// rare reads the members that only few types of events have, and no rule of today does.
func (d *Decoder) rare(e *Event, key string) {
	switch key {
	case "dd":
		e.DD = &DDContext{}
		d.members(table{"span_id": &e.DD.SpanID, "trace_id": &e.DD.TraceID})
	case "security_profile":
		s := &SecurityProfileContext{}
		e.SecurityProfile = s
		d.members(table{"name": &s.Name, "status": &s.Status, "version": &s.Version, "tags": &s.Tags})
	case "selinux":
		s := &SELinuxEvent{}
		e.SELinux = s
		d.members(table{
			"bool": func() {
				s.Bool = &SELinuxBoolChange{}
				d.members(table{"name": &s.Bool.Name, "state": &s.Bool.State})
			},
			"enforce": func() {
				s.Enforce = &SELinuxEnforceStatus{}
				d.members(table{"status": &s.Enforce.Status})
			},
			"bool_commit": func() {
				s.BoolCommit = &SELinuxBoolCommit{}
				d.members(table{"state": &s.BoolCommit.State})
			},
		})
	case "bpf":
		b := &BPFEvent{}
		e.BPF = b
		d.members(table{
			"cmd": &b.Cmd,
			"map": func() {
				b.Map = &BPFMap{}
				d.members(table{"name": &b.Map.Name, "map_type": &b.Map.MapType})
			},
			"program": func() {
				p := &BPFProgram{}
				b.Program = p
				d.members(table{"name": &p.Name, "tag": &p.Tag, "program_type": &p.ProgramType, "attach_type": &p.AttachType, "helpers": &p.Helpers})
			},
		})
	case "mmap":
		m := &MMapEvent{}
		e.MMap = m
		d.members(table{"address": &m.Address, "offset": &m.Offset, "length": &m.Length, "protection": &m.Protection, "flags": &m.Flags})
	case "mprotect":
		m := &MProtectEvent{}
		e.MProtect = m
		d.members(table{"vm_start": &m.VMStart, "vm_end": &m.VMEnd, "vm_protection": &m.VMProtection, "req_protection": &m.ReqProtection})
	case "ptrace":
		p := &PTraceEvent{}
		e.PTrace = p
		d.members(table{"request": &p.Request, "address": &p.Address, "tracee": func() {
			p.Tracee = &ProcessContext{}
			d.processContext(p.Tracee)
		}})
	case "module":
		m := &ModuleEvent{}
		e.Module = m
		d.members(table{"name": &m.Name, "loaded_from_memory": &m.LoadedFromMemory, "argv": &m.Argv, "args_truncated": &m.ArgsTruncated})
	case "signal":
		s := &SignalEvent{}
		e.Signal = s
		d.members(table{"type": &s.Type, "pid": &s.PID, "target": func() {
			s.Target = &ProcessContext{}
			d.processContext(s.Target)
		}})
	case "splice":
		s := &SpliceEvent{}
		e.Splice = s
		d.members(table{"pipe_entry_flag": &s.PipeEntryFlag, "pipe_exit_flag": &s.PipeExitFlag})
	case "dns":
		n := &DNSEvent{}
		e.DNS = n
		d.members(table{"id": &n.ID, "question": func() {
			q := &n.Question
			d.members(table{"class": &q.Class, "type": &q.Type, "name": &q.Name, "size": &q.Size, "count": &q.Count})
		}})
	case "mount":
		m := &MountEvent{}
		e.Mount = m
		d.members(table{
			"mp": &m.MountPoint, "root": &m.Root, "mount_id": &m.MountID, "parent_mount_id": &m.ParentMountID, "bind_src_mount_id": &m.BindSrcMountID,
			"device": &m.Device, "fs_type": &m.FSType, "mountpoint.path": &m.MountPointPath, "source.path": &m.SourcePath,
			"mountpoint.path_error": &m.MountPointPathError, "source.path_error": &m.SourcePathError,
		})
	case "anomaly_detection_syscall":
		e.AnomalySyscall = &AnomalyDetectionSyscallEvent{}
		d.members(table{"syscall": &e.AnomalySyscall.Syscall})
	default:
		d.skip()
	}
}
