// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package deploy tests what people deploy: the examples, the systemd unit, the containers of the Kubernetes manifests, the image and the
// monitoring of Picket itself. The manifests as such are tested in kubernetes/, which is a module of its own.
package deploy

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/collectortest"
	"github.com/picketsec/picket/internal/intaketest"
)

const (
	root   = "../../"
	nobody = 65534

	toGiveCapabilities = "to give capabilities to the collector" // is what root is needed for
)

func needCommand(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs %s, which is in Debian's package %s", name, pkg)
	}
	return path
}

// example is one of examples/, with what a test must change of it.
type example struct {
	name     string
	dir      string // of storage, policies and the overrides
	policy   string
	override string // further configuration
	intake   *intaketest.Server
}

// config writes what a test changes, and returns the arguments and the environment for the collector. Both are as a
// deployment has them: the example itself is not touched.
func (e *example) config(t *testing.T) (args, env []string) {
	t.Helper()
	storage, policies := filepath.Join(e.dir, "storage"), filepath.Join(e.dir, "policies")
	for _, d := range []string{storage, policies} {
		require.NoError(t, os.MkdirAll(d, 0o755))
	}
	require.NoError(t, os.Chown(storage, nobody, nobody))
	require.NoError(t, os.WriteFile(filepath.Join(policies, "test.policy"), []byte(e.policy), 0o644))
	override := fmt.Sprintf("exporters: {csm_threats: {endpoint: %q, sending_queue: {batch: {flush_timeout: 100ms}}}}\n%s", e.intake.URL(), e.override)
	text, err := os.ReadFile(root + "examples/" + e.name)
	require.NoError(t, err)
	files := map[string]string{"config.yaml": string(text), "test.yaml": override}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file := filepath.Join(e.dir, name)
		require.NoError(t, os.WriteFile(file, []byte(files[name]), 0o644))
		args = append(args, "--config", file)
	}
	return args, []string{
		"DD_API_KEY=" + intaketest.APIKey, "PICKET_STORAGE=" + storage, "PICKET_POLICIES=" + policies,
		fmt.Sprintf("PICKET_METRICS_PORT=%d", collectortest.FreePort(t)), fmt.Sprintf("PICKET_HEALTH=127.0.0.1:%d", collectortest.FreePort(t)),
	}
}

// detections returns what the intake has, by the id of the rule.
func detections(t *testing.T, logs []intaketest.Log) map[string]intaketest.Detection {
	t.Helper()
	found := map[string]intaketest.Detection{}
	for i := range logs {
		var d intaketest.Detection
		require.NoError(t, json.Unmarshal([]byte(logs[i].Message), &d))
		found[logs[i].Tag("rule_id")] = d
	}
	return found
}

// await waits for a detection of each rule.
func await(t *testing.T, intake *intaketest.Server, rules ...string) map[string]intaketest.Detection {
	t.Helper()
	has := func(logs []intaketest.Log) bool {
		for _, rule := range rules {
			if !slices.ContainsFunc(logs, func(l intaketest.Log) bool { return l.Tag("rule_id") == rule }) {
				return false
			}
		}
		return true
	}
	logs := intake.WaitLogs(30*time.Second, has)
	require.True(t, has(logs), "detections of %v did not arrive", rules)
	return detections(t, logs)
}

// inodeOf returns the inode number as JSON has it.
func inodeOf(t *testing.T, name string) any {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Stat(name, &st))
	return float64(st.Ino)
}
