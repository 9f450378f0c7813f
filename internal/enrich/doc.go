// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

// Package enrich looks up what the kernel does not know of an event: names of users and groups, and containers.
package enrich
