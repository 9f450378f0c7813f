// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package securityrulesprocessor

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/component"
)

// Config is the configuration of the processor.
type Config struct {
	// Policies is the id of the extension that has the rules, such as security_policies.
	Policies component.ID `mapstructure:"policies"`
	// OnNoMatch says what becomes of records that no rule matches: drop, or pass for unchanged.
	OnNoMatch NoMatch `mapstructure:"on_no_match"`

	_ struct{}
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
	return errors.Join(errs...)
}
