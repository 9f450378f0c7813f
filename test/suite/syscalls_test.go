// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package suite

import (
	"errors"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver"
)

// used is the event of a syscall's first use.
func used(name string) want {
	return want{typ: "syscalls", members: members{
		"anomaly_detection_syscall.syscall": name, "evt.category": "Process Activity", "evt.outcome": absent, "process.executable.path": present, "file": absent,
	}, attrs: members{"picket.event.retval": absent}}
}

// noSyscall is a number that no table has.
const noSyscall = 4000

// sysinfoTwice is what is new only the first time; the Go runtime does not do it.
func sysinfoTwice() error {
	var info unix.Sysinfo_t
	return errors.Join(unix.Sysinfo(&info), unix.Sysinfo(&info))
}

var syscallsCases = cases("syscalls", []testcase{
	{
		name: "first use",
		do: func(dir string) error {
			return errors.Join(sysinfoTwice(), fails(sys(noSyscall), unix.ENOSYS), fails(sys(noSyscall+1), unix.ENOSYS), nobody(), fails(unix.Chroot(dir), unix.EPERM))
		},
		want: []want{used("sysinfo"), used("4000"), used("setresuid"), used("chroot"), used("exit_group")},
		not: []want{
			{typ: "syscalls", members: members{"anomaly_detection_syscall.syscall": "4001"}}, // all without a name are one
			{typ: "syscalls", members: members{"anomaly_detection_syscall.syscall": "reboot"}},
		},
	},
	{
		name: "another image",
		do: func(string) error {
			env := os.Environ()
			for i := range env {
				if strings.HasPrefix(env[i], actorEnv+"=") {
					env[i] = actorEnv + "=syscalls/executed"
				}
			}
			return errors.Join(sysinfoTwice(), unix.Exec("/proc/self/exe", os.Args, env))
		},
		want: []want{used("sysinfo"), used("execve"), used("sysinfo")},
	},
	{name: "executed", do: func(string) error { return sysinfoTwice() }, want: []want{used("sysinfo")}},
})

func enable(types ...string) func(*ebpfsecurityreceiver.Config) {
	return func(cfg *ebpfsecurityreceiver.Config) {
		on := true
		cfg.Events = map[string]ebpfsecurityreceiver.EventConfig{}
		for _, name := range types {
			cfg.Events[name] = ebpfsecurityreceiver.EventConfig{Enabled: &on}
		}
	}
}

// Each process image tells of a syscall once.
func TestSyscalls(t *testing.T) {
	w := run(t, syscallsCases, enable("syscalls"))
	w.mu.Lock()
	defer w.mu.Unlock()
	images := map[any]int{}
	for i := range w.events {
		if e := &w.events[i]; e.typ == "syscalls" && lookup(e.body, "anomaly_detection_syscall.syscall") == "sysinfo" {
			images[e.attrs[event.AttrProcessID]]++
		}
	}
	assert.Len(t, images, 4, "the actors of three cases, one of which executes another image")
	for id, n := range images {
		assert.Equal(t, 1, n, "%v", id)
	}
}

// ftruncate64 is a call that only 32-bit programs have.
var syscalls32Cases = cases("syscalls32", []testcase{{
	name: "names", do: run32,
	want: []want{used32("ftruncate64"), used32("mkdirat"), used32("exit_group")},
	not:  []want{used32("ftruncate")},
}})

func used32(name string) want {
	return want{typ: "syscalls", other: true, members: members{"anomaly_detection_syscall.syscall": name, "process.executable.name": "bits32"}}
}

// A 32-bit program's numbers are those of its own table.
func TestSyscalls32Bit(t *testing.T) {
	build32(t)
	run(t, syscalls32Cases, enable("syscalls"))
}

// Unless it is enabled there is no such event.
func TestSyscallsAreOptIn(t *testing.T) {
	run(t, []testcase{{name: "syscalls/first use", not: []want{{typ: "syscalls"}, {typ: "syscalls", other: true}}}}, nil)
}

// ring makes an io_uring.
func ring() error {
	var params [120]byte // struct io_uring_params
	fd, _, e := unix.RawSyscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if e != 0 {
		return e
	}
	return unix.Close(int(fd))
}

var ioUringCases = cases("io_uring", []testcase{
	{
		name: "two rings",
		do:   func(string) error { return errors.Join(ring(), ring()) },
		want: []want{{typ: event.RecordIOUringUsed, other: true, members: members{
			"process.pid": "$PID", "process.executable.path": present, "evt.name": "custom_event", "agent.rule_id": "io_uring_used", "title": present, "date": recent,
		}, attrs: members{event.AttrRecordKind: event.KindReport, event.AttrProcessPID: "$PID", event.AttrProcessExePath: present, event.AttrRetval: absent}}},
		skip: noRings,
	},
	{
		name: "refused", // by its arguments: there is no ring
		do:   func(string) error { return fails(sys(unix.SYS_IO_URING_SETUP, 1, 0), unix.EFAULT) },
		not:  []want{{typ: event.RecordIOUringUsed, other: true, members: members{"process.pid": "$PID"}}},
		skip: noRings,
	},
})

// noRings says why no ring can be made here.
func noRings() string {
	if err := ring(); err != nil {
		return "the kernel makes no io_uring: " + err.Error()
	}
	return ""
}

// A process that makes rings is reported once.
func TestIOUring(t *testing.T) {
	w := run(t, ioUringCases, nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	reports := 0
	for i := range w.events {
		if w.events[i].typ == event.RecordIOUringUsed {
			reports++
		}
	}
	if noRings() == "" {
		assert.Equal(t, 1, reports)
	}
}
