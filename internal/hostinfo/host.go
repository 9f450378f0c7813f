// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

// Package hostinfo tells what machine this is and what time it is there.
package hostinfo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/event"
)

// The values of event.Host.IDSource, in the order in which they are tried.
const (
	IDFromConfig    = "config"
	IDFromDMI       = "dmi"
	IDFromMachineID = "machine-id"
	IDFromKubeNode  = "kubernetes"
)

// maxFile bounds what is read of a file, in bytes.
const maxFile = 64 << 10

// Options say where Detect looks.
type Options struct {
	Root   string                        // of the file system; "/" if empty
	Getenv func(name string) string      // os.Getenv if nil
	Uname  func(buf *unix.Utsname) error // unix.Uname if nil
}

// Detect tells what machine this is. configuredID is the host.id of the configuration; if it is empty, it is the product
// UUID that the firmware gives (root may read it), else the machine-id, else the name of the Kubernetes node (environment
// K8S_NODE_NAME or NODE_NAME). The error says that none of them is to be had, or that the kernel does not tell its release;
// the rest of Host is filled in as far as it is known.
func Detect(configuredID string) (event.Host, error) {
	return DetectWith(configuredID, Options{})
}

// DetectWith is Detect with other places to look at.
func DetectWith(configuredID string, o Options) (event.Host, error) {
	if o.Root == "" {
		o.Root = "/"
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Uname == nil {
		o.Uname = unix.Uname
	}
	h := event.Host{Arch: runtime.GOARCH, OSType: "linux", BootID: o.line("proc/sys/kernel/random/boot_id")}
	h.OSName, h.OSVersion = o.osRelease()
	h.ID, h.IDSource = o.id(configuredID)

	var errs []error
	var uts unix.Utsname
	if err := o.Uname(&uts); err != nil {
		errs = append(errs, fmt.Errorf("asking the kernel for its release: %w", err))
	} else {
		h.Name = unix.ByteSliceToString(uts.Nodename[:])
		h.KernelRelease = unix.ByteSliceToString(uts.Release[:])
	}
	if h.ID == "" {
		errs = append(errs, errors.New("no host.id: neither DMI product_uuid nor /etc/machine-id can be read, and neither "+
			"K8S_NODE_NAME nor NODE_NAME is set; set host_id in the configuration"))
	}
	return h, errors.Join(errs...)
}

// id returns host.id and where it is from.
func (o *Options) id(configured string) (id, source string) {
	for _, c := range []struct {
		source string
		id     func() string
	}{
		{IDFromConfig, func() string { return strings.TrimSpace(configured) }},
		{IDFromDMI, func() string { return productUUID(o.line("sys/class/dmi/id/product_uuid")) }},
		{IDFromMachineID, func() string {
			return machineID(o.line("etc/machine-id"))
		}},
		{IDFromMachineID, func() string {
			return machineID(o.line("var/lib/dbus/machine-id"))
		}},
		{IDFromKubeNode, func() string { return o.Getenv("K8S_NODE_NAME") }},
		{IDFromKubeNode, func() string { return o.Getenv("NODE_NAME") }},
	} {
		if id := c.id(); id != "" {
			return id, c.source
		}
	}
	return "", ""
}

// productUUID returns a UUID in lower case, as the kernel writes it since 4.20, or nothing for what many machines have in
// its place.
func productUUID(s string) string {
	s = strings.ToLower(s)
	if len(s) != 36 {
		return ""
	}
	for i := range len(s) {
		c := s[i]
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') || !dash && !hexDigit(c) {
			return ""
		}
	}
	if _, ok := placeholderUUIDs[s]; ok || strings.Trim(s, "0-") == "" || strings.Trim(s, "f-") == "" {
		return ""
	}
	return s
}

// placeholderUUIDs are what firmware has of which the vendor has set none; machines share them.
var placeholderUUIDs = map[string]struct{}{
	"03000200-0400-0500-0006-000700080009": {},
	"00020003-0004-0005-0006-000700080009": {},
	"12345678-1234-5678-90ab-cddeefaabbcc": {},
}

// machineID returns a machine-id(5), or nothing for what stands there before the first boot ("uninitialized").
func machineID(s string) string {
	if len(s) != 32 || strings.Trim(s, "0") == "" {
		return ""
	}
	for i := range len(s) {
		if !hexDigit(s[i]) {
			return ""
		}
	}
	return s
}

func hexDigit(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' }

// osRelease returns ID and VERSION_ID of os-release(5).
func (o *Options) osRelease() (name, version string) {
	for _, path := range []string{"etc/os-release", "usr/lib/os-release"} {
		data, err := o.read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		name, version = parseOSRelease(data)
		break
	}
	return name, version
}

// parseOSRelease reads ID and VERSION_ID from lines of NAME=value, in which value may be quoted as in a shell.
func parseOSRelease(data []byte) (name, version string) {
	for line := range bytes.Lines(data) {
		k, v, ok := strings.Cut(strings.TrimSpace(string(line)), "=")
		if !ok {
			continue
		}
		switch k {
		case "ID":
			name = unquote(v)
		case "VERSION_ID":
			version = unquote(v)
		}
	}
	return name, version
}

// unquote takes off the quotes of a shell's word and, within double quotes and without quotes, backslashes.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return s[1 : len(s)-1]
	}
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// line returns the first line of a file without white space around it; empty if it cannot be read.
func (o *Options) line(path string) string {
	data, err := o.read(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSpace(line)
}

func (o *Options) read(path string) ([]byte, error) {
	f, err := os.Open(filepath.Join(o.Root, path))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return io.ReadAll(io.LimitReader(f, maxFile))
}
