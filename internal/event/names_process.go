// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import (
	"strconv"
	"strings"
)

// namesByNumber turns a table of constants around. Names for which skip is true are left out; of two names for one number
// the first in the alphabet stays.
func namesByNumber(names map[string]int64, skip func(string) bool) map[int64]string {
	m := make(map[int64]string, len(names))
	for name, v := range names {
		if old := m[v]; (skip == nil || !skip(name)) && (old == "" || name < old) {
			m[v] = name
		}
	}
	return m
}

// nameOrNumber returns the name of v, or v in decimal if it has none.
func nameOrNumber(names map[int64]string, v int64) string {
	if name, ok := names[v]; ok {
		return name
	}
	return strconv.FormatInt(v, 10)
}

var (
	signalNames = namesByNumber(signals, func(name string) bool { return name == "SIGCLD" || name == "SIGIOT" || name == "SIGPOLL" })

	// Beside requests the kernel's header has events, options and kinds of stops, whose numbers are others'.
	ptraceNames = namesByNumber(ptraceRequests, func(name string) bool {
		for _, prefix := range []string{"PTRACE_EVENT", "PTRACE_O_", "PTRACE_SYSCALL_INFO_", "PTRACE_PEEKSIGINFO_"} {
			if strings.HasPrefix(name, prefix) {
				return true
			}
		}
		return false
	})
)

// SignalName returns the name of a signal, or its number if it has none.
func SignalName(sig uint32) string { return nameOrNumber(signalNames, int64(sig)) }

// PTraceRequestName returns the name of a request of ptrace(2), or its number if it has none.
func PTraceRequestName(request uint32) string { return nameOrNumber(ptraceNames, int64(request)) }
