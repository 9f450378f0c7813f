// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package deploy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/intaketest"
)

// cgroupMounts are the hierarchies on which a cgroup can be made: v2, and v1's memory.
func cgroupMounts() (found []string) {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory"} {
		if _, err := os.Stat(dir + "/cgroup.procs"); err == nil && unix.Access(dir, unix.W_OK) == nil {
			found = append(found, dir)
		}
	}
	return found
}

// makePod makes the cgroups of a pod as the kubelet does, below one of the test's own.
func makePod(t *testing.T, mount string) (picket, application string) {
	t.Helper()
	top := filepath.Join(mount, fmt.Sprintf("picket-test-%d", os.Getpid()))
	pod := filepath.Join(top, "kubepods/burstable/pod0a1b2c3d-0000-4000-8000-000000000001")
	picket, application = filepath.Join(pod, strings.Repeat("a", 64)), filepath.Join(pod, strings.Repeat("b", 64))
	t.Cleanup(func() {
		for _, dir := range []string{picket, application, pod, filepath.Dir(pod), filepath.Dir(filepath.Dir(pod)), top} {
			// A process that has just ended may be in it for a moment.
			assert.Eventually(t, func() bool { err := os.Remove(dir); return err == nil || errors.Is(err, os.ErrNotExist) }, 10*time.Second, 10*time.Millisecond, dir)
		}
	})
	for _, dir := range []string{picket, application} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Skipf("no cgroup can be made below %s: %v", mount, err)
		}
	}
	return picket, application
}

// TestSidecar runs the example in the cgroup of one container of a pod. It sees what the other container does, and nothing of
// what is outside of the pod, in the cgroup namespace of the host and in one of its own, as runtimes give containers on v2.
func TestSidecar(t *testing.T) {
	collectortest.NeedRoot(t, toGiveCapabilities)
	exe := collectortest.Binary(t, "picket")
	mounts := cgroupMounts()
	if len(mounts) == 0 {
		t.Skip("no cgroup hierarchy can be written to")
	}
	for _, mount := range mounts {
		for _, private := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s private=%v", filepath.Base(mount), private), func(t *testing.T) {
				own, other := makePod(t, mount)
				dir := collectortest.OpenDir(t)
				e := example{
					name: "sidecar.yaml", dir: dir, intake: intaketest.Start(t),
					policy: strings.ReplaceAll("version: 1.0.0\nrules:\n  - {id: before, expression: 'mkdir.file.path == \"DIR/before\"'}\n"+
						"  - {id: inside, expression: 'mkdir.file.path == \"DIR/inside\"'}\n  - {id: outside, expression: 'mkdir.file.path == \"DIR/outside\"'}\n", "DIR", dir),
				}
				inside, outside := collectortest.StartActor(t), collectortest.StartActor(t)
				require.NoError(t, os.WriteFile(other+"/cgroup.procs", []byte(strconv.Itoa(inside.PID())), 0o600))
				args, env := e.config(t)
				unshare := ""
				if private {
					unshare = needCommand(t, "unshare", "util-linux") + " --cgroup "
				}
				cmd := exec.Command("/bin/sh", slices.Concat([]string{"-c", `echo $$ > ` + own + `/cgroup.procs && exec ` + unshare + `"$0" "$@"`, exe}, args)...)
				cmd.Env = env
				p := collectortest.Start(t, cmd)
				require.True(t, p.Ready())

				outside.Do("mkdir " + dir + "/outside")
				inside.Do("mkdir " + dir + "/inside")
				await(t, e.intake, "inside")
				p.Stop() // what was made until now is delivered
				found := detections(t, e.intake.Logs())
				assert.NotContains(t, found, "outside")
				assert.EqualValues(t, inside.PID(), found["inside"].Get("process", "ppid"))
				assert.Equal(t, strings.Repeat("b", 64), found["inside"].Get("container", "id"))
				assert.Empty(t, e.intake.Problems())
			})
		}
	}
}

// TestSidecarOutsideOfAPod: rather than watch something else, it does not start.
func TestSidecarOutsideOfAPod(t *testing.T) {
	own, err := os.ReadFile("/proc/self/cgroup")
	require.NoError(t, err)
	if strings.Contains(string(own), "kubepods") {
		t.Skip("the test runs in a pod")
	}
	e := example{name: "sidecar.yaml", dir: collectortest.OpenDir(t), intake: intaketest.Start(t), policy: "version: 1.0.0\nrules:\n  - {id: any, expression: 'mkdir.file.path == \"/x\"'}\n"}
	args, env := e.config(t)
	cmd := exec.Command(collectortest.Binary(t, "picket"), args...)
	cmd.Env = env
	p := collectortest.Start(t, cmd)
	require.False(t, p.Ready(), "it watches something")
	assert.NotZero(t, p.Cmd.ProcessState.ExitCode())
	assert.Contains(t, p.Log.String(), "scope: pod: self: the collector is in the ")
}
