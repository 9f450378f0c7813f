// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/xpdata"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"golang.org/x/sys/unix"
)

// buffers are reused for the bodies of records.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

// maxPooled keeps single large bodies from being held for ever.
const maxPooled = 256 << 10

func putBuffer(b *[]byte) {
	if cap(*b) <= maxPooled {
		buffers.Put(b)
	}
}

// RecordUID identifies a record wherever it goes: a hash of the host, its boot, the record's sequence and, for a detection,
// the rule. 32 hex digits.
func RecordUID(hostID, bootID string, seq uint64, ruleID string) string {
	var stack [256]byte
	b := append(stack[:0], hostID...)
	b = append(append(b, 0), bootID...)
	b = binary.BigEndian.AppendUint64(append(b, 0), seq)
	b = append(b, ruleID...)
	sum := sha256.Sum256(b)
	var text [32]byte
	hex.Encode(text[:], sum[:16])
	return string(text[:])
}

// attributes collects the attributes of a record. Unlike the methods of pcommon.Map it does not look for duplicates, which
// takes most of the time at this number.
type attributes struct{ xpdata.MapBuilder }

// str writes text that is UTF-8 for sure.
func (a *attributes) str(key, v string) { a.AppendEmpty(key).SetStr(v) }

func (a *attributes) optStr(key, v string) {
	if v != "" {
		a.str(key, Escape(v))
	}
}

func (a *attributes) int(key string, v int64) { a.AppendEmpty(key).SetInt(v) }

func (a *attributes) optInt(key string, v int64) {
	if v != 0 {
		a.int(key, v)
	}
}

func (a *attributes) optStrs(key string, v []string) {
	if len(v) > 0 {
		appendStrs(a.AppendEmpty(key).SetEmptySlice(), v)
	}
}

func appendStrs(s pcommon.Slice, v []string) {
	s.EnsureCapacity(s.Len() + len(v))
	for _, x := range v {
		s.AppendEmpty().SetStr(Escape(x))
	}
}

// begin writes what all records have.
func (a *attributes) begin(lr plog.LogRecord, h *Host, name, kind string, seq uint64, t, observed Time, rule string) {
	lr.SetEventName(name)
	lr.SetTimestamp(pcommon.Timestamp(t))
	lr.SetObservedTimestamp(pcommon.Timestamp(observed))
	lr.SetSeverityNumber(plog.SeverityNumberInfo)
	a.int(AttrContractVersion, ContractVersion)
	a.str(AttrRecordKind, kind)
	a.int(AttrSequence, int64(seq))
	a.str(AttrRecordUID, RecordUID(h.ID, h.BootID, seq, rule))
}

// EncodeReport writes a report of Picket about itself into an empty record: eventName is one of the Record… names, seq its
// number in the host's sequence, and body a JSON object.
func EncodeReport(lr plog.LogRecord, h *Host, eventName string, seq uint64, t Time, body []byte) {
	var a attributes
	a.begin(lr, h, eventName, KindReport, seq, t, t, eventName)
	a.UnsafeIntoMap(lr.Attributes())
	lr.Body().SetStr(string(body))
}

// EncodeProcessReport writes a report about the process of e into an empty record. e is of no type: its name is
// CustomEvent. The body has title and agent, then what e has; the attributes are those that an event of the process has.
func EncodeProcessReport(lr plog.LogRecord, h *Host, eventName, title string, agent *Agent, e *Event) {
	var a attributes
	a.begin(lr, h, eventName, KindReport, e.Facts.Sequence, e.Date, e.Facts.Observed, eventName)
	a.process(e)
	a.facts(e)
	a.UnsafeIntoMap(lr.Attributes())
	body := str([]byte{'{'}, "service", ReportService)
	body = append(body, e.AppendJSON(nil)[1:]...)
	lr.Body().SetStr(string(AppendDetection(nil, body, title, agent)))
}

// typicalAttributes is a bit more than what the events with the most attributes have.
const typicalAttributes = 40

// EncodeRecord writes the event into an empty record of the host's Resource.
func EncodeRecord(e *Event, h *Host, lr plog.LogRecord) {
	var a attributes
	a.EnsureCapacity(typicalAttributes)
	a.begin(lr, h, e.Type.Info().Record, KindEvent, e.Facts.Sequence, e.Date, e.Facts.Observed, "")
	a.process(e)
	a.object(e)
	a.facts(e)
	a.UnsafeIntoMap(lr.Attributes())
	if d := e.DD; d != nil && d.TraceID != 0 && d.SpanID != 0 {
		// Datadog's trace ids are the lower 64 bits.
		var trace pcommon.TraceID
		var span pcommon.SpanID
		binary.BigEndian.PutUint64(trace[8:], d.TraceID)
		binary.BigEndian.PutUint64(span[:], d.SpanID)
		lr.SetTraceID(trace)
		lr.SetSpanID(span)
	}
	buf := buffers.Get().(*[]byte)
	*buf = e.AppendJSON((*buf)[:0])
	lr.Body().SetStr(string(*buf))
	putBuffer(buf)
}

// process writes who acts.
func (a *attributes) process(e *Event) {
	if c := e.Container; c != nil {
		a.optStr(AttrContainerID, c.ID)
		a.optStr(AttrPodUID, c.PodUID)
	}
	p := e.Process.Process
	if p == nil {
		return
	}
	a.int(AttrProcessPID, int64(p.PID))
	a.optInt(AttrProcessPPID, int64(p.PPID))
	if p.ForkTime != 0 {
		a.str(AttrProcessCreation, p.creation())
	}
	if p.Executable != nil {
		a.optStr(AttrProcessExePath, p.Executable.Path)
		a.optStr(AttrProcessExeName, p.Executable.Name)
	}
	if p.Argv0 != "" || len(p.Args) > 0 {
		args := a.AppendEmpty(AttrProcessArgs).SetEmptySlice()
		args.EnsureCapacity(1 + len(p.Args))
		args.AppendEmpty().SetStr(Escape(p.Argv0))
		appendStrs(args, p.Args)
	}
	if c := p.Credentials; c != nil {
		a.int(AttrProcessUserID, int64(c.EUID))
		a.optStr(AttrProcessUser, c.EUser)
	}
	a.int(AttrProcessRealUID, int64(p.UID))
	a.optStr(AttrProcessRealUser, p.User)
	if p.TTY != "" {
		a.AppendEmpty(AttrInteractive).SetBool(true)
	}
	a.optInt(AttrThreadID, int64(e.Process.tid()))
}

// object writes what the event is about.
func (a *attributes) object(e *Event) {
	if f := e.File; f != nil {
		a.optStr(AttrFilePath, f.Path)
		a.optStr(AttrFileName, f.Name)
		if dot := strings.LastIndexByte(f.Name, '.'); dot > 0 {
			a.optStr(AttrFileExtension, f.Name[dot+1:])
		}
		if f.Has&HasInode != 0 {
			a.str(AttrFileInode, strconv.FormatUint(f.Inode, 10))
		}
		if f.Has&HasMode != 0 {
			var b [8]byte
			a.str(AttrFileMode, string(strconv.AppendUint(append(b[:0], '0'), uint64(f.Mode&rightsMask), 8)))
		}
		if f.Has&HasOwner != 0 {
			a.str(AttrFileOwnerID, strconv.FormatInt(f.UID, 10))
			a.optStr(AttrFileOwner, f.User)
		}
	}
	if e.Type == TypeSymlink {
		a.optStr(AttrSymlinkTarget, e.Facts.SyscallDestinationPath)
	}
	if e.DNS != nil {
		a.optStr(AttrDNSQuestion, e.DNS.Question.Name)
	}
	if x := e.Exit; x != nil && x.Cause == CauseExited {
		a.int(AttrProcessExitCode, int64(x.Code))
	}
	switch {
	case e.Network != nil:
		a.networkType(e.Network.Destination.IP)
		local, peer := e.Network.Source, e.Network.Destination
		if e.Type == TypeAccept { // source is who connected
			local, peer = peer, local
		}
		a.endpoint(AttrLocalAddress, AttrLocalPort, local)
		a.endpoint(AttrPeerAddress, AttrPeerPort, peer)
		if d := e.Network.Device; d != nil {
			a.optStr(AttrInterface, d.IfName)
		}
	case e.Bind != nil:
		a.networkType(e.Bind.Addr.IP)
		a.endpoint(AttrLocalAddress, AttrLocalPort, IPPort{e.Bind.Addr.IP, e.Bind.Addr.Port})
	}
	switch {
	case e.Facts.SocketFamily == unix.AF_UNIX:
		a.str(AttrTransport, semconv.NetworkTransportUnix.Value.AsString())
	case e.Facts.SocketProtocol == unix.IPPROTO_TCP:
		a.str(AttrTransport, semconv.NetworkTransportTCP.Value.AsString())
	case e.Facts.SocketProtocol == unix.IPPROTO_UDP:
		a.str(AttrTransport, semconv.NetworkTransportUDP.Value.AsString())
	}
}

func (a *attributes) networkType(ip netip.Addr) {
	switch {
	case ip.Is4() || ip.Is4In6():
		a.str(AttrNetworkType, semconv.NetworkTypeIPv4.Value.AsString())
	case ip.Is6():
		a.str(AttrNetworkType, semconv.NetworkTypeIPv6.Value.AsString())
	}
}

// endpoint writes an address and port, unless the side is not known.
func (a *attributes) endpoint(addrKey, portKey string, p IPPort) {
	if p.IP.IsValid() && (!p.IP.IsUnspecified() || p.Port != 0) {
		a.str(addrKey, p.IP.WithZone("").String())
		a.int(portKey, int64(p.Port))
	}
}

// facts writes e.Facts. Sequence and Observed have their places elsewhere.
func (a *attributes) facts(e *Event) {
	f := &e.Facts
	a.optInt(AttrProcessID, int64(f.ProcessID))
	a.optInt(AttrProcessParentID, int64(f.ParentID))
	a.ancestorIDs(e)
	a.targetID(e)
	if f.AUID != AUIDUnset {
		a.int(AttrProcessAUID, int64(f.AUID))
	}
	a.optInt(AttrProcessSID, int64(f.SID))
	a.optInt(AttrProcessNetNS, int64(f.NetNS))
	a.optInt(AttrProcessMntNS, int64(f.MntNS))
	a.optInt(AttrCgroupID, int64(f.CgroupID))
	a.optStr(AttrProcessCgroup, f.CgroupPath)
	a.optInt(AttrRetval, f.Retval)
	a.optStr(AttrFileSource, f.FileSource)
	a.optInt(AttrFlags, int64(f.Flags))
	a.optStr(AttrSyscallPath, f.SyscallPath)
	a.optInt(AttrSyscallMode, int64(f.SyscallMode))
	a.optStr(AttrSyscallDestPath, f.SyscallDestinationPath)
	a.optStr(AttrSyscallFSType, f.SyscallFSType)
	if f.MountDetached {
		a.AppendEmpty(AttrMountDetached).SetBool(true)
	}
	a.optInt(AttrSocketFamily, int64(f.SocketFamily))
	a.optInt(AttrSocketProtocol, int64(f.SocketProtocol))
	a.optStr(AttrSocketPath, f.SocketPath)
	a.optStrs(AttrRuleUnavailable, f.Unavailable)
}

// ancestorIDs writes the ids as the facts have them, or else the ancestors.
func (a *attributes) ancestorIDs(e *Event) {
	n, id := len(e.Facts.AncestorIDs), func(i int) uint64 { return e.Facts.AncestorIDs[i] }
	if n == 0 {
		n, id = len(e.Process.Ancestors), func(i int) uint64 { return e.Process.Ancestors[i].ID }
		if n == 0 || id(0) == 0 {
			return
		}
	}
	ids := a.AppendEmpty(AttrProcessAncestors).SetEmptySlice()
	n = min(n, maxAncestors)
	ids.EnsureCapacity(n)
	for i := range n {
		ids.AppendEmpty().SetInt(int64(id(i)))
	}
}

// targetID writes the id as the facts have it, or else the process.
func (a *attributes) targetID(e *Event) {
	id := e.Facts.TargetID
	if t := target(e); id == 0 && t != nil {
		id = t.ID
	}
	a.optInt(AttrTargetID, int64(id))
}

// factReader reads attributes, which may come from the network, and keeps the first mistake.
type factReader struct{ err error }

func (r *factReader) fail(key, want string) {
	if r.err == nil {
		r.err = fmt.Errorf("attribute %s is no %s", key, want)
	}
}

func (r *factReader) int(key string, v pcommon.Value) int64 {
	if v.Type() != pcommon.ValueTypeInt {
		r.fail(key, "int")
	}
	return v.Int()
}

func (r *factReader) u32(key string, v pcommon.Value) uint32 {
	n := r.int(key, v)
	if n != int64(uint32(n)) {
		r.fail(key, "number of 32 bits")
	}
	return uint32(n)
}

func (r *factReader) u16(key string, v pcommon.Value) uint16 {
	n := r.int(key, v)
	if n != int64(uint16(n)) {
		r.fail(key, "number of 16 bits")
	}
	return uint16(n)
}

func (r *factReader) str(key string, v pcommon.Value) string {
	if v.Type() != pcommon.ValueTypeStr {
		r.fail(key, "string")
	}
	return Unescape(v.Str())
}

func (r *factReader) list(key string, v pcommon.Value, limit int) pcommon.Slice {
	if v.Type() != pcommon.ValueTypeSlice || v.Slice().Len() > limit {
		r.fail(key, fmt.Sprintf("list of up to %d", limit))
		return pcommon.NewSlice()
	}
	return v.Slice()
}

// read is the inverse of attributes.facts.
func (r *factReader) read(attrs pcommon.Map, f *Facts) {
	for k, v := range attrs.All() {
		switch k {
		case AttrProcessID:
			f.ProcessID = uint64(r.int(k, v))
		case AttrProcessParentID:
			f.ParentID = uint64(r.int(k, v))
		case AttrProcessAncestors:
			ids := r.list(k, v, maxAncestors)
			f.AncestorIDs = make([]uint64, ids.Len())
			for i := range f.AncestorIDs {
				f.AncestorIDs[i] = uint64(r.int(k, ids.At(i)))
			}
		case AttrTargetID:
			f.TargetID = uint64(r.int(k, v))
		case AttrProcessAUID:
			f.AUID = r.u32(k, v)
		case AttrProcessSID:
			f.SID = r.u32(k, v)
		case AttrProcessNetNS:
			f.NetNS = r.u32(k, v)
		case AttrProcessMntNS:
			f.MntNS = r.u32(k, v)
		case AttrCgroupID:
			f.CgroupID = uint64(r.int(k, v))
		case AttrProcessCgroup:
			f.CgroupPath = r.str(k, v)
		case AttrRetval:
			f.Retval = r.int(k, v)
		case AttrFileSource:
			f.FileSource = r.str(k, v)
		case AttrFlags:
			f.Flags = r.u32(k, v)
		case AttrSyscallPath:
			f.SyscallPath = r.str(k, v)
		case AttrSyscallMode:
			f.SyscallMode = r.u32(k, v)
		case AttrSyscallDestPath:
			f.SyscallDestinationPath = r.str(k, v)
		case AttrSyscallFSType:
			f.SyscallFSType = r.str(k, v)
		case AttrMountDetached:
			f.MountDetached = v.Bool()
		case AttrSocketFamily:
			f.SocketFamily = r.u16(k, v)
		case AttrSocketProtocol:
			f.SocketProtocol = r.u16(k, v)
		case AttrSocketPath:
			f.SocketPath = r.str(k, v)
		case AttrRuleUnavailable:
			list := r.list(k, v, maxStrings)
			f.Unavailable = make([]string, list.Len())
			for i := range f.Unavailable {
				f.Unavailable[i] = r.str(k, list.At(i))
			}
		}
	}
}

// ErrForeign is matched by the errors about records that are not of the contract, or not events.
var ErrForeign = errors.New("not an event record of Picket")

// TypeOfRecord returns the event type of an event record. Every error matches ErrForeign.
func TypeOfRecord(lr plog.LogRecord) (Type, error) {
	a := lr.Attributes()
	if v, ok := a.Get(AttrContractVersion); !ok || v.Type() != pcommon.ValueTypeInt || v.Int() != ContractVersion {
		return TypeAny, fmt.Errorf("%w: %s is not %d", ErrForeign, AttrContractVersion, ContractVersion)
	}
	if v, ok := a.Get(AttrRecordKind); !ok || v.Str() != KindEvent {
		return TypeAny, fmt.Errorf("%w: %s is not %s", ErrForeign, AttrRecordKind, KindEvent)
	}
	t, ok := typeByRecord[lr.EventName()]
	if !ok {
		return TypeAny, fmt.Errorf("%w: there is no event %q", ErrForeign, lr.EventName())
	}
	return t, nil
}

var typeByRecord = func() map[string]Type {
	m := make(map[string]Type, NumTypes)
	for _, ti := range Types[1:] {
		m[ti.Record] = ti.Type
	}
	return m
}()

// DecodeRecord is the inverse of EncodeRecord, as far as need asks for it: as Decode for the body, and Facts, but for
// Sequence and Observed, only with NeedFacts. It replaces all of e. The errors for records of others match ErrForeign.
func (d *Decoder) DecodeRecord(lr plog.LogRecord, need Need, e *Event) error {
	t, err := TypeOfRecord(lr)
	if err != nil {
		return err
	}
	if lr.Body().Type() != pcommon.ValueTypeStr {
		return fmt.Errorf("%w: the body is no string", ErrForeign)
	}
	if err := d.decode(lr.Body().Str(), need, e, t); err != nil {
		return err
	}
	if e.Date == 0 {
		e.Date = Time(lr.Timestamp())
	}
	f := &e.Facts
	f.Observed = Time(lr.ObservedTimestamp())
	if v, ok := lr.Attributes().Get(AttrSequence); ok {
		f.Sequence = uint64(v.Int())
	}
	f.AUID = AUIDUnset
	if need&(NeedFacts|NeedNetwork) != 0 {
		var r factReader
		if r.read(lr.Attributes(), f); r.err != nil {
			return r.err
		}
	}
	e.Process.setFacts(f)
	if t := target(e); t != nil {
		t.ID = f.TargetID
	}
	if need&NeedNetwork != 0 {
		e.completeSocket()
	}
	return nil
}

// setFacts gives the processes what the record has of them outside of its body.
func (p *ProcessContext) setFacts(f *Facts) {
	if p.Process == nil {
		return
	}
	p.ID, p.AUID, p.SID, p.NetNS, p.MntNS, p.CgroupID, p.CgroupPath = f.ProcessID, f.AUID, f.SID, f.NetNS, f.MntNS, f.CgroupID, f.CgroupPath
	if len(f.AncestorIDs) == len(p.Ancestors) {
		for i, a := range p.Ancestors {
			a.ID = f.AncestorIDs[i]
		}
	}
	if p.Parent != nil {
		p.Parent.ID = f.ParentID
	}
}

// completeSocket makes Connect and Accept, which only the extended form has, the same in both forms.
func (e *Event) completeSocket() {
	family := FamilyName(e.Facts.SocketFamily)
	switch e.Type {
	case TypeConnect:
		if e.Connect == nil {
			e.Connect = &ConnectEvent{Addr: IPPortFamily{Family: family}, Protocol: L4ProtocolName(e.Facts.SocketProtocol)}
		}
		if n := e.Network; n != nil {
			e.Connect.Addr.IP, e.Connect.Addr.Port = n.Destination.IP, n.Destination.Port
		}
	case TypeAccept:
		if e.Accept == nil {
			e.Accept = &AcceptEvent{Addr: IPPortFamily{Family: family}}
		}
		if n := e.Network; n != nil {
			e.Accept.Addr.IP, e.Accept.Addr.Port = n.Source.IP, n.Source.Port
		}
	}
}
