// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/go-faster/jx"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
)

var testHost = Host{
	ID: "9c2ad9ba-f2a5-4d0a-8f26-8c9ae9a4d911", IDSource: "dmi", Name: "web-1", Arch: "amd64", OSType: "linux", OSName: "debian", OSVersion: "12",
	KernelRelease: "6.1.0-18-amd64", BootID: "a4dc1ee3-1d42-4f5f-a9a2-1c4f0f0f6d19",
}

var testRule = RuleInfo{
	ID: "shadow_read", Version: "3", Description: "The password hashes were read", GroupID: "credentials", PolicyName: "default.policy",
	PolicyVersion: "1.2.3", Tags: []string{"severity:high", "technique:T1003.008"}, Severity: SeverityHigh, SuppressedCount: 4,
	Unavailable: []string{"process.file.package.name"},
}

// The container of all test processes, and its pod.
const (
	testContainer = "9f1c2d3e4f5061728394a5b6c7d8e9f00112233445566778899aabbccddeeff0"
	testPod       = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	testCgroup    = "/kubepods.slice/kubepods-pod6ba7b810_9dad_11d1_80b4_00c04fd430c8.slice/cri-containerd-" + testContainer + ".scope"
)

const testTime = Time(1_700_000_000_123_456_789)

// testProcess makes the n-th process of a lineage, 0 being the acting one.
func testProcess(n int) *Process {
	path := fmt.Sprintf("/usr/local/lib/program-%d/bin/run", n)
	t := testTime - Time(n+1)*1_000_000_007
	return &Process{
		PID: uint32(4242 - n), PPID: uint32(4241 - n), TID: uint32(4242 - n), UID: 1000, GID: 1000, User: "app", Group: "app", Comm: "run", TTY: "pts0",
		ForkTime: t, ExecTime: t + 1_000_000, Source: SourceEvent, IsExecChild: n == 1,
		Credentials: &ProcessCredentials{
			UID: 1000, User: "app", GID: 1000, Group: "app", EUID: 0, EUser: "root", EGID: 1000, EGroup: "app", FSUID: 1000, FSUser: "app", FSGID: 1000, FSGroup: "app",
			CapPermitted: 1<<0 | 1<<10,
		},
		Executable: &File{
			Has: HasInode | HasMode | HasMountID | HasOwner | HasUpperLayer, Path: path, Name: "run", Inode: 5_243_311 + uint64(n), Mode: 0o100755, MountID: 812,
			Filesystem: "overlay", User: "root", Group: "root", ModificationTime: t - 5_000_000_000, ChangeTime: t - 4_000_000_000,
		},
		Container: &ContainerContext{ID: testContainer, CreatedAt: t - 60_000_000_000},
		Argv0:     path, Args: []string{"--listen", "0.0.0.0:8080", "--config", "/etc/app/config.yaml", "-v"},
		Envs: []string{"HOME", "LANG", "PATH=/usr/local/bin:/usr/bin:/bin", "HOSTNAME", "KUBERNETES_SERVICE_HOST", "SHLVL"},
	}
}

// testEvent makes an event as the receiver does, with n ancestors.
func testEvent(t Type, ancestors int) *Event {
	e := &Event{Type: t, Date: testTime, Usr: &UserContext{ID: "app", Group: "app"}}
	e.Process = ProcessContext{Process: testProcess(0), ActorTID: 4250}
	for i := range ancestors {
		e.Process.Ancestors = append(e.Process.Ancestors, testProcess(i+1))
	}
	if ancestors > 0 {
		e.Process.Parent = e.Process.Ancestors[0]
	}
	e.Container = &ContainerContext{ID: testContainer, CreatedAt: e.Process.Container.CreatedAt, PodUID: testPod}
	e.Evt.Outcome = OutcomeSuccess
	e.Facts = Facts{
		Sequence: 1_234_567, Observed: testTime + 2_000_000, ProcessID: 0x8123_4567_89ab_cdef, ParentID: 0x8123_4567_89ab_0000, AUID: 1000, SID: 4100,
		NetNS: 4_026_531_840, MntNS: 4_026_531_841, CgroupID: 7123, CgroupPath: testCgroup,
	}
	switch t {
	case TypeExec, TypeExit:
		e.File = &FileEvent{File: *e.Process.Executable}
		e.Facts.FileSource = FileSourceFD
	case TypeFork, TypeSetUID, TypeSetGID, TypeCapset, TypeSignal, TypePTrace, TypeMProtect, TypeSyscalls, TypeBPF, TypeUnloadModule, TypeMount:
	case TypeConnect, TypeBind, TypeAccept:
		e.Facts.SocketFamily, e.Facts.SocketProtocol = 2, 6
	case TypeDNS:
		e.Facts.SocketFamily, e.Facts.SocketProtocol = 2, 17
	default:
		e.File = &FileEvent{File: File{
			Has: HasInode | HasMode | HasMountID | HasOwner, Path: "/etc/shadow", Name: "shadow", Inode: 1234, Mode: 0o100640, MountID: 29, Filesystem: "ext4",
			GID: 42, User: "root", Group: "shadow", ModificationTime: testTime - 1_000_000_000, ChangeTime: testTime - 900_000_000,
		}}
		e.Facts.FileSource = FileSourceFD
		if lookedFiles.Has(t) {
			e.Facts.SyscallPath = "../etc/shadow"
		}
	}
	addr := IPPort{netip.MustParseAddr("198.51.100.7"), 4444}
	other := &File{Has: e.hasFile() | HasOwner, Path: "/etc/shadow-", Name: "shadow-", Inode: 1234, Mode: 0o100640, GID: 42, Group: "shadow"}
	switch t {
	case TypeExec:
		e.Facts.SyscallPath = "run"
	case TypeExit:
		e.Exit = &ExitEvent{Cause: CauseExited, Code: 3}
	case TypeOpen:
		e.File.Flags, e.Facts.Flags = OpenFlagNames(0o2102), 0o2102
		e.File.Destination, e.Facts.SyscallMode = &File{Has: HasMode, Mode: 0o644}, 0o644
	case TypeUnlink:
		e.Facts.Retval, e.Evt.Outcome = -13, OutcomeRefused
	case TypeRename, TypeLink:
		e.File.Destination, e.Facts.SyscallDestinationPath = other, "shadow-"
	case TypeMkdir, TypeChmod:
		e.File.Destination, e.Facts.SyscallMode = &File{Has: HasMode, Mode: 0o755}, 0o755
	case TypeChown:
		e.File.Destination = &File{Has: HasOwner, UID: -1, GID: 50, Group: "staff"}
	case TypeConnect:
		e.Network = &NetworkContext{L3Protocol: "ETH_P_IP", L4Protocol: "IP_PROTO_TCP", Source: IPPort{netip.MustParseAddr("10.0.0.5"), 51820}, Destination: addr}
		e.Connect = &ConnectEvent{Addr: IPPortFamily{Family: "AF_INET", IP: addr.IP, Port: addr.Port}, Protocol: "IP_PROTO_TCP"}
		e.Facts.Retval = -115
	case TypeBind:
		e.Bind = &BindEvent{Addr: IPPortFamily{Family: "AF_INET", IP: addr.IP, Port: addr.Port}}
	case TypeAccept:
		e.Network = &NetworkContext{L3Protocol: "ETH_P_IP", L4Protocol: "IP_PROTO_TCP", Source: addr, Destination: IPPort{netip.MustParseAddr("10.0.0.5"), 22}}
		e.Accept = &AcceptEvent{Addr: IPPortFamily{Family: "AF_INET", IP: addr.IP, Port: addr.Port}}
	case TypeDNS:
		e.Network = &NetworkContext{
			Device:     &NetworkDevice{NetNS: 4_026_531_840, IfIndex: 2, IfName: "eth0"},
			L3Protocol: "ETH_P_IP", L4Protocol: "IP_PROTO_UDP", Source: IPPort{netip.MustParseAddr("10.0.0.5"), 40000}, Destination: IPPort{addr.IP, 53}, Size: 61,
		}
		e.DNS = &DNSEvent{ID: 4660, Question: DNSQuestion{Class: "CLASS_INET", Type: "AAAA", Name: "www.Example.com", Size: 33, Count: 1}}
	case TypeSymlink:
		e.Facts.SyscallDestinationPath = "../shadow"
	case TypeUtimes:
		e.File.Destination = &File{AccessTime: testTime - 7_000_000_000, ModificationTime: testTime - 6_000_000_000}
	case TypeSetXattr, TypeRemoveXattr:
		e.File.Destination = &File{AttributeName: "user.test", AttributeNamespace: "user"}
	case TypeSplice:
		e.Splice = &SpliceEvent{PipeEntryFlag: "PIPE_BUF_FLAG_CAN_MERGE", PipeExitFlag: "PIPE_BUF_FLAG_GIFT | PIPE_BUF_FLAG_LRU"}
	case TypeMount:
		e.Mount = &MountEvent{
			MountPoint: &File{Has: HasInode | HasMountID | HasOwner, Path: "/mnt", MountID: 29, Inode: 7}, Root: &File{Has: HasInode | HasMountID | HasOwner, Path: "/", MountID: 70, Inode: 2},
			MountID: 70, ParentMountID: 29, BindSrcMountID: 30, Device: 8_388_609, FSType: "ext4", MountPointPath: "/mnt", SourcePath: "/srv",
		}
	case TypeUmount:
		e.File.Has |= HasNewMountID
		e.File.NewMountID = 70
	case TypeSetUID:
		e.setDestination(&CredentialsDestination{Kind: CredentialsSetUID, UID: 0, EUID: 0, FSUID: 1000, User: "root", EUser: "root", FSUser: "app"})
	case TypeSetGID:
		e.setDestination(&CredentialsDestination{Kind: CredentialsSetGID, UID: 50, EUID: 0, FSUID: 0, User: "staff", EUser: "root", FSUser: "root"})
	case TypeCapset:
		e.setDestination(&CredentialsDestination{Kind: CredentialsCapset, CapEffective: 1 << 5, CapPermitted: 1<<5 | 1})
	case TypeSignal:
		p := testProcess(11)
		e.Signal = &SignalEvent{Type: "SIGKILL", PID: p.PID, Target: &ProcessContext{Process: p, ActorTID: p.TID}}
	case TypePTrace:
		p := testProcess(12)
		e.PTrace = &PTraceEvent{Request: "PTRACE_ATTACH", Address: "0x0", Tracee: &ProcessContext{Process: p, ActorTID: p.TID}}
	case TypeMMap:
		e.MMap = &MMapEvent{Address: "0x7f0000001000", Offset: 4096, Length: 8192, Protection: "PROT_EXEC | PROT_READ", Flags: "MAP_PRIVATE"}
	case TypeMProtect:
		e.MProtect = &MProtectEvent{VMStart: "0x7f0000001000", VMEnd: "0x7f0000003000", VMProtection: "VM_READ | VM_WRITE", ReqProtection: "VM_EXEC | VM_READ"}
	case TypeSyscalls:
		e.Evt.Outcome = OutcomeNone
		e.AnomalySyscall = &AnomalyDetectionSyscallEvent{Syscall: "ptrace"}
	case TypeBPF:
		e.BPF = &BPFEvent{
			Cmd: "BPF_PROG_LOAD", Map: &BPFMap{Name: "seen", MapType: "BPF_MAP_TYPE_HASH"},
			Program: &BPFProgram{Name: "filter", Tag: "a04f5eef06a7f555", ProgramType: "BPF_PROG_TYPE_SOCKET_FILTER", AttachType: "BPF_CGROUP_INET_EGRESS", Helpers: []string{"BPF_KTIME_GET_NS"}},
		}
	case TypeLoadModule:
		e.Module = &ModuleEvent{Name: "dummy", LoadedFromMemory: true, Argv: []string{"numdummies=2"}, ArgsTruncated: true}
	case TypeUnloadModule:
		e.Module = &ModuleEvent{Name: "dummy"}
	case TypeSELinux:
		e.SELinux = &SELinuxEvent{Bool: &SELinuxBoolChange{Name: "httpd_can_network_connect", State: "on"}}
	}
	return e
}

// setDestination gives the acting process the credentials after the call.
func (e *Event) setDestination(d *CredentialsDestination) {
	c := *e.Process.Credentials
	c.Destination = d
	e.Process.Credentials = &c
}

// hasFile is what is known of the event's file; nothing if it has none.
func (e *Event) hasFile() FileHas {
	if e.File == nil {
		return 0
	}
	return e.File.Has
}

func BenchmarkAppendJSON(b *testing.B) {
	e := testEvent(TypeOpen, 6)
	buf := e.AppendJSON(nil)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = e.AppendJSON(buf[:0])
	}
}

// BenchmarkAppendJSONUncached is the event of a process that is seen for the first time.
func BenchmarkAppendJSONUncached(b *testing.B) {
	e := testEvent(TypeOpen, 6)
	buf := e.AppendJSON(nil)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		e.Process.cache.Store(nil)
		buf = e.AppendJSON(buf[:0])
	}
}

func BenchmarkEncodeRecord(b *testing.B) {
	e := testEvent(TypeOpen, 6)
	b.ReportAllocs()
	for b.Loop() {
		EncodeRecord(e, &testHost, plog.NewLogRecord())
	}
}

func BenchmarkDecode(b *testing.B) {
	body := testEvent(TypeOpen, 6).AppendJSON(nil)
	for _, test := range []struct {
		name string
		need Need
	}{
		{"file", NeedFile},
		{"process", NeedFile | NeedProcess | NeedExecutable},
		{"ancestors", NeedFile | NeedProcess | NeedAncestors | NeedExecutable},
		{"all", NeedAll},
	} {
		b.Run(test.name, func(b *testing.B) {
			var d Decoder
			var e Event
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Decode(body, test.need, &e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	// What github.com/go-faster/jx takes for only finding the ends of the root's members.
	b.Run("jx_skip", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		var d jx.Decoder
		for b.Loop() {
			d.ResetBytes(body)
			if err := d.ObjBytes(func(d *jx.Decoder, _ []byte) error { return d.Skip() }); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecodeRecord(b *testing.B) {
	lr := plog.NewLogRecord()
	EncodeRecord(testEvent(TypeOpen, 6), &testHost, lr)
	var d Decoder
	var e Event
	b.ReportAllocs()
	for b.Loop() {
		if err := d.DecodeRecord(lr, NeedFile|NeedFacts, &e); err != nil {
			b.Fatal(err)
		}
	}
	require.Equal(b, "/etc/shadow", e.File.Path)
}

func BenchmarkEncodeDetection(b *testing.B) {
	src := plog.NewLogRecord()
	EncodeRecord(testEvent(TypeOpen, 6), &testHost, src)
	b.ReportAllocs()
	for b.Loop() {
		EncodeDetection(plog.NewLogRecord(), src, &testHost, &testRule, "7.83.0")
	}
}

func BenchmarkCheckBody(b *testing.B) {
	body := string(testEvent(TypeOpen, 6).AppendJSON(nil))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := CheckBody(body); err != nil {
			b.Fatal(err)
		}
	}
}
