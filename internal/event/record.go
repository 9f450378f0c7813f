// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
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

// begin sets what all records have.
func begin(lr plog.LogRecord, h *Host, name, kind string, seq uint64, t, observed Time, ruleID string) {
	lr.SetEventName(name)
	lr.SetTimestamp(pcommon.Timestamp(t))
	lr.SetObservedTimestamp(pcommon.Timestamp(observed))
	a := lr.Attributes()
	a.PutInt(AttrContractVersion, ContractVersion)
	a.PutStr(AttrRecordKind, kind)
	a.PutInt(AttrSequence, int64(seq))
	a.PutStr(AttrRecordUID, RecordUID(h.ID, h.BootID, seq, ruleID))
}

func putStr(a pcommon.Map, key, v string) {
	if v != "" {
		a.PutStr(key, Escape(v))
	}
}

func putInt(a pcommon.Map, key string, v int64) {
	if v != 0 {
		a.PutInt(key, v)
	}
}

// typicalAttributes is about what a file event has.
const typicalAttributes = 32

// EncodeRecord writes the event into an empty record of the host's Resource.
func EncodeRecord(e *Event, h *Host, lr plog.LogRecord) {
	lr.Attributes().EnsureCapacity(typicalAttributes)
	begin(lr, h, e.Type.Info().Record, KindEvent, e.Facts.Sequence, e.Date, e.Facts.Observed, "")
	lr.SetSeverityNumber(plog.SeverityNumberInfo)
	a := lr.Attributes()
	putProcess(a, e)
	putObject(a, e)
	putFacts(a, &e.Facts)
	if n := e.Process.Ancestors; len(e.Facts.AncestorIDs) == 0 && len(n) > 0 && n[0].ID != 0 {
		ids := a.PutEmptySlice(AttrProcessAncestors)
		ids.EnsureCapacity(len(e.Process.Ancestors))
		for _, p := range e.Process.Ancestors {
			ids.AppendEmpty().SetInt(int64(p.ID))
		}
	}
	if dd := e.DD; dd != nil {
		lr.SetTraceID(traceID(dd.TraceID))
		lr.SetSpanID(spanID(dd.SpanID))
	}

	buf := buffers.Get().(*[]byte)
	*buf = e.AppendJSON((*buf)[:0])
	lr.Body().SetStr(string(*buf))
	putBuffer(buf)
}

// traceID is a trace's id of which the low 64 bits are known.
func traceID(low uint64) (id pcommon.TraceID) {
	binary.BigEndian.PutUint64(id[8:], low)
	return id
}

func spanID(v uint64) (id pcommon.SpanID) {
	binary.BigEndian.PutUint64(id[:], v)
	return id
}

func putProcess(a pcommon.Map, e *Event) {
	p := e.Process.Process
	if p == nil {
		return
	}
	a.PutInt(AttrProcessPID, int64(p.PID))
	putInt(a, AttrProcessPPID, int64(p.PPID))
	if p.ForkTime != 0 {
		var b [40]byte
		a.PutStr(AttrProcessCreation, string(p.ForkTime.AppendRFC3339(b[:0])))
	}
	if p.Executable != nil {
		putStr(a, AttrProcessExePath, p.Executable.Path)
		putStr(a, AttrProcessExeName, p.Executable.Name)
	}
	if p.Argv0 != "" || len(p.Args) > 0 {
		args := a.PutEmptySlice(AttrProcessArgs)
		args.EnsureCapacity(1 + len(p.Args))
		args.AppendEmpty().SetStr(Escape(p.Argv0))
		for _, s := range p.Args {
			args.AppendEmpty().SetStr(Escape(s))
		}
	}
	if c := p.Credentials; c != nil {
		a.PutInt(AttrProcessUserID, int64(c.EUID))
		putStr(a, AttrProcessUser, c.EUser)
	}
	a.PutInt(AttrProcessRealUID, int64(p.UID))
	putStr(a, AttrProcessRealUser, p.User)
	putStr(a, AttrProcessCgroup, e.Facts.CgroupPath)
	if tid := e.Process.ActorTID; tid != 0 {
		a.PutInt(AttrThreadID, int64(tid))
	}
	if e.Container != nil {
		putStr(a, AttrContainerID, e.Container.ID)
	}
	if e.Exit != nil && e.Exit.Cause == CauseExited {
		a.PutInt(AttrProcessExitCode, int64(e.Exit.Code))
	}
}

// putObject writes what the event is about.
func putObject(a pcommon.Map, e *Event) {
	if f := e.File; f != nil {
		putStr(a, AttrFilePath, f.Path)
		putStr(a, AttrFileName, f.Name)
		if f.Has&HasInode != 0 {
			a.PutStr(AttrFileInode, strconv.FormatUint(f.Inode, 10))
		}
		if f.Has&HasMode != 0 {
			a.PutStr(AttrFileMode, "0"+strconv.FormatUint(uint64(f.Mode&0o7777), 8))
		}
		if f.Has&HasOwner != 0 {
			a.PutStr(AttrFileOwnerID, strconv.FormatInt(f.UID, 10))
			putStr(a, AttrFileOwner, f.User)
		}
	}
	switch {
	case e.Network != nil:
		putEndpoints(a, e.Network.Source, e.Network.Destination, true)
	case e.Bind != nil && e.Bind.Addr.IP.IsValid():
		putEndpoints(a, IPPort{e.Bind.Addr.IP, e.Bind.Addr.Port}, IPPort{}, false)
	}
	if f := e.Facts.SocketFamily; f != 0 {
		switch {
		case f == afUnix:
			a.PutStr(AttrTransport, "unix")
		case e.Facts.SocketProtocol == protoTCP:
			a.PutStr(AttrTransport, "tcp")
		case e.Facts.SocketProtocol == protoUDP:
			a.PutStr(AttrTransport, "udp")
		}
	}
}

// Numbers of include/linux/socket.h and include/uapi/linux/in.h.
const (
	afUnix   = 1
	protoTCP = 6
	protoUDP = 17
)

func putEndpoints(a pcommon.Map, local, peer IPPort, hasPeer bool) {
	addr := local.IP
	if hasPeer {
		addr = peer.IP
	}
	switch {
	case addr.Is4() || addr.Is4In6():
		a.PutStr(AttrNetworkType, "ipv4")
	case addr.Is6():
		a.PutStr(AttrNetworkType, "ipv6")
	}
	if local.IP.IsValid() {
		a.PutStr(AttrLocalAddress, local.IP.String())
	}
	putInt(a, AttrLocalPort, int64(local.Port))
	if hasPeer {
		if peer.IP.IsValid() {
			a.PutStr(AttrPeerAddress, peer.IP.String())
		}
		putInt(a, AttrPeerPort, int64(peer.Port))
	}
}

func putFacts(a pcommon.Map, f *Facts) {
	putInt(a, AttrProcessID, int64(f.ProcessID))
	putInt(a, AttrProcessParentID, int64(f.ParentID))
	if len(f.AncestorIDs) > 0 {
		ids := a.PutEmptySlice(AttrProcessAncestors)
		ids.EnsureCapacity(len(f.AncestorIDs))
		for _, id := range f.AncestorIDs {
			ids.AppendEmpty().SetInt(int64(id))
		}
	}
	if f.AUID != AUIDUnset {
		a.PutInt(AttrProcessAUID, int64(f.AUID))
	}
	putInt(a, AttrProcessSID, int64(f.SID))
	putInt(a, AttrProcessNetNS, int64(f.NetNS))
	putInt(a, AttrProcessMntNS, int64(f.MntNS))
	putInt(a, AttrCgroupID, int64(f.CgroupID))
	putInt(a, AttrRetval, f.Retval)
	putStr(a, AttrFileSource, f.FileSource)
	putInt(a, AttrFlags, int64(f.Flags))
	putStr(a, AttrSyscallPath, f.SyscallPath)
	putInt(a, AttrSyscallMode, int64(f.SyscallMode))
	putStr(a, AttrSyscallDestPath, f.SyscallDestinationPath)
	putInt(a, AttrSocketFamily, int64(f.SocketFamily))
	putInt(a, AttrSocketProtocol, int64(f.SocketProtocol))
	putStr(a, AttrSocketPath, f.SocketPath)
}

// getFacts is the inverse of putFacts.
func getFacts(lr plog.LogRecord, f *Facts) {
	f.AUID = AUIDUnset
	f.Observed = Time(lr.ObservedTimestamp())
	for k, v := range lr.Attributes().All() {
		switch k {
		case AttrSequence:
			f.Sequence = uint64(v.Int())
		case AttrProcessID:
			f.ProcessID = uint64(v.Int())
		case AttrProcessParentID:
			f.ParentID = uint64(v.Int())
		case AttrProcessAncestors:
			s := v.Slice()
			for i := range min(s.Len(), maxAncestors) {
				f.AncestorIDs = append(f.AncestorIDs, uint64(s.At(i).Int()))
			}
		case AttrProcessAUID:
			f.AUID = uint32(v.Int())
		case AttrProcessSID:
			f.SID = uint32(v.Int())
		case AttrProcessNetNS:
			f.NetNS = uint32(v.Int())
		case AttrProcessMntNS:
			f.MntNS = uint32(v.Int())
		case AttrCgroupID:
			f.CgroupID = uint64(v.Int())
		case AttrProcessCgroup:
			f.CgroupPath = Unescape(v.Str())
		case AttrRetval:
			f.Retval = v.Int()
		case AttrFileSource:
			f.FileSource = v.Str()
		case AttrFlags:
			f.Flags = uint32(v.Int())
		case AttrSyscallPath:
			f.SyscallPath = Unescape(v.Str())
		case AttrSyscallMode:
			f.SyscallMode = uint32(v.Int())
		case AttrSyscallDestPath:
			f.SyscallDestinationPath = Unescape(v.Str())
		case AttrSocketFamily:
			f.SocketFamily = uint16(v.Int())
		case AttrSocketProtocol:
			f.SocketProtocol = uint16(v.Int())
		case AttrSocketPath:
			f.SocketPath = Unescape(v.Str())
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

// DecodeRecord is the inverse of EncodeRecord, as far as need asks for it. It replaces all of e. The errors for records of
// others match ErrForeign.
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
	getFacts(lr, &e.Facts)
	if p := e.Process.Process; p != nil {
		f := &e.Facts
		p.ID, p.AUID, p.SID, p.NetNS, p.MntNS, p.CgroupID, p.CgroupPath = f.ProcessID, f.AUID, f.SID, f.NetNS, f.MntNS, f.CgroupID, f.CgroupPath
		if parent := e.Process.Parent; parent != nil {
			parent.ID = f.ParentID
		}
		for i, a := range e.Process.Ancestors[:min(len(e.Process.Ancestors), len(f.AncestorIDs))] {
			a.ID = f.AncestorIDs[i]
		}
	}
	if t == TypeConnect && e.Connect == nil && need&NeedNetwork != 0 {
		e.Connect = &ConnectEvent{Addr: IPPortFamily{Family: FamilyName(e.Facts.SocketFamily)}, Protocol: L4ProtocolName(e.Facts.SocketProtocol)}
		if n := e.Network; n != nil {
			e.Connect.Addr.IP, e.Connect.Addr.Port = n.Destination.IP, n.Destination.Port
		}
	}
	return nil
}

// RuleInfo is what a detection says about its rule.
type RuleInfo struct {
	ID, Version, Description  string
	GroupID                   string
	PolicyName, PolicyVersion string
	Tags                      []string // "key:value"
	Severity                  Severity
	SuppressedCount           int64    // matches that the rate limit held back since the last detection
	Unavailable               []string // fields that the rule read and the event could not know
}

// EncodeDetection writes a detection into the empty record dst: the event record src, matched by the rule r. agentVersion
// is the compatibility level that agent.version shows.
func EncodeDetection(dst, src plog.LogRecord, h *Host, r *RuleInfo, agentVersion string) {
	seq := uint64(0)
	if v, ok := src.Attributes().Get(AttrSequence); ok {
		seq = uint64(v.Int())
	}
	a := dst.Attributes()
	a.EnsureCapacity(src.Attributes().Len() + 10)
	for k, v := range src.Attributes().All() {
		if k != AttrRecordKind && k != AttrRecordUID {
			v.CopyTo(a.PutEmpty(k))
		}
	}
	dst.SetEventName(src.EventName())
	dst.SetTimestamp(src.Timestamp())
	dst.SetObservedTimestamp(src.ObservedTimestamp())
	dst.SetTraceID(src.TraceID())
	dst.SetSpanID(src.SpanID())
	dst.SetSeverityNumber(r.Severity.Number())
	dst.SetSeverityText(r.Severity.String())
	a.PutStr(AttrRecordKind, KindDetection)
	a.PutStr(AttrRecordUID, RecordUID(h.ID, h.BootID, seq, r.ID))
	a.PutStr(AttrRuleName, r.ID)
	putStr(a, AttrRuleVersion, r.Version)
	putStr(a, AttrRuleDescription, r.Description)
	putStr(a, AttrRuleset, r.PolicyName)
	putStr(a, AttrRulePolicyVersion, r.PolicyVersion)
	putStr(a, AttrRuleGroupID, r.GroupID)
	putInt(a, AttrRuleSuppressed, r.SuppressedCount)
	putStrs(a, AttrRuleTags, r.Tags)
	putStrs(a, AttrRuleUnavailable, r.Unavailable)

	agent := h.Agent(agentVersion)
	agent.RuleID, agent.RuleVersion, agent.PolicyName, agent.PolicyVersion = r.ID, r.Version, r.PolicyName, r.PolicyVersion
	if r.GroupID != "" {
		agent.RuleID, agent.OriginalRuleID = r.GroupID, r.ID
	}
	buf := buffers.Get().(*[]byte)
	*buf = appendDetection((*buf)[:0], src.Body().Str(), r.Description, &agent)
	dst.Body().SetStr(string(*buf))
	putBuffer(buf)
}

func putStrs(a pcommon.Map, key string, v []string) {
	if len(v) == 0 {
		return
	}
	s := a.PutEmptySlice(key)
	s.EnsureCapacity(len(v))
	for _, x := range v {
		s.AppendEmpty().SetStr(Escape(x))
	}
}

// EncodeReport writes a report of Picket about itself into an empty record. body is a JSON object.
func EncodeReport(lr plog.LogRecord, h *Host, eventName string, seq uint64, t Time, body []byte) {
	begin(lr, h, eventName, KindReport, seq, t, t, "")
	lr.SetSeverityNumber(plog.SeverityNumberInfo)
	lr.Body().SetStr(string(body))
}

// originEBPF is agent.origin of every log.
const originEBPF = "ebpf"

// Agent is the object that a detection's log has beside the event: who detected it, by which rule. Empty members are left out.
type Agent struct {
	RuleID         string // the group's id if the rule is in a group
	OriginalRuleID string
	RuleVersion    string
	PolicyName     string
	PolicyVersion  string
	Version        string // of the agent that the rules are compatible with
	OS             string
	Arch           string // x64, arm64
	Origin         string
	KernelVersion  string
	Distribution   string
}

// AppendDetection appends the full log: title and agent, then the members of body, which is a JSON object.
func AppendDetection(dst, body []byte, title string, a *Agent) []byte {
	return appendDetection(dst, string(body), title, a)
}

func appendDetection(dst []byte, body, title string, a *Agent) []byte {
	dst = str(append(dst, '{'), "title", title)
	dst = append(key(dst, "agent"), '{')
	// These are what Datadog's own schema of the object requires; the others may be missing.
	dst = str(dst, "rule_id", a.RuleID)
	dst = optStr(dst, "original_rule_id", a.OriginalRuleID)
	dst = optStr(dst, "rule_version", a.RuleVersion)
	dst = str(dst, "policy_name", a.PolicyName)
	dst = str(dst, "policy_version", a.PolicyVersion)
	dst = str(dst, "version", a.Version)
	dst = str(dst, "os", a.OS)
	dst = str(dst, "arch", a.Arch)
	dst = str(dst, "origin", a.Origin)
	dst = optStr(dst, "kernel_version", a.KernelVersion)
	dst = optStr(dst, "distribution", a.Distribution)
	dst = append(endObject(dst), ',')
	if len(body) > 2 && body[0] == '{' {
		return append(dst, body[1:]...)
	}
	return endObject(dst)
}
