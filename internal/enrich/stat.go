// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package enrich

import (
	"bytes"
	"strconv"
)

// ProcStat is what /proc/<pid>/stat says of a process beside what the kernel side records.
type ProcStat struct {
	State  byte   // as proc(5) has it: R, S, Z and so on
	Flags  uint32 // of the task, PF_…
	Start  uint64 // in units of 1/100 s since the boot
	Forked bool   // it has not executed a program since its fork
}

// pfForkNoExec is PF_FORKNOEXEC of include/linux/sched.h: set for every new task, and taken away by an exec.
const pfForkNoExec = 0x40

// ParseStat reads the content of /proc/<pid>/stat. The name of the command, which may hold anything, ends with the last
// parenthesis.
func ParseStat(data []byte) (s ProcStat, ok bool) {
	// After the name: the state, which is field 3 of proc(5); flags are field 9, the start time is field 22.
	const state, flags, start = 0, 9 - 3, 22 - 3
	rest := data[bytes.LastIndexByte(data, ')')+1:]
	if len(rest) == len(data) {
		return ProcStat{}, false
	}
	for i := 0; i <= start; i++ {
		rest = bytes.TrimLeft(rest, " ")
		end := bytes.IndexAny(rest, " \n")
		if end < 0 {
			end = len(rest)
		}
		field := rest[:end]
		rest = rest[end:]
		var err error
		switch i {
		case state:
			if len(field) != 1 {
				return ProcStat{}, false
			}
			s.State = field[0]
		case flags:
			var v uint64
			v, err = strconv.ParseUint(string(field), 10, 32)
			s.Flags = uint32(v)
		case start:
			s.Start, err = strconv.ParseUint(string(field), 10, 64)
		}
		if err != nil {
			return ProcStat{}, false
		}
	}
	s.Forked = s.Flags&pfForkNoExec != 0
	return s, true
}
