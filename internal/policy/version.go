// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"

	"github.com/Masterminds/semver/v3"
)

// DefaultAgentVersion is the version of Datadog's agent that rules see, if no other is set.
const DefaultAgentVersion = "7.83.0"

// ParseAgentVersion parses a compatibility version such as 7.83.0. A pre-release part is dropped: 7.83.0-rc.1 has what
// 7.83.0 has.
func ParseAgentVersion(s string) (*semver.Version, error) {
	v, err := semver.NewVersion(s)
	if err != nil {
		return nil, fmt.Errorf("agent version %q: %w", s, err)
	}
	return semver.New(v.Major(), v.Minor(), v.Patch(), "", ""), nil
}

// versionHolds says whether an agent_version constraint such as ">= 7.65 < 7.70" holds for v.
func versionHolds(constraint string, v *semver.Version) (bool, error) {
	const maxConstraint = 256
	if len(constraint) > maxConstraint {
		return false, fmt.Errorf("agent_version has more than %d bytes", maxConstraint)
	}
	c, err := semver.NewConstraint(constraint)
	if err != nil {
		return false, fmt.Errorf("agent_version %q is no version constraint such as \">= 7.65 < 7.70\"", constraint)
	}
	return c.Check(v), nil
}
