// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package suite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// trap, as a call of a program, is an instruction that there is not.
const trap = -1

// program is a static executable that makes system calls of up to four arguments, one after the other. It does not touch
// its stack, so that it can be cloned into threads that share it.
func program(calls ...[]int) []byte {
	const base, headers = 0x400000, 64 + 56
	var code []byte
	for _, c := range calls {
		code = append(code, machineCode(c)...)
	}
	size := uint64(headers + len(code))
	machine := uint16(62) // EM_X86_64
	if runtime.GOARCH == "arm64" {
		machine = 183 // EM_AARCH64
	}
	le := binary.LittleEndian
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	b = le.AppendUint16(b, 2) // ET_EXEC
	b = le.AppendUint16(b, machine)
	b = le.AppendUint32(b, 1)
	for _, v := range []uint64{base + headers, 64, 0} { // entry, program headers, section headers
		b = le.AppendUint64(b, v)
	}
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // PT_LOAD
	b = le.AppendUint32(b, 5) // readable, executable
	for _, v := range []uint64{0, base, base, size, size, 0x1000} {
		b = le.AppendUint64(b, v)
	}
	return append(b, code...)
}

// machineCode is one system call: its number, then its arguments.
func machineCode(c []int) (code []byte) {
	le := binary.LittleEndian
	if runtime.GOARCH == "arm64" {
		if c[0] == trap {
			return make([]byte, 4) // udf
		}
		move := func(reg uint32, v int) {
			code = le.AppendUint32(code, 0xd2800000|uint32(v&0xffff)<<5|reg)     // movz
			code = le.AppendUint32(code, 0xf2a00000|uint32(v>>16&0xffff)<<5|reg) // movk, 16 bits further
		}
		for i, v := range c[1:] {
			move(uint32(i), v)
		}
		move(8, c[0])
		return le.AppendUint32(code, 0xd4000001) // svc
	}
	if c[0] == trap {
		return []byte{0x0f, 0x0b} // ud2
	}
	moves := [][]byte{{0xbf}, {0xbe}, {0xba}, {0x41, 0xba}} // edi, esi, edx, r10d
	for i, v := range c[1:] {
		code = le.AppendUint32(append(code, moves[i]...), uint32(v))
	}
	code = le.AppendUint32(append(code, 0xb8), uint32(c[0])) // eax
	return append(code, 0x0f, 0x05)
}

// install writes a program into the working directory.
func install(name string, calls ...[]int) error {
	return errors.Join(os.WriteFile(name, program(calls...), 0o600), os.Chmod(name, 0o755))
}

func installed(calls ...[]int) error { return install("prog", calls...) }

// exits is the end of a program.
func exits(code int) []int { return []int{unix.SYS_EXIT_GROUP, code} }

// vector is an argv or envp.
func vector(s []string) []*byte {
	v := make([]*byte, len(s)+1)
	for i := range s {
		v[i], _ = unix.BytePtrFromString(s[i])
	}
	return v
}

// become executes a program by the system call itself, by a thread that is not the first if threaded is true.
func become(threaded bool, fd int, path string, flags int, argv ...string) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	args, envs := vector(argv), vector([]string{"PATH=/bin", "SECRET=x"})
	do := func() error {
		if fd == unix.AT_FDCWD && flags == 0 {
			return sys(unix.SYS_EXECVE, addressOf(p), addressOf(&args[0]), addressOf(&envs[0]))
		}
		return sys(unix.SYS_EXECVEAT, uintptr(fd), addressOf(p), addressOf(&args[0]), addressOf(&envs[0]), uintptr(flags))
	}
	if !threaded {
		return do()
	}
	return onThread(do)
}

// onThread does something in a thread that is not the first one, and is there as long as its process.
func onThread(do func() error) error {
	done := make(chan error)
	var attempt func()
	attempt = func() {
		runtime.LockOSThread() // for ever: whoever comes next gets another one
		if unix.Gettid() == unix.Getpid() {
			go attempt()
			select {}
		}
		done <- do()
		select {}
	}
	go attempt()
	return <-done
}

// spawn runs a program as os/exec does, with argv[0] as given, and returns its status.
func spawn(attr *os.ProcAttr, path string, argv ...string) (syscall.WaitStatus, error) {
	p, err := os.StartProcess(path, argv, attr)
	if err != nil {
		return 0, err
	}
	st, err := p.Wait()
	if err != nil {
		return 0, err
	}
	return st.Sys().(syscall.WaitStatus), nil
}

// ended is spawn of a program that is to end like that.
func ended(want syscall.WaitStatus, attr *os.ProcAttr, path string, argv ...string) error {
	st, err := spawn(attr, path, argv...)
	if err == nil && st != want {
		err = fmt.Errorf("%s ended with %#x", path, int(st))
	}
	return err
}

// forked makes a process by a system call that returns twice. The child makes one call, which is to end it, and the
// parent waits for it. A child of such a fork has one thread, so it must do nothing that needs the Go runtime.
func forked(nr, a0, a1 uintptr, child ...uintptr) error {
	var end [4]uintptr
	copy(end[:], child)
	pid, _, e := unix.RawSyscall6(nr, a0, a1, 0, 0, 0, 0)
	if e != 0 {
		return e
	}
	if pid == 0 {
		_, _, _ = unix.RawSyscall(end[0], end[1], end[2], end[3])
		for {
			_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 99, 0, 0)
		}
	}
	_, err := unix.Wait4(int(pid), nil, 0, nil)
	return err
}

// again runs another case as a child of the actor, which is to exit with a code.
func again(name string, attr *syscall.SysProcAttr, code int) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{actorEnv + "=" + name, dirEnv + "=" + os.Getenv(dirEnv)}
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		return fmt.Errorf("want exit code %d, got %w: %s", code, err, out)
	}
	return nil
}

// runs are the members of an exec that the actor itself, or with other a child of it, made.
func runs(path string, argv ...string) members {
	m := members{
		"evt.outcome": "Success", "evt.category": "Process Activity", "file.path": path, "file.name": filepath.Base(path), "file.inode": present, "file.mode": 0o100755,
		"process.executable.path": path, "process.executable.name": filepath.Base(path), "process.executable.inode": present, "process.interpreter": absent,
		"process.exec_time": recent, "process.fork_time": recent, "process.exit_time": absent, "process.is_thread": absent, "process.is_kworker": absent,
		"process.source": "event", "process.uid": 0, "exit": absent,
	}
	return with(m, argvOf(argv))
}

func argvOf(argv []string) members {
	m := members{"process.args_truncated": absent}
	for i, a := range argv {
		if i == 0 {
			m["process.argv0"] = a
			continue
		}
		m["process.args."+strconv.Itoa(i-1)] = a
	}
	if len(argv) > 0 {
		m["process.args."+strconv.Itoa(len(argv)-1)] = absent
	}
	return m
}

// itself are the members of an exec in the actor's own process: one that follows the exec of the actor.
var itself = members{
	"process.pid": "$PID", "process.tid": "$PID", "process.is_exec_child": true, "process.parent.pid": "$PID", "process.parent.executable.name": exeName,
	"process.parent.is_exec_child": absent, "process.ancestors.0.pid": "$PID", "process.envs": "[PATH=/bin SECRET]", "process.envs_truncated": absent,
}

// ofChild are the members of a process that the actor forked.
var ofChild = members{
	"process.ppid": "$PID", "process.parent.pid": "$PID", "process.ancestors.0.pid": "$PID", "process.pid": hostPID, "process.is_exec_child": absent,
}

// exeName is the base name of the test binary, which the actor runs.
var exeName = filepath.Base(exePath())

func exePath() string {
	path, _ := os.Executable()
	return path
}

// exeMembers are the facts of the test binary, as file or process.executable.
func exeMembers(at string) members {
	var st unix.Stat_t
	_ = unix.Stat("/proc/self/exe", &st) // which needs no right to look into its directory
	stamp := func(ts unix.Timespec) string { return time.Unix(ts.Unix()).UTC().Format(time.RFC3339Nano) }
	return members{
		at + ".path": exePath(), at + ".name": exeName, at + ".inode": st.Ino, at + ".mode": st.Mode, at + ".uid": st.Uid, at + ".gid": st.Gid,
		at + ".user": "root", at + ".group": "root", at + ".modification_time": stamp(st.Mtim), at + ".change_time": stamp(st.Ctim),
		at + ".filesystem": matches("[a-z0-9]+"), at + ".mount_id": present, at + ".path_resolution_error": absent,
	}
}

// scripted are the members of an exec of a script: the program in the directory is its interpreter.
func scripted(path string, argv ...string) members {
	m := with(runs(path, argv...), itself, members{
		"process.interpreter.path": "$DIR/prog", "process.interpreter.inode": present, "process.interpreter.name": "prog", "process.interpreter.mode": 0o100755,
	})
	delete(m, "process.interpreter")
	return m
}

// byDescriptor are the members of a script that was executed by a descriptor: links of /proc are not followed.
func byDescriptor(path matches) members {
	name := matches(filepath.Base(string(path)))
	return with(scripted("", "$DIR/prog"), members{
		"file.path": path, "process.executable.path": path, "file.name": name, "process.executable.name": name, "file.inode": absent, "file.mode": absent,
		"process.executable.inode": absent, "process.args": count(1), "process.args.0": path,
	})
}

func script(name, interpreter string) error {
	return errors.Join(os.WriteFile(name, []byte("#!"+interpreter+"\n"), 0o600), os.Chmod(name, 0o755))
}

func numbered(n int, length int) (s []string) {
	for i := range n {
		s = append(s, fmt.Sprintf("%0*d", length, i))
	}
	return s
}

// count as a value is the length of an array.
func count(n int) func(any) error {
	return func(v any) error {
		if a, _ := v.([]any); len(a) != n {
			return fmt.Errorf("there are %d, want %d", len(a), n)
		}
		return nil
	}
}

var execCases = cases("exec", []testcase{
	{
		name: "the actor", do: func(string) error { return nil },
		want: []want{
			{typ: "fork", members: members{"process.pid": "$PID", "process.ppid": os.Getpid(), "process.is_thread": true, "process.exec_time": absent, "file": absent}},
			{typ: "exec", members: with(exeMembers("file"), exeMembers("process.executable"), argvOf([]string{"/proc/self/exe"}), members{
				"process.pid": "$PID", "process.ppid": os.Getpid(), "process.is_exec_child": absent, "process.is_thread": absent, "process.interpreter": absent,
				"process.parent.pid": os.Getpid(), "process.parent.executable.path": exePath(), "process.credentials.cap_effective.0": "CAP_AUDIT_CONTROL",
				"process.tty": absent, "process.envs": "[PICKET_SUITE_ACTOR PICKET_SUITE_DIR PATH=/usr/sbin:/usr/bin:/sbin:/bin]",
			})},
			{typ: "exit", members: with(exeMembers("file"), members{"exit.cause": "EXITED", "exit.code": 0, "process.exit_time": recent, "process.executable.name": exeName})},
		},
	},
	{
		name: "execve", // argv[0] says nothing about the file
		do: func(dir string) error {
			return errors.Join(installed(exits(0)), os.Chown("prog", 12345, 54321), os.Chtimes("prog", time.Unix(1, 0), time.Unix(1000000000, 120000000)),
				become(false, unix.AT_FDCWD, dir+"/prog", 0, "another name", "a b", "", "\xff\"é"))
		},
		want: []want{
			{typ: "exec", members: with(runs("$DIR/prog", "another name", "a b", "", `\xff"é`), itself, members{
				"file.uid": 12345, "file.gid": 54321, "file.user": absent, "file.group": absent, "file.modification_time": "2001-09-09T01:46:40.12Z",
				"file.change_time": recent, "file.filesystem": present, "file.mount_id": present, "process.comm": "prog",
				"process.executable.modification_time": "2001-09-09T01:46:40.12Z", "process.credentials.euid": 0,
			})},
			{typ: "exit", members: members{"file.path": "$DIR/prog", "exit.cause": "EXITED", "exit.code": 0, "process.argv0": "another name", "process.is_exec_child": true}},
		},
	},
	{
		name: "without argv[0]", // the kernel puts an empty one there since 5.18
		do: func(dir string) error {
			return errors.Join(installed(exits(0)), become(false, unix.AT_FDCWD, dir+"/prog", 0))
		},
		want: []want{{typ: "exec", members: with(runs("$DIR/prog"), itself, members{"process.argv0": absent, "process.args": absent, "process.args_truncated": absent})}},
	},
	{
		name: "execveat", do: func(dir string) error {
			fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
			return errors.Join(err, installed(exits(0)), os.Chdir("/"), become(false, fd, "prog", 0, "prog", "x"))
		},
		want: []want{{typ: "exec", members: with(runs("$DIR/prog", "prog", "x"), itself)}},
	},
	{
		name: "execveat of a descriptor", do: func(string) error {
			if err := installed(exits(0)); err != nil {
				return err
			}
			fd, err := unix.Open("prog", unix.O_PATH|unix.O_CLOEXEC, 0)
			return errors.Join(err, become(false, fd, "", unix.AT_EMPTY_PATH, "p"))
		},
		want: []want{{typ: "exec", members: with(runs("$DIR/prog", "p"), itself)}},
	},
	{
		name: "deleted file", do: func(string) error {
			if err := installed(exits(0)); err != nil {
				return err
			}
			fd, err := unix.Open("prog", unix.O_PATH|unix.O_CLOEXEC, 0)
			return errors.Join(err, os.Remove("prog"), become(false, fd, "", unix.AT_EMPTY_PATH, "p"))
		},
		want: []want{{typ: "exec", members: with(runs("$DIR/prog", "p"), itself)}},
	},
	{
		name: "symbolic and hard link", do: func(string) error { // the file is what the kernel opened
			return errors.Join(installed(exits(0)), os.Link("prog", "hard"), os.Symlink("hard", "soft"), become(false, unix.AT_FDCWD, "soft", 0, "soft"))
		},
		want: []want{{typ: "exec", members: with(runs("$DIR/hard", "soft"), itself, members{"process.comm": "soft"})}},
	},
	{
		name: "fileless", do: func(string) error {
			fd, err1 := unix.MemfdCreate("pay/load", 0)
			_, err2 := unix.Write(fd, program(exits(0)))
			ro, err3 := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			return errors.Join(err1, err2, err3, unix.Close(fd), become(false, ro, "", unix.AT_EMPTY_PATH, "/usr/sbin/sshd", "-D"))
		},
		want: []want{{typ: "exec", members: with(runs("", "/usr/sbin/sshd", "-D"), itself, members{
			"file.path": absent, "file.name": "memfd:pay/load", "file.mode": 0o100777, "process.executable.path": absent, "process.executable.name": "memfd:pay/load",
			"file.filesystem": matches("tmpfs|shmem"), "file.path_resolution_error": absent,
		})}},
	},
	{
		name: "fileless by path", do: func(string) error {
			fd, err1 := unix.MemfdCreate("x", unix.MFD_CLOEXEC)
			_, err2 := unix.Write(fd, program(exits(0)))
			path := "/proc/self/fd/" + strconv.Itoa(fd)
			ro, err3 := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			return errors.Join(err1, err2, err3, unix.Close(fd), become(false, unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(ro), 0, "x"))
		},
		want: []want{{typ: "exec", members: with(runs("", "x"), itself, members{
			"file.path": absent, "file.name": "memfd:x", "file.mode": 0o100777, "process.executable.path": absent, "process.executable.name": "memfd:x",
		})}},
	},
	{
		name: "script", do: func(dir string) error {
			return errors.Join(installed(exits(0)), script("run", dir+"/prog  one two"), become(false, unix.AT_FDCWD, "./run", 0, "lost", "a", "b"))
		},
		want: []want{
			{typ: "exec", members: with(scripted("$DIR/run", "$DIR/prog", "one two", "./run", "a", "b"), members{"process.comm": "run"})},
			{typ: "exit", members: members{"file.path": "$DIR/run", "process.interpreter.path": "$DIR/prog"}},
		},
	},
	{
		name: "script by a link", do: func(dir string) error {
			return errors.Join(installed(exits(0)), os.Mkdir("d", 0o755), script("d/run", dir+"/prog"), os.Symlink("d/run", "soft"), become(false, unix.AT_FDCWD, dir+"/soft", 0, "s"))
		},
		want: []want{{typ: "exec", members: scripted("$DIR/d/run", "$DIR/prog", "$DIR/soft")}},
	},
	{
		name: "script of a script", do: func(dir string) error {
			return errors.Join(installed(exits(0)), script("inner", dir+"/prog i"), script("outer", dir+"/inner o"), become(false, unix.AT_FDCWD, "outer", 0, "outer", "x"))
		},
		want: []want{{typ: "exec", members: scripted("$DIR/outer", "$DIR/prog", "i", "$DIR/inner", "o", "outer", "x")}},
	},
	{
		name: "script by a directory's descriptor", // whose name is what the interpreter is given
		do: func(dir string) error {
			fd, err := unix.Open(dir, unix.O_PATH, 0)
			return errors.Join(err, installed(exits(0)), script("run", dir+"/prog"), os.Chdir("/"), become(false, fd, "run", 0, "run"))
		},
		want: []want{{typ: "exec", members: byDescriptor("/dev/fd/[0-9]+/run")}},
	},
	{
		name: "script by its descriptor", do: func(dir string) error {
			err := errors.Join(installed(exits(0)), script("run", dir+"/prog"))
			fd, err1 := unix.Open("run", unix.O_RDONLY, 0)
			return errors.Join(err, err1, become(false, fd, "", unix.AT_EMPTY_PATH, "run"))
		},
		want: []want{{typ: "exec", members: byDescriptor("/dev/fd/[0-9]+")}},
	},
	{
		name: "by a thread that is not the first", // its number becomes that of the process
		do: func(dir string) error {
			return errors.Join(installed(exits(0)), become(true, unix.AT_FDCWD, dir+"/prog", 0, "threaded"))
		},
		want: []want{
			{typ: "exec", members: with(runs("$DIR/prog", "threaded"), itself, members{"process.ppid": os.Getpid(), "process.ancestors.1.pid": os.Getpid()})},
			{typ: "exit", members: members{"file.path": "$DIR/prog", "process.tid": "$PID", "process.ppid": os.Getpid(), "process.parent.pid": "$PID", "exit.code": 0}},
		},
	},
	{
		name: "three in a row", do: func(dir string) error {
			return errors.Join(installed(exits(0)), script("shell", "/bin/sh"), os.WriteFile("shell", []byte("#!/bin/sh\nexec /bin/sh -c 'exec ./prog last'\n"), 0o600),
				become(false, unix.AT_FDCWD, dir+"/shell", 0, "x"))
		},
		want: []want{{typ: "exec", members: with(runs("$DIR/prog", "./prog", "last"), itself, members{
			"process.parent.executable.name": present, "process.parent.is_exec_child": true, "process.parent.args.0": "-c", "process.parent.interpreter": absent,
			"process.ancestors.1.executable.path": "$DIR/shell", "process.ancestors.1.pid": "$PID", "process.ancestors.1.is_exec_child": true,
			"process.ancestors.2.executable.name": exeName, "process.ancestors.2.pid": "$PID", "process.ancestors.2.is_exec_child": absent,
			"process.ancestors.3.pid": os.Getpid(), "process.envs": present,
		})}},
	},
	{
		name: "many arguments", do: func(dir string) error {
			return errors.Join(installed(exits(0)), become(false, unix.AT_FDCWD, dir+"/prog", 0, append([]string{"p"}, numbered(300, 4)...)...))
		},
		want: []want{{typ: "exec", members: with(runs("$DIR/prog"), itself, members{
			"process.argv0": "p", "process.args": count(256), "process.args.0": "0000", "process.args.255": "0255", "process.args_truncated": true,
		})}},
	},
	{
		name: "as many arguments as there may be", do: func(dir string) error {
			return errors.Join(installed(exits(0)), become(false, unix.AT_FDCWD, dir+"/prog", 0, append([]string{"p"}, numbered(256, 10)...)...))
		},
		want: []want{{typ: "exec", members: with(runs("$DIR/prog"), itself, members{
			"process.args": count(256), "process.args.255": "0000000255", "process.args_truncated": absent,
		})}},
	},
	{
		name: "long arguments", do: func(dir string) error {
			return errors.Join(installed(exits(0)), become(false, unix.AT_FDCWD, dir+"/prog", 0, strings.Repeat("p", 300), strings.Repeat("a", 256), strings.Repeat("b", 257), "end"))
		},
		want: []want{{typ: "exec", members: with(runs("$DIR/prog"), itself, members{
			"process.argv0": strings.Repeat("p", 253) + "...", "process.args": count(3), "process.args.0": strings.Repeat("a", 256),
			"process.args.1": strings.Repeat("b", 253) + "...", "process.args.2": "end", "process.args_truncated": true,
		})}},
	},
	{
		name: "more arguments than are read", do: func(dir string) error {
			return errors.Join(installed(exits(0)), become(false, unix.AT_FDCWD, dir+"/prog", 0, append([]string{"p", strings.Repeat("x", 100000)}, numbered(100, 1000)...)...))
		},
		want: []want{{typ: "exec", members: with(runs("$DIR/prog"), itself, members{
			"process.argv0": "p", "process.args": count(1), "process.args.0": strings.Repeat("x", 253) + "...", "process.args_truncated": true, "process.envs": "[PATH=/bin SECRET]",
		})}},
	},
	{
		name: "large environment", do: func(dir string) error {
			var env []string
			for i := range 300 {
				env = append(env, fmt.Sprintf("V%d=", i)+strings.Repeat("x", 500))
			}
			return errors.Join(installed(exits(0)),
				ended(0, &os.ProcAttr{Env: env[:256]}, dir+"/prog", "long"), ended(0, &os.ProcAttr{Env: append([]string{"LD_PRELOAD=" + strings.Repeat("l", 300)}, env[:2]...)}, dir+"/prog", "preload"),
				ended(0, &os.ProcAttr{Env: numberedEnv(256)}, dir+"/prog", "256"), ended(0, &os.ProcAttr{Env: numberedEnv(257)}, dir+"/prog", "257"), ended(0, &os.ProcAttr{Env: []string{}}, dir+"/prog", "none"))
		},
		want: []want{
			{typ: "exec", other: true, members: with(ofChild, members{"process.argv0": "long", "process.envs": func(v any) error {
				if a, _ := v.([]any); len(a) < 30 || len(a) > 34 || a[0] != "V0" || a[30] != "V30" {
					return errors.New("not what 16 KiB hold")
				}
				return nil
			}, "process.envs_truncated": true, "process.args_truncated": absent})},
			{typ: "exec", other: true, members: with(ofChild, members{
				"process.argv0": "preload", "process.envs": "[LD_PRELOAD=" + strings.Repeat("l", 242) + "... V0 V1]", "process.envs_truncated": true,
			})},
			{typ: "exec", other: true, members: with(ofChild, members{"process.argv0": "256", "process.envs": count(256), "process.envs.255": "V255", "process.envs_truncated": absent})},
			{typ: "exec", other: true, members: with(ofChild, members{"process.argv0": "257", "process.envs": count(256), "process.envs_truncated": true})},
			{typ: "exec", other: true, members: with(ofChild, members{"process.argv0": "none", "process.envs": absent, "process.envs_truncated": absent})},
		},
	},
	{
		name: "on a terminal", do: func(dir string) error {
			m, err1 := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
			if err1 != nil {
				return err1
			}
			err2 := unix.IoctlSetPointerInt(int(m.Fd()), unix.TIOCSPTLCK, 0)
			n, err3 := unix.IoctlGetInt(int(m.Fd()), unix.TIOCGPTN)
			s, err4 := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
			if err := errors.Join(err2, err3, err4, installed(exits(0))); err != nil {
				return err
			}
			return ended(0, &os.ProcAttr{Files: []*os.File{s, s, s}, Sys: &syscall.SysProcAttr{Setsid: true, Setctty: true}}, dir+"/prog", "pts"+strconv.Itoa(n), "on a terminal")
		},
		want: []want{{typ: "exec", other: true, members: with(runs("$DIR/prog"), ofChild, members{
			"process.args.0": "on a terminal", "process.tty": matches("pts[0-9]+"), "process.parent.tty": absent,
		})}},
		skip: func() string {
			if _, err := os.Stat("/dev/ptmx"); err != nil {
				return "there is no /dev/ptmx"
			}
			return ""
		},
	},
	{
		name: "setuid and setgid", do: func(string) error {
			return errors.Join(installed(exits(0)), os.Chown("prog", 12345, 54321), os.Chmod("prog", 0o6755|os.ModeSetuid|os.ModeSetgid), nobody(), become(false, unix.AT_FDCWD, "./prog", 0, "p"))
		},
		want: []want{{typ: "exec", members: with(runs("$DIR/prog", "p"), itself, members{
			"file.mode": 0o106755, "process.uid": 65534, "process.user": "nobody", "process.credentials.uid": 65534, "process.credentials.euid": 12345, "process.credentials.fsuid": 12345,
			"process.credentials.gid": 65534, "process.credentials.egid": 54321, "process.credentials.fsgid": 54321, "process.credentials.euser": absent,
			"process.credentials.cap_effective": "[]", "process.credentials.cap_permitted": "[]", "process.credentials.destination": absent,
		})}},
		skip: noSetuid,
	},
	{
		name: "setuid of root", do: func(string) error {
			return errors.Join(installed(exits(0)), os.Chmod("prog", 0o755|os.ModeSetuid), nobody(), become(false, unix.AT_FDCWD, "./prog", 0, "p"))
		},
		want: []want{{typ: "exec", members: with(runs("$DIR/prog", "p"), itself, members{
			"file.mode": 0o104755, "process.uid": 65534, "process.credentials.euid": 0, "process.credentials.euser": "root", "process.credentials.uid": 65534,
			"process.credentials.cap_effective.0": "CAP_AUDIT_CONTROL", "process.parent.credentials.uid": 65534, "process.parent.credentials.cap_effective": "[]",
		})}},
		skip: noSetuid,
	},
	{
		name: "file capabilities", do: func(string) error {
			return errors.Join(installed(exits(0)), unix.Setxattr("prog", "security.capability", capNetRaw(), 0), nobody(), become(false, unix.AT_FDCWD, "./prog", 0, "p"))
		},
		want: []want{{typ: "exec", members: with(runs("$DIR/prog", "p"), itself, members{
			"process.uid": 65534, "process.credentials.euid": 65534, "process.credentials.cap_effective": "[CAP_NET_RAW]", "process.credentials.cap_permitted": "[CAP_NET_RAW]",
		})}},
		skip: func() string {
			f, err := os.CreateTemp("", "capability")
			if err != nil {
				return err.Error()
			}
			defer os.Remove(f.Name())
			defer f.Close()
			if err := unix.Fsetxattr(int(f.Fd()), "security.capability", capNetRaw(), 0); err != nil {
				return "files cannot have capabilities here: " + err.Error()
			}
			return noSetuid()
		},
	},
	{
		name: "refused and failed", do: func(string) error { // no new image, so no exec
			return errors.Join(os.WriteFile("text", []byte("no program"), 0o600), fails(become(false, unix.AT_FDCWD, "text", 0, "x"), unix.EACCES), os.Chmod("text", 0o755),
				fails(become(false, unix.AT_FDCWD, "text", 0, "x"), unix.ENOEXEC), fails(become(false, unix.AT_FDCWD, "nothing", 0, "x"), unix.ENOENT))
		},
		not: []want{{typ: "exec", members: members{"process.argv0": "x"}}, {typ: "exec", members: members{"file.name": "text"}}, {typ: "exec", members: members{"process.is_exec_child": true}}},
	},
})

func numberedEnv(n int) (env []string) {
	for i := range n {
		env = append(env, fmt.Sprintf("V%d=", i))
	}
	return env
}

// capNetRaw is a struct vfs_cap_data of revision 2: CAP_NET_RAW permitted and effective.
func capNetRaw() (b []byte) {
	for _, v := range []uint32{0x02000001, 1 << unix.CAP_NET_RAW, 0, 0, 0} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func noSetuid() string {
	var st unix.Statfs_t
	if err := unix.Statfs(os.TempDir(), &st); err == nil && st.Flags&unix.ST_NOSUID != 0 {
		return os.TempDir() + " is mounted nosuid"
	}
	return ""
}

func TestLifecycleExec(t *testing.T) { run(t, execCases, nil) }

// born are the members of a fork of the actor: the process is the child, which is still a copy of its parent.
var born = with(ofChild, members{
	"evt.outcome": "Success", "evt.category": "Process Activity", "process.is_thread": true, "process.is_kworker": absent, "process.fork_time": recent, "process.exec_time": absent,
	"process.executable.name": exeName, "process.uid": 0, "file": absent, "exit": absent, "process.parent.executable.name": exeName, "process.parent.is_thread": absent,
})

// died are the members of the exit of a child of the actor that executed nothing.
func died(cause string, code int) members {
	return with(ofChild, members{
		"evt.outcome": "Success", "evt.category": "Process Activity", "exit.cause": cause, "exit.code": code, "process.exit_time": recent, "process.is_thread": true,
		"process.exec_time": absent, "file.name": exeName,
	})
}

// diedAs is the same for a child that executed the program in the directory.
func diedAs(cause string, code int) members {
	return with(died(cause, code), members{
		"process.is_thread": absent, "process.exec_time": recent, "file.name": "prog", "file.path": "$DIR/prog", "process.executable.path": "$DIR/prog",
	})
}

const (
	cloneParent = unix.CLONE_PARENT | uintptr(unix.SIGCHLD)
	cloneVFork  = unix.CLONE_VFORK | uintptr(unix.SIGCHLD)
	endForked   = unix.SYS_EXIT_GROUP
)

var forkCases = cases("fork", []testcase{
	{
		name: "clone", do: func(string) error { return forked(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, endForked, 3) },
		want: []want{{typ: "fork", other: true, members: born}, {typ: "exit", other: true, members: died("EXITED", 3)}},
		not:  []want{{typ: "exec", other: true, members: ofChild}, {typ: "fork", members: members{"process.ppid": "$PID"}}},
	},
	{
		name: "clone with CLONE_VFORK", do: func(string) error { return forked(unix.SYS_CLONE, cloneVFork, 0, endForked, 4) },
		want: []want{{typ: "fork", other: true, members: born}, {typ: "exit", other: true, members: died("EXITED", 4)}},
	},
	{
		name: "clone3", do: func(string) error {
			args := [8]uint64{4: uint64(unix.SIGCHLD)} // the first version of struct clone_args, with its exit_signal
			return forked(unix.SYS_CLONE3, addressOf(&args), 64, endForked, 5)
		},
		want: []want{{typ: "fork", other: true, members: born}, {typ: "exit", other: true, members: died("EXITED", 5)}},
		skip: func() string {
			if lacks("clone3") {
				return "the kernel has no clone3"
			}
			return ""
		},
	},
	{
		name: "CLONE_PARENT", // the child is the actor's brother: its parent is the test, who forked it is the actor
		do: func(string) error {
			pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, cloneParent, 0, 0, 0, 0, 0)
			if e != 0 {
				return e
			}
			if pid == 0 {
				for {
					_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 6, 0, 0)
				}
			}
			for end := time.Now().Add(deadline); unix.Kill(int(pid), 0) == nil; time.Sleep(time.Millisecond) {
				if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || strings.Contains(string(stat), ") Z ") {
					break
				}
				if time.Now().After(end) {
					return errors.New("it does not end")
				}
			}
			return nil
		},
		want: []want{
			{typ: "fork", other: true, members: with(born, members{"process.ppid": func(any) error { return nil }})},
			{typ: "exit", other: true, members: with(died("EXITED", 6), members{"process.ppid": func(any) error { return nil }})},
		},
	},
	{
		name: "vfork and exec", do: func(dir string) error {
			return errors.Join(installed(exits(7)), ended(7<<8, &os.ProcAttr{}, dir+"/prog", "child", "x"))
		},
		want: []want{
			{typ: "fork", other: true, members: born},
			{typ: "exec", other: true, members: with(runs("$DIR/prog", "child", "x"), ofChild)},
			{typ: "exit", other: true, members: diedAs("EXITED", 7)},
		},
	},
	{
		name: "vfork and failed exec", do: func(dir string) error {
			_, err := spawn(&os.ProcAttr{}, dir+"/nothing", "x")
			return fails(err, unix.ENOENT)
		},
		want: []want{{typ: "fork", other: true, members: born}, {typ: "exit", other: true, members: with(died("EXITED", 253))}},
		not:  []want{{typ: "exec", other: true, members: members{"process.ppid": "$PID"}}},
	},
	{
		name: "vfork by its own number", do: func(dir string) error {
			return errors.Join(installed(vfork, exits(8)), ended(8<<8, &os.ProcAttr{}, dir+"/prog", "p"))
		},
		want: []want{
			{typ: "fork", other: true, members: members{
				"process.parent.ppid": "$PID", "process.parent.executable.path": "$DIR/prog", "process.executable.path": "$DIR/prog", "process.is_thread": true, "process.ancestors.1.pid": "$PID",
			}},
			{typ: "exit", other: true, members: members{"process.parent.ppid": "$PID", "process.ancestors.1.pid": "$PID", "exit.code": 8, "process.is_thread": true}},
			{typ: "exit", other: true, members: diedAs("EXITED", 8)},
		},
	},
	{
		name: "a thread", do: func(string) error { return onThread(func() error { return nil }) }, // is none of these
		not: []want{{typ: "fork", other: true, members: members{"process.ppid": "$PID"}}, {typ: "fork", members: members{"process.tid": func(v any) error {
			if fmt.Sprint(v) == "" {
				return errors.New("empty")
			}
			return nil
		}, "process.parent.pid": "$PID"}}, {typ: "exit", other: true, members: members{"process.ppid": "$PID"}}},
	},
	{
		name: "fork of a thread", do: func(string) error {
			return onThread(func() error { return forked(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, endForked, 9) })
		},
		want: []want{{typ: "fork", other: true, members: born}, {typ: "exit", other: true, members: died("EXITED", 9)}},
	},
})

// vfork as a call of a program. arm64 has it as flags of clone.
var vfork = map[string][]int{"amd64": {58}, "arm64": {220, unix.CLONE_VFORK | unix.CLONE_VM | int(unix.SIGCHLD), 0}}[runtime.GOARCH]

func TestLifecycleFork(t *testing.T) { run(t, forkCases, nil) }

// cores makes a core file of the actor's children be written, if max is not 0.
func cores(size uint64) error {
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: size, Max: unix.RLIM_INFINITY})
}

func noCore() string {
	b, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		return err.Error()
	}
	if s := strings.TrimSpace(string(b)); s == "" || strings.ContainsAny(s[:1], "|/@") {
		return "a core goes elsewhere here: core_pattern is " + s
	}
	return ""
}

const (
	coreDumped   = 0x80
	threadedRuns = 200
)

var exitCases = cases("exit", []testcase{
	{
		name: "codes", do: func(string) error {
			var errs []error
			for _, code := range []uintptr{0, 1, 255, 256 + 42} {
				errs = append(errs, forked(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, endForked, code))
			}
			return errors.Join(append(errs, forked(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, unix.SYS_EXIT, 77))...)
		},
		want: []want{
			{typ: "exit", other: true, members: died("EXITED", 0)},
			{typ: "exit", other: true, members: died("EXITED", 1)},
			{typ: "exit", other: true, members: died("EXITED", 255)},
			{typ: "exit", other: true, members: died("EXITED", 42)},
			{typ: "exit", other: true, members: died("EXITED", 77)},
		},
	},
	{
		name: "signals", do: func(string) error {
			var errs []error
			for _, sig := range []unix.Signal{unix.SIGKILL, unix.SIGTERM, unix.Signal(40)} {
				cmd, err := sleeper(syscall.SysProcAttr{})
				if err == nil {
					err = unix.Kill(cmd.Process.Pid, sig)
					_ = cmd.Wait()
				}
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		},
		want: []want{
			{typ: "exit", other: true, members: with(ofChild, members{"exit.cause": "SIGNALED", "exit.code": 9, "process.args.0": "60"})},
			{typ: "exit", other: true, members: with(ofChild, members{"exit.cause": "SIGNALED", "exit.code": 15})},
			{typ: "exit", other: true, members: with(ofChild, members{"exit.cause": "SIGNALED", "exit.code": 40})},
		},
	},
	{
		name: "core", do: func(dir string) error {
			return errors.Join(installed([]int{trap}), cores(unix.RLIM_INFINITY), ended(syscall.WaitStatus(unix.SIGILL)|coreDumped, &os.ProcAttr{}, dir+"/prog", "p"))
		},
		want: []want{{typ: "exit", other: true, members: diedAs("COREDUMPED", int(unix.SIGILL))}},
		skip: noCore,
	},
	{
		name: "no core by limit", do: func(dir string) error {
			return errors.Join(installed([]int{trap}), cores(0), ended(syscall.WaitStatus(unix.SIGILL), &os.ProcAttr{}, dir+"/prog", "p"))
		},
		want: []want{{typ: "exit", other: true, members: diedAs("SIGNALED", int(unix.SIGILL))}},
		skip: noCore,
	},
	{
		name: "no core of what may not be dumped", do: func(dir string) error {
			return errors.Join(installed([]int{unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0}, []int{trap}), cores(unix.RLIM_INFINITY), ended(syscall.WaitStatus(unix.SIGILL), &os.ProcAttr{}, dir+"/prog", "p"))
		},
		want: []want{{typ: "exit", other: true, members: diedAs("SIGNALED", int(unix.SIGILL))}},
		skip: noCore,
	},
	{
		name: "by a thread", do: func(string) error { return again("exit/(of a thread)", nil, 23) },
		want: []want{{typ: "exit", other: true, members: with(ofChild, members{"exit.cause": "EXITED", "exit.code": 23, "process.executable.name": exeName, "process.is_thread": absent})}},
	},
	{
		name: "many threads at once", // each with the same code: there is one event of the process, whoever is last
		do: func(dir string) error {
			thread := []int{unix.SYS_CLONE, unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD, 0, 0, 0}
			if err := installed(thread, thread, thread, thread, []int{unix.SYS_EXIT, 24}); err != nil {
				return err
			}
			for range threadedRuns {
				if err := ended(24<<8, &os.ProcAttr{}, dir+"/prog", "threads"); err != nil {
					return err
				}
			}
			return nil
		},
		want: slices.Repeat([]want{{typ: "exit", other: true, members: diedAs("EXITED", 24)}}, threadedRuns),
	},
})

var _ = cases("exit", []testcase{
	{name: "(of a thread)", do: func(string) error { return onThread(func() error { return sys(unix.SYS_EXIT_GROUP, 23) }) }},
})

func TestLifecycleExit(t *testing.T) { run(t, exitCases, nil) }

// inside are the members of what happens in the namespaces, by a process whose parent is of a process of the host's.
func inside(m members) members {
	return with(members{
		"process.pid": hostPID, "process.tid": hostPID, "process.uid": 65534, "process.user": "nobody", "process.gid": 65534, "process.group": "nogroup",
		"process.credentials.euid": 65534, "process.credentials.fsgid": 65534, "process.credentials.cap_effective.0": present, "usr.id": "nobody",
	}, m)
}

var namespaceCases = cases("namespaces", []testcase{{
	name: "user and pid", // all numbers are those of the initial namespaces
	do: func(string) error {
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}}
		return errors.Join(os.Chmod(".", 0o777), again("namespaces/(inside)", &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID, Credential: &syscall.Credential{}, UidMappings: ids, GidMappings: ids,
		}, 0))
	},
	want: []want{
		{typ: "fork", other: true, members: members{"process.ppid": "$PID", "process.pid": hostPID, "process.parent.pid": "$PID"}},
		{typ: "exec", other: true, members: inside(members{"process.ppid": "$PID", "process.parent.pid": "$PID", "process.parent.uid": 0, "process.executable.name": exeName})},
		{typ: "fork", other: true, members: inside(members{"process.ppid": hostPID, "process.parent.ppid": "$PID", "process.ancestors.1.pid": "$PID"})},
		{typ: "exit", other: true, members: inside(members{"exit.code": 31, "process.ppid": hostPID, "process.parent.ppid": "$PID", "process.parent.uid": 65534, "process.ancestors.1.pid": "$PID"})},
		{typ: "exec", other: true, members: inside(members{
			"file.path": "$DIR/prog", "file.uid": 65534, "file.user": "nobody", "file.gid": 65534, "process.parent.ppid": "$PID", "process.ancestors.1.pid": "$PID",
		})},
		{typ: "exit", other: true, members: inside(members{"exit.code": 32, "file.path": "$DIR/prog", "process.parent.ppid": "$PID"})},
		{typ: "exit", other: true, members: inside(members{"exit.code": 0, "process.ppid": "$PID", "process.executable.name": exeName})},
	},
	skip: func() string {
		for _, file := range []string{"max_user_namespaces", "max_pid_namespaces"} {
			if b, err := os.ReadFile("/proc/sys/user/" + file); err != nil || string(b) == "0\n" {
				return "there can be no such namespaces here: " + file
			}
		}
		return ""
	},
}})

var _ = cases("namespaces", []testcase{{name: "(inside)", do: func(dir string) error {
	if os.Getpid() != 1 || os.Getuid() != 0 {
		return fmt.Errorf("pid %d, uid %d", os.Getpid(), os.Getuid())
	}
	return errors.Join(forked(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, endForked, 31), installed(exits(32)), ended(32<<8, &os.ProcAttr{}, dir+"/prog", "p"))
}}})

func TestLifecycleNamespaces(t *testing.T) { run(t, namespaceCases, nil) }
