// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package sensor

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/bpf"
)

// ErrPrivilege and ErrUnsupported tell why the kernel side cannot run: the user may not, or the kernel cannot.
var (
	ErrPrivilege   = errors.New("missing privileges")
	ErrUnsupported = errors.New("kernel not supported")
)

const btfPath = "/sys/kernel/btf/vmlinux"

// Probe finds out whether the syscall backend can run, by loading and attaching its smallest program: asking for features
// misleads (a kernel may allow one attach type of a program type and refuse the next).
func Probe() error {
	if _, err := os.Stat(btfPath); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s has no BTF (%s is missing): a kernel of 5.10 or later built with CONFIG_DEBUG_INFO_BTF=y is needed, "+
			"as the distributions' are; in a container /sys must be mounted", ErrUnsupported, kernelName(), btfPath)
	}
	if missing := missingCapabilities(); len(missing) > 0 {
		return fmt.Errorf("%w: %s not effective: run as root, or grant %s (5.8 and later; in Kubernetes securityContext.capabilities.add)",
			ErrPrivilege, strings.Join(missing, " and "), strings.Join(missing, ", "))
	}
	// Before 5.11 BPF memory counts against RLIMIT_MEMLOCK; later kernels need nothing, and then nothing is done.
	memlock := rlimit.RemoveMemlock()
	var objs bpf.ProbeObjects
	err := bpf.LoadProbeObjects(&objs, nil)
	if err == nil {
		defer objs.Close()
		var l link.Link
		if l, err = link.AttachTracing(link.TracingOptions{Program: objs.PicketProbeTpBtf}); err == nil {
			return l.Close()
		}
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		// Where bpf(2) is forbidden altogether, that what memory counts against cannot be found out proves nothing.
		if v, err := kernelVersion(); memlock != nil && (err != nil || v.less(version{5, 11})) {
			return fmt.Errorf("%w: raise RLIMIT_MEMLOCK, against which %s counts BPF memory (CAP_SYS_RESOURCE, or LimitMEMLOCK=infinity): %w",
				ErrPrivilege, kernelName(), memlock)
		}
		return fmt.Errorf("%w: %s refuses BPF tracepoint programs although the capabilities are there: a seccomp profile, "+
			"lockdown=confidentiality or a security module forbids bpf(2): %w", ErrUnsupported, kernelName(), err)
	}
	return fmt.Errorf("%w: %s cannot run BPF tracepoint programs (tp_btf): %w", ErrUnsupported, kernelName(), err)
}

func kernelName() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "the kernel"
	}
	return "kernel " + unix.ByteSliceToString(u.Release[:])
}

// missingCapabilities names what of the needed capabilities is not effective. CAP_SYS_ADMIN stands for the others.
func missingCapabilities() (missing []string) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) != nil {
		return nil
	}
	has := func(c int) bool { return data[c/32].Effective&(1<<(c%32)) != 0 }
	if has(unix.CAP_SYS_ADMIN) {
		return nil
	}
	for _, c := range []struct {
		bit  int
		name string
	}{{unix.CAP_BPF, "CAP_BPF"}, {unix.CAP_PERFMON, "CAP_PERFMON"}} {
		if !has(c.bit) {
			missing = append(missing, c.name)
		}
	}
	return missing
}

// renameLock finds the address of the kernel's rename_lock; 0 if it is hidden or not listed.
func renameLock() uint64 {
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return 0
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		if line := sc.Bytes(); bytes.HasSuffix(line, []byte(" rename_lock")) {
			addr, _, _ := bytes.Cut(line, []byte(" "))
			n, err := strconv.ParseUint(string(addr), 16, 64)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}
