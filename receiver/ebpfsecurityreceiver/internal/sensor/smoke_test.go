// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package sensor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/event"
)

// kernelLargefile is O_LARGEFILE as the kernel of amd64 has it; in Go's unix package it is 0 there.
const kernelLargefile = 0o100000

const actorEnv = "PICKET_TEST_ACTOR"

// TestMain turns the test binary into the watched process: the sensor leaves out its own process.
func TestMain(m *testing.M) {
	if dir := os.Getenv(actorEnv); dir != "" {
		runtime.LockOSThread()
		if err := act(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(7)
	}
	if what := os.Getenv(probeEnv); what != "" {
		os.Exit(probeIn(what))
	}
	if os.Getenv(openerEnv) != "" {
		os.Exit(opener())
	}
	os.Exit(m.Run())
}

// act does each kind of operation once, by the syscalls themselves.
func act(dir string) error {
	var errs []error
	check := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	check("chdir", unix.Chdir(dir))
	fd, err := unix.Open("a", unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	check("open", err)
	check("fchmod", unix.Fchmod(fd, 0o640))
	check("fchown", unix.Fchown(fd, 12, 34))
	check("futimens", unix.UtimesNanoAt(fd, "", []unix.Timespec{{Sec: 1, Nsec: 2}, {Nsec: unix.UTIME_OMIT}}, unix.AT_EMPTY_PATH))
	anyXattr(unix.Fsetxattr(fd, "user.smoke", []byte("x"), 0), check)
	anyXattr(unix.Removexattr("a", "user.smoke"), check)
	check("symlink", unix.Symlinkat("to/where", unix.AT_FDCWD, "s"))
	check("mkdir", unix.Mkdir(filepath.Join(dir, "d"), 0o755))
	check("rename", unix.Renameat(unix.AT_FDCWD, "a", unix.AT_FDCWD, "d/../d/b"))
	check("link", unix.Linkat(unix.AT_FDCWD, "d/b", unix.AT_FDCWD, "c", 0))
	check("chmod", unix.Fchmodat(unix.AT_FDCWD, "c", 0o4755, 0))
	check("chown", unix.Lchown("c", 56, 78))
	check("truncate", unix.Truncate("c", 0))
	check("unlink", unix.Unlink("c"))
	check("unlinkat", unix.Unlinkat(unix.AT_FDCWD, "d/b", 0))
	check("rmdir", unix.Unlinkat(unix.AT_FDCWD, "d", unix.AT_REMOVEDIR))
	check("truncate of a descriptor", unix.Ftruncate(fd, 0))
	root, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	check("open of the root directory", err)
	check("chroot", unix.Chroot(dir))
	check("fchdir", unix.Fchdir(root))
	check("chroot back", unix.Chroot("."))
	check("chdir back", unix.Chdir(dir))
	if err := unix.Exec("./missing", nil, nil); !errors.Is(err, unix.ENOENT) {
		check("exec of what is missing", fmt.Errorf("want ENOENT, got %w", err))
	}
	if _, err := unix.Open("missing", unix.O_RDONLY, 0); !errors.Is(err, unix.ENOENT) {
		check("open of what is missing", fmt.Errorf("want ENOENT, got %w", err))
	}
	check("unshare", unix.Unshare(unix.CLONE_NEWNS))
	check("private mounts", unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	check("mount", unix.Mount("what", dir+"/m", mountType(), unix.MS_NOSUID, ""))
	if mountType() == "selinuxfs" {
		e, err := unix.Open(dir+"/m/enforce", unix.O_WRONLY|unix.O_CLOEXEC, 0)
		check("open of enforce", err)
		_, err = unix.Write(e, []byte("0"))
		check("write to enforce", err)
		check("close", unix.Close(e))
	}
	check("umount", unix.Unmount(dir+"/m", unix.MNT_DETACH))
	if hasFileSystem("overlay") {
		check("mount of an overlay", unix.Mount("over", dir+"/m", "overlay", 0, "lowerdir="+dir+"/l,upperdir="+dir+"/u,workdir="+dir+"/w"))
		for _, name := range []string{"low", "up"} {
			f, err := unix.Open(dir+"/m/"+name, unix.O_RDONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
			check("open on the overlay", errors.Join(err, unix.Close(f)))
		}
	}
	module, err := unix.Open(smokeModule(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	check("open of the module", err)
	check("finit_module", loads(unix.FinitModule(module, "numdummies=1", 0)))
	check("delete_module", loads(unix.DeleteModule("dummy", unix.O_NONBLOCK)))
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	check("socket", err)
	check("bind", unix.Bind(s, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	check("kill", unix.Kill(os.Getpid(), unix.SIGWINCH))
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	check("mmap", err)
	check("mprotect", unix.Mprotect(page, unix.PROT_READ))
	check("splice", splice(dir))
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "picket_smoke", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	check("bpf", err)
	check("close", m.Close())
	check("connect", unix.Connect(s, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9}))
	for range 2 {
		if err := noSyscall(); !errors.Is(err, unix.ENOSYS) {
			check("a number that is no syscall", fmt.Errorf("want ENOSYS, got %w", err))
		}
	}
	_ = ioUring()
	check("sysinfo", together(8, func() error { return unix.Sysinfo(&unix.Sysinfo_t{}) }))
	if os.Getuid() == 0 {
		const nobody = 65534
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); e != 0 { // of this thread only
			check("setresuid", e)
		}
		if _, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_ATTACH, uintptr(os.Getppid()), 1, 2, 0, 0); e != unix.EPERM {
			check("ptrace as nobody", fmt.Errorf("want EPERM, got %w", e))
		}
		if err := unix.Kill(os.Getppid(), unix.SIGURG); !errors.Is(err, unix.EPERM) {
			check("kill as nobody", fmt.Errorf("want EPERM, got %w", err))
		}
		if _, err := unix.Open(filepath.Join(dir, "a2"), unix.O_CREAT|unix.O_WRONLY, 0o644); !errors.Is(err, unix.EACCES) {
			check("open as nobody", fmt.Errorf("want EACCES, got %w", err))
		}
	}
	return errors.Join(errs...)
}

// mountType is a file system that the kernel has: that of SELinux, so that it is written to, or another one.
func mountType() string {
	if hasSELinux() {
		return "selinuxfs"
	}
	return "tmpfs"
}

// smokeModule is a module of the kernel in guests, and elsewhere a file that is none.
func smokeModule() string {
	if exe, err := os.Executable(); err == nil {
		if module := filepath.Join(filepath.Dir(exe), "dummy.ko"); fileExists(module) {
			return module
		}
	}
	return "/proc/self/exe"
}

// hasOverlay says whether the kernel has overlayfs, which can be a module that lies beside the test, as in guests.
func hasOverlay() bool {
	if exe, err := os.Executable(); err == nil && !hasFileSystem("overlay") {
		if f, err := os.Open(filepath.Join(filepath.Dir(exe), "overlay.ko")); err == nil {
			defer f.Close()
			_ = unix.FinitModule(int(f.Fd()), "", 0)
		}
	}
	return hasFileSystem("overlay")
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// moduleErrors are what a kernel without modules says, and one that is given no module.
var moduleErrors = []unix.Errno{unix.ENOSYS, unix.ENOEXEC, unix.ENOENT}

func loads(err error) error {
	if !strings.HasSuffix(smokeModule(), ".ko") && slices.ContainsFunc(moduleErrors, func(e unix.Errno) bool { return errors.Is(err, e) }) {
		return nil
	}
	return err
}

// Numbers that are the same on all architectures, and one that is none's.
const (
	ioUringSetup = 425
	noSyscallNr  = 4000
)

// ioUring makes a ring and closes it; kernels can be without, and refuse it.
func ioUring() error {
	var params [120]byte // struct io_uring_params
	fd, _, e := unix.RawSyscall(ioUringSetup, 1, uintptr(unsafe.Pointer(&params)), 0)
	if e != 0 {
		return e
	}
	return unix.Close(int(fd))
}

// together does something in n threads in the same instant.
func together(n int, do func() error) error {
	var ready, done sync.WaitGroup
	errs := make([]error, n)
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			runtime.LockOSThread() // which ends with this function
			ready.Done()
			ready.Wait()
			errs[i] = do()
		})
	}
	done.Wait()
	return errors.Join(errs...)
}

func noSyscall() error {
	_, _, e := unix.RawSyscall(noSyscallNr, 0, 0, 0)
	return e
}

// splice moves a byte from a file to a pipe.
func splice(dir string) error {
	path := filepath.Join(dir, "spliced")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		return err
	}
	_, err = unix.Splice(int(f.Fd()), nil, p[1], nil, 1, 0)
	return err
}

// xattrErrors are what a file system without such attributes says.
var xattrErrors = []unix.Errno{unix.EOPNOTSUPP, unix.ENODATA}

func anyXattr(err error, check func(string, error)) {
	if err != nil && !slices.ContainsFunc(xattrErrors, func(e unix.Errno) bool { return errors.Is(err, e) }) {
		check("extended attribute", err)
	}
}

// names joins the names of a walk, which are leaf first.
func names(s Segment) string {
	parts := strings.Split(strings.TrimSuffix(string(s.Data), "\x00"), "\x00")
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteString("/" + parts[i])
	}
	return b.String()
}

type seen struct {
	typ                   event.Type
	retval                int64
	path, str, str2, base string
	flags, mode, uid, gid uint32
	fileMode, fileUID     uint32
	oldMode, oldUID       uint32 // before the call
	text                  string
	data                  int
	addr                  string
	target                uint32 // pid, or the uid before
	layer                 uint32 // of a file on an overlay
}

// TestSmoke loads every program, attaches them, and looks at the records of one process that does everything once. It is
// what runs in guests of other kernels, too.
func TestSmoke(t *testing.T) {
	collectortest.NeedRoot(t, collectortest.LoadBPF)
	for _, obj := range objects {
		t.Run(obj.name, func(t *testing.T) {
			running, err := kernelVersion()
			require.NoError(t, err)
			if obj.name == "direct" && running.less(version{6, 2}) {
				_, err := Open(&Options{Types: event.AllTypes, RingSize: 1 << 20, object: obj.name})
				require.ErrorIs(t, err, ebpf.ErrNotSupported)
				t.Skipf("kernel %d.%d has no bpf_rdonly_cast (6.2); that it says so was checked", running[0], running[1])
			}
			smoke(t, obj.name)
		})
	}
}

func smoke(t *testing.T, object string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	require.NoError(t, os.Chmod(dir, 0o755))
	for _, name := range []string{"m", "l", "u", "w"} {
		require.NoError(t, os.Mkdir(dir+"/"+name, 0o755))
	}
	require.NoError(t, os.WriteFile(dir+"/l/low", nil, 0o600))
	overlay := hasOverlay()
	o := Options{Types: event.AllTypes, RingSize: 1 << 20, object: object, Scope: Scope{Trees: []uint32{uint32(os.Getpid())}}}
	o.Errors[event.TypeExec] = []unix.Errno{unix.ENOENT}
	o.Errors[event.TypeLoadModule], o.Errors[event.TypeUnloadModule] = moduleErrors, moduleErrors
	o.Errors[event.TypeSetXattr], o.Errors[event.TypeRemoveXattr] = xattrErrors, xattrErrors
	s, err := Open(&o)
	require.NoError(t, err)
	defer s.Close()
	require.Equal(t, object, s.Object)

	self, others := 0, 0
	require.NoError(t, s.Snapshot(func(r *Record, err error) {
		require.NoError(t, err)
		if r.Pid == uint32(os.Getpid()) {
			self++
			require.Equal(t, bpf.InScope|bpf.Snapshot, r.Flags)
			require.Equal(t, uint32(os.Getppid()), r.Exec().Ppid)
			exe, err := os.Readlink("/proc/self/exe")
			require.NoError(t, err)
			require.Equal(t, exe, names(r.Segments[bpf.SegPath]))
			return
		}
		others++
		require.Zero(t, r.Flags&bpf.InScope, "a process outside of the tree")
	}))
	require.Equal(t, 1, self)
	require.Positive(t, others)

	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, "-test.run", "none", "--secret")
	cmd.Env = []string{actorEnv + "=" + dir, "LANG=C"}
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	pid := uint32(cmd.Process.Pid)
	err = cmd.Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 7, exit.ExitCode(), "the actor failed")

	var (
		got   []seen
		done  bool
		image uint64
	)
	used := map[string]int{} // how often each syscall was used for the first time, by name or number
	for deadline := time.Now().Add(60 * time.Second); !done && time.Now().Before(deadline); {
		_, err := s.Drain(5*time.Millisecond, func(r *Record, err error) {
			require.NoError(t, err)
			if r.Flags&bpf.InScope == 0 || (r.Pid != pid && r.Type != uint8(event.TypeFork)) {
				return
			}
			e := seen{typ: event.Type(r.Type), retval: r.Retval, path: names(r.Segments[bpf.SegPath])}
			switch e.typ {
			case event.TypeExec:
				require.Equal(t, strings.Join(append([]string{exe}, cmd.Args[1:]...), "\x00")+"\x00", string(r.Segments[bpf.SegArgs].Data))
				require.Equal(t, strings.Join(cmd.Env, "\x00")+"\x00", string(r.Segments[bpf.SegEnvs].Data))
				require.NotEqual(t, r.Id, r.Exec().PrevId)
				image = r.Id
				require.Equal(t, uint32(os.Getpid()), r.Exec().Ppid)
				require.Equal(t, uint32(unix.S_IFREG), r.Exec().Exe.Mode&unix.S_IFMT)
			case event.TypeFork:
				if r.Fork().ChildPid != pid {
					return
				}
				require.NotZero(t, r.Fork().ChildId)
			case event.TypeExit:
				require.Equal(t, uint32(7<<8), r.Exit().Code)
				done = true
			case event.TypeConnect, event.TypeBind:
				n := r.Net()
				require.Equal(t, uint16(unix.AF_INET), n.Family)
				require.Equal(t, uint16(unix.IPPROTO_UDP), n.Protocol)
				e.addr = net.IP(n.Saddr[:4]).String() + ">" + net.IP(n.Daddr[:4]).String()
				require.NotZero(t, n.Sport)
			case event.TypeSetUID:
				old, ok := r.OldCreds()
				require.True(t, ok)
				e.uid, e.target = r.Uid, old.Uid
			case event.TypeSignal, event.TypePTrace:
				e.flags, e.target = r.Target().Request, r.Target().Pid
				if e.typ == event.TypeSignal && e.flags != uint32(unix.SIGWINCH) && e.target == pid {
					return // the Go runtime's own
				}
				require.NotZero(t, r.Target().Id)
			case event.TypeMMap, event.TypeMProtect:
				m := r.Mem()
				if e.typ == event.TypeMMap && (m.Prot != unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC || m.Flags&unix.MAP_ANONYMOUS == 0) {
					return // libraries
				}
				e.retval, e.flags, e.mode = 0, m.Prot, uint32(m.VmFlags)&0xf
				require.Equal(t, uint64(os.Getpagesize()), m.Length)
			case event.TypeSplice:
				k := r.Splice()
				require.Equal(t, uint32(3), k.Known)
				e.flags = k.EntryFlags
			case event.TypeBPF:
				k := r.BPF()
				if unix.ByteSliceToString(unsafe.Slice((*byte)(unsafe.Pointer(&k.MapName)), len(k.MapName))) != "picket_smoke" || k.Cmd != unix.BPF_MAP_CREATE {
					return // what the library finds out about the kernel
				}
				require.NotZero(t, k.MapId)
				e.retval, e.mode = 0, k.MapType
			case event.TypeMount:
				m := r.Mount()
				e.str, e.str2, e.text = string(r.Segments[bpf.SegString].Data), string(r.Segments[bpf.SegString2].Data), string(r.Segments[bpf.SegName].Data)
				e.flags = m.Flags
				if e.str2 == "what" {
					require.Equal(t, mountType(), unix.ByteSliceToString(unsafe.Slice((*byte)(unsafe.Pointer(&m.Root.Fstype)), len(m.Root.Fstype))))
					require.NotZero(t, m.Root.MountId)
					require.NotZero(t, m.ParentId)
					require.NotEqual(t, m.ParentId, m.Root.MountId)
					require.Equal(t, uint32(1), m.Whole)
				}
			case event.TypeLoadModule, event.TypeUnloadModule:
				e.retval = 0 // what it is without modules does not matter
				e.text, e.str = string(r.Segments[bpf.SegName].Data), unix.ByteSliceToString(r.Segments[bpf.SegData].Data)
				if strings.HasSuffix(smokeModule(), ".ko") {
					require.Zero(t, r.Retval)
				}
			case event.TypeSELinux:
				e.str = string(r.Segments[bpf.SegData].Data)
				e.fileMode = r.FileOp().File.Mode & unix.S_IFMT
			case event.TypeSyscalls:
				if r.Id != image { // the child that is to execute it
					return
				}
				used[r.UsedName()]++
				return
			case typeIOUring:
				e.retval = 0 // the descriptor
			default:
				op := r.FileOp()
				e.str, e.str2, e.base = string(r.Segments[bpf.SegString].Data), string(r.Segments[bpf.SegString2].Data), names(r.Segments[bpf.SegBase])
				e.flags, e.mode, e.uid, e.gid = op.Flags, op.Mode, op.Uid, op.Gid
				e.fileMode, e.fileUID = op.File.Mode, op.File.Uid
				e.layer = op.File.Flags & (bpf.FileOverlay | bpf.FileUpper)
				old, _ := r.OldFile()
				e.oldMode, e.oldUID = old.Mode, old.Uid
				e.text, e.data = string(r.Segments[bpf.SegName].Data), len(r.Segments[bpf.SegData].Data)
			}
			if e.typ == event.TypeSetXattr || e.typ == event.TypeRemoveXattr {
				e.retval = 0 // whether the file system has any does not matter
			}
			if e.typ == event.TypeOpen {
				if !strings.Contains(e.path+e.str, dir) && e.str != "c" && e.flags&unix.O_PATH == 0 {
					return // what the Go runtime opens
				}
				e.retval = min(e.retval, 0)                    // which descriptor is of no interest
				e.flags &^= unix.O_LARGEFILE | kernelLargefile // comes from the runtime
			}
			got = append(got, e)
		})
		require.NoError(t, err)
	}
	require.True(t, done, "no exit within a minute")

	smokePath, smokeName := smokeModule(), "dummy"
	if !strings.HasSuffix(smokePath, ".ko") {
		smokePath, smokeName = exe, ""
	}
	want := []seen{
		{typ: event.TypeFork, path: "/"},
		{typ: event.TypeExec, path: exe},
		{typ: event.TypeChdir, path: dir, str: dir, fileMode: unix.S_IFDIR | 0o755},
		{typ: event.TypeOpen, path: dir + "/a", flags: unix.O_CREAT | unix.O_RDWR | unix.O_CLOEXEC, mode: 0o600, fileMode: unix.S_IFREG | 0o600},
		{typ: event.TypeChmod, path: dir + "/a", mode: 0o640, fileMode: unix.S_IFREG | 0o640, oldMode: unix.S_IFREG | 0o600},
		{typ: event.TypeChown, path: dir + "/a", uid: 12, gid: 34, fileMode: unix.S_IFREG | 0o640, fileUID: 12, oldMode: unix.S_IFREG | 0o640},
		{typ: event.TypeUtimes, path: dir + "/a", flags: unix.AT_EMPTY_PATH, fileMode: unix.S_IFREG | 0o640, fileUID: 12, oldMode: unix.S_IFREG | 0o640, oldUID: 12, data: 32},
		{typ: event.TypeSetXattr, path: dir + "/a", text: "user.smoke", fileMode: unix.S_IFREG | 0o640, fileUID: 12, oldMode: unix.S_IFREG | 0o640, oldUID: 12},
		{typ: event.TypeRemoveXattr, str: "a", base: dir, text: "user.smoke"},
		{typ: event.TypeSymlink, str: "s", base: dir, text: "to/where"},
		{typ: event.TypeMkdir, str: dir + "/d", mode: 0o755},
		{typ: event.TypeRename, str: "a", str2: "d/../d/b", base: dir},
		{typ: event.TypeLink, str: "d/b", str2: "c", base: dir},
		{typ: event.TypeChmod, str: "c", base: dir, mode: 0o4755},
		// lchown(2) on amd64, fchownat with the flag on arm64: they say the same
		{typ: event.TypeChown, str: "c", base: dir, uid: 56, gid: 78, flags: unix.AT_SYMLINK_NOFOLLOW},
		{typ: event.TypeOpen, str: "c", base: dir, flags: unix.O_WRONLY | unix.O_TRUNC},
		{typ: event.TypeUnlink, str: "c", base: dir},
		{typ: event.TypeUnlink, str: "d/b", base: dir},
		{typ: event.TypeRmdir, str: "d", base: dir, flags: unix.AT_REMOVEDIR},
		{typ: event.TypeOpen, path: dir + "/d/b", flags: unix.O_WRONLY | unix.O_TRUNC, fileMode: unix.S_IFREG | 0o755, fileUID: 56},
		{typ: event.TypeOpen, flags: unix.O_PATH | unix.O_CLOEXEC, fileMode: unix.S_IFDIR | 0o755},
		{typ: event.TypeChroot, path: dir, str: dir, fileMode: unix.S_IFDIR | 0o755},
		{typ: event.TypeChdir, fileMode: unix.S_IFDIR | 0o755},
		{typ: event.TypeChroot, str: ".", fileMode: unix.S_IFDIR | 0o755},
		{typ: event.TypeChdir, path: dir, str: dir, fileMode: unix.S_IFDIR | 0o755},
		{typ: typeExecFailed, retval: -int64(unix.ENOENT), str: "./missing", base: dir},
		{typ: event.TypeMount, str: "/", str2: "none", flags: unix.MS_REC | unix.MS_PRIVATE},
		{typ: event.TypeMount, path: dir + "/m", str: dir + "/m", str2: "what", text: mountType(), flags: unix.MS_NOSUID},
		{typ: event.TypeOpen, path: dir + "/m/enforce", flags: unix.O_WRONLY | unix.O_CLOEXEC, fileMode: unix.S_IFREG | 0o644},
		{typ: event.TypeSELinux, path: dir + "/m/enforce", str: "0", fileMode: unix.S_IFREG, retval: 1},
		{typ: event.TypeUmount, str: dir + "/m", flags: unix.MNT_DETACH},
		{typ: event.TypeMount, path: dir + "/m", str: dir + "/m", str2: "over", text: "overlay"},
		{
			typ: event.TypeOpen, path: dir + "/m/low", flags: unix.O_CREAT | unix.O_CLOEXEC, mode: 0o600, fileMode: unix.S_IFREG | 0o600,
			layer: bpf.FileOverlay,
		},
		{
			typ: event.TypeOpen, path: dir + "/m/up", flags: unix.O_CREAT | unix.O_CLOEXEC, mode: 0o600, fileMode: unix.S_IFREG | 0o600,
			layer: bpf.FileOverlay | bpf.FileUpper,
		},
		{typ: event.TypeLoadModule, path: smokePath, text: "numdummies=1", str: smokeName},
		{typ: event.TypeUnloadModule, text: "dummy"},
		{typ: event.TypeBind, path: "/", addr: "127.0.0.1>0.0.0.0"},
		{typ: event.TypeSignal, path: "/", flags: uint32(unix.SIGWINCH), target: pid},
		{typ: event.TypeMMap, path: "/", flags: unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC},
		{typ: event.TypeMProtect, path: "/", flags: unix.PROT_READ, mode: unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC},
		{typ: event.TypeOpen, path: dir + "/spliced", flags: unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC | unix.O_CLOEXEC, mode: 0o600, fileMode: unix.S_IFREG | 0o600},
		{typ: event.TypeOpen, path: dir + "/spliced", flags: unix.O_CLOEXEC, fileMode: unix.S_IFREG | 0o600},
		{typ: event.TypeSplice, path: dir + "/spliced", retval: 1},
		{typ: event.TypeBPF, path: "/", mode: unix.BPF_MAP_TYPE_ARRAY},
		{typ: event.TypeConnect, path: "/", addr: "127.0.0.1>127.0.0.1"},
		{typ: typeIOUring, path: "/"},
		{typ: event.TypeSetUID, path: "/", uid: 65534},
		{typ: event.TypePTrace, path: "/", retval: -int64(unix.EPERM), flags: unix.PTRACE_ATTACH, target: uint32(os.Getpid())},
		{typ: event.TypeSignal, path: "/", retval: -int64(unix.EPERM), flags: uint32(unix.SIGURG), target: uint32(os.Getpid())},
		{typ: event.TypeOpen, str: dir + "/a2", retval: -int64(unix.EACCES), flags: unix.O_CREAT | unix.O_WRONLY, mode: 0o644},
		{typ: event.TypeExit, path: "/"},
	}
	if !overlay {
		t.Log("the kernel has no overlayfs")
		want = slices.DeleteFunc(want, func(e seen) bool { return e.text == "overlay" || e.layer != 0 })
	}
	if !hasSELinux() {
		want = slices.DeleteFunc(want, func(e seen) bool { return e.typ == event.TypeSELinux || strings.HasSuffix(e.path, "/enforce") })
	}
	if err := ioUring(); err != nil {
		t.Log("no record of io_uring was looked for:", err)
		want = slices.DeleteFunc(want, func(e seen) bool { return e.typ == typeIOUring })
	}
	for i := range want {
		if want[i].path == "" {
			want[i].path = "/"
		}
		if want[i].base == "" && (want[i].typ >= event.TypeOpen && want[i].typ <= event.TypeLink || want[i].typ >= event.TypeSymlink && want[i].typ <= event.TypeChroot || want[i].typ == event.TypeUmount) {
			want[i].base = "/"
		}
	}
	require.Equal(t, want, got)
	for _, name := range []string{"chdir", "openat", "setresuid", "sysinfo", "io_uring_setup", "kill", "exit_group", strconv.Itoa(noSyscallNr)} {
		require.Positive(t, used[name], name)
	}
	for name, n := range used {
		// Without atomic operations, threads can be told twice of what they do in the same instant.
		require.True(t, n == 1 || object == "portable" && n <= 8, "%s: first used %d times", name, n)
	}

	losses, err := s.Losses()
	require.NoError(t, err)
	require.Equal(t, Losses{}, losses)
}
