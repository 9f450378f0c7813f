// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"errors"
	"fmt"
	"path"
	"time"

	"go.opentelemetry.io/collector/component"
)

// Config is the configuration of the processor.
type Config struct {
	// Policies is the id of the extension that has the rules, such as security_policies.
	Policies component.ID `mapstructure:"policies"`
	// OnNoMatch says what becomes of records that no rule matches: drop, or pass for unchanged.
	OnNoMatch NoMatch `mapstructure:"on_no_match"`
	// DisableRateLimits makes a detection of every match, whatever a rule's every and limiter_token say.
	DisableRateLimits bool `mapstructure:"disable_rate_limits"`
	// MaxHosts is of how many hosts variables, rates and numbers are kept. Of more, the one that was quiet longest is forgotten.
	MaxHosts int `mapstructure:"max_hosts"`
	// Enforcement is about the kill actions of rules.
	Enforcement EnforcementConfig `mapstructure:"enforcement"`

	_ struct{}
}

// EnforcementConfig says whether and whom kill actions may kill.
type EnforcementConfig struct {
	// Enabled lets rules kill. Without, a detection says that its kill action was disabled.
	Enabled bool `mapstructure:"enabled"`
	// ExcludeExecutables are paths of executables, with * as in path.Match, whose processes are never killed as the target of
	// a rule. One of them may be killed with its container or cgroup.
	ExcludeExecutables []string `mapstructure:"exclude_executables"`
	// Disarmer stops rules that kill too much.
	Disarmer DisarmerConfig `mapstructure:"disarmer"`

	_ struct{}
}

// DisarmerConfig says from when on a rule kills too much.
type DisarmerConfig struct {
	// MaxContainers and MaxExecutables are in how many different ones a rule may kill within a Period. One more, and it kills
	// nothing until the rules change.
	MaxContainers  int           `mapstructure:"max_containers"`
	MaxExecutables int           `mapstructure:"max_executables"`
	Period         time.Duration `mapstructure:"period"`

	_ struct{}
}

// excludes says whether an executable is not to be killed.
func (c *EnforcementConfig) excludes(executable string) bool {
	for _, pattern := range c.ExcludeExecutables {
		if ok, err := path.Match(pattern, executable); ok && err == nil {
			return true
		}
	}
	return false
}

// Validate reports all mistakes at once.
func (c *EnforcementConfig) Validate() error {
	var errs []error
	for _, p := range c.ExcludeExecutables {
		if _, err := path.Match(p, ""); err != nil || !path.IsAbs(p) {
			errs = append(errs, fmt.Errorf("`exclude_executables`: %q is no absolute path or pattern", p))
		}
	}
	d := &c.Disarmer
	if d.MaxContainers < 1 || d.MaxExecutables < 1 || d.Period <= 0 {
		errs = append(errs, errors.New("`disarmer`: `max_containers`, `max_executables` and `period` must be positive"))
	}
	return errors.Join(errs...)
}

// NoMatch is what becomes of records that no rule matches.
type NoMatch string

// The values of NoMatch.
const (
	NoMatchDrop NoMatch = "drop"
	NoMatchPass NoMatch = "pass"
)

// Validate reports all mistakes at once.
func (c *Config) Validate() error {
	var errs []error
	if c.Policies == (component.ID{}) {
		errs = append(errs, errors.New("`policies` must name the extension that has the rules, such as security_policies"))
	}
	if c.OnNoMatch != NoMatchDrop && c.OnNoMatch != NoMatchPass {
		errs = append(errs, fmt.Errorf("`on_no_match` must be %q or %q, it is %q", NoMatchDrop, NoMatchPass, c.OnNoMatch))
	}
	if c.MaxHosts < 1 {
		errs = append(errs, fmt.Errorf("`max_hosts` must be positive, it is %d", c.MaxHosts))
	}
	return errors.Join(errs...)
}
