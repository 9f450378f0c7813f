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
	AttrHostID    = string(semconv.HostIDKey)
	AttrHostName  = string(semconv.HostNameKey)
	AttrHostArch  = string(semconv.HostArchKey)
	AttrOSType    = string(semconv.OSTypeKey)
	AttrOSName    = string(semconv.OSNameKey)
	AttrOSVersion = string(semconv.OSVersionKey)

	AttrRecordUID       = string(semconv.LogRecordUIDKey)
	AttrRuleName        = string(semconv.SecurityRuleNameKey)
	AttrRuleVersion     = string(semconv.SecurityRuleVersionKey)
	AttrRuleDescription = string(semconv.SecurityRuleDescriptionKey)
	AttrRuleset         = string(semconv.SecurityRuleRulesetNameKey)
	AttrContainerID     = string(semconv.ContainerIDKey)
	AttrPodUID          = string(semconv.K8SPodUIDKey)
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
	AttrProcessSID      = string(semconv.ProcessSessionLeaderPIDKey)
	AttrInteractive     = string(semconv.ProcessInteractiveKey)
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
	AttrSymlinkTarget   = string(semconv.FileSymbolicLinkTargetPathKey)
	AttrNetworkType     = string(semconv.NetworkTypeKey)
	AttrTransport       = string(semconv.NetworkTransportKey)
	AttrLocalAddress    = string(semconv.NetworkLocalAddressKey)
	AttrLocalPort       = string(semconv.NetworkLocalPortKey)
	AttrPeerAddress     = string(semconv.NetworkPeerAddressKey)
	AttrPeerPort        = string(semconv.NetworkPeerPortKey)
	AttrInterface       = string(semconv.NetworkInterfaceNameKey)
	AttrDNSQuestion     = string(semconv.DNSQuestionNameKey)
)

// Presence says what can have an attribute.
type Presence uint8

// What there is to have attributes.
const (
	OnEvent         Presence = 1 << iota
	OnDetection              // of an event of one of the types
	OnReport                 // every report
	OnProcessReport          // the report about a process, RecordIOUringUsed
	OnResource
)

// The values of Presence that attributes have.
const (
	onRecords  = OnEvent | OnDetection | OnReport | OnProcessReport
	onActors   = OnEvent | OnDetection | OnProcessReport
	onSubjects = OnEvent | OnDetection
)

// The values of Attribute.Status: the stability of a name in the semantic conventions, or that it is none of theirs.
const (
	StatusStable      = "stable"
	StatusCandidate   = "release candidate"
	StatusDevelopment = "development"
	StatusOwn         = "own"
)

// The values of Attribute.Type.
const (
	typeBool    = "bool"
	typeInt     = "int" // 64 bits
	typeString  = "string"
	typeInts    = "int[]"
	typeStrings = "string[]"
)

// Attribute is one row of the table of attributes, from which the documentation is made. The tests hold the records to it.
type Attribute struct {
	Key    string
	Type   string
	Status string
	On     Presence
	Types  TypeSet // of the events and detections that can have it; none if On has neither
	Member string  // of the Body, which it repeats; empty if the Body has no such member
	Note   string
}

// FileTypes are the types of events that can have a file.
const FileTypes = fileTypes

const (
	callTypes = TypeSet(1)<<TypeConnect | 1<<TypeBind | 1<<TypeAccept // those that are calls on a socket
	flowTypes = TypeSet(1)<<TypeConnect | 1<<TypeAccept | 1<<TypeDNS  // those that know both ends
	netTypes  = callTypes | flowTypes
	pathTypes = lookedFiles | 1<<TypeExec | 1<<TypeMount // those whose call names a path
	flagTypes = TypeSet(1)<<TypeExec | 1<<TypeOpen | 1<<TypeUnlink | 1<<TypeRmdir | 1<<TypeRename | 1<<TypeChmod | 1<<TypeChown | 1<<TypeLink |
		1<<TypeUtimes | 1<<TypeSetXattr | 1<<TypeRemoveXattr | 1<<TypeSplice | 1<<TypeMount | 1<<TypeUmount | 1<<TypeLoadModule | 1<<TypeUnloadModule
	// Fork, exit, dns and syscalls are not about what a call came to.
	retvalTypes = AllTypes &^ (1<<TypeFork | 1<<TypeExit | 1<<TypeDNS | 1<<TypeSyscalls)
)

// Attributes lists every attribute that a record can have, and those of its Resource.
var Attributes = []Attribute{
	{AttrContractVersion, typeInt, StatusOwn, onRecords, AllTypes, "", "version of the record's form: 1"},
	{AttrRecordKind, typeString, StatusOwn, onRecords, AllTypes, "", "event, detection or report"},
	{AttrSequence, typeInt, StatusOwn, onRecords, AllTypes, "", "number of the record per host and boot; of a report on rules the time"},
	{AttrRecordUID, typeString, StatusDevelopment, onRecords, AllTypes, "", "hash of host.id, boot id, sequence and rule: the same after redelivery"},

	{AttrProcessPID, typeInt, StatusCandidate, onActors, AllTypes, "process.pid", "in the initial pid namespace"},
	{AttrProcessPPID, typeInt, StatusCandidate, onActors, AllTypes, "process.ppid", ""},
	{AttrProcessCreation, typeString, StatusCandidate, onActors, AllTypes, "process.fork_time", "RFC 3339"},
	{AttrProcessExePath, typeString, StatusCandidate, onActors, AllTypes, "process.executable.path", "of a script the script"},
	{AttrProcessExeName, typeString, StatusCandidate, onActors, AllTypes, "process.executable.name", ""},
	{AttrProcessArgs, typeStrings, StatusCandidate, onActors, AllTypes, "process.argv0, process.args", "scrubbed"},
	{AttrProcessUserID, typeInt, StatusCandidate, onActors, AllTypes, "process.credentials.euid", "the effective user"},
	{AttrProcessUser, typeString, StatusCandidate, onActors, AllTypes, "process.credentials.euser", ""},
	{AttrProcessRealUID, typeInt, StatusCandidate, onActors, AllTypes, "process.uid", ""},
	{AttrProcessRealUser, typeString, StatusCandidate, onActors, AllTypes, "process.user", ""},
	{AttrProcessSID, typeInt, StatusCandidate, onActors, AllTypes, "", "the session id"},
	{AttrInteractive, typeBool, StatusCandidate, onActors, AllTypes, "process.tty", "true: it has a terminal; absent if not"},
	{AttrProcessExitCode, typeInt, StatusCandidate, onSubjects, Set(TypeExit), "exit.code", "of a process that exited by itself: a signal is no exit code"},
	{AttrProcessCgroup, typeString, StatusCandidate, onActors, AllTypes, "", "path of the cgroup"},
	{AttrThreadID, typeInt, StatusDevelopment, onActors, AllTypes, "process.tid", "the thread that acts"},
	{AttrContainerID, typeString, StatusStable, onActors, AllTypes, "container.id", "from the path of the cgroup"},
	{AttrPodUID, typeString, StatusStable, onActors, AllTypes, "", "from the path of the cgroup; of a static pod what the API has in kubernetes.io/config.hash"},

	{AttrFilePath, typeString, StatusDevelopment, onSubjects, FileTypes, "file.path", ""},
	{AttrFileName, typeString, StatusDevelopment, onSubjects, FileTypes, "file.name", ""},
	{AttrFileExtension, typeString, StatusDevelopment, onSubjects, FileTypes, "file.name", "from its last dot on, without the dot"},
	{AttrFileInode, typeString, StatusDevelopment, onSubjects, FileTypes, "file.inode", ""},
	{AttrFileMode, typeString, StatusDevelopment, onSubjects, FileTypes, "file.mode", "permission bits, octal"},
	{AttrFileOwnerID, typeString, StatusDevelopment, onSubjects, FileTypes, "file.uid", ""},
	{AttrFileOwner, typeString, StatusDevelopment, onSubjects, FileTypes, "file.user", ""},
	{AttrSymlinkTarget, typeString, StatusDevelopment, onSubjects, Set(TypeSymlink), "", "what the new link points to, as the process gave it"},

	{AttrNetworkType, typeString, StatusStable, onSubjects, netTypes, "network.l3_protocol, bind.addr.family", "ipv4 or ipv6"},
	{AttrTransport, typeString, StatusStable, onSubjects, netTypes, "network.l4_protocol", "tcp, udp or unix"},
	{AttrLocalAddress, typeString, StatusStable, onSubjects, netTypes, "network.source.ip; of accept network.destination.ip; bind.addr.ip", ""},
	{AttrLocalPort, typeInt, StatusStable, onSubjects, netTypes, "network.source.port; of accept network.destination.port; bind.addr.port", ""},
	{AttrPeerAddress, typeString, StatusStable, onSubjects, flowTypes, "network.destination.ip; of accept network.source.ip", ""},
	{AttrPeerPort, typeInt, StatusStable, onSubjects, flowTypes, "network.destination.port; of accept network.source.port", ""},
	{AttrInterface, typeString, StatusDevelopment, onSubjects, Set(TypeDNS), "network.device.ifname", ""},
	{AttrDNSQuestion, typeString, StatusDevelopment, onSubjects, Set(TypeDNS), "dns.question.name", "as it is spelled"},

	{AttrProcessID, typeInt, StatusOwn, onActors, AllTypes, "", "64-bit id of the process image"},
	{AttrProcessParentID, typeInt, StatusOwn, onActors, AllTypes, "", "that of its parent"},
	{AttrProcessAncestors, typeInts, StatusOwn, onActors, AllTypes, "", "those of its ancestors, nearest first"},
	{AttrTargetID, typeInt, StatusOwn, onSubjects, Set(TypeSignal, TypePTrace), "", "64-bit id of the process image that the signal or call is about"},
	{AttrProcessAUID, typeInt, StatusOwn, onActors, AllTypes, "", "login uid"},
	{AttrProcessNetNS, typeInt, StatusOwn, onActors, AllTypes, "", "inode of the network namespace"},
	{AttrProcessMntNS, typeInt, StatusOwn, onActors, AllTypes, "", "inode of the mount namespace"},
	{AttrCgroupID, typeInt, StatusOwn, onActors, AllTypes, "", "id of the cgroup on the v2 hierarchy"},
	{AttrRetval, typeInt, StatusOwn, onSubjects, retvalTypes, "", "return value of the syscall, -errno on failure; absent if 0"},
	{AttrFileSource, typeString, StatusOwn, onSubjects, FileTypes, "", "fd: from the open file; post_stat: looked up by path afterwards; user_path: only the path is known"},
	{AttrFlags, typeInt, StatusOwn, onSubjects, flagTypes, "", "flags argument of the syscall"},
	{AttrSyscallPath, typeString, StatusOwn, onSubjects, pathTypes, "", "path as the process gave it; on exec only of one that failed"},
	{AttrSyscallMode, typeInt, StatusOwn, onSubjects, Set(TypeOpen, TypeMkdir, TypeChmod), "", "mode argument of the syscall"},
	{AttrSyscallDestPath, typeString, StatusOwn, onSubjects, Set(TypeRename, TypeLink, TypeSymlink, TypeChroot, TypeMount), "", "second path as the process gave it; of a symbolic link what it points to, of a mount where it is to be, of pivot_root where the old root is to be"},
	{AttrSyscallFSType, typeString, StatusOwn, onSubjects, Set(TypeMount), "", "type of the file system as the process gave it"},
	{AttrMountDetached, typeBool, StatusOwn, onSubjects, Set(TypeMount), "", "true: the mount is attached nowhere"},
	{AttrSocketFamily, typeInt, StatusOwn, onSubjects, netTypes, "", "AF_*"},
	{AttrSocketProtocol, typeInt, StatusOwn, onSubjects, netTypes, "", "IPPROTO_*"},
	{AttrSocketPath, typeString, StatusOwn, onSubjects, callTypes, "", "address of an AF_UNIX socket; an abstract one begins with @"},

	{AttrRuleName, typeString, StatusDevelopment, OnDetection, AllTypes, "agent.rule_id; of a rule in a group agent.original_rule_id", "id of the rule"},
	{AttrRuleVersion, typeString, StatusDevelopment, OnDetection, AllTypes, "agent.rule_version", ""},
	{AttrRuleDescription, typeString, StatusDevelopment, OnDetection, AllTypes, "title", "description of the rule"},
	{AttrRuleset, typeString, StatusDevelopment, OnDetection, AllTypes, "agent.policy_name", ""},
	{AttrRuleGroupID, typeString, StatusOwn, OnDetection, AllTypes, "agent.rule_id", "group_id of the rule"},
	{AttrRuleTags, typeStrings, StatusOwn, OnDetection, AllTypes, "", "tags of the rule, key:value"},
	{AttrRulePolicyVersion, typeString, StatusOwn, OnDetection, AllTypes, "agent.policy_version", ""},
	{AttrRuleSuppressed, typeInt, StatusOwn, OnDetection, AllTypes, "", "matches that the rate limit held back since the last detection of the rule"},
	{AttrRuleUnavailable, typeStrings, StatusOwn, OnDetection, AllTypes, "", "fields that the rule read and the event could not know; they read as zero values"},
	{AttrRuleActions, typeStrings, StatusOwn, OnDetection, AllTypes, "agent.rule_actions", "what the kill and hash actions of the rule came to, such as \"kill performed\""},

	{AttrHostID, typeString, StatusDevelopment, OnResource, 0, "", "of the configuration, else the product UUID of DMI, /etc/machine-id or the name of the Kubernetes node"},
	{AttrHostIDSource, typeString, StatusOwn, OnResource, 0, "", "which of them: config, dmi, machine-id or kubernetes"},
	{AttrHostName, typeString, StatusDevelopment, OnResource, 0, "", ""},
	{AttrHostArch, typeString, StatusDevelopment, OnResource, 0, "agent.arch, where amd64 is x64", "amd64 or arm64"},
	{AttrOSType, typeString, StatusDevelopment, OnResource, 0, "agent.os", "linux"},
	{AttrOSName, typeString, StatusDevelopment, OnResource, 0, "agent.distribution", "ID of /etc/os-release"},
	{AttrOSVersion, typeString, StatusDevelopment, OnResource, 0, "agent.distribution", "VERSION_ID of /etc/os-release"},
	{AttrKernelRelease, typeString, StatusOwn, OnResource, 0, "agent.kernel_version", ""},
	{AttrBootID, typeString, StatusOwn, OnResource, 0, "", "changes with each boot"},
}

// Unwritten are names of the semantic conventions that one might look for, and why no record has them.
type Unwritten struct {
	Keys []string
	Why  string
}

// UnwrittenNames is the table of them.
var UnwrittenNames = []Unwritten{
	{
		[]string{string(semconv.ProcessArgsCountKey), string(semconv.ProcessCommandKey), string(semconv.ProcessCommandLineKey)},
		"say again what `process.command_args` says",
	},
	{[]string{string(semconv.ProcessExitTimeKey)}, "the Timestamp of the exit event"},
	{[]string{string(semconv.ProcessOwnerKey), string(semconv.UserIDKey), string(semconv.UserNameKey)}, "say again what `process.user.*` and `process.real_user.*` say"},
	{
		[]string{
			string(semconv.ProcessWorkingDirectoryKey), string(semconv.ProcessSavedUserIDKey), string(semconv.ProcessSavedUserNameKey),
			string(semconv.ProcessGroupLeaderPIDKey), string(semconv.ProcessVpidKey),
		}, "not read from the kernel; the directory of a chdir event is its `file.path`",
	},
	{[]string{string(semconv.ProcessTitleKey), string(semconv.ThreadNameKey)}, "`process.comm` of the Body is the name of the thread that acts"},
	{[]string{string(semconv.FileDirectoryKey)}, "the beginning of `file.path`"},
	{
		[]string{string(semconv.FileGroupIDKey), string(semconv.FileGroupNameKey)},
		"`file.gid` and `file.group` of the Body; of a change of owner the new one is in `file.destination`",
	},
	{
		[]string{string(semconv.FileAccessedKey), string(semconv.FileModifiedKey), string(semconv.FileChangedKey)},
		"`file.access_time`, `file.modification_time` and `file.change_time` of the Body",
	},
	{[]string{string(semconv.FileCreatedKey), string(semconv.FileSizeKey), string(semconv.FileAttributesKey)}, "not read from the kernel"},
	{
		[]string{
			string(semconv.SourceAddressKey), string(semconv.SourcePortKey), string(semconv.DestinationAddressKey), string(semconv.DestinationPortKey),
			string(semconv.ClientAddressKey), string(semconv.ClientPortKey), string(semconv.ServerAddressKey), string(semconv.ServerPortKey),
		}, "`network.local.*` and `network.peer.*` with the EventName: who connects is the client, who accepts the server",
	},
	{[]string{string(semconv.NetworkIODirectionKey), string(semconv.NetworkProtocolNameKey)}, "follow from the EventName"},
	{[]string{string(semconv.DNSAnswersKey)}, "events are about queries"},
	{
		[]string{
			string(semconv.K8SNamespaceNameKey), string(semconv.K8SPodNameKey), string(semconv.K8SContainerNameKey), string(semconv.K8SNodeNameKey),
			string(semconv.ContainerNameKey), string(semconv.ContainerImageNameKey), string(semconv.ContainerRuntimeNameKey),
		}, "the kernel does not know them; the `k8sattributes` processor adds them by `k8s.pod.uid` and `container.id`, for which groupbyattrs must have made them attributes of the Resource",
	},
	{
		[]string{
			string(semconv.SecurityRuleCategoryKey), string(semconv.SecurityRuleReferenceKey), string(semconv.SecurityRuleUUIDKey), string(semconv.SecurityRuleLicenseKey),
		}, "rules have no such members; what a rule's tags say, such as `tactic` and `technique`, is in `picket.rule.tags`",
	},
	{[]string{string(semconv.ErrorTypeKey)}, "`evt.outcome` of the Body, and `picket.event.retval`"},
}
