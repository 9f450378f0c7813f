// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package bpf

// The wire types under the names that the rest of Picket uses. lib/wire.h says what their members mean.
type (
	// Config is what the programs are loaded with.
	Config = SyscallPkConfig
	// Header begins every record.
	Header = SyscallPkHeader
	// Exec is the fixed part of an exec record.
	Exec = SyscallPkExec
	// Fork is the fixed part of a fork record.
	Fork = SyscallPkFork
	// Exit is the fixed part of an exit record.
	Exit = SyscallPkExit
	// File holds the facts of an open file.
	File = SyscallPkFile
	// FileOp is the fixed part of the records about files.
	FileOp = SyscallPkFileop
	// Net is the fixed part of connect and bind records.
	Net = SyscallPkNet
	// Creds is what PK_SEG_OLD holds in records about credentials.
	Creds = SyscallPkCreds
	// Target is the fixed part of signal and ptrace records.
	Target = SyscallPkTarget
	// Mem is the fixed part of mmap and mprotect records.
	Mem = SyscallPkMem
	// BPF is the fixed part of bpf records.
	BPF = SyscallPkBpf
	// Splice is the fixed part of splice records.
	Splice = SyscallPkSplice
	// Mount is the fixed part of mount records.
	Mount = SyscallPkMount
	// Used is the fixed part of syscalls records.
	Used = SyscallPkUsed
	// DNS is the fixed part of dns records.
	DNS = SyscallPkDns
	// Seg is the head of a segment.
	Seg = SyscallPkSeg
	// Syscall is a row of the syscall table.
	Syscall = SyscallPkSyscall
)

// Flags of a Header.
const (
	InScope  = uint8(SyscallPkHeaderFlagsPK_IN_SCOPE)
	Kthread  = uint8(SyscallPkHeaderFlagsPK_KTHREAD)
	Compat   = uint8(SyscallPkHeaderFlagsPK_COMPAT)
	Snapshot = uint8(SyscallPkHeaderFlagsPK_SNAPSHOT)
	Forked   = uint8(SyscallPkHeaderFlagsPK_FORKED)
	ExitRead = uint8(SyscallPkHeaderFlagsPK_EXIT_READ)
)

// Flags of a File.
const (
	FileValid   = uint32(SyscallPkFileFlagsPK_FILE_VALID)
	FileDeleted = uint32(SyscallPkFileFlagsPK_FILE_DELETED)
	FileOverlay = uint32(SyscallPkFileFlagsPK_FILE_OVERLAY)
	FileUpper   = uint32(SyscallPkFileFlagsPK_FILE_UPPER)
)

// Kinds of segments.
const (
	SegPath     = uint8(SyscallPkSegKindPK_SEG_PATH)
	SegString   = uint8(SyscallPkSegKindPK_SEG_STRING)
	SegString2  = uint8(SyscallPkSegKindPK_SEG_STRING2)
	SegBase     = uint8(SyscallPkSegKindPK_SEG_BASE)
	SegBase2    = uint8(SyscallPkSegKindPK_SEG_BASE2)
	SegFilename = uint8(SyscallPkSegKindPK_SEG_FILENAME)
	SegArgs     = uint8(SyscallPkSegKindPK_SEG_ARGS)
	SegEnvs     = uint8(SyscallPkSegKindPK_SEG_ENVS)
	SegTTY      = uint8(SyscallPkSegKindPK_SEG_TTY)
	SegCgroup   = uint8(SyscallPkSegKindPK_SEG_CGROUP)
	SegSockaddr = uint8(SyscallPkSegKindPK_SEG_SOCKADDR)
	SegOld      = uint8(SyscallPkSegKindPK_SEG_OLD)
	SegName     = uint8(SyscallPkSegKindPK_SEG_NAME)
	SegData     = uint8(SyscallPkSegKindPK_SEG_DATA)
	NumSegKinds = int(SyscallPkSegKindPK_NUM_SEGS)
)

// Flags of a segment.
const (
	WalkTruncated   = uint8(SyscallPkSegFlagsPK_WALK_TRUNCATED)
	WalkRaced       = uint8(SyscallPkSegFlagsPK_WALK_RACED)
	WalkUnreachable = uint8(SyscallPkSegFlagsPK_WALK_UNREACHABLE)
	WalkDetached    = uint8(SyscallPkSegFlagsPK_WALK_DETACHED)
	WalkFault       = uint8(SyscallPkSegFlagsPK_WALK_FAULT)
	StrFault        = uint8(SyscallPkSegFlagsPK_STR_FAULT)
	StrTruncated    = uint8(SyscallPkSegFlagsPK_STR_TRUNCATED)
)

// Loss is a reason why the kernel side lost an event, or, from NoteStateFull on, something else worth counting.
type Loss = SyscallPkLoss

// Losses names the reasons, in the order of the map `losses`.
var Losses = [...]string{
	SyscallPkLossPK_LOST_RING_FULL:  "ring_full",
	SyscallPkLossPK_LOST_RESERVED:   "ring_reserved",
	SyscallPkLossPK_LOST_SCRATCH:    "scratch_busy",
	SyscallPkLossPK_LOST_SCOPE_FULL: "scope_full",
	SyscallPkLossPK_LOST_OWNER:      "owner_unknown",
	SyscallPkLossPK_LOST_SET_FULL:   "set_full",
	SyscallPkLossPK_NOTE_STATE_FULL: "entry_state_full",
}

// NumLosses is the number of reasons; NoteStateFull is the only one by which nothing is lost.
const (
	NumLosses     = int(SyscallPkLossPK_NUM_LOSSES)
	NoteStateFull = int(SyscallPkLossPK_NOTE_STATE_FULL)
)

// Scope bits of Config.Scope.
const (
	ScopeTrees      = uint32(SyscallPkScopePK_SCOPE_TREES)
	ScopeCgroups    = uint32(SyscallPkScopePK_SCOPE_CGROUPS)
	ScopePIDNS      = uint32(SyscallPkScopePK_SCOPE_PIDNS)
	ScopeContainers = uint32(SyscallPkScopePK_SCOPE_CONTAINERS)
	ScopeCgroupV1   = uint32(SyscallPkScopePK_SCOPE_CGROUP_V1)
)

// Bits of Config.Options.
const (
	AllMMap       = uint32(SyscallPkOptionPK_ALL_MMAP)
	AllMProtect   = uint32(SyscallPkOptionPK_ALL_MPROTECT)
	KernelSignals = uint32(SyscallPkOptionPK_KERNEL_SIGNALS)
)

// Records that are no event type of their own, and the number of all types of records.
const (
	TypeExecFailed = int(SyscallPkTypePK_EXEC_FAILED)
	TypeIOUring    = int(SyscallPkTypePK_IO_URING)
	NumTypes       = int(SyscallPkTypePK_NUM_TYPES)
)

// Kinds of syscalls.
const (
	SysOpen       = uint8(SyscallPkSyscallKindPK_SYS_OPEN)
	SysOpenat2    = uint8(SyscallPkSyscallKindPK_SYS_OPENAT2)
	SysPath       = uint8(SyscallPkSyscallKindPK_SYS_PATH)
	SysFD         = uint8(SyscallPkSyscallKindPK_SYS_FD)
	SysSock       = uint8(SyscallPkSyscallKindPK_SYS_SOCK)
	SysAccept     = uint8(SyscallPkSyscallKindPK_SYS_ACCEPT)
	SysExec       = uint8(SyscallPkSyscallKindPK_SYS_EXEC)
	SysCwd        = uint8(SyscallPkSyscallKindPK_SYS_CWD)
	SysCred       = uint8(SyscallPkSyscallKindPK_SYS_CRED)
	SysSignal     = uint8(SyscallPkSyscallKindPK_SYS_SIGNAL)
	SysPTrace     = uint8(SyscallPkSyscallKindPK_SYS_PTRACE)
	SysMMap       = uint8(SyscallPkSyscallKindPK_SYS_MMAP)
	SysMProtect   = uint8(SyscallPkSyscallKindPK_SYS_MPROTECT)
	SysBPF        = uint8(SyscallPkSyscallKindPK_SYS_BPF)
	SysModule     = uint8(SyscallPkSyscallKindPK_SYS_MODULE)
	SysSplice     = uint8(SyscallPkSyscallKindPK_SYS_SPLICE)
	SysMount      = uint8(SyscallPkSyscallKindPK_SYS_MOUNT)
	SysWrite      = uint8(SyscallPkSyscallKindPK_SYS_WRITE)
	SysIOUring    = uint8(SyscallPkSyscallKindPK_SYS_IO_URING)
	SysSocketcall = uint8(SyscallPkSyscallKindPK_SYS_SOCKETCALL)
)

// MaxSyscalls is the length of a syscall table.
const MaxSyscalls = 512
