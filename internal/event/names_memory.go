// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"slices"
	"strings"
)

var (
	protectionTable = flagTable(protections)
	// Sizes of huge pages are numbers inside of the flags, and MAP_TYPE and the like are masks.
	mapFlagTable = flagTable(mapFlags, "MAP_ANON", "MAP_TYPE", "MAP_HUGE_MASK", "MAP_HUGE_SHIFT",
		"MAP_HUGE_16KB", "MAP_HUGE_64KB", "MAP_HUGE_512KB", "MAP_HUGE_1MB", "MAP_HUGE_2MB", "MAP_HUGE_8MB", "MAP_HUGE_16MB",
		"MAP_HUGE_32MB", "MAP_HUGE_256MB", "MAP_HUGE_512MB", "MAP_HUGE_1GB", "MAP_HUGE_2GB", "MAP_HUGE_16GB")
	vmFlagTable   = flagTable(vmFlags)
	pipeFlagTable = flagTable(pipeBufFlags)

	bpfCommandNames     = namesByNumber(bpfCommands, nil)
	bpfMapTypeNames     = namesByNumber(bpfMapTypes, nil)
	bpfProgramTypeNames = namesByNumber(bpfProgramTypes, nil)
	bpfAttachTypeNames  = namesByNumber(bpfAttachTypes, nil)
)

// joined makes one string of the names of a mask: " | " between them, nothing for 0.
func joined(table []flagName, v uint64) string {
	if v == 0 {
		return ""
	}
	return strings.Join(appendFlagNames(nil, table, v), " | ")
}

// ProtectionNames returns the PROT_ names of a protection as mmap(2) has it.
func ProtectionNames(prot uint32) string { return joined(protectionTable, uint64(prot)) }

// MapFlagNames returns the MAP_ names of the flags of mmap(2).
func MapFlagNames(flags uint32) string { return joined(mapFlagTable, uint64(flags)) }

// VMFlagNames returns the VM_ names of the flags of an area of memory.
func VMFlagNames(flags uint64) string { return joined(vmFlagTable, flags) }

// PipeFlagNames returns the PIPE_BUF_FLAG_ names of the flags of a pipe's buffer.
func PipeFlagNames(flags uint32) string { return joined(pipeFlagTable, uint64(flags)) }

// BPFCommandName returns the name of a command of bpf(2), or its number if it has none.
func BPFCommandName(cmd uint32) string { return nameOrNumber(bpfCommandNames, int64(cmd)) }

// BPFMapTypeName returns the BPF_MAP_TYPE_ name, or the number if it has none.
func BPFMapTypeName(typ uint32) string { return nameOrNumber(bpfMapTypeNames, int64(typ)) }

// BPFProgramTypeName returns the BPF_PROG_TYPE_ name, or the number if it has none.
func BPFProgramTypeName(typ uint32) string { return nameOrNumber(bpfProgramTypeNames, int64(typ)) }

// BPFAttachTypeName returns the name of an attach type, or its number if it has none; 0, which is also that of programs
// that have no attach type, has no name.
func BPFAttachTypeName(typ uint32) string {
	if typ == 0 {
		return ""
	}
	return nameOrNumber(bpfAttachTypeNames, int64(typ))
}

// BPFHelperNames returns the names of helper functions, each once, in the order of their numbers; those without a name are
// left out. It sorts the numbers in place.
func BPFHelperNames(numbers []uint32) (names []string) {
	slices.Sort(numbers)
	for _, n := range slices.Compact(numbers) {
		if int(n) < len(bpfHelpers) {
			names = append(names, bpfHelpers[n])
		}
	}
	return names
}
