// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/intaketest"
)

// daemonSet is what the test reads of the manifest.
type daemonSet struct {
	Spec struct {
		Template struct {
			Spec struct {
				HostPID     bool        `yaml:"hostPID"`
				HostNetwork bool        `yaml:"hostNetwork"`
				Containers  []container `yaml:"containers"`
			} `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

type container struct {
	Args            []string `yaml:"args"`
	SecurityContext struct {
		RunAsUser                int  `yaml:"runAsUser"`
		RunAsGroup               int  `yaml:"runAsGroup"`
		Privileged               bool `yaml:"privileged"`
		AllowPrivilegeEscalation bool `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool `yaml:"readOnlyRootFilesystem"`
		Capabilities             struct {
			Add  []string `yaml:"add"`
			Drop []string `yaml:"drop"`
		} `yaml:"capabilities"`
	} `yaml:"securityContext"`
	VolumeMounts []struct {
		Name      string `yaml:"name"`
		MountPath string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly"`
	} `yaml:"volumeMounts"`
}

// agentContainer returns the container of the DaemonSet, which is in the host's pid and network namespaces.
func agentContainer(t *testing.T) container {
	t.Helper()
	text, err := os.ReadFile(root + "deploy/kubernetes/agent/daemonset.yaml")
	require.NoError(t, err)
	var set daemonSet
	require.NoError(t, yaml.Unmarshal(text, &set))
	pod := set.Spec.Template.Spec
	require.True(t, pod.HostPID && pod.HostNetwork)
	require.Len(t, pod.Containers, 1)
	return pod.Containers[0]
}

const seccompFile = root + "deploy/kubernetes/seccomp/picket.json"

// profile returns the system calls that the seccomp profile allows.
func profile(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(seccompFile)
	require.NoError(t, err)
	var p struct {
		DefaultAction string
		Syscalls      []struct {
			Action string
			Names  []string
		}
	}
	require.NoError(t, json.Unmarshal(text, &p))
	require.Equal(t, "SCMP_ACT_ERRNO", p.DefaultAction)
	require.Len(t, p.Syscalls, 1)
	require.Equal(t, "SCMP_ACT_ALLOW", p.Syscalls[0].Action)
	return p.Syscalls[0].Names
}

// startContainer runs the container of the DaemonSet as a container runtime does: the image's one file, no more capabilities
// than the manifest adds, a root that cannot be written to, the seccomp profile, namespaces of its own but for those that the
// manifest takes from the host.
func startContainer(t *testing.T, e *example, seccomp []byte) *collectortest.Process {
	t.Helper()
	runc := needCommand(t, "runc", "runc")
	container := agentContainer(t)
	security := container.SecurityContext
	require.Equal(t, []string{"ALL"}, security.Capabilities.Drop)
	require.Equal(t, []string{"BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH"}, security.Capabilities.Add)
	require.False(t, security.Privileged)

	dir := e.dir
	_, env := e.config(t)
	giveStorage(t, filepath.Join(dir, "storage")) // as Docker does; a directory of the node would be root's
	image := filepath.Join(dir, "image/usr/bin")
	require.NoError(t, os.MkdirAll(image, 0o755))
	collectortest.CopyProgram(t, collectortest.Binary(t, "picket"), image+"/picket")

	type object = map[string]any
	bind := func(from, to string, readOnly bool) object {
		options := []string{"bind", "rw"}
		if readOnly {
			options[1] = "ro"
		}
		return object{"destination": to, "type": "bind", "source": from, "options": options}
	}
	mounts := []object{
		{"destination": "/proc", "type": "proc", "source": "proc"},
		{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755", "size=65536k"}},
		{"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": []string{"nosuid", "noexec", "nodev", "ro"}},
		bind(filepath.Join(dir, "test.yaml"), "/test.yaml", true),
	}
	volumes := map[string]string{
		"config": filepath.Join(dir, "config.yaml"), "policies": filepath.Join(dir, "policies"), "storage": filepath.Join(dir, "storage"),
		"machine-id": "/etc/machine-id", "os-release": "/etc/os-release",
	}
	for i, m := range container.VolumeMounts {
		require.Contains(t, volumes, m.Name)
		if m.Name == "machine-id" && exec.Command("test", "-s", "/etc/machine-id").Run() != nil {
			continue // this machine has none
		}
		mounts = append(mounts, bind(volumes[m.Name], m.MountPath, container.VolumeMounts[i].ReadOnly))
	}
	for i, v := range env { // where they are in the container
		switch name, _, _ := strings.Cut(v, "="); name {
		case "PICKET_STORAGE":
			env[i] = name + "=/var/lib/picket"
		case "PICKET_POLICIES":
			env[i] = name + "=/etc/picket/policies"
		}
	}
	capabilities := make([]string, 0, len(security.Capabilities.Add))
	for _, c := range security.Capabilities.Add {
		capabilities = append(capabilities, "CAP_"+c)
	}
	id := fmt.Sprintf("picket-deploy-%d", os.Getpid())
	config, err := json.Marshal(object{
		"ociVersion": "1.0.2",
		"root":       object{"path": filepath.Join(dir, "image"), "readonly": security.ReadOnlyRootFilesystem},
		"process": object{
			"args": append(append([]string{"/usr/bin/picket"}, container.Args...), "--config", "/test.yaml"), "cwd": "/", "env": append(env, "K8S_NODE_NAME=node"),
			"user":            object{"uid": security.RunAsUser, "gid": security.RunAsGroup},
			"capabilities":    object{"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
			"noNewPrivileges": !security.AllowPrivilegeEscalation,
		},
		"mounts": mounts,
		"linux": object{
			"namespaces":  []object{{"type": "mount"}, {"type": "ipc"}, {"type": "cgroup"}}, // hostPID, hostNetwork
			"cgroupsPath": "/" + id + "/container",
			"seccomp":     json.RawMessage(seccomp),
			"maskedPaths": []string{
				"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
				"/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
			},
			"readonlyPaths": []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600))
	t.Cleanup(func() { // the runtime leaves the parent
		for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
			left, _ := filepath.Glob(pattern + id)
			for _, d := range left {
				assert.NoError(t, os.Remove(d))
			}
		}
	})
	state := filepath.Join(dir, "state")
	t.Cleanup(func() { _ = exec.Command(runc, "--root", state, "delete", "--force", id).Run() })
	return collectortest.Start(t, exec.Command(runc, "--root", state, "run", "--bundle", dir, id))
}

func TestContainer(t *testing.T) {
	collectortest.NeedRoot(t, toGiveCapabilities)
	dir := collectortest.OpenDir(t)
	closed := filepath.Join(dir, "closed")
	require.NoError(t, os.Mkdir(closed, 0o700))
	require.NoError(t, os.WriteFile(closed+"/file", nil, 0o644))
	a := collectortest.StartActor(t, "DD_SERVICE=before")
	e := example{
		name: "agent.yaml", dir: dir, intake: intaketest.Start(t),
		policy:   "version: 1.0.0\nrules:\n  - {id: closed, expression: 'chmod.file.path == \"" + closed + "/file\"'}\n",
		override: fmt.Sprintf("receivers: {ebpf_security: {scope: {process_trees: [%d]}}}", a.PID()),
	}
	seccomp, err := os.ReadFile(seccompFile)
	require.NoError(t, err)
	p := startContainer(t, &e, seccomp)
	require.True(t, p.Ready())

	a.Do("chmod 600 " + closed + "/file")
	d := await(t, e.intake, "closed")["closed"]
	assert.Equal(t, inodeOf(t, closed+"/file"), d.Get("file", "inode"))
	assert.Equal(t, "root", d.Get("process", "user"), "/etc/passwd of the host")
	parent, ok := d.Get("process", "parent").(map[string]any)
	require.True(t, ok)
	assert.EqualValues(t, a.PID(), parent["pid"])
	assert.Contains(t, parent["envs"], "DD_SERVICE=before")
	for line := range strings.Lines(p.Log.String()) {
		assert.NotContains(t, line, "\twarn\t")
		assert.NotContains(t, line, "\terror\t")
	}
	assert.Nil(t, d.Get("process", "container"), "it is on the host")
	p.Stop()
	assert.Positive(t, ownedBy(t, filepath.Join(dir, "storage"), 0), "what must outlive the container")
	assert.Empty(t, e.intake.Problems())
}

// TestDockerCommand: what the documentation gives the container with Docker is what the DaemonSet gives it, with which TestContainer runs.
func TestDockerCommand(t *testing.T) {
	text, err := os.ReadFile(root + "docs/deployment.md")
	require.NoError(t, err)
	_, command, ok := strings.Cut(string(text), "\ndocker run ")
	require.True(t, ok)
	command, _, _ = strings.Cut(command, "```")
	security := agentContainer(t).SecurityContext
	var added []string
	for _, m := range regexp.MustCompile(`--cap-add (\S+)`).FindAllStringSubmatch(command, -1) {
		added = append(added, m[1])
	}
	assert.Equal(t, security.Capabilities.Add, added)
	for _, option := range []string{
		"--cap-drop ALL", "--pid host", "--network host", "--read-only", "--security-opt no-new-privileges", "-v picket:/var/lib/picket",
		fmt.Sprintf("--user %d:%d", security.RunAsUser, security.RunAsGroup),
	} {
		assert.Contains(t, command, option)
	}
}

// TestContainerWithoutBPF: the seccomp profile of an old container runtime forbids bpf(2) whatever the capabilities are, and the
// collector says that this is it.
func TestContainerWithoutBPF(t *testing.T) {
	collectortest.NeedRoot(t, toGiveCapabilities)
	seccomp, err := os.ReadFile(seccompFile)
	require.NoError(t, err)
	e := example{
		name: "agent.yaml", dir: collectortest.OpenDir(t), intake: intaketest.Start(t), policy: "version: 1.0.0\nrules:\n  - {id: any, expression: 'mkdir.file.path == \"/x\"'}\n",
		override: fmt.Sprintf("receivers: {ebpf_security: {scope: {process_trees: [%d]}}}", os.Getpid()),
	}
	p := startContainer(t, &e, bytes.Replace(seccomp, []byte(`"bpf", `), nil, 1))
	require.False(t, p.Ready())
	assert.Contains(t, p.Log.String(), "a seccomp profile, lockdown=confidentiality or a security module forbids bpf(2)")
}
