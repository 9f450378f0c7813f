// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/picketsec/picket/processor/securityrulesprocessor/internal/metadata"
)

func TestLoadConfig(t *testing.T) {
	policies := component.MustNewID("security_policies")
	off := EnforcementConfig{Disarmer: DisarmerConfig{MaxContainers: 5, MaxExecutables: 5, Period: time.Minute}}
	tests := []struct {
		id   component.ID
		want *Config
		err  string
	}{
		{id: component.NewID(metadata.Type), want: &Config{Policies: policies, OnNoMatch: NoMatchDrop, MaxHosts: 4096, Enforcement: off}},
		{
			id:   component.NewIDWithName(metadata.Type, "pass"),
			want: &Config{Policies: component.MustNewIDWithName("security_policies", "prod"), OnNoMatch: NoMatchPass, DisableRateLimits: true, MaxHosts: 10_000, Enforcement: off},
		},
		{
			id: component.NewIDWithName(metadata.Type, "enforcing"),
			want: &Config{Policies: policies, OnNoMatch: NoMatchDrop, MaxHosts: 4096, Enforcement: EnforcementConfig{
				Enabled: true, ExcludeExecutables: []string{"/usr/sbin/*"},
				Disarmer: DisarmerConfig{MaxContainers: 2, MaxExecutables: 5, Period: 10 * time.Second},
			}},
		},
		{
			id: component.NewIDWithName(metadata.Type, "misfiring"),
			err: "enforcement: `exclude_executables`: \"sshd\" is no absolute path or pattern\n" +
				"`exclude_executables`: \"/[\" is no absolute path or pattern\n`disarmer`: `max_containers`, `max_executables` and `period` must be positive",
		},
		{id: component.NewIDWithName(metadata.Type, "nothing"), err: "`policies` must name the extension that has the rules, such as security_policies"},
		{id: component.NewIDWithName(metadata.Type, "wrong"), err: "`on_no_match` must be \"drop\" or \"pass\", it is \"keep\"\n`max_hosts` must be positive, it is 0"},
	}
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	for _, tt := range tests {
		t.Run(tt.id.String(), func(t *testing.T) {
			cfg := NewFactory().CreateDefaultConfig()
			sub, err := conf.Sub(tt.id.String())
			require.NoError(t, err)
			require.NoError(t, sub.Unmarshal(cfg))
			if tt.err != "" {
				require.EqualError(t, confmap.Validate(cfg), tt.err)
				return
			}
			require.NoError(t, confmap.Validate(cfg))
			assert.Equal(t, tt.want, cfg)
		})
	}
}
