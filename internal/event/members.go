// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

// MemberSource says where the syscall backend has a member of the body from.
type MemberSource string

// The sources of members.
const (
	FromKernel   MemberSource = "kernel"            // the kernel's own objects, at the time of the event
	FromCall     MemberSource = "call"              // arguments of the call
	FromLookup   MemberSource = "look-up"           // what is at the path after the call
	FromEither   MemberSource = "kernel or look-up" // of a descriptor or a successful open from the kernel, else looked up after the call
	FromTree     MemberSource = "tree"              // the process tree, which is made of the kernel's exec, fork and exit
	FromDatabase MemberSource = "user database"     // passwd and group as the process sees them
	FromTable    MemberSource = "table"             // follows from the type of the event and its return value
	FromNowhere  MemberSource = "not filled"
)

// Member is a row of the table of the body's members.
type Member struct {
	Path   string // below the object that the table is of; [] is an element of an array
	Types  TypeSet
	Source MemberSource
	Note   string
}

// CommonMembers are those of every event. process is described by ProcessMembers.
var CommonMembers = []Member{
	{"evt.name", AllTypes, FromTable, ""},
	{"evt.category", AllTypes, FromTable, ""},
	{"evt.outcome", AllTypes &^ Set(TypeSyscalls), FromTable, "by the return value"},
	{"evt.async", 0, FromNowhere, "a tracepoint of a syscall sees what a process does in its own name only; see picket.io_uring_used"},
	{"evt.matched_rules[]", 0, FromNowhere, "matches of a rule are in the detection, one for each rule"},
	{"date", AllTypes, FromKernel, "boot clock of the event, as wall time"},
	{"container.id", AllTypes, FromKernel, "from the path of the cgroup; absent outside of containers"},
	{"container.created_at", AllTypes, FromLookup, "when the cgroup was made; absent if it was gone before it could be looked at"},
	{"usr.id", AllTypes, FromDatabase, "name of process.uid"},
	{"usr.group", AllTypes, FromDatabase, "name of process.gid"},
	{"process", AllTypes, FromTree, "who acts, with parent and ancestors"},
	{"dd.span_id", 0, FromNowhere, "needs a tracer that registers its threads"},
	{"dd.trace_id", 0, FromNowhere, "needs a tracer that registers its threads"},
	{"security_profile.name", 0, FromNowhere, "there are no profiles"},
	{"security_profile.status", 0, FromNowhere, "there are no profiles"},
	{"security_profile.version", 0, FromNowhere, "there are no profiles"},
	{"security_profile.tags", 0, FromNowhere, "there are no profiles"},
}

// ProcessMembers are those of a process: process, its parent and ancestors, signal.target and ptrace.tracee.
var ProcessMembers = []Member{
	{"pid", AllTypes, FromKernel, "in the initial pid namespace"},
	{"ppid", AllTypes, FromKernel, "of the parent at the fork; it stays when the parent exits"},
	{"tid", AllTypes, FromKernel, "the thread that acts; of ancestors their main thread"},
	{"uid", AllTypes, FromKernel, "in the initial user namespace, as all ids are"},
	{"gid", AllTypes, FromKernel, ""},
	{"user", AllTypes, FromDatabase, ""},
	{"group", AllTypes, FromDatabase, ""},
	{"path_resolution_error", AllTypes, FromKernel, "why executable has no path"},
	{"comm", AllTypes, FromKernel, ""},
	{"tty", AllTypes, FromKernel, "absent without one"},
	{"fork_time", AllTypes, FromKernel, ""},
	{"exec_time", AllTypes, FromKernel, "absent if nothing was executed since the fork, and if Picket started later"},
	{"exit_time", AllTypes, FromKernel, "if it has exited"},
	{"credentials.uid", AllTypes, FromKernel, ""},
	{"credentials.gid", AllTypes, FromKernel, ""},
	{"credentials.euid", AllTypes, FromKernel, ""},
	{"credentials.egid", AllTypes, FromKernel, ""},
	{"credentials.fsuid", AllTypes, FromKernel, ""},
	{"credentials.fsgid", AllTypes, FromKernel, ""},
	{"credentials.user", AllTypes, FromDatabase, ""},
	{"credentials.group", AllTypes, FromDatabase, ""},
	{"credentials.euser", AllTypes, FromDatabase, ""},
	{"credentials.egroup", AllTypes, FromDatabase, ""},
	{"credentials.fsuser", AllTypes, FromDatabase, ""},
	{"credentials.fsgroup", AllTypes, FromDatabase, ""},
	{"credentials.cap_effective", AllTypes, FromKernel, ""},
	{"credentials.cap_permitted", AllTypes, FromKernel, ""},
	{"credentials.destination", Set(TypeSetUID, TypeSetGID, TypeCapset), FromKernel, "what the call made of them; the rest is as before"},
	{"user_session", 0, FromNowhere, "needs what starts sessions to say so"},
	{"executable", AllTypes, FromKernel, "the file that runs; of a script the script, looked up after the exec"},
	{"interpreter", AllTypes, FromKernel, "of a script: what runs"},
	{"container.id", AllTypes, FromKernel, ""},
	{"container.created_at", AllTypes, FromLookup, ""},
	{"argv0", AllTypes, FromKernel, "as exec laid it out; of processes that were there before Picket from /proc"},
	{"args", AllTypes, FromKernel, "scrubbed"},
	{"args_truncated", AllTypes, FromKernel, ""},
	{"envs", AllTypes, FromKernel, "names; values of those that are allowed"},
	{"envs_truncated", AllTypes, FromKernel, ""},
	{"is_thread", AllTypes, FromTree, "has executed nothing since its fork"},
	{"is_kworker", AllTypes, FromKernel, ""},
	{"is_exec_child", AllTypes, FromTree, "executed by a process that had executed before"},
	{"source", AllTypes, FromTree, ""},
	{"parent", AllTypes, FromTree, ""},
	{"ancestors[]", AllTypes, FromTree, ""},
}

const (
	exactFiles  = TypeSet(1)<<TypeExec | 1<<TypeExit | 1<<TypeMMap | 1<<TypeSplice | 1<<TypeLoadModule | 1<<TypeSELinux
	lookedFiles = TypeSet(1)<<TypeOpen | 1<<TypeUnlink | 1<<TypeRmdir | 1<<TypeRename | 1<<TypeMkdir | 1<<TypeChmod | 1<<TypeChown | 1<<TypeLink |
		1<<TypeSymlink | 1<<TypeUtimes | 1<<TypeSetXattr | 1<<TypeRemoveXattr | 1<<TypeChdir | 1<<TypeChroot | 1<<TypeUmount
	fileTypes = exactFiles | lookedFiles
)

// FileMembers are those of a file: file, file.destination, executable, interpreter, mount.mp and mount.root. picket.file.source says
// of an event which of the two sources its file has.
var FileMembers = []Member{
	{"path", fileTypes, FromEither, "as the process sees it, without symbolic links"},
	{"name", fileTypes, FromEither, ""},
	{"path_resolution_error", fileTypes, FromEither, "why path is missing, or not exact"},
	{"inode", fileTypes, FromEither, ""},
	{"mode", fileTypes, FromEither, "with the type of the file"},
	{"in_upper_layer", fileTypes, FromEither, "of files on overlayfs"},
	{"mount_id", fileTypes, FromEither, ""},
	{"filesystem", fileTypes, FromEither, ""},
	{"uid", fileTypes, FromEither, "-1 if it is not known what it was"},
	{"gid", fileTypes, FromEither, "-1 if it is not known what it was"},
	{"user", fileTypes, FromDatabase, ""},
	{"group", fileTypes, FromDatabase, ""},
	{"access_time", fileTypes, FromEither, ""},
	{"modification_time", fileTypes, FromEither, ""},
	{"change_time", fileTypes, FromEither, ""},
	{"attribute_name", Set(TypeSetXattr, TypeRemoveXattr), FromCall, "of destination"},
	{"attribute_namespace", Set(TypeSetXattr, TypeRemoveXattr), FromCall, "of destination"},
	{"flags", Set(TypeOpen, TypeUnlink), FromCall, ""},
	{"package_name", 0, FromNowhere, "needs a list of packages"},
	{"package_version", 0, FromNowhere, "needs a list of packages"},
	{"hashes", 0, FromNowhere, "only in detections of rules with a hash action: sha1 and sha256"},
	{"hash_state", 0, FromNowhere, "the same: Done, or why there are no hashes"},
	{"destination", Set(TypeOpen, TypeRename, TypeMkdir, TypeChmod, TypeChown, TypeLink, TypeUtimes, TypeSetXattr, TypeRemoveXattr), FromCall, "what the call makes of the file: new mode, owner, times, attribute or name"},
	{"new_mount_id", Set(TypeUmount), FromLookup, "the mount that is gone, if something was mounted in its namespace before while Picket was there"},
	{"device", Set(TypeUmount), FromLookup, "the same"},
	{"fstype", Set(TypeUmount), FromLookup, "the same"},
}

// EventMembers are those that only some types have.
var EventMembers = []Member{
	{"file", fileTypes, FromEither, "absent of an anonymous mapping, a module from memory, a splice between pipes"},
	{"exit.cause", Set(TypeExit), FromKernel, "of the whole process"},
	{"exit.code", Set(TypeExit), FromKernel, "status, or number of the signal"},
	{"network.l3_protocol", Set(TypeConnect, TypeAccept, TypeDNS), FromKernel, ""},
	{"network.l4_protocol", Set(TypeConnect, TypeAccept, TypeDNS), FromKernel, ""},
	{"network.source", Set(TypeConnect, TypeAccept, TypeDNS), FromKernel, "of accept: who connected"},
	{"network.destination", Set(TypeConnect, TypeAccept, TypeDNS), FromKernel, "of a refused connect as the process gave it"},
	{"network.size", Set(TypeConnect, TypeAccept, TypeDNS), FromKernel, "of the packet; 0 of connect and accept, which have none"},
	{"network.device.netns", Set(TypeDNS), FromKernel, ""},
	{"network.device.ifindex", Set(TypeDNS), FromKernel, "the first device that the packet was given to"},
	{"network.device.ifname", Set(TypeDNS), FromKernel, ""},
	{"dns.id", Set(TypeDNS), FromKernel, "from the packet, as all of dns"},
	{"dns.question.class", Set(TypeDNS), FromKernel, ""},
	{"dns.question.type", Set(TypeDNS), FromKernel, ""},
	{"dns.question.name", Set(TypeDNS), FromKernel, "of the first question, as it is spelled"},
	{"dns.question.size", Set(TypeDNS), FromKernel, "bytes of the message"},
	{"dns.question.count", Set(TypeDNS), FromKernel, ""},
	{"bind.addr", Set(TypeBind), FromKernel, "what the socket has after the call; of a refused one what was asked for"},
	{"bpf.cmd", Set(TypeBPF), FromCall, ""},
	{"bpf.map.name", Set(TypeBPF), FromKernel, "if the call is about a map"},
	{"bpf.map.map_type", Set(TypeBPF), FromKernel, ""},
	{"bpf.program.name", Set(TypeBPF), FromKernel, "if the call is about a program"},
	{"bpf.program.tag", Set(TypeBPF), FromKernel, ""},
	{"bpf.program.program_type", Set(TypeBPF), FromKernel, ""},
	{"bpf.program.attach_type", Set(TypeBPF), FromKernel, ""},
	{"bpf.program.helpers", Set(TypeBPF), FromCall, "of a program that is loaded: as many of its instructions as fit a record"},
	{"mmap.address", Set(TypeMMap), FromKernel, ""},
	{"mmap.offset", Set(TypeMMap), FromCall, "bytes"},
	{"mmap.length", Set(TypeMMap), FromCall, ""},
	{"mmap.protection", Set(TypeMMap), FromCall, ""},
	{"mmap.flags", Set(TypeMMap), FromCall, ""},
	{"mprotect.vm_start", Set(TypeMProtect), FromKernel, "the area before the call"},
	{"mprotect.vm_end", Set(TypeMProtect), FromKernel, ""},
	{"mprotect.vm_protection", Set(TypeMProtect), FromKernel, ""},
	{"mprotect.req_protection", Set(TypeMProtect), FromCall, ""},
	{"ptrace.request", Set(TypePTrace), FromCall, ""},
	{"ptrace.address", Set(TypePTrace), FromCall, ""},
	{"ptrace.tracee", Set(TypePTrace), FromTree, "with its own lineage"},
	{"signal.type", Set(TypeSignal), FromKernel, "of a refused one from the call"},
	{"signal.pid", Set(TypeSignal), FromKernel, ""},
	{"signal.target", Set(TypeSignal), FromTree, "with its own lineage"},
	{"splice.pipe_entry_flag", Set(TypeSplice), FromKernel, "of the newest buffer of the pipe that is written to, before the call; empty if that is no pipe"},
	{"splice.pipe_exit_flag", Set(TypeSplice), FromKernel, "the same after the call"},
	{"module.name", Set(TypeLoadModule, TypeUnloadModule), FromKernel, "of a module that was not loaded from the name of its file"},
	{"module.loaded_from_memory", Set(TypeLoadModule), FromCall, "init_module"},
	{"module.argv", Set(TypeLoadModule), FromCall, ""},
	{"module.args_truncated", Set(TypeLoadModule), FromCall, ""},
	{"selinux.bool.name", Set(TypeSELinux), FromKernel, "name of the file in selinuxfs"},
	{"selinux.bool.state", Set(TypeSELinux), FromCall, "what was written"},
	{"selinux.enforce.status", Set(TypeSELinux), FromCall, ""},
	{"selinux.bool_commit.state", Set(TypeSELinux), FromCall, ""},
	{"mount.mount_id", Set(TypeMount), FromKernel, "of a new mount, and one that a descriptor is of; of others looked up after the call; 0 if it is not known, as of a refused call"},
	{"mount.parent_mount_id", Set(TypeMount), FromKernel, "0 if the mount is attached nowhere"},
	{"mount.bind_src_mount_id", Set(TypeMount), FromLookup, "0 if nothing is bound, or if the process is gone"},
	{"mount.device", Set(TypeMount), FromKernel, "as the kernel has it: major << 20 | minor"},
	{"mount.fs_type", Set(TypeMount), FromKernel, "of a refused call as the process gave it"},
	{"mount.mountpoint.path", Set(TypeMount), FromKernel, "as the process sees it"},
	{"mount.mountpoint.path_error", Set(TypeMount), FromKernel, ""},
	{"mount.source.path", Set(TypeMount), FromLookup, "what is bound or moved"},
	{"mount.source.path_error", Set(TypeMount), FromLookup, ""},
	{"mount.mp", Set(TypeMount), FromKernel, "the mount point"},
	{"mount.root", Set(TypeMount), FromKernel, "the root of the mount: its path is that in the file system"},
	{"anomaly_detection_syscall.syscall", Set(TypeSyscalls), FromCall, ""},
}
