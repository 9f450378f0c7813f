// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package ebpfsecurityreceiver

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/metadata"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/sensor"
)

const capabilitiesEnv = "PICKET_TEST_CAPABILITIES"

// whatTo is what the child of TestCapabilities tries, and can what it could.
type (
	whatTo struct {
		PID    uint32 // a process of root in another mount namespace
		MntNS  uint32
		File   string // a file that everybody can reach
		Closed string // a file in a directory of root that is closed to others
	}
	can struct {
		Start                   string // error; empty if the receiver starts
		Container, Closed, Envs bool
	}
)

// TestCapabilitiesChild is TestCapabilities' child, which has nothing but the capabilities that it was given.
func TestCapabilitiesChild(t *testing.T) {
	task := os.Getenv(capabilitiesEnv)
	if task == "" {
		return // no test of its own
	}
	var w whatTo
	require.NoError(t, json.Unmarshal([]byte(task), &w))
	var c can
	logs, err := newReceiver(receivertest.NewNopSettings(metadata.Type), createDefaultConfig().(*Config), consumertest.NewNop())
	require.NoError(t, err)
	if err := logs.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		c.Start = err.Error()
	}
	require.NoError(t, logs.Shutdown(t.Context()))
	r, err := newResolver()
	require.NoError(t, err)
	defer r.close()
	c.Container = r.lookup(process(w.PID), w.MntNS, w.File, lookFollow).ok
	c.Closed = r.lookup(lineage{}, r.ns, w.Closed, lookFollow).ok
	envs, _, err := r.readProc(strconv.Itoa(int(w.PID))+"/environ", maxProcRead)
	c.Envs = err == nil && len(envs) > 0
	data, err := json.Marshal(c)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(os.Getenv(capabilitiesEnv+"_OUT"), data, 0o600))
}

// TestCapabilities finds out what each capability is needed for, as the README says it.
func TestCapabilities(t *testing.T) {
	collectortest.NeedRoot(t, "to give capabilities to a child")
	if err := sensor.Probe(); err != nil {
		t.Skip("needs the kernel side:", err)
	}
	dir, err := os.MkdirTemp("", "picket-caps-*") //nolint:usetesting // a test's own directory is closed to others
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	out := filepath.Join(dir, "out")
	w := whatTo{File: filepath.Join(dir, "file"), Closed: filepath.Join(dir, "closed", "file")}
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.MkdirAll(out, 0o777))
	require.NoError(t, os.Chmod(out, 0o777))
	require.NoError(t, os.MkdirAll(filepath.Dir(w.Closed), 0o700))
	require.NoError(t, os.WriteFile(w.File, nil, 0o644))
	require.NoError(t, os.WriteFile(w.Closed, nil, 0o644))
	self, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	exe := filepath.Join(dir, "test")
	require.NoError(t, os.WriteFile(exe, self, 0o755))

	other := exec.Command("cat") // waits for its input
	other.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	in, err := other.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = other.Wait()
	})
	w.PID = uint32(other.Process.Pid)
	var st unix.Stat_t
	require.NoError(t, unix.Stat("/proc/"+strconv.Itoa(other.Process.Pid)+"/ns/mnt", &st))
	w.MntNS = uint32(st.Ino)
	require.NotEqual(t, ownMntNS(t), w.MntNS)
	task, err := json.Marshal(w)
	require.NoError(t, err)

	refused := "missing privileges: CAP_BPF and CAP_PERFMON not effective"
	for i, tt := range []struct {
		caps []uintptr
		want can
	}{
		{nil, can{Start: refused}},
		{[]uintptr{unix.CAP_BPF, unix.CAP_PERFMON}, can{}},
		{[]uintptr{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_DAC_READ_SEARCH}, can{Closed: true}},
		{[]uintptr{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_PTRACE}, can{Container: true}},
		{[]uintptr{unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH}, can{Start: refused, Container: true, Envs: true, Closed: true}},
	} {
		result := filepath.Join(out, strconv.Itoa(i))
		child := exec.Command(exe, "-test.run", "^TestCapabilitiesChild$")
		child.Dir = dir
		child.Env = []string{capabilitiesEnv + "=" + string(task), capabilitiesEnv + "_OUT=" + result, "TMPDIR=" + out}
		child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: tt.caps}
		msg, err := child.CombinedOutput()
		require.NoError(t, err, string(msg))
		data, err := os.ReadFile(result)
		require.NoError(t, err)
		var got can
		require.NoError(t, json.Unmarshal(data, &got))
		if tt.want.Start != "" {
			assert.Contains(t, got.Start, tt.want.Start)
			got.Start = tt.want.Start
		}
		if !tt.want.Envs {
			got.Envs = false // some kernels take CAP_PERFMON for CAP_SYS_PTRACE here
		}
		assert.Equal(t, tt.want, got, "capabilities %d", tt.caps)
	}
}
