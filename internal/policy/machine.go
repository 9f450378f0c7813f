// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bufio"
	"io"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine holds the facts that filters ask for. They are those of the machine that loads the policies.
type Machine struct {
	OS            string            // linux
	OSRelease     map[string]string // of /etc/os-release
	KernelRelease string            // uname -r
	KernelBTF     bool              // the kernel has type information
	Hostname      string
	Envs          []string // NAME=value, of this process
	Origin        string   // ebpf
}

// ThisMachine reads the facts of the machine it runs on; what cannot be read is empty.
func ThisMachine() Machine {
	m := Machine{OS: runtime.GOOS, Envs: os.Environ(), Origin: "ebpf"}
	m.Hostname, _ = os.Hostname()
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if f, err := os.Open(path); err == nil {
			m.OSRelease = parseOSRelease(f)
			_ = f.Close()
			break
		}
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.KernelRelease = unix.ByteSliceToString(u.Release[:])
	}
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	m.KernelBTF = err == nil
	return m
}

// parseOSRelease reads the form of os-release(5).
func parseOSRelease(r io.Reader) map[string]string {
	out := map[string]string{}
	sc := bufio.NewScanner(io.LimitReader(r, 64<<10))
	for sc.Scan() {
		name, value, ok := strings.Cut(strings.TrimSpace(sc.Text()), "=")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if unquoted, err := strconv.Unquote(value); err == nil {
			value = unquoted
		} else {
			value = strings.Trim(value, `'"`)
		}
		out[name] = value
	}
	return out
}

var kernelRelease = regexp.MustCompile(`^(\d+)\.(\d+)(?:\.(\d+))?(?:-(\d+))?(?:[-.+](.*))?$`)

// filterValue is a bool, int64, string or []string.
type filterValue any

// filterFields are the names that a filter may use.
func (m *Machine) filterFields() map[string]filterValue {
	id, versionID, platform := m.OSRelease["ID"], m.OSRelease["VERSION_ID"], m.OSRelease["PLATFORM_ID"]
	isRHEL := id == "rhel" || id == "centos" || id == "rocky" || id == "almalinux"
	isSLES := id == "sles" || id == "sled"
	major, _, _ := strings.Cut(versionID, ".")
	var kernel [5]string
	if k := kernelRelease.FindStringSubmatch(m.KernelRelease); k != nil {
		copy(kernel[:], k[1:])
	}
	number := func(s string) int64 { n, _ := strconv.ParseInt(s, 10, 64); return n }
	return map[string]filterValue{
		"os":                    m.OS,
		"os.id":                 id,
		"os.platform_id":        platform,
		"os.version_id":         versionID,
		"os.is_amazon_linux":    id == "amzn",
		"os.is_cos":             id == "cos",
		"os.is_debian":          id == "debian",
		"os.is_oracle":          id == "ol",
		"os.is_rhel":            isRHEL,
		"os.is_rhel7":           isRHEL && major == "7",
		"os.is_rhel8":           isRHEL && major == "8",
		"os.is_sles":            isSLES,
		"os.is_sles12":          isSLES && major == "12",
		"os.is_sles15":          isSLES && major == "15",
		"kernel.version.major":  number(kernel[0]),
		"kernel.version.minor":  number(kernel[1]),
		"kernel.version.patch":  number(kernel[2]),
		"kernel.version.abi":    kernel[3],
		"kernel.version.flavor": kernel[4],
		"kernel.core.enabled":   m.KernelBTF,
		"envs":                  m.Envs,
		"origin":                m.Origin,
		"hostname":              m.Hostname,
	}
}
