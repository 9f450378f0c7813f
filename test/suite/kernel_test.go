// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package suite

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver"
)

// noModule is a file that is no module, and so is not loaded by any kernel.
func noModule(dir string) (fd int, err error) {
	if err := os.WriteFile(dir+"/no-such.ko.xz", []byte("no module"), 0o600); err != nil {
		return -1, err
	}
	return unix.Open(dir+"/no-such.ko.xz", unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// anyError turns every error into nil, and none into one.
func anyError(err error) error {
	if err == nil {
		return errors.New("it did not fail")
	}
	return nil
}

// That modules are loaded is seen in guests, whose kernels have them (TestSmoke).
var kernelCases = cases("kernel", []testcase{
	{
		name: "modules, not loaded", do: func(dir string) error {
			fd, err := noModule(dir)
			return errors.Join(err,
				anyError(unix.FinitModule(fd, "debug=1 mode=two", 0)),
				anyError(unix.InitModule([]byte("no module"), "a")),
				anyError(unix.DeleteModule("picket_no_such", unix.O_NONBLOCK)))
		},
		want: []want{
			{
				typ: "load_module",
				members: members{
					"evt.category": "File Activity", "evt.outcome": "Error", "module.name": "no_such", "module.loaded_from_memory": absent, "module.argv.0": "debug=1", "module.argv.1": "mode=two",
					"module.argv.2": absent, "file.path": "$DIR/no-such.ko.xz", "file.mode": unix.S_IFREG | 0o600,
				},
				attrs: members{"picket.file.source": "fd"},
			},
			{typ: "load_module", members: members{"module.name": "", "module.loaded_from_memory": true, "module.argv.0": "a", "file": absent}},
			{typ: "unload_module", members: members{"evt.category": "Kernel Activity", "evt.outcome": "Error", "module.name": "picket_no_such", "file": absent}, attrs: members{"picket.syscall.flags": unix.O_NONBLOCK}},
		},
	},
	{
		name: "modules, refused", do: func(dir string) error {
			fd, err := noModule(dir)
			return errors.Join(err, nobody(), fails(unix.FinitModule(fd, "", 0), unix.EPERM), fails(unix.DeleteModule("picket_no_such", 0), unix.EPERM))
		},
		want: []want{
			{typ: "load_module", members: members{"evt.outcome": "Refused", "module.name": "no_such"}, attrs: members{"picket.event.retval": -int(unix.EPERM)}},
			{typ: "unload_module", members: members{"evt.outcome": "Refused", "module.name": "picket_no_such"}},
		},
		skip: func() string {
			if err := unix.DeleteModule("picket_no_such", 0); errors.Is(err, unix.ENOSYS) {
				return "this kernel has no modules, and says so to everybody"
			}
			return ""
		},
	},
})

func TestKernel(t *testing.T) {
	run(t, kernelCases, func(cfg *ebpfsecurityreceiver.Config) {
		errs := ebpfsecurityreceiver.EventConfig{Errors: []string{"ENOSYS", "ENOEXEC", "ENOENT"}}
		cfg.Events = map[string]ebpfsecurityreceiver.EventConfig{"load_module": errs, "unload_module": errs}
	})
}
