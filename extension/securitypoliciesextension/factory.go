// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securitypoliciesextension

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"

	"github.com/picketsec/picket/extension/securitypoliciesextension/internal/metadata"
	"github.com/picketsec/picket/internal/policy"
)

// NewFactory makes the factory of the extension.
func NewFactory() extension.Factory {
	return extension.NewFactory(metadata.Type, createDefaultConfig, create, metadata.ExtensionStability)
}

func createDefaultConfig() component.Config {
	return &Config{
		AgentVersion: policy.DefaultAgentVersion,
		OnRuleError:  string(policy.OnRuleErrorLoad),
		Reload:       ReloadConfig{Enabled: true, Debounce: 200 * time.Millisecond},
	}
}

func create(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
	return newPolicies(set, cfg.(*Config))
}
