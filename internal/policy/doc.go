// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

// Package policy loads policy files (YAML with SECL expressions), compiles their rules into a Set, and reports on every
// policy, macro and rule of it. A mistake in one rule never keeps the others from loading.
package policy
