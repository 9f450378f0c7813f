// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

// Package collectortest is what the tests that run a built collector have in common: the collector as a process, what it
// says of itself, and the processes that it watches.
package collectortest
