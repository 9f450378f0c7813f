// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package ebpfsecurityreceiver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"golang.org/x/sys/unix"

	"github.com/picketsec/picket/internal/event"
	"github.com/picketsec/picket/internal/privacy"
	"github.com/picketsec/picket/receiver/ebpfsecurityreceiver/internal/metadata"
)

// load reads one receiver of testdata/config.yaml as the Collector does.
func load(t *testing.T, name string) (*Config, error) {
	t.Helper()
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	id := component.NewIDWithName(metadata.Type, name)
	require.True(t, conf.IsSet(id.String()), "no %s in config.yaml", id)
	sub, err := conf.Sub(id.String())
	require.NoError(t, err)
	cfg := NewFactory().CreateDefaultConfig().(*Config)
	if err := sub.Unmarshal(cfg); err != nil {
		return nil, err
	}
	return cfg, confmap.Validate(cfg)
}

func TestConfig(t *testing.T) {
	yes, no := true, false
	storage := component.MustNewIDWithName("file_storage", "picket")
	policies := component.MustNewIDWithName("security_policies", "own")
	for name, want := range map[string]*Config{
		"": {
			Backend: BackendAuto, Schema: SchemaStandard, RingBufferSize: 8 << 20,
			Drain:         DrainConfig{MinInterval: 20 * time.Millisecond, MaxInterval: 500 * time.Millisecond},
			Batch:         BatchConfig{MaxRecords: 512, Timeout: 200 * time.Millisecond, QueueSize: 64},
			Args:          ArgsConfig{Scrub: true},
			EnvsWithValue: privacy.DefaultEnvsWithValue,
			ProcessTree:   ProcessTreeConfig{MaxProcesses: 65536, Retention: time.Second},
		},
		"all": {
			Backend: BackendSyscall, Schema: SchemaExtended, RingBufferSize: 1 << 20, HostID: "host-1",
			Events: map[string]EventConfig{"open": {Errors: []string{"ENOENT", "EROFS"}}, "fork": {Enabled: &no}, "exit": {Enabled: &yes}},
			Scope: ScopeConfig{
				Cgroups: []string{"/system.slice/nginx.service"}, ProcessTrees: []int{1, 4242}, PIDNamespaces: []uint32{4026531836},
				Pod: "self", ContainersOnly: true,
			},
			Drain:         DrainConfig{MinInterval: time.Millisecond, MaxInterval: 20 * time.Millisecond},
			Batch:         BatchConfig{MaxRecords: 100, Timeout: time.Second, QueueSize: 8},
			Args:          ArgsConfig{Scrub: false, SensitiveWords: []string{"*token*"}},
			EnvsWithValue: []string{"LANG"},
			ProcessTree:   ProcessTreeConfig{MaxProcesses: 2048, Retention: 5 * time.Second},
			Storage:       &storage,
			Policies:      &policies,
		},
	} {
		t.Run("ebpf_security/"+name, func(t *testing.T) {
			got, err := load(t, name)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
}

// Every mistake has a message of its own, and all of them are said at once.
func TestConfigMistakes(t *testing.T) {
	page := os.Getpagesize()
	for name, want := range map[string][]string{
		"wrong": {
			"backend: function is not part of this version; use auto or syscall",
			`events: open: errors: "" is no error number; give names such as ENOENT`,
			`events: open: errors: "enoent" is no error number; give names such as ENOENT`,
			`events: open: errors: "EWHAT" is no error number; give names such as ENOENT`,
			fmt.Sprintf("events: there is no event type %q (there are %v)", "opne", typeNames()),
			fmt.Sprintf("ring_buffer_size: 5000 must be a power of two and at least a page of %d bytes", page),
			"drain: need 1ms <= min_interval (0s) <= max_interval (2s) <= 1s",
			"batch: max_records: 0 must be from 1 to 65536",
			"batch: timeout: 2m0s must be from 1ms to 1m",
			"batch: queue_size: 70000 must be from 1 to 65536",
			"scope: process_trees: 0 is no process id",
			"scope: process_trees: 4194305 is no process id",
			`scope: pod: "other" must be self or empty`,
			"process_tree: max_processes: 10 must be at least 1024",
			"process_tree: retention: -1s must not be negative",
		},
		"ring_below_a_page":             {fmt.Sprintf("ring_buffer_size: 64 must be a power of two and at least a page of %d bytes", page)},
		"intervals_the_wrong_way_round": {"drain: need 1ms <= min_interval (600ms) <= max_interval (500ms) <= 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, name)
			require.Error(t, err)
			assert.Equal(t, want, strings.Split(err.Error(), "\n"))
		})
	}
}

// What has no place in the configuration, or the wrong type, is refused with its name.
func TestConfigRefused(t *testing.T) {
	for name, want := range map[string][]string{
		"unknown_key":             {"ring_size"},
		"unknown_key_below":       {"scope", "cgroup"},
		"unknown_key_of_an_event": {"events[open]", "error"},
		"no_number":               {"ring_buffer_size", "expected type 'uint32', got unconvertible type 'string'"},
		"no_unit":                 {"batch: timeout: 5ns must be from 1ms to 1m"},
		"bad_duration":            {"batch.timeout", "invalid duration"},
		"no_bool":                 {"events[open].enabled"},
		"backend":                 {`backend "kprobe": must be auto, function or syscall`},
		"schema":                  {`schema "v2": must be standard or extended`},
		"storage":                 {"storage", "a b"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, name)
			for _, w := range want {
				require.ErrorContains(t, err, w)
			}
		})
	}
}

func TestEnabled(t *testing.T) {
	all := event.AllTypes &^ event.Set(event.TypeSyscalls)
	assert.Equal(t, all, (&Config{}).enabled())
	cfg, err := load(t, "all")
	require.NoError(t, err)
	assert.Equal(t, all&^(1<<event.TypeFork), cfg.enabled())
}

func TestErrnoByName(t *testing.T) {
	assert.Equal(t, unix.ENOENT, errnoByName("ENOENT"))
	assert.Equal(t, unix.EPERM, errnoByName("EPERM"))
	for _, name := range []string{"", "ENOTHING", "SIGTERM", "2"} {
		assert.Zero(t, errnoByName(name), name)
	}
}

func TestFactory(t *testing.T) {
	f := NewFactory()
	assert.Equal(t, "ebpf_security", f.Type().String())
	assert.Equal(t, component.StabilityLevelDevelopment, f.LogsStability())
	require.NoError(t, componenttest.CheckConfigStruct(f.CreateDefaultConfig()))
	set := receivertest.NewNopSettings(metadata.Type)

	_, err := f.CreateLogs(t.Context(), set, f.CreateDefaultConfig(), consumertest.NewNop())
	require.NoError(t, err)
	_, err = f.CreateLogs(t.Context(), set, &struct{}{}, consumertest.NewNop())
	require.EqualError(t, err, "configuration is a *struct {}")
	_, err = f.CreateTraces(t.Context(), set, f.CreateDefaultConfig(), consumertest.NewNop())
	require.ErrorContains(t, err, "telemetry type is not supported")
}
