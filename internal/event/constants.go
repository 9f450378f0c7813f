// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Constant is a named value of the rule language: an int, a bool or a list of strings.
type Constant struct {
	Kind    Kind
	Int     int64
	Bool    bool
	Strings []string // Kind is KindString
}

// Constants holds every named value. All groups share one namespace. Error numbers are negative.
var Constants = buildConstants()

// Constants whose names are not the kernel's.
var (
	pipeBufFlags = map[string]int64{
		"PIPE_BUF_FLAG_LRU": 0x1, "PIPE_BUF_FLAG_ATOMIC": 0x2, "PIPE_BUF_FLAG_GIFT": 0x4, "PIPE_BUF_FLAG_PACKET": 0x8,
		"PIPE_BUF_FLAG_CAN_MERGE": 0x10, "PIPE_BUF_FLAG_WHOLE": 0x20, "PIPE_BUF_FLAG_LOSS": 0x40,
	}

	// vmFlags are those of include/linux/mm.h, which no user-space header has.
	vmFlags = map[string]int64{
		"VM_NONE": 0, "VM_READ": 0x1, "VM_WRITE": 0x2, "VM_EXEC": 0x4, "VM_SHARED": 0x8,
		"VM_MAYREAD": 0x10, "VM_MAYWRITE": 0x20, "VM_MAYEXEC": 0x40, "VM_MAYSHARE": 0x80,
		"VM_GROWSDOWN": 0x100, "VM_UFFD_MISSING": 0x200, "VM_PFNMAP": 0x400, "VM_UFFD_WP": 0x1000,
		"VM_LOCKED": 0x2000, "VM_IO": 0x4000, "VM_SEQ_READ": 0x8000, "VM_RAND_READ": 0x10000,
		"VM_DONTCOPY": 0x20000, "VM_DONTEXPAND": 0x40000, "VM_LOCKONFAULT": 0x80000, "VM_ACCOUNT": 0x100000,
		"VM_NORESERVE": 0x200000, "VM_HUGETLB": 0x400000, "VM_SYNC": 0x800000, "VM_ARCH_1": 0x1000000,
		"VM_WIPEONFORK": 0x2000000, "VM_DONTDUMP": 0x4000000, "VM_SOFTDIRTY": 0x8000000, "VM_MIXEDMAP": 0x10000000,
		"VM_HUGEPAGE": 0x20000000, "VM_NOHUGEPAGE": 0x40000000, "VM_MERGEABLE": 0x80000000,
	}

	dnsTypes = map[string]int64{
		"A": 1, "NS": 2, "MD": 3, "MF": 4, "CNAME": 5, "SOA": 6, "MB": 7, "MG": 8, "MR": 9, "NULL": 10, "PTR": 12,
		"HINFO": 13, "MINFO": 14, "MX": 15, "TXT": 16, "RP": 17, "AFSDB": 18, "X25": 19, "ISDN": 20, "RT": 21,
		"NSAPPTR": 23, "SIG": 24, "KEY": 25, "PX": 26, "GPOS": 27, "AAAA": 28, "LOC": 29, "NXT": 30, "EID": 31,
		"NIMLOC": 32, "SRV": 33, "ATMA": 34, "NAPTR": 35, "KX": 36, "CERT": 37, "DNAME": 39, "OPT": 41, "APL": 42,
		"DS": 43, "SSHFP": 44, "IPSECKEY": 45, "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "DHCID": 49, "NSEC3": 50,
		"NSEC3PARAM": 51, "TLSA": 52, "SMIMEA": 53, "HIP": 55, "NINFO": 56, "RKEY": 57, "TALINK": 58, "CDS": 59,
		"CDNSKEY": 60, "OPENPGPKEY": 61, "CSYNC": 62, "ZONEMD": 63, "SVCB": 64, "HTTPS": 65, "SPF": 99, "UINFO": 100,
		"UID": 101, "GID": 102, "UNSPEC": 103, "NID": 104, "L32": 105, "L64": 106, "LP": 107, "EUI48": 108,
		"EUI64": 109, "TKEY": 249, "TSIG": 250, "IXFR": 251, "AXFR": 252, "MAILB": 253, "MAILA": 254, "ANY": 255,
		"URI": 256, "CAA": 257, "AVC": 258, "TA": 32768, "DLV": 32769, "Reserved": 65535,
	}

	dnsClasses = map[string]int64{
		"CLASS_INET": 1, "CLASS_CSNET": 2, "CLASS_CHAOS": 3, "CLASS_HESIOD": 4, "CLASS_NONE": 254, "CLASS_ANY": 255,
	}

	dnsResponses = map[string]int64{
		"NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5, "YXDOMAIN": 6,
		"YXRRSET": 7, "NXRRSET": 8, "NOTAUTH": 9, "NOTZONE": 10, "BADSIG": 16, "BADKEY": 17, "BADTIME": 18,
		"BADMODE": 19, "BADNAME": 20, "BADALG": 21, "BADTRUNC": 22, "BADCOOKIE": 23,
	}

	icmpTypes = map[string]int64{
		"ICMP_ECHOREPLY": 0, "ICMP_DEST_UNREACH": 3, "ICMP_SOURCE_QUENCH": 4, "ICMP_REDIRECT": 5, "ICMP_ECHO": 8,
		"ICMP_TIME_EXCEEDED": 11, "ICMP_PARAMETERPROB": 12, "ICMP_TIMESTAMP": 13, "ICMP_TIMESTAMPREPLY": 14,
		"ICMP_INFO_REQUEST": 15, "ICMP_INFO_REPLY": 16, "ICMP_ADDRESS": 17, "ICMP_ADDRESSREPLY": 18,
		"ICMPV6_DEST_UNREACH": 1, "ICMPV6_PKT_TOOBIG": 2, "ICMPV6_TIME_EXCEED": 3, "ICMPV6_PARAMPROB": 4,
		"ICMPV6_ECHO_REQUEST": 128, "ICMPV6_ECHO_REPLY": 129,
	}

	tlsVersions = map[string]int64{
		"SSL_2_0": 0x0200, "SSL_3_0": 0x0300, "TLS_1_0": 0x0301, "TLS_1_1": 0x0302, "TLS_1_2": 0x0303, "TLS_1_3": 0x0304,
	}

	// executableProperties are the values of exec.file.metadata.
	executableProperties = map[string]int64{
		"UNKNOWN_ABI": 0, "BIT32": 1, "BIT64": 2,
		"UNKNOWN_ARCHITECTURE": 0, "X86": 1, "X86_64": 2, "ARM": 3, "ARM64": 4,
		"NONE": 0, "GZIP": 1, "ZIP": 2, "ZSTD": 3, "BZIP2": 5, "XZ": 6,
		"EMPTY": 0, "SHELL_SCRIPT": 1, "TEXT": 2, "COMPRESSED": 3, "ENCRYPTED": 4, "BINARY": 5,
		"LINUX_EXECUTABLE": 6, "WINDOWS_EXECUTABLE": 7, "MACOS_EXECUTABLE": 8, "FILE_LESS": 9,
		"STATIC": 1, "DYNAMIC": 2,
	}

	// sessionTypes are the kinds of user sessions.
	sessionTypes = map[string]int64{"unknown": 0, "k8s": 1, "ssh": 2}

	otherConstants = map[string]int64{
		"EGRESS": 1, "INGRESS": 2,
		"SYSCTL_READ": 1, "SYSCTL_WRITE": 2,
		"AUDIT_AUID_UNSET": int64(AUIDUnset),
	}
)

// ownMaps are the names of Picket's own BPF maps, so that rules can leave them out.
var ownMaps = []string{
	"dns_owners", "events", "last_packet", "losses", "module_names", "scope_cgroups", "scope_pidns", "scope_trees", "scratch",
	"states_large", "states_small", "used_sets",
}

func buildConstants() map[string]Constant {
	m := make(map[string]Constant, 2048)
	for _, group := range []map[string]int64{
		errorNumbers, openFlags, fileModes, atFlags, renameFlags, capabilities, bpfCommands, bpfMapTypes,
		bpfProgramTypes, bpfAttachTypes, ptraceRequests, protections, mapFlags, vmFlags, signals, pipeBufFlags,
		addressFamilies, dnsTypes, dnsClasses, dnsResponses, l3Protocols, l4Protocols, icmpTypes, exitCauses,
		tlsVersions, socketLevels, socketOptions, socketTypes, ipOptions, ipv6Options, tcpOptions, resourceLimits,
		prctlOptions, namespaceFlags, executableProperties, sessionTypes,
		otherConstants,
	} {
		for name, v := range group {
			m[name] = Constant{Kind: KindInt, Int: v}
		}
	}
	for n, name := range bpfHelpers {
		m[name] = Constant{Kind: KindInt, Int: int64(n)}
	}
	m["CWS_MAP_NAMES"] = Constant{Kind: KindString, Strings: ownMaps}
	m["true"] = Constant{Kind: KindBool, Bool: true}
	m["false"] = Constant{Kind: KindBool}
	return m
}

// flagName is one name of a bit mask.
type flagName struct {
	name string
	bits uint64
}

// flagTable sorts the names of a mask, without those that have no bits and the given ones.
func flagTable(names map[string]int64, without ...string) []flagName {
	var t []flagName
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if bits := names[name]; bits > 0 && !slices.Contains(without, name) {
			t = append(t, flagName{name, uint64(bits)})
		}
	}
	return t
}

// appendFlagNames appends the names whose bits are all set, sorted, then what is left as one decimal number.
// A composite name stands beside its parts.
func appendFlagNames(names []string, table []flagName, v uint64) []string {
	rest := v
	for _, f := range table {
		if v&f.bits == f.bits {
			names = append(names, f.name)
			rest &^= f.bits
		}
	}
	if rest != 0 {
		names = append(names, strconv.FormatUint(rest, 10))
	}
	return names
}

// Access modes are no bits of their own, and of two names for one value only one is shown.
var openFlagTable = flagTable(openFlags, "O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE", "O_FSYNC", "O_RSYNC", "O_NDELAY")

// OpenFlagNames returns the names of the flags of open: the access mode first, O_RDONLY if it is neither of the others,
// then the rest sorted, and bits without a name as one decimal number.
func OpenFlagNames(flags uint32) []string {
	names := make([]string, 1, 4)
	switch flags & unix.O_ACCMODE {
	case unix.O_WRONLY:
		names[0] = "O_WRONLY"
	case unix.O_RDWR:
		names[0] = "O_RDWR"
	default:
		names[0] = "O_RDONLY"
	}
	return appendFlagNames(names, openFlagTable, uint64(flags&^unix.O_ACCMODE))
}

// UnlinkFlagNames returns the names of the flags of unlinkat: none for 0.
func UnlinkFlagNames(flags uint32) []string {
	return appendFlagNames(nil, []flagName{{"AT_REMOVEDIR", unix.AT_REMOVEDIR}}, uint64(flags))
}

// otherFamilyNames are second names of families, and one that is no family.
var otherFamilyNames = []string{"AF_FILE", "AF_LOCAL", "AF_ROUTE", "AF_MAX"}

var familyNames = func() map[int64]string {
	m := make(map[int64]string, len(addressFamilies))
	for name, v := range addressFamilies {
		if !slices.Contains(otherFamilyNames, name) {
			m[v] = name
		}
	}
	return m
}()

// FamilyName returns the AF_ name of an address family, or its number if it has none.
func FamilyName(family uint16) string {
	if name, ok := familyNames[int64(family)]; ok {
		return name
	}
	return strconv.Itoa(int(family))
}

var l4Names = func() map[int64]string {
	m := make(map[int64]string, len(l4Protocols))
	for name, v := range l4Protocols {
		if old := m[v]; old == "" || name < old {
			m[v] = name
		}
	}
	m[unix.IPPROTO_IP], m[unix.IPPROTO_TCP], m[unix.IPPROTO_UDP] = "IP_PROTO_IP", "IP_PROTO_TCP", "IP_PROTO_UDP"
	return m
}()

// L4ProtocolName returns the IP_PROTO_ name of an IP protocol, or its number if it has none.
func L4ProtocolName(protocol uint16) string {
	if name, ok := l4Names[int64(protocol)]; ok {
		return name
	}
	return fmt.Sprint(protocol)
}
