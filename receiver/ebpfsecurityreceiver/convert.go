// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/enrich"
	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/privacy"
	"github.com/picketsec/picket/internal/proctree"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

// converter turns records of the kernel side into events. It belongs to the goroutine that drains the ring buffer.
type converter struct {
	tree     *proctree.Tree
	users    *enrich.Users
	scrubber *privacy.Scrubber
	envs     *privacy.EnvFilter
	paths    *resolver
	wall     func(bootNS uint64) event.Time

	containersOnly bool
	extended       bool

	// What an event points to, reused from one event to the next.
	ev      event.Event
	file    event.FileEvent
	dest    event.File
	exit    event.ExitEvent
	network event.NetworkContext
	bind    event.BindEvent
	connect event.ConnectEvent
	usr     event.UserContext
	actor   proctree.Actor
	base    []byte
	path    []byte
	tasks   []uint32
	processScratch
	memoryScratch
	networkScratch
	mountScratch
	kernelScratch
	syscallScratch
	rings rings

	// malformed says of a record that convert made no event of that what a process or the network had a hand in could not be
	// understood.
	malformed bool
}

// convert keeps the process tree up to date with a record and makes its event. The event is valid until the next call. It
// is nil if the record is no event: of a process outside of the scope, or of no interest.
func (c *converter) convert(r *sensor.Record) *event.Event {
	c.actor = proctree.Actor{
		ID: r.Id, PID: r.Pid, TID: r.Tid,
		UID: r.Uid, GID: r.Gid, EUID: r.Euid, EGID: r.Egid, FSUID: r.Fsuid, FSGID: r.Fsgid,
		CapEffective: event.CapSet(r.CapEffective), CapPermitted: event.CapSet(r.CapPermitted),
		AUID: r.Auid, SID: r.Sid, NetNS: r.Netns, MntNS: r.Mntns, CgroupID: r.Cgroup, Comm: cString(r.Comm[:]),
	}
	if int(r.Type) >= len(fills) || fills[r.Type] == nil {
		return nil
	}
	typ := sensor.TypeOf(r.Type)
	c.malformed = false
	now := c.wall(r.Time)
	c.ev = event.Event{Type: typ, Date: now, Extended: c.extended}
	ev := &c.ev
	switch event.Type(r.Type) { // a failed exec is of type exec, and makes no new image
	case event.TypeExec:
		delete(c.rings, r.Exec().PrevId)
		ev.Process = c.exec(r, now)
	case event.TypeFork:
		f := r.Fork()
		ev.Process = c.tree.Fork(&proctree.Fork{
			Parent: c.actor, ChildID: f.ChildId, ChildPID: f.ChildPid, ChildTID: f.ChildPid,
			Time: c.wall(f.StartTime), InScope: r.Flags&bpf.InScope != 0, Kthread: f.ChildFlags&uint32(bpf.Kthread) != 0,
		})
	case event.TypeExit:
		delete(c.rings, r.Id)
		ev.Process = c.tree.Exit(&proctree.Exit{Actor: c.actor, Time: now, InScope: r.Flags&bpf.InScope != 0})
	case event.TypeSetUID, event.TypeSetGID, event.TypeCapset:
		if !c.credsOf(r) {
			c.tree.Lookup(&c.actor)
			return nil
		}
		ev.Process = c.tree.Lookup(&c.actor)
	default:
		ev.Process = c.tree.Lookup(&c.actor)
	}
	if r.Flags&bpf.InScope == 0 || r.Flags&bpf.Snapshot != 0 || ev.Process.Process == nil {
		return nil
	}
	p := ev.Process.Process
	if c.containersOnly && (p.Container == nil || p.Container.ID == "") {
		return nil
	}
	ev.Container = p.Container
	c.usr = event.UserContext{ID: p.User, Group: p.Group}
	ev.Usr = &c.usr
	ev.Evt.Outcome = event.OutcomeOf(typ, r.Retval)
	ev.Facts = event.Facts{
		ProcessID: p.ID, Retval: r.Retval, AUID: r.Auid, SID: r.Sid, NetNS: r.Netns, MntNS: r.Mntns,
		CgroupID: r.Cgroup, CgroupPath: p.CgroupPath,
	}
	if ev.Process.Parent != nil {
		ev.Facts.ParentID = ev.Process.Parent.ID
	}
	if !fills[r.Type](c, ev, r) {
		return nil
	}
	return ev
}

// fills has, by type of record, what fills in the part of an event that only its type has. It returns false if the record
// is no event after all.
var fills = [bpf.NumTypes]func(*converter, *event.Event, *sensor.Record) bool{
	event.TypeExec:     (*converter).fillExec,
	event.TypeFork:     (*converter).fillNothing,
	event.TypeExit:     (*converter).fillExit,
	event.TypeOpen:     (*converter).fileOp,
	event.TypeUnlink:   (*converter).fileOp,
	event.TypeRmdir:    (*converter).fileOp,
	event.TypeRename:   (*converter).fileOp,
	event.TypeMkdir:    (*converter).fileOp,
	event.TypeChmod:    (*converter).fileOp,
	event.TypeChown:    (*converter).fileOp,
	event.TypeLink:     (*converter).fileOp,
	event.TypeConnect:  (*converter).socket,
	event.TypeBind:     (*converter).socket,
	event.TypeAccept:   (*converter).socket,
	event.TypeDNS:      (*converter).dnsQuery,
	event.TypeSetUID:   (*converter).credentials,
	event.TypeSetGID:   (*converter).credentials,
	event.TypeCapset:   (*converter).credentials,
	event.TypeSignal:   (*converter).sentSignal,
	event.TypePTrace:   (*converter).traced,
	event.TypeMMap:     (*converter).mapped,
	event.TypeMProtect: (*converter).protected,
	event.TypeSplice:   (*converter).spliced,
	event.TypeBPF:      (*converter).bpfCall,
	event.TypeSyscalls: (*converter).usedSyscall,

	event.TypeSymlink:     (*converter).fileOp,
	event.TypeUtimes:      (*converter).fileOp,
	event.TypeSetXattr:    (*converter).fileOp,
	event.TypeRemoveXattr: (*converter).fileOp,
	event.TypeChdir:       (*converter).fileOp,
	event.TypeChroot:      (*converter).fileOp,
	bpf.TypeExecFailed:    (*converter).fileOp,
	bpf.TypeIOUring:       (*converter).madeRing,

	event.TypeMount:        (*converter).mounted,
	event.TypeUmount:       (*converter).unmounted,
	event.TypeLoadModule:   (*converter).moduleLoaded,
	event.TypeUnloadModule: (*converter).moduleUnloaded,
	event.TypeSELinux:      (*converter).selinuxWritten,
}

func (c *converter) fillNothing(*event.Event, *sensor.Record) bool { return true }

func (c *converter) fillExec(ev *event.Event, _ *sensor.Record) bool {
	c.executable(ev)
	return true
}

func (c *converter) fillExit(ev *event.Event, r *sensor.Record) bool {
	c.executable(ev)
	c.exit = exitOf(r.Exit().Code)
	ev.Exit = &c.exit
	return true
}

// exitOf splits a wait status: status << 8, or the signal with 0x80 for a core dump.
func exitOf(code uint32) event.ExitEvent {
	sig := code & 0x7f
	switch {
	case sig == 0:
		return event.ExitEvent{Cause: event.CauseExited, Code: code >> 8 & 0xff}
	case code&0x80 != 0:
		return event.ExitEvent{Cause: event.CauseCoreDumped, Code: sig}
	}
	return event.ExitEvent{Cause: event.CauseSignaled, Code: sig}
}

// executable puts the process's executable into file, where exec and exit events have it.
func (c *converter) executable(ev *event.Event) {
	if exe := ev.Process.Executable; exe != nil {
		c.file = event.FileEvent{File: *exe}
		ev.File = &c.file
		ev.Facts.FileSource = event.FileSourceFD
	}
}

// exec makes the tree's entry of an exec, or of a process of the snapshot.
func (c *converter) exec(r *sensor.Record, now event.Time) event.ProcessContext {
	k := r.Exec()
	inScope := r.Flags&bpf.InScope != 0
	x := proctree.Exec{
		Actor: c.actor, PrevID: k.PrevId, PPID: k.Ppid, ParentID: k.ParentId, Time: now, ForkTime: c.wall(k.StartTime),
		InScope: inScope, IsKworker: r.Flags&bpf.Kthread != 0, Forked: r.Flags&bpf.Forked != 0, Source: event.SourceEvent,
	}
	if s := r.Segments[bpf.SegCgroup]; s.Present {
		x.CgroupPath = string(appendWalk(nil, s))
	}
	if s := r.Segments[bpf.SegTTY]; s.Present {
		x.TTY = string(s.Data)
	}
	if s := r.Segments[bpf.SegPath]; s.Present {
		x.Executable = c.walked(s, &k.Exe, r)
	}
	if s := r.Segments[bpf.SegFilename]; s.Present && s.Flags == 0 {
		// A script: what runs is its interpreter, and the script is what was asked for.
		if base := r.Segments[bpf.SegBase]; inScope && (base.Present || len(s.Data) > 0 && s.Data[0] == '/') {
			c.base = appendWalk(c.base[:0], base)
			c.path = appendJoined(c.path[:0], c.base, s.Data)
			x.Interpreter = x.Executable
			x.Executable = &event.File{}
			l := c.paths.lookup(lineage{pid: r.Pid, tasks: append(c.tasks[:0], r.Pid)}, r.Mntns, string(c.path), lookFollow)
			l.fill(x.Executable)
			c.names(x.Executable, r)
		}
	}
	if r.Flags&bpf.Snapshot != 0 {
		x.Source = event.SourceSnapshot
		x.Time = x.ForkTime // when the program was executed is not known any more
		if inScope && c.paths.hostPIDs {
			c.snapshotArgs(&x)
		}
		c.tree.Snapshot(&x)
		return event.ProcessContext{}
	}
	if s := r.Segments[bpf.SegArgs]; s.Present {
		x.Argv0, x.Args, x.ArgsTruncated = privacy.ParseArgs(s.Data, k.ArgsLen > uint32(len(s.Data)))
		x.Args = c.scrubber.Scrub(x.Args)
	}
	if s := r.Segments[bpf.SegEnvs]; s.Present {
		x.Envs, x.EnvsTruncated = c.envs.Parse(s.Data, k.EnvsLen > uint32(len(s.Data)))
	}
	return c.tree.Exec(&x)
}

// maxProcRead bounds what is read of one file of /proc.
const maxProcRead = 64 << 10

// snapshotArgs reads what only /proc has of a process that was there before.
func (c *converter) snapshotArgs(x *proctree.Exec) {
	dir := strconv.FormatUint(uint64(x.PID), 10)
	if data, whole, err := c.paths.readProc(dir+"/cmdline", maxProcRead); err == nil && len(data) > 0 {
		x.Argv0, x.Args, x.ArgsTruncated = privacy.ParseArgs(data, !whole)
		x.Args = c.scrubber.Scrub(x.Args)
	}
	if data, whole, err := c.paths.readProc(dir+"/environ", maxProcRead); err == nil && len(data) > 0 {
		x.Envs, x.EnvsTruncated = c.envs.Parse(data, !whole)
	}
}

// walked makes a File of a walk and the facts of the open file.
func (c *converter) walked(s sensor.Segment, k *bpf.File, r *sensor.Record) *event.File {
	f := &event.File{PathResolutionError: walkError(s.Flags)}
	c.path = appendWalk(c.path[:0], s)
	if s.Flags&bpf.WalkDetached != 0 {
		f.Name = string(c.path) // fileless: a memfd has a name only, in which a slash is a character as any other
	} else {
		f.Path = string(c.path)
		f.Name = baseName(f.Path)
	}
	fillFacts(f, k)
	if k.Flags&bpf.FileValid != 0 {
		c.paths.learn(k.Dev, f.Filesystem)
	}
	c.names(f, r)
	return f
}

// names fills in the names of a file's owner.
func (c *converter) names(f *event.File, r *sensor.Record) {
	if f.Has&event.HasOwner != 0 {
		f.User = c.users.User(r.Mntns, r.Pid, uint32(f.UID))
		f.Group = c.users.Group(r.Mntns, r.Pid, uint32(f.GID))
	}
}

// socket fills in the ends of a connect or bind; false means that the call was neither (a socket is disconnected by
// connecting it to AF_UNSPEC).
func (c *converter) socket(ev *event.Event, r *sensor.Record) bool {
	n := r.Net()
	given, path := sockaddr(r.Segments[bpf.SegSockaddr].Data)
	family := n.Family
	if family == 0 {
		family = given.family
	}
	if given.known && given.family == unix.AF_UNSPEC && family != unix.AF_INET {
		return false
	}
	if ev.Type == event.TypeConnect && given.known && given.family == unix.AF_UNSPEC {
		return false
	}
	if ev.Type == event.TypeAccept {
		return c.accepted(ev, n, path)
	}
	local := endpoint(family, n.Saddr, n.Sport)
	peer := endpoint(family, n.Daddr, n.Dport)
	ev.Facts.SocketFamily, ev.Facts.SocketProtocol = family, n.Protocol
	if family == unix.AF_UNIX {
		ev.Facts.SocketPath = path
	}
	ok := ev.Evt.Outcome == event.OutcomeSuccess
	if ev.Type == event.TypeBind {
		if !ok || local.Port == 0 {
			local = given.addr
		}
		c.bind = event.BindEvent{Addr: event.IPPortFamily{Family: event.FamilyName(family), IP: local.IP, Port: local.Port}}
		ev.Bind = &c.bind
		return true
	}
	if !ok || peer.Port == 0 {
		peer = given.addr
	}
	c.connect = event.ConnectEvent{
		Addr:     event.IPPortFamily{Family: event.FamilyName(family), IP: peer.IP, Port: peer.Port},
		Protocol: event.L4ProtocolName(n.Protocol),
	}
	ev.Connect = &c.connect
	if family == unix.AF_INET || family == unix.AF_INET6 {
		c.networkOf(ev, n.Protocol, local, peer)
	}
	return true
}

// endpoint makes an address of what the socket holds; an IPv4 address mapped into IPv6 becomes IPv4. port is in network
// byte order.
func endpoint(family uint16, addr [16]byte, port uint16) event.IPPort {
	p := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&port))[:])
	switch family {
	case unix.AF_INET:
		return event.IPPort{IP: netip.AddrFrom4([4]byte(addr[:4])), Port: p}
	case unix.AF_INET6:
		return event.IPPort{IP: netip.AddrFrom16(addr).Unmap(), Port: p}
	}
	return event.IPPort{}
}

// given is the address that a process passed to the kernel.
type givenAddr struct {
	known  bool
	family uint16
	addr   event.IPPort
}

// sockaddr reads a struct sockaddr as the process gave it; every length is possible. An abstract AF_UNIX address begins
// with @.
func sockaddr(b []byte) (g givenAddr, path string) {
	if len(b) < 2 {
		return g, ""
	}
	g.known, g.family = true, binary.NativeEndian.Uint16(b)
	switch {
	case g.family == unix.AF_INET && len(b) >= 8:
		g.addr = event.IPPort{IP: netip.AddrFrom4([4]byte(b[4:8])), Port: binary.BigEndian.Uint16(b[2:])}
	case g.family == unix.AF_INET6 && len(b) >= 24:
		g.addr = event.IPPort{IP: netip.AddrFrom16([16]byte(b[8:24])).Unmap(), Port: binary.BigEndian.Uint16(b[2:])}
	case g.family == unix.AF_UNIX && len(b) > 2:
		p := b[2:]
		if p[0] == 0 {
			return g, "@" + string(p[1:])
		}
		for i, ch := range p {
			if ch == 0 {
				p = p[:i]
				break
			}
		}
		return g, string(p)
	}
	return g, ""
}
