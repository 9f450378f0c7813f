// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package suite

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver"
)

// sys is a system call of the calling thread only.
func sys(nr uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, e := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); e != 0 {
		return e
	}
	return nil
}

func addressOf[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

const keep = ^uintptr(0) // -1: unchanged

// capset drops everything but CAP_KILL from the calling thread's effective and permitted set.
func capset() error {
	const capKill = 5
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: 1 << capKill, Permitted: 1<<capKill | 1<<unix.CAP_CHOWN}}
	return unix.Capset(&header, &data[0])
}

// sleeper starts a process that waits; it is in scope, as the actor's child. It sleeps when sleeper returns, and ends with
// the actor.
func sleeper(attr syscall.SysProcAttr) (*exec.Cmd, error) {
	cmd := exec.Command("/bin/sleep", "60")
	attr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr = &attr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		if err != nil {
			return nil, err
		}
		if strings.Contains(string(stat), "(sleep) S") {
			return cmd, nil
		}
	}
	return nil, errors.New("it does not sleep")
}

func reap(cmd *exec.Cmd) {
	if cmd.Process.Kill() == nil { // else the actor may no longer do so
		_ = cmd.Wait()
	}
}

var root = map[string]any{"process.credentials.uid": 0, "process.credentials.euid": 0, "process.credentials.fsuid": 0, "process.uid": 0, "process.user": "root"}

// setid are the members of a setuid event of root.
func setid(uid, euid, fsuid int) map[string]any {
	name := map[int]any{0: "root", 65534: "nobody", 12345: absent}
	const d = "process.credentials.destination."
	return with(root, map[string]any{
		"evt.outcome": "Success", "evt.category": "File Activity", d + "uid": uid, d + "user": name[uid], d + "euid": euid, d + "euser": name[euid],
		d + "fsuid": fsuid, d + "fsuser": name[fsuid], "file": absent,
	})
}

func setgid(gid, egid, fsgid int) map[string]any {
	name := map[int]any{0: "root", 65534: "nogroup", 12345: absent}
	const d = "process.credentials.destination."
	return map[string]any{
		"evt.outcome": "Success", "process.credentials.gid": 0, d + "gid": gid, d + "group": name[gid], d + "egid": egid,
		d + "egroup": name[egid], d + "fsgid": fsgid, d + "fsgroup": name[fsgid],
	}
}

var credCases = cases("cred", []testcase{
	{name: "setuid", do: func(string) error { return sys(unix.SYS_SETUID, 65534) }, want: []want{{typ: "setuid", members: setid(65534, 65534, 65534)}}},
	{name: "setreuid", do: func(string) error { return sys(unix.SYS_SETREUID, keep, 12345) }, want: []want{{typ: "setuid", members: setid(0, 12345, 12345)}}},
	{name: "setresuid", do: func(string) error { return sys(unix.SYS_SETRESUID, 65534, 0, 12345) }, want: []want{{typ: "setuid", members: setid(65534, 0, 0)}}},
	{
		name: "setfsuid", // which returns the id before
		do:   func(string) error { _ = sys(unix.SYS_SETFSUID, 65534); return nil },
		want: []want{{typ: "setuid", members: setid(0, 0, 65534)}},
	},
	{name: "setgid", do: func(string) error { return sys(unix.SYS_SETGID, 65534) }, want: []want{{typ: "setgid", members: setgid(65534, 65534, 65534)}}},
	{name: "setregid", do: func(string) error { return sys(unix.SYS_SETREGID, keep, 65534) }, want: []want{{typ: "setgid", members: setgid(0, 65534, 65534)}}},
	{name: "setresgid", do: func(string) error { return sys(unix.SYS_SETRESGID, 12345, 65534, 0) }, want: []want{{typ: "setgid", members: setgid(12345, 65534, 65534)}}},
	{name: "setfsgid", do: func(string) error { _ = sys(unix.SYS_SETFSGID, 65534); return nil }, want: []want{{typ: "setgid", members: setgid(0, 0, 65534)}}},
	{
		name: "capset", do: func(string) error { return capset() },
		want: []want{{typ: "capset", members: map[string]any{
			"evt.outcome": "Success", "process.credentials.destination.cap_effective": "[CAP_KILL]", "process.credentials.destination.cap_permitted": "[CAP_CHOWN CAP_KILL]",
			"process.credentials.cap_effective.0": present, "process.credentials.destination.uid": absent,
		}}},
	},
	{
		name: "nothing changed or refused",
		do: func(string) error {
			return errors.Join(sys(unix.SYS_SETUID, 0), sys(unix.SYS_SETRESGID, keep, keep, keep), nobody(), fails(sys(unix.SYS_SETUID, 0), unix.EPERM), fails(sys(unix.SYS_SETGID, 0), unix.EPERM))
		},
		want: []want{{typ: "setuid", members: setid(65534, 65534, 65534)}, {typ: "setgid", members: setgid(65534, 65534, 65534)}},
		not: []want{
			{typ: "setuid", members: map[string]any{"process.credentials.destination.uid": 0}},
			{typ: "setgid", members: map[string]any{"process.credentials.destination.gid": 0}},
		},
	},
	{
		name: "what comes after has the new ones",
		do: func(string) error {
			return errors.Join(os.Chmod(".", 0o777), nobody(), unix.Mkdir("d", 0o700))
		},
		want: []want{{typ: "mkdir", members: map[string]any{
			"file.uid": 65534, "process.uid": 65534, "process.user": "nobody", "process.credentials.gid": 65534, "process.credentials.cap_effective": "[]",
			"process.credentials.destination": absent, "usr.id": "nobody", "usr.group": "nogroup",
		}}},
	},
	{
		name: "user namespace", // ids are those of the initial one
		do: func(string) error {
			cmd := exec.Command("/bin/mkdir", "d")
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags: syscall.CLONE_NEWUSER, Credential: &syscall.Credential{Uid: 0, Gid: 0},
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}},
			}
			return errors.Join(os.Chmod(".", 0o777), cmd.Run())
		},
		want: []want{{typ: "mkdir", other: true, members: map[string]any{
			"process.uid": 65534, "process.credentials.euid": 65534, "process.credentials.cap_effective.0": present, "file.uid": 65534, "file.path": "$DIR/d", "process.ppid": "$PID",
		}}},
	},
})

func TestCredentials(t *testing.T) { run(t, credCases, nil) }

// sent are the members of a signal that the actor sent to its child /bin/sleep.
func sent(name string) map[string]any {
	return map[string]any{
		"evt.outcome": "Success", "evt.category": "Process Activity", "signal.type": name, "signal.pid": present, "signal.target.ppid": "$PID",
		"signal.target.executable.name": "sleep", "signal.target.args.0": "60", "signal.target.parent.pid": "$PID", "signal.target.ancestors.0.pid": "$PID",
	}
}

// siginfo is the head of a siginfo_t.
type siginfo struct {
	signo, errno, code int32
	_                  int32
	pid, uid           uint32
	_                  [112]byte
}

func withSleeper(do func(pid int) error) func(string) error {
	return func(string) error {
		cmd, err := sleeper(syscall.SysProcAttr{})
		if err != nil {
			return err
		}
		defer reap(cmd)
		return do(cmd.Process.Pid)
	}
}

func signalTo(nr uintptr, args ...uintptr) func(string) error {
	return withSleeper(func(pid int) error {
		for i := range args {
			if args[i] == keep {
				args[i] = uintptr(pid)
			}
		}
		return sys(nr, args...)
	})
}

var signalCases = cases("signal", []testcase{
	{name: "kill", do: signalTo(unix.SYS_KILL, keep, uintptr(unix.SIGCONT)), want: []want{{typ: "signal", members: sent("SIGCONT")}}},
	{name: "tkill", do: signalTo(unix.SYS_TKILL, keep, uintptr(unix.SIGWINCH)), want: []want{{typ: "signal", members: sent("SIGWINCH")}}},
	{name: "tgkill", do: signalTo(unix.SYS_TGKILL, keep, keep, uintptr(unix.SIGCHLD)), want: []want{{typ: "signal", members: sent("SIGCHLD")}}},
	{
		name: "rt_sigqueueinfo, with the code of a timer",
		do: withSleeper(func(pid int) error {
			info := siginfo{code: -2}
			return errors.Join(
				sys(unix.SYS_RT_SIGQUEUEINFO, uintptr(pid), 35, uintptr(unsafe.Pointer(&info))),
				sys(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(pid), uintptr(pid), uintptr(unix.SIGTERM), uintptr(unsafe.Pointer(&info))))
		}),
		want: []want{{typ: "signal", members: sent("35")}, {typ: "signal", members: sent("SIGTERM")}},
	},
	{
		name: "pidfd_send_signal",
		do: withSleeper(func(pid int) error {
			fd, err := unix.PidfdOpen(pid, 0)
			return errors.Join(err, unix.PidfdSendSignal(fd, unix.SIGUSR1, nil, 0))
		}),
		want: []want{{typ: "signal", members: sent("SIGUSR1")}},
	},
	{
		name: "group", // one event for each process of it
		do: func(string) error {
			var cmds [2]*exec.Cmd
			for i := range cmds {
				attr := syscall.SysProcAttr{Setpgid: true}
				if i > 0 {
					attr.Pgid = cmds[0].Process.Pid
				}
				var err error
				if cmds[i], err = sleeper(attr); err != nil {
					return err
				}
				defer reap(cmds[i])
			}
			return unix.Kill(-cmds[0].Process.Pid, unix.SIGHUP)
		},
		want: []want{{typ: "signal", members: sent("SIGHUP")}, {typ: "signal", members: sent("SIGHUP")}},
	},
	{
		name: "refused",
		do: withSleeper(func(pid int) error {
			return errors.Join(nobody(), fails(unix.Kill(pid, unix.SIGKILL), unix.EPERM), fails(sys(unix.SYS_TGKILL, uintptr(pid), uintptr(pid), uintptr(unix.SIGINT)), unix.EPERM))
		}),
		want: []want{
			{typ: "signal", members: with(sent("SIGKILL"), map[string]any{"evt.outcome": "Refused", "process.uid": 65534, "signal.target.uid": 0}), attrs: map[string]any{"picket.event.retval": -1}},
			{typ: "signal", members: with(sent("SIGINT"), map[string]any{"evt.outcome": "Refused"})},
		},
	},
	{
		name: "0 sends none", do: signalTo(unix.SYS_KILL, keep, 0),
		not: []want{{typ: "signal", members: map[string]any{"signal.type": "0"}}},
	},
	{
		name: "from a pid namespace", // where the target has another pid
		do: func(string) error {
			cmd := exec.Command("/bin/sh", "-c", `sleep 60 & kill -USR2 $!; su nobody -s /bin/sh -c "kill -QUIT 1"; kill -KILL $!; [ $$ = 1 ]`)
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
			return cmd.Run()
		},
		want: []want{
			{typ: "signal", other: true, members: map[string]any{"signal.type": "SIGUSR2", "signal.target.executable.name": present, "process.ppid": "$PID", "signal.pid": hostPID}},
			{typ: "signal", other: true, members: map[string]any{"evt.outcome": "Refused", "signal.type": "SIGQUIT", "signal.target.ppid": "$PID", "signal.pid": hostPID, "signal.target.args.0": "-c"}},
		},
	},
})

// hostPID refuses what can only be a pid of a new pid namespace.
func hostPID(v any) error {
	if s := fmt.Sprint(v); len(s) < 3 {
		return fmt.Errorf("a pid of the inner namespace: %s", s)
	}
	return nil
}

func TestSignal(t *testing.T) { run(t, signalCases, nil) }

func brokenPipe(string) error {
	var p [2]int
	if err := errors.Join(unix.Pipe(p[:]), unix.Close(p[0])); err != nil {
		return err
	}
	_, err := unix.Write(p[1], []byte("x"))
	return fails(err, unix.EPIPE)
}

// What the kernel sends is an event only if it is asked for.
func TestKernelSignal(t *testing.T) {
	change := func(cfg *ebpfsecurityreceiver.Config) {
		cfg.Events = map[string]ebpfsecurityreceiver.EventConfig{"signal": {All: true}}
	}
	run(t, kernelSignalCases, change)
}

var kernelSignalCases = cases("kernel signal", []testcase{{
	name: "broken pipe", do: brokenPipe,
	want: []want{{typ: "signal", members: map[string]any{"signal.type": "SIGPIPE", "signal.pid": "$PID", "signal.target.pid": "$PID"}}},
}})

func TestNoKernelSignal(t *testing.T) { run(t, noKernelSignalCases, nil) }

var noKernelSignalCases = cases("no kernel signal", []testcase{{
	name: "broken pipe, thread", do: func(dir string) error {
		return errors.Join(brokenPipe(dir), sys(unix.SYS_TGKILL, uintptr(os.Getpid()), uintptr(unix.Gettid()), uintptr(unix.SIGWINCH)))
	},
	not: []want{
		{typ: "signal", members: map[string]any{"signal.type": "SIGPIPE"}},
		{typ: "signal", members: map[string]any{"signal.type": "SIGWINCH"}}, // a thread of its own
		{typ: "signal", members: map[string]any{"signal.type": "SIGURG"}},
	},
}})

// traced are the members of a ptrace of the actor's child /bin/sleep.
func traced(request string) map[string]any {
	return map[string]any{
		"evt.outcome": "Success", "evt.category": "Kernel Activity", "ptrace.request": request, "ptrace.address": "0x0", "ptrace.tracee.ppid": "$PID",
		"ptrace.tracee.executable.name": "sleep", "ptrace.tracee.parent.pid": "$PID",
	}
}

var ptraceCases = cases("ptrace", []testcase{
	{
		name: "attach, peek, detach",
		do: withSleeper(func(pid int) error {
			var word uint64
			err := unix.PtraceAttach(pid)
			_, werr := unix.Wait4(pid, nil, 0, nil)
			peek := fails(sys(unix.SYS_PTRACE, unix.PTRACE_PEEKDATA, uintptr(pid), 16, uintptr(unsafe.Pointer(&word))), unix.EIO)
			return errors.Join(err, werr, peek, unix.PtraceDetach(pid))
		}),
		want: []want{{typ: "ptrace", members: traced("PTRACE_ATTACH")}, {typ: "ptrace", members: traced("PTRACE_DETACH")}},
		not:  []want{{typ: "ptrace", members: map[string]any{"ptrace.request": "PTRACE_PEEKDATA"}}},
	},
	{
		name: "seize", do: withSleeper(func(pid int) error { return sys(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, 0) }),
		want: []want{{typ: "ptrace", members: traced("PTRACE_SEIZE")}},
	},
	{
		name: "traceme",
		do: func(string) error {
			cmd := exec.Command("/bin/true")
			cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
			if err := cmd.Start(); err != nil {
				return err
			}
			_, err := unix.Wait4(cmd.Process.Pid, nil, 0, nil)
			reap(cmd)
			return err
		},
		want: []want{{typ: "ptrace", other: true, members: map[string]any{
			"ptrace.request": "PTRACE_TRACEME", "ptrace.tracee.ppid": "$PID", "process.ppid": "$PID",
		}}},
	},
	{
		name: "refused",
		do: withSleeper(func(pid int) error {
			return errors.Join(nobody(), fails(unix.PtraceAttach(pid), unix.EPERM))
		}),
		want: []want{{typ: "ptrace", members: with(traced("PTRACE_ATTACH"), map[string]any{"evt.outcome": "Refused"})}},
	},
})

func TestPTrace(t *testing.T) { run(t, ptraceCases, nil) }
