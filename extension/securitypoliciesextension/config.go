// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securitypoliciesextension

import (
	"errors"
	"fmt"
	"time"

	"github.com/picketsec/picket/internal/policy"
)

// Config is the configuration of the extension.
type Config struct {
	// Paths are policy files, and directories of which all *.policy files are loaded.
	Paths []string `mapstructure:"paths"`
	// AgentVersion is the version of Datadog's agent that the rules' agent_version constraints are checked against. It is also
	// agent.version of the detections.
	AgentVersion string `mapstructure:"agent_version"`
	// OnRuleError says what a reload does if a macro or rule has an error: load uses the other rules, keep_previous goes on with
	// all the rules that were in use.
	OnRuleError string `mapstructure:"on_rule_error"`
	// Reload is about changes of the files.
	Reload ReloadConfig `mapstructure:"reload"`

	_ struct{}
}

// ReloadConfig is about changes of the policy files.
type ReloadConfig struct {
	// Enabled is whether files are watched.
	Enabled bool `mapstructure:"enabled"`
	// Debounce is how long the files must have been quiet before they are loaded again.
	Debounce time.Duration `mapstructure:"debounce"`

	_ struct{}
}

const maxDebounce = time.Minute

// Validate reports all mistakes at once.
func (c *Config) Validate() error {
	var errs []error
	if len(c.Paths) == 0 {
		errs = append(errs, errors.New("`paths` must name at least one policy file or directory"))
	}
	for i, p := range c.Paths {
		if p == "" {
			errs = append(errs, fmt.Errorf("`paths` has an empty entry at place %d", i+1))
		}
	}
	if _, err := policy.ParseAgentVersion(c.AgentVersion); err != nil {
		errs = append(errs, fmt.Errorf("`agent_version` must be a version such as %s, it is %q", policy.DefaultAgentVersion, c.AgentVersion))
	}
	switch policy.OnRuleError(c.OnRuleError) {
	case policy.OnRuleErrorLoad, policy.OnRuleErrorKeepPrevious:
	default:
		errs = append(errs, fmt.Errorf("`on_rule_error` must be %q or %q, it is %q", policy.OnRuleErrorLoad, policy.OnRuleErrorKeepPrevious, c.OnRuleError))
	}
	if c.Reload.Debounce < 0 || c.Reload.Debounce > maxDebounce {
		errs = append(errs, fmt.Errorf("`reload.debounce` must be between 0s and %s, it is %s", maxDebounce, c.Reload.Debounce))
	}
	return errors.Join(errs...)
}
