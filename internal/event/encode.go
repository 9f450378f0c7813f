// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// The encoder appends text. Members are written with a comma behind them; endObject takes the last one back. It does not
// allocate, but for the growth of the buffer and the first use of a Process.

func key(dst []byte, name string) []byte {
	dst = append(dst, '"')
	dst = append(dst, name...)
	return append(dst, '"', ':')
}

func endObject(dst []byte) []byte {
	if dst[len(dst)-1] == ',' {
		dst[len(dst)-1] = '}'
		return dst
	}
	return append(dst, '}')
}

func str(dst []byte, name, v string) []byte { return append(appendString(key(dst, name), v), ',') }

func optStr(dst []byte, name, v string) []byte {
	if v == "" {
		return dst
	}
	return str(dst, name, v)
}

func num(dst []byte, name string, v uint64) []byte {
	return append(strconv.AppendUint(key(dst, name), v, 10), ',')
}

func optNum(dst []byte, name string, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return num(dst, name, v)
}

func boolean(dst []byte, name string, v bool) []byte {
	return append(strconv.AppendBool(key(dst, name), v), ',')
}

func optBool(dst []byte, name string, v bool) []byte {
	if !v {
		return dst
	}
	return boolean(dst, name, v)
}

// AppendRFC3339 appends t as RFC 3339 in UTC with as many fractional digits as it needs.
func (t Time) AppendRFC3339(dst []byte) []byte {
	return time.Unix(0, int64(t)).UTC().AppendFormat(dst, time.RFC3339Nano)
}

func optTime(dst []byte, name string, t Time) []byte {
	if t == 0 {
		return dst
	}
	dst = append(key(dst, name), '"')
	return append(t.AppendRFC3339(dst), '"', ',')
}

func stringArray(dst []byte, v []string) []byte {
	dst = append(dst, '[')
	for i, s := range v {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, s)
	}
	return append(dst, ']')
}

func strs(dst []byte, name string, v []string) []byte {
	return append(stringArray(key(dst, name), v), ',')
}

func optStrs(dst []byte, name string, v []string) []byte {
	if len(v) == 0 {
		return dst
	}
	return strs(dst, name, v)
}

// capNames are the names of the capabilities by their numbers (include/uapi/linux/capability.h).
var capNames = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW",
	"CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
	"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD",
	"CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// capsByName are the numbers of the capabilities in the order of their names, in which they are written.
var capsByName = func() (order [len(capNames)]int) {
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order[:], func(a, b int) int {
		if capNames[a] < capNames[b] {
			return -1
		}
		return 1
	})
	return order
}()

var capNumbers = func() map[string]int {
	m := make(map[string]int, len(capNames))
	for i, n := range capNames {
		m[n] = i
	}
	return m
}()

const knownCaps = CapSet(1)<<len(capNames) - 1

func caps(dst []byte, name string, set CapSet) []byte {
	dst = key(dst, name)
	place := capsPlace(set)
	if t := place.Load(); t != nil && t.set == set {
		return append(dst, t.text...)
	}
	start := len(dst)
	dst = append(dst, '[')
	// Digits sort before letters: the bits that have no name come first, as one number.
	if rest := set &^ knownCaps; rest != 0 {
		dst = append(strconv.AppendUint(append(dst, '"'), uint64(rest), 10), '"', ',')
	}
	for _, i := range capsByName {
		if set&(1<<i) != 0 {
			dst = append(append(append(dst, '"'), capNames[i]...), '"', ',')
		}
	}
	if dst[len(dst)-1] == ',' {
		dst = dst[:len(dst)-1]
	}
	dst = append(dst, ']', ',')
	place.Store(&capsJSON{set, bytes.Clone(dst[start:])})
	return dst
}

func ip(dst []byte, name string, a netip.Addr, zero string) []byte {
	dst = append(key(dst, name), '"')
	if a.IsValid() {
		dst = a.WithZone("").AppendTo(dst)
	} else {
		dst = append(dst, zero...)
	}
	return append(dst, '"', ',')
}

// AppendJSON appends the event as CSM Threats JSON: exactly the schema, without title and agent. If e.Extended is set, it has
// the members of the newer schema too.
func (e *Event) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	dst = e.appendEvt(dst)
	dst = optTime(dst, "date", e.Date)
	if e.Extended {
		dst = e.appendExtended(dst)
	}
	if e.File != nil {
		dst = append(e.File.append(key(dst, "file")), ',')
	}
	if x := e.Exit; x != nil {
		dst = append(key(dst, "exit"), '{')
		dst = str(dst, "cause", x.Cause)
		dst = num(dst, "code", uint64(x.Code))
		dst = append(endObject(dst), ',')
	}
	if e.Container != nil {
		dst = append(e.Container.append(key(dst, "container")), ',')
	}
	if n := e.Network; n != nil {
		dst = append(n.append(key(dst, "network")), ',')
	}
	if b := e.Bind; b != nil {
		dst = append(key(dst, "bind"), '{')
		dst = append(b.Addr.append(key(dst, "addr")), ',')
		if e.Extended {
			dst = optStr(dst, "protocol", L4ProtocolName(e.Facts.SocketProtocol))
		}
		dst = append(endObject(dst), ',')
	}
	if d := e.DD; d != nil {
		dst = append(key(dst, "dd"), '{')
		dst = optNum(dst, "span_id", d.SpanID)
		dst = optNum(dst, "trace_id", d.TraceID)
		dst = append(endObject(dst), ',')
	}
	dst = e.appendRare(dst)
	if u := e.Usr; u != nil {
		dst = append(key(dst, "usr"), '{')
		dst = optStr(dst, "id", u.ID)
		dst = optStr(dst, "group", u.Group)
		dst = append(endObject(dst), ',')
	}
	// The process is the last and by far the longest: who looks for something else need not go over it.
	if e.Process.Process != nil {
		dst = append(e.Process.append(key(dst, "process")), ',')
	}
	return endObject(dst)
}

// appendExtended appends the members of the newer schema.
func (e *Event) appendExtended(dst []byte) []byte {
	if c := e.Connect; c != nil {
		dst = append(key(dst, "connect"), '{')
		dst = append(c.Addr.append(key(dst, "addr")), ',')
		dst = optStr(dst, "protocol", c.Protocol)
		dst = append(endObject(dst), ',')
	}
	if a := e.Accept; a != nil {
		dst = append(key(dst, "accept"), '{')
		dst = append(a.Addr.append(key(dst, "addr")), ',')
		dst = append(endObject(dst), ',')
	}
	if e.Facts.CgroupPath != "" {
		dst = append(key(dst, "cgroup"), '{')
		dst = str(dst, "id", e.Facts.CgroupPath)
		dst = append(endObject(dst), ',')
	}
	return dst
}

func (e *Event) appendEvt(dst []byte) []byte {
	name, category := e.Evt.Name, e.Evt.Category // of a type that is not known here
	if e.Type != TypeAny {
		name, category = e.Type.Info().Name, e.Type.Info().Category
	}
	dst = append(key(dst, "evt"), '{')
	dst = optStr(dst, "name", name)
	dst = optStr(dst, "category", category)
	dst = optStr(dst, "outcome", e.Evt.Outcome.String())
	dst = optBool(dst, "async", e.Evt.Async)
	if len(e.Evt.MatchedRules) > 0 {
		dst = append(key(dst, "matched_rules"), '[')
		for i := range e.Evt.MatchedRules {
			r := &e.Evt.MatchedRules[i]
			dst = append(dst, '{')
			dst = optStr(dst, "id", r.ID)
			dst = optStr(dst, "version", r.Version)
			dst = optStrs(dst, "tags", r.Tags)
			dst = optStr(dst, "policy_name", r.PolicyName)
			dst = optStr(dst, "policy_version", r.PolicyVersion)
			dst = append(endObject(dst), ',')
		}
		dst[len(dst)-1] = ']'
		dst = append(dst, ',')
	}
	return append(endObject(dst), ',')
}

// appendMembers appends what File and FileEvent have in common.
func (f *File) appendMembers(dst []byte) []byte {
	dst = optStr(dst, "path", f.Path)
	dst = optStr(dst, "name", f.Name)
	dst = optStr(dst, "path_resolution_error", f.PathResolutionError)
	if f.Has&HasInode != 0 {
		dst = num(dst, "inode", f.Inode)
	}
	if f.Has&HasMode != 0 {
		dst = num(dst, "mode", uint64(f.Mode))
	}
	if f.Has&HasUpperLayer != 0 {
		dst = boolean(dst, "in_upper_layer", f.InUpperLayer)
	}
	if f.Has&HasMountID != 0 {
		dst = num(dst, "mount_id", uint64(f.MountID))
	}
	dst = optStr(dst, "filesystem", f.Filesystem)
	dst = append(strconv.AppendInt(key(dst, "uid"), f.UID, 10), ',')
	dst = append(strconv.AppendInt(key(dst, "gid"), f.GID, 10), ',')
	dst = optStr(dst, "user", f.User)
	dst = optStr(dst, "group", f.Group)
	dst = optStr(dst, "attribute_name", f.AttributeName)
	dst = optStr(dst, "attribute_namespace", f.AttributeNamespace)
	dst = optStrs(dst, "flags", f.Flags)
	dst = optTime(dst, "access_time", f.AccessTime)
	dst = optTime(dst, "modification_time", f.ModificationTime)
	dst = optTime(dst, "change_time", f.ChangeTime)
	dst = optStr(dst, "package_name", f.PackageName)
	dst = optStr(dst, "package_version", f.PackageVersion)
	dst = optStrs(dst, "hashes", f.Hashes)
	return optStr(dst, "hash_state", f.HashState)
}

func (f *File) append(dst []byte) []byte {
	return endObject(f.appendMembers(append(dst, '{')))
}

func (f *FileEvent) append(dst []byte) []byte {
	dst = f.appendMembers(append(dst, '{'))
	if f.Destination != nil {
		dst = append(f.Destination.append(key(dst, "destination")), ',')
	}
	if f.Has&HasNewMountID != 0 {
		dst = num(dst, "new_mount_id", uint64(f.NewMountID))
	}
	if f.Has&HasDevice != 0 {
		dst = num(dst, "device", uint64(f.Device))
	}
	dst = optStr(dst, "fstype", f.FSType)
	return endObject(dst)
}

func (c *ContainerContext) append(dst []byte) []byte {
	dst = append(dst, '{')
	dst = optStr(dst, "id", c.ID)
	dst = optTime(dst, "created_at", c.CreatedAt)
	return endObject(dst)
}

func (c *ProcessCredentials) append(dst []byte) []byte {
	dst = append(dst, '{')
	id := func(dst []byte, idKey string, id uint32, nameKey, name string) []byte {
		return optStr(num(dst, idKey, uint64(id)), nameKey, name)
	}
	dst = id(dst, "uid", c.UID, "user", c.User)
	dst = id(dst, "gid", c.GID, "group", c.Group)
	dst = id(dst, "euid", c.EUID, "euser", c.EUser)
	dst = id(dst, "egid", c.EGID, "egroup", c.EGroup)
	dst = id(dst, "fsuid", c.FSUID, "fsuser", c.FSUser)
	dst = id(dst, "fsgid", c.FSGID, "fsgroup", c.FSGroup)
	dst = caps(dst, "cap_effective", c.CapEffective)
	dst = caps(dst, "cap_permitted", c.CapPermitted)
	if d := c.Destination; d != nil {
		dst = append(key(dst, "destination"), '{')
		switch d.Kind {
		case CredentialsSetUID:
			dst = id(dst, "uid", d.UID, "user", d.User)
			dst = id(dst, "euid", d.EUID, "euser", d.EUser)
			dst = id(dst, "fsuid", d.FSUID, "fsuser", d.FSUser)
		case CredentialsSetGID:
			dst = id(dst, "gid", d.UID, "group", d.User)
			dst = id(dst, "egid", d.EUID, "egroup", d.EUser)
			dst = id(dst, "fsgid", d.FSUID, "fsgroup", d.FSUser)
		case CredentialsCapset:
			dst = caps(dst, "cap_effective", d.CapEffective)
			dst = caps(dst, "cap_permitted", d.CapPermitted)
		}
		dst = append(endObject(dst), ',')
	}
	return endObject(dst)
}

func (u *UserSessionContext) append(dst []byte) []byte {
	dst = append(dst, '{')
	dst = optStr(dst, "id", u.ID)
	dst = optStr(dst, "session_type", u.SessionType)
	dst = optStr(dst, "k8s_username", u.K8SUsername)
	dst = optStr(dst, "k8s_uid", u.K8SUID)
	dst = optStrs(dst, "k8s_groups", u.K8SGroups)
	if len(u.K8SExtra) > 0 {
		dst = append(key(dst, "k8s_extra"), '{')
		for _, k := range slices.Sorted(maps.Keys(u.K8SExtra)) {
			dst = append(stringArray(append(appendString(dst, k), ':'), u.K8SExtra[k]), ',')
		}
		dst = append(endObject(dst), ',')
	}
	return endObject(dst)
}

// noCredentials is what a kernel thread has.
var noCredentials ProcessCredentials

// appendProcessMembers appends the members of p but tid, and the closing brace.
func appendProcessMembers(dst []byte, p *Process, args bool) []byte {
	dst = optNum(dst, "pid", uint64(p.PID))
	if p.IsKworker {
		dst = num(dst, "uid", 0)
		dst = num(dst, "gid", 0)
		dst = append(noCredentials.append(key(dst, "credentials")), ',')
		dst = boolean(dst, "is_kworker", true)
		dst = optBool(dst, "is_exec_child", p.IsExecChild)
		dst = optStr(dst, "source", p.Source)
		return endObject(dst)
	}
	dst = optNum(dst, "ppid", uint64(p.PPID))
	dst = num(dst, "uid", uint64(p.UID))
	dst = num(dst, "gid", uint64(p.GID))
	dst = optStr(dst, "user", p.User)
	dst = optStr(dst, "group", p.Group)
	dst = optStr(dst, "path_resolution_error", p.PathResolutionError)
	dst = optStr(dst, "comm", p.Comm)
	dst = optStr(dst, "tty", p.TTY)
	dst = optTime(dst, "fork_time", p.ForkTime)
	dst = optTime(dst, "exec_time", p.ExecTime)
	dst = optTime(dst, "exit_time", p.ExitTime)
	if p.Credentials != nil {
		dst = append(p.Credentials.append(key(dst, "credentials")), ',')
	}
	if p.UserSession != nil {
		dst = append(p.UserSession.append(key(dst, "user_session")), ',')
	}
	if p.Executable != nil {
		dst = append(p.Executable.append(key(dst, "executable")), ',')
	}
	if p.Interpreter != nil {
		dst = append(p.Interpreter.append(key(dst, "interpreter")), ',')
	}
	if p.Container != nil {
		dst = append(p.Container.append(key(dst, "container")), ',')
	}
	if args {
		dst = optStr(dst, "argv0", p.Argv0)
		if p.IsThread && !p.hasArgs() {
			dst = strs(dst, "args", nil) // nothing at all would mean: those of the next entry
		}
		dst = optStrs(dst, "args", p.Args)
		dst = optBool(dst, "args_truncated", p.ArgsTruncated)
		dst = optStrs(dst, "envs", p.Envs)
		dst = optBool(dst, "envs_truncated", p.EnvsTruncated)
	}
	dst = optBool(dst, "is_thread", p.IsThread)
	dst = optBool(dst, "is_exec_child", p.IsExecChild)
	dst = optStr(dst, "source", p.Source)
	return endObject(dst)
}

// appendProcess appends p as an object, but for its end: what follows the members is up to the caller. next is the entry
// after p in the lineage; arguments that p shares with it are left to it.
func appendProcess(dst []byte, p, next *Process, tid uint32) []byte {
	dst = append(dst, '{')
	dst = optNum(dst, "tid", uint64(tid))
	return p.appendMembers(dst, p.IsThread && next != nil && sharesArgs(p, next))
}

// sharesArgs says whether two entries have the same arguments and environment, as a forked child and its parent do: then
// they are the same slices.
func sharesArgs(a, b *Process) bool {
	same := func(x, y []string) bool {
		return len(x) == len(y) && (len(x) == 0 || &x[0] == &y[0] || slices.Equal(x, y))
	}
	return a.Argv0 == b.Argv0 && a.ArgsTruncated == b.ArgsTruncated && a.EnvsTruncated == b.EnvsTruncated &&
		same(a.Args, b.Args) && same(a.Envs, b.Envs)
}

// hasArgs says whether anything is known of the arguments and the environment.
func (p *Process) hasArgs() bool {
	return p.Argv0 != "" || len(p.Args) > 0 || len(p.Envs) > 0 || p.ArgsTruncated || p.EnvsTruncated
}

// tid is the acting thread, or the process's first if that is not known.
func (p *ProcessContext) tid() uint32 {
	if p.ActorTID != 0 {
		return p.ActorTID
	}
	return p.TID
}

func (p *ProcessContext) append(dst []byte) []byte {
	next := p.Parent
	if len(p.Ancestors) > 0 {
		next = p.Ancestors[0]
	}
	dst = appendProcess(dst, p.Process, next, p.tid())
	if next == nil {
		return dst
	}
	dst[len(dst)-1] = ',' // the object goes on
	ancestor := func(dst []byte, i int) []byte {
		var next *Process
		if i+1 < len(p.Ancestors) {
			next = p.Ancestors[i+1]
		}
		return appendProcess(dst, p.Ancestors[i], next, p.Ancestors[i].TID)
	}
	if p.Parent != nil {
		dst = key(dst, "parent")
		if len(p.Ancestors) > 0 && p.Ancestors[0] == p.Parent {
			dst = ancestor(dst, 0)
		} else {
			dst = appendProcess(dst, p.Parent, nil, p.Parent.TID)
		}
		dst = append(dst, ',')
	}
	if len(p.Ancestors) > 0 {
		dst = append(key(dst, "ancestors"), '[')
		for i := range p.Ancestors {
			dst = append(ancestor(dst, i), ',')
		}
		dst[len(dst)-1] = ']'
		dst = append(dst, ',')
	}
	return endObject(dst)
}

// append appends p; zero is the address of a side that is not known.
func (p *IPPort) append(dst []byte, zero string) []byte {
	dst = ip(append(dst, '{'), "ip", p.IP, zero)
	return endObject(num(dst, "port", uint64(p.Port)))
}

func (p *IPPortFamily) append(dst []byte) []byte {
	dst = str(append(dst, '{'), "family", p.Family)
	dst = ip(dst, "ip", p.IP, "")
	return endObject(num(dst, "port", uint64(p.Port)))
}

func (n *NetworkContext) append(dst []byte) []byte {
	dst = append(dst, '{')
	if d := n.Device; d != nil {
		dst = append(key(dst, "device"), '{')
		dst = num(dst, "netns", uint64(d.NetNS))
		dst = num(dst, "ifindex", uint64(d.IfIndex))
		dst = str(dst, "ifname", d.IfName)
		dst = append(endObject(dst), ',')
	}
	dst = str(dst, "l3_protocol", n.L3Protocol)
	dst = str(dst, "l4_protocol", n.L4Protocol)
	zero := "0.0.0.0"
	if n.L3Protocol == "ETH_P_IPV6" {
		zero = "::"
	}
	dst = append(n.Source.append(key(dst, "source"), zero), ',')
	dst = append(n.Destination.append(key(dst, "destination"), zero), ',')
	dst = num(dst, "size", uint64(n.Size))
	return endObject(dst)
}

// appendRare appends the members that only few types of events have.
func (e *Event) appendRare(dst []byte) []byte {
	if s := e.SecurityProfile; s != nil {
		dst = append(key(dst, "security_profile"), '{')
		dst = str(dst, "name", s.Name)
		dst = str(dst, "status", s.Status)
		dst = str(dst, "version", s.Version)
		dst = strs(dst, "tags", s.Tags)
		dst = append(endObject(dst), ',')
	}
	if s := e.SELinux; s != nil {
		dst = append(key(dst, "selinux"), '{')
		if b := s.Bool; b != nil {
			dst = append(key(dst, "bool"), '{')
			dst = optStr(dst, "name", b.Name)
			dst = optStr(dst, "state", b.State)
			dst = append(endObject(dst), ',')
		}
		if x := s.Enforce; x != nil {
			dst = append(key(dst, "enforce"), '{')
			dst = append(endObject(optStr(dst, "status", x.Status)), ',')
		}
		if x := s.BoolCommit; x != nil {
			dst = append(key(dst, "bool_commit"), '{')
			dst = append(endObject(optBool(dst, "state", x.State)), ',')
		}
		dst = append(endObject(dst), ',')
	}
	if b := e.BPF; b != nil {
		dst = append(key(dst, "bpf"), '{')
		dst = str(dst, "cmd", b.Cmd)
		if m := b.Map; m != nil {
			dst = append(key(dst, "map"), '{')
			dst = optStr(dst, "name", m.Name)
			dst = optStr(dst, "map_type", m.MapType)
			dst = append(endObject(dst), ',')
		}
		if p := b.Program; p != nil {
			dst = append(key(dst, "program"), '{')
			dst = optStr(dst, "name", p.Name)
			dst = optStr(dst, "tag", p.Tag)
			dst = optStr(dst, "program_type", p.ProgramType)
			dst = optStr(dst, "attach_type", p.AttachType)
			dst = optStrs(dst, "helpers", p.Helpers)
			dst = append(endObject(dst), ',')
		}
		dst = append(endObject(dst), ',')
	}
	if m := e.MMap; m != nil {
		dst = append(key(dst, "mmap"), '{')
		dst = str(dst, "address", m.Address)
		dst = num(dst, "offset", m.Offset)
		dst = num(dst, "length", m.Length)
		dst = str(dst, "protection", m.Protection)
		dst = str(dst, "flags", m.Flags)
		dst = append(endObject(dst), ',')
	}
	if m := e.MProtect; m != nil {
		dst = append(key(dst, "mprotect"), '{')
		dst = str(dst, "vm_start", m.VMStart)
		dst = str(dst, "vm_end", m.VMEnd)
		dst = str(dst, "vm_protection", m.VMProtection)
		dst = str(dst, "req_protection", m.ReqProtection)
		dst = append(endObject(dst), ',')
	}
	if p := e.PTrace; p != nil {
		dst = append(key(dst, "ptrace"), '{')
		dst = str(dst, "request", p.Request)
		dst = str(dst, "address", p.Address)
		if p.Tracee != nil && p.Tracee.Process != nil {
			dst = append(p.Tracee.append(key(dst, "tracee")), ',')
		}
		dst = append(endObject(dst), ',')
	}
	if m := e.Module; m != nil {
		dst = append(key(dst, "module"), '{')
		dst = str(dst, "name", m.Name)
		dst = optBool(dst, "loaded_from_memory", m.LoadedFromMemory)
		dst = optStrs(dst, "argv", m.Argv)
		dst = optBool(dst, "args_truncated", m.ArgsTruncated)
		dst = append(endObject(dst), ',')
	}
	if s := e.Signal; s != nil {
		dst = append(key(dst, "signal"), '{')
		dst = str(dst, "type", s.Type)
		dst = num(dst, "pid", uint64(s.PID))
		if s.Target != nil && s.Target.Process != nil {
			dst = append(s.Target.append(key(dst, "target")), ',')
		}
		dst = append(endObject(dst), ',')
	}
	if s := e.Splice; s != nil {
		dst = append(key(dst, "splice"), '{')
		dst = str(dst, "pipe_entry_flag", s.PipeEntryFlag)
		dst = str(dst, "pipe_exit_flag", s.PipeExitFlag)
		dst = append(endObject(dst), ',')
	}
	if d := e.DNS; d != nil {
		dst = append(key(dst, "dns"), '{')
		dst = num(dst, "id", uint64(d.ID))
		dst = append(key(dst, "question"), '{')
		dst = str(dst, "class", d.Question.Class)
		dst = str(dst, "type", d.Question.Type)
		dst = str(dst, "name", d.Question.Name)
		dst = num(dst, "size", uint64(d.Question.Size))
		dst = num(dst, "count", uint64(d.Question.Count))
		dst = append(endObject(dst), ',')
		dst = append(endObject(dst), ',')
	}
	if m := e.Mount; m != nil {
		dst = append(key(dst, "mount"), '{')
		if m.MountPoint != nil {
			dst = append(m.MountPoint.append(key(dst, "mp")), ',')
		}
		if m.Root != nil {
			dst = append(m.Root.append(key(dst, "root")), ',')
		}
		dst = num(dst, "mount_id", uint64(m.MountID))
		dst = num(dst, "parent_mount_id", uint64(m.ParentMountID))
		dst = num(dst, "bind_src_mount_id", uint64(m.BindSrcMountID))
		dst = num(dst, "device", uint64(m.Device))
		dst = optStr(dst, "fs_type", m.FSType)
		dst = optStr(dst, "mountpoint.path", m.MountPointPath)
		dst = optStr(dst, "source.path", m.SourcePath)
		dst = optStr(dst, "mountpoint.path_error", m.MountPointPathError)
		dst = optStr(dst, "source.path_error", m.SourcePathError)
		dst = append(endObject(dst), ',')
	}
	if a := e.AnomalySyscall; a != nil {
		dst = append(key(dst, "anomaly_detection_syscall"), '{')
		dst = str(dst, "syscall", a.Syscall)
		dst = append(endObject(dst), ',')
	}
	return dst
}
