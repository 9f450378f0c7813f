// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/event"
)

func TestUsedSyscall(t *testing.T) {
	const x32 = 0x40000000
	for _, tt := range []struct {
		nr    int32
		flags uint8
		want  string
	}{
		{unix.SYS_PTRACE, 0, "ptrace"},
		{unix.SYS_OPENAT, 0, "openat"},
		{425, 0, "io_uring_setup"},
		{26, bpf.Compat, "ptrace"}, // of i386 and of arm
		{511, 0, "511"},
		{4000, 0, "4000"},
		{4000, bpf.Compat, "4000"},
		{x32 + 2, 0, "1073741826"},
		{-2, 0, "-2"},
		{math.MinInt32, bpf.Compat, "-2147483648"},
	} {
		c := newTestConverter(t)
		require.NotNil(t, c.convert(decode(t, shExec(t))))
		h := selfHeader(t)
		h.Nr = uint16(tt.nr)
		h.Flags |= tt.flags
		ev := c.convert(decode(t, wire(event.TypeSyscalls, h, bpf.Used{Nr: tt.nr})))
		require.NotNil(t, ev)
		assert.Equal(t, event.TypeSyscalls, ev.Type)
		require.NotNil(t, ev.AnomalySyscall)
		assert.Equal(t, tt.want, ev.AnomalySyscall.Syscall)
		assert.Equal(t, event.OutcomeNone, ev.Evt.Outcome)
		assert.Equal(t, "/usr/bin/sh", ev.Process.Executable.Path)
	}
}
