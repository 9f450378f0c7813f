// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securitypoliciesextension

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/picketsec/picket/extension/securitypoliciesextension/internal/metadata"
)

func TestLoadConfig(t *testing.T) {
	tests := []struct {
		id   component.ID
		want *Config
		errs []string
	}{
		{
			id: component.NewID(metadata.Type),
			want: &Config{
				Paths: []string{"/etc/picket/policies"}, AgentVersion: "7.83.0", OnRuleError: "load",
				Reload: ReloadConfig{Enabled: true, Debounce: 200 * time.Millisecond},
			},
		},
		{
			id: component.NewIDWithName(metadata.Type, "all"),
			want: &Config{
				Paths: []string{"/etc/picket/policies", "/etc/picket/extra.yaml"}, AgentVersion: "7.60.1", OnRuleError: "keep_previous",
				Reload: ReloadConfig{Enabled: false, Debounce: time.Second},
			},
		},
		{id: component.NewIDWithName(metadata.Type, "nothing"), errs: []string{"`paths` must name at least one policy file or directory"}},
		{id: component.NewIDWithName(metadata.Type, "wrong"), errs: []string{
			"`paths` has an empty entry at place 1",
			"`agent_version` must be a version such as 7.83.0, it is \"latest\"",
			"`on_rule_error` must be \"load\" or \"keep_previous\", it is \"ignore\"",
			"`reload.debounce` must be between 0s and 1m0s, it is 2h0m0s",
		}},
	}
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	for _, tt := range tests {
		t.Run(tt.id.String(), func(t *testing.T) {
			cfg := NewFactory().CreateDefaultConfig()
			sub, err := conf.Sub(tt.id.String())
			require.NoError(t, err)
			require.NoError(t, sub.Unmarshal(cfg))
			err = confmap.Validate(cfg)
			for _, want := range tt.errs {
				require.ErrorContains(t, err, want)
			}
			if tt.errs == nil {
				require.NoError(t, err)
				assert.Equal(t, tt.want, cfg)
			}
		})
	}
}
