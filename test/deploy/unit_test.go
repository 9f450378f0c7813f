// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/intaketest"
)

const unitFile = root + "deploy/systemd/picket.service"

// unit reads the [Service] section: all values of a key, in the order of the file.
func unit(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(unitFile)
	require.NoError(t, err)
	section, settings := "", map[string][]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		}
		if key, value, ok := strings.Cut(line, "="); ok && section == "[Service]" && !strings.HasPrefix(line, "#") {
			settings[key] = append(settings[key], value)
		}
	}
	return settings
}

// one returns the value of a setting that is there once.
func one(t *testing.T, settings map[string][]string, key string) string {
	t.Helper()
	require.Len(t, settings[key], 1, key)
	return settings[key][0]
}

// facts are what a collector knew of two operations by a shell that was there before it.
type facts struct {
	start        string // why it did not start
	open, closed bool   // the file, in a directory that is open to all, and in one that is not
	environment  bool   // of the shell
}

// TestUnitCapabilities runs the collector as the unit does: another user, in a mount namespace of its own, with the
// capabilities of the unit and no others. Then without each of them: all are needed, and for what the receiver's README says.
func TestUnitCapabilities(t *testing.T) {
	collectortest.NeedRoot(t, toGiveCapabilities)
	setpriv := needCommand(t, "setpriv", "util-linux")
	settings := unit(t)
	all := strings.Fields(one(t, settings, "AmbientCapabilities"))
	assert.Equal(t, all, strings.Fields(one(t, settings, "CapabilityBoundingSet")))
	assert.Equal(t, "yes", one(t, settings, "NoNewPrivileges"))
	assert.Equal(t, "yes", one(t, settings, "DynamicUser"))

	dir := collectortest.OpenDir(t)
	exe := filepath.Join(dir, "picket")
	collectortest.CopyProgram(t, collectortest.Binary(t, "picket"), exe)
	for _, d := range []string{"open", "closed"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, d), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, d, "file"), nil, 0o644))
	}
	require.NoError(t, os.Chmod(filepath.Join(dir, "open"), 0o755))
	policy := strings.ReplaceAll(`
version: 1.0.0
rules:
  - {id: open, expression: 'chmod.file.path == "DIR/open/file"'}
  - {id: closed, expression: 'chmod.file.path == "DIR/closed/file"'}
`, "DIR", dir)

	try := func(t *testing.T, caps []string) (f facts) {
		t.Helper()
		a := collectortest.StartActor(t, "DD_SERVICE=before")
		e := example{
			name: "agent.yaml", dir: collectortest.OpenDir(t), policy: policy, intake: intaketest.Start(t),
			override: fmt.Sprintf("receivers: {ebpf_security: {scope: {process_trees: [%d]}}}", a.PID()),
		}
		args, env := e.config(t)
		set := "-all"
		for _, c := range caps {
			set += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
		}
		cmd := exec.Command(setpriv, slices.Concat([]string{
			fmt.Sprintf("--reuid=%d", nobody), fmt.Sprintf("--regid=%d", nobody), "--clear-groups", "--no-new-privs",
			"--inh-caps=" + set, "--ambient-caps=" + set, "--bounding-set=" + set, exe,
		}, args)...)
		cmd.Env = env
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS} // as all settings such as ProtectSystem do
		p := collectortest.Start(t, cmd)
		if !p.Ready() {
			lines := strings.Split(strings.TrimSpace(p.Log.String()), "\n")
			return facts{start: lines[len(lines)-1]}
		}
		a.Do(strings.ReplaceAll("chmod 600 DIR/open/file; chmod 600 DIR/closed/file", "DIR", dir))
		found := await(t, e.intake, "open", "closed")
		p.Stop()
		require.Empty(t, e.intake.Problems())
		f.open = found["open"].Get("file", "inode") == inodeOf(t, dir+"/open/file")
		f.closed = found["closed"].Get("file", "inode") == inodeOf(t, dir+"/closed/file")
		parent, ok := found["open"].Get("process", "parent").(map[string]any)
		require.True(t, ok)
		require.EqualValues(t, a.PID(), parent["pid"])
		envs, _ := parent["envs"].([]any)
		f.environment = slices.Contains(envs, any("DD_SERVICE=before"))
		return f
	}

	assert.Equal(t, facts{open: true, closed: true, environment: true}, try(t, all), "with all of %v", all)
	without := map[string]facts{
		"CAP_BPF":             {start: "missing privileges: CAP_BPF not effective"},
		"CAP_PERFMON":         {start: "missing privileges: CAP_PERFMON not effective"},
		"CAP_SYS_PTRACE":      {}, // files of processes in another mount namespace
		"CAP_DAC_READ_SEARCH": {open: true},
	}
	assert.Len(t, all, len(without))
	for _, c := range all {
		t.Run("without "+c, func(t *testing.T) {
			want, ok := without[c]
			require.True(t, ok)
			got := try(t, slices.DeleteFunc(slices.Clone(all), func(x string) bool { return x == c }))
			if want.start != "" && strings.Contains(got.start, want.start) {
				got.start = want.start
			}
			got.environment = false // some kernels take CAP_PERFMON for CAP_SYS_PTRACE there
			assert.Equal(t, want, got)
		})
	}
}

// syscallLine is a line of strace's output: 1234 name(arguments
var syscallLine = regexp.MustCompile(`^\d+ +([a-z0-9_]+)\((.*)`)

// TestUnitSandbox traces a whole life of the collector, and looks whether it does anything that the unit forbids. systemd, which would
// forbid it, does not run in all places where tests do.
func TestUnitSandbox(t *testing.T) {
	collectortest.NeedRoot(t, toGiveCapabilities)
	strace := needCommand(t, "strace", "strace")
	analyze := needCommand(t, "systemd-analyze", "systemd")
	settings := unit(t)
	var allowed func(name string) []string
	allowed = func(name string) (calls []string) {
		if !strings.HasPrefix(name, "@") {
			return []string{name}
		}
		out, err := exec.Command(analyze, "syscall-filter", name).Output()
		require.NoError(t, err)
		for _, line := range strings.Split(string(out), "\n")[1:] {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				calls = append(calls, allowed(line)...)
			}
		}
		return calls
	}
	may := map[string]bool{}
	for _, name := range strings.Fields(one(t, settings, "SystemCallFilter")) {
		for _, c := range allowed(name) {
			may[c] = true
		}
	}
	require.Greater(t, len(may), 100)
	families := strings.Fields(one(t, settings, "RestrictAddressFamilies"))

	dir := collectortest.OpenDir(t)
	a := collectortest.StartActor(t)
	e := example{
		name: "agent.yaml", dir: dir, intake: intaketest.Start(t),
		policy:   "version: 1.0.0\nrules:\n  - {id: made, expression: 'mkdir.file.path == \"" + dir + "/made\"'}\n",
		override: fmt.Sprintf("receivers: {ebpf_security: {scope: {process_trees: [%d]}}}", a.PID()),
	}
	args, env := e.config(t)
	trace := filepath.Join(dir, "trace")
	cmd := exec.Command(strace, slices.Concat([]string{"-f", "-qq", "-s0", "-o", trace, collectortest.Binary(t, "picket")}, args)...)
	cmd.Env = env
	p := collectortest.Start(t, cmd)
	require.True(t, p.Ready())
	a.Do("mkdir " + dir + "/made")
	await(t, e.intake, "made")
	// strace is told to end, and passes it on to nobody: the collector is its only child.
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
	require.NoError(t, err)
	var collector int
	_, err = fmt.Sscan(string(children), &collector)
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(collector, syscall.SIGTERM))
	<-p.Done
	require.Contains(t, p.Log.String(), "Shutdown complete")

	text, err := os.ReadFile(trace)
	require.NoError(t, err)
	seen := map[string]int{}
	for line := range strings.Lines(string(text)) {
		m := syscallLine.FindStringSubmatch(line)
		if m == nil {
			continue // the rest of an interrupted one, or a signal
		}
		name, arguments := m[1], m[2]
		if seen[name]++; name == "execve" && seen[name] == 1 {
			continue // systemd's
		}
		assert.True(t, may[name], "SystemCallFilter forbids %s", name)
		if name == "socket" {
			family, _, _ := strings.Cut(arguments, ",")
			assert.Contains(t, families, family, "RestrictAddressFamilies")
		}
		// MemoryDenyWriteExecute
		assert.False(t, (name == "mmap" && strings.Contains(arguments, "PROT_WRITE") || name == "mprotect") && strings.Contains(arguments, "PROT_EXEC"), line)
		// RestrictNamespaces
		assert.False(t, name == "setns" || name == "unshare" || strings.Contains(arguments, "CLONE_NEW"), line)
	}
	for _, name := range []string{"bpf", "openat2", "socket"} {
		assert.Positive(t, seen[name], "the trace has no %s", name)
	}
	assert.Zero(t, seen["perf_event_open"], "the seccomp profiles of containers do without")
	seccomp := profile(t)
	for name := range seen {
		assert.True(t, slices.Contains(seccomp, name) || name == "execve", "deploy/kubernetes/seccomp/picket.json forbids %s", name)
	}
}

func TestUnitVerifies(t *testing.T) {
	analyze := needCommand(t, "systemd-analyze", "systemd")
	text, err := os.ReadFile(unitFile)
	require.NoError(t, err)
	// The programs that it starts must be there.
	file := filepath.Join(t.TempDir(), "picket.service")
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "=/usr/bin/picket", "=/bin/true")), 0o600))
	out, err := exec.Command(analyze, "verify", "--man=no", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Empty(t, string(out))

	out, err = exec.Command(analyze, "security", "--offline=true", "--no-pager", "--threshold=25", file).CombinedOutput()
	require.NoError(t, err, "its exposure is above 2.5: %s", out)
}

// TestUnitConfig: what the unit sets in the environment is what the example reads, and they fit together.
func TestUnitConfig(t *testing.T) {
	settings := unit(t)
	text, err := os.ReadFile(root + "examples/agent.yaml")
	require.NoError(t, err)
	for _, line := range settings["Environment"] {
		for _, assignment := range strings.Fields(line) {
			name, value, ok := strings.Cut(assignment, "=")
			require.True(t, ok)
			if name == "GOMEMLIMIT" {
				continue // the Go runtime's
			}
			assert.Contains(t, string(text), "${env:"+name+":-"+value+"}")
		}
	}
	assert.Equal(t, "picket", one(t, settings, "StateDirectory"))
}
