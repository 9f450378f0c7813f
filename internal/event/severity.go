// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

package event

import "go.opentelemetry.io/collector/pdata/plog"

// Severity is that of a detection; a rule has it from its tag `severity`.
type Severity uint8

// The severities.
const (
	SeverityInfo Severity = iota
	SeverityLow
	SeverityMedium
	SeverityHigh
	SeverityCritical
)

var severities = [...]struct {
	name   string
	number plog.SeverityNumber
}{
	SeverityInfo:     {"info", plog.SeverityNumberInfo},
	SeverityLow:      {"low", plog.SeverityNumberInfo2},
	SeverityMedium:   {"medium", plog.SeverityNumberWarn},
	SeverityHigh:     {"high", plog.SeverityNumberError},
	SeverityCritical: {"critical", plog.SeverityNumberFatal},
}

// ParseSeverity is the inverse of String; ok is false if there is no such severity.
func ParseSeverity(s string) (v Severity, ok bool) {
	for i := range severities {
		if severities[i].name == s {
			return Severity(i), true
		}
	}
	return SeverityMedium, false
}

// String is the SeverityText of the record.
func (s Severity) String() string { return severities[s].name }

// Number is the SeverityNumber of the record.
func (s Severity) Number() plog.SeverityNumber { return severities[s].number }
