// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package deploy

import (
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
)

// validate returns what `picket validate` says of configurations.
func validate(exe string, files ...string) (string, error) {
	cmd := exec.Command(exe, "validate")
	for _, f := range files {
		cmd.Args = append(cmd.Args, "--config", f)
	}
	cmd.Env = []string{"DD_API_KEY=none"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func examples(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(root + "examples/" + pattern)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

func TestExamplesValidate(t *testing.T) {
	exe := collectortest.Binary(t, "picket")
	for _, file := range examples(t, "*.yaml") {
		files := []string{file}
		if filepath.Base(file) == "datadog.yaml" { // an addition
			files = []string{root + "examples/quickstart.yaml", file}
		}
		out, err := validate(exe, files...)
		require.NoError(t, err, "%s: %s", file, out)
		assert.Empty(t, out, "%s: warnings", file)
	}
}

// unknown is the error about a component that the distribution does not have.
var unknown = regexp.MustCompile(`^'(receivers|exporters)' unknown type: "(\w+)" for id: "\w+" \(valid values: .*\)$`)

// TestFullExamples validates the examples that need builder-config.full.yaml. Where that distribution was not built, the
// only thing wrong with them is the component that the other one lacks, and the full manifest has that.
func TestFullExamples(t *testing.T) {
	manifest, err := os.ReadFile(root + "builder-config.full.yaml")
	require.NoError(t, err)
	full := filepath.Join(filepath.Dir(collectortest.Binary(t, "picket")), "picket-full")
	_, missing := os.Stat(full)
	for _, file := range examples(t, "full/*.yaml") {
		if missing == nil {
			out, err := validate(full, file)
			require.NoError(t, err, "%s: %s", file, out)
			continue
		}
		out, err := validate(collectortest.Binary(t, "picket"), file)
		require.Error(t, err, file)
		found := 0
		for line := range strings.Lines(out) {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasSuffix(line, "decoding failed due to the following error(s):") {
				continue
			}
			m := unknown.FindStringSubmatch(line)
			require.NotNil(t, m, "%s: %s", file, line)
			assert.Contains(t, string(manifest), "/"+strings.ReplaceAll(m[2], "_", "")+strings.TrimSuffix(m[1], "s")+" v")
			found++
		}
		assert.Positive(t, found, file)
	}
}

// TestExamplesAreSafe checks what everybody who copies an example relies on.
func TestExamplesAreSafe(t *testing.T) {
	for _, file := range append(examples(t, "*.yaml"), examples(t, "full/*.yaml")...) {
		name, _ := strings.CutPrefix(file, root+"examples/")
		if name == "quickstart.yaml" || name == "datadog.yaml" || name == "processors.yaml" {
			continue // to look at Picket, not to deploy it
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var c struct {
			Exporters map[string]struct {
				Queue struct {
					Storage   string `yaml:"storage"`
					Consumers int    `yaml:"num_consumers"`
					Batch     struct {
						Sizer   string `yaml:"sizer"`
						MaxSize int    `yaml:"max_size"`
					} `yaml:"batch"`
				} `yaml:"sending_queue"`
				Retry struct {
					MaxElapsed string `yaml:"max_elapsed_time"`
				} `yaml:"retry_on_failure"`
			} `yaml:"exporters"`
			Service struct {
				Extensions []string `yaml:"extensions"`
				Pipelines  map[string]struct {
					Processors []string `yaml:"processors"`
				} `yaml:"pipelines"`
			} `yaml:"service"`
		}
		require.NoError(t, yaml.Unmarshal(text, &c), name)
		assert.Contains(t, c.Service.Extensions, "health_check", name)
		for id, e := range c.Exporters {
			assert.Equal(t, "file_storage", e.Queue.Storage, "%s: %s: what is acknowledged is on disk", name, id)
			assert.Positive(t, e.Queue.Batch.MaxSize, "%s: %s: no batch is too large for who gets it", name, id)
			if id != "csm_threats" { // has these as defaults
				assert.Equal(t, 1, e.Queue.Consumers, "%s: %s: in order", name, id)
				assert.Equal(t, "0s", e.Retry.MaxElapsed, "%s: %s: nothing on disk is given up", name, id)
				assert.Equal(t, "bytes", e.Queue.Batch.Sizer, "%s: %s", name, id)
			}
		}
		for id, p := range c.Service.Pipelines {
			assert.Equal(t, "memory_limiter", p.Processors[0], "%s: %s", name, id)
			assert.NotContains(t, p.Processors, "batch", "%s: %s: it takes kill and hash from the rules", name, id)
			for i, processor := range p.Processors {
				assert.False(t, processor == "security_rules" && i != 1, "%s: %s: the rules come right after the receiver", name, id)
			}
		}
		assert.NotContains(t, string(text), "privileged", name)
	}
}
