// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package sensor

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/collectortest"
)

const probeEnv = "PICKET_TEST_PROBE"

// probeIn runs Probe in a child of its own, after taking away what the test is about, and prints the error.
func probeIn(what string) int {
	switch what {
	case "no BTF":
		// The thread's own mount namespace, in which the directory of the type information is hidden.
		runtime.LockOSThread()
		for _, err := range []error{
			unix.Unshare(unix.CLONE_NEWNS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("none", "/sys/kernel/btf", "tmpfs", 0, ""),
		} {
			if err != nil {
				fmt.Println(err)
				return 1
			}
		}
	case "no privileges": // the parent has taken them
	}
	fmt.Print(Probe())
	return 0
}

func runProbe(t *testing.T, what string, attr *syscall.SysProcAttr) string {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	if attr != nil { // where everybody may execute it
		data, err := os.ReadFile(exe)
		require.NoError(t, err)
		f, err := os.CreateTemp("", "picket-probe-*") //nolint:usetesting // a test's own directory is closed to others
		require.NoError(t, err)
		t.Cleanup(func() { _ = os.Remove(f.Name()) })
		_, err = f.Write(data)
		require.NoError(t, err)
		require.NoError(t, f.Chmod(0o755))
		require.NoError(t, f.Close())
		exe = f.Name()
	}
	cmd := exec.Command(exe)
	cmd.Env = []string{probeEnv + "=" + what}
	cmd.SysProcAttr = attr
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Run(), out.String())
	return out.String()
}

func TestProbeSaysWhatIsMissing(t *testing.T) {
	collectortest.NeedRoot(t, "to take privileges and mounts away from a child")
	t.Run("no BTF", func(t *testing.T) {
		if _, err := os.Stat(btfPath); err != nil {
			t.Skip("the kernel has no BTF to hide")
		}
		msg := runProbe(t, "no BTF", nil)
		assert.Contains(t, msg, "kernel not supported")
		assert.Contains(t, msg, "has no BTF (/sys/kernel/btf/vmlinux is missing)")
		assert.Contains(t, msg, "CONFIG_DEBUG_INFO_BTF=y")
	})
	t.Run("no privileges", func(t *testing.T) {
		msg := runProbe(t, "no privileges", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
		assert.Contains(t, msg, "missing privileges")
		assert.Contains(t, msg, "CAP_BPF")
		assert.Contains(t, msg, "CAP_PERFMON")
		assert.Contains(t, msg, "run as root")
	})
	t.Run("everything there", func(t *testing.T) {
		assert.NoError(t, Probe())
	})
}
