// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package deploy

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/intaketest"
)

// dockerfile returns the Dockerfile's last stage, and the one before it, in which the files are made.
func dockerfile(t *testing.T) (last, build string) {
	t.Helper()
	text, err := os.ReadFile(root + "Dockerfile")
	require.NoError(t, err)
	build, last, ok := strings.Cut(string(text), "\nFROM scratch\n")
	require.True(t, ok, "the last stage is from scratch")
	return last, build
}

// giveStorage gives a directory owner and mode of the image's /var/lib/picket, as Docker does with an empty volume.
func giveStorage(t *testing.T, dir string) {
	t.Helper()
	last, build := dockerfile(t)
	made := regexp.MustCompile(`(?m)^ +mkdir -p -m (0[0-7]{3}) /out/state/picket$`).FindStringSubmatch(build)
	require.NotNil(t, made)
	copied := regexp.MustCompile(`(?m)^COPY --from=build --chown=(\d+):(\d+) /out/state /var/lib$`).FindStringSubmatch(last)
	require.NotNil(t, copied)
	number := func(text string, base int) int {
		n, err := strconv.ParseInt(text, base, 32)
		require.NoError(t, err)
		return int(n)
	}
	require.NoError(t, os.Chown(dir, number(copied[1], 10), number(copied[2], 10)))
	require.NoError(t, os.Chmod(dir, os.FileMode(number(made[1], 8))))
}

// TestImage looks at what the Dockerfile says, and runs the binary in a root directory that has nothing else, as in the image.
// TestContainer runs it in such a root as a sensor.
func TestImage(t *testing.T) {
	collectortest.NeedRoot(t, toGiveCapabilities)
	last, _ := dockerfile(t)
	assert.NotContains(t, last, "\nFROM ")
	assert.NotContains(t, last, "\nRUN ")
	user := regexp.MustCompile(`(?m)^USER (\d+):(\d+)$`).FindStringSubmatch(last)
	require.NotNil(t, user, "Kubernetes can tell from a number only that it is not root")
	assert.Equal(t, []string{"65532", "65532"}, user[1:])
	assert.Contains(t, last, `ENTRYPOINT ["/usr/bin/picket"]`)

	// What the build copies into its context is all that there is to ignore nothing of.
	ignore, err := os.ReadFile(root + ".dockerignore")
	require.NoError(t, err)
	for line := range strings.Lines(string(ignore)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "!"); ok {
			found, err := filepath.Glob(root + path)
			require.NoError(t, err)
			assert.NotEmpty(t, found, path)
		}
	}

	exe := collectortest.Binary(t, "picket")
	f, err := elf.Open(exe)
	require.NoError(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		assert.NotEqual(t, elf.PT_INTERP, p.Type, "it needs a dynamic loader")
	}
	dir := collectortest.OpenDir(t)
	require.NoError(t, os.MkdirAll(dir+"/usr/bin", 0o755))
	collectortest.CopyProgram(t, exe, dir+"/usr/bin/picket")
	config, err := os.ReadFile(root + "examples/gateway.yaml")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dir+"/config.yaml", config, 0o644))
	for _, args := range [][]string{{"--version"}, {"validate", "--config", "/config.yaml"}} {
		cmd := exec.Command("/usr/bin/picket", args...)
		cmd.Dir = "/"
		cmd.Env = []string{"DD_API_KEY=none"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: dir, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

// TestImageUser runs the collector as the image's user, which has no capabilities, with a queue where the image has a place for it.
// TestContainer does so with root.
func TestImageUser(t *testing.T) {
	collectortest.NeedRoot(t, "to be another user")
	intake := intaketest.Start(t)
	dir := collectortest.OpenDir(t)
	storage := filepath.Join(dir, "var/lib/picket")
	require.NoError(t, os.MkdirAll(storage, 0o755))
	giveStorage(t, storage)
	require.NoError(t, os.MkdirAll(dir+"/usr/bin", 0o755))
	collectortest.CopyProgram(t, collectortest.Binary(t, "picket"), dir+"/usr/bin/picket")
	listen := fmt.Sprintf("127.0.0.1:%d", collectortest.FreePort(t))
	require.NoError(t, os.WriteFile(dir+"/config.yaml", fmt.Appendf(nil, `
extensions: {file_storage: {directory: /var/lib/picket, create_directory: true}}
receivers: {otlp: {protocols: {grpc: {endpoint: %q}}}}
exporters: {csm_threats: {api_key: %q, endpoint: %q, sending_queue: {storage: file_storage}}}
service:
  extensions: [file_storage]
  pipelines: {logs: {receivers: [otlp], exporters: [csm_threats]}}
  telemetry: {metrics: {level: none}}
`, listen, intaketest.APIKey, intake.URL()), 0o644))
	cmd := exec.Command("/usr/bin/picket", "--config", "/config.yaml")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: dir, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	p := collectortest.Start(t, cmd)
	require.True(t, p.Ready())
	p.Kill() // a signal right after it is ready could come before it waits for any
	assert.Positive(t, ownedBy(t, storage, 65532))
}

// ownedBy returns how many files in a directory there are, all of one user.
func ownedBy(t *testing.T, dir string, uid uint32) int {
	t.Helper()
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, f := range files {
		info, err := f.Info()
		require.NoError(t, err)
		assert.Equal(t, uid, info.Sys().(*syscall.Stat_t).Uid, f.Name())
	}
	return len(files)
}
