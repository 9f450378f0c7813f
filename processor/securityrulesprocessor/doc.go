// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../internal/tools/go.mod mdatagen metadata.yaml

// Package securityrulesprocessor matches event records against detection rules, and makes one detection record of each match.
package securityrulesprocessor
