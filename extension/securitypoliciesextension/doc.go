// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../internal/tools/go.mod mdatagen metadata.yaml

// Package securitypoliciesextension provides detection rules to other components: it loads policy files, and again when
// they change.
package securitypoliciesextension
