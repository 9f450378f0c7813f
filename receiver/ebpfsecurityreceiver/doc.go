// Copyright The Picket Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../internal/tools/go.mod mdatagen metadata.yaml

// Package ebpfsecurityreceiver turns kernel activity, seen with eBPF, into log records.
package ebpfsecurityreceiver
