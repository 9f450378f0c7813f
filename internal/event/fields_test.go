// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func mustLookup(tb testing.TB, name string) *Field {
	tb.Helper()
	f, ok := LookupField(name)
	require.True(tb, ok, name)
	return f
}

// read returns the value of a field that is no iterator's, in the type that its kind has.
func read(f *Field, e *Event) any {
	switch {
	case f.Bool != nil:
		return f.Bool(e)
	case f.Int != nil:
		return f.Int(e)
	case f.String != nil:
		return f.String(e)
	case f.Strings != nil:
		return f.Strings(e)
	case f.Ints != nil:
		var ints []int64
		for i := range f.Ints(e) {
			ints = append(ints, f.IntAt(e, i))
		}
		return ints
	}
	return f.IP(e)
}

func readElem(f *Field, p *Process) any {
	switch {
	case f.ElemBool != nil:
		return f.ElemBool(p)
	case f.ElemInt != nil:
		return f.ElemInt(p)
	case f.ElemString != nil:
		return f.ElemString(p)
	}
	return f.ElemStrings(p)
}

// sample is a value of the field's type, as JSON and as it reads.
func sample(f *Field) (any, any) {
	switch {
	case f.Array && f.Kind == KindInt:
		return []any{"BPF_MAP_LOOKUP_ELEM", 7}, []int64{1, 7}
	case f.Array:
		return []string{"a", "b"}, []string{"a", "b"}
	case f.Kind == KindBool:
		return true, true
	case f.Kind == KindInt:
		return 2, int64(2)
	case f.Kind == KindIP:
		return "10.1.2.3", netip.MustParsePrefix("10.1.2.3/32")
	}
	return "x", "x"
}

// TestEveryField sets each field in a flat event and reads it back, and reads the zero value from an event without
// anything.
func TestEveryField(t *testing.T) {
	for _, f := range Fields() {
		in, want := sample(f)
		flat := map[string]any{f.Name: in}
		if f.Iterator != "" {
			flat = map[string]any{f.Iterator: []any{map[string]any{}, map[string]any{strings.TrimPrefix(f.Name, f.Iterator+"."): in}}}
		}
		if f.Event != TypeAny {
			flat[flatType] = f.Event.String()
		}
		text, err := json.Marshal(flat)
		require.NoError(t, err)
		e, err := ParseFlatEvent(text)
		require.NoError(t, err, f.Name)

		functions := 0
		for _, set := range []bool{
			f.Bool != nil, f.Int != nil, f.String != nil, f.Strings != nil, f.IP != nil,
			f.Ints != nil && f.IntAt != nil, f.ElemBool != nil, f.ElemInt != nil, f.ElemString != nil, f.ElemStrings != nil,
		} {
			if set {
				functions++
			}
		}
		assert.Equal(t, 1, functions, f.Name)
		if f.Iterator != "" {
			assert.Equal(t, want, readElem(f, f.Elements(e)[1]), f.Name)
			assert.Zero(t, readElem(f, nil), f.Name)
			continue
		}
		assert.Equal(t, want, read(f, e), f.Name)
		if f.Available != nil {
			assert.True(t, f.Available(e), f.Name)
		}
		empty := &Event{Type: f.Event}
		switch f.Name {
		case "event.origin", "event.os", "event.source", "mount.visible":
			assert.NotEmpty(t, read(f, empty), f.Name)
		default:
			assert.Zero(t, read(f, empty), f.Name)
		}
		if f.Available != nil && f.Source == FieldUnavailable {
			assert.False(t, f.Available(empty), f.Name)
		}
	}
}

// TestFieldsOfAnEvent reads a typed event, as the receiver makes it.
func TestFieldsOfAnEvent(t *testing.T) {
	file := &File{
		Has: HasOwner | HasMode | HasInode | HasMountID | HasUpperLayer, Path: "/usr/bin/sh", Name: "sh", Inode: 12, Mode: 0o104755,
		UID: 1, GID: 2, User: "u", Group: "g", MountID: 9, InUpperLayer: true, Filesystem: "ext4", ChangeTime: 100, ModificationTime: 200,
	}
	shell := &Process{PID: 3, PPID: 1, Comm: "bash", Executable: &File{Path: "/bin/bash", Name: "bash"}, TID: 3, ForkTime: 5}
	e := &Event{
		Type: TypeOpen, Date: 1000,
		Facts: Facts{
			Retval: -13, AUID: AUIDUnset, SID: 4, NetNS: 5, MntNS: 6, CgroupPath: "/system.slice/x", CgroupID: 8, Flags: 0x41,
			SyscallPath: "shadow", SyscallMode: 0o600,
		},
		Process: ProcessContext{
			Process: &Process{
				PID: 7, PPID: 3, TID: 7, UID: 10, GID: 20, User: "ann", Group: "staff", Comm: "sh", TTY: "pts1", ExecTime: 50, ForkTime: 40,
				Credentials: &ProcessCredentials{UID: 10, EUID: 11, FSUID: 12, GID: 20, EGID: 21, FSGID: 22, EUser: "eu", FSGroup: "fg", CapEffective: 1 << 21},
				Executable:  file, Argv0: "sh", Args: []string{"-c", "id"}, Envs: []string{"PATH=/bin", "HOME"}, ArgsTruncated: true,
				Container: &ContainerContext{ID: "c0ffee", CreatedAt: 30},
			},
			ActorTID: 8, Ancestors: []*Process{shell},
		},
		File: &FileEvent{File: File{Path: "/etc/shadow", Name: "shadow.tar.gz"}, Destination: &File{Mode: 0o640, Has: HasMode}},
	}
	for name, want := range map[string]any{
		"event.timestamp": int64(1000), "event.origin": "ebpf", "event.os": "linux", "event.source": "runtime", "event.async": false,
		"process.pid": int64(7), "process.tid": int64(8), "process.ppid": int64(3), "process.uid": int64(10), "process.euid": int64(11),
		"process.fsuid": int64(12), "process.egid": int64(21), "process.fsgid": int64(22), "process.euser": "eu", "process.fsgroup": "fg",
		"process.auid": int64(AUIDUnset), "process.sid": int64(4), "process.netns": int64(5), "process.mntns": int64(6),
		"process.cgroup.id": "/system.slice/x", "cgroup.id": "/system.slice/x", "cgroup.file.inode": int64(8),
		"process.container.id": "c0ffee", "container.id": "c0ffee", "container.created_at": int64(30),
		"process.comm": "sh", "process.tty_name": "pts1", "process.created_at": int64(50), "process.cap_effective": int64(1 << 21),
		"process.is_exec": true, "process.is_thread": false,
		"process.argv0": "sh", "process.argv": []string{"-c", "id"}, "process.args": "-c id", "process.args_flags": []string{"c"},
		"process.args_options": []string{"c=id"}, "process.args_truncated": true,
		"process.envp": []string{"PATH=/bin", "HOME"}, "process.envs": []string{"PATH", "HOME"},
		"process.file.path": "/usr/bin/sh", "process.file.path.length": int64(11), "process.file.name": "sh", "process.file.mode": int64(0o104755),
		"process.file.rights": int64(0o4755), "process.file.uid": int64(1), "process.file.user": "u", "process.file.inode": int64(12),
		"process.file.in_upper_layer": true, "process.file.filesystem": "ext4", "process.file.change_time": int64(100), "process.file.extension": "",
		"process.interpreter.file.path": "", "process.parent.comm": "bash", "process.parent.file.name": "bash", "process.parent.tid": int64(3),
		"process.parent.created_at": int64(5), "process.ancestors.length": int64(1),
		"open.file.path": "/etc/shadow", "open.file.extension": ".gz", "open.file.destination.mode": int64(0o640), "open.flags": int64(0x41),
		"open.syscall.flags": int64(0x41), "open.syscall.path": "shadow", "open.syscall.mode": int64(0o600), "open.retval": int64(-13),
		"open.filename": "/etc/shadow", "process.name": "sh", "open.mode": int64(0o640),
	} {
		assert.Equal(t, want, read(mustLookup(t, name), e), name)
	}
	assert.Equal(t, "bash", readElem(mustLookup(t, "process.ancestors.comm"), shell))

	for name, want := range map[string]bool{
		"process.file.mode": true, "open.file.mode": false, "open.file.rights": false, "open.file.uid": false, "open.file.inode": false,
		"open.file.hashes": false, "container.tags": false, "process.cgroup.id": true, "open.file.filesystem": false,
		"process.interpreter.file.mode": true, // there is none: that is known
	} {
		assert.Equal(t, want, mustLookup(t, name).Available(e), name)
	}

	connect := &Event{Type: TypeConnect, Facts: Facts{SocketFamily: 2, SocketProtocol: 6}, Network: &NetworkContext{Destination: IPPort{netip.MustParseAddr("::ffff:8.8.8.8"), 53}}}
	bind := &Event{Type: TypeBind, Bind: &BindEvent{Addr: IPPortFamily{"AF_INET6", netip.MustParseAddr("::1"), 80}}}
	for _, tt := range []struct {
		e    *Event
		name string
		want any
	}{
		{connect, "connect.addr.ip", netip.MustParsePrefix("8.8.8.8/32")},
		{connect, "connect.addr.port", int64(53)},
		{connect, "connect.addr.is_public", true},
		{connect, "connect.addr.family", int64(2)},
		{connect, "connect.protocol", int64(6)},
		{bind, "bind.addr.ip", netip.MustParsePrefix("::1/128")},
		{bind, "bind.addr.port", int64(80)},
		{bind, "bind.addr.is_public", false},
		{&Event{Type: TypeExit, Exit: &ExitEvent{Cause: CauseSignaled, Code: 9}}, "exit.cause", int64(2)},
		{&Event{Type: TypeExit, Exit: &ExitEvent{Cause: CauseCoreDumped, Code: 11}}, "exit.code", int64(11)},
		{&Event{Type: TypeChown, File: &FileEvent{Destination: &File{UID: -1, GID: 5}}}, "chown.syscall.uid", int64(-1)},
	} {
		assert.Equal(t, tt.want, read(mustLookup(t, tt.name), tt.e), tt.name)
	}
}

func TestFieldProperties(t *testing.T) {
	for name, want := range map[string]Field{
		"open.file.path":             {Event: TypeOpen, Kind: KindString, PathGlob: true, HasLength: true, Need: NeedFile},
		"open.file.path.length":      {Event: TypeOpen, Kind: KindInt, Need: NeedFile},
		"open.file.extension":        {Event: TypeOpen, Kind: KindString, Extension: true, CaseInsensitive: true, Need: NeedFile},
		"open.syscall.path":          {Event: TypeOpen, Kind: KindString, Need: NeedFacts},
		"exec.file.path":             {Event: TypeExec, Kind: KindString, PathGlob: true, HasLength: true, Need: NeedProcess | NeedExecutable},
		"process.argv":               {Kind: KindString, Array: true, Need: NeedProcess | NeedArgs},
		"process.ancestors.argv":     {Kind: KindString, Array: true, Iterator: IteratorAncestors, Need: NeedAncestors | NeedArgs},
		"process.parent.comm":        {Kind: KindString, Need: NeedParent},
		"process.created_at":         {Kind: KindInt, Timestamp: true, Need: NeedProcess},
		"connect.addr.ip":            {Event: TypeConnect, Kind: KindIP, Need: NeedNetwork | NeedFacts},
		"connect.addr.hostname":      {Event: TypeConnect, Kind: KindString, Array: true, CaseInsensitive: true, HasLength: true, Need: NeedFacts},
		"process.ancestors.file.uid": {Kind: KindInt, Iterator: IteratorAncestors, Need: NeedAncestors | NeedExecutable},
	} {
		f := mustLookup(t, name)
		got := Field{
			Event: f.Event, Kind: f.Kind, Array: f.Array, Iterator: f.Iterator, PathGlob: f.PathGlob, HasLength: f.HasLength,
			CaseInsensitive: f.CaseInsensitive, Extension: f.Extension, Timestamp: f.Timestamp, Need: f.Need,
		}
		assert.Equal(t, want, got, name)
		assert.Equal(t, name, f.Name)
	}
	_, ok := LookupField("imds.url")
	assert.False(t, ok)
	assert.True(t, IsUnproduced("imds"))
	assert.False(t, IsUnproduced("open"))
	for legacy, name := range legacyNames {
		if f, ok := LookupField(legacy); assert.True(t, ok, legacy) {
			assert.Equal(t, name, f.Name)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, tt := range []struct {
		args           string
		flags, options []string
	}{
		{"", nil, nil},
		{"-ln", []string{"l", "n", "ln"}, nil},
		{"-a -b", []string{"a", "b"}, nil},
		{"--version", []string{"version"}, nil},
		{"-version", []string{"v", "e", "r", "s", "i", "o", "n", "version"}, nil},
		{"--k=v", nil, []string{"k=v"}},
		{"-k=v", nil, []string{"k=v"}},
		{"--k=", nil, []string{"k="}},
		{"-k v", []string{"k"}, []string{"k=v"}},
		{"--key v x", []string{"key"}, []string{"key=v"}},
		{"-k -v w", []string{"k", "v"}, []string{"v=w"}},
		{"a b c", nil, nil},
		{"- --", nil, nil},
		{"-p 80 -p 81", []string{"p", "p"}, []string{"p=80", "p=81"}},
		{"-#", []string{"#"}, nil},
		{"--dry-run", []string{"dry-run"}, nil},
	} {
		args := strings.Fields(tt.args)
		assert.Equal(t, tt.flags, argsFlags(args), tt.args)
		assert.Equal(t, tt.options, argsOptions(args), tt.args)
	}
	assert.Equal(t, []string{"k="}, argsOptions([]string{"-k", ""}), "the value may be empty")
	assert.Equal(t, []string{"A", "B", "", "="[:0]}, envNames([]string{"A=1", "B", "=x", ""}))
}

func TestConstants(t *testing.T) {
	for name, want := range map[string]int64{
		"EPERM": -1, "EACCES": -13, "ENOENT": -2, "EINPROGRESS": -115, "O_RDONLY": 0, "O_WRONLY": 1, "O_RDWR": 2, "O_CREAT": 0o100,
		"O_TRUNC": 0o1000, "O_APPEND": 0o2000, "S_ISUID": 0o4000, "S_IXUSR": 0o100, "S_IXGRP": 0o10, "S_IXOTH": 1, "S_IFREG": 0o100000,
		"CAP_CHOWN": 1, "CAP_SYS_ADMIN": 1 << 21, "CAP_CHECKPOINT_RESTORE": 1 << 40, "AT_REMOVEDIR": 0x200, "SIGKILL": 9, "AF_UNIX": 1,
		"AF_INET": 2, "AF_INET6": 10, "AUDIT_AUID_UNSET": 4294967295, "EXITED": 0, "COREDUMPED": 1, "SIGNALED": 2, "PTRACE_TRACEME": 0,
		"PTRACE_POKETEXT": 4, "PTRACE_POKEDATA": 5, "PTRACE_POKEUSR": 6, "PROT_EXEC": 4, "MAP_ANONYMOUS": 0x20, "VM_EXEC": 4,
		"BPF_MAP_CREATE": 0, "BPF_PROG_LOAD": 5, "BPF_PROG_BIND_MAP": 35, "BPF_MAP_LOOKUP_ELEM": 1, "BPF_PROBE_WRITE_USER": 36,
		"BPF_OVERRIDE_RETURN": 58, "BPF_SEND_SIGNAL": 109, "BPF_SEND_SIGNAL_THREAD": 117, "BPF_MAP_TYPE_RINGBUF": 27, "BPF_PROG_TYPE_LSM": 29,
		"IP_PROTO_TCP": 6, "IP_PROTO_UDP": 17, "ETH_P_IP": 0x800, "TXT": 16, "AAAA": 28, "SRV": 33, "CLASS_INET": 1, "NXDOMAIN": 3,
		"PIPE_BUF_FLAG_CAN_MERGE": 16, "SOL_SOCKET": 1, "SO_ATTACH_FILTER": 26, "PR_SET_NAME": 15, "CLONE_NEWNS": 0x20000, "RLIMIT_CORE": 4,
		"TLS_1_2": 0x303, "SOCK_STREAM": 1, "TCP_NODELAY": 1, "SSL_3_0": 0x300, "A": 1, "CLASS_ANY": 255, "NOERROR": 0,
		"MAP_PRIVATE": 2, "MAP_FIXED": 0x10, "VM_GROWSDOWN": 0x100, "PROT_READ": 1, "SIGTERM": 15, "SIGSTOP": 19, "S_IFDIR": 0o040000,
		"BPF_CGROUP_INET_INGRESS": 0, "BPF_TRACE_FENTRY": 24, "PTRACE_ATTACH": 16, "PTRACE_SEIZE": 0x4206, "AF_PACKET": 17, "ETH_P_IPV6": 0x86dd,
		"ETH_P_ARP": 0x806, "IP_PROTO_ICMP": 1, "ICMP_ECHO": 8, "ICMPV6_ECHO_REQUEST": 128, "EGRESS": 1, "INGRESS": 2, "SYSCTL_READ": 1, "SYSCTL_WRITE": 2,
		"SOL_IP": 0, "SOL_TCP": 6, "IP_TTL": 2, "IPV6_V6ONLY": 26, "SOCK_RAW": 3, "RLIMIT_NOFILE": 7, "PR_SET_DUMPABLE": 4, "CLONE_NEWUSER": 0x10000000,
		"CLONE_NEWNET": 0x40000000, "BIT64": 2, "X86_64": 2, "FILE_LESS": 9, "unknown": 0, "k8s": 1, "ssh": 2, "O_EXCL": 0o200,
		"PIPE_BUF_FLAG_LRU": 1, "PIPE_BUF_FLAG_LOSS": 0x40, "BPF_MAP_TYPE_HASH": 1, "BPF_PROG_TYPE_KPROBE": 2, "EILSEQ": -84,
	} {
		c, ok := Constants[name]
		if assert.True(t, ok, name) {
			assert.Equal(t, Constant{Kind: KindInt, Int: want}, c, name)
		}
	}
	assert.Equal(t, Constant{Kind: KindBool, Bool: true}, Constants["true"])
	assert.Equal(t, Constant{Kind: KindBool}, Constants["false"])
	for name := range Constants {
		_, isField := LookupField(name)
		assert.False(t, isField, name)
	}
}

func TestFlagNames(t *testing.T) {
	value := func(s string) uint32 {
		v, err := ParseConstant(s)
		require.NoError(t, err)
		return uint32(v)
	}
	for _, tt := range []struct {
		flags uint32
		want  []string
	}{
		{0, []string{"O_RDONLY"}},
		{1, []string{"O_WRONLY"}},
		{2, []string{"O_RDWR"}},
		{3, []string{"O_RDONLY"}}, // neither read nor write: ioctl only
		{value("O_WRONLY|O_TRUNC|O_CREAT"), []string{"O_WRONLY", "O_CREAT", "O_TRUNC"}},
		{value("O_RDWR|O_CLOEXEC|O_APPEND"), []string{"O_RDWR", "O_APPEND", "O_CLOEXEC"}},
		{value("O_DSYNC"), []string{"O_RDONLY", "O_DSYNC"}},
		{value("O_SYNC"), []string{"O_RDONLY", "O_DSYNC", "O_SYNC"}}, // composite: its part is set too
		{value("O_TMPFILE|O_RDWR"), []string{"O_RDWR", "O_DIRECTORY", "O_TMPFILE"}},
		{value("O_NONBLOCK"), []string{"O_RDONLY", "O_NONBLOCK"}},
		{1<<31 | 1<<30 | value("O_CREAT"), []string{"O_RDONLY", "O_CREAT", "3221225472"}},
	} {
		assert.Equal(t, tt.want, OpenFlagNames(tt.flags), "%#x", tt.flags)
	}
	assert.Empty(t, UnlinkFlagNames(0))
	assert.Equal(t, []string{"AT_REMOVEDIR"}, UnlinkFlagNames(0x200))
	assert.Equal(t, []string{"AT_REMOVEDIR", "1"}, UnlinkFlagNames(0x201))
	for family, want := range map[uint16]string{1: "AF_UNIX", 2: "AF_INET", 10: "AF_INET6", 16: "AF_NETLINK", 250: "250", 0: "AF_UNSPEC"} {
		assert.Equal(t, want, FamilyName(family))
	}
	for protocol, want := range map[uint16]string{0: "IP_PROTO_IP", 6: "IP_PROTO_TCP", 17: "IP_PROTO_UDP", 1: "IP_PROTO_ICMP", 58: "IP_PROTO_ICMPV6", 999: "999"} {
		assert.Equal(t, want, L4ProtocolName(protocol))
	}
}

// TestFieldAllocations: reading allocates nothing once the derived arguments exist.
func TestFieldAllocations(t *testing.T) {
	e, err := ParseFlatEvent([]byte(`{"type":"open","open.file.path":"/etc/x.sh","process.argv":["-a","b"],"process.envp":["A=1"],"process.ancestors":[{"comm":"x"}]}`))
	require.NoError(t, err)
	fields := Fields()
	readAll := func() {
		for _, f := range fields {
			switch {
			case f.Iterator != "":
				for _, p := range f.Elements(e) {
					switch {
					case f.ElemInt != nil:
						f.ElemInt(p)
					case f.ElemString != nil:
						f.ElemString(p)
					case f.ElemStrings != nil:
						f.ElemStrings(p)
					default:
						f.ElemBool(p)
					}
				}
			case f.Int != nil:
				f.Int(e)
			case f.String != nil:
				f.String(e)
			case f.Strings != nil:
				f.Strings(e)
			case f.IP != nil:
				f.IP(e)
			case f.Ints != nil:
				for i := range f.Ints(e) {
					f.IntAt(e, i)
				}
			default:
				f.Bool(e)
			}
			if f.Available != nil {
				f.Available(e)
			}
		}
	}
	readAll()
	assert.Zero(t, testing.AllocsPerRun(10, readAll))
	for typ := TypeExec; typ < NumTypes; typ++ {
		e = testEvent(typ, 1)
		readAll()
		assert.Zero(t, testing.AllocsPerRun(10, readAll), typ)
	}
}
