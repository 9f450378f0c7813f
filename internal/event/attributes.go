// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

// ContractVersion is the version of the record's form. It changes when a consumer of the form before could go wrong.
const ContractVersion = 1

// The values of AttrRecordKind.
const (
	KindEvent     = "event"
	KindDetection = "detection"
	KindReport    = "report"
)

// The names of reports.
const (
	RecordRulesetLoaded = "picket.ruleset_loaded"
	RecordHeartbeat     = "picket.heartbeat"
	RecordEventsLost    = "picket.events_lost"
	RecordIOUringUsed   = "picket.io_uring_used"
)

// What every report's log says of itself, as those of Datadog's agent do: evt.name and service.
const (
	CustomEvent   = "custom_event"
	ReportService = "runtime-security-agent"
)

// Picket's own attributes, where the semantic conventions have none. A fact whose value is zero is left out; only
// AttrProcessAUID is left out if it is AUIDUnset, because 0 is root's. Ids of 64 bits are written as the int64 of the same bits.
const (
	AttrContractVersion = "picket.contract.version"
	AttrRecordKind      = "picket.record.kind"
	AttrSequence        = "picket.sequence"

	AttrHostIDSource  = "picket.host.id.source"
	AttrKernelRelease = "picket.kernel.release"
	AttrBootID        = "picket.boot.id"

	AttrProcessID         = "picket.process.id"
	AttrProcessParentID   = "picket.process.parent_id"
	AttrProcessAncestors  = "picket.process.ancestor_ids"
	AttrTargetID          = "picket.target.id"
	AttrProcessAUID       = "picket.process.auid"
	AttrProcessSID        = "picket.process.sid"
	AttrProcessNetNS      = "picket.process.netns"
	AttrProcessMntNS      = "picket.process.mntns"
	AttrCgroupID          = "picket.cgroup.id"
	AttrRetval            = "picket.event.retval"
	AttrFileSource        = "picket.file.source"
	AttrFlags             = "picket.syscall.flags"
	AttrSyscallPath       = "picket.syscall.path"
	AttrSyscallMode       = "picket.syscall.mode"
	AttrSyscallDestPath   = "picket.syscall.destination.path"
	AttrSyscallFSType     = "picket.syscall.fs_type"
	AttrMountDetached     = "picket.mount.detached"
	AttrSocketFamily      = "picket.socket.family"
	AttrSocketProtocol    = "picket.socket.protocol"
	AttrSocketPath        = "picket.socket.path"
	AttrRuleGroupID       = "picket.rule.group_id"
	AttrRuleTags          = "picket.rule.tags"
	AttrRulePolicyVersion = "picket.rule.policy.version"
	AttrRuleSuppressed    = "picket.rule.suppressed_count"
	AttrRuleUnavailable   = "picket.rule.unavailable_fields"
	AttrRuleActions       = "picket.rule.actions"
)

// Attributes of the semantic conventions that others look for.
const (
	AttrRecordUID       = string(semconv.LogRecordUIDKey)
	AttrRuleName        = string(semconv.SecurityRuleNameKey)
	AttrRuleVersion     = string(semconv.SecurityRuleVersionKey)
	AttrRuleDescription = string(semconv.SecurityRuleDescriptionKey)
	AttrRuleset         = string(semconv.SecurityRuleRulesetNameKey)
	AttrContainerID     = string(semconv.ContainerIDKey)
	AttrProcessPID      = string(semconv.ProcessPIDKey)
	AttrProcessPPID     = string(semconv.ProcessParentPIDKey)
	AttrProcessCreation = string(semconv.ProcessCreationTimeKey)
	AttrProcessExePath  = string(semconv.ProcessExecutablePathKey)
	AttrProcessExeName  = string(semconv.ProcessExecutableNameKey)
	AttrProcessArgs     = string(semconv.ProcessCommandArgsKey)
	AttrProcessUserID   = string(semconv.ProcessUserIDKey)
	AttrProcessUser     = string(semconv.ProcessUserNameKey)
	AttrProcessRealUID  = string(semconv.ProcessRealUserIDKey)
	AttrProcessRealUser = string(semconv.ProcessRealUserNameKey)
	AttrProcessExitCode = string(semconv.ProcessExitCodeKey)
	AttrProcessCgroup   = string(semconv.ProcessLinuxCgroupKey)
	AttrThreadID        = string(semconv.ThreadIDKey)
	AttrFilePath        = string(semconv.FilePathKey)
	AttrFileName        = string(semconv.FileNameKey)
	AttrFileExtension   = string(semconv.FileExtensionKey)
	AttrFileInode       = string(semconv.FileInodeKey)
	AttrFileMode        = string(semconv.FileModeKey)
	AttrFileOwnerID     = string(semconv.FileOwnerIDKey)
	AttrFileOwner       = string(semconv.FileOwnerNameKey)
	AttrNetworkType     = string(semconv.NetworkTypeKey)
	AttrTransport       = string(semconv.NetworkTransportKey)
	AttrLocalAddress    = string(semconv.NetworkLocalAddressKey)
	AttrLocalPort       = string(semconv.NetworkLocalPortKey)
	AttrPeerAddress     = string(semconv.NetworkPeerAddressKey)
	AttrPeerPort        = string(semconv.NetworkPeerPortKey)
)

// Attribute is one row of the table of attributes, from which the documentation is made.
type Attribute struct {
	Key    string
	Type   string // int, string, string[] or int[]
	Status string // of the attribute in the semantic conventions 1.43; "own" if it is Picket's
	On     string // the records that have it
	Source string // the member of the event, or what it says
}

// Attributes lists every attribute that a record can have.
var Attributes = []Attribute{
	{AttrContractVersion, "int", "own", "all", "version of the record's form: 1"},
	{AttrRecordKind, "string", "own", "all", "event, detection or report"},
	{AttrSequence, "int", "own", "all", "number of the record per host and boot"},
	{AttrRecordUID, "string", "development", "all", "hash of host.id, boot id, sequence and rule: the same after redelivery"},
	{AttrProcessPID, "int", "release candidate", "event, detection", "process.pid"},
	{AttrProcessPPID, "int", "release candidate", "event, detection", "process.ppid"},
	{AttrProcessCreation, "string", "release candidate", "event, detection", "process.fork_time"},
	{AttrProcessExePath, "string", "release candidate", "event, detection", "process.executable.path"},
	{AttrProcessExeName, "string", "release candidate", "event, detection", "process.executable.name"},
	{AttrProcessArgs, "string[]", "release candidate", "event, detection", "process.argv0 and process.args, scrubbed"},
	{AttrProcessUserID, "int", "release candidate", "event, detection", "process.credentials.euid"},
	{AttrProcessUser, "string", "release candidate", "event, detection", "process.credentials.euser"},
	{AttrProcessRealUID, "int", "release candidate", "event, detection", "process.uid"},
	{AttrProcessRealUser, "string", "release candidate", "event, detection", "process.user"},
	{AttrProcessExitCode, "int", "release candidate", "exit", "exit.code, of a process that exited by itself"},
	{AttrProcessCgroup, "string", "release candidate", "event, detection", "path of the cgroup"},
	{AttrThreadID, "int", "development", "event, detection", "process.tid"},
	{AttrContainerID, "string", "stable", "event, detection", "container.id"},
	{AttrFilePath, "string", "development", "events with a file", "file.path"},
	{AttrFileName, "string", "development", "events with a file", "file.name"},
	{AttrFileExtension, "string", "development", "events with a file", "file.name from its last dot on, without the dot"},
	{AttrFileInode, "string", "development", "events with a file", "file.inode"},
	{AttrFileMode, "string", "development", "events with a file", "permission bits of file.mode, octal"},
	{AttrFileOwnerID, "string", "development", "events with a file", "file.uid"},
	{AttrFileOwner, "string", "development", "events with a file", "file.user"},
	{AttrNetworkType, "string", "stable", "connect, bind", "ipv4 or ipv6"},
	{AttrTransport, "string", "stable", "connect, bind", "tcp, udp or unix"},
	{AttrLocalAddress, "string", "stable", "connect, bind", "network.source.ip or bind.addr.ip"},
	{AttrLocalPort, "int", "stable", "connect, bind", "network.source.port or bind.addr.port"},
	{AttrPeerAddress, "string", "stable", "connect", "network.destination.ip"},
	{AttrPeerPort, "int", "stable", "connect", "network.destination.port"},
	{AttrProcessID, "int", "own", "event, detection", "64-bit id of the process image"},
	{AttrProcessParentID, "int", "own", "event, detection", "that of its parent"},
	{AttrProcessAncestors, "int[]", "own", "event, detection", "those of its ancestors, nearest first"},
	{AttrTargetID, "int", "own", "signal, ptrace", "64-bit id of the process image that the signal or call is about"},
	{AttrProcessAUID, "int", "own", "event, detection", "login uid"},
	{AttrProcessSID, "int", "own", "event, detection", "session id"},
	{AttrProcessNetNS, "int", "own", "event, detection", "inode of the network namespace"},
	{AttrProcessMntNS, "int", "own", "event, detection", "inode of the mount namespace"},
	{AttrCgroupID, "int", "own", "event, detection", "id of the cgroup on the v2 hierarchy"},
	{AttrRetval, "int", "own", "event, detection", "return value of the syscall, -errno on failure"},
	{AttrFileSource, "string", "own", "events with a file", "fd: from the open file; post_stat: looked up by path afterwards; user_path: only the path is known"},
	{AttrFlags, "int", "own", "event, detection", "flags argument of the syscall"},
	{AttrSyscallPath, "string", "own", "event, detection", "path as the process gave it"},
	{AttrSyscallMode, "int", "own", "event, detection", "mode argument of the syscall"},
	{AttrSyscallDestPath, "string", "own", "rename, link, symlink, mount", "second path as the process gave it; of a symbolic link what it points to, of a mount where it is to be"},
	{AttrSyscallFSType, "string", "own", "mount", "type of the file system as the process gave it"},
	{AttrMountDetached, "bool", "own", "mount", "true: the mount is attached nowhere"},
	{AttrSocketFamily, "int", "own", "connect, bind", "AF_*"},
	{AttrSocketProtocol, "int", "own", "connect, bind", "IPPROTO_*"},
	{AttrSocketPath, "string", "own", "connect, bind", "address of an AF_UNIX socket; an abstract one begins with @"},
	{AttrRuleName, "string", "development", "detection", "id of the rule"},
	{AttrRuleVersion, "string", "development", "detection", "version of the rule"},
	{AttrRuleDescription, "string", "development", "detection", "description of the rule: the title of the log"},
	{AttrRuleset, "string", "development", "detection", "name of the policy"},
	{AttrRuleGroupID, "string", "own", "detection", "group_id of the rule"},
	{AttrRuleTags, "string[]", "own", "detection", "tags of the rule, key:value"},
	{AttrRulePolicyVersion, "string", "own", "detection", "version of the policy"},
	{AttrRuleSuppressed, "int", "own", "detection", "matches that the rate limit held back since the last detection of the rule"},
	{AttrRuleUnavailable, "string[]", "own", "detection", "fields that the rule read and the event could not know; they read as zero values"},
	{AttrRuleActions, "string[]", "own", "detection", "what the kill and hash actions of the rule came to, such as \"kill performed\""},
}
