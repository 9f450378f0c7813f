// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

// Package event holds the event model of Picket and its encodings: the CSM Threats JSON and the OTel log record.
//
// The types in model.go are the definitions of the CSM Threats schema. Their json tags are that schema: a member without
// omitempty is required. They are never given to encoding/json: encode.go writes them and decode.go reads them.
// What rules need and the schema has no place for is in Facts.
package event

import (
	"net/netip"
	"sync/atomic"
)

// Time is an instant in nanoseconds since the Unix epoch. 0 is absent. In JSON it is RFC 3339 with up to nine
// fractional digits, in UTC.
type Time int64

// Event is one kernel event: the root of the schema, and what the schema does not hold.
//
// Processes in it are shared between events and immutable. All else belongs to the event.
type Event struct {
	Type  Type  `json:"-"`
	Facts Facts `json:"-"`

	Evt             EventContext                  `json:"evt,omitempty"`
	Date            Time                          `json:"date,omitempty"`
	File            *FileEvent                    `json:"file,omitempty"`
	Exit            *ExitEvent                    `json:"exit,omitempty"`
	Process         ProcessContext                `json:"process,omitempty"` // absent if Process.Process is nil
	Container       *ContainerContext             `json:"container,omitempty"`
	Network         *NetworkContext               `json:"network,omitempty"`
	DD              *DDContext                    `json:"dd,omitempty"`
	SecurityProfile *SecurityProfileContext       `json:"security_profile,omitempty"`
	SELinux         *SELinuxEvent                 `json:"selinux,omitempty"`
	BPF             *BPFEvent                     `json:"bpf,omitempty"`
	MMap            *MMapEvent                    `json:"mmap,omitempty"`
	MProtect        *MProtectEvent                `json:"mprotect,omitempty"`
	PTrace          *PTraceEvent                  `json:"ptrace,omitempty"`
	Module          *ModuleEvent                  `json:"module,omitempty"`
	Signal          *SignalEvent                  `json:"signal,omitempty"`
	Splice          *SpliceEvent                  `json:"splice,omitempty"`
	DNS             *DNSEvent                     `json:"dns,omitempty"`
	Bind            *BindEvent                    `json:"bind,omitempty"`
	Mount           *MountEvent                   `json:"mount,omitempty"`
	AnomalySyscall  *AnomalyDetectionSyscallEvent `json:"anomaly_detection_syscall,omitempty"`
	Usr             *UserContext                  `json:"usr,omitempty"`

	// Extended says that the body has the members of Datadog's newer schema, too: connect, accept and cgroup.
	Extended bool `json:"-"`
	// body says of an event that was read from a body alone which facts it tells; 0 for every other event.
	body bodyFacts
	// Connect is a member of Datadog's newer schema. It is written only in the extended form.
	Connect *ConnectEvent `json:"-"`
	// Accept is such a member, too.
	Accept *AcceptEvent `json:"-"`

	// flat holds the fields of a flat event that have no place above; nil for every other event.
	flat *flatValues
}

// Facts are what rules and backends need and the schema has no place for. They travel as attributes of the log record.
type Facts struct {
	Sequence    uint64 // picket.sequence: per host and boot, from 1
	Observed    Time   // ObservedTimestamp: when user space read the event
	ProcessID   uint64 // picket.process.id: the kernel side's 64-bit process id
	ParentID    uint64
	AncestorIDs []uint64 // nearest first, ParentID included
	TargetID    uint64   // of the process that a signal or ptrace is about; 0 if unknown
	Retval      int64    // return value of the syscall; -errno on failure
	AUID        uint32   // login uid; AUIDUnset if none
	SID         uint32   // session id (pid of the session leader)
	NetNS       uint32   // inode of the namespace
	MntNS       uint32
	CgroupID    uint64
	CgroupPath  string // path in the hierarchy that CgroupID is of; empty if unknown
	// FileSource says where the facts of File are from: FileSourceFD (the kernel's open file) or FileSourcePostStat (looked
	// up by path after the operation; state before it is not known). Empty if the event has no file.
	FileSource string

	Flags                  uint32 // open: the flags as given (O_*); rename: RENAME_*; unlink, link, chmod, chown: AT_*
	SyscallPath            string // the path as the process gave it; empty if it gave none
	SyscallMode            uint32
	SyscallDestinationPath string
	SyscallFSType          string // mount: the type as the process gave it
	MountDetached          bool   // mount: a descriptor is of it, and it is attached nowhere

	SocketFamily   uint16 // AF_*
	SocketProtocol uint16 // IPPROTO_*
	SocketPath     string // AF_UNIX: the address; an abstract one begins with @

	// Unavailable lists, for a detection, the SECL fields that the rule read and that this event could not know.
	Unavailable []string
}

// AUIDUnset is the login uid of a process that no login started.
const AUIDUnset = ^uint32(0)

// The values of Facts.FileSource.
const (
	FileSourceFD       = "fd"
	FileSourcePostStat = "post_stat"
	FileSourceUserPath = "user_path" // only the user's path is known: the look-up failed, or the file is gone
)

// EventContext says what kind of event it is. Name and Category follow from Event.Type; they are only set if that is TypeAny,
// for an event of a type that is not known here.
type EventContext struct {
	Name         string        `json:"name,omitempty"`
	Category     string        `json:"category,omitempty"`
	Outcome      Outcome       `json:"outcome,omitempty"`
	Async        bool          `json:"async,omitempty"`
	MatchedRules []MatchedRule `json:"matched_rules,omitempty"`
}

// MatchedRule names a rule that an anomaly matched.
type MatchedRule struct {
	ID            string   `json:"id,omitempty"`
	Version       string   `json:"version,omitempty"`
	Tags          []string `json:"tags,omitempty"` // "key:value"
	PolicyName    string   `json:"policy_name,omitempty"`
	PolicyVersion string   `json:"policy_version,omitempty"`
}

// FileHas says which optional members of a File are known; the schema distinguishes 0 from absent.
type FileHas uint16

// The members that FileHas tells of.
const (
	HasInode FileHas = 1 << iota
	HasMode
	HasMountID
	HasOwner // UID and GID are known; they are written as 0 if not, because the schema requires them
	HasUpperLayer
	HasDevice
	HasNewMountID
	HasFlags // an empty flags array is not written
)

// File is a file as the schema has it.
type File struct {
	Has                 FileHas  `json:"-"`
	Path                string   `json:"path,omitempty"` // absolute, in the mount namespace and root of the process; may hold any bytes but NUL
	Name                string   `json:"name,omitempty"` // base name
	PathResolutionError string   `json:"path_resolution_error,omitempty"`
	Inode               uint64   `json:"inode,omitempty"`
	Mode                uint32   `json:"mode,omitempty"` // st_mode with type bits; in destination the new permission bits
	InUpperLayer        bool     `json:"in_upper_layer,omitempty"`
	MountID             uint32   `json:"mount_id,omitempty"`
	Filesystem          string   `json:"filesystem,omitempty"`
	UID                 int64    `json:"uid"` // -1 in chown: unchanged
	GID                 int64    `json:"gid"`
	User                string   `json:"user,omitempty"`
	Group               string   `json:"group,omitempty"`
	AttributeName       string   `json:"attribute_name,omitempty"`
	AttributeNamespace  string   `json:"attribute_namespace,omitempty"`
	Flags               []string `json:"flags,omitempty"`
	AccessTime          Time     `json:"access_time,omitempty"`
	ModificationTime    Time     `json:"modification_time,omitempty"`
	ChangeTime          Time     `json:"change_time,omitempty"`
	PackageName         string   `json:"package_name,omitempty"`
	PackageVersion      string   `json:"package_version,omitempty"`
	Hashes              []string `json:"hashes,omitempty"` // "algorithm:hex"
	HashState           string   `json:"hash_state,omitempty"`

	flat *flatValues // as Event.flat
}

// FileEvent is the file that an event is about.
type FileEvent struct {
	File        `json:",inline"`
	Destination *File  `json:"destination,omitempty"`
	NewMountID  uint32 `json:"new_mount_id,omitempty"`
	Device      uint32 `json:"device,omitempty"`
	FSType      string `json:"fstype,omitempty"`
}

// ExitEvent says how a process ended.
type ExitEvent struct {
	Cause string `json:"cause"` // EXITED, SIGNALED or COREDUMPED
	Code  uint32 `json:"code"`  // exit status, or the number of the signal
}

// The values of ExitEvent.Cause.
const (
	CauseExited     = "EXITED"
	CauseSignaled   = "SIGNALED"
	CauseCoreDumped = "COREDUMPED"
)

// ProcessCredentials are the credentials of a process. Capability sets are bit masks; in JSON they are sorted CAP_* names.
type ProcessCredentials struct {
	UID          uint32                  `json:"uid"`
	User         string                  `json:"user,omitempty"`
	GID          uint32                  `json:"gid"`
	Group        string                  `json:"group,omitempty"`
	EUID         uint32                  `json:"euid"`
	EUser        string                  `json:"euser,omitempty"`
	EGID         uint32                  `json:"egid"`
	EGroup       string                  `json:"egroup,omitempty"`
	FSUID        uint32                  `json:"fsuid"`
	FSUser       string                  `json:"fsuser,omitempty"`
	FSGID        uint32                  `json:"fsgid"`
	FSGroup      string                  `json:"fsgroup,omitempty"`
	CapEffective CapSet                  `json:"cap_effective"`
	CapPermitted CapSet                  `json:"cap_permitted"`
	Destination  *CredentialsDestination `json:"destination,omitempty"`
}

// CapSet is a capability set as a bit mask: bit n is capability n.
type CapSet uint64

// CredentialsDestination holds the credentials after setuid, setgid or capset. Kind decides which members are written.
type CredentialsDestination struct {
	Kind                       CredentialsKind
	UID, EUID, FSUID           uint32
	User, EUser, FSUser        string
	CapEffective, CapPermitted CapSet
}

// CredentialsKind is what a CredentialsDestination holds. For setgid the members hold group ids and names.
type CredentialsKind uint8

// The kinds of credentials.
const (
	CredentialsSetUID CredentialsKind = iota + 1
	CredentialsSetGID
	CredentialsCapset
)

// UserSessionContext is the user session of a process.
type UserSessionContext struct {
	ID          string              `json:"id,omitempty"`
	SessionType string              `json:"session_type,omitempty"`
	K8SUsername string              `json:"k8s_username,omitempty"`
	K8SUID      string              `json:"k8s_uid,omitempty"`
	K8SGroups   []string            `json:"k8s_groups,omitempty"`
	K8SExtra    map[string][]string `json:"k8s_extra,omitempty"`
}

// ContainerContext is the container that a process runs in.
type ContainerContext struct {
	ID        string `json:"id,omitempty"`
	CreatedAt Time   `json:"created_at,omitempty"`
	// PodUID is the UID of its pod in Kubernetes. Out of the schema: it is an attribute of the record.
	PodUID string `json:"-"`
}

// Process is one process image: what a fork, and each exec after it, made. A Process that has been put into an Event is
// immutable; a change (credentials, comm) makes a new one.
type Process struct {
	PID                 uint32              `json:"pid,omitempty"` // all ids are those of the host pid namespace
	PPID                uint32              `json:"ppid,omitempty"`
	TID                 uint32              `json:"tid,omitempty"`
	UID                 uint32              `json:"uid"` // the real ids, as in Credentials
	GID                 uint32              `json:"gid"`
	User                string              `json:"user,omitempty"`
	Group               string              `json:"group,omitempty"`
	PathResolutionError string              `json:"path_resolution_error,omitempty"`
	Comm                string              `json:"comm,omitempty"`
	TTY                 string              `json:"tty,omitempty"`
	ForkTime            Time                `json:"fork_time,omitempty"`
	ExecTime            Time                `json:"exec_time,omitempty"`
	ExitTime            Time                `json:"exit_time,omitempty"`
	Credentials         *ProcessCredentials `json:"credentials,omitempty"`
	UserSession         *UserSessionContext `json:"user_session,omitempty"`
	Executable          *File               `json:"executable,omitempty"`
	Interpreter         *File               `json:"interpreter,omitempty"` // scripts: the program that runs Executable
	Container           *ContainerContext   `json:"container,omitempty"`
	Argv0               string              `json:"argv0,omitempty"`
	Args                []string            `json:"args,omitempty"` // without argv[0]; scrubbed in every record
	ArgsTruncated       bool                `json:"args_truncated,omitempty"`
	Envs                []string            `json:"envs,omitempty"` // NAME, or NAME=value for allow-listed names
	EnvsTruncated       bool                `json:"envs_truncated,omitempty"`
	IsThread            bool                `json:"is_thread,omitempty"` // a forked child that has not executed a program; Args and Envs are its parent's
	IsKworker           bool                `json:"is_kworker,omitempty"`
	IsExecChild         bool                `json:"is_exec_child,omitempty"`
	Source              string              `json:"source,omitempty"`

	// ID is the kernel side's process id; 0 if unknown. Out of the schema, as what follows.
	ID uint64 `json:"-"`
	// AUID, SID, NetNS, MntNS and cgroup as of the process's last event.
	AUID, SID, NetNS, MntNS uint32 `json:"-"`
	CgroupID                uint64 `json:"-"`
	CgroupPath              string `json:"-"`

	// cache holds derived forms: JSON pieces, args_flags and the like. It is filled on first use.
	cache atomic.Pointer[processCache]
	// derived holds what rules read and Args and Envs imply. It is filled on first use, so who reuses a Process resets it.
	derived atomic.Pointer[derivedProcess]

	flat *flatValues // as Event.flat
}

// The values of Process.Source.
const (
	SourceEvent    = "event"
	SourceSnapshot = "procfs_snapshot"
	SourceFallback = "procfs_fallback"
	SourceUnknown  = "unknown"
)

// ProcessContext is a process with its lineage.
type ProcessContext struct {
	*Process `json:",inline"`
	// ActorTID is the acting thread. It is written as tid, instead of Process.TID, which is the same for all events of the process.
	ActorTID  uint32     `json:"-"`
	Parent    *Process   `json:"parent,omitempty"`
	Ancestors []*Process `json:"ancestors,omitempty"` // nearest first, Parent included
}

// UserContext names user and group of the process.
type UserContext struct {
	ID    string `json:"id,omitempty"`
	Group string `json:"group,omitempty"`
}

// DDContext correlates with Datadog APM.
type DDContext struct {
	SpanID  uint64 `json:"span_id,omitempty"`
	TraceID uint64 `json:"trace_id,omitempty"`
}

// IPPort is an address and a port. An invalid Addr is written as 0.0.0.0, or :: if l3_protocol is ETH_P_IPV6.
type IPPort struct {
	IP   netip.Addr `json:"ip"`
	Port uint16     `json:"port"`
}

// IPPortFamily is an address with its family.
type IPPortFamily struct {
	Family string     `json:"family"` // AF_INET, AF_INET6, AF_UNIX, else the number in decimal
	IP     netip.Addr `json:"ip"`     // written as "" if invalid
	Port   uint16     `json:"port"`
}

// NetworkDevice is the device on which a packet was seen.
type NetworkDevice struct {
	NetNS   uint32 `json:"netns"`
	IfIndex uint32 `json:"ifindex"`
	IfName  string `json:"ifname"`
}

// NetworkContext is the network side of an event.
type NetworkContext struct {
	Device      *NetworkDevice `json:"device,omitempty"`
	L3Protocol  string         `json:"l3_protocol"` // ETH_P_IP, ETH_P_IPV6
	L4Protocol  string         `json:"l4_protocol"` // IP_PROTO_TCP, IP_PROTO_UDP, …
	Source      IPPort         `json:"source"`
	Destination IPPort         `json:"destination"`
	Size        uint32         `json:"size"`
}

// BindEvent holds the address that a socket was bound to.
type BindEvent struct {
	Addr IPPortFamily `json:"addr"`
}

// ConnectEvent holds the address that a socket was connected to (extended form only; the schema is older).
type ConnectEvent struct {
	Addr     IPPortFamily `json:"addr"`
	Protocol string       `json:"protocol,omitempty"`
}

// AcceptEvent holds the address that a connection came from (extended form only).
type AcceptEvent struct {
	Addr IPPortFamily `json:"addr"`
}

// DNSEvent is a DNS request.
type DNSEvent struct {
	ID       uint16      `json:"id"`
	Question DNSQuestion `json:"question"`
}

// DNSQuestion is the question of a DNS request.
type DNSQuestion struct {
	Class string `json:"class"`
	Type  string `json:"type"`
	Name  string `json:"name"`
	Size  uint16 `json:"size"`
	Count uint16 `json:"count"`
}

// SecurityProfileContext is the security profile of an anomaly.
type SecurityProfileContext struct {
	Name    string   `json:"name"`
	Status  string   `json:"status"`
	Version string   `json:"version"`
	Tags    []string `json:"tags"`
}

// SELinuxEvent is one of three SELinux operations.
type SELinuxEvent struct {
	Bool       *SELinuxBoolChange    `json:"bool,omitempty"`
	Enforce    *SELinuxEnforceStatus `json:"enforce,omitempty"`
	BoolCommit *SELinuxBoolCommit    `json:"bool_commit,omitempty"`
}

// SELinuxBoolChange is a change of an SELinux boolean.
type SELinuxBoolChange struct {
	Name  string `json:"name,omitempty"`
	State string `json:"state,omitempty"` // on, off
}

// SELinuxEnforceStatus is a change of the enforcement mode.
type SELinuxEnforceStatus struct {
	Status string `json:"status,omitempty"` // enforcing, permissive, disabled
}

// SELinuxBoolCommit is a commit of pending booleans.
type SELinuxBoolCommit struct {
	State bool `json:"state,omitempty"`
}

// BPFEvent is a bpf(2) call.
type BPFEvent struct {
	Cmd     string      `json:"cmd"`
	Map     *BPFMap     `json:"map,omitempty"`
	Program *BPFProgram `json:"program,omitempty"`
}

// BPFMap is the map of a bpf(2) call.
type BPFMap struct {
	Name    string `json:"name,omitempty"`
	MapType string `json:"map_type,omitempty"`
}

// BPFProgram is the program of a bpf(2) call.
type BPFProgram struct {
	Name        string   `json:"name,omitempty"`
	Tag         string   `json:"tag,omitempty"`
	ProgramType string   `json:"program_type,omitempty"`
	AttachType  string   `json:"attach_type,omitempty"`
	Helpers     []string `json:"helpers,omitempty"`
}

// MMapEvent is an mmap(2) call.
type MMapEvent struct {
	Address    string `json:"address"` // 0x…
	Offset     uint64 `json:"offset"`
	Length     uint64 `json:"length"` // bytes
	Protection string `json:"protection"`
	Flags      string `json:"flags"`
}

// MProtectEvent is an mprotect(2) call.
type MProtectEvent struct {
	VMStart       string `json:"vm_start"` // 0x…
	VMEnd         string `json:"vm_end"`
	VMProtection  string `json:"vm_protection"`
	ReqProtection string `json:"req_protection"`
}

// PTraceEvent is a ptrace(2) call.
type PTraceEvent struct {
	Request string          `json:"request"`
	Address string          `json:"address"` // 0x…
	Tracee  *ProcessContext `json:"tracee,omitempty"`
}

// SignalEvent is a signal that was sent.
type SignalEvent struct {
	Type   string          `json:"type"`
	PID    uint32          `json:"pid"`
	Target *ProcessContext `json:"target,omitempty"`
}

// SpliceEvent is a splice(2) call.
type SpliceEvent struct {
	PipeEntryFlag string `json:"pipe_entry_flag"`
	PipeExitFlag  string `json:"pipe_exit_flag"`
}

// ModuleEvent is a kernel module that was loaded or unloaded.
type ModuleEvent struct {
	Name             string   `json:"name"`
	LoadedFromMemory bool     `json:"loaded_from_memory,omitempty"`
	Argv             []string `json:"argv,omitempty"`
	ArgsTruncated    bool     `json:"args_truncated,omitempty"`
}

// MountEvent is a new mount.
type MountEvent struct {
	MountPoint          *File  `json:"mp,omitempty"`
	Root                *File  `json:"root,omitempty"`
	MountID             uint32 `json:"mount_id"`
	ParentMountID       uint32 `json:"parent_mount_id"`
	BindSrcMountID      uint32 `json:"bind_src_mount_id"`
	Device              uint32 `json:"device"`
	FSType              string `json:"fs_type,omitempty"`
	MountPointPath      string `json:"mountpoint.path,omitempty"`
	SourcePath          string `json:"source.path,omitempty"`
	MountPointPathError string `json:"mountpoint.path_error,omitempty"`
	SourcePathError     string `json:"source.path_error,omitempty"`
}

// AnomalyDetectionSyscallEvent names a syscall that a process image used for the first time.
type AnomalyDetectionSyscallEvent struct {
	Syscall string `json:"syscall"`
}
