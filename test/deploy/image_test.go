// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package deploy

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/picketsec/picket/internal/collectortest"
)

// TestImage looks at what the Dockerfile says, and runs the binary in a root directory that has nothing else, as in the image.
// TestContainer runs it in such a root as a sensor.
func TestImage(t *testing.T) {
	collectortest.NeedRoot(t, toGiveCapabilities)
	text, err := os.ReadFile(root + "Dockerfile")
	require.NoError(t, err)
	_, last, ok := strings.Cut(string(text), "\nFROM scratch\n")
	require.True(t, ok, "the last stage is from scratch")
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
